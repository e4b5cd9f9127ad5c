"""Parts of work that do odd things, imported by worker processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def double(number):
    return 2 * number


def pid_of(_):
    return os.getpid()


def end(number):
    os.kill(os.getpid(), signal.SIGKILL)


def end_once(marks, number):
    """Kill the process at the first try of one number; return the number afterwards."""
    mark = Path(marks, "tried")
    if number == 13 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(number):
    raise ValueError(f"refused {number}")


def wait_until_dropped(mark):
    """Leave a mark, and go on when somebody has removed it."""
    Path(mark).touch()
    while Path(mark).exists():
        time.sleep(0.01)


def wait_for_ever(mark):
    Path(mark).write_text(str(os.getpid()))
    time.sleep(3600)


def position_of(open_log):
    with open_log() as log:
        return log.head().position


def attach_all():
    """Attach the toy API, and cut columns of queries into short stretches."""
    import toy_api

    from framelode.projections.queries.stored import FrameColumns

    toy_api.attach()
    FrameColumns.stretch_bits = 4
