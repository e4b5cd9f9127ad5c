"""The errors of the datalake. Each is also the error of framelode that fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...engine.errors import ConflictError as _ConflictError
from ...engine.errors import FramelodeError, InvalidValueError, StorageError, UsageError
from ...engine.errors import InvalidQueryError as _InvalidQueryError
from ...engine.errors import NotFoundError as _NotFoundError

if TYPE_CHECKING:
    from .data import Data


class PicselliaError(FramelodeError):
    """Base class of all errors of the datalake."""

    @property
    def message(self) -> str:
        """The message."""
        return str(self)


class InvalidQueryError(PicselliaError, _InvalidQueryError):
    """A query is wrong, or matches several data where one is wanted.

    Attributes
    ----------
    line, column : int or None
        Where in the text of the query, from 1; None if the text is not at fault.
    """

    code = _InvalidQueryError.code
    exit_status = _InvalidQueryError.exit_status


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


class CustomMetadataSchemaUpdateError(PicselliaError):
    """Keys of a schema could not be changed.

    Attributes
    ----------
    errors : dict
        The error of each key.
    """

    def __init__(self, errors: dict[str, Exception]) -> None:
        told = "; ".join(f"{key}: {error}" for key, error in errors.items())
        super().__init__(f"{len(errors):,} keys of the schema could not be changed: {told}")
        self.errors = errors

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors,)


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


class NotAvailableError(PicselliaError, UsageError, AttributeError):
    """A part of the SDK that needs the service behind it."""

    code = UsageError.code
    exit_status = UsageError.exit_status


_SIMILARITY = (
    "it needs embeddings, which are computed by the service of the SDK: use list_data(q=) or find_data"
)
_CHARTS = "charts are drawn by the service of the SDK: count what list_data(q=) returns"

_NOT_AVAILABLE = {
    **dict.fromkeys(
        (
            *("similar_search", "visual_search", "text_search", "embeddings_computation_status"),
            *("count_embeddings", "list_embeddings", "embeddings"),
        ),
        _SIMILARITY,
    ),
    **dict.fromkeys(("create_chart", "list_charts"), _CHARTS),
    "get_resource_url_on_platform": "there is no platform: Data.url is the URL of a content",
}


def not_available(owner: str, name: str) -> AttributeError:
    """Return the error about an attribute that does not exist, with the reason if the SDK has it."""
    if name in _NOT_AVAILABLE:
        return NotAvailableError(f"{owner}.{name} does not exist: {_NOT_AVAILABLE[name]}")
    return AttributeError(f"{owner!r} object has no attribute {name!r}")


class ServiceError(PicselliaError):
    """Base class of the SDK's errors about its service, which is not called: they are never raised."""


class NetworkError(ServiceError):
    """The service cannot be reached."""


class DistantStorageError(ServiceError):
    """The storage of the service failed."""


class UnauthorizedError(ServiceError):
    """The service answered 401."""


class InsufficientResourcesError(ServiceError):
    """The service answered 402."""


class ForbiddenError(ServiceError):
    """The service answered 403."""


class RequestTooLargeError(ServiceError):
    """The service answered 413."""


class ResourceLockedError(ServiceError):
    """The service answered 423."""


class TooManyRequestError(ServiceError):
    """The service answered 429."""


class InternalServerError(ServiceError):
    """The service answered 500."""


class BadGatewayError(ServiceError):
    """The service answered 502."""


class UndefinedObjectError(ServiceError):
    """The service sent an object that is not known."""


class WrongJobVersionError(ServiceError):
    """A job is of another version of the service."""


class NotSupportedJobVersionError(ServiceError):
    """A job is of a version of the service that is not supported."""


NotFoundError = ResourceNotFoundError
"""Another name of `ResourceNotFoundError`."""

ConflictError = ResourceConflictError
"""Another name of `ResourceConflictError`."""
