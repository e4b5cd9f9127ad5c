"""Events of datalakes: their data, tags, sources, derived files, jobs and processings.

Ids are 32 hex digits. Metadata is JSON; a value that JSON does not have is an object of one key, such as
``{"$datetime": "2024-02-29T12:34:56"}``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from ..decoding import LARGEST_INTEGER
from .base import Event, Streams

ITEMS_OF_AN_EVENT = 4096
"""Maximum number of data, tags or ids in one event. Further ones are ignored."""

Whole = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_INTEGER)]


class LakesEvent(Event, frozen=True, kw_only=True):
    """Base class of events that all datalakes of an engine share. `name` is that of the lake, source or processing."""

    id: str
    name: str


class LakeCreated(LakesEvent, frozen=True, kw_only=True):
    """A datalake was created."""


class LakeConnected(LakesEvent, frozen=True, kw_only=True):
    """A datalake was connected to a bucket, an fsspec URL; empty to disconnect it."""

    bucket: str


class SourceCreated(LakesEvent, frozen=True, kw_only=True):
    """A data source was created."""


class SourceUpdated(LakesEvent, frozen=True, kw_only=True):
    """A data source was given another name."""


class SourceDeleted(LakesEvent, frozen=True, kw_only=True):
    """A data source was deleted. Its data stay."""


class ProcessingCreated(LakesEvent, frozen=True, kw_only=True):
    """A processing was registered. `definition` is its complete state."""

    definition: dict[str, Any]


class ProcessingUpdated(LakesEvent, frozen=True, kw_only=True):
    """A processing was changed. `definition` is its complete new state."""

    definition: dict[str, Any]


class ProcessingDeleted(LakesEvent, frozen=True, kw_only=True):
    """A processing was deleted."""


class StoredContent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A file and where its content is.

    Attributes
    ----------
    id : str
        Id of the data or of the derived file.
    filename, object_name : str
        Name of the file, and its name in the lake.
    digest : str
        blake3 of the content, 64 hex digits.
    uri : str
        Where the content is, if it is not in the blob store.
    size : int
        Size in bytes.
    content_type : str
        MIME type.
    width, height : int
        Size in pixels as shown; 0 if unknown.
    """

    id: str
    filename: str
    object_name: str
    digest: str
    uri: str = ""
    size: Whole = 0
    content_type: str = ""
    width: Whole = 0
    height: Whole = 0


class DataRecord(StoredContent, frozen=True, omit_defaults=True, kw_only=True):
    """A picture or video of a lake.

    Attributes
    ----------
    type : str
        ``IMAGE`` or ``VIDEO``.
    status : str
        ``DONE``, or ``ERROR`` if the content cannot be read.
    reason : str
        Why it cannot be read.
    metadata, custom_metadata : dict
        Values by key.
    """

    type: str = "IMAGE"
    status: str = "DONE"
    reason: str = ""
    metadata: dict[str, Any] = {}
    custom_metadata: dict[str, Any] = {}


class LakeEvent(Event, frozen=True, kw_only=True):
    """Base class of the events of one datalake. `lake` is its name."""

    lake: str

    @property
    def what(self) -> str:
        """The number of its data or tags, or the name of what changed, for display."""
        items = getattr(self, "data", None) or getattr(self, "tags", None)
        return f"{len(items):,}" if isinstance(items, list) else str(getattr(self, "name", ""))


class DataUploaded(LakeEvent, frozen=True, kw_only=True):
    """Files were uploaded or imported.

    Attributes
    ----------
    data : list of DataRecord
        The new data.
    tags : list of str
        Ids of tags that all of them have.
    source : str or None
        Id of their data source.
    """

    data: list[DataRecord]
    tags: list[str] = []
    source: str | None = None

    def blobs(self) -> Iterable[str]:
        """Return the contents in the blob store."""
        return (record.digest for record in self.data if not record.uri)


class DataUpdated(LakeEvent, frozen=True, kw_only=True):
    """Metadata or the source of data was changed.

    Attributes
    ----------
    data : list of str
        Ids of the data.
    metadata, custom_metadata : dict or None
        New values by key, None to remove a key. None if there are none.
    cleared : list of str
        ``metadata`` or ``custom_metadata``, whose old values are all removed first.
    source : str or None
        Id of the new source; None if it stays.
    """

    data: list[str]
    metadata: dict[str, Any] | None = None
    custom_metadata: dict[str, Any] | None = None
    cleared: list[str] = []
    source: str | None = None


