"""Logs as portable files: what is exported is imported to the same positions and digests, and damage is found."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import histories
import msgspec
import pyarrow as pa
import pytest
import reader
import zstandard
from blake3 import blake3
from command_line import run, run_json
from eventsourcing.persistence import StoredEvent
from hypothesis import example, given
from hypothesis import strategies as st
from patience import PATIENCE
from pyarrow import parquet as pq
from sizes import examples

import framelode
from framelode import (
    ConflictError,
    DatasetVersion,
    FramelodeError,
    IntegrityError,
    InvalidValueError,
    NotFoundError,
    SingleFrame,
    StorageError,
    UsageError,
)
from framelode.adapters.portable import dataset_import as renumbering
from framelode.adapters.portable import events_json as event_lines
from framelode.adapters.portable import importing, jsonl, transfer
from framelode.adapters.portable import schema as lines
from framelode.adapters.portable.events_json import as_json
from framelode.adapters.sql.recorder import SqlApplicationRecorder
from framelode.engine.canonical import canonical_object, encode_canonical
from framelode.engine.log import batch as batches
from framelode.engine.log.contract import Head, Restored

GOLDEN = Path(reader.__file__).parent
EVENTS = json.loads((GOLDEN / "log.json").read_text("utf-8"))["head"]
NAMES = ("log.jsonl", "log.jsonl.zst", "log.parquet")
TABLES = ("log_info", "append", "record_batch")


def chained(engine):
    """Return every stored value that the chain commits to."""
    with engine.log.database.read() as connection:
        return [
            [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1")]
            for table in TABLES
        ]


def payloads(engine):
    """Return every event as it is stored."""
    firsts = [header.first_position for header in engine.log.headers()]
    return [event for body in engine.log.bodies(firsts) for event in body.events()]


def numbered(start, stop, **values):
    return [SingleFrame(id=f"{n:032x}", source=f"s3://b/{n}.jpg", **values) for n in range(start, stop)]


def draft(name="d"):
    return DatasetVersion.get_current(dataset_name=name)


@contextmanager
def empty(place="sqlite://"):
    with framelode.connect(place) as engine:
        yield engine
    engine.close()


def check_equal(made, original):
    assert chained(made) == chained(original)
    assert payloads(made) == payloads(original)
    assert made.log.head() == original.log.head()
    assert made.verify().events == original.log.head().position


def check_comes_back(engine, folder, names=NAMES):
    """Export an engine in each form, import it, and compare."""
    for name in names:
        file = Path(folder) / name
        written = engine.export_log(file)
        head = engine.log.head()
        assert (written.position, written.events) == (head.position, head.position)
        assert written.bytes == file.stat().st_size
        with empty() as made:
            report = made.import_log(file)
            assert (report.position, report.digest) == (head.position, head.digest.hex())
            assert (report.events, report.present) == (head.position, 0)
            check_equal(made, engine)
        file.unlink()


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """The golden log, and a folder with it in each form."""
    folder = tmp_path_factory.mktemp("golden")
    shutil.copy(GOLDEN / "log.db", folder / "log.db")
    with framelode.connect(folder) as engine:
        for name in NAMES:
            engine.export_log(folder / name)
        engine.close()
    return folder


@pytest.fixture
def engine(ticks):
    """An engine with a dataset of two versions."""
    with framelode.connect("sqlite://", clock=ticks.clock, new_id=ticks.new_id) as opened:
        DatasetVersion.create_new_dataset("d", tags=["t"])
        draft().add_frames([*numbered(0, 6), SingleFrame(id="pizza", metadata={"a": [1, 1.0]})], batch_size=3)
        with framelode.acting("me é", {"run": 1.0, "é": None}):
            draft().add_frames(numbered(4, 9, width=1), batch_size=1, command_id="parts")
        child = DatasetVersion.create_snapshot(dataset_name="d", publish_name="v1")
        child.delete_frames(["pizza", f"{0:032x}"])
        child.add_frames([SingleFrame(id="pizza", height=3)])
        yield opened
        opened.close()


class TestGolden:
    @pytest.mark.parametrize("name", NAMES)
    def test_comes_back_to_the_last_digest(self, golden, tmp_path, name):
        with empty(tmp_path / "engine") as made:
            made.import_log(golden / name)
            with framelode.connect(golden) as original:
                check_equal(made, original)
                original.close()
        read = reader.read_log(str(tmp_path / "engine" / "log.db"))
        assert read.summary() == json.loads((GOLDEN / "log.json").read_text("utf-8"))

    def test_files_of_version_1_are_read_and_written_alike(self, golden):
        """`log.jsonl.zst` beside the golden log stays as it is, and every later release imports it."""
        with empty() as made:
            made.import_log(GOLDEN / "log.jsonl.zst")
            with framelode.connect(golden) as original:
                check_equal(made, original)
                original.close()
        with (GOLDEN / "log.jsonl.zst").open("rb") as file:
            kept = zstandard.ZstdDecompressor().stream_reader(file).read()
        assert kept == (golden / "log.jsonl").read_bytes()

    def test_is_described(self, golden):
        page = (Path(framelode.__file__).parent / "docs" / "format.md").read_text("utf-8")
        section = page.partition("## Portable files")[2].partition("\n## ")[0]
        header, *rows, footer = map(json.loads, (golden / "log.jsonl").read_text("utf-8").splitlines())
        names = {*header, *footer, *(name for row in rows for name in row)}
        names |= {name for row in rows for name in row.get("append", {})}
        names |= {name for row in rows for event in row["events"] for name in event}
        names |= set(pq.read_schema(golden / "log.parquet").names)
        assert [name for name in names if f"`{name}`" not in section] == []
        assert f"{jsonl.LARGEST_LINE >> 20} MiB" in section

    def test_is_readable(self, golden):
        header, *rows, footer = map(json.loads, (golden / "log.jsonl").read_text("utf-8").splitlines())
        assert (header["framelode"], header["version"], footer["framelode"]) == ("log", 1, "end")
        assert footer["events"] == header["events"] == sum(len(row["events"]) for row in rows)
        assert [row["position"] for row in rows] == sorted(row["position"] for row in rows)
        events = [event for row in rows for event in row["events"]]
        pizza = next(event for event in events if event.get("id", "").startswith("pizza"))
        assert pizza["topic"] == "FrameAdded"
        assert pizza["record"]["rois"][0]["label"] == ["cat", "pet"]
        assert {"NameClaimed", "VersionPublished", "FrameDeleted"} <= {event["topic"] for event in events}
        in_hex = {event["topic"] for event in events if {"payload", "state"} & set(event)}
        assert in_hex <= {"StoreCreated", "KeySet", "KeyEvicted"}, (
            "values of stores are bytes; all else is JSON"
        )

    def test_parquet_has_a_row_for_each_event(self, golden):
        table = pq.read_table(golden / "log.parquet")
        head = json.loads((GOLDEN / "log.json").read_text("utf-8"))["head"]
        assert table["position"].to_pylist() == list(range(1, head + 1))
        (pizza, *_) = (row for row in table.to_pylist() if (row["frame_id"] or "").startswith("pizza"))
        assert pizza["topic"] == "FrameAdded"
        assert pizza["time"].isoformat().startswith("2023-11-14T22:13:20.75")
        assert json.loads(pizza["payload"])["rois"][0]["poly"] == [1.0, 2.0, 30.0, 40.5]

    def test_all_forms_say_the_same(self, golden):
        plain = (golden / "log.jsonl").read_bytes()
        with (golden / "log.jsonl.zst").open("rb") as file:
            assert zstandard.ZstdDecompressor().stream_reader(file).read() == plain
        assert (golden / "log.jsonl.zst").stat().st_size < len(plain) / 4


class TestAnyHistory:
    @examples(6, 20)
    @given(histories.steps, st.integers(1, 3), st.sampled_from(NAMES))
    def test_in_memory(self, history, batch_size, name):
        with TemporaryDirectory() as folder, empty() as engine:
            histories.play(engine, history, batch_size)
            check_comes_back(engine, folder, [name])

    @examples(3, 5)
    @given(histories.steps, st.sampled_from(NAMES))
    def test_on_files(self, history, name):
        with TemporaryDirectory() as folder, empty(Path(folder) / "a") as engine:
            histories.play(engine, history)
            file = Path(folder) / name
            engine.export_log(file)
            with empty(Path(folder) / "b") as made:
                made.import_log(file)
                check_equal(made, engine)
            with empty(Path(folder) / "b") as again:
                check_equal(again, engine)

    @examples(4, 10)
    @given(histories.steps, histories.steps, st.sampled_from(NAMES))
    def test_of_one_dataset(self, history, other, name):
        with TemporaryDirectory() as folder, empty() as engine:
            histories.play(engine, other)
            engine.dataset("d").rename("other")
            ids = histories.play(engine, history)
            file = Path(folder) / name
            engine.export_log(file, dataset="d")
            with empty() as made:
                made.import_log(file)
                made.verify()
                check_same_versions(made, engine, ids)
                assert [found.name for found in DatasetVersion.get_datasets()] == ["d"]

    def test_an_empty_log(self, tmp_path):
        with empty() as engine:
            check_comes_back(engine, tmp_path)


def told(change):
    """Return what a change says, but for its position."""
    plain = change.to_dict(images=True)
    del plain["position"]
    return plain


def check_same_versions(made, engine, ids):
    """Compare versions in two engines, but for positions."""
    for version_id in ids:
        one, other = made.version(version_id), engine.version(version_id)
        assert one.fingerprint == other.fingerprint
        assert [frame.to_dict() for frame in one] == [frame.to_dict() for frame in other]
        assert one.get_stats() == other.get_stats()
        assert one.version_name == other.version_name
        assert one.last_updated == other.last_updated
        histories_told = [[told(change) for change in version.history()] for version in (one, other)]
        assert histories_told[0] == histories_told[1]
    streams = [
        [
            (
                header.stream_id,
                header.count,
                header.recorded_at,
                header.actor,
                header.context,
                header.keys_digest,
            )
            for header in each.log.headers()
            if header.stream_id in ids
        ]
        for each in (made, engine)
    ]
    assert streams[0] == streams[1]


class TestExactness:
    @given(histories.metadata)
    @example({"a": [1, 1.0, -1, 0.0, 1e16, 1e22, 5e-324, 1.7976931348623157e308, 2**64 - 1, -(2**63)]})
    @example({"\u2028": '\x00\x1f\x7f"\\/', "": "\U0001f355", "z": {"b": {"a": [[], {}]}}})
    def test_canonical_values_come_back_from_json(self, value):
        packed = encode_canonical(canonical_object(value, "value"))
        text = as_json(packed)
        assert msgspec.msgpack.encode(msgspec.json.decode(text)) == packed

    def test_hard_values(self, tmp_path):
        deep = {}
        for _ in range(98):
            deep = {"d": deep}
        with empty() as engine:
            DatasetVersion.create_new_dataset("d")
            draft().add_frames(
                [
                    SingleFrame(
                        id="floats", metadata={"v": [1, 1.0, -0.0, 1e16, 1e300, 5e-324, 0.1, 123456789.0]}
                    ),
                    SingleFrame(id="integers", metadata={"v": [2**64 - 1, -(2**63), 0, 255, 256]}),
                    SingleFrame(id='"\\\x00\n\u2028\U0001f355', metadata={"\x7f": "\x00\x01", "é": "\n"}),
                    SingleFrame(id="deep", metadata=deep),
                    SingleFrame(id="large", metadata={"text": "\x01" * 2_000_000}),
                ]
            )
            check_comes_back(engine, tmp_path)

    @pytest.mark.parametrize("name", NAMES)
    def test_events_of_other_applications(self, tmp_path, name):
        odd_float, extension = b"\x92\x01\xcb\x7f\xf8" + bytes(6), b"\x92\x01\xd5\x01ab"
        states = [
            b"",
            b"\xff\x00",
            b"\x92\x01\x80",
            b"\x92\x01\xc4\x01a",
            odd_float,
            extension,
            b"\x92\x01\x01",
        ]
        with empty() as engine:
            recorder = SqlApplicationRecorder(engine.log, engine.session.new_id)
            for context in ({}, {"a": [1.0, "\n"]}, {"é": 2**70}):
                with framelode.acting("other", context):
                    for number, state in enumerate(states):
                        version = recorder.max_notification_id() or 0
                        recorder.insert_events(
                            [StoredEvent("s", version + n, f"made:Up{number}", state) for n in (1, 2)]
                        )
            engine.export_log(tmp_path / name)
            with empty() as made, transfer._source_of(tmp_path / name) as source:
                importing.import_whole(made.log, source, importing.LogImport(""), None)
                assert chained(made) == chained(engine)
                assert payloads(made) == payloads(engine)

    def test_a_context_that_is_no_json(self, engine, tmp_path, monkeypatch):
        from framelode.engine.log.context import ActingContext, _acting

        for context in ("", "text", '{"a":1', '{"a": 1}', '{"a":\n1}', '"text"', "[1]", "{}{}"):
            token = _acting.set(ActingContext("me", context))
            DatasetVersion.create_new_dataset(f"of {context}")
            _acting.reset(token)
        check_comes_back(engine, tmp_path)

    def test_block_limits_are_kept(self, tmp_path, monkeypatch):
        with empty() as engine:
            DatasetVersion.create_new_dataset("d")
            with monkeypatch.context() as other:
                other.setattr(batches, "BLOCK_EVENTS", 3)
                draft().add_frames(numbered(0, 20))
            assert any(body.block_events == [3] * 6 + [2] for body in engine.log.bodies([5]))
            check_comes_back(engine, tmp_path)


class TestCommands:
    @pytest.mark.parametrize("dataset", [None, "d"])
    def test_repeated_after_an_import_do_nothing(self, engine, tmp_path, dataset):
        version = DatasetVersion.get_version(dataset_name="d", version_name="v1")
        engine.export_log(tmp_path / "log.jsonl", dataset=dataset)
        with empty() as made:
            made.import_log(tmp_path / "log.jsonl")
            before = made.log.head()
            same = DatasetVersion.get_version(dataset_name="d", version_name="v1")
            again = {"batch_size": 1, "command_id": "parts", "refresh_version_stats": False}
            same.add_frames(numbered(4, 9, width=1), **again)
            assert made.log.head() == before
            with pytest.raises(ConflictError, match="command parts"):
                same.add_frames(numbered(4, 8, width=1), **again)
            assert same.version_id == version.version_id

    def test_work_goes_on(self, engine, tmp_path):
        engine.export_log(tmp_path / "log.parquet")
        with empty() as made:
            made.import_log(tmp_path / "log.parquet")
            draft().add_frames(numbered(50, 60))
            draft().update_frames([SingleFrame(id="pizza", width=9)])
            assert draft().get_single_frame("pizza").width == 9
            made.verify()


class TestIdentity:
    def test_projections_see_the_change(self, engine, tmp_path):
        engine.export_log(tmp_path / "log.jsonl")
        with empty() as made:
            assert DatasetVersion.get_datasets() == []
            made.catch_up()
            old = made.log.uuid
            made.import_log(tmp_path / "log.jsonl")
            assert made.log.uuid == engine.log.uuid != old
            assert [found.name for found in DatasetVersion.get_datasets()] == ["d"]

    def test_an_engine_that_was_open_meanwhile(self, engine, tmp_path):
        engine.export_log(tmp_path / "log.jsonl")
        with empty(tmp_path / "engine") as made, empty(tmp_path / "engine") as other:
            assert other.log.head().position == 0
            other.catch_up()
            made.import_log(tmp_path / "log.jsonl")
            with other:
                assert [found.name for found in DatasetVersion.get_datasets()] == ["d"]
                draft().add_frames(numbered(70, 80))
            assert other.log.uuid == engine.log.uuid
            other.verify()
            made.verify()

    def test_an_engine_that_was_open_writes_first(self, engine, tmp_path):
        """The identity that the first batch commits to is read where it is written."""
        with empty() as nothing:
            nothing.export_log(tmp_path / "log.jsonl")
            uuid = nothing.log.uuid
        with empty(tmp_path / "engine") as made, empty(tmp_path / "engine") as other:
            made.import_log(tmp_path / "log.jsonl")
            with other:
                DatasetVersion.create_new_dataset("d")
            made.verify()
            other.verify()
            assert made.log.uuid == other.log.uuid == uuid

    def test_the_log_is_guarded_as_before(self, engine, tmp_path):
        engine.export_log(tmp_path / "log.jsonl")
        with empty(tmp_path / "engine") as made:
            made.import_log(tmp_path / "log.jsonl")
        with (
            closing(sqlite3.connect(tmp_path / "engine" / "log.db")) as connection,
            pytest.raises(sqlite3.IntegrityError, match="append-only"),
        ):
            connection.execute("UPDATE log_info SET uuid = 'x'")

    def test_a_log_that_holds_something_is_left_alone(self, engine, tmp_path):
        for name, dataset in (("whole.jsonl", None), ("part.jsonl", "d"), ("part.parquet", "d")):
            engine.export_log(tmp_path / name, dataset=dataset)
            with empty() as made:
                DatasetVersion.create_new_dataset("own")
                before = chained(made)
                with pytest.raises(ConflictError, match=rf"already has 4 events of log {made.log.uuid}"):
                    made.import_log(tmp_path / name)
                assert chained(made) == before

    def test_a_log_that_went_another_way(self, engine, tmp_path):
        engine.export_log(tmp_path / "first.jsonl")
        DatasetVersion.create_new_dataset("later")
        engine.export_log(tmp_path / "later.jsonl")
        with empty() as made:
            made.import_log(tmp_path / "first.jsonl")
            DatasetVersion.create_new_dataset("another")
            before = chained(made)
            with pytest.raises(ConflictError, match="already"):
                made.import_log(tmp_path / "later.jsonl")
            assert chained(made) == before

    def test_a_later_export_continues(self, engine, tmp_path):
        engine.export_log(tmp_path / "first.jsonl")
        position = engine.log.head().position
        DatasetVersion.create_new_dataset("later")
        engine.export_log(tmp_path / "later.parquet")
        with empty() as made:
            made.import_log(tmp_path / "first.jsonl")
            report = made.import_log(tmp_path / "later.parquet")
            assert (report.present, report.events) == (position, 4)
            check_equal(made, engine)
            again = made.import_log(tmp_path / "first.jsonl")
            assert (again.present, again.events) == (position, 0)
            check_equal(made, engine)


class TestOneDataset:
    @pytest.fixture
    def source(self, engine):
        """Two datasets whose events alternate, and a name that passed from one to the other."""
        DatasetVersion.create_new_dataset("other").rename("elsewhere")
        draft("elsewhere").add_frames(numbered(0, 3, width=7))
        engine.dataset("d").rename("other")
        draft("other").add_frames(numbered(20, 25))
        draft("elsewhere").add_frames(numbered(1, 5, width=8))
        engine.dataset("elsewhere").rename("d")
        draft("other").update_frames(numbered(20, 22, height=1))
        return engine

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("dataset", ["d", "other"])
    def test_contents_stay(self, source, tmp_path, name, dataset):
        ids = [version.version_id for version in DatasetVersion.get_versions(dataset_name=dataset)]
        written = source.export_log(tmp_path / name, dataset=source.dataset(dataset))
        head = source.log.head()
        with empty() as made:
            report = made.import_log(tmp_path / name)
            assert made.verify().events == written.events + 1 == report.events
            check_same_versions(made, source, ids)
            found = made.dataset(dataset)
            assert (found.id, found.tags) == (source.dataset(dataset).id, source.dataset(dataset).tags)
            (origin,) = made.session.writes.application.events.get("imports")
            assert (origin.log, origin.position, origin.digest, origin.dataset_id, origin.events) == (
                source.log.uuid,
                head.position,
                head.digest.hex(),
                found.id,
                written.events,
            )
            assert made.log.uuid != source.log.uuid
            if dataset == "d":
                made.session.writes.datasets.create_dataset("other", raise_if_exists=True)

    def test_a_batch_that_comes_twice(self, source, tmp_path):
        file = tmp_path / "d.jsonl"
        source.export_log(file, dataset="other")
        header, *rows = file.read_bytes().splitlines(keepends=True)
        twice = next(number for number, row in enumerate(rows) if len(json.loads(row)["events"]) == 1)
        file.write_bytes(b"".join([header, *rows[: twice + 1], *rows[twice:]]))
        with empty() as made, pytest.raises(IntegrityError, match="it does not follow position"):
            made.import_log(file)

    def test_a_name_that_several_projects_have(self, source, tmp_path):
        twin = DatasetVersion.create_new_dataset("d", dataset_project="lab")
        with pytest.raises(ConflictError):
            source.export_log(tmp_path / "d.jsonl", dataset="d")
        assert source.export_log(tmp_path / "d.jsonl", dataset="d", project="lab").dataset == twin.id

    def test_the_reader_of_the_format_reads_it(self, source, tmp_path):
        source.export_log(tmp_path / "d.jsonl", dataset="other")
        with empty(tmp_path / "engine") as made:
            made.import_log(tmp_path / "d.jsonl")
        summary = reader.read_log(str(tmp_path / "engine" / "log.db")).summary()
        assert [dataset["name"] for dataset in summary["datasets"].values()] == ["other"]

    def test_is_finished_by_another_call(self, source, tmp_path, monkeypatch):
        source.export_log(tmp_path / "d.jsonl", dataset="other")
        monkeypatch.setattr(importing, "_GROUP_APPENDS", 1)
        with empty() as whole, empty() as made:
            whole.import_log(tmp_path / "d.jsonl")
            for after in (1, 3):
                with pytest.raises(KeyboardInterrupt):
                    made.import_log(
                        tmp_path / "d.jsonl", callback=interrupting(after + made.log.head().position)
                    )
                made.verify()
            report = made.import_log(tmp_path / "d.jsonl")
            assert report.present > 0
            assert report.present + report.events == made.log.head().position == whole.log.head().position
            assert payloads(made) == payloads(whole)
            again = made.import_log(tmp_path / "d.jsonl")
            assert again.events == 0
            made.verify()

    def test_the_origin_is_recorded_when_only_that_is_left(self, source, tmp_path, monkeypatch):
        def interrupted(*_):
            raise KeyboardInterrupt

        source.export_log(tmp_path / "d.jsonl", dataset="d")
        with empty() as made:
            with monkeypatch.context() as broken:
                broken.setattr(renumbering, "_record_origin", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    made.import_log(tmp_path / "d.jsonl")
            report = made.import_log(tmp_path / "d.jsonl")
            assert report.events == 1
            assert len(list(made.session.writes.application.events.get("imports"))) == 1

    def test_who_imports_is_recorded(self, source, tmp_path):
        source.export_log(tmp_path / "d.jsonl", dataset="d")
        with empty() as made, framelode.acting("importer", {"why": "move"}):
            made.import_log(tmp_path / "d.jsonl")
            last = made.log.batch_at(made.log.head().position)
            assert (last.actor, last.context) == ("importer", '{"why":"move"}')

    def test_unknown_datasets(self, source, tmp_path):
        with pytest.raises(NotFoundError):
            source.export_log(tmp_path / "d.jsonl", dataset="none")
        with pytest.raises(InvalidValueError, match="a Dataset or its name, not 7"):
            source.export_log(tmp_path / "d.jsonl", dataset=7)
        with pytest.raises(UsageError, match="give dataset= as well"):
            source.export_log(tmp_path / "d.jsonl", project="lab")
        with empty():
            foreign = DatasetVersion.create_new_dataset("d")
            with pytest.raises(NotFoundError, match="there is no dataset with id"):
                source.export_log(tmp_path / "d.jsonl", dataset=foreign)
        assert not list(tmp_path.iterdir())

    def test_a_pointer_out_of_the_file(self, source, tmp_path):
        source.export_log(tmp_path / "d.jsonl", dataset="other")
        rows = (tmp_path / "d.jsonl").read_text("utf-8").splitlines()
        # Without its first frames the dataset's later events have nothing to point at.
        dropped = [row for row in rows if '"parts"' not in row]
        assert len(dropped) < len(rows)
        (tmp_path / "d.jsonl").write_text("\n".join(dropped) + "\n", "utf-8")
        with empty() as made, pytest.raises(IntegrityError, match="line"):
            made.import_log(tmp_path / "d.jsonl")
        assert made.log.database._writer is None


def interrupting(position):
    """A callback that interrupts when a position is reached."""

    def callback(done, total):
        assert 0 <= done <= total
        if done >= position:
            raise KeyboardInterrupt

    return callback


class TestInterrupts:
    @pytest.mark.parametrize("name", NAMES)
    def test_an_import_carries_on(self, engine, tmp_path, monkeypatch, name):
        monkeypatch.setattr(importing, "_GROUP_APPENDS", 2)
        engine.export_log(tmp_path / name)
        with empty(tmp_path / "engine") as made:
            for position in (1, 9):
                with pytest.raises(KeyboardInterrupt):
                    made.import_log(tmp_path / name, callback=interrupting(position))
                made.verify()
                there = made.log.head().position
                assert position <= there < engine.log.head().position
            report = made.import_log(tmp_path / name)
            assert (report.present, report.present + report.events) == (there, engine.log.head().position)
            check_equal(made, engine)

    @pytest.mark.parametrize("name", NAMES)
    def test_an_export_leaves_no_file(self, engine, tmp_path, name):
        with pytest.raises(KeyboardInterrupt):
            engine.export_log(tmp_path / name, callback=interrupting(9))
        assert not list(tmp_path.iterdir())

    def test_a_full_disk(self, engine, monkeypatch, tmp_path):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            engine.export_log(tmp_path / "log.jsonl")
        assert not list(tmp_path.iterdir())

    def test_progress_is_told(self, engine, tmp_path):
        told = []
        engine.export_log(tmp_path / "log.jsonl", callback=lambda *done: told.append(done))
        head = engine.log.head().position
        assert told[-1] == (head, head)
        assert told == sorted(told)
        with empty() as made:
            told.clear()
            made.import_log(tmp_path / "log.jsonl", callback=lambda *done: told.append(done))
            assert told == [(head, head)]

    def test_a_killed_import_is_finished(self, golden, tmp_path):
        code = (
            "import os, sys, framelode\n"
            "from framelode.adapters.portable import importing\n"
            "importing._GROUP_APPENDS = 3\n"
            "kill = lambda done, total: done > 100 and os.kill(os.getpid(), 9)\n"
            "framelode.connect(sys.argv[1]).import_log(sys.argv[2], callback=kill)"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "engine"), str(golden / "log.jsonl")]
        assert subprocess.run(command, check=False, timeout=PATIENCE).returncode == -9
        with empty(tmp_path / "engine") as made:
            assert 100 < made.log.head().position < EVENTS
            made.verify()
            made.import_log(golden / "log.jsonl")
            with framelode.connect(golden) as original:
                check_equal(made, original)
                original.close()


class TestDamage:
    """Whatever is wrong with a file is said, and nothing of it is recorded that does not verify."""

    @pytest.fixture
    def rows(self, engine, tmp_path):
        engine.export_log(tmp_path / "log.jsonl")
        return (tmp_path / "log.jsonl").read_bytes().splitlines(keepends=True)

    @pytest.fixture
    def refused(self, tmp_path):
        """Import what cannot be imported; returns what was said, having seen that nothing was recorded."""
        with empty() as made:

            def check(content, name="bad.jsonl"):
                (tmp_path / name).write_bytes(content)
                with pytest.raises(FramelodeError) as found:
                    made.import_log(tmp_path / name)
                assert isinstance(found.value, IntegrityError | InvalidValueError), found.value
                assert str(tmp_path / name) in str(found.value)
                assert made.log.head().position == 0
                return str(found.value)

            yield check
            made.verify()

    def test_what_comes_before_the_damage_may_be_recorded(self, engine, rows, tmp_path, monkeypatch):
        monkeypatch.setattr(importing, "_GROUP_APPENDS", 1)
        for index in range(2, len(rows) - 1, 3):
            altered = rows[index].replace(b'"position":', b'"position":1')
            (tmp_path / "bad.jsonl").write_bytes(b"".join([*rows[:index], altered, *rows[index + 1 :]]))
            with empty() as made:
                with pytest.raises(IntegrityError, match=f"line {index + 1} is damaged"):
                    made.import_log(tmp_path / "bad.jsonl")
                head = made.log.head()
                assert head.position == 0 or engine.log.batch_at(head.position).digest == head.digest
                made.verify()
                made.import_log(tmp_path / "log.jsonl")
                check_equal(made, engine)

    def test_lines_dropped_doubled_swapped_and_cut(self, rows, refused):
        for index in range(len(rows)):
            message = refused(b"".join(rows[:index] + rows[index + 1 :]))
            assert index == 0 or re.search(r"line \d+|cut off", message)
            refused(b"".join(rows[: index + 1] + rows[index:]))
            if index + 1 < len(rows):
                swapped = [*rows[:index], rows[index + 1], rows[index], *rows[index + 2 :]]
                assert "line" in refused(b"".join(swapped)) or index == 0
            assert "cut off after line" in refused(b"".join(rows[:index])) or index == 0
            refused(b"".join(rows[:index]) + rows[index][:-1])

    def test_bits_of_a_line(self, rows, refused):
        index = next(i for i, row in enumerate(rows) if b'"changed"' in row)
        line = rows[index]
        for place in range(0, len(line), 3):
            altered = bytearray(line)
            altered[place] ^= 1 << place % 8
            message = refused(b"".join([*rows[:index], bytes(altered), *rows[index + 1 :]]))
            assert re.search(r"line \d+", message)

    @examples(15, 40)
    @given(data=st.data())
    def test_anything_anywhere(self, golden, data):
        whole = (golden / "log.jsonl").read_bytes()
        at = data.draw(st.integers(0, len(whole) - 1))
        written = data.draw(
            st.one_of(st.binary(max_size=20), st.sampled_from([b"null", b"1e999", b'"\\ud800"', b"[" * 2000]))
        )
        until = data.draw(st.sampled_from([at, at + 1, at + len(written)]))
        altered = whole[:at] + written + whole[until:]
        if altered == whole:
            return
        with TemporaryDirectory() as folder, empty() as made:
            (Path(folder) / "bad.jsonl").write_bytes(altered)
            with pytest.raises((IntegrityError, InvalidValueError, UsageError)):
                made.import_log(Path(folder) / "bad.jsonl")
            made.verify()

    def test_compressed_files(self, engine, tmp_path, refused):
        engine.export_log(tmp_path / "log.jsonl.zst")
        whole = (tmp_path / "log.jsonl.zst").read_bytes()
        for size in range(8, len(whole), 101):
            assert re.search("cut off|damaged|not a log", refused(whole[:size], "bad.jsonl.zst"))
        refused(whole + b"more", "bad.jsonl.zst")
        refused(whole + zstandard.compress(b"more\n"), "bad.jsonl.zst")
        refused(whole[:-20] + bytes(20), "bad.jsonl.zst")

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\n",
            b"hello",
            b"{}\n",
            b"[]",
            b'{"framelode":"checkpoint","version":1}\n',
            bytes(5000),
            b"\xff" * 99,
        ],
    )
    def test_files_of_another_kind(self, refused, content):
        assert "not a log exported by framelode" in refused(content)

    @pytest.mark.parametrize("name", ["log.jsonl", "log.parquet"])
    def test_a_newer_version(self, engine, tmp_path, name, monkeypatch):
        monkeypatch.setattr(transfer, "PORTABLE_VERSION", 2)
        engine.export_log(tmp_path / name)
        with empty() as made, pytest.raises(UsageError, match="version 2.*install a newer framelode"):
            made.import_log(tmp_path / name)

    def test_a_huge_line(self, rows, refused, monkeypatch):
        monkeypatch.setattr(jsonl, "LARGEST_LINE", 5000)
        message = refused(rows[0] + b'{"position":1,' + b" " * 10_000 + b"}\n")
        assert "line 2 is too long" in message
        assert "not a log" in refused(b" " * 2_000_000)

    def test_a_batch_too_large_for_a_line(self, engine, tmp_path, monkeypatch):
        monkeypatch.setattr(jsonl, "LARGEST_LINE", 500)
        with pytest.raises(UsageError, match="write Parquet instead"):
            engine.export_log(tmp_path / "large.jsonl")
        assert not list(tmp_path.iterdir())

    def test_the_first_batch_wrong_leaves_nothing(self, rows, tmp_path):
        rows[1] = rows[1].replace(b'"actor":"tester"', b'"actor":"tamper"')
        (tmp_path / "bad.jsonl").write_bytes(b"".join(rows))
        with empty() as made:
            uuid = made.log.uuid
            with pytest.raises(
                IntegrityError, match="line 2 is damaged: the content does not match the digest"
            ):
                made.import_log(tmp_path / "bad.jsonl")
            assert (made.log.head().position, made.log.uuid) == (0, uuid)
            DatasetVersion.create_new_dataset("d")
            made.verify()

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda line: line | {"blocks": []}, "blocks"),
            (lambda line: line | {"blocks": [-1, len(line["events"]) + 1]}, "blocks"),
            (lambda line: line | {"events": []}, "blocks"),
            (lambda line: line | {"position": -1}, "position"),
            (lambda line: line | {"position": 2**70}, "damaged"),
            (lambda line: line | {"time": "yesterday"}, "yesterday"),
            (lambda line: line | {"time": "2023-11-14T22:13:20+00:00"}, "is not a time"),
            (lambda line: line | {"digest": "AB" * 32}, "hex digits"),
            (lambda line: line | {"extra": 1}, "extra"),
            (lambda line: line | {"topics": []}, "damaged"),
            (lambda line: line | {"append": line["append"] | {"positions": [7, 8]}}, "damaged"),
            (lambda line: {**line, "append": None}, "damaged"),
        ],
    )
    def test_lines_that_cannot_be(self, rows, refused, change, what):
        line = change(json.loads(rows[1]))
        assert re.search(what, refused(b"".join([rows[0], json.dumps(line).encode() + b"\n", *rows[2:]])))

    @pytest.mark.parametrize("dataset", [None, "d"])
    @pytest.mark.parametrize(
        "change",
        [{"events": 1}, {"position": 5}, {"digest": "0" * 64}, {"log": "x"}, {"log": ""}, {"digest": "x"}],
    )
    def test_headers_that_lie(self, engine, tmp_path, refused, change, dataset):
        engine.export_log(tmp_path / "log.jsonl", dataset=dataset)
        header, *rows = (tmp_path / "log.jsonl").read_bytes().splitlines(keepends=True)
        lie = json.dumps(json.loads(header) | change).encode() + b"\n"
        assert "line" in refused(lie + b"".join(rows))

    def test_a_dataset_that_is_not_in_the_file(self, engine, tmp_path, refused):
        engine.export_log(tmp_path / "log.jsonl", dataset="d")
        content = (tmp_path / "log.jsonl").read_bytes()
        lie = content.replace(engine.dataset("d").id.encode(), b"f" * 32, 1)
        assert "cut off" in refused(lie)
        *rows, _ = lie.splitlines(keepends=True)
        footer = json.loads(content.splitlines()[-1]) | {"digest": blake3(b"".join(rows)).hexdigest()}
        assert f"dataset {'f' * 32}" in refused(b"".join(rows) + msgspec.json.encode(footer) + b"\n")

    def test_records_that_nobody_could_read(self, engine, tmp_path):
        """A file with sound digests whose records are none: the digests are made by whoever made the file."""
        header, *rows, _ = (
            (tmp_path / "log.jsonl", engine.export_log(tmp_path / "log.jsonl"))[0].read_bytes().splitlines()
        )
        for record in ({"sources": 7}, [], 7, {"rois": [{}]}):
            forged = forge(header, rows, record)
            (tmp_path / "forged.jsonl").write_bytes(forged)
            with empty() as made, pytest.raises(IntegrityError, match=r"line \d+ is damaged"):
                made.import_log(tmp_path / "forged.jsonl")

    def test_parquet_cut_or_altered(self, engine, tmp_path, refused):
        engine.export_log(tmp_path / "log.parquet")
        whole = (tmp_path / "log.parquet").read_bytes()
        for size in (4, 100, len(whole) // 2, len(whole) - 1):
            assert "damaged or cut off" in refused(whole[:size], "bad.parquet")
        table = pq.read_table(tmp_path / "log.parquet")
        for name in table.column_names:
            values = table[name].to_pylist()
            for row, value in enumerate(values):
                if value is not None:
                    values[row] = other_than(value)
                    break
            altered = table.set_column(
                table.column_names.index(name), table.field(name), pa.array(values, table.field(name).type)
            )
            if altered.equals(table):
                assert name == "raw"
                continue
            pq.write_table(altered, tmp_path / "bad.parquet")
            assert "damaged" in refused((tmp_path / "bad.parquet").read_bytes(), "bad.parquet"), name

    def test_parquet_rows_dropped_doubled_and_swapped(self, engine, tmp_path, refused):
        engine.export_log(tmp_path / "log.parquet")
        table = pq.read_table(tmp_path / "log.parquet")
        count = table.num_rows
        for row in range(0, count, 2):
            for kept in (
                [*range(row), *range(row + 1, count)],
                [*range(row + 1), *range(row, count)],
                [*range(row), *reversed(range(row, min(row + 2, count))), *range(row + 2, count)],
            ):
                if kept == list(range(count)):
                    continue
                pq.write_table(table.take(kept), tmp_path / "bad.parquet")
                refused((tmp_path / "bad.parquet").read_bytes(), "bad.parquet")

    def test_parquet_of_another_kind(self, tmp_path, refused):
        pq.write_table(pa.table({"a": [1]}), tmp_path / "bad.parquet")
        assert "not a log" in refused((tmp_path / "bad.parquet").read_bytes(), "bad.parquet")
        made = pa.table({"a": [1]}).replace_schema_metadata({"framelode": '{"version":1}'})
        pq.write_table(made, tmp_path / "bad.parquet")
        assert "columns" in refused((tmp_path / "bad.parquet").read_bytes(), "bad.parquet")

    def test_a_damaged_log_is_not_exported(self, golden, tmp_path):
        from raw_logs import unguarded

        folder = Path(shutil.copytree(golden, tmp_path / "engine"))
        with framelode.connect(folder) as engine, unguarded(folder) as connection:
            connection.execute("UPDATE record_batch SET actor = 'me' WHERE first_position = 7")
            connection.execute("COMMIT")
            connection.execute("BEGIN")
            with pytest.raises(IntegrityError, match="position 7 does not match its digest"):
                engine.export_log(tmp_path / "bad.jsonl")
            engine.close()
        assert not (tmp_path / "bad.jsonl").exists()


def other_than(value):
    """Return another value of the same type."""
    match value:
        case int():
            return value + 1
        case str():
            return value[:-1] + ("x" if not value.endswith("x") else "y")
        case list():
            return [*value, "x"]
        case bytes():
            return value + b"x"
        case _:
            return value.replace(microsecond=value.microsecond ^ 1)


def forge(header, rows, record):
    """Write a file anew in which a record is another one, with digests that fit."""
    head = json.loads(header)
    previous = batches.genesis_digest(head["log"]).hex()
    forged, append, events = [], None, 0
    for row in rows:
        line = msgspec.json.decode(row, type=lines.BatchLine)
        append = lines.append_of(line.append) if line.append else append
        found = event_lines.decode_events(line)
        for event in found:
            if isinstance(event, event_lines.FrameLine) and len(event.record):
                event.record = msgspec.Raw(json.dumps(record).encode())
        keys, encoded = event_lines.rebuild(line.topics, found)
        packed = batches.pack_batch(
            line.stream, line.version, line.schema, line.topics, encoded, keys, line.blocks
        )
        line = msgspec.structs.replace(
            line, previous=previous, events=msgspec.Raw(msgspec.json.encode(found))
        )
        digest = batches.chain_digest(
            lines.header_of(line, append, len(encoded), keys, packed.body_digest), append
        )
        previous = digest.hex()
        forged.append(msgspec.json.encode(msgspec.structs.replace(line, digest=previous)))
        events += len(found)
    text = b"".join(part + b"\n" for part in [json.dumps(head | {"digest": previous}).encode(), *forged])
    end = {"framelode": "end", "batches": len(forged), "events": events, "digest": blake3(text).hexdigest()}
    return text + json.dumps(end, separators=(",", ":")).encode() + b"\n"


class TestBlobs:
    @pytest.mark.parametrize("dataset", [None, "d"])
    def test_missing_ones_are_told(self, tmp_path, dataset):
        with empty() as engine:
            DatasetVersion.create_new_dataset("d")
            stored = [engine.blobs.put(content).digest for content in (b"one", b"two")]
            draft().add_frames([SingleFrame(id=d[:4], source=f"blobs:{d}/a.jpg") for d in stored])
            engine.export_log(tmp_path / "log.jsonl", dataset=dataset)
        with empty() as made:
            report = made.import_log(tmp_path / "log.jsonl")
            assert report.missing_blobs == sorted(stored)
            made.blobs.put(b"one")
            assert made.import_log(tmp_path / "log.jsonl").missing_blobs == [stored[1]]


class TestArguments:
    def test_a_file_that_is_there_is_not_overwritten(self, engine, tmp_path):
        (tmp_path / "log.jsonl").write_text("mine")
        with pytest.raises(ConflictError, match="already exists"):
            engine.export_log(tmp_path / "log.jsonl")
        assert (tmp_path / "log.jsonl").read_text() == "mine"

    def test_the_form_is_asked_for_or_named(self, engine, tmp_path):
        assert engine.export_log(tmp_path / "a").format == "jsonl"
        assert engine.export_log(tmp_path / "a.parquet").format == "parquet"
        assert engine.export_log(tmp_path / "b.parquet", format="jsonl").format == "jsonl"
        assert engine.export_log(str(tmp_path / "b.log"), format="parquet").format == "parquet"
        for name in ("a", "a.parquet", "b.parquet", "b.log"):
            with empty() as made:
                made.import_log(tmp_path / name)
                check_equal(made, engine)
        with pytest.raises(InvalidValueError, match="format must be one of jsonl, parquet, not 'csv'"):
            engine.export_log(tmp_path / "c", format="csv")

    def test_no_such_file(self, engine, tmp_path):
        with pytest.raises(NotFoundError, match="there is no file"):
            engine.import_log(tmp_path / "none")
        with pytest.raises(UsageError, match="cannot be read"):
            engine.import_log(tmp_path)
        with pytest.raises(UsageError, match="path of a file"):
            engine.import_log(7)
        with pytest.raises(UsageError, match="cannot be written"):
            engine.export_log(tmp_path / "none" / "log.jsonl")

    def test_without_the_library(self, engine, golden, tmp_path):
        code = (
            "import sys; sys.modules['pyarrow'] = None\n"
            "import framelode\n"
            "engine = framelode.connect('sqlite://')\n"
            "for work in (engine.export_log, engine.import_log):\n"
            "    try: work(sys.argv[work == engine.import_log and 2 or 1])\n"
            "    except framelode.UsageError as error: print(error)"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "a.parquet"), str(golden / "log.parquet")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
        assert done.stdout.count("pip install 'framelode[arrow]'") == 2


class TestCommandLine:
    @pytest.fixture
    def home(self, golden, tmp_path, monkeypatch):
        """An engine with the golden log in `one`, an empty one in `two`; the first is meant."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("FRAMELODE_URL", str(shutil.copytree(golden, tmp_path / "one")))
        run("--engine", "two", "init")
        return tmp_path

    def test_there_and_back(self, home):
        said = run("export", "log", "all.jsonl").stdout
        assert said.startswith(f"wrote the log to all.jsonl: {EVENTS} events, ")
        assert (
            f"{EVENTS} events imported, now at position {EVENTS}"
            in run("--engine", "two", "import", "log", "all.jsonl").stdout
        )
        assert f"({EVENTS} already present)" in run("--engine", "two", "import", "log", "all.jsonl").stdout
        run("--engine", "two", "verify")

    def test_as_json(self, home):
        done = run_json("export", "log", "all", "--format", "parquet")
        assert (done["format"], done["events"], done["dataset"]) == ("parquet", EVENTS, None)
        done = run_json("--engine", "two", "import", "log", "all")
        assert (done["events"], done["present"], done["missing_blobs"]) == (EVENTS, 0, [])

    def test_one_dataset(self, home):
        run("export", "log", "part.jsonl.zst", "--dataset", "kitchen/meals")
        assert (
            "13 events imported"
            in run("--engine", "two", "import", "log", "part.jsonl.zst", "--actor", "me").stdout
        )
        assert [row["name"] for row in run_json("--engine", "two", "ls")["datasets"]] == ["meals"]

    def test_exit_statuses(self, home):
        run("export", "log", "all.jsonl")
        run("export", "log", "all.jsonl", status=5)
        run("export", "log", "b", "--format", "csv", status=2)
        run("export", "log", "b", "--dataset", "none", status=4)
        run("import", "log", "none", status=4)
        run("export", "log", "part.jsonl", "--dataset", "kitchen/meals")
        run("import", "log", "part.jsonl", status=5)
        whole = (home / "all.jsonl").read_bytes()
        (home / "cut.jsonl").write_bytes(whole[:-9])
        last = whole.count(b"\n")
        assert f"line {last}" in run("--engine", "two", "import", "log", "cut.jsonl", status=3).stderr
        (home / "no.jsonl").write_text("hello")
        run("--engine", "two", "import", "log", "no.jsonl", status=2)


