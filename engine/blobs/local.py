"""Blobs in a local folder. Many files share one sync."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ..parallel import DISK_THREADS
from ..storage.base import TEMPORARY, Sink, SyncPoint
from ..storage.local import LocalSyncPoint, LocalTemporaryFiles, TranslateErrors, sync_together, take_name
from ..storage.modes import make_folder
from ..storage.regular_files import open_regular
from .backend import BLOB_MODE, OWN_NAMES, BlobBackend, Entry, blob_name, digest_from_name


class LocalBackend(BlobBackend):
    """A folder of a local file system, created on the first write.

    Parameters
    ----------
    folder : Path
        The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.name = str(self.folder)
        self.threads = DISK_THREADS
        self._root = os.fspath(self.folder)
        self._translated = TranslateErrors(f"blob store {self.name}")
        self._temporaries = LocalTemporaryFiles(
            f"{self._root}/{TEMPORARY}", f"blob store {self.name}", BLOB_MODE
        )

    def opener(self) -> Callable[[], BlobBackend]:
        """Return a function that opens this folder in another process."""
        return partial(LocalBackend, self.folder)

    def begin(self) -> SyncPoint:
        """Tell that files will be written."""
        with suppress(OSError):  # the write will raise it
            make_folder(self._root)
        return LocalSyncPoint(self._root)

    def create(self) -> Sink:
        """Open a temporary file for writing."""
        return self._temporaries.create()

    def write(self, data: bytes) -> str:
        """Write a small content to a temporary file."""
        return self._temporaries.write(data)

    def discard(self, temporary: str) -> None:
        """Delete a temporary file."""
        self._temporaries.discard(temporary)

    def sync_written(self, temporaries: Sequence[str], since: SyncPoint) -> None:
        """Wait until the contents of temporary files are durable."""
        with self._translated:
            sync_together(self._root, map(self._temporaries.path, temporaries), len(temporaries), since)

    def move(self, temporary: str, digest: str) -> None:
        """Move a temporary file to its final name."""
        source, target = self._temporaries.path(temporary), self.path(digest)
        with self._translated:
            try:
                os.rename(source, target)  # noqa: PTH104 - as above
            except FileNotFoundError:
                make_folder(target.rpartition("/")[0])
                os.rename(source, target)  # noqa: PTH104

    def sync_moved(self, digests: Sequence[str], since: SyncPoint) -> None:
        """Wait until the final names of files and of their parent folders are durable."""
        with self._translated:
            folders = {f"{self._root}/{digest[:2]}" for digest in digests}
            paths = (*folders, self._root, os.fspath(self.folder.parent))
            sync_together(self._root, paths, len(digests), since)

    def size(self, digest: str) -> int | None:
        """Return the size of a blob, or None if it is not stored."""
        with self._translated:
            try:
                found = os.stat(self.path(digest))  # noqa: PTH116 - as above
            except FileNotFoundError:
                return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def read_range(self, digest: str, start: int, stop: int | None) -> bytes:
        """Return a range of a blob's bytes."""
        with self.open(digest) as file, self._translated:
            file.seek(start)
            return file.read(-1 if stop is None else max(0, stop - start))

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading."""
        with self._translated:
            return open_regular(self.path(digest))

    def delete(self, digests: Sequence[str]) -> None:
        """Delete blobs. Their folders are kept, because a blob may be moved into them."""
        with self._translated:
            for digest in digests:
                with suppress(FileNotFoundError):
                    os.unlink(self.path(digest))  # noqa: PTH108

    def names(self, folder: str = "") -> list[str]:
        """Return the names in the folder or in one of its folders."""
        with self._translated, suppress(FileNotFoundError):
            return sorted(os.listdir(self.folder / folder))  # noqa: PTH208
        return []

    def read_note(self, name: str) -> bytes | None:
        """Return the content of a small file, or None if it is missing."""
        with self._translated, suppress(FileNotFoundError), open_regular(f"{self._root}/{name}") as file:
            return file.read()
        return None

    def write_note(self, name: str, data: bytes, *, replace: bool = False) -> bool:
        """Write a small file with a link, so that it is never partial and only one writer succeeds."""
        target = f"{self._root}/{name}"
        temporary = self._temporaries.write(data)
        try:
            with self._translated:
                source = self._temporaries.path(temporary)
                sync_together(self._root, [source], 1)
                make_folder(target.rpartition("/")[0])
                if replace:
                    os.rename(source, target)  # noqa: PTH104
                elif not take_name(source, target):
                    return False
                sync_together(self._root, [self._root], 1)
                return True
        finally:
            self._temporaries.discard(temporary)

    def drop_note(self, name: str) -> None:
        """Delete a small file."""
        with self._translated, suppress(FileNotFoundError):
            os.unlink(f"{self._root}/{name}")  # noqa: PTH108

    def entries(self) -> Iterator[Entry]:
        """Yield every file, by folder."""
        with self._translated:
            for folder, folders, files in os.walk(self._root):
                own = OWN_NAMES if folder == self._root else ()
                folders[:] = sorted(name for name in folders if name not in own)
                yield from self._entries_of(folder, sorted(name for name in files if name not in own))

    def _entries_of(self, folder: str, files: list[str]) -> Iterator[Entry]:
        for file in files:
            path = f"{folder}/{file}"
            name = os.path.relpath(path, self._root)
            with suppress(FileNotFoundError):
                found = os.lstat(path)
                digest = digest_from_name(name) if stat.S_ISREG(found.st_mode) else None
                yield Entry(name, digest, found.st_size, found.st_mtime)

    def clean(self, older_than: float) -> int:
        """Delete temporary files that were not written to for some seconds."""
        return self._temporaries.clean(older_than)

    def is_same(self, name: str) -> bool:
        """Whether another path leads to this folder."""
        return os.path.realpath(name) == os.path.realpath(self.folder)

    def path(self, digest: str) -> str:
        """Return the path of a blob."""
        return f"{self._root}/{blob_name(digest)}"
