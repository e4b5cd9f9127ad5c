"""Uploads to a local folder. Many files share one sync, and each is linked to its name only when it is complete."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from ...engine.blobs.content import FileSource, SourceError, copy_readable, hash_of, read_content
from ...engine.blobs.ingest import BATCH_BYTES, HELD_BYTES
from ...engine.errors import FramelodeError, UsageError
from ...engine.frames.source import path_or_uri
from ...engine.parallel import DISK_THREADS, ByteBudget, ThreadWorkers
from ...engine.storage.base import BackendError, SyncPoint
from ...engine.storage.local import (
    LocalSyncPoint,
    LocalTemporaryFiles,
    make_folder,
    place_error,
    sync_together,
    take_name,
)
from .destination import Destination, UploadItem, Wanted, changed, decoded_parts, is_plain, settle
from .staged_folders import NewFolders

TEMPORARY = ".framelode-tmp"
"""Folder for files that are not complete yet."""

READ_ONLY = 0o444
"""Uploaded files are read-only, and readable for everyone who can read the local file."""

LEFTOVER_SECONDS = 24 * 3600.0
"""Age after which a temporary file is abandoned, counted from the last write to it."""


class LocalDestination(Destination):
    """A folder of a local file system, created on the first write.

    Parameters
    ----------
    folder : str
        Absolute path of the folder.
    """

    files_at_once = 10_000  # one sync costs the same for many files as for a few
    asking_threads = 1  # the system answers faster than a thread starts

    def __init__(self, folder: str) -> None:
        self._folder = folder.rstrip("/")
        self.root = _uri(self._folder or "/")
        self._what = f"destination {self.root}"
        self._temporaries = LocalTemporaryFiles(f"{self._folder}/{TEMPORARY}", self._what, READ_ONLY)
        self._workers = ThreadWorkers(DISK_THREADS, "framelode-uploads")
        self._above: list[str] = []

    def begin(self) -> SyncPoint:
        """Note the point in time, and delete leftovers of killed processes."""
        if not self._above:
            for folder in map(str, Path(f"{self._folder}/x").parent.parents):
                self._above.append(folder)  # it is created with the destination
                if Path(folder).exists():
                    break
            self._temporaries.clean(LEFTOVER_SECONDS)
        return NewFolders(self._folder or "/", self._temporaries)

    def read(self, items: Sequence[UploadItem], wanted: Wanted | None = None) -> int:
        """Hash files. Small ones are kept in memory or written immediately; large ones are copied while they are read."""
        self._begin([item for item in items if item.since is None])
        portion, held = ByteBudget(BATCH_BYTES), ByteBudget(HELD_BYTES)

        def read(item: UploadItem) -> None:
            self._read(item)
            portion.add(item.size)
            if wanted and not item.temporary and wanted(item):
                self._stage(item)
            held.add(len(item.content))

        return self._each(read, items, lambda: portion.is_full() or held.is_full())

    def stage(self, items: Sequence[UploadItem], window: Sequence[UploadItem]) -> None:
        """Write the files that were not copied when they were read."""
        self._each(self._stage, [item for item in items if not item.temporary])
        for item in items:
            item.error = None
        kept = set(map(id, items))
        for item in window:
            item.content = b""
            if item.temporary and id(item) not in kept:
                self._drop(item)

    def send(self, items: Sequence[UploadItem]) -> None:
        """Write files, sync them together, link them to their names, and sync the links."""
        for item in items:
            item.error, item.uri = None, ""
        rest = [item for item in items if not item.temporary]
        self._begin(rest)
        watch = LocalSyncPoint(self._folder or "/")
        try:
            self._each(self._write, rest)
            written = [item for item in items if item.error is None]
            for since in {item.since for item in written}:
                some = [item for item in written if item.since is since]
                self._sync(map(self._temporary, some), some, since)
            self._publish_folders([item for item in written if item.error is None])
            self._each(self._publish, [item for item in written if item.temporary and item.error is None])
            named = [item for item in written if item.error is None]
            self._sync(self._named(named), named, watch)
        finally:
            watch.close()
            self.discard(items)

    def discard(self, items: Sequence[UploadItem]) -> None:
        """Delete the temporary copies of files."""
        self._workers.map(self._drop, [item for item in items if item.temporary])
        for item in items:
            item.content = b""
            if item.since:
                item.since.close()

    def _drop(self, item: UploadItem) -> None:
        self._temporaries.discard(item.temporary)
        item.temporary = ""

    def holds(self, uri: str, size: int) -> bool:
        """Whether a file exists with its size."""
        try:
            found = os.stat(self._inside(uri))  # noqa: PTH116 - a Path for each file costs more than the call
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise place_error(uri, error) from error
        return stat.S_ISREG(found.st_mode) and found.st_size == size

    def delete(self, uris: Sequence[str]) -> None:
        """Delete files; the folders stay, since a file may be on its way into them."""
        failed: BackendError | None = None
        for uri, path in [(uri, self._inside(uri)) for uri in uris]:
            try:
                os.unlink(path)  # noqa: PTH108
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                failed = failed or place_error(f"{uri} cannot be deleted", error)
        if failed:
            raise failed

    def _begin(self, items: Sequence[UploadItem]) -> None:
        since = self.begin() if items else None
        for item in items:
            item.since = since

    def _each(
        self,
        work: Callable[[UploadItem], None],
        items: Sequence[UploadItem],
        enough: Callable[[], bool] = lambda: False,
    ) -> int:
        def noted(item: UploadItem) -> None:
            try:
                work(item)
            except FramelodeError as error:
                item.error = error
            except OSError as error:
                item.error = place_error(self._what, error)
            if item.error is not None:
                item.content = b""
                if item.temporary:
                    self._drop(item)

        return len(self._workers.map(noted, items, enough))

    def _read(self, item: UploadItem) -> None:
        item.error = None
        taken = read_content(FileSource(item.path), self._temporaries)
        item.digest, item.size = taken.digest, taken.size
        item.temporary, item.content, item.mode = taken.temporary, taken.content, taken.mode
        self._protect(item)

    def _protect(self, item: UploadItem) -> None:
        """Restrict the mode of a temporary copy to that of the file."""
        if item.temporary and item.mode & READ_ONLY != READ_ONLY:
            path = self._temporary(item)
            os.chmod(path, os.stat(path).st_mode & (item.mode | stat.S_IRUSR))  # noqa: PTH101, PTH116

    def _stage(self, item: UploadItem) -> None:
        """Write a file to a temporary folder, if its folder can be created with one rename."""
        if isinstance(item.since, NewFolders) and item.content:
            name = item.since.name_for(self._path(item.name))
            self._write_content(item, name)
        else:
            self._write(item)

    def _write(self, item: UploadItem) -> None:
        if item.content:
            self._write_content(item)
            return
        copied = copy_readable(FileSource(item.path), self._temporaries)
        item.temporary, item.mode = copied.temporary, copied.mode
        self._protect(item)
        if (copied.digest, copied.size) != (item.digest, item.size):
            raise changed(item)

    def _write_content(self, item: UploadItem, name: str = "") -> None:
        mode = item.mode & READ_ONLY | stat.S_IRUSR
        item.temporary, item.content = self._temporaries.write(item.content, name, mode), b""

    def _temporary(self, item: UploadItem) -> str:
        return self._temporaries.path(item.temporary)

    def _sync(self, paths: Iterable[str], items: Sequence[UploadItem], since: SyncPoint | None) -> None:
        """Make files durable that were written since a point in time."""
        if not items:
            return
        try:
            sync_together(self._folder or "/", paths, len(items), since)
        except OSError as error:
            for item in items:
                item.error, item.uri = place_error(self._what, error), ""

    def _publish_folders(self, items: Sequence[UploadItem]) -> None:
        """Rename complete new folders to their final names."""
        files = Counter(item.temporary.rpartition("/")[0] for item in items)
        batches = {item.since for item in items if isinstance(item.since, NewFolders)}
        named = {temporary for batch in batches for temporary in batch.publish(files)}
        for item in items if named else ():
            if item.temporary.rpartition("/")[0] in named:
                item.temporary, item.uri = "", self._uri_of(item.name)

    def _publish(self, item: UploadItem) -> None:
        temporary, path = self._temporary(item), ""

        def create(name: str) -> bool:
            nonlocal path
            path = self._path(name)
            return _link(temporary, path)

        name = settle(item, self.root, create, lambda _: _is_same(path, item))
        item.uri = self._uri_of(name)
        self._drop(item)

    def _named(self, items: Sequence[UploadItem]) -> Iterator[str]:
        """Yield the files and their parent folders, because another process may have created any of them."""
        folders: set[str] = set()
        for item in items:
            file = path_or_uri(item.uri) or ""
            yield file
            folder = file.rpartition("/")[0]
            while len(folder) > len(self._folder) and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition("/")[0]
        yield from sorted(folders, reverse=True)
        yield self._folder or "/"
        yield from self._above

    def _uri_of(self, name: str) -> str:
        return f"{self.root}/{name}" if is_plain(name) else _uri(self._path(name))

    def _path(self, name: str) -> str:
        if is_plain(name):
            return f"{self._folder}/{name}"
        parts = [os.fsdecode(part) for part in decoded_parts(name)]
        if parts[0] == TEMPORARY:
            raise BackendError(
                f"the name {name!r} is reserved: {TEMPORARY} contains temporary files", permanent=True
            )
        return "/".join((self._folder, *parts))

    def _inside(self, uri: str) -> str:
        path = path_or_uri(uri) or ""
        if not path.startswith(f"{self._folder}/") or ".." in path.split("/"):
            raise UsageError(f"{uri} is not in the destination {self.root}")
        return path


def _uri(path: str) -> str:
    return f"file://{quote(os.fsencode(path))}"


def _link(temporary: str, path: str) -> bool:
    """Link a temporary file to its name. Return False if the name is taken."""
    try:
        return take_name(temporary, path)
    except FileNotFoundError:
        make_folder(path.rpartition("/")[0])
        return take_name(temporary, path)


def _is_same(path: str, item: UploadItem) -> bool:
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_size != item.size:
        return False
    try:
        return hash_of(FileSource(path)) == item.digest
    except SourceError:  # an unreadable file does not count as sent
        return False
