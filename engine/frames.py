"""Frames: one moment of one source (`SingleFrame`) or of several together (`FrameGroup`)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, Self, TypeVar, final, overload

import msgspec
from msgspec import Struct, StructMeta

from .annotations import (
    build_annotations,
    check_type,
    find_annotations,
    known_annotations,
    own_annotations,
)
from .errors import InvalidValueError, UsageError
from .geometry import Annotation
from .validation import (
    About,
    canonical_object,
    count,
    dotted,
    identifier,
    is_plain_json,
    items,
    name,
    refusal,
    settle_object,
    shorten,
    whole,
)
from .wire import (
    DEFAULT_SOURCE,
    MaskSource,
    Preview,
    Record,
    Source,
    content_type_of,
    derive_id,
    encode_record,
    path_or_uri,
    source_name,
    source_uri,
)

Value = TypeVar("Value")
SourceLike = str | os.PathLike[str]
MaskLike = SourceLike | Mapping[str, SourceLike] | Sequence[SourceLike]
Labels = str | Sequence[str]
Coordinates = Iterable[Any]

_EMPTY = Source()


class _SourceField(Generic[Value]):
    """A field of a frame's source as an attribute of the frame, checked when it is set."""

    def __init__(self, key: str, check: Callable[[object, str], Any], default: Value, doc: str) -> None:
        self._key, self._check, self._default = key, check, default
        self.__doc__ = doc

    @overload
    def __get__(self, frame: None, owner: object = None) -> Self: ...
    @overload
    def __get__(self, frame: SingleFrame, owner: object = None) -> Value: ...
    def __get__(self, frame: SingleFrame | None, owner: object = None) -> Self | Value:
        if frame is None:
            return self
        return getattr(frame.sources[0], self._key) if frame.sources else self._default

    def __set__(self, frame: SingleFrame, value: object) -> None:
        with About("frame", frame.id):
            checked = self._default if value is None else self._check(value, self._key)
        frame.put_source(**{self._key: checked})


