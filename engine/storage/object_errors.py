"""Interprets the errors of object store libraries: whether a name is taken, and whether a retry can help."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from ..secrets import redact

_TAKEN = {"PreconditionFailed", "ConditionNotMet", "BlobAlreadyExists", "412"}
_PERMANENT_ERRNOS = {errno.EPERM, errno.EACCES, errno.ENAMETOOLONG, errno.EMSGSIZE, errno.ENOSPC, errno.EROFS}
_WAITING_CODES = {"RequestTimeout", "SlowDown", "ServerBusy", "OperationTimedOut"}
_WAITING_STATUSES = {408, 409, 423, 425, 429}
_EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("az", "abfs", "abfss", "azure"), "azure"),
    **dict.fromkeys(("http", "https"), "http"),
}
"""Extras to install, by URL scheme."""
_NO_USE = ("Credential", "ParamValidation", "Authentication", "NoRegion", "InvalidRegion")


def install_hint(url: str, error: Exception) -> str:
    """Return the end of an error message about a URL: the command that installs a missing extra, or an empty string."""
    extra = _EXTRAS.get(url.partition(":")[0].lower())
    return f": pip install 'framelode[{extra}]'" if extra and isinstance(error, ImportError) else ""


def is_taken(error: BaseException) -> bool:
    """Whether an object was not created because it exists."""
    return any(
        isinstance(each, FileExistsError) or _code(each) in _TAKEN or _status(each) == 412
        for each in _chain(error)
    )


def is_permanent(error: BaseException) -> bool:
    """Whether a retry is pointless: no permission, no such bucket, or too long a name."""
    return any(_is_permanent(each) for each in _chain(error)) and not any(
        _code(each) in _WAITING_CODES for each in _chain(error)
    )


def has_timed_out(error: BaseException) -> bool:
    """Whether a store did not answer in time."""
    return any(isinstance(each, TimeoutError) or "Timeout" in type(each).__name__ for each in _chain(error))


def reason(error: BaseException) -> str:
    """Return the reason of an error, for a message."""
    # Messages of Azure contain the whole response after the first line.
    text = redact(next(iter(str(error).splitlines()), ""))
    if any(isinstance(each, PermissionError) or _status(each) in {401, 403} for each in _chain(error)):
        return f"permission denied: {text}"
    if isinstance(error, FileNotFoundError):
        return f"there is no such bucket or container: {text}"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return "the name is longer than the store allows"
    return f"{type(error).__name__}: {text}"


def _is_permanent(error: BaseException) -> bool:
    if isinstance(error, PermissionError | FileNotFoundError | ValueError | TypeError | NotImplementedError):
        return True
    if isinstance(error, OSError) and (
        error.errno in _PERMANENT_ERRNOS or str(error).startswith("Forbidden")
    ):
        return True
    status = _status(error)
    if status is not None:
        return 400 <= status < 500 and status not in _WAITING_STATUSES
    return any(word in type(error).__name__ for word in _NO_USE)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _code(error: BaseException) -> str | None:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return response.get("Error", {}).get("Code")
    code = getattr(error, "error_code", None)
    return None if code is None else str(getattr(code, "value", code))


def _status(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)
    found = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    for value in (found, getattr(error, "status_code", None), getattr(error, "code", None)):
        if isinstance(value, int | str) and str(value).isdigit():
            return int(value)
    return None
