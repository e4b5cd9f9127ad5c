"""Blobs on any fsspec filesystem: object stores, memory, servers."""

from __future__ import annotations

import io
import os
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO, cast

from .blob_place import TEMPORARY, BlobPlace, Entry, PlaceError, Since, Sink, blob_name, digest_of
from .errors import UsageError
from .object_errors import is_permanent, reason

_THREADS = 16
_READ_BYTES = 8 * 1024 * 1024
_PART_BYTES = 8 * 1024 * 1024
_PARTS_OF_ONE_SIZE = 1_000
_ATOMIC_PUTS = {"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}
_MODIFIED = ("mtime", "LastModified", "last_modified", "updated", "created")


class FsspecPlace(BlobPlace):
    """A folder or prefix of an fsspec filesystem.

    A file is streamed to a temporary name and moved by the filesystem itself: a copy inside the store where it
    has no rename. Its filesystem promises durability when a file is closed, so there is nothing to sync.

    Parameters
    ----------
    url : str
        An fsspec URL such as ``s3://bucket/blobs`` or ``memory://blobs``.
    filesystem : fsspec filesystem, optional
        One made already; `url` is then a path on it.

    Raises
    ------
    UsageError
        The URL is of an unknown kind, or its library is not installed.
    """

    def __init__(self, url: str, filesystem: Any = None) -> None:
        self.name = url.rstrip("/")
        self.threads = _THREADS
        self._given = filesystem
        self._opened: tuple[int, Any, str] | None = None
        protocol = self._fs.protocol
        # Readers of an in-memory file share its file pointer.
        in_memory = "memory" in (protocol if isinstance(protocol, tuple | list) else (protocol,))
        self._reading: AbstractContextManager[Any] = threading.RLock() if in_memory else nullcontext()

    @property
    def _fs(self) -> Any:
        return self._connection()[1]

    def _connection(self) -> tuple[int, Any, str]:
        """Return the filesystem and the path on it, opened anew after a fork."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), *self._connect())
        return self._opened

    def _connect(self) -> tuple[Any, str]:
        if self._given is not None:
            return self._given, self._given._strip_protocol(self.name)  # noqa: SLF001 - fsspec's own way to say it
        from fsspec.core import url_to_fs

        try:
            filesystem, root = url_to_fs(self.name)
        except (ImportError, ValueError) as error:
            raise UsageError(f"the blob store {self.name} cannot be opened: {error}") from error
        return filesystem, root.rstrip("/")

    def _at(self, name: str) -> str:
        return f"{self._connection()[2]}/{name}"

    def opener(self) -> Callable[[], BlobPlace]:
        """Return what opens this place in another process."""
        return partial(FsspecPlace, self.name, self._given)

    def create(self) -> Sink:
        """Begin a temporary file."""
        name = uuid.uuid4().hex
        path = self._at(f"{TEMPORARY}/{name}")
        with self._translated():
            return _ObjectSink(
                name, self._with_folder(path, lambda: self._fs.open(path, "wb", block_size=_PART_BYTES)), self
            )

    def put_whole(self, data: bytes, digest: str) -> bool:
        """Write a small content under its final name where a put is seen whole or not at all."""
        protocol = self._fs.protocol
        if not _ATOMIC_PUTS & set(protocol if isinstance(protocol, tuple | list) else (protocol,)):
            return False
        with self._translated():
            self._fs.pipe_file(self._at(blob_name(digest)), data)
        return True

    def _with_folder(self, path: str, work: Callable[[], Any]) -> Any:
        """Do something that needs the folder of a path, made only when it is missed."""
        try:
            return work()
        except FileNotFoundError:
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            return work()

    def discard(self, temporary: str) -> None:
        """Drop a temporary file."""
        try:
            self._fs.rm_file(self._at(f"{TEMPORARY}/{temporary}"))
        except Exception:  # noqa: BLE001 - whatever is left is cleaned up by age
            return

    def sync_written(self, temporaries: Sequence[str], since: Since) -> None:
        """Do nothing: closing a file made it durable."""

    def move(self, temporary: str, digest: str) -> None:
        """Give a temporary file its final name."""
        source, target = self._at(f"{TEMPORARY}/{temporary}"), self._at(blob_name(digest))
        with self._translated():
            self._with_folder(target, lambda: self._fs.mv(source, target))

    def sync_moved(self, digests: Sequence[str], since: Since) -> None:
        """Do nothing: the move was durable."""

    def size(self, digest: str) -> int | None:
        """Return the bytes of a blob, None when it is not here."""
        try:
            with self._translated():
                found = self._fs.info(self._at(blob_name(digest)), refresh=True)
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def read_range(self, digest: str, start: int, stop: int | None) -> bytes:
        """Return a range of a blob's bytes."""
        size = self.size(digest)
        if size is None:
            raise FileNotFoundError(self.path(digest))
        stop = size if stop is None else min(stop, size)
        return self.read_within(digest, start, stop) if start < stop else b""

    def read_within(self, digest: str, start: int, stop: int) -> bytes:
        """Return a range that lies inside a blob."""
        with self._translated(), self._reading:
            return bytes(self._fs.cat_file(self._at(blob_name(digest)), start=start, end=stop))

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading, some megabytes at a time."""
        size = self.size(digest)
        if size is None:
            raise FileNotFoundError(self.path(digest))
        return cast("BinaryIO", io.BufferedReader(_RangeReader(self, digest, size), _READ_BYTES))

    def delete(self, digests: Sequence[str]) -> None:
        """Delete blobs."""
        if not digests:
            return
        try:
            with self._translated():
                self._fs.rm([self._at(blob_name(digest)) for digest in digests])
        except FileNotFoundError:
            self.delete([digest for digest in digests if self.size(digest) is not None])

    def entries(self) -> Iterator[Entry]:
        """Yield every file, a prefix at a time."""
        with self._translated():
            root = self._connection()[2]
            self._fs.invalidate_cache()
            if not self._fs.exists(root):
                return
            for info in sorted(self._fs.ls(root, detail=True), key=lambda info: info["name"]):
                if info["type"] == "file":
                    yield self._entry(root, info)
                elif _below(root, info["name"]) != TEMPORARY:
                    found = self._fs.find(info["name"], detail=True)
                    yield from (self._entry(root, found[name]) for name in sorted(found))

    def _entry(self, root: str, info: dict[str, Any]) -> Entry:
        name = _below(root, info["name"])
        return Entry(name, digest_of(name), int(info["size"] or 0), _modified(info))

    def clean(self, older_than: float) -> int:
        """Drop temporary files that nothing was written to for some seconds."""
        folder, removed = self._at(TEMPORARY), 0
        with self._translated():
            self._fs.invalidate_cache()
            found = self._fs.find(folder, detail=True) if self._fs.exists(folder) else {}
            for name, info in found.items():
                modified = _modified(info)
                if modified and time.time() - modified > older_than:
                    self._fs.rm_file(name)
                    removed += 1
        return removed

    @contextmanager
    def _translated(self) -> Generator[None, None, None]:
        try:
            yield
        except (FileNotFoundError, UsageError):
            raise
        except Exception as error:  # each filesystem raises what its own library raises
            message = f"blob store {self.name}: {reason(error)}"
            raise PlaceError(message, permanent=is_permanent(error)) from error


class _ObjectSink(Sink):
    def __init__(self, name: str, file: Any, place: FsspecPlace) -> None:
        self.name = name
        self._file = file
        self._place = place
        self._left = _PART_BYTES * _PARTS_OF_ONE_SIZE

    def write(self, data: bytes | memoryview) -> None:
        with self._place._translated():  # noqa: SLF001 - of this module
            self._file.write(bytes(data))
        self._left -= len(data)
        if self._left <= 0 and hasattr(self._file, "blocksize"):
            # Parts are kept in memory, and stores take some thousands of them: they grow with what is written, and
            # stay smaller than that, since s3fs takes what is smaller than one part for a file that fits into it.
            self._file.blocksize *= 2
            self._left = self._file.blocksize * _PARTS_OF_ONE_SIZE

    def close(self) -> None:
        with self._place._translated():  # noqa: SLF001
            self._file.close()


class _RangeReader(io.RawIOBase):
    """Reads a blob by ranges, so that two readers never share a place in a file."""

    def __init__(self, place: FsspecPlace, digest: str, size: int) -> None:
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


def _below(root: str, name: str) -> str:
    return name.rstrip("/").removeprefix(root).lstrip("/")


def _modified(info: dict[str, Any]) -> float:
    value = next((info[key] for key in _MODIFIED if info.get(key) is not None), 0)
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value) if isinstance(value, int | float) else 0.0
