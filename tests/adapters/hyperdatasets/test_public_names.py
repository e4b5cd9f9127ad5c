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
VERSIONS = {
    "DatasetVersion": {
        **each("version_id version_name dataset_id dataset_name draft last_updated comment"),
        **each("publish_version get_stats get_parent get_metadata get_masks_labels", ""),
        "create_new_dataset": "dataset_name=None, description=None, tags=None, raise_if_exists=False, dataset_project=None",
        "get_current": (
            "dataset_id=None, dataset_name=None, auto_upload_destination=None, local_dataset_root_path=None, "
            "dataset_project=None"
        ),
        "remove_version": (
            "dataset_id=None, dataset_name=None, version_id=None, version_name=None, force=False, "
            "dataset_project=None"
        ),
        "get_version": (
            "dataset_id=None, dataset_name=None, version_id=None, version_name=None, "
            "auto_upload_destination=None, local_dataset_root_path=None, raise_on_multiple=False, "
            "dataset_project=None"
        ),
        "get_single_frame": (
            "frame_id, dataset_id=None, dataset_name=None, version_id=None, version_name=None, "
            "dataset_project=None"
        ),
        "get_frames_by_source": (
            "source_uri, dataset_id=None, dataset_name=None, version_id=None, version_name=None, "
            "dataset_project=None"
        ),
        "get_frames_by_ids": (
            "frame_ids, projection=None, dataset_id=None, dataset_name=None, version_id=None, "
            "version_name=None, dataset_project=None"
        ),
        "create_snapshot": (
            "version_name=None, version_id=None, dataset_name=None, dataset_id=None, publish_name=None, "
            "publish_comment=None, publish_metadata=None, child_name=None, child_comment=None, "
            "child_metadata=None, dataset_project=None"
        ),
        "create_version": (
            "version_name, description=None, dataset_id=None, dataset_name=None, parent_version_ids=None, "
            "parent_version_names=None, raise_if_exists=False, auto_upload_destination=None, "
            "local_dataset_root_path=None, dataset_project=None"
        ),
        "get_versions": (
            "dataset_name=None, dataset_id=None, only_published=False, only_draft=False, dataset_project=None"
        ),
        "get_datasets": "tags=None",
        "get_iterator": "projection=None",
        "add_frames": (
            "frames, warn_on_duplicate_frames=False, batch_size=1000, refresh_version_stats=True, "
            "auto_upload_destination=None, local_dataset_root_path=None, force_upload=False, "
            "progress_report=1, register_on_upload_failure=False, upload_retries=5, src_to_dst_mapping=None, "
            "unregister_on_upload_fail=True"
        ),
        "update_frames": "frames, batch_size=1000, refresh_version_stats=True, without_fields=None",
        "delete_frames": "frames, batch_size=1000, refresh_version_stats=True, delete_sources=False",
        "get_bulk_context": (
            "flush_threshold=None, log=None, refresh_version_stats=True, auto_upload_destination=None, "
            "local_dataset_root_path=None, allow_update=False"
        ),
        "flush": "refresh_version_stats=True",
        "commit_version": "**kwargs",
        "set_metadata": "metadata",
        "set_masks_labels": "mask_value_label_mapping",
    },
    "BulkContext": {
        **each("flush", ""),
        "()": (
            "dv, flush_threshold=None, log=None, refresh_version_stats=True, auto_upload_destination=None, "
            "local_dataset_root_path=None, allow_update=False"
        ),
        "add_frame": "frame, warn_on_duplicate_frames=False",
        "delete_frame": "frame, delete_sources=False",
        "update_frame": "frame",
    },
    "Dataset": {
        **each("id name project description tags created"),
        "create": "dataset_name, description=None, tags=None, raise_if_exists=False, dataset_project=None",
        "get": "dataset_id=None, dataset_name=None, dataset_project=None",
        "delete": (
            "dataset_id=None, dataset_name=None, delete_all_versions=False, force=False, dataset_project=None, "
            "show_progress=False, delete_sources=False"
        ),
        "create_version": (
            "version_name, description=None, parent_version_ids=None, parent_version_names=None, raise_if_exists=False, "
            "auto_upload_destination=None, local_dataset_root_path=None"
        ),
        "get_version": (
            "version_id=None, version_name=None, auto_upload_destination=None, local_dataset_root_path=None, "
            "raise_on_multiple=False"
        ),
        "get_versions": "only_published=False, only_draft=False",
        "delete_version": "version_id=None, version_name=None, force=False",
        "add_tags": "tags",
        "remove_tags": "tags",
    },
    "Statistics": each("content_types labels frames"),
}
SELECTORS = "dataset_name=None, version_name=None, project_name=None, *, dataset_id=None, version_id=None"
FETCH = "raise_on_error=False, force_download=False"
ANNOTATED = {
    "remove_annotation": "index=None, **kwargs",
    "remove_annotations": "id=None, label=None, labels=None",
    "get_all_annotations": "",
    "get_annotations": "id=None, index=None",
}
MANAGED = {
    "get": SELECTORS,
    "exists": SELECTORS,
    "list": (
        "project_name=None, partial_name=None, tags=None, ids=None, recursive_project_search=True, include_archived=True"
    ),
    "delete": "dataset_name, version_name=None, project_name=None, *, force=False",
    "commit_version": (
        "*, publish=False, force=False, calculate_stats=True, override_stats=None, publishing_task=None"
    ),
    "publish_version": "*, force=False, publishing_task=None",
}
ENTRY = {
    "()": "data_entry_id=None, metadata=None",
    **each("id sub_data_entries"),
    "add_sub_entries": "sub_entries",
    "set_vector": "vector, metadata_field",
    "add_annotation": "id, labels, confidence, metadata",
    **ANNOTATED,
    "to_api_object": "",
}
SUB_ENTRY = {
    **each("name source preview_source"),
    "get_hash": 'source_field="source"',
    "get_source": 'source_field="source"',
    "set_source": "source_field, uri",
    "set_local_sources_upload_destination": "local_sources_upload_destination",
    "get_local_source": FETCH,
    "get_local_preview_source": FETCH,
}
OPEN = {
    "HyperDatasetManagement": MANAGED,
    "HyperDataset": {
        "()": (
            "project_name, dataset_name, version_name, description=None, parent_id=None, field_mappings=None, "
            "raise_if_exists=False, **kwargs"
        ),
        **each("project_id dataset_id version_id tags"),
        **MANAGED,
        "add_data_entries": (
            "data_entries, upload_local_files_destination=None, batch_size=1000, max_workers=None, show_progress=True, "
            "upload_retries=5, force_upload=False, max_request_size_mb=100, hash_sources=False"
        ),
        "delete_data_entries": "data_entries, batch_size=1000, refresh_version_stats=True, force=False",
        "set_metadata": "metadata",
        "get_metadata": "",
        "get_iterator": "projection=None, batch_size=None",
        "vector_search": (
            'reference_vector, vector_field, number_of_neighbors=50, fast=False, similarity_function="cosine"'
        ),
        "get_tags": "reload=False",
        **each("add_tags remove_tags set_tags", "tags"),
        "create_snapshot": "",
    },
    "DataEntry": {**ENTRY, "from_api_object": "data_entry"},
    "DataEntryImage": {
        **ENTRY,
        "add_global_annotation": f"{GEOMETRIES}, {POINTS}",
        "remove_global_annotation": "index=None, **kwargs",
        "remove_global_annotations": "id=None, label=None, labels=None",
        "get_all_global_annotations": "",
        "get_global_annotations": "id=None, index=None",
        "from_api_object": "frame",
    },
    "DataSubEntry": {
        "()": "name, source, preview_source=None, metadata=None",
        **SUB_ENTRY,
        "from_api_object": 'source_obj, name_fallback="source_0"',
    },
    "DataSubEntryImage": {
        "()": (
            'name="image_entry_0", source=None, preview_source=None, width=None, height=None, timestamp=None, '
            "context_id=None, masks_source=None, metadata=None"
        ),
        **SUB_ENTRY,
        **each("width height timestamp context_id"),
        "set_mask_source": "uri",
        "set_masks_source": "masks_source=None",
        "get_masks_source_dict": "",
        "get_mask_source": "mask_id=None",
        "get_local_mask_source": "raise_on_error=False, mask_id=None, force_download=False",
        "get_local_masks_source": FETCH,
        "add_annotation": f"{GEOMETRIES}, {POINTS}",
        **ANNOTATED,
        "from_api_object": 'source_obj, frame_meta=None, context_id=None, name_fallback="image_0"',
    },
}
QUERY = (
    'project_id="*", dataset_id="*", version_id="*", source_query=None, frame_query=None, weight=1.0, '
    "filter_by_roi=None, label_rules=None"
)
ITERATION = (
    'name=None, description=None, tags=None, iteration_order="sequential", iteration_infinite=False, '
    "iteration_random_seed=None, iteration_limit=None"
)
PREFETCH = (
    "num_workers=None, wait=True, query_cache_size=None, get_previews=False, get_masks=True, "
    "force_download=False"
)
VIEWS = {
    "HyperDatasetQuery": {
        "()": QUERY,
        **each("project_id dataset_id version_id source_query frame_query weight filter_by_roi label_rules"),
    },
    "DataView": {
        "()": f"{ITERATION}, auto_connect_with_task=True, project_name=None",
        **each("id name"),
        "get": "dataview_id=None, dataview_name=None",
        **each("get_queries get_iteration_parameters get_labels get_mapping_rules get_count", ""),
        "set_queries": "queries",
        "add_queries": "queries",
        "add_query": f"*, {QUERY}",
        "set_iteration_parameters": "*, infinite=None, limit=...",
        "set_labels": "label_dict",
        "add_mapping_rule": (
            "from_labels, to_label, dataset_id=None, dataset_name=None, version_id=None, "
            "version_name=None, project_name=None"
        ),
        "store": "project_name=None",
        "get_iterator": (
            "projection=None, query_cache_size=None, query_queue_depth=5, allow_repetition=False, "
            "auto_synthetic_epoch_limit=None, node_id=None, worker_index=None, num_workers=None, "
            "cache_in_memory=False"
        ),
        "to_list": "",
        "prefetch_local_sources": PREFETCH,
    },
}
OLDER_VIEWS = {
    "DataView": {
        "()": ITERATION,
        "get": "dataview_id=None, dataview_name=None",
        "add_query": (
            "dataset_name=None, version_name=None, roi_query=None, frame_query=None, source_query=None, "
            "weight=1.0"
        ),
        "add_multi_query": (
            "dataset_name=None, version_name=None, roi_queries=None, frame_query=None, source_query=None, "
            "weight=1.0"
        ),
        "add_mapping_rule": "*, dataset_name=None, version_name=None, from_labels, to_label",
        "set_labels": "label_dict",
        "set_iteration_parameters": (
            "order=None, infinite=None, maximum_number_of_frames=..., random_seed=..."
        ),
        "to_list": "",
        "to_dict": "projection=None",
        "get_iterator": "projection=None, query_cache_size=None",
        "get_count": "",
        "split_to_lists": "ratio=...",
        "prefetch_files": "",
        "__iter__": "",
        "__len__": "",
    },
    "IterationOrder": each("sequential random"),
    "FilterByRoiEnum": each("label_rules no_rois disabled"),
}
TABLES = (FRAMES, VERSIONS, OPEN, VIEWS, OLDER_VIEWS)
"""One table for each part of the API."""

VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

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
    bound = not inspect.isfunction(target)
    ours = list(inspect.signature(getattr(cls, member) if bound else target).parameters.values())
    ours = ours if bound else ours[1:]
    theirs = inspect.signature(eval(f"lambda {parameters}: None")).parameters.values()
    for index, wanted in enumerate(theirs):
        kinds = {wanted.kind} | (
            {wanted.POSITIONAL_OR_KEYWORD} if wanted.kind is wanted.KEYWORD_ONLY else set()
        )
        found = next((p for p in ours if p.name == wanted.name and p.kind in kinds), None)
        if wanted.kind in {wanted.VAR_POSITIONAL, wanted.VAR_KEYWORD}:
            if wanted.kind not in {p.kind for p in ours}:
                return f"does not take {wanted}"
        elif found is None:
            return f"has no {wanted.name}"
        elif wanted.default not in {found.default, ..., wanted.empty}:
            return f"{wanted.name} has the default {found.default!r}"
        elif wanted.kind is not wanted.KEYWORD_ONLY and ours[index] is not found:
            return f"{wanted.name} has another place"
    names = {parameter.name for parameter in theirs}
    needed = [p.name for p in ours if p.name not in names and p.default is p.empty and p.kind not in VARIABLE]
    return f"needs {', '.join(needed)}" if needed else ""


@pytest.mark.parametrize(
    ("owner", "member", "parameters"), ROWS, ids=[f"{owner}.{member}" for owner, member, _ in ROWS]
)
def test_a_public_name_is_ours_or_the_page_tells_the_difference(owner, member, parameters):
    difference = differs(owner, member, parameters)
    assert bool(difference) is (named(owner, member) in listed()), difference or "the page lists it"


def test_the_page_lists_each_difference_once_and_no_other_name():
    assert len(listed()) == len(set(listed()))
    assert set(listed()) <= {named(owner, member) for owner, member, _ in ROWS}
