"""`DataEntry`: a frame with named sources, in the open API."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ....engine.annotations.coordinates import finite
from ....engine.annotations.types import ImageAnnotation
from ....engine.errors import InvalidTypeError, UsageError
from ....engine.frames.annotated import Coordinates, Labels
from ....engine.frames.frame_group import FrameGroup, frame_from_dict
from ....engine.frames.single_frame import SingleFrame
from ....engine.frames.source import DEFAULT_SOURCE
from ....engine.validation import identifier, items, refusal, shorten
from ....engine.validation import name as check_name
from .annotations import Annotated
from .classes import ENTRY_CLASS, class_named, metadata_of, without_constructor
from .sub_entries import DataSubEntry, DataSubEntryImage

SHADOWED = "_data_entry_metadata"
"""Metadata key of a frame that holds the values whose keys are names of sources, which a frame group cannot have."""


class DataEntry(Annotated):
    """A record of a `HyperDataset`: named sources at one point in time, with metadata. It is recorded as a frame.

    The class of the entry and of its sub-entries is recorded by name. An entry is read back as that class if this process
    has defined it, without a call of its constructor.

    Parameters
    ----------
    data_entry_id : str or number, optional
        Id of the entry, by default random.
    metadata : dict, optional
        JSON-like values. The dict is not copied; it is validated when the entry is added.
    """

    def __init__(
        self, data_entry_id: str | float | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._fill(uuid.uuid4().hex if data_entry_id is None else identifier(data_entry_id), metadata)

    def _fill(self, entry_id: str, metadata: dict[str, Any] | None) -> None:
        self._id = entry_id
        self._metadata = metadata_of(metadata)
        self._sub_entries: dict[str, DataSubEntry] = {}
        self._annotations: list[Any] = []
        self._context_id: str | None = None

    @property
    def id(self) -> str:
        """Id of the entry."""
        return self._id

    @property
    def sub_data_entries(self) -> list[DataSubEntry]:
        """The sub-entries, in the order in which they were added."""
        return list(self._sub_entries.values())

    @property
    def metadata(self) -> dict[str, Any]:
        """JSON-like values. The dict may be modified in place (extension)."""
        return self._metadata

    def add_sub_entries(self, sub_entries: Iterable[DataSubEntry]) -> None:
        """Add sub-entries. One with an existing name replaces that sub-entry."""
        for sub_entry in items(sub_entries, "sub_entries", "a list of DataSubEntry"):
            if not isinstance(sub_entry, DataSubEntry):
                raise refusal("sub_entries", sub_entry, "a list of DataSubEntry")
            self._sub_entries[sub_entry.name] = sub_entry

    def set_vector(self, vector: Sequence[float], metadata_field: str) -> None:
        """Store a vector in the metadata, for `HyperDataset.vector_search`.

        Parameters
        ----------
        vector : sequence of float
            Finite numbers.
        metadata_field : str
            Key in the metadata.

        Raises
        ------
        InvalidTypeError
            The vector is not a sequence.
        InvalidValueError
            An element is not a finite number, or the key is empty.
        """
        if isinstance(vector, str | bytes | Mapping) or not hasattr(vector, "__len__"):
            raise InvalidTypeError(f"vector must be a sequence of numbers, not {shorten(vector)}")
        numbers = items(vector, "vector", "a sequence of numbers")
        key = check_name(metadata_field, "metadata_field")
        self._metadata[key] = list(finite(numbers, "vector"))

    def add_annotation(
        self,
        id: str | float | None = None,  # noqa: A002
        labels: Labels | None = None,
        confidence: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Add an annotation of the whole entry, without a geometry; see `Annotation` for the parameters.

        Returns
        -------
        int
            Index of the annotation.
        """
        self._annotations.append(
            ImageAnnotation(id=id, labels=labels, confidence=confidence, metadata=metadata)
        )
        return len(self._annotations) - 1

    def _own_annotations(self) -> list[Any]:
        return self._annotations

    def to_frame(self) -> SingleFrame | FrameGroup:
        """Return the frame that is recorded. It shares its sources with this entry (extension).

        Raises
        ------
        InvalidValueError
            The metadata is not JSON-like.
        """
        names = self._sub_entries.keys()
        metadata = {ENTRY_CLASS: type(self).__name__, **self._metadata}
        if shadowed := {key: metadata.pop(key) for key in metadata.keys() & names}:
            metadata[SHADOWED] = shadowed
        context_id = next(filter(None, map(_context_of, self._sub_entries.values())), self._context_id)
        if not names:
            return SingleFrame(
                self._id, metadata=metadata, annotations=self._annotations, context_id=context_id
            )
        group = FrameGroup(id=self._id, metadata=metadata)
        group.context_id = context_id
        group.update({name: entry.member() for name, entry in self._sub_entries.items()})
        group.global_annotations.extend(self._annotations)
        return group

    @classmethod
    def from_frame(cls, frame: SingleFrame | FrameGroup) -> DataEntry:
        """Return the entry of a frame, of the class that is recorded, or of this one (extension).

        Parameters
        ----------
        frame : SingleFrame or FrameGroup
            The frame. The entry shares its sources.
        """
        metadata = metadata_in(frame)
        recorded = class_named(metadata.get(ENTRY_CLASS), DataEntry)
        if recorded is not None:
            del metadata[ENTRY_CLASS]
        entry = without_constructor(recorded if recorded and issubclass(recorded, cls) else cls)
        entry._fill(frame.id or uuid.uuid4().hex, metadata)  # noqa: SLF001
        entry._take(frame)  # noqa: SLF001
        return entry

    def _take(self, frame: SingleFrame | FrameGroup) -> None:
        """Take the sources, annotations and context of a frame."""
        if isinstance(frame, SingleFrame) and not frame.sources:
            members: dict[str, SingleFrame] = {}
            self._annotations = frame.annotations
        elif isinstance(frame, SingleFrame):
            members = {DEFAULT_SOURCE: _member(frame)}
        else:
            members = dict(frame)
            self._annotations = frame.global_annotations
        default = next((member.first_uri() for member in members.values()), None)
        self._context_id = None if frame.context_id == default else frame.context_id
        kind = DataSubEntryImage if isinstance(self, DataEntryImage) else DataSubEntry
        for name, member in members.items():
            self._sub_entries[name] = entry = kind.of(name, member, dict(member.metadata))
            if isinstance(entry, DataSubEntryImage):
                entry.context_id = self._context_id

    def to_api_object(self) -> dict[str, Any]:
        """Return the wire form, a dict; see `SingleFrame.from_dict`.

        Raises
        ------
        InvalidValueError
            A value is invalid.
        """
        return self.to_frame().to_dict()

    @classmethod
    def from_api_object(cls, data_entry: Mapping[str, Any]) -> DataEntry:
        """Return the entry of a wire form.

        Parameters
        ----------
        data_entry : dict
            The wire form of a frame, as `to_api_object` returns it. A dict in `meta` under the name of a source is the
            metadata of the sub-entry, as in ClearML.

        Raises
        ------
        InvalidValueError
            A key is unknown or a value is invalid.
        """
        if not isinstance(data_entry, Mapping):
            raise refusal("data_entry", data_entry, "a dict")
        return cls.from_frame(frame_from_dict(_with_own_metadata(data_entry)))

    def __iter__(self) -> Iterator[DataSubEntry]:
        return iter(self._sub_entries.values())

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(id={self._id!r}, sub_entries={list(self._sub_entries)}, "
            f"metadata={shorten(self._metadata)})"
        )


