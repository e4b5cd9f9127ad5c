"""Execution stores beside FiftyOne's: conditional sets, subscriptions, and repositories of either under the other's service."""

from __future__ import annotations

import copy
import json
import math
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from enum import Enum

import pytest
from patience import PATIENCE

import framelode
from framelode.adapters.execution_store import (
    EngineStoreRepo,
    ExecutionStore,
    ExecutionStoreRepo,
    ExecutionStoreService,
    KeyDocument,
    KeyPolicy,
)
from framelode.engine.errors import UsageError

SECOND = 1_000_000


@pytest.fixture
def now():
    return [1_700_000_000_000_000]


@pytest.fixture(params=["file", pytest.param("postgres", marks=pytest.mark.long)])
def engine(request, tmp_path, now):
    url, blobs = tmp_path / "engine", None
    if request.param == "postgres":
        url, blobs = request.getfixturevalue("postgres_url"), tmp_path / "blobs"
    with framelode.connect(url, clock=lambda: now[0], blobs=blobs) as engine:
        yield engine
    engine.close()


@pytest.fixture
def store(engine):
    return ExecutionStore.create("jobs", default_policy="evict")


class TestConditionalSets:
    def test_set_if_absent(self, store, now):
        assert store.set_if_absent("a", 1, ttl=5) is True
        assert store.set_if_absent("a", 2) is False
        assert (store.get("a"), store.get_metadata("a")["policy"]) == (1, "evict")
        now[0] += 5 * SECOND
        assert store.set_if_absent("a", 3, policy="persist") is True
        metadata = store.get_metadata("a")
        assert (metadata["policy"], metadata["expires_at"]) == ("persist", None)
        assert [change.kind for change in store.history("a")] == ["set", "evicted", "set"]
        store.set("none", None)
        assert store.set_if_absent("none", 1) is False

    def test_compare_and_set(self, store, now):
        assert store.compare_and_set("a", None, 1) is False
        store.set("a", {"x": (1, math.nan), "y": None}, ttl=5, policy="persist")
        before = store.get_metadata("a")
        assert store.compare_and_set("a", {"x": [2], "y": None}, 2) is False
        now[0] += SECOND
        assert store.compare_and_set("a", {"y": None, "x": [1, math.nan]}, 2) is True
        after = store.get_metadata("a")
        assert store.get("a") == 2
        assert after == {**before, "updated_at": before["updated_at"] + timedelta(seconds=1)}
        assert store.compare_and_set("a", 2.0, 3, ttl=9) is True
        assert store.get_metadata("a")["expires_at"] == before["updated_at"] + timedelta(seconds=10)
        store.update_ttl("a", None)
        assert store.get_metadata("a")["policy"] == "persist"
        assert store.compare_and_set("a", 3, 4, policy="evict") is True
        assert store.get_metadata("a")["policy"] == "evict"
        store.set("a", 1, ttl=1)
        now[0] += SECOND
        assert store.compare_and_set("a", 1, 2) is False
        assert not store.has("a")

    def test_repeated(self, engine, store):
        service = store.service
        for _ in range(2):
            assert service.set_key_if_absent("jobs", "a", 1, command_id="x") is True
            assert service.compare_and_set_key("jobs", "a", 1, 2, command_id="y") is True
        assert engine.log.head().position == 2

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (("__store__", 1, 2), ValueError, "__store__"),
            (("a", object(), 2), TypeError, "expected: value must be"),
            (("a", 1, object()), TypeError, "value must be"),
            (("a", 1, 2, -1), ValueError, "ttl"),
            (("a", 1, 2, None, "forever"), ValueError, "policy must be"),
        ],
    )
    def test_what_is_refused(self, store, arguments, error, message):
        with pytest.raises(error, match=message):
            store.compare_and_set(*arguments)

    def test_one_of_many_engines_wins(self, engine, tmp_path):
        barrier = threading.Barrier(3, timeout=PATIENCE)

        def work(number):
            mine = framelode.connect(engine.url)
            store = ExecutionStore("jobs", ExecutionStoreService(EngineStoreRepo(mine)))
            barrier.wait()
            won = [store.set_if_absent(f"lock {n}", number) for n in range(10)]
            store.set_if_absent("count", 0)
            for _ in range(10):
                while not store.compare_and_set("count", (held := store.get("count")), held + 1):
                    pass
            mine.close()
            return won

        with ThreadPoolExecutor(3) as pool:
            won = list(pool.map(work, range(3)))
        assert [sum(each) for each in zip(*won, strict=True)] == [1] * 10
        assert ExecutionStore.create("jobs").get("count") == 30


