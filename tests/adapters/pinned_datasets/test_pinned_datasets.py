"""Pinned datasets as a mapping: what is added, updated, observed, and what of it is recorded."""

from __future__ import annotations

import inspect
import json
import pickle
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
from git_repository import GitRepository

import framelode
from framelode.adapters import pinned_datasets
from framelode.adapters.pinned_datasets.dataset_types import DatachainDataset, DVCDataset, URLDataset
from framelode.adapters.pinned_datasets.datasets import Datasets
from framelode.adapters.pinned_datasets.recording import current_pins, pin_changes
from framelode.adapters.pinned_datasets.records import (
    DatachainDatasetLock,
    DatasetNotFoundError,
    DatasetSpec,
    DVCDatasetLock,
    DVCDatasetSpec,
    FileInfo,
    Meta,
    URLDatasetLock,
)
from framelode.engine.errors import (
    ConflictError,
    InvalidTypeError,
    InvalidValueError,
    NotFoundError,
    UsageError,
)
from framelode.projections.tables.pins import PinQuery

ROWS = [
    [cell.strip() for cell in line.split("|", 2)]
    for line in Path(__file__).with_name("pinned_datasets_signatures.txt").read_text().splitlines()
    if not line.startswith("#")
]  # fmt: skip


@pytest.mark.parametrize(("name", "how", "parameters"), ROWS, ids=[row[0] for row in ROWS])
def test_signature(name, how, parameters):
    owner, _, member = name.partition(".")
    target = getattr(pinned_datasets, owner)
    theirs = dict(inspect.signature(eval(f"lambda {parameters}: None")).parameters)
    if how == "method":
        ours = list(inspect.signature(getattr(target, member)).parameters.values())[1:]
    else:
        ours = list(inspect.signature(target).parameters.values())
    same = {each.name: each for each in ours if each.name in theirs}
    assert set(same) == set(theirs)
    for each in same.values():
        expected = theirs[each.name]
        assert each.kind == expected.kind
        assert each.default == expected.default or name == "URLDatasetLock"
    for each in ours:
        if each.name not in theirs:
            assert each.kind is inspect.Parameter.KEYWORD_ONLY, f"{each.name} is ours"
            assert each.default is not inspect.Parameter.empty


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A repository with two commits: a tag on the first, the second on main."""
    repository = GitRepository(tmp_path_factory.mktemp("git") / "source")
    repository.first = repository.commit(data__a="1", data__b="2")
    repository.git("tag", "v1")
    repository.second = repository.commit(data__a="one")
    return repository


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def datasets(project):
    with Datasets(project) as made:
        yield made


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text("bb")
    (folder / "sub" / "a.txt").write_text("a")
    return folder


def stamp(path):
    """Return what tells that a file was written; reading it changes its time of access."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def kinds(datasets, name=None):
    return [change.kind for change in datasets.history(name)]


class TestMapping:
    def test_empty(self, datasets, project):
        assert (dict(datasets), len(datasets), list(datasets)) == ({}, 0, [])
        assert "x" not in datasets
        with pytest.raises(DatasetNotFoundError) as caught:
            datasets["x"]
        assert isinstance(caught.value, KeyError | NotFoundError)
        assert (str(caught.value), caught.value.name) == ("dataset not found", "x")
        assert pickle.loads(pickle.dumps(caught.value)).name == "x"
        assert list(project.iterdir()) == []

    def test_looking_makes_nothing(self, project, tmp_path):
        with framelode.connect(tmp_path / "engine") as engine:
            datasets = Datasets(project)
            assert (datasets.history(), datasets.at(0), datasets.status(), dict(datasets)) == ([], {}, {}, {})
            assert datasets.history(all_projects=True) == []
            assert list(project.iterdir()) == []
            engine.close()

    def test_the_yaml_library_is_missing(self, project, monkeypatch):
        from framelode.adapters.pinned_datasets.yaml import tree as yaml_tree

        monkeypatch.setattr(yaml_tree, "_of_thread", threading.local())
        monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
        (project / "dvc.yaml").write_text("datasets: []\n")
        with pytest.raises(UsageError, match=r"need ruamel.yaml: pip install 'framelode\[pins\]'"):
            len(Datasets(project))

    def test_what_was_added(self, datasets, source, files):
        git = datasets.add("g", str(source.folder), "dvc", path="data", rev="v1")
        url = datasets.add("u", str(files), "url")
        assert dict(datasets) == {"g": git, "u": url}
        assert list(datasets) == ["g", "u"]
        assert "g" in datasets
        assert len(datasets) == 2
        assert repr(datasets) == repr({"g": git, "u": url})

    @pytest.mark.parametrize("make", [str, Path, lambda path: SimpleNamespace(root_dir=str(path))])
    def test_of_a_path_or_an_object_with_a_root(self, project, make):
        with Datasets(make(project)) as datasets:
            assert datasets.root_dir == str(project)

    @pytest.mark.parametrize("repo", [None, 5, "", "no/such/folder", "\0"])
    def test_of_no_folder(self, repo, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError):
            Datasets(repo)

    @pytest.mark.parametrize("timeout", [0, -1, "5", True, float("nan")])
    def test_timeouts_are_seconds(self, project, timeout):
        with pytest.raises(InvalidValueError, match="timeout must be a number of seconds"):
            Datasets(project, timeout=timeout)


