"""Reads Pascal VOC folders as frames. Every problem is listed, and everything valid is imported.

What is read
    One frame for each file of `Annotations/*.xml`, then one without annotations for each image of `JPEGImages` without an
    annotation file. Both are sorted by file name. Images are not opened. Names that start with a dot and files with other
    suffixes are ignored; subfolders are listed as problems.
Boxes
    x = xmin, y = ymin, width = xmax - xmin, height = ymax - ymin, as doubles. Coordinates are not shifted, clipped or
    rounded. A box that is empty, has coordinates that are not finite numbers, or is partly outside of the image is listed
    and omitted; its frame is imported.
Parts
    A `part` of an object becomes an annotation with the metadata `part_of` (name of the object) and `object` (its number
    in the file). The annotation of the object has the same `object`. Parts are imported even if their object is invalid.
Metadata
    Of an object: `truncated`, `difficult` and `occluded` as True if set (0 and absent are the same), `pose` unless it is
    Unspecified, and other elements as text. Of a frame: `segmented` as a bool, `depth` as an int, `folder`, `source`
    (`database`, ...) and other elements as text, `verified` if labelImg set it, and `splits`, the sorted names of the
    files `ImageSets/Main/{train,val,test,trainval}.txt` that list it. `path`, a location on the annotator's machine, is
    omitted.
Listed and not imported
    An annotation file that is not well-formed, declares a DOCTYPE, is larger than 8 MB or has no image; and the image of
    the same name, because without its annotations it would seem to show nothing. If several files describe one image, the
    one with its name is used, otherwise the first; the others are listed.
Links
    Symbolic links are followed inside the folder. A link that leads out of it is listed and not read, unless its target
    is in a folder that `FRAMELODE_LINK_TARGETS` names.
Sizes
    A missing size is accepted; boxes are then not compared with it. A size that does not consist of two positive
    integers is listed and treated as missing.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any
from xml.etree.ElementTree import Element

from ...engine.errors import InvalidValueError, StorageError, UsageError
from ...engine.frames.single_frame import SingleFrame
from ...engine.storage.atomic_files import from_home
from ...engine.storage.root_folder import RootFolder
from ...engine.validation import shorten
from .objects import Size, as_flag, box_of, details_of, label_of, objects_of, size_of
from .xml import FlawError, file_size, members, parse, read_bytes, text_of

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
SPLITS = ("test", "train", "trainval", "val")
MAX_LIST_BYTES = 64 * 2**20

_NOT_METADATA = frozenset({"filename", "object", "path", "size"})


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of the folder that was not imported, and why.

    Attributes
    ----------
    file : str
        The file, relative to the VOC folder.
    reason : str
        The problem, the value, and its place in the file.
    """

    file: str
    reason: str


