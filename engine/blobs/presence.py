"""The interface by which a blob store finds out which contents are known to be stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from .marker import Marker

Present = Callable[[Sequence[str]], Collection[str]]
"""Returns the given digests that are in a store."""


class PresenceIndex(Protocol):
    """Knows which contents are stored, and confirms new ones."""

    def known(self, digests: Collection[str]) -> Collection[str]:
        """Return the given digests that are completely stored and not marked for deletion."""
        ...

    def is_empty_index(self) -> bool:
        """Whether no contents are known."""
        ...

    def confirm(self, digests: Sequence[str], present: Present) -> list[str]:
        """Unmark contents that were just stored, and return those that are missing again."""
        ...

    def explain(self, digest: str) -> str | None:
        """Return the reason why a blob is not in the store, or None if it is unknown."""
        ...

    def join(self, marker: Marker, place: str) -> Marker:
        """Return the marker that includes the log. Raises `UsageError` if another log uses the store."""
        ...


class EmptyPresenceIndex:
    """Knows no contents, so every content is written."""

    def known(self, digests: Collection[str]) -> Collection[str]:  # noqa: ARG002
        """Return none."""
        return ()

    def is_empty_index(self) -> bool:
        """Return True."""
        return True

    def confirm(self, digests: Sequence[str], present: Present) -> list[str]:  # noqa: ARG002
        """Do nothing: there are no marks."""
        return []

    def explain(self, digest: str) -> str | None:  # noqa: ARG002
        """Return None: the reason is unknown."""
        return None

    def join(self, marker: Marker, place: str) -> Marker:  # noqa: ARG002
        """Return the marker unchanged."""
        return marker
