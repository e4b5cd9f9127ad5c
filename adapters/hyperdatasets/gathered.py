"""Changes that wait in a bulk context, each with its frame as it was handed over."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from ...engine.errors import FramelodeError
from ...engine.frames.frame_group import FrameGroup
from ...engine.frames.record import encode_record
from ...engine.frames.single_frame import SingleFrame, restore, screen
from ...engine.frames.source import Source
from ...engine.sources.relocation import put_back, sources_of

GiveId = Callable[[Any, "str | None"], object]


class GatheredChange(msgspec.Struct, gc=False):
    """One change that waits.

    Attributes
    ----------
    kind : str
        ``add``, ``update`` or ``delete``.
    frame : SingleFrame, FrameGroup or any
        What the caller passed.
    held : SingleFrame, FrameGroup or any
        What is recorded: `frame` as it was when it was handed over.
    sources : sequence of Source
        Its sources then.
    """

    kind: str
    frame: Any
    held: Any
    warn: bool = False
    delete_sources: bool = False
    sources: Sequence[Source] = ()

    def group(self) -> tuple[str, bool, bool]:
        """Return what changes that are written together have in common."""
        return self.kind, self.warn, self.delete_sources

    def hold(self, give_id: GiveId, root: str | None) -> None:
        """Give the frame an id, and keep it as it is: whoever passed it may change it for the next one."""
        if isinstance(self.frame, SingleFrame | FrameGroup):
            # What is not valid is refused when it is written, in the words of that.
            with suppress(FramelodeError):
                give_id(self.frame, root)
                self.held = _copied(self.frame)
                self.sources = sources_of(self.held)

    def hold_id(self) -> None:
        """Keep the id that the frame has now: that is all a deletion needs."""
        if isinstance(self.frame, SingleFrame | FrameGroup) and self.frame.id is not None:
            self.held = self.frame.id

    def hand_back(self) -> None:
        """Make the frame that was passed name its uploads, unless its sources were changed since."""
        if self.kind == "delete" or self.held is self.frame:
            return
        uploaded = sources_of(self.held)
        if uploaded != self.sources and sources_of(self.frame) == self.sources:
            put_back(self.frame, uploaded)


def _copied(frame: SingleFrame | FrameGroup) -> SingleFrame | FrameGroup:
    """Return a copy of a frame; it is validated here only if it must be, as writing validates it anyway."""
    if isinstance(frame, SingleFrame) and screen([frame]):
        with suppress(ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            return restore(encode_record(frame), frame.id)
    return copy.copy(frame)
