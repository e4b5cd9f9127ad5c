"""Finds what earlier imports recorded in a version, and what was changed afterwards."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from ....engine.blobs.uris import is_blob_uri, parse_blob_uri
from ....engine.frames.source import Source, derive_id, path_or_uri
from ....engine.keys import frame_key
from ....projections.states.fold import TOMBSTONE
from ...formats.format import Item
from ...session.session import Session
from ..reading import FrameReader
from ..selectors import version_by_id
from .merging import imported_wire

_KINDS = ("added", "updated", "deleted")
_FILE = "file://"


class Place(msgspec.Struct, frozen=True):
    """The folder of an import, and the root that ids were relative to; None for absolute paths.

    Attributes
    ----------
    is_chosen : bool
        Whether the root was given: then any frame with the id of an image is its frame.
    """

    folder: str
    root: str | None
    is_chosen: bool = False

    def frame_id(self, image: str, timestamp: int = 0) -> str:
        """Return the id of the frame of an image, or of a moment of a video in milliseconds."""
        uri = _FILE + quote(os.fsencode(f"{self.folder}/{image}"))
        return derive_id((Source(timestamp=timestamp, uri=uri),), self.root) or ""


class _Imported(msgspec.Struct, gc=False):
    """A frame that an import recorded.

    Attributes
    ----------
    place : Place
        Place of the last import.
    is_changed : bool
        Whether it was also changed by something else than an import.
    deleted_by : str
        ``import``, ``other``, or empty if it is not deleted.
    """

    place: Place
    is_changed: bool = False
    deleted_by: str = ""


class ImportedFrames:
    """The frames of a version that imports recorded, at the time when this object was created.

    Parameters
    ----------
    session : Session
        The engine.
    version_id : str or None
        The version; None for one that does not exist yet.
    place : Place
        The current place of the data set.
    """

    def __init__(self, session: Session, version_id: str | None, place: Place) -> None:
        from ..version import DatasetVersion

        self._session, self._place = session, place
        self._row = None if version_id is None else version_by_id(session, version_id)
        self._known: dict[str, _Imported] = {}
        self._seen: set[str] = set()
        places: dict[Place, Place] = {}
        if version_id is not None:
            for change in DatasetVersion.of(session, version_id).history(kinds=_KINDS):
                self._take_in(change, places)
        own = (each for each in places if each.folder == place.folder)
        self._here = list(dict.fromkeys([place, *own, Place(place.folder, None)]))
        # A folder that still exists was copied, not moved, so its frames belong to another set.
        self._moved = [each for each in places if not os.path.lexists(each.folder)]
        self._matched: Counter[Place] = Counter()
        self._is_new = self._row is None or not session.states.read(self._row.version_id).entries

    def _take_in(self, change: Any, places: dict[Place, Place]) -> None:
        place, known = _place_of(change), self._known.get(change.frame_id)
        if place is not None:
            place = places.setdefault(place, place)
        if known is None:
            if place is None:
                return
            known = self._known[change.frame_id] = _Imported(place)
        known.place = place or known.place
        known.is_changed |= place is None
        known.deleted_by = "" if change.kind != "deleted" else "import" if place else "other"

    def match(self, items: Sequence[Item]) -> list[tuple[str, Any]]:
        """Return the frame id of each image, and the frame if the version has it.

        The id is derived from the path of the image relative to the root of the import, or from the URI if the image is no
        file. An image of a moved folder is recognized by its name and size. If a frame of another folder that is still there
        has the id, the absolute path gives the id.
        """
        candidates = [self._candidates(item) for item in items]
        frames = self._read([frame_id for some in candidates for frame_id in some])
        return [self._chosen(item, some, frames) for item, some in zip(items, candidates, strict=True)]

    def _candidates(self, item: Item) -> dict[str, Place | None]:
        """Return the ids that the frame of an image may have, with the place that gives it. An id of its own is the only one."""
        if given := (item.frame or {}).get("id"):
            return {given: None}
        source = _source_of(item)
        uri, time = source.get("uri", _FILE), source.get("timestamp", 0)
        if not uri.startswith(_FILE):
            return {derive_id((Source(timestamp=time, uri=uri),), None) or "": None}
        first = self._place.frame_id(item.name, time)
        if self._is_new:
            return {first: self._place}
        found: dict[str, Place | None] = {first: self._place}
        for place in self._here[1:]:
            found.setdefault(place.frame_id(item.name, time), place)
        for place in self._moved:
            frame_id = place.frame_id(item.name, time)
            if frame_id in self._known:
                found.setdefault(frame_id, place)
        return found

    def _chosen(
        self, item: Item, candidates: dict[str, Place | None], frames: dict[str, Any]
    ) -> tuple[str, Any]:
        size = _source_of(item).get("size")
        free = (each for each in candidates if each not in frames and each not in self._known)
        fitting = (
            frame_id
            for frame_id, place in candidates.items()
            if (frame_id in frames or self.was_deleted(frame_id))
            and self._is_frame_of(place, frame_id, frames.get(frame_id), size)
        )
        chosen = next(fitting, None) or next(free, next(reversed(candidates)))
        known = self._known.get(chosen)
        if known is not None and known.place.folder != self._place.folder:
            self._matched[known.place] += 1
        self._seen.add(chosen)
        return chosen, frames.get(chosen)

    def _is_frame_of(self, place: Place | None, frame_id: str, frame: Any, size: int | None) -> bool:
        """Whether a frame with the id that a place gives to an image is the frame of that image."""
        if place is None or place.is_chosen or (place.root is None and place.folder == self._place.folder):
            return True
        known = self._known.get(frame_id)
        if known is not None and known.place.folder == self._place.folder:
            return True
        if known is not None and os.path.lexists(known.place.folder):
            return False
        return getattr(frame, "size", None) in {None, size}

    def _read(self, ids: Sequence[str]) -> dict[str, Any]:
        if self._row is None or self._is_new:
            return {}
        state = self._session.states.read(self._row.version_id)
        held = [each for each in dict.fromkeys(ids) if 0 < state.locate(frame_key(each))[0] < TOMBSTONE]
        return {frame.id: frame for frame in FrameReader(self._session, self._row).by_ids(held)}

    def pass_over(self, names: Iterable[str]) -> None:
        """Note images that are there, but are not imported: their frames are not missing."""
        for name in names:
            self._seen.update(place.frame_id(name) for place in (*self._here, *self._moved))

    def was_deleted(self, frame_id: str) -> bool:
        """Whether a frame was deleted after its import, by something else than an import."""
        known = self._known.get(frame_id)
        return known is not None and known.deleted_by == "other"

    def imported(self, frame: Any) -> dict[str, Any]:
        """Return the fields of a frame that imports recorded, with the last values from an import; empty if there are none."""
        from ..version import DatasetVersion

        known = self._known.get(frame.id)
        if known is None or self._row is None:
            return {}
        if not known.is_changed:
            return frame.to_dict()
        changes = DatasetVersion.of(self._session, self._row.version_id).history(frame.id)
        return imported_wire((change.before, change.after) for change in changes if _place_of(change))

    def missing(self) -> list[tuple[Any, bool]]:
        """Return the frames that were imported from the folder but whose files are gone, and whether they were changed since."""
        held = Counter(known.place for known in self._known.values() if not known.deleted_by)
        # In any folder, a few images may match those of a deleted folder by chance.
        places = {*self._here, *(each for each, found in self._matched.items() if 2 * found >= held[each])}
        gone = [
            frame_id
            for frame_id, known in self._known.items()
            if known.place in places and not known.deleted_by and frame_id not in self._seen
        ]
        return [
            (frame, self._known[frame_id].is_changed)
            for frame_id, frame in self._read(gone).items()
            if (name := self.name_of(frame)) is not None
            and not os.path.lexists(f"{self._place.folder}/{name}")
        ]

    def name_of(self, frame: Any) -> str | None:
        """Return the path of the image of a frame relative to the folder of its import; None if it was no file there."""
        uri = frame.sources[0].uri if frame.sources else None
        if uri is None:
            return None
        if is_blob_uri(uri):
            return parse_blob_uri(uri).path or None
        path = path_or_uri(uri) or ""
        prefix = self._known[frame.id].place.folder + "/"
        return path.removeprefix(prefix) if path.startswith(prefix) else None


def _source_of(item: Item) -> dict[str, Any]:
    sources = (item.frame or {}).get("sources")
    return sources[0] if sources else {}


def _place_of(change: Any) -> Place | None:
    """Return the place of the import that made a change; None for any other change."""
    if "import" not in change.context or "folder" not in change.context:
        return None
    return Place(str(change.context["folder"]), change.context.get("root"))
