"""`connect`, the current engine, and how an engine is found."""

from __future__ import annotations

import contextvars
import gc
import itertools
import pickle
import shutil
import subprocess
import sys
import threading

import pytest
from patience import PATIENCE, join

import framelode
from framelode import DatasetVersion, IntegrityError, NotFoundError, SingleFrame, UsageError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fill(name="food"):
    DatasetVersion.create_new_dataset(name)
    version = DatasetVersion.get_current(dataset_name=name)
    version.add_frames([SingleFrame(source="s3://bucket/1.jpg")])
    return version.version_id


class TestPlaces:
    def test_a_folder_is_made_with_its_parts(self, tmp_path):
        with framelode.connect("deep/er/food") as engine:
            fill()
            assert engine.url == str(tmp_path / "deep/er/food")
        engine.close()
        names = {file.name for file in (tmp_path / "deep/er/food").iterdir()}
        assert {"framelode.toml", "log.db", "projections.db"} <= names

    def test_a_database_url_means_the_folder_of_that_file(self, tmp_path):
        with framelode.connect(f"sqlite:///{tmp_path}/food/other.db") as engine:
            version_id = fill()
        engine.close()
        assert (tmp_path / "food/other.db").exists()
        for url in (tmp_path / "food", engine.url):
            with framelode.connect(url) as again:
                assert len(again.version(version_id)) == 1
            again.close()

    def test_projections_elsewhere_are_remembered(self, tmp_path):
        with framelode.connect("food", projections=tmp_path / "fast disk/p.db") as engine:
            version_id = fill()
        engine.close()
        assert (tmp_path / "fast disk/p.db").exists()
        with framelode.connect("food") as again:
            assert len(again.version(version_id)) == 1
        again.close()
        assert not (tmp_path / "food/projections.db").exists()

    def test_engines_in_memory_are_apart(self):
        with framelode.connect("sqlite://") as one:
            fill()
        with framelode.connect("sqlite://") as two, pytest.raises(NotFoundError):
            DatasetVersion.get_current(dataset_name="food")
        with pytest.raises(UsageError, match="cannot be pickled"):
            pickle.dumps(one)
        one.close()
        two.close()

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("", "must not be empty"),
            ("mysql://host/db", "is not the URL of an engine"),
            ("sqlite:///", "has no file name"),
            ("file.txt", "is a file, not a folder"),
            ("file.txt/below", "cannot be created"),
            ("sqlite:///folder", "is a folder"),
        ],
    )
    def test_places_that_cannot_be_used(self, tmp_path, url, reason):
        (tmp_path / "file.txt").write_text("x")
        (tmp_path / "folder").mkdir()
        with pytest.raises(UsageError, match=reason):
            framelode.connect(url)

    def test_a_foreign_database_is_left_alone(self, tmp_path):
        import sqlite3

        connection = sqlite3.connect(tmp_path / "theirs.db")
        connection.execute("CREATE TABLE customers (id)")
        connection.commit()
        connection.close()
        before = (tmp_path / "theirs.db").read_bytes()
        with pytest.raises(UsageError, match="not a database of framelode: it holds customers"):
            framelode.connect(f"sqlite:///{tmp_path}/theirs.db")
        assert (tmp_path / "theirs.db").read_bytes() == before
        assert not (tmp_path / "framelode.toml").exists()

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("format = 2", "has format 2, this framelode reads up to 1"),
            ("format = ", "cannot be read"),
            ("colour = 1", "cannot be read"),
            ("log = 7", "cannot be read"),
        ],
    )
    def test_settings_that_cannot_be_read(self, tmp_path, text, reason):
        (tmp_path / "food").mkdir()
        (tmp_path / "food/framelode.toml").write_text(text)
        with pytest.raises(UsageError, match=reason):
            framelode.connect("food")
        assert (tmp_path / "food/framelode.toml").read_text() == text

    def test_a_hidden_folder_in_a_git_tree_ignores_itself(self, tmp_path):
        (tmp_path / ".git").mkdir()
        framelode.connect(".framelode").close()
        assert (tmp_path / ".framelode/.gitignore").read_text() == "*\n"

    def test_limits_of_a_frame(self):
        with pytest.raises(UsageError, match="max_frame_bytes"):
            framelode.connect("food", max_frame_bytes=2**25)
        with framelode.connect("food", max_frame_bytes=1000) as engine:
            DatasetVersion.create_new_dataset("food")
            version = DatasetVersion.get_current(dataset_name="food")
            (failure,) = version.add_frames([SingleFrame(metadata={"a": "x" * 1000})])
            assert "the limit is 1000" in failure["error"]
        engine.close()


