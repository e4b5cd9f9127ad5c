"""States of versions at an earlier position, computed from the current state if that is faster."""

from __future__ import annotations

from ...engine.log.prefix import LogPrefix
from .cache import ParentOf, StateCache
from .fingerprint import Fingerprint
from .fold import State


class PastStates(StateCache):
    """The states of versions over a prefix of the log.

    A version without later changes shares the memory of its current state. Another one is replayed from a snapshot that is
    old enough, or from its parent.

    Parameters
    ----------
    log : LogPrefix
        The log up to a position.
    parent_of : callable
        Returns the parent id of a version, or None.
    present : StateCache
        The states of the whole log.
    """

    def __init__(self, log: LogPrefix, parent_of: ParentOf, present: StateCache) -> None:
        super().__init__(log, parent_of)
        self._position = log.position
        self._present = present
        self.rows = present.rows

    def fingerprint(self, version_id: str) -> Fingerprint:
        """Return the fingerprint of a version at the position."""
        version = self._log.stream_version(version_id)
        same = version and self._present.fingerprint_before(version_id, self._position, version)
        return same or super().fingerprint(version_id)

    def _load(self, version_id: str) -> State | None:
        version = self._log.stream_version(version_id)
        return None if version is None else self._present.before(version_id, self._position, version)
