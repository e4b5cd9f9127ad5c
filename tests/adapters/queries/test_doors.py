"""All doors give the same frames: the reference, Python expressions, Lucene text and SQL, at any moment, on both databases."""

from datetime import UTC, date, datetime
from itertools import count

import pytest
from any_queries import CHANGES, QUERIES, changed, lucene_of, moment_of, python_of, sql_of
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from reference_query import holds
from sizes import examples, sized

import framelode
from framelode import DatasetVersion, F, Roi, SingleFrame
from framelode.engine.query.lucene import parse_query, parse_rule
from framelode.engine.query.tree import Annotations

pytestmark = pytest.mark.filterwarnings("ignore::framelode.UnknownNameWarning")

NUMBERS = count()
AT_ONCE = sized(3, 10)
"""Queries of one history: 1,000 in all in the long form, on each database."""


@pytest.fixture
def opened(request, tmp_path):
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else tmp_path / "engine"
    with framelode.connect(url) as engine:
        yield engine
        engine.close()


@pytest.mark.parametrize("opened", ["file", pytest.param("postgres", marks=pytest.mark.long)], indirect=True)
@examples(
    8, 100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    changes=CHANGES,
    queries=st.lists(QUERIES, min_size=AT_ONCE, max_size=AT_ONCE),
    places=st.lists(st.integers(0, 10_000), min_size=AT_ONCE, max_size=AT_ONCE),
)
def test_all_doors_give_the_same_frames(opened, changes, queries, places):
    moments = changed(opened, f"d{next(NUMBERS)}", changes)
    for query, place in zip(queries, places, strict=True):
        version, position = moment_of(moments, place)
        wires = [frame.to_dict() for frame in version.get_iterator(as_of=position)]
        expected = [wire["id"] for wire in wires if holds(query, wire)]
        assert [frame.id for frame in version.query(python_of(query), as_of=position)] == expected
        statement, parameters = sql_of(query)
        parameters |= {"version": version.version_id, "at": position}
        used = {name: value for name, value in parameters.items() if f"${name}" in statement}
        assert [row[0] for row in opened.sql(statement, used, threads=1)] == expected, (query, statement)
        text = lucene_of(query)
        if text is None:
            continue
        parsed = parse_query(text)
        asked = "SELECT id FROM frames($version, as_of => $at, query => $text) ORDER BY position"
        found = [
            row[0] for row in opened.sql(asked, {"version": version.version_id, "at": position, "text": text})
        ]
        assert found == [wire["id"] for wire in wires if holds(parsed, wire)]
        assert found == [hit.frame.id for hit in opened.at(position).query(text, version.version_id)]


CITY, CAR = (
    "meta->>'city'",
    "FROM annotations('streets') a WHERE a.frame_id = f.id AND list_contains(label, 'Car')",
)
OCCLUDED = "list_contains(label, 'partly_occluded')"
EXAMPLES = {
    'meta.city:"bremen"': (F.meta.city == "bremen", f"{CITY} = 'bremen'", "a b c"),
    "meta.city:bre*": (F.meta.city.like("bre*"), f"{CITY} LIKE 'bre%'", "a b c"),
    "meta.city:(ulm OR bremen) -id:a": (
        F.meta.city.one_of(["ulm", "bremen"]) & ~(F.id == "a"),
        f"{CITY} IN ('ulm', 'bremen') AND id <> 'a'",
        "b c d",
    ),
    "meta.city:bremen AND sources.uri:*cam1*": (
        (F.meta.city == "bremen") & F.sources.uri.like("*cam1*"),
        f"{CITY} = 'bremen' AND id IN (SELECT frame_id FROM sources('streets') WHERE uri LIKE '%cam1%')",
        "b",
    ),
    "source.width:640": (
        F.sources.width == 640,
        "EXISTS (FROM sources('streets') s WHERE s.frame_id = f.id AND width = 640)",
        "a b c d",
    ),
    "meta.speed:[10 TO 20]": (F.meta.speed.between(10, 20), "(meta->>'speed')::INT BETWEEN 10 AND 20", "b c"),
    "meta.speed:{10 TO 20}": (
        (F.meta.speed > 10) & (F.meta.speed < 20),
        "(meta->>'speed')::INT > 10 AND (meta->>'speed')::INT < 20",
        "",
    ),
    "meta.day:[2024-10-20 TO 2024-10-20]": (
        F.meta.day == date(2024, 10, 20),
        "(meta->>'day')::TIMESTAMPTZ::DATE = '2024-10-20'",
        "a b",
    ),
    "meta.day:[2024-10-20T12:00:00 TO *]": (
        F.meta.day >= datetime(2024, 10, 20, 12, tzinfo=UTC),
        "(meta->>'day')::TIMESTAMPTZ >= '2024-10-20T12:00:00Z'",
        "b c d",
    ),
    "rois.label:Car AND NOT rois.label:partly_occluded": (
        (F.rois.label == "Car") & ~(F.rois.label == "partly_occluded"),
        f"EXISTS ({CAR}) AND NOT EXISTS (FROM annotations('streets') a WHERE a.frame_id = f.id AND {OCCLUDED})",
        "a",
    ),
    "+rois.label:Car +(meta.speed:0 OR meta.speed:30)": (
        (F.rois.label == "Car") & F.meta.speed.one_of([0, 30]),
        f"EXISTS ({CAR}) AND (meta->>'speed')::INT IN (0, 30)",
        "a d",
    ),
}
"""Query texts of ClearML's documents, each as an expression, a condition of SQL, and the frames that it finds."""

