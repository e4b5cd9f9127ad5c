"""What is stored: keys and stores as documents."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Self

from ...engine.errors import InvalidTypeError, InvalidValueError
from ...engine.events.stores import EVICT, PERSIST, STORE_KEY
from ...engine.stores.names import check_ttl, expiry
from ...engine.times import microseconds, utc
from ...engine.validation import shorten


class KeyPolicy(str, Enum):  # noqa: UP042 - the bases of the API that is followed
    """What may become of a key.

    ``PERSIST``: it is removed only when it is deleted. ``EVICT``: it is removed when its time to live is over, or by `clear_cache`.
    """

    PERSIST = PERSIST
    EVICT = EVICT


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class KeyDocument:
    """A key of a store, and its value.

    Attributes
    ----------
    store_name, key : str
        Where it is.
    value : object
        What is stored under it.
    dataset_id : str, UUID or object id, optional
        The context of the store.
    created_at, updated_at : datetime
        When the key came into being, and when it was last set.
    expires_at : datetime, optional
        From when on it does not exist.
    policy : KeyPolicy
        Whether it may be evicted.
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
        """Return when a key expires that is given so many seconds from now; None for never.

        Raises
        ------
        ValueError
            The time is negative, or goes beyond the year 9999.
        """
        expires_at = expiry(microseconds(_now()), check_ttl(ttl))
        return None if expires_at is None else utc(expires_at)

    @classmethod
    def from_dict(cls, doc: dict[str, Any]) -> Self:
        """Return the document of a dict; without a policy it may be evicted if it expires.

        Raises
        ------
        TypeError
            It is no dict, or a field is missing or unknown.
        ValueError
            The policy is none.
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
            raise InvalidTypeError(f"a {cls.__name__} needs more than it was given: {error}") from error

    def to_mongo_dict(self, exclude_id: bool = True) -> dict[str, Any]:
        """Return the document as a dict of plain values, without its id unless that is asked for."""
        doc = {each.name: getattr(self, each.name) for each in fields(self)}
        doc["policy"] = policy_of(self.policy).value
        if exclude_id:
            del doc["_id"]
        return doc


@dataclass
class StoreDocument(KeyDocument):
    """A store: the document of the key ``__store__``, whose value is the store's metadata."""

    key: str = STORE_KEY
    value: dict[str, Any] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the store."""
        return self.value or {}


def policy_of(policy: object) -> KeyPolicy:
    """Return a policy; `ValueError` when it is none."""
    try:
        return KeyPolicy(policy)
    except ValueError as error:
        raise InvalidValueError(f"policy must be 'persist' or 'evict', not {shorten(policy)}") from error
