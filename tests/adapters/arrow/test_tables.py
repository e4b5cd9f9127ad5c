"""Tables in and out: the same events as from objects, the same frames back, and errors that name row and column."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import subprocess
import sys
import threading
from unittest import mock

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from any_frames import frames, names, text
from dask_cluster import local_cluster
from distributed import Client
from fsspec.callbacks import Callback
from hypothesis import given
from hypothesis import strategies as st
from making import make
from patience import PATIENCE
from pyarrow import csv
from pyarrow import parquet as pq
from raw_logs import unguarded
from sizes import examples, sized

import framelode
from framelode import (
    ConflictError,
    DatasetVersion,
    FrameGroup,
    IntegrityError,
    InvalidValueError,
    Mask,
    NotRecordedWarning,
    PublishedError,
    SingleFrame,
    UsageError,
    frame_from_dict,
)
from framelode.adapters.arrow import decoder, schema
from framelode.adapters.arrow.encoder import TableEncoder, wire_of
from framelode.adapters.arrow.fields import plan_of
from framelode.engine.errors import FramelodeError
from framelode.engine.frames.record import encode_record
from framelode.engine.log import shred
from framelode.engine.log.shred import PADDING
from framelode.projections.states.raw import RawEvents

few = examples(25, 400)

wholes = st.sampled_from([0, 1, 127, 128, 255, 256, 65535, 65536, 2**32, 2**53])


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("food")
    return DatasetVersion.get_current(dataset_name="food")


def child_of(engine, name):
    DatasetVersion.create_new_dataset(name)
    return DatasetVersion.get_current(dataset_name=name)


def payload_of(frame):
    return encode_record(frame.record() if isinstance(frame, FrameGroup) else frame)


def events_of(payloads):
    """Return payloads as events of frames that were added."""
    parts = [b"\x91" + payload for payload in payloads]
    ends = np.cumsum([len(part) for part in parts])
    return RawEvents(
        b"".join(parts) + bytes(PADDING),
        ends - [len(part) for part in parts],
        ends,
        np.arange(1, len(parts) + 1),
        bytes(16 * len(parts)),
    )


def encoded(table, columns=None):
    """Return what the columns of a table are encoded to: payloads by id, and errors."""
    (batch,) = table.combine_chunks().to_batches()
    encoder = TableEncoder(plan_of(table.schema, columns), lambda: "new", None, 2**24)
    found, refusals = encoder.encode_rows(batch)
    return dict(zip(found.ids, found.payloads, strict=True)), [refusal.error for refusal in refusals]


def carefully(table, columns=None):
    """Return what the rows of a table are encoded to one by one: payloads by id, and the number of errors."""
    (batch,) = table.combine_chunks().to_batches()
    plan, found, errors = plan_of(table.schema, columns), {}, 0
    for index in range(len(batch)):
        try:
            wire, is_group = wire_of(plan, batch, index)
            frame = FrameGroup.from_dict(wire) if is_group else frame_from_dict(wire)
            found[frame.id or frame.derive_id() or "new"] = payload_of(frame)
        except FramelodeError:
            errors += 1
    return found, errors


@few
@given(st.lists(frames, min_size=1, max_size=6))
def test_every_frame_comes_back_equal_to_the_digest(some):
    rows = []
    for number, frame in enumerate(some):
        frame.id = f"{number:032x}" if number % 2 else f"frame {number}"
        rows.append(decoder.row_of(frame, schema.Columns()))
    table = pa.Table.from_pylist(rows, schema.Columns().schema)
    found, errors = encoded(table)
    assert errors == []
    assert found == {frame.id: payload_of(frame) for frame in some}


alike = st.fixed_dictionaries(
    {
        "sources": st.tuples(
            st.fixed_dictionaries(
                {"uri": st.sampled_from(["s3://a/1.png", "s3://a/10.png"]), "width": wholes}
            )
        ).map(list),
        "rois": st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.just("polygon2d"),
                    "label": st.lists(text, max_size=2),
                    "confidence": st.floats(0, 1),
                    "poly": st.sampled_from([[0.0, 1.0], [0.5, -2.0], [1.0] * 4]),
                }
            ),
            max_size=2,
        ),
        "meta": st.fixed_dictionaries(
            {"a": text, "b": wholes, "c": st.floats(-1e9, 1e9), "d": st.booleans(), "e": st.just("x" * 600)}
        ),
    }
)
"""Frames whose records have the same fields, and values of any size."""


@few
@given(st.lists(alike, min_size=1, max_size=4), st.sampled_from([1, 17]))
def test_records_that_are_alike_are_read_as_by_objects(some, times):
    payloads = [payload_of(frame_from_dict(wire)) for wire in times * some]
    events = events_of(payloads)
    with mock.patch.object(shred, "_FEW", 1 if times == 1 else 64):
        found = decoder.columns_of(events, schema.Columns())
    found.validate(full=True)
    assert [plain(row) for row in found.to_pylist()] == [
        plain(row) for row in decoder.one_by_one(events, range(len(payloads)), schema.Columns()).to_pylist()
    ]


@examples(60, 2000)
@given(
    st.lists(frames | alike.map(frame_from_dict), min_size=1, max_size=4),
    st.integers(0, 10**6),
    st.integers(0, 255),
    st.booleans(),
    st.sampled_from([1, 64]),
)
def test_damaged_records_are_read_or_refused_as_by_objects(some, place, byte, is_shorter, at_least):
    """A byte of the last record is another one, or it ends early; records that are alike are read together, or not."""
    payloads = [payload_of(frame) for frame in some]
    last = bytearray(payloads[-1])
    last[place % len(last)] = byte
    payloads[-1] = bytes(last[: place % len(last)] if is_shorter else last)
    events = events_of(payloads)
    outcomes = []
    for read in (
        decoder.columns_of,
        lambda events, columns: decoder.one_by_one(events, range(len(events)), columns),
    ):
        try:
            with mock.patch.object(shred, "_FEW", at_least):
                table = pa.Table.from_batches([read(events, schema.Columns())])
            rows = table.drop_columns("meta").to_pylist()
            outcomes.append(
                [repr(rows), [repr(json.loads(each or "{}")) for each in table["meta"].to_pylist()]]
            )
        except framelode.FramelodeError as error:
            outcomes.append(repr(error))
    assert outcomes[0] == outcomes[1]


def test_any_history_of_frames(tmp_path_factory):
    """Adds, updates and deletes of any frames, read at every point as columns and as objects."""

    @examples(12, 150)
    @given(st.lists(st.lists(st.tuples(st.integers(0, 5), frames | st.none()), max_size=6), max_size=4))
    def check(parts):
        folder = tmp_path_factory.mktemp("engine")
        with framelode.connect(folder / "a") as engine:
            draft = child_of(engine, "food")
            for part in parts:
                for number, frame in part:
                    if frame is not None:
                        frame.id = f"{number:032x}" if number % 2 else f"frame {number}"
                        assert not draft.add_frames([frame])
                    elif f"frame {number}" in draft:
                        draft.delete_frames([f"frame {number}"])
            table = draft.to_arrow()
            table.validate(full=True)
            assert table.schema == schema.Columns().schema
            back = child_of(engine, "back")
            assert not back.add_table(table)
            assert list(back.keys()) == list(draft.keys())
            assert back.fingerprint == draft.fingerprint
            assert list(back) == list(draft)
            assert_rows_are(table, draft)

    check()


def assert_rows_are(table, version):
    """The rows are the wire forms."""
    for row, frame in zip(table.to_pylist(), version, strict=True):
        wire = frame.to_dict()
        assert row.pop("group") == isinstance(frame, FrameGroup)
        assert plain(row) == wire


def plain(row):
    """Return a row without nulls and with metadata decoded: a wire form."""
    if isinstance(row, list):
        return [plain(item) for item in row]
    if not isinstance(row, dict):
        return row
    return {
        key: json.loads(value) if key == "meta" else plain(value)
        for key, value in row.items()
        if value is not None
    }


columns_of_values = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.int64())
    ),
    st.lists(st.none() | st.integers(0, 2**64 - 1), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.uint64())
    ),
    st.lists(st.none() | st.integers(-128, 127), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.int8())
    ),
    st.lists(st.none() | st.floats(), min_size=3, max_size=3).map(lambda v: pa.array(v, pa.float64())),
    st.lists(st.none() | st.floats(width=32), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.float32())
    ),
    st.lists(st.none() | st.booleans(), min_size=3, max_size=3).map(lambda v: pa.array(v, pa.bool_())),
    st.lists(st.none() | text, min_size=3, max_size=3).map(lambda v: pa.array(v, pa.string())),
    st.lists(st.none() | text, min_size=3, max_size=3).map(lambda v: pa.array(v, pa.large_string())),
    st.lists(st.none() | text, min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.string()).dictionary_encode()
    ),
    st.lists(st.none() | st.dates(), min_size=3, max_size=3).map(lambda v: pa.array(v, pa.date32())),
    st.lists(st.none() | st.lists(st.none() | st.integers(-9, 9), max_size=3), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.list_(pa.int64()))
    ),
    st.lists(
        st.none() | st.fixed_dictionaries({"b": st.none() | text, "a": st.none() | st.integers(0, 9)}),
        min_size=3,
        max_size=3,
    ).map(lambda v: pa.array(v, pa.struct({"b": pa.string(), "a": pa.int64()}))),
    st.just(pa.nulls(3)),
)


@few
@given(
    columns_of_values,
    st.sampled_from(["meta.key", "meta.a.b", "width", "timestamp", "num_frames", "id", "source"]),
)
def test_columns_of_any_type_are_encoded_like_their_rows(column, field):
    table = pa.table({"id": ["a", "b", "c"], "key": column}) if field != "id" else pa.table({"key": column})
    try:
        found, errors = encoded(table, {"key": field})
    except InvalidValueError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert "column 'key'" in message
        return
    same, failed = carefully(table, {"key": field})
    assert (found, len(errors)) == (same, failed)


geometry = st.lists(st.floats(-10, 100, width=16) | st.none() | st.just(float("nan")), max_size=11)
kinds = st.sampled_from(
    ["box2d", "box3d", "polygon2d", "keypoints3d", "ellipse2d", "image", "complex_polygon2d", "x", ""]
)
rois = st.fixed_dictionaries(
    {
        "type": st.none() | kinds,
        "poly": st.none() | geometry,
        "label": st.none() | st.lists(st.none() | names, max_size=3),
        "confidence": st.none() | st.floats(-0.5, 1.5),
        "id": st.none() | names,
        "meta": st.none() | st.sampled_from(["", "{}", '{"a":1}', "[1]", "{", '{"a":-0.0}', '{"a":1e400}']),
    }
)
roi_type = pa.struct(
    {
        "type": pa.string(),
        "poly": pa.list_(pa.float64()),
        "label": pa.list_(pa.string()),
        "confidence": pa.float64(),
        "id": pa.string(),
        "meta": pa.string(),
    }
)


@few
@given(
    st.lists(st.none() | st.lists(st.none() | rois, max_size=3), min_size=1, max_size=5), st.integers(0, 2)
)
def test_annotations_are_encoded_like_their_rows(lists, skipped):
    ids = [f"{number}" for number in range(len(lists) + 2)]
    table = pa.table({"id": ids, "rois": pa.array([*lists, None, []], pa.list_(roi_type))}).slice(skipped)
    found, errors = encoded(table)
    same, failed = carefully(table)
    assert (found, len(errors)) == (same, failed)


uris = st.sampled_from(
    [
        "s3://b/a.jpg",
        "s3://b/A.JPG",
        "gs://b.c/none",
        "/d/é.png",
        "a b.txt",
        "file:/x.npy",
        "https://h/a.jpg?v=1.png",
        "https://u:p@h/a.jpg",
        "data:image/png;base64,x",
        "data://x.jpg",
        "",
        "s3://b/x.",
        "FILE:///a.gif",
        "s3://b/é.jpg",
    ]
)
whole = st.none() | st.integers(-1, 2**40)
source_rows = st.fixed_dictionaries(
    {
        "uri": st.none() | uris,
        "id": st.none() | st.sampled_from(["default", "left", ""]),
        "content_type": st.none() | st.sampled_from(["", "image/x"]),
        "width": whole,
        "timestamp": st.none() | st.integers(-3, 3),
        "hash": st.none() | st.sampled_from(["", "h"]),
        "masks": st.none() | st.lists(st.fixed_dictionaries({"id": names, "uri": uris}), max_size=2),
        "preview": st.none() | st.fixed_dictionaries({"uri": st.none() | uris}),
    }
)


@few
@given(
    st.lists(
        st.tuples(
            st.none() | st.lists(source_rows, max_size=2),
            st.none() | st.integers(-3, 3),
            st.none() | uris,
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_sources_are_encoded_like_their_rows(rows):
    sources, timestamps, contexts, groups = zip(*rows, strict=True)
    one = pa.struct(
        {
            **{name: pa.string() for name in ("uri", "id", "content_type", "hash")},
            "width": pa.int64(),
            "timestamp": pa.int64(),
            "masks": pa.list_(pa.struct({"id": pa.string(), "uri": pa.string()})),
            "preview": pa.struct({"uri": pa.string()}),
        }
    )
    table = pa.table(
        {
            "id": [str(number) for number in range(len(rows))],
            "sources": pa.array(sources, pa.list_(one)),
            "timestamp": pa.array(timestamps, pa.int64()),
            "context_id": pa.array(contexts, pa.string()),
            "group": pa.array(groups, pa.bool_()),
        }
    )
    found, errors = encoded(table)
    same, failed = carefully(table)
    assert (found, len(errors)) == (same, failed)


@few
@given(st.lists(uris | st.none(), min_size=1, max_size=6), st.data())
def test_flat_columns_of_sources_are_encoded_like_their_rows(some, data):
    count = len(some)
    times = data.draw(st.lists(st.none() | st.integers(-3, 3), min_size=count, max_size=count))
    table = pa.table({"source": pa.array(some, pa.string()), "timestamp": pa.array(times, pa.int64())})
    table = table.append_column("height", pa.array([number % 3 - 1 for number in range(count)]))
    found, errors = encoded(table)
    same, failed = carefully(table)
    assert (found, len(errors)) == (same, failed)


@pytest.mark.parametrize(
    "value", ["", "{}", '{"a": 1, "b": [1.0, null]}', '{"b": 1, "a": {"é": "\\ud83d\\ude00"}}', None]
)
def test_metadata_as_json(draft, value):
    draft.add_table(pa.table({"id": ["a"], "meta": pa.array([value], pa.string())}))
    assert draft["a"] == SingleFrame(id="a", metadata=json.loads(value or "{}"))


def test_metadata_of_many_forms_comes_back(draft):
    metadata = [
        {"a": 1},
        {"a": 1.0},
        {"a": "1"},
        {"a": True},
        {"a": None},
        {"a": 2**64 - 1},
        {"a": -1, "b": [{}]},
        {},
    ]
    metadata += [
        {"é\n": '"\\\x00'},
        {"x" * 40: "y" * 300},
        {f"k{n}": n for n in range(40)},
        {"a": 5e-324, "b": 1e22},
    ]
    metadata += [{"a": [[[{"b": [1] * 20}]]]}, {"a": list(range(70_000))}, {"": ""}]
    draft.add_frames([SingleFrame(id=str(number), metadata=each) for number, each in enumerate(metadata)])
    back = [json.loads(each or "{}") for each in draft.to_arrow(["meta"])["meta"].to_pylist()]
    assert [repr(sorted(each.items())) for each in back] == [repr(sorted(each.items())) for each in metadata]


def test_nested_metadata_columns(draft):
    moment = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    rows = [
        {
            "id": "a",
            "info": {"who": "me", "size": {"w": 1.5, "h": None}},
            "at": moment,
            "price": decimal.Decimal("1.10"),
        },
        {"id": "b", "info": None, "at": None, "price": None},
    ]
    draft.add_table(pa.Table.from_pylist(rows), {"info": "meta.info", "at": "meta.at", "price": "meta.price"})
    expected = {"info": {"who": "me", "size": {"w": 1.5}}, "at": moment.isoformat(), "price": 1.1}
    assert draft["a"].metadata == SingleFrame(metadata=expected | {"price": decimal.Decimal("1.10")}).metadata
    assert draft["b"].metadata == {}


class TestMapping:
    def test_names_of_the_benchmark(self, draft):
        table = pa.table(
            {
                "path": ["s3://b/1.jpg", "s3://b/2.jpg"],
                "w": [640, 640],
                "camera": ["left", None],
                "found": [[{"what": "car", "box": [1, 2, 30, 40]}], []],
                "unused": [1, 2],
            }
        )
        columns = {"path": "source", "w": "width", "camera": "meta.camera", "found": "rois", "unused": None}
        columns |= {"found.what": "rois.label", "found.box": "rois.poly"}
        assert draft.add_table(table, columns) == []
        first, second = draft
        same = SingleFrame(source="s3://b/1.jpg", width=640, metadata={"camera": "left"})
        same.add_annotation(box2d_xywh=(1, 2, 30, 40), labels=["car"])
        assert (payload_of(first), first.id) == (payload_of(same), same.derive_id())
        assert (second.metadata, second.annotations, second.width) == ({}, [], 640)

    @pytest.mark.parametrize(
        ("table", "columns", "message"),
        [
            (
                {"camera": [1]},
                None,
                "column 'camera' is no field of a frame: map it with columns={'camera': ...} to one of id, ",
            ),
            ({"id": ["a"]}, {"ids": "id"}, "columns names 'ids', but the table has 'id': did you mean 'id'?"),
            (
                {"id": ["a"], "x": ["b"]},
                {"x": "id"},
                "columns 'id' and 'x' are both id: leave one out with columns={'x': None}",
            ),
            ({"id": ["a"]}, {"id": "widht"}, "column 'id' is no field of a frame"),
            ({"id": ["a"]}, {"id": 3}, "columns must map names of columns to fields or None, not 'id' to 3"),
            ({"id": ["a"]}, ["id"], "columns must be a dict of fields by column, not ['id']"),
            (
                {"width": ["a"]},
                None,
                "column 'width' (sources.0.width) must be a column of integers, not of string",
            ),
            (
                {"source": [1]},
                None,
                "column 'source' (sources.0.uri) must be a column of strings, not of int64",
            ),
            ({"rois": [1]}, None, "column 'rois' (rois) must be a column of lists, not of int64"),
            ({"rois": [[1]]}, None, "column 'rois' (rois) must be a column of structs, not of int64"),
            ({"rois": [[{"bbox": 1}]]}, None, "column 'rois' (rois): 'bbox' is no field of an annotation"),
            (
                {"id": ["a"], "b": [[{"x": 1}]]},
                {"b": "meta.b", "b.x": "rois.poly"},
                "map 'b' to rois, and what it holds to one",
            ),
            (
                {"meta": ["{}"], "k": [1]},
                {"k": "meta.k"},
                "column 'meta' is all of meta, and column 'k' is a part of it",
            ),
            ({"a": [1], "b": [2]}, {"a": "meta.a", "b": "meta.a.b"}, "meta.a and keys below it"),
            ({"group": [1]}, None, "column 'group' (group) must be a column of booleans, not of int64"),
            ({"sources": [[{"url": "x"}]]}, None, "sources.url is no field of a source"),
        ],
    )
    def test_bad_tables(self, draft, table, columns, message):
        with pytest.raises(InvalidValueError) as caught:
            draft.add_table(pa.table(table), columns)
        assert message in str(caught.value)
        assert len(draft) == 0

    def test_no_table(self, draft, tmp_path):
        with pytest.raises(InvalidValueError, match="a table must be a pyarrow Table, .*, not 3"):
            draft.add_table(3)
        with pytest.raises(
            InvalidValueError, match="'x.txt' is no table: its name must end in .parquet, .pq or .csv"
        ):
            draft.add_table("x.txt")
        with pytest.raises(UsageError, match=r"none\.parquet does not exist"):
            draft.add_table(tmp_path / "none.parquet")
        (tmp_path / "bad.parquet").write_bytes(b"no parquet")
        with pytest.raises(InvalidValueError, match=r"bad\.parquet cannot be read as Parquet: "):
            draft.add_table(tmp_path / "bad.parquet")


class TestRows:
    def test_refused_rows_name_row_and_column(self, draft):
        table = pa.table(
            {
                "id": ["a", "b", "", "d"],
                "path": ["s3://b/1.jpg", "s3://b/2.jpg", "s3://b/3.jpg", "https://h/x?token=secret"],
                "w": [1.0, 1.5, 3.0, float("nan")],
                "boxes": [[[1.0, 2.0, 3.0, 4.0]], [], [], []],
            }
        )
        boxes = pa.array([[{"poly": box} for box in boxes] for boxes in table["boxes"].to_pylist()])
        table = table.set_column(3, "boxes", boxes)
        columns = {"path": "source", "w": "width", "boxes": "rois"}
        with pytest.warns(NotRecordedWarning, match="3 frames not recorded"):
            failures = draft.add_table(table, columns)
        assert [failure["error_type"] for failure in failures] == ["validation"] * 3
        assert [failure["frame"]["id"] for failure in failures] == ["b", "", "d"]
        messages = [failure["error"] for failure in failures]
        assert messages[0].startswith("row 1, column 'w': ")
        assert "width must be a 64-bit integer, not 1.5" in messages[0]
        assert messages[1].startswith("row 2, column 'id': ")
        assert messages[2].startswith("row 3, column 'path': ")
        assert "secret" not in messages[2]
        assert list(draft.keys()) == ["a"]

    def test_rows_are_numbered_through_the_whole_table(self, draft):
        count = 8 * 1000 + 7
        widths = np.ones(count)
        widths[[3, count - 1]] = -1
        ids = [f"{number:032x}" for number in range(count)]
        failures = draft.add_table(pa.table({"id": ids, "width": widths}))
        assert [failure["error"].split(",")[0] for failure in failures] == ["row 3", f"row {count - 1}"]
        assert len(draft) == count - 2

    def test_too_large_a_row(self, tmp_path):
        with framelode.connect(tmp_path / "small", max_frame_bytes=200) as engine:
            draft = child_of(engine, "food")
            failures = draft.add_table(
                pa.table(
                    {"id": ["a", "b"], "name": ["x" * 300, "y"]},
                ),
                {"name": "meta.name"},
            )
            assert "has 315 bytes encoded, the limit is 200" in failures[0]["error"]
            assert list(draft.keys()) == ["b"]

    def test_the_last_row_of_an_id_counts(self, draft):
        draft.add_table(pa.table({"id": ["a", "a"], "width": [1, 2]}))
        assert (len(draft), draft["a"].width) == (1, 2)

    def test_unchanged_rows_leave_no_event(self, engine, draft):
        table = pa.table({"id": ["a", "b"], "width": [1, 2]})
        draft.add_table(table)
        before = engine.log.head().position
        draft.add_table(table, refresh_version_stats=False)
        assert engine.log.head().position == before

    def test_masks_keep_the_careful_road(self, draft):
        frame = make(1)
        frame.annotations.append(Mask((1, 2, 3), "m"))
        draft.add_frames([frame])
        assert payload_of(next(iter(draft))) == payload_of(frame)
        assert draft.to_arrow()["rois"].to_pylist()[0][1]["mask"] == {"id": "m", "value": [1, 2, 3]}


class TestForms:
    @pytest.fixture
    def table(self):
        return pa.table(
            {"id": ["a", "b", "c"], "source": ["s3://b/a.jpg", None, "s3://b/c.jpg"], "width": [1, None, 3]}
        )

    @pytest.fixture
    def expected(self, table):
        return {row["id"]: SingleFrame(**row) for row in table.to_pylist()}

    def test_arrow(self, draft, table, expected):
        for form in (table, table.to_reader(1), table.combine_chunks().to_batches()[0]):
            draft.add_table(form)
            assert {frame.id: frame for frame in draft} == expected

    def test_anything_with_a_stream(self, draft, table, expected):
        class Stream:
            def __arrow_c_stream__(self, requested_schema=None):
                return table.__arrow_c_stream__(requested_schema)

        draft.add_table(Stream())
        assert {frame.id: frame for frame in draft} == expected

    def test_pandas(self, draft, table, expected):
        frame = table.to_pandas()
        assert frame["width"].dtype == np.float64  # pandas has no integers that can be missing
        draft.add_table(frame)
        assert {frame.id: frame for frame in draft} == expected

    def test_polars(self, draft, table, expected):
        polars = pytest.importorskip("polars")
        draft.add_table(polars.from_arrow(table))
        assert {frame.id: frame for frame in draft} == expected
        assert draft.to_polars(["id", "sources.0.width"]).to_dict(as_series=False) == {
            "id": ["a", "b", "c"],
            "sources.0.width": [1, None, 3],
        }
        assert polars.from_arrow(draft.to_arrow()).height == 3
        draft.add_table(polars.from_arrow(table).lazy())

    def test_files(self, draft, table, expected, tmp_path):
        pq.write_table(table, tmp_path / "a.parquet")
        draft.add_table(tmp_path / "a.parquet")
        assert {frame.id: frame for frame in draft} == expected
        draft.delete_frames(list(draft.keys()))
        csv.write_csv(table, tmp_path / "a.CSV")
        draft.add_table(str(tmp_path / "a.CSV"))
        assert {frame.id for frame in draft} == {"a", "b", "c"}
        assert draft["a"] == expected["a"]

    def test_a_version_is_a_table(self, engine, draft, table):
        draft.add_table(table)
        other = child_of(engine, "other")
        other.add_table(draft)
        assert other.fingerprint == draft.fingerprint
        assert pa.table(draft) == draft.to_arrow()

    def test_rows_that_cannot_be_read_further(self, draft, tmp_path):
        """Rows before are recorded."""

        def batches():
            yield pa.record_batch({"id": ["a"]})
            raise pa.ArrowInvalid("a page is damaged")

        reader = pa.RecordBatchReader.from_batches(pa.schema({"id": pa.string()}), batches())
        with pytest.raises(InvalidValueError, match="the table cannot be read further: a page is damaged"):
            draft.add_table(reader)
        assert list(draft.keys()) == ["a"]


class TestCalls:
    def test_progress(self, draft):
        callback = Callback()
        ids = [f"{number:032x}" for number in range(9000)]
        draft.add_table(pa.table({"id": ids}), callback=callback)
        assert callback.value == 9000

    def test_a_command_is_recorded_once_however_the_stream_is_cut(self, engine, draft):
        table = pa.table({"id": [f"{number:032x}" for number in range(9000)]})
        draft.add_table(table, command_id="import", refresh_version_stats=False)
        before = engine.log.head().position
        draft.add_table(table.to_reader(700), command_id="import", refresh_version_stats=False)
        assert engine.log.head().position == before
        with pytest.raises(ConflictError):
            draft.add_table(table.slice(1), command_id="import")

    def test_published_versions_take_no_rows(self, draft):
        draft.publish_version()
        with pytest.raises(PublishedError):
            draft.add_table(pa.table({"id": ["a"]}))

    def test_ids_are_derived_like_those_of_objects(self, draft, tmp_path):
        (tmp_path / "a.jpg").touch()
        draft.add_table(pa.table({"source": [str(tmp_path / "a.jpg")]}), local_dataset_root_path=tmp_path)
        frame = SingleFrame(source=tmp_path / "a.jpg")
        assert list(draft.keys()) == [frame.derive_id(tmp_path)]

    def test_events_are_those_of_objects(self, tmp_path, new_ticks):
        """Same positions, payloads, digests: the chain of the log is the same."""
        heads = []
        frames = [make(number, id=f"{number:032x}", metadata={"n": number / 7}) for number in range(2500)]
        table = pa.Table.from_pylist(
            [decoder.row_of(frame, schema.Columns()) for frame in frames], schema.Columns().schema
        )
        for name in ("objects", "table"):
            ticks = new_ticks()
            with framelode.connect(tmp_path / name, clock=ticks.clock, new_id=ticks.new_id) as engine:
                draft = child_of(engine, "food")
                draft.add_frames(frames) if name == "objects" else draft.add_table(table)
                heads.append((engine.log.head().position, draft.fingerprint))
                heads[-1] += tuple(engine.log.batch_at(position).body_digest for position in (3, 1003, 2003))
                engine.verify()
        assert heads[0] == heads[1]


class TestReading:
    def test_columns(self, draft):
        draft.add_frames([make(1, id="a"), frame_from_dict({"id": "b", "meta": {"x": 1}, "num_frames": 3})])
        table = draft.to_arrow(["sources.0.uri", "id", "num_frames", "sources.0.timestamp", "sources.0.id"])
        assert table.to_pylist() == [
            {
                "sources.0.uri": "s3://bucket/1.jpg",
                "id": "a",
                "num_frames": None,
                "sources.0.timestamp": 0,
                "sources.0.id": "default",
            },
            {
                "sources.0.uri": None,
                "id": "b",
                "num_frames": 3,
                "sources.0.timestamp": None,
                "sources.0.id": None,
            },
        ]
        assert draft.to_arrow(["meta"]).to_pylist() == [{"meta": None}, {"meta": '{"x":1}'}]

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (["sauces"], "'sauces' is no column of frames: these are id, .*: did you mean 'sources'"),
            ("id", "columns must be a list of names, not 'id'"),
            (["id", "id"], "columns has 'id' twice"),
        ],
    )
    def test_unknown_columns(self, draft, columns, message):
        with pytest.raises(InvalidValueError, match=message):
            draft.to_arrow(columns)

    def test_the_past(self, engine, draft):
        draft.add_frames([make(1, id="a")])
        position = engine.log.head().position
        draft.add_frames([make(2, id="a"), make(3, id="b")])
        assert draft.to_arrow(["id"], as_of=position).to_pylist() == [{"id": "a"}]
        past = engine.at(position).version(draft.version_id)
        assert past.to_arrow(["sources.0.uri"]).to_pylist() == [{"sources.0.uri": "s3://bucket/1.jpg"}]
        assert len(draft.to_arrow()) == 2

    def test_an_empty_version(self, draft, tmp_path):
        assert draft.to_arrow().schema == schema.Columns().schema
        assert len(draft.to_arrow()) == 0
        assert draft.to_parquet(tmp_path / "a.parquet") == 0
        assert len(pq.read_table(tmp_path / "a.parquet")) == 0

    def test_parquet_and_back(self, engine, draft, tmp_path):
        draft.add_frames([make(number) for number in range(2500)])
        group = FrameGroup(id="g", left=make(7), right=make(8))
        lone = FrameGroup(id="h", default=make(9))
        draft.add_frames([group, lone])
        assert draft.to_parquet(tmp_path / "a.parquet") == 2502
        other = child_of(engine, "other")
        assert other.add_table(tmp_path / "a.parquet") == []
        assert other.fingerprint == draft.fingerprint
        assert type(other["h"]) is FrameGroup

    def test_pandas(self, draft):
        draft.add_frames([make(1, id="a")])
        frame = draft.to_pandas(["id", "sources.0.width"])
        assert isinstance(frame, pd.DataFrame)
        assert frame.to_dict("records") == [{"id": "a", "sources.0.width": 640}]

    def test_dask(self, engine, draft):
        draft.add_frames([make(number, id=f"{number:032x}") for number in range(2500)])
        position = engine.log.head().position
        frame = draft.to_dask(["id", "sources.0.width", "rois"], partition_rows=900)
        assert frame.npartitions == 3
        draft.delete_frames([f"{7:032x}"])
        with local_cluster(1) as cluster, Client(cluster) as client:
            read = client.compute(frame).result()
            (pid,) = client.run(os.getpid).values()
        assert pid != os.getpid()
        assert read["id"].tolist() == [f"{number:032x}" for number in range(2500)]
        assert read["sources.0.width"].sum() == 2500 * 640
        assert draft.to_dask(["id"], as_of=position).compute(scheduler="sync").shape == (2500, 1)
        assert draft.to_dask(["id"]).compute(scheduler="sync").shape == (2499, 1)

    def test_dask_of_nothing(self, draft):
        assert draft.to_dask().compute(scheduler="sync").shape == (0, len(schema.DEFAULT))
        with pytest.raises(InvalidValueError, match="partition_rows must be an integer of at least 1, not 0"):
            draft.to_dask(partition_rows=0)

    def test_dask_of_a_log_in_memory(self):
        with framelode.connect("sqlite://") as engine, pytest.raises(UsageError, match="memory"):
            child_of(engine, "food").to_dask()

    def test_a_damaged_log_is_reported_as_by_other_readers(self, tmp_path):
        with framelode.connect(tmp_path / "food") as engine:
            draft = child_of(engine, "food")
            draft.add_frames([make(number) for number in range(1500)])
            position = engine.log.batch_at(1200).first_position
        with unguarded(tmp_path / "food") as connection:
            damage = "UPDATE record_body SET body = zeroblob(100) WHERE first_position = ?"
            assert connection.execute(damage, (position,)).rowcount == 1
        with framelode.connect(tmp_path / "food") as engine:
            draft = engine.version(draft.version_id)
            for call in (
                draft.to_arrow,
                lambda: list(draft.to_arrow_reader()),
                lambda: draft.to_parquet(tmp_path / "a"),
            ):
                with pytest.raises(
                    IntegrityError, match=r"a body does not match its checksum \(position 1\d\d\d\)"
                ):
                    call()
        assert not (tmp_path / "a").exists()

    def test_frames_that_are_not_alike_are_read_alone(self, draft, monkeypatch):
        draft.add_frames([make(1, id="a")])
        monkeypatch.setattr(decoder, "_record", lambda *_: [])  # nothing is read side by side
        assert_rows_are(draft.to_arrow(), draft)

    def test_frames_side_by_side_and_alone_stay_in_order(self, draft, monkeypatch):
        frames = []
        for number in range(600):
            frame = make(number, id=f"{number:032x}", metadata={"n": number} if number % 3 else {})
            if number % 50 == 7:
                frame.annotations.append(Mask((1, 2, 3)))
            if number % 70 == 3:
                frame.annotations *= 40
            frames.append(frame)
        draft.add_frames(frames)
        draft.update_frames([frames[5], frames[57]])
        assert_rows_are(draft.to_arrow(), draft)

    def test_memory_is_bounded(self, tmp_path):
        """Reading as a stream takes the same for few and many frames."""
        count = sized(30_000, 300_000)
        code = """import resource, sys
