"""Datalakes: pictures and videos with tags, sources and metadata, in the log of an engine."""

from __future__ import annotations

from .client import Client
from .data import Data, MultiData
from .data_projection import DataProjection
from .datalake import Datalake
from .datasource import DataSource
from .enums import DataType, DataUploadStatus, JobRunStatus, JobStatus, ProcessingInputType, TagTarget
from .error_manager import ErrorManager
from .exceptions import PicselliaError
from .job import Job
from .processing import Processing
from .schemas import CloudObject, CloudProjectionObject
from .tag import Tag

__all__ = [
    "Client",
    "CloudObject",
    "CloudProjectionObject",
    "Data",
    "DataProjection",
    "DataSource",
    "DataType",
    "DataUploadStatus",
    "Datalake",
    "ErrorManager",
    "Job",
    "JobRunStatus",
    "JobStatus",
    "MultiData",
    "PicselliaError",
    "Processing",
    "ProcessingInputType",
    "Tag",
    "TagTarget",
]
