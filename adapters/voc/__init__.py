"""Import of Pascal VOC folders."""

from .reader import Problem, VocFolder

__all__ = ["Problem", "VocFolder"]
