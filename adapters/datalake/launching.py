"""Runs processings on data: in worker processes, on a Dask cluster, or in a thread for an engine in memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

from ...engine.iterables import chunked
from ...engine.log.context import acting, current_context, decode_context
from ...engine.parallel import ordered_map
from ..executors.processes import Processes
from ..executors.resolve import wrap_executor
from ..session.session import Session
from .data import Data, MultiData
from .job import Job, JobProgress, start_job
from .metadata import check_custom
from .processing import Processing, function_of
from .reading import Wanted, find_rows
from .recording import Lake, LakeRow
from .tag import data_list

_DATA_OF_A_TASK = 50
_LINES = 20
"""Number of lines of the output of a command that are kept."""

_launching: WeakSet[Session] = WeakSet()
"""Sessions of this process that launch processings."""

Run = Callable[..., Any] | list[str]
Outcome = tuple[list[str], list[str]]
"""Lines of the log, and failures."""


def launch(
    lake: Lake,
    processing: Processing,
    data: list[Data] | MultiData,
    parameters: dict[str, Any],
    cpu: int | None,
    gpu: int | None,
    executor: Executor | None,
) -> Job:
    """Start the job of `Datalake.launch_processing`."""
    run = function_of(processing)
    ids = list(dict.fromkeys(str(each.id) for each in data_list(data)))
    defaults = processing.definition.get("default_parameters") or {}
    values = check_custom({**defaults, **parameters}, "parameters")
    resources = {"CPU": cpu, "GPU": gpu}
    needs = {name: float(amount) for name, amount in resources.items() if amount is not None}

    def work(progress: JobProgress) -> tuple[str, dict[str, Any]]:
        return _run_all(lake, run, ids, values, _executor(lake.session, executor, needs), progress)

    request = {"processing": processing.name, "data": len(ids), "parameters": values}
    return start_job(lake, processing.name, request, work)


@contextmanager
def _executor(
    session: Session, given: Executor | None, needs: dict[str, float]
) -> Generator[Executor, None, None]:
    """Yield where tasks run: an executor that was given, which stays open, or a new one."""
    wrapped = wrap_executor(given)
    if session.location.is_in_memory:
        with ThreadPoolExecutor(1, "framelode-processing") as pool:
            yield pool
    elif wrapped is None:
        with Processes() as pool:
            yield pool
    else:
        if needs and hasattr(wrapped, "with_resources"):
            wrapped = wrapped.with_resources(needs)  # pyright: ignore[reportAttributeAccessIssue]
        yield wrapped


def _run_all(
    lake: Lake,
    run: Run,
    ids: list[str],
    parameters: dict[str, Any],
    opened: Any,
    progress: JobProgress,
) -> tuple[str, dict[str, Any]]:
    context = current_context()
    _launching.add(lake.session)
    work = partial(_run_some, lake.session, lake.row, run, parameters, context.actor, context.encoded)
    failures: list[str] = []
    with opened as executor:
        slots = getattr(executor, "slots", 1)
        size = max(1, min(_DATA_OF_A_TASK, len(ids) // (4 * slots)))
        some = list(chunked(ids, size))
        done = 0
        for part, (lines, failed) in zip(
            some, ordered_map(executor, work, ((part,) for part in some)), strict=True
        ):
            done += len(part)
            failures += failed
            progress.advance(done, len(ids), [*lines, *failed])
    error = f"{len(failures):,} of {len(ids):,} data failed; the first: {failures[0]}" if failures else ""
    return error, {"data": len(ids), "failed": len(failures)}


def _run_some(
    session: Session,
    lake: LakeRow,
    run: Run,
    parameters: dict[str, Any],
    actor: str,
    context: str,
    ids: Iterable[str],
) -> Outcome:
    """Run a processing on some data, in a worker. A session of its own is closed, not that of a thread's process."""
    lines: list[str] = []
    failures: list[str] = []
    opened = Lake(session, lake)
    try:
        with acting(actor, **decode_context(context, 0)):
            for row in find_rows(opened, Wanted(ids=list(ids))):
                data = Data(opened, row)
                try:
                    lines += _run_one(run, data, parameters)
                except Exception as error:  # noqa: BLE001 - told by the job
                    failures.append(f"{data.filename}: {type(error).__name__}: {error}")
    finally:
        if session not in _launching:
            session.close()
    return lines, failures


def _run_one(run: Run, data: Data, parameters: dict[str, Any]) -> list[str]:
    if not isinstance(run, list):
        result = run(data, **parameters)
        return [] if result is None else [f"{data.filename}: {result}"]
    with _local_file(data) as path:
        values = {"path": path, "id": str(data.id), "filename": data.filename, **parameters}
        command = [part.format_map(values) for part in run]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 - the command that the user registered
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr.strip()[-1000:]}")
    return [f"{data.filename}: {line}" for line in done.stdout.splitlines()[:_LINES]]


@contextmanager
def _local_file(data: Data) -> Generator[str, None, None]:
    """Yield the path of a copy of a content under its own name."""
    with tempfile.TemporaryDirectory(prefix="framelode-") as folder:
        yield os.fspath(data.download(Path(folder)))