class DataEntryImage(DataEntry):
    """A `DataEntry` of images. Its sub-entries are `DataSubEntryImage`.

    The methods with `global` in their names apply to the annotations of all sub-entries.
    """

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
        """Add annotations to each sub-entry; see `SingleFrame.add_annotation` for the parameters.

        Returns
        -------
        list of int
            Indices of the annotations, for one sub-entry after the other.

        Raises
        ------
        UsageError
            The entry has no sub-entries.
        """
        images = self._images()
        if not images:
            raise UsageError("add sub-entries before a global annotation, which is added to each of them")
        return [
            index
            for image in images
            for index in image.add_annotation(
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
        ]

    def remove_global_annotation(self, index: int | None = None, **kwargs: Any) -> dict[str, Any] | None:
        """Remove one annotation from each sub-entry; return the first. See `DataSubEntryImage.remove_annotation`."""
        removed = [image.remove_annotation(index, **kwargs) for image in self._images()]
        return next(filter(None, removed), None)

    def remove_global_annotations(
        self,
        id: str | float | None = None,  # noqa: A002
        label: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Remove annotations from each sub-entry; see `DataSubEntryImage.remove_annotations`."""
        return [
            removed for image in self._images() for removed in image.remove_annotations(id, label, labels)
        ]

    def get_all_global_annotations(self) -> list[dict[str, Any]]:
        """Return the wire forms of the annotations of all sub-entries."""
        return self.get_global_annotations()

    def get_global_annotations(
        self,
        id: str | float | None = None,  # noqa: A002
        index: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return annotations of all sub-entries; see `DataSubEntryImage.get_annotations`."""
        return [found for image in self._images() for found in image.get_annotations(id, index)]

    def _images(self) -> list[DataSubEntryImage]:
        return [entry for entry in self if isinstance(entry, DataSubEntryImage)]

    @classmethod
    def from_api_object(cls, frame: Mapping[str, Any]) -> DataEntry:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the entry of a wire form; see `DataEntry.from_api_object`."""
        return super().from_api_object(frame)


def metadata_in(frame: SingleFrame | FrameGroup) -> dict[str, Any]:
    """Return a copy of the metadata of the entry of a frame, with what its sources shadow."""
    shadowed = frame.metadata.get(SHADOWED)
    if not isinstance(shadowed, dict):
        return dict(frame.metadata)
    kept = {key: value for key, value in frame.metadata.items() if key != SHADOWED}
    return {**kept, **shadowed}


def entry_of(frame: SingleFrame | FrameGroup) -> DataEntry:
    """Return the entry of a frame of a version; of images, if the frame was not added as an entry."""
    return (DataEntry if ENTRY_CLASS in frame.metadata else DataEntryImage).from_frame(frame)


def _member(frame: SingleFrame) -> SingleFrame:
    """Return the only source of a frame as the member of a group: with the metadata of the source, without an id."""
    member = frame.with_parts(frame.sources, frame.annotations)
    member.id, member.metadata, member.context_id = None, frame.sources[0].metadata, None
    member.put_source(metadata={})
    return member


def _with_own_metadata(wire: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a wire form in which each source has its metadata, which ClearML stores under its name in `meta`."""
    metadata, sources = wire.get("meta"), wire.get("sources")
    if not isinstance(metadata, Mapping) or not isinstance(sources, list | tuple):
        return wire
    rest = dict(metadata)
    moved: list[Any] = []
    for source in sources:
        name = source.get("id") if isinstance(source, Mapping) else None
        if isinstance(rest.get(name), Mapping):
            source = {**source, "meta": {**(source.get("meta") or {}), **rest.pop(name)}}  # noqa: PLW2901
        moved.append(source)
    return {**wire, "meta": rest, "sources": moved}


def _context_of(entry: DataSubEntry) -> str | None:
    return entry.context_id if isinstance(entry, DataSubEntryImage) else None
