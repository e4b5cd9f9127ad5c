"""Queries of adversaries, at all doors: they end in errors of framelode, soon, and nothing is reached but the tables."""

import resource
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pytest
from command_line import CliRunner, app
from hostile_queries import EXPRESSIONS, FRAGMENTS, HUGE, REFUSED, TEXTS
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sizes import examples, sized

import framelode
from framelode import DatasetVersion, DataView, FramelodeError, SingleFrame, UsageError
from framelode.adapters.queries import sql, tables

pytestmark = pytest.mark.filterwarnings("ignore::framelode.UnknownNameWarning")

MEMORY = 2 * 2**30
"""So much may a door take in addition. It counts what is reserved, which is far more than what is used."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "engine"
    with framelode.connect(folder) as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        for number in range(5):
            frame = SingleFrame(
                id=f"f{number}", metadata={"n": number, "long": "a" * 10_000, "day": "2024-10-20"}
            )
            frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["car"], confidence=0.5)
            draft.add_frames([frame])
        DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
    engine.close()
    return folder


@pytest.fixture
def engine(folder):
    with framelode.connect(folder, read_only=True) as engine:
        yield engine
    engine.close()


@contextmanager
def bounded():
    """Bound the memory and the time of what is inside."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    before = resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    start = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.process_time() - start < 20


def food():
    return DatasetVersion.get_version(dataset_name="food", version_name="v1")


def viewed(**query):
    view = DataView()
    view.add_query(dataset_name="food", version_name="v1", **query)
    return view.get_count()


