"""Masks beside images: files whose colours or numbers are classes."""

from ..format import Format
from .reader import read, sniff
from .writer import write

FORMAT = Format("masks", "masks beside images", sniff, read, write)
