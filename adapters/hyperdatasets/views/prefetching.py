"""Fetches the files of frames into the local cache, ahead of their use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Any

from ....engine.errors import FramelodeError
from ...files.fetch import fetch
from ...session.current import entered
from ...session.session import Session

PREFETCH_THREADS = 8
_AHEAD = 16
"""So many files for each thread are waiting to be fetched."""

logger = logging.getLogger("framelode.views")

File = tuple[str, "int | None", "str | None"]
"""URI, size and hash."""


def wanted_files(*, get_previews: bool, get_masks: bool) -> list[str]:
    """Return the fields of frames that name their files."""
    source = "sources.*"
    wanted = [f"{source}.uri", f"{source}.size", f"{source}.hash"]
    wanted += [f"{source}.masks.*.uri"] if get_masks else []
    return wanted + ([f"{source}.preview.uri"] if get_previews else [])


def fetch_in_background(session: Session, frames: Iterable[Any], threads: int, *, anew: bool) -> None:
    """Fetch the files of frames in threads, and return at once."""

    def run() -> None:
        try:
            failed = fetch_files(session, frames, threads, anew=anew)
        except Exception as error:  # noqa: BLE001 - the engine was closed, or the process ends: nobody waits for the files
            logger.info("the files of a view are not fetched any more: %s", error)
        else:
            logger.info("the files of a view are fetched, except for %d", len(failed))

    threading.Thread(target=run, name="framelode-prefetch", daemon=True).start()


def fetch_files(session: Session, frames: Iterable[Any], threads: int, *, anew: bool) -> list[str]:
    """Fetch the files of frames, dicts with the fields of `wanted_files`. Returns the reasons for those that cannot be fetched.

    Parameters
    ----------
    session : Session
        The engine that reads blobs.
    frames : iterable of dict
        The frames.
    threads : int
        Number of threads.
    anew : bool
        Fetch files again that are in the cache.
    """

    def run(file: File) -> str | None:
        # A thread does not know the session of the caller.
        with entered(session):
            try:
                fetch(*file, anew)
            except FramelodeError as error:
                return str(error)
        return None

    files, failed = chain.from_iterable(map(_files_of, frames)), list[str]()
    with ThreadPoolExecutor(threads) as pool:
        while some := dict.fromkeys(islice(files, _AHEAD * threads)):
            failed += filter(None, pool.map(run, some))
    return failed


def _files_of(frame: dict[str, Any]) -> Iterator[File]:
    for source in frame.get("sources", ()):
        if "uri" in source:
            yield source["uri"], source.get("size"), source.get("hash")
        others = [*source.get("masks", ()), source.get("preview", {})]
        yield from ((other["uri"], None, None) for other in others if "uri" in other)
