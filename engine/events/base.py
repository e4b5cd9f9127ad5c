"""What every domain event has."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all domain events.

    Attributes
    ----------
    originator_id : str
        The stream: a dataset, a version, or a dataset name.
    originator_version : int
        Place of the event in that stream, from 1.
    """

    schema_version: ClassVar[int] = 1

    originator_id: str
    originator_version: int

    def mutate(self, aggregate: Any) -> Any:
        """Apply the event to an aggregate; each aggregate knows what its events do to it."""
        return aggregate.apply(self)
