"""Selects the engine that records the changes of a project: the given one, the current one, or its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ...engine.errors import UsageError
from ..session import location
from ..session.current import HasSession, connected_session, current_session, session_of

if TYPE_CHECKING:
    from ..session.session import Session


class ProjectEngine:
    """The engine of a project, opened on first use.

    Parameters
    ----------
    root : Path
        The project folder.
    given : Engine or None
        The engine to use.
    """

    def __init__(self, root: Path, given: HasSession | Session | None) -> None:
        self._folder = root / location.HIDDEN_FOLDER
        self._session = _current() if given is None else session_of(given)
        self._is_own = False
        if self._session is not None and self._session.as_of is not None:
            raise UsageError(
                "this engine shows the past and is read-only: pass a current engine, and read the past with Datasets.at(moment)"
            )

    def exists(self) -> bool:
        """Whether the engine exists."""
        return self._session is not None or location.exists(self._folder)

    def opened(self) -> Session:
        """Return the session. The project's own engine is created if it is missing."""
        if self._session is None:
            from ..session.session import open_session

            # The folder gets its own `.gitignore`, even if it is not in a repository yet.
            location.hidden_folder(self._folder.parent)
            self._session = open_session(str(self._folder))
            self._is_own = True
        return self._session

    def close(self) -> None:
        """Close the project's own engine. It is opened again if needed."""
        if self._session is not None and self._is_own:
            self._session.close()
            self._session, self._is_own = None, False


def _current() -> Session | None:
    """Return the current session, or that of `FRAMELODE_URL`, or None."""
    session = connected_session()
    url = os.environ.get(location.ENVIRONMENT_URL)
    return session or (current_session(url) if url else None)