class TestCurrent:
    def test_nothing_is_created_by_accident(self, tmp_path):
        with pytest.raises(UsageError, match="framelode init"):
            DatasetVersion.get_current(dataset_name="food")
        assert list(tmp_path.iterdir()) == []

    def test_with_restores_the_one_before(self):
        with framelode.connect("one") as one:
            assert framelode.current_engine() is one
            with framelode.connect("two") as two:
                assert framelode.current_engine() is two
                with one:
                    assert framelode.current_engine() is one
                assert framelode.current_engine() is two
            assert framelode.current_engine() is one
        one.close()
        two.close()

    def test_one_that_was_not_entered_cannot_be_left(self):
        with framelode.connect("one") as one:
            pass
        with pytest.raises(UsageError, match="was not entered"):
            one.__exit__(None, None, None)
        one.close()

    def test_connect_is_for_the_process_and_with_for_the_context(self):
        one = framelode.connect("one")
        two = framelode.connect("two")
        seen = []
        with one:
            thread = threading.Thread(target=lambda: seen.append(framelode.current_engine()))
            thread.start()
            join(thread)
            assert framelode.current_engine() is one
            assert contextvars.copy_context().run(framelode.current_engine) is one
        assert seen == [two]
        two.close()
        one.close()

    def test_a_closed_engine_is_no_longer_the_current_one(self):
        framelode.connect("one").close()
        with pytest.raises(UsageError, match="framelode init"):
            framelode.current_engine()

    def test_a_closed_engine_says_so(self):
        engine = framelode.connect("one")
        version_id = fill()
        version = engine.version(version_id)
        engine.close()
        engine.close()
        with pytest.raises(UsageError, match="is closed: connect again"):
            list(version)

    @pytest.mark.parametrize("folder", [".", ".framelode", "food"])
    def test_the_nearest_folder_upwards_or_the_environment(self, tmp_path, monkeypatch, folder):
        framelode.connect(folder).close()
        (tmp_path / "a/b").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "a/b")
        if folder == "food":
            monkeypatch.setenv("FRAMELODE_URL", str(tmp_path / folder))
        engine = framelode.current_engine()
        assert engine.session.location.folder.resolve() == (tmp_path / folder).resolve()
        engine.close()

    def test_an_environment_that_names_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setenv("FRAMELODE_URL", str(tmp_path / "gone"))
        with pytest.raises(UsageError, match=r"no engine at .*gone"):
            framelode.current_engine()
        assert not (tmp_path / "gone").exists()


class TestProcesses:
    def test_an_engine_pickles_as_its_url(self):
        with framelode.connect("food") as engine:
            version_id = fill()
            copy = pickle.loads(pickle.dumps(engine))
            assert len(copy.version(version_id)) == 1
            copy.close()
        engine.close()

    def test_the_blobs_of_an_engine_pickle_with_it(self):
        with framelode.connect("food") as engine:
            digest = engine.blobs.put(b"pizza").digest
            copy = pickle.loads(pickle.dumps(engine.blobs))
            assert copy.read(digest) == b"pizza"
            assert engine.blobs.read(copy.put(b"pasta").digest) == b"pasta"
            with framelode.connect("food", read_only=True) as reader:
                copy = pickle.loads(pickle.dumps(reader.blobs))
                assert copy.read(digest) == b"pizza"
                with pytest.raises(UsageError, match="read-only"):
                    copy.put(b"pasta")
            reader.close()
            copy = pickle.loads(pickle.dumps(engine.at(0).blobs))
            assert copy.read(digest) == b"pizza"
            with pytest.raises(UsageError, match="read-only"):
                copy.put(b"pasta")
        engine.close()

    def test_another_process_sees_what_was_written_at_once(self, tmp_path):
        with framelode.connect("food") as engine:
            version_id = fill()
            code = (
                "import sys, framelode; framelode.connect('food')\n"
                "version = framelode.current_engine().version(sys.argv[1])\n"
                "version.add_frames([framelode.SingleFrame(source='s3://bucket/2.jpg')])\n"
                "print(len(version))"
            )
            done = subprocess.run(
                [sys.executable, "-c", code, version_id],
                capture_output=True,
                text=True,
                check=True,
                timeout=PATIENCE,
            )
            assert done.stdout.strip() == "2"
            version = engine.version(version_id)
            assert (len(version), version.get_stats().total, len(list(version))) == (2, 2, 2)
            engine.verify()
        engine.close()


def test_verify_and_rebuild(engine):
    version_id = fill()
    findings = engine.verify()
    assert (findings.versions, findings.fingerprints) == (1, 0)
    assert findings.projections == len(engine.session.runner.kept()) > 3
    engine.version(version_id).publish_version()
    before = engine.version(version_id).get_stats()
    engine.rebuild()
    assert engine.version(version_id).get_stats() == before
    findings = engine.verify()
    assert (findings.events, findings.fingerprints) == (engine.log.head().position, 1)


def test_verify_says_what_is_wrong_with_a_projection(tmp_path):
    import sqlite3

    with framelode.connect(tmp_path / "food") as engine:
        fill()
        engine.catch_up()
        connection = sqlite3.connect(tmp_path / "food/projections.db")
        connection.execute("UPDATE stats_count_v3 SET count = count + 1")
        connection.commit()
        connection.close()
        with pytest.raises(IntegrityError, match="projection stats: table stats_count_v3 differs"):
            engine.verify()
        engine.rebuild()
        engine.verify()
    engine.close()


