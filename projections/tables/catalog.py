"""The catalog of datasets and versions, replayed from lifecycle events. Frame events are read only if needed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa

from ...engine.events import domain as e
from ...engine.log.batch import EVENTS_SCHEMA, FRAMES_SCHEMA
from ...engine.log.prefix import LogPrefix
from ..columns import from_json, from_row, text_key
from ..pages import Page
from ..projection import FoldedProjection, ProjectionStore
from ..statements import CheckedQuery, CompiledStatement, DirectQuery
from ..tracking import Track, Tracking


def fold_catalog(log: LogPrefix, store: ProjectionStore, catalog: Catalog, now: Iterable[VersionRow]) -> None:
    """Fill the tables of a catalog up to the end of a prefix.

    A log may have a million small batches. Frame batches only determine when a version was last updated. If that was before
    the end of the prefix, it is taken from the current catalog.

    Parameters
    ----------
    log : LogPrefix
        The log up to a position.
    store : ProjectionStore
        The database of the tables.
    catalog : Catalog
        The catalog.
    now : iterable of VersionRow
        All versions in the current catalog, including removed ones.
    """
    headers = log.headers(schema=EVENTS_SCHEMA, topics=CATALOG_TOPICS)
    changes = catalog.fold(Page(log, list(headers)))
    _add_last_updates(log, changes, now)
    tracking, head = Tracking(log), log.head()
    with store.write() as connection:
        tracking.reset(connection, catalog)
        catalog.write(connection, changes)
        tracking.write(connection, (catalog,), {catalog.full_name: Track(head.position, head.digest)})


def _add_last_updates(log: LogPrefix, changes: CatalogChanges, now: Iterable[VersionRow]) -> None:
    for row in now:
        if row.created_position > log.position or row.created_position == row.updated_position:
            continue
        if row.updated_position <= log.position:
            changes.last[row.version_id] = row.updated_at, row.updated_position
            continue
        last = log.last_batch(row.version_id, lte=log.position, schema=FRAMES_SCHEMA)
        if last is not None:
            changes.last[row.version_id] = last.recorded_at, last.last_position


DRAFT, PUBLISHED, REMOVED = "draft", "published", "removed"


class DatasetRow(msgspec.Struct, frozen=True):
    """A dataset. Times are UTC microseconds since 1970."""

    dataset_id: str
    name: str
    project: str
    description: str
    tags: list[str]
    created_at: int
    created_position: int
    removed_position: int | None = None


class VersionRow(msgspec.Struct, frozen=True):
    """A version. Times are UTC microseconds since 1970."""

    version_id: str
    dataset_id: str
    name: str
    parent_id: str | None
    depth: int
    description: str
    tags: list[str]
    metadata: dict[str, Any]
    state: str
    created_at: int
    created_position: int
    updated_at: int
    updated_position: int
    published_position: int | None
    fingerprint: str | None


_EVENTS = (
    e.DatasetCreated,
    e.DatasetRenamed,
    e.DatasetDescribed,
    e.DatasetTagged,
    e.DatasetRemoved,
    e.VersionCreated,
    e.VersionRenamed,
    e.VersionDescribed,
    e.VersionTagged,
    e.VersionMetadataSet,
    e.VersionPublished,
    e.VersionRemoved,
)

CATALOG_TOPICS = frozenset(event.__name__ for event in _EVENTS)
"""Topics of the lifecycle events that the catalog replays."""


class CatalogChanges(msgspec.Struct):
    """The changes of a range of the log to the catalog.

    Attributes
    ----------
    events : list of (Event, int, int)
        Lifecycle events, each with its time and position.
    last : dict of str to (int, int)
        Time and position of the last frame event of each version.
    """

    events: list[tuple[e.Event, int, int]]
    last: dict[str, tuple[int, int]]


class Catalog(FoldedProjection[CatalogChanges]):
    """Tables of datasets and versions, computed from lifecycle events and the headers of frame batches."""

    name: ClassVar[str] = "catalog"
    code_version: ClassVar[int] = 3

    def define_tables(self) -> None:
        """Define the tables."""
        self._queries: dict[Any, DirectQuery] = {}
        self.dataset = self.table(
            "dataset",
            sa.Column("dataset_id", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("name_key", sa.LargeBinary, nullable=False),
            sa.Column("project", sa.Text, nullable=False),
            sa.Column("description", sa.Text, nullable=False),
            sa.Column("tags", sa.Text, nullable=False),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.Column("created_position", sa.BigInteger, nullable=False),
            sa.Column("removed_position", sa.BigInteger),
            sa.UniqueConstraint("name_key", "created_position"),
        )
        self.version = self.table(
            "version",
            sa.Column("version_id", sa.Text, primary_key=True),
            sa.Column("dataset_id", sa.Text, nullable=False),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("name_key", sa.LargeBinary, nullable=False),
            sa.Column("parent_id", sa.Text),
            sa.Column("depth", sa.Integer, nullable=False),
            sa.Column("description", sa.Text, nullable=False),
            sa.Column("tags", sa.Text, nullable=False),
            sa.Column("metadata", sa.Text, nullable=False),
            sa.Column("state", sa.Text, nullable=False),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.Column("created_position", sa.BigInteger, nullable=False),
            sa.Column("updated_at", sa.BigInteger, nullable=False),
            sa.Column("updated_position", sa.BigInteger, nullable=False),
            sa.Column("published_position", sa.BigInteger),
            sa.Column("fingerprint", sa.Text),
            # Each begins an index. Named indexes would keep their names when a rebuilt table replaces the live one.
            sa.UniqueConstraint("dataset_id", "name_key", "created_position"),
            sa.UniqueConstraint("dataset_id", "state", "depth", "created_position"),
            sa.UniqueConstraint("dataset_id", "state", "published_position"),
        )
        column = self.version.c
        depth = sa.select(column.depth).where(column.version_id == sa.bindparam("parent"))
        self._depth = CheckedQuery(depth, ("parent",))
        self._current = {
            DRAFT: self._first_of_state(column.depth.desc(), column.created_position.desc()),
            PUBLISHED: self._first_of_state(column.published_position.desc()),
        }

    def fold(self, page: Page) -> CatalogChanges:
        """Collect lifecycle events, and the time of the last frame batch of each version."""
        events: list[tuple[e.Event, int, int]] = [
            (event, header.recorded_at, position) for header, position, event in page.lifecycle(*_EVENTS)
        ]
        last = {
            header.stream_id: (header.recorded_at, header.last_position) for header in page.frame_batches()
        }
        return CatalogChanges(events, last)

    def merge(self, earlier: CatalogChanges, later: CatalogChanges) -> CatalogChanges:
        """Merge the changes of two adjacent ranges."""
        return CatalogChanges(earlier.events + later.events, earlier.last | later.last)

    def write(self, connection: sa.Connection, folded: CatalogChanges) -> None:
        """Apply changes to the tables."""
        for event, at, position in folded.events:
            self._apply_event(connection, event, at, position)
        for version_id, (at, position) in folded.last.items():
            self._change(connection, version_id, updated_at=at, updated_position=position)

    def _apply_event(self, connection: sa.Connection, event: e.Event, at: int, position: int) -> None:
        match event:
            case e.DatasetCreated():
                self._create_dataset(connection, event, at, position)
            case e.VersionCreated():
                self._create_version(connection, event, at, position)
            case e.VersionPublished():
                values = {"published_position": position, "fingerprint": event.fingerprint}
                self._change(connection, event.originator_id, state=PUBLISHED, **values)
            case e.VersionRemoved():
                self._change(connection, event.originator_id, state=REMOVED)
            case e.DatasetRemoved():
                self._change_dataset(connection, event.originator_id, removed_position=position)
            case e.DatasetRenamed() | e.DatasetDescribed() | e.DatasetTagged():
                self._change_dataset(connection, event.originator_id, **_columns(event))
            case e.VersionRenamed() | e.VersionDescribed() | e.VersionTagged() | e.VersionMetadataSet():
                self._change(connection, event.originator_id, **_columns(event))
            case _:
                pass

    def _change_dataset(self, connection: sa.Connection, dataset_id: str, **values: Any) -> None:
        _changing(self.dataset, tuple(values)).execute(connection, (*values.values(), dataset_id))

    def _change(self, connection: sa.Connection, version_id: str, **values: Any) -> None:
        _changing(self.version, tuple(values)).execute(connection, (*values.values(), version_id))

    def _create_dataset(
        self, connection: sa.Connection, event: e.DatasetCreated, at: int, position: int
    ) -> None:
        values = {
            "dataset_id": event.originator_id,
            "name": event.name,
            "name_key": text_key(event.name),
            "project": event.project,
            "description": event.description,
            "tags": _json(event.tags),
            "created_at": at,
            "created_position": position,
        }
        _insert_once(connection, self.dataset, values)

    def _create_version(
        self, connection: sa.Connection, event: e.VersionCreated, at: int, position: int
    ) -> None:
        # Readers follow the rows from parent to parent, so an unknown parent is omitted; `verify` reports it.
        above = self._depth.row(connection, (event.parent_id,)) if event.parent_id else None
        values = {
            "version_id": event.originator_id,
            "dataset_id": event.dataset_id,
            "name": event.name,
            "name_key": text_key(event.name),
            "parent_id": None if above is None else event.parent_id,
            "depth": 0 if above is None else above.depth + 1,
            "description": event.description,
            "tags": _json([]),
            "metadata": _json(event.metadata),
            "state": DRAFT,
            "created_at": at,
            "created_position": position,
            "updated_at": at,
            "updated_position": position,
        }
        _insert_once(connection, self.version, values)

    def datasets(
        self,
        connection: sa.Connection,
        *,
        dataset_id: str | None = None,
        name: str | None = None,
        removed: bool = False,
    ) -> list[DatasetRow]:
        """Return datasets, oldest first. Removed ones only if requested."""
        keys = {"dataset_id": dataset_id, "name_key": None if name is None else text_key(name), "name": name}
        rows = self._rows(connection, DatasetRow, self.dataset, keys, removed=removed)
        return list(map(_dataset_row, rows))

    def versions(
        self,
        connection: sa.Connection,
        *,
        dataset_id: str | None = None,
        version_id: str | None = None,
        parent_id: str | None = None,
        name: str | None = None,
        state: str | None = None,
        removed: bool = False,
    ) -> list[VersionRow]:
        """Return versions, newest first. Removed ones only if requested."""
        wanted = {"dataset_id": dataset_id, "version_id": version_id, "parent_id": parent_id}
        keys = {"name_key": None if name is None else text_key(name), "name": name, "state": state}
        rows = self._rows(connection, VersionRow, self.version, wanted | keys, removed=removed)
        return list(map(_version_row, rows))

    def _rows(
        self,
        connection: sa.Connection,
        kind: type[DatasetRow | VersionRow],
        table: sa.Table,
        keys: dict[str, Any],
        *,
        removed: bool,
    ) -> list[Any]:
        """Return the rows with some values of columns, by a query that is compiled once for the columns that are given."""
        given = {name: value for name, value in keys.items() if value is not None}
        which = (kind, tuple(given), removed)
        query = self._queries.get(which)
        if query is None:
            column = table.c
            select = sa.select(*(column[each] for each in kind.__struct_fields__))
            select = select.where(*(column[each] == sa.bindparam(each) for each in given))
            if not removed:
                select = select.where(
                    column.removed_position.is_(None) if kind is DatasetRow else column.state != REMOVED
                )
            order = column.created_position if kind is DatasetRow else column.created_position.desc()
            query = self._queries[which] = DirectQuery(select.order_by(order), tuple(given))
        return query.rows(connection, tuple(given.values()))

    def current(self, connection: sa.Connection, dataset_id: str) -> VersionRow | None:
        """Return the draft farthest from the root, the newest of several; without drafts, the version published last."""
        for state, query in self._current.items():
            row = query.row(connection, (dataset_id, state))
            if row is not None:
                return _version_row(row)
        return None

    def _first_of_state(self, *order: sa.ColumnElement[Any]) -> DirectQuery:
        column = self.version.c
        select = sa.select(*(column[each] for each in VersionRow.__struct_fields__)).where(
            *(column[each] == sa.bindparam(each) for each in ("dataset_id", "state"))
        )
        return DirectQuery(select.order_by(*order).limit(1), ("dataset_id", "state"))


def _insert_once(connection: sa.Connection, table: sa.Table, values: dict[str, Any]) -> None:
    """Insert a row unless its key exists, because a foreign log may create something twice."""
    _inserting(table, tuple(values)).execute(connection, tuple(values.values()))


@cache
def _inserting(table: sa.Table, names: tuple[str, ...]) -> CompiledStatement:
    given = {name: sa.bindparam(name, type_=table.c[name].type) for name in names}
    (key,) = table.primary_key
    new = sa.select(*given.values()).where(~sa.exists().where(key == given[key.name]))
    return CompiledStatement(table.insert().from_select(names, new), names)


@cache
def _changing(table: sa.Table, names: tuple[str, ...]) -> CompiledStatement:
    (key,) = table.primary_key
    given = {name: sa.bindparam(name, type_=table.c[name].type) for name in names}
    return CompiledStatement(
        sa.update(table).where(key == sa.bindparam("changed")).values(given), (*names, "changed")
    )


def _columns(event: e.Event) -> dict[str, Any]:
    """Return the fields of an event, as columns of the same names."""
    values = msgspec.structs.asdict(event)
    del values["originator_id"], values["originator_version"]
    columns = {name: value if isinstance(value, str) else _json(value) for name, value in values.items()}
    return columns | {"name_key": text_key(values["name"])} if "name" in values else columns


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _dataset_row(row: Any) -> DatasetRow:
    values = row._asdict()
    values["tags"] = from_json(values["tags"], list[str])
    return from_row(values, DatasetRow)


def _version_row(row: Any) -> VersionRow:
    values = row._asdict()
    values["tags"] = from_json(values["tags"], list[str])
    values["metadata"] = from_json(values["metadata"], dict[str, Any])
    return from_row(values, VersionRow)
