"""`DataView`: frames of several versions, chosen by queries, in an order that can be reproduced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np

from ....engine.datasets.aggregate import Aggregate
from ....engine.errors import InvalidValueError, NotFoundError, UsageError
from ....engine.events.base import Event
from ....engine.events.views import VIEWS, ViewMapping, ViewRemoved, ViewStored, ViewVersion
from ....engine.log.moments import Moment
from ....engine.query.tree import Query
from ....engine.validation import (
    KnownAttributes,
    at_least,
    check_flags,
    check_name,
    check_tags,
    check_text,
    count,
    did_you_mean,
    items,
    label_list,
    number,
    refusal,
    shorten,
    whole,
)
from ....projections.tables.views import StoredView, Views
from ...session.current import HasSession, current_session, entered, session_of
from ...session.session import Session
from ..api_helpers import warn_caller
from ..field_paths import FieldPaths
from ..selectors import VersionSelector, check_texts, exclusive, find_dataset, find_version, version_by_id
from ..version import DatasetVersion
from .frames import WINDOW, LabelRules, Plan, Selection
from .iterator import ViewIterator
from .names import warn_of_unknown_names
from .order import IterationOrder, Order, permutation, weighted_shares
from .prefetching import PREFETCH_THREADS, fetch_files, fetch_in_background, wanted_files
from .queries import ANY, FilterByRoiEnum, HyperDatasetQuery

if TYPE_CHECKING:
    from .samples import Sample
    from .training import FrameDataset, FrameIterableDataset

_UNSET: Any = object()
_SPLIT = -1
"""Number of the permutation that splits a view into lists."""


class FrameCount(int):
    """The number of frames of a view, as an integer.

    In the older API `get_count` returned a tuple, so it is also one: ``count[0]`` is the number of frames, ``count[1]`` the
    list of those of each query. A frame that several queries find counts once in the former.
    """

    per_query: list[int]

    def __new__(cls, total: int, per_query: Sequence[int]) -> Self:
        """Make the integer `total` with the numbers of each query."""
        self = super().__new__(cls, total)
        self.per_query = list(per_query)
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter((int(self), self.per_query))

    def __getitem__(self, place: int) -> Any:
        return (int(self), self.per_query)[place]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (int(self), self.per_query)


class DataView(KnownAttributes):
    """Frames of one or more versions, selected by queries. It accepts the arguments of both of ClearML's APIs.

    A frame belongs to the view if it matches one of the queries. A draft is read at the position at which the view was
    first read, or else stored. A stored view always returns the same frames.

    Parameters
    ----------
    name : str, optional
        Name of the view.
    description : str, optional
        Free text.
    tags : sequence of str, optional
        Tags.
    iteration_order : IterationOrder or str
        ``"sequential"`` and ``"added"`` are log order, the order of the last changes. `IterationOrder.sequential` is by
        context id, timestamp and id. ``"random"`` is a permutation that depends on the seed.
    iteration_infinite : bool
        Repeat the frames without end, or up to the limit.
    iteration_random_seed : int, optional
        Seed of random orders, by default 0.
    iteration_limit : int, optional
        Maximum number of frames of an iteration.
    auto_connect_with_task : bool
        No effect: there are no tasks.
    project_name : str, optional
        Project that the view is stored with.
    engine : Engine, optional
        The engine, by default the current one (extension).

    Raises
    ------
    InvalidValueError
        A value is not allowed.
    """

    def __init__(
        self,
        name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        iteration_order: IterationOrder | str = "sequential",
        iteration_infinite: bool = False,
        iteration_random_seed: int | None = None,
        iteration_limit: int | None = None,
        auto_connect_with_task: bool = True,
        project_name: str | None = None,
        *,
        engine: HasSession | Session | None = None,
    ) -> None:
        check_flags(auto_connect_with_task=auto_connect_with_task)
        self._session = session_of(engine)
        self._id: str | None = None
        self._name = self._description = self._project = ""
        self.name, self.description, self.project = name, description, project_name
        self._tags = check_tags(tags)
        self._queries: list[HyperDatasetQuery] = []
        self._pool: dict[str, ViewVersion | None] = {}
        self._labels: dict[str, int] = {}
        self._mapping: list[ViewMapping] = []
        self._order: IterationOrder | str = "sequential"
        self._infinite, self._limit = False, None
        self._seed: int | None = None
        self._found: Selection | None = None
        self._repeats = False
        self.set_iteration_parameters(
            iteration_order, iteration_infinite, iteration_limit, iteration_random_seed
        )

    def __getstate__(self) -> dict[str, Any]:
        return vars(self)

    @property
    def id(self) -> str | None:
        """Id of the stored view, 32 hex digits; None if it is not stored, or was changed since."""
        return self._id

    @property
    def name(self) -> str | None:
        """Name of the view."""
        return self._name or None

    @name.setter
    def name(self, value: str | None) -> None:
        self._change()
        self._name = "" if value is None else check_name(value, "name")

    @property
    def description(self) -> str | None:
        """Description of the view (extension)."""
        return self._description or None

    @description.setter
    def description(self, value: str | None) -> None:
        self._change()
        self._description = "" if value is None else check_text(value, "description")

    @property
    def project(self) -> str | None:
        """Project that the view is stored with (extension)."""
        return self._project or None

    @project.setter
    def project(self, value: str | None) -> None:
        self._change()
        self._project = "" if value is None else check_name(value, "project_name")

    @property
    def tags(self) -> list[str]:
        """Tags of the view (extension)."""
        return list(self._tags)

    @tags.setter
    def tags(self, value: Sequence[str] | None) -> None:
        self._change()
        self._tags = check_tags(value)

    @classmethod
    def get(
        cls,
        dataview_id: str | None = None,
        dataview_name: str | None = None,
        *,
        as_of: Moment | None = None,
    ) -> Self:
        """Return a stored view.

        Parameters
        ----------
        dataview_id : str, optional
            Its id.
        dataview_name : str, optional
            Its name. If several views have this name, the one that was stored last is returned.
        as_of : int or datetime, optional
            Find the views that were stored at a position or an aware datetime (extension).

        Raises
        ------
        InvalidValueError
            Not exactly one of id and name is given.
        NotFoundError
            There is no such view. It is a `ValueError`.
        """
        if (dataview_id is None) == (dataview_name is None):
            raise InvalidValueError("pass either dataview_id or dataview_name")
        check_texts(dataview_id=dataview_id, dataview_name=dataview_name)
        session = current_session().at(as_of)
        with session.read(Views) as (views, connection):
            found = views.find(connection, dataview_id, dataview_name)
            known = [] if found else [view.definition.view for view in views.find(connection)]
        if not found:
            raise _no_view(dataview_id, dataview_name, known, session.when)
        return cls._of(session, found[0])

    @classmethod
    def get_views(cls, *, as_of: Moment | None = None) -> list[Self]:
        """Return all stored views, oldest first (extension).

        Parameters
        ----------
        as_of : int or datetime, optional
            Return the views that were stored at a position or an aware datetime.
        """
        session = current_session().at(as_of)
        with session.read(Views) as (views, connection):
            found = views.find(connection)
        return [cls._of(session, view) for view in reversed(found)]

    @classmethod
    def _of(cls, session: Session, view: StoredView) -> Self:
        stored = view.definition
        orders: dict[str, IterationOrder | str] = {
            "added": "sequential",
            "context": IterationOrder.sequential,
            "random": "random",
        }
        self = cls(
            stored.view or None,
            stored.description or None,
            stored.tags,
            orders[stored.order],
            stored.infinite,
            stored.seed,
            stored.limit,
            project_name=stored.project or None,
            engine=session,
        )
        self._queries = [HyperDatasetQuery.of(query) for query in stored.queries]
        self._pool = {version.version: version for version in stored.versions}
        self._labels, self._mapping = stored.labels, stored.mapping
        self._id = view.id
        return self

    def store(self, name: str | None = None, project_name: str | None = None) -> str:
        """Store the view, with the positions of its versions and the seed, and return its id.

        A stored view always returns the same frames, even after changes of its drafts, in a rebuilt or imported log,
        and in other processes. If the view has not changed since it was stored, and was not deleted, nothing is recorded.

        Parameters
        ----------
        name : str, optional
            New name of the view. Several views may have the same name.
        project_name : str, optional
            New project of the view.

        Raises
        ------
        UsageError
            The view has no version, or shows the past.
        """
        if name is not None and name != self._name:
            self.name = name
        if project_name is not None and project_name != self._project:
            self.project = project_name
        if self._id is not None and self._is_kept(self._id):
            return self._id
        self._session.require_present()
        application = self._session.writes.application
        definition = self._definition()
        view_id = application.new_id()

        def decide() -> tuple[list[Aggregate], dict[str, Any]]:
            view = Aggregate(VIEWS.id + view_id)
            view.trigger(ViewStored, **definition)
            return [view], {}

        application.run(["store_view", view_id], None, decide)
        self._id = view_id
        return view_id

    def _is_kept(self, view_id: str) -> bool:
        """Whether a stored view still exists: another object, or another process, may have deleted it."""
        with self._session.read(Views) as (views, connection):
            return bool(views.find(connection, view_id))

    def delete(self) -> None:
        """Remove the stored view (extension). Reads of the past still find it, and the files that only it reads can be deleted.

        This object stays usable. It is not stored any more, so that `id` is None.

        Raises
        ------
        UsageError
            The view is not stored, has changed since, or shows the past.
        NotFoundError
            The stored view was removed in the meantime.
        """
        view_id = self._id
        if view_id is None:
            raise UsageError("only a stored view can be deleted: get it with DataView.get")
        self._session.require_present()
        application = self._session.writes.application

        def decide() -> tuple[list[Aggregate], dict[str, Any]]:
            view = application.aggregates.load(_StoredView, VIEWS.id + view_id)
            if view.name is None:
                raise _no_view(view_id, None, (), "")
            view.trigger(ViewRemoved, view=view.name)
            return [view], {}

        application.run(["remove_view", view_id], None, decide)
        self._id = None

    def _definition(self) -> dict[str, Any]:
        order = "random" if self._order == IterationOrder.random else "added"
        return {
            "view": self._name,
            "project": self._project,
            "description": self._description,
            "tags": self._tags,
            "versions": self.versions(),
            "queries": [query.stored for query in self._queries],
            "mapping": self._mapping,
            "labels": self._labels,
            "order": "context" if self._is_by_context() else order,
            "infinite": self._infinite,
            "limit": self._limit,
            "seed": self._seed or 0,
        }

    def _is_by_context(self) -> bool:
        return self._order is IterationOrder.sequential

    def _change(self) -> None:
        """Note that the definition changes, so that this is not the stored view any more."""
        self._id = None

    def _change_frames(self) -> None:
        self._change()
        self._found, self._repeats = None, False

    def get_queries(self) -> list[HyperDatasetQuery]:
        """Return the queries."""
        return [*self._queries]

    def set_queries(self, queries: Iterable[HyperDatasetQuery] | None) -> None:
        """Replace all queries; None removes them."""
        given = [] if queries is None else _several(queries)
        self._queries, self._pool = [], {}
        self._change_frames()
        self.add_queries(given)

    def add_queries(self, queries: HyperDatasetQuery | Iterable[HyperDatasetQuery]) -> None:
        """Add a query, or several.

        Parameters
        ----------
        queries : HyperDatasetQuery or iterable of HyperDatasetQuery
            The queries.

        Raises
        ------
        InvalidValueError
            One of them is no query. None is added.
        """
        given = _several(queries)
        self._queries = [*self._queries, *given]
        for query in given:
            if query.version_id != ANY:
                self._pool.setdefault(query.version_id)
        self._change_frames()

    def add_query(
        self,
        dataset_name: str | None = None,
        version_name: str | None = None,
        roi_query: str | Sequence[str] | None = None,
        frame_query: str | Query | None = None,
        source_query: str | Query | None = None,
        weight: float | None = 1.0,
        *,
        project_id: str | None = ANY,
        dataset_id: str | None = ANY,
        version_id: str | None = ANY,
        filter_by_roi: FilterByRoiEnum | str | None = None,
        label_rules: Sequence[Mapping[str, Any]] | None = None,
        dataset_project: str | None = None,
    ) -> HyperDatasetQuery:
        """Add a query, and return it. A frame belongs to the view if it matches one of the queries.

        Parameters
        ----------
        dataset_name, version_name : str, optional
            The version by the names of the dataset and its own. Without `version_name` it is the current version of the
            dataset; ``*`` stands for all versions of it in the view.
        roi_query : str or list of str, optional
            A label, a Lucene text about one annotation, or labels that one annotation has together. ``*`` matches all
            frames.
        frame_query, source_query : str or Query, optional
            Queries that the frame and its sources must match; see `HyperDatasetQuery`.
        weight : float
            How often its frames are yielded, relative to other queries. Different weights affect random, infinite and
            `allow_repetition` iterations.
        project_id, dataset_id, version_id : str
            The version by ids. ``*`` stands for any among the versions of the view.
        filter_by_roi, label_rules
            See `HyperDatasetQuery`.
        dataset_project : str, optional
            Project of the dataset that `dataset_name` names. Required if several projects have one of that name.

        Raises
        ------
        InvalidQueryError
            A text is malformed. The message gives line, column, what was found and what is allowed.
        NotFoundError
            The dataset or the version does not exist. It is a `ValueError`.
        UsageError
            A dataset or a version is given both by name and by id.
        """
        if dataset_name is not None or version_name is not None:
            dataset_id, version_id = self._named(
                dataset_name, version_name, dataset_id, version_id, dataset_project
            )
        with entered(self._session):
            query = HyperDatasetQuery(
                project_id or ANY,
                dataset_id or ANY,
                version_id or ANY,
                source_query,
                frame_query,
                1.0 if weight is None else weight,
                filter_by_roi,
                label_rules,
                roi_query=roi_query,
            )
        self.add_queries(query)
        return query

    def add_multi_query(
        self,
        dataset_name: str | None = None,
        version_name: str | None = None,
        roi_queries: Sequence[Mapping[str, Any]] | None = None,
        frame_query: str | Query | None = None,
        source_query: str | Query | None = None,
        weight: float | None = 1.0,
        **selectors: Any,
    ) -> HyperDatasetQuery:
        """Add a query with several rules on annotations, all of which hold (as in the older API).

        Parameters
        ----------
        roi_queries : list of dict, optional
            The rules; see `label_rules` of `HyperDatasetQuery`. The other parameters are those of `add_query`.
        """
        return self.add_query(
            dataset_name,
            version_name,
            None,
            frame_query,
            source_query,
            weight,
            label_rules=roi_queries,
            **selectors,
        )

    def _named(
        self,
        dataset_name: str | None,
        version_name: str | None,
        dataset_id: str | None,
        version_id: str | None,
        project: str | None,
    ) -> tuple[str, str]:
        """Return the ids of a dataset and a version that are given by name, ``*`` if the version may be any."""
        dataset_id, version_id = (None if each == ANY else each for each in (dataset_id, version_id))
        exclusive(dataset_id=dataset_id, dataset_name=dataset_name)
        exclusive(version_id=version_id, version_name=version_name)
        if version_name == ANY:
            return find_dataset(self._session, dataset_id, dataset_name, project).dataset_id, ANY
        selector = VersionSelector(dataset_id, dataset_name, version_id, version_name, project)
        row = find_version(self._session, selector)
        return row.dataset_id, row.version_id

    def get_versions(self) -> list[DatasetVersion]:
        """Return the versions of the view, each read-only at the moment at which the view reads it (extension).

        Raises
        ------
        UsageError
            The view has no version.
        NotFoundError
            A version was removed since then.
        """
        return [
            DatasetVersion.of(self._session.present.at(each.position), each.version)
            for each in self.versions()
        ]

    def set_versions(self, versions: Iterable[DatasetVersion | str]) -> None:
        """Set the versions among which ``*`` in queries chooses (extension). Without queries, all their frames are the view.

        Parameters
        ----------
        versions : iterable of DatasetVersion or str
            Versions, or their ids.
        """
        given = items(versions, "versions", "a list of versions or their ids")
        ids = [each.version_id if isinstance(each, DatasetVersion) else each for each in given]
        rows = [version_by_id(self._session, each) for each in ids]
        self._pool = dict.fromkeys(row.version_id for row in rows)
        for query in self._queries:
            if query.version_id != ANY:
                self._pool.setdefault(query.version_id)
        self._change_frames()

    def versions(self) -> list[ViewVersion]:
        """Return the versions of the view with the positions at which it reads them, which are fixed by the first call (extension).

        Raises
        ------
        InvalidValueError
            The view has no version.
        NotFoundError
            A version does not exist.
        """
        if not self._pool:
            raise InvalidValueError(
                "the view has no version: add a query with a dataset_name and version_name, or a version_id"
            )
        head = self._session.log.head().position
        for version_id, known in self._pool.items():
            if known is None:
                row = version_by_id(self._session, version_id)
                project = find_dataset(self._session, row.dataset_id).project
                position = head if row.published_position is None else row.published_position
                self._pool[version_id] = ViewVersion(row.dataset_id, version_id, position, project)
        return [version for version in self._pool.values() if version is not None]

    def get_iteration_parameters(self) -> dict[str, Any]:
        """Return ``order``, ``infinite``, ``limit`` and ``random_seed``."""
        return {
            "order": self._order,
            "infinite": self._infinite,
            "limit": self._limit,
            "random_seed": self._seed,
        }

    def set_iteration_parameters(
        self,
        order: IterationOrder | str | None = None,
        infinite: bool | None = None,
        maximum_number_of_frames: int | None = _UNSET,
        random_seed: int | None = _UNSET,
        *,
        limit: int | None = _UNSET,
    ) -> None:
        """Change how frames are iterated over. What is not given stays.

        Parameters
        ----------
        order, infinite, random_seed
            As in the constructor.
        limit, maximum_number_of_frames : int, optional
            The most frames of an iteration, under the names of both APIs; None is no limit.

        Raises
        ------
        InvalidValueError
            A value is not allowed, or the limit is given under both names.
        """
        if limit is not _UNSET and maximum_number_of_frames is not _UNSET:
            raise InvalidValueError("limit and maximum_number_of_frames are the same: pass one of them")
        self._change()
        self._repeats = False
        if order is not None:
            self._order = _checked_order(order)
        if infinite is not None:
            check_flags(infinite=infinite)
            self._infinite = bool(infinite)
        given = maximum_number_of_frames if limit is _UNSET else limit
        if given is not _UNSET:
            self._limit = None if given is None else count(given, "limit")
        if random_seed is not _UNSET:
            self._seed = None if random_seed is None else whole(random_seed, "random_seed")

    def set_labels(self, label_dict: Mapping[str, int]) -> None:
        """Set the numbers of labels, after mapping rules.

        `Annotation.label_num` of a frame of the view is the number of the first label that has one, or -1.

        Parameters
        ----------
        label_dict : dict of str to int
            Number by label; an empty dict removes all numbers.

        Raises
        ------
        InvalidValueError
            `label_dict` is not a dict of labels and integers.
        """
        is_valid = isinstance(label_dict, Mapping) and all(
            isinstance(label, str) and isinstance(value, int) and not isinstance(value, bool)
            for label, value in label_dict.items()
        )
        if not is_valid:
            raise refusal("label_dict", label_dict, "a dict of labels and their numbers")
        self._labels = {
            check_text(label, "a label"): whole(value, f"label_dict[{label!r}]")
            for label, value in label_dict.items()
        }
        self._change_frames()

    def get_labels(self) -> dict[str, int]:
        """Return the numbers of labels."""
        return dict(self._labels)

    def add_mapping_rule(
        self,
        from_labels: str | Sequence[str],
        to_label: str,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        project_name: str | None = None,
    ) -> ViewMapping:
        """Add a rule that replaces labels in the frames of the view. Queries use the recorded labels.

        Parameters
        ----------
        from_labels : str or list of str
            The labels to replace. An annotation must have all of them; ``*`` means any label.
        to_label : str
            The new label.
        dataset_id, dataset_name, project_name, version_id, version_name : str, optional
            The dataset and the version whose frames the rule applies to. By default, and with ``*``, all.

        Raises
        ------
        InvalidValueError
            A label is missing or not a string.
        NotFoundError
            The dataset or the version does not exist.
        """
        labels = label_list(from_labels, "from_labels")
        if not labels or not all(labels):
            raise refusal("from_labels", from_labels, "a label or a non-empty list of labels")
        target = label_list(to_label, "to_label")
        if not isinstance(to_label, str) or not to_label:
            raise refusal("to_label", to_label, "a non-empty string")
        dataset, version = self._mapped(dataset_id, dataset_name, version_id, version_name, project_name)
        rule = ViewMapping(from_labels=labels, to_label=target[0], dataset=dataset, version=version)
        self._mapping = [*self._mapping, rule]
        self._change_frames()
        return rule

    def _mapped(
        self,
        dataset_id: str | None,
        dataset_name: str | None,
        version_id: str | None,
        version_name: str | None,
        project: str | None,
    ) -> tuple[str, str]:
        """Return the ids of the dataset and the version that a mapping rule applies to, ``*`` for any."""
        dataset_name, version_name = (None if each == ANY else each for each in (dataset_name, version_name))
        if version_name is not None or version_id not in {None, ANY}:
            return self._named(dataset_name, version_name, dataset_id, version_id, project)
        if dataset_name is not None or dataset_id not in {None, ANY}:
            return self._named(dataset_name, ANY, dataset_id, None, project)
        return ANY, ANY

    def get_mapping_rules(self) -> list[ViewMapping]:
        """Return the rules that replace labels."""
        return [*self._mapping]

    def at(self, moment: Moment | None) -> Self:
        """Return a view of the same queries that reads its versions as they were at a point in time (extension).

        Parameters
        ----------
        moment : int, datetime or None
            A position or an aware datetime; None for the view itself.

        Raises
        ------
        UsageError
            The log does not have the position, or the datetime has no time zone.
        NotFoundError
            A version did not exist then.
        """
        if moment is None:
            return self
        past = object.__new__(type(self))
        vars(past).update(vars(self))
        past._session = self._session.at(moment)
        past._pool = dict.fromkeys(self._pool)
        past._change_frames()
        past.versions()
        return past

    def _selection(self) -> Selection:
        """Return the frames of the view, found once."""
        if self._found is None:
            versions = self.versions()
            rules = [LabelRules(self._mapping, self._labels, version) for version in versions]
            found = Selection(self._session, versions, rules)
            with entered(self._session):
                queries = self._queries or [HyperDatasetQuery()]
            found.find(queries)
            warn_of_unknown_names(found.parts, queries)
            self._found = found
        return self._found

    def plan(self, *, repeats: bool = False) -> Plan:
        """Return the frames of the view and their order (extension).

        Parameters
        ----------
        repeats : bool
            Repeat frames by the weights of their queries; see `allow_repetition` of `get_iterator`.
        """
        found = self._selection()
        shares = self._shares(found, repeats=repeats)
        order = Order(
            self._order == IterationOrder.random,
            self._seed or 0,
            self._infinite or bool(repeats and shares),
            sum(shares) if repeats and shares and self._limit is None else self._limit,
            shares,
        )
        return Plan(found, order, self._is_by_context())

    def _shares(self, found: Selection, *, repeats: bool) -> tuple[int, ...]:
        """Return how many frames of each query a pass has; empty if each frame comes once."""
        weights = [query.weight for query in self._queries]
        is_random = self._order == IterationOrder.random
        is_weighted = len(set(weights)) > 1 and (self._infinite or is_random)
        if len(weights) <= 1 or not (repeats or is_weighted):
            return ()
        return weighted_shares(list(map(len, found.queries)), weights)

    def get_iterator(
        self,
        projection: Sequence[str] | None = None,
        query_cache_size: int | None = None,
        query_queue_depth: int | None = 5,  # noqa: ARG002 - a name of the API that is followed
        allow_repetition: bool = False,
        auto_synthetic_epoch_limit: bool | None = None,
        node_id: int | None = None,
        worker_index: int | None = None,
        num_workers: int | None = None,
        cache_in_memory: bool = False,
        *,
        as_of: Moment | None = None,
    ) -> ViewIterator:
        """Return an iterator over the frames, which are read during the iteration.

        Parameters
        ----------
        projection : sequence of str, optional
            Fields to read, as for `DatasetVersion.get_iterator`. The items are then dicts.
        query_cache_size : int, optional
            Number of frames that are read together if their order is not that of the log.
        query_queue_depth
            No effect: there are no requests to a server.
        allow_repetition, auto_synthetic_epoch_limit : bool
            Repeat frames, so that each query gets a share of the iteration in proportion to its weight. The frames of the
            largest query are yielded once.
        node_id : int, optional
            Used as `worker_index` if that is not given.
        worker_index, num_workers : int, optional
            The iterator yields the frames whose running number modulo `num_workers` is `worker_index`, and at most its
            share of the limit, rounded up.
        cache_in_memory : bool
            Keep the frames, so that a second iteration over this iterator yields the same objects.
        as_of : int or datetime, optional
            Read the versions at a position or an aware datetime (extension).

        Raises
        ------
        ValueError
            The view has no version, or a value is not allowed.
        """
        check_flags(
            allow_repetition=allow_repetition,
            auto_synthetic_epoch_limit=auto_synthetic_epoch_limit,
            cache_in_memory=cache_in_memory,
        )
        view = self.at(as_of)
        view.versions()
        repeats = bool(allow_repetition or auto_synthetic_epoch_limit)
        self._repeats = self._repeats or repeats
        iterator = ViewIterator(
            partial(view.plan, repeats=repeats),
            self._shown if projection is None else self._shown_dicts,
            self._projected(projection),
            WINDOW if query_cache_size is None else at_least(query_cache_size, "query_cache_size", 1),
            keeps=bool(cache_in_memory),
        )
        iterator.set_node(node_id)
        iterator.set_concurrency(worker_index, num_workers)
        return iterator

    def __iter__(self) -> Iterator[Any]:
        return iter(self.get_iterator())

    def to_list(self, projection: Sequence[str] | None = None, *, as_of: Moment | None = None) -> list[Any]:
        """Return the frames of one iteration.

        Parameters
        ----------
        projection, as_of
            As for `get_iterator`.

        Raises
        ------
        ValueError
            The view is infinite and has no limit, or no version.
        """
        self.require_end()
        return [*self.get_iterator(projection, as_of=as_of)]

    def to_dict(
        self, projection: Sequence[str] | None = None, *, as_of: Moment | None = None
    ) -> list[dict[str, Any]]:
        """Return the frames of one iteration in wire form.

        Parameters
        ----------
        projection : sequence of str, optional
            Fields to return, by default all that are stored. See `DatasetVersion.get_iterator`.
        as_of : int or datetime, optional
            Read the versions at a position or an aware datetime (extension).

        Raises
        ------
        ValueError
            The view is infinite and has no limit, or no version.
        """
        return self.to_list(_STORED_FIELDS if projection is None else projection, as_of=as_of)

    def require_end(self) -> None:
        """Raise `InvalidValueError` if an iteration has no end (extension)."""
        if self._infinite and self._limit is None:
            raise InvalidValueError(
                "an infinite view without a limit has no list: pass iteration_limit, or read it with get_iterator"
            )

    def get_count(self, *, as_of: Moment | None = None) -> FrameCount:
        """Return the number of frames that the queries match, without limit and repetition.

        Parameters
        ----------
        as_of : int or datetime, optional
            Read the versions at a position or an aware datetime (extension).

        Returns
        -------
        FrameCount
            An integer. As in the older API, item 0 is the number, and item 1 the numbers of each query.

        Raises
        ------
        ValueError
            The view has no version.
        """
        found = self.at(as_of)._selection()  # noqa: SLF001 - of the same class
        return FrameCount(len(found), list(map(len, found.queries)))

    def __len__(self) -> int:
        """Return the number of frames of an iteration, or of an infinite view, the number of frames that match."""
        plan = self.plan(repeats=self._repeats)
        return len(plan.selection) if plan.length is None else plan.length

    def __bool__(self) -> bool:
        return True  # also without frames, although a view has a length

    def split_to_lists(
        self, ratio: Sequence[float] = (80, 20), *, seed: int | None = None, as_of: Moment | None = None
    ) -> tuple[list[Any], ...]:
        """Return the frames in several lists, each frame in one of them.

        Which frames a list gets depends on the seed. In each list the frames are in the order of the view.

        Parameters
        ----------
        ratio : sequence of float
            The sizes of the lists, relative to each other.
        seed : int, optional
            The seed, by default that of the view (extension).
        as_of : int or datetime, optional
            Read the versions at a position or an aware datetime (extension).

        Raises
        ------
        ValueError
            The ratio is not allowed, or the view is infinite and has no limit.
        """
        parts = [number(part, "ratio") for part in items(ratio, "ratio", "a list of numbers")]
        if not parts or min(parts) < 0 or not sum(parts):
            raise refusal("ratio", ratio, "a list of numbers of at least 0, not all of them 0")
        self.require_end()
        plan = self.at(as_of).plan()
        places = np.concatenate([np.empty(0, np.int64), *plan.passes()])
        # A frame that is repeated by its weight is in one list only.
        unique = np.unique(places)
        shuffled = unique[
            permutation(len(unique), plan.order.seed if seed is None else whole(seed, "seed"), _SPLIT)
        ]
        ends = np.rint(np.cumsum(parts) / sum(parts) * len(unique)).astype(int)
        chosen = (places[np.isin(places, some)] for some in np.split(shuffled, ends[:-1]))
        return tuple([*self._shown(plan.selection.read(some))] for some in chosen)

    @property
    def session(self) -> Session:
        """The engine's session."""
        return self._session

    def _shown(self, frames: Iterable[Any]) -> Iterator[Any]:
        """Yield frames as the view does: what was added as a data entry is an entry again."""
        from ..open.classes import ENTRY_CLASS
        from ..open.entries import entry_of

        for frame in frames:
            yield entry_of(frame) if ENTRY_CLASS in frame.metadata else frame

    def _shown_dicts(self, frames: Iterable[dict[str, Any]]) -> Iterator[Any]:
        return iter(frames)

    def _projected(self, projection: Sequence[str] | None) -> Sequence[str] | None:
        """Return the fields to read. As in ClearML, no fields and ``*`` are all of them."""
        if projection is None:
            return None
        paths = items(projection, "projection", "a list of dot paths")
        if not len(paths) or ANY in paths:
            return None
        FieldPaths(paths)  # raises for a path that no frame can have
        return paths

    def prefetch_files(
        self,
        num_workers: int | None = None,
        wait: bool = False,
        query_cache_size: int | None = None,
        get_previews: bool = False,
        get_masks: bool = True,
        force_download: bool = False,
        *,
        as_of: Moment | None = None,
    ) -> None:
        """Fetch the files of the frames into the local cache, by default in background threads.

        A file that cannot be fetched is skipped, and reading it later raises the error. With `wait`, a warning gives the
        number of such files.

        Parameters
        ----------
        num_workers : int, optional
            Number of threads, by default 8.
        wait : bool
            Return only when all files are fetched.
        query_cache_size : int, optional
            As for `get_iterator`.
        get_previews, get_masks : bool
            Also fetch previews and masks.
        force_download : bool
            Fetch files again even if they are in the cache.
        as_of : int or datetime, optional
            Read the versions at a position or an aware datetime (extension).

        Raises
        ------
        ValueError
            The view has no version, or is infinite and has no limit.
        """
        check_flags(wait=wait, get_previews=get_previews, get_masks=get_masks, force_download=force_download)
        threads = PREFETCH_THREADS if num_workers is None else at_least(num_workers, "num_workers", 1)
        self.require_end()
        wanted = wanted_files(get_previews=get_previews, get_masks=get_masks)
        plan = self.at(as_of).plan()
        window = WINDOW if query_cache_size is None else at_least(query_cache_size, "query_cache_size", 1)
        read = (plan.selection.read(places, wanted, window) for places in plan.passes())
        if wait:
            failed = fetch_files(self._session, chain.from_iterable(read), threads, anew=force_download)
            if failed:
                warn_caller(f"{len(failed):,} files cannot be fetched; the first: {failed[0]}", UserWarning)
        else:
            fetch_in_background(self._session, chain.from_iterable(read), threads, anew=force_download)

    def prefetch_local_sources(
        self,
        num_workers: int | None = None,
        wait: bool = True,
        query_cache_size: int | None = None,
        get_previews: bool = False,
        get_masks: bool = True,
        force_download: bool = False,
        *,
        as_of: Moment | None = None,
    ) -> None:
        """Fetch the files of the frames into the local cache, and wait for them; see `prefetch_files`."""
        self.prefetch_files(
            num_workers, wait, query_cache_size, get_previews, get_masks, force_download, as_of=as_of
        )

    @overload
    def to_torch(
        self,
        transform: Callable[[Sample], Any] | None = None,
        *,
        iterable: Literal[False] = False,
        allow_repetition: bool = False,
        rank: int = 0,
        world_size: int = 1,
        as_of: Moment | None = None,
    ) -> FrameDataset: ...
    @overload
    def to_torch(
        self,
        transform: Callable[[Sample], Any] | None = None,
        *,
        iterable: Literal[True],
        allow_repetition: bool = False,
        rank: int = 0,
        world_size: int = 1,
        as_of: Moment | None = None,
    ) -> FrameIterableDataset: ...
    def to_torch(
        self,
        transform: Callable[[Sample], Any] | None = None,
        *,
        iterable: bool = False,
        allow_repetition: bool = False,
        rank: int = 0,
        world_size: int = 1,
        as_of: Moment | None = None,
    ) -> FrameDataset | FrameIterableDataset:
        """Return the view as a dataset of torch, for a `DataLoader` (extension). It needs the extra `torch`.

        Parameters
        ----------
        transform : callable, optional
            Called with each `Sample`; its result is the item. By default the item is the sample. A batch of samples is a list.
        iterable : bool
            Return an iterable-style dataset, which streams the frames in the order of the view. By default the dataset is
            map-style, and a sampler of torch can shuffle it.
        allow_repetition : bool
            As for `get_iterator`.
        rank, world_size : int
            Only of an iterable dataset: number of this process, from 0, and how many processes share the view. A map-style dataset
            is shared by a sampler, such as torch's `DistributedSampler`.
        as_of : int or datetime, optional
            Read the versions at a position or an aware datetime.

        Raises
        ------
        UsageError
            torch is not installed, or `rank` or `world_size` is given for a map-style dataset.
        ValueError
            The view has no version; it is infinite without a limit, and not `iterable`; or `rank` is not below `world_size`.
        """
        from .training import FrameDataset, FrameIterableDataset

        check_flags(iterable=iterable, allow_repetition=allow_repetition)
        view, repeats = self.at(as_of), bool(allow_repetition)
        if not iterable:
            if (rank, world_size) != (0, 1):
                raise UsageError(
                    "rank and world_size split an iterable dataset: pass iterable=True, or give the map-style dataset to a sampler "
                    "such as torch's DistributedSampler"
                )
            return FrameDataset(view, transform, repeats=repeats)
        return FrameIterableDataset(view, transform, repeats=repeats, rank=rank, world_size=world_size)

    def __repr__(self) -> str:
        parts = {
            "id": self._id,
            "name": self.name,
            "queries": len(self._queries),
            "versions": len(self._pool),
        }
        return (
            f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in parts.items() if value)})"
        )


class _StoredView(Aggregate):
    """Tells the name of a view, None if it is not stored."""

    name: str | None = None

    def change(self, event: Event) -> None:
        self.name = event.view if isinstance(event, ViewStored) else None


_STORED_FIELDS = ("id", "context_id", "timestamp", "sources", "rois", "meta", "num_frames")


def _no_view(view_id: str | None, name: str | None, known: Iterable[str], when: str) -> NotFoundError:
    what = f"id {shorten(view_id)}" if view_id is not None else f"name {shorten(name)}"
    return NotFoundError(f"there is no view with {what}{when}{did_you_mean(name, known) if name else ''}")


def _several(queries: Any) -> list[HyperDatasetQuery]:
    allowed = "a HyperDatasetQuery or a list of them"
    given = [queries] if isinstance(queries, HyperDatasetQuery) else list(items(queries, "queries", allowed))
    for query in given:
        if not isinstance(query, HyperDatasetQuery):
            raise refusal("queries", query, allowed)
    return given


def _checked_order(order: object) -> IterationOrder | str:
    if isinstance(order, IterationOrder):
        return order
    known = [each.value for each in IterationOrder]
    if order not in known:
        raise refusal("order", order, f"one of {', '.join(known)}")
    return str(order)
