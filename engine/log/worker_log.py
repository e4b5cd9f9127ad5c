"""Opens a log in a worker process, and checks that it is the right one."""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import msgspec

from ..errors import StorageError, UsageError
from .contract import Log


class WorkerLog(msgspec.Struct, frozen=True):
    """What a worker opens a log by, in any process on any machine; it can be pickled.

    Attributes
    ----------
    open : callable
        Opens it; what `Log.opener` returned.
    uuid : str
        The log's identity.
    name : str
        What messages call it.
    position : int
        The position of an event that it holds.
    """

    open: Callable[[], AbstractContextManager[Log]]
    uuid: str
    name: str
    position: int

    @contextmanager
    def __call__(self) -> Generator[Log, None, None]:
        """Open it for reading.

        Raises
        ------
        UsageError
            It is not to be found here, or there is another one.
        """
        with ExitStack() as stack:
            try:
                log = stack.enter_context(self.open())
            except (UsageError, StorageError) as error:
                raise UsageError(f"a worker on {_here()} cannot open the log: {error}. {_ADVICE}") from error
            self._require_same(log)
            yield log

    def _require_same(self, log: Log) -> None:
        found = log.uuid
        if found != self.uuid:
            message = (
                f"a worker on {_here()} finds another log in {self.name}: {found}, not {self.uuid}. {_ADVICE}"
            )
            raise UsageError(message)
        head = log.head().position
        if head < self.position:
            message = (
                f"a worker on {_here()} finds an older copy of the log in {self.name}: it ends at position {head}, "
                f"not {self.position} or later. {_ADVICE}"
            )
            raise UsageError(message)


_ADVICE = "Workers read the log where you have it: one in a folder is seen from other machines only if they share it"


def worker_log(log: Log) -> WorkerLog:
    """Return what workers open a log by; `UsageError` if other processes cannot."""
    return WorkerLog(log.opener(), log.uuid, log.name, log.head().position)


def require_read(log: Log, position: int, digest: bytes) -> None:
    """Raise `UsageError` if what a worker read has another digest than the log: it read a copy that went its own way."""
    if log.batch_at(position).digest != digest:
        message = f"workers read another log than {log.name}: it has another digest at position {position}. {_ADVICE}"
        raise UsageError(message)


def _here() -> str:
    return platform.node() or "this machine"
