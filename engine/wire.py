"""The stored record of a frame: sources, metadata and annotations, and its wire form as a dict."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec
from blake3 import blake3
from msgspec import Struct, field

from .annotation_registry import annotation_from_dict, decode_annotation, plain_annotations
from .annotations import BuiltinAnnotation
from .constructed import Constructed
from .content_types import content_type_of
from .decoding import UNDECODABLE, guarded
from .errors import UnreadableError
from .json_values import canonical_object, encode_canonical
from .root_folder import RootFolder
from .secrets import without_signature
from .validation import count, fields, identifier, items, name, refusal, refuse_secret, text, whole

DEFAULT_SOURCE = "default"
"""Name of the source of a frame that is no group."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_MAY_HOLD_SECRET = re.compile(r"(?!data:)[^?#@]*[?#@]", re.IGNORECASE)
_LOCAL = re.compile(r"file:(?://(?:localhost)?(?=/)|(?=/(?!/)))", re.IGNORECASE)
READ_ONLY_FIELDS = ("dataset", "saved", "saved_in_version", "updated", "updated_in_version")
"""What is read of a frame and never written."""
_FRAME_FIELDS = frozenset({"id", "context_id", "timestamp", "sources", "rois", "meta", *READ_ONLY_FIELDS})


class MaskSource(Struct, omit_defaults=True, gc=False, frozen=True):
    """A mask file: its id among the frame's masks, and its URI."""

    id: str
    uri: str


class Preview(Struct, omit_defaults=True, gc=False, frozen=True):
    """A preview of a source: its timestamp in ms, and its URI."""

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
"""A source that says nothing; it is not stored."""


class IdSlot:
    """Keeps the frame's id on the object and out of its encoded record."""

    __slots__ = ("_id",)

    _id: str | None


put_id: Callable[[Any, str], None] = IdSlot.__dict__["_id"].__set__
"""Sets the id of a record that was read, without the check of the property."""


class Record(IdSlot, Struct, metaclass=Constructed, omit_defaults=True, gc=False):
    """What is stored of a frame, all but its id; its deterministic msgpack is the canonical payload."""

    _context_id: str | None = field(name="context_id", default=None)
    _metadata: dict[str, Any] = field(name="meta", default_factory=dict)
    _annotations: list[BuiltinAnnotation] = field(name="rois", default_factory=list)
    _sources: tuple[Source, ...] = field(name="sources", default=())

    def to_wire(self, frame_id: str | None) -> dict[str, Any]:
        """Return the wire form; what is unset is left out."""
        wire: dict[str, Any] = {} if frame_id is None else {"id": frame_id}
        context_id = self._context_id or self.first_uri()
        if context_id is not None:
            wire["context_id"] = context_id
        if self._sources:
            wire["timestamp"] = self._sources[0].timestamp
            wire["sources"] = [_source_to_wire(source) for source in self._sources]
        if self._annotations:
            wire["rois"] = [annotation.to_dict() for annotation in self._annotations]
        if self._metadata:
            wire["meta"] = msgspec.to_builtins(self._metadata)
        return wire

    def fill_from_wire(self, wire: object) -> None:
        """Take over everything of a wire form but its id; InvalidValueError names what is refused."""
        found = fields(wire, _FRAME_FIELDS, "")
        self._metadata = canonical_object(found.get("meta"), "meta")
        self._sources = _sources_from_wire(found.get("sources", ()), found.get("timestamp"))
        if "context_id" in found:
            self._context_id = context_name(found["context_id"], "context_id")
        self.settle_context()
        if "rois" in found:
            self._annotations = _annotations_from_wire(found["rois"], self._sources)

    def fill_from_payload(self, payload: bytes | memoryview) -> None:
        """Take over a stored record that has annotations of types that are not built in."""
        try:
            loose = _decode_loosely(payload)
            annotations: list[Any] = [decode_annotation(raw) for raw in loose.rois]
        except UNDECODABLE as error:
            raise UnreadableError(f"a stored frame cannot be read: {error}") from error
        self._context_id, self._metadata = loose.context_id, loose.meta
        self._annotations, self._sources = annotations, loose.sources

    @property
    def id(self) -> str | None:
        """Id of the frame; None until it has one."""
        return getattr(self, "_id", None)

    @id.setter  # noqa: A003 - the builtin is not meant
    def id(self, value: str | float | None) -> None:
        self._id = None if value is None else identifier(value)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The sources as they are stored."""
        return self._sources

    def first_uri(self) -> str | None:
        """Return the URI of the first source."""
        return self._sources[0].uri if self._sources else None

    def put_source(self, **values: Any) -> None:
        """Replace checked fields of the first source; see `Source`."""
        self.keep_source(msgspec.structs.replace(self._sources[0] if self._sources else NO_SOURCE, **values))
        self.settle_context()

    def keep_source(self, source: Source) -> None:
        """Store the first source, unless it says nothing: equal frames must have equal payloads."""
        rest = self._sources[1:]
        self._sources = (source, *rest) if source.uri or source != NO_SOURCE else rest

    def change_sources(self, change: Callable[[Source], Source]) -> None:
        """Replace each source by what a function makes of it."""
        self._sources = tuple(map(change, self._sources))
        self.settle_context()

    def settle_context(self) -> None:
        """Store the context id only where it differs from its default, the first source's URI."""
        if self._context_id == self.first_uri():
            self._context_id = None

    def is_group(self) -> bool:
        """Tell whether this is the record of a frame group."""
        sources = self._sources
        return len(sources) > 1 or (len(sources) == 1 and sources[0].id != DEFAULT_SOURCE)


class _LooseRecord(Struct):
    """A record whose annotations are looked at one by one."""

    context_id: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    rois: list[msgspec.Raw] = field(default_factory=list)
    sources: tuple[Source, ...] = ()


_decode_loosely = guarded(msgspec.msgpack.Decoder(_LooseRecord).decode)


def encode_record(record: Record) -> bytes:
    """Return the canonical payload of a record that is in canonical form."""
    return encode_canonical(record)


def source_name(value: object, path: str) -> str:
    """Return the name of a source; the default one is always the same object.

    The encoder leaves a default out by identity, so an equal text of its own would change the payload.
    """
    plain = name(value, path)
    return DEFAULT_SOURCE if plain == DEFAULT_SOURCE else plain


def source_uri(value: object, path: str) -> str:
    """Return the URI of a source given as a path or URI.

    A path (a `Path`, or text that does not begin with a scheme of two letters or more) becomes the absolute
    ``file://`` URI, a ``~`` at its beginning the home folder; other URIs stay as they are, but for a signature, which is
    left out. One that holds another secret is refused.
    """
    given = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(given, str) or not given:
        raise refusal(path, value, "a path or a URI")
    if given is not value or not _SCHEME.match(given):
        return _file_uri(given, path)
    local = _LOCAL.match(given)
    if local is None:
        return _without_secret(text(given, path), path)
    return _file_uri(os.fsdecode(unquote_to_bytes(text(given[local.end() :], path))), path)


def context_name(value: object, path: str) -> str:
    """Return a context id; one that is a URL is stored as a source would be."""
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


def derive_id(sources: Iterable[Source], root: str | os.PathLike[str] | None) -> str | None:
    """Return the id that sources give a frame: 32 lowercase hex digits, or None without any URI.

    It is the first 16 bytes of blake3 over the canonical msgpack of the list of (name, URI, timestamp in ms), sorted
    by name. The URI of a local file inside the folder `root`, by whatever symbolic links either is reached, is its
    posix path relative to that.
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
    except UnicodeDecodeError:  # a name that is no UTF-8 stays percent-encoded
        return inside


def _file_uri(local: str, path: str) -> str:
    if local.startswith("~"):
        local = os.path.expanduser(local)  # noqa: PTH111 - a name such as "~1.jpg" stays
    if local == "~" or local.startswith("~/"):
        raise refusal(path, local, "an absolute path: this user has no home folder")
    try:
        return "file://" + quote(os.fsencode(os.path.abspath(local)))  # noqa: PTH100 - symbolic links stay
    except UnicodeEncodeError:
        raise refusal(path, local, "text without lone surrogates") from None


def _source_to_wire(source: Source) -> dict[str, Any]:
    plain: dict[str, Any] = {**msgspec.to_builtins(source), "id": source.id, "timestamp": source.timestamp}
    if source.masks:
        plain["masks"] = list(plain["masks"])
    return {key: plain[key] for key in _SOURCE_FIELDS if key in plain}


def _sources_from_wire(given: object, timestamp: object) -> tuple[Source, ...]:
    wires = items(given, "sources", "a list of dicts")
    sources = [_source_from_wire(wire, f"sources[{index}]") for index, wire in enumerate(wires)]
    names = set[str]()
    for index, source in enumerate(sources):
        if source.id in names:
            raise refusal(f"sources[{index}].id", source.id, "names that differ")
        names.add(source.id)
    if timestamp is not None:
        _settle_timestamp(sources, whole(timestamp, "timestamp"), wires)
    return () if sources == [NO_SOURCE] else tuple(sources)


def _settle_timestamp(sources: list[Source], timestamp: int, wires: Sequence[Any]) -> None:
    """Give the first source the frame's timestamp, unless it has one of its own."""
    if not sources:
        sources.append(Source(timestamp=timestamp))
    elif wires[0].get("timestamp") is None:
        sources[0] = msgspec.structs.replace(sources[0], timestamp=timestamp)
    elif sources[0].timestamp != timestamp:
        raise refusal("timestamp", timestamp, f"that of the first source, {sources[0].timestamp}")


def _source_from_wire(wire: object, path: str) -> Source:
    found = fields(wire, _SOURCE_FIELDS, path)
    values: dict[str, Any] = {
        key: check(found[key], f"{path}.{key}") for key, check in _SOURCE_CHECKS.items() if key in found
    }
    if "content_type" not in found and "uri" in values:
        values["content_type"] = content_type_of(values["uri"])
    return Source(metadata=values.pop("meta", {}), **values)


def _masks_from_wire(given: object, path: str) -> tuple[MaskSource, ...]:
    masks: dict[str, str] = {}
    for index, wire in enumerate(items(given, path, "a list of dicts of id and uri")):
        found = fields(wire, ("id", "uri"), f"{path}[{index}]")
        mask_id = name(found.get("id"), f"{path}[{index}].id")
        if mask_id in masks:
            raise refusal(f"{path}[{index}].id", mask_id, "ids that differ")
        masks[mask_id] = source_uri(found.get("uri"), f"{path}[{index}].uri")
    return tuple(MaskSource(mask_id, uri) for mask_id, uri in masks.items())


def _preview_from_wire(given: object, path: str) -> Preview | None:
    found = fields(given, ("timestamp", "uri"), path)
    timestamp = whole(found["timestamp"], f"{path}.timestamp") if "timestamp" in found else None
    uri = source_uri(found["uri"], f"{path}.uri") if "uri" in found else None
    return Preview(timestamp, uri) if found else None


def _annotations_from_wire(given: object, sources: Sequence[Source]) -> list[Any]:
    plain = plain_annotations(given)
    if plain is not None:
        return plain
    known = {source.id for source in sources} or {DEFAULT_SOURCE}
    rois = items(given, "rois", "a list of dicts")
    return [_roi_from_wire(roi, known, f"rois[{index}]") for index, roi in enumerate(rois)]


def _roi_from_wire(wire: object, known: set[str], path: str) -> Any:
    annotation = annotation_from_dict(wire, path)
    for index, source in enumerate(annotation.sources):
        if source not in known:
            raise refusal(f"{path}.sources[{index}]", source, f"the sources {', '.join(sorted(known))}")
    if annotation.sources == (DEFAULT_SOURCE,) and known == {DEFAULT_SOURCE}:
        return annotation.with_sources(())
    return annotation


_SOURCE_CHECKS: dict[str, Callable[[object, str], Any]] = {
    "id": source_name,
    "uri": source_uri,
    "content_type": name,
    "width": count,
    "height": count,
    "timestamp": whole,
    "size": count,
    "hash": name,
    "masks": _masks_from_wire,
    "preview": _preview_from_wire,
    "meta": canonical_object,
}
_SOURCE_FIELDS = tuple(_SOURCE_CHECKS)
