"""Writes pins in a process of its own, and may stop for ever at a place: `python pin_writer.py FOLDER URL STOP NAME...`"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from framelode.adapters.pinned_datasets import recording
from framelode.adapters.pinned_datasets.datasets import Datasets
from framelode.engine.storage import atomic_files as files


def stop_at(place):
    """Say that the place is reached, and wait to be killed there."""
    if place == "before the rename":
        files.os.fsync = _after(os.fsync)
    elif place == "between the files":
        _patch(Path, "replace", after=True)
    elif place == "before the event":
        _patch(recording, "record_pins", after=False)
    elif place == "after the event":
        _patch(recording, "record_pins", after=True)


def _after(call):
    def called(*arguments):
        call(*arguments)
        _wait()

    return called


def _patch(owner, name, *, after):
    original = getattr(owner, name)

    def patched(*arguments, **values):
        result = original(*arguments, **values) if after else None
        _wait()
        return result

    setattr(owner, name, patched)


def _wait():
    print("reached", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    folder, url, place, *names = sys.argv[1:]
    with Datasets(folder) as datasets:
        datasets.engine.session.writes.application  # noqa: B018 - opened before the place is watched
        datasets._ledger()
        stop_at(place)
        for name in names:
            if name.startswith("~"):
                datasets.update(name[1:])
            else:
                datasets.add(name, url, "url")
    print("done", flush=True)
