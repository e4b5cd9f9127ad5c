"""HTML for notebooks: escaped, self-contained, and with inherited colours, so that it fits every theme."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import compress
from typing import TypeVar

from ...engine.validation import printable

_LINE = "1px solid rgba(128,128,128,.4)"
_CARD = (
    f"display:inline-block;max-width:100%;padding:.6em .9em;border:{_LINE};border-radius:6px;overflow-x:auto"
)
_TABLE = "border-collapse:collapse;margin:.4em 0 0 0;font-size:.9em"
_CELL = "padding:.1em .9em .1em 0;text-align:left;vertical-align:top;border:none"
_NUMBER = "padding:.1em .9em .1em 0;text-align:right;vertical-align:top;border:none;font-variant-numeric:tabular-nums"
_CUT = 120

Item = TypeVar("Item")


class Markup(str):
    """Finished HTML. Any other string is escaped."""

    __slots__ = ()


Cell = str | int | None
"""A table cell: a string to escape, finished `Markup`, a number, or None."""


def plain(value: object, cut: int = _CUT) -> Markup:
    """Return escaped text, shortened to a maximum length."""
    text = printable(value)
    return Markup(escape(text if len(text) <= cut else f"{text[: cut - 1]}…"))


def markup(cell: Cell) -> Markup:
    """Return the HTML of a cell."""
    if cell is None:
        return Markup()
    if isinstance(cell, Markup):
        return cell
    return Markup(f"{cell:,}") if isinstance(cell, int) else plain(cell)


def card(*parts: str) -> str:
    """Return the parts in a box."""
    return f'<div style="{_CARD}">{"".join(parts)}</div>'


def title(name: str, note: str = "") -> Markup:
    """Return a heading with a note beside it."""
    beside = f' <span style="opacity:.65">{plain(note)}</span>' if note else ""
    return Markup(f'<div style="overflow-wrap:anywhere"><b>{plain(name)}</b>{beside}</div>')


def remark(text: object) -> Markup:
    """Return a line of muted text."""
    return Markup(f'<div style="opacity:.65;margin:.3em 0;overflow-wrap:anywhere">{plain(text, 400)}</div>')


def pairs(rows: Iterable[tuple[str, Cell]]) -> Markup:
    """Return a table of names and values, without those that have no value."""
    given = [
        (key, Markup(f'<span style="overflow-wrap:anywhere">{markup(value)}</span>'))
        for key, value in rows
        if value is not None
    ]
    return _table([[Markup(f'<span style="opacity:.65">{plain(key)}</span>'), value] for key, value in given])


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], total: int) -> Markup:
    """Return a table of the first rows, and a line with the number of the other rows.

    Empty columns are left out.
    """
    kept = [any(row[at] is not None for row in rows) for at in range(len(columns))]
    shown = _table([list(compress(row, kept)) for row in rows], list(compress(columns, kept)))
    return Markup(shown + remark(f"and {total - len(rows):,} more")) if total > len(rows) else shown


def bar(share: float) -> Markup:
    """Return a bar that fills a share of its width."""
    width = f"{max(1.0, 100 * share):.0f}%"
    return Markup(
        '<div style="width:8em;height:.7em;margin-top:.3em">'
        f'<div style="width:{width};height:100%;background:currentColor;opacity:.35"></div></div>'
    )


def swatch(colour: str) -> Markup:
    """Return a small square of a colour."""
    style = f"display:inline-block;width:.75em;height:.75em;margin-right:.35em;background:{colour}"
    return Markup(f'<span style="{style};border:{_LINE}"></span>')


def byte_size(count: int) -> str:
    """Return a number of bytes in a readable unit."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


class CardList(list[Item]):
    """A list that notebooks show as a table.

    Parameters
    ----------
    items : iterable
        The items.
    look : callable
        Returns the HTML of the items.
    """

    def __init__(self, items: Iterable[Item], look: Callable[[Sequence[Item]], str]) -> None:
        super().__init__(items)
        self._look = look

    def _repr_html_(self) -> str:
        return self._look(self)


def _table(rows: Sequence[Sequence[Cell]], columns: Sequence[str] = ()) -> Markup:
    head = "".join(f'<th style="{_CELL};font-weight:600">{plain(name)}</th>' for name in columns)
    body = "".join(f'<tr style="background:none">{"".join(map(_cell, row))}</tr>' for row in rows)
    top = f'<tr style="border-bottom:{_LINE};background:none">{head}</tr>' if columns else ""
    return Markup(f'<table style="{_TABLE}">{top}{body}</table>')


def _cell(cell: Cell) -> str:
    return f'<td style="{_NUMBER if isinstance(cell, int) else _CELL}">{markup(cell)}</td>'
