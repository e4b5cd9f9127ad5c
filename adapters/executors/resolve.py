"""Which executor does the work: the one given, told apart from Dask's own; or the one that options name."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from ...engine.errors import UsageError


def wrap_executor(executor: Executor | None) -> Executor | None:
    """Return what does the work: for `Client.get_executor` of Dask one of ours with the same client.

    Dask's own waits for ever when no worker is left, and takes equal calls for the same.
    """
    if executor is None or not type(executor).__module__.startswith("distributed."):
        return executor
    from .dask import DaskExecutor

    client: Any = getattr(executor, "_client", None)
    if client is None:
        raise UsageError(f"{executor!r} has no Dask client: give client.get_executor()")
    return DaskExecutor(client)


@contextmanager
def executor_of(on: str | None, workers: int | None) -> Generator[Executor | None, None, None]:
    """Give the executor that options name: a Dask scheduler, or a number of processes; None for neither."""
    if on is not None and workers is not None:
        raise UsageError("--on and --workers exclude each other: the cluster has workers of its own")
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
