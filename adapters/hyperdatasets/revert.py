"""Reverts a draft to an earlier state, by recording the differences as ordinary changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...engine.iterables import chunked

if TYPE_CHECKING:
    from .version import DatasetVersion

_FRAMES_AT_ONCE = 1_000


class Reverted(msgspec.Struct, frozen=True):
    """What a revert changed.

    Attributes
    ----------
    added : int
        Number of frames that had been deleted since, and were added again.
    updated : int
        Number of frames that had been changed since.
    deleted : int
        Number of frames that had been added since.
    metadata : bool
        Whether the metadata of the version was changed.
    """

    added: int
    updated: int
    deleted: int
    metadata: bool


def revert_version(version: DatasetVersion, past: DatasetVersion) -> Reverted:
    """Record what makes a draft equal to its past; see `DatasetVersion.revert`."""
    found = version.diff(past)
    version.delete_frames(found.added.ids, refresh_version_stats=False)
    version.update_frames(_frames(past, found.removed.ids), refresh_version_stats=False)
    version.update_frames(_frames(past, found.changed.ids), refresh_version_stats=False)
    metadata = past.get_metadata()
    is_other = metadata != version.get_metadata()
    if is_other:
        version.set_metadata(metadata)
    version.commit_version()
    return Reverted(len(found.removed), len(found.changed), len(found.added), is_other)


def _frames(past: DatasetVersion, ids: Sequence[str]) -> Iterator[Any]:
    for some in chunked(ids, _FRAMES_AT_ONCE):
        yield from past.get_frames_by_ids(some)
