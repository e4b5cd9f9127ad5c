"""The queries of a view: which frames of which versions, by Lucene texts and rules on annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, StrEnum
from typing import Any

import msgspec

from ....engine.errors import InvalidQueryError, InvalidValueError, NotFoundError, UnreadableError
from ....engine.events.views import ViewQuery, ViewVersion
from ....engine.query.fields import check_query
from ....engine.query.lucene import parse_query, parse_rule
from ....engine.query.tree import (
    Annotations,
    Everything,
    Nodes,
    OneOf,
    Query,
    Range,
    all_of,
)
from ....engine.validation import (
    KnownAttributes,
    fields,
    flag,
    items,
    label_list,
    name,
    number,
    refusal,
    shorten,
    whole,
)
from ...session.current import current_session
from ...session.session import Session
from ..selectors import find_dataset, version_by_id

ANY = "*"
"""Matches any version, dataset or project of a view, and any label."""

OPEN = -1
"""An open end of a range."""

_RULE_FIELDS = ("label", "count_range", "conf_range", "must_not")


class FilterByRoiEnum(StrEnum):
    """How a query filters frames by their annotations.

    ``label_rules``: by the rules of the query. ``no_rois``: only frames without annotations. ``disabled``: not at all.
    """

    label_rules = "label_rules"
    no_rois = "no_rois"
    disabled = "disabled"


class HyperDatasetQuery(KnownAttributes):
    """A query of a view. It is checked when it is made.

    Parameters
    ----------
    project_id, dataset_id, version_id : str
        Name of a project, ids of a dataset and a version. ``*`` matches all versions of the view.
    source_query, frame_query : str or Query, optional
        Conditions on the frame: Lucene text such as ``sources.uri:*cam1*`` and ``meta.city:"bremen"``, or a Python
        expression.
    weight : float
        How often its frames are yielded, relative to other queries.
    filter_by_roi : str, optional
        ``label_rules`` (the default), ``no_rois`` or ``disabled``; see `FilterByRoiEnum`.
    label_rules : list of dict, optional
        Rules on the annotations, all of which must be satisfied. Each has any of ``label`` (Lucene text about one annotation,
        in which a value without a field is a label), ``count_range`` (minimum and maximum number of such annotations),
        ``conf_range`` (minimum and maximum confidence) and ``must_not`` (negates the rule). -1 means no limit.
    roi_query : str or list of str, optional
        A label, Lucene text about one annotation, or labels that one annotation must have together (as in the older API).

    Raises
    ------
    InvalidQueryError
        A text is malformed. The message gives line, column, what was found and what is allowed.
    InvalidValueError
        Another value is not allowed.
    NotFoundError
        The dataset or the version does not exist.
    """

    _stored: ViewQuery
    _query: Query
    _given: tuple[Any, Any]

    def __init__(
        self,
        project_id: str = ANY,
        dataset_id: str = ANY,
        version_id: str = ANY,
        source_query: str | Query | None = None,
        frame_query: str | Query | None = None,
        weight: float = 1.0,
        filter_by_roi: str | None = None,
        label_rules: Sequence[Mapping[str, Any]] | None = None,
        *,
        roi_query: str | Sequence[str] | None = None,
    ) -> None:
        expressions = [each for each in (frame_query, source_query) if isinstance(each, Query)]
        stored = ViewQuery(
            project=name(project_id or ANY, "project_id"),
            dataset=name(dataset_id or ANY, "dataset_id"),
            version=name(version_id or ANY, "version_id"),
            frame_query=None if isinstance(frame_query, Query) else frame_query,
            source_query=None if isinstance(source_query, Query) else source_query,
            roi_query=roi_query if isinstance(roi_query, str) else None,
            expression=_plain(check_query(all_of(*expressions))) if expressions else None,
            labels=None
            if roi_query is None or isinstance(roi_query, str)
            else label_list(roi_query, "roi_query"),
            filter_by_roi=_filter(filter_by_roi),
            label_rules=[
                _rule(rule, f"label_rules[{place}]") for place, rule in enumerate(_rules(label_rules))
            ],
            weight=_weight(weight),
        )
        self._take(stored)
        self._given = frame_query, source_query
        self._require(current_session())

    @classmethod
    def of(cls, stored: ViewQuery) -> HyperDatasetQuery:
        """Return a query that was stored. Whether its versions exist is not checked.

        Raises
        ------
        UnreadableError
            It is no query that framelode stores.
        """
        query = object.__new__(cls)
        try:
            for place, rule in enumerate(stored.label_rules):
                _rule(rule, f"label_rules[{place}]")
            query._take(stored)
            expression = None if stored.expression is None else msgspec.convert(stored.expression, Nodes)
        except (InvalidValueError, msgspec.ValidationError, RecursionError) as error:
            raise UnreadableError(f"a stored view has a query that cannot be read: {error}") from error
        query._given = stored.frame_query or expression, stored.source_query
        return query

    def _take(self, stored: ViewQuery) -> None:
        self._stored = stored
        self._query = _tree(stored)

    def _require(self, session: Session) -> None:
        """Raise `NotFoundError` if the dataset or the version does not exist, or do not belong together."""
        stored = self._stored
        if stored.dataset != ANY:
            find_dataset(session, dataset_id=stored.dataset)
        if stored.version == ANY:
            return
        row = version_by_id(session, stored.version)
        if stored.dataset not in {ANY, row.dataset_id}:
            raise NotFoundError(
                f"version {shorten(stored.version)} belongs to dataset {row.dataset_id}, not to {shorten(stored.dataset)}"
            )

    @property
    def stored(self) -> ViewQuery:
        """The query as it is stored (extension)."""
        return self._stored

    @property
    def query(self) -> Query:
        """What holds of a frame, as one expression (extension)."""
        return self._query

    @property
    def project_id(self) -> str:
        """Name of the project, or ``*``."""
        return self._stored.project

    @property
    def dataset_id(self) -> str:
        """Id of the dataset, or ``*``."""
        return self._stored.dataset

    @property
    def version_id(self) -> str:
        """Id of the version, or ``*``."""
        return self._stored.version

    @property
    def source_query(self) -> str | Any | None:
        """The query about sources, as it was given."""
        return self._given[1]

    @property
    def frame_query(self) -> str | Any | None:
        """The query about frames, as it was given."""
        return self._given[0]

    @property
    def roi_query(self) -> str | list[str] | None:
        """The query about annotations of the older API (extension)."""
        return self._stored.roi_query if self._stored.labels is None else list(self._stored.labels)

    @property
    def weight(self) -> float:
        """How often its frames come, relative to other queries."""
        return self._stored.weight

    @property
    def filter_by_roi(self) -> str:
        """``label_rules``, ``no_rois`` or ``disabled``."""
        return self._stored.filter_by_roi

    @property
    def label_rules(self) -> list[dict[str, Any]]:
        """The rules on annotations."""
        return [dict(rule) for rule in self._stored.label_rules]

    def selects(self, version: ViewVersion) -> bool:
        """Whether the query is about a version of the view (extension)."""
        stored = self._stored
        pairs = (
            (stored.project, version.project),
            (stored.dataset, version.dataset),
            (stored.version, version.version),
        )
        return all(wanted in {ANY, found} for wanted, found in pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HyperDatasetQuery) and self._stored == other._stored

    def __hash__(self) -> int:
        return hash((self._stored.dataset, self._stored.version))

    def __repr__(self) -> str:
        kept = msgspec.to_builtins(self._stored)
        return f"HyperDatasetQuery({', '.join(f'{key}={shorten(value)}' for key, value in kept.items())})"


def _plain(query: Query) -> dict[str, Any]:
    """Return the tree of a query as it is stored, with lists in place of tuples."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(query))