class TestGit:
    def test_add_locks_the_commit(self, datasets, project, source):
        made = datasets.add("g", str(source.folder), "dvc", path="data", rev="v1")
        spec = {"name": "g", "url": str(source.folder), "type": "dvc", "path": "data", "rev": "v1"}
        assert isinstance(made, DVCDataset)
        assert made.type == "dvc"
        assert made.spec == DVCDatasetSpec(**spec)
        assert made.lock == DVCDatasetLock(**spec, rev_lock=source.first)
        assert made.manifest_path == str(project / "dvc.yaml")
        lines = "".join(f"  {key}: {value}\n" for key, value in list(spec.items())[1:])
        assert (project / "dvc.yaml").read_text() == f"datasets:\n- name: g\n{lines}"
        assert (project / "dvc.lock").read_text() == (
            f"schema: '2.0'\ndatasets:\n- name: g\n{lines}  rev_lock: {source.first}\nstages: {{}}\n"
        )

    def test_defaults_are_left_out(self, datasets, project, source):
        datasets.add("g", str(source.folder), "dvc", path="", rev=None)
        assert (
            project / "dvc.yaml"
        ).read_text() == f"datasets:\n- name: g\n  url: {source.folder}\n  type: dvc\n"

    def test_update_to_another_revision(self, datasets, project, source):
        added = datasets.add("g", str(source.folder), "dvc", rev="v1")
        old, new = datasets.update("g", rev="main")
        assert old == added
        assert (new.spec.rev, new.lock.rev, new.lock.rev_lock) == ("main", "main", source.second)
        assert datasets["g"] == new
        assert "rev: main" in (project / "dvc.yaml").read_text()
        assert kinds(datasets) == ["added", "updated"]

    def test_update_follows_a_branch(self, datasets, project, tmp_path):
        moving = GitRepository(tmp_path / "moving")
        first = moving.commit(a="1")
        datasets.add("g", "../moving", "dvc")
        assert datasets.status() == {"g": "ok"}
        second = moving.commit(a="2")
        manifest = stamp(project / "dvc.yaml")
        assert datasets.status() == {"g": "stale"}
        old, new = datasets.update("g")
        assert (old.lock.rev_lock, new.lock.rev_lock) == (first, second)
        assert stamp(project / "dvc.yaml") == manifest
        assert kinds(datasets) == ["added", "locked"]

    def test_an_update_that_changes_nothing_writes_nothing(self, datasets, project, source):
        datasets.add("g", str(source.folder), "dvc")
        before = [stamp(project / name) for name in ("dvc.yaml", "dvc.lock")]
        old, new = datasets.update("g")
        assert old == new
        assert [stamp(project / name) for name in ("dvc.yaml", "dvc.lock")] == before
        assert kinds(datasets) == ["added"]


class TestUrls:
    def test_a_folder(self, datasets, project, files):
        made = datasets.add("u", "../files", "url")
        assert isinstance(made, URLDataset)
        assert made.lock.meta == Meta(isdir=True, size=3, nfiles=2)
        assert [file.relpath for file in made.lock.files] == ["b.txt", "sub/a.txt"]
        assert made.lock.files[1] == FileInfo(
            relpath="sub/a.txt", meta=Meta(size=1, md5="0cc175b9c0f1b6a831c399e269772661")
        )
        assert (project / "dvc.lock").read_text() == (
            "schema: '2.0'\ndatasets:\n- name: u\n  url: ../files\n  type: url\n  meta:\n    isdir: true\n"
            "    size: 3\n    nfiles: 2\n  files:\n  - relpath: b.txt\n    meta:\n      size: 2\n"
            "      md5: 21ad0bd836b90d08f4cf640b4c298e7c\n  - relpath: sub/a.txt\n    meta:\n      size: 1\n"
            "      md5: 0cc175b9c0f1b6a831c399e269772661\nstages: {}\n"
        )

    def test_a_file_and_its_changes(self, datasets, files):
        datasets.add("u", str(files / "b.txt"), "url")
        assert datasets.status("u") == {"u": "ok"}
        (files / "b.txt").touch()
        assert datasets.status("u") == {"u": "ok"}
        (files / "b.txt").write_text("cc")
        assert datasets.status("u") == {"u": "stale"}
        _, new = datasets.update("u")
        assert new.lock.meta.md5 == "e0323a9039add2978bf5b49550572c7c"
        (files / "b.txt").unlink()
        assert datasets.status("u") == {"u": "missing"}

    def test_progress_is_told(self, datasets, files):
        told = []
        datasets.add("u", str(files), "url", callback=lambda *done: told.append(done))
        datasets.update("u", callback=lambda *done: told.append(done))
        assert told == [(1, None), (2, None)] * 2


