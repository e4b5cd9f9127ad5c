"""What names a document of an execution store, and for how long it lives: checked here, and made into ids."""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache
from numbers import Integral, Real
from uuid import UUID

import msgspec
from blake3 import blake3

from ..errors import InvalidTypeError, InvalidValueError
from ..events.stores import EVICT, PERSIST, STORE_KEY, STORES
from ..times import LATEST
from ..validation import shorten

ID_SIZE = 16
POLICIES = (PERSIST, EVICT)

_KEY_ID_SIZE, _KEPT_BYTES = 64, 48
_SECOND = 1_000_000
_OBJECT_ID = re.compile("[0-9a-fA-F]{24}")


class StoreId(msgspec.Struct, frozen=True, gc=False):
    """A store: its name within a dataset's context and a collection.

    Attributes
    ----------
    digest : bytes
        16 bytes that stand for the three.
    stream : str
        The stream of its events.
    """

    collection: str
    name: str
    dataset_id: str | None
    digest: bytes
    stream: str

    def __str__(self) -> str:
        context = "" if self.dataset_id is None else f" of dataset {self.dataset_id}"
        return f"store {shorten(self.name)}{context}"


@lru_cache(maxsize=4096)
def store_id(collection: str, name: str, dataset_id: str | None) -> StoreId:
    """Return the store of a name; names and ids are checked by then."""
    digest = blake3(msgspec.msgpack.encode((collection, name, dataset_id))).digest(length=ID_SIZE)
    return StoreId(collection, name, dataset_id, digest, STORES.id + digest.hex())


def context_digest(collection: str, dataset_id: str | None) -> bytes:
    """Return 16 bytes that stand for a collection and a dataset's context in it."""
    return blake3(msgspec.msgpack.encode((collection, dataset_id))).digest(length=ID_SIZE)


def key_id(key: str) -> bytes:
    """Return up to 64 bytes that stand for a key, in the order of keys: itself, or its beginning and a digest of it."""
    data = key.encode()
    return data if len(data) < _KEY_ID_SIZE else data[:_KEPT_BYTES] + blake3(data).digest(length=ID_SIZE)


def short_key(stands_for: bytes) -> str | None:
    """Return the key that some bytes stand for, None when it is too long to be told."""
    return stands_for.decode() if len(stands_for) < _KEY_ID_SIZE else None


def check_text(text: object, what: str) -> str:
    """Return a text as a plain string; keys and names may hold any Unicode except NUL."""
    if not isinstance(text, str):
        raise InvalidTypeError(f"{what} must be a string, not {shorten(text)}")
    plain = text if type(text) is str else str.__str__(text)
    if "\0" in plain:
        raise InvalidValueError(f"{what} {shorten(plain)} holds a NUL character, which cannot be stored")
    if not plain.isascii():
        try:
            plain.encode()
        except UnicodeEncodeError as error:
            raise InvalidValueError(
                f"{what} {shorten(plain)} holds a lone surrogate, which is no Unicode text"
            ) from error
    return plain


def check_name(name: object, what: str) -> str:
    """Return a name, which may not be empty."""
    plain = check_text(name, what)
    if not plain:
        raise InvalidValueError(f"{what} must not be empty")
    return plain


def check_user_key(key: object) -> str:
    """Return a key that users may write."""
    plain = check_text(key, "key")
    if plain == STORE_KEY:
        raise InvalidValueError(
            f"the key {STORE_KEY!r} is the store's own: use create_store and delete_store"
        )
    return plain


def check_policy(policy: object) -> str:
    """Return an eviction policy."""
    if isinstance(policy, str):
        plain = str.__str__(policy)
        if plain in POLICIES:
            return plain
    raise InvalidValueError(f"policy must be 'persist' or 'evict', not {shorten(policy)}")


def check_dataset_id(dataset_id: object) -> str | None:
    """Return the id of a context: text, a UUID, or what prints as 24 hex digits."""
    if dataset_id is None:
        return None
    if isinstance(dataset_id, str):
        return check_name(dataset_id, "dataset_id")
    shown = str(dataset_id) if isinstance(dataset_id, Hashable) else ""
    if isinstance(dataset_id, UUID) or _OBJECT_ID.fullmatch(shown):
        return shown
    raise InvalidTypeError(
        f"dataset_id must be a string, a UUID or an object id of 24 hex digits, not {shorten(dataset_id)}"
    )


def check_ttl(ttl: object) -> float | None:
    """Return a time to live in seconds: 0 or more, or None."""
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, Real):
        raise InvalidTypeError(f"ttl must be a number of seconds, not {shorten(ttl)}")
    seconds = int(ttl) if isinstance(ttl, Integral) else float(ttl)
    if seconds != seconds or seconds < 0:  # noqa: PLR0124 - not a number, also of an integer that no float can be
        raise InvalidValueError(f"ttl must be 0 seconds or more, not {shorten(ttl)}")
    if seconds > LATEST // _SECOND:
        raise InvalidValueError(f"ttl {shorten(ttl)} goes beyond the year 9999: leave it out to keep the key")
    return seconds


def expiry(now: int, ttl: float | None) -> int | None:
    """Return when what is set now expires, in UTC microseconds since 1970."""
    if ttl is None:
        return None
    expires_at = max(now, 0) + (ttl * _SECOND if isinstance(ttl, int) else round(ttl * _SECOND))
    if expires_at > LATEST:
        raise InvalidValueError(f"ttl {ttl!r} goes beyond the year 9999: leave it out to keep the key")
    return expires_at