def _filter(given: str | None) -> Any:
    known = [each.value for each in FilterByRoiEnum]
    value = FilterByRoiEnum.label_rules if given is None else given
    plain = value.value if isinstance(value, Enum) else value
    if plain not in known:
        raise refusal("filter_by_roi", given, f"one of {', '.join(known)}")
    return plain


def _weight(given: object) -> float:
    weight = 1.0 if given is None else number(given, "weight")
    if weight < 0:
        raise refusal("weight", given, "a number of at least 0")
    return weight


def _rules(given: object) -> Sequence[Any]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str | Mapping) else items(given, "label_rules", "a list of dicts")


def _rule(given: Any, path: str) -> dict[str, Any]:
    """Return a rule as it is stored: only what was given, in plain types."""
    found = {"label": given} if isinstance(given, str) else fields(given, _RULE_FIELDS, path)
    rule: dict[str, Any] = {}
    if "label" in found:
        rule["label"] = name(found["label"], f"{path}.label")
    if "count_range" in found:
        rule["count_range"] = [whole(end, f"{path}.count_range") for end in _ends(found, "count_range", path)]
    if "conf_range" in found:
        rule["conf_range"] = [number(end, f"{path}.conf_range") for end in _ends(found, "conf_range", path)]
    if flag(found.get("must_not"), f"{path}.must_not"):
        rule["must_not"] = True
    return rule


