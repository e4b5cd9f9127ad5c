"""Reads contents in chunks, and detects changes while they are read."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol, Self

import msgspec
from blake3 import blake3

from ..errors import FramelodeError, IntegrityError
from ..storage import held_files
from ..storage.base import CHUNK_BYTES, BackendError, Sink, TemporaryFiles
from .backend import BlobBackend
from .verifying_reader import check_hash

_BUFFER_BYTES = 256 * 1024
"""Small enough to stay in the CPU cache between reading and writing."""

PathLike = str | os.PathLike[str]


class SourceError(FramelodeError):
    """A source cannot be read, or changed while it was read."""

    code = "source"


def is_transient(error: FramelodeError | None) -> bool:
    """Whether a store refused a content for a reason that may pass: a retry may help."""
    if error is None or isinstance(error, SourceError):
        return False
    return not (isinstance(error, BackendError) and error.permanent)


class Content(Protocol):
    """A content that is being read.

    Attributes
    ----------
    mode : int
        Mode of its file. Contents without a file have a mode that everyone can read.
    """

    mode: int

    def read(self) -> bytes:
        """Return the next chunk, empty at the end."""
        ...

    def read_on(self) -> bytes | memoryview:
        """Return the next chunk, empty at the end. The next call may overwrite it."""
        ...

    def check(self) -> None:
        """Raise `SourceError` if the content may have changed while it was read."""
        ...


class Readable(Protocol):
    """A source that can be read, usually more than once."""

    name: str

    def open(self) -> Any:
        """Open the content, as a context manager."""
        ...


class FileSource(msgspec.Struct, gc=False):
    """A local file.

    Attributes
    ----------
    name : str
        Path of the file.
    """

    name: str

    def open(self) -> FileContent:
        """Open the file. Raises an error if it is not a regular file."""
        try:
            # Without O_NONBLOCK, opening a pipe without a writer would block.
            descriptor = os.open(self.name, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.name} cannot be read: {_reason(error)}") from error
        try:
            return FileContent(self.name, descriptor)
        except BaseException:
            held_files.close(descriptor)
            raise


class FileContent:
    """An open regular file, closed by a `with` block."""

    __slots__ = ("_before", "_buffer", "_descriptor", "_left", "mode", "name")

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor
        self._before = os.fstat(descriptor)
        self._left = self._before.st_size
        self.mode = self._before.st_mode
        self._buffer: tuple[io.FileIO, memoryview] | None = None
        if not stat.S_ISREG(self._before.st_mode):
            kind = "folder" if stat.S_ISDIR(self._before.st_mode) else "special file"
            raise SourceError(f"{name} is a {kind}: only regular files can be stored")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        held_files.close(self._descriptor, self._before)

    def read(self) -> bytes:
        """Return the next chunk, empty at the end."""
        if not self._left:
            return b""
        try:
            data = os.read(self._descriptor, min(self._left, CHUNK_BYTES))
        except OSError as error:
            raise SourceError(f"{self.name} cannot be read: {_reason(error)}") from error
        self._left -= len(data)
        return data

    def read_on(self) -> memoryview:
        """Return the next chunk in a reused buffer, because allocating a new one is as slow as reading."""
        if self._buffer is None:
            view = memoryview(bytearray(_BUFFER_BYTES))
            self._buffer = io.FileIO(self._descriptor, closefd=False), view
        file, view = self._buffer
        view = view[: self._left]
        try:
            count = file.readinto(view) if view else 0
        except OSError as error:
            raise SourceError(f"{self.name} cannot be read: {_reason(error)}") from error
        self._left -= count or 0
        return view[: count or 0]

    def check(self) -> None:
        """Raise `SourceError` if the file was changed or replaced since it was opened."""
        try:
            after = os.stat(self.name)  # noqa: PTH116 - a Path for each file costs more than the call
        except OSError as error:
            raise SourceError(f"{self.name} was deleted while it was read: {_reason(error)}") from error
        if self._left or not _is_same(after, self._before):
            raise SourceError(
                f"{self.name} changed while it was read: store it again when nothing writes to it"
            )


class StreamSource:
    """An open stream, or bytes.

    Parameters
    ----------
    stream : binary file
        Read from its current position. Without seek support it can be read only once.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.name = str(getattr(stream, "name", "a stream"))
        self._stream = stream
        self._start = stream.tell() if stream.seekable() else None
        self._is_read = False

    @contextmanager
    def open(self) -> Generator[Content, None, None]:
        """Yield the content of the stream."""
        if self._is_read and self._start is None:
            raise SourceError(f"{self.name} cannot be read again: pass a stream that can seek")
        if self._is_read and self._start is not None:
            self._stream.seek(self._start)
        self._is_read = True
        yield _StreamContent(self.name, self._stream)


