"""Each dataset stands alone, and what DVC would not read is not read."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from command_line import run
from git_repository import GitRepository

from framelode.adapters.pinned_datasets.datasets import Datasets
from framelode.adapters.pinned_datasets.discovery import ManifestFinder
from framelode.engine.errors import ConflictError, FramelodeError, InvalidValueError, UsageError

GOOD = "datasets:\n- name: {name}\n  url: files\n  type: url\n"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "files").mkdir()
    (tmp_path / "project" / "files" / "a").write_text("a")
    return tmp_path / "project"


def write(project, **files):
    for name, text in files.items():
        path = project / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


BROKEN_ENTRIES = {
    "no type": "{name: bad, url: x}",
    "unknown type": "{name: bad, url: x, type: no}",
    "number": "{name: bad, url: 5, type: url}",
    "parameter": "{name: bad, url: '${none}', type: url}",
    "key": "{name: bad, url: x, type: dvc, rev: [a]}",
}


@pytest.mark.parametrize("entry", BROKEN_ENTRIES.values(), ids=BROKEN_ENTRIES)
def test_an_entry_that_cannot_be_read_leaves_the_others(project, entry):
    write(project, dvc_dot_yaml=f"# ours\ndatasets:\n- {entry}\n- {{name: good, url: files, type: url}}\n")
    with Datasets(project) as datasets:
        assert list(datasets) == ["good"]
        assert list(datasets.problems) == ["bad"]
        with pytest.raises(FramelodeError, match=r"dvc.yaml:3:3: "):
            datasets["bad"]
        assert datasets.status() == {"good": "missing", "bad": "unreadable"}
        assert datasets.update("good")[1].lock.meta.nfiles == 1
        assert datasets.add("more", "files/a", "url").lock.meta.size == 1
        assert datasets.status() == {"good": "ok", "more": "ok", "bad": "unreadable"}
        with pytest.raises(FramelodeError, match=r"dvc.yaml:3:3: "):
            datasets.add("bad", "files", "url", force=True)
        assert f"- {entry}\n" in (project / "dvc.yaml").read_text()


def test_an_entry_without_a_name_leaves_the_others(project):
    write(
        project,
        dvc_dot_yaml="datasets:\n- files\n- {url: x, type: url}\n- {name: good, url: files, type: url}\n",
    )
    write(project, dvc_dot_lock="schema: '2.0'\ndatasets:\n- what\n- {url: x}\n")
    with Datasets(project) as datasets:
        assert list(datasets) == ["good"]
        assert [place.rpartition("/")[2] for place in datasets.problems] == ["dvc.yaml:2:3", "dvc.yaml:3:3"]
        datasets.update("good")
        assert datasets.status("good") == {"good": "ok"}


def test_a_lock_that_cannot_be_read_leaves_the_others(project):
    write(
        project,
        dvc_dot_yaml="datasets:\n- {name: bad, url: x, type: url}\n- {name: good, url: files, type: url}\n",
    )
    write(
        project, dvc_dot_lock="schema: '2.0'\ndatasets:\n- {name: bad, url: x, type: url, meta: {size: x}}\n"
    )
    with Datasets(project) as datasets:
        datasets.update("good")
        assert datasets.status() == {"good": "ok", "bad": "unreadable"}
        assert "size must be an integer" in str(datasets.problems["bad"])


def test_a_source_that_cannot_be_read_leaves_the_others(project):
    datasets_ = ("{name: scheme, url: 'nothing://x', type: url}", "{name: good, url: files, type: url}")
    write(project, dvc_dot_yaml="datasets:\n" + "".join(f"- {each}\n" for each in datasets_))
    write(
        project,
        dvc_dot_lock="schema: '2.0'\ndatasets:\n- {name: scheme, url: 'nothing://x', type: url, meta: {size: 1}}\n",
    )
    with Datasets(project) as datasets:
        datasets.update("good")
        assert datasets.status() == {"scheme": "unreadable", "good": "ok"}
        assert "nothing" in str(datasets.problems["scheme"])
    done = run("pin", "status", "--json", "--folder", project, status=UsageError.exit_status)
    views = json.loads(done.stdout)["datasets"]
    assert {view["name"]: view["status"] for view in views} == {"scheme": "unreadable", "good": "ok"}
    assert "scheme: " in done.stderr


def test_one_name_twice_leaves_the_others(project):
    write(project, dvc_dot_yaml=GOOD.format(name="two") + "- {name: good, url: files, type: url}\n")
    write(project, sub__dvc_dot_yaml=GOOD.format(name="two"))
    with Datasets(project) as datasets:
        assert list(datasets) == ["good"]
        with pytest.raises(ConflictError, match="rename one"):
            datasets["two"]


def test_a_broken_file_leaves_the_others_and_their_records(project):
    write(project, dvc_dot_yaml=GOOD.format(name="one"), sub__dvc_dot_yaml=GOOD.format(name="two"))
    with Datasets(project) as datasets:
        datasets.update("one")
        datasets.update("two")
        whole = (project / "sub" / "dvc.yaml").read_text()
        (project / "sub" / "dvc.yaml").write_text(f"{whole}<<<<<<< HEAD\n")
        assert list(datasets) == ["one"]
        assert list(datasets.problems) == ["sub/dvc.yaml"]
        assert datasets.status() == {"one": "ok"}
        with pytest.raises(InvalidValueError, match=r"sub/dvc.yaml:\d+:1: "):
            datasets["two"]
        (project / "sub" / "dvc.yaml").write_text(whole)
        assert list(datasets) == ["one", "two"]
        assert [change.kind for change in datasets.history("two")] == ["observed", "locked"]


def test_a_parameter_file_that_was_broken_is_read_again(project):
    write(
        project, dvc_dot_yaml="datasets:\n- {name: a, url: '${url}', type: url}\n", params_dot_yaml="url: [\n"
    )
    with Datasets(project) as datasets:
        with pytest.raises(InvalidValueError, match="params.yaml"):
            datasets["a"]
        (project / "params.yaml").write_text("url: files\n")
        assert datasets["a"].spec.url == "files"


IGNORED = {
    "a folder in .gitignore": {"_dot_gitignore": "copies/\n"},
    "a file in .gitignore": {"_dot_gitignore": "/copies/*.yaml\n"},
    "an inner .gitignore": {"copies___dot_gitignore": "*\n"},
    "the rules of this clone": {"_dot_git__info__exclude": "copies\n"},
    "a folder in .dvcignore": {"_dot_dvcignore": "copies\n"},
    "an inner .dvcignore": {"copies___dot_dvcignore": "dvc.yaml\n"},
    "an output of a stage": {"dvc_dot_yaml": "stages:\n  a:\n    cmd: x\n    outs: [copies]\n"},
    "an output with settings": {
        "dvc_dot_yaml": "stages:\n  a:\n    cmd: x\n    wdir: sub\n    outs:\n    - ../copies/: {cache: false}\n"
    },
    "an output with a parameter": {
        "dvc_dot_yaml": "vars:\n- where: copies\nstages:\n  a:\n    cmd: x\n    outs: ['${where}']\n"
    },
    "an output of a loop": {
        "dvc_dot_yaml": "stages:\n  a:\n    foreach: [x, copies]\n    do:\n      cmd: x\n      outs: ['${item}']\n"
    },
    "an output of a matrix": {
        "dvc_dot_yaml": "stages:\n  a:\n    matrix: {n: [co, x]}\n    cmd: x\n    outs: ['${item.n}pies']\n"
    },
    "data tracked by DVC": {"copies_dot_dvc": "outs:\n- path: copies\n"},
}  # fmt: skip
READ = {
    "a rule that is taken back": {"_dot_gitignore": "*.yaml\n!dvc.yaml\n"},
    "a rule for another folder": {"_dot_gitignore": "/other/copies\n"},
    "a comment": {"_dot_gitignore": "# copies\n", "_dot_dvcignore": "\n"},
    "an output beside it": {"dvc_dot_yaml": "stages:\n  a:\n    cmd: x\n    outs: [copies/out]\n"},
}


def placed(project, files):
    repository = GitRepository(project / "repository")
    write(repository.folder, copies__dvc_dot_yaml=GOOD.format(name="copy"), **files)
    (repository.folder / ".dvc").mkdir()
    return repository.folder


@pytest.mark.parametrize("files", IGNORED.values(), ids=IGNORED)
def test_what_dvc_ignores_is_not_read(project, files):
    folder = placed(project, files)
    (folder / "copies" / "dvc.yaml").write_text("datasets: [{\n")
    with Datasets(folder) as datasets:
        assert list(datasets) == []
        assert datasets.problems == {}


@pytest.mark.parametrize("files", READ.values(), ids=READ)
def test_what_dvc_does_not_ignore_is_read(project, files):
    with Datasets(placed(project, files)) as datasets:
        assert list(datasets) == ["copy"]


@pytest.mark.parametrize("name", ["_dot_gitignore", "_dot_dvcignore"])
def test_a_manifest_that_becomes_ignored_has_no_datasets(project, name):
    folder = placed(project, {})
    with Datasets(folder) as datasets:
        datasets.add("root", str(project / "files"), "url")
        assert list(datasets) == ["copy", "root"]
        write(folder, **{name: "copies/\n"})
        assert list(datasets) == ["root"]
        assert datasets.history("copy")[-1].after is None
        assert len(datasets.history("copy")) == 2
        with pytest.raises(InvalidValueError, match="copies/dvc.yaml is ignored by git or DVC"):
            datasets.add("new", str(project / "files"), "url", "copies/dvc.yaml")
        (folder / name.replace("_dot_", ".")).unlink()
        assert list(datasets) == ["copy", "root"]


COLLECT = """
import sys
from dvc.repo import Repo
for folder in sys.argv[1:]:
    with Repo(folder) as repo:
        print(sorted(repo.datasets))
