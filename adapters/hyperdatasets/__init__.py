"""The hyper-datasets API: `Dataset`, `DatasetVersion`, `BulkContext`, `Statistics`."""
