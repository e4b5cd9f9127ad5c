"""An engine copied into another one: first the contents that its frames name, then its log."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from ...engine.blobs.ledger import BlobLedger
from ...engine.blobs.marker import LogRef, Marker, read_marker
from ...engine.blobs.presence import EmptyPresenceIndex
from ...engine.blobs.reports import FileFailure
from ...engine.blobs.store import BlobStore
from ...engine.errors import StorageError, UsageError
from ...engine.log.contract import Head
from ...engine.log.copy import copied_head, copy_appends
from ...engine.log.prefix import LogPrefix
from ...engine.storage.atomic_files import PathLike
from ...projections.tables.blob_references import BlobNames
from ..session import location
from ..session.blob_sharing import joined, keep_listed, own_ref, share
from ..session.session import LiveSession, Session
from ..sql.urls import Place, PostgresSchema, without_password

Progress = Callable[[int, int], None]
"""Called with what is done and how much there is: blobs, then positions."""


class EngineCopy(msgspec.Struct):
    """What a copy has done.

    Attributes
    ----------
    log : str
        Uuid of the log, which both engines have now.
    position : int
        The last position of both: where the source ended when the copy began.
    digest : str
        The digest there, in hex.
    events, batches : int
        What was recorded by this call.
    present : int
        Events that were there already.
    blobs, blob_bytes : int
        Blobs stored by this call, and their bytes.
    missing_blobs, damaged_blobs : list of str
        Blobs that frames name and the source does not have, or has with other bytes: they were not taken.
    """

    log: str
    position: int
    digest: str
    events: int = 0
    batches: int = 0
    present: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    missing_blobs: list[str] = []
    damaged_blobs: list[str] = []


def copy_engine(
    source: Session, target: Session | PathLike, blobs: PathLike | bool, progress: Progress | None
) -> EngineCopy:
    """Copy an engine; see `Engine.copy_to`."""
    with _opened(source, target, None if isinstance(blobs, bool) else blobs) as opened:
        opened.require_present()
        # The end is fixed: what is appended meanwhile is for the next call.
        end = source.log.head()
        start = copied_head(source.log, opened.log, end)
        report = EngineCopy(source.log.uuid, end.position, end.digest.hex(), present=start.position)
        if blobs is not False:
            _copy_blobs(source, opened, end, report, progress)
        with keep_listed(opened):
            report.batches = copy_appends(source.log, opened.log, start, end, progress)
        report.events = end.position - start.position
        return report


@contextmanager
def _opened(
    source: Session, target: Session | PathLike, blobs: PathLike | None
) -> Generator[Session, None, None]:
    """Give the target, opened without making it the current engine."""
    if isinstance(target, Session):
        if blobs is not None:
            raise UsageError("the target is open and has its place for blobs: give blobs= to its connect")
        _refuse_same(source, target.location.log, is_source=target.log is source.present.log)
        yield target
        return
    where = location.locate(target, blobs=blobs)
    _refuse_same(source, where.log)
    with closing(LiveSession(where)) as opened:
        yield opened


def _refuse_same(source: Session, place: Place, *, is_source: bool = False) -> None:
    own = source.location.log
    match own, place:
        case Path(), Path():
            is_source |= place.exists() and own.samefile(place)
        case PostgresSchema(), PostgresSchema():
            is_source |= without_password(own) == without_password(place)
        case _:
            pass
    if is_source:
        raise UsageError(f"{source.name} would be copied into itself: name another engine")


def _copy_blobs(
    source: Session, target: Session, end: Head, report: EngineCopy, progress: Progress | None
) -> None:
    """Store the blobs that events up to the end name and the target lacks."""
    named = _named(source)
    if not named:
        return
    if not target.location.blobs:
        raise UsageError(
            f"the frames of {source.name} name {len(named):,} blobs, and {target.name} has no place for them: give one as "
            "blobs=, or leave the contents out by blobs=False"
        )
    there = source.blobs
    store = _target_store(source, target)
    lacking = _lacking(named, there, store)
    ledger = BlobLedger(LogPrefix(source.present.log, end.position))
    for done, outcome in enumerate(store.copy_from(there, lacking), 1):
        if isinstance(outcome, FileFailure):
            _note_failure(outcome, there, ledger, report)
        else:
            report.blobs += 1
            report.blob_bytes += outcome.size
        if progress:
            progress(done, len(lacking))


def _target_store(source: Session, target: Session) -> BlobStore:
    """Return the store of the target, which lists the log that the target is about to have.

    Without the presence of the engine, which would record that blobs are wanted again: the log says that itself.
    """
    own = LogRef(source.log.uuid, target.location.home)
    store = BlobStore(target.location.blobs, presence=_Joining(target, own))
    marker = read_marker(store.place)
    if marker is not None and own_ref(source.present) in marker.logs:
        share(target, own, store)
    return store


class _Joining(EmptyPresenceIndex):
    """Lists the log of a copy in the marker of its store."""

    def __init__(self, target: Session, own: LogRef) -> None:
        self._target = target
        self._own = own

    def join(self, marker: Marker, place: str) -> Marker:
        """Return the marker with the log of the copy."""
        if own_ref(self._target) in marker.logs:
            return marker
        return joined(self._target, self._own, marker, place)


def _named(source: Session) -> set[str]:
    """Return the blobs that any event names; of an engine of the past, any up to there."""
    with source.read(BlobNames) as (names, connection):
        return set(names.named_after(connection, 0))


def _lacking(named: set[str], source: BlobStore, target: BlobStore) -> list[str]:
    """Return the blobs that a store lacks, or has with another size: it may be a store that shows half a file."""
    there = dict(_sizes(named, target))
    here = dict(_sizes(named, source)) if there else {}
    return sorted(
        digest for digest in named if digest not in there or here.get(digest, there[digest]) != there[digest]
    )


def _sizes(named: set[str], store: BlobStore) -> Iterator[tuple[str, int]]:
    for entry in store.entries():
        if entry.digest in named:
            yield entry.digest, entry.size


def _note_failure(failure: FileFailure, source: BlobStore, ledger: BlobLedger, report: EngineCopy) -> None:
    """Put down what could not be taken; what was collected is not missed."""
    digest = failure.source
    if failure.kind == "storage":
        raise StorageError(failure.error)
    if source.place.size(digest) is not None:
        report.damaged_blobs.append(digest)
    elif ledger.collected(digest) is None:
        report.missing_blobs.append(digest)
