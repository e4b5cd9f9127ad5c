"""Events of stored views: which frames of which versions, at which moment, in which order."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import msgspec

from ..decoding import Position
from .base import Event, Streams

Weight = Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]
"""A finite number: JSON, in which views are listed, has no other ones."""


class ViewVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version of a view.

    Attributes
    ----------
    dataset, version : str
        Ids of the dataset and the version.
    position : int
        Last position of the log that the view reads of the version.
    project : str
        Name of the project of the dataset when the view was stored.
    """

    dataset: str
    version: str
    position: Position
    project: str = ""


class ViewQuery(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """A query of a view, as it was given.

    Attributes
    ----------
    project, dataset, version : str
        Name of the project, ids of dataset and version; ``*`` stands for any of the view.
    frame_query, source_query, roi_query : str or None
        Lucene texts about frames and about one annotation.
    expression : dict or None
        A query that was given as a Python expression: its tree, each node with its `type`.
    labels : list of str or None
        One annotation has all of these labels.
    filter_by_roi : str
        ``label_rules``, ``no_rois`` or ``disabled``.
    label_rules : list of dict
        Rules on annotations: ``label``, ``count_range``, ``conf_range``, ``must_not``.
    weight : float
        Relative frequency of its frames.
    """

    project: str = "*"
    dataset: str = "*"
    version: str = "*"
    frame_query: str | None = None
    source_query: str | None = None
    roi_query: str | None = None
    expression: dict[str, Any] | None = None
    labels: list[str] | None = None
    filter_by_roi: Literal["label_rules", "no_rois", "disabled"] = "label_rules"
    label_rules: list[dict[str, Any]] = []
    weight: Weight = 1.0


class ViewMapping(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """A rule that replaces labels: those of an annotation that has all of `from_labels`, by `to_label`."""

    from_labels: list[str]
    to_label: str
    dataset: str = "*"
    version: str = "*"


class ViewStored(Event, frozen=True, kw_only=True):
    """A view was stored. It never changes, unless it is removed: a changed view is another one.

    Attributes
    ----------
    view, project, description : str
        Its name, which several views may have; its project and description.
    tags : list of str
        Its tags.
    versions : list of ViewVersion
        Its versions.
    queries : list of ViewQuery
        Its queries. A frame belongs to the view if one of them holds.
    mapping : list of ViewMapping
        Its rules for labels.
    labels : dict of str to int
        Numbers of labels.
    order : str
        ``added``, ``context`` or ``random``.
    infinite : bool
        Whether the frames are repeated without end.
    limit : int or None
        The most frames of one pass.
    seed : int
        Seed of random orders.
    """

    view: str
    project: str = ""
    description: str = ""
    tags: list[str] = []
    versions: list[ViewVersion]
    queries: list[ViewQuery]
    mapping: list[ViewMapping] = []
    labels: dict[str, int] = {}
    order: Literal["added", "context", "random"] = "added"
    infinite: bool = False
    limit: Position | None = None
    seed: int = 0


class ViewRemoved(Event, frozen=True, kw_only=True):
    """A stored view was removed.

    Attributes
    ----------
    view : str
        Its name.
    """

    view: str


VIEWS = Streams("view-", (ViewStored, ViewRemoved), label="view")
