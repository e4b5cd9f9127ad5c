"""`Engine`: the public face of an open log. Each method is one call of the room that does the work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..engine.blobs.ledger import GRACE, YOUNG
from ..engine.errors import InvalidValueError, NotFoundError, UsageError
from ..engine.log.contract import Log
from ..engine.log.moments import Moment
from .executors.resolve import wrap_executor
from .session import current
from .session.session import LiveSession, Session

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ..engine.blobs.gc import GcReport
    from ..engine.blobs.scrub import ScrubFindings
    from ..engine.blobs.store import BlobStore
    from ..engine.log.checkpoint import Checkpoint
    from ..engine.storage.atomic_files import PathLike
    from ..projections.history.changes import Change
    from ..projections.runner import Progress
    from ..projections.verify.verify import Findings
    from .hyperdatasets.dataset import Dataset
    from .hyperdatasets.version import DatasetVersion
    from .maintenance.copy import EngineCopy
    from .portable.importing import LogImport
    from .portable.schema import DatasetLine
    from .portable.transfer import LogExport


class Engine:
    """A log with its projections: what `connect` returns.

    As a context manager it is the current engine of the running context inside the block.

    Parameters
    ----------
    session : Session
        The open session.

    Attributes
    ----------
    session : Session
        The open session: the log, projections and commands that public APIs work with.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        session.face = self

    @classmethod
    def of(cls, session: Session) -> Engine:
        """Return the engine of a session, always the same object."""
        return session.face or cls(session)

    @property
    def as_of(self) -> int | None:
        """The last position that is visible; None for the present."""
        return self.session.as_of

    @property
    def url(self) -> str:
        """What `connect` takes to open this engine again, without a password: another process finds its own."""
        return self.session.url

    @property
    def name(self) -> str:
        """How messages name this engine: its URL without a password."""
        return self.session.name

    @property
    def log(self) -> Log:
        """The log, up to `as_of`."""
        return self.session.log

    @property
    def blobs(self) -> BlobStore:
        """The store of file contents, opened when first used.

        Frames may refer to what it stores. A content that frames referred to before is not written again.
        """
        return self.session.blobs

    def __repr__(self) -> str:
        return repr(self.session)

    def __reduce__(self) -> tuple[Any, ...]:
        return Engine.of, (self.session,)

    def __enter__(self) -> Self:
        current.enter(self.session)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current.leave(self.session)

    def close(self) -> None:
        """Close the databases; the engine cannot be used any more."""
        self.session.close()

    def at(self, moment: Moment | None) -> Engine:
        """Return the engine as it was at a point in time. It reads like any other and cannot be written to.

        Parameters
        ----------
        moment : int, datetime or None
            A position, 0 for before the first event; an aware datetime, which means the last position recorded at or
            before it; None for the engine itself.

        Returns
        -------
        Engine
            The last few are cached, so that the next read is as fast as in the present.

        Raises
        ------
        UsageError
            The log does not have the position, or the datetime has no time zone.
        """
        return Engine.of(self.session.at(moment))

    def version(self, version_id: str) -> DatasetVersion:
        """Return a version by its id.

        Parameters
        ----------
        version_id : str
            32 hex digits.

        Raises
        ------
        NotFoundError
            The version does not exist or was removed.
        """
        from .hyperdatasets.version import DatasetVersion

        return DatasetVersion.of(self.session, version_id)

    def dataset(self, name: str, project: str | None = None) -> Dataset:
        """Return a dataset by its name.

        Parameters
        ----------
        name : str
            Name of the dataset.
        project : str, optional
            Project of the dataset; needed where several have its name.

        Raises
        ------
        NotFoundError
            There is no such dataset.
        ConflictError
            Several projects have a dataset of that name.
        """
        from .hyperdatasets.dataset import Dataset
        from .hyperdatasets.selectors import find_dataset

        row = find_dataset(self.session, dataset_name=name, dataset_project=project)
        return Dataset(self.session, row.dataset_id)

    def history(
        self,
        dataset: Dataset | str | None = None,
        *,
        project: str | None = None,
        version: DatasetVersion | str | None = None,
        actor: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        kinds: str | Iterable[str] | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[Change]:
        """Yield the recorded changes that match all arguments, oldest first.

        Parameters
        ----------
        dataset : Dataset or str, optional
            The dataset or its name: its own changes and those of all its versions, removed ones too.
        project : str, optional
            Project of the dataset; needed where several have its name.
        version : DatasetVersion or str, optional
            The version or its id, removed ones too: its own changes, without those it inherited.
        actor : str, optional
            Who made the change.
        since, until : int or datetime, optional
            First and last position, or times with a time zone; both included.
        kinds : str or iterable of str, optional
            Kinds of changes, such as ``"deleted"`` or ``"published"``.
        newest_first : bool
            Yield the latest change first.
        limit : int, optional
            The largest number of changes.

        Raises
        ------
        NotFoundError
            There is no such dataset or version.
        UsageError
            An argument is not a position, time, kind or number.
        """
        from .hyperdatasets.history import HistoryArguments, engine_history

        arguments = HistoryArguments(
            dataset=dataset,
            project=project,
            version=version,
            actor=actor,
            since=since,
            until=until,
            kinds=kinds,
            newest_first=newest_first,
        )
        return engine_history(self.session, arguments, limit)

    def catch_up(self, progress: Progress | None = None, executor: Executor | None = None) -> None:
        """Bring every projection up to date.

        Parameters
        ----------
        progress : callable, optional
            Called with the position reached and the position to reach.
        executor : concurrent.futures.Executor, optional
            Where to replay; by default in this thread.
        """
        self.session.runner.catch_up_all(progress, wrap_executor(executor))

    def rebuild(self, progress: Progress | None = None, executor: Executor | None = None) -> None:
        """Rebuild every projection from the log.

        Readers see the old tables until the new ones replace them. An interrupted rebuild resumes on the next call.

        Parameters
        ----------
        progress : callable, optional
            Called with the position reached and the position to reach.
        executor : concurrent.futures.Executor, optional
            Where to replay: processes of this machine, a `ProcessPoolExecutor`, or ``Client.get_executor()`` of Dask; by
            default in this thread.

        Raises
        ------
        StorageError
            No worker is left. The tables are unchanged; the next call resumes.
        UsageError
            Workers cannot open the log, or find another one; or this engine shows the past.
        """
        from .maintenance import care

        care.rebuild(self._present(), progress, executor)

    def share_blobs(self, forget: Sequence[PathLike] = ()) -> None:
        """Use the blob store together with the engines that use it already.

        From then on `gc` of each of them reads the logs of all, which it must be able to open, and deletes a blob when
        no frame of any of them refers to it.

        Parameters
        ----------
        forget : sequence of str or path
            Folders or URLs of engines that do not use the store any more: `gc` deletes the blobs that only they refer to.

        Raises
        ------
        UsageError
            Another engine that uses the store cannot be opened, or one of `forget` does not use it.
        """
        from .session.blob_sharing import own_ref, share

        session = self._present()
        share(session, own_ref(session), session.blobs, [os.fspath(url) for url in forget])

    def referenced_blobs(self) -> set[str]:
        """Return the digests of the blobs that frames of existing versions refer to."""
        return self.session.writes.blobs.referenced()

    def gc(self, grace: timedelta = GRACE, *, young: timedelta = YOUNG, dry_run: bool = True) -> GcReport:
        """Mark blobs that no frame of an existing version refers to, and delete those marked long ago.

        It also finishes a `delete_frames(delete_sources=True)` that was interrupted.

        A frame cannot refer to a marked blob until its content is stored again, so uploads may run meanwhile. Reads
        with `as_of` do not find the contents of blobs that were deleted since.

        Parameters
        ----------
        grace : timedelta
            How long ago a blob must have been marked to be deleted.
        young : timedelta
            Blobs written more recently are kept: their frames may not be added yet. A blob that was marked or deleted
            and is stored again is kept for ten minutes at least, until a frame refers to it.
        dry_run : bool
            Only report what would be done.

        Returns
        -------
        GcReport
            Prints as a few lines of text.

        Raises
        ------
        UsageError
            Another log uses the blob store, or an engine that shares it cannot be opened.
        ConcurrencyError
            An engine joined or left the store meanwhile: call again.
        """
        from .maintenance import care

        return care.gc(self._present(), grace, young, dry_run=dry_run)

    def scrub(
        self,
        progress: Callable[[int, int], None] | None = None,
        executor: Executor | None = None,
        *,
        repair: Engine | PathLike | None = None,
    ) -> ScrubFindings:
        """Read every blob, and report damaged, missing and foreign files.

        The next upload of a content whose blob is damaged stores it again.

        Parameters
        ----------
        progress : callable, optional
            Called with the blobs read so far and their bytes.
        executor : concurrent.futures.Executor, optional
            Where frames are searched and blobs read; by default in a few threads of this process.
        repair : Engine, str or path, optional
            Store damaged and missing blobs again, from an engine, a blob store (a folder or an fsspec URL), or a folder of
            any files, where every file is hashed.

        Raises
        ------
        UsageError
            `repair` is not an engine, a folder or a URL that can be opened.
        """
        from .maintenance import care

        source = repair.session if isinstance(repair, Engine) else repair
        return care.scrub(self._present(), progress, executor, source)

    def missing_blobs(self) -> list[str]:
        """Return the blobs that frames of existing versions refer to and the store does not have."""
        return self.session.writes.blobs.missing()

    def checkpoint(self, key: PathLike | None = None) -> Checkpoint:
        """Return the head of the log, to be stored elsewhere: `verify(against=...)` detects a log that was cut off or rewritten.

        Parameters
        ----------
        key : path, optional
            Private Ed25519 key to sign it with (extra `sign`): PEM, OpenSSH, or 64 hex digits.
        """
        from .maintenance import care

        return care.checkpoint(self._present(), key)

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
        """Check the log from the first batch to the head, and compare every projection with a fresh replay.

        Parameters
        ----------
        progress : callable, optional
            Called with what is done and how much there is: positions, then versions, then blobs.
        blobs : bool
            Read the blobs that frames refer to, too, and compare them with their digests.
        against : Checkpoint or path, optional
            A checkpoint of this log: check that everything up to it is unchanged.
        public_key : path, optional
            Ed25519 key that must have signed the checkpoint (extra `sign`).
        quick : bool
            Check the database, the chain of digests and the keys, but neither payloads nor projections.
        executor : concurrent.futures.Executor, optional
            Where the log is read, versions replayed and blobs read: processes of this machine, a `ProcessPoolExecutor`,
            or ``Client.get_executor()`` of Dask; by default in this thread.

        Returns
        -------
        Findings
            What was checked; no problem was found.

        Raises
        ------
        IntegrityError
            A problem was found; the message says what and where.
        """
        from .maintenance import care

        return care.verify(
            self._present(),
            progress,
            blobs=blobs,
            against=against,
            public_key=public_key,
            quick=quick,
            executor=executor,
        )

    def export_log(
        self,
        path: PathLike,
        *,
        dataset: Dataset | str | None = None,
        project: str | None = None,
        format: str | None = None,  # noqa: A002 - the usual name of the argument
        callback: Progress | None = None,
    ) -> LogExport:
        """Write the log to a portable file that another engine imports with the same positions and digests.

        Parameters
        ----------
        path : str or path
            A new file. It appears whole or not at all.
        dataset : Dataset or str, optional
            Export one dataset only, with the events of its versions. An import numbers them again; contents, their
            digests and fingerprints stay.
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
            The file exists.
        IntegrityError
            The log is damaged.
        """
        from .portable.transfer import export_log

        session = self._present()
        if project is not None and not isinstance(dataset, str):
            raise UsageError("project selects a dataset by its name: give the name as dataset=")
        chosen = None if dataset is None else _dataset_line(session, dataset, project)
        return export_log(session, path, chosen, format, callback)

    def import_log(self, path: PathLike, *, callback: Progress | None = None) -> LogImport:
        """Import a file that `export_log` wrote into an engine whose log is empty.

        A whole log keeps its identity, positions, times and digests, and its command ids stay known. An interrupted
        import resumes on the next call. File contents are not in the file: the report lists those that are missing.

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
        from .portable.transfer import import_log
        from .session.blob_sharing import keep_listed

        session = self._present()
        with keep_listed(session):
            return import_log(session, path, callback)

    def copy_to(
        self,
        target: Engine | PathLike,
        *,
        blobs: PathLike | bool = True,
        callback: Progress | None = None,
    ) -> EngineCopy:
        """Copy this engine: the same log, with equal positions and digests, and its blobs.

        Blobs are copied first, then the log in large transactions, each batch checked by its digests. So the copy never
        refers to a blob that it does not have. An interrupted copy resumes on the next call. It ends where this engine
        ended when the call began; another call copies what came since. Projections are rebuilt from the log.

        Parameters
        ----------
        target : str, path or Engine
            Where to: what `connect` takes, created if missing, or an open engine. It must be empty, or a copy of this
            engine that nobody has written to.
        blobs : str, path or bool
            Another place for the blobs of the target, saved as by `connect`; False leaves the contents out.
        callback : callable, optional
            Called with what is done and how much there is: blobs, then positions.

        Returns
        -------
        EngineCopy
            What was done, and the blobs that could not be copied: they are missing or damaged here.

        Raises
        ------
        UsageError
            The target is this engine, or has no place for blobs.
        ConflictError
            The target holds something else, or was written to after it was copied.
        IntegrityError
            This log is damaged; the message says at which position. What comes before may be recorded.
        """
        from .maintenance.copy import copy_engine

        return copy_engine(
            self.session, target.session if isinstance(target, Engine) else target, blobs, callback
        )

    def _present(self) -> LiveSession:
        """Return the session of the present; `UsageError` when this engine shows the past."""
        self.session.require_present()
        return self.session  # pyright: ignore[reportReturnType] - only a session of the present gets here


def _dataset_line(session: LiveSession, dataset: Dataset | str, project: str | None) -> DatasetLine:
    from .hyperdatasets.dataset import Dataset
    from .hyperdatasets.selectors import find_dataset
    from .portable.schema import DatasetLine

    if isinstance(dataset, str):
        row = find_dataset(session, dataset_name=dataset, dataset_project=project)
        return DatasetLine(row.dataset_id, row.project, row.name)
    if not isinstance(dataset, Dataset):
        raise InvalidValueError(f"dataset must be a Dataset or its name, not {dataset!r}")
    if session.log.stream_version(dataset.id) is None:
        raise NotFoundError(f"there is no dataset with id {dataset.id!r} in {session.log.name}")
    return DatasetLine(dataset.id, dataset.project, dataset.name)
