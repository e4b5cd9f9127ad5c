"""Garbage collection, scrub, verification and rebuild of an engine."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from ...engine.errors import IntegrityError, UsageError
from ...engine.tracing import traced
from ..executors.resolve import wrap_executor
from ..session.blob_sharing import members_of
from ..sql.sqlite.database import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from ...engine.blobs.gc import GcReport
    from ...engine.blobs.scrub import ScrubFindings
    from ...engine.log.checkpoint import Checkpoint
    from ...engine.storage.atomic_files import PathLike
    from ...projections.runner import Progress
    from ...projections.verify.verify import Findings
    from ..session.session import LiveSession, Session


@traced("rebuild")
def rebuild(session: LiveSession, progress: Progress | None, executor: Executor | None) -> None:
    """Replay the log into fresh projections; see `Engine.rebuild`."""
    session.runner.rebuild(progress=progress, executor=wrap_executor(executor))
    session.snapshots.drop()
    session.states.forget()


@traced("gc")
def gc(session: LiveSession, grace: timedelta, young: timedelta, *, dry_run: bool) -> GcReport:
    """Mark unreferenced blobs and delete those past the grace period; see `Engine.gc`."""
    from ...engine.blobs.gc import GarbageCollection

    writes = session.writes
    store = writes.blobs.store
    with members_of(session, store, join=not dry_run) as members:
        report = GarbageCollection(store, members, session.clock).run(grace, young, dry_run=dry_run)
    waiting = writes.source_commands.source_ledger.condemned()
    if waiting and not dry_run:
        from .source_removal import SourceRemoval

        removal = SourceRemoval(session)
        removal.run()
        report.source_failures = removal.failures
    report.sources = [uri for uri in waiting if uri not in report.source_failures]
    return report


@traced("scrub")
def scrub(
    session: LiveSession,
    progress: Callable[[int, int], None] | None,
    executor: Executor | None,
    repair: Session | PathLike | None,
) -> ScrubFindings:
    """Read every blob, and optionally repair damaged and missing ones; see `Engine.scrub`."""
    blobs = session.blob_access if repair is None else session.writes.blobs
    found = blobs.scrub(progress, wrap_executor(executor))
    if repair is not None:
        from .repair import repair_from

        found.note_repaired(repair_from(blobs.store, [*found.altered, *found.missing], repair))
    return found


def checkpoint(session: LiveSession, key: PathLike | None) -> Checkpoint:
    """Return the head of the log as a checkpoint; see `Engine.checkpoint`."""
    from ...engine.log.checkpoint import checkpoint_of
    from ...engine.log.signing import SigningKey

    made = checkpoint_of(session.log, session.clock())
    return made if key is None else made.signed(SigningKey.load(key))


@traced("verify")
def verify(
    session: LiveSession,
    progress: Progress | None,
    *,
    blobs: bool,
    against: Checkpoint | PathLike | None,
    public_key: PathLike | None,
    quick: bool,
    executor: Executor | None,
) -> Findings:
    """Check the log and everything derived from it; see `Engine.verify`."""
    if blobs and quick:
        raise UsageError(
            "blobs=True needs the payloads, which quick=True does not read: pass only one of them"
        )
    executor = wrap_executor(executor)
    problems = _checkpoint_problems(session, against, public_key)
    findings = _check(session, progress, executor, quick=quick)
    findings.problems = problems + findings.problems
    if blobs and not findings.problems:
        findings.blobs, findings.problems = session.blob_access.problems(progress, executor)
    if findings.problems:
        more = f" (and {len(findings.problems) - 1} more)" if len(findings.problems) > 1 else ""
        raise IntegrityError(findings.problems[0] + more, file=session.log.name, problems=findings.problems)
    return findings


def _check(
    session: LiveSession, progress: Progress | None, executor: Executor | None, *, quick: bool
) -> Findings:
    from ...projections.verify.verify import verify, verify_chain

    if quick:
        return verify_chain(session.log, progress, executor)
    with closing(SqliteDatabase(None, durable=False)) as scratch:
        return verify(
            session.log, session.states, session.snapshots, session.runner, scratch, progress, executor
        )


def _checkpoint_problems(
    session: LiveSession, against: Checkpoint | PathLike | None, public_key: PathLike | None
) -> list[str]:
    if against is None:
        if public_key is not None:
            raise UsageError(
                "public_key checks the signature of a checkpoint: pass the checkpoint as against="
            )
        return []
    from ...engine.log.checkpoint import Checkpoint
    from ...engine.log.signing import VerifyingKey

    key = None if public_key is None else VerifyingKey.load(public_key)
    checkpoint = against if isinstance(against, Checkpoint) else Checkpoint.read(against)
    return checkpoint.problems(session.log, key)
