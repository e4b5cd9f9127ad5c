"""`DataSubEntry`: one source of a data entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

from ....engine.errors import InvalidValueError
from ....engine.frames.annotated import Coordinates, Labels
from ....engine.frames.single_frame import SingleFrame, record_from_dict
from ....engine.frames.source import DEFAULT_SOURCE, context_name, path_or_uri
from ....engine.frames.source_fields import SourceLike
from ....engine.sources.hashes import HASH_PREFIX
from ....engine.validation import name as check_name
from ....engine.validation import refusal
from .annotations import Annotated
from .classes import SUB_ENTRY_CLASS, OpenObject, class_named, metadata_of, without_constructor

_SOURCE_FIELDS = {"source": "source", "preview_source": "preview_uri"}


class DataSubEntry(OpenObject):
    """A source of a `DataEntry`: a file, its preview and its metadata.

    Parameters
    ----------
    name : str
        Name, unique within the entry.
    source : str or path, optional
        Path or URI of the file.
    preview_source : str or path, optional
        Path or URI of a preview.
    metadata : dict, optional
        JSON-like values. The dict is not copied; it is validated when the entry is added.

    Raises
    ------
    InvalidValueError
        A value is invalid.
    """

    def __init__(
        self,
        name: str,
        source: SourceLike | None,
        preview_source: SourceLike | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._fill(name, SingleFrame(source=source, preview_uri=preview_source), metadata)

    def _fill(self, name: str, frame: SingleFrame, metadata: dict[str, Any] | None) -> None:
        self._name = check_name(name, "name")
        self._frame = frame
        self._metadata = metadata_of(metadata)
        self._upload_destination: str | None = None

    @classmethod
    def of(cls, name: str, frame: SingleFrame, metadata: dict[str, Any]) -> DataSubEntry:
        """Return the sub-entry of a source of a frame, of the class that is recorded, or of this one (extension).

        Parameters
        ----------
        name : str
            Name of the source.
        frame : SingleFrame
            The source as a frame, which the sub-entry keeps. Its own metadata is not used.
        metadata : dict
            Metadata of the source, which the sub-entry keeps.
        """
        recorded = class_named(metadata.get(SUB_ENTRY_CLASS), DataSubEntry)
        if recorded is not None:
            del metadata[SUB_ENTRY_CLASS]
        entry = without_constructor(recorded or cls)
        entry._fill(name, frame, metadata)  # noqa: SLF001
        return entry

    @property
    def name(self) -> str:
        """Name within the entry."""
        return self._name

    @property
    def source(self) -> str | None:
        """Path of a local source, or the URI of any other."""
        return self._frame.source

    @property
    def preview_source(self) -> str | None:
        """Path of a local preview, or the URI of any other."""
        return self._frame.preview_uri

    @property
    def metadata(self) -> dict[str, Any]:
        """JSON-like values. The dict may be modified in place (extension)."""
        return self._metadata

    def get_hash(self, source_field: str = "source") -> str | None:
        """Return the hash of the source, ``blake3:<hex>``, if it is known. Hashes of previews are not stored."""
        _check_field(source_field)
        return self._frame.hash if source_field == "source" else None

    def get_source(self, source_field: str = "source") -> str | None:
        """Return a path or URI.

        Parameters
        ----------
        source_field : str
            ``source`` or ``preview_source``.

        Raises
        ------
        InvalidValueError
            `source_field` is another name.
        """
        return getattr(self._frame, _check_field(source_field))

    def set_source(self, source_field: str, uri: SourceLike | None) -> None:
        """Replace a path or URI; see `get_source`."""
        setattr(self._frame, _check_field(source_field), uri)

    def set_local_sources_upload_destination(self, local_sources_upload_destination: str | None) -> None:
        """Upload the local files of this sub-entry when its entry is added without another destination.

        Parameters
        ----------
        local_sources_upload_destination : str or None
            A destination as for `DatasetVersion.add_frames`. All sub-entries of an entry need the same one.
        """
        self._upload_destination = local_sources_upload_destination

    @property
    def upload_destination(self) -> str | None:
        """What `set_local_sources_upload_destination` set (extension)."""
        return self._upload_destination

    def get_local_source(self, raise_on_error: bool = False, force_download: bool = False) -> str | None:
        """Return the local path of the source, None without a source; see `SingleFrame.get_local_source`."""
        if self.source is None:
            return None
        return self._frame.get_local_source(raise_on_error=raise_on_error, force_download=force_download)

    def get_local_preview_source(
        self, raise_on_error: bool = False, force_download: bool = False
    ) -> str | None:
        """Return the local path of the preview, None without a preview; see `SingleFrame.get_local_preview_source`."""
        if self.preview_source is None:
            return None
        return self._frame.get_local_preview_source(
            raise_on_error=raise_on_error, force_download=force_download
        )

    def hash_source(self) -> None:
        """Set the size and the hash of a local source from its content (extension). Other sources stay as they are."""
        path = Path(self.source or "")
        if path.is_absolute() and path.is_file():
            digest = blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()
            self._frame.size, self._frame.hash = path.stat().st_size, f"{HASH_PREFIX}{digest}"

    @property
    def frame(self) -> SingleFrame:
        """The source as a frame, without the metadata of this sub-entry (extension)."""
        return self._frame

    def member(self) -> SingleFrame:
        """Return the frame of this sub-entry within the frame group of its entry, with its metadata (extension)."""
        self._frame.metadata = {SUB_ENTRY_CLASS: type(self).__name__, **self._metadata}
        return self._frame

    @classmethod
    def from_api_object(cls, source_obj: Mapping[str, Any], name_fallback: str = "source_0") -> DataSubEntry:
        """Return the sub-entry of a source in wire form.

        Parameters
        ----------
        source_obj : dict
            An element of `sources` in the wire form of a frame.
        name_fallback : str
            Name for a source without an id.

        Raises
        ------
        InvalidValueError
            A key is unknown or a value is invalid.
        """
        if not isinstance(source_obj, Mapping):
            raise refusal("source_obj", source_obj, "a dict")
        wire = {**source_obj, "id": DEFAULT_SOURCE}
        frame = record_from_dict({"sources": [wire]})
        metadata = dict(frame.sources[0].metadata) if frame.sources else {}
        frame.put_source(metadata={})
        return cls.of(source_obj.get("id") or name_fallback, frame, metadata)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name={self._name!r}, source={self.source!r}, metadata={self._metadata!r})"
        )


class DataSubEntryImage(DataSubEntry, Annotated):
    """An image of a `DataEntryImage`: a source with a size, masks and annotations.

    Parameters
    ----------
    name : str
        Name, unique within the entry.
    source, preview_source, metadata
        As for `DataSubEntry`.
    width, height : int, optional
        Size in pixels.
    timestamp : int, optional
        Time within the source in milliseconds, by default 0.
    context_id : str, optional
        Context of the entry, such as its video. The first that is set applies to the whole entry.
    masks_source : sequence or dict, optional
        Paths or URIs of masks, with the ids ``00``, ``01``, ... or with the keys of the dict as ids.

    Raises
    ------
    InvalidValueError
        A value is invalid.
    """

    def __init__(
        self,
        name: str = "image_entry_0",
        source: SourceLike | None = None,
        preview_source: SourceLike | None = None,
        width: int | None = None,
        height: int | None = None,
        timestamp: int | None = None,
        context_id: str | None = None,
        masks_source: Sequence[SourceLike] | Mapping[str, SourceLike] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name, source, preview_source, metadata)
        self._frame.width, self._frame.height, self._frame.timestamp = width, height, timestamp or 0
        self._frame.mask_source = masks_source or None
        self.context_id = context_id

    @property
    def width(self) -> int | None:
        """Width in pixels."""
        return self._frame.width

    @width.setter
    def width(self, value: int | None) -> None:
        self._frame.width = value

    @property
    def height(self) -> int | None:
        """Height in pixels."""
        return self._frame.height

    @height.setter
    def height(self, value: int | None) -> None:
        self._frame.height = value

    @property
    def timestamp(self) -> int | None:
        """Time within the source in milliseconds."""
        return self._frame.timestamp

    @timestamp.setter
    def timestamp(self, value: int | None) -> None:
        self._frame.timestamp = value or 0

    @property
    def context_id(self) -> str | None:
        """Context of the entry, if it is set."""
        return self._context_id

    @context_id.setter
    def context_id(self, value: str | None) -> None:
        self._context_id = None if value is None else context_name(value, "context_id")

    def _fill(self, name: str, frame: SingleFrame, metadata: dict[str, Any] | None) -> None:
        super()._fill(name, frame, metadata)
        self._context_id: str | None = None

    def set_mask_source(self, uri: SourceLike | None) -> str | None:
        """Add a mask with the next free id ``00``, ``01``, ...; return the id, or None without a mask."""
        if not uri:
            return None
        masks: dict[str, SourceLike] = {**self.get_masks_source_dict()}
        mask_id = next(each for each in map("{:02d}".format, range(len(masks) + 1)) if each not in masks)
        self._frame.mask_source = {**masks, mask_id: uri}
        return mask_id

    def set_masks_source(
        self, masks_source: Sequence[SourceLike] | Mapping[str, SourceLike] | None = None
    ) -> None:
        """Replace all masks. They get the ids ``00``, ``01``, ...; keys of a dict are ignored, as in ClearML."""
        given = masks_source.values() if isinstance(masks_source, Mapping) else masks_source or ()
        self._frame.mask_source = list(given) or None

    def get_masks_source_dict(self) -> dict[str, str]:
        """Return the paths or URIs of the masks by id."""
        masks = self._frame.sources[0].masks if self._frame.sources else ()
        return {mask.id: path_or_uri(mask.uri) or "" for mask in masks}

    def get_mask_source(self, mask_id: str | None = None) -> str | None:
        """Return the path or URI of a mask, by default of the first, or None if it has no mask."""
        masks = self.get_masks_source_dict()
        return masks.get(min(masks, default="") if mask_id is None else mask_id)

    def get_local_mask_source(
        self, raise_on_error: bool = False, mask_id: str | None = None, force_download: bool = False
    ) -> str | None:
        """Return the local path of a mask, by default of the first, None without it.

        See `SingleFrame.get_local_mask_source`.
        """
        wanted = min(self.get_masks_source_dict(), default=None) if mask_id is None else mask_id
        if self.get_mask_source(wanted) is None:
            return None
        return self._frame.get_local_mask_source(
            raise_on_error=raise_on_error, mask_id=wanted, force_download=force_download
        )

    def get_local_masks_source(
        self, raise_on_error: bool = False, force_download: bool = False
    ) -> dict[str, str | None]:
        """Return the local paths of all masks by id; see `SingleFrame.get_local_masks_source`."""
        return self._frame.get_local_masks_source(
            raise_on_error=raise_on_error, force_download=force_download
        )

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
        """Add an annotation for each geometry given; see `SingleFrame.add_annotation` for the parameters."""
        return self._frame.add_annotation(
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

    def _own_annotations(self) -> list[Any]:
        return self._frame.annotations

    @classmethod
    def from_api_object(  # pyright: ignore[reportIncompatibleMethodOverride] - the signatures of the API
        cls,
        source_obj: Mapping[str, Any],
        frame_meta: Mapping[str, Any] | None = None,
        context_id: str | None = None,
        name_fallback: str = "image_0",
    ) -> DataSubEntry:
        """Return the sub-entry of a source in wire form.

        Parameters
        ----------
        source_obj, name_fallback
            As for `DataSubEntry.from_api_object`.
        frame_meta : dict, optional
            Metadata of the frame. A dict in it under the name of the source is the metadata of the sub-entry.
        context_id : str, optional
            Context of the entry.
        """
        entry = super().from_api_object(source_obj, name_fallback)
        own = (frame_meta or {}).get(entry.name)
        if isinstance(own, Mapping):
            entry.metadata.update(own)
        entry.metadata.pop(SUB_ENTRY_CLASS, None)
        if isinstance(entry, DataSubEntryImage):
            entry.context_id = context_id
        return entry


def _check_field(source_field: object) -> str:
    if source_field not in _SOURCE_FIELDS:
        raise InvalidValueError(
            f"source_field must be one of {', '.join(_SOURCE_FIELDS)}, not {source_field!r}"
        )
    return _SOURCE_FIELDS[str(source_field)]
