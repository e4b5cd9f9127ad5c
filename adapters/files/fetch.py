"""Returns local paths for URIs."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import lru_cache

from ...engine.blobs.store import BlobStore
from ...engine.blobs.uris import is_blob_uri, parse_blob_uri
from ...engine.errors import FramelodeError, IntegrityError, NotFoundError, StorageError
from ...engine.sources.hashes import HASH_PREFIX
from ...engine.storage.base import CHUNK_BYTES
from ...engine.storage.regular_files import open_regular
from .cache import Known, LocalCache, suffix_of
from .expectation import Expectation
from .open import IN_PROCESS, current_blobs, filesystem_of, missing, open_source, plain_file, shown

_SUMS_KEPT = 100_000


def fetch(uri: str, size: int | None = None, hash_: str | None = None, anew: bool = False) -> str:
    """Return the local path of the content of a URI.

    With `anew`, a remote file is fetched again if it is in the cache.

    Raises
    ------
    NotFoundError
        The file does not exist.
    IntegrityError
        The content does not match `size` and `hash_`.
    StorageError
        The file cannot be fetched, or the cache cannot be written.
    """
    expected = Expectation(uri, size, hash_)
    if uri.startswith("file:///"):
        return _check_file(expected)
    if is_blob_uri(uri):
        return _fetch_blob(expected, anew)
    cache = LocalCache.of_user()
    if expected.digest is None:
        return _fetch_unhashed(cache, expected, anew)
    found = None if anew else _found(cache, expected.digest, expected)
    return found or str(_fetch(cache, expected)[1])


def _fetch(cache: LocalCache, expected: Expectation) -> tuple[str, object]:
    with open_source(expected.uri) as file:
        return cache.fetch(file, expected, suffix_of(expected.uri))


def _found(cache: LocalCache, digest: str, expected: Expectation) -> str | None:
    """Return the path of a cached file, after a check of its digest and expectation.

    A file that has changed (after a power failure, or because somebody wrote to it) is deleted, to be fetched again.
    """
    path = cache.find(digest, suffix_of(expected.uri))
    if path is None:
        return None
    try:
        identity = _identity(str(path))
        try:
            _sum_of(Expectation(str(path), None, HASH_PREFIX + digest), str(path), *identity)
        except IntegrityError:
            with suppress(
                OSError
            ):  # a file that cannot be deleted cannot be replaced either, which raises then
                path.unlink()
            return None
        if expected.size not in {None, identity[0]} or (expected.hash and expected.digest is None):
            _sum_of(expected, str(path), *identity)
    except OSError:  # another process has just deleted it
        return None
    return str(path)


def _fetch_unhashed(cache: LocalCache, expected: Expectation, anew: bool) -> str:
    """Fetch a file without a known digest. Its filesystem tells whether it has changed."""
    token = _token(expected.uri)
    known = cache.known(expected.uri) if token and not anew else None
    if known is not None and known.token == token:
        found = _found(cache, known.digest, expected)
        if found is not None:
            return found
    digest, path = _fetch(cache, expected)
    if token:
        cache.note(expected.uri, Known(digest, token))
    return str(path)


def _token(uri: str) -> str:
    """Return a value that changes when a file is replaced; empty if its filesystem has none."""
    if uri.partition(":")[0].lower() in IN_PROCESS:
        return ""
    try:
        filesystem, path = filesystem_of(uri)
        filesystem.invalidate_cache()
        info = filesystem.info(path)
    except FileNotFoundError as error:
        raise missing(uri, error) from None
    except FramelodeError:
        raise
    except Exception:  # noqa: BLE001 - whatever is wrong shows when it is opened
        return ""
    names = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "updated", "mtime")
    told = [f"{name}={info[name]}" for name in names if info.get(name) is not None]
    return f"{info.get('size')} {' '.join(told)}" if told else ""


def _fetch_blob(expected: Expectation, anew: bool) -> str:
    """Return the local path of a blob: in a local store, or else in the cache."""
    digest = parse_blob_uri(expected.uri).digest
    with current_blobs() as store:
        try:
            path = _sound_blob(store, digest, expected.uri, anew)
        except IntegrityError:
            store.note_damaged(digest)
            raise
    with _readable(expected.uri):
        identity = _identity(path)
        if expected.size not in {None, identity[0]}:
            raise expected.differs("size", identity[0], expected.size)
        if expected.hash and expected.digest != digest:
            _sum_of(expected, path, *identity)
    return path


def _sound_blob(store: BlobStore, digest: str, uri: str, anew: bool) -> str:
    """Return the path of a blob after a check of its digest."""
    whole = Expectation(uri, None, HASH_PREFIX + digest)
    local = store.local_path(digest)
    if local is None:
        cache = LocalCache.of_user()
        found = None if anew else _found(cache, digest, whole)
        return found or str(_fetch(cache, whole)[1])
    with _readable(uri):
        _sum_of(whole, local, *_identity(local))
    return local


def _check_file(expected: Expectation) -> str:
    with _readable(expected.uri):
        path = str(plain_file(expected.uri))
        identity = _identity(path)
        if expected.size is not None and identity[0] != expected.size:
            raise expected.differs("size", identity[0], expected.size)
        if expected.hash is not None:
            _sum_of(expected, path, *identity)
    return path


@contextmanager
def _readable(uri: str) -> Generator[None, None, None]:
    """Translate the errors of a local file, which may also be deleted while it is compared."""
    try:
        yield
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {shown(uri)}") from None
    except OSError as error:
        raise StorageError(f"{shown(uri)} cannot be read: {error.strerror or error}") from error


@lru_cache(_SUMS_KEPT)
def _sum_of(expected: Expectation, path: str, *identity: int) -> None:  # noqa: ARG001 - a changed file is another one
    """Compare a local file with the expectation, once for each state of it."""
    check = expected.begin()
    with open_regular(path) as file:
        while data := file.read(CHUNK_BYTES):
            check.update(data)
    check.finish()


def _identity(path: str) -> tuple[int, int, int]:
    found = os.stat(path)  # noqa: PTH116
    return found.st_size, found.st_mtime_ns, found.st_ino
