"""Values beyond what a command can take, and the VOC folder of the demo."""

from __future__ import annotations

import pytest
from command_line import run, run_json

import framelode


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", ["verify", "rebuild", "scrub"])
@pytest.mark.parametrize("workers", ["1000000000", "0", "-1"])
def test_a_number_of_workers_that_no_machine_has_is_refused(command, workers):
    run("init")
    assert workers in run(command, "--workers", workers, status=2).stderr


@pytest.mark.parametrize("form", ['"one"', "1.5", "true", "[1]", "-1", "0", "9" * 30])
def test_a_format_that_is_no_version_is_refused(form, tmp_path):
    run("init")
    settings = tmp_path / ".framelode" / "framelode.toml"
    settings.write_text(settings.read_text().replace("format = 1", f"format = {form}"))
    line = run("ls", status=2).stderr
    assert str(settings) in line
    assert "format" in line
    with pytest.raises(framelode.UsageError, match="format"):
        framelode.connect(tmp_path / ".framelode")


class TestVocFolder:
    def test_it_can_be_imported_as_it_is(self, tmp_path):
        from PIL import Image

        done = run("demo", "--voc", "street")
        command = done.stdout.splitlines()[-1]
        assert command == "framelode import voc street --dataset street"
        run("init")
        found = run_json(*command.split()[1:])
        assert (found["frames"], found["added"], found["problems"]) == (12, 12, [])
        assert f"with {found['annotations']} boxes" in done.stdout
        assert {each["name"] for each in run_json("stats", "street")["version"]["stats"]["labels"]} == {
            "bicycle",
            "car",
            "person",
        }
        with framelode.connect(".framelode") as engine:
            for frame in engine.dataset("street").get_version():
                with Image.open(frame.get_local_source()) as picture:
                    assert picture.size == (frame.width, frame.height) == (160, 120)
            engine.close()

    def test_it_is_the_same_every_time(self, tmp_path):
        assert run("demo", "--voc", "one").stdout.startswith("Wrote 12 pictures")
        run("demo", "--voc", "two")
        assert run("demo", "--voc", "one").stdout.startswith("Found 12 pictures")
        one, two = (
            {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
            for folder in (tmp_path / "one", tmp_path / "two")
        )
        assert one == two

    def test_it_needs_an_empty_folder(self, tmp_path):
        assert "--voc requires FOLDER" in run("demo", "--voc", status=2).stderr
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "mine").write_text("mine")
        assert "is not empty: give a new or empty folder\n" in run("demo", "--voc", "full", status=2).stderr
