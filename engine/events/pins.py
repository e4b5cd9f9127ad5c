"""Events of pinned datasets, the entries of a project's `dvc.yaml` and `dvc.lock`."""

from __future__ import annotations

from typing import Any

from .base import Event, Streams


class PinEvent(Event, frozen=True):
    """A change of a pinned dataset.

    A state is ``{"spec": ..., "lock": ..., "files": ..., "invalidated": True}``, without absent keys. Spec and lock are as in
    the files. A long list of files is left out of the lock; ``files`` is then its length and digest, ``{"count",
    "digest"}``.

    Attributes
    ----------
    project : str
        Id of the project, which stays the same if the folder is moved or renamed.
    folder : str
        Name of the project folder, for display.
    manifest : str
        Path of the `dvc.yaml`, relative to the project folder.
    name : str
        Name of the dataset.
    before, after : dict or None
        State before and after the change; None if there was no entry.
    """

    project: str
    folder: str
    manifest: str
    name: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class PinAdded(PinEvent, frozen=True):
    """A dataset was added and locked, or replaced one of the same name."""


class PinUpdated(PinEvent, frozen=True):
    """The spec of a dataset was changed, and it was locked."""


class PinLocked(PinEvent, frozen=True):
    """A dataset was locked to a new content. Its spec is unchanged."""


class PinInvalidated(PinEvent, frozen=True):
    """The lock of a dataset no longer matches its spec."""


class PinObserved(PinEvent, frozen=True):
    """The files differed from the records, because they were edited or written by another tool."""


PINS = Streams(
    "pins-", (PinAdded, PinUpdated, PinLocked, PinInvalidated, PinObserved), label="folder", detail="name"
)
