"""The domain events: frozen classes in the past tense. The class name is the topic."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ..decoding import LARGEST_INTEGER
from .base import Event, Streams


class DatasetCreated(Event, frozen=True):
    """A dataset was created under a name in its project."""

    name: str
    project: str
    description: str = ""
    tags: list[str] = []


class VersionAttached(Event, frozen=True):
    """A version was added to the tree of its dataset."""

    version_id: str
    parent_id: str | None = None


class VersionDetached(Event, frozen=True):
    """A removed version was taken out of the tree of its dataset."""

    version_id: str


class DatasetTagged(Event, frozen=True):
    """A dataset's tags were replaced."""

    tags: list[str]


class DatasetRenamed(Event, frozen=True):
    """A dataset was renamed, in the same project or into another one."""

    name: str
    project: str


class DatasetDescribed(Event, frozen=True):
    """A dataset's description was replaced."""

    description: str


class DatasetRemoved(Event, frozen=True):
    """A dataset was removed after its versions. Its history stays readable."""


class NameReleased(Event, frozen=True):
    """A dataset released a name."""


class NameClaimed(Event, frozen=True):
    """A dataset claimed a name in a project. Only one dataset can have a name at a time."""

    dataset_id: str


NAMES = Streams("name-", (NameClaimed, NameReleased), is_exported=True)


class VersionCreated(Event, frozen=True):
    """A draft was created, empty or as a child of a published version."""

    dataset_id: str
    name: str
    parent_id: str | None = None
    description: str = ""
    metadata: dict[str, Any] = {}


class VersionRenamed(Event, frozen=True):
    """A version was renamed."""

    name: str


class VersionDescribed(Event, frozen=True):
    """A version's description was replaced."""

    description: str


class VersionTagged(Event, frozen=True):
    """A version's tags were replaced."""

    tags: list[str]


class VersionMetadataSet(Event, frozen=True):
    """A version's metadata was replaced."""

    metadata: dict[str, Any]


class VersionCommitted(Event, frozen=True):
    """The changes since the last commit were counted."""

    added: int = 0
    updated: int = 0
    deleted: int = 0
    total: int = 0


class VersionPublished(Event, frozen=True):
    """A version was published. The fingerprint covers its `total` frames."""

    fingerprint: str
    total: int


class VersionRemoved(Event, frozen=True):
    """A version was removed. Its history stays readable."""


class BlobsCondemned(Event, frozen=True):
    """Unreferenced blobs were marked. They are deleted if they stay unreferenced."""

    digests: list[str]


class BlobsRestored(Event, frozen=True):
    """Marked or deleted blobs are stored again, and may be referenced."""

    digests: list[str]


class BlobsCollected(Event, frozen=True):
    """Marked blobs were deleted."""

    digests: list[str]


BLOBS = Streams("blobs", (BlobsCondemned, BlobsRestored, BlobsCollected))


class UploadedFile(msgspec.Struct, frozen=True, gc=False):
    """A file at an upload destination.

    Attributes
    ----------
    uri : str
        URI of the file.
    digest : str
        blake3 of the content, 64 hex digits.
    size : int
        Size in bytes.
    """

    uri: str
    digest: str
    size: Annotated[int, msgspec.Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]


class FilesUploaded(Event, frozen=True):
    """Files were uploaded to a destination. Frames may refer to them, and their contents need not be uploaded again."""

    destination: str
    files: list[UploadedFile]


class SourcesCondemned(Event, frozen=True):
    """Frames were deleted with their source files, which are deleted as soon as no frame refers to them."""

    uris: list[str]


class SourcesRestored(Event, frozen=True):
    """Marked files are kept, because frames refer to them."""

    uris: list[str]


class SourcesDeleted(Event, frozen=True):
    """Source files were deleted.

    In the stream ``uploads``, where older releases recorded it, the files were about to be deleted.
    """

    uris: list[str]


UPLOADS = Streams("uploads", (FilesUploaded,))
SOURCES = Streams("sources", (SourcesCondemned, SourcesRestored, SourcesDeleted))


class LogImported(Event, frozen=True):
    """A dataset of another log was imported. The events before this one are its events, with new positions."""

    log: str
    position: int
    digest: str
    dataset_id: str
    events: int


IMPORTS = Streams("imports", (LogImported,))


class FrameEvent(Event, frozen=True):
    """A change of a frame, as it is stored in record batches.

    Attributes
    ----------
    frame_id : str
        Id of the frame.
    payload_digest : bytes
        First 16 bytes of the blake3 of the canonical payload; zeros for a delete.
    record : dict or None
        The frame's record, as in its canonical payload; None for a delete.
    previous : int
        Position of the event that this one replaces, or 0.
    saved : int
        Position of the event that first added the frame; 0 if it is this one.
    changed : list of str
        Names of the wire fields that changed.
    """

    frame_id: str
    payload_digest: bytes = bytes(16)
    record: dict[str, Any] | None = None
    previous: int = 0
    saved: int = 0
    changed: list[str] = []


class FrameAdded(FrameEvent, frozen=True):
    """A frame was added to a version."""


class FrameUpdated(FrameEvent, frozen=True):
    """A frame of a version was changed."""


class FrameDeleted(FrameEvent, frozen=True):
    """A frame was deleted from a version."""
