"""Execution stores beside bare commits of SQLite: `python tests/benchmarks/stores.py [KEYS]`.

Prints sets one by one, `set_many` and gets a second, with few and with KEYS keys (a million), how long a rebuild takes, and
the processor time of calls that go over many stores.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import framelode
from framelode.adapters.execution_store.engine_repo import EngineStoreRepo
from framelode.adapters.execution_store.service import ExecutionStoreService
from framelode.adapters.execution_store.store import ExecutionStore

SETS = 3000
GETS = 20_000
PAUSE = 20
STORES = 600


def rate(what, count, work):
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    print(f"{what:<44} {count / seconds:>12,.0f}/s  {seconds:>8.2f} s", flush=True)
    return count / seconds


def bare_commits(folder):
    """Commit one row after the other, durable: what a disk allows."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number INTEGER PRIMARY KEY, value BLOB)")

        def work():
            for _ in range(SETS):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO kept (value) VALUES (?)", (bytes(300),))
                connection.execute("COMMIT")

        return rate("bare SQLite commits (WAL, FULL)", SETS, work)


def sets(store, what, folder):
    def work():
        for number in range(SETS):
            store.set(f"{what} {number}", {"number": number, "name": "pizza"})

    commits = bare_commits(folder)
    found = rate(f"set, one by one, {what}", SETS, work)
    print(f"{'':<44} {found / commits:>12.2f} of bare commits")


def gets(store, what, keys):
    chosen = random.Random(0).choices(keys, k=GETS)

    def work():
        for key in chosen:
            store.get(key)

    store.get(keys[0])
    rate(f"get, warm, {what}", GETS, work)


def many_stores(folder):
    """Print the processor time of what goes over all stores, the best of a few calls."""
    engine = framelode.connect(folder / "many")
    service = ExecutionStoreService(EngineStoreRepo(engine))
    for number in range(STORES):
        service.create_store(f"store {number}", {"number": number})
        service.set_key(f"store {number}", "key", number)

    def set_cached():
        for number in range(STORES):
            service.set_cache_key(f"store {number}", "cached", number)
        service.list_keys("store 0")

    for what, call, prepare in (
        ("list_stores_global", service.list_stores_global, list),
        ("count_stores", service.count_stores, list),
        ("clear_cache, nothing to evict", service.clear_cache, list),
        ("clear_cache, a key of each", service.clear_cache, set_cached),
    ):
        seconds = []
        for _ in range(5):
            prepare()
            began = time.process_time()
            call()
            seconds.append(time.process_time() - began)
        print(f"{what:<30} {STORES} stores, processor time {min(seconds) * 1000:>6.1f} ms (aim 10)")
    engine.close()


def main(keys):
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        many_stores(folder)
        engine = framelode.connect(folder / "engine")
        store = ExecutionStore.create("benchmark")
        sets(store, "an empty store", folder)
        gets(store, "few keys", [f"an empty store {number}" for number in range(SETS)])
        values = {f"key {number}": {"number": number, "name": "pizza"} for number in range(keys)}
        rate(f"set_many, {keys:,} keys", keys, lambda: store.set_many(values))
        began = time.perf_counter()
        count = store.service.count_keys("benchmark")
        print(
            f"{'count_keys after it, catching up':<44} {count:>12,}    {time.perf_counter() - began:>8.2f} s"
        )
        began = time.perf_counter()
        store.service.count_keys("benchmark")
        print(f"{'count_keys again':<44} {count:>12,}    {time.perf_counter() - began:>8.3f} s")
        gets(store, f"{keys:,} keys", list(values))
        # What set_many has written must not be waited for by the syncs of these.
        time.sleep(PAUSE)
        sets(store, f"{keys:,} keys", folder)
        head = engine.log.head().position
        rate("rebuild of all projections, events", head, engine.rebuild)
        gets(store, "after the rebuild", list(values))
        engine.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