class TestSubscriptions:
    @pytest.fixture
    def told(self):
        return queue.Queue()

    def messages(self, told, count):
        found = [told.get(timeout=PATIENCE) for _ in range(count)]
        return [(each.metadata.operation_type, each.key, each.value) for each in found]

    def test_changes(self, engine, store, told, now):
        store.service.create_store("jobs", {"m": 1})
        store.set("there", {"b": 1, "a": 2})
        subscription = store.subscribe(told.put)
        assert self.messages(told, 1) == [("initial", "there", {"b": 1, "a": 2})]
        other = framelode.connect(engine.url)
        theirs = ExecutionStore("jobs", ExecutionStoreService(EngineStoreRepo(other)))
        theirs.set("new", 1)
        theirs.set("new", 2)
        ExecutionStore.create("another").set("new", 3)
        ExecutionStore.create("jobs", "d").set("new", 4)
        assert self.messages(told, 2) == [("insert", "new", 1), ("update", "new", 2)]
        store.update_ttl("new", 5)
        assert self.messages(told, 1) == [("update", "new", 2)]
        store.delete("there")
        store.set_many({"x": 1, "y": 2})
        assert self.messages(told, 3) == [("delete", "there", None), ("insert", "x", 1), ("insert", "y", 2)]
        store.service.delete_store("jobs")
        assert sorted(self.messages(told, 3)) == [("delete", key, None) for key in ("new", "x", "y")]
        assert store.unsubscribe(subscription) is True
        assert store.unsubscribe(subscription) is False
        store.set("unheard", 1)
        again = store.service.subscribe("jobs", told.put)
        assert self.messages(told, 1) == [("initial", "unheard", 1)]
        assert store.service.unsubscribe(again)
        other.close()

    def test_messages(self, engine, told, now):
        store = ExecutionStore.create("jobs", "d")
        store.subscribe(told.put)
        store.set("a", {"loss": math.inf})
        message = told.get(timeout=PATIENCE)
        at = datetime.fromtimestamp(now[0] / SECOND, UTC).isoformat()
        metadata = {"operation_type": "insert", "dataset_id": "d", "timestamp": at}
        assert message.to_dict() == {"key": "a", "value": {"loss": math.inf}, "metadata": metadata}
        assert json.loads(message.to_json()) == {
            "key": "a",
            "value": {"loss": {"$float": "inf"}},
            "metadata": metadata,
        }

    def subscribed(self, store, callback):
        """Subscribe, and return the thread that waits. Other tests may have left one that is about to end."""
        before = set(threading.enumerate())
        store.subscribe(callback)
        (thread,) = set(threading.enumerate()) - before
        assert "subscription to jobs" in thread.name
        return thread

    def test_an_error_of_the_callback_ends_it(self, engine, store, told, caplog):
        def fail(message):
            told.put(message)
            raise ValueError("not today")

        thread = self.subscribed(store, fail)
        store.set("a", 1)
        thread.join(PATIENCE)
        store.set("b", 1)
        assert "not today" in caplog.text
        assert self.messages(told, 1) == [("insert", "a", 1)]
        assert told.empty()

    def test_it_ends_with_the_engine(self, engine, store, told, caplog):
        thread = self.subscribed(store, told.put)
        engine.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert caplog.text == ""

    def test_not_in_the_past(self, engine, store, told):
        store.set("a", 1)
        with engine.at(1), pytest.raises(UsageError, match="read-only"):
            ExecutionStore.create("jobs").subscribe(told.put)


class TheirPolicy(str, Enum):  # noqa: UP042 - as theirs
    """A policy of another system."""

    PERSIST, EVICT = "persist", "evict"


