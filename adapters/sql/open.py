"""Opens the database at a location."""

from __future__ import annotations

from contextlib import closing

from ...engine.errors import UsageError
from .database import Database
from .sqlite.database import SqliteDatabase
from .urls import Place, PostgresSchema


def open_database(place: Place, *, durable: bool = True, read_only: str = "") -> Database:
    """Open the database at a location, and create it if it is missing.

    Parameters
    ----------
    place : Place
        The location.
    durable : bool
        Wait at each commit until the data is on disk. Off only for data that can be rebuilt.
    read_only : str
        Why it is only read, for messages; empty if it may be written. A database that is missing is not made then.

    Raises
    ------
    UsageError
        The database cannot be opened, or a required library is missing.
    """
    if not isinstance(place, PostgresSchema):
        return SqliteDatabase(place, durable=durable, read_only=read_only)
    try:
        import psycopg  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise UsageError("PostgreSQL needs the library psycopg: pip install 'framelode[postgres]'") from error
    from .postgres.database import PostgresDatabase

    return PostgresDatabase(place, durable=durable, read_only=read_only)


def holds_log(place: PostgresSchema) -> bool:
    """Whether a schema holds a log."""
    with closing(open_database(place)) as database:
        return "log_info" in database.table_names()
