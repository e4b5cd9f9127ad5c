"""Copies an engine in another process, which is killed in the middle."""

from __future__ import annotations

import os
import signal
from contextlib import closing

import framelode
from framelode.adapters.sql.database import Database
from framelode.adapters.sql.log import writes
from framelode.engine.blobs.local import LocalBackend
from framelode.engine.log import copy as log_copy


class Steps:
    """Counts the steps of a copy that write, and kills the process at one of them."""

    def __init__(self, kill_at=None):
        self.done = 0
        self._kill_at = kill_at
        self._count_around(Database, "_commit")
        self._count_around(LocalBackend, "move")
        for statement in (writes._insert_append, writes._insert_header, writes._insert_body):
            statement.execute_many = self._in_halves(statement.execute_many)

    def _in_halves(self, insert):
        def execute_many(connection, rows):
            rows = list(rows)
            half = len(rows) // 2
            for part in (rows[:half], rows[half:]):
                self.step()
                insert(connection, part)

        return execute_many

    def _count_around(self, owner, name):
        for kind in (owner, *owner.__subclasses__()):
            work = kind.__dict__.get(name)
            if work is not None:
                setattr(kind, name, self._counted(work))

    def _counted(self, work):
        def counted(*arguments):
            self.step()
            result = work(*arguments)
            self.step()
            return result

        return counted

    def step(self):
        if self.done == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.done += 1


def copy_apart(source, target, blobs, kill_at=None):
    """Copy in another process, killed at a step that writes; returns how many steps there were."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            log_copy._GROUP_APPENDS = 3
            with (
                closing(framelode.connect(source)) as engine,
                closing(framelode.connect(target, blobs=blobs)) as made,
            ):
                steps = Steps(kill_at)
                engine.copy_to(made)
                os.write(writing, str(steps.done).encode())
        finally:
            os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    counted = os.read(reading, 20)
    os.close(reading)
    if kill_at is not None:
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
    return int(counted or 0)
