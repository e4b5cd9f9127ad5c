"""The interface of upload destinations: places that store local files under unique names."""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from urllib.parse import quote, unquote_to_bytes

import msgspec

from ...engine.blobs.content import SourceError, is_transient
from ...engine.errors import FramelodeError
from ...engine.storage.base import BackendError, SyncPoint

NAME_BYTES = 255
"""Maximum length of a decoded name on common file systems."""

_TRIES = 4
_SUFFIX_BYTES = 32
_UNSAFE = frozenset({b"", b".", b".."})
_PLAIN = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*")
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,;=:@/-]|%[0-9A-Fa-f]{2})+")


class UploadItem(msgspec.Struct):
    """A local file to upload.

    Attributes
    ----------
    path : str
        Path of the local file.
    name : str
        Requested name, relative to the destination: percent-encoded parts joined by ``/``.
    fresh : bool
        Use a new name, even if the requested name already has the same content.
    exact : bool
        Accept no other name: the upload fails if the name has another content.
    condemned : collection of str
        Names of objects that are marked for deletion and must not be used.
    digest : str
        blake3 of the content as 64 hex digits, after the file was read.
    size : int
        Size in bytes, after the file was read.
    uri : str
        URI of the content, after it was sent.
    error : FramelodeError or None
        Why the file could not be read or sent.
    temporary : str
        Name of a temporary copy at the destination, or empty.
    content : bytes
        The content, if the destination keeps it in memory.
    mode : int
        Mode of the local file, after it was read.
    since : SyncPoint or None
        A point in time before the temporary copy was written. If not given, it gets its own.
    """

    path: str
    name: str
    fresh: bool = False
    exact: bool = False
    condemned: Collection[str] = ()
    digest: str = ""
    size: int = 0
    uri: str = ""
    error: FramelodeError | None = None
    temporary: str = ""
    content: bytes = b""
    mode: int = 0o444
    since: SyncPoint | None = None

    @property
    def may_try_again(self) -> bool:
        """Whether the destination failed in a way that a retry may fix."""
        return is_transient(self.error)


Wanted = Callable[[UploadItem], bool]


class Destination(ABC):
    """A place that files are uploaded to.

    An object is written atomically and never overwritten. If the requested name is taken, its object is compared with the
    content. An equal object counts as sent (a crash may have come between sending and recording). Otherwise the content
    gets another name (`beside`).

    A failure of a single file is set as its `UploadItem.error`, never raised.

    Attributes
    ----------
    root : str
        URL of the destination, normalized, without a trailing slash. Destinations with the same root are the same.
    files_at_once : int
        Recommended number of files to send together, for files of the size of pictures.
    batches_itself : bool
        Whether it accepts any number of files and splits them itself.
    asking_threads : int
        Number of threads that query it at the same time.
    """

    root: str
    files_at_once: int = 1000
    batches_itself: bool = False
    asking_threads: int = 16

    def begin(self) -> SyncPoint:
        """Start reading and staging files, which share the returned point in time."""
        return SyncPoint()

    @abstractmethod
    def read(self, items: Sequence[UploadItem], wanted: Wanted | None = None) -> int:
        """Hash files in parallel, in order. Sets `digest` and `size`, or `error`; an earlier error is cleared.

        A file that is too large to be read twice may be copied to a temporary name.

        Parameters
        ----------
        wanted : callable, optional
            Tells whether a file that was read has to be sent, as far as known. Such a file may be staged immediately.

        Returns
        -------
        int
            Number of files read. It is less than all if they are as much as can be kept, or sent, together.
        """

    def stage(self, items: Sequence[UploadItem], window: Sequence[UploadItem]) -> None:  # noqa: B027 - most have nothing to begin
        """Begin to send some of the files that were read together, and delete the temporary copies of the others.

        Failures are left to `send`.
        """

    @abstractmethod
    def send(self, items: Sequence[UploadItem]) -> None:
        """Write files that were read, in parallel. They are durable on return. Sets `uri`, or `error`.

        A file that changed after it was read gets a `SourceError`, and nothing of it is stored. All names are different. A
        file that failed before is sent again, and its `error` is cleared.
        """

    @abstractmethod
    def discard(self, items: Sequence[UploadItem]) -> None:
        """Delete the temporary copies of files that are not sent."""

    @abstractmethod
    def holds(self, uri: str, size: int) -> bool:
        """Whether an object that was sent still exists with its size. Raises `BackendError` if this is unknown."""

    @abstractmethod
    def delete(self, uris: Sequence[str]) -> None:
        """Delete objects. Missing objects are ignored.

        It tries all of them, then raises the first `BackendError`. A URI outside of the destination raises `UsageError`.
        """


