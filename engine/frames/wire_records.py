"""The wire form of many stored frames, in two calls of msgspec: one decodes their records, the other makes dicts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from ..decoding import array_of, guarded
from ..log.decoding import gc_paused
from .source import DEFAULT_SOURCE, MaskSource, Preview

Wire = dict[str, Any]

# The structs have the fields of the wire form, in its order. A default is left out, unless a function of ours makes it.


def _no_numbers() -> list[int]:
    return []


def _default_name() -> str:
    return DEFAULT_SOURCE


def _at_start() -> int:
    return 0


class _Mask(Struct, omit_defaults=True, gc=False):
    id: str | None = None
    value: list[int] = field(default_factory=_no_numbers)


class _Roi(Struct, omit_defaults=True, gc=False):
    """An annotation of any type: all have the same fields."""

    type: str
    confidence: float | None = None
    id: str | None = None
    label: list[str] = field(default_factory=list)
    mask: _Mask | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    poly: list[float] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


class _Source(Struct, omit_defaults=True, gc=False):
    id: str = field(default_factory=_default_name)
    uri: str | None = None
    content_type: str | None = None
    width: int | None = None
    height: int | None = None
    timestamp: int = field(default_factory=_at_start)
    size: int | None = None
    hash: str | None = None
    masks: list[MaskSource] = field(default_factory=list)
    preview: Preview | None = None
    meta: dict[str, Any] = field(default_factory=dict)


class _WireRecord(Struct, omit_defaults=True, gc=False):
    id: str | None = None
    context_id: str | None = None
    timestamp: int | None = None
    sources: list[_Source] = field(default_factory=list)
    rois: list[_Roi] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    num_frames: int | None = None


_decode = guarded(msgspec.msgpack.Decoder(list[_WireRecord]).decode)


def wires_of(ids: Sequence[str], payloads: Sequence[bytes]) -> list[Wire]:
    """Return the wire forms of canonical payloads: for each frame the same as `Record.to_wire`.

    Parameters
    ----------
    ids : sequence of str
        Ids of the frames.
    payloads : sequence of bytes
        Their payloads.

    Raises
    ------
    msgspec.MsgspecError, UnicodeDecodeError, TypeError, RecursionError
        A payload is not a record, or has values without a wire form. `Record.to_wire` tells which.
    """
    with gc_paused():
        records = _decode(array_of(payloads))
        for frame_id, record in zip(ids, records, strict=True):
            record.id = frame_id
            if record.sources:
                first = record.sources[0]
                record.timestamp = first.timestamp
                record.context_id = record.context_id or first.uri
            elif not record.context_id:
                record.context_id = None
        return msgspec.to_builtins(records)
