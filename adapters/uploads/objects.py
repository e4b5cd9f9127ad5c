"""Uploads to object stores, and to memory, through fsspec."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ...engine import forks
from ...engine.errors import FramelodeError
from ...engine.frames.content_types import content_type_of
from ...engine.storage.base import BackendError
from ...engine.storage.object_errors import is_permanent, is_taken, reason
from ...engine.storage.objects import timeout_options, without_retries
from .destination import UploadItem
from .remote import RemoteDestination

PART_BYTES = 8 * 1024 * 1024
"""Minimum size of the parts of a large object. Parts are larger if there would be too many."""

_MOST_PARTS = 9_000
_GRAIN = 1024 * 1024


def _renew() -> None:
    """Create the lock for writers to the memory filesystem."""
    global _memory  # noqa: PLW0603 - a lock of the process
    _memory = threading.Lock()


forks.renewed(_renew)


class ObjectDestination(RemoteDestination):
    """A bucket, a prefix in a bucket, or a folder in memory.

    Objects are created with a condition that no object exists, which the stores check. On S3-compatible servers, the name
    is also queried first, because older ones ignore the condition.

    Parameters
    ----------
    root : str
        The normalized URL.
    protocol, path : str
        The fsspec filesystem, and the root in it.
    options : dict
        Options of the filesystem.
    """

    def __init__(self, root: str, protocol: str, path: str, options: dict[str, Any]) -> None:
        super().__init__(root)
        self._protocol = protocol
        self._path = path
        # Others write to the same bucket, so a cached listing would be stale.
        self._options = {"use_listings_cache": False, **timeout_options(protocol), **options}

    def _renew(self) -> None:
        super()._renew()
        self._opened: Any = None
        self._opening = threading.Lock()

    @property
    def _fs(self) -> Any:
        """The filesystem. A forked process opens its own."""
        with self._opening:
            if self._opened is None:
                import fsspec

                self._opened = without_retries(fsspec.filesystem(self._protocol, **self._options))
            return self._opened

    def send(self, items: Sequence[UploadItem]) -> None:
        """Write objects."""
        try:
            with self._translated():
                # fsspec caches one filesystem for each thread; opened here, all destinations share it.
                _ = self._fs
        except BackendError as error:
            for item in items:
                item.error = error
            return
        super().send(items)

    def _at(self, uri: str) -> str:
        # In an Azure store, the account has no path.
        return f"{self._path}{uri[len(self.root) :]}" if self._path else uri[len(self.root) + 1 :]

    def _create(self, uri: str, data: bytes) -> bool:
        if self._protocol == "memory":
            return self._create_in_memory(uri, data)
        with self._translated():
            if self._is_there(uri):
                return False
            try:
                self._fs.pipe_file(self._at(uri), data, mode="create", **self._described(uri))
            except Exception as error:
                if is_taken(error):
                    return False
                raise
        return True

    def _create_in_memory(self, uri: str, data: bytes) -> bool:
        with _memory, self._translated():
            try:
                self._fs.pipe_file(self._at(uri), data, mode="create")
            except FileExistsError:
                return False
        return True

    def _create_large(self, uri: str, size: int, chunks: Iterator[bytes]) -> bool:
        if self._protocol == "memory":
            return self._create_in_memory(uri, b"".join(chunks))
        part = max(PART_BYTES, -(-size // _MOST_PARTS // _GRAIN) * _GRAIN)
        with self._translated():
            if self._is_there(uri):
                return False
            file = self._fs.open(self._at(uri), "xb", block_size=part, **self._described(uri))
            try:
                for chunk in chunks:
                    file.write(chunk)
                file.close()
            except BaseException as error:
                _abandon(file)
                if is_taken(error):
                    return False
                raise
        return True

    def _is_there(self, uri: str) -> bool:
        """Whether a name is taken, for stores that may ignore the condition."""
        if self._protocol != "s3":
            return False
        endpoint = self._fs.s3.meta.endpoint_url
        return ".amazonaws.com" not in endpoint and self._size(uri) is not None

    def _described(self, uri: str) -> dict[str, Any]:
        """Return the content type of a file in the form that the library expects."""
        content_type = content_type_of(uri) or "application/octet-stream"
        match self._protocol:
            case "s3":
                return {"ContentType": content_type}
            case "gs":
                return {"content_type": content_type}
            case _:
                return {"content_settings": {"content_type": content_type}}

    def _size(self, uri: str) -> int | None:
        with self._translated():
            try:
                if self._protocol == "s3":  # one request for the object only
                    bucket, key, _ = self._fs.split_path(self._at(uri))
                    return int(self._fs.call_s3("head_object", Bucket=bucket, Key=key)["ContentLength"])
                found = self._fs.info(self._at(uri), refresh=True)
            except FileNotFoundError:
                return None
        return int(found["size"]) if found["type"] == "file" else None

    def _chunks(self, uri: str, size: int) -> Iterator[bytes]:
        for start in range(0, size, PART_BYTES):
            with self._translated():
                yield self._fs.cat_file(self._at(uri), start=start, end=min(start + PART_BYTES, size))

    def _delete(self, uri: str) -> None:
        with self._translated(), suppress(FileNotFoundError):
            self._fs.rm_file(self._at(uri))

    @contextmanager
    def _translated(self) -> Generator[None, None, None]:
        try:
            yield
        except FramelodeError:
            raise
        except Exception as error:  # each filesystem raises the errors of its own library
            message = f"destination {self.root}: {reason(error)}"
            raise BackendError(message, permanent=is_permanent(error)) from error


def _abandon(file: Any) -> None:
    """Abort a partial upload. Closing the file would create the object."""
    with suppress(Exception):
        file.discard()
    file.closed = True
