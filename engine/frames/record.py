"""The stored record of a frame: sources, metadata and annotations."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from operator import attrgetter
from typing import Any, Protocol, cast

import msgspec
from msgspec import Struct, field

from ..annotations.registry import decode_annotation
from ..annotations.types import BuiltinAnnotation
from ..canonical import canonical_object, encode_canonical
from ..decoding import UNDECODABLE, guarded
from ..errors import UnreadableError
from ..structs import InitStructMeta
from ..validation import KnownAttributes, count, fields, identifier
from .source import DEFAULT_SOURCE, NO_SOURCE, Source, context_name, group_sources
from .wire import annotations_from_wire, source_to_wire, sources_from_wire

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""What one encoded frame may have."""

READ_ONLY_FIELDS = ("dataset", "saved", "saved_in_version", "updated", "updated_in_version")
"""Fields that are set on reading and ignored on writing."""

FRAME_FIELDS = frozenset(
    {"id", "context_id", "timestamp", "sources", "rois", "meta", "num_frames", *READ_ONLY_FIELDS}
)
"""Fields of a frame in wire form."""


class Origin(Protocol):
    """The version that a frame was read from."""

    def origin(self) -> dict[str, str]:
        """Return ids and names of the dataset and the version."""
        ...

    def version_metadata(self) -> dict[str, Any]:
        """Return the metadata of the version."""
        ...


class IdSlot(KnownAttributes):
    """Keeps the frame's id and origin on the object, outside of its encoded record."""

    __slots__ = ("_id", "_origin")

    _id: str | None
    _origin: Origin


put_id: Callable[[Any, str | None], None] = IdSlot.__dict__["_id"].__set__
"""Sets the id of a record that was read, without the checks of the property."""

get_id: Callable[[Any], Any] = attrgetter("_id")
"""Returns the id of a record. Raises `AttributeError` if none was ever set."""

put_origin: Callable[[Any, Origin], None] = IdSlot.__dict__["_origin"].__set__
"""Sets the origin of a record that was read."""


