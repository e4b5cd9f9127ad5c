"""Selects the executor for long work."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from ...engine.errors import UsageError


def wrap_executor(executor: Executor | None) -> Executor | None:
    """Return the executor to use. `Client.get_executor()` of Dask is replaced by `DaskExecutor` with the same client.

    Dask's own executor waits forever if no worker is left, and treats equal calls as the same call.
    """
    if executor is None or not type(executor).__module__.startswith("distributed."):
        return executor
    from .dask import DaskExecutor

    client: Any = getattr(executor, "_client", None)
    if client is None:
        raise UsageError(f"{executor!r} has no Dask client: pass client.get_executor()")
    return DaskExecutor(client)


@contextmanager
def executor_of(on: str | None, workers: int | None) -> Generator[Executor | None, None, None]:
    """Yield the executor for command line options: a Dask scheduler, a number of processes, or None."""
    if on is not None and workers is not None:
        raise UsageError("--on and --workers exclude each other: a cluster has its own workers")
    if on is not None:
        from .dask import connected

        with connected(on) as cluster:
            yield cluster
    elif workers is not None:
        from .processes import Processes

        with Processes(workers) as processes:
            yield processes
    else:
        yield None