@final
class SingleFrame(Record):
    """One frame: a source file (or a moment of it) with its annotations and metadata.

    Parameters
    ----------
    id : str or number, optional
        Id; numbers become text. Without one, the frame gets an id when it is added.
    source : str or path, optional
        Path or URI of the file. A path is kept as an absolute ``file://`` URI and given back as a path.
    width, height : int, optional
        Size in pixels.
    timestamp : int, optional
        Moment within the source in ms; 0 if not given.
    size : int, optional
        Size of the file in bytes.
    hash : str, optional
        Hash of the file's content, ``blake3:<hex>`` or with another prefix.
    preview_uri : str or path, optional
        Path or URI of a preview.
    preview_uri_timestamp : int, optional
        Timestamp of the preview in ms.
    metadata : dict, optional
        JSON-like values; a copy is kept.
    annotations : sequence of Annotation, optional
        Copies are kept.
    mask_source : str, path, dict or sequence, optional
        Masks: one (its id is ``00``), id -> path or URI, or several numbered ``00``, ``01``, ...
    context_id : str, optional
        What the frame belongs to, such as its video; the source's URI if not given.

    Raises
    ------
    InvalidValueError
        For a value that is not allowed, naming frame, field and value; every property refuses the same ones.
    """

    content_type = _SourceField[str | None]("content_type", name, None, "Content type of the source.")
    width = _SourceField[int | None]("width", count, None, "Width in pixels.")
    height = _SourceField[int | None]("height", count, None, "Height in pixels.")
    timestamp = _SourceField[int]("timestamp", whole, 0, "Moment within the source in ms.")
    size = _SourceField[int | None]("size", count, None, "Size of the file in bytes.")
    hash = _SourceField[str | None]("hash", name, None, "Hash of the file's content with its prefix.")

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
    ) -> None:
        self._id = None if id is None else identifier(id)
        with About("frame", self._id):
            given = (
                ("width", count, width),
                ("height", count, height),
                ("timestamp", whole, timestamp),
                ("size", count, size),
                ("hash", name, hash),
            )
            values: dict[str, Any] = {
                key: check(value, key) for key, check, value in given if value is not None
            }
            if source is not None:
                values.update(_location(source))
            if preview_uri is not None or preview_uri_timestamp is not None:
                values["preview"] = _preview(preview_uri, preview_uri_timestamp)
            if mask_source is not None:
                values["masks"] = _masks(mask_source)
            if values:
                self._keep(Source(**values))
            if metadata is not None:
                self._metadata = canonical_object(metadata, "metadata")
            if annotations is not None:
                self._annotations = own_annotations(annotations, "annotations")
            if context_id is not None:
                self._context_id = name(context_id, "context_id")
                self.settle_context()

    @property
    def source(self) -> str | None:
        """Path of a local source, URI of any other."""
        return path_or_uri(self.first_uri())

    @source.setter
    def source(self, value: SourceLike | None) -> None:
        with About("frame", self.id):
            self.put_source(**_location(value))

    @property
    def preview_uri(self) -> str | None:
        """Path of a local preview, URI of any other."""
        preview = self._sources[0].preview if self._sources else None
        return path_or_uri(preview.uri) if preview else None

    @preview_uri.setter
    def preview_uri(self, value: SourceLike | None) -> None:
        with About("frame", self.id):
            self.put_source(preview=_preview(value, self.preview_uri_timestamp))

    @property
    def preview_uri_timestamp(self) -> int | None:
        """Timestamp of the preview in ms."""
        preview = self._sources[0].preview if self._sources else None
        return preview.timestamp if preview else None

    @preview_uri_timestamp.setter
    def preview_uri_timestamp(self, value: int | None) -> None:
        with About("frame", self.id):
            self.put_source(preview=_preview(self.preview_uri, value))

    @property
    def mask_source(self) -> dict[str, str | None] | None:
        """Masks as id -> path or URI; None without masks. Set it as a whole, in any form the constructor takes."""
        masks = self._sources[0].masks if self._sources else ()
        return {mask.id: path_or_uri(mask.uri) for mask in masks} or None

    @mask_source.setter
    def mask_source(self, value: MaskLike | None) -> None:
        with About("frame", self.id):
            self.put_source(masks=_masks(value))

    @property
    def metadata(self) -> dict[str, Any]:
        """JSON-like values; the dict may be changed in place."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any] | None) -> None:
        with About("frame", self.id):
            self._metadata = canonical_object(value, "metadata")

    @property
    def annotations(self) -> list[Any]:
        """The annotations; the list may be changed in place."""
        return self._annotations

    @annotations.setter
    def annotations(self, value: Iterable[Annotation] | None) -> None:
        with About("frame", self.id):
            self._annotations = own_annotations(value, "annotations")

    @property
    def context_id(self) -> str | None:
        """What the frame belongs to, such as its video; the source's URI unless set otherwise."""
        return self._context_id or self.first_uri()

    @context_id.setter
    def context_id(self, value: str | None) -> None:
        with About("frame", self.id):
            self._context_id = None if value is None else name(value, "context_id")
        self.settle_context()

    def put_source(self, **values: Any) -> None:
        """Replace checked fields of the source; see `Source`."""
        self._keep(msgspec.structs.replace(self._sources[0] if self._sources else _EMPTY, **values))
        self.settle_context()

    def _keep(self, source: Source) -> None:
        # A source that says nothing is not stored, so that equal frames have equal payloads.
        self._sources = (source, *self._sources[1:]) if source.uri or source != _EMPTY else self._sources[1:]

    def with_parts(self, sources: tuple[Source, ...], annotations: list[Any]) -> SingleFrame:
        """Return a record with other sources and annotations; it shares the metadata with this one."""
        record = msgspec.structs.replace(self, _sources=sources, _annotations=annotations)
        record.id = self.id
        record.settle_context()
        return record

    def add_annotation(
        self,
        poly2d_xy: Coordinates | None = None,
        poly3d_xyz: Coordinates | None = None,
        points2d_xy: Coordinates | None = None,
        points3d_xyz: Coordinates | None = None,
        box2d_xywh: Coordinates | None = None,
        box3d_xyzwhxyzwh: Coordinates | None = None,
        ellipse2d_xyrrt: Coordinates | None = None,
        mask_rgb: Iterable[int] | None = None,
        frame_class: Labels | None = None,
        id: str | float | None = None,  # noqa: A002
        labels: Labels | None = None,
        confidence: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Add one annotation for each geometry given; labels alone label the whole frame.

        Parameters
        ----------
        poly2d_xy, poly3d_xyz : sequence of float, optional
            Points of a polygon, shape ``(n, 2)`` or ``(n, 3)`` or flat; several such rings make a complex polygon.
        points2d_xy, points3d_xyz : sequence of float, optional
            Key points, shape ``(n, 2)`` or ``(n, 3)`` or flat.
        box2d_xywh : sequence of float, shape (4,) or (5,), optional
            Left, top, width and height in pixels, and the turn about the centre in radians.
        box3d_xyzwhxyzwh : sequence of float, shape (10,), optional
            x, y, z, width and height of the front face, then of the back face.
        ellipse2d_xyrrt : sequence of float, shape (5,), optional
            Centre, radii in pixels, turn in radians.
        mask_rgb : sequence of int, shape (3,), optional
            Colour of the pixels meant in the mask, each part 0 to 255.
        frame_class : str or sequence of str, optional
            Labels of the whole frame.
        id, labels, confidence, metadata
            Given to each annotation; see `Annotation`.

        Returns
        -------
        list of int
            Indices of the annotations added.

        Raises
        ------
        InvalidValueError
            A value is not allowed, or nothing to annotate was given.
        """
        geometries = {
            "poly2d_xy": poly2d_xy,
            "poly3d_xyz": poly3d_xyz,
            "points2d_xy": points2d_xy,
            "points3d_xyz": points3d_xyz,
            "box2d_xywh": box2d_xywh,
            "box3d_xyzwhxyzwh": box3d_xyzwhxyzwh,
            "ellipse2d_xyrrt": ellipse2d_xyrrt,
            "mask_rgb": mask_rgb,
        }
        common = {"id": id, "labels": labels, "confidence": confidence, "metadata": metadata}
        with About("frame", self.id):
            added = build_annotations(geometries, frame_class, common)
        start = len(self._annotations)
        self._annotations.extend(added)
        return list(range(start, start + len(added)))

    def get_annotations(
        self,
        id: str | float | None = None,  # noqa: A002
        index: int | None = None,
        label: str | None = None,
        labels: Labels | None = None,
    ) -> list[Any]:
        """Return the annotations that fit everything given, all if nothing is.

        Parameters
        ----------
        id : str or number, optional
            Id of the annotation.
        index : int, optional
            Place in `annotations`.
        label : str, optional
            Label that the annotation carries.
        labels : str or sequence of str, optional
            Exactly the labels of the annotation, in order.

        Raises
        ------
        NotFoundError
            No annotation has the id or the index.
        """
        return [self._annotations[i] for i in find_annotations(self._annotations, id, index, label, labels)]

    def remove_annotation(self, index: int | None = None, id: str | float | None = None) -> Any:  # noqa: A002
        """Remove and return one annotation: the one at an index, or the first that has an id.

        Raises
        ------
        UsageError
            Neither or both are given.
        NotFoundError
            There is no such annotation.
        """
        if (index is None) == (id is None):
            raise UsageError("remove_annotation takes an index or an id, one of them")
        return self._annotations.pop(find_annotations(self._annotations, id, index)[0])

    def remove_annotations(
        self,
        id: str | float | None = None,  # noqa: A002
        label: str | None = None,
        labels: Labels | None = None,
    ) -> list[Any]:
        """Remove and return the annotations that fit everything given; see `get_annotations`.

        Raises
        ------
        UsageError
            Nothing is given.
        NotFoundError
            No annotation has the id.
        """
        if id is None and label is None and labels is None:
            raise UsageError(
                "remove_annotations needs an id, a label or labels; clear_annotations() removes all"
            )
        found = find_annotations(self._annotations, id, None, label, labels)
        removed = [self._annotations[i] for i in found]
        for i in reversed(found):
            del self._annotations[i]
        return removed

    def clear_annotations(self) -> None:
        """Remove all annotations."""
        self._annotations.clear()

    def derive_id(self, root: SourceLike | None = None) -> str | None:
        """Return the id that the source gives: 32 lowercase hex digits, or None without a source.

        Parameters
        ----------
        root : str or path, optional
            Folder that the paths of local sources are taken relative to, so that machines agree.
        """
        return derive_id(self._sources, root)

    def validated(self) -> None:
        """Check everything again and bring what was changed in place into canonical form.

        Raises
        ------
        InvalidValueError
            A value is not allowed; the message names the frame, the place, the value and what is allowed.
        """
        with About("frame", self.id):
            self.check()

    def check(self, path: str = "", known: frozenset[str] | None = None) -> None:
        """Do what `validated` does for a part called `path` of a frame.

        Parameters
        ----------
        path : str
            Name of the part, for errors.
        known : frozenset of str, optional
            Names of sources that annotations may mean; a frame on its own has none.
        """
        names = known if known is not None else frozenset(s.id for s in self._sources if self.is_group())
        settle_object(self._metadata, dotted(path, "metadata"))
        for source in self._sources:
            settle_object(source.metadata, dotted(path, f"sources[{source.id}].meta"))
        for index, annotation in enumerate(self._annotations):
            place = dotted(path, f"annotations[{index}]")
            check_type(annotation, place).validate(place)
            if not names.issuperset(annotation.sources):
                allowed = f"names of sources: {', '.join(sorted(names)) or 'none'}"
                raise refusal(f"{place}.sources", annotation.sources, allowed)

    def copy(self) -> SingleFrame:
        """Return an equal frame with a new random id; it shares nothing with this one."""
        self.validated()
        return _restore(encode_record(self), uuid.uuid4().hex)

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form; see `from_dict`."""
        self.validated()
        return self.to_wire(self.id)

    @classmethod
    def from_dict(cls, wire: Mapping[str, Any]) -> SingleFrame:
        """Return the frame of a wire form.

        Parameters
        ----------
        wire : dict
            Any of `id, context_id, timestamp, sources, rois, meta`; what is read-only there is ignored.

        Raises
        ------
        InvalidValueError
            A key is unknown, a value is not allowed, or it is the form of a frame group.
        """
        record = _record_from_dict(wire)
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

    __hash__ = None  # type: ignore[assignment]  # frames can be changed

    def __repr__(self) -> str:
        return f"SingleFrame({', '.join(f'{key}={shorten(value)}' for key, value in self.__rich_repr__())})"

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
        return (_restore, (encode_record(self), self.id))

    def __copy__(self) -> SingleFrame:
        self.validated()
        return _restore(encode_record(self), self.id)


@final
class FrameGroup(MutableMapping[str, SingleFrame]):
    """Several frames of one moment, by name: ``group["left"]``.

    The frames keep no id and no context of their own: the group has both. What is changed on a frame that was put
    in is changed in the group. Groups are equal if ids, contents and order of frames are.

    Parameters
    ----------
    id : str or number, optional
        Id; numbers become text. Without one, the group gets an id when it is added.
    metadata : dict, optional
        JSON-like values; keys must not be names of frames.
    context_id : str, optional
        What the group belongs to; the first source's URI if not given.
    frames : mapping of str to SingleFrame, optional
        The frames by name.

    Raises
    ------
    InvalidValueError
        For a value that is not allowed.
    """

    __slots__ = ("_frames", "_shared")

    def __init__(
        self,
        id: str | float | None = None,  # noqa: A002
        metadata: Mapping[str, Any] | None = None,
        context_id: str | None = None,
        frames: Mapping[str, SingleFrame] | None = None,
    ) -> None:
        self._shared = SingleFrame(id=id, metadata=metadata, context_id=context_id)
        self._frames: dict[str, SingleFrame] = {}
        if frames is not None:
            self.update(frames)

    def __getitem__(self, key: str) -> SingleFrame:
        return self._frames[key]

    def __setitem__(self, key: str, frame: SingleFrame) -> None:
        with About("frame", self.id):
            if not isinstance(frame, SingleFrame) or frame.is_group():
                raise refusal(f"frames[{shorten(key)}]", frame, "a SingleFrame")
            plain = name(key, "frames")
            if plain in self.metadata:
                raise _clash(plain)
            self._frames[plain] = frame

    def __delitem__(self, key: str) -> None:
        del self._frames[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def id(self) -> str | None:
        """Id of the group; None until it has one."""
        return self._shared.id

    @id.setter  # noqa: A003 - the builtin is not meant
    def id(self, value: str | float | None) -> None:
        self._shared.id = value

    @property
    def metadata(self) -> dict[str, Any]:
        """JSON-like values; the dict may be changed in place."""
        return self._shared.metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any] | None) -> None:
        with About("frame", self.id):
            metadata = canonical_object(value, "metadata")
            for key in metadata.keys() & self._frames.keys():
                raise _clash(key)
        self._shared.metadata = metadata

    @property
    def context_id(self) -> str | None:
        """What the group belongs to; the first source's URI unless set otherwise."""
        return self._shared.context_id or next((frame.first_uri() for frame in self.values()), None)

    @context_id.setter
    def context_id(self, value: str | None) -> None:
        self._shared.context_id = value

    @property
    def global_annotations(self) -> list[Any]:
        """Annotations of the group as a whole, or of several of its frames; the list may be changed in place."""
        return self._shared.annotations

    def add_global_annotation(
        self,
        poly2d_xy: Coordinates | None = None,
        poly3d_xyz: Coordinates | None = None,
        points2d_xy: Coordinates | None = None,
        points3d_xyz: Coordinates | None = None,
        box2d_xywh: Coordinates | None = None,
        box3d_xyzwhxyzwh: Coordinates | None = None,
        ellipse2d_xyrrt: Coordinates | None = None,
        mask_rgb: Iterable[int] | None = None,
        frame_class: Labels | None = None,
        id: str | float | None = None,  # noqa: A002
        labels: Labels | None = None,
        confidence: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Add annotations of the whole group; see `SingleFrame.add_annotation`."""
        return self._shared.add_annotation(
            poly2d_xy=poly2d_xy,
            poly3d_xyz=poly3d_xyz,
            points2d_xy=points2d_xy,
            points3d_xyz=points3d_xyz,
            box2d_xywh=box2d_xywh,
            box3d_xyzwhxyzwh=box3d_xyzwhxyzwh,
            ellipse2d_xyrrt=ellipse2d_xyrrt,
            mask_rgb=mask_rgb,
            frame_class=frame_class,
            id=id,
            labels=labels,
            confidence=confidence,
            metadata=metadata,
        )

    def remove_global_annotation(self, index: int | None = None, id: str | float | None = None) -> Any:  # noqa: A002
        """Remove and return one annotation of the whole group; see `SingleFrame.remove_annotation`."""
        return self._shared.remove_annotation(index, id)

    def record(self) -> SingleFrame:
        """Return the record that is stored; it shares labels and metadata with this group.

        Raises
        ------
        InvalidValueError
            The group is empty, its one frame is called ``default``, or its parts contradict each other.
        """
        with About("frame", self.id):
            _refuse_contradictions(self)
            record = self._join()
            if not record.is_group():
                raise refusal("frames", list(self), f"one or more names, not {DEFAULT_SOURCE!r} alone")
        return record

    @classmethod
    def from_record(cls, record: SingleFrame) -> FrameGroup:
        """Return the group of a stored record, taking over its parts."""
        group = cls()
        group._frames = {source.id: _member(source) for source in record.sources}
        group._shared = record.with_parts((), [])
        for annotation in record.annotations:
            if len(annotation.sources) == 1:
                group[annotation.sources[0]].annotations.append(annotation.with_sources(()))
            else:
                group.global_annotations.append(annotation)
        return group

    def derive_id(self, root: SourceLike | None = None) -> str | None:
        """Return the id that the sources give; see `SingleFrame.derive_id`."""
        return derive_id(self._join().sources, root)

    def validated(self) -> None:
        """Check everything again and bring what was changed in place into canonical form.

        Raises
        ------
        InvalidValueError
            A value is not allowed; the message names the group, the place, the value and what is allowed.
        """
        self._check()
        self.record()

    def copy(self) -> FrameGroup:
        """Return an equal group with a new random id; it shares nothing with this one."""
        return _restore_group(self._payload(), uuid.uuid4().hex)

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form; see `SingleFrame.from_dict`."""
        self._check()
        return self._join().to_wire(self.id)

    @classmethod
    def from_dict(cls, wire: Mapping[str, Any]) -> FrameGroup:
        """Return the group of a wire form; see `SingleFrame.from_dict`."""
        record = _record_from_dict(wire)
        with About("frame", record.id):
            if record.sources and not record.is_group():
                raise InvalidValueError("sources: this is a single frame; read it with SingleFrame.from_dict")
            group = cls.from_record(record)
            _refuse_contradictions(group)
        return group

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrameGroup):
            return NotImplemented
        return self._join() == other._join()

    __hash__ = None  # type: ignore[assignment]  # groups can be changed

    def __repr__(self) -> str:
        return f"FrameGroup(id={self.id!r}, frames={shorten(list(self))}, metadata={shorten(self.metadata)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore_group, (self._payload(), self.id))

    def __copy__(self) -> FrameGroup:
        return _restore_group(self._payload(), self.id)

    def _check(self) -> None:
        with About("frame", self.id):
            self._shared.check(known=frozenset(self))
            for key, frame in self.items():
                frame.check(f"frames[{shorten(key)}]")
            _refuse_contradictions(self)

    def _payload(self) -> bytes:
        self._check()
        return encode_record(self._join())

    def _join(self) -> SingleFrame:
        """Return the record of this group, empty or not."""
        annotations = [
            annotation.with_sources((key,)) for key, frame in self.items() for annotation in frame.annotations
        ]
        sources = tuple(_source_of(key, frame) for key, frame in self.items())
        return self._shared.with_parts(sources, [*annotations, *self.global_annotations])