def commanded(*arguments):
    """Run a command, and return what it prints. Its error is raised as one of framelode."""
    url = framelode.current_engine().url
    done = CliRunner().invoke(app, ["--engine", url, *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.stderr
    if done.exit_code:
        raise FramelodeError(done.stderr)
    return done.stdout


def of_engine(name):
    return lambda *arguments: getattr(framelode.current_engine(), name)(*arguments)  # noqa: PLW0108 - of that time


DOORS = {
    "version.query": lambda query: list(food().query(query)),
    "version.count": lambda query: food().count(query, "meta.n"),
    "engine.query": lambda query: list(of_engine("query")(query, "*@*")),
    "engine.count": of_engine("count"),
    "frame_query": lambda query: viewed(frame_query=query),
    "source_query": lambda query: viewed(source_query=query),
}
"""What takes a query, as text or expression."""

TEXT_DOORS = {
    "roi_query": lambda text: viewed(roi_query=text),
    "label_rules": lambda text: viewed(label_rules=[{"label": text}]),
    "query =>": lambda text: of_engine("sql")("SELECT count(*) FROM frames('food', query => ?)", [text]).fetchall(),
    "framelode query": lambda text: commanded("query", "--json", "food@v1", "--", text),
    "framelode query --by": lambda text: commanded("query", "--by", "meta.n", "food@v1", "--", text),
}  # fmt: skip
"""What takes a query as text only."""

NAME_DOORS = {
    "order_by": lambda text: list(food().query("*", order_by=text)),
    "by": lambda text: food().count("*", text),
    "projection": lambda text: list(food().query("*", projection=[text])),
    "versions": lambda text: list(of_engine("query")("*", text)),
    "frames(...)": lambda text: of_engine("sql")("SELECT id FROM frames(?)", [text]).fetchall(),
    "as_of": lambda text: of_engine("sql")("SELECT id FROM frames('food', as_of => ?)", [text]).fetchall(),
    "version_name": lambda text: viewed() and DataView().add_query("food", text),
    "DataView.get": lambda text: DataView.get(dataview_name=text),
    "labels": lambda text: DataView().set_labels({text: 1}),
    "order": lambda text: DataView(iteration_order=text),
    "framelode query": lambda text: commanded("query", "--", text, "*"),
    "--order-by": lambda text: commanded("query", "food@v1", "*", "--order-by", text),
    "parameters": lambda text: of_engine("sql")("SELECT length(?)", [text]).fetchall(),
    "memory_limit": lambda text: framelode.current_engine().sql("SELECT 1", memory_limit=text),
}
"""What takes a name."""

SQL_DOORS = {
    "engine.sql": lambda text: of_engine("sql")(text).fetchall(),
    "framelode sql": lambda text: commanded("sql", "--csv", "--", text),
}
"""What takes a statement of SQL."""


def some(table, doors, door):
    """Yield what to ask at a door: all of it in the long form, else the doors share it."""
    number = sized(8, 1)
    yield from list(table.values())[list(doors).index(door) % number :: number]


def asked(door, given, *, refused=False):
    """Ask at a door. All that it may do is to answer, or raise an error of framelode that a person can read."""
    said = ""
    try:
        door(given)
    except FramelodeError as error:
        said = str(error)
    assert len(said) < 2_000
    said.encode()
    assert said or not refused


@pytest.mark.parametrize("door", [*DOORS, *TEXT_DOORS])
def test_texts(engine, door):
    doors = DOORS | TEXT_DOORS
    with bounded():
        for text in some(TEXTS, doors, door):
            asked(doors[door], text)


@pytest.mark.parametrize("door", DOORS)
def test_expressions(engine, door):
    with bounded():
        for make in some(EXPRESSIONS, DOORS, door):
            asked(lambda make: DOORS[door](make()), make, refused=True)


@pytest.mark.parametrize("door", NAME_DOORS)
def test_names(engine, door):
    with bounded():
        for text in some(TEXTS, NAME_DOORS, door):
            asked(NAME_DOORS[door], text)


@pytest.mark.parametrize("door", SQL_DOORS)
def test_huge_statements(engine, door):
    with bounded():
        for text in list(HUGE.values())[:: sized(2 if door == "engine.sql" else 8, 1)]:
            asked(SQL_DOORS[door], text, refused=True)


@pytest.mark.parametrize("door", SQL_DOORS)
def test_nothing_is_reached_but_the_tables(engine, door, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SECRET.csv").write_text("a\nhidden-value\n")
    local_table = pa.table({"a": ["hidden-value"]})
    for statement in REFUSED[:: sized(2 if door == "engine.sql" else 8, 1)]:
        with pytest.raises(FramelodeError) as raised:
            SQL_DOORS[door](statement)
        assert "hidden-value" not in str(raised.value)
    assert [each.name for each in tmp_path.iterdir()] == ["SECRET.csv"]
    assert local_table.num_rows == 1


def test_names_and_texts_of_views_are_shown_in_the_clear(tmp_path):
    with framelode.connect(tmp_path / "engine") as engine:
        DatasetVersion.create_new_dataset("food")
        for text in ("\x1b[31m", "a\nb", "\u202e", "x" * 100_000, '"; DROP TABLE log'):
            view = DataView(text, description=text, project_name=text)
            view.add_query(dataset_name="food")
            view.store()
        assert all(char.isprintable() or char == "\n" for char in commanded("views"))
        assert commanded("views", "--json").count('"name"') == 5
    engine.close()


def test_the_database_itself_is_closed(engine):
    """What would go through the check of the tree is refused by DuckDB, too."""
    database = engine.sql("SELECT 1")._job.database
    import duckdb

    for statement in (
        *(
            "SET lock_configuration = false",
            "SET enable_external_access = true",
            "SET GLOBAL memory_limit = '9GB'",
        ),
        *(
            "FROM read_text('/etc/hostname')",
            "COPY (SELECT 1) TO 'x.csv'",
            "INSTALL httpfs",
            "LOAD httpfs",
        ),
        *(
            "ATTACH 'x.db'",
            "FROM '/etc/hostname'",
            "CREATE PERSISTENT SECRET s (TYPE s3)",
            "FROM local_table",
        ),
    ):
        local_table = pa.table({"a": [1]})
        with pytest.raises(duckdb.Error):
            database.execute(statement).fetchall()
        del local_table


def test_texts_of_any_size_are_parameters(engine):
    text = "a" * 10_000_000
    assert engine.sql("SELECT length($text)", {"text": text}).fetchone() == (len(text),)
    assert (
        engine.sql("SELECT 1 FROM frames('food') WHERE id = ?", ["'; DROP TABLE log; --\0"]).fetchall() == []
    )
    with pytest.raises(FramelodeError):
        engine.sql("SELECT ?", ["\ud800"])


def test_regular_expressions_do_not_backtrack(engine):
    start = time.process_time()
    statement = "SELECT regexp_matches(repeat('a', 100000), '(a*)*b'), repeat('a', 50) SIMILAR TO '(a|aa)+b'"
    assert engine.sql(statement).fetchall() == [(False, False)]
    assert time.process_time() - start < 5


@examples(20, 500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(" ".join))
def test_any_text_is_answered_or_refused(engine, statement):
    with suppress(framelode.FramelodeError):
        engine.sql(statement, timeout=20, memory_limit="200MB", threads=1).fetchall()


def test_what_does_not_see_an_interrupt_is_left_behind(engine, monkeypatch):
    held = threading.Event()

    def waiting(*_):
        held.wait()
        yield from ()

    monkeypatch.setattr(tables, "_frames", waiting)
    monkeypatch.setattr(sql, "_PATIENCE", 0.01)
    with pytest.raises(UsageError, match="takes longer than timeout=0.01"):
        engine.sql("SELECT id FROM frames('food')", timeout=0.01).fetchall()
    held.set()


def test_recursion_without_end_has_limits(engine):
    statement = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t"
    with pytest.raises(UsageError, match=r"timeout=0\.1 s|memory_limit='100MB'"):
        engine.sql(statement, timeout=0.1, memory_limit="100MB").fetchall()


@pytest.mark.long
def test_values_of_gigabytes_end_where_the_process_has_a_limit(folder):
    for statement in ("SELECT repeat('x', 3000000000)", "SELECT printf('%2000000000d', 1)"):
        command = 'ulimit -v 3000000; exec "$0" -m framelode --engine "$1" sql "$2"'
        done = subprocess.run(
            ["sh", "-c", command, sys.executable, folder, statement],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "needs more memory" in done.stderr


@pytest.mark.long
def test_a_command_does_not_wait_for_what_it_left_behind(folder):
    statement = "SELECT jaro_similarity(repeat('a', 10000000), repeat('b', 10000000))"
    command = (sys.executable, "-m", "framelode", "--engine", folder, "sql", "--timeout", "0.1", statement)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert "takes longer than timeout=0.1" in done.stderr
