"""SQL over versions: its tables, results and errors, and that nothing but the tables is reached."""

import json
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

import framelode
from framelode import DatasetVersion, FrameGroup, InvalidQueryError, NotFoundError, SingleFrame, UsageError
from framelode.adapters.queries import sql, tables


def made(number):
    frame = SingleFrame(
        id=f"f{number}",
        source=f"s3://b/cam{number % 3}/{number}.jpg",
        width=640,
        metadata={"camera": f"cam{number % 3}", "n": number, "tags": ["a", {"deep": None}], "é\0": "\0"},
    )
    for place in range(number % 4):
        frame.add_annotation(
            box2d_xywh=(1, 2, 3, place), labels=["car" if place else "dog"], confidence=place / 4
        )
    return frame


@pytest.fixture(scope="module")
def opened():
    """Yield an engine with a version of 60 frames and a draft that adds, changes and deletes."""
    clock = iter(range(1_700_000_000_000_000, 2_000_000_000_000_000, 1_000_000))
    with framelode.connect("sqlite://", clock=lambda: next(clock)) as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        draft.add_frames([made(number) for number in range(60)])
        group = FrameGroup(
            "g", frames={side: SingleFrame(source=f"s3://b/{side}.jpg") for side in ("l", "r")}
        )
        draft.add_frames([group])
        child = DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
        changed = made(1)
        changed.metadata = {"camera": "new"}
        child.add_frames([changed, SingleFrame(id="plain")])
        child.delete_frames(["f2"])
    yield engine
    engine.close()


@pytest.fixture
def engine(opened):
    with opened:
        yield opened


def rows(engine, statement, *arguments, **options):
    return engine.sql(statement, *arguments, **options).fetchall()


def one(engine, statement, *arguments, **options):
    ((value,),) = rows(engine, statement, *arguments, **options)
    return value


def error(engine, statement, kind=InvalidQueryError, *arguments, **options):
    with pytest.raises(kind) as raised:
        engine.sql(statement, *arguments, **options).fetchall()
    assert len(str(raised.value)) < 2_000
    return raised.value


