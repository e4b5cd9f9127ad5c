"""`Engine`, the public API of an open log. Each method delegates to the package that does the work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..engine.blobs.ledger import GRACE, YOUNG
from ..engine.errors import InvalidValueError, NotFoundError, UsageError
from ..engine.log.contract import Log
from ..engine.log.moments import Moment
from ..engine.validation import KnownAttributes, shorten
from .session import current
from .session.session import LiveSession, Session

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ..engine.blobs.gc import GcReport
    from ..engine.blobs.scrub import ScrubFindings
    from ..engine.blobs.store import BlobStore
    from ..engine.log.checkpoint import Checkpoint
    from ..engine.query.tree import Query
    from ..engine.storage.atomic_files import PathLike
    from ..projections.history.changes import Change
    from ..projections.runner import Progress
    from ..projections.verify.verify import Findings
    from .hyperdatasets.dataset import Dataset
    from .hyperdatasets.version import DatasetVersion
    from .maintenance.copy import EngineCopy
    from .maintenance.status import EngineStatus
    from .portable.importing import LogImport
    from .portable.schema import DatasetLine
    from .portable.transfer import LogExport
    from .queries.across import Hit
    from .queries.sql import SqlResult

    Versions = DatasetVersion | str | Iterable[DatasetVersion | str]


class Engine(KnownAttributes):
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

    session: Session

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
    def read_only(self) -> bool:
        """Whether nothing can be recorded: the engine shows the past, was opened with `read_only`, or cannot be written."""
        return self.session.as_of is not None or bool(self.session.location.read_only)

    @property
    def url(self) -> str:
        """URL to open this engine again with `connect`, without a password. Another process must get the password itself."""
        return self.session.url

    @property
    def name(self) -> str:
        """Name of this engine in messages: its URL without a password."""
        return self.session.name

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that are saved with the engine: ``blobs``, ``projections`` and, in a folder, ``shared``.

        Pass new values to `connect` to change them.
        """
        return self.session.location.settings()

    @property
    def log(self) -> Log:
        """The log, up to `as_of`."""
        return self.session.log

    @property
    def blobs(self) -> BlobStore:
        """The store of file contents, opened on first use.

        Frames may refer to its blobs. Content that frames already refer to is not written again.
        """
        return self.session.blobs

    def __repr__(self) -> str:
        return repr(self.session)

    def _repr_html_(self) -> str:
        from .hyperdatasets.html import engine_card

        return engine_card(self.session)

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
        """Return a read-only engine that shows the log as it was at a point in time.

        Parameters
        ----------
        moment : int, datetime or None
            A position, where 0 is before the first event; an aware datetime, which selects the last position recorded at
            or before it; None for the engine itself.

        Returns
        -------
        Engine
            The most recently used ones are cached.

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
            Project of the dataset. Required if several projects have a dataset of that name.

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

    def query(
        self,
        q: Query | str,
        versions: Versions = "*",
        *,
        limit: int | None = None,
        order_by: str | None = None,
        projection: Sequence[str] | None = None,
    ) -> Iterator[Hit]:
        """Yield the frames of several versions that match a query, version by version.

        A frame that several of the versions have is yielded once for each of them.

        Parameters
        ----------
        q : Query or str
            A Python expression such as ``F.meta.speed > 40``, or Lucene text such as ``meta.speed:>40``.
        versions : str, DatasetVersion or iterable of them
            Addresses ``[project/]dataset[@version]`` with the wildcards ``*`` and ``?``, ids of versions, or versions.
            An address without ``@version`` selects the current version of the dataset, so the default selects the current
            versions of all datasets. ``food@*`` selects all versions of a dataset.
        limit : int, optional
            Maximum number of frames, over all versions.
        order_by : str, optional
            The order within each version, as for `DatasetVersion.query`. By default log order.
        projection : sequence of str, optional
            Dot paths of the fields, as for `DatasetVersion.get_iterator`. Yields dicts instead of frames.

        Yields
        ------
        Hit
            A tuple of the version and the frame.

        Raises
        ------
        InvalidQueryError
            The query is wrong.
        InvalidValueError
            `limit`, `order_by` or `projection` is invalid.
        NotFoundError
            An address or pattern matches no version.
        """
        from .queries.across import query_versions

        return query_versions(self.session, q, versions, limit, order_by, projection)

    def count(self, q: Query | str, versions: Versions = "*") -> int:
        """Return the number of frames of several versions that match a query. The parameters and errors are those of `query`."""
        from .queries.across import count_versions

        return count_versions(self.session, q, versions)

    def sql(
        self,
        statement: str,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        as_of: Moment | None = None,
        timeout: float | None = None,
        memory_limit: str = "1GB",
        threads: int | None = None,
    ) -> SqlResult:
        """Return the result of a SELECT over versions, in the SQL of DuckDB. It needs the extra `sql`.

        The tables are ``frames(version)``, ``annotations(version)``, ``sources(version)``, ``changes(from, to)``, ``versions``
        and ``log``. Nothing else can be read, and nothing can be written. Only the columns that the statement names are read
        from the log, as a stream.

        Parameters
        ----------
        statement : str
            One SELECT of at most 100,000 bytes.
        parameters : sequence or dict, optional
            Values of ``?`` and ``$1``, or of ``$name``.
        as_of : int or datetime, optional
            The position or aware datetime to read at.
        timeout : float, optional
            Seconds after which a run of the statement ends with an error.
        memory_limit : str
            Memory that DuckDB may use, such as ``"500MB"``. Nothing is written to disk.
        threads : int, optional
            Number of threads of DuckDB. By default one for each core.

        Returns
        -------
        SqlResult
            The rows. They are read on access, each time at the same point in time.

        Raises
        ------
        InvalidQueryError
            The statement is wrong or not allowed. The message gives line and column.
        NotFoundError
            A version does not exist.
        UsageError
            The libraries duckdb and pyarrow are not installed. Reading the rows raises it if a limit is exceeded.
        InvalidValueError
            `parameters` or a limit is invalid.
        """
        from .queries.sql import Limits, run_sql

        return run_sql(self.session, statement, parameters, as_of, Limits(timeout, memory_limit, threads))

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
            Only changes of this dataset and of all its versions, including removed ones.
        project : str, optional
            Project of the dataset. Required if several projects have a dataset of that name.
        version : DatasetVersion or str, optional
            Only changes of this version, which may be removed. Inherited changes are not included.
        actor : str, optional
            Only changes by this actor.
        since, until : int or datetime, optional
            First and last position, or datetimes with a time zone; both inclusive.
        kinds : str or iterable of str, optional
            Kinds of changes, such as ``"deleted"`` or ``"published"``.
        newest_first : bool
            Yield the latest change first.
        limit : int, optional
            Maximum number of changes.

        Raises
        ------
        NotFoundError
            There is no such dataset or version.
        ConflictError
            Several projects have a dataset of that name.
        UsageError
            `since` or `until` is not a position or an aware datetime, `limit` is not an integer of at least 0, or `project`
            is given without `dataset`.
        InvalidValueError
            One of `kinds` is unknown.
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
        """Bring every projection up to date, including the columns that the first query would store.

        Parameters
        ----------
        progress : callable, optional
            Called with the position reached and the position to reach.
        executor : concurrent.futures.Executor, optional
            Runs the replay. By default it runs in this thread.

        Raises
        ------
        StorageError
            No worker is left. The next call resumes.
        """
        from .display.progress import notebook_bar
        from .executors.resolve import wrap_executor

        with notebook_bar("catching up", progress) as advance:
            self.session.runner.catch_up_all(advance, wrap_executor(executor))

    def rebuild(self, progress: Progress | None = None, executor: Executor | None = None) -> None:
        """Rebuild every projection from the log.

        Readers see the old tables until the new ones replace them. An interrupted rebuild resumes on the next call.

        Parameters
        ----------
        progress : callable, optional
            Called with the position reached and the position to reach.
        executor : concurrent.futures.Executor, optional
            Runs the replay: a `ProcessPoolExecutor`, or ``Client.get_executor()`` of Dask. By default it runs in this
            thread.

        Raises
        ------
        StorageError
            No worker is left. The tables are unchanged; the next call resumes.
        UsageError
            The workers cannot open the log or open a different log, or this engine shows the past.
        """
        from .display.progress import notebook_bar
        from .maintenance import care

        with notebook_bar("rebuilding", progress) as advance:
            care.rebuild(self._writable(), advance, executor)

    def share_blobs(self, forget: Sequence[PathLike] = ()) -> None:
        """Share the blob store with the engines that already use it.

        From then on, `gc` on any of these engines opens and reads the logs of all of them. It deletes only blobs that no
        frame in any of these logs refers to.

        Parameters
        ----------
        forget : sequence of str or path
            Folders or URLs of engines that no longer use the store. `gc` then deletes blobs that only they refer to.

        Raises
        ------
        UsageError
            Another engine that uses the store cannot be opened, or an engine in `forget` does not use it.
        """
        from .session.blob_sharing import own_ref, share

        session = self._writable()
        share(session, own_ref(session), session.blobs, [os.fspath(url) for url in forget])

    def referenced_blobs(self) -> set[str]:
        """Return the digests of the blobs that frames of existing versions reference, now or as stored views read them.

        Raises
        ------
        UsageError
            This engine shows the past.
        """
        return self._present().blob_access.referenced()

    def gc(self, grace: timedelta = GRACE, *, young: timedelta = YOUNG, dry_run: bool = True) -> GcReport:
        """Mark unreferenced blobs, and delete those that were marked longer ago than the grace period.

        A blob is unreferenced if no frame of an existing version references it, now or as a stored view reads it. It is safe to
        run `gc` during uploads: a frame cannot reference a marked blob until its content is stored again. Reads with `as_of` cannot find the
        contents of deleted blobs. `gc` also completes any interrupted `delete_frames(delete_sources=True)`.

        Parameters
        ----------
        grace : timedelta
            Grace period: a blob is deleted if it was marked at least this long ago.
        young : timedelta
            Keep blobs written more recently than this, because their frames may not be added yet. A blob that was marked
            or deleted and then stored again is kept for at least ten minutes.
        dry_run : bool
            Only report what would be done.

        Returns
        -------
        GcReport
            What was done. `str` gives a short summary.

        Raises
        ------
        UsageError
            Another log uses the blob store, an engine that shares it cannot be opened, or this engine shows the past.
        ConcurrencyError
            An engine joined or left the store during the call. Call again.
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

        If a blob is damaged, the next upload of the same content replaces it.

        Parameters
        ----------
        progress : callable, optional
            Called with the numbers of blobs and bytes read so far.
        executor : concurrent.futures.Executor, optional
            Runs the search of frames and the reads of blobs. By default they run in threads of this process.
        repair : Engine, str or path, optional
            Where to look for the contents of damaged and missing blobs, which are then stored again: an engine, a blob
            store (a folder or an fsspec URL), or a folder with any files. Every file in such a folder is hashed.

        Returns
        -------
        ScrubFindings
            Damaged, missing, foreign and repaired files.

        Raises
        ------
        UsageError
            `repair` is not an engine, a folder or a URL that can be opened, or this engine shows the past.
        """
        from .display.progress import notebook_bar
        from .maintenance import care

        source = repair.session if isinstance(repair, Engine) else repair
        with notebook_bar("reading blobs", progress) as advance:
            return care.scrub(self._present(), advance, executor, source)

    def status(self, *, blobs: bool = False) -> EngineStatus:
        """Return the contents and locations of the engine: log, datasets, drafts, projections and blob store.

        Parameters
        ----------
        blobs : bool
            Also count the blobs and their bytes, which lists the whole store.

        Raises
        ------
        UsageError
            This engine shows the past.
        """
        from .maintenance.status import status

        return status(self._present(), blobs=blobs)

    def missing_blobs(self) -> list[str]:
        """Return the digests of `referenced_blobs` that are missing in the store.

        Raises
        ------
        UsageError
            This engine shows the past.
        """
        return self._present().blob_access.missing()

    def checkpoint(self, key: PathLike | None = None) -> Checkpoint:
        """Return the head of the log as a checkpoint. Store it outside this machine.

        With it, `verify(against=...)` detects that the log was truncated or rewritten.

        Parameters
        ----------
        key : path, optional
            File with the private Ed25519 key that signs the checkpoint, as PEM, OpenSSH or 64 hex digits (extra `sign`).

        Raises
        ------
        InvalidValueError
            The file does not contain a private Ed25519 key.
        UsageError
            The key is encrypted, the library cryptography is not installed, or this engine shows the past.
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
        """Check the whole log, and compare every projection with a fresh replay.

        Parameters
        ----------
        progress : callable, optional
            Called with the amount done and the total: first of positions, then of versions, then of blobs.
        blobs : bool
            Also read the blobs that frames refer to, and compare them with their digests.
        against : Checkpoint or path, optional
            A checkpoint of this log. Check that the log is unchanged up to the checkpoint.
        public_key : path, optional
            File with the public Ed25519 key. Check that this key signed the checkpoint (extra `sign`).
        quick : bool
            Check only the database, the digest chain and the keys, not payloads and projections.
        executor : concurrent.futures.Executor, optional
            Runs the checks of the log, the versions and the blobs: a `ProcessPoolExecutor`, or ``Client.get_executor()``
            of Dask. By default they run in this thread.

        Returns
        -------
        Findings
            What was checked; no problem was found.

        Raises
        ------
        IntegrityError
            Problems were found. The attribute `problems` lists them with their positions.
        UsageError
            `blobs` is combined with `quick`, `public_key` is given without `against`, or this engine shows the past.
        """
        from .display.progress import notebook_bar
        from .maintenance import care

        with notebook_bar("verifying", progress) as advance:
            return care.verify(
                self._present(),
                advance,
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
        """Export the log to a portable file. An engine that imports it has the same positions and digests.

        Parameters
        ----------
        path : str or path
            The file to create. It appears only when it is complete.
        dataset : Dataset or str, optional
            Export only this dataset, with the events of its versions. The import gives these events new positions;
            contents, content digests and fingerprints stay the same.
        project : str, optional
            Project of the dataset. Required if several projects have a dataset of that name.
        format : {"jsonl", "parquet"}, optional
            File format. By default it is Parquet (extra `arrow`) if the name ends in ``.parquet``, else JSON Lines. JSON
            Lines are compressed if the name ends in ``.zst``.
        callback : callable, optional
            Called with the number of events written and the total.

        Raises
        ------
        ConflictError
            The file exists, or several projects have a dataset of that name.
        NotFoundError
            There is no such dataset.
        IntegrityError
            The log is damaged.
        """
        from .display.progress import notebook_bar
        from .portable.transfer import export_log

        session = self._present()
        if project is not None and not isinstance(dataset, str):
            raise UsageError("project needs a dataset name: give dataset= as well")
        chosen = None if dataset is None else _dataset_line(session, dataset, project)
        with notebook_bar("exporting", callback) as advance:
            return export_log(session, path, chosen, format, advance)

    def import_log(self, path: PathLike, *, callback: Progress | None = None) -> LogImport:
        """Import a file written by `export_log` into an engine with an empty log.

        A complete log keeps its uuid, positions, times, digests and command ids. An interrupted import resumes on the
        next call. The file does not contain blobs; the report lists the missing ones.

        Parameters
        ----------
        path : str or path
            The file.
        callback : callable, optional
            Called with the position reached and the position to reach.

        Raises
        ------
        ConflictError
            The log already holds other events.
        IntegrityError
            The file is damaged. Complete appends before the damage may be recorded.
        InvalidValueError
            The file is not such an export.
        """
        from .display.progress import notebook_bar
        from .portable.transfer import import_log
        from .session.blob_sharing import keep_listed

        session = self._writable()
        with keep_listed(session), notebook_bar("importing", callback) as advance:
            return import_log(session, path, advance)

    def copy_to(
        self,
        target: Engine | PathLike,
        *,
        blobs: PathLike | bool = True,
        callback: Progress | None = None,
    ) -> EngineCopy:
        """Copy the log, with the same positions and digests, and the blobs to another engine.

        Blobs are copied first, so that the copy never refers to a blob that it lacks. Then the log is copied in large
        transactions, and each batch is checked against its digests. Events that are appended during the call are not
        copied; call again to copy them. An interrupted copy resumes on the next call. The target replays the log to build
        its projections.

        Parameters
        ----------
        target : str, path or Engine
            An open engine, or a folder or URL as for `connect`, which is created if missing. It must be empty or an
            unchanged copy of this engine.
        blobs : str, path or bool
            Folder or URL for the blobs of the target, saved in its settings as by `connect`. True uses the default or saved
            place. False copies no blobs.
        callback : callable, optional
            Called with the amount done and the total: first of blobs, then of positions.

        Returns
        -------
        EngineCopy
            What was copied, and the blobs that could not be copied because they are missing or damaged here.

        Raises
        ------
        UsageError
            The target is this engine, or has no place for blobs, or `blobs` is given for an open engine.
        ConflictError
            The target holds other events, or was written to after it was copied.
        IntegrityError
            This log is damaged. The message gives the position; events before it may be recorded.
        """
        from .display.progress import notebook_bar
        from .maintenance.copy import copy_engine

        to = target.session if isinstance(target, Engine) else target
        with notebook_bar("copying", callback) as advance:
            return copy_engine(self.session, to, blobs, advance)

    def _writable(self) -> LiveSession:
        """Return the live session. Raises `UsageError` if this engine is read-only."""
        session = self._present()
        session.require_writable()
        return session

    def _present(self) -> LiveSession:
        """Return the live session. Raises `UsageError` if this engine shows the past."""
        self.session.require_present()
        return self.session  # pyright: ignore[reportReturnType] - require_present has checked it


def _dataset_line(session: LiveSession, dataset: Dataset | str, project: str | None) -> DatasetLine:
    from .hyperdatasets.dataset import Dataset
    from .hyperdatasets.selectors import find_dataset
    from .portable.schema import DatasetLine

    if isinstance(dataset, str):
        row = find_dataset(session, dataset_name=dataset, dataset_project=project)
        return DatasetLine(row.dataset_id, row.project, row.name)
    if not isinstance(dataset, Dataset):
        raise InvalidValueError(f"dataset must be a Dataset or its name, not {shorten(dataset)}")
    if session.log.stream_version(dataset.id) is None:
        raise NotFoundError(f"there is no dataset with id {dataset.id!r} in {session.log.name}")
    return DatasetLine(dataset.id, dataset.project, dataset.name)
