"""Processes that write to one log at the same time, and what the log must then hold."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from itertools import count

from forked import FORKED
from patience import PATIENCE

import framelode
from framelode import SingleFrame
from framelode.engine.errors import PublishedError
from framelode.engine.keys import Operation, read_rows
from framelode.engine.log.batch import FRAMES_SCHEMA
from framelode.engine.writes.encoder import FrameEncoder

_started = None


@contextmanager
def rivals(number):
    """Give an executor of so many processes, whose first tasks begin together."""
    barrier = FORKED.Barrier(number, timeout=PATIENCE)
    with ProcessPoolExecutor(number, mp_context=FORKED, initializer=_begin, initargs=(barrier,)) as pool:
        yield pool


def _begin(barrier):
    global _started  # noqa: PLW0603 - of a process of its own
    _started = barrier


def frames_of(writer, start, stop):
    """Yield frames whose ids say their number, and whose content says who wrote them."""
    for number in range(start, stop) if stop is not None else count(start):
        yield SingleFrame(id=f"{number:032x}", metadata={"by": writer})


def write(url, version_id, writer, start, stop, batch_size):
    """Add frames, an append for each batch; returns how many events of each kind were acknowledged, and if all could be."""
    counts = {}

    def acknowledged(report):
        counts.update(added=report.added, updated=report.updated)

    with closing(_connected(url)) as engine:
        try:
            engine.session.writes.frames.add(
                version_id,
                frames_of(writer, start, stop),
                FrameEncoder(engine.session.new_id),
                batch_size=batch_size,
                append_batches=1,
                on_part=acknowledged,
            )
        except PublishedError:
            return counts, False
    return counts, True


def _connected(url):
    """Return an engine once every rival has one."""
    try:
        engine = framelode.connect(url)
    except BaseException:
        _started.abort()
        raise
    _started.wait()
    return engine


def events_of(engine):
    """Return the frame events of each version, as key numbers and operations, in the order of the log.

    No position and no stream version is missing, or there twice.
    """
    position, versions, events = 0, defaultdict(int), defaultdict(list)
    for header in engine.log.headers():
        assert header.first_position == position + 1
        position = header.last_position
        if header.stream_id in versions:
            assert header.first_version == versions[header.stream_id] + 1
        versions[header.stream_id] = header.last_version
        if header.schema == FRAMES_SCHEMA:
            keys = engine.log.rows_at([header.first_position])[header.first_position]
            rows = read_rows(keys)
            assert len(rows) == header.count
            events[header.stream_id] += zip(
                rows["lo"].tolist(), map(Operation, rows["op"].tolist()), strict=True
            )
    assert position == engine.log.head().position
    return events