class TestTables:
    def test_frames_are_those_of_the_version(self, engine):
        version = DatasetVersion.get_version(dataset_name="food", version_name="v1")
        statement = (
            "SELECT id, context_id, timestamp, num_frames, is_group, meta, position FROM frames('food@v1')"
        )
        found = rows(engine, f"{statement} ORDER BY position")
        wires = [frame.to_dict() for frame in version]
        assert [row[:4] for row in found] == [
            (wire["id"], wire.get("context_id"), wire.get("timestamp"), wire.get("num_frames"))
            for wire in wires
        ]
        assert [row[4] for row in found] == [wire["id"] == "g" for wire in wires]
        assert [row[5] and json.loads(row[5]) for row in found] == [wire.get("meta") for wire in wires]
        assert [row[6] for row in found] == sorted(row[6] for row in found)

    def test_whole_rows_are_those_of_arrow(self, engine):
        version = DatasetVersion.get_version(dataset_name="food", version_name="v1")
        found = engine.sql("SELECT * FROM frames('food@v1')").to_arrow()
        expected = version.to_arrow().rename_columns(
            [{"group": "is_group"}.get(name, name) for name in version.to_arrow().column_names]
        )
        assert set(found.column_names) == {*expected.column_names, "position"}
        for name in expected.column_names:
            assert found.column(name).to_pylist() == expected.column(name).to_pylist(), name

    def test_annotations_and_sources_are_rows(self, engine):
        version = DatasetVersion.get_version(dataset_name="food", version_name="v1")
        wires = [frame.to_dict() for frame in version]
        found = rows(
            engine, "SELECT frame_id, number, type, label, confidence, poly FROM annotations('food@v1')"
        )
        assert found == [
            (wire["id"], number, roi["type"], roi["label"], roi["confidence"], roi["poly"])
            for wire in wires
            for number, roi in enumerate(wire.get("rois", ()))
        ]
        found = rows(engine, "SELECT frame_id, number, id, uri, width FROM sources('food@v1')")
        assert found == [
            (wire["id"], number, source["id"], source.get("uri"), source.get("width"))
            for wire in wires
            for number, source in enumerate(wire.get("sources", ()))
        ]

    def test_changes_lead_from_one_version_to_another(self, engine):
        found = rows(
            engine, "SELECT frame_id, change, fields FROM changes('food@v1', 'food') ORDER BY frame_id"
        )
        assert [row[:2] for row in found] == [("f1", "changed"), ("f2", "removed"), ("plain", "added")]
        assert found[0][2] == ["meta"]
        ids = rows(engine, "SELECT frame_id FROM changes('food@v1', 'food') WHERE change = 'removed'")
        assert ids == [("f2",)]
        before = one(
            engine, "SELECT before->>'$.meta.camera' FROM changes('food@v1', 'food') WHERE frame_id = 'f2'"
        )
        assert before == "cam2"

    def test_versions_and_the_log(self, engine):
        assert rows(engine, "SELECT address, state, frames FROM versions") == [
            ("default/food@v1", "published", 61),
            ("default/food@Current", "draft", 61),
        ]
        kinds = dict(rows(engine, "SELECT kind, count(*) FROM log WHERE subject = 'frame' GROUP BY kind"))
        assert kinds == {"added": 62, "updated": 1, "deleted": 1}
        deleted = rows(
            engine, "SELECT frame_id, actor, recorded_at, before->>'id' FROM log WHERE kind = 'deleted'"
        )
        ((frame_id, actor, at, before),) = deleted
        (change,) = engine.history(kinds="deleted")
        assert (frame_id, actor, at, before) == ("f2", change.actor, change.at, "f2")

    def test_at_any_moment(self, engine):
        counted = "SELECT count(*) FROM frames('food')"
        added = one(engine, "SELECT min(position) FROM log WHERE subject = 'frame'")
        assert one(engine, counted, as_of=added) == 1
        assert one(engine, f"SELECT count(*) FROM frames('food', as_of => {added + 1})") == 2
        assert one(engine, "SELECT count(*) FROM frames('food', as_of => $at)", {"at": str(added + 2)}) == 3
        assert one(engine, "SELECT count(*) FROM log", as_of=added) == added
        assert rows(engine, "SELECT frames FROM versions", as_of=added) == [(1,)]
        assert engine.at(added).sql(counted).fetchone() == (1,)
        at = datetime.fromtimestamp(1_700_000_000 + 10_000, UTC)
        assert one(engine, f"SELECT count(*) FROM frames('food', as_of => '{at.isoformat()}')") == 61

    def test_versions_by_id(self, engine):
        version = DatasetVersion.get_version(dataset_name="food", version_name="v1")
        for name in (version.version_id, f"id:{version.version_id[:8]}", "default/food@v1"):
            assert one(engine, "SELECT count(*) FROM frames($name)", {"name": name}) == 61
        assert one(engine, "SELECT count(*) FROM frames(?) WHERE id <> ?", ["food@v1", "f1"]) == 60

    def test_lucene_text_restricts_what_is_read(self, engine):
        statement = "SELECT id FROM frames('food@v1', query => 'rois.label:car AND meta.n:<20')"
        version = DatasetVersion.get_version(dataset_name="food", version_name="v1")
        expected = [frame.id for frame in version.query("rois.label:car AND meta.n:<20")]
        assert rows(engine, statement) == [(each,) for each in expected]
        found = rows(
            engine, "SELECT DISTINCT frame_id FROM annotations('food@v1', query => $q)", {"q": "id:f3"}
        )
        assert found == [("f3",)]
        assert "line 1, column 1" in str(error(engine, "FROM frames('food', query => 'metta.a:1')"))


