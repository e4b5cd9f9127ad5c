"""Reads and records what datalakes have: the one place that knows their streams and tables."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from ...engine.datasets.aggregate import Aggregate
from ...engine.datasets.application import Result
from ...engine.errors import InvalidTypeError, InvalidValueError
from ...engine.events.lakes import (
    ITEMS_OF_AN_EVENT,
    LAKE,
    LAKES,
    DataRecord,
    DataUploaded,
    SourceCreated,
    TagRecord,
    TagsAttached,
    TagsCreated,
)
from ...engine.iterables import chunked
from ...engine.validation import check_name, shorten
from ...projections.statements import ROWS_AT_ONCE
from ...projections.tables.lakes import Lakes
from ..session.session import Session
from .exceptions import ResourceConflictError, ResourceNotFoundError

_LONGEST_NAME = 1024

Decide = Callable[[Aggregate], object]


class LakeRow(msgspec.Struct, frozen=True):
    """A datalake."""

    number: int
    id: str
    name: str
    bucket: str


class NamedRow(msgspec.Struct, frozen=True):
    """A tag or a source."""

    number: int
    id: str
    name: str


class Lake:
    """One datalake of a session.

    Parameters
    ----------
    session : Session
        The session, of the present or the past.
    row : LakeRow
        The lake.
    """

    def __init__(self, session: Session, row: LakeRow) -> None:
        self.session = session
        self.row = row

    @property
    def name(self) -> str:
        """Name of the lake."""
        return self.row.name

    @contextmanager
    def read(self) -> Generator[tuple[Lakes, sa.Connection], None, None]:
        """Yield the tables, up to date, and a connection to them."""
        with self.session.read(Lakes) as found:
            yield found

    def record(self, decide: Decide, *, alone: bool = False) -> None:
        """Record events that a function triggers on the stream of the lake."""
        record(self.session, LAKE.id + self.row.id, decide, alone=alone)

    def tag(self, name: object) -> NamedRow | None:
        """Return the tag of a name, or None."""
        return self.tags([check_label(name, "a tag")]).get(str(name))

    def tags(self, names: Sequence[str] | None = None) -> dict[str, NamedRow]:
        """Return the tags by name, all or those of some names, in the order of their creation."""
        with self.read() as (tables, connection):
            table = tables.tag
            query = sa.select(table.c.number, table.c.id, table.c.name).where(table.c.lake == self.row.number)
            rows: list[Any] = []
            for part in [None] if names is None else chunked(names, ROWS_AT_ONCE):
                asked = query if part is None else query.where(table.c.name.in_(part))
                rows += connection.execute(asked.order_by(table.c.number)).all()
        return {row.name: NamedRow(*row) for row in rows}

    def make_tags(self, stream: Aggregate, names: Sequence[str]) -> list[str]:
        """Return the ids of tags, and create those that do not exist."""
        known = {name: row.id for name, row in self.tags(names).items()}
        made = [
            TagRecord(id=self.session.present.new_id(), name=name)
            for name in dict.fromkeys(names)
            if name not in known
        ]
        for some in chunked(made, ITEMS_OF_AN_EVENT):
            stream.trigger(TagsCreated, lake=self.name, tags=some)
        known |= {tag.name: tag.id for tag in made}
        return [known[name] for name in dict.fromkeys(names)]

    def add_data(
        self, stream: Aggregate, data: Sequence[DataRecord], tags: Sequence[str], source: str | None
    ) -> None:
        """Trigger the events of new data with tags, given by their ids, and a source."""
        first, *more = list(chunked(tags, ITEMS_OF_AN_EVENT)) or [[]]
        for part in chunked(data, ITEMS_OF_AN_EVENT):
            stream.trigger(DataUploaded, lake=self.name, data=part, tags=first, source=source)
            for some in more:
                stream.trigger(TagsAttached, lake=self.name, tags=some, data=[record.id for record in part])


def record(session: Session, stream_id: str, decide: Decide, *, alone: bool = False) -> None:
    """Record the events that a function triggers on a stream. It is called again if another writer was faster.

    Parameters
    ----------
    decide : callable
        Gets the stream. What it reads is at least as new as the version of the stream.
    alone : bool
        Keep other writers out, because the decision depends on other streams.
    """
    application = session.writes.application

    def decided() -> tuple[list[Aggregate], Result]:
        stream = Aggregate(stream_id)
        before = stream.version = session.log.stream_version(stream_id) or 0
        decide(stream)
        return ([stream] if stream.version > before else []), {}

    application.run(["record_lake"], None, decided, alone=alone)


def things(session: Session, table: str, **equal: Any) -> list[Any]:
    """Return rows of lakes, sources, processings or jobs that match, oldest first."""
    with session.read(Lakes) as (tables, connection):
        found: sa.Table = getattr(tables, table)
        conditions = [found.c[name] == value for name, value in equal.items()]
        return list(connection.execute(sa.select(found).where(*conditions).order_by(found.c.number)))


def create_named(session: Session, table: str, name: str, event: type[Any], **fields: Any) -> str:
    """Create a thing with a name that no other has, and return its id.

    Raises
    ------
    ResourceConflictError
        The name is taken.
    """
    thing_id = session.present.new_id()

    def decide(stream: Aggregate) -> None:
        if things(session, table, name=name):
            raise ResourceConflictError(f"there is a {table} with the name {name!r} already")
        stream.trigger(event, id=thing_id, name=name, **fields)

    record(session, LAKES.id, decide)
    return thing_id


def source_named(session: Session, name: str, *, create: bool = False) -> NamedRow:
    """Return the source of a name.

    Raises
    ------
    ResourceNotFoundError
        The source does not exist, and `create` is false.
    """
    name = check_label(name, "a source")
    while not (found := things(session, "source", name=name)):
        if not create:
            raise ResourceNotFoundError(f"there is no data source with the name {name!r}")
        try:
            create_named(session, "source", name, SourceCreated)
        except ResourceConflictError:  # another process was faster
            continue
    row = found[0]
    return NamedRow(row.number, row.id, row.name)


def check_label(name: object, what: str) -> str:
    """Return a name of at most 1,024 characters. Raises `InvalidTypeError` or `InvalidValueError`."""
    if not isinstance(name, str):
        raise InvalidTypeError(f"the name of {what} must be a string, not {shorten(name)}")
    plain = check_name(name, f"the name of {what}")
    if len(plain) > _LONGEST_NAME:
        raise InvalidValueError(f"the name of {what} has more than {_LONGEST_NAME:,} characters")
    return plain


def hex_id(given: object, what: str = "id") -> str:
    """Return an id as 32 hex digits. Raises `InvalidValueError` if it is no UUID."""
    try:
        return (given if isinstance(given, UUID) else UUID(str(given))).hex
    except ValueError as error:
        raise InvalidValueError(f"{what} must be a UUID, not {shorten(given)}") from error


def suffix_of(filename: str) -> str:
    """Return the extension of a file name with its dot; empty for a name without one."""
    dot = filename.rfind(".")
    return filename[dot:] if 0 < dot < len(filename) - 1 else ""
