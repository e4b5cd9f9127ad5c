"""Rules for the custom metadata of a lake: their keys, types and values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from ...engine.errors import InvalidTypeError
from ...engine.validation import did_you_mean, shorten
from ...projections.columns import from_json
from .exceptions import BadRequestError
from .recording import Lake, things
from .schemas import BaseCustomMetadataKey, CustomMetadataKey

_LONGEST_KEY = 255
_LONGEST_NAME = 256
_MOST_CHOICES = 64
_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "STRING": (str, "a string"),
    "INTEGER": (int, "a whole number"),
    "FLOAT": ((int, float), "a number"),
    "DATETIME": (datetime, "a datetime"),
    "BOOLEAN": (bool, "True or False"),
}


class MetadataSchema(NamedTuple):
    """The rules of a lake.

    Attributes
    ----------
    keys : dict
        The rules of each key.
    allow_extra : bool
        Whether other keys are allowed.
    """

    keys: dict[str, CustomMetadataKey]
    allow_extra: bool

    def check(self, values: Mapping[str, Any], what: str) -> None:
        """Check values that are set. Raises `BadRequestError` if one breaks a rule."""
        for key, value in values.items():
            rules = self.keys.get(key)
            if rules is None and not self.allow_extra:
                near = did_you_mean(key, list(self.keys))
                raise BadRequestError(f"{what}: the schema of the lake has no key {shorten(key)}{near}")
            if rules is not None and value is None and rules.required:
                raise BadRequestError(f"{what}.{key} is required: it cannot be removed")
            if rules is not None and value is not None:
                _check_value(rules, value, f"{what}.{key}")

    def check_whole(self, values: Mapping[str, Any], what: str) -> None:
        """Check all values of a data. Raises `BadRequestError` if one breaks a rule, or a required one is missing."""
        self.check(values, what)
        for key, rules in self.keys.items():
            if rules.required and values.get(key) is None:
                raise BadRequestError(f"{what}.{key} is required by the schema of the lake")


def schema_of(lake: Lake) -> MetadataSchema:
    """Return the rules of a lake."""
    (row,) = things(lake.session, "lake", id=lake.row.id)
    recorded = from_json(row.rules, dict[str, Any])
    return MetadataSchema({key: read_rules(rules) for key, rules in recorded.items()}, row.allow_extra)


def read_rules(given: Any) -> CustomMetadataKey:
    """Return the rules of a key, given as an object or a dict. Raises `InvalidTypeError` for another form."""
    if isinstance(given, BaseCustomMetadataKey):
        given = recorded_rules(given)
    try:
        return msgspec.convert(given, CustomMetadataKey)
    except msgspec.ValidationError as error:
        raise InvalidTypeError(
            f"the schema of a key must be a CustomMetadataKey or a dict of its fields: {error}"
        ) from error


def recorded_rules(rules: BaseCustomMetadataKey) -> dict[str, Any]:
    """Return the rules of a key as JSON, without what is None."""
    return {name: value for name, value in msgspec.to_builtins(rules).items() if value is not None}


def check_rules(key: object, rules: CustomMetadataKey) -> None:
    """Raise `BadRequestError` if the rules of a key contradict themselves."""
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY:
        raise BadRequestError(f"a key must be a string of 1 to {_LONGEST_KEY} characters, not {shorten(key)}")
    choices, least, most = (getattr(rules, name, None) for name in ("choices", "min", "max"))
    fewest = 2 if recorded_rules(rules)["input_type"] == "STRING" else 1
    times = [each for each in (*(choices or ()), least, most) if isinstance(each, datetime)]
    if any(each.tzinfo is None for each in times):
        raise BadRequestError(f"the schema of {key!r}: times must have a time zone")
    for is_wrong, message in (
        (rules.archived and rules.required, "an archived key cannot be required"),
        (
            rules.display_name is not None and not 0 < len(rules.display_name) <= _LONGEST_NAME,
            f"display_name must have 1 to {_LONGEST_NAME} characters",
        ),
        (
            choices is not None and not fewest <= len(choices) <= _MOST_CHOICES,
            f"choices must be {fewest} to {_MOST_CHOICES}",
        ),
        (choices is not None and (least, most) != (None, None), "choices exclude min and max"),
        (getattr(rules, "allow_multiple", None) and choices is None, "allow_multiple needs choices"),
        (least is not None and most is not None and least >= most, "min must be less than max"),
    ):
        if is_wrong:
            raise BadRequestError(f"the schema of {key!r}: {message}")


def _check_value(rules: CustomMetadataKey, value: Any, what: str) -> None:
    is_list = isinstance(value, list) and getattr(rules, "allow_multiple", None)
    for each in value if is_list else [value]:
        _check_one(rules, each, what)


def _check_one(rules: CustomMetadataKey, recorded: Any, what: str) -> None:
    kind = recorded_rules(rules)["input_type"]
    value = _time(recorded) if kind == "DATETIME" else recorded
    types, expected = _TYPES[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise BadRequestError(f"{what} must be {expected}, not {shorten(recorded)}")
    choices, least, most = (getattr(rules, name, None) for name in ("choices", "min", "max"))
    if choices is not None and value not in choices:
        raise BadRequestError(
            f"{what} must be one of {', '.join(map(str, choices))}, not {shorten(recorded)}"
        )
    if (least is not None and value < least) or (most is not None and value > most):
        limits = " and ".join(
            f"at {word} {limit}" for word, limit in (("least", least), ("most", most)) if limit is not None
        )
        raise BadRequestError(f"{what} must be {limits}, not {shorten(recorded)}")


def _time(recorded: Any) -> datetime | None:
    """Return a time as recorded, or its text; without a time zone it is in UTC."""
    text = recorded.get("$datetime") if isinstance(recorded, dict) else recorded
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