class TestOwnVersions:
    @pytest.fixture
    def engine(self, datasets):
        engine = datasets.engine
        with engine:
            framelode.DatasetVersion.create_new_dataset("food", dataset_project="my lab")
            framelode.DatasetVersion.get_current(dataset_name="food")
            for name in ("v1", "v2", "v3"):
                framelode.DatasetVersion.create_snapshot(dataset_name="food", publish_name=name)
        return engine

    def test_the_last_published_one(self, engine, datasets):
        made = datasets.add("f", "framelode://food", "dc")
        assert isinstance(made, DatachainDataset)
        assert (made.pinned, made.name_version) == (False, ("food", None))
        assert made.lock.version == 3
        assert made.lock.created_at.tzinfo is not None
        assert datasets["f"] == made
        assert datasets.status() == {"f": "ok"}

    def test_the_nth(self, engine, datasets):
        made = datasets.add("f", "framelode://my%20lab/food", "dc", version=1)
        assert made.lock.version == 1
        assert datasets.status() == {"f": "stale"}
        old, new = datasets.update("f", version=2)
        assert (old.lock.version, new.lock.version) == (1, 2)
        assert datasets.update("f")[1].lock.version == 3

    def test_one_named_in_the_url(self, engine, datasets):
        made = datasets.add("f", "framelode://food@v2", "dc")
        assert (made.pinned, made.name_version, made.lock.version) == (True, ("food", 2), 2)
        assert datasets.status() == {"f": "ok"}

    def test_numbers_stay_when_a_version_is_removed(self, engine, datasets):
        with engine:
            last = framelode.DatasetVersion.get_version(dataset_name="food", version_name="v3")
            child = framelode.DatasetVersion.get_current(dataset_name="food")
            framelode.DatasetVersion.remove_version(dataset_name="food", version_id=child.version_id)
            framelode.DatasetVersion.remove_version(
                dataset_name="food", version_id=last.version_id, force=True
            )
        assert datasets.add("f", "framelode://food", "dc").lock.version == 2
        with pytest.raises(NotFoundError, match="'food' has no published version 3: there are 1, 2"):
            datasets.update("f", version=3)

    @pytest.mark.parametrize(
        "url", ["framelode://food", "framelode://a/b/c", "framelode:///x", "framelode://"]
    )
    def test_there_is_none(self, datasets, url):
        with pytest.raises((NotFoundError, InvalidValueError)):
            datasets.add("f", url, "dc")
        assert "f" not in datasets

    @pytest.mark.parametrize(
        ("version", "kind"),
        [
            ("1", TypeError),
            (1.0, TypeError),
            (True, TypeError),
            (0, ValueError),
            (-1, ValueError),
            (2**70, ValueError),
        ],
    )
    def test_a_version_is_a_whole_number_from_1(self, engine, datasets, version, kind):
        datasets.add("f", "framelode://food", "dc")
        for call in (
            lambda: datasets.update("f", version=version),
            lambda: datasets.add("f", "framelode://food", "dc", force=True, version=version),
        ):
            with pytest.raises((kind, NotFoundError)) as caught:
                call()
            assert isinstance(
                caught.value, InvalidTypeError if kind is TypeError else framelode.FramelodeError
            )
        assert datasets["f"].lock.version == 3


