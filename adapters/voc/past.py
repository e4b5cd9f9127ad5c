"""Finds what earlier imports of VOC folders recorded in a version, and what was changed afterwards."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from ...engine.frames.single_frame import SingleFrame
from ...engine.keys import frame_key
from ...projections.states.fold import TOMBSTONE
from ..hyperdatasets.reading import FrameReader
from ..hyperdatasets.selectors import version_by_id
from ..hyperdatasets.version import DatasetVersion
from ..session.session import Session
from .merging import imported_wire

_KINDS = ("added", "updated", "deleted")


class Place(msgspec.Struct, frozen=True):
    """The folder of an import, and the root that ids were relative to."""

    folder: str
    root: str | None

    def frame_id(self, image: str) -> str:
        """Return the id of the frame of an image."""
        made = SingleFrame(source=os.path.join(self.folder, "JPEGImages", image))  # noqa: PTH118
        return made.derive_id(self.root) or ""


class _Imported(msgspec.Struct):
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
    version_id : str
        The version.
    place : Place
        The current place of the folder.
    """

    def __init__(self, session: Session, version_id: str, place: Place) -> None:
        self._session = session
        self._row = version_by_id(session, version_id)
        self._known: dict[str, _Imported] = {}
        self._places: dict[Place, None] = {}
        for change in DatasetVersion.of(session, version_id).history(kinds=_KINDS):
            self._take_in(change)
        self._here = dict.fromkeys([place, *(each for each in self._places if each.folder == place.folder)])
        # A folder that still exists was copied, not moved, so its frames belong to another set.
        self._moved = [each for each in self._places if not os.path.lexists(each.folder)]
        self._matched: Counter[Place] = Counter()

    def _take_in(self, change: Any) -> None:
        place, known = _place_of(change), self._known.get(change.frame_id)
        if place is not None:
            self._places.setdefault(place)
        if known is None:
            if place is None:
                return
            known = self._known[change.frame_id] = _Imported(place)
        known.place = place or known.place
        known.is_changed |= place is None
        known.deleted_by = "" if change.kind != "deleted" else "import" if place else "other"

    def match(
        self, images: Sequence[str], sizes: Sequence[int | None]
    ) -> list[tuple[str, SingleFrame | None]]:
        """Return the frame id of each image, and the frame if the version has it.

        Parameters
        ----------
        images : sequence of str
            Names in `JPEGImages`.
        sizes : sequence of int
            Sizes of the files. An image of a moved folder is recognized by name and size.
        """
        candidates = [self._candidates(image) for image in images]
        frames = self._read([frame_id for some in candidates for frame_id in some])
        found: list[tuple[str, SingleFrame | None]] = []
        for some, size in zip(candidates, sizes, strict=True):
            fitting = (
                frame_id
                for frame_id, is_moved in some.items()
                if (frame_id in frames or self.was_deleted(frame_id))
                and not (is_moved and getattr(frames.get(frame_id), "size", size) != size)
            )
            chosen = next(fitting, next(iter(some)))
            if some.get(chosen):
                self._matched[self._known[chosen].place] += 1
            found.append((chosen, frames.get(chosen)))
        return found

    def _candidates(self, image: str) -> dict[str, bool]:
        """Return the ids that the frame of an image may have, and for each whether the folder was moved."""
        here = {place.frame_id(image): False for place in self._here}
        moved = {place.frame_id(image): True for place in self._moved}
        return here | {
            frame_id: True for frame_id in moved if frame_id not in here and frame_id in self._known
        }

    def _read(self, ids: Sequence[str]) -> dict[str, Any]:
        state = self._session.states.read(self._row.version_id)
        held = [each for each in dict.fromkeys(ids) if 0 < state.locate(frame_key(each))[0] < TOMBSTONE]
        return {frame.id: frame for frame in FrameReader(self._session, self._row).by_ids(held)}

    def was_deleted(self, frame_id: str) -> bool:
        """Whether a frame was deleted after its import, by something else than an import."""
        known = self._known.get(frame_id)
        return known is not None and known.deleted_by == "other"

    def imported(self, frame: Any) -> dict[str, Any]:
        """Return the fields of a frame that imports recorded, with the last values from an import; empty if there are none."""
        known = self._known.get(frame.id)
        if known is None:
            return {}
        if not known.is_changed:
            return frame.to_dict()
        changes = DatasetVersion.of(self._session, self._row.version_id).history(frame.id)
        return imported_wire((change.before, change.after) for change in changes if _place_of(change))

    def missing(self, images: Sequence[str]) -> list[tuple[Any, bool]]:
        """Return the frames that were imported from the folder but whose images are gone, and whether they were changed since."""
        held = Counter(known.place for known in self._known.values() if not known.deleted_by)
        # In any folder, a few images may match those of a deleted folder by chance.
        places = {*self._here, *(each for each, found in self._matched.items() if 2 * found >= held[each])}
        ids = {place.frame_id(image) for place in (*self._here, *self._moved) for image in images}
        gone = [
            frame_id
            for frame_id, known in self._known.items()
            if known.place in places and not known.deleted_by and frame_id not in ids
        ]
        return [(frame, self._known[frame_id].is_changed) for frame_id, frame in self._read(gone).items()]


def _place_of(change: Any) -> Place | None:
    """Return the place of the import that made a change; None for any other change."""
    if change.context.get("import") != "voc" or "folder" not in change.context:
        return None
    return Place(str(change.context["folder"]), change.context.get("root"))