def decode_record(payload: bytes | memoryview) -> SingleFrame:
    """Return the record of a canonical payload; see `wrap` for the frame it stands for.

    Raises
    ------
    IntegrityError
        The bytes are no record.
    """
    try:
        return _decode(payload)
    except msgspec.DecodeError:
        record = _blank()
        record.fill_from_payload(payload)
        return record


def wrap(record: SingleFrame) -> SingleFrame | FrameGroup:
    """Return the frame that a stored record stands for: itself, or the group made of its parts."""
    return FrameGroup.from_record(record) if record.is_group() else record


def frame_from_dict(wire: Mapping[str, Any]) -> SingleFrame | FrameGroup:
    """Return the frame of a wire form: a single one if it has at most one source, called ``default``.

    Raises
    ------
    InvalidValueError
        A key is unknown or a value is not allowed.
    """
    record = _record_from_dict(wire)
    return FrameGroup.from_dict(wire) if record.is_group() else record


def record_to_dict(record: SingleFrame, frame_id: str | None) -> dict[str, Any]:
    """Return the wire form of a stored record, which is known to be in canonical form."""
    return record.to_wire(frame_id)


def screen(frames: Sequence[SingleFrame]) -> bool:
    """Tell whether what users can change in place has the exact plain types in all frames, at C speed.

    False means that each frame must be `validated`, not that one is wrong. Types alone are looked at: NaN, -0.0,
    lone surrogates and integers beyond 64 bits show when the frames are encoded.
    """
    annotations: list[Any] = list(chain.from_iterable(map(_get_annotations, frames)))
    if not known_annotations().issuperset(map(type, annotations)) or any(map(_get_sources, annotations)):
        return False
    if not _TEXT.issuperset(map(type, chain.from_iterable(map(_get_labels, annotations)))):
        return False
    return is_plain_json([*map(_get_metadata, frames), *filter(None, map(_get_metadata, annotations))])


