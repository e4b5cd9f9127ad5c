"""Sources of a frame: files, masks and previews, and the ids derived from them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote, unquote_to_bytes

import msgspec
from blake3 import blake3
from msgspec import Struct, field

from ..canonical import encode_canonical
from ..errors import InvalidValueError
from ..secrets import without_signature
from ..storage.root_folder import RootFolder
from ..validation import name, refusal, refuse_secret, shorten, text

DEFAULT_SOURCE = "default"
"""Name of the source of a single frame."""

_LONE_DEFAULT = bytes(DEFAULT_SOURCE, "ascii").decode()
"""An equal but different string: the encoder omits a default by identity, so it stores this name."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")

_PLAIN_URI = re.compile(r"(?![Ff][Ii][Ll][Ee]:)[A-Za-z][A-Za-z0-9+.-]+://[^?#@]+")
"""A URI that is not local and has no part that could be a secret."""

_MAY_HOLD_SECRET = re.compile(r"(?!data:)[^?#@]*[?#@]", re.IGNORECASE)

_LOCAL = re.compile(r"file:(?://(?:localhost)?(?=/)|(?=/(?!/)))", re.IGNORECASE)


class MaskSource(Struct, omit_defaults=True, gc=False, frozen=True, kw_only=True):
    """A mask file: its id among the frame's masks, its URI, its content type and its timestamp in ms."""

    content_type: str | None = None
    id: str = field()
    timestamp: int | None = None
    uri: str = field()


class Preview(Struct, omit_defaults=True, gc=False, frozen=True, kw_only=True):
    """A preview of a source: its content type, its timestamp in ms, and its URI."""

    content_type: str | None = None
    timestamp: int | None = None
    uri: str | None = None


class Source(Struct, omit_defaults=True, gc=False, frozen=True):
    """One source of a frame; fields as in the wire form."""

    content_type: str | None = None
    hash: str | None = None
    height: int | None = None
    id: str = DEFAULT_SOURCE
    masks: tuple[MaskSource, ...] = ()
    metadata: dict[str, Any] = field(name="meta", default_factory=dict)
    preview: Preview | None = None
    size: int | None = None
    timestamp: int = 0
    uri: str | None = None
    width: int | None = None


NO_SOURCE = Source()
"""A source without any value. It is not stored."""


def source_name(value: object, path: str) -> str:
    """Return the name of a source. The default name is always the same object.

    The encoder omits defaults by identity, so an equal but different string would change the payload.
    """
    plain = name(value, path)
    return DEFAULT_SOURCE if plain == DEFAULT_SOURCE else plain