class TestCatalogs:
    MADE = datetime(2026, 1, 2, tzinfo=UTC)

    def record(self, *versions, latest=None):
        known = {n: SimpleNamespace(version=n, created_at=self.MADE) for n in versions}
        return SimpleNamespace(
            latest_version=latest or max(known, default=None), get_version=known.__getitem__
        )

    def test_a_record_may_be_given(self, datasets, project):
        made = datasets.add("d", "cats", "dc", record=self.record(1, 2))
        assert made.lock == DatachainDatasetLock(
            name="d", url="cats", type="dc", version=2, created_at=self.MADE
        )
        assert "version: 2\n  created_at: '2026-01-02T00:00:00+00:00'\n" in (project / "dvc.lock").read_text()
        _, new = datasets.update("d", record=self.record(1, 2), version=1)
        assert new.lock.version == 1
        with pytest.raises(NotFoundError, match="the catalog has no dataset 'cats' in version 7"):
            datasets.update("d", record=self.record(1), version=7)

    def test_a_catalog_that_is_missing_says_what_to_install(self, datasets):
        with pytest.raises(UsageError, match="pip install datachain; datasets of framelode are framelode://"):
            datasets.add("d", "cats@v1", "dc")

    @pytest.mark.parametrize("version", ["1.0", "1.0.0-rc1", "v1.0.0", 1.0, True, None])
    def test_versions_that_cannot_be_pinned(self, datasets, version):
        odd = SimpleNamespace(version=version, created_at=self.MADE)
        record = SimpleNamespace(latest_version="1.0.0", get_version=lambda version: odd)
        with pytest.raises(InvalidValueError, match="gives 'cats' a version that cannot be pinned"):
            datasets.add("d", "cats", "dc", record=record)


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ({"type": "dcv"}, "type must be dvc, dc or url, not 'dcv'"),
            ({"type": None}, "type is missing"),
            ({"type": ""}, "type is missing"),
            ({"type": "dvc", "version": 1}, "type dvc has no option 'version'"),
            ({"type": "dvc", "record": object()}, "has no option 'record'"),
            ({"type": "dc", "rev": "x"}, "type dc has no option 'rev'"),
            ({"type": "url", "rev": "x"}, "type url has no option 'rev'"),
            ({"type": "url", "version": 2}, "has no option 'version'"),
            ({"type": "url", "path": "x"}, "has no option 'path'"),
            ({"type": "url", "colour": None}, "has no option 'colour'"),
            ({"type": "url", "name": ""}, "name must be a non-empty string"),
            ({"type": "url", "name": "a\0"}, "NUL"),
            ({"type": "url", "name": 5}, "name must be a non-empty string, not 5"),
            ({"type": "url", "url": 5}, "url must be a string"),
            ({"type": "url", "url": "${x}"}, "would be read as a parameter"),
            ({"type": "dvc", "rev": 5}, "rev must be a string"),
            ({"type": "dvc", "path": ["x"]}, "path must be a string"),
            ({"type": "url", "manifest_path": "../dvc.yaml"}, "is not in the project folder"),
            ({"type": "url", "manifest_path": "dvc.lock"}, "is a lock file"),
            ({"type": "url", "manifest_path": ""}, "manifest_path must be the path"),
            ({"type": "url", "manifest_path": 5}, "manifest_path must be the path"),
        ],
    )
    def test_add(self, datasets, project, arguments, problem):
        with pytest.raises(ValueError, match=problem.replace("(", r"\(")) as caught:
            datasets.add(**{"name": "a", "url": ".", **arguments})
        assert isinstance(caught.value, InvalidValueError)
        assert not (project / "dvc.yaml").exists()

    def test_update(self, datasets, files, source):
        datasets.add("u", str(files), "url")
        datasets.add("g", str(source.folder), "dvc")
        for name, arguments in (
            ("u", {"rev": "x"}),
            ("u", {"version": 1}),
            ("g", {"version": 1}),
            ("g", {"path": "a"}),
        ):
            with pytest.raises(ValueError, match=f"has no option '{next(iter(arguments))}'"):
                datasets.update(name, **arguments)
        with pytest.raises(DatasetNotFoundError):
            datasets.update("x")
        with pytest.raises(DatasetNotFoundError):
            datasets.status("x")

    def test_a_name_of_another_manifest(self, datasets, project, files):
        (project / "sub").mkdir()
        datasets.add("u", str(files), "url", "sub/dvc.yaml")
        with pytest.raises(ConflictError, match="the dataset 'u' is already in .*sub/dvc.yaml"):
            datasets.add("u", str(files), "url")
        (project / "dvc.yaml").write_text("datasets: [{name: u, url: x, type: url}]\n")
        with pytest.raises(
            ConflictError, match="the dataset 'u' is in .*dvc.yaml and in .*sub/dvc.yaml: rename one"
        ):
            datasets["u"]


