"""The actor and the context that are recorded with every batch."""

from __future__ import annotations

import getpass
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import msgspec

from ..decoding import UNDECODABLE, guarded
from ..errors import InvalidValueError, UnreadableError
from ..validation import name

# The variables that `getpass.getuser` reads first.
_USER_VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")

_encoder = msgspec.json.Encoder(order="deterministic")


class ActingContext(msgspec.Struct, frozen=True):
    """The actor's name, and the context as canonical JSON."""

    actor: str
    encoded: str = "{}"


_acting: ContextVar[ActingContext | None] = ContextVar("framelode_acting", default=None)


def current_context() -> ActingContext:
    """Return the current context: that of `acting`, or the default actor from `FRAMELODE_ACTOR` or the user name."""
    return _acting.get() or ActingContext(default_actor())


def default_actor() -> str:
    """Return the actor outside any `acting` block."""
    # Undecodable bytes of the environment become lone surrogates, which cannot be stored.
    given = os.environ.get("FRAMELODE_ACTOR")
    return _storable(given) if given else _user_name(tuple(map(os.environ.get, _USER_VARIABLES)))


@lru_cache(maxsize=8)
def _user_name(variables: tuple[str | None, ...]) -> str:  # noqa: ARG001 - the key of the cache
    """Return the name of the user. The lookup is slow, so it is cached."""
    try:
        return _storable(getpass.getuser())
    except (KeyError, OSError):
        # In a container, the user id may have no name.
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _storable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


_decode_context = guarded(msgspec.json.Decoder(dict[str, Any]).decode)


def decode_context(encoded: str, position: int) -> dict[str, Any]:
    """Return the context of a batch. Raises `UnreadableError` with its position if it is not a JSON object."""
    try:
        return _decode_context(encoded)
    except UNDECODABLE as error:
        message = f"the context of the batch at position {position} is damaged: {error}"
        raise UnreadableError(message, position=position) from error


@contextmanager
def acting(actor: str | None = None, context: Mapping[str, Any] | None = None) -> Generator[None, None, None]:
    """Record everything that is written inside the block with this actor and context.

    Parameters
    ----------
    actor : str, optional
        Name of the actor. By default that of the enclosing block.
    context : mapping, optional
        JSON-like values, such as ``{"run": "2024-11-02"}``. By default the context of the enclosing block.

    Raises
    ------
    InvalidValueError
        The actor is not a string, or the context is not JSON-like.
    """
    outer = current_context()
    if actor is not None:
        name(actor, "actor")
    encoded = outer.encoded
    if context is not None:
        try:
            encoded = _encoder.encode(dict(context)).decode()
        except (TypeError, ValueError) as error:
            raise InvalidValueError(f"context must be a JSON-like mapping: {error}") from error
    token = _acting.set(ActingContext(actor or outer.actor, encoded))
    try:
        yield
    finally:
        _acting.reset(token)
