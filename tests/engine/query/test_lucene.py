"""Lucene text and Python expressions are the same trees, and wrong ones end in errors that help."""

import time

import pytest

from framelode import F, InvalidQueryError, InvalidValueError, Roi, UsageError
from framelode.engine.query.fields import check_query
from framelode.engine.query.lucene import parse_query, parse_rule
from framelode.engine.query.matching import Pattern
from framelode.engine.query.tree import Annotations, Everything, Exists

SAME = {
    'meta.city:"bremen" AND sources.uri:*cam1*': F.meta.city.text("bremen") & F.sources.uri.like("*cam1*"),
    "source.uri:s3://b/*": F.sources.uri.like("s3://b/*"),
    "meta.a:1 meta.b:2 OR NOT meta.c:x": (F.meta.a.text("1") & F.meta.b.text("2")) | ~F.meta.c.text("x"),
    "meta.x:(a OR b -c)": F.meta.x.text("a") | (F.meta.x.text("b") & ~F.meta.x.text("c")),
    "+id:a -id:b": F.id.text("a") & ~F.id.text("b"),
    "id:a && !id:b || id:c": (F.id.text("a") & ~F.id.text("b")) | F.id.text("c"),
    "meta.n:[-1 TO *]": F.meta.n >= -1,
    "meta.n:<=2.5": F.meta.n <= 2.5,
    "meta.s:{a TO *}": F.meta.s > "a",
    "_exists_:meta.a": F.meta.a.exists(),
    "meta.a:*": F.meta.a.exists(),
    "sources:*": F.sources.exists(),
    "rois.label.keyword:car": F.rois.label.text("car"),
    r"meta.frame\ rate:a\*b\:c": F.meta["frame rate"].text("a*b:c"),
    r"meta.x:a\*?": F.meta.x.like(r"a\*?"),
    "meta.t:2024-10-20T10:00": F.meta.t.text("2024-10-20T10:00"),
    "*": Everything(),
    " \n": Everything(),
}

WRONG = {
    "metta.city:x": r"line 1, column 1: found the field 'metta.city', expected one of .*meta.<path>.*did you mean 'meta.city'",
    "id:a AND\n sources.urll:b": r"line 2, column 2: found the field 'sources.urll'.*did you mean 'sources.uri'",
    "bremen": "line 1, column 1: found 'bremen', expected a field before the value",
    "[1 TO 2]": "found '1', expected a field",
    "(id:a": "line 1, column 6: found the end, expected .*\\)",
    "id:a)": "line 1, column 5: found '\\)', expected AND, OR or the end",
    "id:": "line 1, column 4: found the end, expected a value",
    'id:"a': "line 1, column 4: found .*expected its closing quote",
    "meta.a:(b:c)": "line 1, column 9: found 'b:' in the parentheses of meta.a:",
    "id:/a.*/": "regular expressions are not supported",
    "id:a~2": "fuzzy search is not supported",
    "id:a^2": "a boost has no effect",
    "id:a\\": "a backslash must come before",
    "id:[1 TO 2": "found the end, expected",
    "AND": "expected a field",
    "id:\ud800": "the lone surrogate",
}


@pytest.mark.parametrize("text", SAME, ids=repr)
def test_texts_and_expressions_are_the_same_trees(text):
    assert parse_query(text) == SAME[text]


def test_rules_are_about_one_annotation_and_its_label():
    car, bus = F.label.text("Car"), F.label.text("Bus Stop")
    assert parse_rule("'Bus Stop' Car") == bus & car
    assert parse_rule('label.keyword:"Car" AND NOT label.keyword:"Bus Stop"') == car & ~bus
    assert parse_rule("rois.confidence:>=0.5") == (F.confidence >= 0.5)
    assert parse_rule("*") == Everything()
    with pytest.raises(InvalidQueryError, match="sources.uri.*expected one of id, type, label"):
        parse_rule("sources.uri:x")


def test_days_are_whole():
    from datetime import UTC, date, datetime

    day = date(2024, 10, 20)
    assert parse_query("meta.d:[2024-10-20 TO 2024-10-20]") == (F.meta.d == day)
    assert parse_query("meta.d:{2024-10-20 TO *]") == (F.meta.d > day)
    assert parse_query("meta.d:<2024-10-20") == (F.meta.d < day)
    assert parse_query("meta.d:>=2024-10-20T10:00") == (F.meta.d >= datetime(2024, 10, 20, 10, tzinfo=UTC))


