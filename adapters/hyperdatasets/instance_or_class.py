"""Methods that work on the class and, without selectors, on an instance."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class instance_or_class(Generic[Parameters, Result]):  # noqa: N801 - a decorator, named like `classmethod`
    """Like `classmethod`, but called on an instance the function gets that instance, else the class."""

    def __init__(self, function: Callable[Concatenate[Any, Parameters], Result]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object | None, owner: type) -> Callable[Parameters, Result]:
        return MethodType(self._function, owner if instance is None else instance)
