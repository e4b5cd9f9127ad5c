"""Execution stores as they were at a moment."""

from __future__ import annotations

import threading

from ...engine import forks
from ...engine.log.prefix import LogPrefix
from ...projections.runner import Runner
from ...projections.stores import Stores, fold_prefix
from .reading import StoreReader


class PastStores:
    """The documents over a prefix of a log, folded when one is first asked for.

    Parameters
    ----------
    log : LogPrefix
        The log up to the moment.
    runner : Runner
        Of the database in which they are folded.
    """

    def __init__(self, log: LogPrefix, runner: Runner) -> None:
        self._log = log
        self._runner = runner
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._reader: StoreReader | None = None
        self._lock = threading.Lock()

    @property
    def reader(self) -> StoreReader:
        """What reads the documents."""
        with self._lock:
            if self._reader is None:
                stores = Stores(self._log)
                fold_prefix(self._log, self._runner.store, stores)
                self._reader = StoreReader(self._log, self._runner, stores)
            return self._reader
