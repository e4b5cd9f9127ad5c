"""What the aggregates share: an id, a version, and the events that wait to be saved."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

from ..events.base import Event


class Aggregate:
    """Decides what is allowed on one stream; its state comes from its lifecycle events alone.

    Attributes
    ----------
    id : str
        The stream.
    version : int
        Version of the stream's last event, frame changes included.
    first_position : int
        Position of the first lifecycle event in the log; 0 before that is recorded.
    """

    def __init__(self, aggregate_id: str) -> None:
        self.id = aggregate_id
        self.version = 0
        self.first_position = 0
        self._pending: list[Event] = []

    def trigger(self, event_class: type[Event], **values: Any) -> None:
        """Make the next event, apply it, and keep it to be saved."""
        event = event_class(originator_id=self.id, originator_version=self.version + 1, **values)
        self._pending.append(event)
        self.apply(event)

    def apply(self, event: Event) -> Aggregate:
        """Change the state as an event says."""
        self.version = event.originator_version
        self.change(event)
        return self

    def change(self, event: Event) -> None:
        """Take over what an event holds; each kind of aggregate overrides this."""

    def apply_unopened(self, topics: Sequence[str], version: int) -> bool:  # noqa: ARG002 - for those that override it
        """Take over a batch that ends at a version if its topics alone say enough; False when it must be opened."""
        return False

    def twin(self) -> Self:
        """Return a copy that changes on its own; what its lists and dicts hold is never changed in place."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, list | dict):
                setattr(twin, name, copy.copy(value))  # pyright: ignore[reportUnknownArgumentType]
        return twin

    def collect_events(self) -> Sequence[Event]:
        """Hand over the events that wait to be saved."""
        pending, self._pending = self._pending, []
        return pending
