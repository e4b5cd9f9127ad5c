"""Events of folders with ALF files: sessions, datasets, loads and tags."""

from __future__ import annotations

import msgspec

from ..decoding import Position
from .base import Event, Streams


class AlfDataset(msgspec.Struct, frozen=True, array_like=True):
    """The complete state of a dataset.

    Attributes
    ----------
    id : str
        UUID of the dataset.
    path : str
        Path relative to the session, with forward slashes.
    size : int or None
        Size in bytes, if it is known.
    hash : str or None
        MD5 of the content, if it is known.
    qc : int
        Value of its quality control.
    is_default : bool
        Whether it is the default revision.
    exists : bool
        Whether the file exists.
    """

    id: str
    path: str
    size: Position | None = None
    hash: str | None = None
    qc: Position = 0
    is_default: bool = True
    exists: bool = True


class AlfEvent(Event, frozen=True, kw_only=True):
    """Base class of events of a folder.

    Attributes
    ----------
    root : str
        Id of the folder, which stays the same if it is moved or renamed.
    folder : str
        Name of the folder, for display.
    eid : str
        UUID of the session; empty for events that concern no session.
    """

    root: str
    folder: str
    eid: str = ""


class AlfSessionEvent(AlfEvent, frozen=True, kw_only=True):
    """Base class of events with the complete state of a session.

    Attributes
    ----------
    lab : str or None
        The lab, if the path names one.
    subject, date, number
        Subject, day as YYYY-MM-DD, and number on that day.
    task_protocol, projects : str
        Task protocol, and projects separated by commas.
    path : str
        Path relative to the folder, with forward slashes.
    """

    lab: str | None = None
    subject: str
    date: str
    number: Position
    task_protocol: str = ""
    projects: str = ""
    path: str


class AlfSessionRegistered(AlfSessionEvent, frozen=True, kw_only=True):
    """A session was registered."""


class AlfSessionChanged(AlfSessionEvent, frozen=True, kw_only=True):
    """A session was renamed, or its fields were changed."""


class AlfDatasetsEvent(AlfEvent, frozen=True, kw_only=True):
    """Base class of events of some datasets of a session. `datasets` are their new states."""

    datasets: list[AlfDataset]


class AlfDatasetsRegistered(AlfDatasetsEvent, frozen=True, kw_only=True):
    """Datasets were registered."""


class AlfFilesChanged(AlfDatasetsEvent, frozen=True, kw_only=True):
    """The size or hash of datasets changed."""


class AlfQcChanged(AlfDatasetsEvent, frozen=True, kw_only=True):
    """The quality control of datasets changed."""


class AlfRevisionsChanged(AlfDatasetsEvent, frozen=True, kw_only=True):
    """Datasets became the default revision, or ceased to be it."""


class AlfDatasetsMissing(AlfDatasetsEvent, frozen=True, kw_only=True):
    """The files of datasets were not found."""


class AlfDatasetsFound(AlfDatasetsEvent, frozen=True, kw_only=True):
    """The files of missing datasets were found again."""


class AlfDatasetsLoaded(AlfEvent, frozen=True, kw_only=True):
    """Datasets were loaded. `datasets` are their ids."""

    datasets: list[str]


class AlfTagged(AlfEvent, frozen=True, kw_only=True):
    """A position in the log was named, or a name was moved to it."""

    name: str
    position: Position


class AlfUntagged(AlfEvent, frozen=True, kw_only=True):
    """A name of a position was removed."""

    name: str


ALF = Streams(
    "alf-",
    (
        AlfSessionRegistered,
        AlfSessionChanged,
        AlfDatasetsRegistered,
        AlfFilesChanged,
        AlfQcChanged,
        AlfRevisionsChanged,
        AlfDatasetsMissing,
        AlfDatasetsFound,
        AlfDatasetsLoaded,
        AlfTagged,
        AlfUntagged,
    ),
    label="folder",
    detail="eid",
)
