"""The contract of a destination: a place where local files are put under names of their own, once."""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from urllib.parse import quote, unquote_to_bytes

import msgspec

from ...engine.blobs.content import SourceError
from ...engine.errors import FramelodeError
from ...engine.storage.base import BackendError, SyncPoint

NAME_BYTES = 255
"""What file systems take for one name, decoded."""

_TRIES = 4
_SUFFIX_BYTES = 32
_UNSAFE = frozenset({b"", b".", b".."})
_PLAIN = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*")
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,;=:@/-]|%[0-9A-Fa-f]{2})+")


class UploadItem(msgspec.Struct):
    """One local file on its way to a destination.

    Attributes
    ----------
    path : str
        The local file.
    name : str
        Name wanted, relative to the destination, parts joined by ``/`` and percent-encoded.
    fresh : bool
        A name of its own is wanted, even where that name holds the same content already.
    exact : bool
        No other name will do: where it is taken by another content the parcel fails.
    condemned : collection of str
        Names whose objects are to be deleted: not to be taken, whatever is there.
    digest : str
        blake3 of the content, 64 hex digits, once it was read.
    size : int
        Bytes, once it was read.
    uri : str
        Where the content is, once it was sent.
    error : FramelodeError or None
        Why it was not read or not sent.
    temporary : str
        Name of a copy that the destination keeps meanwhile; empty for none.
    content : bytes
        All that was read, where the destination keeps it in memory meanwhile.
    mode : int
        Mode of the local file, once it was read.
    since : SyncPoint or None
        A moment before the temporary copy was written; one of its own where none is given.
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
        """The destination refused it, and perhaps not for good."""
        if self.error is None or isinstance(self.error, SourceError):
            return False
        return not (isinstance(self.error, BackendError) and self.error.permanent)


Wanted = Callable[[UploadItem], bool]


class Destination(ABC):
    """Where files are uploaded to.

    An object is written whole or not at all under its name, and never overwritten. Where the name wanted is taken,
    the object there is compared with the content: an equal one is taken for sent (a crash came between sending and
    recording), beside another one the content goes under a name of its own (`beside`).

    A single file that fails is noted in its `UploadItem.error`, never raised.

    Attributes
    ----------
    root : str
        URL of the destination, normalised and without a slash at its end: what makes two destinations the same.
    files_at_once : int
        How many files are best sent together, where they are as small as pictures.
    batches_itself : bool
        It takes any number of files and cuts them as suits it.
    asking_threads : int
        How many threads ask at once what is there.
    """

    root: str
    files_at_once: int = 1000
    batches_itself: bool = False
    asking_threads: int = 16

    def begin(self) -> SyncPoint:
        """Tell that files will be read and staged, which share this moment."""
        return SyncPoint()

    @abstractmethod
    def read(self, parcels: Sequence[UploadItem], wanted: Wanted | None = None) -> int:
        """Hash files, in parallel, from the first on: sets `digest` and `size`, or `error`; an old one is cleared.

        A file that must not be read twice for its size may be copied to a temporary name on the way.

        Parameters
        ----------
        wanted : callable, optional
            Says of a file that was read whether it is to be sent, as far as that can be told: it may be staged at once.

        Returns
        -------
        int
            How many were read: not all where those are as much as is well kept, or sent, together.
        """

    def stage(self, parcels: Sequence[UploadItem], window: Sequence[UploadItem]) -> None:  # noqa: B027 - most have nothing to begin
        """Begin to send some of the files that were read together, and drop what was copied of all others.

        What fails here is left to `send`.
        """

    @abstractmethod
    def send(self, parcels: Sequence[UploadItem]) -> None:
        """Write files that were read, in parallel; durable on return. Sets `uri`, or `error`.

        What is sent is what was read: a file that is another one by now is a `SourceError`, and nothing is left of
        it. No two parcels have the same name; a parcel that was refused before is sent again, its `error` cleared.
        """

    @abstractmethod
    def discard(self, parcels: Sequence[UploadItem]) -> None:
        """Drop the temporary copies of files that are not to be sent."""

    @abstractmethod
    def holds(self, uri: str, size: int) -> bool:
        """Say whether an object sent before is still there with its size; `BackendError` when that cannot be told."""

    @abstractmethod
    def delete(self, uris: Sequence[str]) -> None:
        """Delete objects; those that are gone already do not matter.

        All are tried; the first `BackendError` is raised then. A URI outside of the destination is a `UsageError`.
        """


def beside(name: str, token: str) -> str:
    """Return another name in the same folder: ``images/1.jpg`` and ``ab12`` give ``images/1.ab12.jpg``.

    Where that would be too long for a file system, the end of the stem is left out.
    """
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.rpartition(".")
    if not stem or len(suffix) > _SUFFIX_BYTES:
        stem, dot, suffix = file, "", ""
    end = f".{token}{dot}{suffix}"
    return f"{folder}{slash}{shortened(stem, NAME_BYTES - len(end))}{end}"


def shortened(part: str, size: int) -> str:
    """Return a percent-encoded name that has at most so many bytes decoded, cut between two characters."""
    if len(part) <= size:
        return part
    decoded = unquote_to_bytes(part)
    if len(decoded) <= size:
        return part
    while size and decoded[size] & 0xC0 == 0x80:
        size -= 1
    return quote(decoded[:size], safe="")


def settle(
    parcel: UploadItem, root: str, create: Callable[[str], bool], is_same: Callable[[str], bool]
) -> str:
    """Find the name under which a parcel is sent, and send it.

    Parameters
    ----------
    parcel : UploadItem
        A file that was read.
    root : str
        URL of the destination, for errors.
    create : callable
        Writes the content under a name; False, with nothing written, when the name is taken.
    is_same : callable
        Says whether what is there under a name is the content.

    Returns
    -------
    str
        The name.
    """
    for name in _names(parcel):
        if name in parcel.condemned:
            if parcel.exact:
                raise BackendError(
                    f"{root}/{name} is about to be deleted, with frames that named it: if nobody is at it any more, collect garbage"
                )
            continue
        if create(name) or (not parcel.fresh and is_same(name)):
            return name
        if parcel.exact:
            raise BackendError(
                f"{root}/{name} is taken by another content, and is never overwritten", permanent=True
            )
    raise BackendError(f"{root}/{parcel.name} and all names beside it are taken")


def _names(parcel: UploadItem) -> Iterator[str]:
    yield parcel.name
    yield beside(parcel.name, parcel.digest[:16])
    for _ in range(_TRIES):
        yield beside(parcel.name, secrets.token_hex(8))


def is_plain(name: str) -> bool:
    """Say whether a relative path is its own percent-encoding and stays in its folder, as nearly all do."""
    return _PLAIN.fullmatch(name) is not None


def decoded_parts(name: str) -> list[bytes]:
    """Return the parts of a name, decoded; `BackendError` when it is not encoded or leaves its folder."""
    if is_plain(name):
        return name.encode().split(b"/")
    decoded = unquote_to_bytes(name)
    parts = decoded.split(b"/")
    is_safe = _UNSAFE.isdisjoint(parts) and len(parts) == name.count("/") + 1 and b"\0" not in decoded
    if not is_safe or not _ENCODED.fullmatch(name):
        raise BackendError(
            f"the name {name!r} is refused: write it percent-encoded, and no part of it empty, '.', '..' or with "
            "a slash or a zero byte",
            permanent=True,
        )
    return parts


def changed(parcel: UploadItem) -> SourceError:
    """Return the error of a file that is not the one that was read."""
    return SourceError(f"{parcel.path} changed since it was read: send it again when it is at rest")
