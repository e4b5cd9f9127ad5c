"""Python expressions that are queries: `F` and `Roi`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NoReturn

from ..errors import InvalidQueryError
from ..validation import is_series, label_list, shorten
from .fields import check_query
from .matching import start_of
from .tree import (
    Annotations,
    Everything,
    Exists,
    Not,
    Nothing,
    OneOf,
    Period,
    Phrase,
    Query,
    Range,
    Scalar,
    Wildcard,
    all_of,
    any_of,
    equal_to,
)

_OPEN = -1
"""ClearML writes an open end of a range like this, too."""

Ends = tuple[float | None, float | None]


class Field:
    """A field of a frame or an annotation, of which comparisons are queries.

    Attributes and items are the fields below it: ``F.meta.camera``, ``F.meta["frame rate"]``. A key that is also the name of
    a method, such as ``like``, is an item.
    """

    __slots__ = ("_path",)

    def __init__(self, path: str = "") -> None:
        self._path = path

    def __getattr__(self, name: str) -> Field:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, key: str) -> Field:
        if not isinstance(key, str) or not key:
            raise InvalidQueryError(f"the name of a field must be a non-empty string, not {shorten(key)}")
        return Field(f"{self._path}.{key}" if self._path else key)

    def __iter__(self) -> NoReturn:
        raise TypeError("a field cannot be iterated over")

    def __repr__(self) -> str:
        return f"F[{self._path!r}]" if self._path else "F"

    def __hash__(self) -> int:
        return hash(self._path)

    def __eq__(self, value: object) -> Query:  # pyright: ignore[reportIncompatibleMethodOverride]
        if isinstance(value, date):
            return self.between(value, value)
        return equal_to(self._path, value)  # pyright: ignore[reportArgumentType] - checked with the whole query

    def __ne__(self, value: object) -> Query:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ~(self == value)

    def __lt__(self, value: Any) -> Query:
        return self._range(None, value, upper_included=False)

    def __le__(self, value: Any) -> Query:
        return self._range(None, value)

    def __gt__(self, value: Any) -> Query:
        return self._range(value, None, lower_included=False)

    def __ge__(self, value: Any) -> Query:
        return self._range(value, None)

    def between(self, lower: Any, upper: Any) -> Query:
        """Return the query that a value is between two bounds, both included; None is open.

        Parameters
        ----------
        lower, upper : number, str, datetime or date
            The bounds. With a `datetime` or `date` the values are dates in ISO format; a `date` is the whole day.
        """
        return self._range(lower, upper)

    def one_of(self, values: Iterable[Any]) -> Query:
        """Return the query that a value equals one of some values."""
        if not is_series(values):
            raise InvalidQueryError(f"one_of takes a list of values, not {shorten(values)}")
        given = list(values)
        known = tuple(value for value in given if value is not None)
        missing = (Not(Exists(self._path)),) * (len(known) < len(given))
        return any_of(OneOf(self._path, known), *missing) if known or missing else Nothing()

    def like(self, pattern: str) -> Query:
        """Return the query that a value is a text of a form: ``*`` stands for any characters, ``?`` for one."""
        return Wildcard(self._path, pattern)

    def text(self, text: str) -> Query:
        """Return the query that a value, written as text, is this text; 5 is ``5``, True is ``true``."""
        return Phrase(self._path, text)

    def exists(self) -> Query:
        """Return the query that there is a value at the field or below it."""
        return Exists(self._path)

    def _range(
        self, lower: Any, upper: Any, *, lower_included: bool = True, upper_included: bool = True
    ) -> Query:
        if isinstance(lower, date) or isinstance(upper, date):
            return Period(
                self._path,
                since=_moment(lower, ends=not lower_included),
                until=_moment(upper, ends=upper_included),
            )
        if lower is None and upper is None:
            raise InvalidQueryError(f"a range of {self._path} needs a bound")
        return Range(
            self._path,
            lower=lower,
            upper=upper,
            lower_included=lower_included,
            upper_included=upper_included,
        )


def _moment(bound: Any, *, ends: bool) -> int | None:
    if bound is None or isinstance(bound, date):
        return None if bound is None else start_of(bound, ends=ends)
    raise InvalidQueryError(f"the other bound of a range of dates must be a date, too, not {shorten(bound)}")


F: Any = Field()
"""The fields of frames: ``F.meta.camera == "cam1"``."""


def Roi(  # noqa: N802 - it stands for what it finds
    where: Query | None = None,
    /,
    *,
    label: str | Sequence[str] | None = None,
    confidence: Ends | None = None,
    type: str | Sequence[str] | None = None,  # noqa: A002 - as in the wire form
    meta: Mapping[str, Scalar | None] | None = None,
) -> Annotations:
    """Return a query for frames with an annotation that satisfies all arguments; `count` sets how many there must be.

    Parameters
    ----------
    where : Query, optional
        A query about fields of the annotation, such as ``F.label.like("car*")``.
    label : str or sequence of str, optional
        A label that the annotation has, or several labels that it has together.
    confidence : (number, number), optional
        The range of its confidence, both ends included. None and -1 mean no limit.
    type : str or sequence of str, optional
        Its type in the wire form, such as ``box2d``, or one of several types.
    meta : dict, optional
        Values of its metadata by path.

    Raises
    ------
    InvalidQueryError
        An argument is not allowed.
    """
    types = tuple(label_list(type, "type"))
    conditions = [OneOf("label", (each,)) for each in label_list(label, "label")]
    conditions += [OneOf("type", types)] if types else []
    conditions += [] if confidence is None else [_confidence(confidence)]
    if meta is not None and not isinstance(meta, Mapping):
        raise InvalidQueryError(f"meta must be a dict of values by path, not {shorten(meta)}")
    conditions += [equal_to(f"meta.{path}", value) for path, value in (meta or {}).items()]
    conditions += [] if where is None else [where]
    made = Annotations(where=all_of(*conditions) if conditions else Everything())  # pyright: ignore[reportArgumentType]
    check_query(made)
    return made


def _confidence(ends: Any) -> Query:
    if not is_series(ends) or len(pair := list(ends)) != 2:
        raise InvalidQueryError(f"confidence must be two ends such as (0.5, 1), not {shorten(ends)}")
    lower, upper = (None if end is None or end == _OPEN else end for end in pair)
    return Range("confidence", lower=lower, upper=upper)
