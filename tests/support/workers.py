"""What other processes do in tests: they import this module by name."""

from __future__ import annotations

import sys
import time

import framelode
from framelode import SingleFrame
from framelode.engine.encoding import FrameEncoder
from framelode.engine.errors import PublishedError


def numbered(start, stop, by):
    """Return frames whose content tells who wrote them."""
    return [SingleFrame(id=f"{number:032x}", metadata={"by": by}) for number in range(start, stop)]


def add(folder, version_id, start, stop, by, batch_size=5, barrier=None, **arguments):
    """Add numbered frames to a version; returns how many were added and updated."""
    engine = framelode.connect(folder)
    try:
        if barrier is not None:
            barrier.wait()
        encoder = FrameEncoder(engine.new_id)
        report = engine.writer.add(
            version_id, numbered(start, stop, by), encoder, batch_size=batch_size, **arguments
        )
        return report.added, report.updated
    except PublishedError:
        return None
    finally:
        engine.close()


def add_and_put(queue, *arguments, **named):
    """Do `add` in a process of its own."""
    queue.put(add(*arguments, **named))


def add_slowly_and_put(queue, *arguments, **named):
    """Do `add` in a process of its own, with a rest after each part in which others may write."""
    add_and_put(queue, *arguments, **named, on_part=lambda report: time.sleep(0.01))


def publish(folder, version_id, after):
    """Publish a version once it holds some frames."""
    engine = framelode.connect(folder)
    try:
        while engine.states.current(version_id).total < after:
            pass
        engine.commands.publish_version(version_id)
        return engine.log.head().position
    finally:
        engine.close()


if __name__ == "__main__":
    path, draft, frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
    add(
        path,
        draft,
        0,
        frames,
        "all",
        batch_size=1,
        command_id="killed",
        on_part=lambda report: print(report.added, flush=True),
    )
