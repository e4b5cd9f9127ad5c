"""Adds, finds and removes the annotations of a frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..annotations.base import Annotation
from ..annotations.factory import build_annotations
from ..annotations.registry import own_annotations
from ..errors import NotFoundError, UsageError
from ..validation import About, identifier, label_list, label_text, whole
from .local_files import LocalFilesMixin

Labels = str | Sequence[object]
Coordinates = Iterable[Any]


class AnnotatedRecord(LocalFilesMixin):
    """A record with annotations that can be changed."""

    @property
    def annotations(self) -> list[Any]:
        """The annotations. The list may be modified in place."""
        return self._annotations

    @annotations.setter
    def annotations(self, value: Iterable[Annotation] | None) -> None:
        with About("frame", self.id):
            self._annotations = own_annotations(value, "annotations")

    def add_annotation(
        self,
        poly2d_xy: Coordinates | None = None,
        poly3d_xyz: Coordinates | None = None,
        points2d_xy: Coordinates | None = None,
        points3d_xyz: Coordinates | None = None,
        box2d_xywh: Coordinates | None = None,
        box3d_xyzwhxyzwh: Coordinates | None = None,
        ellipse2d_xyrrt: Coordinates | None = None,
        mask_rgb: Iterable[int] | None = None,
        frame_class: Labels | None = None,
        id: str | float | None = None,  # noqa: A002
        labels: Labels | None = None,
        confidence: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        **registered: Any,
    ) -> list[int]:
        """Add an annotation for each geometry given. Labels without a geometry label the whole frame.

        Parameters
        ----------
        poly2d_xy, poly3d_xyz : sequence of float, optional
            Points of a polygon, of shape ``(n, 2)`` or ``(n, 3)`` or flat. A sequence of rings adds a complex polygon.
        points2d_xy, points3d_xyz : sequence of float, optional
            Key points, of shape ``(n, 2)`` or ``(n, 3)`` or flat.
        box2d_xywh : sequence of float, shape (4,) or (5,), optional
            Left, top, width and height in pixels, and optionally the rotation about the centre in radians.
        box3d_xyzwhxyzwh : sequence of float, shape (10,), optional
            x, y, z, width and height of the front face, then of the back face, in pixels.
        ellipse2d_xyrrt : sequence of float, shape (5,), optional
            Centre and radii in pixels, then the rotation in radians.
        mask_rgb : sequence of int, shape (3,), optional
            Colour of the annotated pixels in the mask, each component from 0 to 255.
        frame_class : str or sequence of str, optional
            Labels of the whole frame.
        id, labels, confidence, metadata
            Values for each added annotation; see `Annotation`.
        **registered
            Geometries of registered annotation types, by their tags.

        Returns
        -------
        list of int
            Indices of the added annotations.

        Raises
        ------
        InvalidValueError
            A value is invalid, or neither a geometry nor labels are given.
        InvalidTypeError
            An argument is unknown.
        """
        geometries = {
            "poly2d_xy": poly2d_xy,
            "poly3d_xyz": poly3d_xyz,
            "points2d_xy": points2d_xy,
            "points3d_xyz": points3d_xyz,
            "box2d_xywh": box2d_xywh,
            "box3d_xyzwhxyzwh": box3d_xyzwhxyzwh,
            "ellipse2d_xyrrt": ellipse2d_xyrrt,
            "mask_rgb": mask_rgb,
        }
        if registered:
            geometries |= registered
        common = {"id": id, "labels": labels, "confidence": confidence, "metadata": metadata}
        with About("frame", self.id):
            added = build_annotations(geometries, frame_class, common)
        start = len(self._annotations)
        self._annotations.extend(added)
        return list(range(start, start + len(added)))

    def get_annotations(
        self,
        id: str | float | None = None,  # noqa: A002
        index: int | None = None,
        label: str | None = None,
        labels: Labels | None = None,
    ) -> list[Any]:
        """Return the annotations that match all arguments, or all annotations if there are no arguments.

        Parameters
        ----------
        id : str or number, optional
            Id of the annotation.
        index : int, optional
            Index in `annotations`.
        label : str, optional
            A label of the annotation.
        labels : str or sequence of str, optional
            All labels of the annotation, in order.

        Raises
        ------
        NotFoundError
            No annotation has the id or index.
        """
        return [self._annotations[i] for i in _find(self._annotations, id, index, label, labels)]

    def remove_annotation(self, index: int | None = None, id: str | float | None = None) -> Any:  # noqa: A002
        """Remove and return one annotation.

        Parameters
        ----------
        index : int, optional
            Index in `annotations`.
        id : str or number, optional
            Id of the annotation. The first that has it is removed.

        Raises
        ------
        UsageError
            Not exactly one of `index` and `id` is given.
        NotFoundError
            There is no such annotation.
        """
        if (index is None) == (id is None):
            raise UsageError("pass either an index or an id to remove_annotation")
        return self._annotations.pop(_find(self._annotations, id, index)[0])

    def remove_annotations(
        self,
        id: str | float | None = None,  # noqa: A002
        label: str | None = None,
        labels: Labels | None = None,
    ) -> list[Any]:
        """Remove and return the annotations that match all arguments, which are described at `get_annotations`.

        Raises
        ------
        UsageError
            No argument is given.
        NotFoundError
            No annotation has the id.
        """
        if id is None and label is None and labels is None:
            raise UsageError(
                "pass an id, a label or labels to remove_annotations; clear_annotations() removes all"
            )
        found = _find(self._annotations, id, None, label, labels)
        removed = [self._annotations[i] for i in found]
        for i in reversed(found):
            del self._annotations[i]
        return removed

    def clear_annotations(self) -> None:
        """Remove all annotations."""
        self._annotations.clear()


def _find(
    annotations: Sequence[Annotation],
    id: str | float | None = None,  # noqa: A002 - the name of the API that is followed
    index: int | None = None,
    label: str | None = None,
    labels: str | Sequence[object] | None = None,
) -> list[int]:
    """Return the indices of the annotations that match all arguments; see `get_annotations`."""
    found = list(range(len(annotations)))
    if index is not None:
        index = whole(index, "index")
        if not -len(found) <= index < len(found):
            raise NotFoundError(f"no annotation at index {index}: there are {len(found)}")
        found = [found[index]]
    if id is not None:
        wanted_id = identifier(id)
        found = [i for i in found if annotations[i].id == wanted_id]
        if not found:
            raise NotFoundError(f"no annotation with the id {id!r}")
    if label is not None:
        label = label_text(label, "label")
        found = [i for i in found if label in annotations[i].labels]
    if labels is not None:
        wanted = label_list(labels, "labels")
        found = [i for i in found if annotations[i].labels == wanted]
    return found
