"""The damaged blobs of a store: an empty file for each, with the blobs."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .backend import DAMAGED, BlobBackend


class Damage:
    """The damaged blobs of a store, listed on first use.

    Parameters
    ----------
    place : BlobBackend
        The place.
    """

    def __init__(self, place: BlobBackend) -> None:
        self._place = place
        self._listed: set[str] | None = None

    def note(self, digests: Iterable[str]) -> None:
        """Record that blobs are damaged."""
        for digest in digests:
            self._place.write_note(f"{DAMAGED}/{digest}", b"")

    def forget(self, digests: Iterable[str]) -> None:
        """Delete the records of damaged blobs, after their contents were stored again."""
        for digest in digests:
            self._place.drop_note(f"{DAMAGED}/{digest}")

    def without(self, digests: Collection[str]) -> Collection[str]:
        """Return the digests without those of damaged blobs."""
        if not digests:
            return digests
        if self._listed is None:
            self._listed = set(self._place.names(DAMAGED))
        return set(digests) - self._listed if self._listed else digests

    def forget_stored(self, digests: Collection[str]) -> None:
        """Delete the records of damaged blobs that were just stored."""
        if self._listed:
            self.forget(self._listed.intersection(digests))