class TheirRepo:
    """A repository with the methods and answers of FiftyOne's in memory: it takes no ids of commands, and times are naive."""

    def __init__(self, dataset_id=None):
        self._dataset_id = dataset_id
        self.kept = {}

    def create_store(self, store_name, metadata=None, policy="persist"):
        return self.set_key(store_name, "__store__", metadata, None, policy)

    def set_key(self, store_name, key, value, ttl=None, policy="persist"):
        at = datetime(2024, 1, 1)  # noqa: DTZ001
        shown = TheirPolicy("evict" if ttl is not None else policy)
        assert type(policy) is str
        self.kept[store_name, key] = KeyDocument(
            store_name, key, copy.deepcopy(value), None, self._dataset_id, at, at, None, shown
        )
        return self.kept[store_name, key]

    def set_key_if_absent(self, store_name, key, value, ttl=None, policy="persist"):
        return (store_name, key) not in self.kept and bool(self.set_key(store_name, key, value, ttl, policy))

    def compare_and_set_key(self, store_name, key, expected, value, ttl=None, policy=None):
        held = self.get_key(store_name, key)
        return bool(held and held.value == expected and self.set_key(store_name, key, value, ttl))

    def get_key(self, store_name, key):
        return self.kept.get((store_name, key))

    def has_key(self, store_name, key):
        return (store_name, key) in self.kept

    def delete_key(self, store_name, key):
        return self.kept.pop((store_name, key), None) is not None

    def update_ttl(self, store_name, key, ttl):
        return (store_name, key) in self.kept

    def list_keys(self, store_name):
        return [key for name, key in self.kept if name == store_name and key != "__store__"]

    def clear_cache(self, store_name=None):
        return 0


class TestTheirRepoUnderOurService:
    @pytest.fixture
    def service(self):
        return ExecutionStoreService(TheirRepo("65f0c0ffee65f0c0ffee0000"))

    def test_what_it_does_not_know_is_not_sent(self, service):
        store = ExecutionStore("s", service, "evict")
        service.create_store("s", {"m": 1}, KeyPolicy.EVICT, command_id="c")
        service.set_key("s", "a", 1, policy=KeyPolicy.EVICT, command_id="d")
        store.set_cache("b", 2)
        store.set_many({"c": 3}, command_id="e")
        assert [store.get(key) for key in "abc"] == [1, 2, 3]
        assert store.set_if_absent("d", 4)
        assert store.compare_and_set("d", 4, 5)
        assert store.clear_cache() is None
        assert service.delete_key("s", "a", command_id="f") is True
        assert service.dataset_id == "65f0c0ffee65f0c0ffee0000"
        store.clear()
        assert store.list_keys() == []
        assert service.repo.has_key("s", "__store__")

    def test_answers_are_ours(self, service):
        service.set_key("s", "a", 1)
        assert service.update_ttl("s", "a", 5).value == 1
        assert service.update_ttl("s", "b", 5) is None
        metadata = ExecutionStore("s", service).get_metadata("a")
        assert metadata["created_at"] == datetime(2024, 1, 1, tzinfo=UTC)
        assert metadata["expires_at"] is None

    def test_errors_are_ours(self, service):
        with pytest.raises(ValueError, match="policy must be"):
            service.set_key("s", "a", 1, policy="forever")
        with pytest.raises(UsageError, match="has no method update_policy"):
            service.update_policy("s", "a", "evict")
        with pytest.raises(UsageError, match="has no method subscribe"):
            service.subscribe("s", print)
        with pytest.raises(UsageError, match="keeps no history"):
            service.history("s")
        with pytest.raises(ValueError, match="the repo has the dataset id"):
            ExecutionStoreService(service.repo, "d")


class TestOurRepoUnderTheirService:
    """The calls that FiftyOne's service makes: each passes only what its own repositories know."""

    def test_its_calls(self, engine):
        repo = EngineStoreRepo(engine)
        made = repo.create_store("s", metadata={"m": 1}, policy="persist")
        assert repo.set_key("s", "a", 1, ttl=None, policy=TheirPolicy.EVICT).policy == TheirPolicy.EVICT
        assert repo.set_cache_key("s", "b", 2, 60).policy == "evict"
        assert repo.set_key_if_absent("s", "c", 3, ttl=None, policy="persist") is True
        assert repo.compare_and_set_key("s", "c", 3, 4, ttl=None, policy=None) is True
        assert repo.update_ttl("s", "c", 60).value == 4
        assert repo.get_store("s") == made
        assert repo.clear_cache(store_name="s") == 3
        assert repo.cleanup() == 1

    def test_a_repo_that_lacks_what_is_newer(self):
        class Older(ExecutionStoreRepo):
            dataset_id = None

        Older.__abstractmethods__ = frozenset()
        service = ExecutionStoreService(Older())
        for call in (
            lambda: service.set_key_if_absent("s", "a", 1),
            lambda: service.compare_and_set_key("s", "a", 1, 2),
            lambda: service.subscribe("s", print),
            lambda: service.unsubscribe("x"),
        ):
            with pytest.raises(UsageError, match="has no method .*use a repo that has"):
                call()
