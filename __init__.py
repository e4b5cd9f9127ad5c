"""framelode: event-sourced data versioning for frames and their annotations."""

from importlib import import_module
from typing import TYPE_CHECKING

from .engine.log.decoding import importing

if TYPE_CHECKING:
    from .adapters.connect import connect, current_engine
    from .adapters.display.pictures import draw
    from .adapters.engine import Engine
    from .adapters.execution_store.store import ExecutionStore
    from .adapters.files.cache import LocalCache
    from .adapters.hyperdatasets.blame import Blame
    from .adapters.hyperdatasets.bulk import BulkContext
    from .adapters.hyperdatasets.dataset import Dataset
    from .adapters.hyperdatasets.diff import Diff, DiffStats, FrameDiff
    from .adapters.hyperdatasets.open.datasets import HyperDataset, HyperDatasetManagement
    from .adapters.hyperdatasets.open.entries import DataEntry, DataEntryImage
    from .adapters.hyperdatasets.open.sub_entries import DataSubEntry, DataSubEntryImage
    from .adapters.hyperdatasets.querying import UnknownNameWarning
    from .adapters.hyperdatasets.reading import MissingFramesWarning
    from .adapters.hyperdatasets.source_deletion import SourcesNotDeletedWarning
    from .adapters.hyperdatasets.statistics import Statistics
    from .adapters.hyperdatasets.version import DatasetVersion
    from .adapters.hyperdatasets.version_writer import (
        DuplicateFramesWarning,
        NotRecordedWarning,
        UnknownFramesWarning,
    )
    from .adapters.hyperdatasets.views.data_view import DataView
    from .adapters.hyperdatasets.views.order import IterationOrder
    from .adapters.hyperdatasets.views.queries import FilterByRoiEnum, HyperDatasetQuery
    from .adapters.hyperdatasets.views.samples import Sample
    from .engine.annotations.base import Annotation, register_annotation
    from .engine.annotations.types import (
        BoundingBox2D,
        BoundingBox3D,
        ComplexPolygon2D,
        ComplexPolygon3D,
        Ellipse2D,
        ImageAnnotation,
        KeyPoints2D,
        KeyPoints3D,
        Mask,
        Polygon2D,
        Polygon3D,
    )
    from .engine.errors import (
        ConcurrencyError,
        ConflictError,
        FramelodeError,
        FramesRejected,
        IntegrityError,
        InvalidQueryError,
        InvalidTypeError,
        InvalidValueError,
        NotFoundError,
        PublishedError,
        StorageError,
        UsageError,
    )
    from .engine.frames.frame_group import FrameGroup, frame_from_dict
    from .engine.frames.local_files import LocalFileWarning
    from .engine.frames.single_frame import SingleFrame
    from .engine.log.checkpoint import Checkpoint
    from .engine.log.context import acting
    from .engine.query.expressions import F, Roi
    from .projections.history.changes import Change

__version__ = "0.1.0"

__all__ = [
    "Annotation",
    "Blame",
    "BoundingBox2D",
    "BoundingBox3D",
    "BulkContext",
    "Change",
    "Checkpoint",
    "ComplexPolygon2D",
    "ComplexPolygon3D",
    "ConcurrencyError",
    "ConflictError",
    "DataEntry",
    "DataEntryImage",
    "DataSubEntry",
    "DataSubEntryImage",
    "DataView",
    "Dataset",
    "DatasetVersion",
    "Diff",
    "DiffStats",
    "DuplicateFramesWarning",
    "Ellipse2D",
    "Engine",
    "ExecutionStore",
    "F",
    "FilterByRoiEnum",
    "FrameDiff",
    "FrameGroup",
    "FramelodeError",
    "FramesRejected",
    "HyperDataset",
    "HyperDatasetManagement",
    "HyperDatasetQuery",
    "ImageAnnotation",
    "IntegrityError",
    "InvalidQueryError",
    "InvalidTypeError",
    "InvalidValueError",
    "IterationOrder",
    "KeyPoints2D",
    "KeyPoints3D",
    "LocalCache",
    "LocalFileWarning",
    "Mask",
    "MissingFramesWarning",
    "NotFoundError",
    "NotRecordedWarning",
    "Polygon2D",
    "Polygon3D",
    "PublishedError",
    "Roi",
    "Sample",
    "SingleFrame",
    "SourcesNotDeletedWarning",
    "Statistics",
    "StorageError",
    "UnknownFramesWarning",
    "UnknownNameWarning",
    "UsageError",
    "__version__",
    "acting",
    "connect",
    "current_engine",
    "draw",
    "frame_from_dict",
    "register_annotation",
]

