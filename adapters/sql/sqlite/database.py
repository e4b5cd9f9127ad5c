"""SQLite databases, in a file or in memory."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.pool import NullPool, StaticPool
from sqlalchemy.util import LRUCache

from ....engine import forks
from ....engine.errors import FramelodeError, IntegrityError, StorageError, UsageError
from ....engine.storage import held_files
from ....engine.storage.atomic_files import reading
from ....engine.storage.modes import UNWRITABLE, create_file, make_folder
from ..database import Database, forget, keep_when_interrupted
from .file import LOG_MARK, PROJECTIONS_MARK, check_file, check_size
from .guards import SqliteGuards
from .read_only_file import ReadOnlyFile
from .types import check_values, compile_tables, table_names
from .write_lock import WriteLock

logger = logging.getLogger("framelode.sqlite")

_CACHE_KIB = 8192
"""Pages that a connection keeps at most. With SQLite's own 2 MB, scans of small batches read each page again."""

LOCK_TIMEOUT_SECONDS = 60.0

_carried: dict[tuple[int, int], list[object]] = {}
"""Files that were in use when this process was forked, with the parent's connections. The references keep them open."""

_DAMAGE = (
    "malformed",
    "not a database",
    "unsupported file format",
    "corrupt",
    "database schema",
    "no such column",
    "no such table",
    "has no column named",
    "syntax error",
    "unrecognized token",
    "decode to UTF-8",
)


