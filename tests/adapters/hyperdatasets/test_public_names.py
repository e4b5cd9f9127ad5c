"""Every name, parameter and default of the API that is followed: it is ours, or the page on it says why not."""

import inspect
import re
from pathlib import Path

import pytest

import framelode

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "hyperdatasets.md"
PROPERTY = None
"""What a table has for a property; for methods it has the parameters, and for the constructor they are at `()`."""


def each(names, parameters=PROPERTY):
    return dict.fromkeys(names.split(), parameters)


POINTS = "id=None, labels=None, confidence=None, metadata=None"
LOCAL = "raise_on_error=False, skip_size_check=False, force_download=False"
GEOMETRIES = (
    "poly2d_xy=None, poly3d_xyz=None, points2d_xy=None, points3d_xyz=None, box2d_xywh=None, "
    "box3d_xyzwhxyzwh=None, ellipse2d_xyrrt=None, mask_rgb=None, frame_class=None"
)
FRAMES = {
    "SingleFrame": {
        "()": (
            "id=None, source=None, width=None, height=None, timestamp=None, size=None, hash=None, preview_uri=None, "
            "preview_uri_timestamp=None, metadata=None, annotations=None, mask_source=None, context_id=None"
        ),
        **each(
            "id source width height timestamp size hash preview_uri preview_uri_timestamp preview_source "
            "preview_source_timestamp mask_source masks_source metadata annotations context_id origin "
            "dataset_version_metadata blob sourcedata"
        ),
        "add_annotation": f"{GEOMETRIES}, id=None, labels=None, confidence=None, metadata=None, **kwargs",
        "remove_annotation": "index=None, **kwargs",
        "remove_annotations": "id=None, label=None, labels=None",
        "get_annotations": "id=None, index=None",
        "copy": "",
        "get_local_source": LOCAL,
        "get_local_preview_source": LOCAL,
        "get_local_masks_source": LOCAL,
        "get_local_mask_source": (
            "raise_on_error=False, mask_id=None, skip_size_check=False, force_download=False"
        ),
        "to_dict": "",
        "from_dict": "singleframe_dict",
        "update_source_files_hash": "allow_download=False",
        "get_source_hash": "",
    },
    "FrameGroup": {
        "()": "id=None, metadata=None, *args, **kwargs",
        **each("id metadata origin dataset_version_metadata blob"),
        "to_dict": "",
        "copy": "",
        "get_global_annotations": "",
        "add_global_annotation": "annotation",
        "remove_global_annotation": "annotation",
        "from_dict": "framegroup_dict",
        **each("clear items keys popitem values", ""),
        "get": "key, default=None",
        "pop": "key, default=...",
        "setdefault": "key, default=None",
        "update": "other=(), /, **kwds",
    },
    "Annotation": {
        "()": f"values=None, {POINTS}",
        **each("label_enum values id labels metadata confidence"),
        "get_type": "",
        "to_dict": "",
        "register": "type_names",
        "copy": "",
    },
    "Mask": {
        "()": f"mask_rgb=None, {POINTS}, mask_id=None",
        "mask_id": PROPERTY,
        "mask_rgb": PROPERTY,
    },
    "Polygon2D": {"()": f"polygon_xy=None, {POINTS}", "polygon_xy": PROPERTY, "get_bounding_box": ""},
    "Polygon3D": {"()": f"polygon_xyz=None, {POINTS}", "polygon_xyz": PROPERTY},
    "ComplexPolygon2D": {
        "()": f"polygons_xy=None, {POINTS}",
        "polygons_xy": PROPERTY,
        "get_bounding_box": "",
    },
    "ComplexPolygon3D": {"()": f"polygons_xyz=None, {POINTS}", "polygons_xyz": PROPERTY},
    "KeyPoints2D": {"()": f"keypoints_xy=None, {POINTS}", "keypoints_xy": PROPERTY, "get_bounding_box": ""},
    "KeyPoints3D": {"()": f"keypoints_xyz=None, {POINTS}", "keypoints_xyz": PROPERTY},
    "Ellipse2D": {
        "()": f"ellipse2d_xyrrt=None, {POINTS}",
        **each("angle center radii ellipse2d_xyrrt"),
        "get_bounding_box": "",
        "get_polygon": "num_point=4",
    },
    "BoundingBox2D": {
        "()": f"bounding_box_xywh=None, {POINTS}",
        **each("angle bounding_box_xywh bounding_box_xywha"),
        "get_bounding_box": "",
    },
    "BoundingBox3D": {
        "()": f"bounding_box_3d_xyzwhxyzwh=None, {POINTS}",
        "bounding_box_3d_xyzwhxyzwh": PROPERTY,
    },
    "ImageAnnotation": {"()": f"image_classes=None, {POINTS}"},
}
TABLES = (FRAMES,)
"""One table for each part of the API."""

ROWS = [
    (owner, member, parameters)
    for table in TABLES
    for owner, members in table.items()
    for member, parameters in members.items()
]


def named(owner, member):
    return owner if member == "()" else f"{owner}.{member}"


def listed():
    """Return the names in the table of differences in names of the page."""
    section = PAGE.read_text("utf-8").partition("## Names that differ")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)]


def differs(owner, member, parameters):
    """Return what differs from the table, or an empty string."""
    cls = getattr(framelode, owner, None)
    if cls is None or (member != "()" and not hasattr(cls, member)):
        return "is missing"
    if parameters is PROPERTY:
        return "is a method" if inspect.isroutine(inspect.getattr_static(cls, member)) else ""
    target = inspect.getattr_static(cls, "__init__" if member == "()" else member)
    bound = isinstance(target, classmethod | staticmethod)
    ours = list(inspect.signature(getattr(cls, member) if bound else target).parameters.values())
    ours = ours if bound else ours[1:]
    theirs = inspect.signature(eval(f"lambda {parameters}: None")).parameters.values()
    for index, wanted in enumerate(theirs):
        found = next((p for p in ours if (p.name, p.kind) == (wanted.name, wanted.kind)), None)
        if wanted.kind in {wanted.VAR_POSITIONAL, wanted.VAR_KEYWORD}:
            if wanted.kind not in {p.kind for p in ours}:
                return f"does not take {wanted}"
        elif found is None:
            return f"has no {wanted.name}"
        elif wanted.default not in {found.default, ..., wanted.empty}:
            return f"{wanted.name} has the default {found.default!r}"
        elif ours[index] is not found:
            return f"{wanted.name} has another place"
    return ""


@pytest.mark.parametrize(
    ("owner", "member", "parameters"), ROWS, ids=[f"{owner}.{member}" for owner, member, _ in ROWS]
)
def test_a_public_name_is_ours_or_the_page_tells_the_difference(owner, member, parameters):
    difference = differs(owner, member, parameters)
    assert bool(difference) is (named(owner, member) in listed()), difference or "the page lists it"


def test_the_page_lists_each_difference_once_and_no_other_name():
    assert len(listed()) == len(set(listed()))
    assert set(listed()) <= {named(owner, member) for owner, member, _ in ROWS}
