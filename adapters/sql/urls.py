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
        URL of the database, in the form of libpq, with the password if one was given.
    schema : str
        Name of the schema.
    """

    url: str
    schema: str

    @property
    def full_url(self) -> str:
        """The URL of the schema for `connect`, with the password."""
        path, mark, query = self.url.partition("?")
        if self.schema != LOG_SCHEMA:
            query += f"{'&' if query else ''}schema={self.schema}"
            mark = "?"
        return _POSTGRES + path.partition("://")[2] + mark + query

    @property
    def name(self) -> str:
        """The name in messages: the URL without the password."""
        return redact_url(self.full_url)

    def beside(self) -> PostgresSchema:
        """Return the schema for the projections of a log in this schema."""
        return PostgresSchema(self.url, self.schema + PROJECTIONS_SUFFIX)

    def __repr__(self) -> str:
        return f"PostgresPlace({self.name!r})"


Place: TypeAlias = Path | PostgresSchema | None
"""Location of a database: a SQLite file, a PostgreSQL schema, or None for memory."""


def is_postgres(text: str) -> bool:
    """Whether a string is the URL of a PostgreSQL database.

    Raises
    ------
    UsageError
        The URL names a driver that is not supported.
    """
    other = _OTHER_DRIVER.match(text)
    if other and other[2] != "psycopg":
        raise UsageError(
            f"{redact_url(text)} names the driver {other[2]}, which is not supported: write {_POSTGRES}…"
        )
    return text.startswith(_SPELLINGS)


def postgres_schema(text: str, schema: str = LOG_SCHEMA) -> PostgresSchema:
    """Return the schema of a PostgreSQL URL, given by its parameter ``schema`` or by default.

    Raises
    ------
    UsageError
        The URL cannot be parsed, names no database, or its schema name is invalid.
    """
    try:
        parts = urlsplit("postgresql://" + text.partition("://")[2])
        _ = "," in parts.netloc or parts.port
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise UsageError(f"{redact_url(text)} is not a valid URL of a database") from error
    schemas = [value for name, value in given if name == "schema"]
    for value in schemas:
        if not _SCHEMA.fullmatch(value) or value.startswith("pg_"):
            raise UsageError(
                f"{redact_url(text)}: schema must consist of up to 48 characters of a-z, 0-9 and _, not {value!r}"
            )
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
    """Return the URL of a schema as stored in settings."""
    return without_secrets(place.full_url)


def keep_password(place: PostgresSchema) -> None:
    """Keep the password of a location in memory, so that this process can open the location again."""
    _with_password[without_password(place)] = place.full_url


def with_kept_password(url: str) -> str:
    """Return a URL with the password that this process used before for the same location, if any."""
    return _with_password.get(url, url)


def with_password_of(other: PostgresSchema, place: PostgresSchema) -> PostgresSchema:
    """Return a location with the password of another one, if it has the same user and server and no password."""
    mine, theirs = urlsplit(place.url), urlsplit(other.url)
    user = theirs.netloc.rpartition("@")[0].partition(":")[0]
    if ":" in mine.netloc.rpartition("@")[0] or mine.netloc != f"{user}@{theirs.netloc.rpartition('@')[2]}":
        return place
    return PostgresSchema(urlunsplit(mine._replace(netloc=theirs.netloc)), place.schema)
