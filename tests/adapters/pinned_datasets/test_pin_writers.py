"""Many write at once and none is lost; who is killed leaves each file as it was or as it was to be."""

from __future__ import annotations

from threading import Thread

import pytest
from forked import Program
from patience import join
from ruamel.yaml import YAML

from framelode.adapters.pinned_datasets.datasets import Datasets


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "file").write_text("hello")
    (tmp_path / "project" / "dvc.yaml").write_text("# ours\nstages:\n  a:\n    cmd: echo   # said\n")
    return tmp_path / "project"


def writer(project, place, *names):
    return Program("pin_writer", project, "../file", place, *names)


def load(path):
    return YAML(typ="safe", pure=True).load(path.read_text())


class TestAtOnce:
    def test_processes(self, project):
        names = [[f"p{process}n{number}" for number in range(5)] for process in range(4)]
        processes = [writer(project, "nowhere", *each, f"~{each[0]}") for each in names]
        assert [process.communicate()[0] for process in processes] == ["done\n"] * 4
        expected = {name for each in names for name in each}
        for file in ("dvc.yaml", "dvc.lock"):
            assert {each["name"] for each in load(project / file)["datasets"]} == expected
        assert load(project / "dvc.yaml")["stages"] == {"a": {"cmd": "echo"}}
        assert (
            (project / "dvc.yaml").read_text().startswith("# ours\nstages:\n  a:\n    cmd: echo   # said\n")
        )
        with Datasets(project) as datasets:
            assert [change.kind for change in datasets.history()] == ["added"] * 20
            assert set(datasets.at(20)) == expected
            assert set(datasets.status().values()) == {"ok"}
            datasets.engine.verify()

    def test_threads_that_open_the_project_all_the_while(self, project, tmp_path):
        failures = []

        def write(number):
            try:
                with Datasets(project) as datasets:
                    datasets.add(f"n{number}", "../file", "url")
                    datasets.update(f"n{number}")
            except Exception as error:
                failures.append(error)

        threads = [Thread(target=write, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        join(*threads)
        assert failures == []
        with Datasets(project) as datasets:
            assert sorted(datasets) == [f"n{number}" for number in range(6)]
            assert [change.kind for change in datasets.history()] == ["added"] * 6

    def test_a_spec_that_is_edited_meanwhile_is_kept(self, project, tmp_path):
        (tmp_path / "other").write_text("other")
        manifest = project / "dvc.yaml"
        with Datasets(project) as datasets:
            datasets.add("a", "../file", "url")
            (tmp_path / "file").write_text("moved")
            (tmp_path / "folder").mkdir()
            for name in "ab":
                (tmp_path / "folder" / name).write_text(name)
            manifest.write_text(manifest.read_text().replace("../file", "../folder"))
            text = manifest.read_text()

            def edit_once(done, total):
                if "../folder" in manifest.read_text():
                    manifest.write_text(text.replace("../folder", "../other"))

            _, new = datasets.update("a", callback=edit_once)
            assert (new.spec.url, new.lock.meta.size) == ("../other", 5)
            assert datasets["a"] == new


KILLED = {
    "before the rename": ([], ["added"]),
    "between the files": (["a"], ["observed"]),
    "before the event": (["a"], ["observed"]),
    "after the event": (["a"], ["added"]),
}


class TestKilled:
    @pytest.mark.parametrize("place", KILLED)
    def test_anywhere(self, project, place):
        before = (project / "dvc.yaml").read_bytes()
        process = writer(project, place, "a")
        assert process.stdout.readline() == "reached\n"
        process.kill()
        process.communicate()
        names, kinds = KILLED[place]
        text = (project / "dvc.yaml").read_bytes()
        assert text.startswith(before)
        assert (text == before) == (not names)
        with Datasets(project) as datasets:
            assert list(datasets) == names
            if place == "between the files":
                assert datasets.status() == {"a": "missing"}
                datasets.update("a")
                kinds = [*kinds, "locked"]
            elif not names:
                datasets.add("a", "../file", "url")
            assert [change.kind for change in datasets.history()] == kinds
            assert datasets.status() == {"a": "ok"}
            assert datasets.history()[-1].after["lock"] == datasets["a"].lock.to_dict()
            datasets.engine.verify()
        assert len(load(project / "dvc.yaml")["datasets"]) == 1
        left = {path.name for folder in (project, project / ".framelode") for path in folder.iterdir()}
        assert not [name for name in left if name.startswith((".dvc.yaml", ".dvc.lock"))]
