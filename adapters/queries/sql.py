"""Runs a statement of SQL over versions with DuckDB (extra `sql`), which reaches nothing but the tables of `tables`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from threading import Thread
from time import monotonic
from typing import Any, Self, TypeVar

import msgspec

from ...engine.errors import InvalidValueError, StorageError, UsageError
from ...engine.keys import is_plain_id
from ...engine.log.moments import Moment
from ...engine.validation import at_least, check_text, did_you_mean, is_series, number, refusal, shorten
from ...projections.tables.catalog import VersionRow
from ..hyperdatasets.address import Address, version_at
from ..session.session import Session

try:
    import duckdb
    import pyarrow as pa
except ImportError as _error:
    raise UsageError("SQL needs the libraries duckdb and pyarrow: pip install 'framelode[sql]'") from _error

from . import tables
from .statement import FUNCTIONS, SEPARATOR, Reference, Statement, read_statement, refused

_DESCRIBE = "DESCRIBE "
_ROWS_AT_ONCE = 8192
_MOST_ROWS = 1 << 20
_WAIT = 0.1
_PATIENCE = 2.0
"""So many seconds DuckDB has to end a run that is interrupted. It looks for that between two calls of a function."""

_MAX_LEVELS = 250

_SCHEMAS = {
    "frames": tables.FRAMES,
    "annotations": tables.ANNOTATIONS,
    "sources": tables.SOURCES,
    "changes": tables.CHANGES,
    "versions": tables.VERSIONS,
    "log": tables.LOG,
}
_CHEAPEST = {"frames": "position", "annotations": "number", "sources": "number"}
"""The column that is read to count rows, where it is not the first one."""

_CLOSED = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "max_expression_depth": str(_MAX_LEVELS),
}

Result = TypeVar("Result")
Parameters = Sequence[Any] | Mapping[str, Any] | None
_Opened = tuple[tables.Table, Reference]


class Limits(msgspec.Struct, frozen=True):
    """What one run of a statement may use.

    Attributes
    ----------
    timeout : float or None
        Seconds until its last row is read; None is no limit.
    memory_limit : str
        Memory of DuckDB, such as ``1GB``.
    threads : int or None
        Threads of DuckDB; None is one for each core.
    """

    timeout: float | None
    memory_limit: str
    threads: int | None


class SqlResult:
    """The rows of an SQL statement. Each method runs the statement again, at the same point in time.

    Rows are streamed. The result is also an Arrow stream, which other libraries read: ``pyarrow.table(result)``,
    ``polars.DataFrame(result)``.

    Attributes
    ----------
    columns : list of str
        The names of the columns.
    types : list of str
        Their types in DuckDB.

    Raises
    ------
    InvalidQueryError
        A value cannot be converted, or the statement fails on the rows.
    UsageError
        The time limit or the memory limit is exceeded.
    """

    columns: list[str]
    types: list[str]

    def __init__(self, job: _Job) -> None:
        self._job = job
        with _Run(job) as run:
            described = run.rows(f"{_DESCRIBE}{job.statement.runnable}", len(_DESCRIBE))
            found = [(name, kind) for name, kind, *_ in described]
        self.columns, self.types = [name for name, _ in found], [kind for _, kind in found]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {kind}" for name, kind in zip(self.columns, self.types, strict=True))
        return f"SqlResult({shown})"

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows as tuples."""
        with _Run(self._job) as run:
            yield from run.rows(self._job.statement.runnable)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows as tuples."""
        return list(self)

    def fetchone(self) -> Any:
        """Return the first row as a tuple, None if there is none."""
        return next(iter(self), None)

    def to_dicts(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as dicts by the names of the columns. If several have a name, the last one counts."""
        return (dict(zip(self.columns, row, strict=True)) for row in self)

    def to_arrow_reader(self, rows: int = _ROWS_AT_ONCE) -> pa.RecordBatchReader:
        """Return the rows as a stream of batches.

        Parameters
        ----------
        rows : int
            Most rows of a batch.
        """
        size, run = min(at_least(rows, "rows", 1), _MOST_ROWS), _Run(self._job)
        reader = run.reader(size)
        return pa.RecordBatchReader.from_batches(reader.schema, run.batches(reader))

    def to_arrow(self) -> pa.Table:
        """Return all rows as a table of Arrow."""
        return self.to_arrow_reader().read_all()

    def to_pandas(self) -> Any:
        """Return all rows as a data frame of pandas."""
        with _Run(self._job) as run:
            return run.call(lambda: run.executed(self._job.statement.runnable).df())

    def to_polars(self) -> Any:
        """Return all rows as a data frame of polars."""
        from ..arrow.files import polars_frame

        return polars_frame(self.to_arrow())

    def to_parquet(self, path: str | os.PathLike[str]) -> int:
        """Write all rows into a Parquet file, atomically, and return their number."""
        from ..arrow.files import write_parquet

        return write_parquet(self.to_arrow_reader(), path)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows as a stream of Arrow."""
        return self.to_arrow_reader().__arrow_c_stream__(requested_schema)


def run_sql(
    session: Session, text: str, parameters: Parameters, as_of: Moment | None, limits: Limits
) -> SqlResult:
    """Return the result of a statement; see `Engine.sql`."""
    at = session.at(as_of)
    _check_limits(limits)
    given = _checked(parameters)
    database = _database(limits)
    statement = read_statement(database, text, given)
    return SqlResult(_Job(statement, _opened(at, _merged(statement.references)), given, limits, database))


def _check_limits(limits: Limits) -> None:
    timeout, threads = limits.timeout, limits.threads
    if timeout is not None and number(timeout, "timeout") <= 0:
        raise refusal("timeout", timeout, "a number of seconds greater than 0")
    if threads is not None:
        at_least(threads, "threads", 1)
    check_text(limits.memory_limit, "memory_limit")


def _checked(parameters: Any) -> Parameters:
    if parameters is None or isinstance(parameters, Mapping):
        return None if parameters is None else dict(parameters)
    if not is_series(parameters):
        raise InvalidValueError(f"parameters must be a list or a dict of values, not {shorten(parameters)}")
    return list(parameters)


def _merged(references: Sequence[Reference]) -> list[Reference]:
    """Return one reference of each table, with the columns of all."""
    merged: dict[str, Reference] = {}
    for each in references:
        known = merged.get(each.name)
        if known is not None:
            columns = None if known.columns is None or each.columns is None else known.columns | each.columns
            each = msgspec.structs.replace(each, columns=columns)  # noqa: PLW2901
        merged[each.name] = each
    return list(merged.values())


def _opened(session: Session, references: Sequence[Reference]) -> dict[str, _Opened]:
    """Return the tables at one moment, by the names under which they are registered."""
    head = session.log.head().position
    found = {each.name: (_table(session, each), each) for each in references}
    if session.log.head().position == head:
        return found
    past = session.at(head)  # something was written in between
    return {each.name: (_table(past, each), each) for each in references}


def _table(session: Session, reference: Reference) -> tables.Table:
    if reference.table == "versions":
        return tables.versions_table(session)
    if reference.table == "log":
        return tables.log_table(session)
    at = session.at(reference.moment())
    if reference.table == "changes":
        old, new = (_version(at, reference.argument(name)) for name in ("from_version", "to_version"))
        return tables.changes_table(at, old, new)
    version = _version(at, reference.argument("version"))
    return tables.version_table(at, version, reference.argument("query"), _SCHEMAS[reference.table])


def _version(session: Session, text: str) -> VersionRow:
    """Return the version that an address or an id names."""
    return version_at(session, Address.parse(f"id:{text}" if is_plain_id(text) else text))


class _Source:
    """The rows of a table as DuckDB reads them: a new stream at each call.

    Attributes
    ----------
    schema : pyarrow.Schema
        The columns.
    error : BaseException or None
        What was raised while rows were read.
    """

    def __init__(self, table: tables.Table, reference: Reference) -> None:
        self._table = table
        self.schema = table.schema
        self.error: BaseException | None = None
        if reference.columns is not None:
            fields = [field for field in self.schema if field.name in reference.columns]
            one = self.schema.field(_CHEAPEST.get(reference.table, self.schema.names[0]))
            self.schema = pa.schema(fields or [one])

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        reader = pa.RecordBatchReader.from_batches(self.schema, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Generator[pa.RecordBatch, None, None]:
        try:
            yield from self._table.read(self.schema)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


class _Job(msgspec.Struct, frozen=True):
    """A statement with everything that a run of it needs. Its database has no rows: each run registers them anew."""

    statement: Statement
    tables: dict[str, _Opened]
    parameters: Parameters
    limits: Limits
    database: duckdb.DuckDBPyConnection
    process: int = msgspec.field(default_factory=os.getpid)


class _Run:
    """One run of a statement, in threads of its own, so that it can be interrupted at any time.

    Raises
    ------
    UsageError
        The process was forked after the statement was read.
    """

    def __init__(self, job: _Job) -> None:
        if os.getpid() != job.process:
            raise UsageError("a result of SQL cannot be read in a forked process: call engine.sql there")
        timeout = job.limits.timeout
        self._job = job
        self._ends = None if timeout is None else monotonic() + timeout
        self._skipped = 0
        self._is_left = False
        self._connection = job.database.cursor()
        self._sources = {name: _Source(*opened) for name, opened in job.tables.items()}
        for name, source in self._sources.items():
            self._connection.register(name, source)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_left:
            self._connection.close()

    def executed(self, text: str) -> duckdb.DuckDBPyConnection:
        """Run a text; only in a thread of `call`."""
        return self._connection.execute(text, self._job.parameters)

    def rows(self, text: str, skipped: int = 0) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a text, whose first bytes are not of the statement."""
        self._skipped = skipped
        cursor = self.call(lambda: self.executed(text))
        while some := self.call(lambda: cursor.fetchmany(_ROWS_AT_ONCE)):
            yield from some

    def reader(self, size: int) -> pa.RecordBatchReader:
        """Return the rows of the statement as a stream."""
        text, given = self._job.statement.runnable, self._job.parameters
        return self.call(lambda: self._connection.sql(text, params=given).to_arrow_reader(size))

    def batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        """Yield the batches of a stream of this run."""
        with self:
            while (batch := self.call(lambda: next(reader, None))) is not None:
                yield batch

    def call(self, work: Callable[[], Result]) -> Result:
        """Return the result of some work in a thread.

        Raises
        ------
        UsageError
            The time is over, or more memory is needed than the limit.
        InvalidQueryError
            The statement is wrong.
        """
        future: Future[Result] = Future()
        Thread(target=_fulfil, args=(future, work), name="framelode-sql").start()
        try:
            self._await(future)
            return future.result()
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._translated(error) from None
        except BaseException:
            self._stop(future)
            raise

    def _await(self, future: Future[Any]) -> None:
        """Wait for the thread. Raises `UsageError` when the time is over."""
        # Python looks for signals between two waits: other libraries may have asked the system to restart a wait.
        while not wait([future], _WAIT).done:
            if self._ends is not None and monotonic() > self._ends:
                limit = f"timeout={self._job.limits.timeout} s"
                raise UsageError(f"the statement takes longer than {limit}: raise it, or read less")

    def _stop(self, future: Future[Any]) -> None:
        """Interrupt the thread. One that is in a function which takes long is left to end by itself."""
        self._connection.interrupt()
        self._is_left = not wait([future], _PATIENCE).done

    def _translated(self, error: BaseException) -> BaseException:
        raised = [source.error for source in self._sources.values() if source.error is not None]
        if raised:
            return raised[0]
        kind, told = _told(error)
        if kind == "Interrupt" or "INTERRUPT" in str(error):
            return KeyboardInterrupt()
        message = told.get("exception_message", "")
        if kind == "Out of Memory":
            limit = self._job.limits.memory_limit
            return UsageError(
                f"the statement needs more memory than memory_limit={limit!r}: raise it, or read less"
            )
        if "expression depth" in message:
            return refused("the statement is nested too deeply")
        if kind in {"INTERNAL", "Internal", "FATAL", "Fatal", "IO"}:
            return StorageError(f"DuckDB failed: {_line(message)}")
        offset = told.get("position")
        place = None if offset is None else self._job.statement.place(int(offset) - self._skipped)
        return refused(self._explained(told, message), place)

    def _explained(self, told: dict[str, Any], message: str) -> str:
        name = told.get("name", "")
        match told.get("error_subtype"):
            case "COLUMN_NOT_FOUND" if name:
                known = dict.fromkeys(
                    column for each in self._job.statement.references for column in _SCHEMAS[each.table].names
                )
                shown = f": the tables have {', '.join(known)}" if known else ""
                return f"there is no column {shorten(name)}{shown}{did_you_mean(name, known)}"
            case "MISSING_ENTRY" if name:
                near = [each for each in str(told.get("candidates", "")).split(", ") if each]
                what = str(told.get("type", "entry")).lower()
                return f"there is no {what} {shorten(name)}{did_you_mean(name, near)}"
            case _:
                return _line(message)


