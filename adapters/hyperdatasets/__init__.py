"""The hyper-datasets API: `Dataset`, `DatasetVersion`, `BulkContext`, `Statistics`."""

from .bulk import BulkContext
from .dataset import Dataset
from .statistics import Statistics
from .version import DatasetVersion

__all__ = ["BulkContext", "Dataset", "DatasetVersion", "Statistics"]
