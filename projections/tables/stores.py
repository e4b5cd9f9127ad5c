"""The documents of execution stores, one row each, by store and key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from types import GenericAlias
from typing import Any, ClassVar, NamedTuple

import msgspec
import sqlalchemy as sa

from ...engine.decoding import UNDECODABLE, guarded
from ...engine.errors import UnreadableError
from ...engine.events.stores import EVICT, STORE_KEY, STORE_TOPICS, STORES, StoreEvent
from ...engine.iterables import chunked
from ...engine.log.batch import EVENTS_SCHEMA, BatchHeader, Body
from ...engine.log.event_batch import unpack_states
from ...engine.stores.names import ID_SIZE, StoreId, context_digest, key_id, short_key, store_id
from ...engine.stores.state import Document, Key, Patch, StoreChange, StoreChanges
from ..columns import BadValueError, Bytes, from_row, from_rows
from ..pages import Page, readable_event
from ..projection import FoldedProjection
from ..statements import ROWS_AT_ONCE, DirectInsert, DirectQuery


class _KeyRow(NamedTuple):
    store: bytes
    id: bytes
    long_key: str | None
    expires_at: int | None
    policy: str
    position: int


class Stores(FoldedProjection[StoreChanges]):
    """A table of documents, and one of all stores that ever existed."""

    name: ClassVar[str] = "stores"
    code_version: ClassVar[int] = 1
    topics: ClassVar[frozenset[str] | None] = STORE_TOPICS

    def define_tables(self) -> None:
        """Define the tables."""
        self.store = self.table(
            "store",
            sa.Column("store", Bytes(ID_SIZE), primary_key=True),
            sa.Column("context", Bytes(ID_SIZE), nullable=False),
            sa.Column("collection", sa.Text, nullable=False),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("dataset_id", sa.Text),
            sa.UniqueConstraint("context", "store"),
        )
        self.document = self.table(
            "document",
            sa.Column("store", Bytes(ID_SIZE), primary_key=True),
            sa.Column("id", Bytes, primary_key=True),
            sa.Column("long_key", sa.Text),
            sa.Column("value", Bytes, nullable=False),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.Column("updated_at", sa.BigInteger, nullable=False),
            sa.Column("expires_at", sa.BigInteger),
            sa.Column("policy", sa.Text, nullable=False),
            sa.Column("position", sa.BigInteger, nullable=False),
            # A clustered table stores the row next to its key, except for large values.
            clustered=True,
        )
        self.expiring = self.table(
            "expiring",
            sa.Column("store", Bytes(ID_SIZE), primary_key=True),
            sa.Column("id", Bytes, primary_key=True),
            sa.Column("expires_at", sa.BigInteger, nullable=False),
            clustered=True,
        )
        self._insert = DirectInsert(self.document, replace=True), DirectInsert(self.expiring, replace=True)
        self._delete = tuple(
            sa.delete(table).where(_which(table)) for table in (self.document, self.expiring)
        )
        self._described = self._select_described()
        self._keys = {cached: self._select_keys(cached=cached) for cached in (False, True)}
        self._patch = (
            sa.update(self.document)
            .where(_which(self.document))
            .values({name: sa.bindparam(f"to_{name}") for name in Patch.__struct_fields__})
        )

    def _select_described(self) -> DirectQuery:
        """Return the query of `described`: the stores of a collection, each with its own document if it has one."""
        store = self.store.c
        own, keys = self.document.alias(), self.document.alias()
        expires_at = keys.c.expires_at
        oldest = (
            sa.select(sa.func.min(keys.c.created_at))
            .where(keys.c.store == store.store, expires_at.is_(None) | (expires_at > sa.bindparam("now")))
            .scalar_subquery()
        )
        since = sa.case((own.c.created_at.is_not(None), own.c.created_at), else_=oldest).label("since")
        query = (
            sa.select(store.collection, store.name, store.dataset_id, since)
            .add_columns(*(own.c[name] for name in Document.__struct_fields__))
            .join_from(
                self.store, own, (own.c.store == store.store) & (own.c.id == key_id(STORE_KEY)), isouter=True
            )
            .where(store.collection == sa.bindparam("in_collection"))
        )
        return DirectQuery(query, ("now", "in_collection"))

    def _select_keys(self, *, cached: bool) -> dict[bool, DirectQuery]:
        """Return the queries of `keys`: of many stores, and of one."""
        column = self.document.c
        # In the same order on every database, because events record it.
        query = sa.select(*(column[name] for name in _KeyRow._fields)).order_by(column.store, column.id)
        if cached:
            query = query.where(self._cached())
        names = [f"store{number}" for number in range(ROWS_AT_ONCE)]
        these = column.store.in_([sa.bindparam(name) for name in names])
        one = column.store == sa.bindparam("store0")
        return {True: DirectQuery(query.where(these), names), False: DirectQuery(query.where(one), names[:1])}

    def fold(self, page: Page) -> StoreChanges:
        """Collect the changes of store events. Other batches are skipped."""
        changes = StoreChanges()
        headers = [
            header
            for header in page
            if header.schema == EVENTS_SCHEMA and not STORE_TOPICS.isdisjoint(header.topics)
        ]
        bodies = self.log.bodies([header.first_position for header in headers])
        for header, body in zip(headers, bodies, strict=True):
            for position, event in enumerate(_events(header, body), header.first_position):
                if event is not None:
                    changes.add(event, position, header.recorded_at)
        return changes

    def merge(self, earlier: StoreChanges, later: StoreChanges) -> StoreChanges:
        """Merge the changes of two adjacent ranges."""
        earlier.follow(later)
        return earlier

    def write(self, connection: sa.Connection, folded: StoreChanges) -> None:
        """Apply changes to the tables."""
        self._write_stores(connection, [change.store for change in folded.stores.values()])
        for change in folded.stores.values():
            self._write_documents(connection, change)

    def _write_stores(self, connection: sa.Connection, stores: Sequence[StoreId]) -> None:
        column = self.store.c.store
        for part in chunked(stores, ROWS_AT_ONCE):
            known = set(
                connection.execute(sa.select(column).where(column.in_([s.digest for s in part]))).scalars()
            )
            rows = [_store_row(store) for store in part if store.digest not in known]
            if rows:
                connection.execute(self.store.insert(), rows)

    def _write_documents(self, connection: sa.Connection, change: StoreChange) -> None:
        digest = change.store.digest
        if change.is_emptied:
            for table in (self.document, self.expiring):
                connection.execute(sa.delete(table).where(table.c.store == digest))
        # In key order, so that each page of the tables is visited once.
        made = sorted(
            ((key_id(key), key, made) for key, made in change.keys.items() if made is not None),
            key=itemgetter(0),
        )
        documents = [
            (digest, at, key if short_key(at) is None else None, *msgspec.structs.astuple(document))
            for at, key, document in made
            if isinstance(document, Document)
        ]
        patches = [
            {"in_store": digest, "with_id": at}
            | {f"to_{name}": value for name, value in msgspec.structs.asdict(patch).items()}
            for at, _, patch in made
            if isinstance(patch, Patch)
        ]
        expiring = [(digest, at, one.expires_at) for at, _, one in made if one.expires_at is not None]
        changed = [{"in_store": digest, "with_id": key_id(key)} for key in change.replaced]
        gone = [
            which
            for which, key in zip(changed, change.replaced, strict=True)
            if not isinstance(change.keys[key], Patch)
        ]
        for statement, values in (
            (self._delete[0], gone),
            (self._delete[1], changed),
            (self._patch, patches),
        ):
            if values:
                connection.execute(statement, values)
        for insert, rows in zip(self._insert, (documents, expiring), strict=True):
            if rows:
                insert.execute_many(connection, rows)

    def find(self, connection: sa.Connection, store: StoreId, keys: Iterable[str]) -> dict[str, Document]:
        """Return the documents that exist, including expired ones."""
        column = self.document.c
        query = sa.select(column.id, *(column[name] for name in Document.__struct_fields__))
        found: dict[str, Document] = {}
        for part in chunked(keys, ROWS_AT_ONCE):
            asked = {key_id(key): key for key in part}
            rows = connection.execute(query.where(column.store == store.digest, column.id.in_(list(asked))))
            found |= {asked[bytes(row.id)]: from_row(dict(row._mapping), Document) for row in rows}  # noqa: SLF001 - SQLAlchemy's public name
        return found

    def keys(
        self, connection: sa.Connection, stores: Iterable[StoreId], *, cached: bool = False
    ) -> dict[bytes, list[Key]]:
        """Return the keys of some stores by digest, including expired ones. The order is the same in every database, because events record it.

        Parameters
        ----------
        cached : bool
            Only keys that may be evicted.
        """
        found: dict[bytes, list[Key]] = {}
        for part in chunked(stores, ROWS_AT_ONCE):
            digests = [store.digest for store in part]
            is_many = len(part) > 1
            padding = [digests[-1]] * (ROWS_AT_ONCE - len(part)) if is_many else []
            rows = self._keys[cached][is_many].execute(connection, [*digests, *padding]).fetchall()
            for row in from_rows(rows, _KeyRow):
                key = Key(_key(row.id, row.long_key), row.expires_at, row.policy, row.position)
                found.setdefault(row.store, []).append(key)
        return found

    def listed(self, connection: sa.Connection, store: StoreId, now: int) -> list[str]:
        """Return the keys of the live documents of a store, including its own, oldest first."""
        column = self.document.c
        query = sa.select(column.created_at, column.id, column.long_key)
        rows = connection.execute(query.where(column.store == store.digest, self._alive(now)))
        # Sorted here, because databases order strings differently.
        return [key for _, key in sorted((at, _key(stands_for, long)) for at, stands_for, long in rows)]

    def count(self, connection: sa.Connection, store: StoreId, now: int, *, own: bool = True) -> int:
        """Return the number of live documents of a store. `own` includes its own."""
        document, expiring = self.document.c, self.expiring.c
        there = sa.select(sa.func.count()).where(document.store == store.digest)
        expired = sa.select(sa.func.count()).where(expiring.store == store.digest, expiring.expires_at <= now)
        if not own:
            there = there.where(document.id != key_id(STORE_KEY))
        # The store's own document does not expire.
        query = sa.select(there.scalar_subquery() - expired.scalar_subquery())
        return connection.execute(query).scalar_one()

    def described(
        self, connection: sa.Connection, collection: str, now: int
    ) -> list[tuple[StoreId, Document | int]]:
        """Return the existing stores of all contexts, each with its own document, or with the time of its oldest one."""
        return [
            (
                store_id(row.collection, row.name, row.dataset_id),
                row.since if row.value is None else from_row(row._asdict(), Document),
            )
            for row in self._described.rows(connection, (now, collection))
            if row.since is not None
        ]

    def since(self, connection: sa.Connection, store: StoreId, now: int) -> int | None:
        """Return when the oldest live document of a store was created; None if there is none."""
        column = self.document.c
        query = sa.select(sa.func.min(column.created_at))
        return connection.execute(
            query.where(column.store == store.digest, self._alive(now))
        ).scalar_one_or_none()

    def stores(
        self,
        connection: sa.Connection,
        collection: str,
        *,
        dataset_id: str | None = None,
        everywhere: bool = False,
        name: str | None = None,
        now: int | None = None,
        cached: bool = False,
    ) -> list[StoreId]:
        """Return stores of a context, or of all of them.

        Parameters
        ----------
        name : str, optional
            Only stores of this name.
        now : int, optional
            Only stores that exist at this time.
        cached : bool
            Only stores with documents that may be evicted.
        """
        column = self.store.c
        query = sa.select(column.collection, column.name, column.dataset_id)
        if everywhere:
            query = query.where(column.collection == collection)
        else:
            query = query.where(column.context == context_digest(collection, dataset_id))
        if name is not None:
            query = query.where(column.name == name)
        mine = self.document.c.store == column.store
        if now is not None:
            query = query.where(sa.exists().where(mine, self._alive(now)))
        if cached:
            query = query.where(sa.exists().where(mine, self._cached()))
        return [store_id(*row) for row in connection.execute(query)]

    def names(self, connection: sa.Connection) -> dict[str, StoreId]:
        """Return all stores that ever existed, by stream."""
        column = self.store.c
        rows = connection.execute(sa.select(column.collection, column.name, column.dataset_id))
        return {store.stream: store for store in (store_id(*row) for row in rows)}

    def _alive(self, now: int) -> sa.ColumnElement[bool]:
        expires_at = self.document.c.expires_at
        return expires_at.is_(None) | (expires_at > now)

    def _cached(self) -> sa.ColumnElement[bool]:
        return (self.document.c.policy == EVICT) | self.document.c.expires_at.is_not(None)


def by_name(store: StoreId) -> tuple[str, str]:
    """Return what stores are sorted by."""
    return store.name, store.dataset_id or ""


def _which(table: sa.Table) -> sa.ColumnElement[bool]:
    return (table.c.store == sa.bindparam("in_store")) & (table.c.id == sa.bindparam("with_id"))


def _key(stands_for: bytes, long: str | None) -> str:
    try:
        return bytes(stands_for).decode() if long is None else long
    except UnicodeDecodeError as error:
        raise BadValueError(f"the key {bytes(stands_for)!r} is not UTF-8") from error


def _store_row(store: StoreId) -> dict[str, Any]:
    return {
        "store": store.digest,
        "context": context_digest(store.collection, store.dataset_id),
        "collection": store.collection,
        "name": store.name,
        "dataset_id": store.dataset_id,
    }


def _fields_decoder(event: type[StoreEvent]) -> Callable[[Any], tuple[int, Any]]:
    """Return a decoder for the state of an event without its stream position, which is known from the batch."""
    fields = [
        (field.name, field.type, field.default)
        if field.default is not msgspec.NODEFAULT
        else (field.name, field.type)
        for field in msgspec.structs.fields(event)
        if field.name not in {"originator_id", "originator_version"}
    ]
    stored = msgspec.defstruct(
        event.__name__, fields, kw_only=True, frozen=True, gc=False, forbid_unknown_fields=True
    )
    # A type checker takes a subscript of tuple for an annotation, in which no variable may be.
    return guarded(msgspec.msgpack.Decoder(GenericAlias(tuple, (int, stored))).decode)


_DECODERS = {event.__name__: (event.schema_version, _fields_decoder(event)) for event in STORES.events}


def _events(header: BatchHeader, body: Body) -> Iterator[Any]:
    """Yield the events of a batch, or only their fields, which is faster; None for foreign and unreadable events."""
    try:
        states = unpack_states(header, body)
    except UnreadableError:
        return
    for position, (topic, state) in enumerate(states, header.first_position):
        if topic not in _DECODERS:
            yield None
            continue
        newest, decode = _DECODERS[topic]
        try:
            schema, fields = decode(state)
        except UNDECODABLE:
            schema, fields = 0, None
        if not 1 <= schema <= newest:
            # An event of a newer schema, or an unreadable one, only concerns its own store.
            event = readable_event(header, topic, position, state)
            fields = None if isinstance(event, UnreadableError) else event
        yield fields
