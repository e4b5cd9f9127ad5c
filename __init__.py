"""framelode: event-sourced data versioning for frames and their annotations."""

from .adapters.connection import Engine, connect, current_engine
from .adapters.hyperdatasets import BulkContext, Dataset, DatasetVersion, Statistics
from .adapters.looks import draw
from .engine.annotation_base import Annotation
from .engine.annotation_registry import register_annotation
from .engine.annotations import (
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
from .engine.context import acting
from .engine.errors import (
    ConcurrencyError,
    ConflictError,
    FramelodeError,
    FramesRejected,
    IntegrityError,
    InvalidValueError,
    NotFoundError,
    PublishedError,
    StorageError,
    UsageError,
)
from .engine.frames import SingleFrame
from .engine.groups import FrameGroup, frame_from_dict

__version__ = "0.1.0"

__all__ = [
    "Annotation",
    "BoundingBox2D",
    "BoundingBox3D",
    "BulkContext",
    "ComplexPolygon2D",
    "ComplexPolygon3D",
    "ConcurrencyError",
    "ConflictError",
    "Dataset",
    "DatasetVersion",
    "Ellipse2D",
    "Engine",
    "FrameGroup",
    "FramelodeError",
    "FramesRejected",
    "ImageAnnotation",
    "IntegrityError",
    "InvalidValueError",
    "KeyPoints2D",
    "KeyPoints3D",
    "Mask",
    "NotFoundError",
    "Polygon2D",
    "Polygon3D",
    "PublishedError",
    "SingleFrame",
    "Statistics",
    "StorageError",
    "UsageError",
    "__version__",
    "acting",
    "connect",
    "current_engine",
    "draw",
    "frame_from_dict",
    "register_annotation",
]
