"""What projections need of a database: short reads, and transactions that exclude other writers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import sqlalchemy as sa


class Store(Protocol):
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
