"""Documents of keys and stores."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Self

from ...engine.errors import InvalidTypeError, InvalidValueError
from ...engine.events.stores import EVICT, PERSIST, STORE_KEY
from ...engine.stores.names import check_dataset_id, check_ttl, expiry
from ...engine.stores.values import is_object_id, object_id
from ...engine.times import microseconds, utc
from ...engine.validation import shorten


class KeyPolicy(str, Enum):  # noqa: UP042 - the bases of the API that is followed
    """When a key is removed.

    ``PERSIST``: only when it is deleted. ``EVICT``: also when its time to live is over, or by `clear_cache`.
    """

    PERSIST = PERSIST
    EVICT = EVICT


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class KeyDocument:
    """A key of a store, with its value.

    Attributes
    ----------
    store_name, key : str
        Name of the store, and the key.
    value : object
        The stored value.
    dataset_id : str, UUID or object id, optional
        Dataset id of the store, if it has one.
    created_at, updated_at : datetime
        When the key was created and last set.
    expires_at : datetime, optional
        When the key expires.
    policy : KeyPolicy
        Whether the key may be evicted.
    """

    store_name: str
    key: str
    value: Any
    _id: Any | None = field(default=None, repr=False)
    dataset_id: Any | None = None
    created_at: datetime = field(default_factory=_now)
    updated_at: datetime | None = None
    expires_at: datetime | None = None
    policy: KeyPolicy = KeyPolicy.PERSIST

    @staticmethod
    def get_expiration(ttl: float | None) -> datetime | None:
        """Return the time `ttl` seconds from now, or None without a time to live.

        Raises
        ------
        ValueError
            `ttl` is negative, or the time is after the year 9999.
        """
        expires_at = expiry(microseconds(_now()), check_ttl(ttl))
        return None if expires_at is None else utc(expires_at)

    @classmethod
    def from_dict(cls, doc: dict[str, Any]) -> Self:
        """Return the document of a dict. Without a policy, the key may be evicted if it expires.

        Raises
        ------
        TypeError
            `doc` is not a dict, or a field is missing or unknown.
        ValueError
            The policy is invalid.
        """
        if not isinstance(doc, dict):
            raise InvalidTypeError(f"from_dict takes a dict, not {shorten(doc)}")
        values = dict(doc)
        policy = values.get("policy")
        if policy is None:
            policy = PERSIST if values.get("expires_at") is None else EVICT
        values["policy"] = policy_of(policy)
        unknown = sorted(map(str, values.keys() - {each.name for each in fields(cls)}))
        if unknown:
            raise InvalidTypeError(f"a {cls.__name__} has no field {unknown[0]!r}")
        try:
            return cls(**values)
        except TypeError as error:
            raise InvalidTypeError(
                f"a {cls.__name__} cannot be created: a field is missing: {error}"
            ) from error

    def to_mongo_dict(self, exclude_id: bool = True) -> dict[str, Any]:
        """Return the document as a dict of plain values, without its id if `exclude_id` is set."""
        doc = {each.name: getattr(self, each.name) for each in fields(self)}
        doc["policy"] = policy_of(self.policy).value
        if exclude_id:
            del doc["_id"]
        return doc


@dataclass
class StoreDocument(KeyDocument):
    """A store: the document of the key ``__store__``, whose value is the metadata of the store."""

    key: str = STORE_KEY
    value: dict[str, Any] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the store."""
        return self.value or {}


class DatasetId(str):
    """Text of a dataset id. It equals the UUID or the object id that was given."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        try:
            return str.__eq__(self, check_dataset_id(other) or "")
        except (InvalidTypeError, InvalidValueError):
            return False

    __hash__ = str.__hash__


def dataset_id_of(text: str | None) -> Any:
    """Return the dataset id in a list: text, or an ObjectId if it is 24 hex digits and `bson` is installed."""
    if text is None:
        return None
    found = object_id(text) if is_object_id(text) else text
    return DatasetId(found) if isinstance(found, str) else found


def policy_of(policy: object) -> KeyPolicy:
    """Return a policy. Raises `ValueError` if it is invalid."""
    try:
        return KeyPolicy(policy)
    except ValueError as error:
        raise InvalidValueError(f"policy must be 'persist' or 'evict', not {shorten(policy)}") from error
