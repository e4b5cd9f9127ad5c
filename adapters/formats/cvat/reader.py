"""Reads CVAT XML 1.1 as frames: images, and tracks of videos.

What is read
    The images that XML files with the root `annotations` list, and the images beside that none lists. Tracks are shapes of the
    frames of a video. A frame is the image `frame_000012` if there are such images, otherwise a moment of the video file, at
    the time that the file gives for it.
Shapes
    Boxes, polygons and ellipses are what they are. Points, the points of a skeleton, polylines and cuboids are key points; the
    metadata tells which. Masks are polygons along the edges of their pixels. Tags are labels of the frame.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, cast
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from ....engine.errors import UsageError
from ....engine.validation import shorten
from ..described import DescribedImages
from ..files import Folder, folder_of, start_of
from ..format import SPLITS, Item, Reading, Wire
from ..report import FlawError, Report
from ..xml import members, text_of
from .shapes import annotation_of, whole_in
from .tracks import shapes_of

_START = 2**16
_MAX_ELEMENT = 128 * 2**20
_NEAR = ("images", "data", "")
_NO_SUBSET = frozenset({"", "default"})
_TASKS = ("task", "job", "project")


def sniff(path: Path) -> bool:
    """Whether an XML file has the root element `annotations` and the elements of CVAT."""
    if path.is_file():
        return _is_cvat(path)
    return any(_is_cvat(file) for file in islice(sorted(path.rglob("*.xml")), 20))


def _is_cvat(file: Path) -> bool:
    if file.suffix.lower() != ".xml":
        return False
    start = start_of(file)
    return b"<annotations>" in start and any(tag in start for tag in (b"<image ", b"<track ", b"<meta>"))


def read(path: Path, report: Report) -> Reading:
    """Return the frames of a CVAT data set.

    Raises
    ------
    UsageError
        There is no XML file of CVAT.
    """
    folder = Folder(folder_of(path), report)
    files = [
        name for name in folder.chosen(path, {".xml"}) if path.is_file() or _is_cvat(Path(folder.path, name))
    ]
    if not files:
        raise UsageError(f"{path} has no XML file with the root 'annotations' of CVAT")
    reading = Reading(folder.path, iter(()))
    reading.items = _Reader(folder, files, report, reading.categories).items()
    return reading


def children(path: Path) -> Iterator[Element]:
    """Yield the children of the root of an XML file, one in memory at a time.

    Raises
    ------
    FlawError
        The file is not well-formed or not UTF-8, declares a DOCTYPE, or its root is not `annotations`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _children(file)
    except ParseError as error:
        raise FlawError(f"is not well-formed XML: {error}") from error
    except UnicodeDecodeError as error:
        raise FlawError(f"is not text in UTF-8: {error.reason}") from error
    except OSError as error:
        raise FlawError(f"cannot be read: {error.strerror}") from error


def _children(file: TextIO) -> Iterator[Element]:
    parser = XMLPullParser(("start", "end"))
    root: Element | None = None
    depth, begun, waiting = 0, "", 0
    while block := file.read(_START):
        waiting += len(block)
        if waiting > _MAX_ELEMENT:
            raise FlawError(f"has an element of more than {_MAX_ELEMENT:,} characters")
        if root is None:
            begun += block
            # Entities are declared before the root; without any there is nothing to expand.
            if "<!DOCTYPE" in begun or len(begun) > 4 * _START:
                raise FlawError("declares a DOCTYPE, which is not allowed, or does not begin with an element")
        parser.feed(block)
        for event, element in cast("Iterator[tuple[str, Element]]", parser.read_events()):
            depth += 1 if event == "start" else -1
            if root is None:
                root = element
                if root.tag != "annotations":
                    raise FlawError(f"its root element must be 'annotations', not {shorten(root.tag)}")
            if event == "end" and depth == 1:
                waiting = 0
                yield element
                root.clear()
    parser.close()
    if depth or root is None:
        raise FlawError("is not well-formed XML: it ends too early")


class _Video:
    """The tracks of a file, by frame."""

    def __init__(self) -> None:
        self.name, self.step = "", 1
        self.last: int | None = None
        self.size: tuple[int, int] | None = None
        self.rois: defaultdict[int, list[Wire]] = defaultdict(list)


