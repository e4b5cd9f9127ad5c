"""An import in a process of its own, which is killed."""

from __future__ import annotations

import os
import signal

import framelode
from framelode import DatasetVersion
from framelode.adapters.hyperdatasets.exchange import importing
from framelode.adapters.sql.log.log import SqlLog
from framelode.engine.log.batch import FRAMES_SCHEMA

AT_ONCE, BATCHES = 8, 2


def import_and_die(engine, name, path):
    """Import a data set, and end as by SIGKILL after some batches are recorded."""
    importing._BATCH = AT_ONCE
    append, seen = SqlLog.append, []

    def append_and_die(self, request, *rest, **named):
        header = append(self, request, *rest, **named)
        seen.extend(batch for batch in request.batches if batch.schema == FRAMES_SCHEMA)
        if len(seen) == BATCHES:
            os.kill(os.getpid(), signal.SIGKILL)
        return header

    SqlLog.append = append_and_die
    with framelode.connect(engine):
        DatasetVersion.import_from(name, path, "there")
