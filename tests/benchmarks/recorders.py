"""Reads of the recorders beside those of eventsourcing.sqlite: `python tests/benchmarks/recorders.py [EVENTS]`.

Every event is a record batch of its own, as applications write them. Prints the processor time of both in one run, and the
ratio; the aim is three times theirs at most.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID

from eventsourcing.persistence import InfrastructureFactory, StoredEvent
from eventsourcing.utils import Environment

PAGE = 1000
ROUNDS = 7
STREAM = UUID(int=1)


def recorders(folder):
    environments = {
        "framelode": {
            "PERSISTENCE_MODULE": "framelode.adapters.sql.recorder",
            "FRAMELODE_LOG": f"sqlite:///{folder}/log.db",
        },
        "eventsourcing": {
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": f"{folder}/theirs.db",
        },
    }
    for name, env in environments.items():
        factory = InfrastructureFactory.construct(Environment("Bank", env))
        yield name, factory, factory.application_recorder()


def fill(recorder, events):
    """Record one long stream and many short ones, alternately, so that each event is a batch."""
    state = b'{"amount":{"_type_":"decimal","_data_":"12.50"},"timestamp":"2026-03-01T12:00:00"}'
    stored = []
    for number in range(events // 2):
        topic = "bank:Account.Closed" if number % 500 == 499 else "bank:Account.Opened"
        stored.append(StoredEvent(UUID(int=number + 2), 1, topic, state))
        stored.append(StoredEvent(STREAM, number + 1, "bank:Account.Credited", state))
    recorder.insert_events(stored)


def read_all(recorder):
    start = None
    while found := recorder.select_notifications(start, PAGE, inclusive_of_start=False):
        start = found[-1].id


READS = {
    "all notifications, by pages of 1,000": read_all,
    "last event of a long stream": lambda recorder: recorder.select_events(STREAM, desc=True, limit=1),
    "one stream, from the middle": lambda recorder: recorder.select_events(STREAM, gt=2000, limit=100),
    "notifications by topic": lambda recorder: recorder.select_notifications(
        1, 10, topics=["bank:Account.Closed"]
    ),
    "ten notifications": lambda recorder: recorder.select_notifications(3000, 10),
}


def measure(read, recorder):
    seconds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        read(recorder)
        seconds.append(time.process_time() - began)
    return min(seconds)


def main(events):
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        both = list(recorders(folder))
        for _, _, recorder in both:
            fill(recorder, events)
        print(f"{events:,} events, each a batch of its own; milliseconds")
        for what, read in READS.items():
            ours, theirs = (measure(read, recorder) * 1000 for _, _, recorder in both)
            rate = f"  {events / ours * 1000:,.0f}/s beside {events / theirs * 1000:,.0f}/s"
            ending = rate if read is read_all else ""
            print(f"{what:<40} {ours:>9.3f} {theirs:>9.3f}  ratio {ours / theirs:>5.2f}{ending}", flush=True)
        for _, factory, _ in both:
            factory.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
