"""Mask labels: the labels of mask pixel values, stored in the metadata of a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from ...engine.errors import InvalidValueError
from ...engine.validation import items, shorten

MASKS_LABELS = "mask_labels"
_ALL = "_all_"

MasksLabels = Mapping[tuple[int, ...], Sequence[str]]


def stored_masks_labels(mapping: MasksLabels) -> dict[str, list[dict[str, Any]]]:
    """Return mask labels in the form that metadata stores."""
    if not isinstance(mapping, Mapping):
        raise InvalidValueError(
            f"mask labels must be a dict such as {{(0, 0, 0): ['background']}}, not {shorten(mapping)}"
        )
    entries = [{"value": _value(value), "labels": _labels(labels)} for value, labels in mapping.items()]
    return {_ALL: entries}


def read_masks_labels(stored: Any) -> dict[tuple[int, ...], tuple[str, ...]]:
    """Return stored mask labels as a dict of labels by pixel value."""
    if not stored:
        return {}
    try:
        return {tuple(entry["value"]): tuple(entry["labels"]) for entry in stored[_ALL]}
    except (TypeError, KeyError) as error:
        raise InvalidValueError(
            f"metadata {MASKS_LABELS!r} does not have the form that set_masks_labels writes: {shorten(stored)}"
        ) from error


def _value(value: object) -> list[int]:
    parts: list[Any] = list(value) if isinstance(value, tuple) else []
    if not parts or not all(_is_level(part) for part in parts):
        raise InvalidValueError(
            f"a mask value must be a tuple of integers from 0 to 255, not {shorten(value)}"
        )
    return [int(part) for part in parts]


def _is_level(part: object) -> bool:
    return isinstance(part, Integral) and not isinstance(part, bool) and 0 <= int(part) <= 255


def _labels(labels: object) -> list[str]:
    plain = [] if isinstance(labels, str) else items(labels, "labels of a mask value", "a list of strings")
    if isinstance(labels, str) or not all(isinstance(label, str) for label in plain):
        raise InvalidValueError(f"labels of a mask value must be a list of strings, not {shorten(labels)}")
    return list(plain)
