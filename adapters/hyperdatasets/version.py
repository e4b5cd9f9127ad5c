"""`DatasetVersion`: one version of a dataset, the main public API.

Names, arguments and defaults follow ClearML's hyper-datasets; what its text leaves open is decided in
`docs/explanation/hyperdatasets.md`.
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
    """One version of a dataset. Get one from the class methods or from `Engine.version`; its properties are live.

    Arguments that many methods share:

    - `dataset_id`, `dataset_name`, `dataset_project`: the dataset, by id or by name, and its project, which is needed
      where several have that name.
    - `version_id`, `version_name`: the version, by id or by name; without either the dataset's current one. `create_snapshot`
      and what reads frames, called on an object without any of these five, mean that version.
    - `as_of`: the moment to read at, a position of the log or an aware datetime (ours).
    """

    Frame: ClassVar[Any] = SingleFrame | FrameGroup
