"""Jobs: work in the background of which status, progress and log are recorded."""

from __future__ import annotations

import logging
import platform
import tempfile
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from typing import Any
from uuid import UUID

from filelock import FileLock, Timeout

from ...engine.datasets.aggregate import Aggregate
from ...engine.errors import InvalidTypeError
from ...engine.events.lakes import JobCreated, JobUpdated
from ...projections.columns import from_json
from .data import wait_until
from .enums import JobRunStatus, JobStatus
from .exceptions import FileNotFoundException, IllegalJobTransitionError, ResourceNotFoundError
from .recording import Lake, things

_TELL_SECONDS = 1.0
_RUN_STATUSES = {JobStatus.SUCCESS: JobRunStatus.SUCCEEDED, JobStatus.TERMINATED: JobRunStatus.KILLED}

logger = logging.getLogger("framelode.datalake")


class Job:
    """A job of a lake.

    Attributes
    ----------
    id : UUID
        Id of the job.
    name : str
        ``import``, or the name of the processing.
    status : JobRunStatus
        The status when it was last read; `sync` reads it again.
    done, total : int
        How far it is.
    error : str
        Why it failed; empty if it did not.
    log : list of str
        The lines of its log.
    result : dict
        What it found.
    """

    def __init__(self, lake: Lake, job_id: str) -> None:
        self.lake = lake
        self.id = UUID(job_id)
        self._buffer: list[str] | None = None
        self._buffer_length = 1
        self._take(self._row())

    def _row(self) -> Any:
        found = things(self.lake.session, "job", id=self.id.hex)
        if not found:
            raise ResourceNotFoundError(f"there is no job with the id {self.id}")
        return found[0]

    def _take(self, row: Any) -> None:
        self.name = str(row.name)
        self.status = JobRunStatus.validate(row.status)
        self.done, self.total, self.error = int(row.done), int(row.total), str(row.error)
        self.log: list[str] = from_json(row.log, list[str])
        self.result: dict[str, Any] = from_json(row.result, dict[str, Any])
        self._host = row.host

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Job({self.name!r}, {self.status.value}, {self.done} of {self.total})"

    def sync(self) -> dict[str, Any]:
        """Read the job again, and return its values. A job whose process has ended is failed."""
        self._take(self._row())
        if not self.status.is_final and self._is_dead():
            self._fail_dead()
        names = ("name", "done", "total", "error", "log", "result")
        return {
            "id": str(self.id),
            "status": self.status.value,
            **{name: getattr(self, name) for name in names},
        }

    def refresh(self, data: dict[str, Any]) -> None:  # noqa: ARG002 - the SDK's signature
        """Read the job again: what `sync` returned may be older."""
        self.sync()

    def _is_dead(self) -> bool:
        if self.lake.session.as_of is not None or self._host != platform.node():
            return False
        lock = lock_of("job", self.id.hex)
        if lock is not None:
            release(lock)
        return lock is not None

    def _fail_dead(self) -> None:
        reason = "the process that ran the job has ended"
        if self.lake.session.location.read_only:
            self.status, self.error = JobRunStatus.FAILED, reason
            return

        def decide(stream: Aggregate) -> None:
            self._take(self._row())
            if not self.status.is_final:
                self.trigger(stream, status=JobRunStatus.FAILED, error=reason)

        self.lake.record(decide)
        self._take(self._row())

    def trigger(self, stream: Aggregate, **values: Any) -> None:
        """Trigger an event of the job. Values that are not given stay as they are."""
        kept = {"status": self.status, "done": self.done, "total": self.total, "error": self.error}
        values = {**kept, **values}
        values["status"] = values["status"].value
        stream.trigger(JobUpdated, lake=self.lake.name, id=self.id.hex, name=self.name, **values)

    def update(self, **values: Any) -> None:
        """Record values of the job. Raises `IllegalJobTransitionError` for a status if it has ended."""

        def decide(stream: Aggregate) -> None:
            # Others may have changed it since it was read.
            self._take(self._row())
            if self.status.is_final and "status" in values:
                raise IllegalJobTransitionError(f"a job cannot go from {self.status} to {values['status']}")
            self.trigger(stream, **values)

        self.lake.record(decide)
        self._take(self._row())

    def kill(self) -> None:
        """End the job, from any process. It starts nothing new; what it is doing at the moment is completed.

        Raises
        ------
        IllegalJobTransitionError
            The job has ended.
        """
        self.sync()
        self.update(status=JobRunStatus.KILLED)

    def wait_for_done(self, blocking_time_increment: float = 1.0, attempts: int = 20) -> JobRunStatus:
        """Wait until the job has ended, and return its status, which may be ``FAILED``.

        Raises
        ------
        WaitingAttemptsTimeout
            It did not end within the attempts.
        """
        return self.wait_for_status(
            [JobRunStatus.SUCCEEDED, JobRunStatus.FAILED, JobRunStatus.KILLED],
            blocking_time_increment,
            attempts,
        )

    def wait_for_status(
        self,
        statuses: str | JobStatus | JobRunStatus | list[str | JobStatus | JobRunStatus],
        blocking_time_increment: float = 1.0,
        attempts: int = 20,
    ) -> JobRunStatus:
        """Wait until the job has one of some statuses, and return it.

        Raises
        ------
        WaitingAttemptsTimeout
            It did not within the attempts.
        TypeError
            There is no such status.
        """
        wanted = {_status(each) for each in (statuses if isinstance(statuses, list) else [statuses])}

        def is_done() -> bool:
            self.sync()
            return self.status in wanted

        wait_until(is_done, blocking_time_increment, attempts, f"job {self.name!r}")
        return self.status

    def update_job_run_with_status(self, status: str | JobRunStatus) -> None:
        """Set the status to ``RUNNING``, ``SUCCEEDED`` or ``FAILED``.

        Raises
        ------
        IllegalJobTransitionError
            The job has ended, or it is another status.
        """
        wanted = JobRunStatus.validate(status)
        self.sync()
        allowed = {JobRunStatus.RUNNING, JobRunStatus.SUCCEEDED, JobRunStatus.FAILED}
        if self.status.is_final or wanted not in allowed:
            raise IllegalJobTransitionError(f"a job cannot go from {self.status} to {wanted}")
        self.update(status=wanted)

    def send_logging(
        self,
        log: str | list[str],
        part: str,
        final: bool = False,  # noqa: ARG002 - the SDK's signature
        special: bool = False,  # noqa: ARG002
    ) -> None:
        """Add lines to the log, each after the name of its part."""
        lines = [log] if isinstance(log, str) else log
        self._log([f"{part}: {line}" for line in lines])

    def start_logging_chapter(self, name: str) -> None:
        """Add a heading to the log."""
        self._log([f"-- {name} --"])

    def start_logging_buffer(self, length: int = 1) -> None:
        """Keep lines until there are `length` of them, and record them together."""
        self._buffer, self._buffer_length = [], length

    def end_logging_buffer(self) -> None:
        """Record the lines that were kept."""
        kept, self._buffer = self._buffer, None
        self._log(kept or [])

    def _log(self, lines: list[str]) -> None:
        if self._buffer is not None:
            self._buffer += lines
            if len(self._buffer) < self._buffer_length:
                return
            lines, self._buffer = self._buffer, []
        if lines:
            self.update(log=lines)

    def store_logging_file(self, path: str) -> str:
        """Add the lines of a text file to the log, and return its name."""
        try:
            text = Path(path).read_text("utf-8", "replace")
        except OSError as error:
            raise FileNotFoundException(f"{path} cannot be read: {error}") from error
        self._log(text.splitlines())
        return Path(path).name


