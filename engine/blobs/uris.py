"""URIs of contents in the blob store: ``blobs:<digest>/<relative path>``."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Sequence
from functools import cache
from urllib.parse import quote, unquote

import msgspec

from ..errors import InvalidValueError
from ..log.joined import Joined
from ..validation import shorten

SCHEME = "blobs:"
_PREFIX = SCHEME.encode()
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SEARCHED_AT_ONCE = 256
_NAMED = re.compile(rb"blobs:([0-9a-f]{64})(?![0-9a-f])")


class BlobUri(msgspec.Struct, frozen=True, gc=False):
    """The digest of a content, and its relative path.

    Attributes
    ----------
    digest : str
        blake3 of the content, 64 lowercase hex digits.
    path : str
        Relative path with ``/``, not encoded; empty if there is none.
    """

    digest: str
    path: str = ""

    def __str__(self) -> str:
        """Return the URI, percent-encoded."""
        return f"{SCHEME}{self.digest}/{quote(self.path, safe='/', errors='surrogateescape')}"


def is_digest(text: object) -> bool:
    """Whether a value is a digest: 64 lowercase hex digits."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def check_digest(text: object) -> str:
    """Return a digest. Raises `InvalidValueError` if it is not 64 lowercase hex digits."""
    if not isinstance(text, str) or not is_digest(text):
        raise InvalidValueError(f"the digest of a blob must be 64 lowercase hex digits, not {shorten(text)}")
    return text


def blob_uri(digest: str, path: str | os.PathLike[str] = "") -> str:
    """Return the URI of a content with a relative path.

    Parameters
    ----------
    digest : str
        64 lowercase hex digits.
    path : str or path, optional
        Path of the content relative to its original root. It is for information only.

    Raises
    ------
    InvalidValueError
        The digest is invalid, or the path is absolute or leads out of its root.
    """
    return str(BlobUri(check_digest(digest), _check_path(os.fspath(path).replace(os.sep, "/"))))


def parse_blob_uri(uri: str) -> BlobUri:
    """Parse a ``blobs:`` URI.

    Raises
    ------
    InvalidValueError
        The URI is invalid. The message gives the reason.
    """
    if not is_blob_uri(uri):
        raise InvalidValueError(f"the URI of a blob must begin with {SCHEME}, not {shorten(uri)}")
    digest, slash, path = uri[len(SCHEME) :].partition("/")
    if not is_digest(digest) or not slash:
        raise InvalidValueError(
            f"{shorten(uri)} is not the URI of a blob: write {SCHEME}<64 hex digits>/<relative path>"
        )
    return BlobUri(digest, _check_path(unquote(path, errors="surrogateescape")))


def is_blob_uri(uri: object) -> bool:
    """Whether a URI has the scheme of blobs."""
    return isinstance(uri, str) and uri.startswith(SCHEME)


def digests_named(payloads: Sequence[bytes]) -> set[str]:
    """Return the digests of all ``blobs:`` URIs in encoded frames."""
    found: set[str] = set()
    if isinstance(payloads, Joined):
        payloads = [payloads.buffer()]
    for at in range(0, len(payloads), _SEARCHED_AT_ONCE):
        # No URI contains the separator, so none arises where two payloads meet.
        joined = b"\0".join(payloads[at : at + _SEARCHED_AT_ONCE])
        if _holds_prefix()(joined):
            found.update(digests_in(joined))
    return found


def digests_in(payload: bytes) -> list[str]:
    """Return the digests of all ``blobs:`` URIs in one payload, in order."""
    return [digest.decode() for digest in _NAMED.findall(payload)]


@cache
def _holds_prefix() -> Callable[[bytes], bool]:
    """Return the fastest search for the scheme, because every written frame is searched."""
    try:
        search = ctypes.CDLL(None).memmem
    except (AttributeError, OSError, TypeError):
        return lambda data: _PREFIX in data
    search.restype = ctypes.c_void_p
    search.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    return lambda data: search(data, len(data), _PREFIX, len(_PREFIX)) is not None


def _check_path(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise InvalidValueError(
            f"the path of a blob must be relative and stay below its root, not {shorten(path)}"
        )
    return path
