"""What a comparison says about one value: which texts, which numbers and which booleans match."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import chain

import msgspec

from ..times import microseconds
from .tree import OneOf, Period, Phrase, Query, Range, Wildcard

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_MOST_DIGITS = 400
_ITEM = re.compile(r"\\([*?\\])|([*?])|(.)", re.DOTALL)
_BOOLEANS = {"true": True, "false": False}


class Interval(msgspec.Struct, frozen=True, gc=False):
    """Numbers between two bounds; None is open."""

    lower: int | float | None
    upper: int | float | None
    lower_included: bool = True
    upper_included: bool = True

    def holds(self, number: int | float) -> bool:  # noqa: PYI041 - compared exactly
        """Whether a number is between the bounds."""
        lower, upper = self.lower, self.upper
        return (lower is None or number > lower or (self.lower_included and number == lower)) and (
            upper is None or number < upper or (self.upper_included and number == upper)
        )


class Matcher(msgspec.Struct, frozen=True, gc=False):
    """The values that match a comparison, by their types.

    Attributes
    ----------
    texts : frozenset of str or callable
        The texts, or what tells whether one matches.
    numbers : frozenset of number or Interval
        The numbers.
    booleans : frozenset of bool
        The booleans.
    """

    texts: frozenset[str] | Callable[[str], bool] = frozenset()
    numbers: frozenset[int | float] | Interval = frozenset()
    booleans: frozenset[bool] = frozenset()


def matcher(comparison: Query) -> Matcher:
    """Return the values that match a comparison, of any kind but `Exists`."""
    match comparison:
        case OneOf():
            values = comparison.values
            return Matcher(
                frozenset(value for value in values if isinstance(value, str)),
                frozenset(v for v in values if isinstance(v, int | float) and not isinstance(v, bool)),
                frozenset(value for value in values if isinstance(value, bool)),
            )
        case Phrase():
            text = comparison.text
            number = number_of(text)
            boolean = _BOOLEANS.get(text)
            return Matcher(
                frozenset((text,)),
                frozenset(() if number is None else (number,)),
                frozenset(() if boolean is None else (boolean,)),
            )
        case Wildcard():
            return Matcher(Pattern(comparison.pattern))
        case Range():
            return _range(comparison)
        case Period():
            return Matcher(Within(comparison.since, comparison.until))
        case _:
            raise TypeError(comparison)


def _range(node: Range) -> Matcher:
    lower, upper = node.lower, node.upper
    if not isinstance(lower, str) and not isinstance(upper, str):
        numbers = Interval(lower, upper, node.lower_included, node.upper_included)
        return Matcher((lambda _: True) if lower is upper is None else frozenset(), numbers)

    def fits(text: str) -> bool:
        return (not isinstance(lower, str) or text > lower or (node.lower_included and text == lower)) and (
            not isinstance(upper, str) or text < upper or (node.upper_included and text == upper)
        )

    return Matcher(fits)


def number_of(text: str) -> int | float | None:
    """Return the number that a text reads as; None if it is none, or too large for any frame."""
    if len(text) > _MOST_DIGITS or not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    if text.lstrip("+-").isdigit() and abs(number) < 2.0**65:
        return int(text)
    return number if number - number == 0 else None


def moment_of(text: str) -> int | None:
    """Return the moment of a date in ISO format in UTC microseconds since 1970; None if it is no date."""
    # Every date has a hyphen or eight digits, so most other texts are refused without an exception.
    if not text[:4].isdigit():
        return None
    try:
        return microseconds(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def day_of(text: str) -> date | None:
    """Return the day that a text in ISO format is, without a time; None if it is anything else."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def start_of(moment: date, *, ends: bool = False) -> int:
    """Return the first microsecond of a moment, or the first one after it: a day lasts until the next day."""
    if not isinstance(moment, datetime):
        start = microseconds(datetime(moment.year, moment.month, moment.day, tzinfo=UTC))
        return start + ends * (timedelta(days=1) // timedelta(microseconds=1))
    return microseconds(moment) + ends


class Within(msgspec.Struct, frozen=True, gc=False):
    """Tells whether a text is a date in a period; see `Period`."""

    since: int | None
    until: int | None

    def __call__(self, text: str) -> bool:
        """Return whether a text is one."""
        at = moment_of(text)
        since, until = self.since, self.until
        return at is not None and (since is None or at >= since) and (until is None or at < until)


class Pattern:
    """Tells whether a text has the form of a pattern, in time linear in the text for each ``*`` and ``?``.

    There is no backtracking: between two ``*``, the leftmost match leaves the most room for the rest.

    Attributes
    ----------
    prefix, suffix : str
        Characters that each match begins and ends with. They do not overlap.
    middle : list of str or None
        What must come between them, one after the other; None if the pattern is more than such texts.
    """

    def __init__(self, pattern: str) -> None:
        first, *middle = _pieces(pattern)
        last = middle.pop() if middle else None
        self._first = re.compile(_expression(first), re.DOTALL)
        self._last = None if last is None else re.compile(_expression(last), re.DOTALL)
        self._tail = len(last or ())
        self._searches = [re.compile(_expression(piece), re.DOTALL) for piece in middle if piece]
        self.prefix, self.suffix = _literal(first), _literal((last or [])[::-1])[::-1]
        plain = last is not None and None not in [*first, *last, *chain.from_iterable(middle)]
        self.middle = [_literal(piece) for piece in middle if piece] if plain else None

    def __call__(self, text: str) -> bool:
        """Return whether a text matches."""
        if self._last is None:
            return self._first.fullmatch(text) is not None
        found = self._first.match(text)
        end = len(text) - self._tail
        if found is None or end < found.end() or not self._last.match(text, end):
            return False
        at = found.end()
        for search in self._searches:
            found = search.search(text, at, end)
            if found is None:
                return False
            at = found.end()
        return True


def _literal(piece: list[str | None]) -> str:
    """Return the characters before the first ``?``."""
    return "".join(piece[: piece.index(None)] if None in piece else piece)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _pieces(pattern: str) -> list[list[str | None]]:
    """Return the parts of a pattern between its ``*``: characters, and None for ``?``."""
    pieces: list[list[str | None]] = [[]]
    for escaped, special, plain in _ITEM.findall(pattern):
        if special == "*":
            pieces.append([])
        else:
            pieces[-1].append(None if special else escaped or plain)
    return pieces


def _expression(piece: list[str | None]) -> str:
    return "".join("." if char is None else re.escape(char) for char in piece)