def _status(given: object) -> JobRunStatus:
    try:
        return JobRunStatus.validate(given)
    except InvalidTypeError:
        older = JobStatus.validate(given)
        return _RUN_STATUSES.get(older) or JobRunStatus.validate(older.value)


class JobProgress:
    """Records how far a job is, at most once a second.

    Parameters
    ----------
    job : Job
        The job.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._told = time.monotonic()
        self._lines: list[str] = []
        self._far = {"done": 0, "total": 0}

    def advance(self, done: int, total: int, lines: list[str] | None = None) -> None:
        """Take over how far the job is, and new lines of its log."""
        self._far = {"done": done, "total": total}
        self._lines += lines or []
        if time.monotonic() - self._told >= _TELL_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Record how far the job is. Raises `IllegalJobTransitionError` if it was ended, to stop the work."""
        self._job.update(status=JobRunStatus.RUNNING, log=self._lines, **self._far)
        self._lines, self._told = [], time.monotonic()

    def end(self, status: JobRunStatus, error: str, result: dict[str, Any]) -> None:
        """Record the end of the job. One that was ended before keeps its status."""
        far = {"log": self._lines, **self._far}
        try:
            self._job.update(status=status, error=error, result=result, **far)
        except IllegalJobTransitionError:
            self._job.update(**far)


Work = Callable[[JobProgress], tuple[str, dict[str, Any]]]
"""Returns why it failed, empty if it did not, and what it found."""


def start_job(lake: Lake, name: str, request: dict[str, Any], work: Work) -> Job:
    """Create a job, and run it in a thread.

    While it runs, the process holds a lock, which the system releases if the process is killed.
    """
    job_id = lake.session.writes.application.new_id()
    lock = lock_of("job", job_id)
    lake.record(
        lambda stream: stream.trigger(
            JobCreated, lake=lake.name, id=job_id, name=name, request=request, host=platform.node()
        )
    )
    job = Job(lake, job_id)

    def run() -> None:
        running = Job(lake, job_id)
        progress = JobProgress(running)
        try:
            running.update(status=JobRunStatus.RUNNING)
            error, result = work(progress)
            progress.end(JobRunStatus.FAILED if error else JobRunStatus.SUCCEEDED, error, result)
        except Exception as error:  # noqa: BLE001 - whatever went wrong is told by the job
            try:
                progress.end(JobRunStatus.FAILED, f"{type(error).__name__}: {error}", {})
            except Exception:
                logger.exception("the end of the job %s cannot be recorded", job_id)
        finally:
            if lock is not None:
                release(lock)

    context = copy_context()
    threading.Thread(target=lambda: context.run(run), name=f"framelode-job-{job_id[:8]}").start()
    return job


def lock_of(kind: str, thing_id: str) -> FileLock | None:
    """Return the lock of an upload or a job, or None if a process holds it."""
    lock = FileLock(Path(tempfile.gettempdir(), f"framelode-{kind}-{thing_id}.lock"), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def release(lock: FileLock) -> None:
    """Release a lock, and delete its file."""
    # Deleted first: a process that waits for it would otherwise hold a lock on a file that is gone.
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