READS = {
    "SELECT count(*) FROM frames('food')": {"position"},
    "SELECT ID FROM frames('food') WHERE Meta->>'camera' = 'cam1'": {"id", "meta"},
    "SELECT f.id FROM frames('food') f ORDER BY f.position": {"id", "position"},
    "WITH a AS (SELECT id FROM frames('food')) SELECT * FROM a": {"id"},
    "SELECT count(*) FROM (SELECT id, meta FROM frames('food')) GROUP BY ALL": {"id", "meta"},
    "SELECT x.* FROM frames('food'), (SELECT 1 AS one) x": {"position"},
    "SELECT * FROM frames('food')": None,
    "FROM frames('food')": None,
    "SELECT f FROM frames('food') f": None,
    "SELECT frames FROM frames('food')": None,
    "SELECT COLUMNS('i.') FROM frames('food')": None,
    "SELECT a FROM frames('food') f(a)": None,
    "SELECT id FROM frames('food') NATURAL JOIN (SELECT 'f1' AS id)": None,
    "SELECT 1 FROM frames('food') JOIN (SELECT 'f1' AS id) USING (id)": {"id"},
    "SELECT (SELECT count(*) FROM range(3) WHERE num_frames > 0) FROM frames('food')": {"num_frames"},
    "SUMMARIZE SELECT id FROM frames('food')": {"id"},
}


class TestColumns:
    @pytest.mark.parametrize("statement", READS)
    def test_only_the_columns_that_are_named_are_read(self, engine, statement, monkeypatch):
        asked = []
        read = tables._frames

        def counted(session, state, positions, schema):
            asked.append(set(schema.names))
            return read(session, state, positions, schema)

        monkeypatch.setattr(tables, "_frames", counted)
        engine.sql(statement).fetchall()
        expected = READS[statement] or set(tables.FRAMES.names)
        assert asked
        assert all(each == expected for each in asked)

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT count(frames.id) FROM frames ( 'food@v1' /* ) */ )",
            "FROM frames('food@v1') SELECT count(frames.id) -- it ends here",
            "SELECT count(id) FROM frames('food@v1') WITH ORDINALITY",
            "SELECT count(id) FROM Frames('food@v1') TABLESAMPLE 100%",
            "SELECT count(frames.id) FROM frames('food@v1') JOIN sources('food@v1') s ON s.frame_id = frames.id AND s.number = 0",
            'SELECT count("frames"."id") FROM frames(version => \'food@v1\'), (SELECT \'é\') AS "é"',
            "SELECT (SELECT count(frames.id) FROM frames('food@v1'))",
        ],
    )
    def test_a_table_has_its_name_wherever_it_stands(self, engine, statement):
        assert one(engine, statement) == 61

    def test_the_same_table_twice_has_the_columns_of_both(self, engine):
        statement = (
            "SELECT a.id FROM frames('food') a JOIN frames('food') b ON a.id = b.id AND b.num_frames IS NULL"
        )
        assert len(rows(engine, statement)) == 61


