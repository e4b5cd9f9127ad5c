"""Drawing frames into image files."""

from __future__ import annotations

from pathlib import Path

from ...engine.errors import ConflictError, UsageError
from ...engine.frames.frame_group import FrameGroup
from ...engine.frames.single_frame import SingleFrame
from ..display.pictures import draw


def draw_frame(frame: SingleFrame | FrameGroup, file: Path) -> None:
    """Draw a frame with its annotations into a new file; the suffix selects the format.

    Raises
    ------
    ConflictError
        The file exists.
    UsageError
        The suffix is not that of an image format, or the extra `image` is not installed.
    """
    kind = _kind(file)
    picture = draw(frame)
    try:
        with file.open("xb") as out:
            picture.save(out, format=kind)
    except FileExistsError:
        raise ConflictError(f"{file} already exists: give a new file") from None


def _kind(file: Path) -> str:
    try:
        from PIL import Image
    except ImportError:
        raise UsageError("drawing requires Pillow: pip install 'framelode[image]'") from None

    kinds = Image.registered_extensions()
    kind = kinds.get(file.suffix.lower())
    if kind not in Image.SAVE:
        raise UsageError(f"{file} does not have the suffix of an image format: use .png or .jpg")
    return kind
