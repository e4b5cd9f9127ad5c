"""The query language: texts and trees, the same rows on both databases as a reference evaluator finds, hostile texts."""

from __future__ import annotations

import operator
import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

import framelode
from framelode.adapters.datalake.exceptions import InvalidQueryError
from framelode.adapters.datalake.query import Instant, compile_query
from framelode.adapters.datalake.query.parser import parse
from framelode.adapters.datalake.query.tree import And, Compare, Constant, Not, Or
from framelode.adapters.sql.open import open_database
from framelode.adapters.sql.urls import postgres_schema
from framelode.engine.times import microseconds
from framelode.projections.columns import Bytes
from framelode.projections.tables.metadata_values import metadata_values

META = sa.MetaData()
ROW = sa.Table(
    "row",
    META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("filename", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("sharp", sa.Boolean),
    sa.Column("created_at", sa.BigInteger),
)
TAG = sa.Table("tag", META, sa.Column("row", sa.Integer), sa.Column("name", sa.Text))
VALUE = sa.Table(
    "value",
    META,
    sa.Column("row", sa.Integer),
    sa.Column("path", Bytes),
    sa.Column("kind", sa.Integer),
    sa.Column("text", sa.Text),
    sa.Column("number", sa.Double),
)
COLUMNS = {
    "filename": ROW.c.filename,
    "size": ROW.c.size,
    "sharp": ROW.c.sharp,
    "created_at": sa.type_coerce(ROW.c.created_at, Instant()),
    "tags.name": sa.select(TAG.c.name).where(TAG.c.row == ROW.c.id),
    "metadata": sa.select(VALUE.c.path, VALUE.c.kind, VALUE.c.text, VALUE.c.number).where(
        VALUE.c.row == ROW.c.id
    ),
}


class Rows:
    """Some rows in a database."""

    def __init__(self, database):
        self._database = database
        with database.write() as connection:
            database.prepare(connection)
            META.create_all(connection)

    def fill(self, rows):
        with self._database.write() as connection:
            for table in (ROW, TAG, VALUE):
                connection.execute(sa.delete(table))
            for number, row in enumerate(rows):
                moment = row["created_at"]
                values = {name: row[name] for name in ("filename", "size", "sharp")}
                at = None if moment is None else microseconds(moment)
                connection.execute(ROW.insert(), {"id": number, "created_at": at} | values)
                for name in row["tags.name"]:
                    connection.execute(TAG.insert(), {"row": number, "name": name})
                for value in metadata_values("metadata", row["metadata"]):
                    connection.execute(VALUE.insert(), {"row": number} | value._asdict())

    def find(self, text):
        query = sa.select(ROW.c.id).where(compile_query(text, COLUMNS)).order_by(ROW.c.id)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())


@pytest.fixture(scope="module")
def sqlite():
    database = open_database(None)
    yield Rows(database)
    database.close()


@pytest.fixture(scope="module")
def both(sqlite, postgres_databases):
    with postgres_databases.one() as url:
        database = open_database(postgres_schema(url))
        yield sqlite, Rows(database)
        database.close()


def values_of(row, path):
    """Return the values of a field, [None] if it has none."""
    root, _, key = path.partition(".")
    if root != "metadata":
        value = row[path]
        return (value or [None]) if isinstance(value, list) else [value]
    return [value for at, value in flat(row["metadata"]) if at == key] or [None]


def flat(value, at=""):
    """Yield the values of metadata with their paths. An object is itself a value, which equals nothing."""
    if isinstance(value, list):
        for item in value:
            yield from flat(item, at)
    elif isinstance(value, dict) and value.keys() != {"$datetime"}:
        yield from [(at, ...)] if at else []
        for key, item in value.items():
            yield from flat(item, f"{at}.{key}" if at else key)
    else:
        yield at, datetime.fromisoformat(value["$datetime"]) if isinstance(value, dict) else value


