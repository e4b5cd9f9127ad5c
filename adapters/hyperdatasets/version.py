"""`DatasetVersion`: one version of a dataset, the main public API.

Names, parameters and defaults follow the hyper-datasets API of ClearML. `docs/explanation/hyperdatasets.md` describes the
behaviour that its documentation leaves open.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ...engine.frames.frame_group import FrameGroup
from ...engine.frames.single_frame import SingleFrame
from .history import FrameHistory
from .lifecycle import VersionLifecycle
from .reading import FrameReads
from .writing import FrameWrites


class DatasetVersion(VersionLifecycle, FrameReads, FrameWrites, FrameHistory):
    """A version of a dataset. Every property reads the current state.

    Get a version from one of the class methods or from `Engine.version`. Methods and parameters that are marked
    (extension) are not part of ClearML's API.

    Parameters that many methods share:

    - `dataset_id`, `dataset_name`, `dataset_project`: the dataset, by id or by name, and its project. The project is
      required if several projects have a dataset of that name.
    - `version_id`, `version_name`: the version, by id or by name. Without either, the current version of the dataset.
      `create_snapshot` and the methods that read frames use the object's own version if none of these five is given.
    - `as_of`: the point in time to read at, as a position or an aware datetime (extension).

    Methods that return frames return a `FrameGroup` for each group. Their type is ``SingleFrame | Any``, so that a type checker
    accepts code for single frames; narrow it with ``isinstance(frame, FrameGroup)`` where a dataset has groups.
    """

    Frame: ClassVar[Any] = SingleFrame | FrameGroup
