"""Reads of the recorders beside those of eventsourcing: `python tests/benchmarks/recorders.py`.

Every event is a record batch of its own, as applications write them. Both are measured in one run, on SQLite by their
processor time and on PostgreSQL by the clock, which needs the library psycopg_pool; the aim is three times theirs at most.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from eventsourcing.persistence import InfrastructureFactory, StoredEvent
from eventsourcing.utils import Environment

sys.path.append(str(Path(__file__).parents[1] / "support"))
import postgres_server

EVENTS = 10_000
PAGE = 1000
ROUNDS, SECONDS = 7, 1
STREAM = UUID(int=1)
OURS = {"PERSISTENCE_MODULE": "framelode.adapters.sql.recorder"}


@contextmanager
def on_sqlite():
    """Give the environments of both, on SQLite."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        yield (
            OURS | {"FRAMELODE_LOG": f"sqlite:///{folder}/log.db"},
            {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": f"{folder}/theirs.db"},
        )


@contextmanager
def on_postgresql():
    """Give the environments of both, on a PostgreSQL server of their own."""
    with postgres_server.own_server(tcp=True) as server:
        place = urlsplit(server.url)
        yield (
            OURS | {"FRAMELODE_LOG": server.url},
            {
                "PERSISTENCE_MODULE": "eventsourcing.postgres",
                "POSTGRES_DBNAME": "postgres",
                "POSTGRES_HOST": place.hostname,
                "POSTGRES_PORT": str(place.port),
                "POSTGRES_USER": "postgres",
                "POSTGRES_PASSWORD": "",
            },
        )


def fill(recorder):
    """Record one long stream and many short ones, alternately, so that each event is a batch."""
    state = b'{"amount":{"_type_":"decimal","_data_":"12.50"},"timestamp":"2026-03-01T12:00:00"}'
    stored = []
    for number in range(EVENTS // 2):
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


def measure(read, recorder, clock):
    """Return the seconds of the fastest of many reads."""
    seconds = []
    while len(seconds) < ROUNDS or sum(seconds) < SECONDS:
        began = clock()
        read(recorder)
        seconds.append(clock() - began)
    return min(seconds)


def compare(environments, clock, *, analyzed):
    """Print what each read takes ours and theirs."""
    ours, theirs = (InfrastructureFactory.construct(Environment("Bank", env)) for env in environments)
    with closing(ours), closing(theirs):
        recorders = ours.application_recorder(), theirs.application_recorder()
        for recorder in recorders:
            fill(recorder)
        if analyzed:
            # As a server does by itself, within a minute.
            with ours.log.database.write() as connection:
                connection.exec_driver_sql("ANALYZE")
        for what, read in READS.items():
            mine, other = (measure(read, recorder, clock) * 1000 for recorder in recorders)
            rate = f"  {EVENTS / mine * 1000:,.0f}/s beside {EVENTS / other * 1000:,.0f}/s"
            ending = rate if read is read_all else ""
            print(f"{what:<40} {mine:>9.3f} {other:>9.3f}  ratio {mine / other:>5.2f}{ending}", flush=True)


def main():
    print(f"{EVENTS:,} events, each a batch of its own; milliseconds")
    print("SQLite")
    with on_sqlite() as both:
        compare(both, time.process_time, analyzed=False)
    print("PostgreSQL")
    with on_postgresql() as both:
        compare(both, time.perf_counter, analyzed=True)


if __name__ == "__main__":
    main()
