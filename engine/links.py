"""What encoded frames name that somebody else may delete before they are recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Links(Protocol):
    """The files that frames were made to name while they were encoded."""

    @property
    def guards(self) -> Mapping[str, int]:
        """Streams that must not move until the frames are appended, and their versions."""
        ...

    def hold(self) -> bool:
        """Say whether none of the files was touched so far; if so, the guards are what they have to be now."""
        ...

    def undo(self) -> None:
        """Put the frames back as they were, so that they can be encoded again."""
        ...
