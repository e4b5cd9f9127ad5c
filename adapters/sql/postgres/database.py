"""PostgreSQL databases with psycopg 3, limited to the tables of one schema."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa
from blake3 import blake3
from psycopg import errors, pq
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql.base import PGTypeCompiler
from sqlalchemy.pool import NullPool

from ....engine import forks
from ....engine.errors import FramelodeError, StorageError, UsageError
from ....engine.log.contract import AppendWatch
from ....engine.secrets import redact
from ....projections.statements import DirectQuery
from ..database import Database, RetryableError
from ..urls import PostgresSchema
from .checks import index_problems
from .guards import PostgresGuards
from .notify import PostgresWatch
from .text import take_any_text
from .together import run_together

LOCK_TIMEOUT_SECONDS = 60

_CONNECT_SECONDS = 10
_IDLE_MINUTES = 10
"""A transaction with an unresponsive client holds the lock that other writers wait for."""

# The connection of a machine that disappeared, and its lock, are released within a minute.
_KEEPALIVES = {"keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 4}

_REFUSED = ("password", "authentication", "pg_hba.conf", "does not exist", "not permitted to log in")
_DAMAGE = (errors.DataCorrupted, errors.IndexCorrupted, errors.UndefinedTable, errors.UndefinedColumn)
# Serialization failure, deadlock, lost connection, server shutdown and start, too many connections, idle timeout.
_PASSING = ("40001", "40P01", "08", "57P", "53300", "25P03", "25P04")
_NOT_ALLOWED = (
    errors.InsufficientPrivilege,
    errors.ReadOnlySqlTransaction,
    errors.InvalidAuthorizationSpecification,
)


class _Cursor(psycopg.Cursor[Any]):
    """A cursor that reads results in binary format. The text format doubles the size of bytes."""

    def __init__(self, connection: Any, **options: Any) -> None:
        super().__init__(connection, **options)
        self.format = pq.Format.BINARY


class _Connection(psycopg.Connection[Any]):
    """A connection without a warning on garbage collection. libpq closes it."""

    def __del__(self, _warn: Any = None) -> None:
        pass

    def leave_to_parent(self) -> None:
        """Close the socket in a forked child without notifying the server, which would end the session of the parent."""
        if not self.closed:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, self.fileno(), inheritable=False)
            os.close(nothing)


class _Types(PGTypeCompiler):
    """Column types. Text is compared by its bytes, as in SQLite, whatever the locale of the database."""

    def visit_TEXT(self, type_: Any, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        """Return the type of a text column."""
        text = super().visit_TEXT(type_, **kw)
        return f'{text} COLLATE "C"' if isinstance(kw.get("type_expression"), sa.Column) else text


class PostgresDatabase(Database):
    """A schema of a PostgreSQL database.

    Writers hold the advisory lock of the schema until the transaction ends. Readers and maintenance never wait for it.
    Outside `write`, each statement is a separate transaction.

    Parameters
    ----------
    place : PostgresSchema
        The database and schema.
    durable : bool
        Wait at each commit until the data is on disk. Off only for data that can be rebuilt.
    read_only : str
        Why it is only read, for messages; empty if it may be written. Every transaction is READ ONLY then.

    Raises
    ------
    UsageError
        The URL is invalid, the server refuses the user, or the encoding of the database is not UTF8.
    StorageError
        The server cannot be reached.
    """

    def __init__(self, place: PostgresSchema, *, durable: bool = True, read_only: str = "") -> None:
        self.place = place
        self.schema = place.schema
        self.guards = PostgresGuards(place.schema)
        self.lock_key = int.from_bytes(
            blake3(f"framelode {place.schema}".encode()).digest(8), "big", signed=True
        )
        self._durable = durable
        self._announces = False
        self._parameters = _parameters(place)
        super().__init__(place.name, read_only=read_only)
        self.remedy = "restore it from a backup"

    def _create_engine(self) -> sa.Engine:
        engine = sa.create_engine(
            "postgresql+psycopg://",
            creator=self._connect_raw,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            use_native_hstore=False,
            hide_parameters=True,
        )
        engine.dialect.type_compiler_instance = _Types(engine.dialect)
        return engine

    def _connect_raw(self) -> psycopg.Connection[Any]:
        try:
            raw = _Connection.connect(**self._parameters, autocommit=True, cursor_factory=_Cursor)
        except psycopg.OperationalError as error:
            message = f"{self.name}: {' '.join(str(error).split())}"
            refused = any(word in str(error) for word in _REFUSED)
            raise (UsageError if refused else RetryableError)(message) from error
        try:
            forks.in_child(raw.leave_to_parent)
            take_any_text(raw)
            self._prepare_session(raw)
        except BaseException:
            raw.close()
            raise
        return raw

    def _prepare_session(self, raw: psycopg.Connection[Any]) -> None:
        encoding = raw.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise UsageError(
                f"{self.name} has the encoding {encoding}, which cannot store all strings: create the database with "
                "ENCODING 'UTF8' TEMPLATE template0"
            )
        commit = "on" if self._durable else "off"
        # Tables get the owner of the schema, so that every role of the application can rebuild projections.
        run_together(
            raw,
            f"""SET search_path TO "{self.schema}", pg_temp;
            SET default_transaction_isolation TO 'read committed';
            SET default_transaction_read_only TO {"on" if self.read_only else "off"};
            SET lock_timeout TO '{LOCK_TIMEOUT_SECONDS}s';
            SET idle_in_transaction_session_timeout TO '{_IDLE_MINUTES}min';
            SET client_min_messages TO warning;
            SET tcp_keepalives_idle TO {_KEEPALIVES["keepalives_idle"]};
            SET tcp_keepalives_interval TO {_KEEPALIVES["keepalives_interval"]};
            SET tcp_keepalives_count TO {_KEEPALIVES["keepalives_count"]};
            SELECT set_config('role', r.rolname, false) FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
            WHERE n.nspname = '{self.schema}' AND r.rolname <> current_user AND pg_has_role(r.oid, 'MEMBER');
            SELECT set_config('synchronous_commit', '{commit}', false)
            WHERE '{commit}' = 'off' OR current_setting('synchronous_commit') = 'off'""",  # noqa: S608 - a schema's name is checked
        )

    def _connect(self) -> sa.Connection:
        return self._engine.connect()

    def _disconnect(self, connection: sa.Connection) -> None:
        _drop(connection)

    def _reading(self) -> sa.Connection:
        if self._reader is not None and not _is_sound(self._reader):
            _drop(self._reader)
            self._reader = None
        return super()._reading()

    def _writing(self) -> sa.Connection:
        if self._writer is not None and not _is_sound(self._writer):
            _drop(self._writer)
            self._writer = None
        return super()._writing()

    def _begin(self, connection: sa.Connection) -> None:
        self._announces = False
        # One round trip. Each statement sees what was committed before it.
        run_together(
            _raw(connection),
            f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({self.lock_key})",
        )

    def _begin_snapshot(self, connection: sa.Connection, tables: Sequence[str]) -> None:
        # A snapshot protects rows, not tables: without the lock, a rebuild could replace a table.
        names = ", ".join(f'"{name}"' for name in tables)
        run_together(
            _raw(connection),
            f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {names} IN ACCESS SHARE MODE",
        )

    @contextmanager
    def snapshot(self, tables: Sequence[str]) -> Generator[sa.Connection, None, None]:
        """Yield the reading connection in a transaction that sees the current state of some tables."""
        with ExitStack() as stack:
            # Exclude writers meanwhile: a writer that replaces several tables could deadlock with these locks.
            with self.write():
                connection = stack.enter_context(super().snapshot(tables))
            yield connection

    def _commit(self, connection: sa.Connection) -> None:
        raw = _raw(connection)
        if raw.pgconn.transaction_status != pq.TransactionStatus.INTRANS:
            # PostgreSQL answers COMMIT of a failed transaction without an error.
            raise StorageError(f"{self.name}: the transaction failed and was rolled back")
        run_together(raw, f'NOTIFY "{self.schema}"; COMMIT' if self._announces else "COMMIT")

    def _is_open(self, connection: sa.Connection) -> bool:
        raw = _raw_of(connection)
        states = (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)
        return raw is not None and raw.pgconn.transaction_status in states

    def together(self, connection: sa.Connection) -> AbstractContextManager[object]:
        """Send the direct statements inside the block in one round trip."""
        return _raw(connection).pipeline()

    def first_rows(
        self, connection: sa.Connection, queries: Sequence[tuple[DirectQuery, Sequence[Any]]]
    ) -> list[Any]:
        """Return the first row of each of some queries with its values, or None, in one round trip."""
        with self.together(connection):
            cursors = [query.execute(connection, values) for query, values in queries]
        return [query.first(cursor) for (query, _), cursor in zip(queries, cursors, strict=True)]

    def require_exclusive(self) -> None:
        """Raise `StorageError` if the server no longer has the transaction of `exclusive`."""
        super().require_exclusive()
        with self._translated():
            run_together(_raw(self._writing()), "SELECT 1")

    def announce(self) -> None:
        """Notify watchers when the open transaction is committed."""
        self._announces = True

    @contextmanager
    def watch(self) -> Generator[AppendWatch, None, None]:
        """Yield an object that waits for announcements, on a connection of its own."""
        with closing(PostgresWatch(self._connect_raw, self.schema, lambda: self.is_closed)) as watch:
            yield watch

    def prepare(self, connection: sa.Connection) -> None:
        """Create the schema if it is missing."""
        known = connection.exec_driver_sql(
            "SELECT 1 FROM pg_namespace WHERE nspname = %(schema)s", {"schema": self.schema}
        )
        if known.first() is None:
            connection.exec_driver_sql(f'CREATE SCHEMA "{self.schema}"')

    def adopt(self) -> None:
        """Do nothing: there are no persistent settings."""

    def opener(self) -> Callable[[], Database]:
        """Return a function that opens the schema in another process."""
        return partial(PostgresDatabase, self.place, durable=self._durable, read_only=self.read_only)

    def identity(self) -> str:
        """Return the start time of the server, the OID of the database, and the schema."""
        query = "SELECT concat(pg_postmaster_start_time(), ' ', oid) FROM pg_database WHERE datname = current_database()"
        with self.read() as connection:
            return f"{connection.exec_driver_sql(query).scalar()} {self.schema}"

    def table_names(self) -> set[str]:
        """Return the names of the tables of the schema."""
        query = "SELECT tablename FROM pg_tables WHERE schemaname = %(schema)s"
        with self.read() as connection:
            return set(connection.exec_driver_sql(query, {"schema": self.schema}).scalars())

    def data_version(self, connection: sa.Connection) -> None:
        """Return None: a query for the head takes one round trip as well."""

    def integrity_report(self, *, quick: bool = False) -> list[str]:
        """Compare the indexes with their tables and return the problems. A `quick` check does nothing."""
        if quick:
            return []
        with self.read() as connection:
            return index_problems(connection, self.schema)

    def _ours(self, error: Exception) -> FramelodeError | None:
        match error:
            case psycopg.Error():  # of a statement that was not run by SQLAlchemy
                return self._translate(error, known=isinstance(error, psycopg.IntegrityError))
            case exc.PendingRollbackError():
                return RetryableError(f"{self.name}: the connection was lost: call again")
            case _:
                return super()._ours(error)

    def _translate(self, error: BaseException, *, known: bool) -> FramelodeError:
        if isinstance(error, FramelodeError):
            return error
        primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        text = primary or str(error).strip().replace("\n", "; ")
        if isinstance(error, _DAMAGE):
            return self._damaged(text)
        if isinstance(error, _NOT_ALLOWED):
            return UsageError(f"{self.name}: {text}: grant the permission to the role of this connection")
        if isinstance(error, errors.ProgramLimitExceeded):
            return UsageError(f"{self.name}: {text}: an id is too long for an index of PostgreSQL")
        if isinstance(error, errors.LockNotAvailable):
            return StorageError(
                f"{self.name} was locked by another writer for {LOCK_TIMEOUT_SECONDS} s: try again"
            )
        return (
            RetryableError(f"{self.name}: {text}") if _is_passing(error) else self._error(text, known=known)
        )


def _is_passing(error: BaseException) -> bool:
    """Whether the same statement may succeed later."""
    state = getattr(error, "sqlstate", None)
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith(_PASSING)


def _parameters(place: PostgresSchema) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(place.url)
    except psycopg.ProgrammingError as error:
        # The message of libpq contains the URL with the password.
        why = redact(str(error).strip().replace(place.url, place.name))
        raise UsageError(f"{place.name} is not a valid PostgreSQL URL: {why}") from None
    if "PGCONNECT_TIMEOUT" not in os.environ:
        given.setdefault("connect_timeout", _CONNECT_SECONDS)
    given.setdefault("fallback_application_name", "framelode")
    return _KEEPALIVES | given | {"client_encoding": "UTF8"}


def _raw_of(connection: sa.Connection) -> psycopg.Connection[Any] | None:
    """Return the connection of the driver; None if it was lost or closed."""
    if connection.closed or connection.invalidated:
        return None
    raw: Any = connection.connection.driver_connection
    return raw


def _raw(connection: sa.Connection) -> psycopg.Connection[Any]:
    raw = _raw_of(connection)
    if raw is None:
        raise RetryableError("the connection was lost: call again")
    return raw


def _is_sound(connection: sa.Connection) -> bool:
    """Whether a connection is usable: not lost, and not interrupted during a statement."""
    raw = _raw_of(connection)
    if raw is None or raw.closed or raw.pgconn.pipeline_status != pq.PipelineStatus.OFF:
        return False
    if raw.pgconn.transaction_status in {pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR}:
        return True
    if raw.pgconn.transaction_status != pq.TransactionStatus.IDLE:
        return False
    # An unexpected message from the server announces the end of the connection.
    ready = select.poll()
    ready.register(raw.fileno(), select.POLLIN)
    return not ready.poll(0)


def _drop(connection: sa.Connection) -> None:
    """Close a connection in any state. Does nothing if it is already closed."""
    if not connection.closed:
        connection.invalidate()
        connection.close()
