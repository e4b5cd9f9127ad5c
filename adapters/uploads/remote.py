"""Common base of uploads over a network: objects that are created atomically under a free name."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence

from blake3 import blake3

from ...engine import forks
from ...engine.blobs.content import Content, FileSource
from ...engine.blobs.ingest import BATCH_BYTES
from ...engine.errors import FramelodeError, UsageError
from ...engine.parallel import ByteBudget, ThreadWorkers
from ...engine.storage.base import BackendError
from ...engine.storage.circuit_breaker import CircuitBreaker
from .destination import Destination, UploadItem, Wanted, changed, decoded_parts, settle

WHOLE_BYTES = 8 * 1024 * 1024
"""Files up to this size are sent from memory in one request. Larger ones are streamed."""

_THREADS = 16
_LARGE_AT_ONCE = 4
_NAME_BYTES = 1024


class RemoteDestination(Destination):
    """Objects below a URL.

    A file is compared with what was read before its last bytes are sent, so a changed file never becomes an object. An
    object is durable when the server has confirmed it, so no sync is needed.

    Parameters
    ----------
    root : str
        The normalized URL.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._workers = ThreadWorkers(_THREADS, "framelode-uploads")
        self._breaker = CircuitBreaker()
        forks.renewed(self._renew)

    def _renew(self) -> None:
        # Each streamed file keeps several parts in memory.
        self._large = threading.BoundedSemaphore(_LARGE_AT_ONCE)

    def read(self, items: Sequence[UploadItem], wanted: Wanted | None = None) -> int:  # noqa: ARG002 - nothing is staged
        """Hash files."""
        portion = ByteBudget(BATCH_BYTES)

        def read(item: UploadItem) -> None:
            _read(item)
            portion.add(item.size)

        return len(self._workers.map(read, items, portion.is_full))

    def send(self, items: Sequence[UploadItem]) -> None:
        """Write objects."""
        self._workers.map(self._send, items)

    def discard(self, items: Sequence[UploadItem]) -> None:
        """Do nothing: there are no temporary copies."""

    def holds(self, uri: str, size: int) -> bool:
        """Whether an object exists with its size."""
        return self._size(self._inside(uri)) == size

    def delete(self, uris: Sequence[str]) -> None:
        """Delete objects."""
        errors = self._workers.map(self._delete_noted, [self._inside(uri) for uri in uris])
        for error in errors:
            if error is not None:
                raise error

    @abstractmethod
    def _create(self, uri: str, data: bytes) -> bool:
        """Create an object. Return False, without writing, if it exists."""

    @abstractmethod
    def _create_large(self, uri: str, size: int, chunks: Iterator[bytes]) -> bool:
        """Create an object from chunks. If they raise, no part of it is left."""

    @abstractmethod
    def _size(self, uri: str) -> int | None:
        """Return the size of an object, or None if it does not exist."""

    @abstractmethod
    def _chunks(self, uri: str, size: int) -> Iterator[bytes]:
        """Yield the bytes of an object."""

    @abstractmethod
    def _delete(self, uri: str) -> None:
        """Delete an object, which may be missing."""

    def _send(self, item: UploadItem) -> None:
        item.error, item.uri = None, ""
        try:
            decoded_parts(item.name)
            with self._breaker.asking():
                name = settle(
                    item,
                    self.root,
                    lambda name: self._put(item, name),
                    lambda name: self._is_same(item, name),
                )
            item.uri = f"{self.root}/{name}"
        except FramelodeError as error:
            item.error = error

    def _put(self, item: UploadItem, name: str) -> bool:
        if len(name) > _NAME_BYTES:
            raise BackendError(
                f"destination {self.root}: the name is longer than {_NAME_BYTES} bytes: {name}",
                permanent=True,
            )
        uri = f"{self.root}/{name}"
        with FileSource(item.path).open() as content:
            chunks = _checked(content, item)
            if item.size <= WHOLE_BYTES:
                return self._create(uri, b"".join(chunks))
            with self._large:
                return self._create_large(uri, item.size, chunks)

    def _is_same(self, item: UploadItem, name: str) -> bool:
        uri = f"{self.root}/{name}"
        if self._size(uri) != item.size:
            return False
        hasher, size = blake3(), 0
        for chunk in self._chunks(uri, item.size):
            hasher.update(chunk)
            size += len(chunk)
            if size > item.size:  # a server may send without end
                return False
        return hasher.hexdigest() == item.digest

    def _delete_noted(self, uri: str) -> BackendError | None:
        try:
            self._delete(uri)
        except BackendError as error:
            return error
        return None

    def _inside(self, uri: str) -> str:
        if not uri.startswith(f"{self.root}/"):
            raise UsageError(f"{uri} is not in the destination {self.root}")
        return uri


def _read(item: UploadItem) -> None:
    item.error = None
    hasher, size = blake3(), 0
    try:
        with FileSource(item.path).open() as content:
            while data := content.read():
                hasher.update(data)
                size += len(data)
            content.check()
    except FramelodeError as error:
        item.error = error
    item.digest, item.size = hasher.hexdigest(), size


def _checked(content: Content, item: UploadItem) -> Iterator[bytes]:
    """Yield a file's chunks, the last one only if the file is unchanged. Otherwise raise `SourceError`."""
    hasher, size, held = blake3(), 0, b""
    while data := content.read():
        hasher.update(data)
        size += len(data)
        if size > item.size:
            raise changed(item)
        if held:
            yield held
        held = data
    if hasher.hexdigest() != item.digest:
        raise changed(item)
    yield held
