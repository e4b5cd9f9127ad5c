"""Settings for resolving a dataset: the base of relative paths, the timeout, and the engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...engine.errors import InvalidValueError
from ...engine.validation import shorten

if TYPE_CHECKING:
    from ..session.session import Session

TIMEOUT = 60.0
"""Default of the maximum seconds without progress of a source."""

Progress = Callable[[int, int | None], None]
"""Called with the number of files done and the total, which is None if it is unknown."""


class ResolveContext(msgspec.Struct, frozen=True):
    """Settings for resolving a dataset.

    Attributes
    ----------
    root : Path
        The project folder. Relative paths start there.
    timeout : float
        Maximum seconds without progress of a source.
    session : callable
        Returns the session with the datasets of ``framelode://`` URLs.
    callback : callable or None
        Called with the number of files done.
    filesystems : dict
        Cached filesystems.
    """

    root: Path
    timeout: float
    session: Callable[[], Session]
    callback: Progress | None = None
    filesystems: dict[tuple[Any, ...], Any] = {}


def root_of(repo: Any) -> Path:
    """Return the folder of a project, given as a path or as an object with a `root_dir`."""
    place = getattr(repo, "root_dir", repo)
    if not isinstance(place, str | os.PathLike) or not os.fspath(place):
        raise InvalidValueError(
            f"repo must be a project folder, or an object with a root_dir, not {shorten(repo)}"
        )
    try:
        return Path(os.fsdecode(place)).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidValueError(f"{shorten(str(place))} is not a valid path on this system") from error


def reach_of(repo: Any, callback: Progress | None = None) -> ResolveContext:
    """Return the settings of a `Datasets`, or default settings for a folder."""
    reach = repo if isinstance(repo, ResolveContext) else getattr(repo, "reach", None)
    if isinstance(reach, ResolveContext):
        return msgspec.structs.replace(reach, callback=callback)
    from ..session.current import current_session

    return ResolveContext(root_of(repo), TIMEOUT, current_session, callback)
