"""The sessions and datasets of folders with ALF files, their recorded loads, and the tags of positions."""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa

from ...engine.events.alf import (
    ALF,
    AlfDataset,
    AlfDatasetsEvent,
    AlfDatasetsLoaded,
    AlfSessionEvent,
    AlfTagged,
    AlfUntagged,
)
from ..columns import Bytes, text_key
from ..pages import Page
from ..projection import FoldedProjection
from ..statements import DirectInsert

SESSION_FIELDS = ("lab", "subject", "date", "number", "task_protocol", "projects", "path")


class AlfSession(msgspec.Struct, frozen=True):
    """A row of the sessions of a folder."""

    eid: str
    lab: str | None
    subject: str
    date: str
    number: int
    task_protocol: str
    projects: str
    path: str


class AlfLoad(msgspec.Struct, frozen=True):
    """A recorded load of a dataset. The time is in UTC microseconds since 1970."""

    position: int
    recorded_at: int
    actor: str
    eid: str
    id: str


class AlfChanges(msgspec.Struct):
    """The last states in a range of the log, by key; a tag that was removed is None."""

    sessions: dict[tuple[str, str], tuple[Any, ...]] = msgspec.field(default_factory=dict)
    datasets: dict[tuple[str, str, str], AlfDataset] = msgspec.field(default_factory=dict)
    loads: list[tuple[Any, ...]] = msgspec.field(default_factory=list)
    tags: dict[tuple[str, str], int | None] = msgspec.field(default_factory=dict)


