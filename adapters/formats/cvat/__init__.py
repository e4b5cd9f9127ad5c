"""CVAT XML 1.1: a file for the images or the video of a task."""

from ..format import Format
from .reader import read, sniff
from .writer import write

FORMAT = Format("cvat", "CVAT XML", sniff, read, write)
