"""LabelMe: one JSON file for each image."""

from ..format import Format
from .reader import read, sniff
from .writer import write

FORMAT = Format("labelme", "LabelMe", sniff, read, write)
