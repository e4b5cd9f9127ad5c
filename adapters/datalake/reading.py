"""Finds data of a lake: filters, order, limit and offset, in one query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ...engine.iterables import chunked
from ...engine.validation import did_you_mean
from ...projections.columns import text_key
from ...projections.statements import ROWS_AT_ONCE
from ...projections.tables.lakes import Lakes, name_key, name_keys
from .exceptions import InvalidQueryError
from .query import Instant, Keyed, beginnings, compile_query, equals
from .recording import Lake

_FEW_ROWS = 10_000
"""Data of at most this number are found by their tags, others by the order of all data."""

_ORDERS = (
    *("id", "filename", "object_name", "created_at", "upload_status", "type", "content_type", "size"),
    *("width", "height"),
)


class DataRow(msgspec.Struct, frozen=True, gc=False):
    """A data, as it is stored. `created_at` is in UTC microseconds since 1970."""

    number: int
    id: str
    filename: str
    object_name: str
    digest: str
    uri: str
    size: int
    content_type: str
    width: int
    height: int
    type: str
    upload_status: str
    reason: str
    source: int | None
    created_at: int
    metadata: str
    custom_metadata: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What `list_data` is asked for. None is no filter; `tags` are numbers, `ids` in the form of UUIDs."""

    ids: Sequence[str] | None = None
    filenames: Sequence[str] | None = None
    object_names: Sequence[str] | None = None
    tags: Sequence[int] = ()
    all_tags: bool = False
    q: str | None = None
    custom_metadata: Mapping[str, Any] | None = None
    order_by: Sequence[str] = ()
    limit: int | None = None
    offset: int = 0


def fields(tables: Lakes, number: sa.ColumnElement[int]) -> dict[str, Any]:
    """Return the fields that queries can use, by name.

    Parameters
    ----------
    number : ColumnElement
        The number of the data, in the table that the database reads first.
    """
    data, value, link = tables.data.c, tables.value.c, tables.data_tag.alias()
    named: dict[str, Any] = {name: data[name] for name in _ORDERS}
    named["created_at"] = sa.type_coerce(data.created_at, Instant())
    named["filename"] = Keyed(data.filename, data.filename_key)
    named["object_name"] = Keyed(data.object_name, data.object_key)
    named["reason"] = data.reason
    named["tags.name"] = (
        sa.select(tables.tag.c.name)
        .join(link, link.c.tag == tables.tag.c.number)
        .where(link.c.number == number)
    )
    named["source.name"] = sa.select(tables.source.c.name).where(tables.source.c.number == data.source)
    for name in ("metadata", "custom_metadata"):
        named[name] = sa.select(value.path, value.kind, value.text, value.number).where(value.data == number)
    return named


def find_rows(lake: Lake, wanted: Wanted) -> list[DataRow]:
    """Return the data of a lake that match, in order."""
    with lake.read() as (tables, connection):
        columns = [tables.data.c[name] for name in DataRow.__struct_fields__]
        query = sa.select(*columns).where(*_conditions(lake, wanted, tables, connection))
        query = query.order_by(
            *_order(tables, wanted.order_by, connection.dialect.name), _number(tables, wanted)
        )
        if len(wanted.tags) == 1:
            query = query.join(tables.data_tag, tables.data_tag.c.number == tables.data.c.number)
        if wanted.limit is not None:
            query = query.limit(wanted.limit)
        elif wanted.offset:
            query = query.limit(2**62)
        rows = connection.execute(query.offset(wanted.offset) if wanted.offset else query)
        return [DataRow(*row) for row in rows]


def rows_by_id(lake: Lake, ids: Iterable[str]) -> dict[str, DataRow]:
    """Return the data of some ids that a lake has, by id."""
    with lake.read() as (tables, connection):
        columns = [tables.data.c[name] for name in DataRow.__struct_fields__]
        rows = _of_ids(lake, tables, connection, sa.select(*columns), ids)
        return {row.id: DataRow(*row) for row in rows}


def known_ids(lake: Lake, ids: Iterable[str]) -> set[str]:
    """Return those ids of data that a lake has."""
    with lake.read() as (tables, connection):
        return {row.id for row in _of_ids(lake, tables, connection, sa.select(tables.data.c.id), ids)}


def _of_ids(
    lake: Lake, tables: Lakes, connection: sa.Connection, query: sa.Select[Any], ids: Iterable[str]
) -> Iterator[Any]:
    data = tables.data.c
    query = query.where(data.lake == lake.row.number)
    for part in chunked(ids, ROWS_AT_ONCE):
        yield from connection.execute(query.where(data.id.in_(part)))


def _number(tables: Lakes, wanted: Wanted) -> sa.ColumnElement[int]:
    """Return the number of the data in the table that the database reads first."""
    return (tables.data_tag if len(wanted.tags) == 1 else tables.data).c.number


