"""Two-phase garbage collection of blobs: mark unreferenced blobs, and delete them after the grace period."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import timedelta
from itertools import chain

import msgspec

from ..errors import UsageError
from ..log.contract import Clock
from ..validation import how_many, shorten
from .ledger import ON_ITS_WAY, Condemned
from .members import Member, Members
from .store import BlobStore


class GcReport(msgspec.Struct):
    """Result of a garbage collection, or of a dry run.

    Attributes
    ----------
    dry_run : bool
        Whether this was a dry run, which changes nothing.
    blobs, size : int
        Number and bytes of the blobs in the store before.
    referenced : int
        Number of blobs that frames of existing versions refer to, now or as stored views read them.
    condemned : list of str
        Digests of unreferenced blobs that were marked by this run.
    restored : list of str
        Digests of marked blobs that are referenced again, and were unmarked.
    waiting : list of str
        Digests of marked blobs whose grace period is not over.
    collected : list of str
        Digests of deleted blobs.
    young : int
        Number of unreferenced blobs that are too new to be marked.
    freed : int
        Bytes of the deleted blobs.
    sources : list of str
        Source files whose deletion by an earlier `delete_frames` was interrupted, and is now complete.
    source_failures : dict of str to str
        Errors of source files that could not be deleted, by URI.
    """

    dry_run: bool
    blobs: int = 0
    size: int = 0
    referenced: int = 0
    condemned: list[str] = []
    restored: list[str] = []
    waiting: list[str] = []
    collected: list[str] = []
    young: int = 0
    freed: int = 0
    sources: list[str] = []
    source_failures: dict[str, str] = {}

    def __str__(self) -> str:
        """Return the report as a few lines of text."""
        would = "would be " if self.dry_run else ""
        lines = [
            f"{self.blobs} blobs, {self.size} bytes; {self.referenced} referenced",
            f"{len(self.collected)} {would}deleted, {self.freed} bytes",
            f"{len(self.condemned)} {would}marked for deletion",
            f"{len(self.restored)} {would}unmarked, because frames reference them again",
            f"{len(self.waiting)} marked earlier and still in the grace period",
            f"{self.young} unreferenced but too new to be marked",
        ]
        if self.sources:
            lines.append(
                f"{how_many(len(self.sources), 'source')}, whose deletion was interrupted, {would}deleted or kept"
            )
        if self.source_failures:
            uri, error = next(iter(self.source_failures.items()))
            lines.append(
                f"{how_many(len(self.source_failures), 'source')} cannot be deleted, the first: {uri}: {error}"
            )
        return "\n".join(lines)


class GarbageCollection:
    """Marks unreferenced blobs, and deletes those that stayed unreferenced.

    Parameters
    ----------
    store : BlobStore
        The blobs.
    members : Members
        All logs that use the store.
    clock : callable
        The clock of the logs, in UTC microseconds.
    file_clock : callable
        The clock of the store's file times, in seconds since 1970.
    """

    def __init__(
        self,
        store: BlobStore,
        members: Members,
        clock: Clock,
        file_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._members = members
        self._clock = clock
        self._file_clock = file_clock

    def run(self, grace: timedelta, young: timedelta, *, dry_run: bool) -> GcReport:
        """Collect garbage; see `Engine.gc`."""
        _check_span(grace, "grace")
        _check_span(young, "young")
        heads = self._members.positions()
        condemned = self._members.condemned()
        by_all = _condemned_by_all(condemned)
        # After the ledgers are read, no later event can refer to blobs that they show as marked.
        named = self._members.referenced()
        report = GcReport(dry_run=dry_run, referenced=len(named))
        report.restored = [digest for digest in dict.fromkeys(chain(*condemned)) if digest in named]
        sizes = self._look(report, named, by_all.keys(), self._is_young(young))
        due = self._due(report, named, by_all, self._clock() - grace // timedelta(microseconds=1))
        if dry_run:
            report.collected = due
        else:
            self._members.restore(report.restored)
            positions = [{digest: when.position for digest, when in one.items()} for one in condemned]
            report.collected = self._members.collect(due, positions)
            report.condemned = self._members.condemn(report.condemned, heads)
        report.freed = sum(sizes.get(digest, 0) for digest in report.collected)
        return report

    def _look(
        self,
        report: GcReport,
        named: set[str],
        condemned: Container[str],
        is_young: Callable[[str, float], bool],
    ) -> dict[str, int]:
        """Scan the store, and return the sizes of the marked blobs."""
        sizes: dict[str, int] = {}
        for entry in self._store.entries():
            if entry.digest is None:
                continue
            report.blobs += 1
            report.size += entry.size
            if entry.digest in condemned:
                sizes[entry.digest] = entry.size
            elif entry.digest not in named:
                if is_young(entry.digest, entry.modified):
                    report.young += 1
                else:
                    report.condemned.append(entry.digest)
        return sizes

    def _is_young(self, young: timedelta) -> Callable[[str, float], bool]:
        """Return a predicate of digest and file time: whether a frame that refers to the blob may still be added."""
        file_since = self._file_clock() - young.total_seconds()
        since = self._clock() - max(young, ON_ITS_WAY) // timedelta(microseconds=1)
        expected = set[str]().union(*(_expected(member, since) for member in self._members))
        return lambda digest, modified: modified > file_since or digest in expected

    def _due(
        self, report: GcReport, named: set[str], condemned: Mapping[str, Condemned], latest: int
    ) -> list[str]:
        """Return the marked blobs to delete, and report those in the grace period."""
        due: list[str] = []
        for digest, when in condemned.items():
            if digest not in named:
                (due if when.at <= latest else report.waiting).append(digest)
        return due


def _condemned_by_all(condemned: Sequence[Mapping[str, Condemned]]) -> dict[str, Condemned]:
    """Return the blobs that every log has marked, each with its last mark."""
    first, *others = condemned
    return {
        digest: max((when, *(other[digest] for other in others)), key=lambda when: when.at)
        for digest, when in first.items()
        if all(digest in other for other in others)
    }


def _expected(member: Member, since: int) -> set[str]:
    """Return the blobs that were restored after a time, and to which no frame referred after that."""
    restored = member.commands.blob_ledger.restored()
    recent = {digest: when.position for digest, when in restored.items() if when.at > since}
    named = member.references.named_after(min(recent.values())) if recent else {}
    return {digest for digest, position in recent.items() if named.get(digest, 0) <= position}


def _check_span(span: timedelta, name: str) -> None:
    if not isinstance(span, timedelta) or span < timedelta(0):
        raise UsageError(f"{name} must be a timedelta of at least 0, not {shorten(span)}")
