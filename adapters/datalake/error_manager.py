"""Collects the errors of an upload."""

from __future__ import annotations

import threading

from .exceptions import UploadError


class ErrorManager:
    """The errors of uploads. Several threads may use it.

    Attributes
    ----------
    errors : list of UploadError
        The errors, oldest first.
    """

    def __init__(self) -> None:
        self.errors: list[UploadError] = []
        self._lock = threading.Lock()

    def has_errors(self) -> bool:
        """Whether there are errors."""
        return bool(self.errors)

    def append(self, error: UploadError) -> None:
        """Add an error."""
        with self._lock:
            self.errors.append(error)

    def clear(self) -> None:
        """Remove all errors."""
        with self._lock:
            self.errors.clear()

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))

    def __reduce__(self) -> tuple[type[ErrorManager], tuple[()], dict[str, list[UploadError]]]:
        return ErrorManager, (), {"errors": self.errors}
