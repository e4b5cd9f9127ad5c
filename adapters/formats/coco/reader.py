"""Reads COCO data sets as frames, image by image, from all files together.

What is read
    A JSON file, or all JSON files of COCO in a folder. An image that several files list is one frame: instances, key
    points, captions and labels are joined.
Images
    `file_name` is looked for beside the JSON file, in the folder, and in `images` and the folder of the split; otherwise the
    only image whose path ends with the most parts of it is taken. Without a file, `coco_url` or a URL in `file_name` is the
    source.
Splits
    `instances_train2017.json` and the like, `train.json` and `train/_annotations.coco.json` name splits. `default` is none.
Annotations
    `segmentation` is a polygon, or a complex polygon if it has several parts or is run-length encoded. Without one, `bbox` is
    a box. `keypoints` are key points beside it, with the same id. `caption` is a label of the frame without a name.
    `attributes` and other keys are metadata, `score` is the confidence, `iscrowd` is metadata if it is 1. `area` is left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from ....engine.errors import UsageError
from ....engine.iterables import chunked
from ....engine.validation import shorten
from ..described import is_remote, put_size, remote_source
from ..files import Folder, Images, folder_of, json_of, start_of
from ..format import SPLITS, Item, Reading, Wire
from ..geometry import VISIBILITY, complex_polygon
from ..report import FlawError, Report
from .document import CocoFile, Ref
from .rle import decode_rle, rings_of

COCO_ID = "coco_id"
"""Key of the metadata of a frame: the id of the image, which results of models name."""

_SOME = 500
"""Images whose annotations are decoded together."""

_KEYS = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_PEEK = 2**16
_TASK = re.compile(r"(?:instances|person_keypoints|keypoints|captions|labels|image_info)_(.+)", re.IGNORECASE)
_SPLIT = re.compile(r"(?:train|val|valid|test|dev)\w*", re.IGNORECASE)
_NO_SPLIT = "default"
_IMAGE_KEYS = frozenset({"id", "file_name", "width", "height"})
_CATEGORY_KEYS = ("name", "id", "supercategory", "keypoints", "skeleton", "color", "isthing")
_TOLERANCE = 1.0
"""Pixels by which a box may differ from that of its segmentation."""


class Rle(Struct, gc=False):
    """A run-length encoded mask."""

    counts: str | list[int]
    size: tuple[int, int]


_Size = Annotated[float, Meta(ge=0)]
_Empty = Annotated[list[Any], Meta(max_length=0)]


class Annotation(Struct, forbid_unknown_fields=True, gc=False):
    """An annotation as it is in a file."""

    id: int | str | None = None
    image_id: int | str | None = None
    category_id: int | str | None = None
    bbox: tuple[float, float, float, float] | None = None
    segmentation: list[list[float]] | Rle | None = None
    area: Any = None
    iscrowd: int | bool | None = None
    keypoints: list[float] | None = None
    num_keypoints: Any = None
    score: float | None = None
    caption: str | None = None
    attributes: dict[str, Any] | None = None


class Box(Struct, forbid_unknown_fields=True, gc=False):
    """An annotation that is a box and nothing else."""

    id: int
    category_id: int | str
    bbox: tuple[float, float, _Size, _Size]
    image_id: int | str | None = None
    segmentation: _Empty | None = None
    area: float | None = None
    iscrowd: Literal[0] | None = None


_boxes = msgspec.json.Decoder(list[Box]).decode
_annotations = msgspec.json.Decoder(list[Annotation]).decode
_FIELD = re.compile(r"`\$\.(\w+)")
"""The field that an error of decoding names."""
_FIELDS = frozenset(Annotation.__struct_fields__)
_JOINED = ("bbox", "segmentation", "keypoints", "score", "attributes", "iscrowd")


def sniff(path: Path) -> bool:
    """Whether a file, or one of the first JSON files in a folder, names images and annotations or categories."""
    if path.is_file():
        return path.suffix.lower() == ".json" and _looks_like(path)
    return any(map(_looks_like, islice(path.rglob("*.json"), 20)))


def _looks_like(file: Path) -> bool:
    data = start_of(file)
    if len(data) == _PEEK:
        with file.open("rb") as opened:
            opened.seek(-_PEEK, os.SEEK_END)
            data += opened.read()
    return len(set(_KEYS.findall(data))) >= 2


def read(path: Path, report: Report) -> Reading:
    """Return the frames of a COCO data set.

    Raises
    ------
    UsageError
        There is no file of COCO.
    """
    folder = Folder(folder_of(path), report)
    files: list[CocoFile] = []
    reasons: dict[str, str] = {}
    for name in folder.chosen(path, {".json"}):
        try:
            files.append(CocoFile(folder, name, report))
        except FlawError as error:
            reasons[name] = str(error)
    for name, reason in reasons.items():
        if path.is_file() or "as a file of COCO does" not in reason:
            report.flaw("file", name, reason)
    if not files:
        told = "".join(f": {name} {reason}" for name, reason in islice(reasons.items(), 1))
        raise UsageError(f"{path} has no file of COCO that can be read{told}")
    reader = _Reader(folder, files, report)
    return Reading(folder.path, reader.items(), len(reader.places), reader.categories)


def split_of(name: str) -> str | None:
    """Return the split that the name of a file stands for."""
    path = Path(name)
    stem = path.stem
    if found := _TASK.fullmatch(stem):
        return None if found[1] == _NO_SPLIT else found[1]
    for each in (stem, path.parent.name if stem.startswith("_annotations") else ""):
        if _SPLIT.fullmatch(each):
            return each
    return None


class _Reader:
    def __init__(self, folder: Folder, files: Sequence[CocoFile], report: Report) -> None:
        self._folder, self._files, self._report = folder, files, report
        self._images = Images(folder)
        self._splits = [split_of(file.name) for file in files]
        self._near = [
            self._folders(file.name, split) for file, split in zip(files, self._splits, strict=True)
        ]
        self._names = [{each["id"]: each["name"] for each in file.categories} for file in files]
        self._labels = [{key: [name] for key, name in names.items()} for names in self._names]
        self.categories = self._all_categories()
        self.places = self._all_places()

    @staticmethod
    def _folders(name: str, split: str | None) -> list[str]:
        beside = name.rpartition("/")[0]
        found = [beside, f"{beside}/images".strip("/"), "", "images"]
        return found if split is None else [*found, split, f"images/{split}"]

    def _all_categories(self) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for file in self._files:
            for each in file.categories:
                kept = {key: each[key] for key in _CATEGORY_KEYS if each.get(key) is not None}
                found[each["name"]] = kept | found.get(each["name"], {})
        return list(found.values())

    def _all_places(self) -> dict[str, list[tuple[int, int]]]:
        """Return where the files list each image: the number of the file and the place in it."""
        places: dict[str, list[tuple[int, int]]] = {}
        for number, file in enumerate(self._files):
            for place, ref in enumerate(file.refs):
                if ref is not None:
                    places.setdefault(ref.file_name, []).append((number, place))
        return places

    def items(self) -> Iterator[Item]:
        for some in chunked(self.places.values(), _SOME):
            yield from self._some(some)

    def _some(self, some: list[list[tuple[int, int]]]) -> Iterator[Item]:
        raws: list[Raw] = []
        counts: list[int] = []
        for listed in some:
            for number, place in listed:
                found = self._files[number].raw_annotations(place)
                raws += found
                counts.append(len(found))
        decoded = _decode(raws)
        at = 0
        images = iter(counts)
        for listed in some:
            annotations: list[list[Any]] = []
            for _ in listed:
                count = next(images)
                annotations.append(decoded[at : at + count])
                at += count
            yield self._item(listed, annotations)

    def _item(self, listed: list[tuple[int, int]], annotations: list[list[Any]]) -> Item:
        number, place = listed[0]
        file = self._files[number]
        image = json_of(bytes(file.images[place]))
        file_name = image["file_name"]
        try:
            name, source = self._source(file_name, image, number)
        except FlawError as error:
            self._report.flaw("image", file.name, f"image {shorten(image['id'])}: {error}")
            return Item(file_name, None, is_whole=False)
        size = image.get("width"), image.get("height")
        if size != (None, None):
            put_size(source, self._folder, name, file.name, size, self._report)
        meta: Wire = {COCO_ID: image["id"]}
        if len(image) > 3:
            meta |= {
                key: value for key, value in image.items() if key not in _IMAGE_KEYS and value is not None
            }
            if source["uri"] == meta.get("coco_url"):
                del meta["coco_url"]
        if splits := sorted({split for at, _ in listed if (split := self._splits[at]) is not None}):
            meta[SPLITS] = splits
        frame: Wire = {"sources": [source], "meta": meta}
        flawed = self._annotate(frame, listed, annotations)
        return Item(name, frame, is_whole=not flawed)

    def _source(self, file_name: str, image: Wire, number: int) -> tuple[str, Wire]:
        if is_remote(file_name):
            return file_name, remote_source(file_name)
        url = image.get("coco_url")
        if not self._images.names and is_remote(url):
            return file_name, remote_source(url)
        try:
            name = self._images.find(file_name, self._near[number])
        except FlawError:
            if not is_remote(url):
                raise
            return file_name, remote_source(url)
        return name, self._folder.source(name)

    def _boxes(self, number: int, given: list[Any]) -> list[Wire] | None:
        """Return annotations in wire form if all of them are boxes of known categories."""
        names = self._labels[number]
        if not given or type(given[0]) is not Box or type(given[-1]) is not Box:
            return None
        try:
            return [
                {"type": "box2d", "label": names[each.category_id], "id": str(each.id), "poly": each.bbox}
                for each in given
            ]
        except KeyError:
            return None

    def _annotate(self, frame: Wire, listed: list[tuple[int, int]], annotations: list[list[Any]]) -> int:
        """Add the annotations of an image to its frame. Return the number of those that are flawed."""
        if len(listed) == 1 and (boxes := self._boxes(listed[0][0], annotations[0])) is not None:
            frame["rois"] = boxes
            return 0
        rois: list[Wire] = []
        flawed = 0
        joined: dict[Any, tuple[Annotation, Wire, int]] = {}
        for (number, _), given in zip(listed, annotations, strict=True):
            for each in given:
                try:
                    annotation, meta = _annotation_of(each)
                    if len(listed) == 1:
                        self._add(rois, annotation, meta, number)
                    else:
                        _join(joined, annotation, meta, number)
                except FlawError as error:
                    flawed += 1
                    self._report.flaw("annotation", self._files[number].name, f"{_called(each)}: {error}")
        for annotation, meta, number in joined.values():
            try:
                self._add(rois, annotation, meta, number)
            except FlawError as error:
                flawed += 1
                self._report.flaw("annotation", self._files[number].name, f"{_called(annotation)}: {error}")
        frame["rois"] = rois
        return flawed

    def _add(self, rois: list[Wire], annotation: Annotation, meta: Wire, number: int) -> None:
        """Add an annotation in wire form: its shape, and its key points."""
        wire: Wire = {}
        if annotation.id is not None:
            wire["id"] = str(annotation.id)
        name = self._names[number].get(annotation.category_id)
        if name is not None:
            wire["label"] = [name]
        else:
            _check_caption(annotation)
        meta = meta | (annotation.attributes or {})
        if annotation.score is not None and 0 <= annotation.score <= 1:
            wire["confidence"] = annotation.score
        elif annotation.score is not None:
            meta = {**meta, "score": annotation.score}
        if annotation.iscrowd:
            meta = {**meta, "iscrowd": True}
        shape = self._shape(annotation)
        if annotation.caption is not None:
            meta = {**meta, "caption": annotation.caption}
        if meta and (shape or not annotation.keypoints):
            wire["meta"] = meta
        if shape or not annotation.keypoints:
            rois.append({**wire, **(shape or {"type": "image"})})
        if annotation.keypoints:
            self._add_keypoints(rois, annotation.keypoints, wire, {} if shape else meta)

    def _shape(self, annotation: Annotation) -> Wire | None:
        """Return the type and the geometry of a polygon or box. Return None if the annotation has neither."""
        if annotation.segmentation:
            return _outline(annotation, self._report)
        bbox = annotation.bbox
        if bbox is None:
            return None
        if not (bbox[2] >= 0 and bbox[3] >= 0):
            raise FlawError(f"bbox has a negative size: {list(bbox)}")
        return {"type": "box2d", "poly": bbox}

    @staticmethod
    def _add_keypoints(rois: list[Wire], keypoints: list[float], common: Wire, meta: Wire) -> None:
        if len(keypoints) % 3:
            raise FlawError(f"keypoints must be triples of x, y and visibility, not {len(keypoints)} numbers")
        visibility = keypoints[2::3]
        if not any(visibility):
            return
        if set(visibility) != {2}:
            meta = {**meta, VISIBILITY: [int(each) for each in visibility]}
        poly = [each for place, each in enumerate(keypoints) if place % 3 != 2]
        wire = {key: common[key] for key in ("label", "id", "confidence") if key in common}
        rois.append({**wire, "type": "keypoints2d", "poly": poly, **({"meta": meta} if meta else {})})


def _check_caption(annotation: Annotation) -> None:
    """Raise `FlawError` if an annotation has no category of its file and is no caption."""
    if annotation.category_id is None:
        if annotation.caption is None:
            raise FlawError("has no category_id")
    # datumaro gives captions a category that there is not.
    elif annotation.caption is None or annotation.bbox or annotation.segmentation or annotation.keypoints:
        raise FlawError(f"category {shorten(annotation.category_id)} is not in categories")


def _decode(raws: list[Raw]) -> list[Any]:
    """Decode annotations together; those that need a closer look stay raw."""
    joined = b"[" + b",".join(raws) + b"]"
    with suppress(msgspec.DecodeError):
        return list(_boxes(joined))
    with suppress(msgspec.DecodeError):
        return list(_annotations(joined))
    if len(raws) == 1:
        return list(raws)
    half = len(raws) // 2
    return _decode(raws[:half]) + _decode(raws[half:])


def _annotation_of(given: Any) -> tuple[Annotation, Wire]:
    """Return an annotation, and its metadata beside `attributes`."""
    if isinstance(given, Annotation):
        return given, {}
    if isinstance(given, Box):
        return Annotation(id=given.id, category_id=given.category_id, bbox=given.bbox), {}
    return _carefully(given)


def _carefully(raw: Raw) -> tuple[Annotation, Wire]:
    """Return an annotation, and the keys that it has beside those of COCO."""
    try:
        given = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise FlawError(str(error)) from error
    if given.get("bbox") == []:
        del given["bbox"]
    meta = {key: value for key, value in given.items() if key not in _FIELDS and value is not None}
    try:
        return msgspec.convert({key: given[key] for key in given.keys() & _FIELDS}, Annotation), meta
    except msgspec.ValidationError as error:
        field = _FIELD.search(str(error))
        told = f": {field[1]} is {shorten(given[field[1]])}" if field else ""
        raise FlawError(f"{error}{told}") from error


def _called(annotation: Annotation | Box | Raw) -> str:
    if isinstance(annotation, Annotation | Box):
        return f"annotation {shorten(annotation.id)}"
    return f"annotation {shorten(msgspec.json.decode(annotation, type=Ref).id)}"


def _join(
    joined: dict[Any, tuple[Annotation, Wire, int]], annotation: Annotation, meta: Wire, number: int
) -> None:
    """Take in an annotation of one of several files; what another file has under the same id and category completes it."""
    key = (annotation.id, annotation.category_id) if annotation.id is not None else len(joined)
    if key not in joined:
        joined[key] = annotation, meta, number
        return
    first, held, of_file = joined[key]
    more = {field: getattr(annotation, field) for field in _JOINED if getattr(first, field) in (None, [])}
    joined[key] = msgspec.structs.replace(first, **more), meta | held, of_file


def _outline(annotation: Annotation, report: Report) -> Wire:
    """Return the type and the geometry of a segmentation."""
    segmentation, bbox = annotation.segmentation, annotation.bbox
    rings = _rings(segmentation) if isinstance(segmentation, Rle) else segmentation or []
    for ring in rings:
        if len(ring) < 6 or len(ring) % 2:
            raise FlawError(
                f"segmentation must have pairs of x and y for 3 points or more, not {len(ring)} numbers"
            )
    if bbox is not None and _differs(bbox, rings):
        report.loss("bbox that is not that of the segmentation: left out", _called(annotation))
    if len(rings) == 1:
        return {"type": "polygon2d", "poly": rings[0]}
    return complex_polygon(rings)


def _rings(mask: Rle) -> list[list[float]]:
    rings = rings_of(decode_rle(mask.counts, *mask.size))
    if not rings:
        raise FlawError("segmentation is an empty mask")
    return rings


def _differs(bbox: tuple[float, float, float, float], rings: list[list[float]]) -> bool:
    x, y, width, height = bbox
    left, top = min(min(ring[0::2]) for ring in rings), min(min(ring[1::2]) for ring in rings)
    right, bottom = max(max(ring[0::2]) for ring in rings), max(max(ring[1::2]) for ring in rings)
    furthest = max(abs(left - x), abs(top - y), abs(right - x - width), abs(bottom - y - height))
    return furthest > _TOLERANCE
