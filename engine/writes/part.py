"""One part of a command on frames, on its way into the log: encode, decide, pack, append."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from ..canonical import digest_of
from ..datasets.state import VersionState
from ..keys import U64, Operation, Rows, key_columns
from ..log.batch import AppendHeader, Batch
from ..log.command import Command
from ..log.contract import Log
from ..log.frame_batch import FrameChanges, pack_frame_batch
from ..sources.ledger import SourceLedger, condemnation
from .blob_guard import NO_GUARDS, BlobGuard
from .decisions import DELETED, Decided, Request
from .encoder import Refusal
from .report import WriteReport


class FrameCommand(Command, kw_only=True):
    """A command on the frames of a version.

    Attributes
    ----------
    version_id : str
        The version.
    batch_size : int
        Most frames of one record batch.
    recorded : AppendHeader or None
        The last part that was recorded before.
    draft_at : int
        A version of the stream up to which the version is known to be a draft.
    """

    version_id: str
    batch_size: int
    recorded: AppendHeader | None = None
    draft_at: int = -1

    def holds(self, part: int) -> bool:
        """Say whether a part was recorded before."""
        return self.recorded is not None and part <= self.recorded.part

    def apart(self, command_id: str) -> FrameCommand:
        """Return a command of its own for frames of this one whose iterator raised.

        A repetition of this command then finds them in the version and goes on with whole parts.
        """
        return msgspec.structs.replace(self, id=command_id, is_repeatable=False, recorded=None, part=0)


class KnownBatch(msgspec.Struct, frozen=True, gc=False):
    """A recorded batch that only adds frames, or only updates frames, and names no blobs.

    Attributes
    ----------
    first_position : int
        Its first position.
    body_digest : bytes
        Its digest.
    records : list
        The `SingleFrame`, `FrameGroup` or `PlainFrame` of each event, if it adds frames.
    changed : set of str
        Names of the fields in which frames differ from what they replace, if it updates frames.
    """

    first_position: int
    body_digest: bytes
    records: list[Any]
    changed: set[str]


Prepare = Callable[[], tuple[Request, list[Refusal]]]


class Part:
    """One part of a command, with what was encoded and decided of it so far.

    Parameters
    ----------
    command : FrameCommand
        The command, at this part.
    prepare : callable
        Encodes the part; called again when files that its frames were linked to were deleted meanwhile.
    """

    def __init__(self, command: FrameCommand, prepare: Prepare) -> None:
        self.command = command
        self._prepare = prepare
        self._before = command.digest
        self.encode()

    def encode(self) -> None:
        """Encode the frames, and forget what was decided."""
        self.request, self.refusals = self._prepare()
        self.batches: list[tuple[Batch, Rows]] = []
        self.report = WriteReport()
        self._found: U64 | None = None
        self._condemned: list[str] = []
        self._guards: Mapping[str, int] = NO_GUARDS
        self._records: list[Any] = []
        self._changed: list[set[str]] = []
        command = self.command
        if command.is_repeatable:
            ending = b"last" if command.is_last else b"more"
            parts = (self._before, command.version_id.encode(), ending, self.request.digest())
            command.digest = digest_of(*parts)

    def renew(self) -> None:
        """Encode the part again if what its frames were linked to is gone, or about to go."""
        if not self.holds():
            self.put_back()
            self.encode()

    def holds(self) -> bool:
        """Say whether all is there that its frames were linked to; if so, the guards are what they have to be now."""
        return self.request.links is None or self.request.links.hold()

    def put_back(self, frames: Iterable[Any] | None = None) -> None:
        """Make frames that are not recorded, all by default, name what they did before their files were uploaded."""
        if self.request.links is not None:
            self.request.links.undo(frames)

    def decide(self, state: VersionState, blobs: BlobGuard) -> None:
        """Decide against a state, and pack; what was decided stands while nothing that it rests on has changed."""
        found = state.find(*key_columns(self.request.keys))
        is_new = self._found is None or not np.array_equal(self._found, found)
        if not is_new and not blobs.has_moved(self._guards):
            return
        decided = self.request.decide(state, found)
        links = self.request.links
        self._guards = blobs.admit(decided, links.blobs if links is not None else ())
        self._found = found
        self.pack(decided, found)

    def pack(self, decided: Decided, found: U64) -> None:
        """Pack what was decided into record batches.

        Parameters
        ----------
        decided : Decided
            The changes.
        found : ndarray of uint64
            Where each key was last seen.
        """
        counts = np.bincount(decided.changes.operations, minlength=Operation.DELETE + 1)
        self.report = WriteReport(
            added=int(counts[Operation.ADD]),
            updated=int(counts[Operation.UPDATE]),
            deleted=int(counts[Operation.DELETE]),
            unchanged=decided.unchanged,
            unknown=decided.unknown,
            duplicates=decided.duplicates,
            refusals=decided.refusals,
            overwritten=[held] if len(held := found[(found != 0) & (found < DELETED)]) else [],
        )
        cut = list(decided.changes.cut(self.command.batch_size))
        self.batches = [pack_frame_batch(self.command.version_id, 0, changes) for changes in cut]
        self._condemned = decided.condemned
        self._records = decided.records
        self._changed = [_changed_fields(changes) for changes in cut]

    def known(self) -> Iterator[KnownBatch]:
        """Yield the batches whose content is known and names no blobs; call it after `append`."""
        start, position = 0, self._first_position
        for (batch, _), changed in zip(self.batches, self._changed, strict=True):
            records = self._records[start : start + batch.count]
            if (records or changed) and not self._guards:
                yield KnownBatch(position, batch.body_digest, records, changed)
            start, position = start + batch.count, position + batch.count

    def append(self, log: Log, version: int, sources: SourceLedger) -> AppendHeader:
        """Append the batches.

        Parameters
        ----------
        log : Log
            The log.
        version : int
            Version of the stream that they follow.
        sources : SourceLedger
            The stream of the sources that are to be deleted with their frames.
        """
        numbered: list[Batch] = []
        for batch, _ in self.batches:
            numbered.append(msgspec.structs.replace(batch, first_version=version + 1))
            version += batch.count
        if self._condemned:
            numbered.append(condemnation(self._condemned, sources.version()))
        links = self.request.links
        guards = self._guards if links is None else {**self._guards, **links.guards}
        header = log.append(self.command.append_of(numbered, self.report.encode(), guards))
        self._first_position = header.first_position
        return header


def _changed_fields(changes: FrameChanges) -> set[str]:
    """Return the names of the fields in which frames differ from what they replace; none if some of them replace nothing."""
    are_updates = len(changes.changed) == len(changes)
    return set(chain.from_iterable(changes.changed.values())) if are_updates else set()
