"""What an engine remembers of its places, in its folder or beside a log in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..engine.errors import UsageError
from ..engine.keys import is_plain_id
from ..engine.validation import shorten
from .location import Location
from .sql.urls import PostgresSchema, keep_password

if TYPE_CHECKING:
    from .sql.database import Database
    from .sql.log.log import SqlLog


def completed(where: Location, database: Database) -> Location:
    """Return the whole location of an engine, by what it remembers and what was given."""
    if not isinstance(where.log, PostgresSchema):
        return where
    from .sql.settings import remembered

    return where.completed(remembered(database) | where.given)


def remember(where: Location, log: SqlLog) -> None:
    """Remember what was given, and in a folder the identity of the log, whenever it changes."""
    if isinstance(where.log, PostgresSchema):
        from .sql.settings import remember as remember_beside

        remember_beside(log.database, where.given)
        keep_password(where.log)
    else:
        where.remember(log.uuid)
        log.on_identity = where.remember


def checked_ids(new_id: Callable[[], str]) -> Callable[[], str]:
    """Return a source of ids that refuses what is no id."""

    def checked() -> str:
        made = new_id()
        if type(made) is str and is_plain_id(made):
            return made
        raise UsageError(f"new_id must return 32 lowercase hex digits, not {shorten(made)}")

    return checked
