"""The names of the formats of framelode. Commands read them without loading a format."""

BUILT_IN = {
    "clearml": "JSON files of ClearML frames",
    "coco": "COCO JSON files",
    "csv": "CSV tables of images and annotations",
    "cvat": "CVAT XML files of images",
    "imagefolder": "a folder of images for each class",
    "labelme": "LabelMe JSON files",
    "masks": "masks in PNG files",
    "parquet": "Parquet tables of images and annotations",
    "voc": "Pascal VOC XML files",
    "webdataset": "WebDataset tar files",
    "yolo": "Ultralytics YOLO text files",
}
"""The formats of framelode, and what the command line calls them: modules of this package, each with an object `FORMAT`."""