@pytest.mark.parametrize("text", WRONG, ids=ascii)
def test_wrong_texts_say_where_and_what(text):
    with pytest.raises(InvalidQueryError, match=WRONG[text]) as raised:
        parse_query(text)
    assert raised.value.line
    assert raised.value.column
    assert isinstance(raised.value, InvalidValueError)


def test_wrong_expressions_say_what():
    wrong = {
        "a query is neither true nor false": lambda: 1 < F.meta.a < 3,
        "is no field of a frame: expected one of": lambda: check_query(F.labels == "car"),
        "is no field of an annotation": lambda: Roi(F.meta == 1),
        "must be two numbers or two texts": lambda: check_query(F.meta.a.between(1, "b")),
        "must be a text, a boolean": lambda: check_query(F.meta.a.one_of([float("nan")])),
        "64 bits": lambda: check_query(F.meta.a >= 2**70),
        "two ends such as": lambda: Roi(confidence=0.5),
        "at_least must be an integer": lambda: check_query(Roi().count(-1)),
        "cannot be inside another": lambda: Roi(Roi(label="a")),
        "a query is an expression": lambda: check_query(5),
        "lone surrogate": lambda: check_query(F.id == "\udfff"),
        "'meta.*' has the lone surrogate": lambda: check_query(F.meta["\udfff"].exists()),
        "a pattern must be a text, not 5": lambda: check_query(F.id.like(5)),
        "a phrase must be a text, not 5": lambda: check_query(F.id.text(5)),
        "label must be": lambda: Roi(label=5.5),
        "type must be": lambda: Roi(type=5.5),
        "meta must be a dict": lambda: Roi(meta=5),
    }
    for message, make in wrong.items():
        with pytest.raises(UsageError, match=message):
            make()


def test_arguments_of_an_annotation():
    made = Roi(F.id.exists(), label=["Car", "wet"], confidence=(0.5, -1), type="box2d", meta={"hard": True})
    car, wet = F.label == "Car", F.label == "wet"
    where = car & wet & (F.type == "box2d") & (F.confidence >= 0.5) & (F.meta.hard == True) & F.id.exists()  # noqa: E712
    assert made == Annotations(where=where)
    assert made.count(2, 4) == Annotations(where=where, at_least=2, at_most=4)


def test_hostile_expressions_end_in_errors():
    deep = F.id == "a"
    for _ in range(2_000):
        deep = ~(deep & Exists("id"))
    with pytest.raises(InvalidQueryError, match="too many levels"):
        check_query(deep)
    with pytest.raises(InvalidQueryError, match="too many comparisons and values"):
        check_query(F.id.one_of(map(str, range(100_000))))
    with pytest.raises(InvalidQueryError, match="too many characters"):
        check_query(F.id == "a" * 10_000_000)


def test_nul_is_a_character():
    assert parse_query("id:a\0b") == F.id.text("a\0b")
    assert Pattern("a\0*")("a\0b")
    assert not Pattern("a*")("\0a")


def test_wildcards_do_not_backtrack():
    start = time.process_time()
    assert not Pattern("*".join("a" * 400) + "b")("a" * 100_000)
    assert Pattern("*a?" * 100 + "*")("ab" * 10_000)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        *(("a*", "a", True), ("*a", "ba", True), ("a?c", "abc", True), ("a?c", "ac", False), ("", "", True)),
        *(("ab*ba", "aba", False), ("*ab*ab*", "abab", True), (r"a\*", "a*", True), (r"a\*", "ab", False)),
        *(("a*b*c", "a\nb\nc", True), ("?", "\n", True), (r"a\\*", "a\\b", True), ("*", "", True)),
    ],
)
def test_wildcards(pattern, text, fits):
    assert Pattern(pattern)(text) is fits


def test_a_pattern_is_no_regular_expression():
    assert Pattern("a.c*")("a.cd")
    assert not Pattern("a.c*")("abcd")