_decode = msgspec.msgpack.Decoder(SingleFrame).decode
_get_annotations = attrgetter("_annotations")
_get_labels = attrgetter("_labels")
_get_metadata = attrgetter("_metadata")
_get_sources = attrgetter("_sources")
_TEXT = frozenset({str})


def _blank() -> SingleFrame:
    return StructMeta.__call__(SingleFrame)


def _restore(payload: bytes, frame_id: str | None) -> SingleFrame:
    frame = decode_record(payload)
    frame.id = frame_id
    return frame


def _restore_group(payload: bytes, frame_id: str | None) -> FrameGroup:
    return FrameGroup.from_record(_restore(payload, frame_id))


def _record_from_dict(wire: Mapping[str, Any]) -> SingleFrame:
    record = _blank()
    given = wire.get("id") if isinstance(wire, Mapping) else None
    record.id = given
    with About("frame", given):
        record.fill_from_wire(wire)
    return record


def _location(value: object) -> dict[str, Any]:
    if value is None:
        return {"uri": None, "content_type": None}
    uri = source_uri(value, "source")
    return {"uri": uri, "content_type": content_type_of(uri)}


def _preview(uri: object, timestamp: object) -> Preview | None:
    if uri is None and timestamp is None:
        return None
    return Preview(
        None if timestamp is None else whole(timestamp, "preview_uri_timestamp"),
        None if uri is None else source_uri(uri, "preview_uri"),
    )


