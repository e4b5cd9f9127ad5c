"""`DatasetVersion`: one version of a dataset, the main public API.

Names, arguments and defaults follow ClearML's hyper-datasets; what its text leaves open is decided in
`docs/explanation/hyperdatasets.md`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ...engine.frames import SingleFrame
from ...engine.groups import FrameGroup
from .frame_reads import FrameReads
from .frame_writes import FrameWrites
from .history import FrameHistory
from .lifecycle import VersionLifecycle


class DatasetVersion(VersionLifecycle, FrameReads, FrameWrites, FrameHistory):
    """One version of a dataset. Get one from the class methods or from `Engine.version`; its properties are live."""

    Frame: ClassVar[Any] = SingleFrame | FrameGroup
