"""Finds the change that set each part of a frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ...engine.canonical import encode_canonical
from ...engine.decoding import guarded
from ...engine.errors import UnreadableError
from .changes import FrameStep, Wire, payload_wire

FIELD, METADATA, ANNOTATION, LABEL = "field", "metadata", "annotation", "label"
"""Kinds of parts. A field or metadata key is identified by its name, an annotation by id or geometry, a label by both."""

Part = tuple[Any, ...]
Parts = dict[Part, bytes]
"""Parts with their values as bytes. An annotation or label has no value."""

_SAID_OF_IT = ("id", "label", "confidence", "meta")
"""Fields of an annotation that do not identify it."""


def trace(steps: Iterable[FrameStep]) -> dict[Part, FrameStep]:
    """Return the event that set each part of a frame to its current value.

    Parameters
    ----------
    steps : iterable of FrameStep
        The events of the frame, newest first. They are read only as far back as necessary.
    """
    origins: dict[Part, FrameStep] = {}
    walk = iter(steps)
    newer = next(walk)
    pending = take_apart(newer.stored.payload, newer.position)
    for step in walk:
        before = take_apart(step.stored.payload, step.position)
        for part in [part for part, value in pending.items() if before.get(part) != value]:
            origins[part] = newer
            del pending[part]
        newer = step
        if not pending:
            break
    return origins | dict.fromkeys(pending, newer)


def take_apart(payload: bytes, position: int) -> Parts:
    """Return the parts of a canonical payload. The empty payload of a delete has none."""
    wire = payload_wire(None, payload, position) or {}
    try:
        return guarded(_parts)(wire)
    except (TypeError, msgspec.MsgspecError) as error:
        message = (
            f"the frame event at position {position} contains values that JSON does not support: {error}"
        )
        raise UnreadableError(message, position=position) from error


def _parts(wire: Wire) -> Parts:
    parts: Parts = {(FIELD, name): encode_canonical(value) for name, value in wire.items()}
    parts |= {(METADATA, name): encode_canonical(value) for name, value in wire.get("meta", {}).items()}
    for identity, annotation in annotations_of(wire):
        parts[ANNOTATION, identity] = b""
        parts |= {(LABEL, identity, label): b"" for label in annotation.get("label", ())}
    return parts


def annotations_of(wire: Wire) -> Iterator[tuple[Part, Wire]]:
    """Yield the annotations of a frame in order, each with its identity across the states of the frame.

    The identity is its id, or else its geometry and its index among annotations with equal geometry.
    """
    seen: Counter[bytes] = Counter()
    for annotation in wire.get("rois", ()):
        alike = _identity(annotation)
        yield (alike, seen[alike]), annotation
        seen[alike] += 1


def _identity(annotation: Wire) -> bytes:
    if annotation.get("id") is not None:
        return b"id " + str(annotation["id"]).encode()
    return encode_canonical({name: value for name, value in annotation.items() if name not in _SAID_OF_IT})
