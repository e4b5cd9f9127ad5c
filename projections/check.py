"""Proves that nothing was altered: the chain, what the batches hold, and every projection against a fresh fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa
from blake3 import blake3

from ..engine.batch import FRAMES_SCHEMA, AppendHeader, BatchHeader, Body, chain_digest, genesis_digest
from ..engine.errors import IntegrityError
from ..engine.event_batch import read_events
from ..engine.events import VersionCreated, VersionPublished
from ..engine.frame_batch import decode_change
from ..engine.keys import DIGEST_SIZE, ROW
from ..engine.log import Log
from .fingerprint import fingerprint
from .runner import Progress, Projection, Runner
from .states import States
from .store import Store


class Findings(msgspec.Struct):
    """What `verify` checked, and what is wrong.

    Attributes
    ----------
    events, batches : int
        What the log holds.
    versions, fingerprints, projections : int
        Versions folded afresh, published fingerprints reproduced, projections compared.
    blobs : int
        Blobs read, when that was asked for.
    problems : list of str
        Each says what is wrong and where; empty when all is well.
    """

    events: int = 0
    batches: int = 0
    versions: int = 0
    fingerprints: int = 0
    projections: int = 0
    blobs: int = 0
    problems: list[str] = []


def verify(
    log: Log,
    states: States,
    runner: Runner,
    scratch: Store,
    progress: Progress | None = None,
) -> Findings:
    """Check the log from the first batch to the head, then everything derived from it.

    Parameters
    ----------
    scratch : Store
        An empty database in which projections are folded afresh.
    """
    findings = Findings(problems=log.check_tables())
    published = _check_chain(log, findings, progress)
    if not findings.problems:
        _check_states(states, published, findings)
        _check_projections(log, runner, scratch, findings)
    return findings


def _check_chain(
    log: Log, findings: Findings, progress: Progress | None
) -> dict[str, tuple[int, str] | None]:
    """Check every batch; returns the versions, with the position and fingerprint of the published ones."""
    chain = _Chain(log)
    head = log.head().position
    versions: dict[str, tuple[int, str] | None] = {}
    try:
        for header in log.headers():
            chain.check(header)
            if header.schema != FRAMES_SCHEMA:
                _collect_versions(log, header, versions)
            findings.batches += 1
            findings.events += header.count
            if progress:
                progress(header.last_position, head)
        chain.finish()
    except IntegrityError as error:
        findings.problems.append(str(error))
    return versions


def _collect_versions(log: Log, header: BatchHeader, versions: dict[str, tuple[int, str] | None]) -> None:
    if not {VersionCreated.__name__, VersionPublished.__name__} & set(header.topics):
        return
    for position, event in enumerate(read_events(log, header), header.first_position):
        if isinstance(event, VersionCreated):
            versions[event.originator_id] = None
        elif isinstance(event, VersionPublished):
            versions[event.originator_id] = (position, event.fingerprint)


class _Chain:
    """Walks batches and appends side by side."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._digest = genesis_digest(log.uuid)
        self._position = 1
        self._recorded_at = 0
        self._versions: dict[str, int] = {}
        self._appends = log.appends()
        self._append: AppendHeader | None = None

    def check(self, header: BatchHeader) -> None:
        position = header.first_position
        if position != self._position:
            raise self._wrong(f"positions {self._position} to {position - 1} are missing", self._position)
        append = self._append_of(header)
        if header.previous_digest != self._digest or chain_digest(header, append) != header.digest:
            raise self._wrong("the batch does not match its digest: it was altered", position)
        expected = self._versions.get(header.stream_id, header.first_version)
        if header.first_version != expected or header.recorded_at < self._recorded_at:
            raise self._wrong("the batch does not follow its stream or the time before it", position)
        keys = self._log.rows_at([position])[position]
        (body,) = self._log.bodies([position])
        _check_contents(header, keys, body)
        self._digest, self._recorded_at = header.digest, header.recorded_at
        self._position = header.last_position + 1
        self._versions[header.stream_id] = header.last_version + 1

    def _append_of(self, header: BatchHeader) -> AppendHeader:
        if self._append is None or self._append.append_id != header.append_id:
            if self._append is not None and self._append.last_position != self._position - 1:
                raise self._wrong("an append is not recorded whole", self._position)
            self._append = next(self._appends, None)
        if self._append is None or self._append.append_id != header.append_id:
            raise self._wrong(f"append {header.append_id} is missing", header.first_position)
        return self._append

    def finish(self) -> None:
        """Check that the last append is whole and no append is left over."""
        if self._append is not None and self._append.last_position != self._position - 1:
            raise self._wrong("the last append is not recorded whole", self._position)
        left = next(self._appends, None)
        if left is not None:
            raise self._wrong(f"append {left.append_id} has lost its batches", left.first_position)

    def _wrong(self, what: str, position: int) -> IntegrityError:
        return IntegrityError(
            f"{self._log.name}: {what} (position {position})", position=position, file=self._log.name
        )