def _masks(value: object) -> tuple[MaskSource, ...]:
    if value is None:
        return ()
    if isinstance(value, (str, os.PathLike)):
        value = [value]
    if not isinstance(value, Mapping):
        given = items(value, "mask_source", "a path or URI, a dict or a list of them")
        value = {f"{index:02d}": uri for index, uri in enumerate(given)}
    return tuple(
        MaskSource(name(key, "mask_source"), source_uri(uri, f"mask_source[{shorten(key)}]"))
        for key, uri in value.items()
    )


def _refuse_contradictions(group: FrameGroup) -> None:
    for key, frame in group.items():
        if key in group.metadata:
            raise _clash(key)
        if frame.context_id != frame.first_uri():
            allowed = "none: the context is that of the group"
            raise refusal(f"frames[{shorten(key)}].context_id", frame.context_id, allowed)


def _clash(key: str) -> InvalidValueError:
    return InvalidValueError(f"metadata: the key {shorten(key)} is the name of a frame; choose another")


def _source_of(key: str, frame: SingleFrame) -> Source:
    source = frame.sources[0] if frame.sources else _EMPTY
    metadata = {**source.metadata, **frame.metadata} if source.metadata else frame.metadata
    return msgspec.structs.replace(source, id=source_name(key, "frames"), metadata=metadata)


def _member(source: Source) -> SingleFrame:
    frame = _blank()
    frame.metadata = source.metadata
    frame.put_source(**{key: getattr(source, key) for key in _MEMBER_FIELDS})
    return frame


_MEMBER_FIELDS = tuple(key for key in Source.__struct_fields__ if key not in {"id", "metadata"})
