"""What happens to toys."""

from __future__ import annotations

from framelode.engine.events.base import Event, Streams


class ToyPacked(Event, frozen=True):
    """A toy was put into a box; `made_of` is a value as canonical msgpack."""

    box: str
    name: str
    made_of: bytes


TOYS = Streams("toys-", (ToyPacked,), label="box", detail="name")