class TestFiles:
    def test_an_existing_name_is_replaced_if_asked(self, datasets, project, source, files):
        datasets.add("x", str(source.folder), "dvc", path="data", rev="v1")
        before = (project / "dvc.yaml").read_bytes(), (project / "dvc.lock").read_bytes()
        with pytest.raises(ConflictError, match="the dataset 'x' is already in .*dvc.yaml: pass force=True"):
            datasets.add("x", str(files / "b.txt"), "url")
        assert ((project / "dvc.yaml").read_bytes(), (project / "dvc.lock").read_bytes()) == before
        datasets.add("x", str(files / "b.txt"), "url", force=True)
        assert isinstance(datasets["x"], URLDataset)
        assert len(datasets) == 1
        assert "rev" not in (project / "dvc.lock").read_text() + (project / "dvc.yaml").read_text()
        assert kinds(datasets) == ["added", "added"]
        assert datasets.history()[1].before["lock"]["rev_lock"] == source.first

    @pytest.mark.parametrize("manifest", ["sub/dvc.yaml", "sub/deeper/pins.yaml"])
    def test_any_manifest(self, datasets, project, files, manifest):
        (project / manifest).parent.mkdir(parents=True)
        made = datasets.add("u", str(files), "url", manifest)
        assert made.manifest_path == str(project / manifest)
        assert (project / manifest).with_suffix(".lock").exists()
        with Datasets(project) as again:
            assert dict(again) == {"u": made}
        with pytest.raises(UsageError, match="there is no folder"):
            datasets.add("v", str(files), "url", "none/dvc.yaml")

    def test_manifests_of_others_are_found(self, project, files):
        for folder in ("b/c", ".hidden", "inner"):
            (project / folder).mkdir(parents=True)
            (project / folder / "dvc.yaml").write_text(
                f"datasets: [{{name: {folder[0]}, url: x, type: url}}]\n"
            )
        (project / "inner" / ".git").mkdir()
        with Datasets(project) as datasets:
            assert list(datasets) == ["b"]
            assert datasets.status() == {"b": "missing"}

    def test_a_link_stays_a_link(self, datasets, project, files, tmp_path):
        (tmp_path / "real.yaml").write_text("# real\n")
        (project / "dvc.yaml").symlink_to(tmp_path / "real.yaml")
        datasets.add("u", str(files), "url")
        assert (project / "dvc.yaml").is_symlink()
        assert (tmp_path / "real.yaml").read_text().startswith("# real\ndatasets:\n- name: u\n")

    def test_the_mode_of_a_file_stays(self, datasets, project, files):
        (project / "dvc.yaml").write_text("# x\n")
        (project / "dvc.yaml").chmod(0o640)
        datasets.add("u", str(files), "url")
        assert (project / "dvc.yaml").stat().st_mode & 0o777 == 0o640

    def test_a_parameter_is_never_overwritten(self, datasets, project, source):
        (project / "params.yaml").write_text("rev: v1\n")
        text = f"datasets:\n- name: g\n  url: {source.folder}\n  type: dvc\n  rev: ${{rev}}\n"
        (project / "dvc.yaml").write_text(text)
        assert datasets["g"].spec.rev == "v1"
        _, new = datasets.update("g")
        assert (new.lock.rev, new.lock.rev_lock) == ("v1", source.first)
        for call in (
            lambda: datasets.update("g", rev="main"),
            lambda: datasets.add("g", str(source.folder), "dvc", force=True, rev="main"),
        ):
            with pytest.raises(ConflictError, match="the dataset 'g' has a parameter"):
                call()
        assert (project / "dvc.yaml").read_text() == text
        (project / "params.yaml").write_text("rev: main\n")
        assert datasets.status() == {"g": "invalidated"}

    def test_a_broken_file_is_refused_and_left(self, datasets, project, files):
        datasets.add("u", str(files), "url")
        for name in ("dvc.yaml", "dvc.lock"):
            whole = (project / name).read_bytes()
            (project / name).write_bytes(whole + b"\xff")
            for call in (
                lambda: datasets["u"],
                lambda: list(datasets),
                lambda: datasets.add("v", str(files), "url"),
                lambda: datasets.update("u"),
                datasets.status,
                lambda: datasets.dump(
                    URLDataset(manifest_path="dvc.yaml", spec=DatasetSpec(name="u", url="x", type="url"))
                ),
            ):
                with pytest.raises(InvalidValueError, match=rf"{name}:\d+:1: "):
                    call()
            with Datasets(project) as opened, pytest.raises(InvalidValueError, match=name):
                len(opened)
            assert (project / name).read_bytes() == whole + b"\xff"
            (project / name).write_bytes(whole)
        assert kinds(datasets) == ["added"]

    def test_dump(self, datasets, project, source):
        spec = DVCDatasetSpec(name="g", url=str(source.folder), type="dvc", rev="v1")
        bare = DVCDataset(manifest_path="dvc.yaml", spec=spec)
        datasets.dump(bare)
        assert datasets["g"].lock is None
        assert not (project / "dvc.lock").exists()
        locked = bare.update(project)
        datasets.dump(locked, bare)
        assert datasets["g"].lock.rev_lock == source.first
        datasets.dump(locked, bare)
        datasets.dump(locked)
        assert kinds(datasets) == ["added", "locked"]


class TestInvalidation:
    def test_an_edited_spec(self, datasets, project, source):
        datasets.add("g", str(source.folder), "dvc", rev="v1")
        manifest = project / "dvc.yaml"
        manifest.write_text(manifest.read_text().replace("v1", "main"))
        assert (datasets["g"].lock, datasets["g"]._invalidated, datasets["g"].spec.rev) == (
            None,
            True,
            "main",
        )
        assert datasets.status() == {"g": "invalidated"}
        old, new = datasets.update("g")
        assert (old.lock, new.lock.rev_lock, datasets["g"]._invalidated) == (None, source.second, False)
        assert kinds(datasets) == ["added", "observed", "invalidated", "locked"]
        invalidated = datasets.history()[2]
        assert invalidated.after == {"spec": new.spec.to_dict(), "invalidated": True}

    def test_an_unknown_type_of_lock_is_none(self, datasets, project):
        (project / "dvc.yaml").write_text("datasets: [{name: a, url: b, type: url}]\n")
        (project / "dvc.lock").write_text("schema: '2.0'\ndatasets: [{name: a, url: b, type: new}]\n")
        assert (datasets["a"].lock, datasets["a"]._invalidated) == (None, False)

    def test_a_lock_of_another_type(self, datasets, project):
        (project / "dvc.yaml").write_text("datasets: [{name: a, url: b, type: url}]\n")
        (project / "dvc.lock").write_text(
            "schema: '2.0'\ndatasets: [{name: a, url: b, type: dvc, rev_lock: c}]\n"
        )
        assert (datasets["a"].lock, datasets["a"]._invalidated) == (None, True)


