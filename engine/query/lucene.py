r"""Parses the query text of Lucene, as ClearML and Elasticsearch understand it for keywords.

NOT binds more than AND, AND more than OR. Clauses side by side are joined by AND.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar

import lark
import msgspec

from ..errors import InvalidQueryError
from ..validation import shorten
from .fields import MAX_LEVELS, check_query, unknown_field
from .matching import day_of, moment_of, number_of, start_of
from .places import Language, Place
from .tree import (
    Everything,
    Exists,
    Period,
    Phrase,
    Query,
    Range,
    Wildcard,
    all_of,
    any_of,
)

_MAX_CLAUSES = 5_000

_GRAMMAR = r"""
?query: all (_OR all)* -> any_of
?all: one (_AND? one)* -> all_of
?one: _NOT clause -> negation
    | MINUS clause -> negation
    | PLUS clause -> required
    | clause
?clause: "(" query ")"
    | FIELD "(" query ")" -> group
    | FIELD value -> of_field
    | VALUE -> bare
    | QUOTED -> bare
    | range -> bare
?value: VALUE
    | QUOTED
    | range
range: (FROM | AFTER) bound _TO bound (UPTO | BEFORE)
    | SIGN bound -> one_sided
!bound: VALUE | QUOTED

_AND.3: /AND(?![^\s()])|&&/
_OR.3: /OR(?![^\s()])|\|\|/
_NOT.3: /NOT(?![^\s()])|!/
_TO.3: /TO(?!\S)/
SIGN: /[<>]=?/
MINUS: "-"
PLUS: "+"
FROM: "["
AFTER: "{"
UPTO: "]"
BEFORE: "}"
FIELD.2: /(?:[^\W\d]|[*$@]|\\.)(?:[^\s()\[\]{}"':^~\\<>=&|!\/]|\\.)*:/s
QUOTED: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
VALUE: /(?:-(?=[0-9.])|[^\s()\[\]{}"':^~\\<>=&|!\/+-]|\\.)(?:[^\s()\[\]{}"^~\\]|\\.)*/s
%ignore /\s+/
"""

_EXPECTED = {
    "FIELD": "a field with a colon",
    "VALUE": "a value",
    "QUOTED": "a text in quotes",
    "LPAR": "(",
    "RPAR": ")",
    "FROM": "[",
    "AFTER": "{",
    "UPTO": "]",
    "BEFORE": "}",
    "SIGN": "a sign as >=",
    "_TO": "TO",
    "_NOT": "NOT",
    "MINUS": "-",
    "PLUS": "+",
    "_AND": "AND",
    "_OR": "OR",
    "$END": "the end",
}
"""What messages call the terminals, in the order in which they list them."""

_HINTS = {
    "/": "regular expressions are not supported: use * and ?, or put a text that begins with / in quotes",
    "~": "fuzzy search is not supported: put a text with ~ in quotes",
    "^": "a boost has no effect on what is found: put a text with ^ in quotes",
    "\\": "a backslash must come before the character that it escapes",
}

_LUCENE = Language("query", expected=_EXPECTED, hints=_HINTS)

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED_PLAIN = re.compile(r"\\([^*?\\])", re.DOTALL)
_SPECIAL = re.compile(r"(?:[^\\*?]|\\.)*[*?]", re.DOTALL)
_EXISTS = "_exists_"
_ANY = "*"
_KEYWORD = ".keyword"
_OLD_SOURCE = "source."
_ROIS = "rois."


def parse_query(text: str) -> Query:
    """Return the query over frames that a Lucene text is.

    A blank text and ``*`` match every frame.

    Raises
    ------
    InvalidQueryError
        The text is no query, has an unknown field, or is too long: 100,000 bytes, 100 levels, 5,000 clauses.
    """
    return _parse(text, None)


def parse_rule(text: str) -> Query:
    """Return the query over one annotation that a Lucene text is. A value without a field is a label.

    Raises
    ------
    InvalidQueryError
        As of `parse_query`.
    """
    return _parse(text, "label")


def _parse(text: str, default: str | None) -> Query:
    if not isinstance(text, str):
        raise InvalidQueryError(f"a query must be a text or an expression, not {shorten(text)}")
    _LUCENE.encoded(text)
    if not text.strip():
        return Everything()
    try:
        parsed: Any = _parser().parse(text)
    except lark.UnexpectedInput as error:
        raise _LUCENE.unexpected(text, error) from None
    query = _resolve(parsed, None, default)
    if default is None:
        check_query(query)
    return query


class _Clause(msgspec.Struct, frozen=True):
    """A value whose field may stand before a group around it."""

    field: lark.Token | None
    value: Any


class _Group(msgspec.Struct, frozen=True):
    """A query in parentheses after a field."""

    field: lark.Token
    query: Any


class _Joined(msgspec.Struct, frozen=True):
    """Parts that are joined by AND, by OR, or one that is negated."""

    kind: str
    parts: list[Any]


class _Span(msgspec.Struct, frozen=True):
    """A range: its bounds, which are tokens, and whether they are included."""

    lower: lark.Token | None
    upper: lark.Token | None
    lower_included: bool
    upper_included: bool


class _Limits:
    """Counts the tokens while they are parsed."""

    always_accept: ClassVar[tuple[str, ...]] = ()

    def process(self, tokens: Iterator[lark.Token]) -> Iterator[lark.Token]:
        """Yield the tokens. Raises `InvalidQueryError` at the first that is too many."""
        levels = clauses = 0
        for token in tokens:
            levels += (token.type == "LPAR") - (token.type == "RPAR")
            clauses += token.type in {"VALUE", "QUOTED"}
            # Each level may have a conjunction, a disjunction and a negation.
            if levels > MAX_LEVELS // 4:
                raise _LUCENE.invalid(
                    token, f"too many levels of parentheses: at most {MAX_LEVELS // 4} are allowed"
                )
            if clauses > _MAX_CLAUSES:
                raise _LUCENE.invalid(token, f"too many values: at most {_MAX_CLAUSES:,} are allowed")
            yield token


class _Builder(lark.Transformer[lark.Token, Any]):
    """Builds the parsed form while the text is parsed, so the parser is not recursive."""

    def any_of(self, parts: list[Any]) -> Any:
        return parts[0] if len(parts) == 1 else _Joined("or", parts)

    def all_of(self, parts: list[Any]) -> Any:
        return parts[0] if len(parts) == 1 else _Joined("and", parts)

    def negation(self, parts: list[Any]) -> Any:
        return _Joined("not", parts[-1:])

    def required(self, parts: list[Any]) -> Any:
        return parts[-1]

    def group(self, parts: list[Any]) -> Any:
        return _Group(parts[0], parts[1])

    def of_field(self, parts: list[Any]) -> Any:
        return _Clause(parts[0], parts[1])

    def bare(self, parts: list[Any]) -> Any:
        return _Clause(None, parts[0])

    def bound(self, parts: list[lark.Token]) -> lark.Token:
        return parts[0]

    def range(self, parts: list[Any]) -> Any:
        opening, lower, upper, closing = parts
        return _Span(_bound(lower), _bound(upper), opening == "[", closing == "]")

    def one_sided(self, parts: list[Any]) -> Any:
        sign, bound = parts
        included = sign.endswith("=")
        return _Span(bound, None, included, True) if sign[0] == ">" else _Span(None, bound, True, included)


def _bound(token: lark.Token) -> lark.Token | None:
    return None if token.type == "VALUE" and token == _ANY else token


def _resolve(parsed: Any, field: lark.Token | None, default: str | None) -> Query:
    """Return the query of a parsed form whose values have a field, or that of the group around them."""
    match parsed:
        case _Joined(kind, parts):
            queries = [_resolve(part, field, default) for part in parts]
            if kind == "not":
                return ~queries[0]
            return (all_of if kind == "and" else any_of)(*queries)
        case _Group():
            _check_nesting(field, parsed.field)
            return _resolve(parsed.query, parsed.field, default)
        case _Clause():
            if parsed.field is not None:
                _check_nesting(field, parsed.field)
            return _clause(parsed.field or field, parsed.value, default)
        case _:
            raise TypeError(parsed)


def _check_nesting(outer: lark.Token | None, inner: lark.Token) -> None:
    if outer is not None:
        hint = f"escape the colon as \\: or put the value in quotes, or close the parenthesis after {outer}"
        raise _LUCENE.invalid(inner, f"found {shorten(str(inner))} in the parentheses of {outer}: {hint}")


def _clause(field: lark.Token | None, value: Any, default: str | None) -> Query:
    if field is None or _unescape(field[:-1]) == _ANY:
        if not isinstance(value, _Span) and value.type == "VALUE" and value == _ANY:
            return Everything()
        if field is not None or default is None:
            at = field or (value if isinstance(value, lark.Token) else value.lower or value.upper)
            found = shorten(str(at)) if at is not None else "a range"
            message = f"found {found}, expected a field before the value, as in meta.city:bremen"
            raise _LUCENE.invalid(at if at is not None else Place(1, 1), message)
        return _comparison(default, value)
    name = _unescape(field[:-1])
    if name == _EXISTS:
        if isinstance(value, _Span):
            raise _LUCENE.invalid(field, "found a range after _exists_:, expected the name of a field")
        return Exists(_named(_text_of(value), value, default, inner=True))
    is_any = not isinstance(value, _Span) and value.type == "VALUE" and value == _ANY
    return _comparison(_named(name, field, default, inner=is_any), value)


def _named(name: str, token: lark.Token, default: str | None, *, inner: bool) -> str:
    """Return the path of a field by its name in the text; raises `InvalidQueryError` if it is unknown."""
    of_annotation = default is not None
    if of_annotation:
        name = name.removeprefix(_ROIS)
    elif name.startswith(_OLD_SOURCE):
        name = "sources." + name.removeprefix(_OLD_SOURCE)
    short = name.removesuffix(_KEYWORD)
    if short != name and unknown_field(short, of_annotation=of_annotation) is None:
        name = short
    wrong = unknown_field(name, of_annotation=of_annotation, inner=inner)
    if wrong is not None:
        raise _LUCENE.invalid(token, f"found the field {shorten(name)}, {wrong}")
    return name


def _comparison(field: str, value: Any) -> Query:
    if isinstance(value, _Span):
        return _range(field, value)
    if value.type == "QUOTED":
        return Phrase(field, _text_of(value))
    if value == _ANY:
        return Exists(field)
    if _SPECIAL.match(value):
        return Wildcard(field, _ESCAPED_PLAIN.sub(r"\1", value))
    return Phrase(field, _text_of(value))


def _range(field: str, span: _Span) -> Query:
    """Return a range of numbers or of dates if all given bounds are such, else of texts."""
    lower, upper = (None if each is None else _text_of(each) for each in (span.lower, span.upper))
    given = [each for each in (lower, upper) if each is not None]
    if not given:
        return Exists(field)
    numbers = [None if each is None else number_of(each) for each in (lower, upper)]
    if all(number_of(each) is not None for each in given):
        lower, upper = numbers  # pyright: ignore[reportAssignmentType]
    elif all(moment_of(each) is not None for each in given):
        since = _moment(lower, ends=not span.lower_included)
        return Period(field, since=since, until=_moment(upper, ends=span.upper_included))
    return Range(
        field,
        lower=lower,
        upper=upper,
        lower_included=span.lower_included or lower is None,
        upper_included=span.upper_included or upper is None,
    )


def _moment(text: str | None, *, ends: bool) -> int | None:
    if text is None:
        return None
    day = day_of(text)
    return (moment_of(text) or 0) + ends if day is None else start_of(day, ends=ends)


def _text_of(token: lark.Token) -> str:
    return _unescape(token[1:-1] if token.type == "QUOTED" else token)


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


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
