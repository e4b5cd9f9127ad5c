"""`DataView` of the open API: it yields data entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..views.data_view import DataView as FrameView
from .entries import DataEntry, entry_of


class DataView(FrameView):
    """A view that yields each frame as a data entry, also one that was not added as such; see `framelode.DataView`."""

    def _shown(self, frames: Iterable[Any]) -> Iterator[DataEntry]:
        return map(entry_of, frames)

    def _shown_dicts(self, frames: Iterable[dict[str, Any]]) -> Iterator[DataEntry]:
        return map(DataEntry.from_api_object, frames)

    def _projected(self, projection: Sequence[str] | None) -> Sequence[str] | None:
        paths = super()._projected(projection)
        return None if paths is None else [*paths, "id", "sources.*.id"]
