"""Whether a text contains another, whatever the case of its letters."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_CASED = range(0x20000)
"""No letter beyond this has cases."""


def folded(text: str) -> str:
    """Return a text with each character replaced by one that stands for all its cases."""
    return "".join(map(_folded, text))


class Contains(FunctionElement[bool]):
    """A text column contains a text. Both databases get the cases from Python: their own tables differ.

    Parameters
    ----------
    column : ColumnElement
        The column.
    text : str
        The text, at most 1,000 characters.
    """

    inherit_cache = True
    type = sa.Boolean()

    def __init__(self, column: sa.ColumnElement[Any], text: str) -> None:
        cases = {char: _cases()[char] for char in folded(text) if char in _cases()}
        others = {other: char for char, group in cases.items() for other in group if other != char}
        values = _glob(folded(text)), "".join(others), "".join(others.values()), folded(text)
        super().__init__(column, *(sa.literal(value, sa.Text()) for value in values))


@compiles(Contains, "sqlite")
def _sqlite(element: Contains, compiler: Any, **options: Any) -> str:
    column, pattern, *_ = element.clauses
    return f"({compiler.process(column, **options)} GLOB {compiler.process(pattern, **options)})"


@compiles(Contains, "postgresql")
def _postgres(element: Contains, compiler: Any, **options: Any) -> str:
    column, _, others, chars, text = (compiler.process(each, **options) for each in element.clauses)
    return f"(strpos(translate({column}, {others}, {chars}), {text}) > 0)"


def _glob(text: str) -> str:
    """Return the pattern of texts that contain a folded text: the cases of a letter, or a special character, in brackets."""
    return (
        "*" + "".join(f"[{_cases().get(char, char)}]" if _is_bracketed(char) else char for char in text) + "*"
    )


def _is_bracketed(char: str) -> bool:
    return char in "*?[" or char in _cases()


def _folded(char: str) -> str:
    fold = char.casefold()
    return fold if len(fold) == 1 else char


@cache
def _cases() -> dict[str, str]:
    """Return the cases of each letter that has several, by the folded letter."""
    groups: dict[str, str] = {}
    for char in map(chr, _CASED):
        if _folded(char) != char:
            fold = _folded(char)
            groups[fold] = groups.get(fold, fold) + char
    return groups
