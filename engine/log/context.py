"""Who acts, and why: the actor and context that travel in every batch."""

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

# Where `getpass.getuser` looks first.
_USER_VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")

_encoder = msgspec.json.Encoder(order="deterministic")


class ActingContext(msgspec.Struct, frozen=True):
    """The actor's name, and the context as canonical JSON."""

    actor: str
    encoded: str = "{}"


_acting: ContextVar[ActingContext | None] = ContextVar("framelode_acting", default=None)


def current_context() -> ActingContext:
    """Return who acts now: `acting`'s, else `FRAMELODE_ACTOR`, else the user name."""
    return _acting.get() or ActingContext(default_actor())


def default_actor() -> str:
    """Return the actor outside any `acting` block."""
    # What of an environment is no UTF-8 arrives as lone surrogates, which cannot be stored.
    given = os.environ.get("FRAMELODE_ACTOR")
    return _storable(given) if given else _user_name(tuple(map(os.environ.get, _USER_VARIABLES)))


@lru_cache(maxsize=8)
def _user_name(variables: tuple[str | None, ...]) -> str:  # noqa: ARG001 - what the answer depends on
    """Return the name of the user, which takes long to look up."""
    try:
        return _storable(getpass.getuser())
    except (KeyError, OSError):
        # A container may run under a user id that has no name.
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _storable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


_decode_context = guarded(msgspec.json.Decoder(dict[str, Any]).decode)


def decode_context(encoded: str, position: int) -> dict[str, Any]:
    """Return the context of a batch; `UnreadableError` with its position when it is no JSON object."""
    try:
        return _decode_context(encoded)
    except UNDECODABLE as error:
        message = f"the context of the batch at position {position} is damaged: {error}"
        raise UnreadableError(message, position=position) from error


@contextmanager
def acting(actor: str | None = None, context: Mapping[str, Any] | None = None) -> Generator[None, None, None]:
    """Record everything written inside the block under this actor and context.

    Parameters
    ----------
    actor : str, optional
        Who acts; the surrounding actor by default.
    context : mapping, optional
        Anything JSON-like, such as ``{"run": "2024-11-02"}``; the surrounding one by default.

    Raises
    ------
    InvalidValueError
        The actor is no string or the context is not JSON-like.
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
