"""The tree of a query. `!=`, `!~` and `not in` are parsed as the negation of their positive form."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ....engine.query.places import Place

Value = str | int | float | bool | None

OPERATORS = ("=", "<", "<=", ">", ">=", "~", "startswith", "endswith", "in")


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant and its place, which comparisons of trees ignore."""

    value: Value
    place: Place = dataclasses.field(default=Place(1, 1), compare=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """One of the values of a field compares with a constant as the operator says.

    A field without a value equals None. It is neither less nor greater than anything.

    Attributes
    ----------
    field : str
        Dotted path of the field.
    operator : str
        One of `OPERATORS`. ``~`` is "contains", whatever the case; ``in`` is "equals one of".
    constants : tuple of Constant
        One, or at least one of ``in``.
    place : Place
        Where the field is in the text, which comparisons of trees ignore.
    """

    field: str
    operator: str
    constants: tuple[Constant, ...]
    place: Place = dataclasses.field(default=Place(1, 1), compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """The query does not match."""

    query: Query


@dataclass(frozen=True, slots=True)
class And:
    """All of the queries match."""

    queries: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of the queries matches."""

    queries: tuple[Query, ...]


Query = Compare | Not | And | Or
