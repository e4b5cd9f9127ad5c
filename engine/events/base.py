"""The base class of domain events, and streams that do not belong to a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Generic, TypeVar

import msgspec


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of all domain events.

    Attributes
    ----------
    originator_id : str
        The stream: a dataset, a version, or a dataset name.
    originator_version : int
        Version of the event in its stream, starting at 1.

    Fields of type bytes are canonical msgpack of one value, except in frame events.
    """

    schema_version: ClassVar[int] = 1

    originator_id: str
    originator_version: int

    @property
    def stored_schema(self) -> int:
        """Schema version that the event is stored with: the lowest that can express it."""
        return self.schema_version

    def blobs(self) -> Iterable[str]:
        """Return the digests of blobs that the event refers to. Frame events are searched for them instead."""
        return ()

    def mutate(self, aggregate: Any) -> Any:
        """Apply the event to an aggregate, which knows the effect of its events."""
        return aggregate.apply(self)


AnyEvent = TypeVar("AnyEvent", bound=Event)


class Streams(msgspec.Struct, Generic[AnyEvent], frozen=True, eq=False):
    """A family of streams that do not belong to a dataset.

    Attributes
    ----------
    id : str
        Id of the stream. If it ends with a hyphen, it is the prefix of a family of streams.
    events : tuple of type
        The event classes in these streams, without base classes.
    label : str or None
        Field of the events that `framelode log` shows instead of the stream id.
    detail : str or None
        Field that it shows after the kind of change. Requires `label`.
    is_exported : bool
        Whether the export of a dataset includes the batches of these streams that concern it. An import numbers them from
        version 1 again.
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
        """Whether a stream belongs to the family."""
        return stream_id.startswith(self.id) if self.id.endswith("-") else stream_id == self.id
