"""The errors of the datalake. Each is also the error of framelode that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...engine.errors import ConflictError as _ConflictError
from ...engine.errors import FramelodeError, InvalidValueError, StorageError, UsageError
from ...engine.errors import NotFoundError as _NotFoundError

if TYPE_CHECKING:
    from .data import Data


class PicselliaError(FramelodeError):
    """Base class of all errors of the datalake."""

    @property
    def message(self) -> str:
        """The message."""
        return str(self)


class InvalidQueryError(PicselliaError, InvalidValueError):
    """A query is wrong, or matches several data where one is wanted.

    Attributes
    ----------
    line, column : int or None
        Where in the text of the query, from 1; None if the text is not at fault.
    """

    code = InvalidValueError.code
    exit_status = InvalidValueError.exit_status

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line, self.column = line, column


class BadRequestError(PicselliaError, InvalidValueError):
    """An argument is not allowed."""

    code = InvalidValueError.code
    exit_status = InvalidValueError.exit_status


class MissingArgumentError(PicselliaError, UsageError, AssertionError):
    """An argument is missing or empty."""

    code = UsageError.code
    exit_status = UsageError.exit_status


class ResourceNotFoundError(PicselliaError, _NotFoundError):
    """There is no such data, tag, source, processing, job or lake."""

    code = _NotFoundError.code
    exit_status = _NotFoundError.exit_status


class NoDataError(ResourceNotFoundError):
    """No data match, or a `MultiData` would be empty."""


class ResourceConflictError(PicselliaError, _ConflictError):
    """The name is taken."""

    code = _ConflictError.code
    exit_status = _ConflictError.exit_status


class NothingDoneError(PicselliaError, UsageError):
    """No file was uploaded."""

    code = UsageError.code
    exit_status = UsageError.exit_status


class UploadError(PicselliaError):
    """A file could not be uploaded.

    Attributes
    ----------
    path : str or Path
        The path as it was given.
    parent : Exception or None
        The cause.
    """

    def __init__(self, message: str, path: Any, parent: Exception | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.parent = parent

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.path, self.parent)


class UnprocessableData(UploadError):  # noqa: N818 - the SDK's name
    """The content of a file is no readable picture or video. Its data has the status ``ERROR``.

    Attributes
    ----------
    data : Data
        The data.
    """

    def __init__(self, data: Data, path: Any = None) -> None:
        super().__init__(f"{data.filename} is no readable picture or video: {data.reason}", path)
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.data, self.path)


class DownloadError(PicselliaError, StorageError):
    """A content could not be downloaded."""

    code = StorageError.code
    exit_status = StorageError.exit_status


class NoUrlAvailable(DownloadError):  # noqa: N818 - the SDK's name
    """A content has no URL."""


class NoConnectorFound(ResourceNotFoundError):  # noqa: N818 - the SDK's name
    """The lake is not connected to a bucket."""


class FileNotFoundException(ResourceNotFoundError):  # noqa: N818 - the SDK's name
    """There is no such file."""


class WaitingAttemptsTimeout(PicselliaError, TimeoutError):  # noqa: N818 - the SDK's name
    """What was waited for did not happen in time."""


class IllegalJobTransitionError(PicselliaError, _ConflictError):
    """A job cannot go from its status to another one."""

    code = _ConflictError.code
    exit_status = _ConflictError.exit_status


NotFoundError = ResourceNotFoundError
"""Another name of `ResourceNotFoundError`."""

ConflictError = ResourceConflictError
"""Another name of `ResourceConflictError`."""