RULES = {
    "Car": (Roi(label="Car"), f"EXISTS ({CAR})", "a b d"),
    "Car partly_occluded": (Roi(label=["Car", "partly_occluded"]), f"EXISTS ({CAR} AND {OCCLUDED})", "b"),
    'label.keyword:"Car" AND NOT label.keyword:"partly_occluded"': (
        Roi(F.label.text("Car") & ~F.label.text("partly_occluded")),
        f"EXISTS ({CAR} AND NOT {OCCLUDED})",
        "a d",
    ),
    "'Bus Stop' Blue": (
        Roi(label=["Bus Stop", "Blue"]),
        "EXISTS (FROM annotations('streets') a WHERE a.frame_id = f.id AND list_has_all(label, ['Bus Stop', 'Blue']))",
        "c",
    ),
    "Car AND confidence:>=0.8": (
        Roi(label="Car", confidence=(0.8, -1)),
        f"EXISTS ({CAR} AND confidence >= 0.8)",
        "b",
    ),
}
"""Rules on one annotation, too."""


@pytest.fixture(scope="module")
def streets():
    with framelode.connect("sqlite://") as engine:
        DatasetVersion.create_new_dataset("streets")
        draft = DatasetVersion.get_current(dataset_name="streets")
        labels = {
            "a": [["Car"]],
            "b": [["Car", "partly_occluded"]],
            "c": [["Bus Stop", "Blue"]],
            "d": [["Car"], ["partly_occluded"]],
        }
        for place, (name, some) in enumerate(labels.items()):
            metadata = {
                "city": "ulm" if name == "d" else "bremen",
                "speed": 10 * place,
                "day": f"2024-10-2{place // 2}T{'12' if place else '11'}:00:00Z",
            }
            frame = SingleFrame(id=name, source=f"s3://b/cam{place}/1.jpg", width=640, metadata=metadata)
            for each in some:
                frame.add_annotation(
                    box2d_xywh=(1, 2, 3, 4), labels=each, confidence=0.9 if name == "b" else 0.5
                )
            draft.add_frames([frame])
    yield engine, draft
    engine.close()


@pytest.mark.parametrize("text", [*EXAMPLES, *RULES])
def test_examples_mean_the_same_in_all_doors(streets, text):
    engine, draft = streets
    expression, condition, found = (EXAMPLES | RULES)[text]
    query = parse_query(text) if text in EXAMPLES else Annotations(where=parse_rule(text))
    for each in (query, expression):
        assert " ".join(frame.id for frame in draft.query(each)) == found
    assert (
        " ".join(
            row[0] for row in engine.sql(f"SELECT id FROM frames('streets') f WHERE {condition} ORDER BY id")
        )
        == found
    )