def _check_contents(header: BatchHeader, keys: bytes, body: Body) -> None:
    """Check keys and body against the header, and each payload against the digest in its key row."""
    position = header.first_position
    if blake3(keys).digest() != header.keys_digest or body.digest() != header.body_digest:
        raise IntegrityError(
            f"the contents of the batch at position {position} were altered", position=position
        )
    if len(body) != header.count:
        raise IntegrityError(
            f"the body at position {position} has {len(body)} events of {header.count}", position=position
        )
    if header.schema != FRAMES_SCHEMA:
        return
    stored = np.frombuffer(keys, np.uint8).reshape(-1, ROW.itemsize)[:, -DIGEST_SIZE:].tobytes()
    digests: list[bytes] = []
    for index, event in enumerate(body.events()):
        payload = decode_change(event, position + index).payload
        digests.append(blake3(payload).digest(DIGEST_SIZE) if payload else bytes(DIGEST_SIZE))
    if b"".join(digests) != stored:
        raise IntegrityError(
            f"a payload of the batch at position {position} does not match its key row", position=position
        )


def _check_states(states: States, versions: dict[str, tuple[int, str] | None], findings: Findings) -> None:
    for version_id, published in versions.items():
        current = states.current(version_id)
        fresh = states.at(version_id, current.position)
        findings.versions += 1
        kept, folded = current.settled(), fresh.settled()
        same = np.array_equal(kept.mixed, folded.mixed) and np.array_equal(kept.positions, folded.positions)
        if not same or current.total != fresh.total:
            findings.problems.append(f"the state of version {version_id} differs from a fresh fold")
        if published is None:
            continue
        position, recorded = published
        found = fingerprint(fresh).root
        findings.fingerprints += 1
        if found != recorded:
            findings.problems.append(
                f"version {version_id} has fingerprint {found}, published as {recorded} (position {position})"
            )


def _check_projections(log: Log, runner: Runner, scratch: Store, findings: Findings) -> None:
    runner.catch_up_all()
    fresh = Runner(log, scratch, [type(projection)(log) for projection in runner.projections])
    fresh.catch_up_all()
    for kept, folded in zip(runner.projections, fresh.projections, strict=True):
        findings.projections += 1
        findings.problems += [
            f"projection {kept.name}: {problem}"
            for problem in _differences(runner.store, scratch, kept, folded)
        ]


def _differences(store: Store, scratch: Store, kept: Projection, folded: Projection) -> Iterator[str]:
    pairs = zip(kept.metadata.sorted_tables, folded.metadata.sorted_tables, strict=True)
    for one, other in pairs:
        if _rows(store, one) != _rows(scratch, other):
            yield f"table {one.name} differs from a fresh fold: rebuild it"


def _rows(store: Store, table: sa.Table) -> Sequence[Any]:
    with store.read() as connection:
        return [
            tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))
        ]
