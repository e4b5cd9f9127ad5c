"""Snapshots of frames that an iterable yields, because the caller may reuse one object for several frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .frame_group import FrameGroup
from .single_frame import SingleFrame
from .wire_batch import PlainFrame

AnyFrame = SingleFrame | FrameGroup

_REMEMBERED = 10_000


class Yielded(msgspec.Struct, frozen=True):
    """One item of an iterable.

    Attributes
    ----------
    sent : any
        The object that was yielded.
    frame : SingleFrame, FrameGroup, PlainFrame or None
        The frame, or the frame that a dict describes. It may have changed since.
    frame_id : str
        Id of the frame when it is recorded.
    payload : bytes
        Encoded content of the frame when it was yielded.
    error : str or None
        Why the frame cannot be recorded, if so.
    """

    sent: Any
    frame: AnyFrame | PlainFrame | None = None
    frame_id: str = ""
    payload: bytes = b""
    error: str | None = None


class GivenIds:
    """Assigns ids to frames that an iterable yields without one.

    If the iterable yields one object several times without an id, each time is a separate frame with an id derived from
    its content. The object itself then gets no id.

    Parameters
    ----------
    make : callable
        Returns an id for a frame without one.
    """

    def __init__(self, make: Callable[[AnyFrame], str]) -> None:
        self._make = make
        # Keeps a reference to each frame, so that its address is not reused.
        self._given: dict[int, tuple[AnyFrame, str | None]] = {}

    def take(self, frame: AnyFrame) -> str:
        """Return the id of a frame that was just yielded."""
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
        """Set the recorded id on a frame, unless the object was yielded several times. Return whether it is set."""
        if frame.id is None and self._given.get(id(frame), (frame, None))[1] == frame_id:
            frame.id = frame_id
        return frame.id == frame_id
