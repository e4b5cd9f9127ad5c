"""Stored columns: built on demand, kept up to date, checked when they are read, and skipped where nothing can match."""

import logging

import pytest
import sqlalchemy as sa
from reference_query import holds, wire_of

import framelode
from framelode import DatasetVersion, F, IntegrityError, Roi, SingleFrame
from framelode.projections.queries import evaluation, stored
from framelode.projections.queries.stored import FrameColumns

pytestmark = pytest.mark.filterwarnings("ignore::framelode.UnknownNameWarning")


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch):
    monkeypatch.setattr(FrameColumns, "stretch_bits", 5)
    monkeypatch.setattr(stored, "_LARGE", 40)


def made(number):
    frame = SingleFrame(
        id=f"f{number}",
        source=f"s3://b/cam{number % 3}/{number}.jpg",
        metadata={"half": number // 64, "n": number, "odd": number % 2 == 1, "tags": ["a", number]},
    )
    for place in range(number % 3):
        frame.add_annotation(
            box2d_xywh=(place, 2, number + 1, 4), labels=["car" if place else "dog"], confidence=place / 2
        )
    return frame


@pytest.fixture
def streets(tmp_path):
    with framelode.connect(tmp_path / "streets") as engine:
        DatasetVersion.create_new_dataset("streets")
        draft = DatasetVersion.get_current(dataset_name="streets")
        draft.add_frames([made(number) for number in range(128)])
        yield engine, draft


QUERIES = {
    "text": F.sources.uri.like("*cam1/*"),
    "number": F.meta.n.between(70, 75),
    "exact": F.meta.n == 70,
    "boolean": (F.meta.odd == True) & (F.meta.half == 1),  # noqa: E712 - a query
    "list": F.meta.tags == 17,
    "annotation": Roi(label="car", confidence=(0.2, 0.6)),
    "box": Roi(F.area >= 300),
    "counts": Roi(label="dog").count(1, 1) & ~Roi(label="car"),
    "none": Roi().count(0, 0),
    "absent": F.meta.nosuch == 1,
    "id": F.id == "f99",
}


def reference(version, query):
    return [frame.id for frame in version if holds(query, wire_of(frame))]


def found(version, query):
    return [frame["id"] for frame in version.query(query, projection=["id"])]


def columns_of(engine):
    return engine.session.projection(FrameColumns)


def built(engine):
    return engine.session.runner.position(columns_of(engine))


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_stored_columns_answer_as_decoded_ones(streets, query):
    engine, draft = streets
    expected = reference(draft, query)
    assert found(draft, query) == expected  # decoded, and stored on the way
    assert built(engine) >= 128
    with framelode.connect(engine.url, read_only=True) as other:
        version = other.version(draft.version_id)
        assert found(version, query) == expected


def test_writers_verify_and_rebuild_leave_them_to_readers(streets):
    engine, draft = streets
    assert "columns" not in [each.name for each in engine.status().projections]
    engine.rebuild()
    engine.verify()
    assert not built(engine)
    assert draft.count(QUERIES["number"]) == 6
    before = built(engine)
    draft.add_frames([made(number) for number in range(200, 240)])
    assert built(engine) == before
    assert "columns" in [each.name for each in engine.status().projections]
    engine.rebuild()
    assert built(engine) == engine.log.head().position
    engine.verify()


def test_few_frames_in_a_long_log_are_decoded(streets):
    engine, _ = streets
    DatasetVersion.create_new_dataset("small")
    small = DatasetVersion.get_current(dataset_name="small")
    small.add_frames([made(1)])
    assert found(small, QUERIES["text"]) == ["f1"]
    assert not built(engine)


def test_a_new_process_decodes_nothing(streets, monkeypatch):
    engine, draft = streets
    draft.count(QUERIES["text"])
    monkeypatch.setattr(evaluation, "read_pieces", lambda *_: pytest.fail("decoded"))
    with framelode.connect(engine.url) as again:
        state = again.session.states.read(draft.version_id)
        queries = evaluation.FrameQueries(again.session.runner, again.session.projection(FrameColumns))
        # The last events are in no complete stretch.
        assert len(next(queries.find(state, QUERIES["text"]))) > 5


def test_zone_maps_skip_stretches(streets, monkeypatch):
    engine, draft = streets
    draft.count(QUERIES["text"])
    read = []
    get = FrameColumns._data

    def noted(self, connection, stretch, part, number):
        read.append((part, number, stretch))
        return get(self, connection, stretch, part, number)

    monkeypatch.setattr(FrameColumns, "_data", noted)
    with framelode.connect(engine.url) as again:
        assert found(
            again.version(draft.version_id), F.meta.n.between(1, 3) & F.sources.uri.like("*jpg")
        ) == ["f1", "f2", "f3"]
    assert {stretch for part, number, stretch in read if part == "frame"} == {0}
    assert {stretch for part, number, stretch in read if part == "meta" and number} <= {0}
    assert not any(part in {"id", "rois"} for part, _, _ in read)


@pytest.mark.parametrize("damage", ["changed", "moved", "gone"])
def test_damaged_pieces_are_made_again(streets, caplog, damage):
    engine, draft = streets
    expected = reference(draft, QUERIES["counts"])
    draft.count(QUERIES["counts"])
    table = columns_of(engine).pieces
    with engine.session.database.write() as connection:
        rows = connection.execute(sa.select(table).where(table.c.part == "rois", table.c.stretch == 1)).all()
        connection.execute(sa.delete(table).where(table.c.part == "rois", table.c.stretch == 1))
        for row in rows if damage != "gone" else ():
            data = row.data[:-1] + bytes([row.data[-1] ^ 1]) if damage == "changed" else row.data
            stretch = 1 if damage == "changed" else 900 + row.number
            connection.execute(table.insert(), {**row._mapping, "data": data, "stretch": stretch})
    with pytest.raises(IntegrityError, match="columns"):
        engine.verify()
    with framelode.connect(engine.url) as again, caplog.at_level(logging.WARNING, "framelode.projections"):
        assert found(again.version(draft.version_id), QUERIES["counts"]) == expected
    assert "stretch 1 of the log are missing or damaged" in caplog.text
    caplog.clear()
    with framelode.connect(engine.url) as again:
        assert found(again.version(draft.version_id), QUERIES["counts"]) == expected
    assert "columns of stretch" not in caplog.text


def test_large_frames_are_decoded_in_parts(streets, monkeypatch):
    from framelode.projections.queries import pieces

    _, draft = streets
    monkeypatch.setattr(pieces, "_LARGEST", 1_000)
    monkeypatch.setattr("framelode.projections.states.raw._BYTES_AT_ONCE", 500)
    for query in QUERIES.values():
        assert found(draft, query) == reference(draft, query)