class TestRestore:
    """What the log itself refuses, whoever calls it."""

    @pytest.fixture
    def appends(self, engine, tmp_path):
        engine.export_log(tmp_path / "log.jsonl")
        found = {}
        with transfer._source_of(tmp_path / "log.jsonl") as source:
            for proven in importing.read_proven(source):
                append = proven.recorded.append
                found.setdefault(append.append_id, (append, []))[1].append(
                    (proven.recorded.header, proven.batch)
                )
        return [Restored(append, made) for append, made in found.values()]

    def changed(self, appends, **values):
        """Return the first appends, with other values in the header of the second's batch."""
        first, second = appends[:2]
        (header, batch), *more = second.batches
        other = [(msgspec.structs.replace(header, **values), batch), *more]
        return [first, msgspec.structs.replace(second, batches=other)]

    def test_all_or_nothing(self, engine, appends):
        with empty() as made:
            uuid, start = engine.log.uuid, Head(0, batches.genesis_digest(engine.log.uuid), 0)
            own = made.log.uuid
            for wrong, what in (
                (self.changed(appends, digest=bytes(32)), "does not match its recorded digest"),
                (self.changed(appends, actor="other"), "does not match its recorded digest"),
                (
                    self.changed(appends, previous_digest=bytes(32)),
                    "a batch does not follow the previous one",
                ),
                (self.changed(appends, recorded_at=0), "a batch does not follow the previous one"),
                (self.changed(appends, first_position=77), "a batch does not follow the previous one"),
                ([appends[0], appends[0]], "is recorded twice"),
                (appends[1:2], "must be the next one"),
            ):
                with pytest.raises(FramelodeError, match=what):
                    made.log.restore(uuid, start, wrong)
                assert (made.log.head().position, made.log.uuid) == (0, own)
            made.log.restore(uuid, start, appends[:3])
            with pytest.raises(ConflictError, match="another writer appended to it"):
                made.log.restore(uuid, start, appends[:3])
            with pytest.raises(ConflictError, match="another writer appended to it"):
                made.log.restore("another", made.log.head(), appends[3:])
            made.log.restore(uuid, made.log.head(), appends[3:])
            check_equal(made, engine)


def test_the_past_neither_gives_nor_takes(engine, tmp_path):
    engine.export_log(tmp_path / "log.jsonl")
    with empty() as made, made.at(0) as past:
        for call in (past.import_log, past.export_log):
            with pytest.raises(UsageError, match="read-only"):
                call(tmp_path / "log.jsonl")