def beside(name: str, token: str) -> str:
    """Return another name in the same folder: ``images/1.jpg`` and ``ab12`` give ``images/1.ab12.jpg``.

    If the name is too long for a file system, the end of the stem is cut off.
    """
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.rpartition(".")
    if not stem or len(suffix) > _SUFFIX_BYTES:
        stem, dot, suffix = file, "", ""
    end = f".{token}{dot}{suffix}"
    return f"{folder}{slash}{shortened(stem, NAME_BYTES - len(end))}{end}"


def shortened(part: str, size: int) -> str:
    """Return a percent-encoded name shortened to at most `size` decoded bytes, without splitting a character."""
    if len(part) <= size:
        return part
    decoded = unquote_to_bytes(part)
    if len(decoded) <= size:
        return part
    while size and decoded[size] & 0xC0 == 0x80:
        size -= 1
    return quote(decoded[:size], safe="")


def settle(item: UploadItem, root: str, create: Callable[[str], bool], is_same: Callable[[str], bool]) -> str:
    """Find a free name for a file, and send it.

    Parameters
    ----------
    item : UploadItem
        The file, which was read.
    root : str
        URL of the destination, for messages.
    create : callable
        Writes the content under a name. Returns False, without writing, if the name is taken.
    is_same : callable
        Whether the object with a name has the same content.

    Returns
    -------
    str
        The name.
    """
    for name in _names(item):
        if name in item.condemned:
            if item.exact:
                raise BackendError(
                    f"{root}/{name} is marked for deletion with its frames: if no deletion is running, run gc to complete it"
                )
            continue
        if create(name) or (not item.fresh and is_same(name)):
            return name
        if item.exact:
            raise BackendError(
                f"{root}/{name} already has another content, and is never overwritten", permanent=True
            )
    raise BackendError(f"{root}/{item.name} and all alternative names are taken")


def _names(item: UploadItem) -> Iterator[str]:
    yield item.name
    yield beside(item.name, item.digest[:16])
    for _ in range(_TRIES):
        yield beside(item.name, secrets.token_hex(8))


def is_plain(name: str) -> bool:
    """Whether a relative path stays in its folder and needs no percent-encoding. Nearly all do."""
    return _PLAIN.fullmatch(name) is not None


def decoded_parts(name: str) -> list[bytes]:
    """Return the decoded parts of a name. Raises `BackendError` if it is not encoded or leaves its folder."""
    if is_plain(name):
        return name.encode().split(b"/")
    decoded = unquote_to_bytes(name)
    parts = decoded.split(b"/")
    is_safe = _UNSAFE.isdisjoint(parts) and len(parts) == name.count("/") + 1 and b"\0" not in decoded
    if not is_safe or not _ENCODED.fullmatch(name):
        raise BackendError(
            f"the name {name!r} must be percent-encoded, without parts that are empty, '.' or '..' or contain a slash "
            "or a zero byte",
            permanent=True,
        )
    return parts


def changed(item: UploadItem) -> SourceError:
    """Return the error for a file that changed after it was read."""
    return SourceError(
        f"{item.path} changed while it was uploaded: upload it again when nothing writes to it"
    )
