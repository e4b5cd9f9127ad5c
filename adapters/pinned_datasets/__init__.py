"""Pinned datasets: the `dvc.yaml` and `dvc.lock` of a project, compatible with DVC; every change is recorded."""

from __future__ import annotations

from importlib.util import find_spec

from ...engine.errors import UsageError

if find_spec("attrs") is None:
    raise UsageError("pinned datasets need attrs: pip install 'framelode[pins]'")

from .dataset_types import DatachainDataset, Dataset, DVCDataset, URLDataset
from .datasets import Datasets
from .records import (
    DatachainDatasetLock,
    DatasetNotFoundError,
    DatasetSpec,
    DVCDatasetLock,
    DVCDatasetSpec,
    FileInfo,
    Meta,
    URLDatasetLock,
)
from .status import Status

__all__ = [
    "DVCDataset",
    "DVCDatasetLock",
    "DVCDatasetSpec",
    "DatachainDataset",
    "DatachainDatasetLock",
    "Dataset",
    "DatasetNotFoundError",
    "DatasetSpec",
    "Datasets",
    "FileInfo",
    "Meta",
    "Status",
    "URLDataset",
    "URLDatasetLock",
]
