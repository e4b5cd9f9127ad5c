"""All doors give the same frames: the reference, Python expressions, Lucene text and SQL, at any moment, on both databases."""

from itertools import count

import pytest
from any_queries import CHANGES, QUERIES, changed, lucene_of, sql_of
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from reference_query import holds
from sizes import examples, sized

import framelode
from framelode.engine.query.lucene import parse_query

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
    places=st.lists(st.integers(0, 5), min_size=AT_ONCE, max_size=AT_ONCE),
)
def test_all_doors_give_the_same_frames(opened, changes, queries, places):
    moments = changed(opened, f"d{next(NUMBERS)}", changes)
    for query, place in zip(queries, places, strict=True):
        version, position = moments[place % len(moments)]
        wires = [frame.to_dict() for frame in version.get_iterator(as_of=position)]
        expected = [wire["id"] for wire in wires if holds(query, wire)]
        assert [frame.id for frame in version.query(query, as_of=position)] == expected
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
