"""Files interchange with the real DVC: it reads what we wrote, and we read what it wrote."""

from __future__ import annotations

import hashlib
import shutil

import pytest
from dvc_project import read_datasets, run_dvc
from git_repository import GitRepository
from plain_web import web
from ruamel.yaml import YAML

import framelode
from framelode.adapters.pinned_datasets.datasets import Datasets
from framelode.adapters.pinned_datasets.records import DVCDatasetLock, Meta, URLDatasetLock


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    repository = GitRepository(tmp_path_factory.mktemp("git") / "source")
    repository.first = repository.commit(data__a="1")
    repository.git("tag", "v1")
    repository.second = repository.commit(data__a="2")
    return repository


@pytest.fixture(scope="module")
def initialised(tmp_path_factory):
    repository = GitRepository(tmp_path_factory.mktemp("dvc") / "project")
    run_dvc(repository.folder, "init", "-q")
    return repository.folder


@pytest.fixture
def project(tmp_path, initialised):
    return shutil.copytree(initialised, tmp_path / "project")


@pytest.fixture
def datasets(project):
    with Datasets(project) as made:
        yield made


def plain(dataset):
    return {
        "type": dataset.type,
        "spec": dataset.spec.to_dict(),
        "lock": dataset.lock and dataset.lock.to_dict(),
        "invalidated": dataset._invalidated,
        "manifest": "dvc.yaml",
    }


def test_dvc_reads_what_we_wrote(datasets, project, source, tmp_path):
    (tmp_path / "files").mkdir()
    for name in ("é b", "0123", "it's", "true", "x: y"):
        (tmp_path / "files" / name).write_text(name)
    (project / "params.yaml").write_text("where: {rev: [v0, v1]}\n")
    parametrized = f"- name: parametrized\n  url: {source.folder}\n  type: dvc\n  rev: ${{where.rev[1]}}\n"
    (project / "dvc.yaml").write_text(f"# ours\nstages:\n  a:\n    cmd: echo\ndatasets:\n{parametrized}")
    datasets.update("parametrized")
    datasets.add("git", str(source.folder), "dvc", path="data", rev="v1")
    datasets.add("folder", "../files", "url")
    datasets.add("0x10", "../files/true", "url")
    with datasets.engine:
        framelode.DatasetVersion.create_new_dataset("food")
        framelode.DatasetVersion.get_current(dataset_name="food").publish_version()
    datasets.add("ours", "framelode://food", "dc")
    with web(a=(b"a", '"e"')) as (url, _):
        datasets.add("web", f"{url}/a", "url")
    datasets.add("edited", "../files/0123", "url")
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace("../files/0123", "../files/é b"))
    assert datasets["edited"]._invalidated
    assert datasets["web"].lock.meta == Meta(size=1, checksum='"e"')
    found = read_datasets(project)
    assert found == {name: plain(dataset) for name, dataset in datasets.items()}
    assert found["parametrized"]["lock"]["rev_lock"] == source.first


def test_we_read_what_dvc_wrote(datasets, project, source, tmp_path):
    (tmp_path / "file").write_text("hello")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("a")
    run_dvc(project, "ds", "add", "git", "--dvc", source.folder, "--rev", "v1", "--path", "data")
    run_dvc(project, "ds", "add", "file", "--url", "../file")
    run_dvc(project, "ds", "add", "folder", "--url", "../folder")
    read = {name: plain(dataset) for name, dataset in datasets.items()}
    found = read_datasets(project)
    for known in found.values():
        # What only this machine knows is left out.
        known["lock"].get("meta", {}).pop("inode", None)
    assert read == found
    assert isinstance(datasets["git"].lock, DVCDatasetLock)
    assert isinstance(datasets["file"].lock, URLDatasetLock)
    assert [change.kind for change in datasets.history()] == ["observed"] * 3
    assert datasets.status() == {"git": "ok", "file": "ok", "folder": "ok"}

    locked = (project / "dvc.lock").read_bytes()
    assert datasets.update("file")[1].lock.meta.mtime is not None
    assert (project / "dvc.lock").read_bytes() == locked
    (tmp_path / "file").write_text("olleh")
    assert datasets.status("file") == {"file": "stale"}
    _, new = datasets.update("file")
    assert new.lock.meta == Meta(size=5, md5=hashlib.md5(b"olleh").hexdigest())
    old, new = datasets.update("git", rev="main")
    assert (old.lock.rev_lock, new.lock.rev_lock) == (source.first, source.second)
    assert read_datasets(project)["git"] == plain(new)

    run_dvc(project, "ds", "update", "git", "--rev", "v1")
    assert datasets["git"].lock.rev_lock == source.first
    assert [change.kind for change in datasets.history("git")] == ["observed", "updated", "observed"]


