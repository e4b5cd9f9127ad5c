"""`draw`: the picture of a frame with its annotations."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, cast

import msgspec

from ...engine.annotations.base import Annotation
from ...engine.errors import InvalidValueError, UsageError
from ...engine.frames.frame_group import FrameGroup, wrap
from ...engine.frames.single_frame import SingleFrame
from ...engine.validation import at_least, shorten
from .drawing import draw_annotations, unseen_letters
from .image_source import read_source

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 100_000_000
"""Larger pictures are not decoded."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats that Pillow decodes itself. For some others it starts programs."""

_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

_GAP = 8

Size = tuple[int, int]


class Shown(msgspec.Struct, frozen=True):
    """A picture to draw: a frame, and the annotations on it."""

    name: str
    frame: SingleFrame
    annotations: list[Annotation]


class Sizes(msgspec.Struct, frozen=True):
    """Limits of a picture's longest side in pixels: the maximum and, for tiny pictures, the approximate minimum."""

    most: int | None = None
    least: int = 0


def draw(frame: SingleFrame | FrameGroup, longest: int | None = None) -> Image:
    """Return the picture of a frame with its annotations. The pictures of a group are placed side by side.

    The source can be a local file or any fsspec URL, up to 50 MB. Three-dimensional annotations are projected along z.
    Masks are not drawn, and only the first 2,000 annotations are. Labels may be in any script: a warning says which
    characters no font has, and the extra ``fonts`` brings fonts for most of them. The EXIF orientation is applied, unless the width and
    height of the frame are those of the stored picture.

    Parameters
    ----------
    frame : SingleFrame or FrameGroup
        The frame or group to draw.
    longest : int, optional
        Maximum length of each picture's longest side in pixels. Larger pictures are scaled down.

    Returns
    -------
    PIL.Image.Image
        The picture, in RGB.

    Raises
    ------
    UsageError
        Pillow is not installed, or the frame has no source.
    NotFoundError
        The source does not exist.
    InvalidValueError
        `frame` is not a frame, `longest` is not a positive integer, or the source is too large or cannot be decoded.
    StorageError
        The source cannot be read.
    """
    if not isinstance(frame, SingleFrame | FrameGroup):
        raise InvalidValueError(f"draw takes a SingleFrame or a FrameGroup, not {shorten(frame)}")
    if longest is not None:
        longest = at_least(longest, "longest", 1)
    every = pictures_of(frame)
    pictures = [render(shown, Sizes(longest), remote=True) for shown in every]
    if not pictures:
        raise UsageError("the group has no frames")
    lost = unseen_letters([annotation for shown in every for annotation in shown.annotations])
    if lost:
        fix = "pip install 'framelode[fonts]'"
        warnings.warn(
            f"labels are drawn without {shorten(lost)}, which no font has here: {fix}", stacklevel=2
        )
    return pictures[0] if len(pictures) == 1 else _side_by_side(pictures)


def pictures_of(frame: SingleFrame | FrameGroup) -> list[Shown]:
    """Return the pictures of a frame or of all frames in a group, with the annotations of the whole group."""
    whole = wrap(frame) if isinstance(frame, SingleFrame) else frame
    if isinstance(whole, SingleFrame):
        return [Shown("", whole, whole.annotations)]
    return [
        Shown(name, member, [*member.annotations, *_meant(whole.global_annotations, name)])
        for name, member in whole.items()
    ]


def render(shown: Shown, sizes: Sizes, *, remote: bool) -> Image:
    """Return one picture with its annotations; see `draw`."""
    _require_pillow()
    data = read_source(shown.frame.first_uri(), remote=remote)
    picture, size = _decode(data, shown.frame, sizes.most)
    picture = _enlarged(picture, sizes.least)
    draw_annotations(picture, shown.annotations, picture.width / size[0], picture.height / size[1])
    return picture


def decode_picture(data: bytes, frame: SingleFrame) -> Image:
    """Return the picture in a file of a frame in RGB, upright.

    Raises
    ------
    UsageError
        Pillow is not installed.
    InvalidValueError
        It is no picture of a known format, is broken, or is too large.
    """
    _require_pillow()
    return _decode(data, frame, None)[0]


def _require_pillow() -> None:
    """Raise `UsageError` if Pillow is not installed."""
    try:
        import_module("PIL.Image")
    except ImportError:
        raise UsageError("pictures need Pillow: pip install 'framelode[image]'") from None


def _meant(annotations: Sequence[Annotation], name: str) -> list[Annotation]:
    return [annotation for annotation in annotations if not annotation.sources or name in annotation.sources]


def _decode(data: bytes, frame: SingleFrame, most: int | None) -> tuple[Image, Size]:
    """Return a picture in RGB, and the original size, in which annotations are measured."""
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _open(data, frame, most)
    except InvalidValueError:
        raise
    except UnidentifiedImageError:
        kind = f" ({frame.content_type})" if frame.content_type else ""
        raise InvalidValueError(f"the source{kind} is not a picture of a known format") from None
    except Exception as error:
        # Decoders raise many kinds of errors for broken files.
        raise InvalidValueError(f"the picture cannot be decoded: {error}") from error


def _open(data: bytes, frame: SingleFrame, most: int | None) -> tuple[Image, Size]:
    from PIL import Image, ImageOps

    Image.init()
    picture = Image.open(io.BytesIO(data), formats=[name for name in _FORMATS if name in Image.OPEN])
    stored = picture.size
    if stored[0] * stored[1] > MOST_PIXELS:
        raise InvalidValueError(f"the picture of {stored[0]} x {stored[1]} pixels is too large to be decoded")
    if most:
        picture.draft(None, (2 * most, 2 * most))
    picture.load()  # applies the orientation of a TIFF, and removes it
    upright = (stored[1], stored[0]) if picture.getexif().get(_ORIENTATION, 1) in _LYING else stored
    keeps = (frame.width, frame.height) == stored != upright
    rgb = _in_rgb(picture if keeps else ImageOps.exif_transpose(picture))
    if most:
        rgb.thumbnail((most, most), Image.Resampling.LANCZOS)
    return rgb, stored if keeps else upright


def _in_rgb(picture: Image) -> Image:
    """Return a picture in RGB. Transparent pixels become white; more than 8 bits are scaled to the range in use."""
    from PIL import Image

    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        picture = picture.convert("F")
        low, high = cast("tuple[float, float]", picture.getextrema())
        factor = 255 / (high - low) if high > low else 0.0
        return picture.point(lambda value: value * factor - low * factor).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def _enlarged(picture: Image, least: int) -> Image:
    """Return a tiny picture enlarged, with its pixels as squares."""
    from PIL import Image

    factor = least // max(picture.size)
    if factor < 2:
        return picture
    size = picture.width * factor, picture.height * factor
    return picture.resize(size, Image.Resampling.NEAREST)


def _side_by_side(pictures: Sequence[Image]) -> Image:
    from PIL import Image

    width = sum(picture.width for picture in pictures) + _GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + _GAP
    return sheet