class SqliteDatabase(Database):
    """A SQLite database. In memory, one connection reads and writes.

    Writers of a file hold a separate file lock. SQLite 3.7.0 to 3.51.2 can corrupt a file if two processes write or
    checkpoint at once. The lock of SQLite is also not fair: a process may wait forever while another one keeps writing.

    A connection must not be used after a fork. SQLite keeps its locks in process memory, so a child process would have
    none, and would lose its writes when the parent closes the file. Connections are closed before a fork and opened
    again when they are needed.

    Parameters
    ----------
    path : Path or None
        The file; None for a database in memory.
    durable : bool
        Wait at each commit until the data is on disk. Off only for data that can be rebuilt.
    read_only : str
        Why the file is only read, for messages; empty if it may be written. No file is made then, and no lock is taken.

    Raises
    ------
    UsageError
        The folder is not writable, or the path is not a file.
    IntegrityError
        The file is truncated or not a database.
    """

    kind: ClassVar[str] = "the file"

    def __init__(self, path: Path | None, *, durable: bool = True, read_only: str = "") -> None:
        self.path = path
        self.guards = SqliteGuards()
        self._durable = durable
        self._read_only_file: ReadOnlyFile | None = None
        self._file_lock: WriteLock | None = None
        self._file: tuple[int, int] | None = None
        self._held: dict[int, held_files.FileId] = {}
        if path and read_only:
            with reading(path):
                check_file(path, durable=durable)
                self._read_only_file = ReadOnlyFile(path)
        elif path:
            self._prepare_file(path)
            self._file_lock = self._make_lock()
        self._connected = 0
        super().__init__(
            str(path) if path else "in memory", shares_connection=path is None, read_only=read_only
        )
        forks.before_fork(self._leave)

    def _prepare_file(self, path: Path) -> None:
        """Check that a file can be opened, and create it if it is missing. SQLite copies its mode to its other files."""
        with reading(path):
            check_file(path, durable=self._durable)
            try:
                if not os.path.lexists(path):
                    make_folder(path.parent)
                    with suppress(FileExistsError):
                        held_files.close(create_file(path))
            except OSError as error:
                if error.errno not in UNWRITABLE:
                    raise
                raise UsageError(f"{path}: {error.strerror}: give a folder that can be written") from error

    def _make_lock(self) -> WriteLock:
        return WriteLock(f"{self.path}-lock", f"{self.path}-turn")

    def _create_engine(self) -> sa.Engine:
        file = self._read_only_file
        # What opens a connection does not refer to the database, which is closed as soon as nobody has it any more.
        connect: Any = partial(
            sqlite3.connect,
            file.uri if file else self.path or ":memory:",
            uri=file is not None,
            timeout=LOCK_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        shared = _shared_engine(durable=self._durable)
        pool = (NullPool if self.path else StaticPool)(connect, dialect=shared.dialect)
        return sa.Engine(pool, shared.dialect, shared.url, execution_options=shared.get_execution_options())

    def _connect(self) -> sa.Connection:
        if self.path and self._file:
            self.require_in_place()
        elif self.path:
            # Under the lock no other process writes the file.
            with reading(self.path):
                check_size(self.path)
        held = held_files.hold(self.path) if self.path else None
        try:
            connection = self._engine.connect()
        except BaseException:
            if held:
                held_files.release(held)
            raise
        if held:
            self._held[id(connection)] = held
        run(connection, f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
        run(connection, f"PRAGMA cache_size={-_CACHE_KIB}")
        self._file = self._file or _file_at(self.path)
        self._connected += 1
        return connection

    def _disconnect(self, connection: sa.Connection) -> None:
        try:
            super()._disconnect(connection)
        finally:
            if held := self._held.pop(id(connection), None):
                held_files.release(held)

    def _opened(self) -> sa.Connection:
        # Before the file lock, which the parent may hold.
        if _file_at(self.path) in _carried:
            raise UsageError(
                f"{self.name} was being read or written when this process was forked, so SQLite cannot be used: "
                "fork between two calls, or connect in a process that was not forked"
            )
        return super()._opened()

    def _leave(self) -> None:
        """Close the connections before a fork."""
        if self.path is None or forks.is_busy(self._read_lock, self._write_lock):
            return
        try:
            with self._translated():
                self._disconnect_all()
        except FramelodeError as error:
            logger.warning("%s; a forked child cannot use it", error)

    def _renew(self) -> None:
        if self._file:
            for connection in self._connections():
                forget(connection)
                _carried.setdefault(self._file, []).append(connection)
        super()._renew()

    def _begin(self, connection: sa.Connection) -> None:
        run(connection, "BEGIN IMMEDIATE")
        if self._durable and self.path:
            self.require_in_place()

    def _begin_snapshot(self, connection: sa.Connection, tables: Sequence[str]) -> None:  # noqa: ARG002 - it sees all of them
        run(connection, "BEGIN")

    def _commit(self, connection: sa.Connection) -> None:
        run(connection, "COMMIT")

    def require_in_place(self) -> None:
        """Raise `IntegrityError` if the path no longer leads to the open file, because further writes would be lost."""
        if self.path is None:
            return
        found = _file_at(self.path)
        # The file of a new database appears with the first transaction.
        self._file = self._file or found
        if self._file is None or found != self._file:
            raise IntegrityError(
                f"{self.path} was deleted, moved or replaced since it was opened, and nothing more is recorded: "
                "connect to its new location, or restore it from a copy",
                file=self.name,
            )

    def _is_open(self, connection: sa.Connection) -> bool:
        raw: Any = connection.connection.driver_connection
        return raw is not None and raw.in_transaction

    def prepare(self, connection: sa.Connection) -> None:
        """Mark the file as ours, in an open transaction."""
        mark = LOG_MARK if self._durable else PROJECTIONS_MARK
        run(connection, f"PRAGMA application_id={mark}")

    def adopt(self) -> None:
        """Switch the file to WAL mode, which is persistent."""
        if self.path and not self.read_only:
            with self._write_lock, self._translated(), self._locked():
                run(self._writing(), "PRAGMA journal_mode=WAL").fetchone()

    def opener(self) -> Callable[[], Database]:
        """Return a function that opens the file in another process. A database in memory has none."""
        if self.path is None:
            raise UsageError("a log in memory cannot be read by other processes: connect to a folder")
        return partial(_open_existing, self.path, durable=self._durable, read_only=self.read_only)

    def identity(self) -> str:
        """Return the device and inode number of the file."""
        if self.path is None:
            return f"memory {id(self)}"
        with self._translated():
            found = os.stat(self.path)  # noqa: PTH116
        return f"{found.st_dev} {found.st_ino}"

    def table_names(self) -> set[str]:
        """Return the names of the existing tables."""
        with self.read() as connection:
            return set(table_names(connection))

    def data_version(self, connection: sa.Connection) -> tuple[int, int]:
        """Return a number that changes when another connection commits."""
        # The numbers of different connections cannot be compared.
        return self._connected, run(connection, "PRAGMA data_version").fetchone()[0]

    def integrity_report(self, *, quick: bool = False) -> list[str]:
        """Run the integrity check of SQLite and return the problems. A `quick` check skips the indexes."""
        with self.read() as connection:
            lines = [line for (line,) in run(connection, f"PRAGMA {'quick' if quick else 'integrity'}_check")]
        return [] if lines == ["ok"] else [str(line) for line in lines]

    def close(self) -> None:
        """Close the connections. The last connection to a file moves the write-ahead log into it."""
        super().close()
        if self._file_lock is not None:
            self._file_lock.close()
        if self._read_only_file is not None:
            self._read_only_file.close()

    def load(self, source: SqliteDatabase) -> None:
        """Replace everything in this database, which is in memory, by what another one holds."""
        with self._translated(), source.read() as reader, self._write_lock:
            there: Any = reader.connection.driver_connection
            here: Any = self._writing().connection.driver_connection
            there.backup(here)

    @contextmanager
    def _locked(self) -> Generator[None, None, None]:
        if self._file_lock is None:
            yield
            return
        lock = self._file_lock
        lock.acquire(LOCK_TIMEOUT_SECONDS)
        try:
            yield
        finally:
            lock.release()

    def _ours(self, error: Exception) -> FramelodeError | None:
        match error:
            case FramelodeError():
                return super()._ours(error)
            case sqlite3.Error():  # of a statement that was not run by SQLAlchemy
                return self._translate(error, known=isinstance(error, sqlite3.IntegrityError))
            case UnicodeDecodeError():
                # SQLite messages quote damaged definitions, which Python's module may fail to decode.
                return self._damaged(error)
            case TimeoutError():
                return StorageError(
                    f"{self.name} was locked by another process for {LOCK_TIMEOUT_SECONDS:.0f} s: try again"
                )
            case OSError():
                return UsageError(f"{self.name} cannot be written: {error.strerror or error}")
            case _:
                return super()._ours(error)

    def _translate(self, error: BaseException, *, known: bool) -> FramelodeError:
        if not known:
            if any(word in str(error) for word in _DAMAGE):
                return self._damaged(error)
            if "readonly" in str(error) or "unable to open" in str(error):
                return UsageError(f"{self.name}: {error}: give a folder that can be written")
        return self._error(error, known=known)


def run(connection: sa.Connection, statement: str) -> Any:
    """Execute a frequent statement: execution by SQLAlchemy would take ten times as long."""
    raw: Any = connection.connection.driver_connection
    return raw.execute(statement)


@cache
def _shared_engine(*, durable: bool) -> sa.Engine:
    """Return an engine that lends its dialect and its cache of compiled statements to those of all databases.

    To compile a statement takes ten times as long as to execute it.
    """
    cached = {"compiled_cache": LRUCache[Any, Any](500)}
    engine = sa.create_engine(
        "sqlite://", poolclass=NullPool, isolation_level="AUTOCOMMIT", execution_options=cached
    )
    compile_tables(engine.dialect)
    if not durable:
        # A log checks what it reads itself, and knows the position.
        check_values(engine.dialect)
    # One in memory holds everything.
    keep_when_interrupted(engine)
    with engine.connect():
        # The dialect has asked for the release of SQLite.
        return engine


def _file_at(path: Path | None) -> tuple[int, int] | None:
    """Return the identity of a file; None if there is no file."""
    try:
        found = os.stat(path) if path else None  # noqa: PTH116 - asked for each transaction
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def _open_existing(path: Path, *, durable: bool, read_only: str) -> SqliteDatabase:
    """Open an existing database. Does not create one."""
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    return SqliteDatabase(path, durable=durable, read_only=read_only)
