"""Warnings that point at the line of whoever called this API."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

_HERE = str(Path(__file__).parent)


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the innermost line that is not of this package, however deep the API was called."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
