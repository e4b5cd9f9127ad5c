"""Which engine a project's changes are recorded in: the one given, the current one, else its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ...engine.errors import UsageError
from .. import location
from .project import hidden_folder

if TYPE_CHECKING:
    from ..connection import Engine


class ProjectEngine:
    """The engine of a project, opened when something is recorded or asked.

    Parameters
    ----------
    root : Path
        The project folder.
    given : Engine or None
        The engine to use.
    """

    def __init__(self, root: Path, given: Engine | None) -> None:
        self._folder = root / location.HIDDEN_FOLDER
        self._engine = given or _current()
        self._is_own = False
        if self._engine is not None and self._engine.as_of is not None:
            raise UsageError(
                "this engine shows the past: give one of the present, and ask Datasets.at(moment)"
            )

    def exists(self) -> bool:
        """Say whether there is one already."""
        return self._engine is not None or location.exists(self._folder)

    def opened(self) -> Engine:
        """Return the engine; the project's own is made if it is missing."""
        if self._engine is None:
            from ..connection import Engine

            # It keeps its own `.gitignore` also where no repository is yet.
            hidden_folder(self._folder.parent)
            self._engine = Engine(location.locate(self._folder))
            self._is_own = True
        return self._engine

    def close(self) -> None:
        """Close the project's own engine; it is opened again when it is needed."""
        if self._engine is not None and self._is_own:
            self._engine.close()
            self._engine, self._is_own = None, False


def _current() -> Engine | None:
    """Return the current engine, or that of `FRAMELODE_URL`; None where there is none."""
    from ..connection import current_engine
    from ..current import connected_engine

    engine = connected_engine()
    url = os.environ.get(location.ENVIRONMENT_URL)
    return engine or (current_engine(url) if url else None)
