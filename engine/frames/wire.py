"""Converts frame records to and from their wire form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ..annotations.registry import annotation_from_dict
from ..canonical import canonical_object
from ..validation import count, fields, items, name, refusal, whole
from .content_types import content_type_of
from .source import DEFAULT_SOURCE, NO_SOURCE, MaskSource, Preview, Source, source_name, source_uri

_Checks = dict[str, Callable[[object, str], Any]]


def source_to_wire(source: Source) -> dict[str, Any]:
    """Return the wire form of a source."""
    plain: dict[str, Any] = {**msgspec.to_builtins(source), "id": source.id, "timestamp": source.timestamp}
    if source.masks:
        plain["masks"] = list(plain["masks"])
    return {key: plain[key] for key in _SOURCE_FIELDS if key in plain}


def sources_from_wire(given: object, timestamp: object) -> tuple[Source, ...]:
    """Return the sources of a frame in wire form."""
    wires = items(given, "sources", "a list of dicts")
    sources = [_source_from_wire(wire, f"sources[{index}]") for index, wire in enumerate(wires)]
    names = set[str]()
    for index, source in enumerate(sources):
        if source.id in names:
            raise refusal(f"sources[{index}].id", source.id, "unique within the frame")
        names.add(source.id)
    if timestamp is not None:
        _settle_timestamp(sources, whole(timestamp, "timestamp"), wires)
    return () if sources == [NO_SOURCE] else tuple(sources)


def _settle_timestamp(sources: list[Source], timestamp: int, wires: Sequence[Any]) -> None:
    """Set the frame's timestamp on the first source, unless it has its own."""
    if not sources:
        sources.append(Source(timestamp=timestamp))
    elif wires[0].get("timestamp") is None:
        sources[0] = msgspec.structs.replace(sources[0], timestamp=timestamp)
    elif sources[0].timestamp != timestamp:
        raise refusal("timestamp", timestamp, f"equal to that of the first source, {sources[0].timestamp}")


def _source_from_wire(wire: object, path: str) -> Source:
    values = _checked(wire, _SOURCE_CHECKS, path)
    if "content_type" not in values and "uri" in values:
        values["content_type"] = content_type_of(values["uri"])
    return Source(metadata=values.pop("meta", {}), **values)


def _checked(wire: object, checks: _Checks, path: str) -> dict[str, Any]:
    """Return the fields of a wire form that are set, each validated."""
    found = fields(wire, checks, path)
    return {key: check(found[key], f"{path}.{key}") for key, check in checks.items() if key in found}


def _masks_from_wire(given: object, path: str) -> tuple[MaskSource, ...]:
    masks: dict[str, MaskSource] = {}
    for index, wire in enumerate(items(given, path, "a list of dicts of id and uri")):
        values = _checked(wire, _MASK_CHECKS, f"{path}[{index}]")
        for key in ("id", "uri"):
            if key not in values:
                raise refusal(f"{path}[{index}].{key}", None, "given")
        mask = MaskSource(**values)
        if mask.id in masks:
            raise refusal(f"{path}[{index}].id", mask.id, "unique within the source")
        masks[mask.id] = mask
    return tuple(masks.values())


def _preview_from_wire(given: object, path: str) -> Preview | None:
    values = _checked(given, _PREVIEW_CHECKS, path)
    return Preview(**values) if values else None


def annotations_from_wire(given: object, sources: Sequence[Source]) -> list[Any]:
    """Return the annotations of a frame in wire form."""
    known = {source.id for source in sources} or {DEFAULT_SOURCE}
    is_single = not sources or (len(sources) == 1 and sources[0].id is DEFAULT_SOURCE)
    rois = items(given, "rois", "a list of dicts")
    return [_roi_from_wire(roi, known, is_single, f"rois[{index}]") for index, roi in enumerate(rois)]


def _roi_from_wire(wire: object, known: set[str], is_single: bool, path: str) -> Any:
    annotation = annotation_from_dict(wire, path)
    for index, source in enumerate(annotation.sources):
        if source not in known:
            raise refusal(
                f"{path}.sources[{index}]", source, f"one of the sources {', '.join(sorted(known))}"
            )
    if is_single and annotation.sources == (DEFAULT_SOURCE,):
        return annotation.with_sources(())
    return annotation


_MASK_CHECKS: _Checks = {"id": name, "uri": source_uri, "content_type": name, "timestamp": whole}

_PREVIEW_CHECKS: _Checks = {"uri": source_uri, "content_type": name, "timestamp": whole}

_SOURCE_CHECKS: _Checks = {
    "id": source_name,
    "uri": source_uri,
    "content_type": name,
    "width": count,
    "height": count,
    "timestamp": whole,
    "size": count,
    "hash": name,
    "masks": _masks_from_wire,
    "preview": _preview_from_wire,
    "meta": canonical_object,
}

_SOURCE_FIELDS = tuple(_SOURCE_CHECKS)
