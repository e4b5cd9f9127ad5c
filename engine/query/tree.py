"""The tree of a query over frames.

A query is evaluated on the scalar values of a frame in wire form. The path of a value consists of its keys, joined by dots. Items of a
list have the path of the list, so a comparison matches if it matches one item. A null counts as a missing value. In a condition on
one annotation, paths begin at the annotation.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec

from ..errors import UsageError

Scalar = str | int | float | bool


class Query(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Base class of all nodes. Queries are joined with ``&`` and ``|`` and negated with ``~``."""

    def __and__(self, other: Query) -> Query:
        return all_of(self, other) if isinstance(other, Query) else NotImplemented

    def __or__(self, other: Query) -> Query:
        return any_of(self, other) if isinstance(other, Query) else NotImplemented

    def __invert__(self) -> Query:
        return self.query if isinstance(self, Not) else Not(self)  # pyright: ignore[reportArgumentType] - a subclass is a node

    def __bool__(self) -> NoReturn:
        raise UsageError(
            "a query is neither true nor false: join queries with &, | and ~ in place of and, or and not, "
            "each comparison in parentheses, and write a range as F.x.between(1, 5)"
        )


class Everything(Query, frozen=True, gc=False):
    """Every frame, and every annotation."""


class Nothing(Query, frozen=True, gc=False):
    """No frame, and no annotation."""


class And(Query, frozen=True, gc=False):
    """All of the queries match."""

    queries: tuple[Nodes, ...]


class Or(Query, frozen=True, gc=False):
    """At least one of the queries matches."""

    queries: tuple[Nodes, ...]


class Not(Query, frozen=True, gc=False):
    """The query does not match."""

    query: Nodes


class Exists(Query, frozen=True, gc=False):
    """There is a value at the field or below it."""

    field: str


class OneOf(Query, frozen=True, gc=False):
    """A value of the field equals one of the values, and has its type.

    The types are text, number and boolean: 1 equals 1.0, but neither True nor "1".
    """

    field: str
    values: tuple[Scalar, ...]


class Phrase(Query, frozen=True, gc=False):
    """A value of the field, written as text, is this text.

    A number matches a text that reads as the same number (``5``, ``5.0``, ``5e0``), a boolean ``true`` or ``false``.
    """

    field: str
    text: str


class Wildcard(Query, frozen=True, gc=False):
    r"""A value of the field is a text that has this form from its first to its last character.

    ``*`` stands for any characters, also none, and ``?`` for one. A backslash takes the special meaning of ``* ? \``.
    """

    field: str
    pattern: str


class Range(Query, frozen=True, gc=False):
    """A value of the field is between the bounds, and has their type: number or text. A bound of None is open.

    Numbers compare by value, texts by their code points.
    """

    field: str
    lower: str | int | float | None = None
    upper: str | int | float | None = None
    lower_included: bool = True
    upper_included: bool = True


class Period(Query, frozen=True, gc=False):
    """A value of the field is a text that is a date in ISO format, at or after `since` and before `until`.

    Both are UTC microseconds since 1970; None is open. A date without a time zone is UTC, and one without a time midnight.
    """

    field: str
    since: int | None = None
    until: int | None = None


class Annotations(Query, frozen=True, gc=False, kw_only=True):
    """The number of annotations of which `where` holds is from `at_least` to `at_most`; None is open.

    The fields in `where` are those of one annotation: ``label, confidence, type, id, sources, mask.id, meta.<path>``.
    """

    where: Nodes = Everything()
    at_least: int = 1
    at_most: int | None = None

    def count(self, at_least: int = 0, at_most: int | None = None) -> Annotations:
        """Return the query with other bounds of the number of annotations.

        Parameters
        ----------
        at_least : int
            The least number.
        at_most : int, optional
            The greatest number; without one, any.
        """
        return Annotations(where=self.where, at_least=at_least, at_most=at_most)


Comparison = Exists | OneOf | Phrase | Wildcard | Range | Period
"""The nodes that look at the values of one field."""

Nodes = Everything | Nothing | And | Or | Not | Comparison | Annotations
"""All nodes."""


def all_of(*queries: Query) -> Query:
    """Return the conjunction. Those of the same kind are merged into it, so that chains are flat."""
    return _joined(And, queries)


def any_of(*queries: Query) -> Query:
    """Return the disjunction; see `all_of`."""
    return _joined(Or, queries)


def _joined(kind: type[And | Or], queries: tuple[Query, ...]) -> Query:
    merged = [each for query in queries for each in (query.queries if isinstance(query, kind) else (query,))]
    return merged[0] if len(merged) == 1 else kind(tuple(merged))  # pyright: ignore[reportArgumentType]


def equal_to(field: str, value: Scalar | None) -> Query:
    """Return the query that a value of a field equals one value. None stands for no value at all."""
    return Not(Exists(field)) if value is None else OneOf(field, (value,))
