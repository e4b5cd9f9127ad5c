"""What a blob store asks before it relies on a content that it holds already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class Vouching(Protocol):
    """Knows which contents can be relied on, and takes new ones into account."""

    def known(self) -> Callable[[str], bool]:
        """Return what says of a digest whether it was stored whole and is on nobody's list to be deleted.

        It is asked for many digests, from several threads.
        """
        ...

    def vouch(self, digests: Sequence[str], is_present: Callable[[str], bool]) -> list[str]:
        """Take contents just stored off the list of those to be deleted; returns the ones that are gone by now."""
        ...


class NothingKnown:
    """Relies on nothing: every content is written."""

    def known(self) -> Callable[[str], bool]:
        """Return what says no."""
        return lambda _: False

    def vouch(self, digests: Sequence[str], is_present: Callable[[str], bool]) -> list[str]:  # noqa: ARG002
        """Do nothing: no list is kept."""
        return []
