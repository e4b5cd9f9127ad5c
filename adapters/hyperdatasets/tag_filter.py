"""The tag filter language of `DatasetVersion.get_datasets`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from ...engine.errors import InvalidValueError
from ...engine.validation import is_series, shorten

_ALL = frozenset({"__$all", "__$and"})
_ANY = frozenset({"__$any", "__$or"})
_NOT = "__$not"
_OPERATOR = "__$"


class _Term(msgspec.Struct):
    tag: str
    wanted: bool

    def __call__(self, tags: Collection[str]) -> bool:
        return (self.tag in tags) == self.wanted


class _Group(msgspec.Struct):
    every: bool
    terms: list[_Term] = []

    def __call__(self, tags: Collection[str]) -> bool:
        fit = all if self.every else any
        return fit(term(tags) for term in self.terms)


class TagFilter:
    """Matches the tags of a dataset against a list of tags and operators.

    ``__$all`` (or ``__$and``) and ``__$any`` (or ``__$or``) open a group of the tags after it. ``__$not`` or a prefix
    ``-`` negates one tag. Groups are joined by the first operator if it is the first entry of the list, else by OR. An
    operator directly after another opens an empty group, which is ignored. Without operators, a dataset matches if it has
    any of the included tags (or none is included) and none of the excluded tags.

    Raises
    ------
    InvalidValueError
        A ``__$not`` without a tag, a bare ``-``, a value that is not a string, or an unknown operator.
    """

    def __init__(self, filters: Iterable[str]) -> None:
        if not is_series(filters):
            raise InvalidValueError(f"tags must be a list of strings, not {shorten(filters)}")
        filters = list(filters)
        groups = _parse(filters)
        self._plain = len(groups) == 1
        self._every = filters[0] in _ALL if filters else False
        self._groups = [group for group in groups if group.terms]

    def __call__(self, tags: Collection[str]) -> bool:
        """Whether the tags match."""
        if not self._groups:
            return True
        if self._plain:
            return self._fits_plainly(self._groups[0].terms, tags)
        fit = all if self._every else any
        return fit(group(tags) for group in self._groups)

    @staticmethod
    def _fits_plainly(terms: Sequence[_Term], tags: Collection[str]) -> bool:
        included = [term.tag for term in terms if term.wanted]
        excluded = [term.tag for term in terms if not term.wanted]
        return (not included or any(tag in tags for tag in included)) and not any(
            tag in tags for tag in excluded
        )


def _parse(filters: Sequence[Any]) -> list[_Group]:
    """Split a list into groups. The first group has the tags before any operator."""
    groups = [_Group(every=False)]
    negated = False
    for value in filters:
        if not isinstance(value, str) or value in {"", "-"}:
            raise InvalidValueError(
                f"a tag filter must consist of tags, -tags and the operators __$..., not {shorten(value)}"
            )
        if value == _NOT:
            negated = _once(negated)
        elif value in _ALL or value in _ANY:
            _refuse_dangling(negated)
            groups.append(_Group(every=value in _ALL))
        elif value.startswith(_OPERATOR):
            raise InvalidValueError(
                f"unknown operator {shorten(value)}: it must be __$all, __$and, __$any, __$or or __$not"
            )
        else:
            excluded = value.startswith("-")
            groups[-1].terms.append(_Term(value.removeprefix("-"), wanted=excluded == negated))
            negated = False
    _refuse_dangling(negated)
    return groups


def _once(negated: bool) -> bool:
    _refuse_dangling(negated)
    return True


def _refuse_dangling(negated: bool) -> None:
    if negated:
        raise InvalidValueError(f"{_NOT} must be followed by the tag that it negates")
