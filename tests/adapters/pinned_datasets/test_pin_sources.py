"""Where datasets come from: git repositories here and elsewhere, files and folders of any filesystem, and what hangs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from git_repository import GitRepository, git_server, silent_server
from patience import PATIENCE
from plain_web import web
from s3_server import BUCKET, s3_environment, s3_filesystem

from framelode.adapters.pinned_datasets import url_source
from framelode.adapters.pinned_datasets.datasets import Datasets
from framelode.adapters.pinned_datasets.records import FileInfo, Meta
from framelode.engine.errors import (
    FramelodeError,
    InvalidValueError,
    NotFoundError,
    StorageError,
    UsageError,
)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def datasets(project):
    with Datasets(project) as made:
        yield made


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    repository = GitRepository(tmp_path_factory.mktemp("git") / "source")
    lock = (
        "schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - path: model/\n    - path: other.bin\n"
    )
    repository.first = repository.commit(
        data__a="1",
        images_dot_dvc="outs: [{path: images}]\n",
        deep__big_dot_dvc="",
        stages__dvc_dot_lock=lock,
    )
    repository.git("tag", "v1")
    repository.git("tag", "-a", "v2", "-m", "annotated")
    repository.second = repository.commit(data__b="2")
    repository.git("branch", "side/branch", "v1")
    return repository


@pytest.fixture(scope="module")
def server(source):
    with git_server(source.folder.parent) as url:
        yield f"{url}/source"


@pytest.fixture(params=["folder", "file", "server"])
def url(request, source):
    return {
        "folder": lambda: str(source.folder),
        "file": lambda: f"file://{source.folder}",
        "server": lambda: request.getfixturevalue("server"),
    }[request.param]()


HOSTILE = {
    "ssh": "ssh://127.0.0.1/x",
    "file": "file://{folder}",
    "ext": "ext::{command}",
    "git": "git://127.0.0.1:9/x",
    "http": "http://127.0.0.1:9/x",
}


@pytest.fixture(params=HOSTILE)
def hostile(request, tmp_path):
    """A repository whose configuration runs a command wherever it can, which makes a file; and that file."""
    hacked, folder = tmp_path / "hacked", tmp_path / "hostile"
    command = tmp_path / "command"
    command.write_text(f"#!/bin/sh\ntouch '{hacked}'\n")
    command.chmod(0o755)
    repository = GitRepository(folder)
    repository.commit(
        a="1", folder__b="2", lazy__dvc_dot_lock="stages: {}\n", _dot_gitattributes="* filter=x diff=x\n"
    )
    repository.git("tag", "v1")
    repository.commit(a="2")
    lost = [repository.git("rev-parse", f"HEAD:{name}") for name in ("lazy/dvc.lock", "folder")]
    for digest in lost:
        (folder / ".git/objects" / digest[:2] / digest[2:]).unlink()
    hooks = tmp_path / "hooks"
    for place in (hooks, folder / ".git/hooks"):
        place.mkdir(exist_ok=True)
        for hook in (
            "reference-transaction",
            "post-index-change",
            "pre-auto-gc",
            "post-checkout",
            "post-rewrite",
        ):
            shutil.copy(command, place / hook)
    settings = {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.url": HOSTILE[request.param].format(folder=folder, command=command),
        "remote.origin.promisor": "true",
        "remote.origin.partialCloneFilter": "blob:none",
        "remote.origin.uploadpack": command,
        "uploadpack.packObjectsHook": command,
        "credential.helper": f"!{command}",
        "protocol.allow": "always",
        "protocol.ext.allow": "always",
        "core.hooksPath": hooks,
        "alias.rev-parse": f"!{command}",
        "filter.x.smudge": command,
        "diff.x.textconv": command,
        **dict.fromkeys(
            (
                "core.sshCommand",
                "core.fsmonitor",
                "core.gitProxy",
                "core.pager",
                "core.askPass",
                "core.editor",
                "core.alternateRefsCommand",
                "pager.cat-file",
                "diff.external",
                "gpg.program",
            ),
            command,
        ),
    }
    with (folder / ".git/config").open("a") as file:
        for name, value in settings.items():
            section, _, key = name.rpartition(".")
            group, _, part = section.partition(".")
            file.write(f'[{group} "{part}"]\n' if part else f"[{group}]\n")
            file.write(f'\t{key} = "{value}"\n')
    return hacked, folder


class TestGit:
    @pytest.mark.parametrize(
        ("rev", "commit"),
        [
            (None, "second"),
            ("main", "second"),
            ("side/branch", "first"),
            ("v1", "first"),
            ("v2", "first"),
            ("refs/tags/v2", "first"),
            ("HEAD", "second"),
            ("main~1", "first"),
        ],
    )
    def test_revisions(self, datasets, source, url, rev, commit):
        assert datasets.add("g", url, "dvc", rev=rev).lock.rev_lock == getattr(source, commit)

    def test_commits(self, datasets, source, url):
        for rev in (source.first, source.first[:10]):
            assert (
                datasets.add("g", url, "dvc", force=True, path="data/a", rev=rev).lock.rev_lock
                == source.first
            )

    def test_a_revision_that_is_none(self, datasets, url):
        for rev in ("nowhere", "0" * 40, "abcdef0", "v1~5"):
            with pytest.raises(NotFoundError, match=f"the git repository .* has no revision '{rev}'"):
                datasets.add("g", url, "dvc", force=True, rev=rev)
        assert "g" not in datasets

    @pytest.mark.parametrize(
        "path",
        [
            "data",
            "data/",
            "/data/a",
            "images",
            "images/1.jpg",
            "deep/big",
            "stages/model/x",
            "stages/other.bin",
        ],
    )
    def test_paths_in_git_or_tracked_by_dvc(self, datasets, source, server, path):
        for url in (str(source.folder), server):
            assert (
                datasets.add("g", url, "dvc", force=True, path=path, rev="v1").lock.rev_lock == source.first
            )

    @pytest.mark.parametrize("path", ["data/b", "dat", "image", "stages/other", "deep/bigger", "*"])
    def test_paths_that_are_not_there_at_that_revision(self, datasets, source, server, path):
        for url in (str(source.folder), server):
            with pytest.raises(NotFoundError, match=r"has no '.*' at 'v1', commit [0-9a-f]{40}"):
                datasets.add("g", url, "dvc", force=True, path=path, rev="v1")

    @pytest.mark.parametrize(
        "values",
        [
            {"url": "--upload-pack=touch hacked"},
            {"rev": "--output=hacked"},
            {"rev": "-x"},
            {"url": "a\nb"},
            {"path": "../x"},
            {"path": "a/../../x"},
        ],
    )
    def test_what_could_be_an_option(self, datasets, source, project, values):
        with pytest.raises(InvalidValueError):
            datasets.add("g", **{"url": str(source.folder), "type": "dvc", **values})
        assert not (project / "hacked").exists()

    @pytest.mark.parametrize("url", ["ext::sh -c touch% hacked", "fd::3", "ext::sh"])
    def test_protocols_that_run_programs(self, datasets, project, url, monkeypatch):
        monkeypatch.chdir(project)
        with pytest.raises((StorageError, NotFoundError)):
            datasets.add("g", url, "dvc")
        assert not (project / "hacked").exists()

    def test_no_repository(self, datasets, project, tmp_path):
        (tmp_path / "plain").mkdir()
        GitRepository(tmp_path / "empty")
        outer = GitRepository(tmp_path / "outer")
        outer.commit(inner__a="1")
        cases = {
            "../plain": "not a git repository",
            "../none": "is not a folder",
            "../empty": "has no commit yet",
        }
        for url, problem in (cases | {"../outer/inner": "not a git repository"}).items():
            with pytest.raises(NotFoundError, match=problem):
                datasets.add("g", url, "dvc")

    def test_a_repository_of_the_caller_is_not_taken_for_it(self, datasets, source, tmp_path, monkeypatch):
        other = GitRepository(tmp_path / "other")
        other.commit(a="1")
        monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
        assert datasets.add("g", str(source.folder), "dvc").lock.rev_lock == source.second

    def test_a_local_repository_runs_no_command_of_its_configuration(self, datasets, hostile):
        hacked, folder = hostile
        reads = [
            (None, "lazy/model"),
            ("main", "folder/b"),
            ("v1", "a"),
            (":a", ""),
            ("HEAD~1", ""),
            ("no", ""),
        ]
        for url in (str(folder), f"file://{folder}", "../hostile", f"{folder}/.git"):
            for rev, path in reads:
                with suppress(FramelodeError):
                    datasets.add("g", url, "dvc", path=path, rev=rev)
        assert not hacked.exists()

    def test_an_incomplete_clone_says_what_to_do(self, datasets, hostile):
        with pytest.raises(StorageError, match="partial clone with missing objects"):
            datasets.add("g", str(hostile[1]), "dvc", path="lazy/model")

    def test_git_is_missing(self, datasets, source, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UsageError, match="need the command git, which is not installed"):
            datasets.add("g", str(source.folder), "dvc")

    def test_a_server_that_hangs(self, project):
        with silent_server() as host, Datasets(project, timeout=0.3) as datasets:
            for place in ("git://", "http://"):
                with pytest.raises(StorageError, match=r"did not answer within 0\.3 seconds"):
                    datasets.add("g", f"{place}{host}/x", "dvc")
        assert left_behind() == []

    def test_a_server_that_is_not_there_and_passwords(self, datasets):
        with pytest.raises(StorageError, match="cannot be read"):
            datasets.add("g", "http://user@127.0.0.1:9/x.git", "dvc")
        with pytest.raises(InvalidValueError, match="contains a password") as caught:
            datasets.add("g", "http://user:s3cr3t@127.0.0.1:9/x.git", "dvc")
        assert "s3cr3t" not in str(caught.value)

    def test_status_when_the_source_is_gone(self, datasets, tmp_path):
        moving = GitRepository(tmp_path / "moving")
        moving.commit(a="1")
        datasets.add("g", "../moving", "dvc", path="a")
        moving.git("rm", "-q", "a")
        moving.commit()
        assert datasets.status() == {"g": "missing"}


def left_behind():
    """Return what this process has started and has not ended."""
    command = ["ps", "-o", "args=", "--ppid", str(os.getpid())]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return [line for line in found.stdout.splitlines() if "git" in line.split()[0] and " -C " in line]


class TestWeb:
    def test_what_the_server_calls_a_content(self, datasets):
        with web(a=(b"aa", '"e1"')) as (url, pages):
            assert datasets.add("u", f"{url}/a", "url").lock.meta == Meta(size=2, checksum='"e1"')
            assert datasets.status() == {"u": "ok"}
            pages["/a"] = (b"ab", '"e2"')
            assert datasets.status() == {"u": "stale"}
            assert datasets.update("u")[1].lock.meta.checksum == '"e2"'
            del pages["/a"]
            assert datasets.status() == {"u": "missing"}

    def test_a_digest_where_it_calls_it_nothing(self, datasets):
        with web(a=(b"a", None)) as (url, _):
            assert datasets.add("u", f"{url}/a", "url").lock.meta == Meta(
                size=1, md5="0cc175b9c0f1b6a831c399e269772661"
            )

    def test_a_folder_is_what_a_page_links_to(self, datasets):
        index = b'<a href="a">a</a> <a href="b">b</a> <a href="/elsewhere">no</a>'
        with web(**{"f/": (index, None), "f/a": (b"a", '"1"'), "f/b": (b"bb", None)}) as (url, _):
            made = datasets.add("u", f"{url}/f/", "url")
            assert made.lock.meta == Meta(isdir=True, size=3, nfiles=2)
            assert made.lock.files[0] == FileInfo(relpath="a", meta=Meta(size=1, checksum='"1"'))

    def test_what_is_not_there(self, datasets):
        with web() as (url, _):
            with pytest.raises(NotFoundError, match="there is nothing at"):
                datasets.add("u", f"{url}/a", "url")
            with pytest.raises(StorageError, match="500"):
                datasets.add("u", f"{url}/broken", "url")

    def test_a_server_that_hangs(self, project):
        with (
            silent_server() as host,
            Datasets(project, timeout=0.3) as datasets,
            pytest.raises(StorageError, match=r"did not answer within 0\.3 seconds: try again"),
        ):
            datasets.add("u", f"http://{host}/x", "url")
        assert not (project / "dvc.yaml").exists()

    def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(self, datasets):
        index = {"f/": (b'<a href="a">a</a> <a href="sub/">sub</a>', None), "f/a": (b"a", '"1"')}
        with web(**index, **{"f/sub": (b'<a href="b">b</a>', None), "f/sub/b": (b"b", '"2"')}) as (
            url,
            pages,
        ):
            with pytest.raises(NotFoundError, match="there is nothing at"):
                datasets.add("u", f"{url}/none/", "url")
            made = datasets.add("u", f"{url}/f/", "url")
            assert [file.relpath for file in made.lock.files] == ["a", "sub/b"]
            del pages["/f/sub"]
            assert datasets.status() == {"u": "missing"}
            with pytest.raises(NotFoundError, match="there is nothing at"):
                datasets.update("u")
        with pytest.raises(StorageError, match="cannot be read"):
            datasets.add("v", "http://127.0.0.1:9/f/", "url")

    def test_a_response_that_never_ends(self, datasets, monkeypatch):
        with web(a=(b"a", None)) as (url, _):
            # The client that is reused keeps its usual limit.
            datasets.add("a", f"{url}/a", "url")
            monkeypatch.setattr(url_source, "_WHOLE", 0.001)
            with pytest.raises(StorageError, match="has no length, and did not end within 0.06 seconds"):
                datasets.add("u", f"{url}/endless", "url")
        assert list(datasets) == ["a"]

    def test_a_folder_page_that_never_ends(self, datasets, monkeypatch):
        monkeypatch.setattr(url_source, "_PAGE", 1 << 20)
        with web() as (url, _), pytest.raises(StorageError, match="a page of more than 1,048,576 bytes"):
            datasets.add("u", f"{url}/endless/", "url")
        assert len(datasets) == 0


class TestS3:
    @pytest.fixture(autouse=True)
    def _account(self, monkeypatch):
        pytest.importorskip("s3fs")
        for name, value in s3_environment().items():
            monkeypatch.setenv(name, value)

    @pytest.fixture(params=["plain", "versioned"])
    def bucket(self, request):
        if request.param == "plain":
            return BUCKET
        name = f"versioned-{uuid.uuid4().hex}"
        s3_filesystem().call_s3("create_bucket", Bucket=name)
        s3_filesystem().make_bucket_versioned(name)
        return name

    def test_files_and_folders(self, datasets, bucket):
        prefix, filesystem = f"{bucket}/{uuid.uuid4().hex}", s3_filesystem()
        for name, data in {"a.txt": b"a", "sub/b.txt": b"bb", "sub/deeper/c é.txt": b"ccc"}.items():
            filesystem.pipe_file(f"{prefix}/{name}", data)
        one = datasets.add("one", f"s3://{prefix}/a.txt", "url")
        assert (one.lock.meta.size, one.lock.meta.etag) == (1, "0cc175b9c0f1b6a831c399e269772661")
        assert (one.lock.meta.version_id is not None) == (bucket != BUCKET)
        all_ = datasets.add("all", f"s3://{prefix}", "url")
        assert all_.lock.meta == Meta(isdir=True, size=6, nfiles=3)
        assert [file.relpath for file in all_.lock.files] == ["a.txt", "sub/b.txt", "sub/deeper/c é.txt"]
        assert all_.lock.files[0].meta == one.lock.meta
        assert datasets.status() == {"one": "ok", "all": "ok"}
        filesystem.pipe_file(f"{prefix}/a.txt", b"x")
        assert datasets.status() == {"one": "stale", "all": "stale"}
        datasets.update("all")
        filesystem.rm(f"{prefix}/sub", recursive=True)
        assert datasets.status("all") == {"all": "stale"}
        filesystem.rm(prefix, recursive=True)
        assert datasets.status() == {"one": "missing", "all": "missing"}

    def test_what_is_not_there(self, datasets):
        with pytest.raises(NotFoundError, match="there is nothing at"):
            datasets.add("u", f"s3://{BUCKET}/none", "url")
        with pytest.raises((NotFoundError, StorageError)):
            datasets.add("u", "s3://no-such-bucket-anywhere/none", "url")


class TestOtherFilesystems:
    def test_memory(self, datasets):
        name = uuid.uuid4().hex
        filesystem = fsspec.filesystem("memory")
        filesystem.pipe({f"/{name}/a": b"a", f"/{name}/b/c": b"bc"})
        assert datasets.add("u", f"memory://{name}", "url").lock.meta == Meta(isdir=True, size=3, nfiles=2)
        assert (
            datasets.add("v", f"memory://{name}/a", "url").lock.meta.md5 == "0cc175b9c0f1b6a831c399e269772661"
        )
        filesystem.pipe({f"/{name}/b/c": b"cc"})
        assert datasets.status() == {"u": "stale", "v": "ok"}

    @pytest.mark.parametrize(
        ("url", "kind"),
        [
            ("memory://none/at/all", NotFoundError),
            ("nothing://x/y", UsageError),
            ("remote://storage/x", UsageError),
            ("~nobody-of-that-name/x", UsageError),
            ("no/such/file", NotFoundError),
            ("file:///no/such/file", NotFoundError),
            ("", InvalidValueError),
            ("a\0b", InvalidValueError),
            ("s3://", (NotFoundError, UsageError, StorageError)),
            ("http://", (NotFoundError, UsageError, StorageError)),
            ("::", (NotFoundError, UsageError, StorageError)),
        ],
    )
    def test_what_is_no_place(self, datasets, url, kind):
        with pytest.raises(kind):
            datasets.add("u", url, "url")
        assert len(datasets) == 0


class TestLocalFolders:
    def test_odd_names_and_programs(self, datasets, tmp_path):
        folder = tmp_path / "odd"
        folder.mkdir()
        names = ["it's", "a: b", "#x", "- y", "line\nbreak", "tab\t", "é", "true", "1", " lead", "\x7f"]
        for name in names:
            (folder / name).write_text(name)
        (folder / "#x").chmod(0o755)
        made = datasets.add("u", "../odd", "url")
        assert [file.relpath for file in made.lock.files] == sorted(names)
        assert [file.relpath for file in made.lock.files if file.meta.isexec] == ["#x"]
        assert datasets["u"] == made
        assert datasets.status() == {"u": "ok"}

    def test_links(self, datasets, tmp_path):
        folder = tmp_path / "links"
        (folder / "real").mkdir(parents=True)
        (folder / "real" / "a").write_text("a")
        (folder / "again").symlink_to("real")
        made = datasets.add("u", str(folder), "url")
        assert [file.relpath for file in made.lock.files] == ["again/a", "real/a"]
        (folder / "real" / "up").symlink_to("..")
        with pytest.raises(InvalidValueError, match="is a link to a folder that contains it"):
            datasets.update("u")
        (folder / "real" / "up").unlink()
        (folder / "real" / "gone").symlink_to("nowhere")
        with pytest.raises(StorageError, match="gone' cannot be read: No such file"):
            datasets.update("u")

    def test_what_is_no_file(self, datasets, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InvalidValueError, match="is not a regular file"):
            datasets.add("u", "../pipe", "url")
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "folder" / "pipe")
        with pytest.raises(InvalidValueError, match="is not a regular file"):
            datasets.add("u", "../folder", "url")

    def test_names_that_are_no_text(self, datasets, tmp_path):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / os.fsdecode(b"\xff")).touch()
        with pytest.raises(InvalidValueError, match=r"the file name '\\udcff' is not valid UTF-8"):
            datasets.add("u", "../folder", "url")

    def test_an_empty_folder(self, datasets, tmp_path):
        (tmp_path / "empty").mkdir()
        made = datasets.add("u", "../empty", "url")
        assert made.lock.meta == Meta(isdir=True, size=0, nfiles=0)
        assert datasets.status() == {"u": "ok"}
        (tmp_path / "empty" / "a").touch()
        assert datasets.status() == {"u": "stale"}


MANY = """
import re, sys
from contextlib import suppress
from pathlib import Path
from framelode.adapters.pinned_datasets.datasets import Datasets
with Datasets(sys.argv[1]) as datasets:
    datasets.add("many", sys.argv[2], "url")
    assert datasets["many"].lock.meta.nfiles == int(sys.argv[3])
    assert datasets.status() == {"many": "ok"}
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells memory as Linux does")
@pytest.mark.parametrize("count", [500, pytest.param(200_000, marks=pytest.mark.long)])
def test_a_folder_of_many_files(project, tmp_path, count):
    for number in range(count):
        if number % 2000 == 0:
            (tmp_path / "many" / str(number // 2000)).mkdir(parents=True)
        (tmp_path / "many" / str(number // 2000) / f"{number}.jpg").write_bytes(b"%d" % number)
    command = [sys.executable, "-c", MANY, str(project), str(tmp_path / "many"), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    # Two kilobytes a file beside what the program itself takes.
    assert int(done.stdout) < 200 + count / 500
