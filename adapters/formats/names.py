"""The names of the formats of framelode, which commands have without loading anything else."""

BUILT_IN = (
    "clearml",
    "coco",
    "csv",
    "cvat",
    "imagefolder",
    "labelme",
    "masks",
    "parquet",
    "voc",
    "webdataset",
    "yolo",
)
"""The formats of framelode: modules of this package, each with an object `FORMAT`."""
