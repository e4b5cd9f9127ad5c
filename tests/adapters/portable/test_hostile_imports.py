"""Portable files that a stranger wrote: refused with the place, before they take the memory that they claim."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import hostile_imports
import msgspec
import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pyarrow import parquet as pq
from sizes import examples

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.adapters.portable import parquet
from framelode.engine.errors import FramelodeError

MEGABYTES = 1600
"""What an import may take in the test; each of the files takes more than that where its claims are believed."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small log, exported in both forms."""
    folder = tmp_path_factory.mktemp("exported")
    with framelode.connect(folder / "engine"):
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        frames = [SingleFrame(id=f"{n:032x}", source=f"s3://b/{n}.jpg", metadata={"n": n}) for n in range(3)]
        draft.add_frames(frames)
        draft.update_frames([SingleFrame(id=f"{1:032x}", metadata={"n": "x"})])
        engine = framelode.current_engine()
        engine.export_log(folder / "log.jsonl")
        engine.export_log(folder / "log.parquet")
        engine.close()
    return folder


class Lines:
    """Files of lines that are short when compressed."""

    def __init__(self, exported):
        header, *rows, _ = (exported / "log.jsonl").read_bytes().splitlines()
        self.header = header
        self.row = msgspec.json.decode(next(row for row in rows if b"FrameAdded" in row))

    def write(self, path, **changed):
        """Write a line in which some fields are others, given as JSON and how often it is repeated."""
        with zstandard.open(path, "wb") as file:
            file.write(self.header + b"\n")
            plain = {name: value for name, value in self.row.items() if name not in changed}
            file.write(msgspec.json.encode(plain)[:-1])
            for name, (first, part, times, last) in changed.items():
                file.write(b',"%s":' % name.encode() + first + part * times + last)
            file.write(b"}\n")


def event(**fields):
    return json.dumps({"topic": "FrameAdded", "id": "ab", **fields}, separators=(",", ":")).encode()


def table_of(exported, rows, **columns):
    """Return the first row of an exported log, repeated, with other values in some columns."""
    first = pq.read_table(exported / "log.parquet").slice(0, 1)
    columns = {name: columns.get(name, first[name].combine_chunks()) for name in first.column_names}
    repeated = {
        name: pa.repeat(column[0], rows) if len(column) == 1 else column for name, column in columns.items()
    }
    fields = [
        pa.field(name, column.type, nullable=first.schema.field(name).nullable)
        for name, column in repeated.items()
    ]
    return pa.table(repeated, schema=pa.schema(fields, first.schema.metadata))


def repeated(text, rows):
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))


def test_files_that_claim_more_than_they_are(exported, tmp_path):
    lines = Lines(exported)
    lines.write(tmp_path / "many-events.jsonl.zst", events=(b"[" + event(), b"," + event(), 3_500_000, b"]"))
    record = (b'[{"topic":"FrameAdded","id":"ab","record":{"meta":{"a":[[]', b",[]", 40_000_000, b"]}}}]")
    lines.write(tmp_path / "many-values.jsonl.zst", events=record)
    deep = b'[{"topic":"FrameAdded","id":"ab","record":' + b"[" * 300_000
    lines.write(tmp_path / "nested.jsonl.zst", events=(deep, b"]", 300_000, b"}]"))
    rows = 20_000
    for name, count, columns in (
        ("many-rows", 400_000, {"batch": pa.array(["x"]), "payload": pa.array(["x"])}),
        ("long-word", rows, {"context": repeated("x" * 1_000_000, rows)}),
    ):
        table = table_of(exported, count, **columns)
        made = pq.ParquetWriter(
            tmp_path / f"{name}.parquet", table.schema, compression="zstd", store_schema=False
        )
        with made as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(table.schema.metadata)
    files = sorted(tmp_path.glob("*.*"))
    assert len(files) == 5
    assert max(file.stat().st_size for file in files) < 200_000
    found = import_each(tmp_path)
    assert [line for line in found if ": IntegrityError: " not in line] == []
    assert all("line 2 " in line or "row group 0" in line for line in found), found


def import_each(folder):
    paths = [str(Path(framelode.__file__).parents[1]), *sys.path]
    done = subprocess.run(
        [sys.executable, hostile_imports.__file__, str(folder), str(MEGABYTES)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_file_that_another_writer_rewrote(exported, tmp_path):
    """Dictionaries for all columns, other pages, no schema of Arrow's: what it says is the same."""
    table = pq.read_table(exported / "log.parquet")
    options = {"compression": "snappy", "data_page_version": "2.0", "write_page_index": True}
    pq.write_table(table, tmp_path / "log.parquet", data_page_size=1, **options)
    with framelode.connect(tmp_path / "engine") as engine:
        assert engine.import_log(tmp_path / "log.parquet").events == table.num_rows
        engine.verify()
        engine.close()


def import_only_ours(content, name, folder):
    file = folder / name
    file.write_bytes(content)
    with framelode.connect("sqlite://") as engine:
        try:
            engine.import_log(file)
        except FramelodeError:
            pass
        finally:
            engine.close()


SETTINGS = examples(12, 30, suppress_health_check=[HealthCheck.function_scoped_fixture])
EDITS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 20), st.binary(max_size=20)), min_size=1, max_size=4
)


def edited(content, edits):
    for where, dropped, added in edits:
        at = where % len(content)
        content = content[:at] + added + content[at + dropped :]
    return content


@given(edits=EDITS)
@SETTINGS
def test_lines_with_any_bytes_changed(exported, tmp_path, edits):
    import_only_ours(edited((exported / "log.jsonl").read_bytes(), edits), "log.jsonl", tmp_path)


@given(edits=EDITS)
@SETTINGS
def test_parquet_with_any_bytes_changed(exported, tmp_path, edits):
    import_only_ours(edited((exported / "log.parquet").read_bytes(), edits), "log.parquet", tmp_path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(line=st.integers(0, 10), name=st.integers(0, 20), value=VALUES)
@SETTINGS
def test_lines_with_any_value_in_any_field(exported, tmp_path, line, name, value):
    rows = (exported / "log.jsonl").read_bytes().splitlines()
    row = json.loads(rows[line % len(rows)])
    row[sorted(row)[name % len(row)]] = value
    rows[line % len(rows)] = json.dumps(row, separators=(",", ":")).encode()
    import_only_ours(b"\n".join(rows) + b"\n", "log.jsonl", tmp_path)


@given(row=st.integers(0, 10), column=st.sampled_from(parquet._SCHEMA.names), data=st.data())
@SETTINGS
def test_parquet_with_any_value_in_any_row(exported, tmp_path, row, column, data):
    table = pq.read_table(exported / "log.parquet")
    values = table[column].to_pylist()
    drawn = {
        pa.string(): st.text(max_size=20) | VALUES.map(json.dumps),
        pa.int64(): st.integers(-(2**63), 2**63 - 1),
        pa.int32(): st.integers(-(2**31), 2**31 - 1),
        pa.binary(): st.binary(max_size=20),
    }.get(table.schema.field(column).type, st.just(values[0]))
    values[row % len(values)] = data.draw(drawn)
    index = table.column_names.index(column)
    altered = table.set_column(index, table.field(column), pa.array(values, table.field(column).type))
    pq.write_table(altered, tmp_path / "altered.parquet")
    import_only_ours((tmp_path / "altered.parquet").read_bytes(), "log.parquet", tmp_path)