class Record(IdSlot, Struct, metaclass=InitStructMeta, omit_defaults=True, gc=False):
    """The stored part of a frame: everything but its id. Its deterministic msgpack is the canonical payload."""

    _context_id: str | None = field(name="context_id", default=None)
    _metadata: dict[str, Any] = field(name="meta", default_factory=dict)
    _num_frames: int | None = field(name="num_frames", default=None)
    _annotations: list[BuiltinAnnotation] = field(name="rois", default_factory=list)
    _sources: tuple[Source, ...] = field(name="sources", default=())

    def to_wire(self, frame_id: str | None, wanted: Collection[str] = FRAME_FIELDS) -> dict[str, Any]:
        """Return the wire form, or only the wanted fields of it. Unset fields are left out."""
        wire: dict[str, Any] = {} if frame_id is None or "id" not in wanted else {"id": frame_id}
        if "context_id" in wanted and (context_id := self._context_id or self.first_uri()) is not None:
            wire["context_id"] = context_id
        if "timestamp" in wanted and self._sources:
            wire["timestamp"] = self._sources[0].timestamp
        if "sources" in wanted and self._sources:
            wire["sources"] = [source_to_wire(source) for source in self._sources]
        if "rois" in wanted and self._annotations:
            wire["rois"] = [annotation.to_dict() for annotation in self._annotations]
        if "meta" in wanted and self._metadata:
            wire["meta"] = msgspec.to_builtins(self._metadata)
        if "num_frames" in wanted and self._num_frames is not None:
            wire["num_frames"] = self._num_frames
        return wire

    def fill_from_wire(self, wire: object, as_group: bool = False) -> None:
        """Set all fields except the id from a wire form. Raises `InvalidValueError` for invalid fields."""
        found = fields(wire, FRAME_FIELDS, "")
        self._metadata = canonical_object(found.get("meta"), "meta")
        self._sources = sources_from_wire(found.get("sources", ()), found.get("timestamp"))
        if as_group:
            self._sources = group_sources(self._sources or (NO_SOURCE,) * bool(found.get("sources")))
        if "context_id" in found:
            self._context_id = context_name(found["context_id"], "context_id")
        self.settle_context()
        if "num_frames" in found:
            self._num_frames = count(found["num_frames"], "num_frames")
        if "rois" in found:
            self._annotations = annotations_from_wire(found["rois"], self._sources)

    def fill_from_payload(self, payload: bytes | memoryview) -> None:
        """Set all fields from a stored record that has annotations of types that are not built in."""
        try:
            loose = _decode_loosely(payload)
            annotations: list[Any] = [decode_annotation(raw) for raw in loose.rois]
        except UNDECODABLE as error:
            raise UnreadableError(f"a stored frame cannot be read: {error}") from error
        self._context_id, self._metadata, self._num_frames = loose.context_id, loose.meta, loose.num_frames
        self._annotations, self._sources = annotations, loose.sources

    @property
    def id(self) -> str | Any:
        """Id of the frame, or None if it has none yet."""
        return getattr(self, "_id", None)

    @id.setter  # noqa: A003 - the builtin is not meant
    def id(self, value: str | float | None) -> None:
        self._id = None if value is None else identifier(value)

    @property
    def origin(self) -> dict[str, str]:
        """Where the frame was read: `dataset_id, dataset_name, version_id, version_name`. Empty for any other frame."""
        return self._origin.origin() if hasattr(self, "_origin") else {}

    @property
    def dataset_version_metadata(self) -> dict[str, Any]:
        """Metadata of the version that the frame was read from. Empty for any other frame."""
        return self._origin.version_metadata() if hasattr(self, "_origin") else {}

    @property
    def sources(self) -> tuple[Source, ...]:
        """The sources as they are stored."""
        return self._sources

    def first_uri(self) -> str | None:
        """Return the URI of the first source."""
        return self._sources[0].uri if self._sources else None

    def put_source(self, **values: Any) -> None:
        """Replace fields of the first source, which must be validated; see `Source`."""
        self.keep_source(msgspec.structs.replace(self._sources[0] if self._sources else NO_SOURCE, **values))
        self.settle_context()

    def keep_source(self, source: Source) -> None:
        """Store the first source unless it is empty, because equal frames must have equal payloads."""
        rest = self._sources[1:]
        if source.uri or source != NO_SOURCE:
            rest = (source, *rest)
        _put_sources(self, rest)

    def change_sources(self, change: Callable[[Source], Source]) -> None:
        """Replace each source by the result of a function."""
        self._sources = tuple(map(change, self._sources))
        self.settle_context()

    def settle_context(self) -> None:
        """Store the context id only if it differs from its default, the URI of the first source."""
        if self._context_id == self.first_uri():
            self._context_id = None

    def is_group(self) -> bool:
        """Whether this is the record of a frame group."""
        sources = self._sources
        return len(sources) > 1 or (len(sources) == 1 and sources[0].id is not DEFAULT_SOURCE)


# They set fields in constructors without the check of `KnownAttributes`, which takes longer.
put_annotations: Callable[[Any, list[Any]], None] = Record.__dict__["_annotations"].__set__
put_metadata: Callable[[Any, dict[str, Any]], None] = Record.__dict__["_metadata"].__set__
_put_sources: Callable[[Any, tuple[Source, ...]], None] = Record.__dict__["_sources"].__set__


class _LooseRecord(Struct):
    """A record whose annotations are decoded one by one."""

    context_id: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    num_frames: int | None = None
    rois: list[msgspec.Raw] = field(default_factory=list)
    sources: tuple[Source, ...] = ()


_NEEDED = {"context_id": ("context_id", "sources"), "timestamp": ("sources",)}
"""Fields of a record that a field of the wire form is made of, where it is not the one of the same name."""


@lru_cache(maxsize=64)
def partial_record(wanted: frozenset[str]) -> type[Record]:
    """Return a type that decodes only what the wanted fields of the wire form need; use only its `to_wire`."""
    needed = {name for each in wanted for name in _NEEDED.get(each, (each,))}
    kept = [
        (each.name, each.type, field(name=each.encode_name, **_default_of(each)))
        for each in msgspec.structs.fields(Record)
        if each.encode_name in needed
    ]
    methods = {"to_wire": Record.to_wire, "first_uri": Record.first_uri}
    return cast("type[Record]", msgspec.defstruct("PartialRecord", kept, namespace=methods, gc=False))


def _default_of(each: msgspec.structs.FieldInfo) -> dict[str, Any]:
    given = {"default": each.default, "default_factory": each.default_factory}
    return {name: value for name, value in given.items() if value is not msgspec.NODEFAULT}


_decode_loosely = guarded(msgspec.msgpack.Decoder(_LooseRecord).decode)


def encode_record(record: Record) -> bytes:
    """Return the canonical payload of a record that is in canonical form."""
    return encode_canonical(record)
