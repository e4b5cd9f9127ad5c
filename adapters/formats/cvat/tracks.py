"""Tracks of a video of CVAT: shapes of each frame, those between key frames included."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from typing import Any
from xml.etree.ElementTree import Element

from ..format import Wire
from ..report import FlawError, Report
from .shapes import SHAPES, annotation_of, details_of, radians, whole_in

INTERPOLATED = "interpolated"
"""Key of the metadata of a shape that is between key frames: true."""

_ANGLE_AT = {"box2d": 4, "ellipse2d": 4}


def shapes_of(
    track: Element, last: int | None, step: int, report: Report, file: str
) -> Iterator[tuple[int, Wire]]:
    """Yield the number of a frame and the annotation of a track in it.

    A shape stays until the next one; boxes, ellipses and points move evenly to it. All shapes of a track have its id.

    Parameters
    ----------
    track : Element
        The track.
    last : int or None
        The last frame of the video, until which the last shape stays; None if it is not known.
    step : int
        Distance of the frames that were annotated.
    report : Report
        Where flaws are noted.
    file : str
        The annotation file.
    """
    shapes = _given_shapes(track, report, file)
    numbers = sorted(shapes)
    for number, following in zip(numbers, [*numbers[1:], None], strict=True):
        wire, is_outside, is_key = shapes[number]
        if is_outside:
            continue
        yield number, wire if is_key else _between(wire, wire["poly"])
        end = following if following is not None else number + 1 if last is None else last + 1
        target = None if following is None else shapes[following]
        for at in range(number + step, end, step):
            share = (at - number) / (end - number)
            yield at, _moved(wire, target, share, report, f"{file}: track {track.get('id')}, frame {at}")


def _given_shapes(track: Element, report: Report, file: str) -> dict[int, tuple[Wire, bool, bool]]:
    """Return the shapes by the number of their frames, with whether they are outside, and whether they are key frames."""
    shapes: dict[int, tuple[Wire, bool, bool]] = {}
    common = details_of(track)
    for element in track:
        if element.tag not in SHAPES:
            continue
        try:
            number = _new_number(element, shapes)
            wire = annotation_of(element, track.get("label", ""))
        except FlawError as error:
            report.flaw(
                "annotation",
                file,
                f"track {track.get('id')}, {element.tag} of frame {element.get('frame')}: {error}",
            )
            continue
        if meta := {**common, **wire.get("meta", {})}:
            wire["meta"] = meta
        if track.get("id") is not None:
            wire["id"] = track.get("id")
        shapes[number] = wire, _is_outside(element), element.get("keyframe", "1") != "0"
    return shapes


def _new_number(element: Element, known: Container[int]) -> int:
    number = whole_in(element, "frame")
    if number < 0 or number in known:
        raise FlawError("is there twice" if number in known else "must not be negative")
    return number


def _is_outside(element: Element) -> bool:
    points = element.findall("points")
    return element.get("outside") == "1" or (
        bool(points) and all(point.get("outside") == "1" for point in points)
    )


def _between(wire: Wire, poly: list[float]) -> Wire:
    return {**wire, "poly": poly, "meta": {**wire.get("meta", {}), INTERPOLATED: True}}


def _moved(
    wire: Wire, target: tuple[Wire, bool, bool] | None, share: float, report: Report, place: str
) -> Wire:
    """Return a shape that has moved a share of the way to the next one, which is seen."""
    poly: Any = wire["poly"]
    if target is None or target[1] or target[0]["type"] != wire["type"]:
        return _between(wire, poly)
    kind, to = wire["type"], target[0]["poly"]
    if kind == "complex_polygon2d":
        return _between(wire, poly)
    at = _ANGLE_AT.get(kind)
    if at is not None:
        start, end = ([*each, 0.0][: at + 1] for each in (poly, to))
        turn = _turn(start.pop(), end.pop(), share)
        moved = [one + (other - one) * share for one, other in zip(start, end, strict=True)]
        return _between(wire, moved if kind == "box2d" and not turn else [*moved, turn])
    if len(poly) != len(to):
        report.loss(
            "shape between key frames with other numbers of points: as in the key frame before", place
        )
        return _between(wire, poly)
    return _between(wire, [one + (other - one) * share for one, other in zip(poly, to, strict=True)])


def _turn(start: float, end: float, share: float) -> float:
    """Return the angle at a share of the shorter way from one to another, in radians."""
    way = radians(math.degrees(end - start))
    return radians(math.degrees(start + way * share))