def test_a_forgotten_engine_never_waits_for_a_writer(tmp_path, ticks):
    def collect_garbage():
        gc.collect()
        return ticks.clock()

    forgotten = framelode.connect(tmp_path / "food")
    fill()
    with framelode.connect(tmp_path / "food", clock=collect_garbage) as engine:
        forgotten._itself, forgotten = forgotten, None
        engine._previous = None
        add = threading.Thread(
            target=engine.session.writes.datasets.create_dataset, args=("other",), daemon=True
        )
        add.start()
        join(add)
    engine.close()


@pytest.mark.parametrize("happens", ["deleted", "moved", "replaced"])
def test_a_log_that_goes_while_it_is_open_takes_no_more(tmp_path, happens):
    folder, log = tmp_path / "food", tmp_path / "food/log.db"
    with framelode.connect(folder) as engine:
        fill()
        draft = DatasetVersion.get_current(dataset_name="food")
        held = len(draft)
        if happens == "moved":
            folder.rename(tmp_path / "elsewhere")
        else:
            shutil.copy(log, tmp_path / "copy")
            log.unlink()
        if happens == "replaced":
            (tmp_path / "copy").rename(log)
        with pytest.raises(
            IntegrityError, match=r"log\.db was deleted, moved or replaced since it was opened"
        ):
            draft.add_frames([SingleFrame(id="late")])
        with pytest.raises(IntegrityError, match="nothing more is recorded"):
            DatasetVersion.create_new_dataset("late")
        assert len(draft) == held
        engine.close()


def test_a_log_that_is_gone_is_noticed(tmp_path):
    framelode.connect(tmp_path / "food").close()
    (tmp_path / "food/log.db").unlink()
    with pytest.raises(IntegrityError, match=r"log\.db is missing.*restore it from a copy"):
        framelode.connect(tmp_path / "food")
    assert not (tmp_path / "food/log.db").exists()
    (tmp_path / "food/framelode.toml").unlink()
    framelode.connect(tmp_path / "food").close()


def test_verify_tells_everything_it_found(tmp_path):
    import sqlite3

    with framelode.connect(tmp_path / "food") as engine:
        fill()
        engine.catch_up()
        connection = sqlite3.connect(tmp_path / "food/projections.db")
        connection.execute("UPDATE stats_count_v3 SET count = count + 1")
        connection.execute("UPDATE catalog_dataset_v3 SET name = 'drink'")
        connection.commit()
        connection.close()
        with pytest.raises(IntegrityError, match=r"\(and 1 more\)") as caught:
            engine.verify()
        assert len(caught.value.problems) == 2
    engine.close()


@pytest.mark.parametrize("place", [None, 5, b"folder", [], "a\0b", "\ud800"])
def test_a_place_that_is_no_path_is_refused(place, tmp_path):
    with pytest.raises(UsageError, match="the place of the engine"):
        framelode.connect(place)
    if place is not None:
        for argument in ("projections", "blobs"):
            with pytest.raises(UsageError, match=f"the place of {argument}"):
                framelode.connect(tmp_path / "engine", **{argument: place})
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize("size", [None, "1", 0, -1, 1.5, 2**24 + 1])
def test_a_frame_limit_that_is_none_is_refused(size, tmp_path):
    with pytest.raises(UsageError, match="max_frame_bytes must be an integer"):
        framelode.connect(tmp_path, max_frame_bytes=size)


@pytest.mark.parametrize("made", ["x", "F" * 32, "f" * 31, 5, None, b"f" * 32, "\ud800"])
def test_ids_that_are_none_are_refused(made, tmp_path):
    with pytest.raises(UsageError, match="new_id must return 32 lowercase hex digits"):
        framelode.connect(tmp_path / "new", new_id=lambda: made)
    framelode.connect(tmp_path / "old").close()
    with framelode.connect(tmp_path / "old", new_id=lambda: made) as engine:
        with pytest.raises(UsageError, match="new_id must return 32 lowercase hex digits"):
            DatasetVersion.create_new_dataset("food")
        assert engine.log.head().position == 0
        engine.close()
    framelode.connect(tmp_path / "new").close()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_closed_engine_is_never_current(tmp_path, order):
    engines = [framelode.connect(tmp_path / str(number)) for number in range(3)]
    still_open = list(engines)
    for number in order:
        engines[number].close()
        still_open.remove(engines[number])
        if still_open:
            assert framelode.current_engine() is still_open[-1]
    with pytest.raises(UsageError, match="no engine"):
        framelode.current_engine(None)


def test_an_engine_of_the_past_answers_like_one_of_the_present(tmp_path):
    with framelode.connect(tmp_path / "food") as engine:
        fill()
        past = engine.at(engine.log.head().position)
        (version_id,) = past.session.version_ids()
        assert past.session.parent_of(version_id) is None
        assert past.session.version_counts(version_id) == engine.session.version_counts(version_id)
        public = [name for name in dir(engine) if not name.startswith("_")]
        assert [name for name in dir(past) if not name.startswith("_")] == public
        engine.close()
