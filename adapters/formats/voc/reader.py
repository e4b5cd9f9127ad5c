"""Reads Pascal VOC data sets as frames. Every problem is listed, and everything valid is imported.

What is read
    One frame for each XML file in the folder, at any depth and in folders of any names, then one without annotations for
    each image without an annotation file. Both are sorted by path. Names that start with a dot and files with other suffixes
    are ignored.
Images
    `filename` names the image: below the folder of the XML file or anywhere else, where the image is preferred whose folders
    end like those of the XML file, or are the same. Folders of other machines in it do not matter. If it names no image, the image with the
    name of the XML file is taken. If there is none either, and `path` is a URL, that is the source.
Boxes
    x = xmin, y = ymin, width = xmax - xmin, height = ymax - ymin, as doubles. Coordinates are not shifted, clipped or
    rounded. A box that is empty, has coordinates that are not finite numbers, or is partly outside of the image is listed
    and omitted; its frame is imported. A `robndbox`, or an attribute `rotation` in degrees, gives the angle. An object with a
    `polygon` is a polygon.
Parts
    A `part` of an object becomes an annotation with the metadata `part_of` (name of the object) and `object` (its number
    in the file). The annotation of the object has the same `object`. Parts are imported even if their object is invalid.
Masks
    Images in folders `SegmentationClass` and `SegmentationObject` are masks of the frame of the same name. Each colour of
    the class mask that the label map names is an annotation.
Metadata
    Of an object: `truncated`, `difficult` and `occluded` as True if set (0 and absent are the same), `pose` unless it is
    Unspecified, `attributes` as a dict, and other elements as text. Of a frame: `segmented` as a bool, `depth` as an int,
    `folder`, `source` (`database`, ...) and other elements as text, `verified` if labelImg set it, and `splits`, the sorted
    names of the files `ImageSets/*/*.txt` that list it. `path`, a location on the annotator's machine, is omitted.
Listed and not imported
    An annotation file that is not well-formed, declares a DOCTYPE, is larger than 8 MB or has no image; and the image of
    the same name, because without its annotations it would seem to show nothing. If several files describe one image, the
    one with its name is used, otherwise the first; the others are listed.
Sizes
    A missing size is accepted; boxes are then not compared with it. A size that does not consist of two positive
    integers is listed and treated as missing. One that differs from that of the image file is listed and kept.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from xml.etree.ElementTree import Element

from ....engine.errors import InvalidValueError, UsageError
from ....engine.validation import shorten, text
from ..described import is_remote, put_size, remote_source
from ..files import IMAGE_SUFFIXES, MAX_LIST_BYTES, Folder, Images, folder_of, start_of
from ..format import SPLITS, Item, Reading, Wire
from ..report import FlawError, Report
from ..xml import members, parse, text_of
from .masks import MASK_FOLDERS, Masks
from .objects import Size, annotation_of, as_flag, objects_of, size_of

_ANNOTATIONS, _LISTS = "Annotations", "ImageSets"
_OF_ONE_CLASS = re.compile(r".+_(train|val|trainval|test)")
"""Name of a list of one class, which has a number after each name."""

_NOT_METADATA = frozenset({"filename", "object", "path", "size"})
_ROOT = re.compile(rb"<\s*[Aa]nnotation[\s>/]")


def sniff(path: Path) -> bool:
    """Whether a folder has an XML file with the root element `annotation`, among the first in it."""
    return any(_ROOT.search(_start(file)) for file in islice(_xml_files(path), 20))


def _start(file: Path) -> bytes:
    """Return the beginning of a file; of UTF-16 as if it were ASCII."""
    return start_of(file).replace(b"\0", b"")


def _xml_files(path: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(path):
        below.sort()
        for name in sorted(files):
            if name.lower().endswith(".xml"):
                yield Path(folder, name)


def read(path: Path, report: Report) -> Reading:
    """Return the frames of a Pascal VOC data set.

    Raises
    ------
    UsageError
        The path is not a folder, or has no XML files of Pascal VOC.
    """
    folder = Folder(folder_of(path) if path.is_dir() else path, report)
    files = folder.with_suffix({".xml"})
    if not files and not any(Path(folder.path, name).is_dir() for name in (_ANNOTATIONS, _LISTS)):
        told = "".join(f"; {each.reason}" for each in report.problems[:1])
        raise UsageError(f"{path} has no XML files: give a folder with annotations of Pascal VOC{told}")
    starts = (_start(Path(folder.path, name)) for name in files)
    if files and not any(not start or _ROOT.search(start) for start in starts):
        raise UsageError(
            f"{path} has no XML file with the root element 'annotation' of Pascal VOC, but {files[0]}: "
            "import it in its own format, or with 'auto'"
        )
    reader = _Reader(folder, report)
    return Reading(folder.path, reader.items(), len(reader), reader.masks.categories)


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]  # noqa: PTH122 - a path with slashes


def _base(name: str) -> str:
    return _stem(name).rpartition("/")[2]


class _Reader:
    def __init__(self, folder: Folder, report: Report) -> None:
        self._folder, self._report = folder, report
        self._xml = folder.with_suffix({".xml"})
        self._images = Images(folder)
        self._shown = [name for name in self._images.names if MASK_FOLDERS.isdisjoint(name.split("/")[:-1])]
        self.masks = Masks(folder, report)
        self._by_stem: defaultdict[str, list[str]] = defaultdict(list)
        for name in self._xml:
            self._by_stem[_base(name)].append(name)
        self._described: dict[str, str] = {}
        self._refused: set[str] = set()
        self._splits: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._xml) + sum(_base(name) not in self._by_stem for name in self._shown)

    def items(self) -> Iterator[Item]:
        self._splits = self._read_splits()
        for name in self._xml:
            item = self._annotated(name)
            if item is not None:
                yield item
        for image in self._shown:
            if image not in self._described:
                yield self._bare(image)

    def _annotated(self, name: str) -> Item | None:
        try:
            root = parse(self._folder.read(name), "annotation")
            image, source = self._image_of(root, name)
            size = self._size_of(root, name)
            if size is not None:
                put_size(source, self._folder, image, name, size, self._report)
            frame = self._frame(image, source, _frame_metadata(root) | self._membership(name, image))
        except (FlawError, InvalidValueError) as error:
            self._report.flaw("file", name, error)
            self._refused.add(name)
            return None
        rois = frame.setdefault("rois", [])
        flawed = 0
        for item in objects_of(root):
            try:
                rois.append(annotation_of(item, size))
            except (FlawError, InvalidValueError) as error:
                self._report.flaw("annotation", name, f"{item.where}: {error}")
                flawed += 1
        return Item(image, frame, is_whole=not flawed)

    def _bare(self, image: str) -> Item:
        own = [name for name in self._by_stem.get(_base(image), ()) if self._own_image(name) in {image, None}]
        if any(name in self._refused for name in own):
            return Item(image, None, is_whole=False)
        if own:
            self._report.flaw(
                "image",
                image,
                "the annotation file of the same name describes another image, and no file describes this one",
            )
            return Item(image, None, is_whole=False)
        try:
            source = self._folder.source(image)
            return Item(image, self._frame(image, source, self._membership(image)), is_whole=False)
        except (FlawError, InvalidValueError) as error:
            self._report.flaw("image", image, error)
            return Item(image, None, is_whole=False)

    def _own_image(self, name: str) -> str | None:
        """Return the image with the name of an annotation file; None if there is none or several."""
        try:
            return self._images.of_stem(_stem(name), name)
        except FlawError:
            return None

    def _image_of(self, root: Element, name: str) -> tuple[str, Wire]:
        """Return the name of the image of an annotation file, and its source."""
        filename = text_of(root, "filename")
        try:
            image = self._find_image(filename, name)
        except FlawError:
            path = text_of(root, "path")
            if not is_remote(path):
                raise
            return filename or path, remote_source(text(path, "path"))
        if _base(image) != _base(name) and any(
            self._own_image(other) == image for other in self._by_stem.get(_base(image), ())
        ):
            raise FlawError(
                f"names the image {shorten(image)}, which has an annotation file of the same name"
            )
        if image in self._described:
            raise FlawError(
                f"image {shorten(image)} is already described by {shorten(self._described[image])}"
            )
        self._described[image] = name
        return image, self._folder.source(image)

    def _find_image(self, filename: str, name: str) -> str:
        folder = name.rpartition("/")[0]
        if filename and _is_image(filename):
            is_plain = "/" not in filename and "\\" not in filename
            try:
                return self._images.find(f"{folder}/{filename}" if is_plain else filename, near=(folder,))
            except FlawError as error:
                if "leads out" in str(error):
                    raise
        try:
            return self._images.of_stem(_stem(name), _base(name))
        except FlawError as error:
            raise FlawError(f"{error} and none is the filename {shorten(filename)}") from None

    def _frame(self, image: str, source: Wire, metadata: Wire) -> Wire:
        frame: Wire = {"sources": [source]}
        if metadata:
            frame["meta"] = metadata
        masks, rois = self.masks.of_image(image)
        if masks:
            source["masks"] = masks
            frame["rois"] = rois
        return frame

    def _size_of(self, root: Element, name: str) -> Size | None:
        try:
            return size_of(root)
        except FlawError as error:
            self._report.flaw("size", name, f"size: {error}; boxes are not compared with it")
            return None

    def _membership(self, *names: str) -> dict[str, list[str]]:
        keys: set[str] = set()
        for name in names:
            parts = _stem(name).split("/")
            keys.update("/".join(parts[start:]) for start in range(len(parts)))
        splits = sorted({split for key in keys for split in self._splits.get(key, ())})
        return {SPLITS: splits} if splits else {}

    def _read_splits(self) -> dict[str, tuple[str, ...]]:
        splits: dict[str, tuple[str, ...]] = {}
        for file in self._folder.with_suffix({".txt"}):
            *folders, base = file.split("/")
            split = _stem(base)
            if _LISTS in folders and not _OF_ONE_CLASS.fullmatch(split):
                for name in self._split_names(file):
                    splits[name] = (*splits.get(name, ()), split)
        return splits

    def _split_names(self, file: str) -> Iterable[str]:
        try:
            listed = self._folder.text(file, MAX_LIST_BYTES)
        except FlawError as error:
            self._report.flaw("list", file, error)
            return ()
        given = dict.fromkeys(filter(None, map(str.strip, listed.splitlines())))
        names = {name: _stem(name) if _is_image(name) else name for name in given}
        unknown = [name for name, key in names.items() if not self._knows(key)]
        if unknown:
            examples = ", ".join(map(shorten, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
            self._report.flaw(
                "list",
                file,
                f"{len(unknown)} of {len(names)} names have no image and no annotation file: {examples}",
            )
        return names.values()

    def _knows(self, key: str) -> bool:
        base = key.rpartition("/")[2]
        if base in self._by_stem:
            return True
        try:
            self._images.of_stem(key, key)
        except FlawError as error:
            return "several" in str(error)
        return True


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _frame_metadata(root: Element) -> Wire:
    metadata = members(root, _NOT_METADATA)
    if "segmented" in metadata:
        metadata["segmented"] = as_flag(metadata["segmented"])
    if "verified" in root.attrib:
        metadata["verified"] = root.attrib["verified"]
    size = root.find("size")
    depth = "" if size is None else (size.findtext("depth") or "").strip()
    if depth:
        metadata["depth"] = int(depth) if depth.isdecimal() and len(depth) < 10 else depth
    return metadata
