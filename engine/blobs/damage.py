"""The blobs that were read with other bytes than their digests name: an empty file for each, beside the blobs."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .backend import DAMAGED, BlobBackend


class Damage:
    """The damaged blobs of a place, listed when that is first asked.

    Parameters
    ----------
    place : BlobBackend
        The place.
    """

    def __init__(self, place: BlobBackend) -> None:
        self._place = place
        self._listed: set[str] | None = None

    def note(self, digests: Iterable[str]) -> None:
        """Remember that blobs are damaged."""
        for digest in digests:
            self._place.write_note(f"{DAMAGED}/{digest}", b"")

    def forget(self, digests: Iterable[str]) -> None:
        """Remember no longer that blobs are damaged: their contents were stored again."""
        for digest in digests:
            self._place.drop_note(f"{DAMAGED}/{digest}")

    def without(self, digests: Collection[str]) -> Collection[str]:
        """Return digests without those of damaged blobs."""
        if not digests:
            return digests
        if self._listed is None:
            self._listed = set(self._place.names(DAMAGED))
        return set(digests) - self._listed if self._listed else digests

    def forget_stored(self, digests: Collection[str]) -> None:
        """Remember no longer of contents just stored that they were listed as damaged."""
        if self._listed:
            self.forget(self._listed.intersection(digests))
