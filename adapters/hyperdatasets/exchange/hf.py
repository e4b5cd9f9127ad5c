"""Data sets of the library `datasets` of Hugging Face: versions as data sets, and data sets into drafts."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from ....engine.annotations.types import BoundingBox2D, ImageAnnotation
from ....engine.errors import InvalidValueError, UsageError
from ....engine.frames.frame_group import frame_from_dict
from ....engine.frames.record import READ_ONLY_FIELDS
from ....engine.frames.single_frame import SingleFrame
from ....engine.frames.source import path_or_uri
from ....engine.iterables import chunked
from ....engine.storage.atomic_files import path_of, replace_file
from ....engine.validation import shorten
from ...formats.described import is_remote
from ...formats.files import IMAGE_SUFFIXES, checked_parts, image_size, open_image
from ...formats.format import SPLITS, Item, Reading, Wire, splits_of
from ...formats.geometry import checked_box
from ...formats.report import FlawError, Report
from ...session.current import entered
from ...session.session import Session
from .exporting import categories_of

if TYPE_CHECKING:
    from ....engine.query.tree import Query
    from ..version import DatasetVersion

_BATCH = 1000
_OBJECTS, _LABELS = ("objects", "annotations"), ("category", "categories", "label", "labels")
_FRAME, _ID, _LABEL, _IMAGE = "frame", "id", "label", "image"


def library() -> Any:
    """Return the library.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise UsageError(
            "the library 'datasets' of Hugging Face is needed: pip install 'framelode[hf]'"
        ) from None
    return datasets


def hf_dataset(session: Session, version: DatasetVersion, query: Query | str | None, *, images: bool) -> Any:
    """Return frames as a data set of Hugging Face; see `DatasetVersion.to_hf`."""
    datasets = library()
    import pyarrow as pa
    from datasets.table import InMemoryTable

    names = [str(each["name"]) for each in categories_of(version)]
    features = _features(datasets, names)
    schema, numbers = features.arrow_schema, {name: number for number, name in enumerate(names)}
    frames = version.get_iterator() if query is None else version.query(query)
    batches: list[Any] = []
    with entered(session):
        for some in chunked(frames, _BATCH):
            rows = [_row(frame, numbers, images=images) for frame in some]
            columns = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
            batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
    table = InMemoryTable(pa.Table.from_batches(batches, schema))
    return datasets.Dataset(table, info=datasets.DatasetInfo(features=features))


def _features(datasets: Any, names: list[str]) -> Any:
    value, sequence = datasets.Value, datasets.Sequence
    label = datasets.ClassLabel(names=names) if names else value("string")
    return datasets.Features(
        {
            _ID: value("string"),
            _IMAGE: datasets.Image(),
            "width": value("int64"),
            "height": value("int64"),
            _LABEL: label,
            _OBJECTS[0]: {
                "id": sequence(value("string")),
                "bbox": sequence(sequence(value("float64"), length=4)),
                _LABELS[0]: sequence(label),
            },
            SPLITS: sequence(value("string")),
            _FRAME: value("string"),
        }
    )


def _row(frame: Any, numbers: dict[str, int], *, images: bool) -> dict[str, Any]:
    wire = {key: value for key, value in frame.to_dict().items() if key not in READ_ONLY_FIELDS}
    row: dict[str, Any] = {_ID: frame.id, _FRAME: json.dumps(wire, ensure_ascii=False)}
    objects: dict[str, list[Any]] = {"id": [], "bbox": [], _LABELS[0]: []}
    row |= {_IMAGE: None, "width": None, "height": None, _LABEL: None, _OBJECTS[0]: objects, SPLITS: []}
    if not isinstance(frame, SingleFrame):
        return row
    row |= {"width": frame.width, "height": frame.height, SPLITS: splits_of(frame)}
    path = _local_path(frame) if images and frame.source is not None else None
    if path is not None:
        row[_IMAGE] = {"bytes": None, "path": path}
    for annotation in frame.annotations:
        label = numbers.get(annotation.labels[0]) if annotation.labels else None
        if isinstance(annotation, ImageAnnotation):
            row[_LABEL] = label if row[_LABEL] is None else row[_LABEL]
        elif isinstance(annotation, BoundingBox2D) and not annotation.angle:
            objects["id"].append(annotation.id)
            objects["bbox"].append(list(annotation.poly))
            objects[_LABELS[0]].append(label)
    return row


