"""What keeps an engine in order: its projections, its blobs, checks of the log, and files that carry it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, cast

from ..engine.errors import IntegrityError, UsageError
from .engine_blobs import EngineBlobs
from .executors.resolve import wrap_executor
from .sql.sqlite.database import SqliteDatabase

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ..engine.log.checkpoint import Checkpoint
    from ..engine.log.contract import Log
    from ..engine.storage.atomic_files import PathLike
    from ..projections.runner import Progress, Runner
    from ..projections.states.cache import StateCache
    from ..projections.states.snapshots import Snapshots
    from ..projections.verify.verify import Findings
    from .connection import Engine
    from .engine_copy import EngineCopy
    from .hyperdatasets.dataset import Dataset
    from .portable.importing import LogImport
    from .portable.transfer import LogExport


class EngineCare(EngineBlobs):
    """The part of an engine that keeps it in order."""

    log: Log
    states: StateCache
    runner: Runner
    _snapshots: Snapshots

    if TYPE_CHECKING:

        def require_present(self) -> None:
            """Raise `UsageError` when this is an engine of the past."""

    def catch_up(self, progress: Progress | None = None, executor: Executor | None = None) -> None:
        """Bring every projection up to date, `executor` folding what it can."""
        self.runner.catch_up_all(progress, wrap_executor(executor))

    def rebuild(self, progress: Progress | None = None, executor: Executor | None = None) -> None:
        """Throw every projection away and fold it afresh from the log.

        Readers find the old tables until the new ones take their place. A rebuild that was interrupted goes on where
        it stopped.

        Parameters
        ----------
        progress : callable, optional
            Called with the position reached and the position to reach.
        executor : concurrent.futures.Executor, optional
            Where to fold: processes of this machine, a `ProcessPoolExecutor`, or ``Client.get_executor()`` of Dask; else
            in this thread.

        Raises
        ------
        StorageError
            No worker is left. The tables are as they were; the next call goes on where this one stopped.
        UsageError
            Workers cannot open the log, or find another one.
        """
        self.require_present()
        self.runner.rebuild(progress=progress, executor=wrap_executor(executor))
        self._snapshots.drop()
        self.states.forget()

    def checkpoint(self, key: PathLike | None = None) -> Checkpoint:
        """Return what the log's head is now, to be kept elsewhere: `verify(against=...)` finds what was cut off or rewritten.

        Parameters
        ----------
        key : path, optional
            Private Ed25519 key to sign it with (extra `sign`): PEM, OpenSSH, or 64 hex digits.
        """
        from ..engine.log.checkpoint import checkpoint_of
        from ..engine.log.signing import SigningKey

        self.require_present()
        checkpoint = checkpoint_of(self.log, self.clock())
        return checkpoint if key is None else checkpoint.signed(SigningKey.load(key))

    def verify(
        self,
        progress: Progress | None = None,
        *,
        blobs: bool = False,
        against: Checkpoint | PathLike | None = None,
        public_key: PathLike | None = None,
        quick: bool = False,
        executor: Executor | None = None,
    ) -> Findings:
        """Check the log from the first batch to the head, and everything derived from it against a fresh fold.

        Parameters
        ----------
        progress : callable, optional
            Called with what is done and how much there is: positions, then versions, then blobs.
        blobs : bool
            Read the blobs that frames name, too, and compare them with their digests.
        against : Checkpoint or path, optional
            A checkpoint of this log: is everything up to it still as it was then?
        public_key : path, optional
            Ed25519 key that must have signed the checkpoint (extra `sign`).
        quick : bool
            Check the database, the chain of digests and the keys, but neither payloads nor what is derived.
        executor : concurrent.futures.Executor, optional
            Where stretches of the log are examined, versions folded and blobs read: processes of this machine, a
            `ProcessPoolExecutor`, or ``Client.get_executor()`` of Dask; else in this thread.

        Returns
        -------
        Findings
            What was checked; nothing wrong.

        Raises
        ------
        IntegrityError
            Something is wrong; the message says what and where.
        """
        self.require_present()
        if blobs and quick:
            raise UsageError(
                "the blobs that frames name are found in the payloads, which quick=True leaves out"
            )
        executor = wrap_executor(executor)
        contradictions = self._contradictions(against, public_key)
        findings = self._findings(progress, executor, quick=quick)
        findings.problems = contradictions + findings.problems
        if blobs and not findings.problems:
            findings.blobs, findings.problems = self._blobs.problems(progress, executor)
        if findings.problems:
            more = f" (and {len(findings.problems) - 1} more)" if len(findings.problems) > 1 else ""
            raise IntegrityError(findings.problems[0] + more, file=self.log.name, problems=findings.problems)
        return findings

    def _findings(self, progress: Progress | None, executor: Executor | None, *, quick: bool) -> Findings:
        from ..projections.verify.verify import verify, verify_chain

        if quick:
            return verify_chain(self.log, progress, executor)
        with closing(SqliteDatabase(None, durable=False)) as scratch:
            return verify(self.log, self.states, self._snapshots, self.runner, scratch, progress, executor)

    def _contradictions(
        self, against: Checkpoint | PathLike | None, public_key: PathLike | None
    ) -> list[str]:
        if against is None:
            if public_key is not None:
                raise UsageError(
                    "a public key checks the signature of a checkpoint: give that, too, as against="
                )
            return []
        from ..engine.log.checkpoint import Checkpoint
        from ..engine.log.signing import VerifyingKey

        key = None if public_key is None else VerifyingKey.load(public_key)
        checkpoint = against if isinstance(against, Checkpoint) else Checkpoint.read(against)
        return checkpoint.problems(self.log, key)

    def export_log(
        self,
        path: PathLike,
        *,
        dataset: Dataset | str | None = None,
        project: str | None = None,
        format: str | None = None,  # noqa: A002 - what the argument is called everywhere
        callback: Progress | None = None,
    ) -> LogExport:
        """Write the log to a portable file that another engine imports to the same positions and digests.

        Parameters
        ----------
        path : str or path
            A new file. It appears whole or not at all.
        dataset : Dataset or str, optional
            Export one dataset alone: its events, with those of its versions. An import numbers them anew; contents,
            their digests and fingerprints stay.
        project : str, optional
            Project of the dataset; needed where several have its name.
        format : {"jsonl", "parquet"}, optional
            By default Parquet (extra `arrow`) if the name ends in ``.parquet``, else JSON Lines, compressed if it ends
            in ``.zst``.
        callback : callable, optional
            Called with the events written and the events to write.

        Raises
        ------
        ConflictError
            The file is there already.
        IntegrityError
            The log is damaged.
        """
        from .portable.transfer import export_log

        self.require_present()
        return export_log(cast("Engine", self), path, dataset, project, format, callback)

    def import_log(self, path: PathLike, *, callback: Progress | None = None) -> LogImport:
        """Take over what `export_log` wrote, into an engine whose log is empty.

        A whole log keeps its identity, positions, times and digests, and repeated commands are known again. An import
        that was interrupted carries on when it is called again. File contents are not in the file: the report names
        those that are missing.

        Parameters
        ----------
        path : str or path
            The file.
        callback : callable, optional
            Called with the position reached and the position to reach.

        Raises
        ------
        ConflictError
            The log holds something else.
        IntegrityError
            The file is damaged; whole appends before the damage may be recorded.
        InvalidValueError
            The file is of another kind.
        """
        from .blob_sharing import keep_listed
        from .portable.transfer import import_log

        self.require_present()
        with keep_listed(cast("Engine", self)):
            return import_log(cast("Engine", self), path, callback)

    def copy_to(
        self,
        target: Engine | PathLike,
        *,
        blobs: PathLike | bool = True,
        callback: Progress | None = None,
    ) -> EngineCopy:
        """Copy this engine into another one: the same log, with equal positions and digests, and its blobs.

        First every blob is stored that frames name and the target lacks, then the log is recorded in large
        transactions, each batch proven by its digests. So at no moment does the copy name a blob that it does not have.
        What was interrupted goes on when it is called again. The copy ends where this engine ended when the call began;
        another call brings what came since. Projections are not copied: they are folded from the log.

        Parameters
        ----------
        target : str, path or Engine
            Where to: what `connect` takes, made if missing, or an engine that is open. It holds nothing yet, or a copy of
            this engine that nobody has written to.
        blobs : str, path or bool
            Another place for the blobs of the target, remembered as by `connect`; False leaves the contents out.
        callback : callable, optional
            Called with what is done and how much there is: blobs, then positions.

        Returns
        -------
        EngineCopy
            What was done, and the blobs that could not be taken: the source does not have them, or has other bytes.

        Raises
        ------
        UsageError
            The target is this engine, or has no place for blobs.
        ConflictError
            The target holds something else, or was written to after it was copied.
        IntegrityError
            This log is damaged; the message says at which position. What comes before may be recorded.
        """
        from .engine_copy import copy_engine

        return copy_engine(cast("Engine", self), target, blobs, callback)
