"""What an engine has of execution stores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.log.contract import Clock, Log
    from ..engine.stores.writer import StoreWriter
    from ..projections.runner import Runner
    from ..projections.tables.store_reader import StoreReader
    from ..projections.tables.stores import Stores


class EngineStores:
    """The part of an engine that execution stores stand on."""

    log: Log
    runner: Runner
    clock: Clock
    new_id: Callable[[], str]
    _stores: Stores
    _making: threading.Lock
    _store_reader: StoreReader | None = None
    _store_writer: StoreWriter | None = None

    if TYPE_CHECKING:

        def require_present(self) -> None:
            """Raise `UsageError` when this is an engine of the past."""

    def now(self) -> int:
        """Return the time at which keys are alive or have expired: the clock's, of an engine of the past its moment's."""
        return self.clock()

    @property
    def store_reader(self) -> StoreReader:
        """What reads the documents of execution stores."""
        from ..projections.tables.store_reader import StoreReader

        with self._making:
            if self._store_reader is None:
                self._store_reader = StoreReader(self.log, self.runner, self._stores)
            return self._store_reader

    @property
    def store_writer(self) -> StoreWriter:
        """What writes to execution stores."""
        from ..engine.stores.writer import StoreWriter

        self.require_present()
        reader = self.store_reader
        with self._making:
            if self._store_writer is None:
                self._store_writer = StoreWriter(self.log, reader, self.clock, self.new_id)
            return self._store_writer
