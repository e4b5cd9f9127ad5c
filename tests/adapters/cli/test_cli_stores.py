"""`framelode store`: keys and values from the command line."""

from __future__ import annotations

import json

import pytest
from command_line import run, run_json
from typer.testing import CliRunner

import framelode
from framelode.adapters.cli.app import app
from framelode.adapters.execution_store.store import ExecutionStore


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An engine with two stores, found from the working directory."""
    monkeypatch.delenv("FRAMELODE_URL", raising=False)
    monkeypatch.setenv("FRAMELODE_ACTOR", "cook")
    folder = tmp_path / "engine"
    with framelode.connect(folder) as engine:
        store = ExecutionStore.create("settings")
        store.set("text", "é\n\x1b[31m")
        store.set("bytes", {"b": b"\xff"}, ttl=10**6)
        ExecutionStore.create("settings", "d").set("other", 1)
    engine.close()
    monkeypatch.chdir(folder)


def test_ls():
    found = run_json("store", "ls")["stores"]
    assert [(each["store"], each["dataset"], each["keys"]) for each in found] == [
        ("settings", None, 2),
        ("settings", "d", 1),
    ]
    assert [each["dataset"] for each in run_json("store", "ls", "--dataset", "d")["stores"]] == ["d"]
    assert run_json("store", "ls", "--collection", "other") == {"stores": []}
    keys = run_json("store", "ls", "settings")["keys"]
    assert [(each["key"], each["value"], each["policy"]) for each in keys] == [
        ("text", "é\n\x1b[31m", "persist"),
        ("bytes", {"b": {"$bytes": "/w=="}}, "evict"),
    ]
    printed = run("store", "ls", "settings").stdout
    assert "\x1b" not in printed
    assert "evict" in printed
    assert "settings" in run("store", "ls").stdout
    assert "store not found: 'x'" in run("store", "ls", "x", status=4).stderr
    assert [each["key"] for each in run_json("store", "ls", "settings", "--as-of", "1")["keys"]] == ["text"]


def test_set_and_get():
    assert (
        run("store", "set", "settings", "new", '{"x": [1, {"$bytes": "AAE="}]}').stdout
        == "set new of settings\n"
    )
    assert json.loads(run("store", "get", "settings", "new").stdout) == {"x": [1, {"$bytes": "AAE="}]}
    made = run_json("store", "set", "settings", "new", "words", "--text", "--ttl", "7d", "--actor", "me")[
        "key"
    ]
    assert (made["value"], made["policy"]) == ("words", "evict")
    assert made["expires"] > made["updated"] > made["created"]
    assert run_json("store", "get", "settings", "new")["key"] == made
    done = CliRunner().invoke(app, ["store", "set", "settings", "piped", "-"], input='{"a": null}')
    assert done.exit_code == 0
    assert run("store", "get", "settings", "piped").stdout == '{"a": null}\n'
    assert run_json("store", "get", "settings", "other", "--dataset", "d")["key"]["value"] == 1
    assert run("store", "get", "settings", "text", "--as-of", "1").stdout.startswith('"é')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a", "words"), "is not JSON"),
        (("a", "18446744073709551616"), "must be an integer from"),
        (("a", "9" * 5000), "is not JSON (Exceeds the limit"),
        (("a", '{"$uuid": "x"}'), "$uuid"),
        (("a", "1", "--ttl", "soon"), "is not a duration"),
        (("a", "1", "--policy", "forever"), "policy must be"),
        (("__store__", "1"), "the store's own"),
    ],
)
def test_what_is_refused(arguments, message):
    assert message in run("store", "set", "settings", *arguments, status=2).stderr


def test_rm_and_history():
    assert run("store", "rm", "settings", "text").stdout == "deleted text of settings\n"
    assert "has no key 'text'" in run("store", "rm", "settings", "text", status=4).stderr
    assert "has no key 'text'" in run("store", "get", "settings", "text", status=4).stderr
    assert run_json("store", "rm", "settings") == {"store": "settings", "key": None, "documents": 1}
    assert "store not found" in run("store", "rm", "settings", status=4).stderr
    lines = run("store", "history", "settings", "--json").stdout.splitlines()
    changes = [json.loads(line) for line in lines]
    assert [(change["position"], change["kind"], change["key"], change["actor"]) for change in changes] == [
        (1, "set", "text", "cook"),
        (2, "set", "bytes", "cook"),
        (4, "deleted", "text", "cook"),
        (5, "store_deleted", None, "cook"),
    ]
    assert changes[2]["before"]["value"] == "é\n\x1b[31m"
    assert changes[2]["after"] is None
    of_key = run("store", "history", "settings", "bytes").stdout.splitlines()
    assert len(of_key) == 2
    assert of_key[1].endswith('bytes store deleted: was {"b": {"$bytes": "/w=="}}')
    assert len(run("store", "history", "settings", "--as-of", "2").stdout.splitlines()) == 2
    assert "no history of" in run("store", "history", "settings", "x", status=4).stderr


def test_what_changed_is_shown():
    run("store", "set", "settings", "text", "2")
    assert run("store", "history", "settings", "text").stdout.splitlines()[-1].endswith(r"-> 2")


def test_they_are_in_the_log():
    lines = run("log").stdout.splitlines()
    assert [line.split("cook")[1].split("  ")[1] for line in lines] == ["store settings"] * 3
    entry = json.loads(run("log", "--json").stdout.splitlines()[0])
    assert (entry["store"], entry["events"]) == ("settings", ["key set"])
    assert run_json("rebuild")["events"] == 3
    run("verify")


def test_they_are_in_the_history_of_the_engine():
    run("store", "rm", "settings", "text", "--actor", "me")
    lines = [json.loads(line) for line in run("history", "--images", "--json").stdout.splitlines()]
    assert [(line["subject"], line["kind"], line["after"]["key"]) for line in lines[:2]] == [
        ("key", "set", "text"),
        ("key", "set", "bytes"),
    ]
    assert lines[1]["after"]["value"] == {"b": {"$bytes": "/w=="}}
    (last,) = [json.loads(line) for line in run("history", "--by", "me", "--json").stdout.splitlines()]
    assert (last["subject"], last["kind"]) == ("key", "deleted")
