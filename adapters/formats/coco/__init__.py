"""COCO: JSON files with images, annotations and categories."""

from ..format import Format
from .reader import read, sniff
from .writer import write

FORMAT = Format("coco", "COCO", sniff, read, write)
