"""`Statistics`: counts of the frames, sources and labels of a version."""

from __future__ import annotations

from typing import Any

import msgspec

from ...engine.validation import shorten
from ...projections.tables.frame_counts import (
    ANNOTATED,
    CONTENT_TYPE,
    LABEL,
    SOURCE,
    SOURCE_BYTES,
    TOTAL,
    Counts,
)

_SHOWN_LABELS = 3


class Statistics(msgspec.Struct, frozen=True):
    """Statistics of one version, including inherited frames. Lists are sorted by count, then by name.

    Attributes
    ----------
    content_types : list of dict
        ``{"name", "count"}``: number of sources by content type.
    labels : list of dict
        ``{"name", "count"}``: number of annotations by label.
    frames : list of dict
        ``{"name", "count"}``: number of ``annotated`` and ``unannotated`` frames.
    total, annotated : int
        Number of frames, and of frames with at least one annotation.
    sources : list of dict
        ``{"name", "count", "bytes"}``: sources by their name within the frame, ``default`` for a `SingleFrame`.
    """

    content_types: list[dict[str, Any]]
    labels: list[dict[str, Any]]
    frames: list[dict[str, Any]]
    total: int
    annotated: int
    sources: list[dict[str, Any]]

    @classmethod
    def from_counts(cls, counts: Counts) -> Statistics:
        """Build statistics from a version's counts."""
        total, annotated = counts[TOTAL, ""], counts[ANNOTATED, ""]
        frames = {"annotated": annotated, "unannotated": total - annotated}
        return cls(
            content_types=_named(counts, CONTENT_TYPE),
            labels=_named(counts, LABEL),
            frames=[{"name": name, "count": count} for name, count in frames.items() if count],
            total=total,
            annotated=annotated,
            sources=[
                entry | {"bytes": counts[SOURCE_BYTES, entry["name"]]} for entry in _named(counts, SOURCE)
            ],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as plain JSON-like values."""
        return msgspec.to_builtins(self)

    def __repr__(self) -> str:
        labels = ", ".join(
            f"{shorten(entry['name'])}: {entry['count']}" for entry in self.labels[:_SHOWN_LABELS]
        )
        more = f", and {len(self.labels) - _SHOWN_LABELS} more" if len(self.labels) > _SHOWN_LABELS else ""
        return f"Statistics(total={self.total}, annotated={self.annotated}, labels={{{labels}{more}}})"

    def _repr_html_(self) -> str:
        from .html import statistics_card

        return statistics_card(self)


def _named(counts: Counts, kind: str) -> list[dict[str, Any]]:
    named = [{"name": name, "count": count} for (of_kind, name), count in counts.items() if of_kind == kind]
    return sorted(named, key=lambda entry: (-entry["count"], entry["name"]))
