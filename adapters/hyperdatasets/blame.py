"""`Blame`: which change set each part of a frame."""

from __future__ import annotations

from itertools import chain
from typing import Any

import msgspec

from ...engine.errors import NotFoundError
from ...engine.validation import how_many, identifier, printable, shorten
from ...projections.history.blame import ANNOTATION, FIELD, LABEL, METADATA, annotations_of, trace
from ...projections.history.changes import Change, frame_steps, payload_wire, step_change
from ...projections.tables.catalog import VersionRow
from ..session.session import Session
from .history import last_event


class BlamedAnnotation(msgspec.Struct, frozen=True):
    """One annotation of a frame.

    Attributes
    ----------
    index : int
        Index in the frame's annotations.
    id : str or None
        Id of the annotation, if it has one.
    type : str
        Type of the annotation.
    change : Change
        The change that added it. An annotation with an id is tracked by its id, even if it is moved. One without an id is
        identified by its geometry.
    labels : dict of str to Change
        The change that added each label.
    """

    index: int
    id: str | None
    type: str
    change: Change
    labels: dict[str, Change]


class Blame(msgspec.Struct, frozen=True):
    """Which change set each current part of a frame, in one version.

    Attributes
    ----------
    frame_id : str
        Id of the frame.
    annotations : list of BlamedAnnotation
        The annotations, in order.
    fields : dict of str to Change
        The last change of each field.
    metadata : dict of str to Change
        The last change of each top-level metadata key.
    """

    frame_id: str
    annotations: list[BlamedAnnotation]
    fields: dict[str, Change]
    metadata: dict[str, Change]

    def to_dict(self) -> dict[str, Any]:
        """Return the blame as plain JSON-like values."""
        return {
            "frame_id": self.frame_id,
            "annotations": [
                {
                    "index": each.index,
                    "id": each.id,
                    "type": each.type,
                    "change": each.change.to_dict(),
                    "labels": _to_dicts(each.labels),
                }
                for each in self.annotations
            ],
            "fields": _to_dicts(self.fields),
            "metadata": _to_dicts(self.metadata),
        }

    def __repr__(self) -> str:
        return f"Blame({printable(self.frame_id)}, {how_many(len(self.annotations), 'annotation')})"

    def _repr_html_(self) -> str:
        from .html import blame_card

        return blame_card(self)

    def parts(self) -> list[tuple[str, Change]]:
        """Return the name of each part, such as ``meta.camera`` or ``rois.0 label 'car'``, with its change."""
        parts = [(name, change) for name, change in self.fields.items()]
        parts += [(f"meta.{name}", change) for name, change in self.metadata.items()]
        for each in self.annotations:
            what = f"rois.{each.index}"
            parts.append((f"{what} {each.type}", each.change))
            parts += [(f"{what} label {label!r}", change) for label, change in each.labels.items()]
        return parts

    def __str__(self) -> str:
        """Return one line for each part: position, time, actor and name."""
        parts = self.parts()
        actors = max((len(change.actor) for _, change in parts), default=0)
        digits = max((len(str(change.position)) for _, change in parts), default=0)
        return "\n".join(
            printable(
                f"{change.position:>{digits}} {change.at:%Y-%m-%d %H:%M:%S} {change.actor:<{actors}} {part}"
            )
            for part, change in parts
        )


def blame_frame(session: Session, version: VersionRow, frame_id: str) -> Blame:
    """Return which change set each part of a frame; see `DatasetVersion.blame`."""
    key = identifier(frame_id, "frame_id")
    position = last_event(session, version, key)
    steps = frame_steps(session.log, position)
    last = next(steps)
    wire = payload_wire(key, last.stored.payload, position)
    if wire is None:
        raise NotFoundError(
            f"frame {shorten(frame_id)} was deleted from version {shorten(version.name)} at {position}"
        )
    origins = {
        part: step_change(session.log, version.dataset_id, key, step)
        for part, step in trace(chain((last,), steps)).items()
    }
    named: dict[str, dict[str, Change]] = {FIELD: {}, METADATA: {}}
    for (kind, name, *_), change in origins.items():
        if kind in named:
            named[kind][name] = change
    annotations = [
        BlamedAnnotation(
            index=index,
            id=annotation.get("id"),
            type=annotation["type"],
            change=origins[ANNOTATION, identity],
            labels={label: origins[LABEL, identity, label] for label in annotation.get("label", ())},
        )
        for index, (identity, annotation) in enumerate(annotations_of(wire))
    ]
    return Blame(key, annotations, named[FIELD], named[METADATA])


def _to_dicts(changes: dict[str, Change]) -> dict[str, Any]:
    return {name: change.to_dict() for name, change in changes.items()}
