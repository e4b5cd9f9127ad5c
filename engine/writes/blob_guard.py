"""Keeps frames from naming blobs that are condemned or deleted."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from ..blobs.ledger import BlobLedger
from ..blobs.uris import digests_named
from ..events.domain import BLOBS
from ..log.contract import StreamConflictError
from .decisions import Decided
from .encoder import Refusal

NO_GUARDS: Mapping[str, int] = {}


class BlobGuard:
    """Looks at the blobs that frames name; frames without any cost a search of their bytes.

    Parameters
    ----------
    ledger : BlobLedger
        Which blobs are banned.
    """

    def __init__(self, ledger: BlobLedger) -> None:
        self._ledger = ledger

    def admit(self, decided: Decided, uploaded: Collection[str] = ()) -> Mapping[str, int]:
        """Refuse the changes that name banned blobs.

        Parameters
        ----------
        uploaded : collection of str
            Digests of blobs that the changes came to name by uploads, which can be made again.

        Returns
        -------
        mapping of str to int
            Streams that must not move until the rest is appended, and their versions.

        Raises
        ------
        StreamConflictError
            One of those uploaded was condemned since.
        """
        named = digests_named(decided.changes.payloads)
        if not named:
            return NO_GUARDS
        version, banned = self._ledger.banned(named)
        if not banned.isdisjoint(uploaded):
            raise StreamConflictError(BLOBS.id, version - 1, version)
        if banned:
            self._refuse(decided, banned)
        return {BLOBS.id: version}

    def has_moved(self, guards: Mapping[str, int]) -> bool:
        """Say whether a stream moved since changes were admitted."""
        return bool(guards) and self._ledger.version() != guards[BLOBS.id]

    def _refuse(self, decided: Decided, banned: set[str]) -> None:
        changes = decided.changes
        keep = np.ones(len(changes), bool)
        for index, payload in enumerate(changes.payloads):
            lost = sorted(digests_named([payload]) & banned)
            if lost:
                keep[index] = False
                message = (
                    f"frame {changes.ids[index]!r} names blob {lost[0]}, which garbage collection condemned or "
                    "deleted while nothing referred to it: store its content again, then add the frame"
                )
                for frame in (*decided.merged.get(changes.ids[index], ()), decided.frames[index]):
                    decided.refusals.append(Refusal(frame, message))
        decided.keep(keep)