def _local_path(frame: SingleFrame) -> str | None:
    source = frame.source or ""
    if frame.timestamp or (frame.content_type or "").startswith("video/"):
        return None
    return source if source.startswith("/") else frame.get_local_source()


class HfDataSet:
    """A data set of Hugging Face, which is imported like one of a path.

    Parameters
    ----------
    data : datasets.Dataset or datasets.DatasetDict
        The data set; the keys of the second are splits.
    folder : str or path, optional
        Where images that are in the data set itself are written.

    Raises
    ------
    UsageError
        It is no such data set, or the library is not installed.
    """

    def __init__(self, data: Any, folder: str | os.PathLike[str] | None) -> None:
        datasets = library()
        if isinstance(data, datasets.Dataset):
            data = {"": data}
        if not isinstance(data, Mapping) or not all(
            isinstance(each, datasets.Dataset) for each in data.values()
        ):
            raise UsageError(f"data must be a Dataset or a DatasetDict of 'datasets', not {shorten(data)}")
        self._splits = {split: _undecoded(datasets, each) for split, each in data.items()}
        self._may_write = folder is not None
        self.path = Path.cwd() if folder is None else path_of(folder, "folder").absolute()
        if self._may_write:
            self.path.mkdir(parents=True, exist_ok=True)
        self.path = self.path.resolve()
        self.format_name = "hf"
        self.begin()

    def begin(self) -> None:
        """Read from the beginning."""
        self.report = Report()
        self._names: set[str] = set()
        names: dict[str, None] = {}
        for data in self._splits.values():
            for label in _class_labels(data.features):
                names |= dict.fromkeys(label.names)
        expected = sum(map(len, self._splits.values()))
        self.reading = Reading(str(self.path), self._items(), expected, [{"name": name} for name in names])

    def _items(self) -> Iterator[Item]:
        for split, data in self._splits.items():
            columns = _Columns(data.features)
            for number, row in enumerate(data):
                place = f"{split or 'data'}#{number}"
                try:
                    yield self._item(row, columns, split, place)
                except (FlawError, InvalidValueError) as error:
                    self.report.flaw("row", place, error)

    def _item(self, row: Wire, columns: _Columns, split: str, place: str) -> Item:
        image = row.get(columns.image) if columns.image is not None else None
        if isinstance(row.get(_FRAME), str):
            with suppress(ValueError):
                given = json.loads(row[_FRAME])
                if isinstance(given, dict) and ("sources" in given or row.get(_ID) == given.get("id", "")):
                    return self._whole(given, image, split, place)
        if not image:
            raise FlawError("has no image")
        name, source = self._source(image, split)
        frame: Wire = {"sources": [source], "rois": columns.annotations(row)}
        if meta := columns.metadata(row) | ({SPLITS: [split]} if split else {}):
            frame["meta"] = meta
        return Item(name, frame)

    def _whole(self, wire: Wire, image: Any, split: str, place: str) -> Item:
        """Return a frame that is there in wire form. If its file is not there, the image of the row is its source."""
        wire = frame_from_dict(wire).to_dict()
        first = (wire.get("sources") or [{}])[0]
        path = path_or_uri(first.get("uri")) or ""
        if image and path.startswith("/") and not os.path.lexists(path):
            name, source = self._source(image, split)
            if wire.get("context_id") == first.get("uri"):
                del wire["context_id"]
            first |= {key: source[key] for key in ("uri", "size") if key in source}
            return Item(name, wire)
        return Item(path.removeprefix(f"{self.path}/") or place, wire)

    def _source(self, image: Any, split: str) -> tuple[str, Wire]:
        """Return the name and the source of an image: a file, a URL, or bytes, which are written."""
        if isinstance(image, str):
            image = {"path": image, "bytes": None}
        given, content = image.get("path") or "", image.get("bytes")
        if content is None and is_remote(given):
            return given, {"id": "default", "uri": given}
        path = Path(given).absolute() if content is None else self._written(given, content, split)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise FlawError(f"image {shorten(given)} cannot be read: {error.strerror}") from error
        if not size:
            raise FlawError(f"image {shorten(given)} is empty")
        found = image_size(str(path))
        source: Wire = {"id": "default", "uri": str(path), "size": size}
        if found is not None:
            source["width"], source["height"] = found
        name = str(path).removeprefix(f"{self.path}/")
        if name in self._names:
            raise FlawError(f"image {shorten(name)} is there twice")
        self._names.add(name)
        return name, source

    def _written(self, given: str, content: bytes, split: str) -> Path:
        if not self._may_write:
            raise UsageError("the images are in the dataset itself: pass a folder to write them to")
        digest = blake3(content).hexdigest()[:16]
        name = checked_parts(given)[-1] if given else f"{digest}{_suffix_of(content)}"
        if f"{split}/{name}" in self._names or f"{split}/{name}".removeprefix("/") in self._names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - no path
            name = f"{stem}-{len(self._names)}{suffix}"
        path = self.path.joinpath(*filter(None, (split, name)))
        if not path.is_file() or path.stat().st_size != len(content):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)
        return path


