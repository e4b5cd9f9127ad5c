"""Pascal VOC: one XML file for each image."""

from ..format import Format
from .reader import read, sniff
from .writer import write

FORMAT = Format("voc", "Pascal VOC", sniff, read, write)
