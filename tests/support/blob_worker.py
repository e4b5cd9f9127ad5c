"""Stores a folder's files from a process of its own: `python blob_worker.py BLOBS FOLDER [STEP THAT KILLS IT]`.

The step is its kind and its number: `move:3` stands for the third file that is to be moved.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path

from framelode.engine.blobs import ingest as blob_intake
from framelode.engine.blobs.local import LocalBackend
from framelode.engine.blobs.store import BlobStore


class Deadly(LocalBackend):
    """A folder that kills the process instead of the n-th step of a kind."""

    def __init__(self, folder, step):
        super().__init__(folder)
        self._kind, _, number = step.partition(":")
        self._steps, self._deadly_step = itertools.count(1), int(number)

    def _step(self, kind):
        if kind == self._kind and next(self._steps) == self._deadly_step:
            os.kill(os.getpid(), signal.SIGKILL)

    def create(self):
        self._step("create")
        return super().create()

    def write(self, data):
        self._step("write")
        return super().write(data)

    def sync_written(self, temporaries, since):
        self._step("sync_written")
        super().sync_written(temporaries, since)

    def move(self, temporary, digest):
        self._step("move")
        super().move(temporary, digest)

    def sync_moved(self, digests, since):
        self._step("sync_moved")
        super().sync_moved(digests, since)


if __name__ == "__main__":
    blob_intake.BATCH_FILES = 200
    store = BlobStore(Deadly(Path(sys.argv[1]), sys.argv[3]) if sys.argv[3:] else sys.argv[1])
    report = store.put_files(sorted(Path(sys.argv[2]).iterdir()))
    print(len(report.stored), len(report.failures))
