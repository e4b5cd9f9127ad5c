"""One JSON file of COCO: its parts as raw bytes, and where the annotations of each image are."""

from __future__ import annotations

import json
import mmap
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ....engine.validation import shorten
from ..report import FlawError, Report

_BOM = b"\xef\xbb\xbf"
_MOST_REPAIRED = 2**29
"""Bytes of a file that is read again by a slower parser because it has numbers that JSON does not allow."""

Key = int | str


_NONE = Raw()


class _Document(Struct, gc=False):
    images: Raw = _NONE
    annotations: Raw = _NONE
    categories: Raw = _NONE
    licenses: Raw = _NONE


class _Ref(Struct, gc=False):
    id: Key | None = None
    image_id: Key | None = None


class ImageRef(Struct, gc=False):
    """The id and the name of an image."""

    id: Key
    file_name: str


_document = msgspec.json.Decoder(_Document).decode
_refs = msgspec.json.Decoder(list[_Ref]).decode
_raws = msgspec.json.Decoder(list[Raw]).decode
_image_refs = msgspec.json.Decoder(list[ImageRef]).decode


class CocoFile:
    """A file of COCO.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        What to call it in messages.
    report : Report
        Where flaws are noted.

    Attributes
    ----------
    images : list of Raw
        The images.
    refs : list of (ImageRef or None)
        The id and the name of each image; None for one that is flawed.
    categories : list of dict
        The categories that have an id and a name.

    Raises
    ------
    FlawError
        The file is not JSON, or not of COCO.
    """

    def __init__(self, path: Path, name: str, report: Report) -> None:
        self.name, self._report = name, report
        document = _parse(path)
        if not document.images or not (document.annotations or document.categories):
            raise FlawError("has no images and annotations, as a file of COCO does")
        self.images = _array(document.images, "images")
        self._annotations = _array(document.annotations, "annotations")
        self.refs = self._read_images(document.images)
        self.categories = self._read_categories(document.categories)
        self._of_image = self._group(document.annotations)
        self._note_info(document)

    def raw_annotations(self, image_id: Key) -> list[Raw]:
        """Return the annotations of an image."""
        return [self._annotations[place] for place in self._of_image.get(image_id, ())]

    def _read_images(self, raw: Raw) -> list[ImageRef | None]:
        refs: list[ImageRef | None]
        try:
            refs = list(_image_refs(raw))
        except msgspec.DecodeError:
            refs = [self._image_ref(each, place) for place, each in enumerate(self.images)]
        seen: set[Key] = set()
        names: dict[str, Key] = {}
        for place, ref in enumerate(refs):
            if ref is None:
                continue
            if ref.id in seen:
                self._flaw("image", f"image {shorten(ref.id)}: duplicate id, the first is used")
                refs[place] = None
            elif ref.file_name in names:
                first = shorten(names[ref.file_name])
                self._flaw(
                    "image", f"image {shorten(ref.id)}: {shorten(ref.file_name)} is already image {first}"
                )
                refs[place] = None
            else:
                seen.add(ref.id)
                names[ref.file_name] = ref.id
        return refs

    def _image_ref(self, raw: Raw, place: int) -> ImageRef | None:
        try:
            return msgspec.json.decode(raw, type=ImageRef)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._flaw("image", f"images[{place}]: {error}")
            return None

    def _read_categories(self, raw: Raw) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for place, each in enumerate(_array(raw, "categories")):
            category = msgspec.json.decode(each)
            is_valid = isinstance(category, dict) and isinstance(category.get("name"), str)
            if is_valid and category["name"].strip() and isinstance(category.get("id"), int | str):
                found.append(category)
            else:
                self._flaw("category", f"categories[{place}]: has no id and name")
        return found

    def _group(self, raw: Raw) -> dict[Key, list[int]]:
        """Return the places of the annotations of each image."""
        refs: Sequence[_Ref | None]
        try:
            refs = [] if not raw else _refs(raw)
        except msgspec.DecodeError:
            refs = [self._ref(each, place) for place, each in enumerate(self._annotations)]
        known = {ref.id for ref in self.refs if ref is not None}
        groups: defaultdict[Key, list[int]] = defaultdict(list)
        seen: set[Key | None] = set()
        for place, ref in enumerate(refs):
            if ref is None:
                continue
            if ref.image_id not in known:
                told = f"image {shorten(ref.image_id)} is not in images"
                self._flaw("annotation", f"annotation {shorten(ref.id)}: {told}")
            elif ref.id in seen and ref.id is not None:
                self._flaw("annotation", f"annotation {shorten(ref.id)}: duplicate id, the first is used")
            else:
                seen.add(ref.id)
                groups[ref.image_id].append(place)  # type: ignore[index]  # None is not known
        return groups

    def _ref(self, raw: Raw, place: int) -> _Ref | None:
        try:
            return msgspec.json.decode(raw, type=_Ref)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._flaw("annotation", f"annotations[{place}]: {error}")
            return None

    def _note_info(self, document: _Document) -> None:
        if _array(document.licenses, "licenses"):
            self._report.loss("licenses of a file: left out", self.name)

    def _flaw(self, kind: str, reason: str) -> None:
        self._report.flaw(kind, self.name, reason)


def _parse(path: Path) -> _Document:
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise FlawError("is empty") from None
    except OSError as error:
        raise FlawError(f"cannot be read: {error.strerror}") from error
    view = memoryview(data)
    if data[:3] == _BOM:
        view = view[3:]
    try:
        return _document(view)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise FlawError(f"is not a file of COCO: {error}") from error
    except msgspec.DecodeError as error:
        return _parse_odd(view, error)


def _parse_odd(data: memoryview, error: msgspec.DecodeError) -> _Document:
    """Read a file that has NaN or infinities in it; they become null, which is refused where it is."""
    if len(data) > _MOST_REPAIRED:
        raise FlawError(f"is not JSON: {error}") from error
    try:
        return _document(msgspec.json.encode(json.loads(bytes(data))))
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise FlawError(f"is not JSON: {error}") from error


def _array(raw: Raw, what: str) -> list[Raw]:
    try:
        return [] if not raw else _raws(raw)
    except msgspec.DecodeError as error:
        raise FlawError(f"{what} is not an array: {error}") from error
