"""Execution stores: keys and values on the log, exact expiry, policies, contexts, histories, and the past."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import itertools
import json
import math
import pickle
import queue
import sys
import threading
import types
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import msgspec
import numpy as np
import pytest
import store_worker
from forked import Program
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE

import framelode
from framelode.adapters import execution_store
from framelode.adapters.execution_store.documents import KeyDocument, KeyPolicy, StoreDocument
from framelode.adapters.execution_store.engine_repo import EngineStoreRepo, store_reader
from framelode.adapters.execution_store.repo import ExecutionStoreRepo
from framelode.adapters.execution_store.service import ExecutionStoreService
from framelode.adapters.execution_store.store import ExecutionStore
from framelode.engine.errors import ConflictError, InvalidTypeError, InvalidValueError, UsageError
from framelode.engine.log.event_batch import unpack_states
from framelode.engine.stores import writer as stores_writer
from framelode.engine.stores.values import decode_value, encode_value, from_json_form
from framelode.projections.statements import CompiledStatement

START = 1_700_000_000_000_000
SECOND = 1_000_000


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def pass_(self, seconds):
        self.now += round(seconds * SECOND)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["file", pytest.param("postgres", marks=pytest.mark.long)])
def engine(request, tmp_path, clock):
    url, blobs = tmp_path / "engine", None
    if request.param == "postgres":
        url, blobs = request.getfixturevalue("postgres_url"), tmp_path / "blobs"
    with framelode.connect(url, clock=clock, blobs=blobs) as engine:
        yield engine
    engine.close()


@pytest.fixture
def store(engine):
    return ExecutionStore.create("settings")


@pytest.fixture
def service(store):
    return store.service


def moment(microseconds):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def kinds(engine):
    return [f"{change.subject} {change.kind}" for change in engine.history()]


class ObjectId:
    def __init__(self, digits="65f0c0ffee65f0c0ffee0000"):
        self.digits = digits

    def __str__(self):
        return self.digits


TABLE = Path(__file__).with_name("execution_store_signatures.txt")
ROWS = [
    [cell.strip() for cell in line.split("|")]
    for line in TABLE.read_text().splitlines()
    if line and not line.startswith("#")
]


class TestSignatures:
    @pytest.mark.parametrize(("name", "how", "parameters"), ROWS, ids=[row[0] for row in ROWS])
    def test_they_are_those_of_the_api_that_is_followed(self, name, how, parameters):
        owner, member = name.split(".")
        kind = getattr(execution_store, owner)
        found = inspect.getattr_static(kind, member)
        if how == "value":
            assert getattr(kind, member) == eval(parameters)
            return
        assert isinstance(found, property) == (how == "property")
        assert isinstance(found, staticmethod) == (how == "static")
        assert isinstance(found, classmethod) == (how == "class")
        if how == "property":
            return
        factory = next(f for f in dataclasses.fields(KeyDocument) if f.name == "created_at")
        assert factory.default_factory is not dataclasses.MISSING
        ours = list(inspect.signature(getattr(kind, member)).parameters.values())
        ours = ours[1:] if how == "method" else ours
        theirs = inspect.signature(eval(f"lambda {parameters}: None", {"FACTORY": ...})).parameters
        followed = [each for each in ours if each.name in theirs]
        assert [(each.name, each.kind) for each in followed] == [
            (each.name, each.kind) for each in theirs.values()
        ]
        defaults = [(each.default, theirs[each.name].default) for each in followed]
        assert [mine for mine, theirs_ in defaults if theirs_ is not ...] == [
            theirs_ for _, theirs_ in defaults if theirs_ is not ...
        ]
        assert all(each.kind is each.KEYWORD_ONLY for each in ours if each.name not in theirs)

    def test_policies_are_text(self):
        assert issubclass(KeyPolicy, str)
        assert issubclass(KeyPolicy, enum.Enum)
        assert [policy.value for policy in KeyPolicy] == ["persist", "evict"]

    def test_a_store_document_is_a_key_document(self):
        assert issubclass(StoreDocument, KeyDocument)


class TestKeys:
    def test_set_get_has_delete(self, store):
        assert store.set("a", {"x": [1, None]}) is None
        assert store.get("a") == {"x": [1, None]}
        assert store.has("a")
        assert store.list_keys() == ["a"]
        assert store.delete("a") is True
        assert store.delete("a") is False
        assert store.get("a") is store.get_metadata("a") is None
        assert not store.has("a")

    def test_a_stored_none(self, store):
        store.set("a", None)
        assert store.get("a") is None
        assert store.has("a")

    def test_what_is_got_is_the_callers(self, store):
        store.set("a", [1])
        store.get("a").append(2)
        assert store.get("a") == [1]

    def test_a_document_says_what_was_stored(self, engine, service, clock):
        made = service.set_key("settings", "a", (1, 2), ttl=1.5)
        at = moment(START)
        expected = KeyDocument(
            "settings",
            "a",
            [1, 2],
            made._id,
            None,
            at,
            at,
            at + timedelta(seconds=1.5),
            KeyPolicy.EVICT,
        )
        assert made == expected == service.get_key("settings", "a")
        assert isinstance(made._id, str)
        assert made.created_at.utcoffset() == timedelta(0)

    def test_setting_again(self, store, clock):
        store.set("a", 1, ttl=100)
        clock.pass_(5)
        store.set("a", 2)
        assert store.get("a") == 2
        assert store.get_metadata("a") == {
            "created_at": moment(START),
            "updated_at": moment(START + 5 * SECOND),
            "expires_at": None,
            "policy": "persist",
        }

    def test_it_comes_into_being_again_after_a_delete(self, store, clock):
        store.set("a", 1)
        clock.pass_(5)
        store.delete("a")
        store.set("a", 1)
        assert store.get_metadata("a")["created_at"] == moment(START + 5 * SECOND)

    def test_clear(self, store, service):
        service.create_store("settings", {"m": 1})
        store.set_many({"a": 1, "b": 2})
        assert store.clear() is None
        assert store.list_keys() == []
        assert service.get_store("settings").metadata == {"m": 1}

    def test_order_of_keys(self, store, clock):
        for key in ("z", "a", "m"):
            store.set(key, 1)
            clock.pass_(1)
        store.set("z", 2)
        store.set_many({"y": 1, "x": 1})
        assert store.list_keys() == ["z", "a", "m", "x", "y"]

    def test_nothing_is_recorded_by_what_changes_nothing(self, engine, store):
        assert store.delete("a") is False
        assert store.update_ttl("a", 1) is store.update_policy("a", "evict") is None
        store.clear()
        store.clear_cache()
        store.service.cleanup()
        store.set_many({})
        assert engine.log.head().position == 0


HOSTILE = [
    "",
    " ",
    "\n",
    "a/b.c$d",
    "é",
    "e\u0301",
    "\U0001f355",
    "ß" * 10_000,
    "x" * 10_000,
    "'; --",
    "\x01\x7f",
    "\u202e",
]


class TestNames:
    @pytest.mark.parametrize("key", HOSTILE, ids=range(len(HOSTILE)))
    def test_any_key(self, engine, store, key):
        store.set(key, key)
        assert store.get(key) == key
        assert store.list_keys() == [key]
        engine.rebuild()
        assert store.get(key) == key
        assert [change.kind for change in store.history(key)] == ["set"]
        assert store.delete(key)

    def test_keys_that_look_alike_are_different(self, store):
        store.set_many({"é": 1, "e\u0301": 2, "É": 3})
        assert [store.get(key) for key in ("é", "e\u0301", "É")] == [1, 2, 3]

    @pytest.mark.parametrize("key", ["a\0b", "\ud800"])
    @pytest.mark.parametrize("method", ["get", "has", "delete", "get_metadata"])
    def test_what_is_no_text(self, store, key, method):
        with pytest.raises(ValueError, match="NUL|surrogate"):
            getattr(store, method)(key)
        with pytest.raises(ValueError, match="NUL|surrogate"):
            store.set(key, 1)

    @pytest.mark.parametrize("key", [None, 1, b"a"])
    def test_what_is_no_string(self, store, key):
        for call in (store.get, store.has, store.delete, lambda key: store.set(key, 1)):
            with pytest.raises(TypeError, match="key must be a string"):
                call(key)
        with pytest.raises(TypeError, match="key must be a string"):
            store.set_many({key: 1})

    @pytest.mark.parametrize(("name", "error"), [("", ValueError), ("a\0", ValueError), (None, TypeError)])
    def test_names_of_stores(self, service, name, error):
        for call in (
            service.get_store,
            service.has_store,
            service.list_keys,
            service.delete_store,
            service.create_store,
        ):
            with pytest.raises(error, match="store_name"):
                call(name)
        with pytest.raises(error, match="store_name"):
            ExecutionStore.create(name)

    def test_the_stores_own_key(self, store, service):
        service.create_store("settings", {"m": 1})
        store.set("a", 1)
        assert store.list_keys() == ["a"]
        assert service.count_keys("settings") == 1
        assert store.get("__store__") == {"m": 1}
        for write in (
            lambda: store.set("__store__", {}),
            lambda: store.set_many({"__store__": {}}),
            lambda: store.set_if_absent("__store__", {}),
            lambda: store.delete("__store__"),
            lambda: store.update_ttl("__store__", 1),
            lambda: store.update_policy("__store__", "evict"),
        ):
            with pytest.raises(ValueError, match="__store__"):
                write()


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.uuids()
    | st.datetimes(
        timezones=st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=45)))
    ).map(lambda time: time.replace(fold=0)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class TestValues:
    @given(json_like)
    def test_types_come_back(self, value):
        encoded = encode_value(value)
        found = decode_value(encoded)
        assert found == value
        assert repr(found) == repr(value)
        assert encode_value(found) == encoded

    def test_what_stands_for_plain_types(self, store):
        class Text(str):
            __slots__ = ()

        store.set(
            "a", [(1, 2), bytearray(b"x"), memoryview(b"y"), np.float32(0.5), np.int64(3), np.bool_(True)]
        )
        store.set("b", UserDict({Text("k"): Text("v")}))
        assert store.get("a") == [[1, 2], b"x", b"y", 0.5, 3, True]
        assert [type(each) for each in store.get("a")] == [list, bytes, bytes, float, int, bool]
        assert store.get("b") == {"k": "v"}
        assert type(store.get("b")["k"]) is str

    def test_the_order_of_keys_stays(self, engine, store):
        value = {"b": 1, "a": {"d": 1, "c": 2}}
        metadata = store.service.create_store("other", {"z": 1, "a": 2}).metadata
        assert list(metadata) == list(store.service.get_store("other").metadata) == ["z", "a"]
        store.set("k", value)
        store.set_many({"m": value})
        engine.rebuild()
        for found in (store.get("k"), store.get("m"), store.service.get_key("settings", "k").value):
            assert repr(found) == repr(value)
        assert next(store.history("k")).after.value == value
        engine.verify()

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float32("nan")])
    def test_numbers_that_are_not_finite(self, engine, store, number):
        store.set("k", {"loss": [number]})
        store.service.create_store("other", {"m": number})
        engine.rebuild()
        (found,) = store.get("k")["loss"]
        assert repr(found) == repr(float(number)) == repr(store.service.get_store("other").metadata["m"])
        shown = next(engine.history()).after["value"]
        assert shown == {"loss": [{"$float": repr(float(number))}]}

    def test_object_ids(self, engine, store, monkeypatch):
        identity = ObjectId()
        store.set("k", {"of": [identity]})
        assert store.get("k") == {"of": [str(identity)]}
        bson = types.ModuleType("bson.objectid")
        bson.ObjectId = ObjectId
        monkeypatch.setitem(sys.modules, "bson", types.ModuleType("bson"))
        monkeypatch.setitem(sys.modules, "bson.objectid", bson)
        engine.rebuild()
        (found,) = store.get("k")["of"]
        assert (type(found), str(found)) == (ObjectId, str(identity))
        shown = next(engine.history()).after["value"]
        assert shown == {"of": [{"$oid": str(identity)}]}
        assert from_json_form(shown)["of"][0].digits == identity.digits
        with pytest.raises(TypeError, match=r"value must be .*of type ObjectId"):
            store.set("k", ObjectId("xyz"))

    def test_events_keep_the_schema_that_can_express_them(self, engine, store):
        store.set("a", {"a": 1, "b": [1.5, None, {"c": b"x", "d": UUID(int=1)}]})
        store.set("b", {"b": 1, "a": 2})
        store.set("c", math.nan)
        store.set("d", [-math.inf])
        store.set("e", ObjectId())
        schemas = []
        for header in engine.log.headers():
            (body,) = engine.log.bodies([header.first_position])
            schemas += [msgspec.msgpack.decode(state)[0] for _, state in unpack_states(header, body)]
        assert schemas == [1, 2, 2, 2, 2]

    @pytest.mark.parametrize(
        ("value", "error", "place"),
        [
            ({1}, TypeError, r"value must be .*, not \{1\} of type set"),
            ({"a": [0, object()]}, TypeError, r"value\['a'\]\[1\] must be .*, not <object"),
            ({"a": {1: 2}}, TypeError, r"value\['a'\]: keys must be strings, not 1"),
            (Decimal(1), TypeError, "of type Decimal"),
            (date(2024, 1, 1), TypeError, "of type date"),
            (np.zeros(2), TypeError, "of type ndarray"),
            (1j, TypeError, "of type complex"),
            ([2**64], ValueError, r"value\[0\] must be an integer .*, not 18446744073709551616"),
            ([-(2**63) - 1], ValueError, r"value\[0\] must be an integer .*, not -9223372036854775809"),
            (
                {"a": ["x", "\ud800"]},
                ValueError,
                r"value\['a'\]\[1\] must be Unicode, without lone surrogates",
            ),
            ({"a": {"\ud800": 1}}, ValueError, r"value\['a'\] must be Unicode, without lone surrogates"),
        ],
        ids=lambda value: None,
    )
    def test_what_is_refused(self, engine, store, value, error, place):
        with pytest.raises(error, match=place) as caught:
            store.set("a", value)
        assert isinstance(caught.value, UsageError)
        with pytest.raises(error, match="key 'bad'"):
            store.set_many({"good": 1, "bad": value})
        with pytest.raises(error):
            store.service.create_store("other", {"m": value})
        assert engine.log.head().position == 0

    def test_cycles(self, store):
        loop = []
        loop.append({"a": loop})
        with pytest.raises(ValueError, match="nothing that contains itself"):
            store.set("a", loop)

    @pytest.mark.long
    def test_what_is_small_and_says_much(self, store):
        laughs = "ha"
        for _ in range(60):
            laughs = [laughs] * 10
        with pytest.raises(ValueError, match="the limit is 16,777,216"):
            store.set("a", laughs)

    def test_megabytes(self, store):
        ten = bytes(10_000_000)
        store.set("bytes", ten)
        store.set("text", "é" * 5_000_000)
        store.set_many({str(n): ten for n in range(3)})
        assert store.get("bytes") == ten
        assert len(store.get("text")) == 5_000_000
        assert store.get("2") == ten
        for large in (bytes(20_000_000), "x" * 20_000_000, "é" * 10_000_000, [bytes(10_000_000)] * 2):
            with pytest.raises(ValueError, match="the limit is 16,777,216"):
                store.set("large", large)
        assert not store.has("large")

    def test_metadata_of_a_store_is_a_dict(self, service):
        with pytest.raises(TypeError, match="metadata must be a dict"):
            service.create_store("a", [1])


class TestExpiry:
    def test_it_is_exact_in_every_read(self, store, service, clock):
        store.set("kept", 1)
        store.set("a", 1, ttl=2.000001)
        other = ExecutionStore.create("only expiring")
        other.set("b", 1, ttl=2.000001)
        clock.now = START + 2_000_000
        assert self.reads(store, service) == (1, True, ["a", "kept"], 2, ["only expiring", "settings"])
        assert service.get_store("only expiring") is not None
        clock.now += 1
        assert self.reads(store, service) == (None, False, ["kept"], 1, ["settings"])
        assert store.get_metadata("a") is service.get_key("settings", "a") is None
        assert service.get_store("only expiring") is None
        assert not service.has_store("only expiring")
        assert service.count_stores() == service.count_stores_global() == 1
        assert not service.has_store_global("only expiring")

    def reads(self, store, service):
        return (
            store.get("a"),
            store.has("a"),
            sorted(store.list_keys()),
            service.count_keys("settings"),
            service.list_stores(),
        )

    def test_the_reads_after_a_rebuild(self, engine, store, service, clock):
        store.set_many({"kept": 1, "a": 1})
        store.update_ttl("a", 1)
        engine.rebuild()
        assert store.list_keys() == ["a", "kept"]
        clock.pass_(1)
        assert self.reads(store, service) == (None, False, ["kept"], 1, ["settings"])
        engine.verify()

    def test_a_writer_records_that_it_was_gone(self, engine, store, clock):
        store.set("a", 1, ttl=1)
        clock.pass_(1)
        assert store.delete("a") is False
        assert kinds(engine) == ["key set", "key evicted"]
        store.set("a", 2, ttl=1)
        clock.pass_(3)
        store.set("a", 3)
        assert kinds(engine)[2:] == ["key set", "key evicted", "key set"]
        assert store.get_metadata("a")["created_at"] == moment(clock.now)
        assert [change.before and change.before.value for change in store.history("a")] == [
            None,
            1,
            None,
            2,
            None,
        ]

    def test_readers_record_nothing(self, engine, store, clock):
        store.set("a", 1, ttl=1)
        clock.pass_(1)
        store.get("a"), store.list_keys(), store.has("a"), store.get_metadata("a")
        assert engine.log.head().position == 1

    @pytest.mark.parametrize("call", ["update_ttl", "update_policy", "clear", "clear_cache", "cleanup"])
    def test_every_writer_notices(self, engine, store, service, clock, call):
        store.set("a", 1, ttl=1)
        clock.pass_(1)
        {
            "update_ttl": lambda: store.update_ttl("a", 5),
            "update_policy": lambda: store.update_policy("a", "persist"),
            "clear": store.clear,
            "clear_cache": store.clear_cache,
            "cleanup": service.cleanup,
        }[call]()
        assert kinds(engine) == ["key set", "key evicted"]
        assert not store.has("a")

    @pytest.mark.parametrize("ttl", [0, 0.0, 0.0000001])
    def test_no_time_at_all(self, store, service, ttl):
        made = service.set_key("settings", "a", 1, ttl=ttl)
        assert made.expires_at == made.created_at
        assert made.policy == "evict"
        assert not store.has("a")
        store.set("b", 1)
        store.update_ttl("b", ttl)
        assert not store.has("b")

    @pytest.mark.parametrize("ttl", [-1, -0.001, math.nan, math.inf, 1e300, 10**30, 254_000_000_000])
    def test_times_that_cannot_be(self, store, ttl):
        store.set("a", 1)
        for call in (
            lambda: store.set("a", 2, ttl=ttl),
            lambda: store.set_cache("a", 2, ttl),
            lambda: store.set_many({"a": 2}, ttl=ttl),
            lambda: store.update_ttl("a", ttl),
            lambda: KeyDocument.get_expiration(ttl),
        ):
            with pytest.raises(ValueError, match="ttl"):
                call()
        assert store.get("a") == 1

    @pytest.mark.parametrize("ttl", ["1", timedelta(1), True, 1j])
    def test_what_is_no_time(self, store, ttl):
        with pytest.raises(TypeError, match="ttl must be a number of seconds"):
            store.set("a", 1, ttl=ttl)

    def test_long_and_odd_times(self, store, clock):
        store.set("a", 1, ttl=200_000_000_000)
        assert store.get_metadata("a")["expires_at"].year == 8361
        store.set("b", 1, ttl=np.int64(3))
        assert store.get_metadata("b")["expires_at"] == moment(clock.now + 3 * SECOND)


class TestPolicies:
    def test_the_default_policy(self, engine):
        store = ExecutionStore.create("cache", default_policy="evict")
        store.set("a", 1)
        store.set("b", 1, policy="persist")
        store.set_many({"c": 1})
        assert [store.get_metadata(key)["policy"] for key in "abc"] == ["evict", "persist", "evict"]
        assert isinstance(store.get_metadata("a")["policy"], KeyPolicy)
        store.clear_cache()
        assert store.list_keys() == ["b"]

    def test_any_ttl_makes_it_evict(self, store, service):
        assert service.set_key("settings", "a", 1, ttl=5, policy="persist").policy == "evict"
        store.set("b", 1)
        assert store.update_policy("b", "evict") is store.update_ttl("b", 9) is None
        assert service.update_policy("settings", "b", "persist").policy == "evict"
        assert service.update_ttl("settings", "b", 5).policy == "evict"
        cleared = service.update_ttl("settings", "b", None)
        assert (cleared.expires_at, cleared.policy, cleared.value) == (None, "persist", 1)
        assert service.update_policy("settings", "b", KeyPolicy.EVICT).policy == "evict"
        assert (
            service.update_ttl("settings", "x", 1) is service.update_policy("settings", "x", "evict") is None
        )

    def test_the_policy_that_was_set_stays_under_a_ttl(self, engine, store, service):
        for key, policy in (("a", "persist"), ("b", "evict")):
            assert service.set_key("settings", key, 1, ttl=5, policy=policy).policy == "evict"
        store.set_many({"c": 1}, ttl=5)
        store.set("d", 1)
        assert service.update_ttl("settings", "d", 0.5).policy == "evict"
        assert service.update_policy("settings", "d", "evict").policy == "evict"
        assert service.update_policy("settings", "d", "persist").policy == "evict"
        engine.rebuild()
        assert {store.get_metadata(key)["policy"] for key in "abcd"} == {"evict"}
        assert {service.get_key("settings", key).policy for key in "abcd"} == {"evict"}
        given = [service.update_ttl("settings", key, None).policy for key in "abcd"]
        assert given == ["persist", "evict", "persist", "persist"]
        assert [each.after.policy for each in store.history("a")] == ["evict", "persist"]
        store.clear_cache()
        assert store.list_keys() == ["a", "c", "d"]

    def test_clear_cache(self, store, service):
        store.set("kept", 1)
        store.set_cache("cached", 1)
        store.set("expiring", 1, ttl=100)
        store.set("persistent but expiring", 1, ttl=100)
        store.update_policy("persistent but expiring", "persist")
        service.create_store("doc", policy="evict")
        service.create_store("both", {"m": 1}, "evict")
        service.set_key("both", "kept", 1)
        elsewhere = ExecutionStoreService(dataset_id="d")
        elsewhere.set_cache_key("settings", "cached", 1)
        assert service.clear_cache("settings") is None
        assert store.list_keys() == ["kept"]
        assert service.list_stores() == ["both", "doc", "settings"]
        service.clear_cache()
        assert service.list_stores() == ["both", "settings"]
        assert service.get_store("both").metadata == {}
        assert elsewhere.has_key("settings", "cached")

    def test_the_cache_of_many_stores_is_cleared_in_one_append(self, engine, service):
        for number in range(30):
            service.set_cache_key(f"s{number}", "a", number)
        appends = len(list(engine.log.appends()))
        service.clear_cache()
        assert len(list(engine.log.appends())) == appends + 1
        assert service.count_stores() == 0
        service.clear_cache()
        assert len(list(engine.log.appends())) == appends + 1

    def test_the_work_for_one_store_more_is_its_rows(self, service, monkeypatch):
        def statements(name, stores):
            for number in range(stores):
                service.set_cache_key(f"{name} {number}", "a", number)
            service.list_keys(f"{name} 0")
            with monkeypatch.context() as patch:
                for method in ("execute", "execute_many"):
                    patch.setattr(CompiledStatement, method, counted(getattr(CompiledStatement, method)))
                calls.clear()
                service.clear_cache()
            assert service.count_stores() == 0
            return len(calls)

        def counted(method):
            return lambda *given: calls.append(method.__name__) or method(*given)

        calls = []
        assert statements("a", 20) == statements("b", 200) < 20

    @pytest.mark.parametrize("policy", ["", "EVICT", "forever", 1, None])
    def test_bad_policies(self, engine, service, store, policy):
        calls = [
            lambda: service.set_key("settings", "a", 1, policy=policy),
            lambda: service.create_store("a", policy=policy),
            lambda: service.update_policy("settings", "a", policy),
            lambda: ExecutionStore("settings", service, policy),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="policy must be 'persist' or 'evict'"):
                call()
        assert engine.log.head().position == 0


class TestStores:
    def test_a_key_makes_its_store(self, service, clock):
        assert service.get_store("s") is None
        assert not service.has_store("s")
        service.set_key("s", "a", 1)
        found = service.get_store("s")
        assert (found.store_name, found.key, found.metadata, found.value) == ("s", "__store__", {}, {})
        assert found.created_at == moment(START)
        assert service.list_stores() == ["s"]

    def test_metadata_attach_to_a_store_that_has_keys(self, engine, service, clock):
        service.set_key("s", "a", 1)
        clock.pass_(1)
        made = service.create_store("s", {"m": 1}, "evict")
        assert (made.metadata, made.policy, made.created_at) == ({"m": 1}, "evict", moment(clock.now))
        engine.rebuild()
        assert service.get_store("s") == made
        assert (service.list_keys("s"), service.count_keys("s")) == (["a"], 1)
        assert kinds(engine) == ["key set", "store created"]
        with pytest.raises(ConflictError, match="exists already") as caught:
            service.create_store("s")
        assert isinstance(caught.value, ValueError)
        service.clear_cache()
        assert service.get_store("s").metadata == {}
        assert service.create_store("s", {"m": 2}).metadata == {"m": 2}
        assert service.delete_store("s") == 2
        engine.verify()

    def test_creating_one(self, service, clock):
        made = service.create_store("s", {"b": 1, "a": [2]})
        assert made == service.get_store("s")
        assert made.metadata == {"a": [2], "b": 1}
        assert made.policy == "persist"
        assert service.list_keys("s") == []
        with pytest.raises(ConflictError, match="exists already"):
            service.create_store("s")

    def test_what_has_expired_is_no_store(self, engine, service, clock):
        service.set_key("s", "a", 1, ttl=1)
        clock.pass_(1)
        assert service.create_store("s").created_at == moment(clock.now)
        assert kinds(engine) == ["key set", "key evicted", "store created"]

    def test_deleting_one(self, service, clock):
        service.create_store("s")
        service.set_key("s", "a", 1)
        service.set_key("s", "b", 1, ttl=1)
        service.set_key("t", "a", 1)
        clock.pass_(1)
        assert service.delete_store("s") == 2
        assert service.delete_store("s") == 0
        assert service.list_stores() == ["t"]
        service.set_key("s", "c", 1)
        assert service.list_keys("s") == ["c"]
        assert service.get_store("s").created_at == moment(clock.now)

    def test_cleanup(self, service):
        elsewhere = ExecutionStoreService(dataset_id="d")
        for each in (service, elsewhere):
            each.create_store("s")
            each.set_key("t", "a", 1)
        assert service.cleanup() is None
        assert service.count_stores() == 0
        assert elsewhere.list_stores() == ["s", "t"]

    def test_contexts(self, engine, service):
        identity = UUID(int=5)
        contexts = [None, "d", identity, ObjectId()]
        services = [ExecutionStoreService(dataset_id=context) for context in contexts]
        for number, each in enumerate(services):
            made = each.set_key("s", "a", number)
            assert made.dataset_id is contexts[number]
        assert [each.get_key("s", "a").value for each in services] == [0, 1, 2, 3]
        assert ExecutionStoreService(dataset_id=str(identity)).get_key("s", "a").value == 2
        assert service.has_store_global("s")
        assert service.count_stores_global() == 4
        assert {store.dataset_id for store in service.list_stores_global()} == {
            None,
            *map(str, contexts[1:]),
        }
        # Of one type, and equal to what was given.
        listed = [store.dataset_id for store in service.list_stores_global()]
        assert all(context in listed for context in contexts)
        assert {isinstance(each, str) for each in listed if each} == {True}
        services[1].set_key("s", "b", 1)
        services[2].create_store("s")
        assert service.delete_store_global("s") == 6
        assert service.delete_store_global("s") == service.count_stores_global() == 0

    def test_contexts_where_bson_is_installed(self, engine, monkeypatch):
        bson = types.ModuleType("bson.objectid")
        bson.ObjectId = ObjectId
        monkeypatch.setitem(sys.modules, "bson", types.ModuleType("bson"))
        monkeypatch.setitem(sys.modules, "bson.objectid", bson)
        for context in (None, "65F0C0FFEE65F0C0FFEE0000", ObjectId()):
            ExecutionStoreService(dataset_id=context).set_key("s", "a", 1)
        listed = [store.dataset_id for store in ExecutionStoreService().list_stores_global()]
        assert [(type(each), each and str(each)) for each in listed[:1]] == [(type(None), None)]
        assert {str(each): type(each) is ObjectId for each in listed[1:]} == {
            "65F0C0FFEE65F0C0FFEE0000": False,
            str(ObjectId()): True,
        }

    def test_many_stores_take_no_more_queries_than_few(self, tmp_path, clock):
        with framelode.connect(tmp_path / "engine", clock=clock) as engine:
            service = ExecutionStoreService()
            calls = (service.list_stores_global, service.count_stores, service.clear_cache)
            asked = []
            for number in range(30):
                service.set_key(f"s{number}", "a", number)
                if number in (2, 29):
                    service.count_stores()
                    with engine.session.runner.store.read() as connection:
                        raw = connection.connection.driver_connection
                    statements = []
                    raw.set_trace_callback(statements.append)
                    for call in calls:
                        call()
                    raw.set_trace_callback(None)
                    asked.append(statements)
            assert 0 < len(asked[0]) == len(asked[1])
        engine.close()

    @pytest.mark.parametrize(
        ("context", "error"),
        [("", ValueError), ("a\0", ValueError), (5, TypeError), (ObjectId("xyz"), TypeError)],
    )
    def test_bad_contexts(self, engine, context, error):
        with pytest.raises(error, match="dataset_id"):
            ExecutionStore.create("s", context)

    def test_collections(self, engine, store):
        other = ExecutionStore.create("settings", collection_name="other")
        store.set("a", 1)
        assert not other.has("a")
        assert other.list_stores() == []
        other.set("a", 2)
        assert store.get("a") == 1
        assert other.service.count_stores_global() == 1

    def test_a_repo_of_ones_own(self, engine):
        class Repo(EngineStoreRepo):
            asked = 0

            def get_key(self, store_name, key):
                self.asked += 1
                return super().get_key(store_name, key)

        repo = Repo(engine, "d")
        service = ExecutionStoreService(repo, collection_name="ignored")
        service.set_key("s", "a", 1)
        assert service.dataset_id == "d"
        assert service.get_key("s", "a").value == 1
        assert repo.asked == 1
        with pytest.raises(ValueError, match="the repo has the dataset id 'd'"):
            ExecutionStoreService(repo, "e")

    def test_a_repo_that_is_no_engines(self):
        class Fixed(DictRepo):
            dataset_id = None

        store = ExecutionStore("s", ExecutionStoreService(Fixed()))
        store.set("a", 1)
        assert store.get("a") == 1
        assert store.get("b") is None
        with pytest.raises(UsageError, match="keeps no history"):
            store.history("a")

    def test_without_an_engine(self, monkeypatch, tmp_path):
        monkeypatch.delenv("FRAMELODE_URL", raising=False)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError, match="no engine here"):
            ExecutionStore.create("s")

    def test_it_stays_with_its_engine(self, store, tmp_path):
        store.set("a", 1)
        with framelode.connect(tmp_path / "other") as other:
            assert store.get("a") == 1
            assert ExecutionStore.create("settings").get("a") is None
        other.close()


class DictRepo(ExecutionStoreRepo):
    """Enough of a repository for one test."""

    def __init__(self):
        self.kept = {}

    def set_key(self, store_name, key, value, ttl, policy, *, command_id):
        self.kept[store_name, key] = KeyDocument(store_name, key, value)

    def get_key(self, store_name, key):
        return self.kept.get((store_name, key))


DictRepo.__abstractmethods__ = frozenset()


class TestDocuments:
    def test_there_and_back(self):
        at = datetime(2024, 1, 1, tzinfo=UTC)
        document = KeyDocument("s", "k", {"a": 1}, "id", "d", at, at, at, KeyPolicy.EVICT)
        plain = document.to_mongo_dict()
        assert "_id" not in plain
        assert plain["policy"] == "evict"
        assert type(plain["policy"]) is str
        assert document.to_mongo_dict(exclude_id=False)["_id"] == "id"
        assert KeyDocument.from_dict(document.to_mongo_dict(False)) == document
        store = StoreDocument("s", value={"m": 1})
        assert StoreDocument.from_dict(store.to_mongo_dict()) == store
        assert store.metadata == {"m": 1}
        assert StoreDocument("s").metadata == {}

    def test_without_a_policy(self):
        plain = {"store_name": "s", "key": "k", "value": 1}
        assert KeyDocument.from_dict(plain).policy is KeyPolicy.PERSIST
        expiring = plain | {"expires_at": datetime(2024, 1, 1, tzinfo=UTC)}
        assert KeyDocument.from_dict(expiring).policy is KeyPolicy.EVICT
        assert KeyDocument.from_dict(expiring | {"policy": "persist"}).policy is KeyPolicy.PERSIST
        assert plain == {"store_name": "s", "key": "k", "value": 1}

    @pytest.mark.parametrize(
        ("doc", "error"),
        [
            (None, TypeError),
            ({"store_name": "s"}, TypeError),
            ({"store_name": "s", "key": "k", "value": 1, "x": 2}, TypeError),
            ({"store_name": "s", "key": "k", "value": 1, "policy": "x"}, ValueError),
        ],
    )
    def test_what_is_no_document(self, doc, error):
        with pytest.raises(error) as caught:
            KeyDocument.from_dict(doc)
        assert isinstance(caught.value, UsageError)

    def test_expiration(self):
        assert KeyDocument.get_expiration(None) is None
        soon = StoreDocument.get_expiration(60)
        assert timedelta(0) < soon - datetime.now(UTC) <= timedelta(seconds=60)


class TestLooks:
    def test_repr(self, store):
        assert repr(store) == "ExecutionStore('settings', default_policy='persist')"
        assert (
            repr(ExecutionStore.create("a", "d"))
            == "ExecutionStore('a', dataset_id='d', default_policy='persist')"
        )
        assert repr(store.service).startswith("ExecutionStoreService(EngineStoreRepo(Engine(")

    def test_html(self, engine, store):
        store.set_many({f"<b>{n}": "<script>" for n in range(30)}, ttl=100)
        shown = store._repr_html_()
        assert "<script>" not in shown
        assert "<b>0" not in shown
        assert "30" in shown
        engine.close()
        assert "is closed" in store._repr_html_()


class TestMany:
    def test_more_than_a_batch(self, engine, store):
        store.set_many({f"k{n}": n for n in range(10_001)})
        assert [header.count for header in engine.log.headers()] == [10_000, 1]
        assert store.service.count_keys("settings") == 10_001
        assert store.get("k10000") == 10_000
        store.clear()
        assert store.list_keys() == []
        engine.verify()

    def test_batches_close_at_8_mb(self, engine, store):
        store.set_many({str(n): bytes(3_000_000) for n in range(5)})
        assert [header.count for header in engine.log.headers()] == [2, 2, 1]

    def test_keys_that_were_there(self, store, clock):
        store.set("old", 1)
        store.set("expired", 1, ttl=1)
        clock.pass_(1)
        store.set_many({"old": 2, "expired": 2, "new": 2}, ttl=5, policy="persist")
        created = {key: store.get_metadata(key)["created_at"] for key in ("old", "expired", "new")}
        assert created == {"old": moment(START), "expired": moment(clock.now), "new": moment(clock.now)}
        assert {store.get_metadata(key)["policy"] for key in created} == {"evict"}

    def test_what_is_no_mapping(self, store):
        with pytest.raises(TypeError, match="a mapping of keys to values"):
            store.set_many([("a", 1)])


class TestCommands:
    def test_repeated(self, engine, service, clock):
        first = service.set_key("s", "a", 1, ttl=5, command_id="x")
        clock.pass_(1)
        assert service.set_key("s", "a", 1, ttl=5, command_id="x") == first
        assert service.update_ttl("s", "a", None, command_id="t").expires_at is None
        assert service.update_ttl("s", "a", None, command_id="t").expires_at is None
        assert service.update_policy("s", "a", "evict", command_id="p").policy == "evict"
        assert service.delete_key("s", "a", command_id="y") is True
        assert service.delete_key("s", "a", command_id="y") is True
        made = service.create_store("t", command_id="z")
        assert service.create_store("t", command_id="z") == made
        assert service.delete_store("t", command_id="d") == service.delete_store("t", command_id="d") == 1
        assert engine.log.head().position == 6

    def test_repeated_with_keys_in_another_order(self, engine, store, service):
        value, same = {"b": 1, "a": 2}, {"a": 2, "b": 1}
        service.set_key("s", "a", value, command_id="x")
        service.set_key("s", "a", same, command_id="x")
        service.set_many("s", {"b": value}, command_id="y")
        service.set_many("s", {"b": same}, command_id="y")
        assert repr(service.get_key("s", "a").value) == repr(value)
        assert engine.log.head().position == 2

    def test_for_something_else(self, service):
        service.set_key("s", "a", 1, command_id="x")
        for call in (
            lambda: service.set_key("s", "a", 2, command_id="x"),
            lambda: service.set_key("s", "b", 1, command_id="x"),
            lambda: service.set_key("s", "a", 1, ttl=1, command_id="x"),
            lambda: service.delete_key("s", "a", command_id="x"),
            lambda: service.set_many("s", {"a": 1}, command_id="x"),
        ):
            with pytest.raises(ConflictError, match="was recorded for another request"):
                call()

    def test_many_that_were_interrupted(self, engine, store, monkeypatch):
        monkeypatch.setattr(stores_writer, "BATCH_EVENTS", 100)
        values = {f"k{n}": n for n in range(250)}
        append, calls = engine.log.append, itertools.count()

        def fail(append_):
            if next(calls) == 2:
                raise KeyboardInterrupt
            return append(append_)

        monkeypatch.setattr(engine.log, "append", fail)
        with pytest.raises(KeyboardInterrupt):
            store.set_many(values, command_id="many")
        assert store.service.count_keys("settings") == 200
        store.set_many(values, command_id="many")
        store.set_many(values, command_id="many")
        assert engine.log.head().position == store.service.count_keys("settings") == 250
        with pytest.raises(ConflictError):
            store.set_many(values | {"k0": -1}, command_id="many")


class TestOthers:
    def test_two_services_see_each_other(self, engine, clock, tmp_path):
        other = framelode.connect(engine.url, clock=clock)
        one, two = (
            ExecutionStore("s", ExecutionStoreService(EngineStoreRepo(each))) for each in (engine, other)
        )
        for number in range(30):
            writer, reader = (one, two) if number % 2 else (two, one)
            writer.set("a", number)
            assert reader.get("a") == number
            writer.set(f"k{number}", 1, ttl=number)
            assert reader.service.count_keys("s") == writer.service.count_keys("s")
        assert one.delete("a")
        assert not two.has("a")
        assert one.service.delete_store("s") == two.service.count_keys("s") + 29
        assert two.list_keys() == []
        two.set("b", 1)
        assert one.list_keys() == ["b"]
        other.close()
        engine.verify()

    def test_more_news_than_are_folded_in_memory(self, engine, store, clock, tmp_path):
        other = framelode.connect(engine.url, clock=clock)
        theirs = ExecutionStore("settings", ExecutionStoreService(EngineStoreRepo(other)))
        store.set("a", 1)
        theirs.set_many({f"k{n}": n for n in range(3000)})
        theirs.set("a", 2)
        assert store.get("a") == 2
        assert store.get("k2999") == 2999
        store.set("k1", "mine")
        assert theirs.get("k1") == "mine"
        other.close()

    def test_another_writes_between_decision_and_append(self, engine, clock, monkeypatch):
        other = framelode.connect(engine.url, clock=clock)
        ours, theirs = (ExecutionStoreService(EngineStoreRepo(each)) for each in (engine, other))
        append = engine.log.append

        def late(given):
            monkeypatch.setattr(engine.log, "append", append)
            theirs.set_key("s", "b", 2, policy="evict")
            return append(given)

        for name in ("s", "t"):
            ours.set_cache_key(name, "a", 1)
        monkeypatch.setattr(engine.log, "append", late)
        ours.clear_cache()
        assert ours.count_stores() == theirs.count_stores() == 0
        assert [each.kind for each in ExecutionStore("s", ours).history("b")] == ["set", "evicted"]
        # What others write elsewhere is nobody's conflict.
        monkeypatch.setattr(engine.log, "append", late)
        ours.set_key("t", "a", 3)
        assert (ours.get_key("t", "a").value, ours.get_key("s", "b").value) == (3, 2)
        other.close()

    def test_threads_lose_nothing(self, engine, store):
        barrier = threading.Barrier(4, timeout=PATIENCE)

        def write(thread):
            barrier.wait()
            for number in range(25):
                store.set(f"{thread} {number}", number)
                assert store.get(f"{thread} {number}") == number
            return True

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(write, range(4)))
        assert store.service.count_keys("settings") == engine.log.head().position == 100

    def test_engines_lose_nothing(self, engine, tmp_path):
        def write(thread):
            mine = framelode.connect(engine.url)
            store = ExecutionStore("s", ExecutionStoreService(EngineStoreRepo(mine)))
            for number in range(20):
                store.set(f"{thread} {number}", number)
                store.set("shared", [thread, number])
            mine.close()

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(write, range(3)))
        store = ExecutionStore.create("s")
        assert store.service.count_keys("s") == 61
        assert engine.log.head().position == 120
        changes = [change for change in store.history("shared") if change.before]
        assert len(changes) == 59
        engine.verify()

    def test_pickled(self, engine):
        store = ExecutionStore.create("settings", "d", "evict", "mine")
        store.set("a", 1)
        theirs = pickle.loads(pickle.dumps(store))
        assert (theirs.get("a"), repr(theirs)) == (1, repr(store))
        theirs.set("a", 2)
        assert store.get("a") == 2
        theirs.service.repo.session.close()

    def test_an_engine_is_no_repo(self, engine):
        with pytest.raises(
            TypeError, match=r"must be an ExecutionStoreRepo, not .*pass EngineStoreRepo\(engine\)"
        ):
            ExecutionStoreService(engine)

    def test_a_dict_that_changes_while_it_is_read(self, engine, store):
        filled = {}

        class Filling(UserDict):
            def items(self):
                filled[f"another {len(filled)}"] = 1
                return super().items()

        filled.update(first=Filling(a=1), second=2)
        store.set("k", filled)
        assert store.get("k") == {"first": {"a": 1}, "second": 2}
        frame = framelode.SingleFrame(id="f", metadata=filled)
        assert frame.metadata["first"] == {"a": 1}

    def test_frames_in_between(self, engine, store):
        framelode.DatasetVersion.create_new_dataset("food")
        draft = framelode.DatasetVersion.get_current(dataset_name="food")
        store.set("a", 1)
        draft.add_frames([framelode.SingleFrame(id="f", source="s3://b/f.jpg")])
        store.set("a", 2)
        assert store.get("a") == 2
        assert draft.get_single_frame("f").id == "f"
        engine.verify()


@contextmanager
def worker(command, folder):
    """A process that does something to the stores of a folder."""
    process = Program("store_worker", command, folder)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class TestProcesses:
    def test_they_see_each_other_at_once(self, tmp_path):
        folder = tmp_path / "engine"
        with framelode.connect(folder) as engine, worker("answer", folder) as process:
            store = ExecutionStore.create("shared")

            def ask(*request):
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
                return json.loads(process.stdout.readline())

            for number in range(20):
                store.set("mine", number)
                assert ask("get", "mine") == number
                ask("set", "theirs", [number])
                assert store.get("theirs") == [number]
                assert ask("list_keys") == store.list_keys()
            ask("set", "short", 1, 0)
            assert not store.has("short")
            assert ask("delete", "mine") is True
            assert store.delete("mine") is False
            engine.verify()
        engine.close()

    def test_conditional_sets_are_atomic(self, tmp_path):
        folder, told = tmp_path / "engine", queue.Queue()
        with framelode.connect(folder) as engine, worker("race", folder) as process:
            store = ExecutionStore.create("shared")
            store.set("count", 0)
            store.subscribe(told.put)
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("go\n")
            process.stdin.flush()
            taken = store_worker.race(store) + json.loads(process.stdout.readline())
            assert sorted(taken) == list(range(store_worker.LOCKS))
            assert store.get("count") == 2 * store_worker.COUNTED
            counts = []
            while not counts or counts[-1] < 2 * store_worker.COUNTED:
                message = told.get(timeout=PATIENCE)
                counts += [message.value] if message.key == "count" else []
            assert counts == list(range(counts[0], 2 * store_worker.COUNTED + 1))
            engine.verify()
        engine.close()

    def test_killed_amid_set_many(self, tmp_path, monkeypatch):
        monkeypatch.setattr(stores_writer, "BATCH_EVENTS", store_worker.BATCH_EVENTS)
        folder = tmp_path / "engine"
        with worker("set_many", folder) as process:
            assert process.stdout.readline() == "two parts\n"
            process.kill()
        with framelode.connect(folder) as engine:
            store = ExecutionStore.create("shared")
            assert store.service.count_keys("shared") == engine.log.head().position == 2_000
            for _ in range(2):
                store.set_many(store_worker.MANY, command_id="many")
            assert {key: store.get(key) for key in store.list_keys()} == store_worker.MANY
            assert engine.log.head().position == 2_500
            with pytest.raises(ConflictError, match="was recorded for another request"):
                store.set_many({"key 0": 0}, command_id="many")
            engine.verify()
        engine.close()


class TestDatabases:
    def test_sqlite_and_postgresql_record_the_same(self, tmp_path, postgres_url):
        logs = []
        for number, url in enumerate((tmp_path / "engine", postgres_url)):
            clock, ids = Clock(), itertools.count(1)
            blobs = tmp_path / f"blobs {number}"
            with framelode.connect(
                url, clock=clock, new_id=lambda ids=ids: f"{next(ids):032x}", blobs=blobs
            ) as engine:
                with framelode.acting(actor="me"):
                    self.use(ExecutionStore.create("s", "d"), clock)
                engine.verify()
                logs.append((engine.log.uuid, engine.log.head(), kinds(engine)))
            engine.close()
        assert logs[0] == logs[1]

    def use(self, store, clock):
        store.service.create_store("s", {"m": [1]}, "evict")
        store.set_many({key: key for key in HOSTILE}, ttl=1)
        store.set_many({f"k{n}": bytes([n]) for n in range(50)}, command_id="c")
        clock.pass_(1)
        store.set("é", UUID(int=1))
        store.update_ttl("k1", 5)
        store.update_policy("k2", "evict")
        store.delete("k3")
        store.clear_cache()
        assert store.list_keys() == [*sorted(f"k{n}" for n in range(50) if n not in {1, 2, 3}), "é"]
        store.clear()
        store.set("last", None)
        assert store.service.delete_store("s") == 1


class TestLog:
    def test_history(self, engine, store, clock):
        with framelode.acting(actor="cook"):
            store.set("a", {"x": b"\0"}, ttl=9)
        clock.pass_(1)
        store.update_ttl("a", None)
        store.update_policy("a", "evict")
        store.set("b", 1)
        store.delete("a")
        store.service.delete_store("settings")
        found = list(store.history("a"))
        assert [(change.position, change.kind, change.actor) for change in found][:1] == [(1, "set", "cook")]
        assert [change.kind for change in found] == ["set", "ttl_changed", "policy_changed", "deleted"]
        assert found[0].before is found[-1].after is None
        assert found[0].after.value == found[-1].before.value == {"x": b"\0"}
        assert found[1].before.expires_at == moment(START + 9 * SECOND)
        assert found[1].after.expires_at is None
        assert (found[2].before.policy, found[2].after.policy) == ("persist", "evict")
        assert found[1].at == moment(START + SECOND)
        assert [change.kind for change in store.history("b")] == ["set", "store_deleted"]
        everything = list(store.history())
        assert [change.position for change in everything] == [1, 2, 3, 4, 5, 6]
        assert list(ExecutionStore.create("unknown").history("a")) == []

    def test_the_engines_history(self, engine, store, service):
        service.create_store("settings", {"m": b"\xff"})
        store.set("a", UUID(int=1))
        store.set("a", 2)
        store.delete("a")
        changes = list(engine.history())
        assert [str(change.subject) for change in changes] == ["store", "key", "key", "key"]
        assert changes[0].after["value"] == {"m": {"$bytes": "/w=="}}
        assert changes[2].before["value"] == {"$uuid": str(UUID(int=1))}
        assert changes[3].before["value"] == 2
        assert json.dumps([change.to_dict(images=True) for change in changes])
        assert [change.position for change in engine.history(kinds="set")] == [2, 3]

    def test_verify_and_rebuild(self, engine, store):
        store.set_many({"a": 1, "b": 2}, ttl=10**6)
        assert engine.verify().problems == []
        tables = engine.session.shared(store_reader).tables
        with engine.session.shared(store_reader).listing() as connection:
            connection.execute(tables.document.delete())
        assert not store.list_keys()
        with pytest.raises(framelode.IntegrityError, match="projection stores"):
            engine.verify()
        engine.rebuild()
        assert store.list_keys() == ["a", "b"]
        engine.verify()

    @pytest.mark.parametrize("name", ["log.jsonl.zst", "log.parquet"])
    def test_export_and_import(self, engine, store, tmp_path, clock, name):
        if name.endswith("parquet"):
            pytest.importorskip("pyarrow")
        store.set_many({"a": b"\xff", "b": [UUID(int=3), datetime(2024, 1, 1, tzinfo=UTC)]}, ttl=5)
        store.update_policy("a", "persist")
        store.service.create_store("m", {"x": 1})
        engine.export_log(tmp_path / name)
        with framelode.connect(tmp_path / "copy", clock=clock) as copy:
            copy.import_log(tmp_path / name)
            taken = ExecutionStore.create("settings")
            assert {key: taken.get(key) for key in taken.list_keys()} == {
                "a": b"\xff",
                "b": [UUID(int=3), datetime(2024, 1, 1, tzinfo=UTC)],
            }
            assert copy.log.head() == engine.log.head()
            copy.verify()
        copy.close()

    def test_an_export_of_a_dataset_leaves_them_out(self, engine, tmp_path):
        dataset = framelode.DatasetVersion.create_new_dataset("food")
        ExecutionStore.create("s", dataset.id).set("a", 1)
        engine.export_log(tmp_path / "food.jsonl", dataset="food")
        with framelode.connect(tmp_path / "copy") as copy:
            copy.import_log(tmp_path / "food.jsonl")
            assert ExecutionStore.create("s").service.count_stores_global() == 0
            assert not any("Key" in topic for header in copy.log.headers() for topic in header.topics)
        copy.close()

    def test_gc_leaves_them_alone(self, engine, store):
        store.set("a", "blobs:" + "0a" * 32)
        assert engine.gc(dry_run=False) is not None
        assert store.has("a")


class TestPast:
    def test_any_position(self, engine, store, clock):
        store.set("a", 1, ttl=1)
        clock.pass_(0.5)
        store.set("b", 1)
        clock.pass_(5)
        store.set("a", 2)
        seen = []
        for position in range(engine.log.head().position + 1):
            with engine.at(position):
                past = ExecutionStore.create("settings")
                seen.append(
                    ({key: past.get(key) for key in past.list_keys()}, past.service.count_keys("settings"))
                )
        assert seen == [({}, 0), ({"a": 1}, 1), ({"a": 1, "b": 1}, 2), ({"b": 1}, 1), ({"a": 2, "b": 1}, 2)]

    def test_keys_expire_between_events(self, engine, store, clock):
        store.set("a", 1, ttl=10)
        clock.pass_(100)
        store.set("b", 1)
        for seconds, there in ((0, True), (9.999999, True), (10, False), (99, False)):
            with engine.at(moment(START + round(seconds * SECOND))):
                past = ExecutionStore.create("settings")
                assert past.has("a") == there
                assert past.list_keys() == (["a"] if there else [])
        with engine.at(1) as view:
            assert ExecutionStore.create("settings").has("a")
            assert view.at(moment(START + 50 * SECOND)) is view
        later = engine.at(moment(START + 50 * SECOND))
        assert later.as_of == 1
        assert later.at(1) is later
        copied = pickle.loads(pickle.dumps(later))
        assert copied.session.now() == later.session.now() == START + 50 * SECOND
        copied.session.present.close()

    def test_connected_at_a_moment(self, engine, store, clock, tmp_path):
        store.set("a", 1, ttl=10)
        clock.pass_(100)
        store.set("a", 2)
        with framelode.connect(engine.url, as_of=moment(START + 10 * SECOND)) as view:
            assert not ExecutionStore.create("settings").has("a")
        view.close()
        with framelode.connect(engine.url, as_of=1) as view:
            past = ExecutionStore.create("settings")
            assert past.get("a") == 1
            assert [change.kind for change in past.history("a")] == ["set"]
            for write in (lambda: past.set("a", 1), past.clear, past.clear_cache, lambda: past.delete("a")):
                with pytest.raises(UsageError, match="read-only"):
                    write()
        view.close()

    @pytest.mark.parametrize("cut", [1, 5_000, 9_999])
    def test_within_a_batch(self, engine, store, cut):
        store.set_many({f"k{n}": n for n in range(10_000)})
        with engine.at(cut):
            past = ExecutionStore.create("settings")
            assert past.service.count_keys("settings") == cut
            assert past.has(f"k{cut - 1}")
            assert not past.has(f"k{cut}")


class TestDamage:
    def test_a_closed_engine(self, engine, store):
        store.set("a", 1)
        engine.close()
        for call in (lambda: store.get("a"), lambda: store.set("a", 1), store.list_keys):
            with pytest.raises(UsageError, match="is closed"):
                call()

    def test_a_projection_that_was_deleted(self, engine, store, tmp_path, clock):
        store.set_many({"a": 1, "b": 2})
        assert store.list_keys()
        engine.close()
        for file in (tmp_path / "engine").glob("projections.db*"):
            file.unlink()
        with framelode.connect(engine.url, clock=clock) as again:
            assert ExecutionStore.create("settings").list_keys() == ["a", "b"]
        again.close()

    def test_errors_are_of_the_tree(self):
        assert issubclass(InvalidTypeError, TypeError)
        assert issubclass(InvalidValueError, ValueError)
        assert InvalidTypeError.exit_status == 2


class TestInMemory:
    def test_it_is_the_same(self, clock):
        with framelode.connect("sqlite://", clock=clock) as engine:
            store = ExecutionStore.create("s")
            store.set_many({"a": 1, "b": 2}, ttl=1)
            store.set("a", 3)
            clock.pass_(1)
            assert store.list_keys() == ["a"]
            engine.rebuild()
            assert store.get("a") == 3
            assert store.service.delete_store("s") == 1
            engine.verify()
        engine.close()


def test_a_clock_before_1970_writes_what_can_be_read(tmp_path):
    times = [1_700_000_000_000_000]
    with framelode.connect(tmp_path / "e", clock=lambda: times[0]) as engine:
        store = ExecutionStore.create("s")
        times[0] = -10_000_000
        store.set("k", 1, ttl=5)
        with framelode.connect(tmp_path / "fresh", clock=lambda: times[0]) as fresh:
            ExecutionStore.create("t").set("k", 1, ttl=5)
            assert fresh.verify().problems == []
        times[0] = 1_700_000_001_000_000
        assert (store.get("k"), store.list_keys()) == (None, [])
        assert engine.verify().problems == []
