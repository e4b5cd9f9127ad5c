"""Parses the text of a query."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, ClassVar

import lark

from ....engine.query.places import Language, Place
from ....engine.validation import shorten
from ..exceptions import InvalidQueryError
from .tree import And, Compare, Constant, Not, Or, Query, Value

_MAX_LEVELS = 100

_MAX_COMPARISONS = 500
"""SQLite accepts expressions of at most 1,000 levels, and a chain of comparisons has one for each."""

_MAX_VALUES = 20_000
"""SQLite accepts 32,766 parameters in a statement, PostgreSQL 65,535."""

_GRAMMAR = r"""
?query: all (_OR all)* -> any_of
?all: one (_AND one)* -> all_of
?one: positive
    | _NOT positive -> negation
?positive: "(" query ")"
    | PATH operator value -> comparison
    | PATH _IN list -> membership
    | PATH _NOT _IN list -> no_membership
list: "(" value ("," value)* [","] ")"
!operator: "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~" | STARTSWITH | ENDSWITH
!value: STRING | NUMBER | TRUE | FALSE | NONE

_OR.2: /or(?![\w.-])/i
_AND.2: /and(?![\w.-])/i
_NOT.2: /not(?![\w.-])/i
_IN.2: /in(?![\w.-])/i
STARTSWITH.2: /startswith(?![\w.-])/i
ENDSWITH.2: /endswith(?![\w.-])/i
TRUE.2: /true(?![\w.-])/i
FALSE.2: /false(?![\w.-])/i
NONE.2: /none(?![\w.-])/i
PATH: /(?!(and|or|not)(?![\w.-]))[^\W\d]\w*(\.[\w-]+)*/i
NUMBER: /[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?(?![\w.])/
STRING: /"([^"\\]|\\.)*"|'([^'\\]|\\.)*'/s
%ignore /\s+/
"""

_EXPECTED = {
    "PATH": "a field",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": "a comma",
    "_NOT": "not",
    "_AND": "and",
    "_OR": "or",
    "_IN": "in",
    "EQUAL": "=",
    "__ANON_0": "!=",
    "LESSTHAN": "<",
    "__ANON_1": "<=",
    "MORETHAN": ">",
    "__ANON_2": ">=",
    "TILDE": "~",
    "__ANON_3": "!~",
    "STARTSWITH": "startswith",
    "ENDSWITH": "endswith",
    "STRING": "a string",
    "NUMBER": "a number",
    "TRUE": "True",
    "FALSE": "False",
    "NONE": "None",
    "$END": "the end",
}
"""What messages call the terminals, in the order in which they list them."""

_LANGUAGE = Language("q", InvalidQueryError, _EXPECTED)
invalid = _LANGUAGE.invalid

_POSITIVE = {"!=": "=", "!~": "~"}
_CONSTANTS = {"TRUE": True, "FALSE": False, "NONE": None}
_ESCAPE = re.compile(r"\\(?:([\"'\\])|([nt])|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "t": "\t"}

_REFUSED = re.compile("[\0-\2]")
"""Text with NUL is stored with escapes in PostgreSQL, of U+0001 and U+0002."""


def parse(text: str) -> Query | None:
    """Return the tree of a query; None if the text is blank.

    Raises
    ------
    InvalidQueryError
        The text is not a query, or it is too long: 100,000 bytes, 100 levels of parentheses, 500 comparisons or 20,000
        values.
    """
    if not isinstance(text, str):
        raise InvalidQueryError(f"q must be a string, not {shorten(text)}")
    _LANGUAGE.encoded(text)
    if not text.strip():
        return None
    return _parsed(text)


@lru_cache(16)
def _parsed(text: str) -> Query:
    try:
        return _parser().parse(text)  # type: ignore[return-value]
    except lark.UnexpectedInput as error:
        raise _LANGUAGE.unexpected(text, error) from None


class _Limits:
    """Counts the tokens while they are parsed."""

    always_accept: ClassVar[tuple[str, ...]] = ()

    def process(self, tokens: Iterator[lark.Token]) -> Iterator[lark.Token]:
        """Yield the tokens. Raises `InvalidQueryError` at the first that is too many."""
        levels = comparisons = values = 0
        for token in tokens:
            levels += (token.type == "LPAR") - (token.type == "RPAR")
            comparisons += token.type == "PATH"
            values += token.type in {"STRING", "NUMBER"}
            _check_limit(token, levels, _MAX_LEVELS, "levels of parentheses")
            _check_limit(token, comparisons, _MAX_COMPARISONS, "comparisons")
            _check_limit(token, values, _MAX_VALUES, "values")
            yield token


def _check_limit(token: lark.Token, count: int, most: int, what: str) -> None:
    if count > most:
        raise invalid(token, f"too many {what}: at most {most:,} are allowed")


class _Builder(lark.Transformer[lark.Token, Query]):
    """Builds the tree while the text is parsed, so nothing is recursive."""

    def any_of(self, parts: list[Query]) -> Query:
        return _joined(Or, parts)

    def all_of(self, parts: list[Query]) -> Query:
        return _joined(And, parts)

    def negation(self, parts: list[Query]) -> Query:
        return Not(parts[0])

    def comparison(self, parts: list[Any]) -> Query:
        path, constant = parts[0], parts[2]
        operator: str = parts[1]
        compare = Compare(str(path), _POSITIVE.get(operator, operator), (constant,), Place.of(path))
        return Not(compare) if operator in _POSITIVE else compare

    def membership(self, parts: list[Any]) -> Query:
        path, constants = parts
        return Compare(str(path), "in", tuple(constants), Place.of(path))

    def no_membership(self, parts: list[Any]) -> Query:
        return Not(self.membership(parts))

    def list(self, parts: list[Constant]) -> list[Constant]:
        return parts

    def operator(self, parts: list[lark.Token]) -> str:
        return parts[0].lower()

    def value(self, parts: list[lark.Token]) -> Constant:
        return Constant(_value(parts[0]), Place.of(parts[0]))


def _joined(kind: type[And | Or], parts: list[Query]) -> Query:
    """Return the conjunction or disjunction of queries; one of the same kind in parentheses is merged with it."""
    merged = [query for part in parts for query in (part.queries if isinstance(part, kind) else (part,))]
    return merged[0] if len(merged) == 1 else kind(tuple(merged))


def _value(token: lark.Token) -> Value:
    if token.type == "NUMBER":
        return _number(token)
    return _text(token) if token.type == "STRING" else _CONSTANTS[token.type]


def _number(token: lark.Token) -> int | float:
    value = float(token)
    if math.isinf(value):
        raise invalid(token, f"the number {shorten(str(token))} is too large")
    # Integers are compared exactly while they have 64 bits, as stored ones have.
    exact = int(token) if token.lstrip("+-").isdigit() and len(token) <= 20 else value
    whole = int(exact) if exact == int(exact) else exact
    return whole if -(2**63) <= whole < 2**63 else value


def _text(token: lark.Token) -> str:
    place = Place.of(token)
    text = _ESCAPE.sub(lambda match: _unescaped(match, place), token[1:-1])
    try:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16")  # joins the pairs of \u escapes
    except UnicodeDecodeError:
        raise invalid(
            place, f"the string {shorten(text)} contains a lone surrogate, which no text has"
        ) from None
    if found := _REFUSED.search(text):
        raise invalid(place, f"the string {shorten(text)} contains {found[0]!r}, which is not allowed")
    return text


def _unescaped(match: re.Match[str], place: Place) -> str:
    quoted, control, code, other = match.groups()
    if other is not None:
        allowed = r"it must be one of \" \' \\ \n \t \uXXXX"
        raise invalid(place, f"the string has the unknown escape {shorten(match[0])}: {allowed}")
    return quoted or _CONTROLS.get(control or "") or chr(int(code, 16))


@cache
def _parser() -> lark.Lark:
    return lark.Lark(
        _GRAMMAR,
        parser="lalr",
        start="query",
        transformer=_Builder(),
        postlex=_Limits(),
        maybe_placeholders=False,
    )
