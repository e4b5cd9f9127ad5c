"""What every domain event has, and what is known of streams that belong to no dataset."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

import msgspec


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all domain events.

    Attributes
    ----------
    originator_id : str
        The stream: a dataset, a version, or a dataset name.
    originator_version : int
        Place of the event in that stream, from 1.

    Fields of bytes hold one value as canonical msgpack, unless the event is of a frame.
    """

    schema_version: ClassVar[int] = 1

    originator_id: str
    originator_version: int

    def mutate(self, aggregate: Any) -> Any:
        """Apply the event to an aggregate; each aggregate knows what its events do to it."""
        return aggregate.apply(self)


AnyEvent = TypeVar("AnyEvent", bound=Event)


class Streams(msgspec.Struct, Generic[AnyEvent], frozen=True, eq=False):
    """A family of streams that belong to no dataset.

    Attributes
    ----------
    id : str
        The stream; one that ends with a hyphen is how the streams of the family begin.
    events : tuple of type
        The classes of the events that stand in them, their bases left out.
    label : str or None
        The field of the events by which `framelode log` calls a stream, in place of its id.
    detail : str or None
        The field that it adds to what happened; needs a `label`.
    is_exported : bool
        Whether the export of a dataset holds those batches that are about it. They are numbered from version 1 again when
        they are imported.
    """

    id: str
    events: tuple[type[AnyEvent], ...]
    label: str | None = None
    detail: str | None = None
    is_exported: bool = False

    @property
    def topics(self) -> frozenset[str]:
        """Topics of the events."""
        return frozenset(event.__name__ for event in self.events)

    def has(self, stream_id: str) -> bool:
        """Say whether a stream is of the family."""
        return stream_id.startswith(self.id) if self.id.endswith("-") else stream_id == self.id
