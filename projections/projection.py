"""What a projection is: a name, a code version, tables, and a fold of the log into them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import sqlalchemy as sa
from blake3 import blake3

from ..engine.errors import UsageError
from ..engine.log.contract import Log
from .pages import Page

_BESIDE = "_rebuild"

_LONGEST_NAME = 63 - len(_BESIDE)
"""PostgreSQL cuts longer names off without a word."""

Folded = TypeVar("Folded")


class Projection(ABC):
    """A read model: a name, a code version, tables, and a fold of record batches into them.

    A change of tables or fold raises `code_version`: the tables of old and new code then stand side by side
    and two releases of the program never fight over one table.

    Parameters
    ----------
    log : Log
        Where the fold reads before-images.
    suffix : str
        Ends the table names; a rebuild fills tables beside the live ones.
    """

    name: ClassVar[str]
    code_version: ClassVar[int]
    topics: ClassVar[frozenset[str] | None] = None
    """Topics of the lifecycle events that it is folded from: other pages are not folded; None to fold every page."""

    full_name: str
    """Name, code version and suffix: what the tables and the tracking row carry."""

    def __init__(self, log: Log, suffix: str = "") -> None:
        self.log = log
        self.suffix = suffix
        self.full_name = f"{self.name}_v{self.code_version}{suffix}"
        self.metadata = sa.MetaData()
        self.define_tables()

    @cached_property
    def shape(self) -> str:
        """Digest of the definitions of the tables, suffix aside: tables of another shape are folded afresh."""
        columns = [
            (table.name.removesuffix(self.suffix), column.name, str(column.type), column.primary_key)
            for table in self.metadata.sorted_tables
            for column in table.columns
        ]
        return blake3(repr(columns).encode()).hexdigest(length=16)

    def table(self, name: str, *columns: Any, **options: Any) -> sa.Table:
        """Define one of the projection's tables; columns and options are those of `sqlalchemy.Table`."""
        full = f"{self.name}_{name}_v{self.code_version}"
        if len(full.encode()) > _LONGEST_NAME:
            raise UsageError(f"the table name {full} is too long: {_LONGEST_NAME} bytes are allowed")
        return sa.Table(full + self.suffix, self.metadata, *columns, **options)

    @abstractmethod
    def define_tables(self) -> None:
        """Define the tables through `table`."""

    @abstractmethod
    def apply(self, connection: sa.Connection, batches: Page) -> None:
        """Fold the next batches of the log into the tables."""

    def unreadable(self, connection: sa.Connection) -> list[str]:  # noqa: ARG002 - for those that override it
        """Return what is wrong with tables that a fold of a sound log has filled."""
        return []

    def beside(self) -> Self:
        """Return the same projection over tables beside the live ones."""
        return type(self)(self.log, _BESIDE)


class FoldedProjection(Projection, Generic[Folded]):
    """A projection whose fold needs no tables: stretches of the log are folded anywhere, merged, and written in order.

    What `fold` returns can be pickled, so that other processes and machines can do it.
    """

    @abstractmethod
    def fold(self, page: Page) -> Folded:
        """Fold consecutive batches into what they change; reads the log and nothing else."""

    @abstractmethod
    def merge(self, earlier: Folded, later: Folded) -> Folded:
        """Put the folds of two adjoining stretches together; may change and return the earlier one."""

    @abstractmethod
    def write(self, connection: sa.Connection, folded: Folded) -> None:
        """Bring the tables from the state before a folded stretch to the state after it."""

    def apply(self, connection: sa.Connection, batches: Page) -> None:
        """Fold the next batches and write what they change."""
        self.write(connection, self.fold(batches))


class ProjectionStore(Protocol):
    """The database of the projections; it can be deleted and is rebuilt from the log."""

    name: str

    def read(self) -> AbstractContextManager[sa.Connection]:
        """Give a connection for reading."""
        ...

    def write(self) -> AbstractContextManager[sa.Connection]:
        """Give a connection inside a transaction that excludes other writers."""
        ...

    def snapshot(self, tables: Sequence[str]) -> AbstractContextManager[sa.Connection]:
        """Give a connection for reading that sees some tables as they are now, whatever others commit meanwhile."""
        ...