class TestLog:
    def test_every_change_is_an_event(self, datasets, source):
        with framelode.acting("me", {"why": "test"}):
            added = datasets.add("g", str(source.folder), "dvc", rev="v1")
        datasets.update("g", rev="main")
        first, second = datasets.history("g")
        assert (first.kind, first.actor, first.before) == ("added", "me", None)
        assert first.after == {"spec": added.spec.to_dict(), "lock": added.lock.to_dict()}
        assert (first.manifest, first.name, first.folder) == ("dvc.yaml", "g", "project")
        assert (second.before, second.after["lock"]["rev_lock"]) == (first.after, source.second)
        assert second.at >= first.at
        assert [change.position for change in datasets.history(newest_first=True, limit=1)] == [
            second.position
        ]
        assert datasets.history(actor="me", until=second.at) == [first]
        with pytest.raises(UsageError, match="no time zone"):
            datasets.history(since=datetime(2026, 1, 1))  # noqa: DTZ001
        told = list(datasets.engine.history())
        assert [(change.subject, change.kind) for change in told] == [("pin", "added"), ("pin", "updated")]
        assert told[0].after["after"] == first.after
        json.dumps([change.to_dict(images=True) for change in told])
        datasets.engine.verify()

    @pytest.mark.parametrize("edit", ["edited", "removed", "appeared", "both gone"])
    def test_what_is_found_in_the_files_is_observed_at_the_next_opening(self, project, files, edit):
        with Datasets(project) as datasets:
            made = datasets.add("u", str(files), "url")
        manifest = project / "dvc.yaml"
        if edit == "edited":
            manifest.write_text(manifest.read_text().replace("url: /", "url: //"))
        elif edit == "removed":
            manifest.write_text("# nothing left\n")
        elif edit == "appeared":
            manifest.write_text(f"{manifest.read_text()}- {{name: v, url: w, type: url}}\n")
        else:
            manifest.unlink()
            (project / "dvc.lock").unlink()
        with Datasets(project) as datasets:
            found = datasets.history()[1:]
            expected = {
                "edited": ["observed", "invalidated"],
                "removed": ["observed"],
                "appeared": ["observed"],
                "both gone": ["observed"],
            }
            assert [change.kind for change in found] == expected[edit]
            if edit == "appeared":
                assert (found[0].before, found[0].after) == (
                    None,
                    {"spec": {"name": "v", "url": "w", "type": "url"}},
                )
            else:
                assert found[0].before["lock"] == made.lock.to_dict()
                assert (found[0].after is None) == (edit != "edited")
        with Datasets(project) as datasets:
            assert len(datasets.history()) == 1 + len(found)
            datasets.engine.verify()

    def test_a_checkout_is_observed(self, tmp_path, files):
        repository = GitRepository(tmp_path / "work")
        with Datasets(repository.folder) as datasets:
            datasets.add("u", str(files), "url")
            repository.commit()
            (files / "new").write_text("new")
            datasets.update("u")
            repository.git("commit", "-qam", "updated")
            assert repository.git("status", "--porcelain") == ""
            repository.git("checkout", "-q", "HEAD~1")
            assert datasets["u"].lock.meta.nfiles == 2
            repository.git("checkout", "-q", "main")
            assert datasets.status() == {"u": "ok"}
            assert kinds(datasets) == ["added", "locked", "observed", "observed"]

    def test_a_project_keeps_its_identity(self, project, files, tmp_path):
        with Datasets(project) as datasets:
            datasets.add("u", str(files), "url")
            identity = datasets.history()[0].project
        project.rename(tmp_path / "renamed")
        with Datasets(tmp_path / "renamed") as datasets:
            assert [change.project for change in datasets.history()] == [identity]
        (tmp_path / "renamed" / ".framelode" / "project").write_text("x")
        with pytest.raises(UsageError, match="must hold 32 hex digits"):
            Datasets(tmp_path / "renamed")

    def test_projects_share_an_engine(self, tmp_path, files):
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        with framelode.connect(tmp_path / "engine") as engine:
            one, two = (Datasets(tmp_path / name) for name in ("one", "two"))
            one.add("u", str(files), "url")
            two.add("u", str(files), "url")
            assert len(one.history()) == len(two.history()) == 1
            assert [change.folder for change in one.history(all_projects=True)] == ["one", "two"]
            assert not (tmp_path / "one" / ".framelode" / "log.db").exists()
            assert len(current_pins(engine.session, PinQuery())) == 2
            engine.verify()
            engine.close()

    def test_the_engine_given(self, project, files, tmp_path):
        with (
            framelode.connect(tmp_path / "given") as given,
            framelode.connect(tmp_path / "current") as current,
        ):
            datasets = Datasets(project, engine=given)
            datasets.add("u", str(files), "url")
            assert (given.log.head().position, current.log.head().position) == (1, 0)
            datasets.close()
            assert given.log.head().position == 1
            with pytest.raises(UsageError, match="shows the past"):
                Datasets(project, engine=given.at(1))
            given.close()
            current.close()

    def test_as_of(self, datasets, source, files):
        first = datasets.add("g", str(source.folder), "dvc", rev="v1")
        second = datasets.update("g", rev="main")[1]
        listed = datasets.add("u", str(files), "url")
        manifest = Path(second.manifest_path)
        manifest.write_text("x: 1\n")
        assert dict(datasets) == {}
        assert datasets.at(1) == {"g": first}
        assert datasets.at(2) == {"g": second}
        assert datasets.at(3) == {"g": second, "u": listed}
        assert datasets.at(datetime.now(UTC) + timedelta(days=1)) == datasets.at(5) == {}
        assert datasets.at(0) == {}
        past = datasets.engine.at(2)
        assert [pin.kind for pin in pin_changes(past.session, PinQuery())] == ["added", "updated"]
        assert [pin.kind for pin in pin_changes(past.session, PinQuery(until=1))] == ["added"]

    def test_long_lists_are_summed_up(self, datasets, files):
        for number in range(1000):
            (files / f"{number}").touch()
        made = datasets.add("u", str(files), "url")
        after = datasets.history()[0].after
        assert after["files"]["count"] == len(made.lock.files) == 1002
        assert "files" not in after["lock"]
        (files / "7").write_text("7")
        datasets.update("u")
        changed = datasets.history()[1]
        assert changed.after["files"]["count"] == 1002
        assert (
            changed.after["files"]["digest"] != changed.before["files"]["digest"] == after["files"]["digest"]
        )
        assert datasets.at(1)["u"].lock == URLDatasetLock(**made.spec.to_dict(), meta=made.lock.meta)
        with Datasets(datasets.root_dir, engine=datasets.engine) as again:
            assert len(again.history()) == 2

    def test_rebuild_export_and_import(self, datasets, source, tmp_path):
        datasets.add("g", str(source.folder), "dvc", rev="v1")
        datasets.update("g", rev="main")
        engine = datasets.engine
        told = datasets.history()
        engine.rebuild()
        assert datasets.history() == told
        engine.export_log(tmp_path / "log.jsonl")
        with framelode.connect(tmp_path / "copy") as copy:
            copy.import_log(tmp_path / "log.jsonl")
            assert list(pin_changes(copy.session, PinQuery())) == told
            copy.verify()
            copy.close()