class _Reader:
    def __init__(
        self, folder: Folder, files: list[str], report: Report, categories: list[dict[str, Any]]
    ) -> None:
        self._folder, self._files, self._report, self._categories = folder, files, report, categories
        self._images = DescribedImages(folder, report)
        self._known = {str(each["name"]) for each in categories}

    def items(self) -> Iterator[Item]:
        for file in self._files:
            video = _Video()
            try:
                for element in children(Path(self._folder.path, file)):
                    if element.tag == "meta":
                        self._read_meta(element, video)
                    elif element.tag == "image":
                        yield self._image(element, file)
                    elif element.tag == "track":
                        for number, roi in shapes_of(element, video.last, video.step, self._report, file):
                            video.rois[number].append(roi)
            except FlawError as error:
                self._report.flaw("file", file, error)
            yield from self._frames(video, file)
        yield from self._images.rest()

    def _read_meta(self, meta: Element, video: _Video) -> None:
        task = next((found for tag in _TASKS if (found := meta.find(tag)) is not None), None)
        if task is None:
            return
        for label in task.iterfind("labels/label"):
            name = label.findtext("name") or ""
            if not name or name in self._known or label.find("parent") is not None:
                continue
            self._known.add(name)
            category: dict[str, Any] = {"name": name, **members(label, {"name", "attributes", "svg"})}
            attributes = [members(each) for each in label.iterfind("attributes/attribute")]
            self._categories.append(category | ({"attributes": attributes} if attributes else {}))
        video.name = meta.findtext("source") or text_of(task, "source")
        if (size := task.find("original_size")) is None:
            size = meta.find("original_size")
        if size is not None:
            width, height = (size.findtext(tag) or "" for tag in ("width", "height"))
            if width.isdecimal() and height.isdecimal():
                video.size = int(width), int(height)
        last, frames = task.findtext("stop_frame") or "", task.findtext("size") or ""
        if last.isdecimal():
            video.last = int(last)
        elif frames.isdecimal() and int(frames):
            video.last = int(frames) - 1
        step = (task.findtext("frame_filter") or "").partition("step=")[2].strip()
        if step.isdecimal() and int(step):
            video.step = int(step)

    def _image(self, element: Element, file: str) -> Item:
        name = element.get("name", "")
        try:
            size = None
            if element.get("width") or element.get("height"):
                size = whole_in(element, "width", 0), whole_in(element, "height", 0)
            name, source = self._images.take(name, file, _NEAR, size)
        except FlawError as error:
            self._report.flaw("image", file, f"image {shorten(element.get('name'))}: {error}")
            return Item(name, None, is_whole=False)
        rois: list[Wire] = []
        flawed = 0
        for number, shape in enumerate(element, 1):
            try:
                rois.append(annotation_of(shape))
            except FlawError as error:
                flawed += 1
                self._report.flaw("annotation", file, f"image {shorten(name)}, {shape.tag} {number}: {error}")
        frame: Wire = {"sources": [source], "rois": rois}
        if (subset := element.get("subset", "")) not in _NO_SUBSET:
            frame["meta"] = {SPLITS: [subset]}
        return Item(name, frame, is_whole=not flawed)

    def _frames(self, video: _Video, file: str) -> Iterator[Item]:
        """Yield the frames of tracks: images of their own, or moments of the video file."""
        moments: _Moments | None = None
        for number in sorted(video.rois):
            frame: Wire = {"rois": video.rois[number], "meta": {"frame": number}}
            try:
                stem = f"frame_{number:06d}"
                name, source = self._images.take(
                    self._images.images.of_stem(stem, stem), file, (), video.size
                )
            except FlawError as missing:
                try:
                    moments = moments or self._moments(video)
                    name, source = moments.name, moments.source(number)
                except FlawError as error:
                    self._report.flaw("image", file, f"frame {number} of the tracks: {missing}, and {error}")
                    if moments is None:
                        return
                    continue
            yield Item(name, {"sources": [source], **frame})

    def _moments(self, video: _Video) -> _Moments:
        base = video.name.replace("\\", "/").rpartition("/")[2]
        found = [name for name in self._folder.files if base and name.rpartition("/")[2] == base]
        if len(found) != 1:
            raise FlawError(
                f"{'several files are' if found else 'no file is'} the video {shorten(video.name)}"
            )
        source = self._folder.source(found[0])
        if video.size is not None:
            source["width"], source["height"] = video.size
        return _Moments(found[0], source, frame_times(f"{self._folder.path}/{found[0]}"))


class _Moments:
    """The frames of a video file."""

    def __init__(self, name: str, source: Wire, times: list[int]) -> None:
        self.name, self._source, self._times = name, source, times

    def source(self, number: int) -> Wire:
        """Return the source of a frame by its number."""
        if number >= len(self._times):
            raise FlawError(f"{shorten(self.name)} has {len(self._times)} frames")
        return {**self._source, "timestamp": self._times[number]}


def frame_times(path: str) -> list[int]:
    """Return the times of the frames of a video in milliseconds, in order.

    Raises
    ------
    FlawError
        PyAV is not installed, or cannot read the file.
    """
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise FlawError("times of videos are read with PyAV: pip install 'framelode[video]'") from None
    try:
        with av.open(path, "r", metadata_errors="ignore") as container:
            stream = container.streams.video[0]
            times = [
                float(packet.pts * packet.time_base)
                for packet in container.demux(stream)
                if packet.pts is not None and packet.time_base is not None
            ]
    except (FFmpegError, IndexError, ValueError, OSError, EOFError) as error:
        raise FlawError(
            f"it is no video that PyAV reads: {getattr(error, 'strerror', None) or error}"
        ) from error
    return [round(1000 * time) for time in sorted(times)]
