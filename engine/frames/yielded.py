"""Frames that an iterator yields, kept as they were at that moment: the caller may change an object for the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .frame_group import FrameGroup
from .single_frame import SingleFrame

AnyFrame = SingleFrame | FrameGroup

_REMEMBERED = 10_000


class Yielded(msgspec.Struct, frozen=True):
    """One item of an iterator.

    Attributes
    ----------
    sent : any
        The object that was yielded.
    frame : SingleFrame, FrameGroup or None
        The frame that it is or describes; it may have changed since.
    frame_id : str
        Id to record it under.
    payload : bytes
        What it contained.
    error : str or None
        Why it cannot be recorded.
    """

    sent: Any
    frame: AnyFrame | None = None
    frame_id: str = ""
    payload: bytes = b""
    error: str | None = None


class GivenIds:
    """Gives ids to frames that an iterator yields without one.

    One object that is yielded several times without an id stands for several frames: each time it gets the id that its
    content gives, and the object itself ends without one.

    Parameters
    ----------
    make : callable
        Returns the id for a frame that has none.
    """

    def __init__(self, make: Callable[[AnyFrame], str]) -> None:
        self._make = make
        # Holds the frames too: the address of a live object is not used again.
        self._given: dict[int, tuple[AnyFrame, str | None]] = {}

    def take(self, frame: AnyFrame) -> str:
        """Return the id to record a frame under, now that it was yielded."""
        held, key = frame.id, id(frame)
        before = self._given.get(key)
        if held is not None and (before is None or before[1] != held):
            return held
        if before is not None:
            frame.id = None
        made = self._make(frame)
        self._given[key] = frame, made if before is None else None
        if len(self._given) > _REMEMBERED:
            del self._given[next(iter(self._given))]
        return made

    def hand_back(self, frame: AnyFrame, frame_id: str) -> bool:
        """Set the id that a frame was recorded under, unless the object stands for several; say whether it has it now."""
        if frame.id is None and self._given.get(id(frame), (frame, None))[1] == frame_id:
            frame.id = frame_id
        return frame.id == frame_id
