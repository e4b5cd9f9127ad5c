"""The workers of a Dask cluster as an executor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ...engine.errors import FramelodeError, StorageError, UsageError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 10.0
PATIENCE_SECONDS = 30.0
"""Seconds to wait for a worker. A worker that was killed is replaced within a few seconds."""

_LOOK_SECONDS = 1.0

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class DaskExecutor(Executor):
    """The workers of a Dask client, as an executor for `Engine.rebuild`, `verify`, `scrub` and `catch_up`.

    The scheduler repeats tasks whose worker died. These methods also accept `Client.get_executor()`, and replace it by
    this class.

    Parameters
    ----------
    client : distributed.Client
        A connected client. It is not closed.
    patience : float
        Seconds to wait if there is no worker.
    resources : mapping of str to float, optional
        Resources that each task needs, such as ``{"GPU": 1}``. Workers declare theirs.

    Attributes
    ----------
    slots : int
        Number of tasks that run at the same time: the threads of all workers.
    """

    def __init__(
        self,
        client: Client,
        patience: float = PATIENCE_SECONDS,
        resources: Mapping[str, float] | None = None,
    ) -> None:
        # Its methods are typed for callers within an event loop, too.
        self._client: Any = client
        self._patience = patience
        self._resources = dict(resources) if resources else None
        self._alone_since: float | None = None
        self.slots = max(1, self._threads())

    def with_resources(self, resources: Mapping[str, float]) -> DaskExecutor:
        """Return an executor of the same client whose tasks need resources.

        Raises
        ------
        UsageError
            No worker declares as much. The tasks would wait forever.
        """
        held = [
            worker["resources"] for worker in self._client.scheduler_info(n_workers=-1)["workers"].values()
        ]
        if not any(all(each.get(name, 0) >= amount for name, amount in resources.items()) for each in held):
            wanted = " ".join(f"{name}={amount:g}" for name, amount in resources.items())
            raise UsageError(
                f"no worker of the Dask cluster declares {wanted}: start one with dask worker --resources '{wanted}'"
            )
        return DaskExecutor(self._client, self._patience, resources)

    def _threads(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except Exception as error:
            raise self._lost(error) from error

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Submit a call."""
        part: _Part[Result] = _Part(self)
        try:
            # Equal calls may have different results, because the log may have grown or been damaged in between.
            task = self._client.submit(
                _on_worker, _release(), fn, args, kwargs, pure=False, resources=self._resources
            )
        except Exception as error:
            raise self._lost(error) from error
        part.task = task
        task.add_done_callback(lambda task: self._hand_over(task, part))
        return part

    def _hand_over(self, task: Any, part: _Part[Any]) -> None:
        """Set the outcome of a task on a future that was not cancelled."""
        # The cluster keeps a result while this process holds its task.
        part.task = None
        if part.cancelled():
            return
        try:
            result = task.result()
        except (Exception, CancelledError) as error:  # noqa: BLE001 - whatever went wrong belongs to who waits
            with suppress(InvalidStateError):
                part.set_exception(self._translated(error))
        else:
            with suppress(InvalidStateError):
                part.set_result(result)

    def _translated(self, error: BaseException) -> BaseException:
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker

        if isinstance(error, KilledWorker):
            return StorageError(
                f"a task has ended every worker that tried it, the last on {error.last_worker.address}: check that the workers "
                "have enough memory"
            )
        if isinstance(error, ModuleNotFoundError):
            message = f"a Dask worker cannot do the work: {error}: install the same framelode on the workers"
            return UsageError(message)
        if isinstance(error, CancelledError | CommClosedError | TimeoutError):
            return self._lost(error)
        return error

    def _lost(self, error: BaseException) -> FramelodeError:
        address = getattr(self._client.scheduler, "address", "")
        return StorageError(
            f"the Dask scheduler {address} does not respond: {error}: call again when it is back"
        )

    def require_workers(self) -> None:
        """Raise `StorageError` if there was no worker for longer than `patience`."""
        now = time.monotonic()
        if self._threads():
            self._alone_since = None
            return
        self._alone_since = self._alone_since or now
        if now - self._alone_since > self._patience:
            address = getattr(self._client.scheduler, "address", "")
            raise StorageError(
                f"the Dask scheduler {address} has had no worker for {self._patience:.0f} s: start workers and call again"
            )


class _Part(Future[Result]):
    """The future of a task. While waiting for it, the workers are checked."""

    def __init__(self, cluster: DaskExecutor) -> None:
        super().__init__()
        self._cluster = cluster
        self.task: Any = None

    def cancel(self) -> bool:
        """Cancel the task, unless it is done."""
        cancelled, task = super().cancel(), self.task
        if cancelled and task is not None:
            task.cancel()
        return cancelled

    def result(self, timeout: float | None = None) -> Result:
        """Return the result."""
        if timeout is not None:
            return super().result(timeout)
        while True:
            try:
                return super().result(_LOOK_SECONDS)
            except TimeoutError:
                if self.done():
                    raise
                self._cluster.require_workers()


def _on_worker(release: str, work: Callable[..., Result], arguments: Any, named: Any) -> Result:
    if _release() != release:
        message = f"a Dask worker has framelode {_release()}, but this process has {release}: install the same release"
        raise UsageError(message)
    return work(*arguments, **named)


@cache
def _release() -> str:
    from importlib.metadata import version

    return version("framelode")


@contextmanager
def connected(address: str, patience: float = PATIENCE_SECONDS) -> Generator[DaskExecutor, None, None]:
    """Connect to a Dask scheduler for the duration of a block.

    Parameters
    ----------
    address : str
        Address of the scheduler, such as ``tcp://scheduler:8786``.
    patience : float
        Seconds to wait if it has no worker.

    Raises
    ------
    UsageError
        The extra `dask` is not installed, or the address is invalid.
    StorageError
        The scheduler cannot be reached.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("a Dask cluster needs the extra dask: pip install 'framelode[dask]'") from error
    _require_scheduler(address)
    with Client(address, timeout=CONNECT_SECONDS, set_as_default=False) as client:
        yield DaskExecutor(client, patience)


def _require_scheduler(address: str) -> None:
    """Check that a scheduler responds, because a client that fails to connect does not shut down properly."""
    with ThreadPoolExecutor(1) as pool:
        # In its own thread, because the caller may run in an event loop.
        asked = pool.submit(lambda: asyncio.run(asyncio.wait_for(_identity(address), CONNECT_SECONDS)))
        try:
            found = asked.result()
        except ValueError as error:
            message = f"{address!r} is not the address of a Dask scheduler, such as tcp://scheduler:8786"
            raise UsageError(message) from error
        except Exception as error:
            reason = str(error) or f"no answer within {CONNECT_SECONDS:.0f} s"
            raise StorageError(f"the Dask scheduler {address} cannot be reached: {reason}") from error
    if found.get("type") != "Scheduler":
        raise UsageError(f"{address} is not a Dask scheduler but a {str(found.get('type')).lower()}")


async def _identity(address: str) -> dict[str, Any]:
    from distributed.core import rpc
    from distributed.security import Security

    connection = Security().get_connection_args("client")
    server: Any = rpc(address, timeout=CONNECT_SECONDS / 2, connection_args=connection)
    async with server:
        return await server.identity()
