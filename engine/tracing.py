"""Spans of OpenTelemetry around the work of an engine, in processes that use OpenTelemetry.

OpenTelemetry is never imported. A process whose spans are recorded anywhere has imported its API, and that module is then
found in `sys.modules`. In all other processes, a span costs one look into that dictionary. Attributes follow the semantic
conventions for databases; those that have no convention begin with ``framelode.``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

VERSION_ID = "framelode.version.id"
POSITION = "framelode.log.position"
RETURNED_ROWS = "db.response.returned_rows"

_API = "opentelemetry.trace"
_SCOPE = "framelode"
_NO_ATTRIBUTES: Mapping[str, Any] = {}

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_Item = TypeVar("_Item")


class Named(Protocol):
    """A log or a session, whose name is the URL of the engine without a password."""

    @property
    def name(self) -> str:
        """Name in messages."""
        ...


_Owner = TypeVar("_Owner", bound=Named)


class Span:
    """What a block tells of its work. This one is not recorded anywhere."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set(self, values: Mapping[str, Any]) -> None:
        """Set attributes, when the work is done."""


class _RecordedSpan(Span):
    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, values: Mapping[str, Any]) -> None:
        self._span.set_attributes(values)


_NOT_RECORDED = Span()


def span(
    operation: str, engine: Named | None, attributes: Mapping[str, Any] = _NO_ATTRIBUTES
) -> AbstractContextManager[Span]:
    """Return the context of a span, the parent of the spans that begin in it.

    Parameters
    ----------
    operation : str
        The operation, which names the span.
    engine : Named or None
        The log or session that it works on; None if an outer span names it.
    attributes : mapping
        Attributes that are known at the beginning.
    """
    trace = _api()
    return _NOT_RECORDED if trace is None else _recorded(trace, operation, engine, attributes)


def traced(
    operation: str,
) -> Callable[
    [Callable[Concatenate[_Owner, _Parameters], _Result]], Callable[Concatenate[_Owner, _Parameters], _Result]
]:
    """Return a decorator that puts a span around each call of a function whose first argument is a log or a session."""

    def decorate(
        function: Callable[Concatenate[_Owner, _Parameters], _Result],
    ) -> Callable[Concatenate[_Owner, _Parameters], _Result]:
        @wraps(function)
        def call(engine: _Owner, /, *arguments: _Parameters.args, **options: _Parameters.kwargs) -> _Result:
            with span(operation, engine):
                return function(engine, *arguments, **options)

        return call

    return decorate


def traced_rows(
    operation: str, engine: Named, attributes: Mapping[str, Any], rows: Generator[_Item, None, None]
) -> Generator[_Item, None, None]:
    """Return an iterator over rows with a span from the first to the last of them.

    It is not the parent of what the caller does between two rows.
    """
    trace = _api()
    return rows if trace is None else _counted(trace, operation, engine, attributes, rows)


def _api() -> Any:
    """Return the module of the API, or None if nothing in the process records spans."""
    trace: Any = sys.modules.get(_API)
    # Another thread may be importing it; this is the last name that it defines and that is used here.
    if trace is None or not hasattr(trace, "use_span"):
        return None
    # Other libraries import the API, too. Without a provider, a span would only cost time.
    return None if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider) else trace


def _begin(trace: Any, operation: str, engine: Named | None, attributes: Mapping[str, Any]) -> Any:
    from .. import __version__

    known: dict[str, Any] = {"db.system.name": _SCOPE, "db.operation.name": operation, **attributes}
    if engine is not None:
        known["db.namespace"] = engine.name
    return trace.get_tracer(_SCOPE, __version__).start_span(operation, attributes=known)


@contextmanager
def _recorded(
    trace: Any, operation: str, engine: Named | None, attributes: Mapping[str, Any]
) -> Generator[Span, None, None]:
    begun = _begin(trace, operation, engine, attributes)
    with trace.use_span(begun, end_on_exit=True):
        try:
            yield _RecordedSpan(begun)
        except BaseException as error:
            begun.set_attribute("error.type", _type_of(error))
            raise


def _counted(
    trace: Any,
    operation: str,
    engine: Named,
    attributes: Mapping[str, Any],
    rows: Generator[_Item, None, None],
) -> Generator[_Item, None, None]:
    begun = _begin(trace, operation, engine, attributes)
    number = 0
    try:
        for row in rows:
            number += 1
            yield row
    except Exception as error:
        begun.record_exception(error)
        begun.set_status(trace.StatusCode.ERROR, f"{type(error).__name__}: {error}")
        begun.set_attribute("error.type", _type_of(error))
        raise
    finally:
        begun.set_attribute(RETURNED_ROWS, number)
        begun.end()


def _type_of(error: BaseException) -> str:
    """Return the code of an error of framelode, or the name of its class."""
    return getattr(error, "code", None) or type(error).__qualname__