"""


def test_dvc_reads_the_same_manifests(project):
    """The real DVC, on all cases in one process."""
    folders = []
    for number, files in enumerate((*IGNORED.values(), *READ.values())):
        folders.append(placed(project / str(number), files))
        (folders[-1] / "sub").mkdir(exist_ok=True)
        (folders[-1] / ".dvc" / "config").touch()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COLLECT, *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()
    assert found == ["[]"] * len(IGNORED) + ["['copy']"] * len(READ)
    for folder, listed in zip(folders, found, strict=True):
        ours = [path for path in ManifestFinder(folder).manifests() if path.parent.name == "copies"]
        assert bool(ours) == (listed != "[]"), folder


def test_a_remote_of_the_configuration_of_dvc(project):
    write(
        project,
        _dot_dvc__config="[core]\n    remote = store\n['remote \"store\"']\n    url = ../files\n",
        _dot_dvc__config_dot_local="['remote \"inner\"']\n    url = remote://store/inner\n",
        files__inner__b="bb",
    )
    with Datasets(project) as datasets:
        assert datasets.add("a", "remote://store/a", "url").lock.meta.size == 1
        assert datasets.add("b", "remote://inner", "url").lock.meta.nfiles == 1
        assert datasets.status() == {"a": "ok", "b": "ok"}
        with pytest.raises(UsageError, match="has no URL of a remote 'none'"):
            datasets.add("c", "remote://none/a", "url")
