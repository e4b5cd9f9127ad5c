"""Decoders for untrusted bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError)
"""What a guarded decoder raises for bytes that are not of its type."""

LARGEST_INTEGER = 2**63 - 1
"""The largest integer that a database column holds."""

Position = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_INTEGER)]
"""A position in the log, 0 for none; also other integers that go into database columns."""

Decoded = TypeVar("Decoded")


def array_of(values: Sequence[bytes]) -> bytes:
    """Return encoded values as one msgpack array, which can be decoded in a single call."""
    return b"\xdd" + len(values).to_bytes(4, "big") + b"".join(values)


def guarded(decode: Callable[[Any], Decoded]) -> Callable[[Any], Decoded]:
    """Return a decoder that raises `msgspec.DecodeError` for values that are nested too deeply.

    How deep the interpreter can decode depends on the stack that is left. Where it does not suffice, the value is
    decoded once more on the stack of a new thread: the outcome is the same for every caller.
    """

    def decoded(data: Any) -> Decoded:
        try:
            return decode(data)
        except RecursionError:
            return _on_new_stack(decode, data)

    return decoded


def _on_new_stack(decode: Callable[[Any], Decoded], data: Any) -> Decoded:
    # Rarely needed, and not imported with every process.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        try:
            return executor.submit(decode, data).result()
        except RecursionError:
            raise msgspec.DecodeError("it is nested too deeply") from None
