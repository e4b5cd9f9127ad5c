"""The blobs that frames refer to: ever, in a projection; and currently, by a scan of the version states."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import Executor
from contextlib import nullcontext, suppress
from functools import partial
from typing import ClassVar

import numpy as np
import sqlalchemy as sa

from ...engine.blobs.uris import digests_in, digests_named, is_digest
from ...engine.errors import UnreadableError
from ...engine.events.registry import blob_events
from ...engine.iterables import chunked
from ...engine.keys import U64
from ...engine.log.contract import Log
from ...engine.log.frame_batch import events_at
from ...engine.log.worker_log import worker_log
from ...engine.parallel import ordered_map
from ..pages import Page
from ..projection import FoldedProjection, Prepared
from ..statements import ROWS_AT_ONCE, DirectInsert
from ..states.fold import State, live_positions
from ..stretches import OpenLog

_POSITIONS_AT_ONCE = 1 << 14
_POSITIONS_OF_A_PART = 100_000


class BlobNames(FoldedProjection[dict[str, int]]):
    """A table of all blobs that frames or other events ever referred to, each with the position of the last such event."""

    name: ClassVar[str] = "blob_names"
    code_version: ClassVar[int] = 1

    def __init__(self, log: Log, suffix: str = "") -> None:
        super().__init__(log, suffix)
        self.prepared: Prepared[dict[str, int]] = Prepared()

    def define_tables(self) -> None:
        """Define the table."""
        self.blob = self.table(
            "blob",
            sa.Column("digest", sa.Text, primary_key=True),
            sa.Column("position", sa.BigInteger, nullable=False),
            clustered=True,
        )
        self._put = DirectInsert(self.blob, replace=True)

    def fold(self, page: Page) -> dict[str, int]:
        """Return the last position that refers to each blob."""
        named: dict[str, int] = {}
        for _, position, event in page.lifecycle(*blob_events()):
            named |= dict.fromkeys(filter(is_digest, event.blobs()), position)
        for header in page.frame_batches():
            if self.prepared.take(header) is not None:
                continue
            # A batch that cannot be read is skipped. `referenced` raises an error while a version has its frames.
            with suppress(UnreadableError):
                for first, block in page.blocks(header):
                    # A block without any reference is only searched.
                    if digests_named([block.raw]):
                        for position, event in enumerate(block.events(), first):
                            for digest in digests_in(event):
                                named[digest] = max(position, named.get(digest, 0))
        return named

    def merge(self, earlier: dict[str, int], later: dict[str, int]) -> dict[str, int]:
        """Merge the references of two adjacent ranges."""
        return earlier | later

    def write(self, connection: sa.Connection, folded: dict[str, int]) -> None:
        """Replace the rows of the blobs."""
        # In key order, so that adjacent rows share a page: digests are random, and there may be one for each frame.
        if folded:
            self._put.execute_many(connection, sorted(folded.items()))

    def is_empty(self, connection: sa.Connection) -> bool:
        """Whether no frame ever referred to a blob."""
        return connection.execute(sa.select(self.blob.c.digest).limit(1)).first() is None

    def named(self, connection: sa.Connection, digests: Collection[str]) -> set[str]:
        """Return the blobs, of those given, that a frame ever referred to."""
        found = set[str]()
        for part in chunked(() if self.is_empty(connection) else digests, ROWS_AT_ONCE):
            query = sa.select(self.blob.c.digest).where(self.blob.c.digest.in_(part))
            found.update(connection.execute(query).scalars())
        return found

    def named_after(self, connection: sa.Connection, position: int) -> dict[str, int]:
        """Return the blobs that events after a position refer to, each with the last such position."""
        query = sa.select(self.blob.c.digest, self.blob.c.position).where(self.blob.c.position > position)
        return {row.digest: row.position for row in connection.execute(query)}


def referenced(log: Log, states: Iterable[State], executor: Executor | None = None) -> set[str]:
    """Return the blobs that the frames of some states refer to.

    A reference anywhere in a frame counts: in sources, previews and masks, and also in metadata. Shared events are read
    once.

    Parameters
    ----------
    log : Log
        The log.
    states : iterable of State
        The states.
    executor : Executor, optional
        Where to search; by default in this thread.
    """
    live = [live_positions(state.settled()) for state in states]
    positions: U64 = np.unique(np.concatenate([np.empty(0, np.uint64), *live]))
    if executor is None:
        return _named_at(lambda: nullcontext(log), positions)
    starts = range(0, len(positions), _POSITIONS_OF_A_PART)
    parts = ((positions[start : start + _POSITIONS_OF_A_PART],) for start in starts)
    return set[str]().union(*ordered_map(executor, partial(_named_at, worker_log(log)), parts))


def _named_at(open_log: OpenLog, positions: U64) -> set[str]:
    """Return the blobs that the frames recorded at some positions refer to."""
    found: set[str] = set()
    with open_log() as log:
        for at in range(0, len(positions), _POSITIONS_AT_ONCE):
            events = events_at(log, positions[at : at + _POSITIONS_AT_ONCE].tolist())
            found |= digests_named([event for _, event in events])
    return found
