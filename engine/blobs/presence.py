"""What a blob store asks before it relies on a content that it holds already."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from .marker import Marker

Present = Callable[[Sequence[str]], Collection[str]]
"""Says which of some contents are in a store."""


class PresenceIndex(Protocol):
    """Knows which contents can be relied on, and takes new ones into account."""

    def known(self, digests: Collection[str]) -> Collection[str]:
        """Return those of some contents that were stored whole and are on nobody's list to be deleted."""
        ...

    def is_empty_index(self) -> bool:
        """Say whether no content at all can be relied on."""
        ...

    def confirm(self, digests: Sequence[str], present: Present) -> list[str]:
        """Take contents just stored off the list of those to be deleted; returns the ones that are gone by now."""
        ...

    def explain(self, digest: str) -> str | None:
        """Return what became of a content that is not in the store, None when that is not known."""
        ...

    def join(self, marker: Marker, place: str) -> Marker:
        """Return the marker that a store must have before it is written to; `UsageError` when it is another log's."""
        ...


class EmptyPresenceIndex:
    """Relies on nothing: every content is written."""

    def known(self, digests: Collection[str]) -> Collection[str]:  # noqa: ARG002
        """Return none."""
        return ()

    def is_empty_index(self) -> bool:
        """Return True."""
        return True

    def confirm(self, digests: Sequence[str], present: Present) -> list[str]:  # noqa: ARG002
        """Do nothing: no list is kept."""
        return []

    def explain(self, digest: str) -> str | None:  # noqa: ARG002
        """Return None: nobody knows."""
        return None

    def join(self, marker: Marker, place: str) -> Marker:  # noqa: ARG002
        """Return the marker as it is."""
        return marker
