"""Translates a query to SQL with bound parameters, with the same meaning on SQLite and PostgreSQL.

A comparison with a missing value is NULL in SQL, which counts as false; `Not` turns it into true.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from ....engine.errors import InvalidQueryError
from ....engine.times import microseconds
from ....engine.validation import did_you_mean, shorten
from ....projections.columns import text_key
from ....projections.tables.lakes import name_key
from ....projections.tables.metadata_values import Kind
from .contains import Contains
from .parser import invalid, parse
from .tree import And, Compare, Constant, Not, Or, Query, Value

Condition = sa.ColumnElement[bool]


class Keyed(NamedTuple):
    """A column of text, and one that has its `name_key` and an index."""

    column: sa.ColumnElement[Any]
    key: sa.ColumnElement[Any]


Field = sa.ColumnElement[Any] | sa.Select[Any] | Keyed
Given = Sequence[Constant]

_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUALITIES = ("=", "in")
_TYPES: dict[type, sa.types.TypeEngine[Any]] = {
    str: sa.Text(),
    int: sa.BigInteger(),
    float: sa.Double(),
    bool: sa.Boolean(),
}

_MOST_FOLDED = 1000
"""SQLite accepts patterns of at most 50,000 bytes."""


class Instant(sa.BigInteger):
    """A column of microseconds since 1970, which queries compare with dates."""


def compile_query(text: str, columns: Mapping[str, Field]) -> Condition:
    """Translate a query to a condition.

    Parameters
    ----------
    text : str
        The query. A blank one matches everything.
    columns : mapping of str to ColumnElement, Keyed or Select
        The fields by name. The type of a column says what it compares with: text, number, boolean or `Instant`. A Select
        of one column is a field with any number of values; its FROM clause does not have the outer table, which is
        correlated. A Select of ``path``, ``kind``, ``text`` and ``number``, as of `MetadataValue`, is metadata: the paths
        below its name are fields.

    Returns
    -------
    ColumnElement
        The condition, which may be NULL in place of false.

    Raises
    ------
    InvalidQueryError
        The text is not a query, there is no such field, or a value is not of the type of its field.
    """
    query = parse(text)
    return sa.true() if query is None else _condition(query, columns)


def beginnings(text: str) -> dict[str, str]:
    """Return texts with which fields of all that a query matches begin, by the names of the fields."""
    query = parse(text)
    required = query.queries if isinstance(query, And) else [query]
    return {
        each.field: str(each.constants[0].value)
        for each in required
        if isinstance(each, Compare) and each.operator == "startswith" and each.constants[0].value
    }


def equals(path: str, value: Value, columns: Mapping[str, Field]) -> Condition:
    """Return the condition that a field equals a value, as that of the query ``path = value``."""
    return _comparison(Compare(path, "=", (Constant(value),)), columns)


def _condition(query: Query, columns: Mapping[str, Field], *, negated: bool = False) -> Condition:
    """Return the condition with negations at its comparisons only.

    The parser of SQLite has a stack of 100 entries. What is nested deepest comes first, which needs the fewest.
    """
    match query:
        case And(queries) | Or(queries):
            join = sa.and_ if isinstance(query, And) != negated else sa.or_
            deepest_first = sorted(queries, key=_depth, reverse=True)
            return join(*(_condition(each, columns, negated=negated) for each in deepest_first))
        case Not(inner):
            return _condition(inner, columns, negated=not negated)
        case Compare():
            _check_constants(query)
            condition = _comparison(query, columns)
            return condition.is_not(sa.true()) if negated else condition


def _depth(query: Query) -> int:
    match query:
        case And(queries) | Or(queries):
            return 1 + max(map(_depth, queries))
        case Not(inner):
            return _depth(inner)
        case Compare():
            return 0


def _check_constants(query: Compare) -> None:
    """Raise `InvalidQueryError` if an operator cannot have its constant, whatever the field."""
    constant, value = query.constants[0], query.constants[0].value
    if query.operator in _PATTERNS and not isinstance(value, str):
        raise _wrong(constant, "a string", f"{query.operator} compares text")
    if query.operator in _ORDERS and (value is None or isinstance(value, bool)):
        raise _wrong(constant, "a string or a number", f"nothing is less or greater than {value}")
    if query.operator == "~" and len(str(value)) > _MOST_FOLDED:
        raise invalid(constant.place, f"a string after ~ has at most {_MOST_FOLDED:,} characters")


def _comparison(query: Compare, columns: Mapping[str, Field]) -> Condition:
    name, _, path = query.field.partition(".")
    found, below = columns.get(query.field), columns.get(name)
    if isinstance(found, sa.ColumnElement):
        return _either(query, found.is_(None), lambda given: _on_column(query, found, given))
    if isinstance(found, Keyed):
        return _either(query, found.column.is_(None), lambda given: _on_keyed(query, found, given))
    if isinstance(found, sa.Select) and not _is_metadata(found):
        return _either(query, ~found.exists(), lambda given: _on_many(query, found, given))
    if isinstance(below, sa.Select) and path and _is_metadata(below):
        at_path = below.where(below.selected_columns.path == text_key(query.field))
        missing = ~at_path.exists() | at_path.where(below.selected_columns.kind == Kind.NULL).exists()
        return _either(query, missing, lambda given: _on_metadata(query, at_path, given))
    raise _unknown(query, columns)


def _is_metadata(field: sa.Select[Any]) -> bool:
    return len(field.selected_columns) > 1


def _either(query: Compare, missing: Condition, matches: Callable[[Given], Condition]) -> Condition:
    """Return the condition that a field has one of the constants. None is a field without a value."""
    given = [constant for constant in query.constants if constant.value is not None]
    conditions = [missing] if len(given) < len(query.constants) else []
    return sa.or_(*conditions, *([matches(given)] if given else []))


def _on_column(query: Compare, column: sa.ColumnElement[Any], given: Given) -> Condition:
    """Return the condition that a column compares with one of the constants, which must have its type."""
    convert = _converter(column.type)
    if query.operator in _PATTERNS and convert is not _as_text:
        raise invalid(
            query.place, f"found {query.field}, expected a field of text: {query.operator} compares text"
        )
    return _compared(query.operator, column, [convert(query.field, constant) for constant in given])


def _on_keyed(query: Compare, field: Keyed, given: Given) -> Condition:
    condition = _on_column(query, field.column, given)
    if query.operator not in _EQUALITIES:
        return condition
    keys = [name_key(str(constant.value)) for constant in given]
    return field.key.in_(keys) & condition


def _on_many(query: Compare, values: sa.Select[Any], given: Given) -> Condition:
    (column,) = values.selected_columns
    return values.where(_on_column(query, column, given)).exists()


def _on_metadata(query: Compare, values: sa.Select[Any], given: Given) -> Condition:
    """Return the condition that a value compares with one of the constants of its own type."""
    column = values.selected_columns
    texts = [constant.value for constant in given if isinstance(constant.value, str)]
    moments = [] if query.operator in _PATTERNS else [at for at in map(_moment, texts) if at is not None]
    numbers = [constant.value for constant in given if isinstance(constant.value, int | float)]
    by_kind = (
        (Kind.TEXT, column.text, texts),
        (Kind.INSTANT, column.number, [float(at) for at in moments]),
        (Kind.NUMBER, column.number, [float(value) for value in numbers if not isinstance(value, bool)]),
        (Kind.BOOLEAN, column.number, [float(value) for value in numbers if isinstance(value, bool)]),
    )
    found = [
        (column.kind == kind) & _compared(query.operator, of, each) for kind, of, each in by_kind if each
    ]
    return values.where(sa.or_(*found)).exists()


def _compared(operator: str, column: sa.ColumnElement[Any], values: Sequence[Any]) -> Condition:
    if operator in _EQUALITIES:
        return sa.or_(
            *(_equal(column, values, kind) for kind in _TYPES if any(type(v) is kind for v in values))
        )
    (value,) = values
    if operator in _ORDERS:
        return _ORDERS[operator](column, _bound(value))
    return _PATTERNS[operator](column, value)


def _equal(column: sa.ColumnElement[Any], values: Sequence[Any], kind: type) -> Condition:
    """Return the condition that a column equals one of the values that have a type."""
    same = [value for value in values if type(value) is kind]
    if len(same) == 1:
        return column == _bound(same[0])
    return column.in_(sa.bindparam(None, same, _TYPES[kind], expanding=True, unique=True))


def _bound(value: Any) -> sa.BindParameter[Any]:
    """Return a parameter of the type of the value. That of the column would round a float to an integer."""
    return sa.literal(value, _TYPES[type(value)])


def _starts_with(column: sa.ColumnElement[Any], text: str) -> Condition:
    """Return the condition, and that the column is at least the text, for which an index can be used."""
    return (column >= _bound(text)) & (sa.func.substr(column, 1, len(text)) == _bound(text))


def _ends_with(column: sa.ColumnElement[Any], text: str) -> Condition:
    length = sa.func.length(column)
    return (length >= len(text)) & (sa.func.substr(column, length - len(text) + 1) == _bound(text))


_PATTERNS: dict[str, Callable[[Any, str], Condition]] = {
    "~": Contains,
    "startswith": _starts_with,
    "endswith": _ends_with,
}


def _converter(of: sa.types.TypeEngine[Any]) -> Callable[[str, Constant], Any]:
    if isinstance(of, Instant):
        return _as_instant
    if isinstance(of, sa.Boolean):
        return _as_boolean
    return _as_text if isinstance(of, sa.String) else _as_number


def _as_text(field: str, constant: Constant) -> str:
    if not isinstance(constant.value, str):
        raise _wrong(constant, "a string", f"{field} is text")
    return constant.value


def _as_number(field: str, constant: Constant) -> int | float:
    if isinstance(constant.value, bool) or not isinstance(constant.value, int | float):
        raise _wrong(constant, "a number", f"{field} is a number")
    return constant.value


def _as_boolean(field: str, constant: Constant) -> bool:
    if not isinstance(constant.value, bool):
        raise _wrong(constant, "True or False", f"{field} is a boolean")
    return constant.value


def _as_instant(field: str, constant: Constant) -> int:
    at = _moment(constant.value) if isinstance(constant.value, str) else None
    if at is None:
        raise _wrong(constant, 'a date in ISO format as "2024-02-29T12:34:56"', f"{field} is a date")
    return at


def _moment(text: str) -> int | None:
    """Return the moment of a date in ISO format in microseconds since 1970, None if it is no date."""
    try:
        return microseconds(datetime.fromisoformat(text))
    except ValueError:
        return None


def _wrong(constant: Constant, expected: str, why: str) -> InvalidQueryError:
    return invalid(constant.place, f"found {shorten(constant.value)}, expected {expected}: {why}")


def _unknown(query: Compare, columns: Mapping[str, Field]) -> InvalidQueryError:
    names = [
        f"{name}.<key>" if isinstance(field, sa.Select) and _is_metadata(field) else name
        for name, field in columns.items()
    ]
    near = did_you_mean(query.field, names)
    return invalid(query.place, f"found {shorten(query.field)}, expected one of {', '.join(names)}{near}")
