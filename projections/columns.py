"""Column types and conversions of stored values, the same for every database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from blake3 import blake3

from ..engine.errors import IntegrityError

Value = TypeVar("Value")


class BadValueError(IntegrityError):
    """A stored value is not of the type of its column."""


class Bytes(sa.LargeBinary):
    """Bytes that are passed to the driver unchanged. SQLAlchemy would wrap each value in an object, which is slow for many rows."""

    cache_ok = True

    def bind_processor(self, dialect: sa.Dialect) -> None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return None: values are not converted."""
        return


def from_json(text: str, kind: type[Value] | Any = Any) -> Value:
    """Decode a JSON column. Raises `BadValueError` if the value is not JSON of the expected type."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError, TypeError) as error:
        raise BadValueError(f"a JSON column holds {str(text)[:40]!r}: {error}") from error


def from_row(values: Mapping[str, Any], kind: type[Value]) -> Value:
    """Return the values of a row as a struct. Raises `BadValueError` if a value has the wrong type."""
    fields: tuple[str, ...] = kind.__struct_fields__  # type: ignore[attr-defined]
    try:
        return msgspec.convert({name: values[name] for name in fields}, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise BadValueError(f"a row is not a valid {kind.__name__}: {error}") from error


def from_rows(rows: Sequence[Any], kind: type[Value]) -> list[Value]:
    """Return rows as named tuples, all of them together. Raises `BadValueError` if a value has the wrong type."""
    try:
        return msgspec.convert(rows, list[kind], builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise BadValueError(f"a row is not a valid {kind.__name__}: {error}") from error


def text_key(*texts: str) -> bytes:
    """Return a digest of strings, for indexes: strings may be longer than the index entries of a database.

    Only the last of several strings may contain NUL.
    """
    return blake3("\0".join(texts).encode()).digest(length=16)
