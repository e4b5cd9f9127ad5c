"""A revision of a remote is the commit that git finds on a clone of it, whatever the protocol and the user's settings."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from git_remotes import GitTrace, http_server, local_ssh
from git_repository import ENVIRONMENT, GitRepository, git_server

from framelode.adapters.pinned_datasets.datasets import Datasets
from framelode.adapters.pinned_datasets.git_source import resolve_commit
from framelode.engine.errors import InvalidValueError, NotFoundError

PROTOCOLS = ("git", "smart", "dumb", "ssh", "folder", "file")
FORMS = (
    "",
    "HEAD",
    "@",
    "HEAD~1",
    "HEAD^",
    "HEAD~1^2",
    "HEAD^1~1",
    "HEAD~2^0",
    "@~1",
    "@^",
    "HEAD^0",
    "HEAD^{}",
    "HEAD^{commit}",
    "HEAD^{/base}",
    "trunk",
    "trunk~1",
    "heads/trunk",
    "refs/heads/trunk",
    "refs/heads/trunk~1",
    "origin",
    "origin/trunk",
    "origin/trunk~1",
    "origin/HEAD",
    "origin/side",
    "origin/side^",
    "origin/topic/deep",
    "remotes/origin/side",
    "refs/remotes/origin/side",
    "refs/remotes/origin/HEAD",
    "light",
    "light~1",
    "light^{}",
    "tags/light",
    "refs/tags/light",
    "full",
    "full^{}",
    "full^{commit}",
    "full~1",
    "full^0",
    "twice",
    "twice^{}",
    "twice^{commit}~1",
    "both",
    "heads/both",
    "v/1.0",
    "v/1.0^",
    ":/base",
    ":/second of side",
    ":/^third",
    "full^{/base}",
    "{head}",
    "{HEAD}",
    "{head}~1",
    "{short}",
    "{SHORT}",
    "{short}^",
    "{tag}",
    "{describe}",
    "{describe}~1",
    "any-words-g{short}",
    "abcd",
    "origin/odd",
)
NOWHERE = (
    "none",
    "HEAD~99",
    "HEAD^3",
    "tree",
    "HEAD^{tree}",
    "HEAD:file",
    ":file",
    ":/no such message",
    "FETCH_HEAD",
    "ORIG_HEAD",
    "main",
    "mine",
    "light..full",
    "^light",
    "0" * 40,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A repository whose default branch is `trunk`, with merges, tags of all kinds, and names that mislead."""
    repository = GitRepository(tmp_path_factory.mktemp("git") / "source")
    git = repository.git

    def commit(message, **files):
        repository.commit(**files)
        git("commit", "-q", "--amend", "--allow-empty", "-m", message)

    git("symbolic-ref", "HEAD", "refs/heads/trunk")
    commit("first")
    commit("base", file="1", data__dvc_dot_lock="stages: {a: {outs: [{path: model}]}}\n")
    git("tag", "light")
    git("branch", "topic/deep")
    git("checkout", "-q", "-b", "side")
    commit("second of side", file="2", side="1")
    git("branch", "both", "light")
    git("tag", "both")
    git("branch", "abcd")
    git("branch", "origin/odd", "light")
    git("checkout", "-q", "trunk")
    commit("third", other="3")
    git("branch", "odd")
    git("tag", "-a", "full", "-m", "a tag")
    git("tag", "-a", "twice", "full", "-m", "a tag of a tag")
    git("tag", "v/1.0")
    git("tag", "tree", "HEAD^{tree}")
    git("merge", "-q", "--no-ff", "-m", "merge", "side")
    commit("last", file="4")
    git("config", "uploadpack.allowFilter", "true")
    git("config", "uploadpack.allowAnySHA1InWant", "true")
    git("repack", "-q", "-a", "-d")
    git("update-server-info")
    return repository


