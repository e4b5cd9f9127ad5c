"""What encoded frames name that somebody else may delete before they are recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol


class Links(Protocol):
    """The files that frames were made to name while they were encoded."""

    @property
    def guards(self) -> Mapping[str, int]:
        """Streams that must not move until the frames are appended, and their versions."""
        ...

    @property
    def blobs(self) -> Collection[str]:
        """Digests of those that are in the blob store."""
        ...

    def hold(self) -> bool:
        """Say whether none of the files was touched so far; if so, the guards are what they have to be now."""
        ...

    def undo(self, frames: Iterable[Any] | None = None) -> None:
        """Put frames back as they were, all by default, so that they can be encoded again."""
        ...