class SchemaUpdated(LakeEvent, frozen=True, kw_only=True):
    """The rules of the custom metadata of a datalake were changed.

    Attributes
    ----------
    keys : dict
        The new rules of all keys, each a map; see `CustomMetadataKey`.
    allow_extra : bool
        Whether other keys are allowed.
    """

    keys: dict[str, Any]
    allow_extra: bool = True


class DataDeleted(LakeEvent, frozen=True, kw_only=True):
    """Data were deleted with their derived files."""

    data: list[str]


class TagRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A tag: its id and name."""

    id: str
    name: str


class TagsCreated(LakeEvent, frozen=True, kw_only=True):
    """Tags were created."""

    tags: list[TagRecord]


class TagUpdated(LakeEvent, frozen=True, kw_only=True):
    """A tag was given another name."""

    id: str
    name: str


class TagDeleted(LakeEvent, frozen=True, kw_only=True):
    """A tag was deleted, and detached from all data."""

    id: str
    name: str


class TagsAttached(LakeEvent, frozen=True, kw_only=True):
    """Tags, given by their ids, were attached to data."""

    tags: list[str]
    data: list[str]


class TagsDetached(LakeEvent, frozen=True, kw_only=True):
    """Tags, given by their ids, were detached from data."""

    tags: list[str]
    data: list[str]


class ProjectionCreated(LakeEvent, frozen=True, kw_only=True):
    """A derived file of a data was stored, such as a thumbnail, mask or depth map.

    Attributes
    ----------
    data : str
        Id of the data.
    name : str
        Name of the derived file.
    content : StoredContent
        The file.
    infos : dict
        Values by key.
    """

    data: str
    name: str
    content: StoredContent
    infos: dict[str, Any] = {}

    def blobs(self) -> Iterable[str]:
        """Return the content, if it is in the blob store."""
        return () if self.content.uri else (self.content.digest,)


class ProjectionDeleted(LakeEvent, frozen=True, kw_only=True):
    """A derived file of a data was deleted."""

    id: str
    data: str
    name: str


class UploadStarted(LakeEvent, frozen=True, kw_only=True):
    """An upload of several parts began.

    Attributes
    ----------
    id : str
        Id of the upload, from which the ids of its data are made.
    request : str
        Digest of what was asked for. The same request continues an upload that was interrupted.
    paths : int
        Number of paths.
    """

    id: str
    request: str
    paths: Whole


class UploadFinished(LakeEvent, frozen=True, kw_only=True):
    """An upload of several parts ended."""

    id: str


class JobCreated(LakeEvent, frozen=True, kw_only=True):
    """A job was created.

    Attributes
    ----------
    id : str
        Id of the job.
    name : str
        What it does: ``import``, or the name of a processing.
    request : dict
        What it works on.
    host : str
        Name of the machine that runs it.
    """

    id: str
    name: str
    request: dict[str, Any]
    host: str


class JobUpdated(LakeEvent, frozen=True, kw_only=True):
    """A job went on.

    Attributes
    ----------
    id, name : str
        Id and name of the job.
    status : str
        ``PENDING``, ``QUEUED``, ``RUNNING``, ``SUCCEEDED``, ``FAILED`` or ``KILLED``.
    done, total : int
        How far it is.
    error : str
        Why it failed.
    log : list of str
        New lines of its log.
    result : dict
        What it found; replaces the former one unless empty.
    """

    id: str
    name: str
    status: str
    done: Whole = 0
    total: Whole = 0
    error: str = ""
    log: list[str] = []
    result: dict[str, Any] = {}


LAKES = Streams(
    "lakes",
    (
        LakeCreated,
        LakeConnected,
        SourceCreated,
        SourceUpdated,
        SourceDeleted,
        ProcessingCreated,
        ProcessingUpdated,
        ProcessingDeleted,
    ),
)

LAKE = Streams(
    "lake-",
    (
        DataUploaded,
        DataUpdated,
        DataDeleted,
        SchemaUpdated,
        TagsCreated,
        TagUpdated,
        TagDeleted,
        TagsAttached,
        TagsDetached,
        ProjectionCreated,
        ProjectionDeleted,
        UploadStarted,
        UploadFinished,
        JobCreated,
        JobUpdated,
    ),
    label="lake",
    detail="what",
)