class _StreamContent:
    mode = 0o444

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self.name = name
        self._stream = stream

    def read(self) -> bytes:
        try:
            return self._stream.read(CHUNK_BYTES)
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.name} cannot be read: {_reason(error)}") from error

    def read_on(self) -> bytes:
        """Return the next chunk."""
        return self.read()

    def check(self) -> None:
        """Do nothing: a stream cannot tell whether its content changed."""


class BlobSource:
    """A blob of another store.

    Parameters
    ----------
    place : BlobBackend
        The store.
    digest : str
        Digest of the blob, which the content must match.
    """

    __slots__ = ("_place", "name")

    def __init__(self, place: BlobBackend, digest: str) -> None:
        self.name = digest
        self._place = place

    @contextmanager
    def open(self) -> Generator[Content, None, None]:
        """Yield the content of the blob."""
        path = self._place.path(self.name)
        try:
            file = self._place.open(self.name)
        except FileNotFoundError as error:
            raise SourceError(f"there is no blob {self.name} ({path})") from error
        except IntegrityError as error:
            raise SourceError(str(error)) from error
        with file:
            yield _BlobContent(file, self.name, path)


class _BlobContent:
    """The content of a blob, hashed while it is read."""

    mode = 0o444

    def __init__(self, file: BinaryIO, digest: str, path: str) -> None:
        self._file = file
        self._digest = digest
        self._path = path
        self._hasher = blake3()

    def read(self) -> bytes:
        """Return the next chunk, empty at the end."""
        try:
            data = self._file.read(CHUNK_BYTES)
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read: {_reason(error)}") from error
        self._hasher.update(data)
        return data

    def read_on(self) -> bytes:
        """Return the next chunk."""
        return self.read()

    def check(self) -> None:
        """Raise `SourceError` if the content does not match the digest."""
        try:
            check_hash(self._digest, self._hasher.hexdigest(), self._path)
        except IntegrityError as error:
            raise SourceError(str(error)) from error


def first_chunk(content: Content) -> bytes:
    """Return the first bytes of a content, or all if it is smaller than `CHUNK_BYTES`."""
    first = content.read()
    while len(first) < CHUNK_BYTES and (more := content.read()):
        first += more
    return first


def copy_content(content: Content, data: bytes | memoryview, sink: Sink) -> tuple[str, int]:
    """Write and hash a content chunk by chunk, starting with its first bytes. Return its digest and size."""
    hasher, size = blake3(), 0
    while data:
        hasher.update(data)
        sink.write(data)
        size += len(data)
        data = content.read_on()
    return hasher.hexdigest(), size


def _is_same(after: os.stat_result, before: os.stat_result) -> bool:
    return (
        after.st_mtime_ns == before.st_mtime_ns
        and after.st_size == before.st_size
        and after.st_ino == before.st_ino
        and after.st_dev == before.st_dev
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class Taken(msgspec.Struct, gc=False):
    """A content that was read.

    Attributes
    ----------
    digest : str
        blake3, 64 hex digits.
    size : int
        Size in bytes.
    content : bytes
        The content, if it is small and not written yet.
    temporary : str
        Name of its temporary copy, if it was written.
    mode : int
        Mode of the file. Contents without a file have a mode that everyone can read.
    """

    digest: str
    size: int
    content: bytes = b""
    temporary: str = ""
    mode: int = 0o444


def read_content(source: Readable, scratch: TemporaryFiles) -> Taken:
    """Read a content. A small one is kept in memory, a larger one is copied to a temporary file."""
    with source.open() as content:
        first = first_chunk(content)
        if len(first) >= CHUNK_BYTES:
            return _copied(content, first, scratch)
        content.check()
    return Taken(blake3(first).hexdigest(), len(first), first, mode=content.mode)


def hash_of(source: Readable) -> str:
    """Return the blake3 of a content."""
    hasher = blake3()
    with source.open() as content:
        while data := content.read():
            hasher.update(data)
        content.check()
    return hasher.hexdigest()


def copy_readable(source: Readable, scratch: TemporaryFiles) -> Taken:
    """Copy a content of any size to a temporary file."""
    with source.open() as content:
        return _copied(content, first_chunk(content), scratch)


def _copied(content: Content, first: bytes, scratch: TemporaryFiles) -> Taken:
    sink = scratch.create()
    try:
        try:
            digest, size = copy_content(content, first, sink)
        finally:
            sink.close()
        content.check()
    except BaseException:
        scratch.discard(sink.name)
        raise
    return Taken(digest, size, temporary=sink.name, mode=content.mode)
