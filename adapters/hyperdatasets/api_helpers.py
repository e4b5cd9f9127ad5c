"""Warnings that point at the line of whoever called this API."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

_HERE = str(Path(__file__).parent)


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the innermost line that is not of this package, however deep the API was called."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


Parameters = ParamSpec("Parameters")

Result = TypeVar("Result")


class instance_or_class(Generic[Parameters, Result]):  # noqa: N801 - a decorator, named like `classmethod`
    """Like `classmethod`, but called on an instance the function gets that instance, else the class."""

    def __init__(self, function: Callable[Concatenate[Any, Parameters], Result]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object | None, owner: type) -> Callable[Parameters, Result]:
        return MethodType(self._function, owner if instance is None else instance)