def _conditions(
    lake: Lake, wanted: Wanted, tables: Lakes, connection: sa.Connection
) -> list[sa.ColumnElement[bool]]:
    data = tables.data.c
    conditions: list[sa.ColumnElement[bool]] = [data.lake == lake.row.number]
    named = [
        numbers
        for numbers in (
            _numbers(tables, connection, data.id, wanted.ids),
            _numbers(tables, connection, data.filename_key, wanted.filenames, keys=True),
            _numbers(tables, connection, data.object_key, wanted.object_names, keys=True),
        )
        if numbers is not None
    ]
    known = fields(tables, _number(tables, wanted))
    if wanted.q is not None:
        conditions.append(compile_query(wanted.q, known))
        named += _begun(wanted.q, known, tables, connection)
    if named:
        conditions.append(_one_of(data.number, set.intersection(*named)))
    conditions += _tagged(wanted, tables, connection)
    for key, value in (wanted.custom_metadata or {}).items():
        if value is not None and not isinstance(value, str | int | float):
            raise InvalidQueryError(
                f"custom_metadata.{key} can be compared with a string, a number or a boolean"
            )
        conditions.append(equals(f"custom_metadata.{key}", value, known))
    return conditions


def _numbers(
    tables: Lakes,
    connection: sa.Connection,
    column: sa.ColumnElement[Any],
    asked: Sequence[str] | None,
    *,
    keys: bool = False,
) -> set[int] | None:
    """Return the numbers of data that have one of some values."""
    if asked is None:
        return None
    found: set[int] = set()
    for part in chunked(dict.fromkeys(asked), ROWS_AT_ONCE):
        values = list(map(name_key, part)) if keys else part
        query = sa.select(tables.data.c.number).where(column.in_(values))
        found.update(connection.execute(query).scalars())
    return found


def _begun(q: str, known: Mapping[str, Any], tables: Lakes, connection: sa.Connection) -> Iterator[set[int]]:
    """Yield the numbers of all data with names that begin as a query asks for, unless they are many."""
    for name, beginning in beginnings(q).items():
        field = known.get(name)
        if isinstance(field, Keyed):
            least, most = name_keys(beginning)
            query = sa.select(tables.data.c.number).where(field.key >= least, field.key < most)
            numbers = set(connection.execute(query.limit(_FEW_ROWS + 1)).scalars())
            if len(numbers) <= _FEW_ROWS:
                yield numbers


def _one_of(number: sa.ColumnElement[int], numbers: Iterable[int]) -> sa.ColumnElement[bool]:
    # Written into the statement: a database limits the number of parameters.
    return number.in_(sa.bindparam(None, sorted(numbers), expanding=True, literal_execute=True))


def _tagged(wanted: Wanted, tables: Lakes, connection: sa.Connection) -> list[sa.ColumnElement[bool]]:
    link, number = tables.data_tag.c, tables.data.c.number
    if len(wanted.tags) == 1:
        return [link.tag == wanted.tags[0]]
    if not wanted.tags:
        return []
    if wanted.all_tags:
        return [sa.exists().where(link.number == number, link.tag == tag) for tag in wanted.tags]
    tags = list(wanted.tags)
    few = sa.select(link.number).where(link.tag.in_(tags)).limit(_FEW_ROWS + 1)
    numbers = list(connection.execute(few).scalars())
    if len(numbers) <= _FEW_ROWS:
        return [_one_of(number, set(numbers))]
    return [sa.exists().where(link.number == number, link.tag.in_(tags))]


def _order(tables: Lakes, order_by: Sequence[str], dialect: str) -> list[sa.ColumnElement[Any]]:
    order: list[sa.ColumnElement[Any]] = []
    for name in order_by:
        plain = name.removeprefix("-")
        root, _, path = plain.partition(".")
        if plain in _ORDERS:
            keys = [_in_code_order(tables.data.c[plain], dialect)]
        elif path and root in {"metadata", "custom_metadata"}:
            keys = _metadata_order(tables, plain, dialect)
        else:
            known = [*_ORDERS, "metadata.<key>", "custom_metadata.<key>"]
            raise InvalidQueryError(
                f"data cannot be ordered by {name!r}: it must be one of {', '.join(known)}{did_you_mean(plain, known)}"
            )
        order += [key.desc() if name != plain else key for key in keys]
    return order


def _metadata_order(tables: Lakes, path: str, dialect: str) -> list[sa.ColumnElement[Any]]:
    """Return what orders by a key of metadata: numbers, then texts; missing ones come last."""
    value = tables.value.c
    at = (value.data == tables.data.c.number) & (value.path == text_key(path))
    first = [
        sa.select(column).where(at).order_by(value.item).limit(1).scalar_subquery()
        for column in (value.number, value.text)
    ]
    number, text = first
    rank = sa.case((number.is_not(None), 0), (text.is_not(None), 1), else_=2)
    return [rank, sa.func.coalesce(number, 0.0), _in_code_order(sa.func.coalesce(text, ""), dialect)]


def _in_code_order(column: sa.ColumnElement[Any], dialect: str) -> sa.ColumnElement[Any]:
    """Return a column whose texts are ordered by code points, as SQLite does."""
    if dialect == "postgresql" and isinstance(column.type, sa.String):
        return sa.collate(column, "C")
    return column
