"""What resolving a dataset needs to know: where relative paths begin, how long to wait, and which engine to ask."""

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
"""Seconds that a source may take without giving a sign of life."""

Progress = Callable[[int, int | None], None]
"""Called with the files done and the files there are; None where nobody knows."""


class ResolveContext(msgspec.Struct, frozen=True):
    """What a dataset is resolved with.

    Attributes
    ----------
    root : Path
        The project folder; relative places begin there.
    timeout : float
        Seconds to wait for a source.
    engine : callable
        Gives the engine that holds datasets of ``framelode://``.
    callback : callable or None
        Told how many files are done.
    filesystems : dict
        Filesystems that were made, to be used again.
    """

    root: Path
    timeout: float
    session: Callable[[], Session]
    callback: Progress | None = None
    filesystems: dict[tuple[Any, ...], Any] = {}


def root_of(repo: Any) -> Path:
    """Return the folder of a project: a path, or what has a `root_dir`."""
    place = getattr(repo, "root_dir", repo)
    if not isinstance(place, str | os.PathLike) or not os.fspath(place):
        raise InvalidValueError(
            f"repo must be a project folder, or an object with a root_dir, not {shorten(repo)}"
        )
    try:
        return Path(os.fsdecode(place)).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidValueError(f"{shorten(str(place))} is no path of this system") from error


def reach_of(repo: Any, callback: Progress | None = None) -> ResolveContext:
    """Return what to resolve with: that of a `Datasets`, else the defaults for a folder."""
    reach = repo if isinstance(repo, ResolveContext) else getattr(repo, "reach", None)
    if isinstance(reach, ResolveContext):
        return msgspec.structs.replace(reach, callback=callback)
    from ..session.current import current_session

    return ResolveContext(root_of(repo), TIMEOUT, current_session, callback)