@pytest.fixture(scope="module")
def names(source):
    head, tag = source.git("rev-parse", "HEAD", "full").split()
    describe = source.git("describe")
    return {
        "head": head,
        "HEAD": head.upper(),
        "short": head[:9],
        "SHORT": head[:9].upper(),
        "tag": tag,
        "describe": describe,
    }


@pytest.fixture(scope="module")
def clone(source, tmp_path_factory):
    """Return what a clone finds, None if nothing."""
    folder = tmp_path_factory.mktemp("clone") / "clone"
    environment = {**os.environ, **ENVIRONMENT}
    subprocess.run(["git", "clone", "-q", f"file://{source.folder}", folder], env=environment, check=True)

    def find(rev):
        # What follows `:/` is an expression to the end.
        wanted = rev if rev.startswith(":/") else f"{rev or 'HEAD'}^{{commit}}"
        done = subprocess.run(
            ["git", "rev-parse", "--quiet", "--verify", wanted],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        found = done.stdout.strip()
        return found if re.fullmatch("[0-9a-f]{40}", found) else None

    return find


@pytest.fixture(scope="module")
def urls(source):
    folder = source.folder.parent
    with (
        git_server(folder) as git,
        http_server(folder, smart=True) as smart,
        http_server(folder, smart=False) as dumb,
    ):
        yield {
            "git": f"{git}/source",
            "smart": f"{smart}/source/.git",
            "dumb": f"{dumb}/source/.git",
            "ssh": f"ssh://there{source.folder}",
            "folder": str(source.folder),
            "file": f"file://{source.folder}",
        }


@pytest.fixture
def trace(tmp_path, monkeypatch):
    """Settings of a user whose default branch is another one; gives the git processes that were run."""
    settings = tmp_path / "gitconfig"
    settings.write_text("[init]\n\tdefaultBranch = mine\n[fetch]\n\tprune = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(tmp_path / "trace"))
    for name, value in local_ssh(tmp_path).items():
        monkeypatch.setenv(name, value)
    return lambda: GitTrace(tmp_path / "trace")


def check(trace):
    """One git at a time, which starts no further fetch."""
    found = trace()
    assert found.at_once == 1
    assert found.nested_fetches == []
    assert found.depth <= 4


def resolved(url, rev, root, path=""):
    return resolve_commit(url, rev, path, root, 60.0)


def pairs(*, whole):
    return [
        pytest.param(protocol, form, id=f"{protocol}-{form or 'default'}")
        for at, form in enumerate(FORMS)
        for which, protocol in enumerate(PROTOCOLS)
        if whole or which == at % len(PROTOCOLS)
    ]


def check_form(protocol, form, urls, clone, names, tmp_path):
    rev = form
    for name, value in names.items():
        rev = rev.replace(f"{{{name}}}", value)
    expected = clone(rev)
    found = resolved(urls[protocol], rev, tmp_path)
    if expected is None:
        # A clone has this branch only as a remote one.
        expected = clone(f"origin/{rev.removeprefix('heads/')}")
    assert expected is not None
    assert found == expected


@pytest.mark.parametrize(("protocol", "form"), pairs(whole=False))
def test_a_form_of_revision_is_what_a_clone_finds(protocol, form, urls, clone, names, tmp_path, trace):
    check_form(protocol, form, urls, clone, names, tmp_path)
    check(trace)


@pytest.mark.long
@pytest.mark.parametrize(("protocol", "form"), pairs(whole=True))
def test_each_form_of_revision_over_each_protocol(protocol, form, urls, clone, names, tmp_path, trace):
    check_form(protocol, form, urls, clone, names, tmp_path)
    check(trace)


@pytest.mark.parametrize("protocol", PROTOCOLS[:4])
def test_a_tag_of_a_remote_is_followed_to_its_commit(protocol, urls, clone, names, tmp_path, trace):
    """Servers list the object of a tag under the name of the tag with `^{}`, which no fetch accepts."""
    for form in ("full^{}", "twice^{}"):
        check_form(protocol, form, urls, clone, names, tmp_path)


def check_nowhere(protocol, rev, urls, clone, tmp_path):
    assert clone(rev) is None
    with pytest.raises((NotFoundError, InvalidValueError), match="revision"):
        resolved(urls[protocol], rev, tmp_path)


@pytest.mark.parametrize("at", range(len(NOWHERE)), ids=NOWHERE)
def test_what_a_clone_does_not_find_is_not_found(at, urls, clone, tmp_path, trace):
    check_nowhere(PROTOCOLS[at % 4], NOWHERE[at], urls, clone, tmp_path)
    check(trace)


@pytest.mark.long
@pytest.mark.parametrize("rev", NOWHERE)
@pytest.mark.parametrize("protocol", PROTOCOLS[:4])
def test_what_a_clone_does_not_find_is_not_found_over_each_protocol(
    protocol, rev, urls, clone, tmp_path, trace
):
    check_nowhere(protocol, rev, urls, clone, tmp_path)
    check(trace)


@pytest.mark.parametrize("rev", ["@{upstream}", "HEAD@{1}", "trunk@{yesterday}", "@{-1}", "side@{0}"])
@pytest.mark.parametrize("protocol", ["git", "folder"])
def test_a_revision_of_one_clone_only_is_refused(protocol, rev, urls, tmp_path):
    with pytest.raises(InvalidValueError, match="depends on the reflog or the configuration of one clone"):
        resolved(urls[protocol], rev, tmp_path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_path_is_looked_up_with_one_git_at_a_time(protocol, urls, source, tmp_path, trace):
    """The output of a stage is in a lock file, whose content a filter leaves out."""
    url, head = urls[protocol], source.git("rev-parse", "HEAD")
    assert resolved(url, None, tmp_path, "data/model/x") == head
    assert resolved(url, "", tmp_path, "data/../other") == head
    assert resolved(url, "HEAD~1", tmp_path, "side") == source.git("rev-parse", "HEAD~1")
    with pytest.raises(NotFoundError, match="has no 'data/other'"):
        resolved(url, "trunk", tmp_path, "data/other")
    check(trace)


def test_a_dot_in_a_sub_folder_is_the_enclosing_repository(source, tmp_path):
    head = source.git("rev-parse", "HEAD")
    assert resolved(".", None, source.folder / "data", "file") == head
    assert resolved("..", None, source.folder / "data", "file") == head
    (source.folder / "data" / "plain").mkdir(exist_ok=True)
    with pytest.raises(NotFoundError, match="there is no git repository 'plain'"):
        resolved("plain", None, source.folder / "data", "file")


def test_a_name_with_a_line_separator_is_one_name(tmp_path):
    repository = GitRepository(tmp_path / "odd")
    commit = repository.commit(a="1")
    repository.git("branch", "a\u2028b")
    with git_server(tmp_path) as url:
        assert resolved(f"{url}/odd", "a\u2028b", tmp_path) == commit
        with pytest.raises(NotFoundError, match="has no revision 'a'"):
            resolved(f"{url}/odd", "a", tmp_path)


def test_a_head_that_is_no_branch_is_the_head_of_a_clone(tmp_path, trace):
    repository = GitRepository(tmp_path / "detached")
    first, second = repository.commit(a="1"), repository.commit(a="2")
    third = repository.commit(a="3")
    repository.git("checkout", "-q", "--detach", second)
    with git_server(tmp_path) as url:
        found = [resolved(f"{url}/detached", rev, tmp_path) for rev in (None, "HEAD", "@", "HEAD~1", "main")]
    assert found == [second, second, second, first, third]
    check(trace)


def test_a_dataset_is_pinned_to_the_commit_of_the_remote_not_of_the_users_branch(
    urls, clone, tmp_path, trace
):
    (tmp_path / "project").mkdir()
    with Datasets(tmp_path / "project") as datasets:
        for protocol in PROTOCOLS:
            made = datasets.add("g", urls[protocol], "dvc", force=True, rev="HEAD~1")
            assert made.lock.rev_lock == clone("HEAD~1")
    check(trace)
