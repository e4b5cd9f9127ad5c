"""Blobs on any fsspec filesystem: object stores, memory, servers."""

from __future__ import annotations

import io
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Any, BinaryIO, cast

from .. import forks
from ..storage.base import TEMPORARY, BackendError, Sink, SyncPoint
from ..storage.circuit_breaker import CircuitBreaker
from ..storage.object_errors import is_taken
from ..storage.objects import ObjectPrefix, below, modified
from .backend import OWN_NAMES, BlobBackend, Entry, blob_name, digest_from_name

logger = logging.getLogger("framelode.blobs")

_THREADS = 16
_READ_BYTES = 8 * 1024 * 1024
_PART_BYTES = 8 * 1024 * 1024
_PARTS_OF_ONE_SIZE = 1_000


class FsspecBackend(BlobBackend):
    """A folder or prefix of an fsspec filesystem.

    Small content is put under its final name at once, if the name is free. Large content is streamed to a temporary name
    and moved by the filesystem, with a copy inside the store if it cannot rename. Filesystems guarantee durability when a
    file is closed, so no sync is needed.

    Parameters
    ----------
    url : str
        An fsspec URL such as ``s3://bucket/blobs`` or ``memory://blobs``.
    filesystem : fsspec filesystem, optional
        An existing filesystem. `url` is then a path on it.
    sleep : callable
        Function that waits before a retry; replaced in tests.

    Raises
    ------
    UsageError
        The protocol of the URL is unknown, or its library is not installed.
    """

    def __init__(self, url: str, filesystem: Any = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self.objects = ObjectPrefix(url, filesystem, sleep=sleep)
        self.name = self.objects.name
        self.threads = _THREADS
        self.breaker = CircuitBreaker()
        # Readers of a file in memory share its position.
        self._in_memory = "memory" in self.objects.protocols
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._reading: AbstractContextManager[Any] = threading.RLock() if self._in_memory else nullcontext()

    @property
    def _fs(self) -> Any:
        return self.objects.fs

    def _at(self, name: str) -> str:
        return self.objects.at(name)

    def opener(self) -> Callable[[], BlobBackend]:
        """Return a function that opens the backend in another process."""
        return partial(FsspecBackend, self.objects.url, self.objects.given)

    def create(self) -> Sink:
        """Create a temporary file."""
        name = uuid.uuid4().hex
        path = self._at(f"{TEMPORARY}/{name}")
        with self.objects.writing():
            file = self.objects.with_folder(path, lambda: self._fs.open(path, "wb", block_size=_PART_BYTES))
        return _ObjectSink(name, file, self)

    def put_whole(self, data: bytes, digest: str) -> bool:
        """Write small content under its final name if uploads are atomic."""
        if not self.objects.puts_whole:
            return False
        with self.breaker.asking():
            self.objects.keep(blob_name(digest), data)
        return True

    def discard(self, temporary: str) -> None:
        """Delete a temporary file."""
        try:
            with self.breaker.asking(), self.objects.translated():
                self._fs.rm_file(self._at(f"{TEMPORARY}/{temporary}"))
        except Exception:  # noqa: BLE001 - whatever is left is cleaned up by age
            return

    def sync_written(self, temporaries: Sequence[str], since: SyncPoint) -> None:
        """Do nothing: a closed file is durable."""

    def move(self, temporary: str, digest: str) -> None:
        """Rename a temporary file to its final name."""
        source, target = self._at(f"{TEMPORARY}/{temporary}"), self._at(blob_name(digest))
        if self.objects.is_store:
            self.objects.retry(lambda: self._fs.cp_file(source, target))
            self.discard(temporary)
            return
        with self.objects.translated():
            self.objects.with_folder(target, lambda: self._fs.mv(source, target))

    def sync_moved(self, digests: Sequence[str], since: SyncPoint) -> None:
        """Do nothing: a move is durable."""

    def size(self, digest: str) -> int | None:
        """Return the size of a blob; None if it does not exist."""
        try:
            found = self.objects.retry(lambda: self._fs.info(self._at(blob_name(digest)), refresh=True))
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def read_range(self, digest: str, start: int, stop: int | None) -> bytes:
        """Return a byte range of a blob."""
        size = self.size(digest)
        if size is None:
            raise FileNotFoundError(self.path(digest))
        stop = size if stop is None else min(stop, size)
        return self.read_within(digest, start, stop) if start < stop else b""

    def read_within(self, digest: str, start: int, stop: int) -> bytes:
        """Return a byte range that is inside a blob."""

        def read() -> bytes:
            with self._reading:
                return bytes(self._fs.cat_file(self._at(blob_name(digest)), start=start, end=stop))

        return self.objects.retry(read)

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading, a few megabytes at a time."""
        size = self.size(digest)
        if size is None:
            raise FileNotFoundError(self.path(digest))
        return cast("BinaryIO", io.BufferedReader(_RangeReader(self, digest, size), _READ_BYTES))

    def delete(self, digests: Sequence[str]) -> None:
        """Delete blobs."""
        self.objects.delete([blob_name(digest) for digest in digests])

    def names(self, folder: str = "") -> list[str]:
        """Return the names in the backend or in a folder of it."""
        root = self._at(folder)
        return sorted(below(root, info["name"]) for info in self._listed(root))

    def _listed(self, root: str) -> list[dict[str, Any]]:
        def look() -> list[dict[str, Any]]:
            self._fs.invalidate_cache()
            return self._fs.ls(root, detail=True)

        try:
            return self.objects.retry(look)
        except FileNotFoundError:
            return []

    def read_note(self, name: str) -> bytes | None:
        """Return a small object; None if it does not exist."""
        try:
            with self._reading:
                return self.objects.read(name)
        except FileNotFoundError:
            return None

    def write_note(self, name: str, data: bytes, *, replace: bool = False) -> bool:
        """Write a small object. Unless `replace` is set, only if it does not exist."""
        path = self._at(name)

        def write() -> bool:
            try:
                self._fs.pipe_file(path, data, mode="overwrite" if replace else "create")
            except Exception as error:
                if replace or not is_taken(error):
                    raise
                return False
            return True

        with self.objects.writing():
            return self.objects.retry(lambda: self.objects.with_folder(path, write))

    def drop_note(self, name: str) -> None:
        """Delete a small object."""
        self.objects.delete([name])

    def entries(self) -> Iterator[Entry]:
        """Yield all files, one prefix at a time."""
        root = self.objects.root
        for info in sorted(self._listed(root), key=lambda info: info["name"]):
            name = below(root, info["name"])
            if name in OWN_NAMES:
                continue
            if info["type"] == "file":
                yield self._entry(name, info)
            else:
                found = self.objects.find(name)
                yield from (self._entry(f"{name}/{file}", found[file]) for file in sorted(found))

    def _entry(self, name: str, info: dict[str, Any]) -> Entry:
        return Entry(name, digest_from_name(name), int(info["size"] or 0), modified(info))

    def clean(self, older_than: float) -> int:
        """Delete temporary files without recent writes, and abort unfinished uploads."""
        try:
            # Not retried: nobody should wait for this if the store is down.
            with self.objects.translated():
                dropped = self.objects.drop_unfinished(older_than)
            written = {name: modified(info) for name, info in self.objects.find(TEMPORARY).items()}
            old = [name for name, when in written.items() if when and time.time() - when > older_than]
            self.objects.delete([f"{TEMPORARY}/{name}" for name in old])
            return len(old) + dropped
        except (BackendError, FileNotFoundError) as error:
            # The caller continues to store; a later call cleans up.
            logger.info("the leftovers of %s were not deleted: %s", self.name, error)
            return 0


class _ObjectSink(Sink):
    def __init__(self, name: str, file: Any, place: FsspecBackend) -> None:
        self.name = name
        self._file = file
        self._place = place
        self._left = _PART_BYTES * _PARTS_OF_ONE_SIZE

    def write(self, data: bytes | memoryview) -> None:
        try:
            with self._place.objects.writing():
                self._file.write(bytes(data))
        except BackendError as error:
            self._place.breaker.note(error)
            raise
        self._left -= len(data)
        if self._left <= 0 and hasattr(self._file, "blocksize"):
            # Parts are kept in memory, and stores allow only some thousands of them, so their size grows with the file. Each stays
            # smaller than the file, because s3fs uploads anything smaller than one part as a single object.
            self._file.blocksize *= 2
            self._left = self._file.blocksize * _PARTS_OF_ONE_SIZE

    def close(self) -> None:
        try:
            with self._place.breaker.asking(), self._place.objects.writing():
                self._file.close()
        except BaseException:
            with suppress(AttributeError):
                self._file.closed = (
                    True  # otherwise fsspec sends it again on garbage collection, in any thread
                )
            raise


class _RangeReader(io.RawIOBase):
    """Reads a blob by ranges, so that readers never share a file position."""

    def __init__(self, place: FsspecBackend, digest: str, size: int) -> None:
        self._place, self._digest, self._size = place, digest, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        data = self._place.read_within(self._digest, self._at, stop)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
