"""Every domain event: frozen, in the past tense, stored under its class name as topic."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ..decoding import LARGEST_INTEGER, guarded
from .base import Event, Streams


class DatasetCreated(Event, frozen=True):
    """A dataset came into being under a name of its project."""

    name: str
    project: str
    description: str = ""
    tags: list[str] = []


class VersionAttached(Event, frozen=True):
    """A version joined its dataset's tree."""

    version_id: str
    parent_id: str | None = None


class VersionDetached(Event, frozen=True):
    """A removed version left its dataset's tree."""

    version_id: str


class DatasetTagged(Event, frozen=True):
    """A dataset's tags were replaced."""

    tags: list[str]


class DatasetRenamed(Event, frozen=True):
    """A dataset took another name, in the same project or another."""

    name: str
    project: str


class DatasetDescribed(Event, frozen=True):
    """A dataset's description was replaced."""

    description: str


class NameReleased(Event, frozen=True):
    """A dataset gave a name back."""


class NameClaimed(Event, frozen=True):
    """A dataset took a name within a project; one dataset holds a name at a time."""

    dataset_id: str


NAMES = Streams("name-", (NameClaimed, NameReleased), is_exported=True)


class VersionCreated(Event, frozen=True):
    """A draft version was made, empty or as the child of a published one."""

    dataset_id: str
    name: str
    parent_id: str | None = None
    description: str = ""
    metadata: dict[str, Any] = {}


class VersionRenamed(Event, frozen=True):
    """A version took another name."""

    name: str


class VersionDescribed(Event, frozen=True):
    """A version's description was replaced."""

    description: str


class VersionTagged(Event, frozen=True):
    """A version's tags were replaced."""

    tags: list[str]


class VersionMetadataSet(Event, frozen=True):
    """A version's metadata was replaced as a whole."""

    metadata: dict[str, Any]


class VersionCommitted(Event, frozen=True):
    """The changes since the last commit were counted."""

    added: int = 0
    updated: int = 0
    deleted: int = 0
    total: int = 0


class VersionPublished(Event, frozen=True):
    """A version was frozen; the fingerprint commits to its content of `total` frames."""

    fingerprint: str
    total: int


class VersionRemoved(Event, frozen=True):
    """A version was removed; its history stays readable."""


class BlobsCondemned(Event, frozen=True):
    """Nothing referred to some blobs: they are deleted when that stays so."""

    digests: list[str]


class BlobsRestored(Event, frozen=True):
    """Blobs that were condemned or deleted are there and may be referred to."""

    digests: list[str]


class BlobsCollected(Event, frozen=True):
    """Condemned blobs were deleted."""

    digests: list[str]


BLOBS = Streams("blobs", (BlobsCondemned, BlobsRestored, BlobsCollected))


class UploadedFile(msgspec.Struct, frozen=True, gc=False):
    """A content at a destination.

    Attributes
    ----------
    uri : str
        Where it is.
    digest : str
        blake3 of it, 64 hex digits.
    size : int
        Bytes.
    """

    uri: str
    digest: str
    size: Annotated[int, msgspec.Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]


class FilesUploaded(Event, frozen=True):
    """Files were put at a destination, durable; frames may name them, and their contents need not be sent again."""

    destination: str
    files: list[UploadedFile]


class SourcesCondemned(Event, frozen=True):
    """Frames were deleted together with the files that they named: those go as soon as nobody names them."""

    uris: list[str]


class SourcesRestored(Event, frozen=True):
    """Condemned files stay, since frames name them."""

    uris: list[str]


class SourcesDeleted(Event, frozen=True):
    """Files that frames had named were deleted where they were.

    In the stream ``uploads``, where it used to be recorded: they were about to be.
    """

    uris: list[str]


UPLOADS = Streams("uploads", (FilesUploaded,))
SOURCES = Streams("sources", (SourcesCondemned, SourcesRestored, SourcesDeleted))


class LogImported(Event, frozen=True):
    """A dataset of another log was taken over: its events, renumbered, are those before this one."""

    log: str
    position: int
    digest: str
    dataset_id: str
    events: int


IMPORTS = Streams("imports", (LogImported,))


class FrameEvent(Event, frozen=True):
    """One change of one frame, as the record batches hold it.

    Attributes
    ----------
    frame_id : str
        The frame.
    payload_digest : bytes
        First 16 bytes of the blake3 of the canonical payload; zeros for a delete.
    record : dict or None
        The frame's record, as its canonical payload holds it; None for a delete.
    previous : int
        Position of the event that this one replaces; 0 for none.
    saved : int
        Position of the event that first added the frame; 0 when it is this one.
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
    """A frame entered a version."""


class FrameUpdated(FrameEvent, frozen=True):
    """A frame of a version took another content."""


class FrameDeleted(FrameEvent, frozen=True):
    """A frame left a version."""


_decode_state = guarded(msgspec.msgpack.Decoder(tuple[int, dict[str, Any]]).decode)
