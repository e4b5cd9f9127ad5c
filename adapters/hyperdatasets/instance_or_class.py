"""Methods that work on the class and, without selectors, on an instance."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Generic, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class instance_or_class(Generic[Function]):  # noqa: N801 - a decorator, named like `classmethod`
    """Like `classmethod`, but called on an instance the function gets that instance, else the class."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object | None, owner: type) -> Any:
        target = owner if instance is None else instance
        function = self._function

        @wraps(function)
        def bound(*args: Any, **kwargs: Any) -> Any:
            return function(target, *args, **kwargs)

        return bound
