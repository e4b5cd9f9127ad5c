"""Checks the metadata of data, and stores times in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...engine.canonical import canonical_object
from ...engine.stores.values import from_json_form
from ...engine.validation import number, shorten
from .exceptions import BadRequestError

Metadata = Mapping[str, Any]

_NUMBERS = (
    *("latitude", "longitude", "altitude", "resolution_x", "resolution_y", "yaw", "pitch", "roll"),
    *("focal_length", "sensor_width"),
)
_TEXTS = {
    **dict.fromkeys(
        (
            *("acquired_by", "resolution_unit", "compression", "manufacturer", "software", "color_space"),
            *("custom_id", "reference", "brand", "region_of_interest"),
        ),
        128,
    ),
    "weather": 1024,
}


def check_metadata(given: object, what: str = "metadata") -> dict[str, Any]:
    """Return metadata in the form in which it is recorded. The types of documented keys are checked.

    Raises
    ------
    BadRequestError
        It is no dict, a value has the wrong type, or only one of latitude and longitude is given.
    """
    checked = check_custom(given, what)
    for name in _NUMBERS:
        if checked.get(name) is not None:
            checked[name] = _number(checked[name], f"{what}.{name}")
    for name, longest in _TEXTS.items():
        value = checked.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > longest):
            raise BadRequestError(
                f"{what}.{name} must be a string of at most {longest:,} characters, not {shorten(value)}"
            )
    acquired_at = checked.get("acquired_at")
    if isinstance(acquired_at, str):
        checked["acquired_at"] = _time(acquired_at, f"{what}.acquired_at")
    elif acquired_at is not None and not _is_time(acquired_at):
        raise BadRequestError(f"{what}.acquired_at must be a datetime, not {shorten(acquired_at)}")
    if (checked.get("latitude") is None) != (checked.get("longitude") is None):
        raise BadRequestError(f"{what}: latitude and longitude must be given together")
    return checked


def check_custom(given: object, what: str = "custom_metadata") -> dict[str, Any]:
    """Return metadata with any keys in the form in which it is recorded."""
    if not isinstance(given, Mapping):
        raise BadRequestError(f"{what} must be a dict, not {shorten(given)}")
    try:
        return canonical_object(_form(given, what), what)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(str(error)) from error


def read_metadata(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return recorded metadata with its times."""
    try:
        return from_json_form(recorded)
    except ValueError:  # recorded by another program
        return recorded


def _form(value: Any, what: str) -> Any:
    """Return a value with objects in place of times."""
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, list | tuple):
        return [_form(item, what) for item in value]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1 and str(next(iter(value)))[:1] == "$":
        raise BadRequestError(
            f"{what}: a dict whose only key begins with $ cannot be stored: {shorten(value)}"
        )
    return {name: _form(item, what) for name, item in value.items()}


def _is_time(value: object) -> bool:
    return isinstance(value, dict) and "$datetime" in value


def _time(text: str, what: str) -> dict[str, str]:
    try:
        return {"$datetime": datetime.fromisoformat(text).isoformat()}
    except ValueError as error:
        raise BadRequestError(f"{what} must be a datetime, not {shorten(text)}") from error


def _number(value: object, what: str) -> float:
    try:
        return number(value, what)
    except ValueError as error:
        raise BadRequestError(str(error)) from error
