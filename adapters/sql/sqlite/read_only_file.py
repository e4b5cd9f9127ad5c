"""Opens SQLite files that are only read, also those in a folder that cannot be written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from ....engine.storage.modes import why_unwritable


class ReadOnlyFile:
    """How to open a SQLite file without writing to it or its folder.

    In a folder that cannot be written, SQLite reads a file in WAL mode only in these ways, which depend on the files
    beside it:

    - no write-ahead log, as after the last user has closed the file: as immutable, since SQLite can make no index of the log;
    - a write-ahead log with its index (`-shm`): as usual, and what others write meanwhile is seen;
    - a write-ahead log without its index, as in a copy of both files: not at all, so they are copied to a temporary folder.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    uri : str
        The URI for SQLite.
    """

    def __init__(self, path: Path) -> None:
        self._copy: TemporaryDirectory[str] | None = None
        wal, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
        mode = "mode=ro"
        if why_unwritable(path.parent) is not None:
            if not wal.exists() or not wal.stat().st_size:
                mode = "mode=ro&immutable=1"
            elif not index.exists():
                path, mode = self._copied(path, wal), "mode=rw"
        self.uri = f"file:{quote(os.fsencode(path.absolute()))}?{mode}"

    def _copied(self, path: Path, wal: Path) -> Path:
        self._copy = TemporaryDirectory(prefix="framelode-", ignore_cleanup_errors=True)
        for file in (path, wal):
            shutil.copyfile(file, Path(self._copy.name, file.name))
        return Path(self._copy.name, path.name)

    def close(self) -> None:
        """Delete the copy, if one was made."""
        if self._copy is not None:
            self._copy.cleanup()