def _ends(found: dict[str, Any], key: str, path: str) -> list[Any]:
    """Return the two ends of a range, None as an open one."""
    allowed = "a list of two numbers, such as [1, -1]"
    ends = items(found[key], f"{path}.{key}", allowed)
    if len(ends) != 2:
        raise refusal(f"{path}.{key}", found[key], allowed)
    return [OPEN if end is None else end for end in ends]


def _tree(stored: ViewQuery) -> Query:
    """Return what holds of a frame if it matches a query."""
    parts: list[Query] = []
    if stored.expression is not None:
        parts.append(msgspec.convert(stored.expression, Nodes))
    for key, text in (("frame_query", stored.frame_query), ("source_query", stored.source_query)):
        if text is not None:
            parts.append(_parsed(parse_query, text, key))
    parts += _about_annotations(stored)
    return check_query(all_of(*parts)) if parts else Everything()


def _about_annotations(stored: ViewQuery) -> list[Query]:
    if stored.filter_by_roi == FilterByRoiEnum.disabled:
        return []
    if stored.filter_by_roi == FilterByRoiEnum.no_rois:
        return [Annotations(at_least=0, at_most=0)]
    found = [_rule_tree(rule, f"label_rules[{place}]") for place, rule in enumerate(stored.label_rules)]
    if stored.labels:
        found.append(Annotations(where=all_of(*(OneOf("label", (label,)) for label in stored.labels))))  # pyright: ignore[reportArgumentType]
    if stored.roi_query is not None and stored.roi_query.strip() != ANY:
        found.append(Annotations(where=_parsed(parse_rule, stored.roi_query, "roi_query")))  # pyright: ignore[reportArgumentType]
    return found


def _rule_tree(rule: dict[str, Any], path: str) -> Query:
    conditions: list[Query] = []
    if "label" in rule:
        conditions.append(_parsed(parse_rule, rule["label"], f"{path}.label"))
    if "conf_range" in rule:
        lower, upper = (None if end == OPEN else end for end in rule["conf_range"])
        if lower is not None or upper is not None:
            conditions.append(Range("confidence", lower=lower, upper=upper))
    least, most = rule.get("count_range", (1, OPEN))
    where: Any = all_of(*conditions) if conditions else Everything()
    holds = Annotations(where=where, at_least=max(least, 0), at_most=None if most == OPEN else most)
    return ~holds if rule.get("must_not") else holds


def _parsed(parse: Any, text: Any, path: str) -> Query:
    try:
        return parse(text)
    except InvalidQueryError as error:
        message = str(error).removeprefix("query: ")
        raise InvalidQueryError(f"{path}: {message}", error.line, error.column) from None
