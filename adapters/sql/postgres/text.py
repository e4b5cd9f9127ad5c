"""Escapes NUL characters in strings, which PostgreSQL cannot store.

Escaped strings sort like the original strings, so rows have the same order as in SQLite.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.string import StrDumper, StrDumperUnknown

_ESCAPES = (("\1", "\1\2"), ("\0", "\1\1"))


class _Dumper(StrDumper):
    def dump(self, obj: str) -> Any:
        return super().dump(_escaped(obj))


class _UnknownDumper(StrDumperUnknown):
    def dump(self, obj: str) -> Any:
        return super().dump(_escaped(obj))


class _Loader(Loader):
    def load(self, data: Buffer) -> str:
        # This is a hot path. Connections use UTF-8 whatever the environment says.
        text = str(data, "utf-8")
        return _plain(text) if "\1" in text else text


class _BinaryLoader(_Loader):
    format = Format.BINARY


def take_any_text(connection: Connection[Any]) -> None:
    """Make a connection read and write strings with NUL characters."""
    adapters = connection.adapters
    adapters.register_dumper(str, _Dumper)
    adapters.register_dumper(str, _UnknownDumper)
    for kind in ("text", "varchar"):
        adapters.register_loader(kind, _Loader)
        adapters.register_loader(kind, _BinaryLoader)


def _escaped(text: str) -> str:
    if "\0" in text or "\1" in text:
        for plain, escaped in _ESCAPES:
            text = text.replace(plain, escaped)
    return text


def _plain(text: str) -> str:
    for plain, escaped in reversed(_ESCAPES):
        text = text.replace(escaped, plain)
    return text
