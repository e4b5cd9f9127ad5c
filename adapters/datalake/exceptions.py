"""The errors of the datalake."""

from __future__ import annotations

from ...engine.errors import FramelodeError, InvalidValueError


class PicselliaError(FramelodeError):
    """Base class of all errors of the datalake."""


class InvalidQueryError(PicselliaError, InvalidValueError):
    """A query is wrong.

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
