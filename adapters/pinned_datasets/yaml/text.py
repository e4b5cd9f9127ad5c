"""Writes YAML in the style of DVC, with one line for each value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from .tree import resolves_to_text

_PLAIN = re.compile(
    r"[A-Za-z0-9_/.][\w./@+=~%?&-]*(?::[\w./@+=~%?&-]+)*(?: [\w./@+=~%&][\w./@+=~%&-]*)*", re.ASCII
)
_AMBIGUOUS = re.compile(r"[-+.0-9:_]+")
_WORDS = {"yes", "no", "on", "off", "y", "n", "true", "false", "null"}
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def scalar(value: Any) -> str:
    """Return a value on one line that every YAML parser reads the same."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else repr(value)


@lru_cache(maxsize=4096)
def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and not _is_ambiguous(value):
        return value
    if value.isprintable() and "\ufeff" not in value:
        doubled = value.replace("'", "''")
        return f"'{doubled}'"
    return '"' + "".join(map(_escaped, value)) + '"'


def _is_ambiguous(value: str) -> bool:
    """Whether some version of YAML reads a plain scalar as something other than a string."""
    is_other = value.lower() in _WORDS or _AMBIGUOUS.fullmatch(value) is not None
    return is_other or not resolves_to_text(value)


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def block_lines(fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a mapping in block style, without line ends."""
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield f"{scalar(key)}:"
            yield from (f"  {line}" for line in block_lines(value))
        elif isinstance(value, list) and value:
            yield f"{scalar(key)}:"
            for item in value:
                first, *others = block_lines(item)
                yield f"- {first}"
                yield from (f"  {line}" for line in others)
        else:
            yield f"{scalar(key)}: {flow(value)}"


def flow(value: Any) -> str:
    """Return a value in flow style, which can also be nested in braces and brackets."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)
