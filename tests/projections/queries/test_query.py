"""Queries of versions: Lucene text, Python expressions, the reference and the columns agree, at any moment."""

from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise

import pytest
from any_queries import CHANGES, FIELDS, QUERIES, changed, lucene_of, moment_of, python_of, walk
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from reference_query import holds, rank, values_of, wire_of
from sizes import examples

import framelode
from framelode import DatasetVersion, F, InvalidQueryError, Roi, SingleFrame
from framelode.engine.query import tree
from framelode.engine.query.lucene import parse_query
from framelode.projections.queries import evaluation
from framelode.projections.queries.evaluation import FrameQueries
from framelode.projections.queries.stored import FrameColumns

COUNTER = iter(range(10**6))


def check_values(version, at, query, matching, field, descending):
    """Compare the counts by a field and the order that it gives with those of plain dicts."""
    counted = Counter(value for wire in matching for value in values_of(wire, field))
    found = version.count(query, field, as_of=at)
    assert sorted(counted.values(), reverse=True) == [number for _, number in found]
    assert {(float if type(v) is int else type(v), v): number for v, number in found} == counted
    ranked = [wire for wire in matching if values_of(wire, field)]
    ranked.sort(key=lambda wire: rank(wire, field, descending), reverse=descending)
    ranked += [wire for wire in matching if not values_of(wire, field)]
    for limit in (None, 2):
        ordered = version.query(query, limit, "-" * descending + field, projection=["id"], as_of=at)
        assert [frame["id"] for frame in ordered] == [wire["id"] for wire in ranked][:limit]


@examples(
    20,
    500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    changes=CHANGES,
    queries=st.lists(st.tuples(QUERIES, st.integers(0, 10_000)), min_size=1, max_size=12),
    field=FIELDS,
    descending=st.booleans(),
)
@pytest.mark.filterwarnings("ignore::framelode.UnknownNameWarning")
def test_all_doors_and_both_evaluations_agree(engine_for, changes, queries, field, descending):
    number = next(COUNTER)
    engine = engine_for(number)
    moments = changed(engine, f"d{number}", changes)
    engine.session._shared.clear()
    for number, (query, place) in enumerate(queries):
        version, position = moment_of(moments, place)
        for at in (None, position):
            wires = [wire_of(frame) for frame in version.get_iterator(as_of=at)]
            expected = [wire["id"] for wire in wires if holds(query, wire)]
            assert [frame.id for frame in version.query(python_of(query), as_of=at)] == expected
            assert version.count(query, as_of=at) == len(expected)
            if number == 0:
                check_values(
                    version, at, query, [wire for wire in wires if holds(query, wire)], field, descending
                )
            text = lucene_of(query)
            if text is not None:
                parsed = parse_query(text)
                assert [wire["id"] for wire in wires if holds(parsed, wire)] == [
                    frame["id"] for frame in version.query(text, projection=["id"], as_of=at)
                ]
                if not any(isinstance(each, tree.Range) for each in walk(query)):
                    assert version.count(text, as_of=at) == len(expected), text


@pytest.fixture(params=[2, 15])
def engine_for(request, tmp_path, monkeypatch):
    """Gives examples an engine whose columns are stored, or whose log is too short for that."""
    monkeypatch.setattr(FrameColumns, "stretch_bits", request.param)
    monkeypatch.setattr(evaluation, "_SPARSE", 1_000_000)
    stored, opened = [], []

    @contextmanager
    def connected(number):
        with framelode.connect(tmp_path / f"{number}") as engine, closing(engine):
            yield engine
            stored.append(engine.session.runner.position(engine.session.projection(FrameColumns)))

    with ExitStack() as stack:

        def engine_for(number):
            # A few examples have one together: each look at the past replays the log.
            if number % 4 == 0 or not opened:
                stack.close()
                opened[:] = [stack.enter_context(connected(number))]
            return opened[0]

        yield engine_for
    assert (max(stored) > 0) is (request.param == 2)


@pytest.fixture
def food(tmp_path):
    with framelode.connect(tmp_path / "food") as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        draft.add_frames([made(number) for number in range(300)])
        yield engine, draft


def made(number, camera=None):
    frame = SingleFrame(
        id=f"f{number:03}",
        source=f"s3://b/cam{number % 3}/{number}.jpg",
        metadata={"camera": camera or f"cam{number % 3}", "n": number},
    )
    for place in range(number % 4):
        frame.add_annotation(
            box2d_xywh=(1, 2, 3, 4), labels=["car" if place else "dog"], confidence=place / 4
        )
    return frame


