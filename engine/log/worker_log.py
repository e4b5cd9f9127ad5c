"""Opens a log in a worker process, and checks that it is the right one."""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import msgspec

from ..errors import StorageError, UsageError
from .contract import Log


class WorkerLog(msgspec.Struct, frozen=True):
    """A picklable reference to a log, with which a worker opens it in any process on any machine.

    Attributes
    ----------
    open : callable
        Opens the log; the result of `Log.opener`.
    uuid : str
        Identity of the log.
    name : str
        Name of the log in messages.
    position : int
        A position that the log must contain.
    """

    open: Callable[[], AbstractContextManager[Log]]
    uuid: str
    name: str
    position: int

    @contextmanager
    def __call__(self) -> Generator[Log, None, None]:
        """Open the log for reading.

        Raises
        ------
        UsageError
            The log does not exist there, or is another one.
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


_ADVICE = "Workers open the log at the same location: other machines can read a log in a folder only if they share it"


def worker_log(log: Log) -> WorkerLog:
    """Return the reference with which workers open a log. Raises `UsageError` if other processes cannot."""
    return WorkerLog(log.opener(), log.uuid, log.name, log.head().position)


def require_read(log: Log, position: int, digest: bytes) -> None:
    """Raise `UsageError` if a worker read another digest than the log has, because it read a diverged copy."""
    if log.batch_at(position).digest != digest:
        message = f"workers read another log than {log.name}: it has another digest at position {position}. {_ADVICE}"
        raise UsageError(message)


def _here() -> str:
    return platform.node() or "this machine"
