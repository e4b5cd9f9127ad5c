"""Groups of frames: several sources at one point in time."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import chain, repeat
from operator import attrgetter, is_
from typing import Any, final

import msgspec

from ..annotations.base import Annotation
from ..annotations.registry import own_annotations
from ..canonical import canonical_object
from ..errors import InvalidValueError, UnreadableError
from ..validation import About, KnownAttributes, name, refusal, shorten
from .annotated import Coordinates, Labels
from .hooks import html_of
from .record import encode_record
from .single_frame import SingleFrame, blank_frame, label_numbers, record_from_dict, restore
from .source import DEFAULT_SOURCE, NO_SOURCE, Source, derive_id, group_sources, source_name
from .source_fields import SourceLike

_sources = attrgetter("_sources")

_source_name = attrgetter("id")


@final
class FrameGroup(KnownAttributes, MutableMapping[str, SingleFrame]):
    """Several frames of one point in time, by name: ``group["left"]``.

    Only the group has an id and a context, not the frames in it. The group keeps references to the
    frames, so a change of a frame changes the group. Groups are equal if their ids, contents and frame order are equal.

    Parameters
    ----------
    id : str or number, optional
        Id of the group. Numbers are converted to strings. Without one, the group gets an id when it is added.
    metadata : dict, optional
        JSON-like values. Keys must not be frame names.
    *args, frames : mapping of str to SingleFrame, optional
        The frames by name.
    context_id : str, optional
        Context of the group, such as its video. By default the URI of the first source.
    meta : dict, optional
        Another name of `metadata`, here and as an attribute.
    **named : SingleFrame
        Frames whose names are keywords: ``FrameGroup(left=SingleFrame(...), right=SingleFrame(...))``.

    Raises
    ------
    InvalidValueError
        A value is invalid.
    """

    __slots__ = ("_frames", "_shared")

    def __init__(
        self,
        id: str | float | None = None,  # noqa: A002
        metadata: Mapping[str, Any] | None = None,
        *args: Mapping[str, SingleFrame],
        context_id: str | None = None,
        frames: Mapping[str, SingleFrame] | None = None,
        meta: Mapping[str, Any] | None = None,
        **named: SingleFrame,
    ) -> None:
        self._shared = SingleFrame(id=id, metadata=metadata, context_id=context_id, meta=meta)
        self._frames: dict[str, SingleFrame] = {}
        for given in (*args, {} if frames is None else frames, named):
            if not isinstance(given, Mapping):
                with About("frame", self.id):
                    raise refusal("frames", given, "a dict of SingleFrames by name")
            self.update(given)

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
        """Id of the group, or None if it has none yet."""
        return self._shared.id

    @id.setter  # noqa: A003 - the builtin is not meant
    def id(self, value: str | float | None) -> None:
        self._shared.id = value

    @property
    def metadata(self) -> dict[str, Any]:
        """JSON-like values. The dict may be modified in place."""
        return self._shared.metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any] | None) -> None:
        with About("frame", self.id):
            metadata = canonical_object(value, "metadata")
            for key in metadata.keys() & self._frames.keys():
                raise _clash(key)
        self._shared.metadata = metadata

    meta = metadata

    @property
    def origin(self) -> dict[str, str]:
        """Where the group was read; see `SingleFrame.origin`."""
        return self._shared.origin

    @property
    def dataset_version_metadata(self) -> dict[str, Any]:
        """Metadata of the version that the group was read from; see `SingleFrame.dataset_version_metadata`."""
        return self._shared.dataset_version_metadata

    @property
    def context_id(self) -> str | None:
        """Context of the group. By default the URI of the first source."""
        return self._shared.context_id or next((frame.first_uri() for frame in self.values()), None)

    @context_id.setter
    def context_id(self, value: str | None) -> None:
        self._shared.context_id = value

    @property
    def global_annotations(self) -> list[Any]:
        """Annotations of the whole group, or of several of its frames. The list may be modified in place."""
        return self._shared.annotations

    def get_global_annotations(self) -> list[Any]:
        """Return `global_annotations`."""
        return self._shared.annotations

    def add_global_annotation(
        self,
        annotation: Annotation | None = None,
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
        """Add a copy of an annotation to the whole group, or an annotation for each geometry given.

        The other parameters are those of `SingleFrame.add_annotation`.

        Parameters
        ----------
        annotation : Annotation, optional
            The annotation, instead of the other arguments.

        Returns
        -------
        list of int
            Indices of the added annotations.

        Raises
        ------
        InvalidValueError
            A value is invalid, or neither a geometry nor labels are given.
        """
        if annotation is not None:
            with About("frame", self.id):
                added = own_annotations([annotation], "annotation")
            self.global_annotations.extend(added)
            return [len(self.global_annotations) - 1]
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

    def remove_global_annotation(
        self,
        annotation: Annotation | int | None = None,
        index: int | None = None,
        id: str | float | None = None,  # noqa: A002
    ) -> Any:
        """Remove an annotation of the whole group. Return whether it was there.

        With `index` or `id` instead, remove and return one annotation like `SingleFrame.remove_annotation`.

        Parameters
        ----------
        annotation : Annotation, optional
            An annotation that is equal to the one to remove.
        index : int, optional
            Index in `global_annotations`. It can also be the first argument.
        id : str or number, optional
            Id of the annotation. The first that has it is removed.

        Raises
        ------
        UsageError
            Not exactly one of the arguments is given.
        NotFoundError
            There is no annotation with the index or id.
        """
        if not isinstance(annotation, Annotation):
            return self._shared.remove_annotation(index if annotation is None else annotation, id)
        is_held = annotation in self.global_annotations
        if is_held:
            self.global_annotations.remove(annotation)
        return is_held

    def record(self) -> SingleFrame:
        """Return the record that is stored. It shares labels and metadata with this group.

        Raises
        ------
        InvalidValueError
            The group is empty, or its frames contradict each other.
        """
        with About("frame", self.id):
            _refuse_contradictions(self)
            record = self._join()
            if not record.is_group():
                raise refusal("frames", list(self), "one or more frames")
        return record

    @classmethod
    def from_record(cls, record: SingleFrame) -> FrameGroup:
        """Return the group of a stored record, reusing its parts. Raises `UnreadableError` if it contradicts itself."""
        group = cls()
        group._frames = {source.id: _member(source) for source in record.sources}
        group._shared = record.with_parts((), [])
        for annotation in record.annotations:
            if len(annotation.sources) != 1:
                group.global_annotations.append(annotation)
                continue
            member = group.get(annotation.sources[0])
            if member is None:
                raise _unknown_source(annotation.sources[0], group)
            member.annotations.append(annotation.with_sources(()))
        return group

    def derive_id(self, root: SourceLike | None = None) -> str | None:
        """Return the id that is derived from the sources. The parameter and errors are those of `SingleFrame.derive_id`."""
        return derive_id(self._join().sources, root)

    def validated(self) -> None:
        """Validate the group, and convert values that were modified in place to canonical form.

        Raises
        ------
        InvalidValueError
            A value is invalid. The message gives the group, the field, the value and what is allowed.
        """
        self._check()
        self.record()

    def copy(self) -> FrameGroup:
        """Return a copy with the same content and a new random id. It shares nothing with this group."""
        return _restore_group(self._payload(), uuid.uuid4().hex)

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form, a dict; see `SingleFrame.from_dict`."""
        self._check()
        return self._join().to_wire(self.id)

    @classmethod
    def from_dict(cls, framegroup_dict: Mapping[str, Any]) -> FrameGroup:
        """Return the group of a wire form; see `SingleFrame.from_dict`.

        Parameters
        ----------
        framegroup_dict : dict
            The wire form of a group.

        Raises
        ------
        InvalidValueError
            A key is unknown or a value is invalid.
        """
        record = record_from_dict(framegroup_dict, as_group=True)
        with About("frame", record.id):
            group = cls.from_record(record)
            _refuse_contradictions(group)
        return group

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrameGroup):
            return NotImplemented
        return self._join() == other._join()

    __hash__ = None  # type: ignore[assignment]  # groups are mutable

    def __repr__(self) -> str:
        return f"FrameGroup(id={self.id!r}, frames={shorten(list(self))}, metadata={shorten(self.metadata)})"

    def _repr_html_(self) -> str | None:  # pyright: ignore[reportUnusedFunction] - notebooks call it
        return html_of(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore_group, (self._payload(), self.id, label_numbers(self._join())))

    def __copy__(self) -> FrameGroup:
        return _restore_group(self._payload(), self.id, label_numbers(self._join()))

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
        """Return the record of this group, which may be empty."""
        annotations = [
            annotation.with_sources((key,)) for key, frame in self.items() for annotation in frame.annotations
        ]
        sources = group_sources(tuple(_source_of(key, frame) for key, frame in self.items()))
        return self._shared.with_parts(sources, [*annotations, *self.global_annotations])


