"""Pictures of frames, written into files."""

from __future__ import annotations

from pathlib import Path

from ...engine.errors import ConflictError, UsageError
from ...engine.frames.frame_group import FrameGroup
from ...engine.frames.single_frame import SingleFrame
from ..display.pictures import draw


def draw_frame(frame: SingleFrame | FrameGroup, file: Path) -> None:
    """Draw a frame with its annotations into a new file, of the kind that its suffix names.

    Raises
    ------
    ConflictError
        The file is there already.
    UsageError
        The suffix names no kind of picture, or the extra `image` is missing.
    """
    kind = _kind(file)
    picture = draw(frame)
    try:
        with file.open("xb") as out:
            picture.save(out, format=kind)
    except FileExistsError:
        raise ConflictError(f"{file} is there already: name a new file") from None


def _kind(file: Path) -> str:
    try:
        from PIL import Image
    except ImportError:
        raise UsageError("drawing needs Pillow: pip install 'framelode[image]'") from None

    kinds = Image.registered_extensions()
    kind = kinds.get(file.suffix.lower())
    if kind not in Image.SAVE:
        raise UsageError(f"{file} names no kind of picture that can be written: end it in .png or .jpg")
    return kind
