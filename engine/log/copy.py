"""Copies a log into another one, append by append in stored form, with the same uuid, positions and digests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import repeat, takewhile

from ..errors import ConflictError, IntegrityError
from ..parallel import ahead
from .batch import AppendHeader, Batch, BatchHeader, Body, chain_digest, genesis_digest
from .contract import Head, Log, Restored

_GROUP_BYTES = 16 * 1024 * 1024
_GROUP_APPENDS = 4096

Progress = Callable[[int, int], None]
"""Called with the position reached and the last position."""


def copied_head(source: Log, target: Log, end: Head) -> Head:
    """Return the head up to which a target is a copy of the source.

    Parameters
    ----------
    end : Head
        The head of the source.

    Raises
    ------
    ConflictError
        The target holds anything else.
    """
    head = target.head()
    if head.position == 0:
        return Head(0, genesis_digest(source.uuid), 0)
    if target.uuid != source.uuid:
        raise ConflictError(
            f"{target.name} holds {head.position} events of log {target.uuid}, not of log {source.uuid} ({source.name}): "
            "copy into an empty engine, or into a copy of the same log"
        )
    if head.position > end.position:
        if end.position == 0 or target.batch_at(end.position).digest == end.digest:
            raise ConflictError(
                f"{target.name} goes on to position {head.position}, but {source.name} ends at {end.position}: "
                "copy the other way, or into an empty engine if the copy was written to by mistake"
            )
        raise _parted(source, target, head)
    there = source.batch_at(head.position)
    if (there.last_position, there.digest) != (head.position, head.digest):
        raise _parted(source, target, head)
    return head


def _parted(source: Log, target: Log, head: Head) -> ConflictError:
    return ConflictError(
        f"{target.name} is a copy of {source.name} that was written to: up to position {head.position} they "
        "have different events; copy into an empty engine"
    )


def copy_appends(source: Log, target: Log, start: Head, end: Head, progress: Progress | None = None) -> int:
    """Record the appends of `source` between two heads in `target`. Returns the number of batches.

    The digests of each batch are checked before it is recorded. The next group is read while one is recorded.

    Parameters
    ----------
    start, end : Head
        The head of the target, and the last event to copy. Both are ends of appends.
    progress : callable, optional
        Called with the position reached and the last position.

    Raises
    ------
    IntegrityError
        The source is damaged. Appends before the damage may have been recorded.
    ConflictError
        Another writer appended to the target.
    """
    batches = 0
    if end.position == start.position:
        return batches
    groups = _groups(proven_appends(source, start, end))
    with closing(ahead(lambda source: next(source, []), repeat(groups))) as coming:
        for group in takewhile(bool, coming):
            target.restore(source.uuid, start, group)
            last = group[-1].batches[-1][0]
            start = Head(last.last_position, last.digest, last.recorded_at)
            batches += sum(len(append.batches) for append in group)
            if progress:
                progress(start.position, end.position)
    return batches


def _groups(appends: Iterator[Restored]) -> Iterator[list[Restored]]:
    """Group appends that are recorded in one transaction."""
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
    """Yield the appends of a log between two heads, with every value checked against the digest chain.

    Raises
    ------
    IntegrityError
        A batch does not match its digests, or does not follow the previous one.
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
        return "the batch does not follow the previous one"
    if header.recorded_at < head.recorded_at:
        return "the time of the batch is earlier than that of the previous one"
    if append is None or not append_id == append.append_id == header.append_id:
        return f"append {append_id} is missing"
    if header.last_position > append.last_position or (begins and append.first_position != head.position + 1):
        return f"the batch is outside of append {append_id}"
    body = Body(header.first_position, batch.codec, batch.body)
    found = chain_digest(header, append), body.digest(), len(body)
    return None if found == (header.digest, header.body_digest, header.count) else "the batch was altered"


def _damaged(log: Log, what: str | None, position: int) -> IntegrityError:
    return IntegrityError(
        f"{log.name}: {what} (position {position}): run verify", position=position, file=log.name
    )