def test_limit_order_and_projection(food):
    _, draft = food
    found = list(draft.query(F.meta.n >= 100, limit=3, projection=["id", "meta.n"]))
    assert found == [{"id": f"f{number}", "meta": {"n": number}} for number in (100, 101, 102)]
    ordered = [frame.context_id for frame in draft.query(F.meta.n < 50, order_by="context", limit=20)]
    assert len(ordered) == 20
    assert all(a <= b for a, b in pairwise(ordered))
    assert list(draft.query("*", limit=0)) == []
    assert draft.count("*") == draft.count(tree.And(())) == 300
    assert draft.count(tree.Nothing()) == draft.count(tree.Or(())) == 0
    with pytest.raises(ValueError, match="order_by"):
        draft.query("*", order_by="name")
    with pytest.raises(InvalidQueryError, match="column 1"):
        draft.query("nosuch:1")
    assert [frame.id for frame in draft.query(Roi(label="car").count(2), limit=1)] == ["f003"]


def test_a_child_decodes_what_changed(food, monkeypatch):
    _, draft = food
    query = (F.meta.camera == "cam1") & Roi(label="car", confidence=(0.3, None)).count(1, 1)
    decoded = []
    read = evaluation.read_pieces

    def counted(log, index, positions):
        decoded.append(len(positions))
        return read(log, index, positions)

    monkeypatch.setattr(evaluation, "read_pieces", counted)
    before = draft.count(query)
    child = DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
    assert child.count(query) == before
    assert decoded == [300]
    child.add_frames([made(7, "cam9"), made(19, "cam9")])
    assert child.count(query) == sum(holds(query, frame.to_dict()) for frame in child) < before
    assert decoded == [300, 2]
    assert draft.count(query) == before
    assert decoded == [300, 2]


def test_the_cache_is_bounded(food):
    engine, draft = food
    session = engine.session
    state = session.states.read(draft.version_id)
    columns = FrameQueries(session.runner, session.projection(FrameColumns), limit=10_000)
    for field in ("meta.camera", "sources.uri", "id", "rois.label"):
        assert sum(map(len, columns.find(state, tree.Exists(field)))) in {300, 225}
        assert columns.bytes <= 10_000


def test_the_cache_grows_with_the_frames(food, monkeypatch):
    engine, draft = food
    session = engine.session
    state = session.states.read(draft.version_id)
    monkeypatch.setattr(evaluation, "_CACHED_BYTES", 0)
    for bytes_per_frame in (0, 1_000):
        monkeypatch.setattr(evaluation, "_CACHED_BYTES_PER_FRAME", bytes_per_frame)
        columns = FrameQueries(session.runner, session.projection(FrameColumns))
        assert sum(map(len, columns.find(state, tree.Exists("meta.camera")))) == 300
        assert (columns.bytes > 0) == (bytes_per_frame > 0)


def test_large_frames_make_several_pieces(food, monkeypatch):
    from framelode.projections.queries import pieces

    monkeypatch.setattr(pieces, "_LARGEST", 1_000)
    _, draft = food
    assert draft.count(F.meta.camera == "cam1") == 100
    assert draft.count(Roi(label="car").count(2, 2)) == 75


def test_bounding_boxes_of_all_types(food):
    _, draft = food
    shapes = {
        "box2d": ([10, 20, 30.5, 40], [10, 20, 30, 40, 0.5], [0, 0, 0, 0]),
        "polygon2d": ([0, 0, 10, 5, 5, 20], [1, 2]),
        "keypoints2d": ([3, 4, 1, 9],),
        "ellipse2d": ([10, 10, 4, 3, 0.3],),
        "box3d": ([0, 0, 0, 4, 5, 1, 1, 9, 4, 5],),
        "polygon3d": ([0, 0, 1, 10, 5, 2, 5, 20, 3],),
        "image": ([],),
        "acme": ([1, 2, 3, 4],),
    }
    given = [(kind, poly) for kind, polys in shapes.items() for poly in polys]
    draft.add_dicts(
        {
            "id": f"shape{number}",
            "rois": [{"type": kind, "poly": list(map(float, poly)), "label": ["x"]}] * (1 + number % 3),
        }
        for number, (kind, poly) in enumerate(given)
    )
    wires = [wire_of(frame) for frame in draft if frame.id.startswith("shape")]
    for field in ("left", "top", "width", "height", "area"):
        assert any(field in roi for wire in wires for roi in wire["rois"])
        for bound in (0, 1, 5, 30.5, 1220):
            query = Roi(F[field].between(None, bound) & (F.label == "x"))
            expected = [wire["id"] for wire in wires if holds(query, wire)]
            assert [frame["id"] for frame in draft.query(query, projection=["id"])] == expected


def test_metadata_that_no_frame_has_gives_a_warning(food):
    _, draft = food
    with pytest.warns(
        framelode.UnknownNameWarning,
        match="no frame of version 'Current' has 'meta.camra': did you mean 'meta.camera'",
    ):
        assert draft.count(F.meta.camra == "cam1") == 0
    with pytest.warns(framelode.UnknownNameWarning, match=r"rois\.meta\.x"):
        assert list(draft.query(Roi(F.meta.x == 1))) == []
    with pytest.warns(framelode.UnknownNameWarning, match="has 'meta.m': did you mean"):
        draft.count("*", by="meta.m")
    with pytest.raises(InvalidQueryError, match="by: 'label' is no field of a frame"):
        draft.count("*", by="label")
