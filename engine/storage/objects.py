"""Objects below a prefix of an fsspec filesystem, with retries and translated errors."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from .. import forks
from ..errors import UsageError
from ..iterables import chunked
from ..secrets import find_secret, redact_url
from .base import WAITS, BackendError
from .object_errors import has_timed_out, install_hint, is_permanent, is_taken, reason
from .urls import OBJECT_STORES, scheme_of

logger = logging.getLogger("framelode.objects")

_DELETED_AT_ONCE = 1000

_MODIFIED = ("mtime", "LastModified", "last_modified", "updated", "created")

Result = TypeVar("Result")


class ObjectPrefix:
    """A folder or prefix of an fsspec filesystem.

    Parameters
    ----------
    url : str
        An fsspec URL such as ``s3://bucket/blobs`` or ``memory://blobs``.
    filesystem : fsspec filesystem, optional
        An existing filesystem. `url` is then a path on it.
    what : str
        Name of the prefix in messages.
    sleep : callable
        Function that waits; replaced in tests.

    Raises
    ------
    UsageError
        The protocol of the URL is unknown, or its library is not installed.
    """

    def __init__(
        self,
        url: str,
        filesystem: Any = None,
        what: str = "blob store",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.name = redact_url(self.url)
        self._what = what
        self.given = filesystem
        self._sleep = sleep
        forks.renewed(self._renew)
        protocol = self.fs.protocol
        self.protocols = frozenset(protocol if isinstance(protocol, tuple | list) else (protocol,))

    def _renew(self) -> None:
        self._opened: tuple[Any, str] | None = None

    @property
    def fs(self) -> Any:
        """The filesystem. A forked child opens a new one."""
        return self._connection()[0]

    @property
    def root(self) -> str:
        """The path of the prefix on the filesystem."""
        return self._connection()[1]

    @property
    def is_store(self) -> bool:
        """Whether this is an object store, in which buckets are never created implicitly."""
        return not self.protocols.isdisjoint(OBJECT_STORES)

    @property
    def _speaks_s3(self) -> bool:
        return not self.protocols.isdisjoint({"s3", "s3a"})

    @property
    def puts_whole(self) -> bool:
        """Whether uploads are atomic for readers."""
        return self.is_store or "memory" in self.protocols

    def _connection(self) -> tuple[Any, str]:
        self._opened = self._opened or self._connect()
        return self._opened

    def _connect(self) -> tuple[Any, str]:
        if self.given is not None:
            return self.given, self.given._strip_protocol(self.url)  # noqa: SLF001 - fsspec's own way to say it
        filesystem, root = open_filesystem(self.url, f"the {self._what} {self.name}", **self._options())
        return without_retries(filesystem), root.rstrip("/")

    def _options(self) -> dict[str, Any]:
        scheme = scheme_of(self.url)
        # Others write into the same bucket, so listings must not be cached.
        own = {"use_listings_cache": False} if scheme in OBJECT_STORES else {}
        return own | timeout_options(scheme)

    def at(self, name: str) -> str:
        """Return the path of a relative name."""
        return f"{self.root}/{name}" if name else self.root

    @contextmanager
    def translated(self) -> Generator[None, None, None]:
        """Translate errors of the filesystem into `BackendError`. `FileNotFoundError` is not translated."""
        try:
            yield
        except (FileNotFoundError, UsageError, BackendError):
            raise
        except Exception as error:  # the error types depend on the filesystem
            message = f"{self._what} {self.name}: {reason(error)}"
            raise BackendError(message, permanent=is_permanent(error)) from error

    def retry(self, work: Callable[[], Result]) -> Result:
        """Call a function, and retry it with increasing waits while it fails for transient reasons.

        A timeout is not retried, because the library of the store has already retried and waited.
        """
        for wait in WAITS:
            try:
                with self.translated():
                    return work()
            except BackendError as error:
                if error.permanent or has_timed_out(error):
                    raise
                logger.info("%s; retrying in %s s", error, wait)
                self._sleep(wait)
        with self.translated():
            return work()

    @contextmanager
    def writing(self) -> Generator[None, None, None]:
        """Like `translated`, for writes: a `FileNotFoundError` of an object store means that the bucket is missing."""
        try:
            with self.translated():
                yield
        except FileNotFoundError:
            if not self.is_store:
                raise
            raise BackendError(
                f"{self._what} {self.name}: there is no such bucket or container: create it, or correct the URL",
                permanent=True,
            ) from None

    def with_folder(self, path: str, work: Callable[[], Result]) -> Result:
        """Call a function that needs the folder of a path. If it is missing, create it and retry; object stores have none."""
        try:
            return work()
        except FileNotFoundError:
            if self.is_store:
                raise
            self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            return work()

    def keep(self, name: str, data: bytes) -> bool:
        """Put an object under a name derived from its content, if it does not exist. Returns whether it was put.

        An existing object is compared, and replaced if it differs, because then it is damaged. A store that ignores the
        condition writes the same content again.
        """
        path = self.at(name)
        with self.writing():
            try:
                self.fs.pipe_file(path, data, mode="create")
            except Exception as error:
                if not is_taken(error):
                    raise
            else:
                return True
            if self._is_same(path, data):
                return False
            self.fs.pipe_file(path, data)
            return True

    def _is_same(self, path: str, data: bytes) -> bool:
        try:
            return self.fs.info(path, refresh=True)["size"] == len(data) and self.fs.cat_file(path) == data
        except FileNotFoundError:  # deleted meanwhile
            return False

    def read(self, name: str) -> bytes:
        """Return the content of an object. Raises `FileNotFoundError` if it does not exist."""
        return bytes(self.retry(lambda: self.fs.cat_file(self.at(name))))

    def find(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Return the objects below a relative prefix, by name relative to it. The listing is not cached."""

        def look() -> dict[str, dict[str, Any]]:
            self.fs.invalidate_cache()
            return self.fs.find(self.at(prefix), detail=True)

        try:
            found = self.retry(look)
        except FileNotFoundError:
            return {}
        return {below(self.at(prefix), path): info for path, info in found.items()}

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects. Missing objects are ignored."""
        delete = self._delete_on_s3 if self._speaks_s3 else self._delete
        for part in chunked(names, _DELETED_AT_ONCE):
            self.retry(lambda part=part: delete(part))

    def _delete(self, names: Sequence[str]) -> None:
        try:
            self.fs.rm([self.at(name) for name in names])
        except FileNotFoundError:
            left = [name for name in names if self.is_there(name)]
            if left:
                self._delete(left)

    def _delete_on_s3(self, names: Sequence[str]) -> None:
        # s3fs first looks for each object, and does not report those that the store refuses to delete.
        bucket, root, _ = self.fs.split_path(self.root)
        keys = [{"Key": f"{root}/{name}" if root else name} for name in names]
        answer = self.fs.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        for error in answer.get("Errors", ()):
            if error.get("Code") == "NoSuchKey":
                continue
            message = f"{self._what} {self.name}: {error.get('Key')} was not deleted: {error.get('Code')}"
            raise BackendError(message, permanent=error.get("Code") == "AccessDenied")

    def is_there(self, name: str) -> bool:
        """Whether an object exists."""
        try:
            return self.fs.info(self.at(name), refresh=True)["type"] == "file"
        except FileNotFoundError:
            return False

    def drop_unfinished(self, older_than: float) -> int:
        """Abort the multipart uploads below the prefix that started more than `older_than` seconds ago. Returns their number.

        A killed process leaves the parts that it uploaded, which are invisible but cost money. Only S3 keeps them forever.
        """
        if not self._speaks_s3:
            return 0
        bucket, prefix, _ = self.fs.split_path(f"{self.root}/")
        dropped = 0
        for upload in self._unfinished(bucket, prefix):
            if time.time() - upload["Initiated"].timestamp() > older_than:
                key, number = upload["Key"], upload["UploadId"]
                self.fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=number)
                dropped += 1
        return dropped

    def _unfinished(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        marks: dict[str, str] = {}
        while True:
            page = self.fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marks)
            yield from page.get("Uploads", ())
            if not page.get("IsTruncated"):
                return
            marks = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def below(root: str, name: str) -> str:
    """Return a path relative to a root."""
    return name.rstrip("/").removeprefix(root).lstrip("/")


def modified(info: dict[str, Any]) -> float:
    """Return the modification time of an object in seconds since 1970; 0 if the filesystem does not report one."""
    value = next((info[key] for key in _MODIFIED if info.get(key) is not None), 0)
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value) if isinstance(value, int | float) else 0.0


PROTOCOLS_VARIABLE = "FRAMELODE_PROTOCOLS"
"""Environment variable with additional protocols that URLs may use, separated by commas."""

_ALLOWED = frozenset(
    "file local memory data http https s3 s3a gs gcs az azure abfs abfss".split()  # noqa: SIM905
)

_PATH = re.compile(r"[/.\\]")

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 60.0
"""Timeouts for Google Cloud Storage, which has none by default."""

_GOOGLE = ("gs", "gcs")


def timeout_options(scheme: str) -> dict[str, Any]:
    """Return the timeout options for a scheme whose filesystem has no timeouts by default, unless they are configured."""
    if scheme not in _GOOGLE:
        return {}
    from aiohttp import ClientTimeout
    from fsspec.config import conf

    if any("requests_timeout" in conf.get(name, {}) for name in _GOOGLE):
        return {}
    return {
        "requests_timeout": ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
    }


def open_filesystem(url: str, name: str, **options: Any) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URL and the path on it.

    The URL may come from a log, a settings file or a manifest of another user, and some filesystems of fsspec download
    code, execute it, or open further URLs (a chain such as ``simplecache::https://...``). Therefore only the protocols of
    files and object stores are allowed, and those in `FRAMELODE_PROTOCOLS`. After an allowed protocol, ``::`` is part of
    the path.

    Parameters
    ----------
    url : str
        The URL, in the form of fsspec.
    name : str
        Name of the URL in messages.
    options : Any
        Options of the filesystem.

    Raises
    ------
    UsageError
        A protocol is unknown or not allowed, or its library is not installed.
    """
    protocols = _protocols(url)
    asked_for = {each.strip().lower() for each in os.environ.get(PROTOCOLS_VARIABLE, "").split(",")}
    for protocol in protocols:
        if protocol.lower() not in _ALLOWED | asked_for:
            raise UsageError(
                f"{name} is not opened: the protocol {protocol!r} is not allowed; if you trust the URL, "
                f"add {protocol} to {PROTOCOLS_VARIABLE}"
            )
    import fsspec
    from fsspec.core import url_to_fs

    try:
        if len(protocols) > 1:
            return url_to_fs(url, **options)
        kind: Any = fsspec.get_filesystem_class(protocols[0])
        options = kind._get_kwargs_from_urls(url) | options  # noqa: SLF001 - what `url_to_fs` does
        return fsspec.filesystem(protocols[0], **options), kind._strip_protocol(url)  # noqa: SLF001
    except (ImportError, ValueError) as error:
        raise UsageError(f"{name} cannot be opened: {error}{install_hint(url, error)}") from (
            None if find_secret(url) else error
        )


def _protocols(url: str) -> list[str]:
    """Return the protocols of the filesystems that fsspec would open for a URL, outermost first."""
    first, colon, _ = url.partition(":")
    if not colon or "/" in first:
        return ["file"]
    if first.lower() in _ALLOWED:
        return [first]
    links = url.split("::")
    return [link.partition(":")[0] if ":" in link or not _PATH.search(link) else "file" for link in links]


def without_retries(filesystem: Any) -> Any:
    """Return a filesystem without the retries of boto, because s3fs retries as well."""
    if hasattr(filesystem, "call_s3"):
        filesystem.retries = 1
    return filesystem
