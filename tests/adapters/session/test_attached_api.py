"""A public API attaches with its package, an entry in `PROJECTIONS` and one in `STREAMS`; all else works by itself."""

from __future__ import annotations

import json

import pytest
import rich_log
import sqlalchemy as sa
import toy_api
from blake3 import blake3
from command_line import run
from toy_api.api import ToyBox

import framelode
from framelode.engine.errors import IntegrityError, UsageError
from framelode.engine.events.domain import UploadedFile

UPLOADED = UploadedFile("s3://u/1.jpg", "1" * 64, 1)


@pytest.fixture(autouse=True)
def _attached(monkeypatch):
    toy_api.attach(monkeypatch.setattr)


@pytest.fixture
def engine(tmp_path, ticks):
    with framelode.connect(tmp_path / "engine", clock=ticks.clock, new_id=ticks.new_id) as engine:
        yield engine
    engine.close()


@pytest.fixture
def box(engine):
    framelode.DatasetVersion.create_new_dataset("food")
    box = ToyBox("red")
    box.pack("car", {"wheels": 4})
    box.pack("doll")
    return box


def rows(engine):
    with engine.session.read(toy_api.Toys) as (toys, connection):
        return connection.execute(sa.select(toys.toy)).all()


def test_it_writes_and_reads(engine, box):
    assert box.toys() == ["car", "doll"]
    assert [row.name for row in rows(engine)] == ["car", "doll"]


def test_the_history_says_what_happened(engine, box):
    first, second = engine.history(kinds="packed")
    assert (first.subject, first.kind, first.dataset_id) == ("toy", "packed", None)
    assert first.after == {"box": "red", "name": "car", "made_of": {"wheels": 4}}
    assert json.loads(json.dumps(second.to_dict(images=True)))["after"]["name"] == "doll"
    assert first in engine.history()


def test_the_log_is_readable(engine, box, tmp_path):
    lines = run("--engine", tmp_path / "engine", "log").stdout.splitlines()
    assert [line.split("tester  ")[1] for line in lines[:2]] == [
        "box red  toy doll packed",
        "box red  toy car packed",
    ]
    entry = json.loads(run("--engine", tmp_path / "engine", "log", "--json", "-n1").stdout)
    assert (entry["box"], entry["store"], entry["events"]) == ("red", None, ["toy doll packed"])
    assert "toy packed" in run("--engine", tmp_path / "engine", "history").stdout


def test_a_rebuild_gives_the_same_rows(engine, box):
    before = rows(engine)
    engine.rebuild()
    assert rows(engine) == before


def test_verify_finds_a_row_that_was_altered(engine, box):
    assert engine.verify().problems == []
    with engine.session.read(toy_api.Toys) as (toys, _), engine.session.database.write() as connection:
        connection.execute(sa.update(toys.toy).where(toys.toy.c.name == "car").values(name="bus"))
    with pytest.raises(IntegrityError, match="projection toys: table toys_toy_v1 differs"):
        engine.verify()
    engine.rebuild()
    engine.verify()
    assert box.toys() == ["car", "doll"]


def test_the_past(engine, box):
    end = engine.log.head().position
    box.pack("kite")
    assert box.toys(as_of=end) == ["car", "doll"]
    assert box.toys(as_of=end - 1) == ["car"]
    past = engine.at(end - 2)
    assert ToyBox("red", past).toys() == []
    assert ToyBox("red", engine.at(end)).toys() == ["car", "doll"]
    with pytest.raises(UsageError, match="read-only"):
        ToyBox("red", past).pack("ball")


def test_the_past_is_folded_of_its_own_events_alone(engine, box, monkeypatch):
    past = engine.at(engine.log.head().position)
    read = []
    bodies = past.session.log.bodies
    monkeypatch.setattr(past.session.log, "bodies", lambda firsts: read.extend(firsts) or bodies(firsts))
    assert ToyBox("red", past).toys() == ["car", "doll"]
    assert len(read) == 2


@pytest.mark.parametrize("name", ["log.jsonl.zst", "log.parquet"])
def test_export_and_import(engine, box, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    engine.export_log(tmp_path / name)
    with framelode.connect("sqlite://") as other:
        other.import_log(tmp_path / name)
        assert ToyBox("red").toys() == ["car", "doll"]
        assert other.verify().events == engine.log.head().position
        other.close()


@pytest.mark.parametrize("name", ["food.jsonl", "food.parquet"])
def test_a_dataset_leaves_it_behind(engine, box, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    engine.export_log(tmp_path / name, dataset="food")
    with framelode.connect("sqlite://") as other:
        other.import_log(tmp_path / name)
        assert other.dataset("food").name == "food"
        assert ToyBox("red").toys() == []
        other.close()


@pytest.mark.parametrize(
    ("write", "stream"),
    [
        (lambda engine: ToyBox("blue", engine).pack("car"), "toys-"),
        (lambda engine: rich_log.store(engine).set("key", 1), "store-"),
        (lambda engine: rich_log.pin(engine, {"a": {"spec": {"url": "x"}}}), "pins-"),
        (
            lambda engine: engine.session.writes.upload_commands.record_uploads("s3://u", [UPLOADED]),
            "uploads",
        ),
    ],
)
def test_a_dataset_brings_none_along(engine, tmp_path, write, stream):
    """The file of a whole log says that it is of a dataset."""
    dataset = framelode.DatasetVersion.create_new_dataset("food")
    write(engine)
    engine.export_log(tmp_path / "log.jsonl")
    header, *batches, footer = map(json.loads, (tmp_path / "log.jsonl").read_text("utf-8").splitlines())
    header["dataset"] = {"id": dataset.id, "project": "default", "name": "food"}
    content = "".join(json.dumps(line) + "\n" for line in (header, *batches)).encode()
    footer["digest"] = blake3(content).hexdigest()
    (tmp_path / "food.jsonl").write_bytes(content + json.dumps(footer).encode() + b"\n")
    with framelode.connect("sqlite://") as other:
        with pytest.raises(IntegrityError, match=f"'{stream}.*is not a stream of a dataset"):
            other.import_log(tmp_path / "food.jsonl")
        other.close()


def test_a_copy_takes_it_along(engine, box, tmp_path):
    engine.copy_to(tmp_path / "copy")
    with framelode.connect(tmp_path / "copy") as copy:
        assert ToyBox("red").toys() == ["car", "doll"]
        copy.verify()
        copy.close()
