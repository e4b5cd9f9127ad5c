"""Copies an engine into another one: first the blobs that its frames refer to, then its log."""

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
from ...engine.tracing import traced
from ...projections.tables.blob_references import BlobNames
from ..session import location
from ..session.blob_sharing import joined, keep_listed, own_ref, share
from ..session.session import LiveSession, Session
from ..sql.urls import Place, PostgresSchema, without_password

Progress = Callable[[int, int], None]
"""Called with the amount done and the total: first of blobs, then of positions."""


class EngineCopy(msgspec.Struct):
    """Result of a copy.

    Attributes
    ----------
    log : str
        Uuid of the log, now the same in both engines.
    position : int
        The last position that was copied: the head of the source when the copy began.
    digest : str
        The chain digest at `position`, in hex.
    events, batches : int
        Events and batches recorded by this call.
    present : int
        Events that the target already had.
    blobs, blob_bytes : int
        Number and bytes of the blobs stored by this call.
    missing_blobs, damaged_blobs : list of str
        Blobs that frames refer to and that were not copied, because the source lacks them or has damaged contents.
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


@traced("copy_engine")
def copy_engine(
    source: Session, target: Session | PathLike, blobs: PathLike | bool, progress: Progress | None
) -> EngineCopy:
    """Copy an engine; see `Engine.copy_to`."""
    with _opened(source, target, None if isinstance(blobs, bool) else blobs) as opened:
        opened.require_present()
        # The end is fixed: events appended during the copy are left to the next call.
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
    """Yield the opened target, without making it the current engine."""
    if isinstance(target, Session):
        if blobs is not None:
            raise UsageError("the target is already open: pass blobs= when you connect to it")
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
        raise UsageError(f"{source.name} cannot be copied into itself: pass another engine")


def _copy_blobs(
    source: Session, target: Session, end: Head, report: EngineCopy, progress: Progress | None
) -> None:
    """Store the blobs that events up to `end` refer to and the target lacks."""
    named = _named(source)
    if not named:
        return
    if not target.location.blobs:
        raise UsageError(
            f"the frames of {source.name} refer to {len(named):,} blobs, but {target.name} has no place for blobs: pass "
            "blobs=, or blobs=False to copy the log only"
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
    """Return the blob store of the target. Its marker lists the log that the target is about to have.

    The presence index of the engine is not used. It would record events, but the copied log already has them.
    """
    own = LogRef(source.log.uuid, target.location.home)
    store = BlobStore(target.location.blobs, presence=_Joining(target, own))
    if source.location.blobs and source.blobs.place.is_same(store.name):
        # The source stays listed, under the name that it has now.
        source.present.blobs.join()
    marker = read_marker(store.place)
    if marker is not None and own_ref(source.present) in marker.logs:
        share(target, own, store)
    return store


class _Joining(EmptyPresenceIndex):
    """Adds the log of a copy to the marker of its blob store."""

    def __init__(self, target: Session, own: LogRef) -> None:
        self._target = target
        self._own = own

    def join(self, marker: Marker, place: str) -> Marker:
        """Return the marker with the log of the copy added."""
        if own_ref(self._target) in marker.logs:
            return marker
        return joined(self._target, self._own, marker, place)


def _named(source: Session) -> set[str]:
    """Return the blobs that any event refers to; in a past session, any event up to its position."""
    with source.read(BlobNames) as (names, connection):
        return set(names.named_after(connection, 0))


def _lacking(named: set[str], source: BlobStore, target: BlobStore) -> list[str]:
    """Return the blobs that the target lacks or has with another size: its file may be truncated."""
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
    """Report a blob that could not be copied. A blob that gc deleted is not missing."""
    digest = failure.source
    if failure.kind == "storage":
        raise StorageError(failure.error)
    if source.place.size(digest) is not None:
        report.damaged_blobs.append(digest)
    elif ledger.collected(digest) is None:
        report.missing_blobs.append(digest)