class VocFolder:
    """A Pascal VOC folder: `Annotations`, `JPEGImages` and `ImageSets/Main`.

    Parameters
    ----------
    path : str or os.PathLike
        Path of the folder. The names of its files are read only once.

    Attributes
    ----------
    path : Path
        Absolute path of the folder with symbolic links resolved, so that sources are always the same.
    problems : list of Problem
        The problems of the last `read` so far.

    Raises
    ------
    UsageError
        The path is not a folder, has no folder `Annotations`, or one of its folders is a symbolic link that leads out of
        it; `FRAMELODE_LINK_TARGETS` lists folders that links may lead to.
    StorageError
        The folder cannot be listed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _checked(from_home(path))
        self.problems: list[Problem] = []
        self._root = RootFolder(str(self.path))
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            self._root.check_links(folder)
        self._annotations, self._subfolders = _listed(self.path, "Annotations", {".xml"})
        self._images, image_folders = _listed(self.path, "JPEGImages", IMAGE_SUFFIXES)
        self._subfolders += image_folders
        self._lists, _ = _listed(self.path, "ImageSets/Main", {".txt"})
        self._annotated = {Path(name).stem for name in self._annotations}
        self._by_stem = _grouped_by_stem(self._images)
        self._splits: dict[str, tuple[str, ...]] = {}
        self._described: dict[str, str] = {}
        self._refused: set[str] = set()
        self._flawed: set[str] = set()

    @property
    def images(self) -> list[str]:
        """The sorted names of the files in `JPEGImages`."""
        return self._images

    def is_whole(self, image: str) -> bool:
        """Whether an image that was read has an annotation file in which all objects were valid."""
        return image in self._described and image not in self._flawed

    def __len__(self) -> int:
        """Return the maximum number of frames. It is lower if there are problems."""
        return len(self._annotations) + sum(Path(name).stem not in self._annotated for name in self._images)

    def read(self) -> Iterator[SingleFrame]:
        """Yield the frames, and collect problems in `problems`, which is cleared first.

        Yields
        ------
        SingleFrame
            First those with an annotation file, then the other images, each sorted by file name.
        """
        self.problems.clear()
        self._described = {}
        self._refused = set()
        self._flawed = set()
        for name in self._subfolders:
            self._list(name, "is a folder: only files directly in the parent folder are read")
        self._splits = self._read_splits()
        for name in self._annotations:
            yield from self._read_annotated(name)
        for image in self._images:
            if image not in self._described:
                yield from self._read_bare(image)

    def _list(self, file: str, reason: object) -> None:
        # A name that is not valid Unicode could not be printed or stored.
        self.problems.append(Problem(file.encode("utf-8", "backslashreplace").decode(), str(reason)))

    def _read_annotated(self, name: str) -> Iterator[SingleFrame]:
        file = f"Annotations/{name}"
        try:
            root = parse(read_bytes(self._path(file)))
            image = self._image_of(root, name)
            metadata = _frame_metadata(root) | self._membership(Path(name).stem, image)
            size = self._size_of(root, file)
            frame = self._frame(image, metadata, size)
        except (FlawError, InvalidValueError) as error:
            self._list(file, error)
            self._refused.add(Path(name).stem)
            return
        if not self._annotate(frame, root, size, file):
            self._flawed.add(image)
        yield frame

    def _read_bare(self, image: str) -> Iterator[SingleFrame]:
        stem = Path(image).stem
        if stem in self._refused:
            return
        file = f"JPEGImages/{image}"
        if stem in self._annotated:
            self._list(
                file,
                "the annotation file of the same name describes another image, and no file describes this one",
            )
            return
        try:
            frame = self._frame(image, self._membership(image), None)
        except (FlawError, InvalidValueError) as error:
            self._list(file, error)
            return
        yield frame

    def _image_of(self, root: Element, name: str) -> str:
        image = self._find_image(text_of(root, "filename"), Path(name).stem)
        stem = Path(image).stem
        if stem != Path(name).stem and stem in self._annotated:
            raise FlawError(
                f"names the image {shorten(image)}, which has an annotation file of the same name"
            )
        if image in self._described:
            raise FlawError(
                f"image {shorten(image)} is already described by {shorten(self._described[image])}"
            )
        self._described[image] = name
        return image

    def _find_image(self, filename: str, stem: str) -> str:
        if filename in self._by_stem.get(Path(filename).stem, ()):
            return filename
        if _leads_elsewhere(filename):
            raise FlawError(f"filename {shorten(filename)} leads out of JPEGImages")
        match self._by_stem.get(stem, []):
            case [image]:
                return image
            case []:
                raise FlawError(
                    f"missing image: JPEGImages has neither the filename {shorten(filename)} nor an image {shorten(stem)}"
                )
            case several:
                raise FlawError(
                    f"filename {shorten(filename)} is not in JPEGImages, and several images have the name of this file: "
                    + ", ".join(map(shorten, several))
                )

    def _path(self, file: str) -> Path:
        try:
            self._root.check_links(file)
        except UsageError as error:
            raise FlawError(str(error)) from error
        return self.path / file

    def _frame(self, image: str, metadata: dict[str, Any], size: Size | None) -> SingleFrame:
        path = self._path(f"JPEGImages/{image}")
        try:
            byte_count = file_size(path)
        except FlawError as error:
            raise FlawError(f"image {shorten(image)} {error}") from error
        if byte_count == 0:
            raise FlawError(f"image {shorten(image)} is empty")
        return SingleFrame(
            source=str(path),
            width=size.width if size else None,
            height=size.height if size else None,
            size=byte_count,
            metadata=metadata,
        )

    def _size_of(self, root: Element, file: str) -> Size | None:
        try:
            return size_of(root)
        except FlawError as error:
            self._list(file, f"size: {error}; boxes are not compared with it")
            return None

    def _annotate(self, frame: SingleFrame, root: Element, size: Size | None, file: str) -> bool:
        """Add the objects of an annotation file to a frame. Return whether all were valid."""
        before = len(self.problems)
        for item in objects_of(root):
            try:
                frame.add_annotation(
                    box2d_xywh=box_of(item.element, size),
                    labels=[label_of(item.element)],
                    metadata=details_of(item.element) | item.links,
                )
            except (FlawError, InvalidValueError) as error:
                self._list(file, f"{item.where}: {error}")
        return len(self.problems) == before

    def _membership(self, *names: str) -> dict[str, list[str]]:
        keys = {*names, *(Path(name).stem for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES)}
        splits = sorted({split for key in keys for split in self._splits.get(key, ())})
        return {"splits": splits} if splits else {}

    def _read_splits(self) -> dict[str, tuple[str, ...]]:
        splits: dict[str, tuple[str, ...]] = {}
        for split in SPLITS:
            if f"{split}.txt" in self._lists:
                for name in self._split_names(f"ImageSets/Main/{split}.txt"):
                    splits[name] = (*splits.get(name, ()), split)
        return splits

    def _split_names(self, file: str) -> Iterable[str]:
        try:
            text = read_bytes(self._path(file), MAX_LIST_BYTES).decode("utf-8-sig")
        except FlawError as error:
            self._list(file, error)
            return ()
        except UnicodeDecodeError as error:
            self._list(file, f"is not a list in UTF-8: {error}")
            return ()
        names = dict.fromkeys(filter(None, map(str.strip, text.splitlines())))
        unknown = [name for name in names if not self._knows(name)]
        if unknown:
            examples = ", ".join(map(shorten, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
            self._list(
                file, f"{len(unknown)} of {len(names)} names have no image and no annotation file: {examples}"
            )
        return names

    def _knows(self, name: str) -> bool:
        return (
            name in self._annotated or name in self._by_stem or name in self._by_stem.get(Path(name).stem, ())
        )


def _checked(path: Path) -> Path:
    try:
        is_folder, is_voc = path.is_dir(), (path / "Annotations").is_dir()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    if not is_folder:
        raise UsageError(f"{path} is not a folder: pass a Pascal VOC folder with Annotations and JPEGImages")
    if not is_voc:
        raise UsageError(f"{path} is not a Pascal VOC folder: it has no folder Annotations with XML files")
    return path.resolve()


def _listed(root: Path, folder: str, suffixes: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the sorted names of files with these suffixes, and of subfolders (with their folder)."""
    files: list[str] = []
    subfolders: list[str] = []
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    subfolders.append(f"{folder}/{entry.name}")
                elif Path(entry.name).suffix.lower() in suffixes:
                    files.append(entry.name)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise StorageError(f"{root / folder} cannot be listed: {error.strerror}") from error
    return sorted(files), sorted(subfolders)


def _grouped_by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[Path(name).stem].append(name)
    return dict(groups)


def _leads_elsewhere(filename: str) -> bool:
    # Windows path rules cover both separators and drives, so a file written on Windows cannot escape either.
    path = PureWindowsPath(filename)
    return bool(path.anchor) or ".." in path.parts


def _frame_metadata(root: Element) -> dict[str, Any]:
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
