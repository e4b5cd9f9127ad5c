"""The files of a folder that others wrote: what is there, images by name, and bounded reads that follow no link out of it."""

from __future__ import annotations

import codecs
import json
import mmap
import os
import stat
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PureWindowsPath
from typing import IO, Any
from urllib.parse import quote

import msgspec

from ...engine.errors import StorageError, UsageError
from ...engine.storage.atomic_files import from_home
from ...engine.storage.root_folder import RootFolder
from ...engine.validation import shorten
from .report import FlawError, Report

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)

MAX_BYTES = 8 * 2**20
"""Limit of a file about one image."""

MAX_LIST_BYTES = 64 * 2**20
"""Limit of a list of images."""


_OF_ANNOTATIONS = frozenset({"annotations", "labels"})


def folder_of(path: Path) -> Path:
    """Return the folder of a data set that is given as a folder or a file.

    Annotations in a folder `annotations` or `labels` without images belong to the images in the folder above.
    """
    folder = path if path.is_dir() else path.parent
    if folder.name.lower() not in _OF_ANNOTATIONS or (folder == path and _has_images(folder)):
        return folder
    return folder.parent


def _has_images(folder: Path) -> bool:
    return any(
        os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - a name
        for _, _, names in os.walk(folder)
        for name in names
    )


def start_of(file: Path, size: int = 2**16) -> bytes:
    """Return the beginning of a file; nothing if it is no regular file or cannot be read."""
    try:
        # To open a pipe would wait for its other end.
        if not file.is_file():
            return b""
        with file.open("rb") as opened:
            return opened.read(size)
    except OSError:
        return b""


