"""What commands need to know of a version's state; the projections provide it."""

from __future__ import annotations

from typing import Protocol

from ..keys import U64, Rows


class VersionState(Protocol):
    """The frames of one version at one version of its stream."""

    version: int
    total: int

    def find(self, hi: U64, lo: U64) -> U64:
        """Return the position of each key's last event, the top bit set for a delete, 0 for none."""
        ...

    def rows(self, positions: U64) -> Rows:
        """Return the key rows of events of the version or its ancestors."""
        ...


class VersionFingerprint(Protocol):
    """The fingerprint of a version's content."""

    @property
    def root(self) -> str:
        """64 hex digits."""
        ...

    @property
    def total(self) -> int:
        """Number of frames."""
        ...


class VersionStates(Protocol):
    """The states of all versions, level with the log."""

    def current(self, version_id: str) -> VersionState:
        """Return the state of a version at the head of the log."""
        ...

    def recorded(self, version_id: str, rows: Rows, first_position: int, first_version: int) -> None:
        """Take in a batch that was just appended."""
        ...

    def fingerprint(self, version_id: str) -> VersionFingerprint:
        """Return the fingerprint of a version's content at the head of the log."""
        ...
