"""`SingleFrame`: a frame with one source."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, TypedDict, Unpack, final

import msgspec
from msgspec import Struct, StructMeta

from ..annotations.base import Annotation, known_types, put_label_num
from ..annotations.registry import check_type, own_annotations
from ..canonical import canonical_object, is_flat_json, is_plain_json, settle_object
from ..decoding import UNDECODABLE, guarded
from ..errors import InvalidTypeError, InvalidValueError, UnreadableError, UsageError
from ..validation import (
    About,
    about_error,
    count,
    did_you_mean,
    dotted,
    identifier,
    name,
    refusal,
    shorten,
    whole,
)
from .annotated import AnnotatedRecord
from .content_types import content_type_of
from .hooks import html_of
from .record import encode_record, put_annotations, put_id, put_metadata, put_origin
from .source import Source, context_name, derive_id, path_or_uri, source_uri
from .source_fields import MaskLike, SourceField, SourceLike, source_location, source_masks, source_preview


class OtherNames(TypedDict, total=False):
    """Other names of parameters of `SingleFrame`."""

    preview_source: SourceLike | None
    preview_source_timestamp: int | None
    masks_source: MaskLike | None
    meta: Mapping[str, Any] | None


_OTHER_NAMES = {
    "preview_source": "preview_uri",
    "preview_source_timestamp": "preview_uri_timestamp",
    "masks_source": "mask_source",
    "meta": "metadata",
}


@final
class SingleFrame(AnnotatedRecord):
    """A frame: a source file, or a point in time within it, with annotations and metadata.

    Parameters
    ----------
    id : str or number, optional
        Id of the frame. Numbers are converted to strings. Without one, the frame gets an id when it is added.
    source : str or path, optional
        Path or URI of the file. A path is stored as an absolute ``file://`` URI, and returned as a path.
    width, height : int, optional
        Size in pixels.
    timestamp : int, optional
        Time within the source in milliseconds, by default 0.
    size : int, optional
        Size of the file in bytes.
    hash : str, optional
        Hash of the file's content, such as ``blake3:<hex>``.
    preview_uri : str or path, optional
        Path or URI of a preview.
    preview_uri_timestamp : int, optional
        Time of the preview within its file, in milliseconds.
    metadata : dict, optional
        JSON-like values, which are copied.
    annotations : sequence of Annotation, optional
        Annotations, which are copied.
    mask_source : str, path, dict or sequence, optional
        Masks: a path or URI (with the id ``00``), a dict of paths or URIs by id, or a sequence with the ids ``00``,
        ``01``, ...
    context_id : str, optional
        Context of the frame, such as its video. By default the URI of the source.
    **other_names
        `preview_source`, `preview_source_timestamp`, `masks_source` and `meta` are other names of `preview_uri`,
        `preview_uri_timestamp`, `mask_source` and `metadata`, here and as attributes.

    Raises
    ------
    InvalidValueError
        A value is invalid. The message gives the frame, the field and the value. Setting a property raises the same.
    """

    content_type = SourceField[str | None]("content_type", name, None, "Content type of the source.")
    width = SourceField[int | None]("width", count, None, "Width in pixels.")
    height = SourceField[int | None]("height", count, None, "Height in pixels.")
    timestamp = SourceField[int]("timestamp", whole, 0, "Time within the source in milliseconds.")
    size = SourceField[int | None]("size", count, None, "Size of the file in bytes.")
    hash = SourceField[str | None]("hash", name, None, "Hash of the file's content, with a prefix.")

    def __init__(
        self,
        id: str | float | None = None,  # noqa: A002 - names of the API that is followed
        source: SourceLike | None = None,
        width: int | None = None,
        height: int | None = None,
        timestamp: int | None = None,
        size: int | None = None,
        hash: str | None = None,  # noqa: A002
        preview_uri: SourceLike | None = None,
        preview_uri_timestamp: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        annotations: Iterable[Annotation] | None = None,
        mask_source: MaskLike | None = None,
        context_id: str | None = None,
        **other_names: Unpack[OtherNames],
    ) -> None:
        put_id(self, None if id is None else identifier(id))
        try:
            uri = None if source is None else source_uri(source, "source")
            self.keep_source(
                Source(
                    content_type=None if uri is None else content_type_of(uri),
                    hash=None if hash is None else name(hash, "hash"),
                    height=None if height is None else count(height, "height"),
                    masks=() if mask_source is None else source_masks(mask_source),
                    preview=source_preview(preview_uri, preview_uri_timestamp),
                    size=None if size is None else count(size, "size"),
                    timestamp=0 if timestamp is None else whole(timestamp, "timestamp"),
                    uri=uri,
                    width=None if width is None else count(width, "width"),
                )
            )
            if metadata is not None:
                put_metadata(self, canonical_object(metadata, "metadata"))
            if annotations is not None:
                put_annotations(self, own_annotations(annotations, "annotations"))
            if context_id is not None:
                self._context_id = context_name(context_id, "context_id")
                self.settle_context()
        except InvalidValueError as error:  # as `About` does, which takes time to enter
            raise about_error("frame", self._id, error) from None
        if other_names:
            self._set_others(other_names)

    def _set_others(self, values: OtherNames) -> None:
        for key, value in values.items():
            name_here = _OTHER_NAMES.get(key)
            if name_here is None:
                hint = did_you_mean(key, inspect.signature(type(self)).parameters)
                raise InvalidTypeError(f"SingleFrame() has no argument {key!r}{hint}")
            if value is not None:
                if getattr(self, name_here):
                    raise UsageError(f"pass either {name_here} or {key}, which are the same")
                setattr(self, name_here, value)

    @property
    def source(self) -> str | None:
        """Path of a local source, or the URI of any other."""
        return path_or_uri(self.first_uri())

    @source.setter
    def source(self, value: SourceLike | None) -> None:
        with About("frame", self.id):
            self.put_source(**source_location(value))

    @property
    def preview_uri(self) -> str | None:
        """Path of a local preview, or the URI of any other."""
        preview = self._sources[0].preview if self._sources else None
        return path_or_uri(preview.uri) if preview else None

    @preview_uri.setter
    def preview_uri(self, value: SourceLike | None) -> None:
        with About("frame", self.id):
            self.put_source(preview=source_preview(value, self.preview_uri_timestamp))

    @property
    def preview_uri_timestamp(self) -> int | None:
        """Time of the preview within its file, in milliseconds."""
        preview = self._sources[0].preview if self._sources else None
        return preview.timestamp if preview else None

    @preview_uri_timestamp.setter
    def preview_uri_timestamp(self, value: int | None) -> None:
        with About("frame", self.id):
            self.put_source(preview=source_preview(self.preview_uri, value))

    @property
    def masks_source(self) -> dict[str, str]:
        """Paths or URIs of the masks by id. It accepts every form that the constructor accepts."""
        masks = self._sources[0].masks if self._sources else ()
        return {mask.id: str(path_or_uri(mask.uri)) for mask in masks}

    @masks_source.setter
    def masks_source(self, value: MaskLike | None) -> None:
        self.mask_source = value

    @property
    def mask_source(self) -> Any:
        """Path or URI of the mask if its id is ``00`` and it is the only one, else `masks_source`, or None without masks."""
        masks = self.masks_source
        return masks["00"] if list(masks) == ["00"] else masks or None

    @mask_source.setter
    def mask_source(self, value: MaskLike | None) -> None:
        with About("frame", self.id):
            self.put_source(masks=source_masks(value))

    @property
    def metadata(self) -> dict[str, Any]:
        """JSON-like values. The dict may be modified in place."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any] | None) -> None:
        with About("frame", self.id):
            self._metadata = canonical_object(value, "metadata")

    preview_source = preview_uri
    preview_source_timestamp = preview_uri_timestamp
    meta = metadata

    @property
    def sourcedata(self) -> dict[str, Any]:
        """Metadata of the source. The dict may be modified in place, unless the frame has no source.

        In a group it is stored with the frame's metadata.
        """
        return self._sources[0].metadata if self._sources else {}

    @sourcedata.setter
    def sourcedata(self, value: Mapping[str, Any] | None) -> None:
        with About("frame", self.id):
            self.put_source(metadata=canonical_object(value, "sourcedata"))

    @property
    def context_id(self) -> str | None:
        """Context of the frame, such as its video. By default the URI of the source."""
        return self._context_id or self.first_uri()

    @context_id.setter
    def context_id(self, value: str | None) -> None:
        with About("frame", self.id):
            self._context_id = None if value is None else context_name(value, "context_id")
        self.settle_context()

    def with_parts(self, sources: tuple[Source, ...], annotations: list[Any]) -> SingleFrame:
        """Return a record with other sources and annotations. It shares the metadata with this one."""
        record = msgspec.structs.replace(self, _sources=sources, _annotations=annotations)
        record.id = self.id
        if hasattr(self, "_origin"):
            put_origin(record, self._origin)
        record.settle_context()
        return record

    def derive_id(self, root: SourceLike | None = None) -> str | None:
        """Return the id that is derived from the source: 32 lowercase hex digits, or None without a source.

        Parameters
        ----------
        root : str or path, optional
            Folder that paths of local sources are relative to, so that the id is the same on every machine.

        Raises
        ------
        InvalidValueError
            `root` is not a path.
        """
        return derive_id(self._sources, root)

    def validated(self) -> None:
        """Validate the frame, and convert values that were modified in place to canonical form.

        Raises
        ------
        InvalidValueError
            A value is invalid. The message gives the frame, the field, the value and what is allowed.
        """
        with About("frame", self.id):
            self.check()

    def check(self, path: str = "", known: frozenset[str] | None = None) -> None:
        """Validate like `validated`, for the part `path` of a frame.

        Parameters
        ----------
        path : str
            Name of the part, for messages.
        known : frozenset of str, optional
            Source names that annotations may refer to. A single frame has none.
        """
        names = known if known is not None else frozenset(s.id for s in self._sources if self.is_group())
        settle_object(self._metadata, dotted(path, "metadata"))
        for source in self._sources:
            settle_object(source.metadata, dotted(path, f"sources[{source.id}].meta"))
        for index, annotation in enumerate(self._annotations):
            place = dotted(path, f"annotations[{index}]")
            check_type(annotation, place).validate(place)
            if not names.issuperset(annotation.sources):
                allowed = f"names of sources of the frame ({', '.join(sorted(names)) or 'none'})"
                raise refusal(f"{place}.sources", annotation.sources, allowed)

    def copy(self) -> SingleFrame:
        """Return a copy with the same content and a new random id. It shares nothing with this frame."""
        self.validated()
        return restore(encode_record(self), uuid.uuid4().hex)

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form, a dict; see `from_dict`."""
        self.validated()
        return self.to_wire(self.id)

    @classmethod
    def from_dict(cls, singleframe_dict: Mapping[str, Any]) -> SingleFrame:
        """Return the frame of a wire form.

        Parameters
        ----------
        singleframe_dict : dict
            Any of `id, context_id, timestamp, sources, rois, meta, num_frames`. Read-only fields are ignored. As in ClearML's
            documentation and web pages, `rois` need no `type`.

        Raises
        ------
        InvalidValueError
            A key is unknown, a value is invalid, or it is the wire form of a frame group.
        """
        record = record_from_dict(singleframe_dict)
        if record.is_group():
            with About("frame", record.id):
                raise InvalidValueError(
                    "sources: this is a group of frames; read it with FrameGroup.from_dict"
                )
        return record

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SingleFrame):
            return NotImplemented
        return self.id == other.id and Struct.__eq__(self, other)

    __hash__ = None  # type: ignore[assignment]  # frames are mutable

    def __repr__(self) -> str:
        return f"SingleFrame({', '.join(f'{key}={shorten(value)}' for key, value in self.__rich_repr__())})"

    def _repr_html_(self) -> str | None:  # pyright: ignore[reportUnusedFunction] - notebooks call it
        return html_of(self)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        counts = {
            "sources": len(self._sources) if self.is_group() else 0,
            "annotations": len(self._annotations),
        }
        shown = {"width": self.width, "height": self.height, "timestamp": self.timestamp, **counts}
        given = [(key, value) for key, value in {**shown, "metadata": self._metadata}.items() if value]
        return [("id", self.id), ("source", self.source), *given]

    def __reduce__(self) -> tuple[Any, ...]:
        self.validated()
        return (restore, (encode_record(self), self.id, label_numbers(self)))

    def __copy__(self) -> SingleFrame:
        self.validated()
        return restore(encode_record(self), self.id, label_numbers(self))


def decode_record(payload: bytes | memoryview, position: int | None = None) -> SingleFrame:
    """Return the record of a canonical payload. `frame_group.wrap` returns its frame.

    Parameters
    ----------
    position : int, optional
        Position of the event in the log, for messages.

    Raises
    ------
    UnreadableError
        The bytes are not a record.
    """
    try:
        return _decode(payload)
    except UNDECODABLE:
        record = blank_frame()
    try:
        record.fill_from_payload(payload)
    except UnreadableError as error:
        if position is None:
            raise
        raise UnreadableError(
            f"the frame event at position {position}: {error}", position=position
        ) from error
    return record


def record_from_dict(wire: Mapping[str, Any], as_group: bool = False) -> SingleFrame:
    """Return the record of a wire form, of a single frame or of a group."""
    record = blank_frame()
    given = wire.get("id") if isinstance(wire, Mapping) else None
    record.id = given
    with About("frame", given):
        record.fill_from_wire(wire, as_group)
    return record


def blank_frame() -> SingleFrame:
    """Return an empty frame without calling its constructor."""
    return StructMeta.__call__(SingleFrame)


def restore(payload: bytes, frame_id: str | None, numbers: Sequence[int | None] = ()) -> SingleFrame:
    """Return the record of a canonical payload with its id, and the numbers of the labels of its annotations."""
    frame = decode_record(payload)
    frame.id = frame_id
    for annotation, number in zip(frame.annotations, numbers, strict=False):
        if number is not None:
            put_label_num(annotation, number)
    return frame


def label_numbers(record: SingleFrame) -> list[int | None]:
    """Return the numbers that a view gave to the labels of annotations; an empty list without any."""
    numbers = [annotation.label_num for annotation in record.annotations]
    return [] if numbers.count(None) == len(numbers) else numbers


def screen(frames: Sequence[SingleFrame]) -> bool:
    """Whether all mutable values in all frames have exact plain types. It runs at C speed.

    False means that each frame must be `validated`, not that one is invalid. Only types are checked: NaN, -0.0, lone
    surrogates and integers beyond 64 bits are found when the frames are encoded.
    """
    annotations: list[Any] = list(chain.from_iterable(map(_get_annotations, frames)))
    if not known_types.issuperset(map(type, annotations)) or any(map(_get_sources, annotations)):
        return False
    if not _TEXT.issuperset(map(type, chain.from_iterable(map(_get_labels, annotations)))):
        return False
    sources = chain.from_iterable(map(_get_sources, frames))
    some = chain(map(_get_metadata, annotations), map(_get_sourcedata, sources))
    return is_plain_json([*map(_get_metadata, frames), *filter(None, some)])


def screen_one(frame: SingleFrame) -> bool:
    """Check one frame like `screen`, fast if its metadata is flat and its annotations have none."""
    metadata, annotations = _get_metadata(frame), _get_annotations(frame)
    if not known_types.issuperset(map(type, annotations)):
        return False
    for annotation in annotations:
        if _get_sources(annotation) or not _TEXT.issuperset(map(type, _get_labels(annotation))):
            return False
    some = [*map(_get_metadata, annotations), *map(_get_sourcedata, _get_sources(frame))]
    return (is_flat_json(metadata) and not any(some)) or is_plain_json([metadata, *filter(None, some)])


_decode = guarded(msgspec.msgpack.Decoder(SingleFrame).decode)
_get_annotations = attrgetter("_annotations")
_get_labels = attrgetter("_labels")
_get_metadata = attrgetter("_metadata")
_get_sourcedata = attrgetter("metadata")
_get_sources = attrgetter("_sources")
_TEXT = frozenset({str})
