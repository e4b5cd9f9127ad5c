"""Finds and removes annotations by the rules of the open API, in which nothing found is no error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ....engine.errors import UsageError
from ....engine.validation import identifier, label_list, whole


def find_annotations(
    annotations: list[Any],
    id: str | float | None = None,  # noqa: A002
    index: int | None = None,
) -> list[dict[str, Any]]:
    """Return the annotations with an index or an id as wire forms; without either, all of them."""
    return [annotations[place].to_dict() for place in _places(annotations, id, index)]


def take_annotation(
    annotations: list[Any], index: int | None, options: dict[str, Any]
) -> dict[str, Any] | None:
    """Remove one annotation by index, or by the option `id`, and return its wire form; None if there is none.

    Raises
    ------
    UsageError
        Neither index nor id is given, or there are other options.
    """
    wanted = options.pop("id", None)
    if options or (index is None) == (wanted is None):
        raise UsageError(f"pass either index or id to remove an annotation{_without(options)}")
    places = _places(annotations, wanted, index)
    return annotations.pop(places[0]).to_dict() if places else None


def take_annotations(
    annotations: list[Any],
    id: str | float | None,  # noqa: A002
    label: str | None,
    labels: Iterable[str] | None,
) -> list[dict[str, Any]]:
    """Remove the annotations that have the id and any of the labels, and return their wire forms."""
    wanted = {*label_list(label, "label"), *label_list(labels, "labels")}
    places = [i for i in _places(annotations, id) if not wanted or wanted.intersection(annotations[i].labels)]
    removed = [annotations[place].to_dict() for place in places]
    for place in reversed(places):
        del annotations[place]
    return removed


def _places(annotations: list[Any], id: str | float | None, index: int | None = None) -> list[int]:  # noqa: A002
    places = list(range(len(annotations)))
    if index is not None:
        return places[whole(index, "index") :][:1]
    if id is None:
        return places
    wanted = identifier(id)
    return [place for place in places if annotations[place].id == wanted]


def _without(options: dict[str, Any]) -> str:
    return f", without {', '.join(options)}" if options else ""
