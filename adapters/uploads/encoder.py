"""Uploads the local files of frames, then encodes the frames."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

import msgspec

from ...engine.blobs.ledger import BlobLedger
from ...engine.blobs.uris import SCHEME
from ...engine.errors import FramelodeError
from ...engine.events.domain import SOURCES, UploadedFile
from ...engine.frames.source import Source, path_or_uri
from ...engine.frames.yielded import AnyFrame, Yielded
from ...engine.parallel import DISK_THREADS, ThreadWorkers
from ...engine.sources.hashes import hash_file
from ...engine.sources.ledger import SourceLedger
from ...engine.sources.relocation import (
    check_sources,
    local_uris,
    other_hashes,
    put_back,
    relocate,
    sources_of,
)
from ...engine.storage.urls import DELETABLE, canonical_uri, scheme_of
from ...engine.validation import printable
from ...engine.writes.encoder import EncodedFrames, FrameEncoder, Refusal
from .uploader import MappedUploader, Outcome, Uploader


class UploadLinks:
    """The uploads that a batch of frames refers to, and the earlier URIs of the frames.

    Parameters
    ----------
    ledger : SourceLedger
        Tells which files are deleted.
    blobs : BlobLedger
        Tells which blobs are marked for deletion.
    """

    def __init__(self, ledger: SourceLedger, blobs: BlobLedger) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._sources_at, _ = ledger.look()
        self._uris: set[str] = set()
        self._digests: set[str] = set()
        self._frames: list[AnyFrame] = []
        self._before: list[tuple[Source, ...]] = []

    @property
    def guards(self) -> Mapping[str, int]:
        """The version of the stream of deletions when it was read."""
        return {SOURCES.id: self._sources_at} if self._uris else {}

    @property
    def blobs(self) -> Collection[str]:
        """Digests of the uploads in the blob store."""
        return self._digests

    def add(self, frame: AnyFrame, uploads: Iterable[str], placed: Mapping[str, UploadedFile]) -> None:
        """Replace URIs of a frame by its uploads, which are looked up by the old URIs."""
        self._frames.append(frame)
        self._before.append(sources_of(frame))
        files = [placed[uri] for uri in uploads]
        self._uris.update(canonical_uri(file.uri) for file in files if scheme_of(file.uri) in DELETABLE)
        self._digests.update(file.digest for file in files if file.uri.startswith(SCHEME))
        relocate(frame, placed)

    def hold(self) -> bool:
        """Whether no upload was deleted or marked for deletion since it was added to a frame."""
        if self._digests and self._blobs.banned(self._digests)[1]:
            return False
        if not self._uris:
            return True
        version, touched = self._ledger.since(self._sources_at)
        if not self._uris.isdisjoint(touched):
            return False
        self._sources_at = version
        return True

    def undo(self, frames: Iterable[Any] | None = None) -> None:
        """Restore the earlier URIs of frames, by default of all."""
        wanted = None if frames is None else set(map(id, frames))
        for frame, sources in reversed(list(zip(self._frames, self._before, strict=True))):
            if wanted is None or id(frame) in wanted:
                put_back(frame, sources)


class UploadingEncoder:
    """Uploads the files of valid frames, then encodes the frames with the new URIs.

    Parameters
    ----------
    encoder : FrameEncoder
        Validates frames, assigns ids while the sources are still local, and encodes the frames.
    uploader : Uploader or MappedUploader
        Uploads the files.
    sources : SourceLedger
        Tells which uploads are deleted.
    blobs : BlobLedger
        Tells which blobs are marked for deletion.
    register_on_failure : bool
        Also encode frames whose upload failed, with their local URIs.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        uploader: Uploader | MappedUploader,
        sources: SourceLedger,
        blobs: BlobLedger,
        *,
        register_on_failure: bool,
    ) -> None:
        self._encoder = encoder
        self._uploader = uploader
        self._sources = sources
        self._blobs = blobs
        self._register = register_on_failure
        self._failed: dict[str, None] = {}

    @property
    def frames_at_once(self) -> int:
        """Recommended number of frames to encode together, if each has one file."""
        return self._uploader.files_at_once

    @property
    def failed_ids(self) -> list[str]:
        """Ids of the frames whose last upload failed."""
        return list(self._failed)

    def take(self, sent: Any) -> Yielded:
        """Keep a frame as it was when the iterable yielded it."""
        return self._encoder.take(sent)

    def encode(self, frames: Sequence[Any]) -> tuple[EncodedFrames, list[Refusal]]:
        """Upload and encode a batch. Frames that fail are returned as refusals."""
        frames, unread = self._encoder.restored(frames)
        refusals = unread + self._encoder.check(frames)
        refused = {id(refusal.frame) for refusal in refusals}
        # Before any lookup, so that later deletions are noticed when the frames are appended.
        links = UploadLinks(self._sources, self._blobs)
        try:
            ready, failures = self._upload([frame for frame in frames if id(frame) not in refused], links)
            encoded, more = self._encoder.encode(ready)
        except BaseException:
            links.undo()
            raise
        encoded.links = links
        return encoded, [*refusals, *failures, *more]

    def _upload(self, frames: Sequence[AnyFrame], links: UploadLinks) -> tuple[list[AnyFrame], list[Refusal]]:
        uris = [local_uris(frame) for frame in frames]
        named = {uri: path_or_uri(uri) or uri for some in uris for uri in some}
        paths = {uri: path for uri, path in named.items() if self._uploader.takes(path)}
        outcomes = self._uploader.upload(list(paths.values())) if paths else {}
        uploads = _Uploads({}, {}, {})
        for uri, path in paths.items():
            uploads.add(uri, outcomes[path])
        uploads.hash([pair for frame in frames for pair in other_hashes(frame)], paths)
        ready: list[AnyFrame] = []
        failures: list[Refusal] = []
        for frame, some in zip(frames, uris, strict=True):
            error = uploads.settle(frame, some, links)
            if error is None:
                self._failed.pop(frame.id or "", None)
            else:
                failures.append(Refusal(frame, error, "upload"))
                self._failed[frame.id or ""] = None
            if error is None or self._register:
                ready.append(frame)
        return ready, failures


