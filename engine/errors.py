"""The error classes, grouped by what a caller can do about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


def _shown(message: str) -> str:
    """Return a message without secrets of URLs."""
    from .secrets import redact

    return redact(message)


class FramelodeError(Exception):
    """Base class of all framelode errors.

    Attributes
    ----------
    code : str
        Stable name of the kind of error, for use in programs.
    exit_status : int
        Exit status of the command line for this error.
    """

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1

    def __init__(self, *args: object) -> None:
        super().__init__(*(_shown(arg) if isinstance(arg, str) else arg for arg in args))

    def __str__(self) -> str:
        """Return the message, where `KeyError` would return its repr."""
        return str(self.args[0]) if self.args else ""


class UsageError(FramelodeError, RuntimeError):
    """The call is wrong. Correct it and call again."""

    code = "usage"
    exit_status = 2


class InvalidValueError(UsageError, ValueError):
    """A value is invalid. The message gives the field, the value and what is allowed."""

    code = "invalid-value"


class InvalidQueryError(InvalidValueError):
    """A query is wrong. The message gives the place, what was found there and what is allowed.

    Attributes
    ----------
    line, column : int or None
        Where in the text of the query, from 1; None if the query is no text, or the text is not at fault.
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line, self.column = line, column


class InvalidTypeError(UsageError, TypeError):
    """A value has the wrong type. The message gives the field, the value and what is allowed."""

    code = "invalid-type"


class NotFoundError(FramelodeError, KeyError, ValueError):
    """The requested object does not exist. It is also a `ValueError`, which ClearML raises in this case."""

    code = "not-found"
    exit_status = 4


class ConflictError(FramelodeError, ValueError):
    """The request conflicts with recorded data."""

    code = "conflict"
    exit_status = 5


class ConcurrencyError(ConflictError):
    """Other writers changed the data during the call. A retry may succeed."""

    code = "concurrency"


class PublishedError(ConflictError):
    """The version is published or removed, so it cannot be changed."""

    code = "published"


class FramesRejected(FramelodeError):  # noqa: N818 - a report of rejected frames, named as in the specification
    """Some frames were rejected. All others were recorded.

    Attributes
    ----------
    failures : list of dict
        One ``{"frame", "error", "error_type"}`` for each rejected frame.
    """

    code = "frames-rejected"

    def __init__(self, failures: list[dict[str, Any]]) -> None:
        first = failures[0]["error"] if failures else ""
        several = f"{len(failures)} frames were rejected; the first"
        super().__init__(f"{'a frame was rejected' if len(failures) == 1 else several}: {first}")
        self.failures = failures

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the failures when an error of a worker process is pickled."""
        return type(self), (self.failures,), self.__dict__


class IntegrityError(FramelodeError):
    """Stored data is damaged or was altered.

    Attributes
    ----------
    position : int or None
        Position of the first affected event, if known.
    file : str or None
        The file or database that is damaged, if known.
    problems : tuple of str
        All problems that a check found. The message describes the first.
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
    """Stored bytes match their digests but cannot be decoded. Reading them again does not help."""


class StorageError(FramelodeError):
    """A file system, object store or database failed, after retries where they help."""

    code = "storage"
    exit_status = 6