def _undecoded(datasets: Any, data: Any) -> Any:
    """Return a data set whose images are paths and bytes."""
    data = data.with_format(None)
    for name, feature in data.features.items():
        if isinstance(feature, datasets.Image):
            data = data.cast_column(name, datasets.Image(decode=False))
    return data


def _suffix_of(content: bytes) -> str:
    with open_image(io.BytesIO(content)) as image:
        suffix = f".{(image.format or '').lower()}"
    return suffix if suffix in IMAGE_SUFFIXES else ""


def _class_labels(feature: Any) -> Iterator[Any]:
    """Yield the class labels in a feature."""
    if hasattr(feature, "names") and hasattr(feature, "int2str"):
        yield feature
    elif isinstance(feature, Mapping):
        for each in feature.values():
            yield from _class_labels(each)
    elif isinstance(feature, list) and feature:
        yield from _class_labels(feature[0])
    elif (inner := getattr(feature, "feature", None)) is not None:
        yield from _class_labels(inner)


class _Columns:
    """What the columns of a data set are."""

    def __init__(self, features: Mapping[str, Any]) -> None:
        kinds = {name: type(feature).__name__ for name, feature in features.items()}
        self.image = next((name for name, kind in kinds.items() if kind == "Image"), None)
        if self.image is None and _IMAGE in features:
            self.image = _IMAGE
        self.label = next((name for name, kind in kinds.items() if kind == "ClassLabel"), None)
        if self.label is None and _LABEL in features:
            self.label = _LABEL
        self.objects = next((name for name in _OBJECTS if name in features), None)
        self._label_names = next((each.names for each in _class_labels(features.get(self.label or ""))), None)
        self._object_names = next(
            (each.names for each in _class_labels(features.get(self.objects or ""))), None
        )
        self._others = [
            name
            for name in features
            if name not in {self.image, self.label, self.objects, _FRAME, "width", "height"}
        ]

    def metadata(self, row: Wire) -> dict[str, Any]:
        """Return the columns that are nothing else."""
        return {name: row[name] for name in self._others if row[name] is not None}

    def annotations(self, row: Wire) -> list[Wire]:
        """Return the label and the boxes of a row."""
        rois: list[Wire] = []
        if self.label is not None and row[self.label] is not None:
            rois.append({"type": "image", "label": [_named(row[self.label], self._label_names)]})
        objects = row.get(self.objects) if self.objects is not None else None
        for box, label, more in _boxes(objects):
            wire: Wire = {"type": "box2d", "poly": checked_box(box)}
            if label is not None:
                wire["label"] = [_named(label, self._object_names)]
            if more.get("id") is not None:
                wire["id"] = str(more.pop("id"))
            if meta := {key: value for key, value in more.items() if value is not None}:
                wire["meta"] = meta
            rois.append(wire)
        return rois


def _boxes(objects: Any) -> Iterable[tuple[Any, Any, dict[str, Any]]]:
    """Yield the boxes of a row, their labels and their other values: of a dict of lists, or a list of dicts."""
    if not objects:
        return
    if isinstance(objects, Mapping):
        if len({len(values) for values in objects.values() if isinstance(values, list)}) > 1:
            raise FlawError(f"objects have lists of several lengths: {shorten(objects)}")
        keys = list(objects)
        objects = [dict(zip(keys, values, strict=True)) for values in zip(*objects.values(), strict=True)]
    for each in objects:
        more = dict(each)
        label = next((more.pop(key) for key in _LABELS if key in more), None)
        yield more.pop("bbox", None), label, more


def _named(label: Any, names: list[str] | None) -> str:
    if names is None or not isinstance(label, int):
        return str(label)
    if not 0 <= label < len(names):
        raise FlawError(f"class {label} is not one of {len(names)}")
    return names[label]
