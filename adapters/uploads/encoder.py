"""Encodes frames for a write after their local files are uploaded."""

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
    """The uploads that a batch of frames was made to name, and what the frames named before.

    Parameters
    ----------
    ledger : SourceLedger
        Says what is deleted.
    blobs : BlobLedger
        Says which blobs are condemned.
    """

    def __init__(self, ledger: SourceLedger, blobs: BlobLedger) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._mark, _ = ledger.look()
        self._uris: set[str] = set()
        self._digests: set[str] = set()
        self._frames: list[AnyFrame] = []
        self._before: list[tuple[Source, ...]] = []

    @property
    def guards(self) -> Mapping[str, int]:
        """The stream of what is deleted, as it was when that was looked at."""
        return {SOURCES.id: self._mark.version} if self._uris else {}

    @property
    def blobs(self) -> Collection[str]:
        """Digests of those that are in the blob store."""
        return self._digests

    def add(self, frame: AnyFrame, uploads: Iterable[str], placed: Mapping[str, UploadedFile]) -> None:
        """Make a frame name some uploads, given by the URIs that it named."""
        self._frames.append(frame)
        self._before.append(sources_of(frame))
        files = [placed[uri] for uri in uploads]
        self._uris.update(canonical_uri(file.uri) for file in files if scheme_of(file.uri) in DELETABLE)
        self._digests.update(file.digest for file in files if file.uri.startswith(SCHEME))
        relocate(frame, placed)

    def hold(self) -> bool:
        """Say whether none of the uploads was condemned or deleted since the frames were made to name them."""
        if self._digests and self._blobs.banned(self._digests)[1]:
            return False
        if not self._uris:
            return True
        mark, touched = self._ledger.since(self._mark)
        if not self._uris.isdisjoint(touched):
            return False
        self._mark = mark
        return True

    def undo(self, frames: Iterable[Any] | None = None) -> None:
        """Make frames, all by default, name what they did."""
        wanted = None if frames is None else set(map(id, frames))
        for frame, sources in reversed(list(zip(self._frames, self._before, strict=True))):
            if wanted is None or id(frame) in wanted:
                put_back(frame, sources)


class UploadingEncoder:
    """Uploads the files of frames that can be recorded, then encodes the frames as they name the uploads.

    Parameters
    ----------
    encoder : FrameEncoder
        Checks frames, gives them ids while their sources are still local, and encodes them.
    uploader : Uploader or MappedUploader
        Sends the files.
    sources : SourceLedger
        Says which uploads are deleted.
    blobs : BlobLedger
        Says which blobs are condemned.
    register_on_failure : bool
        Encode frames that failed, too, with their local URIs.
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
        """How many frames are best encoded together, each of a file."""
        return self._uploader.files_at_once

    @property
    def failed_ids(self) -> list[str]:
        """Ids of the frames whose last try failed."""
        return list(self._failed)

    def take(self, sent: Any) -> Yielded:
        """Keep what an iterator has just yielded as it is now."""
        return self._encoder.take(sent)

    def encode(self, frames: Sequence[Any]) -> tuple[EncodedFrames, list[Refusal]]:
        """Upload and encode a batch; what is refused by either comes back as refusals."""
        frames, unread = self._encoder.restored(frames)
        refusals = unread + self._encoder.check(frames)
        refused = {id(refusal.frame) for refusal in refusals}
        # Before anything is looked up: what is deleted after that is noticed when the frames are appended.
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
    """What became of local files, by the URIs that frames gave them."""

    placed: dict[str, UploadedFile]
    failed: dict[str, str]
    hashes: dict[tuple[str, str], str]

    def add(self, uri: str, outcome: Outcome) -> None:
        if isinstance(outcome, UploadedFile):
            self.placed[uri] = outcome
        else:
            self.failed[uri] = str(outcome)

    def hash(self, given: Iterable[tuple[str, str]], paths: Mapping[str, str]) -> None:
        """Read files again for which frames give another hash than the one that they are uploaded by."""

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
        """Make a frame name its uploads; returns why it cannot, and leaves it as it is then."""
        errors = [self.failed[uri] for uri in uris if uri in self.failed]
        try:
            check_sources(frame, self.placed, self.hashes)
        except FramelodeError as error:
            errors.append(str(error))
        if errors:
            return "; ".join(map(printable, errors))  # names of files hold anything
        if uploads := [uri for uri in uris if uri in self.placed]:
            links.add(frame, uploads, self.placed)
        return None
