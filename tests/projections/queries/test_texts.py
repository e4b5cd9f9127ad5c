"""Texts in one buffer match as each of them does alone, also when they are many and are compared side by side."""

from hypothesis import given
from hypothesis import strategies as st
from sizes import examples

from framelode.engine.query.matching import Pattern, Within
from framelode.projections.queries.texts import texts_of

WORDS = st.text("aab/é\0", max_size=12)
MANY = st.lists(WORDS, min_size=65, max_size=80)
PATTERNS = st.lists(
    st.sampled_from(["a", "aa", "ab", "b/", "é", "*", "*", "?", "aaaaaaaab"]), max_size=6
).map("".join)
DATES = st.sampled_from(["2024-10-20", "2024-10-20T12:00:00Z", "2024-10-20 12:00:00.5", "2024-13-20", "a"])


def alone(texts, holds):
    return [bool(holds(text)) for text in texts]


@examples(100, 5_000)
@given(MANY, PATTERNS)
def test_patterns(texts, pattern):
    wanted = Pattern(pattern)
    assert texts_of(texts).hits(wanted).tolist() == alone(texts, wanted)


@examples(30, 2_000)
@given(MANY, st.frozensets(WORDS, max_size=6))
def test_values(texts, wanted):
    assert texts_of(texts).hits(wanted).tolist() == alone(texts, wanted.__contains__)


@examples(30, 1_000)
@given(
    st.lists(DATES, min_size=65, max_size=80),
    st.none() | st.just(1729382400000000),
    st.none() | st.just(1729425600000000),
)
def test_dates(texts, since, until):
    wanted = Within(since, until)
    assert texts_of(texts).hits(wanted).tolist() == alone(texts, wanted)