class _Uploads(msgspec.Struct, frozen=True):
    """Results of the uploads of local files, by their URIs in the frames."""

    placed: dict[str, UploadedFile]
    failed: dict[str, str]
    hashes: dict[tuple[str, str], str]

    def add(self, uri: str, outcome: Outcome) -> None:
        if isinstance(outcome, UploadedFile):
            self.placed[uri] = outcome
        else:
            self.failed[uri] = str(outcome)

    def hash(self, given: Iterable[tuple[str, str]], paths: Mapping[str, str]) -> None:
        """Read files again if frames have a hash of another kind than uploads use."""

        def compare(pair: tuple[str, str]) -> None:
            uri, path = pair[0], paths[pair[0]]
            try:
                digest, found = hash_file(path, pair[1])
            except FramelodeError as error:
                self.failed[uri] = str(error)
                return
            if digest == self.placed[uri].digest:
                self.hashes[pair] = found
            else:
                self.failed[uri] = f"{path} changed while it was uploaded: add the frame again"

        wanted = [pair for pair in dict.fromkeys(given) if pair[0] in self.placed]
        if wanted:
            with closing(ThreadWorkers(DISK_THREADS, "framelode-hashes")) as workers:
                workers.map(compare, wanted)

    def settle(self, frame: AnyFrame, uris: Sequence[str], links: UploadLinks) -> str | None:
        """Set the uploaded URIs on a frame. If one failed, leave the frame unchanged and return the error."""
        errors = [self.failed[uri] for uri in uris if uri in self.failed]
        try:
            check_sources(frame, self.placed, self.hashes)
        except FramelodeError as error:
            errors.append(str(error))
        if errors:
            return "; ".join(map(printable, errors))  # file names may contain control characters
        if uploads := [uri for uri in uris if uri in self.placed]:
            links.add(frame, uploads, self.placed)
        return None
