"""The images of a folder that annotation files describe: each once, with its size compared, and the images that none describes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

from ...engine.validation import shorten
from .files import Folder, Images, has_pillow, image_size
from .format import Item, Wire
from .report import FlawError, Report

MAX_PIXELS = 2**31 - 1

_REMOTE = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://.")


def is_remote(given: object) -> TypeGuard[str]:
    """Whether the name of an image is a URI of another scheme than ``file``."""
    return isinstance(given, str) and _REMOTE.match(given) is not None


def remote_source(uri: str) -> Wire:
    """Return the source of an image that is no file, in wire form."""
    return {"id": "default", "uri": uri}


def put_size(
    source: Wire, folder: Folder, name: str, file: str, size: tuple[Any, Any] | None, report: Report
) -> None:
    """Set the size of an image on its source: that of an annotation file, otherwise that of the image.

    A given size that is invalid or not that of the image is noted as a flaw.

    Parameters
    ----------
    source : dict
        The source in wire form; of an image in the folder if it has a `size` in bytes.
    folder : Folder
        The folder.
    name : str
        The image.
    file : str
        The annotation file.
    size : tuple of int or None
        Width and height in the annotation file.
    report : Report
        Where flaws are noted.
    """
    if size is not None and not all(type(each) is int and 0 < each <= MAX_PIXELS for each in size):
        report.flaw("size", file, f"image {shorten(name)}: the size {size[0]} x {size[1]} is left out")
        size = None
    found = image_size(f"{folder.path}/{name}") if "size" in source and has_pillow() else None
    if size is not None and found is not None and found != size:
        report.flaw(
            "size",
            file,
            f"image {shorten(name)}: size is {size[0]} x {size[1]}, that of the image file {found[0]} x {found[1]}",
        )
    if used := size or found:
        source["width"], source["height"] = used


class DescribedImages:
    """The images of a folder, of which annotation files describe some.

    Parameters
    ----------
    folder : Folder
        The folder.
    report : Report
        Where flaws are noted.
    images : Images, optional
        The images; by default all of the folder.
    """

    def __init__(self, folder: Folder, report: Report, images: Images | None = None) -> None:
        self.images = Images(folder) if images is None else images
        self._folder, self._report = folder, report
        self._described: dict[str, str] = {}

    def take(
        self, given: str, file: str, near: Iterable[str] = (), size: tuple[Any, Any] | None = None
    ) -> tuple[str, Wire]:
        """Return the name and the source of an image that an annotation file describes.

        Parameters
        ----------
        given : str
            Its name there, or a URI.
        file : str
            The annotation file.
        near : iterable of str
            Folders that the name is probably relative to.
        size : tuple of int, optional
            Width and height that the file gives. A size that is not that of the image is noted; without one, it is read from
            the image.

        Raises
        ------
        FlawError
            There is no such image, it cannot be read, or it was described before.
        """
        remote = is_remote(given)
        name = given if remote else self.images.find(given, near)
        if name in self._described:
            raise FlawError(f"image {shorten(name)} is already described by {shorten(self._described[name])}")
        self._described[name] = file
        source = remote_source(given) if remote else self._folder.source(name)
        put_size(source, self._folder, name, file, size, self._report)
        return name, source

    def rest(self) -> Iterator[Item]:
        """Yield the images that were not described, as frames without annotations."""
        for name in self.images.names:
            if name not in self._described:
                yield self.bare(name)

    def bare(self, name: str, frame: Wire | None = None) -> Item:
        """Return an image without annotations, with other fields of its frame."""
        try:
            source = self._folder.source(name)
        except FlawError as error:
            self._report.flaw("image", name, error)
            return Item(name, None, is_whole=False)
        put_size(source, self._folder, name, name, None, self._report)
        return Item(name, {"sources": [source], **(frame or {})}, is_whole=False)
