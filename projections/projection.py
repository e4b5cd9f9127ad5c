"""The interface of a projection: a name, a version, tables, and the replay of events into them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

import sqlalchemy as sa
from blake3 import blake3

from ..engine.errors import UsageError
from ..engine.log.batch import BatchHeader
from ..engine.log.contract import Log
from .pages import Page
from .statements import CompiledStatement, SchemaStatements

_BESIDE = "_rebuild"
_PREPARED_BATCHES = 4096

_LONGEST_NAME = 63 - len(_BESIDE)
"""Some databases silently truncate longer names."""

Folded = TypeVar("Folded")


class Projection(ABC):
    """A read model: a name, a code version, tables, and the replay of record batches into them.

    A change of the tables or the replay needs a new `code_version`. Old and new tables then exist side by side, so that two
    releases of the program can use the same database.

    Parameters
    ----------
    log : Log
        The log, for reading earlier states.
    suffix : str
        Suffix of the table names. A rebuild fills tables next to the live ones.
    """

    name: ClassVar[str]
    code_version: ClassVar[int]
    topics: ClassVar[frozenset[str] | None] = None
    """Topics of the lifecycle events that it replays; other pages are skipped. None replays every page."""

    on_demand: ClassVar[bool] = False
    """It is built when a reader first needs it. Writers leave it to readers."""

    suffix: str
    full_name: str
    """Name, code version and suffix, as in the table names and the tracking row."""

    metadata: sa.MetaData
    schema: SchemaStatements
    """The statements that create and drop the tables."""

    shape: str
    """Digest of the table definitions without the suffix. If it changes, the tables are rebuilt."""

    def __init__(self, log: Log, suffix: str = "") -> None:
        self.suffix, self.full_name = suffix, _full_name(type(self), suffix)
        self.log = log

    if not TYPE_CHECKING:  # the attributes are declared above, and by `define_tables`

        def __getattr__(self, name: str) -> Any:
            """Define the tables when they are first used: to define them all takes longer than to read one of them."""
            if "log" in vars(self) and not name.startswith("__"):
                vars(self).update(_definitions(type(self), self.suffix))
            return object.__getattribute__(self, name)

    def table(self, name: str, *columns: Any, clustered: bool = False) -> sa.Table:
        """Define a table of the projection.

        Parameters
        ----------
        name : str
            Name of the table within the projection.
        columns : Column or Constraint
            The columns and constraints, as for `sqlalchemy.Table`.
        clustered : bool
            Store rows in the order of the primary key, if the database can.

        Raises
        ------
        UsageError
            The name is too long.
        """
        full = f"{self.name}_{name}_v{self.code_version}"
        if len(full.encode()) > _LONGEST_NAME:
            raise UsageError(f"the table name {full} is too long: {_LONGEST_NAME} bytes are allowed")
        return sa.Table(full + self.suffix, self.metadata, *columns, info={"clustered": clustered})

    @abstractmethod
    def define_tables(self) -> None:
        """Define the tables with `table`, once per process: all instances share what it sets. It has no log."""

    @abstractmethod
    def apply(self, connection: sa.Connection, batches: Page) -> None:
        """Replay the next batches of the log into the tables."""

    def unreadable(self, connection: sa.Connection) -> list[str]:  # noqa: ARG002 - for those that override it
        """Return problems of the tables that a replay cannot cause."""
        return []

    def rows(self, connection: sa.Connection, table: sa.Table) -> Iterator[Sequence[Any]]:
        """Yield the rows of a table to compare, in order of its key, which is in the first columns."""
        for row in _ordered(table).execute(connection, ()):
            yield tuple(row)

    def blobs(self, connection: sa.Connection) -> Iterable[str]:  # noqa: ARG002 - for those that override it
        """Return the digests of blobs that the tables refer to, which are kept. Versions keep those of their frames."""
        return ()

    def beside(self) -> Self:
        """Return the same projection with tables next to the live ones."""
        return type(self)(self.log, _BESIDE)


def _full_name(kind: type[Projection], suffix: str) -> str:
    return f"{kind.name}_v{kind.code_version}{suffix}"


@cache
def _ordered(table: sa.Table) -> CompiledStatement:
    key = list(table.primary_key.columns)
    others = [column for column in table.columns if not column.primary_key]
    return CompiledStatement(sa.select(*key, *others).order_by(*key), ())


@cache
def _definitions(kind: type[Projection], suffix: str) -> dict[str, Any]:
    """Return the attributes of a projection that depend on its tables alone.

    They are shared by all instances: SQLAlchemy caches compiled statements by the identity of their tables.
    """
    blank = kind.__new__(kind)
    blank.suffix = suffix
    blank.full_name = _full_name(kind, suffix)
    blank.metadata = sa.MetaData()
    blank.schema = SchemaStatements(blank.metadata)
    blank.define_tables()
    columns = [
        (table.name.removesuffix(suffix), column.name, str(column.type), column.primary_key)
        for table in blank.metadata.sorted_tables
        for column in table.columns
    ]
    blank.shape = blake3(repr(columns).encode()).hexdigest(length=16)
    return vars(blank)


class Prepared(Generic[Folded]):
    """What batches come to that this process has just recorded, computed while their frames were at hand.

    Only the projection that follows the log takes it, once for each batch. A rebuild reads the log.
    """

    def __init__(self) -> None:
        self._of: OrderedDict[int, tuple[bytes, Folded]] = OrderedDict()

    def put(self, first_position: int, body_digest: bytes, folded: Folded) -> None:
        """Keep the result for a batch. Only the last few thousand are kept."""
        self._of[first_position] = body_digest, folded
        if len(self._of) > _PREPARED_BATCHES:
            self._of.popitem(last=False)

    def take(self, batch: BatchHeader) -> Folded | None:
        """Return the result for a batch, and forget it; None for a batch that was not prepared, or has other contents."""
        body_digest, folded = self._of.pop(batch.first_position, (b"", None))
        return folded if body_digest == batch.body_digest else None


class FoldedProjection(Projection, Generic[Folded]):
    """A projection whose replay needs no tables: ranges of the log are replayed anywhere, merged, and written in order.

    The result of `fold` is picklable, so other processes and machines can compute it.
    """

    @abstractmethod
    def fold(self, page: Page) -> Folded:
        """Compute the changes of consecutive batches. It reads only the log."""

    def merge(self, earlier: Folded, later: Folded) -> Folded:
        """Merge the changes of two adjacent ranges: lists are joined. It may modify and return the earlier one."""
        return earlier + later  # pyright: ignore[reportOperatorIssue] - those that fold to something else override it

    @abstractmethod
    def write(self, connection: sa.Connection, folded: Folded) -> None:
        """Apply the changes of a range to the tables."""

    def apply(self, connection: sa.Connection, batches: Page) -> None:
        """Replay the next batches, and write their changes."""
        self.write(connection, self.fold(batches))


class ProjectionStore(Protocol):
    """The database of the projections. It can be deleted, and is rebuilt from the log."""

    name: str

    def read(self) -> AbstractContextManager[sa.Connection]:
        """Yield a connection for reading."""
        ...

    def write(self) -> AbstractContextManager[sa.Connection]:
        """Yield a connection in a transaction that excludes other writers."""
        ...

    def snapshot(self, tables: Sequence[str]) -> AbstractContextManager[sa.Connection]:
        """Yield a connection that sees some tables in their current state, whatever others commit meanwhile."""
        ...
