"""One part of a command on its way into the log, through as many tries as it takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from ..canonical import digest_of
from ..keys import U64, Operation, Rows
from ..log.batch import AppendHeader, Batch
from ..log.frame_batch import pack_frame_batch
from .blob_guard import NO_GUARDS
from .decisions import DELETED, Decided, Request
from .encoder import Refusal
from .report import WriteReport


class Command(msgspec.Struct):
    """A command that is being run.

    Attributes
    ----------
    repeatable : bool
        Its id was given, so that it may be run again.
    recorded : AppendHeader or None
        The last part that was recorded before.
    draft_at : int
        A version of the stream up to which the version is known to be a draft.
    request_digest : bytes
        Identifies the request up to the part at hand.
    """

    command_id: str
    repeatable: bool
    recorded: AppendHeader | None
    batch_size: int
    draft_at: int = -1
    request_digest: bytes = b""

    def holds(self, number: int) -> bool:
        """Say whether a part was recorded before."""
        return self.recorded is not None and number <= self.recorded.part

    def apart(self, command_id: str) -> Command:
        """Return a command of its own for frames of this one whose iterator raised.

        A repetition of this command then finds them in the version and goes on with whole parts.
        """
        return msgspec.structs.replace(self, command_id=command_id, repeatable=False, recorded=None)


class Packed(msgspec.Struct):
    """What a part comes to, decided where each key was last seen at `found`; None before the first decision."""

    found: U64 | None = None
    batches: list[tuple[Batch, Rows]] = []
    report: WriteReport = msgspec.field(default_factory=WriteReport)
    condemned: list[str] = []
    guards: Mapping[str, int] = NO_GUARDS

    def numbered(self, first_version: int) -> list[Batch]:
        """Return the batches with the stream versions that follow each other from `first_version`."""
        numbered: list[Batch] = []
        for batch, _ in self.batches:
            numbered.append(msgspec.structs.replace(batch, first_version=first_version))
            first_version += batch.count
        return numbered


Prepare = Callable[[], tuple[Request, list[Refusal]]]


class Attempt:
    """A part of a command, with what was encoded and decided of it so far.

    Parameters
    ----------
    version_id : str
        The version written to.
    prepare : callable
        Encodes the part; called again when files that its frames were linked to were deleted meanwhile.
    command : Command
        The command.
    number : int
        Number of the part.
    is_last : bool
        No part follows.
    """

    def __init__(
        self, version_id: str, prepare: Prepare, command: Command, number: int, *, is_last: bool
    ) -> None:
        self.version_id = version_id
        self.command = command
        self.number = number
        self.is_last = is_last
        self._prepare = prepare
        self._before = command.request_digest
        self._encode()

    def renew(self) -> None:
        """Encode the part again if what its frames were linked to is gone, or about to go."""
        if not self.holds():
            self.put_back()
            self._encode()

    def holds(self) -> bool:
        """Say whether all is there that its frames were linked to; if so, the guards are what they have to be now."""
        return self.request.links is None or self.request.links.hold()

    @property
    def uploaded(self) -> Collection[str]:
        """Digests of the blobs that were stored for its frames."""
        return self.request.links.blobs if self.request.links is not None else ()

    def put_back(self, frames: Iterable[Any] | None = None) -> None:
        """Make frames that are not recorded, all by default, name what they did before their files were uploaded."""
        if self.request.links is not None:
            self.request.links.undo(frames)

    @property
    def digest(self) -> bytes:
        """What identifies the request up to here; only a command that may be repeated needs to be recognised."""
        return self.command.request_digest

    @property
    def guards(self) -> Mapping[str, int]:
        """Streams that must not have moved when the part is appended."""
        links = self.request.links
        return self.packed.guards if links is None else {**self.packed.guards, **links.guards}

    def pack(self, decided: Decided, found: U64, guards: Mapping[str, int]) -> None:
        """Pack what was decided."""
        counts = np.bincount(decided.changes.operations, minlength=Operation.DELETE + 1)
        report = WriteReport(
            added=int(counts[Operation.ADD]),
            updated=int(counts[Operation.UPDATE]),
            deleted=int(counts[Operation.DELETE]),
            unchanged=decided.unchanged,
            unknown=decided.unknown,
            duplicates=decided.duplicates,
            refusals=decided.refusals,
            overwritten=[held] if len(held := found[(found != 0) & (found < DELETED)]) else [],
        )
        cut = decided.changes.cut(self.command.batch_size)
        batches = [pack_frame_batch(self.version_id, 0, changes) for changes in cut]
        self.packed = Packed(found, batches, report, decided.condemned, guards)

    def _encode(self) -> None:
        self.request, self.refusals = self._prepare()
        self.packed = Packed()
        if self.command.repeatable:
            ending = b"last" if self.is_last else b"more"
            parts = (self._before, self.version_id.encode(), ending, self.request.digest())
            self.command.request_digest = digest_of(*parts)
