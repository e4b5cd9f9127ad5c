"""Pinned datasets: the `dvc.yaml` and `dvc.lock` of a project, compatible with DVC; every change is recorded."""

from __future__ import annotations

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
