"""What a format is: how it is recognized, read as frames and written from frames."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ...engine.annotations.base import Annotation
from ...engine.frames.single_frame import SingleFrame
from ...engine.frames.source import Source
from .naming import IMAGE_TYPES, ImageNames, is_image
from .report import Report

Wire = dict[str, Any]
"""A frame in wire form; see `SingleFrame.to_dict`."""

SPLITS = "splits"
"""Key of the metadata of a frame: the sorted names of the splits that list it."""

CATEGORIES = "categories"
"""Key of the metadata of a version: the classes in order, as dicts of `name` and what a format knows of it."""


_NO_SOURCE = "frame without a source"


class Item(msgspec.Struct, gc=False):
    """An image of a data set.

    Attributes
    ----------
    name : str
        Path of the image relative to the folder, with slashes. The id of the frame is derived from it.
    frame : dict or None
        The frame in wire form. Without an id, as usual, it gets one that is derived from the name. A source without a `uri` is
        the file `name`. None is an image that is there, but cannot be imported.
    is_whole : bool
        Whether all annotations of the image could be read. If not, an import again keeps those of before.
    """

    name: str
    frame: Wire | None
    is_whole: bool = True


@dataclass
class Reading:
    """A data set that is being read.

    Attributes
    ----------
    folder : str
        Absolute path of the folder, with symbolic links resolved.
    items : iterator of Item
        The images, read while they are asked for.
    expected : int or None
        The most images that there are, if it is known.
    categories : list of dict
        The classes in order, known when all items were read; see `CATEGORIES`.
    """

    folder: str
    items: Iterator[Item]
    expected: int | None = None
    categories: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Writing:
    """A data set that is being written.

    Attributes
    ----------
    path : Path
        An empty folder to write into; the file to write if the format is one of single files.
    frames : iterable of SingleFrame or FrameGroup
        The frames, which can be read several times. Iterate over `singles()` instead, which leaves out what no image format can hold.
    report : Report
        Where losses are noted.
    categories : list of dict
        The classes of the version in order; see `CATEGORIES`. A class that is met later is added by `class_index`.
    images : dict of str to Source
        The source of each image file, by its path relative to `path`. The caller writes these files.
    """

    path: Path
    frames: Iterable[Any]
    report: Report
    categories: list[dict[str, Any]] = field(default_factory=list)
    images: dict[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names = ImageNames()
        self._index = {each["name"]: place for place, each in enumerate(self.categories)}

    def class_index(self, name: str) -> int:
        """Return the index of a class in `categories`, to which a new class is added."""
        found = self._index.get(name)
        if found is None:
            found = self._index[name] = len(self.categories)
            self.categories.append({"name": name})
        return found

    def singles(self, held: Collection[str] = ()) -> Iterator[SingleFrame]:
        """Yield the frames that are one image. Others are noted as losses.

        Parameters
        ----------
        held : collection of str
            What the format holds beside the image, so that it is no loss: ``masks``, ``preview``, ``metadata`` (of the source),
            ``context``.
        """
        for frame in self.frames:
            if not isinstance(frame, SingleFrame):
                self.report.loss("group of several sources: left out", str(frame.id))
                continue
            sources = frame.sources
            reason = self._why_left_out(sources[0]) if sources else _NO_SOURCE
            if reason is None:
                self._note_fields(frame, sources[0], held)
                yield frame
            else:
                self.report.loss(f"{reason}: left out", str(frame.id))

    @staticmethod
    def _why_left_out(source: Source) -> str | None:
        """Return what a source is if it is no image."""
        if source.uri is None:
            return _NO_SOURCE
        kind = source.content_type or ""
        if source.timestamp or kind.startswith("video/"):
            return "frame of a video"
        return None if kind in IMAGE_TYPES or is_image(source.uri) else "frame whose source is no image"

    def place_image(self, frame: SingleFrame, folder: str) -> str:
        """Say where the image of a frame is written, and return its name in that folder, which no other image has."""
        source = frame.sources[0]
        name = self._names.name_of(source.uri or "", source.content_type)
        self.images[f"{folder}/{name}"] = source
        return name

    def _note_fields(self, frame: SingleFrame, source: Source, held: Collection[str]) -> None:
        """Note the fields of a frame that the format cannot hold."""
        if source.masks and "masks" not in held:
            self.report.loss("mask file of a frame: left out", str(frame.id))
        if source.preview is not None and "preview" not in held:
            self.report.loss("preview of a frame: left out", str(frame.id))
        if source.metadata and "metadata" not in held:
            self.report.loss("metadata of a source: left out", str(frame.id))
        if frame.context_id != source.uri and "context" not in held:
            self.report.loss("context of a frame: left out", str(frame.id))


@dataclass(frozen=True, slots=True)
class Format:
    """A format to import and export datasets.

    Attributes
    ----------
    name : str
        Its name in commands: a lowercase word.
    title : str
        Its name in messages and help.
    sniff : callable
        Takes a path, and returns whether it is a dataset in this format. It reads only the names and beginnings of files.
    read : callable or None
        Takes a path and a `Report`, and returns a `Reading`. None if the format can only be exported.
    write : callable or None
        Takes a `Writing`, and writes its files. None if the format can only be imported.
    is_file : bool
        Whether a dataset is written as a single file instead of a folder.
    finish : callable or None
        Called with the `Writing` after the image files were written.
    """

    name: str
    title: str
    sniff: Callable[[Path], bool]
    read: Callable[[Path, Report], Reading] | None = None
    write: Callable[[Writing], None] | None = None
    is_file: bool = False
    finish: Callable[[Writing], None] | None = None


def splits_of(frame: SingleFrame) -> list[str]:
    """Return the names of the splits of a frame."""
    given = frame.metadata.get(SPLITS)
    return [each for each in given if isinstance(each, str)] if isinstance(given, list) else []


def only_label(annotation: Annotation, report: Report, place: str, lost: Collection[str] = ()) -> str | None:
    """Return the first label of an annotation; None, which is noted, if it has none.

    Parameters
    ----------
    annotation : Annotation
        The annotation.
    report : Report
        Where losses are noted.
    place : str
        The frame.
    lost : collection of str
        What the format cannot hold of an annotation: ``id``, ``confidence``, ``metadata``.
    """
    labels = annotation.labels
    if not labels or not labels[0].strip():
        report.loss("annotation without a label: left out", place)
        return None
    if len(labels) > 1:
        report.loss("further labels of an annotation: left out", place)
    for each in lost:
        if getattr(annotation, each) not in (None, {}):
            report.loss(f"{each} of an annotation: left out", place)
    return labels[0]
