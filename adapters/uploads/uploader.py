"""Uploads local files to a destination: each content once, with retries, and recorded before frames refer to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from ...engine import forks
from ...engine.blobs.content import SourceError
from ...engine.blobs.ingest import BATCH_BYTES, BATCH_FILES, WINDOW_FILES
from ...engine.errors import FramelodeError, InvalidValueError, StorageError
from ...engine.events.domain import UploadedFile
from ...engine.frames.source import path_or_uri
from ...engine.secrets import redact_url
from ...engine.storage.base import growing_waits
from ...engine.storage.root_folder import RootFolder
from ...engine.storage.urls import DELETABLE, canonical_uri, scheme_of
from ...engine.tracing import span
from .destination import Destination, UploadItem
from .index import UploadIndex

Outcome = UploadedFile | FramelodeError


class _Batch(msgspec.Struct):
    """Files that are sent together.

    Attributes
    ----------
    waiting : list of UploadItem
        Files that were read and are not at the destination yet.
    coming : set of str
        Digests of the contents that this batch sends. Other files with the same content wait for it.
    """

    items: list[UploadItem] = []
    waiting: list[UploadItem] = []
    coming: set[str] = set()

    @property
    def is_full(self) -> bool:
        """Whether it has as many files as should be sent together."""
        return len(self.items) >= BATCH_FILES or sum(item.size for item in self.items) >= BATCH_BYTES


class Uploader:
    """Uploads the files of one call.

    Parameters
    ----------
    destination : Destination
        Where to upload.
    name_of : callable
        Returns the name of a local file at the destination. Raises `FramelodeError` if it cannot have one.
    ledger : UploadIndex
        Finds and records uploads.
    force : bool
        Upload a file under a name of its own even if the destination has its content.
    retries : int
        Number of retries with exponential backoff.
    exact : bool
        Upload each file to its exact name, even if its content exists under another name.
    sleep : callable
        Sleeps for a number of seconds. Replaced in tests.
    """

    def __init__(
        self,
        destination: Destination,
        name_of: Callable[[str], str],
        ledger: UploadIndex,
        *,
        force: bool = False,
        retries: int = 5,
        exact: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._destination = destination
        self._name_of = name_of
        self._ledger = ledger
        self._force = force
        self._exact = exact
        self._waits = growing_waits(retries)
        self._sleep = sleep
        self._seen = -1
        self._alone = False
        self._sent: dict[str, UploadedFile] = {}
        self._condemned: frozenset[str] = frozenset()
        self._sources_at, _ = ledger.sources.look()
        root = destination.root
        self._folder = RootFolder(path_or_uri(root) or "") if root.startswith("file:///") else None
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._recording = threading.Lock()

    @property
    def files_at_once(self) -> int:
        """Recommended number of files to upload together."""
        return self._destination.files_at_once

    def takes(self, path: str) -> bool:
        """Whether a file is uploaded: all are, except those that are already below the destination."""
        if self._folder is None or self._folder.below(path) is None:
            return True
        try:
            self._name_of(path)
        except InvalidValueError:
            return False
        except FramelodeError:  # it cannot have a name there; `upload` reports why
            return True
        return True

    def upload(self, paths: Sequence[str]) -> dict[str, Outcome]:
        """Upload files, each passed once. Return the result or the error of each.

        Objects that are marked for deletion at the time of the call are not linked to, and their names are not used.
        """
        self._look_what_goes()
        outcomes: dict[str, Outcome] = {}
        items: dict[str, UploadItem] = {}
        for path in paths:
            try:
                items[path] = UploadItem(
                    path,
                    self._name_of(path),
                    fresh=self._force and not self._exact,
                    exact=self._exact,
                    condemned=self._condemned,
                )
            except FramelodeError as error:
                outcomes[path] = error
        left = list(items.values())

        def prepare(coming: Collection[str]) -> _Batch:
            batch = self._prepare(left, coming)
            del left[: len(batch.items)]
            return batch

        with span(
            "upload", None, {"framelode.upload.destination": redact_url(self._destination.root)}
        ) as told:
            try:
                with ThreadPoolExecutor(1, "framelode-uploads") as pool:
                    preparing = pool.submit(prepare, ())
                    while (batch := preparing.result()).items:
                        preparing = pool.submit(prepare, batch.coming)
                        self._finish(batch)
                        outcomes |= {item.path: _outcome(item) for item in batch.items}
            finally:
                self._destination.discard(list(items.values()))
            sent = [item.size for item in items.values() if item.error is None]
            told.set({"framelode.upload.files": len(sent), "framelode.upload.bytes": sum(sent)})
        return outcomes

    def _look_what_goes(self) -> None:
        if scheme_of(self._destination.root) not in DELETABLE:
            return
        ledger, root = self._ledger.sources, canonical_uri(f"{self._destination.root}/")
        version, condemned = ledger.look()
        touched = ledger.since(self._sources_at)[1].keys()
        if version != self._sources_at:
            self._sources_at, self._seen = version, -1
        if touched:
            self._sent = {d: file for d, file in self._sent.items() if canonical_uri(file.uri) not in touched}
        self._condemned = frozenset(uri.removeprefix(root) for uri in condemned if uri.startswith(root))

    def _prepare(self, items: Sequence[UploadItem], coming: Collection[str]) -> _Batch:
        """Read as many files as are sent together, and begin to send them."""
        batch = _Batch()
        if not items:
            return batch
        since = self._destination.begin()
        size = len(items) if self._destination.batches_itself else WINDOW_FILES
        while len(batch.items) < len(items) and not batch.is_full:
            window = items[len(batch.items) :][:size]
            for item in window:
                item.since = since
            window = self._read(window, self._wanted(window, batch, coming))
            batch.items += window
            self._stage(window, batch, coming)
        return batch

    def _wanted(
        self, window: Sequence[UploadItem], batch: _Batch, coming: Collection[str]
    ) -> Callable[[UploadItem], bool] | None:
        """Return a function that tells whether a file has to be sent; None if this needs a lookup."""
        if self._is_each_sent:
            return lambda item: True  # noqa: ARG005
        if not self._is_alone():
            return None
        numbers = {item.path: number for number, item in enumerate(window)}
        first: dict[str, int] = {}

        def wanted(item: UploadItem) -> bool:
            digest, number = item.digest, numbers[item.path]
            if digest in self._sent or digest in coming or digest in batch.coming:
                return False
            before = first.setdefault(digest, number)
            if number < before:  # read later, but earlier in order: the content gets its name
                first[digest] = number
            return number <= before

        return wanted

    def _is_alone(self) -> bool:
        """Whether the destination has only files that this object sent."""
        if self._ledger.version() != self._seen:
            with self._recording:
                version = self._ledger.version()
                if version != self._seen:
                    self._alone = self._ledger.is_empty(self._destination.root)
                    self._seen = version
        return self._alone

    def _read(
        self, items: Sequence[UploadItem], wanted: Callable[[UploadItem], bool] | None
    ) -> Sequence[UploadItem]:
        """Read files that are staged together. Read again those that the destination failed for."""
        items = items[: self._destination.read(items, wanted)]
        self._insist(self._destination.read, items)
        return items

    def _stage(self, window: Sequence[UploadItem], batch: _Batch, coming: Collection[str]) -> None:
        """Link contents that are at the destination, and begin to send those that neither are there nor on their way."""
        waiting = [item for item in window if item.error is None and not item.uri]
        if waiting and not self._force:
            waiting = self._link(waiting)
        batch.waiting += waiting
        first = self._leaders(waiting)
        if not self._is_each_sent:
            first = {
                digest: item
                for digest, item in first.items()
                if digest not in batch.coming and digest not in coming
            }
            batch.coming |= first.keys()
        self._destination.stage(list(first.values()), window)

    def _finish(self, batch: _Batch) -> None:
        """Send the remaining files. Contents that were on their way are at the destination now."""
        waiting = batch.waiting
        if not self._force:
            waiting = [item for item in waiting if not self._settle(item)]
        while waiting:
            waiting = self._send(waiting)
        self._destination.discard(batch.items)

    def _leaders(self, items: Sequence[UploadItem]) -> dict[str, UploadItem]:
        """Return one file for each content, or all files if each is sent on its own."""
        leaders: dict[str, UploadItem] = {}
        for item in items:
            leaders.setdefault(item.path if self._is_each_sent else item.digest, item)
        return leaders

    def _link(self, items: Sequence[UploadItem]) -> list[UploadItem]:
        """Link contents that are at the destination. Return the files that have to be sent."""
        if not self._is_alone():
            # The projection may lag behind the uploads that this object recorded.
            unknown = {item.digest for item in items if item.digest not in self._sent}
            self._sent |= self._still_there(self._ledger.find(self._destination.root, unknown))
        return [item for item in items if not self._settle(item)]

    @property
    def _is_each_sent(self) -> bool:
        return self._force or self._exact

    def _still_there(self, known: Mapping[str, UploadedFile]) -> dict[str, UploadedFile]:
        """Return the recorded contents that still exist at the destination."""

        def is_there(file: UploadedFile) -> bool:
            try:
                return self._destination.holds(file.uri, file.size)
            except StorageError:  # send it: the destination then reports the problem
                return False

        threads = self._destination.asking_threads
        if len(known) < 2 or threads < 2:
            return {digest: file for digest, file in known.items() if is_there(file)}
        with ThreadPoolExecutor(threads) as pool:
            answers = pool.map(is_there, known.values())
            return {digest: known[digest] for digest, answer in zip(known, answers, strict=True) if answer}

    def _send(self, items: Sequence[UploadItem]) -> list[UploadItem]:
        """Send one file for each content. Return other files that have to be sent because it failed."""
        leaders = self._leaders(items)
        self._destination.send(list(leaders.values()))
        self._insist(self._destination.send, list(leaders.values()))
        new = {
            item.digest: UploadedFile(item.uri, item.digest, item.size)
            for item in leaders.values()
            if item.error is None
        }
        self._record(list(new.values()))
        self._sent |= new
        if self._is_each_sent:
            return []
        return [item for item in items if not self._is_settled(item, leaders)]

    def _record(self, files: Sequence[UploadedFile]) -> None:
        with self._recording:
            before = self._ledger.version()
            events = self._ledger.record(self._destination.root, files)
            if before == self._seen and self._ledger.version() == before + events:
                self._seen = before + events

    def _is_settled(self, item: UploadItem, leaders: Mapping[str, UploadItem]) -> bool:
        leader = leaders[item.digest]
        if leader is item or self._settle(item):
            return True
        if isinstance(leader.error, SourceError):
            return False  # another file with the same content may succeed
        item.error = leader.error
        return True

    def _settle(self, item: UploadItem) -> bool:
        """Link a file to the uploaded content, if that is allowed."""
        file = self._sent.get(item.digest)
        if file is None or (self._exact and file.uri != f"{self._destination.root}/{item.name}"):
            return False
        item.uri = file.uri
        return True

    def _insist(self, work: Callable[[Sequence[UploadItem]], object], items: Sequence[UploadItem]) -> None:
        """Run `work`, with retries for the files that the destination failed for temporarily."""
        for wait in self._waits:
            again = [item for item in items if item.may_try_again]
            if not again:
                break
            self._sleep(wait)
            work(again)


def _outcome(item: UploadItem) -> Outcome:
    if item.error is not None:
        return item.error
    return UploadedFile(item.uri, item.digest, item.size)


class MappedUploader:
    """Uploads the files in a mapping. All other files are not uploaded.

    Parameters
    ----------
    uploaders : mapping of str to Uploader
        Uploader of each path.
    """

    def __init__(self, uploaders: Mapping[str, Uploader]) -> None:
        self._uploaders = uploaders

    @property
    def files_at_once(self) -> int:
        """Recommended number of files to upload together."""
        return min((uploader.files_at_once for uploader in self._uploaders.values()), default=1)

    def takes(self, path: str) -> bool:
        """Whether a file is uploaded."""
        return path in self._uploaders

    def upload(self, paths: Sequence[str]) -> dict[str, Outcome]:
        """Upload files; see `Uploader.upload`."""
        shares: dict[int, list[str]] = {}
        for path in paths:
            shares.setdefault(id(self._uploaders[path]), []).append(path)
        outcomes: dict[str, Outcome] = {}
        for share in shares.values():
            outcomes |= self._uploaders[share[0]].upload(share)
        return outcomes
