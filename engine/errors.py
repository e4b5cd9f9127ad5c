"""The error tree, grouped by what a caller would do about an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


def _shown(message: str) -> str:
    """Return a message without secrets of URLs, whatever it is made of."""
    from .secrets import redact

    return redact(message)


class FramelodeError(Exception):
    """Base of every error that framelode raises on purpose.

    Attributes
    ----------
    code : str
        Stable name of the kind of error, for programs.
    exit_status : int
        Exit status of the command line for this kind.
    """

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1

    def __init__(self, *args: object) -> None:
        super().__init__(*(_shown(arg) if isinstance(arg, str) else arg for arg in args))

    def __str__(self) -> str:
        """Return the message itself (`KeyError` would show its repr)."""
        return str(self.args[0]) if self.args else ""


class UsageError(FramelodeError, RuntimeError):
    """The call cannot work as written: correct it and call again."""

    code = "usage"
    exit_status = 2


class InvalidValueError(UsageError, ValueError):
    """A value is refused; the message names the field, the value and what is allowed."""

    code = "invalid-value"


class InvalidTypeError(UsageError, TypeError):
    """A value is of a type that is refused; the message names the place, the value and what is allowed."""

    code = "invalid-type"


class NotFoundError(FramelodeError, KeyError):
    """What was asked for does not exist."""

    code = "not-found"
    exit_status = 4


class ConflictError(FramelodeError, ValueError):
    """The request contradicts what is recorded."""

    code = "conflict"
    exit_status = 5


class ConcurrencyError(ConflictError):
    """Other writers kept winning; calling again may succeed."""

    code = "concurrency"


class PublishedError(ConflictError):
    """The version is published or removed and takes no more changes."""

    code = "published"


class FramesRejected(FramelodeError):  # noqa: N818 - a report of refused frames, named as the spec names it
    """Some frames were refused; all others were recorded.

    Attributes
    ----------
    failures : list of dict
        One ``{"frame", "error", "error_type"}`` for each refused frame.
    """

    code = "frames-rejected"

    def __init__(self, failures: list[dict[str, Any]]) -> None:
        first = failures[0]["error"] if failures else ""
        several = f"{len(failures)} frames were refused; the first"
        super().__init__(f"{'a frame was refused' if len(failures) == 1 else several}: {first}")
        self.failures = failures

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the failures: what a worker process raises has to arrive."""
        return type(self), (self.failures,), self.__dict__


class IntegrityError(FramelodeError):
    """Stored data is damaged or was altered: stop and look.

    Attributes
    ----------
    position : int or None
        Position in the log of the first event affected, when known.
    file : str or None
        The file or database that holds the damage.
    problems : tuple of str
        Everything that a check found wrong; the message is about the first.
    """

    code = "integrity"
    exit_status = 3

    def __init__(
        self,
        message: str,
        *,
        position: int | None = None,
        file: str | None = None,
        problems: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.position = position
        self.file = None if file is None else _shown(file)
        self.problems = tuple(map(_shown, problems or (message,)))


class UnreadableError(IntegrityError):
    """Recorded bytes agree with their digests but are not what framelode writes: to read them again does not help."""


class StorageError(FramelodeError):
    """A file system or database did not do its work; retried where that helps, then raised."""

    code = "storage"
    exit_status = 6
