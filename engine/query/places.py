"""Places in the text of a query, and errors that name them. All query languages share them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import lark
import msgspec

from ..errors import InvalidQueryError
from ..validation import shorten

MAX_SIZE = 100_000
"""Most bytes of a text."""


class Place(NamedTuple):
    """A place in a text: line and column, from 1."""

    line: int
    column: int

    @classmethod
    def of(cls, token: lark.Token) -> Self:
        """Return the place of a token."""
        return cls(token.line or 1, token.column or 1)

    @classmethod
    def after(cls, text: str) -> Self:
        """Return the place after a text."""
        return cls(text.count("\n") + 1, len(text) - text.rfind("\n"))


class Language(msgspec.Struct, frozen=True):
    """What messages about the texts of a query language have in common.

    Attributes
    ----------
    name : str
        What messages begin with.
    error : type
        The class of the errors.
    expected : mapping of str to str
        What messages call the terminals of the grammar, in the order in which they list them.
    hints : mapping of str to str
        What to say about a character that begins no token.
    """

    name: str
    error: type[InvalidQueryError] = InvalidQueryError
    expected: Mapping[str, str] = {}
    hints: Mapping[str, str] = {}

    def invalid(self, place: Place | lark.Token, message: str) -> InvalidQueryError:
        """Return the error about a place."""
        at = place if isinstance(place, Place) else Place.of(place)
        return self.error(f"{self.name}: line {at.line}, column {at.column}: {message}", *at)

    def encoded(self, text: str) -> bytes:
        """Return the bytes of a text. Raises an error if it is too long, or no Unicode."""
        try:
            data = text[: MAX_SIZE + 1].encode()
        except UnicodeEncodeError as error:
            found = f"found the lone surrogate {text[error.start]!a}, which no text has"
            raise self.invalid(Place.after(text[: error.start]), found) from None
        if len(data) > MAX_SIZE:
            raise self.error(f"{self.name}: the text is too long: at most {MAX_SIZE:,} bytes are allowed")
        return data

    def unexpected(self, text: str, error: lark.UnexpectedInput) -> InvalidQueryError:
        """Return the error about what a parser did not expect."""
        # A closing parenthesis that closes nothing leads to the end state, which accepts nothing.
        allowed = error.interactive_parser.accepts() or {"_AND", "_OR", "$END"}
        *most, last = (name for terminal, name in self.expected.items() if terminal in allowed)
        expected = f", expected {', '.join(most)} or {last}" if most else f", expected {last}"
        if isinstance(error, lark.UnexpectedToken) and error.token.type == "$END":
            return self.invalid(Place.after(text), f"found the end{expected}")
        start = error.pos_in_stream or 0
        if isinstance(error, lark.UnexpectedToken):
            found = str(error.token)
        elif text[start] in "\"'":
            found, expected = text[start:], ", expected its closing quote"
        else:
            # A token may be the valid beginning of a wrong word.
            found = text[start : start + 100].split(maxsplit=1)[0]
        hint = self.hints.get(text[start])
        return self.invalid(
            Place(error.line, error.column), f"found {shorten(found)}{f': {hint}' if hint else expected}"
        )