def wrap(record: SingleFrame) -> SingleFrame | FrameGroup:
    """Return the frame of a stored record: a `SingleFrame` or a `FrameGroup`."""
    return FrameGroup.from_record(record) if record.is_group() else record


def wrap_all(records: list[SingleFrame]) -> list[SingleFrame] | list[SingleFrame | FrameGroup]:
    """Return the frames of stored records. Usually none of them is a group."""
    # In a group, at least one source has a name other than the default, or stores it, which makes it another object.
    names = map(_source_name, chain.from_iterable(map(_sources, records)))
    return records if all(map(is_, names, repeat(DEFAULT_SOURCE))) else list(map(wrap, records))


def frame_from_dict(wire: Mapping[str, Any]) -> SingleFrame | FrameGroup:
    """Return the frame of a wire form: a `SingleFrame` if it has at most one source, named ``default``, else a group.

    Parameters
    ----------
    wire : dict
        The wire form; see `SingleFrame.from_dict`.

    Raises
    ------
    InvalidValueError
        A key is unknown or a value is invalid.
    """
    record = record_from_dict(wire)
    return FrameGroup.from_dict(wire) if record.is_group() else record


def _restore_group(payload: bytes, frame_id: str | None, numbers: Sequence[int | None] = ()) -> FrameGroup:
    return FrameGroup.from_record(restore(payload, frame_id, numbers))


