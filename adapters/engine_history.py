"""What an engine tells of its history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ..engine.log.moments import Moment
    from ..projections.history.changes import Change
    from ..projections.history.table import BatchRow, History, HistoryQuery
    from ..projections.runner import Runner
    from ..projections.tables.pins import PinChange, PinQuery, Pins
    from .connection import Engine
    from .hyperdatasets.dataset import Dataset
    from .hyperdatasets.version import DatasetVersion
    from .sql.database import Database


class EngineHistory:
    """The half of an engine that looks back."""

    runner: Runner
    _store: Database
    _history: History
    _pins: Pins

    def history(
        self,
        dataset: Dataset | str | None = None,
        *,
        project: str | None = None,
        version: DatasetVersion | str | None = None,
        actor: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        kinds: str | Iterable[str] | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[Change]:
        """Yield all that was recorded, or the part that is asked for, oldest first; only what it may be in is opened.

        Parameters
        ----------
        dataset : Dataset or str, optional
            The dataset or its name: its own changes and those of all its versions, removed ones too.
        project : str, optional
            Project of the dataset; needed where several have its name.
        version : DatasetVersion or str, optional
            The version or its id, removed ones too: what was recorded of itself, not what it inherited.
        actor : str, optional
            Who acted.
        since, until : int or datetime, optional
            First and last position, or times with a time zone; both included.
        kinds : str or iterable of str, optional
            Kinds of changes, such as ``"deleted"`` or ``"published"``.
        newest_first : bool
            From the end to the beginning.
        limit : int, optional
            How many changes at most.

        Raises
        ------
        NotFoundError
            There is no such dataset or version.
        UsageError
            An argument is no position, time, kind or number.
        """
        from .hyperdatasets.history import HistoryArguments, engine_history

        asked = HistoryArguments(
            dataset=dataset,
            project=project,
            version=version,
            actor=actor,
            since=since,
            until=until,
            kinds=kinds,
            newest_first=newest_first,
        )
        return engine_history(cast("Engine", self), asked, limit)

    def history_page(self, wanted: HistoryQuery, last: int | None, size: int) -> Sequence[BatchRow]:
        """Return the next record batches that may hold what is wanted, after the one at position `last`."""
        self.runner.catch_up(self._history)
        with self._store.read() as connection:
            return self._history.page(connection, wanted, last, size)

    def pin_changes(self, wanted: PinQuery) -> Sequence[PinChange]:
        """Return the changes of pinned datasets that are wanted."""
        self.runner.catch_up(self._pins)
        with self._store.read() as connection:
            return self._pins.changes(connection, wanted)

    def standing_pins(self, wanted: PinQuery) -> Sequence[PinChange]:
        """Return the last change of each pinned dataset that stood at position `until`."""
        self.runner.catch_up(self._pins)
        with self._store.read() as connection:
            return self._pins.standing(connection, wanted)
