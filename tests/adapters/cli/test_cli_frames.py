"""`framelode frames`, ids that are cut short, limits of listings, and points in time as people write them."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest
from command_line import run, run_json

import framelode
from framelode import ConflictError, DatasetVersion, NotFoundError, SingleFrame
from framelode.engine.keys import frame_key

HEX = ["ab" * 16, "ab" * 15 + "cd", "12" * 16]


def frame(name, *labels):
    made = SingleFrame(id=name, source=f"s3://b/{name}.jpg")
    for label in labels:
        made.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=[label])
    return made


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "engine"
    with framelode.connect(folder) as engine:
        DatasetVersion.create_new_dataset("food")
        first = DatasetVersion.get_current(dataset_name="food")
        first.add_frames(
            [frame("apple", "cat", "cat"), frame("apricot", "dog"), frame("gone"), *map(frame, HEX)]
        )
        first.delete_frames(["gone", HEX[2]])
        DatasetVersion.create_new_dataset("empty")
        engine.close()
    return folder


@pytest.fixture
def home(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(prepared, tmp_path / ".framelode")


@pytest.fixture
def version(home):
    with framelode.connect(home) as engine:
        yield DatasetVersion.get_current(dataset_name="food")
        engine.close()


def lines(*arguments):
    return [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]


@pytest.mark.usefixtures("home")
class TestFrames:
    def test_a_frame_is_a_line_with_its_sources_and_labels(self):
        header, first, second, *_ = run("frames", "food").stdout.splitlines()
        assert header.split() == ["frame", "source", "labels"]
        assert first.split() == ["apple", "s3://b/apple.jpg", "cat", "2"]
        assert second.split() == ["apricot", "s3://b/apricot.jpg", "dog"]

    def test_json_is_an_object_per_line(self):
        assert lines("frames", "food", "-n", 1) == [
            {"id": "apple", "sources": ["s3://b/apple.jpg"], "labels": {"cat": 2}, "annotations": 2}
        ]

    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            (("--label", "dog"), ["apricot"]),
            (("--source", "s3://b/ap*"), ["apple", "apricot"]),
            (("--source", "s3://b/ap*", "--label", "cat"), ["apple"]),
            (("--source", "s3://b/gone.jpg"), []),
            (("--source", "s3://b/gone.jpg", "--as-of", 8), ["gone"]),
        ],
    )
    def test_filters(self, filters, found):
        assert [each["id"] for each in lines("frames", "food", *filters)] == found

    def test_the_line_about_the_rest_counts_what_matches(self):
        assert (
            run("frames", "food", "-n", 1).stderr == "and 3 more frames: give a larger --limit to see more\n"
        )
        assert "and 1 more frame:" in run("frames", "food", "--source", "s3://b/ap*", "-n", 1).stderr
        assert run("frames", "food", "-n", 4).stderr == ""
        assert run("frames", "empty").stderr == ""

    def test_a_label_that_no_frame_has(self):
        done = run("frames", "food", "--label", "dogs")
        assert done.stderr == "no frame has the label 'dogs': did you mean 'dog'?\n"
        assert run("frames", "food", "--label", "dog", "--source", "s3://b/apple*").stderr == ""

    def test_progress_counts_the_frames_that_are_read(self, version):
        told = []
        assert len(list(version.find_frames(label="dog", callback=lambda *each: told.append(each)))) == 1
        assert told == [(4, 4)]

    def test_a_wrong_filter_is_refused(self):
        assert "source_uri must be" in run("frames", "food", "--source", "", status=2).stderr


@pytest.mark.usefixtures("home")
class TestQuery:
    def test_frames_that_match(self):
        assert [each["id"] for each in lines("query", "food", "rois.label:(cat OR dog)")] == [
            "apple",
            "apricot",
        ]
        assert "apricot" in run("query", "food", "rois.label:dog").stdout
        assert [each["id"] for each in lines("query", "food", "id:gone", "--as-of", 8)] == ["gone"]

    def test_counts_and_the_rest(self):
        assert run("query", "food", "*", "--count").stdout == "4\n"
        assert json.loads(run("query", "food", "NOT rois:*", "--count", "--json").stdout) == {"count": 2}
        assert "and 3 more frames" in run("query", "food", "*", "-n", 1).stderr

    def test_counts_by_a_field(self):
        assert lines("query", "food", "*", "--by", "rois.label")[0]["count"] == 1
        csv = run("query", "food", "*", "--by", "rois.label", "--csv").stdout.splitlines()
        assert csv[0] == "rois.label,count"
        assert set(csv[1:]) == {
            f"{each['value']},{each['count']}" for each in lines("query", "food", "*", "--by", "rois.label")
        }
        limited = run("query", "food", "*", "--by", "id", "-n", 1)
        assert "1" in limited.stdout
        assert "and 3 more values" in limited.stderr

    def test_orders_and_files(self, tmp_path):
        ids = [each["id"] for each in lines("query", "food", "*", "--order-by", "id")]
        assert ids == sorted(ids)
        table = run("query", "food", "*", "--order-by", "-id", "--csv").stdout.splitlines()
        assert table[0] == "id,sources,labels,annotations"
        assert [line.partition(",")[0] for line in table[1:]] == ids[::-1]
        assert run("query", "food", "*", "--count", "--csv").stdout == "count\n4\n"
        file = tmp_path / "found.parquet"
        assert "wrote 2 frames" in run("query", "food", "rois:*", "--parquet", file).stderr
        assert pq.read_table(file)["id"].to_pylist() == ["apple", "apricot"]
        assert (
            "wrote 1 frame"
            in run("query", "food", "*", "-n", 1, "--parquet", tmp_path / "one.parquet").stderr
        )

    def test_what_excludes_each_other(self, tmp_path):
        assert "exclude each other" in run("query", "food", "*", "--csv", "--json", status=2).stderr
        assert "exclude each other" in run("query", "food", "*", "--count", "--by", "id", status=2).stderr
        assert "--order-by" in run("query", "food", "*", "--count", "--order-by", "id", status=2).stderr
        assert "did you mean 'rois.label'" in run("query", "food", "*", "--by", "roi.label", status=2).stderr

    def test_a_wrong_query_says_where(self):
        refused = run("query", "food", "roi.label:cat", status=2).stderr
        assert "line 1, column 1" in refused
        assert "did you mean 'rois.label'?" in refused


class TestShortIds:
    def test_a_unique_beginning_is_enough(self, version):
        assert version.find_frame_id("app") == "apple"
        assert version.find_frame_id("apple") == "apple"
        assert version.find_frame_id(HEX[1][:31]) == HEX[1]

    def test_an_ambiguous_one_lists_the_frames(self, version):
        with pytest.raises(ConflictError, match="'ap': apple, apricot"):
            version.find_frame_id("ap")
        with pytest.raises(ConflictError, match=f"{HEX[0]}, {HEX[1]}"):
            version.find_frame_id("abababab")

    def test_a_digest_that_begins_alike_is_no_id(self, version):
        with pytest.raises(NotFoundError, match="none whose id begins with it"):
            version.find_frame_id(frame_key("apple").hex()[:10])

    def test_a_deleted_frame_is_found_only_when_asked_for(self, version):
        for given, whole in (("go", "gone"), (HEX[2][:8], HEX[2])):
            with pytest.raises(NotFoundError):
                version.find_frame_id(given)
            assert version.find_frame_id(given, deleted=True) == whole
            assert version.find_frame_id(given, as_of=10) == whole

    def test_commands_take_them(self, home):
        assert run_json("show", "food", "app")["id"] == "apple"
        assert json.loads(run("blame", "food", "apri", "--json").stdout)["frame_id"] == "apricot"
        assert [each["kind"] for each in lines("history", "food", "go")] == ["added", "deleted"]
        assert "apple, apricot" in run("show", "food", "ap", status=5).stderr
        assert home.exists()


@pytest.mark.usefixtures("home")
class TestLimits:
    @pytest.mark.parametrize(
        ("command", "more"),
        [
            ("ls", "1 more dataset"),
            ("ls food", "1 more version"),
            ("log food", "more lines"),
            ("history food", "more changes"),
            ("store ls", "2 more stores"),
            ("store ls s", "2 more keys"),
            ("store history s", "more changes"),
        ],
    )
    def test_a_line_on_stderr_says_how_many_more_there_are(self, command, more):
        for store, key in (("s", "a"), ("s", "b"), ("t", "c")):
            run("store", "set", store, key, "1")
        limit = 1 if command == "ls" else 0
        done = run(*command.split(), "--limit", limit)
        assert more in done.stderr
        assert "--limit" not in run(*command.split(), "--limit", 1000).stderr

    def test_names_of_a_diff(self):
        done = run("diff", "food", "--since", 4, "--names", "-n", 1)
        assert done.stdout.count("\n+ ") == 1
        assert "and 3 more frames" in done.stderr
        assert "--limit requires --names" in run("diff", "food", "--since", 4, "-n", 1, status=2).stderr


@pytest.mark.usefixtures("home")
def test_points_in_time_as_people_write_them():
    assert run_json("ls", "--as-of", "1 minute ago") == {"datasets": []}
    assert run_json("ls", "--as-of", "2020-01-01") == {"datasets": []}
    assert len(run_json("ls", "--as-of", "now")["datasets"]) == 2
    assert len(run_json("ls", "--as-of", "today")["datasets"]) == 2
    assert "2 days ago" in run("ls", "--as-of", "last week", status=2).stderr
    assert lines("log", "--since", "2 days ago")
    assert lines("log", "--until", "2 days ago") == []