class TestResults:
    def test_a_result_is_what_users_of_tables_expect(self, engine):
        found = engine.sql(
            "SELECT number AS n, type, sum(number)::HUGEINT AS h FROM annotations('food@v1') GROUP BY ALL ORDER BY n"
        )
        assert found.columns == ["n", "type", "h"]
        assert found.types == ["BIGINT", "VARCHAR", "HUGEINT"]
        assert repr(found) == "SqlResult(n BIGINT, type VARCHAR, h HUGEINT)"
        expected = [(0, "box2d", 0), (1, "box2d", 30), (2, "box2d", 30)]
        assert found.fetchall() == list(found) == expected
        assert found.fetchone() == expected[0]
        assert list(found.to_dicts())[1] == {"n": 1, "type": "box2d", "h": 30}
        assert found.to_arrow().to_pylist() == pa.table(found).to_pylist()
        assert found.to_arrow().column("h").to_pylist() == [Decimal(0), Decimal(30), Decimal(30)]
        assert found.to_pandas().shape == found.to_polars().shape == (3, 3)
        assert engine.sql("SELECT 1 WHERE false").fetchone() is None
        assert engine.sql("SELECT 1 AS a WHERE false").to_arrow().num_rows == 0

    def test_a_result_is_written_to_parquet(self, engine, tmp_path):
        found = engine.sql("SELECT id, meta FROM frames('food@v1')")
        assert found.to_parquet(tmp_path / "a.parquet") == 61
        from pyarrow import parquet

        assert parquet.read_table(tmp_path / "a.parquet").column("id").to_pylist() == [
            row[0] for row in found
        ]

    def test_rows_are_streamed(self, monkeypatch):
        with framelode.connect("sqlite://") as engine:
            DatasetVersion.create_new_dataset("d")
            draft = DatasetVersion.get_current(dataset_name="d")
            for start in range(0, 20_000, 2_000):
                draft.add_dicts(
                    [{"id": f"{start + n:06}", "meta": {"text": "x" * 1_000}} for n in range(2_000)]
                )
            taken = []
            read = tables._frames

            def counted(*arguments):
                for batch in read(*arguments):
                    taken.append(len(batch))
                    yield batch

            monkeypatch.setattr(tables, "_frames", counted)
            reader = engine.sql("SELECT id, meta FROM frames('d')", threads=1).to_arrow_reader(1_000)
            assert len(reader.read_next_batch()) == 1_000
            assert 0 < sum(taken) < 20_000
            assert 1_000 + sum(map(len, reader)) == sum(taken) == 20_000
            engine.close()

    def test_a_result_stays_at_its_moment(self):
        with framelode.connect("sqlite://") as engine:
            DatasetVersion.create_new_dataset("d")
            draft = DatasetVersion.get_current(dataset_name="d")
            draft.add_frames([SingleFrame(id="a")])
            found = engine.sql(
                "SELECT (SELECT count(*) FROM frames('d')), (SELECT count(*) FROM log), (SELECT sum(frames) FROM versions)"
            )
            before = found.fetchall()
            draft.add_frames([SingleFrame(id="b")])
            assert found.fetchall() == before
            engine.close()

    def test_what_is_written_while_tables_are_opened_is_in_none(self, monkeypatch):
        with framelode.connect("sqlite://") as engine:
            DatasetVersion.create_new_dataset("d")
            draft = DatasetVersion.get_current(dataset_name="d")
            draft.add_frames([SingleFrame(id="a")])
            opened = sql._table

            def late(session, reference):
                found = opened(session, reference)
                if len(draft) < 3:
                    draft.add_frames([SingleFrame(id=f"{len(draft)}")])
                return found

            monkeypatch.setattr(sql, "_table", late)
            statement = (
                "SELECT (SELECT count(*) FROM frames('d')), (SELECT count(*) FROM frames('d', query => '*'))"
            )
            assert rows(engine, statement) == [(1, 1)]
            engine.close()

    def test_several_threads_read_one_result(self, engine):
        found = engine.sql("SELECT id, meta FROM frames('food@v1')")
        got = []
        threads = [threading.Thread(target=lambda: got.append(found.fetchall())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 4
        assert all(each == got[0] for each in got)


class TestPlaces:
    def test_a_read_only_engine_is_asked(self, tmp_path):
        with framelode.connect(tmp_path / "food") as engine:
            DatasetVersion.create_new_dataset("food")
            DatasetVersion.get_current(dataset_name="food").add_frames([SingleFrame(id="a")])
            engine.close()
        with framelode.connect(tmp_path / "food", read_only=True) as engine:
            assert rows(engine, "SELECT id FROM frames('food')") == [("a",)]
            assert one(engine, "SELECT count(*) FROM log WHERE subject = 'frame'") == 1
            engine.close()

    def test_a_forked_process_asks_again(self, engine, monkeypatch):
        found = engine.sql("SELECT 1")
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(UsageError, match="call engine.sql there"):
            found.fetchall()

    def test_without_the_library_the_error_names_the_extra(self, engine, monkeypatch):
        monkeypatch.setitem(sys.modules, "duckdb", None)
        monkeypatch.delitem(sys.modules, "framelode.adapters.queries.sql")
        with pytest.raises(UsageError, match="pip install 'framelode\\[sql\\]'"):
            engine.sql("SELECT 1")


WRONG = {
    "SELECT idd FROM frames('food')": (1, 8, "there is no column 'idd'.*did you mean 'id'"),
    "SELECT id\nFROM frmes('food')": (2, 6, "did you mean 'frames'"),
    "SELECT 1 FROM frames('food'), frames('food@v1') b\nWHERE b.metta IS NULL": (2, 7, "metta"),
    "SELECT lenght(id) FROM frames('food')": (1, 8, "no scalar function 'lenght': did you mean 'length'"),
    "SELECT id::INT FROM frames('food')": (1, 10, "Could not convert string"),
    "SELEC 1": (1, 1, "syntax error at or near"),
    "SELECT 'é', (1": (1, None, "syntax error"),
    "FROM frames": (1, 6, r"write frames\('dataset@version'\)"),
    "FROM version": (1, 6, "did you mean 'versions'"),
    "FROM frames()": (1, 6, "the arguments of frames are"),
    "FROM frames('food', moment => 1)": (1, 6, "the arguments of frames are"),
    "FROM frames(lower('FOOD'))": (1, 13, "must be a text, a position or a parameter"),
    'FROM frames("food@v1")': (1, 13, "or a parameter with one of these: write 'food@v1' in single quotes"),
    "FROM frames(1)": (1, 13, "version must be a text"),
    "FROM frames('a', as_of => 1.5)": (1, None, "as_of must be"),
    "SELECT 1; SELECT 2": (None, None, "found 2 statements"),
    " ": (None, None, "found 0 statements"),
    "SELECT ?": (None, None, "Values were not provided"),
    "SELECT 1\0": (1, 9, "found a NUL"),
    "SELECT '\ud800'": (1, 9, "the lone surrogate"),
}


class TestErrors:
    @pytest.mark.parametrize("statement", WRONG, ids=ascii)
    def test_they_say_where_and_what(self, engine, statement):
        line, column, message = WRONG[statement]
        raised = error(engine, statement)
        assert raised.line == line
        assert column is None or raised.column == column
        with pytest.raises(InvalidQueryError, match=message):
            raise raised

    def test_versions_that_do_not_exist(self, engine):
        assert "did you mean 'food'" in str(error(engine, "FROM frames('foood')", NotFoundError))
        assert "no version named 'v9'" in str(error(engine, "FROM frames('food@v9')", NotFoundError))

    def test_arguments(self, engine):
        for options in ({"timeout": 0}, {"threads": 0}, {"memory_limit": "lots"}, {"memory_limit": 5}):
            error(engine, "SELECT 1", UsageError, **options)
        for parameters in ("abc", 5):
            assert "parameters must be" in str(error(engine, "SELECT ?", UsageError, parameters))
        assert "a statement must be a text" in str(error(engine, 5))

    def test_errors_of_the_log_come_through(self, engine, monkeypatch):
        def broken(*_):
            raise framelode.IntegrityError("the log is damaged", position=5)
            yield

        monkeypatch.setattr(tables, "_frames", broken)
        assert error(engine, "SELECT id FROM frames('food')", framelode.IntegrityError).position == 5

    def test_memory_is_bounded(self, engine):
        statement = "SELECT list(repeat('x', 1000) || range) FROM range(1000000)"
        assert "memory_limit='50MB'" in str(error(engine, statement, UsageError, memory_limit="50MB"))

    def test_time_is_bounded(self, engine):
        statement = "SELECT count(*) FROM range(100000) a, range(1000000) b WHERE hash(a.range + b.range) = 7"
        start = time.monotonic()
        assert "timeout=0.2" in str(error(engine, statement, UsageError, timeout=0.2))
        assert time.monotonic() - start < 60

    def test_a_key_of_the_keyboard_interrupts(self, engine):
        statement = "SELECT count(*) FROM range(100000) a, range(1000000) b WHERE hash(a.range + b.range) = 7"
        found = engine.sql(statement)
        timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            found.fetchall()
        timer.join()
