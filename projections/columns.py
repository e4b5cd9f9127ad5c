"""Column types that behave the same in every database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from blake3 import blake3

from ..engine.errors import IntegrityError

Value = TypeVar("Value")


class BadValueError(IntegrityError):
    """A database holds a value that its column cannot have."""


INT64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Positions, times and counts: 64 bits, which SQLite's integers have anyway."""


class Bytes(sa.LargeBinary):
    """Bytes that are handed to the database as they are: SQLAlchemy would wrap each of a million in an object of its own."""

    cache_ok = True

    def bind_processor(self, dialect: sa.Dialect) -> None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return None: nothing is to be done."""
        return


def from_json(text: str, kind: type[Value] | Any = Any) -> Value:
    """Return what a column holds as JSON; `BadValueError` when it is not of that kind."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError, TypeError) as error:
        raise BadValueError(f"a column of JSON holds {str(text)[:40]!r}: {error}") from error


def from_row(values: Mapping[str, Any], kind: type[Value]) -> Value:
    """Return a struct of the values of a row, by column; `BadValueError` when a value is of another type."""
    fields: tuple[str, ...] = kind.__struct_fields__  # type: ignore[attr-defined]
    try:
        return msgspec.convert({name: values[name] for name in fields}, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise BadValueError(f"a row cannot be a {kind.__name__}: {error}") from error


def text_key(*texts: str) -> bytes:
    """Return a digest to index texts by that may be of any length: PostgreSQL's index rows end at 2.7 KB.

    None of several texts but the last may hold NUL.
    """
    return blake3("\0".join(texts).encode()).digest(length=16)
