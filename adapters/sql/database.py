"""One SQL database: connections, transactions, and errors in our own words."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy import event, exc
from sqlalchemy.pool import NullPool, StaticPool

from ...engine.errors import ConflictError, FramelodeError, IntegrityError, StorageError, UsageError

LOCK_TIMEOUT_SECONDS = 60.0

# Two connections that write or checkpoint at once can corrupt a WAL database in these releases.
_WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))
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


def needs_write_lock(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> bool:
    """Say whether this SQLite release needs one writer at a time across processes."""
    first, last = _WAL_RESET_BUG
    return first <= version <= last


class Database:
    """A SQLite database, on a file or in memory.

    When it turns out to be damaged `on_damage` is called, and the error says the `remedy`.

    One connection reads, one writes, each guarded by a lock; in memory they are the same. Connections are
    opened anew after a fork.

    Parameters
    ----------
    path : Path or None
        The file; None for a database in memory.
    durable : bool
        Wait at each commit until the data is on the disk. Off only for data that can be rebuilt.

    Raises
    ------
    UsageError
        The folder cannot be written or the path is no file.
    IntegrityError
        The file is cut off or is no database.
    """

    def __init__(self, path: Path | None, *, durable: bool = True) -> None:
        self.path = path
        self.name = str(path) if path else "in memory"
        self._durable = durable
        self.on_damage: Callable[[], object] | None = None
        self.remedy = "restore it from a copy"
        self._read_lock = threading.RLock()
        self._write_lock = threading.RLock() if path else self._read_lock
        self._file_lock: FileLock | None = None
        self._reader: sa.Connection | None = None
        self._writer: sa.Connection | None = None
        self._open_transaction: object = None
        self._is_exclusive = False
        self._pid = os.getpid()
        if path:
            _check_file(path)
            if needs_write_lock():
                self._file_lock = FileLock(f"{path}-lock", thread_local=False)
        self._engine = self._create_engine()
        with self._translated(), self._locked():
            self._open()

    def _create_engine(self) -> sa.Engine:
        url = f"sqlite:///{self.path}" if self.path else "sqlite://"
        pool = NullPool if self.path else StaticPool
        arguments = {"check_same_thread": False, "timeout": LOCK_TIMEOUT_SECONDS}
        engine = sa.create_engine(url, poolclass=pool, connect_args=arguments, isolation_level="AUTOCOMMIT")
        event.listen(engine, "handle_error", _keep_when_interrupted)
        return engine

    def _open(self) -> None:
        self._writer = self._connect()
        self._reader = self._connect() if self.path else self._writer

    def _connect(self) -> sa.Connection:
        connection = self._engine.connect()
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
        return connection

    def use_write_ahead_log(self) -> None:
        """Switch the file to a write-ahead log; it stays so. Not before it is known to be ours."""
        if self.path:
            with self._write_lock, self._translated(), self._locked():
                self._live(self._writer).exec_driver_sql("PRAGMA journal_mode=WAL")

    @contextmanager
    def read(self) -> Generator[sa.Connection, None, None]:
        """Give the reading connection; every statement sees what is committed."""
        with self._read_lock, self._translated():
            self._reopen_after_fork()
            yield self._live(self._reader)

    @contextmanager
    def write(self) -> Generator[sa.Connection, None, None]:
        """Give the writing connection inside a transaction that excludes every other writer, and commit it.

        The first one inside `exclusive` takes over that transaction.
        """
        with (
            self._write_lock,
            self._translated(),
            self._transaction(takes_over=self._is_exclusive) as connection,
        ):
            self._is_exclusive = False
            yield connection
            # Each write commits for itself: one that an interrupt left open never holds what a later one has said is written.
            connection.exec_driver_sql("COMMIT")

    @contextmanager
    def exclusive(self) -> Generator[None, None, None]:
        """Exclude every other writer, up to the first `write` inside."""
        with self._write_lock, self._translated(), self._transaction():
            self._is_exclusive = True
            try:
                yield
            finally:
                self._is_exclusive = False

    @contextmanager
    def _transaction(self, *, takes_over: bool = False) -> Generator[sa.Connection, None, None]:
        """Begin a transaction, or take over the one that is open; what is not committed at the end is rolled back."""
        self._reopen_after_fork()
        connection = self._live(self._writer)
        mine = object()
        with self._locked():
            try:
                self._open_transaction = mine
                if not (takes_over and _is_open(connection)):
                    # An interrupt may have left an earlier one open.
                    _roll_back(connection)
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
            finally:
                # One that an interrupt left may end when another has begun.
                if self._open_transaction is mine:
                    _roll_back(connection)

    def _live(self, connection: sa.Connection | None) -> sa.Connection:
        if connection is None:
            raise UsageError(f"{self.name} is closed: connect again")
        return connection

    def data_version(self, connection: sa.Connection) -> int:
        """Return a number that changes when another connection has committed."""
        # A hot read, asked before every other: SQLAlchemy's execution would take ten times as long.
        raw: Any = connection.connection.driver_connection
        return raw.execute("PRAGMA data_version").fetchone()[0]

    def integrity_report(self, *, quick: bool = False) -> list[str]:
        """Run the database's own integrity check, the `quick` one without the indexes; an empty list means sound."""
        with self.read() as connection:
            lines = (
                connection.exec_driver_sql(f"PRAGMA {'quick' if quick else 'integrity'}_check")
                .scalars()
                .all()
            )
        return [] if list(lines) == ["ok"] else [str(line) for line in lines]

    def close(self) -> None:
        """Close the connections; the last one of a file moves the write-ahead log into it."""
        if self._writer is None and self._reader is None:
            # Garbage collection closes again, perhaps amid a write that holds the file's lock.
            return
        with self._write_lock, self._read_lock, self._translated(), self._locked():
            for connection in {self._writer, self._reader} - {None}:
                if connection is not None:
                    connection.close()
            self._writer = self._reader = None
            self._engine.dispose(close=self._pid == os.getpid())

    def _reopen_after_fork(self) -> None:
        if self._pid == os.getpid() or self.path is None:
            return
        # The parent's connections must neither be used nor closed here.
        self._pid = os.getpid()
        self._inherited = (self._writer, self._reader, self._file_lock)
        if self._file_lock:
            self._file_lock = FileLock(f"{self.path}-lock", thread_local=False)
        self._engine.dispose(close=False)
        with self._locked():
            self._open()

    @contextmanager
    def _locked(self) -> Generator[None, None, None]:
        if self._file_lock is None:
            yield
            return
        with self._file_lock.acquire(timeout=LOCK_TIMEOUT_SECONDS, poll_interval=0.001):
            yield

    @contextmanager
    def _translated(self) -> Generator[None, None, None]:
        try:
            yield
        except FramelodeError:
            raise
        except exc.DBAPIError as error:
            raise self._translate(error.orig or error, known=isinstance(error, exc.IntegrityError)) from error
        except sqlite3.Error as error:
            # What was asked past SQLAlchemy.
            raise self._translate(error, known=isinstance(error, sqlite3.IntegrityError)) from error
        except UnicodeDecodeError as error:
            # SQLite quotes damaged definitions in its messages, and Python's module cannot decode those.
            raise self._damaged(error) from error
        except TimeoutError as error:
            message = (
                f"{self.name} stayed locked by another process for {LOCK_TIMEOUT_SECONDS:.0f} s: try again"
            )
            raise StorageError(message) from error
        except OSError as error:
            raise UsageError(f"{self.name} cannot be written: {error.strerror or error}") from error

    def _translate(self, error: BaseException, *, known: bool) -> FramelodeError:
        """Return our error for one of the database's; `known` is one of a row that is there already."""
        message = f"{self.name}: {error}"
        if known:
            return ConflictError(message)
        if any(word in str(error) for word in _DAMAGE):
            return self._damaged(error)
        if "readonly" in str(error) or "unable to open" in str(error):
            return UsageError(f"{message}: give a folder that can be written")
        return StorageError(message)

    def _damaged(self, error: BaseException | None) -> IntegrityError:
        if self.on_damage is not None:
            self.on_damage()
        return IntegrityError(f"{self.name}: {error}: the file is damaged; {self.remedy}", file=self.name)


def _keep_when_interrupted(context: sa.ExceptionContext) -> None:
    """Keep a connection that a KeyboardInterrupt came upon: SQLite's is sound, and one in memory holds everything."""
    if not isinstance(context.original_exception, Exception):
        context.is_disconnect = False


def _is_open(connection: sa.Connection) -> bool:
    raw: Any = connection.connection.driver_connection
    return raw is not None and raw.in_transaction


def _roll_back(connection: sa.Connection) -> None:
    if _is_open(connection):
        raw: Any = connection.connection.driver_connection
        raw.rollback()


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a database file")
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        header = file.read(100)
    if not header.startswith(b"SQLite format 3\0"):
        raise IntegrityError(f"{path} is not a SQLite database: restore it from a copy", file=str(path))
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        return
    page_size = int.from_bytes(header[16:18], "big")
    expected = (65536 if page_size == 1 else page_size) * int.from_bytes(header[28:32], "big")
    if path.stat().st_size < expected:
        message = (
            f"{path} is cut off: it has {path.stat().st_size} bytes of {expected}; restore it from a copy"
        )
        raise IntegrityError(message, file=str(path))
