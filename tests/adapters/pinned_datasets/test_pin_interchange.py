"""Files interchange with the real DVC: it reads what we wrote, and we read what it wrote."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from types import SimpleNamespace

import pytest
from dvc_project import read_datasets, run_all_dvc, run_dvc
from git_repository import GitRepository
from plain_web import web
from ruamel.yaml import YAML
from s3_server import s3_environment, s3_filesystem

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
    _, found = run_all_dvc(
        project,
        ("ds", "add", "git", "--dvc", source.folder, "--rev", "v1", "--path", "data"),
        ("ds", "add", "file", "--url", "../file"),
        ("ds", "add", "folder", "--url", "../folder"),
    )
    read = {name: plain(dataset) for name, dataset in datasets.items()}
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
    found, _ = run_all_dvc(project, ("ds", "update", "git", "--rev", "v1"))
    assert found["git"] == plain(new)
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


CATALOG = """
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

class Catalog:
    def get_remote_dataset(self, name):
        made = datetime(2026, 1, 2, tzinfo=timezone.utc)
        get_version = lambda version: SimpleNamespace(version=version, created_at=made)
        return SimpleNamespace(latest_version=int(Path(__file__).with_name("latest").read_text()), get_version=get_version)

get_catalog = Catalog
"""
"""A catalog as DVC asks for it, with the number of the latest version in a file beside it."""


@pytest.fixture
def flows(tmp_path, monkeypatch):
    """For each type: how DVC and how we add and update a dataset, how its source moves, and an edit of its entry."""
    catalog = tmp_path / "modules" / "datachain"
    catalog.mkdir(parents=True)
    (catalog / "__init__.py").touch()
    (catalog / "catalog.py").write_text(CATALOG)
    (catalog / "latest").write_text("1")
    monkeypatch.syspath_prepend(catalog.parent)
    monkeypatch.setenv("PYTHONPATH", str(catalog.parent))
    moving = GitRepository(tmp_path / "moving")
    moving.commit(data__a="1")
    moving.git("tag", "v1")
    (tmp_path / "no settings").touch()
    for name, value in s3_environment().items():
        # DVC wants a regular file.
        monkeypatch.setenv(name, value.replace("/dev/null", str(tmp_path / "no settings")))
    bucket, store = f"versioned-{uuid.uuid4().hex}", s3_filesystem()
    store.call_s3("create_bucket", Bucket=bucket)
    store.make_bucket_versioned(bucket)
    store.pipe({f"{bucket}/a/1": b"1", f"{bucket}/a/sub/é b": b"2", f"{bucket}/b": b"b"})
    url = f"s3://{bucket}"
    return {
        "dvc": SimpleNamespace(
            add=("--dvc", moving.folder, "--path", "data"),
            ours=(str(moving.folder), "dvc"),
            options={"path": "data"},
            move=lambda: moving.commit(data__a="2"),
            edit=("rev: main", "rev: v1"),
            update=("--rev", "main"),
            changes={"rev": "main"},
        ),
        "dc": SimpleNamespace(
            add=("--dc", "cats"),
            ours=("cats", "dc"),
            options={},
            move=lambda: (catalog / "latest").write_text("2"),
            edit=("url: cats", "url: dogs"),
            update=("--rev", "v1"),
            changes={"version": 1},
        ),
        "url": SimpleNamespace(
            add=("--url", f"{url}/a"),
            ours=(f"{url}/a", "url"),
            options={},
            move=lambda: store.pipe_file(f"{bucket}/a/1", b"11"),
            edit=(f"{url}/a", f"{url}/b"),
            update=(),
            changes={},
        ),
    }


@pytest.mark.long
@pytest.mark.parametrize("kind", ["dvc", "dc", "url"])
def test_a_whole_flow_writes_the_same_bytes(kind, flows, initialised, tmp_path):
    """Once with DVC, once with ours in place of its commands for datasets: after each step the same files and status."""
    if kind == "url":
        pytest.importorskip("dvc_s3")
    flow, stage = flows[kind], ("stage", "add", "-n", "train", "-d", "ds://d", "echo")
    theirs, ours = (shutil.copytree(initialised, tmp_path / name) for name in ("theirs", "ours"))

    def both(*command, status=0):
        printed = [run_dvc(folder, *command, status=status) for folder in (theirs, ours)]
        assert printed[0] == printed[1]
        same(command)
        return printed[0]

    def same(step):
        for name in ("dvc.yaml", "dvc.lock"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes(), (step, name)

    def edit(old, new):
        for folder in (theirs, ours):
            text = (folder / "dvc.yaml").read_text()
            assert old in text
            (folder / "dvc.yaml").write_text(text.replace(old, new))

    with Datasets(ours) as datasets:
        run_dvc(theirs, "ds", "add", "d", *flow.add)
        datasets.add("d", *flow.ours, **flow.options)
        same("add")
        both(*stage)
        assert "ds://d" in both("status")
        both("repro", "-q")
        assert json.loads(both("status", "--json")) == {}
        assert datasets.status() == {"d": "ok"}
        flow.move()
        assert datasets.status() == {"d": "stale"}
        for update, changes in (((), {}), (flow.update, flow.changes)):
            run_dvc(theirs, "ds", "update", "d", *update)
            datasets.update("d", **changes)
            same(update)
            both("status")
            both("repro", "-q")
        edit(*flow.edit)
        same("edit")
        assert datasets["d"].invalidated
        assert datasets.status() == {"d": "invalidated"}
        assert "not in sync" in both("status")
        both("repro", "-q", status=255)
        run_dvc(theirs, "ds", "update", "d")
        datasets.update("d")
        same("update")
        both("repro", "-q")
        run_dvc(theirs, "ds", "add", "--force", "d", *flow.add)
        datasets.add("d", *flow.ours, force=True, **flow.options)
        same("add --force")
        both("repro", "-q")
        assert json.loads(both("status", "--json")) == {}
