"""Locations of databases: SQLite files, schemas of PostgreSQL databases, or memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import msgspec

from ...engine.errors import UsageError
from ...engine.secrets import redact_url, without_secrets

LOG_SCHEMA = "framelode"
PROJECTIONS_SUFFIX = "_projections"

_POSTGRES = "postgresql+psycopg://"
_SPELLINGS = (_POSTGRES, "postgresql://", "postgres://")
_OTHER_DRIVER = re.compile(r"postgres(ql)?\+(\w+)://")
_with_password: dict[str, str] = {}
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}")


class PostgresSchema(msgspec.Struct, frozen=True):
    """A schema of a PostgreSQL database.

    Attributes
    ----------
    url : str
        The database, as libpq takes it: with the password, if one was given.
    schema : str
        The schema that holds our tables.
    """

    url: str
    schema: str

    @property
    def full_url(self) -> str:
        """The URL of the schema, as `connect` takes it; with the password."""
        path, mark, query = self.url.partition("?")
        if self.schema != LOG_SCHEMA:
            query += f"{'&' if query else ''}schema={self.schema}"
            mark = "?"
        return _POSTGRES + path.partition("://")[2] + mark + query

    @property
    def name(self) -> str:
        """What messages call it: the URL without the password."""
        return redact_url(self.full_url)

    def beside(self) -> PostgresSchema:
        """Return the schema of the projections of a log that is here."""
        return PostgresSchema(self.url, self.schema + PROJECTIONS_SUFFIX)

    def __repr__(self) -> str:
        return f"PostgresPlace({self.name!r})"


Place: TypeAlias = Path | PostgresSchema | None
"""Where a database is: a SQLite file, a PostgreSQL schema, or in memory."""


def is_postgres(text: str) -> bool:
    """Say whether a text is the URL of a PostgreSQL database.

    Raises
    ------
    UsageError
        It is one for another driver than ours.
    """
    other = _OTHER_DRIVER.match(text)
    if other and other[2] != "psycopg":
        raise UsageError(f"{redact_url(text)} asks for the driver {other[2]}: write {_POSTGRES}…")
    return text.startswith(_SPELLINGS)


def postgres_schema(text: str, schema: str = LOG_SCHEMA) -> PostgresSchema:
    """Return the schema that a PostgreSQL URL names, by its own parameter ``schema`` or by default.

    Raises
    ------
    UsageError
        The URL cannot be read, or names no database or an impossible schema.
    """
    try:
        parts = urlsplit("postgresql://" + text.partition("://")[2])
        _ = "," in parts.netloc or parts.port
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise UsageError(f"{redact_url(text)} is no URL of a database") from error
    schemas = [value for name, value in given if name == "schema"]
    for value in schemas:
        if not _SCHEMA.fullmatch(value) or value.startswith("pg_"):
            raise UsageError(f"{redact_url(text)}: a schema has up to 48 of a-z, 0-9 and _, not {value!r}")
    if parts.fragment:
        raise UsageError(f"{redact_url(text)}: write # in a URL as %23")
    rest = [(name, value) for name, value in given if name != "schema"]
    if not parts.path.strip("/") and "dbname" not in dict(rest):
        raise UsageError(f"{redact_url(text)} names no database: write {_POSTGRES}user@host/database")
    return PostgresSchema(
        urlunsplit(parts._replace(query=urlencode(rest, safe="/:,", quote_via=quote))),
        (schemas or [schema])[-1],
    )


def without_password(place: PostgresSchema) -> str:
    """Return the URL of a schema as settings keep it."""
    return without_secrets(place.full_url)


def keep_password(place: PostgresSchema) -> None:
    """Keep the password of a place in memory, for this process to open the same place again."""
    _with_password[without_password(place)] = place.full_url


def with_kept_password(url: str) -> str:
    """Return a URL with the password that the same place was opened with in this process, if any."""
    return _with_password.get(url, url)


def with_password_of(other: PostgresSchema, place: PostgresSchema) -> PostgresSchema:
    """Return a place with the password of another one, where it has the same user and server and none of its own."""
    mine, theirs = urlsplit(place.url), urlsplit(other.url)
    user = theirs.netloc.rpartition("@")[0].partition(":")[0]
    if ":" in mine.netloc.rpartition("@")[0] or mine.netloc != f"{user}@{theirs.netloc.rpartition('@')[2]}":
        return place
    return PostgresSchema(urlunsplit(mine._replace(netloc=theirs.netloc)), place.schema)