def _unknown_source(name: str, group: FrameGroup) -> UnreadableError:
    return UnreadableError(
        f"a stored frame group is damaged: an annotation names the source {name!r}, which must be one of {shorten(list(group))}"
    )


def _refuse_contradictions(group: FrameGroup) -> None:
    for key, frame in group.items():
        if key in group.metadata:
            raise _clash(key)
        if frame.context_id != frame.first_uri():
            allowed = "unset (the group has the context)"
            raise refusal(f"frames[{shorten(key)}].context_id", frame.context_id, allowed)


def _clash(key: str) -> InvalidValueError:
    return InvalidValueError(f"metadata: the key {shorten(key)} is the name of a frame: use another key")


def _source_of(key: str, frame: SingleFrame) -> Source:
    source = frame.sources[0] if frame.sources else NO_SOURCE
    metadata = {**source.metadata, **frame.metadata} if source.metadata else frame.metadata
    return msgspec.structs.replace(source, id=source_name(key, "frames"), metadata=metadata)


def _member(source: Source) -> SingleFrame:
    frame = blank_frame()
    frame.metadata = source.metadata
    frame.put_source(**{key: getattr(source, key) for key in _MEMBER_FIELDS})
    return frame


_MEMBER_FIELDS = tuple(key for key in Source.__struct_fields__ if key not in {"id", "metadata"})