class TestRecords:
    @pytest.mark.parametrize(
        "record",
        [
            DatasetSpec(name="a", url="b", type="url"),
            DVCDatasetSpec(name="a", url="b", type="dvc", path="c"),
            DVCDatasetLock(name="a", url="b", type="dvc", rev="v1", rev_lock="0" * 40),
            DatachainDatasetLock(
                name="a", url="b", type="dc", version=3, created_at=datetime(2026, 1, 2, 3, tzinfo=UTC)
            ),
            URLDatasetLock(name="a", url="b", type="url", meta=Meta(size=0, etag="e")),
            URLDatasetLock(
                name="a", url="b", type="url", meta=Meta(isdir=True, size=1, nfiles=1),
                files=[FileInfo(relpath="x", meta=Meta(size=1, isexec=True, version_id="v"))],
            ),
        ],
        ids=lambda record: type(record).__name__,
    )  # fmt: skip
    def test_come_back_from_dicts(self, record):
        assert type(record).from_dict(json.loads(json.dumps(record.to_dict()))) == record
        assert type(record).from_dict({**record.to_dict(), "of others": 1}) == record
        with pytest.raises(AttributeError):
            record.name = "b"
        with pytest.raises(TypeError):
            type(record)("a", "b", "url")

    def test_what_is_a_default_is_left_out(self):
        assert DVCDatasetSpec(name="a", url="b", type="dvc", path=None).to_dict() == {
            "name": "a",
            "url": "b",
            "type": "dvc",
        }
        assert Meta(size=0).to_dict() == {"size": 0}
        assert Meta.from_dict({"size": 1, "inode": 5, "remote": "r"}) == Meta(size=1)

    def test_files_are_sorted(self):
        files = [{"relpath": name, "meta": {"size": 1}} for name in "ba"]
        lock = URLDatasetLock.from_dict({"name": "a", "url": "b", "type": "url", "meta": {}, "files": files})
        assert [file.relpath for file in lock.files] == ["a", "b"]

    @pytest.mark.parametrize(
        ("kind", "fields"),
        [
            (DatasetSpec, {"type": "dcv"}),
            (DatasetSpec, {"name": 5}),
            (DVCDatasetSpec, {"type": "url"}),
            (DVCDatasetLock, {"type": "dvc", "rev_lock": 5}),
            (DatachainDatasetLock, {"type": "dc", "version": -1, "created_at": "2026-01-01"}),
            (DatachainDatasetLock, {"type": "dc", "version": 1, "created_at": "soon"}),
            (URLDatasetLock, {"meta": "big"}),
        ],
    )
    def test_what_is_none(self, kind, fields):
        with pytest.raises(InvalidValueError):
            kind(**{"name": "a", "url": "b", "type": "url", **fields})