def group_sources(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """Return the sources of a group. If its only source is named ``default``, the name is stored, to tell it from a frame."""
    if len(sources) == 1 and sources[0].id == DEFAULT_SOURCE:
        return (msgspec.structs.replace(sources[0], id=_LONE_DEFAULT),)
    return sources


def source_uri(value: object, path: str) -> str:
    """Return the URI of a source given as a path or URI.

    A path (a `Path`, or a string without a scheme of at least two letters) becomes an absolute ``file://`` URI, and a
    leading ``~`` is replaced by the home folder. Other URIs are kept, except that signatures are removed. A URI with
    another secret raises `InvalidValueError`.
    """
    if type(value) is str and value.isascii() and _PLAIN_URI.fullmatch(value):
        return value
    given = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(given, str) or not given:
        raise refusal(path, value, "a path or a URI")
    if given is not value or not _SCHEME.match(given):
        return _file_uri(given, path)
    local = _LOCAL.match(given)
    if local is None:
        return _without_secret(text(given, path), path)
    return _file_uri(os.fsdecode(unquote_to_bytes(text(given[local.end() :], path))), path)


def are_plain_uris(values: Sequence[str]) -> bool:
    """Whether `source_uri` returns all of some strings as they are."""
    return "".join(values).isascii() and all(map(_PLAIN_URI.fullmatch, values))


def context_name(value: object, path: str) -> str:
    """Return a context id. A URL is converted like a source."""
    return _without_secret(name(value, path), path)


def _without_secret(uri: str, path: str) -> str:
    if "://" not in uri or not _MAY_HOLD_SECRET.match(uri):
        return uri
    uri = without_signature(uri)
    refuse_secret(
        uri, path, "leave it out, and let the library of the store find it in its environment or profile"
    )
    return uri


def path_or_uri(uri: str | None) -> str | None:
    """Return the local path of a ``file:///`` URI, and any other URI as it is."""
    if uri is None or not uri.startswith("file:///"):
        return uri
    path = uri[7:]
    return os.fsdecode(unquote_to_bytes(path)) if "%" in path else path


def check_root(root: str | os.PathLike[str] | None) -> str | None:
    """Return the absolute path of the folder that derived ids are relative to; `InvalidValueError` when it is none."""
    if root is None:
        return None
    if not (root and isinstance(root, str | os.PathLike)):
        raise InvalidValueError(f"local_dataset_root_path must be a folder, not {shorten(root)}")
    path = path_or_uri(source_uri(root, "local_dataset_root_path"))
    if path is None or not path.startswith("/"):
        raise InvalidValueError(
            f"local_dataset_root_path must be a folder of this machine, not {shorten(root)}"
        )
    return path


class NamedSource(Protocol):
    """What an id is derived from."""

    @property
    def id(self) -> str:
        """Name of the source."""
        ...

    @property
    def uri(self) -> str | None:
        """URI of the source."""
        ...

    @property
    def timestamp(self) -> int:
        """Time within the source in milliseconds."""
        ...


def derive_id(sources: Iterable[NamedSource], root: str | os.PathLike[str] | None) -> str | None:
    """Return the id of a frame that is derived from its sources: 32 lowercase hex digits, or None without any URI.

    It is the first 16 bytes of blake3 over the canonical msgpack of the list of (name, URI, timestamp in ms), sorted by
    name. For a local file inside the folder `root`, the URI is its POSIX path relative to `root`. Symbolic links are
    resolved for this.
    """
    if root is not None and not isinstance(root, str | os.PathLike):
        raise refusal("root", root, "a path")
    folder = None if root is None else _folder_uri(os.fspath(root))
    named = sorted(
        (source.id, _relative(source.uri, folder), source.timestamp) for source in sources if source.uri
    )
    return blake3(encode_canonical(named)).digest(16).hex() if named else None


def _folder_uri(root: str) -> str:
    return _absolute_folder_uri(root) if os.path.isabs(root) else _file_uri(root, "root")  # noqa: PTH117


@lru_cache(maxsize=16)
def _absolute_folder_uri(root: str) -> str:
    return _file_uri(root, "root")


def _relative(uri: str, folder: str | None) -> str:
    if folder is None or not uri.startswith("file:///"):
        return uri
    prefix = folder.rstrip("/") + "/"
    if uri.startswith(prefix):
        inside = uri[len(prefix) :]
    else:
        below = RootFolder(path_or_uri(folder) or "").below(path_or_uri(uri) or "")
        if below is None:
            return uri
        inside = quote(os.fsencode(below))
    try:
        return unquote_to_bytes(inside).decode()
    except UnicodeDecodeError:  # a name that is not UTF-8 stays percent-encoded
        return inside


def _absolute(local: str) -> str:
    """Return an absolute path. Symbolic links stay, except before ``..``, where the system follows them, too."""
    if ".." in local.split("/"):
        at = local.rindex("..") + 2 if local.endswith("/..") or local == ".." else local.rindex("../") + 2
        local = f"{os.path.realpath(local[:at]).rstrip('/')}/{local[at:].lstrip('/')}"
    return os.path.abspath(local)  # noqa: PTH100


def _file_uri(local: str, path: str) -> str:
    if local.startswith("~"):
        local = os.path.expanduser(local)  # noqa: PTH111 - a name such as "~1.jpg" stays
    if "\0" in local:
        raise refusal(path, local, "a path without NUL characters")
    if local == "~" or local.startswith("~/"):
        raise refusal(path, local, "an absolute path, because this user has no home folder")
    try:
        return "file://" + quote(os.fsencode(_absolute(local)))
    except UnicodeEncodeError:
        raise refusal(path, local, "a string without lone surrogates") from None
