"""Queries of versions: Lucene text, Python expressions, the reference and the columns agree, at any moment."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from reference_query import holds
from sizes import examples

import framelode
from framelode import DatasetVersion, F, InvalidQueryError, Roi, SingleFrame
from framelode.adapters.hyperdatasets import querying
from framelode.engine.query import tree
from framelode.engine.query.lucene import parse_query
from framelode.projections.queries import evaluation
from framelode.projections.queries.evaluation import FrameQueries

SCALARS = [
    "",
    "a",
    "ab",
    "b*b",
    "1",
    "true",
    "2024-10-20",
    "2024-10-20T12:00:00+02:00",
    "é\0",
    0,
    1,
    2,
    1.5,
    -3.0,
    2**53 + 1,
    2**63,
    True,
    False,
    None,
]
KEYS = ["a", "b", "a b", "x.y", "keyword", "like", ""]
LABELS = ["car", "dog", "Bus Stop", "é"]


def values(levels):
    if not levels:
        return st.sampled_from(SCALARS)
    inner = values(levels - 1)
    return st.one_of(st.sampled_from(SCALARS), st.lists(inner, max_size=3), metas(levels - 1))


def metas(levels):
    return st.dictionaries(st.sampled_from(KEYS), values(levels), max_size=4)


ROIS = st.lists(
    st.fixed_dictionaries(
        {
            "label": st.lists(st.sampled_from(LABELS), max_size=2, unique=True),
            "type": st.sampled_from(["acme", "image", "odd"]),
        },
        optional={
            "confidence": st.sampled_from([0.0, 0.5, 0.8, 1.0]),
            "meta": metas(1),
            "id": st.sampled_from(["a", "b"]),
        },
    ),
    max_size=4,
)
SOURCES = st.fixed_dictionaries(
    {},
    optional={
        "uri": st.sampled_from(["s3://b/cam1/a.jpg", "s3://b/cam2/b.png"]),
        "width": st.sampled_from([1, 2]),
        "timestamp": st.sampled_from([0, 1, 5]),
        "meta": metas(0),
        "size": st.just(7),
    },
)
FRAMES = st.fixed_dictionaries(
    {"meta": metas(2), "rois": ROIS},
    optional={
        "sources": SOURCES.map(lambda each: [each]),
        "context_id": st.sampled_from(["a", "b"]),
        "num_frames": st.sampled_from([1, 2]),
    },
)
FIELDS = st.sampled_from(
    [
        *(f"meta.{path}" for path in ("a", "b", "a b", "x.y", "a.b", "b.a", "a.x.y", "keyword", "like")),
        "id",
        "context_id",
        "timestamp",
        "num_frames",
        "sources.uri",
        "sources.id",
        "sources.width",
        "sources.meta.a",
        "rois.label",
        "rois.confidence",
        "rois.type",
        "rois.meta.a",
    ]
)
ROI_FIELDS = st.sampled_from(["label", "confidence", "type", "id", "meta.a", "meta.a b", "meta.b"])
KNOWN = [value for value in SCALARS if value is not None] + [
    *LABELS,
    "box2d",
    0.5,
    0.8,
    "s3://b/cam1/a.jpg",
    "f1",
    "default",
]
TEXTS = st.sampled_from(
    [*(str(value).lower() if isinstance(value, bool) else str(value) for value in KNOWN), "1.0", "5e-1"]
)
PATTERNS = st.sampled_from(["*", "a*", "*b", "?", "b\\*b", "*cam1*", "*o*", "2024*", "f?"])
MOMENTS = st.sampled_from([None, 1729375200000000, 1729382400000000, 1729418400000000, 1729418400000001])


def comparisons(fields):
    bounds = st.one_of(
        st.tuples(*[st.sampled_from([None, -3, 0, 0.5, 1, 2**53, 2**53 + 1, 2**63])] * 2),
        st.tuples(*[st.sampled_from([None, "a", "ab", "c", ""])] * 2),
    ).filter(any)
    return st.one_of(
        st.builds(tree.Exists, fields),
        st.builds(tree.OneOf, fields, st.lists(st.sampled_from(KNOWN), max_size=3).map(tuple)),
        st.builds(tree.Phrase, fields, TEXTS),
        st.builds(tree.Wildcard, fields, PATTERNS),
        st.builds(
            lambda field, ends, low, high: tree.Range(field, *ends, low, high),
            fields,
            bounds,
            st.booleans(),
            st.booleans(),
        ),
        st.builds(tree.Period, fields, MOMENTS, MOMENTS),
    )


def joined(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda a, b: a & b, inner, inner),
            st.builds(lambda a, b: a | b, inner, inner),
            st.builds(lambda a: ~a, inner),
        ),
        max_leaves=5,
    )


ANY = st.just(tree.Everything()) | st.just(tree.Nothing())
ANNOTATIONS = st.builds(
    lambda where, least, most: tree.Annotations(where=where, at_least=least, at_most=most),
    joined(comparisons(ROI_FIELDS) | ANY),
    st.integers(0, 2),
    st.none() | st.integers(0, 3),
)
QUERIES = joined(comparisons(FIELDS) | ANNOTATIONS | ANY)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "write", "delete", "publish"]),
        st.lists(st.tuples(st.integers(0, 7), FRAMES), min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=6,
)


def frame_of(number, wire):
    if number == 7:
        sources = [{"id": side, "uri": f"s3://b/cam{side}/b.png"} for side in ("left", "right")]
        return framelode.frame_from_dict({"id": "f7", **wire, "sources": sources})
    return framelode.frame_from_dict({"id": f"f{number}", **wire})


def changed(engine, name, changes):
    """Make a dataset, and return what to read: versions with positions."""
    DatasetVersion.create_new_dataset(name)
    draft = DatasetVersion.get_current(dataset_name=name)
    moments = []
    for kind, frames in changes:
        if kind == "publish":
            draft = DatasetVersion.create_snapshot(dataset_name=name)
        elif kind == "delete":
            held = [f"f{number}" for number, _ in frames if f"f{number}" in draft]
            if held:
                draft.delete_frames(list(dict.fromkeys(held)))
        else:
            draft.add_frames([frame_of(*each) for each in dict(frames).items()])
        moments.append((draft, engine.log.head().position))
    return moments


def lucene_of(query):
    """Return Lucene text with the same meaning, None if there is none."""
    if isinstance(query, (tree.And, tree.Or)):
        parts = [lucene_of(each) for each in query.queries]
        word = " AND " if isinstance(query, tree.And) else " OR "
        return None if None in parts else f"({word.join(parts)})"
    if isinstance(query, tree.Not):
        inner = lucene_of(query.query)
        return None if inner is None else f"(NOT ({inner}))"
    if isinstance(query, tree.Everything):
        return "*"
    if isinstance(query, (tree.Nothing, tree.Annotations, tree.OneOf, tree.Period)) or query.field.endswith(
        ".keyword"
    ):
        return None
    field = query.field.replace(" ", "\\ ")
    match query:
        case tree.Exists():
            return f"_exists_:{field}"
        case tree.Phrase():
            return f'{field}:"{query.text}"'
        case tree.Wildcard():
            return f"{field}:{query.pattern}" if query.pattern != "*" else None
    shown = ["*" if each is None else f'"{each}"' for each in (query.lower, query.upper)]
    return f"{field}:{'{['[query.lower_included]}{shown[0]} TO {shown[1]}{'}]'[query.upper_included]}"


COUNTER = iter(range(10**6))


@examples(
    30, 500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(changes=CHANGES, queries=st.lists(QUERIES, min_size=1, max_size=12), block=st.sampled_from([1, 2, 15]))
def test_all_doors_and_both_evaluations_agree(engine_for_queries, changes, queries, block):
    engine, patch = engine_for_queries
    patch.setattr(evaluation, "_BLOCK_BITS", type(evaluation._BLOCK_BITS)(block))
    moments = changed(engine, f"d{next(COUNTER)}", changes)
    engine.session._shared.clear()
    for number, query in enumerate(queries):
        version, position = moments[number % len(moments)]
        for at in (None, position):
            wires = [frame.to_dict() for frame in version.get_iterator(as_of=at)]
            expected = [wire["id"] for wire in wires if holds(query, wire)]
            assert [frame.id for frame in version.query(query, as_of=at)] == expected
            assert version.count(query, as_of=at) == len(expected)
            text = lucene_of(query)
            if text is not None:
                parsed = parse_query(text)
                assert [wire["id"] for wire in wires if holds(parsed, wire)] == [
                    frame["id"] for frame in version.query(text, projection=["id"], as_of=at)
                ]
                if not any(isinstance(each, tree.Range) for each in walk(query)):
                    assert version.count(text, as_of=at) == len(expected), text


def walk(query):
    yield query
    for each in getattr(query, "queries", (query.query,) if isinstance(query, tree.Not) else ()):
        yield from walk(each)


@pytest.fixture
def engine_for_queries(tmp_path):
    with (
        pytest.MonkeyPatch.context() as patch,
        framelode.connect(tmp_path / "e") as engine,
    ):
        yield engine, patch


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

    def counted(log, state, positions, groups):
        decoded.append(len(positions))
        return read(log, state, positions, groups)

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
    columns = FrameQueries(session.log, limit=10_000)
    for field in ("meta.camera", "sources.uri", "id", "rois.label"):
        assert columns.count(state, tree.Exists(field)) in {300, 225}
        assert columns.bytes <= 10_000
    assert querying.FrameQueries is FrameQueries


def test_large_frames_make_several_pieces(food, monkeypatch):
    from framelode.projections.queries import pieces

    monkeypatch.setattr(pieces, "_LARGEST", 1_000)
    _, draft = food
    assert draft.count(F.meta.camera == "cam1") == 100
    assert draft.count(Roi(label="car").count(2, 2)) == 75