class Folder:
    """A folder and the files below it.

    Hidden files and folders are passed over. Links are followed inside the folder and to the folders that
    `FRAMELODE_LINK_TARGETS` names.

    Parameters
    ----------
    path : str or os.PathLike
        The folder.
    report : Report
        Where links are noted that lead out of the folder or in circles.

    Attributes
    ----------
    path : str
        Absolute path with symbolic links resolved.
    files : list of str
        The sorted paths of all files, relative to the folder, with slashes.

    Raises
    ------
    UsageError
        The path is not a folder.
    StorageError
        It cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], report: Report) -> None:
        given = from_home(path)
        if not given.is_dir():
            raise UsageError(f"{given} is not a folder")
        self.path = str(given.resolve())
        self._report = report
        self._root = RootFolder(self.path)
        self._sizes: dict[str, int] = {}
        self.files: list[str] = []
        self._walk()
        self.files.sort()

    def _walk(self) -> None:
        seen = {self.path}
        waiting = [""]
        while waiting:
            below = waiting.pop()
            try:
                with os.scandir(os.path.join(self.path, below)) as entries:  # noqa: PTH118
                    found = list(entries)
            except OSError as error:
                raise StorageError(f"{Path(self.path, below)} cannot be listed: {error.strerror}") from error
            for entry in found:
                if entry.name.startswith("."):
                    continue
                name = f"{below}/{entry.name}" if below else entry.name
                if entry.is_symlink() and not self._may_follow(name):
                    continue
                if not entry.is_dir():
                    self.files.append(name)
                elif self._is_new(entry, name, seen):
                    waiting.append(name)

    def _may_follow(self, name: str) -> bool:
        try:
            self._root.check_links(name)
        except UsageError as error:
            self._report.flaw("link", name, error)
            return False
        return True

    def _is_new(self, entry: os.DirEntry[str], name: str, seen: set[str]) -> bool:
        if not entry.is_symlink():
            return True
        real = os.path.realpath(entry.path)
        if real in seen or f"{self.path}/".startswith(f"{real}/") or entry.path.startswith(f"{real}/"):
            self._report.flaw("link", name, "is a symbolic link to a folder that contains it: not followed")
            return False
        seen.add(real)
        return True

    def with_suffix(self, suffixes: Collection[str]) -> list[str]:
        """Return the files whose lowercase suffix is one of these, sorted."""
        return [name for name in self.files if os.path.splitext(name)[1].lower() in suffixes]  # noqa: PTH122

    def chosen(self, path: Path, suffixes: Collection[str]) -> list[str]:
        """Return the file that was given as the data set; for a folder, all files in it with one of these suffixes."""
        given = os.path.relpath(path, self.path)
        if path.is_file():
            return [given]
        found = self.with_suffix(suffixes)
        return found if given == "." else [name for name in found if name.startswith(f"{given}/")]

    def size(self, name: str) -> int:
        """Return the size of a regular file in bytes.

        Raises
        ------
        FlawError
            The file is missing, not accessible, or not a regular file.
        """
        try:
            found = os.stat(f"{self.path}/{name}")  # noqa: PTH116 - a Path for each file costs more than the call
        except OSError as error:
            raise FlawError(f"cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(found.st_mode):
            raise FlawError("is not a regular file")
        return found.st_size

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """Return the content of a file that has at most `limit` bytes.

        Raises
        ------
        FlawError
            The file is too large or cannot be read.
        """
        size = self.size(name)
        if size > limit:
            raise FlawError(f"has {size:,} bytes, more than the limit of {limit:,}")
        try:
            with open(f"{self.path}/{name}", "rb") as file:  # noqa: PTH123
                return file.read()
        except OSError as error:
            raise FlawError(f"cannot be read: {error.strerror}") from error

    def view(self, name: str) -> memoryview:
        """Return the content of a file of any size, without a byte order mark. It is read from the disk where it is used.

        Raises
        ------
        FlawError
            The file is empty or cannot be read.
        """
        if not self.size(name):
            raise FlawError("is empty")
        try:
            with open(f"{self.path}/{name}", "rb") as file:  # noqa: PTH123
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise FlawError(f"cannot be read: {error.strerror}") from error
        return content[3:] if content[:3] == codecs.BOM_UTF8 else content

    def text(self, name: str, limit: int = MAX_BYTES) -> str:
        """Return the content of a file as text in UTF-8, without a byte order mark.

        Raises
        ------
        FlawError
            The file is too large, cannot be read, or is not UTF-8.
        """
        try:
            return self.read(name, limit).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise FlawError(f"is not text in UTF-8: {error.reason} at byte {error.start}") from error

    def json(self, name: str, limit: int = MAX_BYTES) -> Any:
        """Return the value in a JSON file.

        Raises
        ------
        FlawError
            The file is too large, cannot be read, or is not JSON.
        """
        return json_of(self.read(name, limit))

    def source(self, name: str) -> dict[str, Any]:
        """Return the source of a frame whose file is in the folder, in wire form.

        Raises
        ------
        FlawError
            The file is missing, empty or not a regular file.
        """
        try:
            size = self.size(name)
        except FlawError as error:
            raise FlawError(f"image {shorten(name)} {error}") from error
        if size == 0:
            raise FlawError(f"image {shorten(name)} is empty")
        return {"id": "default", "uri": "file://" + quote(os.fsencode(f"{self.path}/{name}")), "size": size}


def json_of(content: bytes) -> Any:
    """Return the value of JSON text; raise `FlawError` if it is not JSON.

    NaN and infinities are read, so that only what contains them is refused.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        with suppress(ValueError, RecursionError):
            found = json.loads(content)
            # Half of a surrogate pair is read, too, but is no text.
            msgspec.json.encode(found)
            return found
        raise FlawError(f"is not valid JSON: {error}") from error
    except RecursionError as error:
        raise FlawError("is not valid JSON: it nests values too deeply") from error


