"""Sends local files to a destination: each content once, tried again, and recorded before frames name it."""

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
from ...engine.storage.base import growing_waits
from ...engine.storage.root_folder import RootFolder
from ...engine.storage.urls import DELETABLE, canonical_uri, scheme_of
from .destination import Destination, UploadItem
from .index import UploadIndex

Outcome = UploadedFile | FramelodeError


class _Batch(msgspec.Struct):
    """Files that are sent together.

    Attributes
    ----------
    waiting : list of UploadItem
        Those that were read and are not linked to what was there.
    coming : set of str
        The contents that this batch sends: whoever has one of them waits for it.
    """

    parcels: list[UploadItem] = []
    waiting: list[UploadItem] = []
    coming: set[str] = set()

    @property
    def is_full(self) -> bool:
        """It has as much as is well sent together."""
        return len(self.parcels) >= BATCH_FILES or sum(parcel.size for parcel in self.parcels) >= BATCH_BYTES


class Uploader:
    """Uploads files for one call.

    Parameters
    ----------
    destination : Destination
        Where to.
    name_of : callable
        Gives the name of a local file at the destination; a `FramelodeError` when it cannot have one.
    ledger : UploadIndex
        Knows what is there, and is told of what came.
    force : bool
        Send also what is there already, under a name of its own.
    retries : int
        How often a destination that refuses is asked again, with growing waits.
    exact : bool
        Each file has to be at its own name, also when its content is known under another.
    sleep : callable
        Waits for some seconds; injected in tests.
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
        self._mark, _ = ledger.sources.look()
        root = destination.root
        self._folder = RootFolder(path_or_uri(root) or "") if root.startswith("file:///") else None
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._recording = threading.Lock()

    @property
    def files_at_once(self) -> int:
        """How many files are best uploaded together."""
        return self._destination.files_at_once

    def takes(self, path: str) -> bool:
        """Say whether a file is to be uploaded: each one is, unless it is at the destination already."""
        if self._folder is None or self._folder.below(path) is None:
            return True
        try:
            self._name_of(path)
        except InvalidValueError:
            return False
        except FramelodeError:  # it has no name there, and `upload` says why
            return True
        return True

    def upload(self, paths: Sequence[str]) -> dict[str, Outcome]:
        """Upload files, each given once; returns what each became, or why it was not uploaded.

        What is condemned by the time of the call is neither linked to, nor is its name taken.
        """
        self._look_what_goes()
        outcomes: dict[str, Outcome] = {}
        parcels: dict[str, UploadItem] = {}
        for path in paths:
            try:
                parcels[path] = UploadItem(
                    path,
                    self._name_of(path),
                    fresh=self._force and not self._exact,
                    exact=self._exact,
                    condemned=self._condemned,
                )
            except FramelodeError as error:
                outcomes[path] = error
        left = list(parcels.values())

        def prepare(coming: Collection[str]) -> _Batch:
            batch = self._prepare(left, coming)
            del left[: len(batch.parcels)]
            return batch

        try:
            with ThreadPoolExecutor(1, "framelode-uploads") as pool:
                preparing = pool.submit(prepare, ())
                while (batch := preparing.result()).parcels:
                    preparing = pool.submit(prepare, batch.coming)
                    self._finish(batch)
                    outcomes |= {parcel.path: _outcome(parcel) for parcel in batch.parcels}
        finally:
            self._destination.discard(list(parcels.values()))
        return outcomes

    def _look_what_goes(self) -> None:
        if scheme_of(self._destination.root) not in DELETABLE:
            return
        ledger, root = self._ledger.sources, canonical_uri(f"{self._destination.root}/")
        mark, condemned = ledger.look()
        touched = ledger.since(self._mark)[1].keys()
        if mark != self._mark:
            self._mark, self._seen = mark, -1
        if touched:
            self._sent = {d: file for d, file in self._sent.items() if canonical_uri(file.uri) not in touched}
        self._condemned = frozenset(uri.removeprefix(root) for uri in condemned if uri.startswith(root))

    def _prepare(self, parcels: Sequence[UploadItem], coming: Collection[str]) -> _Batch:
        """Read as many files as are sent together, and begin to send them."""
        batch = _Batch()
        if not parcels:
            return batch
        since = self._destination.begin()
        size = len(parcels) if self._destination.batches_itself else WINDOW_FILES
        while len(batch.parcels) < len(parcels) and not batch.is_full:
            window = parcels[len(batch.parcels) :][:size]
            for parcel in window:
                parcel.since = since
            window = self._read(window, self._wanted(window, batch, coming))
            batch.parcels += window
            self._stage(window, batch, coming)
        return batch

    def _wanted(
        self, window: Sequence[UploadItem], batch: _Batch, coming: Collection[str]
    ) -> Callable[[UploadItem], bool] | None:
        """Return what tells at once that a file is to be sent; None where that has to be looked up."""
        if self._is_each_sent:
            return lambda parcel: True  # noqa: ARG005
        if not self._is_alone():
            return None
        numbers = {parcel.path: number for number, parcel in enumerate(window)}
        first: dict[str, int] = {}

        def wanted(parcel: UploadItem) -> bool:
            digest, number = parcel.digest, numbers[parcel.path]
            if digest in self._sent or digest in coming or digest in batch.coming:
                return False
            before = first.setdefault(digest, number)
            if number < before:  # read later, but it comes before: the content gets its name
                first[digest] = number
            return number <= before

        return wanted

    def _is_alone(self) -> bool:
        """Say whether nothing is at the destination but what this object sent."""
        if self._ledger.version() != self._seen:
            with self._recording:
                version = self._ledger.version()
                if version != self._seen:
                    self._alone = self._ledger.is_empty(self._destination.root)
                    self._seen = version
        return self._alone

    def _read(
        self, parcels: Sequence[UploadItem], wanted: Callable[[UploadItem], bool] | None
    ) -> Sequence[UploadItem]:
        """Read as many files as are staged together, again those that the destination refused."""
        parcels = parcels[: self._destination.read(parcels, wanted)]
        self._insist(self._destination.read, parcels)
        return parcels

    def _stage(self, window: Sequence[UploadItem], batch: _Batch, coming: Collection[str]) -> None:
        """Link what is there already, and begin to send what is neither there nor coming."""
        waiting = [parcel for parcel in window if parcel.error is None and not parcel.uri]
        if waiting and not self._force:
            waiting = self._link(waiting)
        batch.waiting += waiting
        first = self._leaders(waiting)
        if not self._is_each_sent:
            first = {
                digest: parcel
                for digest, parcel in first.items()
                if digest not in batch.coming and digest not in coming
            }
            batch.coming |= first.keys()
        self._destination.stage(list(first.values()), window)

    def _finish(self, batch: _Batch) -> None:
        """Send what has to be sent; what was coming when the batch was prepared is there by now."""
        waiting = batch.waiting
        if not self._force:
            waiting = [parcel for parcel in waiting if not self._settle(parcel)]
        while waiting:
            waiting = self._send(waiting)
        self._destination.discard(batch.parcels)

    def _leaders(self, parcels: Sequence[UploadItem]) -> dict[str, UploadItem]:
        """Return one parcel of each content, or all of them where each is sent for itself."""
        leaders: dict[str, UploadItem] = {}
        for parcel in parcels:
            leaders.setdefault(parcel.path if self._is_each_sent else parcel.digest, parcel)
        return leaders

    def _link(self, parcels: Sequence[UploadItem]) -> list[UploadItem]:
        """Link contents that are there already; returns the parcels that have to be sent."""
        if not self._is_alone():
            # What this object itself recorded it knows: the table may do without it for now.
            unknown = {parcel.digest for parcel in parcels if parcel.digest not in self._sent}
            self._sent |= self._still_there(self._ledger.find(self._destination.root, unknown))
        return [parcel for parcel in parcels if not self._settle(parcel)]

    @property
    def _is_each_sent(self) -> bool:
        return self._force or self._exact

    def _still_there(self, known: Mapping[str, UploadedFile]) -> dict[str, UploadedFile]:
        """Return those of the contents once recorded that nobody has taken away since."""

        def is_there(file: UploadedFile) -> bool:
            try:
                return self._destination.holds(file.uri, file.size)
            except StorageError:  # it is sent, and the destination says then what is wrong
                return False

        threads = self._destination.asking_threads
        if len(known) < 2 or threads < 2:
            return {digest: file for digest, file in known.items() if is_there(file)}
        with ThreadPoolExecutor(threads) as pool:
            answers = pool.map(is_there, known.values())
            return {digest: known[digest] for digest, answer in zip(known, answers, strict=True) if answer}

    def _send(self, parcels: Sequence[UploadItem]) -> list[UploadItem]:
        """Send one parcel of each content; returns those that have to be sent for want of it."""
        leaders = self._leaders(parcels)
        self._destination.send(list(leaders.values()))
        self._insist(self._destination.send, list(leaders.values()))
        new = {
            parcel.digest: UploadedFile(parcel.uri, parcel.digest, parcel.size)
            for parcel in leaders.values()
            if parcel.error is None
        }
        self._record(list(new.values()))
        self._sent |= new
        if self._is_each_sent:
            return []
        return [parcel for parcel in parcels if not self._is_settled(parcel, leaders)]

    def _record(self, files: Sequence[UploadedFile]) -> None:
        with self._recording:
            before = self._ledger.version()
            events = self._ledger.record(self._destination.root, files)
            if before == self._seen and self._ledger.version() == before + events:
                self._seen = before + events

    def _is_settled(self, parcel: UploadItem, leaders: Mapping[str, UploadItem]) -> bool:
        leader = leaders[parcel.digest]
        if leader is parcel or self._settle(parcel):
            return True
        if isinstance(leader.error, SourceError):
            return False  # another file of the same content may be better
        parcel.error = leader.error
        return True

    def _settle(self, parcel: UploadItem) -> bool:
        """Link a parcel to what is there of its content, if it may be linked."""
        file = self._sent.get(parcel.digest)
        if file is None or (self._exact and file.uri != f"{self._destination.root}/{parcel.name}"):
            return False
        parcel.uri = file.uri
        return True

    def _insist(self, work: Callable[[Sequence[UploadItem]], object], parcels: Sequence[UploadItem]) -> None:
        """Do some work again for the parcels that the destination refused for a while."""
        for wait in self._waits:
            again = [parcel for parcel in parcels if parcel.may_try_again]
            if not again:
                break
            self._sleep(wait)
            work(again)


def _outcome(parcel: UploadItem) -> Outcome:
    if parcel.error is not None:
        return parcel.error
    return UploadedFile(parcel.uri, parcel.digest, parcel.size)


class MappedUploader:
    """Uploads files that are in a mapping; all others stay where they are.

    Parameters
    ----------
    uploaders : mapping of str to Uploader
        What uploads each path.
    """

    def __init__(self, uploaders: Mapping[str, Uploader]) -> None:
        self._uploaders = uploaders

    @property
    def files_at_once(self) -> int:
        """How many files are best uploaded together."""
        return min((uploader.files_at_once for uploader in self._uploaders.values()), default=1)

    def takes(self, path: str) -> bool:
        """Say whether a file is to be uploaded."""
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