import pyarrow as pa
import framelode
schema = pa.schema({"id": pa.string(), "name": pa.string()})
def batches(rows):
    for start in range(0, rows, 1000):
        ids = [f"{number:032x}" for number in range(start, start + 1000)]
        yield pa.record_batch({"id": ids, "name": ["x" * 900] * 1000})
with framelode.connect(sys.argv[1]):
    for rows in map(int, sys.argv[2:]):
        framelode.DatasetVersion.create_new_dataset(f"{rows}")
        draft = framelode.DatasetVersion.get_current(dataset_name=f"{rows}")
        draft.add_table(pa.RecordBatchReader.from_batches(schema, batches(rows)), {"name": "meta.name"})
        assert sum(map(len, draft.to_arrow_reader())) == rows
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"""
        command = [sys.executable, "-c", code, str(tmp_path / "engine"), str(count // 3), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
        few, many = map(float, done.stdout.split())
        assert many - few < 30 + 100e-6 * count

    def test_the_library_is_named_where_it_is_missing(self, tmp_path):
        code = """import sys; sys.modules['pyarrow'] = None
import framelode
with framelode.connect(sys.argv[1]):
    framelode.DatasetVersion.create_new_dataset("food")
    draft = framelode.DatasetVersion.get_current(dataset_name="food")
    for call in (draft.to_arrow, lambda: draft.add_table("a.csv")):
        try:
            call()
        except framelode.UsageError as error:
            print(error)"""
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        assert done.stdout == 2 * "tables need the library pyarrow: pip install 'framelode[arrow]'\n"


def test_msgpack_of_all_sizes():
    """Strings, maps, lists and integers of every form, in one column."""
    texts = [None, "", *("x" * size for size in (1, 31, 32, 255, 256, 65_535, 65_536))]
    counts = [
        0,
        1,
        127,
        128,
        255,
        256,
        65_535,
        65_536,
        2**32,
        -1,
        -32,
        -33,
        -128,
        -129,
        -(2**15) - 1,
        -(2**31) - 1,
    ]
    rows = [{"id": f"t{number}", "text": each, "n": None, "list": None} for number, each in enumerate(texts)]
    rows += [
        {"id": f"n{number}", "text": None, "n": each, "list": [each] * (abs(each) % 40)}
        for number, each in enumerate(counts)
    ]
    table = pa.Table.from_pylist(rows)
    columns = {name: f"meta.{name}" for name in ("text", "n", "list")}
    found, errors = encoded(table, columns)
    assert errors == []
    for row in rows:
        meta = {key: row[key] for key in columns if row[key] is not None}
        assert msgspec.msgpack.decode(found[row["id"]]) == ({"meta": meta} if meta else {})
        assert found[row["id"]] == encode_record(SingleFrame(metadata=meta))


def test_a_url_is_no_path_of_a_table(engine):
    DatasetVersion.create_new_dataset("urls")
    draft = DatasetVersion.get_current(dataset_name="urls")
    with pytest.raises(UsageError, match=r"https://me:\*\*\*@host/x.parquet'? is a URL") as raised:
        draft.add_table("https://me:hidden@host/x.parquet")
    assert "hidden" not in str(raised.value)


def test_rows_are_taken_by_the_thread_that_calls(engine):
    DatasetVersion.create_new_dataset("threads")
    draft = DatasetVersion.get_current(dataset_name="threads")
    caller, taken_by = threading.get_ident(), set()
    schema = pa.schema([("id", pa.string())])

    def batches():
        for number in range(4):
            taken_by.add(threading.get_ident())
            yield pa.record_batch([[f"{number}-{row}" for row in range(9000)]], schema=schema)

    assert draft.add_table(pa.RecordBatchReader.from_batches(schema, batches())) == []
    assert (len(draft), taken_by) == (36_000, {caller})


def test_a_stream_does_not_go_on_in_a_forked_process(engine):
    DatasetVersion.create_new_dataset("forks")
    draft = DatasetVersion.get_current(dataset_name="forks")
    draft.add_dicts([{"id": f"{number:032x}"} for number in range(40_000)])
    reader = draft.to_arrow_reader(["id"])
    assert len(reader.read_next_batch())

    child = os.fork()
    if not child:
        told = 1
        try:
            while reader.read_next_batch():
                pass
        except UsageError as error:
            told = "cannot go on in a forked process" not in str(error)
        finally:
            os._exit(told)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert 0 < sum(map(len, reader)) < 40_000
