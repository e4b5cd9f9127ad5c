"""One JSON file of COCO: its parts as raw bytes, and where the annotations of each image are."""

from __future__ import annotations

import codecs
import json
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw, Struct
from numpy.typing import NDArray

from ....engine.validation import shorten
from ..files import Folder
from ..report import FlawError, Report

_CHUNK = 2**20
_MOST_REPAIRED = 2**29
"""Bytes of a file that is read again by a slower parser because it has numbers that JSON does not allow."""

_AT_ONCE = 20_000
"""Annotations whose ids are read together."""

Key = int | str


_NONE = Raw()


class _Document(Struct, gc=False):
    images: Raw = _NONE
    annotations: Raw = _NONE
    categories: Raw = _NONE
    licenses: Raw = _NONE


class Ref(Struct, gc=False):
    """The ids of an annotation."""

    id: Key | None = None
    image_id: Key | None = None


class ImageRef(Struct, gc=False):
    """The id and the name of an image."""

    id: Key
    file_name: str


_FLAWED = Ref()

_document = msgspec.json.Decoder(_Document).decode
_refs = msgspec.json.Decoder(list[Ref]).decode
_raws = msgspec.json.Decoder(list[Raw]).decode
_image_refs = msgspec.json.Decoder(list[ImageRef]).decode


class CocoFile:
    """A file of COCO.

    Parameters
    ----------
    folder : Folder
        The folder.
    name : str
        The file.
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

    def __init__(self, folder: Folder, name: str, report: Report) -> None:
        self.name, self._report = name, report
        document = _parse(folder.view(name))
        if not document.images or not (document.annotations or document.categories):
            raise FlawError("has no images and annotations, as a file of COCO does")
        self.images = _array(document.images, "images")
        self._annotations = _array(document.annotations, "annotations")
        self.refs = self._read_images(document.images)
        self.categories = self._read_categories(document.categories)
        self._order, self._starts = self._group()
        if _array(document.licenses, "licenses"):
            report.loss("licenses of a file: left out", name)

    def raw_annotations(self, place: int) -> list[Raw]:
        """Return the annotations of the image at a place in `images`."""
        annotations = self._annotations
        found = self._order[self._starts[place] : self._starts[place + 1]].tolist()
        return [annotations[each] for each in found]

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
        except msgspec.DecodeError as error:
            self._flaw("image", f"images[{place}]: {error}")
            return None

    def _read_categories(self, raw: Raw) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for place, each in enumerate(_array(raw, "categories")):
            category: Any = None
            with suppress(msgspec.DecodeError):
                category = msgspec.json.decode(each)
            is_valid = isinstance(category, dict) and isinstance(category.get("name"), str)
            if is_valid and category["name"].strip() and isinstance(category.get("id"), int | str):
                found.append(category)
            else:
                self._flaw("category", f"categories[{place}]: has no id and name")
        return found

    def _group(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the places of annotations in the order of their images, and where those of each image begin."""
        places: dict[Any, int] = {ref.id: place for place, ref in enumerate(self.refs) if ref is not None}
        found = np.full(len(self._annotations), -1, np.int32)
        ids: list[Any] = []
        for start in range(0, len(self._annotations), _AT_ONCE):
            refs = self._some_refs(start)
            found[start : start + len(refs)] = [places.get(ref.image_id, -1) for ref in refs]
            ids.append(_ids_of(refs))
            for offset in np.flatnonzero(found[start : start + len(refs)] < 0).tolist():
                ref = refs[offset]
                if ref is not _FLAWED:
                    told = f"image {shorten(ref.image_id)} is not in images"
                    self._flaw("annotation", f"annotation {shorten(ref.id)}: {told}")
        self._leave_out_duplicates(found, ids)
        order = np.argsort(found, kind="stable").astype(np.int32)
        starts = np.searchsorted(found[order], np.arange(len(self.images) + 1))
        return order, starts

    def _some_refs(self, start: int) -> list[Ref]:
        some = self._annotations[start : start + _AT_ONCE]
        try:
            return _refs(b"[" + b",".join(some) + b"]")
        except msgspec.DecodeError:
            return [self._ref(each, start + place) for place, each in enumerate(some)]

    def _leave_out_duplicates(self, found: NDArray[np.int32], ids: list[Any]) -> None:
        if not ids or _are_unique(ids):
            return
        seen: set[Any] = set()
        listed = (some.tolist() if isinstance(some, np.ndarray) else some for some in ids)
        for place, each in enumerate(each for some in listed for each in some):
            if each is None or found[place] < 0:
                continue
            if each in seen:
                self._flaw("annotation", f"annotation {shorten(each)}: duplicate id, the first is used")
                found[place] = -1
            seen.add(each)

    def _ref(self, raw: Raw, place: int) -> Ref:
        try:
            return msgspec.json.decode(raw, type=Ref)
        except msgspec.DecodeError as error:
            self._flaw("annotation", f"annotations[{place}]: {error}")
            return _FLAWED

    def _flaw(self, kind: str, reason: str) -> None:
        self._report.flaw(kind, self.name, reason)


def _ids_of(refs: list[Ref]) -> Any:
    """Return the ids as an array, which takes less memory, if all are numbers."""
    ids = [ref.id for ref in refs]
    try:
        return np.array(ids, np.int64) if set(map(type, ids)) == {int} else ids
    except OverflowError:
        return ids


def _are_unique(ids: list[Any]) -> bool:
    if not all(isinstance(some, np.ndarray) for some in ids):
        return False
    ordered = np.sort(np.concatenate(ids))
    return bool((ordered[1:] != ordered[:-1]).all())


def _parse(data: memoryview) -> _Document:
    try:
        document = _document(data)
    except msgspec.ValidationError as error:
        raise FlawError(f"is not a file of COCO: {error}") from error
    except msgspec.DecodeError as error:
        return _parse_odd(data, error)
    _check_text(data)
    return document


def _check_text(data: memoryview) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _CHUNK):
        try:
            decoder.decode(data[start : start + _CHUNK], start + _CHUNK >= len(data))
        except UnicodeDecodeError as error:
            raise FlawError(
                f"is not text in UTF-8: {error.reason} near byte {start + error.start}"
            ) from error


def _parse_odd(data: memoryview, error: msgspec.DecodeError) -> _Document:
    """Read a file that has NaN or infinities in it; they become texts, which are refused where a number must be."""
    if len(data) > _MOST_REPAIRED:
        raise FlawError(f"is not JSON: {error}") from error
    _check_text(data)
    try:
        return _document(msgspec.json.encode(json.loads(bytes(data), parse_constant=str)))
    except (ValueError, RecursionError):
        raise FlawError(f"is not JSON: {error}") from error


def _array(raw: Raw, what: str) -> list[Raw]:
    try:
        return [] if not raw else _raws(raw)
    except msgspec.DecodeError as error:
        raise FlawError(f"{what} is not an array: {error}") from error