_HOMES = {
    "adapters.connect": ("connect", "current_engine"),
    "adapters.engine": ("Engine",),
    "adapters.execution_store.store": ("ExecutionStore",),
    "adapters.hyperdatasets.blame": ("Blame",),
    "adapters.hyperdatasets.bulk": ("BulkContext",),
    "adapters.hyperdatasets.views.data_view": ("DataView",),
    "adapters.hyperdatasets.dataset": ("Dataset",),
    "adapters.hyperdatasets.diff": ("Diff", "DiffStats", "FrameDiff"),
    "adapters.hyperdatasets.open.datasets": ("HyperDataset", "HyperDatasetManagement"),
    "adapters.hyperdatasets.open.entries": ("DataEntry", "DataEntryImage"),
    "adapters.hyperdatasets.open.sub_entries": ("DataSubEntry", "DataSubEntryImage"),
    "adapters.hyperdatasets.views.samples": ("Sample",),
    "adapters.hyperdatasets.statistics": ("Statistics",),
    "adapters.hyperdatasets.version": ("DatasetVersion",),
    "adapters.hyperdatasets.version_writer": (
        "DuplicateFramesWarning",
        "NotRecordedWarning",
        "UnknownFramesWarning",
    ),
    "adapters.hyperdatasets.reading": ("MissingFramesWarning",),
    "adapters.hyperdatasets.source_deletion": ("SourcesNotDeletedWarning",),
    "adapters.hyperdatasets.querying": ("UnknownNameWarning",),
    "adapters.hyperdatasets.views.order": ("IterationOrder",),
    "adapters.hyperdatasets.views.queries": ("FilterByRoiEnum", "HyperDatasetQuery"),
    "adapters.files.cache": ("LocalCache",),
    "adapters.display.pictures": ("draw",),
    "engine.annotations.base": ("Annotation", "register_annotation"),
    "engine.annotations.types": (
        "BoundingBox2D",
        "BoundingBox3D",
        "ComplexPolygon2D",
        "ComplexPolygon3D",
        "Ellipse2D",
        "ImageAnnotation",
        "KeyPoints2D",
        "KeyPoints3D",
        "Mask",
        "Polygon2D",
        "Polygon3D",
    ),
    "engine.log.checkpoint": ("Checkpoint",),
    "engine.log.context": ("acting",),
    "engine.query.expressions": ("F", "Roi"),
    "engine.errors": (
        "ConcurrencyError",
        "ConflictError",
        "FramelodeError",
        "FramesRejected",
        "IntegrityError",
        "InvalidQueryError",
        "InvalidTypeError",
        "InvalidValueError",
        "NotFoundError",
        "PublishedError",
        "StorageError",
        "UsageError",
    ),
    "engine.frames.local_files": ("LocalFileWarning",),
    "engine.frames.single_frame": ("SingleFrame",),
    "engine.frames.frame_group": ("FrameGroup", "frame_from_dict"),
    "projections.history.changes": ("Change",),
}
"""Which module brings which names: each is loaded when one of them is first used."""

# Frames that no engine has seen are shown in notebooks, and give their files.
import_module(".adapters.display", __name__)
import_module(".adapters.files", __name__)

if not TYPE_CHECKING:  # a checker would take any name for known
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        with importing():
            value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
