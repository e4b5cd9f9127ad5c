"""The definition of a YOLO data set: classes, splits and the shape of poses, in `data.yaml` or in the folders themselves."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from ....engine.errors import UsageError
from ....engine.validation import shorten
from ..files import MAX_LIST_BYTES, Folder, Images
from ..report import FlawError, Report

SPLITS = ("train", "val", "test")
SEGMENT = "segment"
_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Split by the name of a folder, if no file defines splits."""

_NAME_FILES = ("classes.txt", "obj.names", "predefined_classes.txt")
_MOST_CLASSES = 100_000


@dataclass
class Definition:
    """What a YOLO data set says of itself.

    Attributes
    ----------
    images : dict of str to list of str
        The splits of each image, by its path relative to the folder.
    names : list of str or None
        The classes; None if they have no names.
    kpt_shape : tuple of int or None
        Number of key points, and 2 or 3 numbers for each.
    task : str or None
        What the labels are for, if it is said.
    """

    images: dict[str, list[str]] = field(default_factory=dict)
    names: list[str] | None = None
    kpt_shape: tuple[int, int] | None = None
    task: str | None = None


def read_definition(folder: Folder, images: Images, yaml_file: str | None, report: Report) -> Definition:
    """Return the definition of a data set.

    Parameters
    ----------
    yaml_file : str or None
        The file `data.yaml`, relative to the folder; None if there is none.
    """
    if yaml_file is None:
        return _by_folders(folder, images, report)
    try:
        given = load_yaml(folder.text(yaml_file))
    except FlawError as error:
        report.flaw("file", yaml_file, error)
        return _by_folders(folder, images, report)
    found = Definition(task=given.get("task") if isinstance(given.get("task"), str) else None)
    try:
        found.names = _names(given)
        _check_count(found, given.get("nc"))
    except FlawError as error:
        report.flaw("file", yaml_file, error)
    shape = given.get("kpt_shape")
    if (
        isinstance(shape, list)
        and len(shape) == 2
        and all(type(each) is int for each in shape)
        and shape[1] in {2, 3}
    ):
        found.kpt_shape = (shape[0], shape[1])
    elif shape is not None:
        report.flaw("file", yaml_file, f"kpt_shape must be [points, 2 or 3], not {shorten(shape)}")
    _read_splits(found, given, folder, images, yaml_file, report)
    return found


def load_yaml(text: str) -> dict[str, Any]:
    """Return the mapping in a YAML text.

    Raises
    ------
    FlawError
        It is no YAML, or no mapping.
    UsageError
        PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise UsageError("data.yaml is read with PyYAML: pip install 'framelode[formats]'") from None
    try:
        # The parser in C is many times faster, where it was built.
        found = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FlawError(f"is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise FlawError(f"must be a mapping with names, not {shorten(found)}")
    return found


def _names(given: dict[str, Any]) -> list[str] | None:
    names = given.get("names")
    if names is None:
        return None
    if isinstance(names, dict):
        if not all(str(key).isdecimal() and int(key) < _MOST_CLASSES for key in names):
            raise FlawError(f"names must be by index from 0, not by {shorten(list(names))}")
        by_index = {int(key): name for key, name in names.items()}
        names = [by_index.get(index, str(index)) for index in range(max(by_index, default=-1) + 1)]
    if not isinstance(names, list) or not all(isinstance(each, str | int | float) for each in names):
        raise FlawError(f"names must be a list or a mapping of names, not {shorten(names)}")
    return [str(each) for each in names]


def _check_count(found: Definition, count: Any) -> None:
    """Compare `nc` with the names of the classes, which are numbers if there are only so many."""
    if count is None or (found.names is not None and count == len(found.names)):
        return
    if type(count) is not int or not 0 <= count < _MOST_CLASSES:
        raise FlawError(f"nc must be a number of classes, not {shorten(count)}")
    if found.names is not None:
        raise FlawError(f"nc is {count}, but names are {len(found.names)}")
    found.names = [str(index) for index in range(count)]


def _read_splits(
    found: Definition, given: dict[str, Any], folder: Folder, images: Images, file: str, report: Report
) -> None:
    splits: defaultdict[str, list[str]] = defaultdict(list)
    base = file.rpartition("/")[0]
    top = given.get("path")
    bases: list[str | None] = [_joined(base, top), base] if isinstance(top, str) else [base]
    for split in SPLITS:
        entries = given.get(split)
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str) or not entry:
                continue
            try:
                names = _images_of(entry, bases, folder, images, report)
            except FlawError as error:
                report.flaw("split", file, f"{split}: {error}")
                continue
            for name in names:
                splits[name].append(split)
    if not splits and not any(given.get(split) for split in SPLITS):
        found.images = _by_folders(folder, images, report).images
        return
    found.images = {name: splits[name] for name in sorted(splits)}


def _images_of(
    entry: str, bases: list[str | None], folder: Folder, images: Images, report: Report
) -> list[str]:
    """Return the images of a split: those below a folder, or those in a list."""
    # Some tools write paths relative to a folder beside the file, or absolute ones of other machines.
    parts = entry.replace("\\", "/").split("/")
    ends = ["/".join(parts[start:]) for start in range(1, len(parts) - 1)] if _is_absolute(entry) else []
    tried = [entry, *([entry[3:]] if entry.startswith("../") else ends)]
    candidates = [place for each in tried for base in bases if (place := _joined(base, each)) is not None]
    for place in candidates:
        if place in folder.files and place.endswith(".txt"):
            return _listed(place, folder, images, report)
        below = [name for name in images.names if not place or name.startswith(place + "/")]
        if below:
            return below
    for place in candidates:
        if os.path.isdir(f"{folder.path}/{place}"):  # noqa: PTH112
            return []
    raise FlawError(f"{shorten(entry)} is no folder and no list in this folder")


def _joined(base: str | None, entry: str) -> str | None:
    """Return a path below the folder; None if it leads out of it."""
    if base is None or _is_absolute(entry):
        return None
    path = os.path.normpath(f"{base}/{entry}".replace("\\", "/").lstrip("/"))
    return None if path.startswith("..") else "" if path == "." else path


def _is_absolute(entry: str) -> bool:
    return entry.startswith("/") or ":" in entry


def _listed(file: str, folder: Folder, images: Images, report: Report) -> list[str]:
    base = file.rpartition("/")[0]
    found: list[str] = []
    for number, line in enumerate(folder.text(file, MAX_LIST_BYTES).splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        try:
            found.append(images.find(name, near=(base, "")))
        except FlawError as error:
            report.flaw("image", file, f"line {number}: {error}")
    return found


def _by_folders(folder: Folder, images: Images, report: Report) -> Definition:
    found = Definition()
    for name in images.names:
        parts = name.split("/")[:-1]
        found.images[name] = list(
            dict.fromkeys(_FOLDERS[part.lower()] for part in parts if part.lower() in _FOLDERS)
        )[:1]
    named = [name for name in folder.files if name.rpartition("/")[2] in _NAME_FILES]
    for file in sorted(named, key=lambda name: name.count("/"))[:1]:
        try:
            lines = folder.text(file).rstrip().splitlines()
            found.names = [line.strip() or str(index) for index, line in enumerate(lines)]
        except FlawError as error:
            report.flaw("file", file, error)
    return found


def is_name_file(name: str) -> bool:
    """Whether a file holds names of classes."""
    return name.rpartition("/")[2] in _NAME_FILES
