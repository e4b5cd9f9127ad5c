"""Hostile names and tags, several processes at once, and processes that are killed in the middle of their work."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import lake_files
import pytest
from forked import Program
from PIL import Image
from sizes import sized

import framelode
from framelode.adapters.datalake import Client, ErrorManager
from framelode.adapters.datalake.exceptions import NoDataError, ResourceNotFoundError

FILES = 20
"""Files of a test with processes: three parts."""

NAMES = (
    "a b.png",
    "-rf.png",
    "..png",
    "...",
    "no extension",
    "'; drop table data; --.png",
    '"quoted" \\ back.png',
    "new\nline\ttab.png",
    "\x01\x02\x1b[31m.png",
    "e\u0301 \u202e gnp.exe",
    "\U0001f600.png",
    "%00 a%2Fb %s {0} {x}.png",
    "C:\\windows\\x.png",
    "*?[a]#&=.png",
    "x" * 251 + ".png",
)


def picture(path, shade=0):
    Image.new("L", (8, 8), shade).save(path, "png")
    return path


class TestNames:
    def test_files_of_any_name_are_stored_found_and_downloaded(self, engine, tmp_path):
        folder = tmp_path / "in"
        folder.mkdir()
        paths = [picture(folder / name, shade) for shade, name in enumerate(NAMES)]
        lake = Client(engine=engine).get_datalake()
        uploaded = lake.upload_data(paths, tags=["odd"])
        assert [data.filename for data in uploaded] == list(NAMES)
        for name, data in zip(NAMES, uploaded, strict=True):
            assert lake.find_data(filename=name) == data
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            if "\1" not in name:
                assert lake.list_data(q=f'filename = "{quoted}"') == [data]
                assert data in lake.list_data(
                    q=f'filename ~ "{quoted[:60]}"' if "\\" not in name else "width = 8"
                )
        target = tmp_path / "out"
        copies = uploaded.download(target)
        assert sorted(target.iterdir()) == sorted(copies)
        assert [copy.read_bytes() for copy in copies] == [path.read_bytes() for path in paths]
        assert all(copy.parent == target for copy in copies)
        assert not any(part in {"", ".", ".."} for data in uploaded for part in data.object_name.split("/"))

    def test_a_name_that_is_no_text_is_stored_with_escapes(self, engine, tmp_path):
        path = picture(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png")))
        data = Client(engine=engine).get_datalake().upload_data(path)
        data.filename.encode()
        assert data.download(tmp_path / "out").read_bytes() == path.read_bytes()

    def test_an_impossible_path_is_one_error_beside_the_others(self, engine, tmp_path):
        errors = ErrorManager()
        lake = Client(engine=engine).get_datalake()
        paths = ["a\0b.png", "\ud800.png", "x" * 5000, "", "/dev/null/x.png"]
        for path in paths:
            uploaded = lake.upload_data([picture(tmp_path / "good.png"), path], error_manager=errors)
            assert [data.filename for data in uploaded] == ["good.png"]
        assert [error.path for error in errors.errors] == paths

    def test_pipes_and_devices_are_not_read(self, engine, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        errors = ErrorManager()
        lake = Client(engine=engine).get_datalake()
        given = [picture(tmp_path / "good.png"), tmp_path / "pipe.png", Path("/dev/zero"), tmp_path]
        assert len(lake.upload_data(given, error_manager=errors)) == 1
        assert [error.path for error in errors.errors] == given[1:]


class TestTags:
    def test_an_impossible_tag_is_refused_and_nothing_is_uploaded(self, engine, tmp_path):
        lake = Client(engine=engine).get_datalake()
        before = engine.log.head().position
        for name in ("", " ", "a\0b", "\ud800", "x" * 1_000_000, 5, b"a", ["a"]):
            with pytest.raises((ValueError, TypeError)):
                lake.create_data_tag(name)
            with pytest.raises((ValueError, TypeError)):
                lake.upload_data(picture(tmp_path / "a.png"), tags=["good", name])
        with pytest.raises(TypeError):
            lake.create_data_tag(None)
        assert engine.log.head().position == before

    def test_tags_of_odd_names_are_told_apart(self, engine, tmp_path):
        names = [
            "a",
            "A",
            "a ",
            "á",
            "a\u0301",
            "%",
            "_",
            "*",
            "'",
            '"',
            "\\",
            "a'; --",
            "None",
            "\1",
            "\2",
            "\na",
            "\U0001f600",
        ]
        lake = Client(engine=engine).get_datalake()
        data = lake.upload_data(picture(tmp_path / "a.png"), tags=names)
        assert [tag.name for tag in lake.list_data_tags()] == names
        assert sorted(tag.name for tag in data.get_tags()) == sorted(names)
        for name in names:
            assert lake.list_data(tags=name) == [data]
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            if name not in {"\1", "\2"}:
                assert lake.list_data(q=f'tags.name = "{quoted}"') == [data]
        with pytest.raises(ResourceNotFoundError):
            lake.list_data(tags="b")
        data.remove_tags(list(map(lake.get_data_tag, names)))
        with pytest.raises(NoDataError):
            lake.list_data(tags="%")

    @pytest.mark.sized
    def test_thousands_of_tags(self, engine, tmp_path):
        names = [f"tag {number}" for number in range(sized(2_000, 10_000))]
        lake = Client(engine=engine).get_datalake()
        data = lake.upload_data([picture(tmp_path / "a.png"), picture(tmp_path / "b.png")], tags=names)
        assert [tag.name for tag in lake.list_data_tags()] == names
        assert len(data[1].get_tags()) == len(names)
        assert len(lake.list_data(tags=names, intersect_tags=False)) == 2
        assert len(lake.list_data(tags=names[:50], intersect_tags=True)) == 2
        data[0].remove_tags(names[1:])
        assert [tag.name for tag in data[0].get_tags()] == names[:1]
        assert lake.list_data(tags=names[1:]) == [data[1]]
        assert lake.list_data(q="tags.name in ('tag 1999', 'tag 5')") == [data[1]]

    def test_metadata_of_any_json(self, engine, tmp_path):
        odd = {
            "": 1,
            "a.b": "x",
            "$": {"$datetime": "x", "y": []},
            "deep": [[[{"k": [None, True, 1e300, -0.0]}]]],
            "\u202e": "'\"\\",
        }
        lake = Client(engine=engine).get_datalake()
        data = lake.upload_data(picture(tmp_path / "a.png"), custom_metadata=odd)
        assert data.custom_metadata == odd
        assert lake.list_data(q="custom_metadata.deep.k = True and custom_metadata.deep.k > 1e299") == [data]
        assert lake.list_data(q="custom_metadata.a.b = 'x'") == [data]

    def test_metadata_that_is_no_json_is_refused(self, engine, tmp_path):
        lake = Client(engine=engine).get_datalake()
        nested = []
        for _ in range(10_000):
            nested = [nested]
        for value in (float("nan"), 2**64, "\ud800", object(), {1: 2}, b"x", nested):
            with pytest.raises((ValueError, TypeError)):
                lake.upload_data(picture(tmp_path / "a.png"), custom_metadata={"a": value})


@pytest.fixture
def folder(tmp_path):
    """A folder of pictures, all different."""
    (tmp_path / "in").mkdir()
    for number in range(FILES):
        picture(tmp_path / "in" / f"{number:03}.png", number)
    return tmp_path / "in"


def start(*arguments):
    return Program("killed_lake", *arguments)


def finished(process):
    """Let a process go on, and return what it printed at last."""
    said, _ = process.communicate("go\n")
    assert process.returncode == 0, said
    return json.loads(said.splitlines()[-1])


def killed(*arguments):
    """Run a process until it is killed."""
    process = start(*arguments)
    process.communicate("go\n")
    assert process.returncode == -9


class TestProcesses:
    @pytest.mark.parametrize("place", ["file", "postgres"])
    def test_two_processes_upload_the_same_at_once(self, request, tmp_path, folder, place):
        postgres = place == "postgres"
        url = request.getfixturevalue("postgres_url") if postgres else tmp_path / "engine"
        processes = [start("upload", url, folder) for _ in range(2)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        ids = [each for process in processes for each in finished(process)]
        assert len(set(ids)) == 2 * FILES
        with framelode.connect(url, **({"blobs": tmp_path / "blobs"} if postgres else {})) as engine:
            lake = Client(engine=engine).get_datalake()
            assert {str(each.id) for each in lake.list_data()} == set(ids)
            assert set(Counter(each.filename for each in lake.list_data()).values()) == {2}
            assert len({each.digest for each in lake.list_data()}) == FILES
            assert [tag.name for tag in lake.list_data_tags()] == ["blood", "train"]
            assert [source.name for source in Client(engine=engine).list_datasources()] == ["camera"]
            assert len(lake.list_data(tags=["blood", "train"], intersect_tags=True)) == 2 * FILES
            lake_files.require_whole(engine)
            engine.close()

    @pytest.mark.parametrize("step", ["before:1", "after:2", "before:3"])
    def test_an_upload_that_was_killed_is_finished_by_the_next(self, tmp_path, folder, step):
        killed("upload", tmp_path / "engine", folder, step)
        with framelode.connect(tmp_path / "engine") as engine:
            lake = Client(engine=engine).get_datalake()
            left = list_of(lake)
            assert len(left) % 8 == 0
            assert all(each.open().read() == (folder / each.filename).read_bytes() for each in left)
            lake_files.require_whole(engine)
            engine.close()
        ids = finished(start("upload", tmp_path / "engine", folder))
        with framelode.connect(tmp_path / "engine") as engine:
            lake = Client(engine=engine).get_datalake()
            assert [str(each.id) for each in lake.list_data(order_by=["filename"])] == ids
            assert [each.filename for each in lake.list_data()] == [
                path.name for path in sorted(folder.iterdir())
            ]
            assert {each.id for each in left} <= {each.id for each in lake.list_data()}
            assert len(lake.list_data(tags=["blood", "train"], intersect_tags=True)) == FILES
            lake_files.require_whole(engine)
            engine.close()

    @pytest.mark.parametrize("step", ["after:2", "after:5"])
    def test_an_import_that_was_killed_has_failed_and_the_next_registers_the_rest(
        self, tmp_path, folder, step
    ):
        killed("import", tmp_path / "engine", folder, step)
        with framelode.connect(tmp_path / "engine") as engine:
            client = Client(engine=engine)
            lake = client.get_datalake()
            (job,) = client.list_jobs()
            assert (job.status, job.wait_for_done(0, 1)) == ("FAILED", "FAILED")
            assert "process" in job.error
            left = list_of(lake)
            again = lake.import_bucket_objects([""], tags=["blood"])
            assert again.wait_for_done(0.02, 10_000) == "SUCCEEDED"
            assert again.result["known"] == len(left)
            assert again.result["registered"] == FILES - len(left)
            found = {each.filename for each in lake.list_data(tags="blood")}
            assert found == {path.name for path in folder.iterdir()}
            assert not list((tmp_path / "engine").rglob("blobs/??"))
            lake_files.require_whole(engine)
            engine.close()

    def test_a_processing_that_was_killed_has_failed_and_the_next_does_the_rest(self, tmp_path, folder):
        finished(start("upload", tmp_path / "engine", folder))
        killed("process", tmp_path / "engine", folder, "after:5")
        with framelode.connect(tmp_path / "engine", read_only=True) as engine:
            assert [job.status for job in Client(engine=engine).list_jobs()] == ["FAILED"]
            engine.close()
        with framelode.connect(tmp_path / "engine") as engine:
            (job,) = Client(engine=engine).list_jobs()
            assert job.status == "FAILED"
            assert "process" in job.error
            engine.close()
        assert finished(start("process", tmp_path / "engine", folder)) == "SUCCEEDED"
        with framelode.connect(tmp_path / "engine") as engine:
            assert len(Client(engine=engine).get_datalake().list_data(tags="seen")) == FILES
            lake_files.require_whole(engine)
            engine.close()


def list_of(lake):
    try:
        return list(lake.list_data())
    except NoDataError:
        return []
