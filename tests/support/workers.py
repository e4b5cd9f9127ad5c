"""What other processes do in tests: they import this module by name."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import framelode
from framelode import SingleFrame
from framelode.engine.errors import PublishedError
from framelode.engine.writes.encoder import FrameEncoder


def numbered(start, stop, by):
    """Return frames whose content tells who wrote them."""
    return [numbered_frame(number, by) for number in range(start, stop)]


def numbered_frame(number, by):
    return SingleFrame(id=f"{number:032x}", metadata={"by": by})


def add(folder, version_id, frames, batch_size=5, barrier=None, **arguments):
    """Add frames to a version; returns how many were added and updated, None if the version was published."""
    engine = framelode.connect(folder)
    try:
        if barrier is not None:
            barrier.wait()
        encoder = FrameEncoder(engine.session.new_id)
        report = engine.session.writes.frames.add(
            version_id, frames, encoder, batch_size=batch_size, **arguments
        )
        return report.added, report.updated
    except PublishedError:
        return None
    finally:
        engine.close()


def add_and_put(queue, folder, version_id, start, stop, by, **arguments):
    """Do `add` with numbered frames in a process of its own."""
    queue.put(add(folder, version_id, numbered(start, stop, by), **arguments))


def add_until_published_and_put(queue, folder, version_id, start, by):
    """Do `add` in a process of its own with frames that have no end."""
    queue.put(add(folder, version_id, (numbered_frame(number, by) for number in itertools.count(start))))


def all_but_the_last(stop, by):
    """Yield numbered frames, and wait for a line on stdin before the last: whoever never sends it kills in time."""
    for frame in numbered(0, stop, by):
        if frame.id == f"{stop - 1:032x}":
            sys.stdin.readline()
        yield frame


def publish(folder, version_id, after):
    """Publish a version once it holds some frames."""
    engine = framelode.connect(folder)
    try:
        while engine.session.states.current(version_id).total < after:
            pass
        engine.session.writes.versions.publish_version(version_id)
        return engine.log.head().position
    finally:
        engine.close()


if __name__ == "__main__":
    path, draft, frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
    add(
        path,
        draft,
        all_but_the_last(frames, "all"),
        batch_size=1,
        command_id="killed",
        on_part=lambda report: print(report.added, flush=True),
    )


def upload(folder, root, destination, start):
    """Upload all files of a folder as frames of the dataset ``food``."""
    start.wait()
    with framelode.connect(folder):
        draft = framelode.DatasetVersion.get_current(dataset_name="food")
        frames = [SingleFrame(source=path) for path in sorted(Path(root).iterdir())]
        failures = draft.add_frames(frames, auto_upload_destination=destination, local_dataset_root_path=root)
        if failures:
            raise SystemExit(str(failures))