def moment(value):
    """Return the moment of a text, None if it is no date."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def fold(text):
    return "".join(c.casefold() if len(c.casefold()) == 1 else c for c in text)


COMPARISONS = {
    "=": operator.eq,
    "in": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "~": lambda value, constant: fold(constant) in fold(value),
    "startswith": str.startswith,
    "endswith": str.endswith,
}


def compares(how, value, constant):
    """Whether a value compares with a constant. Values of different types do not."""
    if isinstance(value, datetime) and isinstance(constant, str) and moment(constant):
        value, constant = value if value.tzinfo else value.replace(tzinfo=UTC), moment(constant)
        return how not in {"~", "startswith", "endswith"} and COMPARISONS[how](value, constant)
    if value is None or constant is None:
        return value is constant and how in {"=", "in"}
    number, boolean = (int, float), isinstance(value, bool) or isinstance(constant, bool)
    same = type(value) is type(constant) or (
        not boolean and isinstance(value, number) and isinstance(constant, number)
    )
    return same and COMPARISONS[how](value, constant)


def matches(query, row):
    """Evaluate a query on a row, as its text says."""
    match query:
        case And(queries):
            return all(matches(each, row) for each in queries)
        case Or(queries):
            return any(matches(each, row) for each in queries)
        case Not(negated):
            return not matches(negated, row)
    given = [constant.value for constant in query.constants]
    return any(
        compares(query.operator, value, constant)
        for value in values_of(row, query.field)
        for constant in given
    )


def written(query, style):
    """Return a text of a query, one of many."""
    match query:
        case And(queries) | Or(queries):
            joint = " and " if isinstance(query, And) else " or "
            return joint.join(
                f"({written(each, style)})"
                if isinstance(each, (And, Or)) or style.random() < 0.2
                else written(each, style)
                for each in queries
            )
        case Not(Compare(path, how, (constant,))) if how in {"=", "~"} and style.random() < 0.5:
            return f"{path} !{how} {literal(constant.value, style)}"
        case Not(Compare(path, "in") as inner) if style.random() < 0.5:
            return written(inner, style).replace(f"{path} in", f"{path} NOT in", 1)
        case Not(negated):
            inner = written(negated, style)
            return (
                f"Not {inner}" if isinstance(negated, Compare) and style.random() < 0.5 else f"not({inner})"
            )
    constants = [literal(constant.value, style) for constant in query.constants]
    if query.operator == "in":
        return f"{query.field} in ({', '.join(constants)}{style.choice(['', ','])})"
    return f"{query.field} {style.choice([query.operator, query.operator.upper()])} {constants[0]}"


def literal(value, style):
    if not isinstance(value, str):
        return str(value).upper() if style.random() < 0.2 else str(value)
    quote = style.choice("\"'")
    escapes = {
        quote: "\\" + quote,
        "\\": "\\\\",
        "\n": style.choice(["\n", "\\n"]),
        "\t": "\\t",
        "é": "\\u00e9",
    }
    return quote + "".join(escapes.get(char, char) for char in value) + quote


LETTERS = "abAkK\u212asSß.éÉσςİı%_*?[]^\\'\"\n 1-😀\U00010400\U00010428"
texts = st.text(LETTERS, max_size=4)
days = ("0001-01-01", "2024-02-29", "9999-12-31T23:59:59.999999")
dates = st.datetimes() | st.sampled_from(list(map(datetime.fromisoformat, days)))
zones = st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=30))])
moments = st.builds(lambda date, zone: date.replace(tzinfo=zone), dates, zones)
whole = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
finite = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.1, 1.0, -0.0, 2.5, 2.0**53])
numbers = whole.filter(lambda number: abs(number) <= 2**53) | finite
KEYS = ("a", "b", "a.b", "b.a", "a.b.a")
metadata = st.recursive(
    st.none()
    | texts
    | numbers
    | st.booleans()
    | moments.map(lambda at: {"$datetime": at.isoformat()})
    | dates.map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
rows = st.fixed_dictionaries(
    {
        "filename": st.none() | st.text(LETTERS + "\1\2", max_size=4),
        "size": st.none() | whole,
        "sharp": st.none() | st.booleans(),
        "created_at": st.none() | moments,
        "tags.name": st.lists(texts, max_size=3),
        "metadata": st.dictionaries(st.sampled_from("ab"), metadata, max_size=2),
    }
)


def compare_with(path, values, ordered=(), patterns=()):
    constants = values.map(lambda value: (Constant(value),))
    lists = st.lists(st.none() | values, min_size=1, max_size=4).map(lambda many: tuple(map(Constant, many)))
    path = st.sampled_from(path) if isinstance(path, tuple) else st.just(path)
    orders = st.sampled_from(("<", "<=", ">", ">="))
    return st.one_of(
        st.builds(Compare, path, st.just("="), constants | st.just((Constant(None),))),
        st.builds(Compare, path, st.just("in"), lists),
        *(st.builds(Compare, path, orders, each.map(lambda value: (Constant(value),))) for each in ordered),
        *(
            st.builds(
                Compare,
                path,
                st.sampled_from(("~", "startswith", "endswith")),
                each.map(lambda value: (Constant(value),)),
            )
            for each in patterns
        ),
    )


written_dates = st.builds(lambda at, form: form(at), moments, st.sampled_from([str, datetime.isoformat]))
any_value = texts | numbers | st.booleans() | written_dates
comparisons = st.one_of(
    compare_with("filename", texts, [texts], [texts]),
    compare_with("size", whole | finite, [whole | finite]),
    compare_with("sharp", st.booleans()),
    compare_with("created_at", written_dates, [written_dates]),
    compare_with("tags.name", texts, [texts], [texts]),
    compare_with(
        tuple(f"metadata.{key}" for key in KEYS), any_value, [texts | numbers | written_dates], [texts]
    ),
)


def joined(kind, queries):
    """Return the conjunction or disjunction as the parser gives it, without one of the same kind inside."""
    merged = [each for query in queries for each in (query.queries if isinstance(query, kind) else (query,))]
    return kind(tuple(merged))


queries = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        inner.map(Not),
        *(
            st.lists(inner, min_size=2, max_size=3).map(lambda many, kind=kind: joined(kind, many))
            for kind in (And, Or)
        ),
    ),
    max_leaves=8,
)
styles = st.integers(0, 2**32).map(random.Random)


class TestText:
    @given(queries, styles)
    def test_a_tree_written_as_text_is_parsed_to_the_same_tree(self, query, style):
        parsed = parse(written(query, style))
        assert parsed == query

    @given(
        st.lists(
            st.sampled_from(
                [
                    *"()=<>~!,\"'\\ \n\0.5",
                    "and",
                    "OR ",
                    "not ",
                    "in",
                    "size",
                    "filename",
                    " 1",
                    "'a'",
                    "tags.name",
                ]
            )
        ).map("".join)
        | st.text()
    )
    def test_any_other_text_is_an_invalid_query(self, sqlite, text):
        try:
            sqlite.find(text)
            return
        except InvalidQueryError as raised:
            error = raised
        assert str(error).startswith(f"q: line {error.line}, column {error.column}: ")
        lines = text.split("\n")
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1

    @pytest.mark.parametrize("text", ["", " \n\t"])
    def test_a_blank_text_matches_everything(self, text):
        assert compile_query(text, COLUMNS).compare(sa.true())

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "filename = ",
                "line 1, column 12: found the end, expected a string, a number, True, False or None",
            ),
            ("foo = 1", "line 1, column 1: found 'foo', expected one of filename, size, "),
            ("flename = 'a'", "tags.name, metadata.<key>: did you mean 'filename'?"),
            ("metadata = 1", "found 'metadata', expected one of"),
            ("tags.nam = 'a'", "did you mean 'tags.name'?"),
            ("(size > 1", "line 1, column 10: found the end, expected )"),
            ("size > 1)", "line 1, column 9: found ')', expected and, or or the end"),
            ('size > "a"', "line 1, column 8: found 'a', expected a number: size is a number"),
            ("size = True", "line 1, column 8: found True, expected a number: size is a number"),
            ("filename = 1", "line 1, column 12: found 1, expected a string: filename is text"),
            ("filename in ('a',\n 2)", "line 2, column 2: found 2, expected a string: filename is text"),
            ("size ~ '1'", "line 1, column 1: found size, expected a field of text: ~ compares text"),
            ("filename ~ 1", "line 1, column 12: found 1, expected a string: ~ compares text"),
            (
                "size > None",
                "line 1, column 8: found None, expected a string or a number: nothing is less or",
            ),
            ("sharp = 1", "line 1, column 9: found 1, expected True or False: sharp is a boolean"),
            ("created_at > 'now'", "column 14: found 'now', expected a date in ISO format"),
            ("filename like 'a'", "line 1, column 10: found 'like', expected not, in, =, !=, <"),
            ("filename = a", "line 1, column 12: found 'a', expected a string"),
            ("filename = 'a", 'line 1, column 12: found "\'a", expected its closing quote'),
            (
                r"filename = '\x'",
                r"line 1, column 12: the string has the unknown escape '\\x': it must be one of",
            ),
            (r"filename = '\ud800'", "line 1, column 12: the string '\\ud800' contains a lone surrogate"),
            (
                "filename = '\0'",
                "line 1, column 12: the string '\\x00' contains '\\x00', which is not allowed",
            ),
            ("size = 1e999", "line 1, column 8: the number '1e999' is too large"),
            ("size in ()", "line 1, column 10: found ')', expected a string, a number, True, False or None"),
            ("size = 1 filename = 'a'", "line 1, column 10: found 'filename', expected and, or or the end"),
            ("size = 1 or and", "line 1, column 13: found 'and', expected a field, ( or not"),
            ("not not size = 1", "line 1, column 5: found 'not', expected a field or ("),
        ],
    )
    def test_an_error_says_where_what_was_found_and_what_was_expected(self, text, message):
        with pytest.raises(InvalidQueryError) as raised:
            compile_query(text, COLUMNS)
        assert message in str(raised.value)
        assert isinstance(raised.value, framelode.InvalidValueError)

    def test_words_of_the_language_can_be_names(self, sqlite):
        assert parse("notes = 1 and metadata.in = 2") == And(
            (
                Compare("notes", "=", (Constant(1),)),
                Compare("metadata.in", "=", (Constant(2),)),
            )
        )


class TestRows:
    @settings(max_examples=60)
    @given(st.lists(rows, max_size=5), st.lists(queries, min_size=1, max_size=6), styles)
    def test_both_databases_find_what_the_reference_finds(self, both, rows, queries, style):
        for database in both:
            database.fill(rows)
        for query in queries:
            text = written(query, style)
            expected = [number for number, row in enumerate(rows) if matches(query, row)]
            for database in both:
                assert database.find(text) == expected, text

    def test_a_query_of_as_many_levels_and_comparisons_as_allowed_runs(self, both):
        row = {
            "filename": "a",
            "size": 1,
            "sharp": None,
            "created_at": None,
            "tags.name": ["a"],
            "metadata": {"a": [1]},
        }
        deep = "size = 2 or ({})".format("metadata.a = 1 and not ({})")
        text = "tags.name = 'a'"
        for _ in range(49):
            text = deep.format(text)
        wide = " or ".join([f"filename endswith 'a{number}'" for number in range(401)])
        many = f"filename in ({', '.join(map(repr, map(str, range(12_000))))})"
        for database in both:
            database.fill([row])
            expected = [number for number in [0] if matches(parse(text), row)]
            assert database.find(text) == expected
            assert database.find(f"({text}) or {wide}") == expected
            assert database.find("(" * 100 + "size = 1" + ")" * 100) == [0]
            assert database.find("not (" * 100 + "size = 1" + ")" * 100) == [0]
            assert database.find(many) == []


class TestHostile:
    @pytest.mark.parametrize(
        "text",
        [
            "x" * 10_000_000,
            "é" * 60_000,
            "(" * 10_000,
            "(" * 10_000 + "size = 1" + ")" * 10_000,
            "not (" * 10_000,
            "size = 1 and " * 5000,
            f"size in ({'1,' * 40_000})",
            f"filename = '{'a' * 90_000}",
            "filename = '" + "\\" * 90_000,
            f"filename ~ '{'a' * 1001}'",
            f"size = {'9' * 90_000}",
            "filename = '\ud800'",
            "\0",
            "size = 1; drop table row",
            "size = 1 -- ",
            f"{'a.' * 40_000}a = 1",
        ],
        ids=lambda text: f"{text[:12]!a}",
    )
    def test_a_hostile_text_is_refused_at_once(self, text):
        with pytest.raises(InvalidQueryError) as raised:
            compile_query(text, COLUMNS)
        assert len(str(raised.value)) < 500

    @pytest.mark.parametrize(
        "text", ["*[aA]*" * 50, "(a+)+$" * 20, "%_" * 100, "' or '1' = '1", '" or 1 = 1 --', "\\"]
    )
    def test_every_character_of_a_constant_stands_for_itself(self, both, text):
        row = {"size": 1, "sharp": None, "created_at": None, "tags.name": [], "metadata": {"a": text}}
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        for database in both:
            database.fill([row | {"filename": text}, row | {"filename": "a" * 5000, "metadata": {}}])
            for how in ("=", "~", "startswith", "endswith"):
                assert database.find(f'filename {how} "{quoted}"') == [0]
                assert database.find(f'metadata.a {how} "{quoted}"') == [0]
