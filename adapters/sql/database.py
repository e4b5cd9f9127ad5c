"""The database interface of the log and the projections: connections, transactions and errors."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from ...engine import forks
from ...engine.errors import ConflictError, FramelodeError, IntegrityError, StorageError, UsageError
from ...engine.log.contract import AppendWatch
from ...projections.columns import BadValueError
from ...projections.statements import DirectQuery
from . import upsert  # noqa: F401  # pyright: ignore[reportUnusedImport] - registers how an `Upsert` is compiled

_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds to wait before each retry."""

Result = TypeVar("Result")


class RetryableError(StorageError):
    """A transaction failed for a transient reason, such as a lost connection or a deadlock. It can be retried."""


def read_only_error(name: str, reason: str) -> UsageError:
    """Return the error of a write to what is open read-only.

    Parameters
    ----------
    name : str
        What is open.
    reason : str
        Why it is read-only.
    """
    return UsageError(f"{name} is open read-only, because {reason}: nothing can be recorded")


class Database(ABC):
    """A SQL database, or one schema of it.

    If the database turns out to be damaged, `on_damage` is called, and the error message gives the `remedy`.

    One connection reads and one writes, each protected by a lock. Where only one connection is possible, it does both. A
    forked child process opens its own connections when it first needs them.

    Parameters
    ----------
    name : str
        Name in messages: the file, or the URL without the password.
    shares_connection : bool
        Use one connection for reading and writing.
    read_only : str
        Why nothing is written, for messages; empty if it may be written.

    Raises
    ------
    UsageError
        The location cannot hold a database, or is not writable.
    IntegrityError
        The database is damaged, or the file is not a database.
    StorageError
        The server cannot be reached.
    """

    kind: ClassVar[str] = "the database"
    guards: Guards
    """The triggers that keep the tables of a log append-only."""

    def __init__(self, name: str, *, shares_connection: bool = False, read_only: str = "") -> None:
        self.name = name
        self.read_only = read_only
        self.on_damage: Callable[[], object] | None = None
        self.remedy = "restore it from a copy"
        self._shares_connection = shares_connection
        self._is_closed = False
        self._reader: sa.Connection | None = None
        self._writer: sa.Connection | None = None
        self._engine = self._create_engine()
        forks.renewed(self._renew)
        with self._translated():
            self._writer = None if read_only else self._opened()
            self._reader = self._writer if shares_connection else self._opened()

    def _renew(self) -> None:
        """Create the locks. A forked child must neither use nor close the connections of its parent."""
        self._read_lock = forks.lock()
        self._write_lock = self._read_lock if self._shares_connection else forks.lock()
        self._open_transaction: object = None
        self._exclusive_thread: int | None = None
        if not self._shares_connection:
            for connection in self._connections():
                forget(connection)
            self._writer = self._reader = None
            self._engine.dispose(close=False)

    def _connections(self) -> set[sa.Connection]:
        return {each for each in (self._writer, self._reader) if each is not None}

    @abstractmethod
    def _create_engine(self) -> sa.Engine:
        """Return the SQLAlchemy engine. It must not begin transactions by itself."""

    @abstractmethod
    def _connect(self) -> sa.Connection:
        """Return a new connection, ready for use."""

    def _disconnect(self, connection: sa.Connection) -> None:
        """Close a connection."""
        connection.close()

    @abstractmethod
    def _begin(self, connection: sa.Connection) -> None:
        """Begin a transaction that excludes all other writers. Waits for writers that are active."""

    @abstractmethod
    def _begin_snapshot(self, connection: sa.Connection, tables: Sequence[str]) -> None:
        """Begin a transaction in which all statements see what was committed before the first one."""

    def _commit(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql("COMMIT")

    @abstractmethod
    def _is_open(self, connection: sa.Connection) -> bool:
        """Whether the connection has an open transaction."""

    @abstractmethod
    def _translate(self, error: BaseException, *, known: bool) -> FramelodeError:
        """Return the framelode error for a database error. `known` is true for a violated constraint."""

    def together(self, connection: sa.Connection) -> AbstractContextManager[object]:  # noqa: ARG002 - used by servers
        """Send the direct statements inside the block without waiting for each answer.

        Results are available, and errors are raised, at the end of the block.
        """
        return nullcontext()

    def first_rows(
        self, connection: sa.Connection, queries: Sequence[tuple[DirectQuery, Sequence[Any]]]
    ) -> list[Any]:
        """Return the first row of each of some queries with its values, or None, without waiting for each answer."""
        return [query.row(connection, values) for query, values in queries]

    @abstractmethod
    def data_version(self, connection: sa.Connection) -> object:
        """Return a value that changes when another connection commits; None if the database has no such value."""

    @abstractmethod
    def integrity_report(self, *, quick: bool = False) -> list[str]:
        """Run the database's own integrity check and return the problems. A `quick` check skips the indexes."""

    @abstractmethod
    def table_names(self) -> set[str]:
        """Return the names of the existing tables."""

    @abstractmethod
    def opener(self) -> Callable[[], Database]:
        """Return a picklable function that opens the database in another process. Raises `UsageError` if none can."""

    @abstractmethod
    def identity(self) -> str:
        """Return an identifier that no other database has, not even a copy, while the server runs."""

    @property
    def reads_while_writing(self) -> bool:
        """Whether other threads can read while one writes."""
        return not self._shares_connection

    @abstractmethod
    def prepare(self, connection: sa.Connection) -> None:
        """Create the schema or mark the file, in an open transaction."""

    @abstractmethod
    def adopt(self) -> None:
        """Apply persistent settings. Call it only when the database is known to belong to framelode."""

    @contextmanager
    def read(self) -> Generator[sa.Connection, None, None]:
        """Yield the reading connection. Each statement sees what is committed."""
        if forks.pending.is_set():
            forks.give_way()
        with self._read_lock:
            # This is a hot path: `_translated` would take as long as the statement.
            try:
                yield self._reading()
            except Exception as error:
                ours = self._ours(error)
                if ours is None:
                    raise
                raise ours from error

    @contextmanager
    def snapshot(self, tables: Sequence[str]) -> Generator[sa.Connection, None, None]:
        """Yield the reading connection in a transaction that sees the current state of some tables."""
        with self.read() as connection:
            try:
                self._begin_snapshot(connection, tables)
                yield connection
            finally:
                self._roll_back(connection)

    @contextmanager
    def write(self) -> Generator[sa.Connection, None, None]:
        """Yield the writing connection in a transaction that excludes all other writers, then commit.

        The first `write` inside `exclusive` continues its transaction.
        """
        self._require_writable()
        if forks.pending.is_set():
            forks.give_way()
        with (
            self._write_lock,
            self._translated(),
            self._transaction(takes_over=self.is_exclusive) as connection,
        ):
            self._exclusive_thread = None
            yield connection
            if connection is not self._writer:
                # The process forked inside the block: the transaction belongs to the parent.
                raise self.lost()
            # Each write commits its own transaction, so one left open by an interrupt cannot hold data reported as written.
            self._commit(connection)
            self._open_transaction = None

    @contextmanager
    def exclusive(self) -> Generator[None, None, None]:
        """Exclude all other writers until the first `write` inside the block has committed."""
        self._require_writable()
        forks.give_way()
        with self._write_lock, self._translated(), self._transaction():
            self._exclusive_thread = threading.get_ident()
            try:
                yield
            finally:
                self._exclusive_thread = None

    @property
    def is_exclusive(self) -> bool:
        """Whether this thread is inside `exclusive` and has not written yet."""
        return self._exclusive_thread == threading.get_ident()

    def announce(self) -> None:  # noqa: B027 - optional
        """Notify watchers when the open transaction is committed."""

    @contextmanager
    def watch(self) -> Generator[AppendWatch, None, None]:
        """Yield an object that waits for announcements."""
        yield AppendWatch()

    def retried(self, work: Callable[[bool], Result]) -> Result:
        """Call a function, and retry it with increasing waits while it raises `RetryableError`.

        Parameters
        ----------
        work : callable
            Receives whether this is a retry. An earlier try may have been committed.
        """
        for again, wait in enumerate(_WAITS):
            try:
                return work(again > 0)
            except RetryableError:
                time.sleep(wait)
        return work(True)

    def require_in_place(self) -> None:  # noqa: B027 - the database of a server does not move
        """Raise `IntegrityError` if the database was moved or replaced after it was opened."""

    def require_exclusive(self) -> None:
        """Raise `StorageError` if the transaction of `exclusive` ended because the connection was lost."""
        with self._write_lock, self._translated():
            self._require_open(self._writing())

    def _require_writable(self) -> None:
        if self.read_only:
            raise read_only_error(self.name, self.read_only)

    def _require_open(self, connection: sa.Connection) -> None:
        if not self._is_open(connection):
            raise self.lost()

    def lost(self) -> StorageError:
        """Return the error for a decision that was made in `exclusive` and can no longer be carried out."""
        return StorageError(
            f"{self.name}: the connection was lost, and others may have written since: call again"
        )

    @contextmanager
    def _transaction(self, *, takes_over: bool = False) -> Generator[sa.Connection, None, None]:
        """Begin a transaction, or continue the open one. Whatever is not committed at the end is rolled back."""
        connection = self._writing()
        mine = object()
        with self._locked():
            try:
                self._open_transaction = mine
                if takes_over:
                    self._require_open(connection)
                else:
                    # An interrupt may have left an earlier transaction open.
                    self._roll_back(connection)
                    self._begin(connection)
                yield connection
            finally:
                # A transaction that an interrupt left may end after a later one has begun.
                if self._open_transaction is mine:
                    self._roll_back(connection)

    def _roll_back(self, connection: sa.Connection) -> None:
        if self._is_open(connection):
            raw: Any = connection.connection.driver_connection
            raw.rollback()

    def _reading(self) -> sa.Connection:
        if self._reader is None:
            self._reader = self.retried(lambda _: self._opened())
        return self._reader

    def _writing(self) -> sa.Connection:
        if self._writer is None:
            self._writer = self.retried(lambda _: self._opened())
        return self._writer

    def _opened(self) -> sa.Connection:
        if self._is_closed:
            raise UsageError(f"{self.name} is closed: connect again")
        with self._locked():
            return self._connect()

    @property
    def is_closed(self) -> bool:
        """Whether the database was closed."""
        return self._is_closed

    def close(self) -> None:
        """Close the connections."""
        if self._is_closed:
            # Garbage collection may call this again, possibly during a write that holds the file lock.
            return
        forks.give_way()
        with self._write_lock, self._read_lock, self._translated():
            self._disconnect_all()
            self._is_closed = True
            # `Engine.dispose` would make a new pool.
            self._engine.pool.dispose()

    def _disconnect_all(self) -> None:
        connections = self._connections()
        if connections:
            with self._locked():
                self._writer = self._reader = None
                for connection in connections:
                    self._disconnect(connection)

    @contextmanager
    def _locked(self) -> Generator[None, None, None]:
        """Hold the lock that is needed besides the transaction."""
        yield

    @contextmanager
    def _translated(self) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:
            ours = self._ours(error)
            if ours is None:
                raise
            raise ours from error

    def _ours(self, error: Exception) -> FramelodeError | None:
        """Return the framelode error that replaces a database error; None to raise the error unchanged."""
        if isinstance(error, BadValueError):
            return self._damaged(error)
        if isinstance(error, exc.DBAPIError):
            return self._translate(error.orig or error, known=isinstance(error, exc.IntegrityError))
        return None

    def _damaged(self, error: object) -> IntegrityError:
        if self.on_damage is not None:
            self.on_damage()
        return IntegrityError(f"{self.name}: {error}: {self.kind} is damaged; {self.remedy}", file=self.name)

    def _error(self, error: object, *, known: bool) -> FramelodeError:
        """Return the error for a database error of unknown cause."""
        message = f"{self.name}: {error}"
        return ConflictError(message) if known else StorageError(message)


class Guards(ABC):
    """Triggers that keep the tables of a log append-only for every client of the database."""

    @abstractmethod
    def install(self, connection: sa.Connection) -> None:
        """Create the triggers on the existing tables."""

    @abstractmethod
    def missing(self, connection: sa.Connection) -> Iterable[str]:
        """Return the names of missing triggers."""

    @abstractmethod
    def lifted(self, connection: sa.Connection) -> AbstractContextManager[None]:
        """Allow the identity of an empty log to be changed inside the block, in an open transaction."""


def forget(connection: sa.Connection) -> None:
    """Detach a connection from SQLAlchemy, which would otherwise roll it back and close it on garbage collection."""
    if not connection.closed and not connection.invalidated:
        connection.detach()


def keep_when_interrupted(engine: sa.Engine) -> None:
    """Keep a connection after a KeyboardInterrupt, for databases whose connections stay usable."""
    event.listen(engine, "handle_error", _keep)


def _keep(context: sa.ExceptionContext) -> None:
    if not isinstance(context.original_exception, Exception):
        context.is_disconnect = False
