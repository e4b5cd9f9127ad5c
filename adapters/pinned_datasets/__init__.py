"""Pinned datasets: a project's `dvc.yaml` and `dvc.lock`, read and written as DVC does, every change recorded."""

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
