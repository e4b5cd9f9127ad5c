"""Converts between domain events and the stored events of the eventsourcing library."""

from __future__ import annotations

from typing import Any

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, StoredEvent

from ..errors import UsageError
from ..events.base import Event
from ..events.registry import decode_event, encode_event


class EventMapper(Mapper[str]):
    """Stores our msgspec events under their topic. The default mapper requires instances with a `__dict__`."""

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        """Encode a domain event."""
        if not isinstance(domain_event, Event):
            raise UsageError(
                f"{type(domain_event).__name__} is not a framelode event: derive it from framelode.engine.events.base.Event"
            )
        topic, state = encode_event(domain_event)
        return StoredEvent(domain_event.originator_id, domain_event.originator_version, topic, state)

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """Decode a stored event."""
        return decode_event(
            stored_event.topic,
            str(stored_event.originator_id),
            stored_event.originator_version,
            stored_event.state,
        )