def _fulfil(future: Future[Result], work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
        future.set_exception(error)


def _database(limits: Limits) -> duckdb.DuckDBPyConnection:
    """Return a database in memory that has nothing but the macros of the tables, and reaches nothing."""
    settings: dict[str, Any] = {**_CLOSED, "memory_limit": limits.memory_limit}
    if limits.threads is not None:
        settings["threads"] = str(limits.threads)
    try:
        database = duckdb.connect(":memory:", config=settings)
    except duckdb.Error as error:
        raise InvalidValueError(f"memory_limit={shorten(limits.memory_limit)}: {_line(str(error))}") from None
    for name, arguments in FUNCTIONS.items():
        database.execute(_macro(name, arguments))
    for setting in ("TimeZone = 'UTC'", "errors_as_json = true", "lock_configuration = true"):
        database.execute(f"SET GLOBAL {setting}")
    return database


def _macro(name: str, arguments: Sequence[str]) -> str:
    """Return the statement that defines a table with arguments: its rows are registered under a name of all values."""
    # The first argument is needed, and so are both versions of changes.
    asked = ", ".join(each if "version" in each else f"{each} := NULL" for each in arguments)
    parts = f", chr({ord(SEPARATOR)}), ".join((f"'{name}'", *arguments))
    return f"CREATE MACRO {name}({asked}) AS TABLE FROM query_table(sha256(concat({parts})))"


def _told(error: BaseException) -> tuple[str, dict[str, Any]]:
    """Return what an error of DuckDB says: its kind and its fields."""
    kind, _, rest = str(error).partition(" Error: ")
    try:
        told = json.loads(rest)
    except ValueError:
        return kind, {"exception_message": rest or kind}
    return kind, told if isinstance(told, dict) else {"exception_message": rest}


def _line(message: str) -> str:
    """Return the first line of a message."""
    return message.strip().partition("\n")[0].rstrip("!")