@pytest.mark.long
def test_what_dvc_keeps_of_other_tools_stays(datasets, project, source, tmp_path):
    """Its stages and their locks live in the same files."""
    run_dvc(project, "stage", "add", "-n", "make", "-o", "out", "echo 1 > out")
    run_dvc(project, "repro", "-q")
    before = YAML(typ="safe", pure=True).load((project / "dvc.lock").read_text())
    text = (project / "dvc.lock").read_text()
    datasets.add("git", str(source.folder), "dvc")
    after = (project / "dvc.lock").read_text()
    assert after.startswith(text)
    assert YAML(typ="safe", pure=True).load(after)["stages"] == before["stages"]
    assert "up to date" in run_dvc(project, "repro")
    assert list(read_datasets(project)) == ["git"]


def test_a_command_of_dvc_that_holds_its_lock_is_waited_for(datasets, project, tmp_path):
    """What locks its repository finds that we have it, and we wait while it has it."""
    import fcntl

    from framelode.engine.errors import StorageError

    (tmp_path / "file").write_text("hello")
    lock = project / ".dvc" / "tmp" / "lock"
    lock.touch()
    with lock.open("r+") as held, Datasets(project, timeout=0.2) as hasty:
        # As zc.lockfile takes it, which DVC uses.
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(StorageError, match="dvc.yaml is locked by another process"):
            hasty.add("file", "../file", "url")
        assert not (project / "dvc.yaml").exists()
        with (project / ".dvc" / "config").open("a") as config:
            config.write("[core]\n    hardlink_lock = true\n")
        hasty.add("other", "../file", "url")
    (project / ".dvc" / "config").write_text("")
    assert datasets.add("file", "../file", "url").lock is not None


@pytest.mark.long
def test_a_whole_flow_writes_the_same_bytes(initialised, source, tmp_path):
    """Add, a stage that depends on the dataset, repro, update, edit, update: once with DVC, once with ours in its place."""
    theirs, ours = (shutil.copytree(initialised, tmp_path / name) for name in ("theirs", "ours"))
    url = str(source.folder)
    with Datasets(ours) as made:
        steps = [
            (("add", "g", "--dvc", url, "--rev", "v1", "--path", "data"), lambda: made.add("g", url, "dvc", rev="v1", path="data")),
            (("add", "h", "--dvc", url), lambda: made.add("h", url, "dvc")),
            ("stage",),
            (("update", "g", "--rev", "main"), lambda: made.update("g", rev="main")),
            ("repro",),
            ("edit",),
            (("update", "g"), lambda: made.update("g")),
            ("repro",),
        ]  # fmt: skip
        for step, *call in steps:
            if call:
                run_dvc(theirs, "ds", *step)
                call[0]()
            for folder in (theirs, ours):
                if step == "stage":
                    run_dvc(folder, "stage", "add", "-n", "train", "-d", "ds://g", "echo")
                elif step == "repro":
                    run_dvc(folder, "repro", "-q")
                elif step == "edit":
                    text = (folder / "dvc.yaml").read_text()
                    (folder / "dvc.yaml").write_text(text.replace("rev: main", "rev: v1"))
            for name in ("dvc.yaml", "dvc.lock"):
                assert (ours / name).read_bytes() == (theirs / name).read_bytes(), (step, name)
        assert made["g"].lock.rev_lock == source.first