class Images:
    """The image files of a folder, found by the names that annotation files give them.

    Parameters
    ----------
    folder : Folder
        The folder.
    """

    def __init__(self, folder: Folder) -> None:
        self.names = folder.with_suffix(IMAGE_SUFFIXES)
        self._all = set(self.names)
        self._by_end: defaultdict[str, list[str]] = defaultdict(list)
        for name in self.names:
            *folders, base = name.rsplit("/", 2)
            stem = os.path.splitext(base)[0]  # noqa: PTH122
            for end in {base, stem}:
                self._by_end[end].append(name)
                if folders:
                    self._by_end[f"{folders[-1]}/{end}"].append(name)

    def __contains__(self, name: str) -> bool:
        return name in self._all

    def find(self, given: str, near: Iterable[str] = ()) -> str:
        """Return the image that a file name means.

        It is the path itself, below the folders `near` or the folder; otherwise the only image whose path ends with the most
        parts of it. So paths on other machines are understood, too.

        Parameters
        ----------
        given : str
            The name, with any separators.
        near : iterable of str
            Folders, relative to the folder, that the name is probably relative to.

        Raises
        ------
        FlawError
            The name leads out of the folder, or no image or several have it.
        """
        parts = checked_parts(given)
        path = "/".join(parts)
        for folder in near:
            if (name := f"{folder}/{path}" if folder else path) in self._all:
                return name
        if path in self._all:
            return path
        return self._only(parts, given, suffix=True)

    def of_stem(self, stem: str, given: str) -> str:
        """Return the only image of a name without its suffix; raise `FlawError` like `find`.

        Parameters
        ----------
        stem : str
            Path without a suffix, with slashes.
        given : str
            What to call it in messages.
        """
        return self._only(stem.split("/"), given, suffix=False)

    def _only(self, parts: list[str], given: str, *, suffix: bool) -> str:
        """Return the image whose path ends with the most parts, and of several, has the most folders in common."""
        # The folder comes first: in many folders there may be many images of one name.
        candidates = self._by_end.get("/".join(parts[-2:])) or self._by_end.get(parts[-1], [])
        if suffix:
            candidates = [name for name in candidates if name.rpartition("/")[2] == parts[-1]]
        else:
            candidates = [
                name
                for name in candidates
                if os.path.splitext(name)[0].rpartition("/")[2] == parts[-1]  # noqa: PTH122
            ]
        if not candidates:
            raise FlawError(f"missing image: no file is {shorten(given)}")
        if len(candidates) == 1:
            return candidates[0]
        path = "/".join(parts)
        common = {
            name: (_common_end(name.split("/")[:-1], parts[:-1]), common_folders(name, path))
            for name in candidates
        }
        most = max(common.values())
        best = [name for name in candidates if common[name] == most]
        if len(best) > 1:
            raise FlawError(
                f"several images could be {shorten(given)}: {', '.join(map(shorten, best[:3]))}"
                + (", ..." if len(best) > 3 else "")
            )
        return best[0]


def common_folders(name: str, other: str) -> int:
    """Return how many names of folders two paths have in common."""
    return len(set(name.split("/")[:-1]).intersection(other.split("/")[:-1]))


def checked_parts(given: str) -> list[str]:
    """Return the parts of a file name, without a drive.

    Raises
    ------
    FlawError
        It is empty or has a part ``..``.
    """
    if (
        "\\" not in given
        and ":" not in given
        and "." not in given[:1]
        and "/." not in given
        and given[:1] != "/"
    ):
        parts = given.split("/")
    else:
        # Windows path rules cover both separators and drives, so a file written on Windows is understood, too.
        path = PureWindowsPath(given)
        parts = [part for part in path.parts if part not in {path.anchor, "."}]
    if ".." in parts:
        raise FlawError(f"file name {shorten(given)} leads out of the folder")
    if not parts or not parts[-1]:
        raise FlawError("has an empty file name")
    return parts


def _common_end(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        count += 1
    return count


def image_size(path: str | IO[bytes]) -> tuple[int, int] | None:
    """Return width and height of an image, a path or a file, in pixels as it is shown, from its header; None if it cannot be read.

    Raises
    ------
    UsageError
        Pillow is not installed.
    """
    with suppress(FlawError), open_image(path) as image:
        width, height = image.size
        # The values 5 to 8 of this tag turn the image by a quarter.
        if "exif" in image.info and image.getexif().get(0x0112, 1) >= 5:
            return height, width
        return width, height
    return None


@contextmanager
def open_image(path: str | IO[bytes]) -> Generator[Any, None, None]:
    """Open an image, a path or a file, with Pillow.

    Raises
    ------
    FlawError
        It cannot be read, also in the block.
    UsageError
        Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise UsageError("images are read with Pillow: pip install 'framelode[image]'") from None
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FlawError(f"is no image that can be read: {error}") from error


@cache
def has_pillow() -> bool:
    """Whether images can be read."""
    from importlib.util import find_spec

    return find_spec("PIL") is not None
