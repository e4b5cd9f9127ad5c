"""What the columns of a table of annotations are: by their usual names, by their number, or as a file says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..report import FlawError

NAMES: dict[str, tuple[str, ...]] = {
    "image": (
        "image", "filename", "imagename", "imagepath", "filepath", "imagefilename", "imagefile", "imageid", "imageuri",
        "gcsfilepath", "path", "file", "img", "imgpath", "imgname", "imageurl", "uri",
    ),
    "label": (
        "label", "class", "classname", "labelname", "category", "categoryname", "classid", "categoryid", "labelid", "name",
        "object",
    ),
    "xmin": ("xmin", "x1", "left", "bboxxmin", "boxxmin", "bboxx1", "boxx1"),
    "ymin": ("ymin", "y1", "top", "bboxymin", "boxymin", "bboxy1", "boxy1"),
    "xmax": ("xmax", "x2", "right", "bboxxmax", "boxxmax", "bboxx2", "boxx2"),
    "ymax": ("ymax", "y2", "bottom", "bboxymax", "boxymax", "bboxy2", "boxy2"),
    "x": ("x", "bboxx", "boxx", "bx"),
    "y": ("y", "bboxy", "boxy", "by"),
    "w": ("w", "bboxwidth", "boxwidth", "bboxw", "boxw", "bw"),
    "h": ("h", "bboxheight", "boxheight", "bboxh", "boxh", "bh"),
    "bbox": ("bbox", "box", "boundingbox"),
    "confidence": ("confidence", "score", "conf", "probability"),
    "width": ("width", "imagewidth", "imgwidth", "imagew"),
    "height": ("height", "imageheight", "imgheight", "imageh"),
    "split": ("split", "set", "subset", "mluse"),
    "metadata": ("metadata", "meta"),
}  # fmt: skip
"""The columns that are known, with their usual names in lowercase, without other characters than letters and digits."""

HEADER = (
    "image", "width", "height", "split", "label", "xmin", "ymin", "xmax", "ymax", "confidence", "metadata",
)  # fmt: skip
"""The columns that are written, in pixels."""

CORNERS, EXTENT = ("xmin", "ymin", "xmax", "ymax"), ("x", "y", "w", "h")
_SQUEEZED = re.compile(r"[^a-z0-9]")
_RETINANET = ("image", *CORNERS, "label")
_AUTOML = ("image", "label", "xmin", "ymin", None, None, "xmax", "ymax", None, None)


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are.

    Attributes
    ----------
    names : list of str
        Their own names, for metadata and messages.
    known : dict of str to int
        The place of each column that is known.
    is_normalized : bool or None
        Whether coordinates are relative to the size of the image; None if the numbers tell.
    has_header : bool
        Whether the first row has the names.
    """

    names: list[str]
    known: dict[str, int]
    is_normalized: bool | None = None
    has_header: bool = True

    @property
    def has_boxes(self) -> bool:
        """Whether there are coordinates of boxes."""
        return "bbox" in self.known or any(
            all(each in self.known for each in some) for some in (CORNERS, EXTENT)
        )

    @property
    def is_table(self) -> bool:
        """Whether these are columns of annotations."""
        return "image" in self.known and ("label" in self.known or self.has_boxes)


def named_columns(names: Sequence[str]) -> Columns:
    """Return what columns are by their names."""
    squeezed = [_SQUEEZED.sub("", name.lower()) for name in names]
    known: dict[str, int] = {}
    for key, usual in NAMES.items():
        place = next((squeezed.index(each) for each in usual if each in squeezed), None)
        if place is not None and place not in known.values():
            known[key] = place
    # Without other columns of the size, those of a box at x and y are its own.
    if {"x", "y", "width", "height"} <= known.keys() and not {"w", "h", "xmax", "bbox"} & known.keys():
        known["w"], known["h"] = known.pop("width"), known.pop("height")
    return Columns(list(names), known, is_normalized=False if tuple(names) == HEADER else None)


def unnamed_columns(row: Sequence[str]) -> Columns | None:
    """Return what columns without names are, by their first row: those of RetinaNet, or of AutoML and Vertex."""
    if len(row) == len(_RETINANET) and all(map(_is_number, row[1:5])) and not _is_number(row[0]):
        return _placed(_RETINANET, row, is_normalized=False)
    for before in ((), ("split",)):
        if len(row) == len(_AUTOML) + len(before) and all(map(_is_number, row[len(before) + 2 :])):
            return _placed((*before, *_AUTOML), row, is_normalized=True)
    return None


def _placed(keys: Sequence[str | None], row: Sequence[str], *, is_normalized: bool) -> Columns:
    known = {key: place for place, key in enumerate(keys) if key is not None}
    return Columns([""] * len(row), known, is_normalized, has_header=False)


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


def mapped_columns(names: Sequence[str], given: object) -> Columns:
    """Return what columns are as a file says: a name for each of `NAMES`, and ``normalized``.

    Raises
    ------
    FlawError
        It is no such mapping, or names a column that there is not.
    """
    if not isinstance(given, dict):
        raise FlawError(f"must be an object of column names by {', '.join(NAMES)}")
    wanted = dict(given)
    is_normalized = wanted.pop("normalized", None)
    if not isinstance(is_normalized, bool | None):
        raise FlawError("normalized must be true or false")
    for key, name in wanted.items():
        if key not in NAMES:
            raise FlawError(f"has the key {key!r}: the keys are {', '.join(NAMES)} and normalized")
        if name not in names:
            raise FlawError(f"names the column {name!r} for {key}: the columns are {', '.join(names)}")
    return Columns(list(names), {key: list(names).index(name) for key, name in wanted.items()}, is_normalized)
