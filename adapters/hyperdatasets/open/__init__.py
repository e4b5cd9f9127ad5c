"""The open hyper-datasets API of ClearML: `HyperDataset`, data entries and views, over the same versions, frames and log."""

from ..views.queries import HyperDatasetQuery
from .data_view import DataView
from .datasets import HyperDataset, HyperDatasetManagement
from .entries import DataEntry, DataEntryImage
from .sub_entries import DataSubEntry, DataSubEntryImage

__all__ = [
    "DataEntry",
    "DataEntryImage",
    "DataSubEntry",
    "DataSubEntryImage",
    "DataView",
    "HyperDataset",
    "HyperDatasetManagement",
    "HyperDatasetQuery",
]
