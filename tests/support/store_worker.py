"""What other processes do to execution stores: ``python store_worker.py COMMAND FOLDER``."""

from __future__ import annotations

import json
import sys

import framelode
from framelode.adapters.execution_store.store import ExecutionStore

MANY = {f"key {number}": number for number in range(25_000)}


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


if __name__ == "__main__":
    {"answer": answer, "set_many": set_many}[sys.argv[1]](sys.argv[2])
