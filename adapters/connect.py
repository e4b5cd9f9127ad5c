"""Open an engine, or find the current one."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..engine.errors import UsageError
from ..engine.frames.record import MAX_FRAME_BYTES
from ..engine.log.contract import Clock
from ..engine.log.moments import Moment
from ..engine.times import system_clock
from ..engine.validation import shorten
from .engine import Engine
from .session import current, location
from .session.session import LiveSession, Session, random_id


def connect(
    url: str | os.PathLike[str],
    *,
    projections: str | os.PathLike[str] | None = None,
    blobs: str | os.PathLike[str] | None = None,
    clock: Clock = system_clock,
    new_id: Callable[[], str] = random_id,
    shared: bool | None = None,
    max_frame_bytes: int = MAX_FRAME_BYTES,
    as_of: Moment | None = None,
    read_only: bool = False,
) -> Engine:
    """Open the engine of a folder, created if missing, and make it the current engine of the process.

    An engine in a folder that cannot be written, such as a read-only mount, is opened read-only, and a warning is logged.

    Parameters
    ----------
    url : str or path
        A folder; ``sqlite:///path/log.db`` for the folder of that file; ``sqlite://`` for an engine in memory; or
        ``postgresql+psycopg://user@host/database`` (extra `postgres`).
    projections : str or path, optional
        File or PostgreSQL URL for the projections database, instead of the default. Saved in the settings.
    blobs : str or path, optional
        Folder or fsspec URL (such as ``s3://bucket/blobs``) for file contents, instead of the default. Saved in the
        settings. It must be empty, the blob store of this engine, or a store that the engine joins with
        `Engine.share_blobs`. An engine in PostgreSQL has no default.
    clock : callable
        Returns the current time as UTC microseconds. Replace it for reproducible tests.
    new_id : callable
        Returns a new id of 32 hex digits. Replace it for reproducible tests.
    shared : bool, optional
        True gives the group of the folder read and write access to everything that the engine creates in local folders.
        Saved in the settings. Otherwise only the owner has access: mode 0700 for folders and 0600 for files.
    max_frame_bytes : int
        Maximum size of one encoded frame, at most 16 MB.
    as_of : int or datetime, optional
        Open an existing engine read-only, as it was at a position or an aware datetime.
    read_only : bool
        Open an existing engine without writing anything. Projections that are behind the log are replayed in memory, and
        every change raises `UsageError`. In PostgreSQL all transactions are read-only.

    Returns
    -------
    Engine
        Also a context manager that restores the previous current engine.

    Raises
    ------
    UsageError
        The folder or database cannot be used, belongs to another engine, or was written by a newer framelode; or an
        argument is invalid.
    IntegrityError
        The log is damaged, or does not belong to the folder.
    """
    if shared is not None and not isinstance(shared, bool):
        raise UsageError(f"shared must be True or False, not {shorten(shared)}")
    if not isinstance(max_frame_bytes, int) or not 0 < max_frame_bytes <= MAX_FRAME_BYTES:
        raise UsageError(
            f"max_frame_bytes must be an integer between 1 and {MAX_FRAME_BYTES}, not {shorten(max_frame_bytes)}"
        )
    if as_of is not None:
        location.require(url)
    if as_of is not None or read_only:
        name = "read_only" if as_of is None else "as_of"
        if projections is not None or blobs is not None or shared is not None:
            raise UsageError(f"{name} opens an engine read-only: do not pass projections=, blobs= or shared=")
    where = location.locate(url, projections, blobs, shared=shared, read_only=read_only)
    session: Session = LiveSession(where, clock, new_id, max_frame_bytes)
    if as_of is not None:
        from .session.past import open_at

        session = open_at(session, as_of)
    current.activate(session)
    return Engine(session)


def current_engine(explicit: str | None = None) -> Engine:
    """Return the current engine, or open one.

    The first that exists is used: `explicit`, the current engine, the engine that `FRAMELODE_URL` names, and the engine
    of the nearest settings file in this folder or its parents.

    Parameters
    ----------
    explicit : str, optional
        Folder or URL of the engine.

    Raises
    ------
    UsageError
        No engine was found; none is created.
    """
    return Engine.of(current.current_session(explicit))
