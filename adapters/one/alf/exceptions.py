"""Errors of the ONE API. They keep the names of ONE-api and belong to the error classes of framelode."""

from __future__ import annotations

import re

from ....engine.errors import (
    ConflictError,
    FramelodeError,
    IntegrityError,
    InvalidValueError,
    NotFoundError,
    UsageError,
)


class ALFError(FramelodeError):
    """Base class of the errors about sessions and datasets.

    Parameters
    ----------
    *args
        What the error is about: names that are listed in quotes, or one sentence that is kept as it is.
    terse : bool
        Leave out the explanation of the error class.
    """

    explanation = ""

    def __init__(self, *args: object, terse: bool = False) -> None:
        super().__init__(*args)
        self.terse = terse

    def __str__(self) -> str:
        """Return a sentence as it is; otherwise the subject of the error, followed by the explanation of its class."""
        if len(self.args) == 1 and isinstance(self.args[0], str) and " " in self.args[0]:
            return self.args[0]
        subject = '"' + '", "'.join(map(str, self.args)) + '" ' if self.args else ""
        return subject if self.terse else subject + self.explanation


class ALFObjectNotFound(ALFError, NotFoundError):  # noqa: N818 - the name of the public API
    """No session, object or dataset matches."""

    explanation = "was not found. Check the spelling, the collection and the revision, or list what exists."


class ALFMultipleObjectsFound(ALFError, ConflictError):  # noqa: N818 - the name of the public API
    """More than one object or dataset matches."""

    explanation = "match the query, which must match one only. Give more of the name, or other filters."


class ALFMultipleCollectionsFound(ALFError, ConflictError):  # noqa: N818 - the name of the public API
    """The match is in more than one collection."""

    explanation = "are collections that match the query. Give one of them as the collection."


class ALFMultipleRevisionsFound(ALFError, ConflictError):  # noqa: N818 - the name of the public API
    """The match has more than one revision."""

    explanation = "are revisions that match the query. Give one of them as the revision."


class AlyxSubjectNotFound(ALFError, NotFoundError):  # noqa: N818 - the name of the public API
    """The database has no such subject."""

    explanation = "is not a subject in the database."


class PreconditionError(UsageError, AssertionError):
    """The call needs something that does not hold. ONE-api has a bare AssertionError here."""


class SessionNotFoundError(ALFObjectNotFound, AssertionError):
    """No session has the reference."""


class PatternError(InvalidValueError, re.error):
    """A pattern is not a regular expression."""


class AttributeConflictError(ALFMultipleObjectsFound, AssertionError):
    """Two files of an object have the same attribute."""


class OfflineError(PreconditionError, NotImplementedError):
    """The call needs a connection to the database."""


class DatasetMismatchError(ALFError, IntegrityError):
    """The size or the hash of a file differs from its record."""
