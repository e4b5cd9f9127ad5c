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
from . import upsert  # noqa: F401  # pyright: ignore[reportUnusedImport] - registers how an `Upsert` is compiled

_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds before each new try."""

Result = TypeVar("Result")


class RetryableError(StorageError):
    """A transaction that may succeed if it is tried again: a lost connection, a deadlock."""


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
    """A SQL database, or the part of one that belongs to us.

    When it turns out to be damaged `on_damage` is called, and the error says the `remedy`.

    One connection reads, one writes, each guarded by a lock; where there can be but one they are the same. A forked
    child opens connections of its own when it first needs them.

    Parameters
    ----------
    name : str
        What messages call it: its file, or its URL without the password.
    shares_connection : bool
        One connection reads and writes.
    read_only : str
        Why nothing is written, for messages; empty if it may be written.

    Raises
    ------
    UsageError
        There can be none in this place, or nobody may write there.
    IntegrityError
        What is there is damaged, or no database.
    StorageError
        It cannot be reached.
    """

    kind: ClassVar[str] = "the database"
    guards: Guards
    """What keeps the tables of a log from being rewritten."""

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
        """Make the locks. A forked child must neither use nor close the connections of its parent."""
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
        """Return SQLAlchemy's engine, which opens a transaction only when told to."""

    @abstractmethod
    def _connect(self) -> sa.Connection:
        """Return a new connection, made ready."""

    def _disconnect(self, connection: sa.Connection) -> None:
        """Close a connection."""
        connection.close()

    @abstractmethod
    def _begin(self, connection: sa.Connection) -> None:
        """Begin a transaction that excludes every other writer; waits for those that are at it."""

    @abstractmethod
    def _begin_snapshot(self, connection: sa.Connection, tables: Sequence[str]) -> None:
        """Begin a transaction whose statements all see what is committed when the first one reads."""

    def _commit(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql("COMMIT")

    @abstractmethod
    def _is_open(self, connection: sa.Connection) -> bool:
        """Say whether a transaction is open on a connection."""

    @abstractmethod
    def _translate(self, error: BaseException, *, known: bool) -> FramelodeError:
        """Return our error for one of the database's; `known` is one of a row that is there already."""

    def together(self, connection: sa.Connection) -> AbstractContextManager[object]:  # noqa: ARG002 - what servers need
        """Send the direct statements inside without waiting for the answer to each.

        Their results are there, and what went wrong is raised, at the end of the block.
        """
        return nullcontext()

    @abstractmethod
    def data_version(self, connection: sa.Connection) -> object:
        """Return something that changes when another connection has committed; None where there is none to be had."""

    @abstractmethod
    def integrity_report(self, *, quick: bool = False) -> list[str]:
        """Run the database's own integrity check, the `quick` one without the indexes; an empty list means sound."""

    @abstractmethod
    def table_names(self) -> set[str]:
        """Return the names of the tables that are there."""

    @abstractmethod
    def opener(self) -> Callable[[], Database]:
        """Return what opens it in another process, and can be pickled; `UsageError` if nothing can."""

    @abstractmethod
    def identity(self) -> str:
        """Return what tells this database from every other one, also from a copy, while its server runs."""

    @property
    def reads_while_writing(self) -> bool:
        """Whether other threads can read while one writes."""
        return not self._shares_connection

    @abstractmethod
    def prepare(self, connection: sa.Connection) -> None:
        """Make what tables are made in, if it is missing, in a transaction that is open."""

    @abstractmethod
    def adopt(self) -> None:
        """Make settings that stay with the database. Not before it is known to be ours."""

    @contextmanager
    def read(self) -> Generator[sa.Connection, None, None]:
        """Give the reading connection; every statement sees what is committed."""
        if forks.pending.is_set():
            forks.give_way()
        with self._read_lock:
            # A hot path: `_translated` would cost as much as the statement.
            try:
                yield self._reading()
            except Exception as error:
                ours = self._ours(error)
                if ours is None:
                    raise
                raise ours from error

    @contextmanager
    def snapshot(self, tables: Sequence[str]) -> Generator[sa.Connection, None, None]:
        """Give the reading connection inside a transaction: some tables as they are now, whatever others commit."""
        with self.read() as connection:
            try:
                self._begin_snapshot(connection, tables)
                yield connection
            finally:
                self._roll_back(connection)

    @contextmanager
    def write(self) -> Generator[sa.Connection, None, None]:
        """Give the writing connection inside a transaction that excludes every other writer, and commit it.

        The first one inside `exclusive` takes over that transaction.
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
                # Forked inside: the transaction belongs to the parent.
                raise self.lost()
            # Each write commits for itself: one that an interrupt left open never holds what a later one has said is written.
            self._commit(connection)
            self._open_transaction = None

    @contextmanager
    def exclusive(self) -> Generator[None, None, None]:
        """Exclude every other writer, up to the first `write` inside."""
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

    def announce(self) -> None:  # noqa: B027 - there need not be anything to do
        """Wake those who watch, once the transaction that is open is committed."""

    @contextmanager
    def watch(self) -> Generator[AppendWatch, None, None]:
        """Give what waits until something may have been announced."""
        yield AppendWatch()

    def retried(self, work: Callable[[bool], Result]) -> Result:
        """Do some work, and again after growing waits while it fails by a `RetryableError`.

        Parameters
        ----------
        work : callable
            Told whether it is done again: what was committed last may be there.
        """
        for again, wait in enumerate(_WAITS):
            try:
                return work(again > 0)
            except RetryableError:
                time.sleep(wait)
        return work(True)

    def require_in_place(self) -> None:  # noqa: B027 - a server's database stays where it is
        """Raise `IntegrityError` when the database was moved or replaced since it was opened."""

    def require_exclusive(self) -> None:
        """Raise `StorageError` when what `exclusive` began is over, because the connection was lost."""
        with self._write_lock, self._translated():
            self._require_open(self._writing())

    def _require_writable(self) -> None:
        if self.read_only:
            raise read_only_error(self.name, self.read_only)

    def _require_open(self, connection: sa.Connection) -> None:
        if not self._is_open(connection):
            raise self.lost()

    def lost(self) -> StorageError:
        """Return the error of a decision that was made in `exclusive`, and cannot be carried out there any more."""
        return StorageError(
            f"{self.name}: the connection was lost, so that others may have written since: call again"
        )

    @contextmanager
    def _transaction(self, *, takes_over: bool = False) -> Generator[sa.Connection, None, None]:
        """Begin a transaction, or take over the one that is open; what is not committed at the end is rolled back."""
        connection = self._writing()
        mine = object()
        with self._locked():
            try:
                self._open_transaction = mine
                if takes_over:
                    self._require_open(connection)
                else:
                    # An interrupt may have left an earlier one open.
                    self._roll_back(connection)
                    self._begin(connection)
                yield connection
            finally:
                # One that an interrupt left may end when another has begun.
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
        """Whether it was closed."""
        return self._is_closed

    def close(self) -> None:
        """Close the connections."""
        if self._is_closed:
            # Garbage collection closes again, perhaps amid a write that holds the file's lock.
            return
        forks.give_way()
        with self._write_lock, self._read_lock, self._translated():
            self._disconnect_all()
            self._is_closed = True
            self._engine.dispose()

    def _disconnect_all(self) -> None:
        connections = self._connections()
        if connections:
            with self._locked():
                self._writer = self._reader = None
                for connection in connections:
                    self._disconnect(connection)

    @contextmanager
    def _locked(self) -> Generator[None, None, None]:
        """Hold what must be held besides the transaction."""
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
        """Return the error to raise in place of one of the database; None if it is to be raised as it is."""
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
        """Return what an error is where nothing more is known of it."""
        message = f"{self.name}: {error}"
        return ConflictError(message) if known else StorageError(message)


class Guards(ABC):
    """What makes the tables of a log append-only inside the database, whoever writes to it."""

    @abstractmethod
    def install(self, connection: sa.Connection) -> None:
        """Guard the tables, which are there."""

    @abstractmethod
    def missing(self, connection: sa.Connection) -> Iterable[str]:
        """Return the names of the guards that are missing."""

    @abstractmethod
    def lifted(self, connection: sa.Connection) -> AbstractContextManager[None]:
        """Let the identity of an empty log be changed inside, in a transaction that is open."""


def forget(connection: sa.Connection) -> None:
    """Take a connection from SQLAlchemy, which would roll back and close it once nothing refers to it."""
    if not connection.closed and not connection.invalidated:
        connection.detach()


def keep_when_interrupted(engine: sa.Engine) -> None:
    """Keep a connection that a KeyboardInterrupt comes upon, for databases in which it is sound then."""
    event.listen(engine, "handle_error", _keep)


def _keep(context: sa.ExceptionContext) -> None:
    if not isinstance(context.original_exception, Exception):
        context.is_disconnect = False