LOCKS = [
    DVCDatasetLock(name="b", url="u", type="dvc", path="p", rev_lock="0" * 40),
    DVCDatasetLock(name="a", url="u", type="dvc", rev="x", rev_lock="1" * 40),
    DatachainDatasetLock(
        name="c", url="u", type="dc", version=10, created_at=datetime(2026, 1, 1, tzinfo=UTC)
    ),
    DatachainDatasetLock(name="c", url="u", type="dc", version="1.2.10", created_at="2026-01-01"),
    URLDatasetLock(
        name="d", url="u", type="url", meta=Meta(size=1), files=[FileInfo(relpath="x", meta={"size": 2})]
    ),
]


class TestRecordClasses:
    @pytest.mark.parametrize("lock", LOCKS)
    def test_work_with_attrs_and_dataclasses_alike(self, lock):
        import dataclasses

        for replace in (attrs.evolve, dataclasses.replace):
            assert replace(lock) == lock
            assert type(replace(lock, name="other")) is type(lock)
            assert replace(lock, name="other").name == "other"
            with pytest.raises(InvalidValueError, match="name must be a string"):
                replace(lock, name=1)
        assert attrs.asdict(lock) == dataclasses.asdict(lock)
        assert type(lock)(**attrs.asdict(lock)) == lock
        names = [each.name for each in attrs.fields(type(lock))]
        assert names == [each.name for each in dataclasses.fields(lock)]
        assert pickle.loads(pickle.dumps(lock)) == lock
        assert type(lock).from_dict(lock.to_dict()) == lock

    def test_sort(self):
        assert [lock.name for lock in sorted(LOCKS[:2])] == ["a", "b"]
        numbers = ["1.10.0", "1.9.0", "1.9.1"]
        locks = [attrs.evolve(LOCKS[3], version=number) for number in numbers]
        assert [lock.version for lock in sorted(locks)] == ["1.9.0", "1.9.1", "1.10.0"]
        specs = [DVCDatasetSpec(name="a", url="u", type="dvc", rev=rev) for rev in ("x", None)]
        assert [spec.rev for spec in sorted(specs)] == [None, "x"]
        files = [FileInfo(relpath=name, meta=Meta(size=1)) for name in "cab"]
        assert [file.relpath for file in sorted(files)] == ["a", "b", "c"]

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Meta(size="1"),
            lambda: Meta(isdir="yes"),
            lambda: FileInfo(relpath=1, meta=Meta()),
            lambda: FileInfo(relpath="a", meta=5),
            lambda: DatasetSpec(name="a", url=None, type="url"),
            lambda: DatasetSpec(name="a", url="u", type="s3"),
            lambda: DVCDatasetSpec(name="a", url="u", type="url"),
            lambda: DVCDatasetSpec(name="a", url="u", type="dvc", rev=5),
            lambda: DVCDatasetLock(name="a", url="u", type="dvc", rev_lock=None),
            lambda: DatachainDatasetLock(name="a", url="u", type="dc", version=0, created_at="2026-01-01"),
            lambda: DatachainDatasetLock(name="a", url="u", type="dc", version=1, created_at="soon"),
            lambda: DatachainDatasetLock(name="a", url="u", type="dc", version="1.0", created_at="2026-01-01"),
            lambda: URLDatasetLock(name="a", url="u", type="url", meta=None),
            lambda: URLDatasetLock(name="a", url="u", type="url", meta=Meta(), files="x"),
            lambda: DVCDataset(manifest_path="m", spec=DatasetSpec(name="a", url="u", type="url")),
            lambda: URLDataset(manifest_path="m", spec=DatasetSpec(name="a", url="u", type="url"), lock=LOCKS[0]),
        ],
    )  # fmt: skip
    def test_refuse_wrong_parts_when_made(self, make):
        with pytest.raises((InvalidValueError, InvalidTypeError), match="must be"):
            make()

    def test_datasets_say_whether_a_lock_was_invalidated(self):
        spec = DVCDatasetSpec(name="a", url="u", type="dvc")
        assert DVCDataset(manifest_path="m", spec=spec, invalidated=True).invalidated is True
        made = DVCDataset(manifest_path="m", spec=spec)
        assert made.invalidated is False
        assert attrs.evolve(made, invalidated=True).invalidated
        assert attrs.evolve(made, invalidated=True) == made