class Alf(FoldedProjection[AlfChanges]):
    """Tables of sessions, datasets, loads and tags."""

    name: ClassVar[str] = "alf"
    code_version: ClassVar[int] = 1
    topics: ClassVar[frozenset[str] | None] = ALF.topics

    def define_tables(self) -> None:
        """Define the tables. A `key` has digests of the ids: texts may be longer than the index entries of a database."""
        self.session = self.table(
            "session",
            sa.Column("key", Bytes(32), primary_key=True),
            sa.Column("root", sa.Text, nullable=False),
            sa.Column("eid", sa.Text, nullable=False),
            sa.Column("lab", sa.Text),
            sa.Column("subject", sa.Text, nullable=False),
            sa.Column("date", sa.Text, nullable=False),
            sa.Column("number", sa.BigInteger, nullable=False),
            sa.Column("task_protocol", sa.Text, nullable=False),
            sa.Column("projects", sa.Text, nullable=False),
            sa.Column("path", sa.Text, nullable=False),
            clustered=True,
        )
        self.dataset = self.table(
            "dataset",
            sa.Column("key", Bytes(48), primary_key=True),
            sa.Column("root", sa.Text, nullable=False),
            sa.Column("eid", sa.Text, nullable=False),
            sa.Column("id", sa.Text, nullable=False),
            sa.Column("path", sa.Text, nullable=False),
            sa.Column("size", sa.BigInteger),
            sa.Column("hash", sa.Text),
            sa.Column("qc", sa.BigInteger, nullable=False),
            sa.Column("is_default", sa.SmallInteger, nullable=False),
            sa.Column("exists", sa.SmallInteger, nullable=False),
            clustered=True,
        )
        self.load = self.table(
            "load",
            sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("root", sa.Text, nullable=False),
            sa.Column("recorded_at", sa.BigInteger, nullable=False),
            sa.Column("actor", sa.Text, nullable=False),
            sa.Column("eid", sa.Text, nullable=False),
            sa.Column("id", sa.Text, nullable=False),
        )
        self.tag = self.table(
            "tag",
            sa.Column("key", Bytes(32), primary_key=True),
            sa.Column("root", sa.Text, nullable=False),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("position", sa.BigInteger, nullable=False),
        )
        self._insert_sessions = DirectInsert(self.session, replace=True)
        self._insert_datasets = DirectInsert(self.dataset, replace=True)

    def fold(self, page: Page) -> AlfChanges:
        """Return the last state of each session, dataset and tag, and all loads."""
        changes = AlfChanges()
        for header, position, event in page.lifecycle(*ALF.events):
            match event:
                case AlfSessionEvent():
                    fields = (getattr(event, name) for name in SESSION_FIELDS)
                    changes.sessions[event.root, event.eid] = tuple(fields)
                case AlfDatasetsEvent():
                    changes.datasets |= {(event.root, event.eid, each.id): each for each in event.datasets}
                case AlfDatasetsLoaded():
                    about = (event.root, header.recorded_at, header.actor, event.eid)
                    changes.loads += [
                        (position, number, *about, each) for number, each in enumerate(event.datasets)
                    ]
                case AlfTagged():
                    changes.tags[event.root, event.name] = event.position
                case AlfUntagged():
                    changes.tags[event.root, event.name] = None
                case _:
                    pass
        return changes

    def merge(self, earlier: AlfChanges, later: AlfChanges) -> AlfChanges:
        """Merge the states of two adjacent ranges."""
        earlier.sessions |= later.sessions
        earlier.datasets |= later.datasets
        earlier.loads += later.loads
        earlier.tags |= later.tags
        return earlier

    def write(self, connection: sa.Connection, folded: AlfChanges) -> None:
        """Write the states over those in the tables, in the order of their keys."""
        sessions = ((_key(*ids), *ids, *fields) for ids, fields in folded.sessions.items())
        datasets = ((_key(*ids), *ids[:2], *_dataset_values(each)) for ids, each in folded.datasets.items())
        for insert, rows in ((self._insert_sessions, sessions), (self._insert_datasets, datasets)):
            ordered = sorted(rows, key=itemgetter(0))
            if ordered:
                insert.execute_many(connection, ordered)
        if folded.loads:
            names = [column.name for column in self.load.columns]
            connection.execute(
                self.load.insert(), [dict(zip(names, row, strict=True)) for row in folded.loads]
            )
        for ids, position in folded.tags.items():
            connection.execute(sa.delete(self.tag).where(self.tag.c.key == _key(*ids)))
            if position is not None:
                values = {"key": _key(*ids), "root": ids[0], "name": ids[1], "position": position}
                connection.execute(self.tag.insert(), values)

    def sessions(self, connection: sa.Connection, root: str) -> list[AlfSession]:
        """Return the sessions of a folder, in no particular order."""
        column = self.session.c
        query = sa.select(*(column[name] for name in AlfSession.__struct_fields__)).where(column.root == root)
        return [AlfSession(*row) for row in connection.execute(query)]

    def datasets(
        self, connection: sa.Connection, root: str, eid: str | None = None
    ) -> list[tuple[str, AlfDataset]]:
        """Return the datasets of a folder, or of one session, each after the id of its session, in no particular order."""
        column = self.dataset.c
        fields = (column.eid, *(column[name] for name in AlfDataset.__struct_fields__))
        query = sa.select(*fields).where(column.root == root)
        if eid is not None:
            query = query.where(column.eid == eid)
        return [_dataset(tuple(row)) for row in connection.execute(query)]

    def tags(self, connection: sa.Connection, root: str) -> dict[str, int]:
        """Return the positions of the tags of a folder, by name."""
        column = self.tag.c
        rows = connection.execute(sa.select(column.name, column.position).where(column.root == root))
        return {row.name: row.position for row in sorted(rows, key=lambda row: (row.position, row.name))}

    def loads(self, connection: sa.Connection, root: str) -> list[AlfLoad]:
        """Return the recorded loads of a folder, oldest first."""
        column = self.load.c
        query = sa.select(*(column[name] for name in AlfLoad.__struct_fields__))
        query = query.where(column.root == root).order_by(column.position, column.number)
        return [AlfLoad(*row) for row in connection.execute(query)]


def _dataset_values(dataset: AlfDataset) -> tuple[Any, ...]:
    *values, default, exists = msgspec.structs.astuple(dataset)
    return (*values, int(default), int(exists))


def _dataset(row: tuple[Any, ...]) -> tuple[str, AlfDataset]:
    eid, *values, default, exists = row
    return eid, AlfDataset(*values, is_default=bool(default), exists=bool(exists))


def _key(*ids: str) -> bytes:
    return b"".join(map(_digest, ids))


_digest = lru_cache(65536)(text_key)
