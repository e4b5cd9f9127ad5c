"""Runs a command: each part is decided and appended, and retried if another writer interferes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self, TypeVar

import msgspec

from ..errors import ConcurrencyError, ConflictError
from ..validation import check_name
from .batch import AppendHeader, Batch
from .context import current_context
from .contract import Append, AppendExistsError, Log, StreamConflictError

TRIES = 1000

_PATIENCE = 5
"""Failed tries after which all other writers are excluded."""

Result = TypeVar("Result")

_NO_LOCK = nullcontext()
_NO_GUARDS: Mapping[str, int] = {}


class Command(msgspec.Struct, kw_only=True):
    """A command that is running.

    Attributes
    ----------
    id : str
        Its id.
    is_repeatable : bool
        The id was passed by the caller, so a repetition of the command must have no effect.
    part : int
        Number of the current part.
    is_last : bool
        No part follows.
    digest : bytes
        Digest of the request up to the current part.
    """

    id: str
    is_repeatable: bool
    part: int = 0
    is_last: bool = True
    digest: bytes = b""

    @classmethod
    def begin(cls, command_id: str | None, new_id: Callable[[], str], **values: Any) -> Self:
        """Return a command with the given id or a new one. `values` are its other attributes."""
        if command_id is None:
            return cls(id=new_id(), is_repeatable=False, **values)
        return cls(id=check_name(command_id, "command_id"), is_repeatable=True, **values)

    def append_of(
        self,
        batches: Sequence[Batch],
        result: bytes,
        guards: Mapping[str, int] = _NO_GUARDS,
        decided_at: int | None = None,
    ) -> Append:
        """Return the append that records the current part."""
        context = current_context()
        return Append(
            batches=batches,
            command_id=self.id,
            part=self.part,
            is_last=self.is_last,
            request_digest=self.digest,
            actor=context.actor,
            context=context.encoded,
            result=result,
            guards=guards,
            decided_at=decided_at,
        )

    def find_recorded(self, log: Log) -> AppendHeader | None:
        """Return the header of the current part if it was recorded before, otherwise None.

        Raises
        ------
        ConflictError
            The id was used for a different request.
        """
        recorded = log.find_append(self.id, self.part)
        if recorded is not None and recorded.request_digest != self.digest:
            raise ConflictError(
                f"part {self.part} of command {self.id} was recorded for another request: "
                "pass a different command id for the new request"
            )
        return recorded


def run_decided(
    log: Log,
    command: Command,
    subject: str,
    decide: Callable[[], Result | None],
    repeated: Callable[[AppendHeader], Result],
    *,
    prepare: Callable[[], object] | None = None,
    on_conflict: Callable[[str], object] | None = None,
    turn: AbstractContextManager[object] = _NO_LOCK,
    alone: bool = False,
) -> Result:
    """Decide and append one part of a command, and retry while other writers interfere.

    Parameters
    ----------
    log : Log
        The log.
    command : Command
        The command. If it is repeatable, the log is first searched for it.
    subject : str
        Name of what the command writes to, for messages.
    decide : callable
        Decides against the current log, appends, and returns the result; None to be called again.
    repeated : callable
        Returns the result of a part that was recorded before.
    prepare : callable, optional
        Called before each try, while others can still write.
    on_conflict : callable, optional
        Called with the stream that another writer appended to.
    turn : context manager
        Held during each try.
    alone : bool
        Exclude other writers from the first try on, because the decision depends on streams that it does not write to.

    Raises
    ------
    ConflictError
        The command id was used for a different request.
    ConcurrencyError
        Other writers interfered in every try.
    """
    is_known = command.is_repeatable
    for tries in range(TRIES):
        recorded = command.find_recorded(log) if is_known else None
        if recorded is not None:
            return repeated(recorded)
        if prepare is not None:
            prepare()
        try:
            with turn, patiently(log, TRIES if alone else tries):
                result = decide()
        except StreamConflictError as error:
            if on_conflict is not None:
                on_conflict(error.stream_id)
        except AppendExistsError:
            is_known = True
        else:
            if result is not None:
                return result
    raise ConcurrencyError(f"{subject}: other writers interfered {TRIES} times: call again")


def patiently(log: Log, tries: int) -> AbstractContextManager[None]:
    """Return the context for a try: after a few failed tries, it excludes all other writers."""
    return log.exclusive() if tries >= _PATIENCE and log.reads_while_writing else nullcontext()
