"""Warnings that point at the caller's line, a decorator for methods of class and instance, and a common default."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

UPLOAD_RETRIES = 5
"""How often a failed upload is tried again by default."""

_HERE = str(Path(__file__).parent)


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn with the line of the innermost stack frame outside this package."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def warn_of_ignored(**given: object) -> None:
    """Warn about the arguments that have no effect here, unless they are None."""
    names = [name for name, value in given.items() if value is not None]
    if names:
        have = "has" if len(names) == 1 else "have"
        warn_caller(f"{' and '.join(names)} {have} no effect in framelode", UserWarning)


Parameters = ParamSpec("Parameters")

Result = TypeVar("Result")


class instance_or_class(Generic[Parameters, Result]):  # noqa: N801 - a decorator, named like `classmethod`
    """Like `classmethod`, but the function receives the instance if it is called on one."""

    def __init__(self, function: Callable[Concatenate[Any, Parameters], Result]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object | None, owner: type) -> Callable[Parameters, Result]:
        return MethodType(self._function, owner if instance is None else instance)
