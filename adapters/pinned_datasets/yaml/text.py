"""Writes YAML in the style of DVC, with one line for each value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from .tree import resolves_to_text

# Most values. Words and numbers need a second look.
_SIMPLE = re.compile(r"[A-Za-z_/][\w./@+=~%&-]*(?::[\w./@+=~%&-]+)*(?: [\w./@+=~%&-]+)*", re.ASCII)
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_LINE_BREAKS = "\n\x85\u2028\u2029"
_SPACES = rf"\0\ \t\r{_LINE_BREAKS}"
# Characters that are written as they are, besides line breaks.
_SPECIAL = re.compile("[^\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_NOT_PLAIN = re.compile(
    rf"""---|\.\.\.|[#,\[\]{{}}&*!|>'"%@`{_SPACES}]|[?:-](?:[{_SPACES}]|\Z)|.*(?:[{_LINE_BREAKS}]|:(?:[{_SPACES}]|\Z)|[{_SPACES}]\#|[ ]\Z)""",
    re.DOTALL | re.VERBOSE,
)
_NOT_PLAIN_IN_FLOW = re.compile(r"[?:]|.*[,\[\]{}]", re.DOTALL)
_NOT_SINGLE = re.compile(f"[{_LINE_BREAKS}']")
_ESCAPES = {
    "\0": "0", "\x07": "a", "\x08": "b", "\t": "t", "\n": "n", "\x0b": "v", "\x0c": "f", "\r": "r", "\x1b": "e",
    '"': '"', "\\": "\\", "\x85": "N", "\u2028": "L", "\u2029": "P",
}  # fmt: skip


def scalar(value: Any, *, in_flow: bool = False) -> str:
    """Return a value as DVC writes it, but always on one line.

    Parameters
    ----------
    in_flow : bool
        Whether it is written in braces or brackets.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value, in_flow) if isinstance(value, str) else repr(value)


@lru_cache(maxsize=4096)
def _text(value: str, in_flow: bool) -> str:
    if _SIMPLE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    is_special = _SPECIAL.search(value) is not None
    is_plain = value and not is_special and not _NOT_PLAIN.match(value) and resolves_to_text(value)
    if is_plain and not (in_flow and _NOT_PLAIN_IN_FLOW.match(value)):
        return value
    if not is_special and not _NOT_SINGLE.search(value):
        return f"'{value}'"
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return f"\\{_ESCAPES[character]}"
    if not _SPECIAL.match(character):
        return character
    code = ord(character)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


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


def flow(value: Any, *, inside: bool = False) -> str:
    """Return a value in flow style.

    Parameters
    ----------
    inside : bool
        Whether it is written in braces or brackets.
    """
    if isinstance(value, Mapping):
        pairs = (f"{scalar(key, in_flow=True)}: {flow(each, inside=True)}" for key, each in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(each, inside=True) for each in value) + "]"
    return scalar(value, in_flow=inside)
