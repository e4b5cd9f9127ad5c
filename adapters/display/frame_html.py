"""HTML of frames and groups for notebooks: their fields, and the picture if it is available locally."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

from ...engine.annotations.base import Annotation
from ...engine.errors import FramelodeError
from ...engine.frames.frame_group import FrameGroup, wrap
from ...engine.frames.single_frame import SingleFrame
from ...engine.validation import shorten
from .colours import annotation_colour, css
from .html import Cell, Markup, card, pairs, plain, remark, swatch, table, title
from .pictures import Shown, Sizes, pictures_of, render

_SIZES = Sizes(most=800, least=256)
_ANNOTATIONS = 20
_METADATA = 20


def frame_html(frame: SingleFrame | FrameGroup) -> str:
    """Return a frame or group as HTML. It never raises an error, and never fetches remote files."""
    whole = wrap(frame) if isinstance(frame, SingleFrame) else frame
    parts = [title(whole.id or "no id yet", type(whole).__name__), *_figures(whole), pairs(_facts(whole))]
    if isinstance(whole, FrameGroup):
        parts += [_annotations(f"{name}: ", member.annotations) for name, member in whole.items()]
        parts.append(_annotations("group: ", whole.global_annotations))
    else:
        parts.append(_annotations("", whole.annotations))
    return card(*parts)


def _figures(frame: SingleFrame | FrameGroup) -> Iterator[Markup]:
    for shown in pictures_of(frame):
        caption = f'<figcaption style="opacity:.65">{plain(shown.name)}</figcaption>' if shown.name else ""
        style = "display:inline-block;vertical-align:top;margin:.4em .6em 0 0;max-width:100%"
        yield Markup(f'<figure style="{style}">{_picture(shown)}{caption}</figure>')


def _picture(shown: Shown) -> str:
    """Return the picture, or a line that gives the reason why there is none."""
    try:
        picture = render(shown, _SIZES, remote=False)
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=90, subsampling=0)
    except FramelodeError as error:
        return remark(f"no picture: {error}")
    except Exception as error:  # noqa: BLE001 - types of annotations may be anybody's
        return remark(f"no picture: {type(error).__name__}: {error}")
    code = base64.b64encode(file.getvalue()).decode()
    return f'<img style="max-width:100%;height:auto" alt="" src="data:image/jpeg;base64,{code}">'


def _facts(frame: SingleFrame | FrameGroup) -> Iterator[tuple[str, Cell]]:
    members = {"": frame} if isinstance(frame, SingleFrame) else frame
    for name, member in members.items():
        lead = f"{name}: " if name else ""
        yield f"{lead}source", member.source
        if member.width and member.height:
            yield f"{lead}size", f"{member.width} x {member.height}"
        yield f"{lead}timestamp", f"{member.timestamp} ms" if member.timestamp else None
        if name:
            yield from _metadata(f"{lead}metadata", member.metadata)
    if frame.context_id not in {member.first_uri() for member in members.values()}:
        yield "context", frame.context_id
    yield from _metadata("metadata", frame.metadata)


def _metadata(lead: str, metadata: dict[str, object]) -> Iterator[tuple[str, Cell]]:
    for key, value in list(metadata.items())[:_METADATA]:
        yield f"{lead}.{key}", value if isinstance(value, str) else shorten(value)
    if len(metadata) > _METADATA:
        yield lead, f"and {len(metadata) - _METADATA:,} more"


def _annotations(lead: str, annotations: list[Annotation]) -> Markup:
    """Return the annotations as a table; empty without any."""
    if not annotations:
        return Markup()
    rows = [_row(annotation) for annotation in annotations[:_ANNOTATIONS]]
    columns = (f"{lead}labels", "type", "geometry", "confidence", "id")
    return table(columns, rows, len(annotations))


def _row(annotation: Annotation) -> tuple[Cell, ...]:
    labels = Markup(
        swatch(css(annotation_colour(annotation))) + plain(", ".join(map(str, annotation.labels)))
    )
    sure = None if annotation.confidence is None else f"{annotation.confidence:.3g}"
    return labels, annotation.type, _geometry(annotation), sure, annotation.id


def _geometry(annotation: Annotation) -> str:
    mask = getattr(annotation, "mask_rgb", None)
    if mask:
        return "rgb({}, {}, {})".format(*mask)
    shown = ", ".join(f"{number:.6g}" for number in annotation.poly[:10])
    return shown if len(annotation.poly) <= 10 else f"{shown}, … ({len(annotation.poly)} numbers)"
