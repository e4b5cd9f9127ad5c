"""The open hyper-datasets API of ClearML: `HyperDataset` and data entries, over the same versions, frames and log."""

from .datasets import HyperDataset, HyperDatasetManagement
from .entries import DataEntry, DataEntryImage
from .sub_entries import DataSubEntry, DataSubEntryImage

__all__ = [
    "DataEntry",
    "DataEntryImage",
    "DataSubEntry",
    "DataSubEntryImage",
    "HyperDataset",
    "HyperDatasetManagement",
]
