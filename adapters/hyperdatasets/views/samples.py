"""`Sample`: a frame as training needs it, with its picture and targets, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....engine.annotations.base import Annotation
from ....engine.annotations.types import ImageAnnotation, Mask
from ....engine.errors import InvalidValueError, NotFoundError, UsageError
from ....engine.frames.frame_group import FrameGroup
from ....engine.frames.single_frame import SingleFrame
from ....engine.validation import shorten
from ...display.pictures import decode_picture
from ...session.current import current_session, entered
from ...session.session import Session
from .frames import UNASSIGNED

if TYPE_CHECKING:
    import torch


class Sample:
    """A frame of a view, with its image and targets as arrays. Files are read on first access.

    A sample of a frame group has no image of its own: ``sample["left"]`` is the sample of one of its frames. A sample
    that is pickled, as by a worker of a `DataLoader`, keeps what was read; the rest is read with the current engine.

    Parameters
    ----------
    frame : SingleFrame or FrameGroup
        The frame.
    session : Session, optional
        The engine that reads blobs.
    """

    def __init__(self, frame: SingleFrame | FrameGroup, session: Session | None = None) -> None:
        self.frame = frame
        self._session = session

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_session": None}

    @property
    def id(self) -> str | None:
        """Id of the frame; of a frame in a group, None."""
        return self.frame.id

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the frame."""
        return self.frame.metadata

    def __getitem__(self, name: str) -> Sample:
        """Return the sample of one frame of a group. Raises `NotFoundError` if there is none of that name."""
        if not isinstance(self.frame, FrameGroup):
            raise UsageError(f"frame {shorten(self.id)} is no group: its sample has the picture itself")
        if name not in self.frame:
            raise NotFoundError(
                f"the group {shorten(self.id)} has no frame {shorten(name)}, but {', '.join(map(repr, self.frame))}"
            )
        return Sample(self.frame[name], self._session)

    def __iter__(self) -> Iterator[str]:
        return iter(self.frame if isinstance(self.frame, FrameGroup) else ())

    def _single(self) -> SingleFrame:
        if isinstance(self.frame, FrameGroup):
            names = ", ".join(map(repr, self.frame))
            raise UsageError(
                f"{shorten(self.id)} is a group: take the sample of one of its frames, such as {names}"
            )
        return self.frame

    def _open(self) -> Session:
        return self._session or current_session()

    @property
    def path(self) -> str:
        """Local path of the file. A remote one is fetched into the local cache.

        Raises
        ------
        NotFoundError, IntegrityError, StorageError
            As of `SingleFrame.get_local_source` with `raise_on_error`.
        """
        with entered(self._open()):
            return self._single().get_local_source(raise_on_error=True)

    @cached_property
    def content(self) -> bytes:
        """The bytes of the file."""
        return Path(self.path).read_bytes()

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """The picture in RGB, of shape (height, width, 3).

        The orientation that the file states is applied, unless width and height of the frame are those of the stored
        picture. It needs the extra `image`.

        Raises
        ------
        UsageError
            Pillow is not installed.
        InvalidValueError
            The file cannot be decoded.
        """
        return self._decoded(self.content)

    def _decoded(self, data: bytes) -> NDArray[np.uint8]:
        try:
            return np.array(decode_picture(data, self._single()))
        except InvalidValueError as error:
            raise InvalidValueError(f"frame {shorten(self.id)}: {error}") from error

    @cached_property
    def masks(self) -> dict[str, NDArray[np.uint8]]:
        """The pictures of the masks in RGB, by id."""
        with entered(self._open()):
            paths = {
                name: self._single().get_local_mask_source(raise_on_error=True, mask_id=name)
                for name in self._single().masks_source
            }
        return {name: self._decoded(Path(str(path)).read_bytes()) for name, path in paths.items()}

    @cached_property
    def objects(self) -> list[Annotation]:
        """The annotations that have a box: all but masks, labels of the whole frame and three-dimensional points."""
        found = (each for each in self._single().annotations if not isinstance(each, ImageAnnotation | Mask))
        return [annotation for annotation in found if any(annotation.get_bounding_box()[2:])]

    @cached_property
    def boxes(self) -> NDArray[np.float32]:
        """Left, top, right and bottom of each object in pixels, of shape (objects, 4)."""
        boxes = np.array([each.get_bounding_box() for each in self.objects], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes

    @property
    def labels(self) -> list[list[str]]:
        """The labels of each object."""
        return [list(each.labels) for each in self.objects]

    @property
    def label_nums(self) -> NDArray[np.int64]:
        """The number of the label of each object, -1 for labels without one."""
        return _numbers(self.objects)

    @property
    def classes(self) -> list[str]:
        """The labels of the whole frame."""
        return [label for each in self._of_frame() for label in each.labels]

    @property
    def class_nums(self) -> NDArray[np.int64]:
        """The number of each annotation of the whole frame, -1 for labels without one."""
        return _numbers(self._of_frame())

    def _of_frame(self) -> list[Annotation]:
        return [each for each in self._single().annotations if isinstance(each, ImageAnnotation)]

    @cached_property
    def label_map(self) -> NDArray[np.int64]:
        """The label number of each pixel according to the masks, -1 elsewhere, of shape (height, width).

        Raises
        ------
        NotFoundError
            The frame has no mask.
        """
        pictures = self.masks
        if not pictures:
            raise NotFoundError(f"frame {shorten(self.id)} has no mask")
        first = next(iter(pictures.values()))
        numbers = np.full(first.shape[:2], UNASSIGNED, np.int64)
        for annotation in self._single().annotations:
            if not isinstance(annotation, Mask) or annotation.label_num is None:
                continue
            picture = pictures.get(annotation.mask_id or "", first)
            numbers[(picture == np.array(annotation.mask_rgb, np.uint8)).all(axis=2)] = annotation.label_num
        return numbers

    def target(self) -> dict[str, torch.Tensor]:
        """Return ``boxes`` (float32) and ``labels`` (int64) as tensors, as the detection models of torchvision take them."""
        import torch

        return {"boxes": torch.from_numpy(self.boxes), "labels": torch.from_numpy(self.label_nums)}

    def __repr__(self) -> str:
        return f"Sample({self.frame!r})"


def _numbers(annotations: list[Annotation]) -> NDArray[np.int64]:
    return np.array(
        [UNASSIGNED if each.label_num is None else each.label_num for each in annotations], np.int64
    )
