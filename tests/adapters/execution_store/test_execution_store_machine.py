"""Execution stores against a dict that is assumed to be perfect: two services, a clock, rebuilds, and the past."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sizes import examples, sized

import framelode
from framelode.adapters.execution_store.engine_repo import EngineStoreRepo
from framelode.adapters.execution_store.service import ExecutionStoreService
from framelode.projections.tables import store_reader as reading

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
KEYS = ["a", "b", "c" * 100, "é", ""]
STORES = ["s", "t"]

keys = st.sampled_from(KEYS)
stores = st.sampled_from(STORES)
services = st.integers(0, 1)
policies = st.sampled_from(["persist", "evict"])
ttls = st.none() | st.sampled_from([0, 0.5, 1, 2, 5])
values = st.none() | st.integers(0, 3) | st.binary(max_size=3) | st.lists(st.text(max_size=2), max_size=2)


@dataclass
class Entry:
    value: Any
    created_at: int
    updated_at: int
    expires_at: int | None
    policy: str

    def shown(self):
        """While it expires it may be evicted; the policy that was set comes back after that."""
        return replace(self, policy="evict") if self.expires_at is not None else self


def moment(time):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)


class Stores(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = START
        self.engine = framelode.connect("sqlite://", clock=lambda: self.now)
        # A small tail in memory, so that the tables take over now and then.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(reading, "_MOST_EVENTS", 5)
        self.services = [ExecutionStoreService(EngineStoreRepo(self.engine)) for _ in range(2)]
        self.kept: dict[str, dict[str, Entry]] = {}
        self.past: list[tuple[int, int, dict[str, dict[str, Entry]]]] = []

    def teardown(self):
        self.engine.verify()
        self.engine.close()
        self.patch.undo()

    def alive(self, store, kept=None, now=None):
        now = self.now if now is None else now
        documents = (self.kept if kept is None else kept).get(store, {})
        return {
            key: entry
            for key, entry in documents.items()
            if entry.expires_at is None or now < entry.expires_at
        }

    def put(self, store, key, value, ttl, policy):
        held = self.alive(store).get(key)
        expires_at = None if ttl is None else self.now + round(ttl * SECOND)
        made = Entry(
            value,
            held.created_at if held else self.now,
            self.now,
            expires_at,
            policy,
        )
        self.kept.setdefault(store, {})[key] = made

    @initialize()
    def begin(self):
        self.remember()

    def remember(self):
        self.past.append((self.engine.log.head().position, self.now, copy.deepcopy(self.kept)))

    @rule(which=services, store=stores, key=keys, value=values, ttl=ttls, policy=policies)
    def set(self, which, store, key, value, ttl, policy):
        made = self.services[which].set_key(store, key, value, ttl, policy)
        self.put(store, key, value, ttl, policy)
        assert entry_of(made) == self.kept[store][key].shown()

    @rule(which=services, store=stores, items=st.dictionaries(keys, values), ttl=ttls, policy=policies)
    def set_many(self, which, store, items, ttl, policy):
        self.services[which].set_many(store, items, ttl, policy)
        for key, value in items.items():
            self.put(store, key, value, ttl, policy)

    @rule(which=services, store=stores, key=keys, value=values)
    def replace_what_is_there(self, which, store, key, value):
        held = self.alive(store).get(key)
        if held:
            self.compare_and_set(which, store, key, held.value, value, None, None)

    @rule(which=services, store=stores, key=keys)
    def delete(self, which, store, key):
        there = key in self.alive(store)
        assert self.services[which].delete_key(store, key) is there
        self.kept.get(store, {}).pop(key, None)

    @rule(which=services, store=stores, key=keys, ttl=ttls)
    def update_ttl(self, which, store, key, ttl):
        found = self.services[which].update_ttl(store, key, ttl)
        held = self.alive(store).get(key)
        assert (found is None) == (held is None)
        if held:
            held.expires_at = None if ttl is None else self.now + round(ttl * SECOND)
            assert entry_of(found) == held.shown()

    @rule(which=services, store=stores, key=keys, policy=policies)
    def update_policy(self, which, store, key, policy):
        found = self.services[which].update_policy(store, key, policy)
        held = self.alive(store).get(key)
        assert (found is None) == (held is None)
        if held:
            held.policy = policy
            assert entry_of(found) == held.shown()

    @rule(which=services, store=stores, policy=policies)
    def create(self, which, store, policy):
        there = self.alive(store)
        if "__store__" in there:
            with pytest.raises(ValueError, match="exists already"):
                self.services[which].create_store(store, {"m": 1}, policy)
            return
        self.services[which].create_store(store, {"m": 1}, policy)
        self.kept[store] = {**there, "__store__": Entry({"m": 1}, self.now, self.now, None, policy)}

    @rule(which=services, store=stores, key=keys, value=values, ttl=ttls, policy=policies)
    def set_if_absent(self, which, store, key, value, ttl, policy):
        missing = key not in self.alive(store)
        assert self.services[which].set_key_if_absent(store, key, value, ttl, policy) is missing
        if missing:
            self.put(store, key, value, ttl, policy)

    @rule(
        which=services,
        store=stores,
        key=keys,
        expected=values,
        value=values,
        ttl=ttls,
        policy=st.none() | policies,
    )
    def compare_and_set(self, which, store, key, expected, value, ttl, policy):
        held = self.alive(store).get(key)
        is_set = held is not None and held.value == expected
        answer = self.services[which].compare_and_set_key(store, key, expected, value, ttl, policy)
        assert answer is is_set
        if is_set:
            expires_at = held.expires_at
            self.put(store, key, value, ttl, policy or held.policy)
            self.kept[store][key].expires_at = expires_at if ttl is None else self.kept[store][key].expires_at

    @rule(which=services, store=stores)
    def clear(self, which, store):
        self.services[which].clear(store)
        self.kept[store] = {key: entry for key, entry in self.alive(store).items() if key == "__store__"}

    @rule(which=services, store=st.none() | stores)
    def clear_cache(self, which, store):
        self.services[which].clear_cache(store)
        for name in STORES if store is None else [store]:
            self.kept[name] = {
                key: entry
                for key, entry in self.alive(name).items()
                if entry.policy == "persist" and entry.expires_at is None
            }

    @rule(which=services, store=stores)
    def delete_store(self, which, store):
        assert self.services[which].delete_store(store) == len(self.alive(store))
        self.kept.pop(store, None)

    @rule(which=services)
    def cleanup(self, which):
        self.services[which].cleanup()
        self.kept.clear()

    @rule(seconds=st.sampled_from([0.000001, 0.5, 1, 3]))
    def wait(self, seconds):
        self.now += round(seconds * SECOND)

    @rule()
    def rebuild(self):
        self.engine.rebuild()

    @precondition(lambda self: len(self.past) > 1)
    @rule(data=st.data())
    def look_back(self, data):
        position, time, kept = data.draw(st.sampled_from(self.past))
        with self.engine.at(position) as view:
            if view.session.now() <= time:
                with self.engine.at(moment(time)) as timed:
                    if timed.as_of == position:
                        self.compare(ExecutionStoreService(), kept, timed.session.now())

    @invariant()
    def everything_agrees(self):
        self.remember()
        for service in self.services:
            self.compare(service, self.kept, self.now)

    def compare(self, service, kept, now):
        names = [store for store in STORES if self.alive(store, kept, now)]
        assert service.list_stores() == names
        assert service.count_stores() == service.count_stores_global() == len(names)
        # Before the others, which bring the tables level.
        listed = service.list_stores_global()
        assert [(one.store_name, one.value, one.created_at, one.policy) for one in listed] == [
            (name, found.value, found.created_at, found.policy)
            for name in names
            for found in [service.get_store(name)]
        ]
        for store in STORES:
            there = self.alive(store, kept, now)
            mine = {key: entry for key, entry in there.items() if key != "__store__"}
            for key in KEYS:
                found = service.get_key(store, key)
                assert (found and entry_of(found)) == (mine[key].shown() if key in mine else None)
                assert service.has_key(store, key) == (key in mine)
            assert sorted(service.list_keys(store)) == sorted(mine)
            assert service.count_keys(store) == len(mine)
            assert service.has_store(store) == bool(there)
            found = service.get_store(store)
            assert (found is not None) == bool(there)
            if found:
                assert found.metadata == ({"m": 1} if "__store__" in there else {})


def entry_of(document):
    def time(when):
        return None if when is None else (when - moment(0)) // timedelta(microseconds=1)

    return Entry(
        document.value,
        time(document.created_at),
        time(document.updated_at),
        time(document.expires_at),
        document.policy.value,
    )


TestStores = Stores.TestCase
TestStores.settings = examples(5, 300, stateful_step_count=sized(20, 60), deadline=None)
