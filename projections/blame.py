"""Since when each part of a frame has been there without interruption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from .changes import FrameStep

FIELD, METADATA, ANNOTATION, LABEL = "field", "metadata", "annotation", "label"
"""Kinds of parts. A field or metadata key goes by its name, an annotation by what it is, a label by both."""

Part = tuple[Any, ...]
Parts = dict[Part, bytes]
"""Parts with their values, as bytes; an annotation or label is there or not."""

_loose = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])
_list = msgspec.msgpack.Decoder(list[dict[str, Any]])
_encoder = msgspec.msgpack.Encoder(order="deterministic")
_SAID_OF_IT = ("id", "label", "confidence", "meta")
"""Fields of an annotation that say something of what it is drawn around."""


def trace(steps: Iterable[FrameStep]) -> dict[Part, FrameStep]:
    """Find the events since which the parts of a frame are as they are now.

    Parameters
    ----------
    steps : iterable of FrameStep
        The frame's events, newest first; read no further back than needed.
    """
    origins: dict[Part, FrameStep] = {}
    walk = iter(steps)
    newer = next(walk)
    pending = take_apart(newer.stored.payload)
    for step in walk:
        before = take_apart(step.stored.payload)
        for part in [part for part, value in pending.items() if before.get(part) != value]:
            origins[part] = newer
            del pending[part]
        newer = step
        if not pending:
            break
    return origins | dict.fromkeys(pending, newer)


def take_apart(payload: bytes) -> Parts:
    """Return the parts of a canonical payload; an empty one, of a delete, has none."""
    if not payload:
        return {}
    fields = _loose.decode(payload)
    parts: Parts = {(FIELD, name): bytes(value) for name, value in fields.items()}
    if "meta" in fields:
        parts |= {(METADATA, name): bytes(value) for name, value in _loose.decode(fields["meta"]).items()}
    for identity, wire in annotations_of(payload):
        parts[ANNOTATION, identity] = b""
        parts |= {(LABEL, identity, label): b"" for label in wire.get("label", ())}
    return parts


def annotations_of(payload: bytes) -> Iterator[tuple[Part, dict[str, Any]]]:
    """Yield the annotations of a payload in order, each with what makes it the same one in another payload.

    That is its id; without one, what it is drawn around, and its number among those alike.
    """
    rois = _loose.decode(payload).get("rois")
    seen: Counter[bytes] = Counter()
    for wire in _list.decode(rois) if rois is not None else ():
        alike = _identity(wire)
        yield (alike, seen[alike]), wire
        seen[alike] += 1


def _identity(wire: dict[str, Any]) -> bytes:
    if wire.get("id") is not None:
        return b"id " + str(wire["id"]).encode()
    return _encoder.encode({name: value for name, value in wire.items() if name not in _SAID_OF_IT})
