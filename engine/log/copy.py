"""Copies a log into another one, append by append in stored form, with the same uuid, positions and digests."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager

from ..errors import ConflictError, IntegrityError
from ..parallel import ThreadWorkers
from .batch import AppendHeader, Batch, BatchHeader, Body, chain_digest, genesis_digest
from .contract import Head, Log, Restored

_GROUP_BYTES = 16 * 1024 * 1024
_GROUP_APPENDS = 4096

Progress = Callable[[int, int], None]
"""Called with what is done and how much there is."""


def copied_head(source: Log, target: Log, end: Head) -> Head:
    """Return how far a target has come: the head up to which it holds what the source holds.

    Parameters
    ----------
    end : Head
        The head of the source.

    Raises
    ------
    ConflictError
        It holds anything else.
    """
    head = target.head()
    if head.position == 0:
        return Head(0, genesis_digest(source.uuid), 0)
    if target.uuid != source.uuid:
        raise ConflictError(
            f"{target.name} holds {head.position} events of log {target.uuid}, not of log {source.uuid} ({source.name}): "
            "a log is copied into an engine that holds nothing, or a copy of it"
        )
    if head.position > end.position:
        if end.position == 0 or target.batch_at(end.position).digest == end.digest:
            raise ConflictError(
                f"{target.name} goes on to position {head.position}, and {source.name} ends at {end.position}: nothing is copied "
                "from a log that is behind; copy the other way, or into an empty engine if the copy was written to by mistake"
            )
        raise _parted(source, target, head)
    there = source.batch_at(head.position)
    if (there.last_position, there.digest) != (head.position, head.digest):
        raise _parted(source, target, head)
    return head


def _parted(source: Log, target: Log, head: Head) -> ConflictError:
    return ConflictError(
        f"{target.name} is a copy of {source.name} that others have written to: up to position {head.position} they "
        "have different events; copy into an empty engine"
    )


def copy_appends(source: Log, target: Log, start: Head, end: Head, progress: Progress | None = None) -> int:
    """Record in `target` what `source` has between two heads; returns the number of batches.

    Every batch comes to its digests before it is recorded. While one group of appends is recorded, the next is read.

    Parameters
    ----------
    start, end : Head
        Where the target stands, and the last event to copy: the ends of appends.
    progress : callable, optional
        Called with the position reached and the position to reach.

    Raises
    ------
    IntegrityError
        The source is damaged; what comes before the damage may be recorded.
    ConflictError
        Somebody else wrote to the target.
    """
    batches = 0
    if end.position == start.position:
        return batches
    groups = _groups(proven_appends(source, start, end))
    with _one_ahead(groups) as coming:
        for group in coming:
            target.restore(source.uuid, start, group)
            last = group[-1].batches[-1][0]
            start = Head(last.last_position, last.digest, last.recorded_at)
            batches += sum(len(append.batches) for append in group)
            if progress:
                progress(start.position, end.position)
    return batches


@contextmanager
def _one_ahead(groups: Iterator[list[Restored]]) -> Generator[Iterator[list[Restored]], None, None]:
    """Give the groups, the next of which is made in a thread of its own."""

    def ahead() -> Iterator[list[Restored]]:
        coming = workers.begin(lambda: next(groups, None))
        while (group := coming.result()) is not None:
            coming = workers.begin(lambda: next(groups, None))
            yield group

    with closing(ThreadWorkers(1, "framelode-copy")) as workers:
        yield ahead()


def _groups(appends: Iterator[Restored]) -> Iterator[list[Restored]]:
    """Put appends together that are recorded in one transaction."""
    group: list[Restored] = []
    size = 0
    for append in appends:
        group.append(append)
        size += sum(len(batch.body) + len(batch.keys) for _, batch in append.batches)
        if size >= _GROUP_BYTES or len(group) >= _GROUP_APPENDS:
            yield group
            group, size = [], 0
    if group:
        yield group


def proven_appends(log: Log, start: Head, end: Head) -> Iterator[Restored]:
    """Yield what a log holds between two heads, every value of it proven by the chain of digests.

    Raises
    ------
    IntegrityError
        A batch does not come to its digests, or does not follow the one before.
    """
    before = log.batch_at(start.position).append_id if start.position else 0
    appends = log.appends(gt=before)
    head, waiting = start, list[tuple[BatchHeader, Batch]]()
    append: AppendHeader | None = None
    for header, batch in log.stored_batches(gt=start.position, lte=end.position):
        if append is None:
            append, before = next(appends, None), before + 1
        reason = _flaw(header, batch, append, head, before, begins=not waiting)
        if append is None or reason:
            raise _damaged(log, reason, header.first_position)
        head = Head(header.last_position, header.digest, header.recorded_at)
        waiting.append((header, batch))
        if head.position == append.last_position:
            yield Restored(append, waiting)
            append, waiting = None, []
    if append is not None or head != end:
        raise _damaged(log, "the batches end", head.position)


def _flaw(
    header: BatchHeader,
    batch: Batch,
    append: AppendHeader | None,
    head: Head,
    append_id: int,
    *,
    begins: bool,
) -> str | None:
    """Return what is wrong with a batch, which `begins` its append or not; None when all is well."""
    if (header.first_position, header.previous_digest) != (head.position + 1, head.digest):
        return "the batch does not follow the one before"
    if header.recorded_at < head.recorded_at:
        return "the batch has a time before that of the one before"
    if append is None or not append_id == append.append_id == header.append_id:
        return f"append {append_id} is missing"
    if header.last_position > append.last_position or (begins and append.first_position != head.position + 1):
        return f"the batch lies outside append {append_id}"
    body = Body(header.first_position, batch.codec, batch.body)
    found = chain_digest(header, append), body.digest(), len(body)
    return None if found == (header.digest, header.body_digest, header.count) else "the batch was altered"


def _damaged(log: Log, what: str | None, position: int) -> IntegrityError:
    return IntegrityError(
        f"{log.name}: {what} (position {position}): run verify", position=position, file=log.name
    )
