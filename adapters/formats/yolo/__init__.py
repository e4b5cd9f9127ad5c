"""YOLO, versions 5 to 12: a text file for each image, with coordinates relative to its size."""

from ..format import Format
from .reader import read, sniff
from .writer import write

FORMAT = Format("yolo", "YOLO", sniff, read, write)
