"""What other processes do to execution stores: ``python store_worker.py COMMAND FOLDER``."""

from __future__ import annotations

import json
import sys

import framelode
from framelode.adapters.execution_store.store import ExecutionStore
from framelode.engine.stores import writer

BATCH_EVENTS = 1_000
MANY = {f"key {number}": number for number in range(2_500)}
LOCKS, COUNTED = 20, 20


def answer(folder):
    """Do what each line on stdin says, and print what came of it."""
    with framelode.connect(folder) as engine:
        store = ExecutionStore.create("shared")
        for line in sys.stdin:
            method, *arguments = json.loads(line)
            print(json.dumps(getattr(store, method)(*arguments)), flush=True)
    engine.close()


def set_many(folder):
    """Set many keys, and wait to be killed when two parts of three are recorded."""
    writer.BATCH_EVENTS = BATCH_EVENTS
    with framelode.connect(folder) as engine:
        append, recorded = engine.log.append, []

        def wait_for_the_end(asked):
            if len(recorded) == 2:
                print("two parts", flush=True)
                sys.stdin.read()
            recorded.append(append(asked))
            return recorded[-1]

        engine.log.append = wait_for_the_end
        ExecutionStore.create("shared").set_many(MANY, command_id="many")


def race(store):
    """Take what locks are left, and count; returns the locks that were taken."""
    taken = [lock for lock in range(LOCKS) if store.set_if_absent(f"lock {lock}", True)]
    for _ in range(COUNTED):
        while not store.compare_and_set("count", (held := store.get("count")), held + 1):
            pass
    return taken


def race_others(folder):
    """Say that this process is ready, and race when told to."""
    with framelode.connect(folder) as engine:
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(race(ExecutionStore.create("shared"))), flush=True)
    engine.close()


if __name__ == "__main__":
    {"answer": answer, "set_many": set_many, "race": race_others}[sys.argv[1]](sys.argv[2])
