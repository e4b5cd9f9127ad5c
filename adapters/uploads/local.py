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

    def read(self, parcels: Sequence[UploadItem], wanted: Wanted | None = None) -> int:
        """Hash files. Small ones are kept in memory or written immediately; large ones are copied while they are read."""
        self._begin([parcel for parcel in parcels if parcel.since is None])
        portion, held = ByteBudget(BATCH_BYTES), ByteBudget(HELD_BYTES)

        def read(parcel: UploadItem) -> None:
            self._read(parcel)
            portion.add(parcel.size)
            if wanted and not parcel.temporary and wanted(parcel):
                self._stage(parcel)
            held.add(len(parcel.content))

        return self._each(read, parcels, lambda: portion.is_full() or held.is_full())

    def stage(self, parcels: Sequence[UploadItem], window: Sequence[UploadItem]) -> None:
        """Write the files that were not copied when they were read."""
        self._each(self._stage, [parcel for parcel in parcels if not parcel.temporary])
        for parcel in parcels:
            parcel.error = None
        kept = set(map(id, parcels))
        for parcel in window:
            parcel.content = b""
            if parcel.temporary and id(parcel) not in kept:
                self._drop(parcel)

    def send(self, parcels: Sequence[UploadItem]) -> None:
        """Write files, sync them together, link them to their names, and sync the links."""
        for parcel in parcels:
            parcel.error, parcel.uri = None, ""
        rest = [parcel for parcel in parcels if not parcel.temporary]
        self._begin(rest)
        watch = LocalSyncPoint(self._folder or "/")
        try:
            self._each(self._write, rest)
            written = [parcel for parcel in parcels if parcel.error is None]
            for since in {parcel.since for parcel in written}:
                some = [parcel for parcel in written if parcel.since is since]
                self._sync(map(self._temporary, some), some, since)
            self._publish_folders([parcel for parcel in written if parcel.error is None])
            self._each(
                self._publish, [parcel for parcel in written if parcel.temporary and parcel.error is None]
            )
            named = [parcel for parcel in written if parcel.error is None]
            self._sync(self._named(named), named, watch)
        finally:
            watch.close()
            self.discard(parcels)

    def discard(self, parcels: Sequence[UploadItem]) -> None:
        """Delete the temporary copies of files."""
        self._workers.map(self._drop, [parcel for parcel in parcels if parcel.temporary])
        for parcel in parcels:
            parcel.content = b""
            if parcel.since:
                parcel.since.close()

    def _drop(self, parcel: UploadItem) -> None:
        self._temporaries.discard(parcel.temporary)
        parcel.temporary = ""

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

    def _begin(self, parcels: Sequence[UploadItem]) -> None:
        since = self.begin() if parcels else None
        for parcel in parcels:
            parcel.since = since

    def _each(
        self,
        work: Callable[[UploadItem], None],
        parcels: Sequence[UploadItem],
        enough: Callable[[], bool] = lambda: False,
    ) -> int:
        def noted(parcel: UploadItem) -> None:
            try:
                work(parcel)
            except FramelodeError as error:
                parcel.error = error
            except OSError as error:
                parcel.error = place_error(self._what, error)
            if parcel.error is not None:
                parcel.content = b""
                if parcel.temporary:
                    self._drop(parcel)

        return len(self._workers.map(noted, parcels, enough))

    def _read(self, parcel: UploadItem) -> None:
        parcel.error = None
        taken = read_content(FileSource(parcel.path), self._temporaries)
        parcel.digest, parcel.size = taken.digest, taken.size
        parcel.temporary, parcel.content, parcel.mode = taken.temporary, taken.content, taken.mode
        self._protect(parcel)

    def _protect(self, parcel: UploadItem) -> None:
        """Restrict the mode of a temporary copy to that of the file."""
        if parcel.temporary and parcel.mode & READ_ONLY != READ_ONLY:
            path = self._temporary(parcel)
            os.chmod(path, os.stat(path).st_mode & (parcel.mode | stat.S_IRUSR))  # noqa: PTH101, PTH116

    def _stage(self, parcel: UploadItem) -> None:
        """Write a file to a temporary folder, if its folder can be created with one rename."""
        if isinstance(parcel.since, NewFolders) and parcel.content:
            name = parcel.since.name_for(self._path(parcel.name))
            self._write_content(parcel, name)
        else:
            self._write(parcel)

    def _write(self, parcel: UploadItem) -> None:
        if parcel.content:
            self._write_content(parcel)
            return
        copied = copy_readable(FileSource(parcel.path), self._temporaries)
        parcel.temporary, parcel.mode = copied.temporary, copied.mode
        self._protect(parcel)
        if (copied.digest, copied.size) != (parcel.digest, parcel.size):
            raise changed(parcel)

    def _write_content(self, parcel: UploadItem, name: str = "") -> None:
        mode = parcel.mode & READ_ONLY | stat.S_IRUSR
        parcel.temporary, parcel.content = self._temporaries.write(parcel.content, name, mode), b""

    def _temporary(self, parcel: UploadItem) -> str:
        return self._temporaries.path(parcel.temporary)

    def _sync(self, paths: Iterable[str], parcels: Sequence[UploadItem], since: SyncPoint | None) -> None:
        """Make files durable that were written since a point in time."""
        if not parcels:
            return
        try:
            sync_together(self._folder or "/", paths, len(parcels), since)
        except OSError as error:
            for parcel in parcels:
                parcel.error, parcel.uri = place_error(self._what, error), ""

    def _publish_folders(self, parcels: Sequence[UploadItem]) -> None:
        """Rename complete new folders to their final names."""
        files = Counter(parcel.temporary.rpartition("/")[0] for parcel in parcels)
        batches = {parcel.since for parcel in parcels if isinstance(parcel.since, NewFolders)}
        named = {temporary for batch in batches for temporary in batch.publish(files)}
        for parcel in parcels if named else ():
            if parcel.temporary.rpartition("/")[0] in named:
                parcel.temporary, parcel.uri = "", self._uri_of(parcel.name)

    def _publish(self, parcel: UploadItem) -> None:
        temporary, path = self._temporary(parcel), ""

        def create(name: str) -> bool:
            nonlocal path
            path = self._path(name)
            return _link(temporary, path)

        name = settle(parcel, self.root, create, lambda _: _is_same(path, parcel))
        parcel.uri = self._uri_of(name)
        self._drop(parcel)

    def _named(self, parcels: Sequence[UploadItem]) -> Iterator[str]:
        """Yield the files and their parent folders, because another process may have created any of them."""
        folders: set[str] = set()
        for parcel in parcels:
            file = path_or_uri(parcel.uri) or ""
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


def _is_same(path: str, parcel: UploadItem) -> bool:
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_size != parcel.size:
        return False
    try:
        return hash_of(FileSource(path)) == parcel.digest
    except SourceError:  # an unreadable file does not count as sent
        return False
