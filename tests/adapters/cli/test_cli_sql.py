"""`framelode sql`: tables, CSV, JSON and Parquet of a SELECT."""

import csv
import io
import json

import pyarrow.parquet
import pytest
from command_line import run

import framelode
from framelode import DatasetVersion, SingleFrame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sql") / "engine"
    with framelode.connect(folder) as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        for number in range(150):
            frame = SingleFrame(id=f"f{number:03}", metadata={"n": number, "text": 'a,"b"\n'})
            frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["cat"], confidence=0.5)
            draft.add_frames([frame])
        engine.close()
    return folder


@pytest.fixture
def ask(folder):
    return lambda *arguments, **options: run("--engine", folder, "sql", *arguments, **options)


def test_a_table_shows_a_hundred_rows(ask):
    done = ask("SELECT id, meta->>'n' AS n FROM frames('food') ORDER BY id")
    header, first, *rest = done.stdout.splitlines()
    assert header.split() == ["id", "n"]
    assert first.split() == ["f000", "0"]
    assert len(rest) == 99
    assert "only 100 rows shown" in done.stderr
    done = ask("SELECT id FROM frames('food')", "-n", "200")
    assert (len(done.stdout.splitlines()), done.stderr) == (151, "")


def test_a_table_cuts_long_values(ask):
    done = ask("SELECT id, repeat('x', 81) AS long, repeat('y', 80) AS short FROM frames('food')", "-n", "1")
    assert done.stdout.split() == ["id", "long", "short", "f000", f"{'x' * 80}...", "y" * 80]
    assert "more than 80 characters are cut: --csv" in done.stderr
    assert "cut" not in ask("SELECT repeat('y', 80) FROM frames('food')", "-n", "200").stderr
    assert "x" * 81 in ask("SELECT repeat('x', 81) FROM frames('food') LIMIT 1", "--csv").stdout


def test_csv_and_json_are_complete(ask):
    statement = "SELECT f.id, f.meta, poly, confidence, NULL AS none, true AS yes FROM frames('food') f, annotations('food') a WHERE f.id = a.frame_id ORDER BY f.id"
    rows = list(csv.DictReader(io.StringIO(ask(statement, "--csv").stdout)))
    assert len(rows) == 150
    assert rows[7] == {
        "id": "f007",
        "meta": '{"n":7,"text":"a,\\"b\\"\\n"}',
        "poly": "[1.0, 2.0, 3.0, 4.0]",
        "confidence": "0.5",
        "none": "",
        "yes": "true",
    }
    lines = [json.loads(line) for line in ask(statement, "--json", "-n", "8").stdout.splitlines()]
    assert len(lines) == 8
    assert lines[7] == {
        "id": "f007",
        "meta": {"n": 7, "text": 'a,"b"\n'},
        "poly": [1.0, 2.0, 3.0, 4.0],
        "confidence": 0.5,
        "none": None,
        "yes": True,
    }


def test_values_of_all_types_are_shown(ask):
    statement = (
        "SELECT 2::HUGEINT ** 70 AS huge, 1.5::DECIMAL(4, 2) AS decimal, 'NaN'::FLOAT AS nan, DATE '2026-01-02' AS day, "
        "TIMESTAMPTZ '2026-01-02T03:04:05Z' AS at, '\\xAB'::BLOB AS bytes, {'a': [1, NULL]} AS struct, MAP {1: 'x'} AS map, "
        "INTERVAL 1 DAY AS span"
    )
    (line,) = map(json.loads, ask(statement, "--json").stdout.splitlines())
    assert line == {
        "huge": 2.0**70,
        "decimal": 1.5,
        "nan": None,
        "day": "2026-01-02",
        "at": "2026-01-02T03:04:05+00:00",
        "bytes": "ab",
        "struct": {"a": [1, None]},
        "map": {"1": "x"},
        "span": "1 day, 0:00:00",
    }
    assert "2026-01-02" in ask(statement).stdout


def test_parquet_and_the_past(ask, tmp_path):
    file = tmp_path / "a.parquet"
    done = ask("SELECT id FROM frames('food')", "--parquet", file, "--as-of", "100")
    table = pyarrow.parquet.read_table(file)
    assert f"{len(table)} rows written" in done.stdout
    assert 0 < len(table) < 150


def test_wrong_statements_say_where(ask):
    assert "line 1, column 8" in ask("SELECT idd FROM frames('food')", status=2).stderr
    assert "only one SELECT" in ask("DROP TABLE log", status=2).stderr
    assert "no version named" in ask("FROM frames('food@v9')", status=4).stderr
    assert "exclude each other" in ask("SELECT 1", "--csv", "--json", status=2).stderr
    assert "LIMIT" in ask("SELECT 1", "--parquet", "a.parquet", "-n", "1", status=2).stderr
    slow = "SELECT count(*) FROM range(100000) a, range(1000000) b WHERE hash(a.range + b.range) = 7"
    assert "timeout=0.1" in ask(slow, "--timeout", "0.1", status=2).stderr


def test_a_statement_is_read_from_stdin(folder):
    from command_line import app
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["--engine", str(folder), "sql", "-", "--csv"], input="SELECT 1 AS one")
    assert done.stdout == "one\n1\n"
