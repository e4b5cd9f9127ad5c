"""Spans of OpenTelemetry around the work of an engine."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from patience import PATIENCE

import framelode
from framelode import DatasetVersion, F, NotFoundError, PublishedError, SingleFrame
from framelode.adapters.hyperdatasets.version_writer import UnknownFramesWarning


@pytest.fixture
def spans(monkeypatch):
    """The spans of the test, as the in-memory exporter of the SDK gets them."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


@pytest.fixture
def engine():
    with framelode.connect("sqlite://") as opened:
        yield opened
        opened.close()


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("food")
    return DatasetVersion.get_current(dataset_name="food")


def named(spans, name):
    return [span for span in spans.get_finished_spans() if span.name == name]


def frames(*ids):
    return [SingleFrame(id=each, source=f"s3://bucket/{each}.jpg") for each in ids]


def test_writes(engine, draft, spans):
    draft.add_frames(frames("a", "b", "c"))
    draft.update_frames(frames("a"), without_fields=["meta"])
    with pytest.warns(UnknownFramesWarning):
        draft.delete_frames(["b", "unknown"])
    (added,), (merged,), (deleted,) = (
        named(spans, name) for name in ("add_frames", "merge_frames", "delete_frames")
    )
    assert dict(added.attributes) == {
        "db.system.name": "framelode",
        "db.operation.name": "add_frames",
        "db.namespace": engine.log.name,
        "framelode.version.id": draft.version_id,
        "framelode.frames.added": 3,
        "framelode.frames.updated": 0,
        "framelode.frames.deleted": 0,
        "framelode.frames.unchanged": 0,
        "framelode.frames.unknown": 0,
        "framelode.frames.refused": 0,
    }
    assert merged.attributes["framelode.frames.unchanged"] == 1
    assert deleted.attributes["framelode.frames.deleted"] == 1
    assert deleted.attributes["framelode.frames.unknown"] == 1
    assert added.status.status_code is trace.StatusCode.UNSET
    assert added.instrumentation_scope.name == "framelode"
    assert added.instrumentation_scope.version == framelode.__version__
    assert added.kind is trace.SpanKind.INTERNAL


def test_commands_and_catching_up(draft, spans):
    draft.add_frames(frames("a"))
    draft.publish_version()
    assert len(named(spans, "commit_version")) == 1
    assert len(named(spans, "publish_version")) == 1
    spans.clear()
    assert draft.get_stats().total == 1
    caught_up = named(spans, "catch_up")
    assert {name for span in caught_up for name in span.attributes["framelode.projections"]} == {
        "catalog",
        "stats",
    }
    assert caught_up[0].attributes["framelode.log.position"] == framelode.current_engine().log.head().position
    spans.clear()
    assert draft.get_stats().total == 1
    assert not spans.get_finished_spans()  # nothing was to be done


def test_spans_of_the_caller_are_parents(draft, spans):
    with trace.get_tracer("caller").start_as_current_span("train") as outer:
        draft.add_frames(frames("a"))
    (added,) = named(spans, "add_frames")
    assert added.parent.span_id == outer.get_span_context().span_id
    assert added.context.trace_id == outer.get_span_context().trace_id


def test_queries(draft, spans):
    draft.add_frames(frames("a", "b", "c"))
    spans.clear()
    found = draft.query(F.id != "b")
    assert next(found).id == "a"
    assert not trace.get_current_span().get_span_context().is_valid  # not the parent of what the caller does
    assert not named(spans, "query")
    assert [frame.id for frame in found] == ["c"]
    (asked,) = named(spans, "query")
    assert asked.attributes["db.response.returned_rows"] == 2
    assert asked.attributes["framelode.version.id"] == draft.version_id
    assert draft.count(F.id != "b") == 2
    assert named(spans, "count")[0].attributes["framelode.frames.found"] == 2


def test_a_query_that_is_given_up(draft, spans):
    draft.add_frames(frames("a", "b", "c"))
    found = draft.query(F.id != "b")
    next(found)
    found.close()
    (asked,) = named(spans, "query")
    assert asked.attributes["db.response.returned_rows"] == 1
    assert asked.status.status_code is trace.StatusCode.UNSET


def test_errors(draft, spans):
    draft.publish_version()
    with pytest.raises(PublishedError):
        draft.add_frames(frames("a"))
    (failed,) = named(spans, "add_frames")
    assert failed.status.status_code is trace.StatusCode.ERROR
    assert failed.attributes["error.type"] == PublishedError.code
    assert failed.events[0].name == "exception"
    with pytest.raises(NotFoundError):
        framelode.current_engine().session.writes.versions.publish_version("0" * 32)
    assert named(spans, "publish_version")[-1].attributes["error.type"] == NotFoundError.code


def test_maintenance_and_transfer(tmp_path, spans):
    (tmp_path / "a.txt").write_text("content")
    with framelode.connect(tmp_path / "food") as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        draft.add_frames(
            [SingleFrame(id="a", source=tmp_path / "a.txt")],
            auto_upload_destination="blobs:",
            local_dataset_root_path=tmp_path,
        )
        (uploaded,) = named(spans, "upload")
        assert uploaded.attributes["framelode.upload.destination"] == "blobs:"
        assert uploaded.attributes["framelode.upload.files"] == 1
        assert uploaded.attributes["framelode.upload.bytes"] == len("content")
        assert uploaded.parent.span_id == named(spans, "add_frames")[0].context.span_id
        engine.rebuild()
        engine.verify()
        engine.gc()
        engine.scrub()
        engine.export_log(tmp_path / "log.jsonl")
        draft.checkout(tmp_path / "out")
        engine.copy_to(tmp_path / "copy")
        draft.to_coco(tmp_path / "coco")
        DatasetVersion.from_coco(tmp_path / "coco", dataset_name="again")
        engine.close()
    with framelode.connect(tmp_path / "other", blobs=tmp_path / "blobs") as other:
        other.import_log(tmp_path / "log.jsonl")
        other.close()
    done = ("rebuild", "verify", "gc", "scrub", "checkout", "copy_engine")
    moved = ("export_log", "import_log", "export", "import")
    for name in (*done, *moved):
        (span,) = named(spans, name)
        assert span.attributes["db.operation.name"] == name
        assert span.attributes["db.namespace"].startswith(("sqlite:", str(tmp_path)))


def test_without_a_provider_nothing_is_begun(draft, monkeypatch):
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "get_tracer", None)  # would fail
    draft.add_frames(frames("a"))
    assert [frame.id for frame in draft.query("id:a")] == ["a"]


def test_opentelemetry_is_never_imported_by_framelode(tmp_path):
    code = """import sys, framelode
from framelode import DatasetVersion, SingleFrame
with framelode.connect(sys.argv[1]) as engine:
    DatasetVersion.create_new_dataset("food")
    draft = DatasetVersion.get_current(dataset_name="food")
    draft.add_frames([SingleFrame(id="a", source="s3://b/a.jpg")])
    assert [frame.id for frame in draft.query("id:a")] == ["a"]
    draft.publish_version()
    engine.verify()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "food"], check=True, timeout=PATIENCE)
