"""Resolves commits and paths of git repositories with the command `git`."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ...engine.errors import InvalidValueError, NotFoundError, StorageError, UsageError
from ...engine.storage.atomic_files import from_home
from ...engine.validation import shorten
from .yaml.document import parse_mapping
from .yaml.tree import to_python

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FULL_HASH = re.compile(_COMMIT.pattern, re.IGNORECASE)
# An abbreviated hash, also at the end of a name that `git describe` printed.
_ABBREVIATED = re.compile(r"(?:.+-g)?[0-9a-f]{4,64}", re.IGNORECASE | re.DOTALL)
_OPERATORS = re.compile(r"[~^:]")
# A branch of the folder as a clone of it calls it.
_OF_CLONE = re.compile(r"(?:(?:refs/)?remotes/)?origin(?:/(?P<branch>[^~^:]+))?(?P<rest>[~^].*)?", re.DOTALL)
# The order in which git looks up a name.
_RULES = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")
_HOST_PATH = re.compile(r"(?:[^/:@\s]+@)?[^/:@\s]{2,}:(?!//)")
_PROTOCOLS = "file:git:http:https:ssh"
_CONFIG_SECONDS = 10.0
_LOCK_BYTES = 4 << 20
_NAME = "pinned"
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules")
_OPTIONS = (
    "--no-pager",
    "-c",
    "credential.interactive=false",
    # Against commands that the configuration of an untrusted repository could run while it is only read.
    "-c",
    "core.fsmonitor=false",
    "-c",
    f"core.hooksPath={os.devnull}",
    "-c",
    "core.alternateRefsCommand=",
    # Against processes that continue after a fetch.
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
)
# Fixed releases of git that were the first to obey GIT_NO_LAZY_FETCH: (2, 39) stands for 2.39.4.
_NO_LAZY_FETCH = {39: 4, 40: 2, 41: 1, 42: 2, 43: 4, 44: 1}
# A git hook may have started this process with variables for its own repository.
_OWN_REPOSITORY = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CEILING_DIRECTORIES",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
)


def resolve_commit(url: str, rev: str | None, path: str, root: Path, timeout: float) -> str:
    """Return the full commit hash of a revision.

    Parameters
    ----------
    url : str
        A folder, relative to `root`, or the URL of a repository.
    rev : str or None
        Any revision that git resolves on a clone, such as a branch, tag or commit. None or empty is the default branch, or for a
        folder the checked-out commit.
    path : str
        Path that must exist at the revision, in git or tracked by DVC. Empty for the repository itself.
    timeout : float
        Maximum seconds of each call of `git`.

    Raises
    ------
    NotFoundError
        There is no such repository, revision or path.
    InvalidValueError
        The URL, revision or path is invalid.
    StorageError
        `git` did not answer in time, or failed.
    UsageError
        `git` is not installed.
    """
    rev = rev or None
    for what, value in (("url", url), ("rev", rev)):
        if value is not None and (not value or value.startswith("-") or re.search(r"[\x00-\x1f\x7f]", value)):
            raise InvalidValueError(f"{shorten(value)} is not a valid {what} of a git repository")
    if rev is not None and "@{" in rev:
        raise InvalidValueError(
            f"the revision {shorten(rev)} depends on the reflog or the configuration of one clone: write a branch, tag or commit"
        )
    wanted = _checked_path(path)
    folder = _local_folder(url, root)
    if folder is not None:
        git = _Git(folder, timeout, url, is_ours=False, is_around=root.is_relative_to(folder.resolve()))
        return _resolve(git, _local_names(rev), wanted, rev)
    with tempfile.TemporaryDirectory(prefix="framelode-git-", ignore_cleanup_errors=True) as scratch:
        remote = _Remote(Path(scratch), timeout, url)
        return _resolve(*remote.fetched(rev), wanted, rev)


def excludes_file(folder: Path) -> Path:
    """Return the file with the user's own rules of what git ignores, which may be missing."""
    default = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "git" / "ignore"
    if shutil.which("git") is None:
        return default
    git = _Git(folder, _CONFIG_SECONDS, str(folder), is_ours=False)
    found = git.ask("config", "--path", "--get", "core.excludesFile")
    return Path(os.fsdecode(found).rstrip("\n")) if found else default


def _checked_path(path: str) -> str:
    inside = posixpath.normpath(path.strip("/")) if path.strip("/") else "."
    if inside.split("/")[0] == ".." or "\0" in path:
        raise InvalidValueError(f"the path {shorten(path)} leads out of the repository")
    return "" if inside == "." else inside


def _local_folder(url: str, root: Path) -> Path | None:
    """Return the folder of a local repository, or None for a remote one."""
    parts = urlsplit(url) if url.startswith("file://") else None
    if parts is not None:
        place = Path(unquote(parts.path))
    elif "://" in url:
        return None
    else:
        place = root / from_home(url)
    if place.is_dir():
        return place
    if parts is None and _HOST_PATH.match(url):
        return None
    raise NotFoundError(f"there is no git repository {shorten(url)}: {place} is not a folder")


def _local_names(rev: str | None) -> Sequence[str]:
    if rev is None:
        return ("HEAD",)
    # A branch that was never checked out exists only as a remote branch.
    names = (rev, f"refs/remotes/origin/{rev}")
    on_clone = _OF_CLONE.fullmatch(rev)
    if on_clone is None:
        return names
    branch, rest = on_clone["branch"], on_clone["rest"] or ""
    named = f"HEAD{rest}" if branch in {None, "HEAD"} else f"refs/heads/{branch}{rest}"
    # Only a tag comes before a remote branch there; a branch of the folder with this name is another remote branch.
    return (f"refs/tags/{rev}", named, *names)


def _resolve(git: _Git, names: Sequence[str], path: str, rev: str | None) -> str:
    commit = next((found for name in names if (found := git.commit(name))), None)
    if commit is None:
        git.require_repository()
        raise _no_revision(git.shown, rev)
    if path and not _holds(git, commit, path):
        what = f"{shorten(rev)}, commit {commit}" if rev else f"commit {commit}"
        raise NotFoundError(f"the git repository {git.shown} has no {shorten(path)} at {what}")
    return commit


def _no_revision(shown: str, rev: str | None) -> NotFoundError:
    if rev is None:
        return NotFoundError(f"the git repository {shown} has no commit yet")
    return NotFoundError(f"the git repository {shown} has no revision {shorten(rev)}")


def _holds(git: _Git, commit: str, path: str) -> bool:
    """Whether a commit has a path, in git or as data tracked by DVC."""
    if git.lists(commit, path):
        return True
    parts = path.split("/")
    for depth in range(len(parts), 0, -1):
        if git.lists(commit, "/".join(parts[:depth]) + ".dvc"):
            return True
        beside = "/".join([*parts[: depth - 1], "dvc.lock"])
        lock = git.blob(commit, beside) if git.lists(commit, beside) else None
        if lock is not None and any(_leads_to(out, parts[depth - 1 :]) for out in _outs(lock)):
            return True
    return False


def _outs(lock: bytes) -> list[str]:
    """Return the outputs of the stages in a DVC lock file."""
    if len(lock) > _LOCK_BYTES:
        return []
    try:
        root = parse_mapping(lock.decode(), "dvc.lock")
        stages = (to_python(root, "dvc.lock") if root else {}).get("stages") or {}
        outs = [out for stage in stages.values() for out in stage.get("outs") or []]
        return [out["path"] for out in outs if isinstance(out["path"], str)]
    except (InvalidValueError, UnicodeDecodeError, AttributeError, TypeError, KeyError):
        # A lock file that DVC cannot read has no outputs either.
        return []


def _leads_to(out: str, parts: Sequence[str]) -> bool:
    return out.strip("/").split("/") == list(parts[: len(out.strip("/").split("/"))])


class _Remote:
    """A remote repository, fetched into bare repositories as far as needed to resolve a revision as on a clone.

    Each attempt uses a new repository, because a failed one may leave a configuration that changes the next.

    Parameters
    ----------
    scratch : Path
        An empty folder for the repositories.
    timeout : float
        Maximum seconds of each call of `git`.
    url : str
        URL of the repository.
    """

    def __init__(self, scratch: Path, timeout: float, url: str) -> None:
        self._scratch, self._timeout, self._url = scratch, timeout, url
        self._made = 0
        git = self._new_repository()
        self._shown = git.shown
        self._filter = ("--filter=blob:none",) if git.obeys_no_lazy_fetch() else ()
        self._hashes: dict[str, str] = {}
        self._head: str | None = None
        listed = git.run("ls-remote", "--symref", "--quiet", _NAME).decode(errors="surrogateescape")
        # Names may have characters that `splitlines` takes for line ends.
        for line in filter(None, listed.split("\n")):
            value, _, name = line.partition("\t")
            if value.startswith("ref: "):
                self._head = value.removeprefix("ref: ") if name == "HEAD" else self._head
            elif not name.endswith("^{}"):
                self._hashes[name] = value
        if self._head not in self._hashes or not str(self._head).startswith("refs/heads/"):
            self._head = None

    def fetched(self, rev: str | None) -> tuple[_Git, Sequence[str]]:
        """Return a repository with a revision, and the names to look it up by."""
        if not self._hashes or (rev is None and "HEAD" not in self._hashes):
            raise _no_revision(self._shown, rev)
        if rev is not None and _FULL_HASH.fullmatch(rev):
            git = self._new_repository()
            if git.tries(*_FETCH, *self._filter, "--depth=1", _NAME, rev.lower()):
                return git, (rev,)
            return self._history(rev)
        wanted = self._advertised(rev)
        if wanted is not None:
            return self._fetch([wanted], "--depth=1"), ("FETCH_HEAD",)
        if rev is None or not (_ABBREVIATED.fullmatch(rev) or _OPERATORS.search(rev)):
            raise _no_revision(self._shown, rev)
        return self._history(rev)

    def _advertised(self, rev: str | None) -> str | None:
        """Return the full name of the branch or tag that a revision names on a clone, or None if it is neither."""
        if rev in {None, "HEAD", "@"}:
            return "HEAD"
        held = {
            _on_clone(name): name for name in self._hashes if name.startswith(("refs/heads/", "refs/tags/"))
        }
        if self._head is not None:
            held |= {self._head: self._head, "refs/remotes/origin/HEAD": self._head}
        found = next((held[name] for rule in _RULES if (name := rule.format(rev)) in held), None)
        # A clone does not have these under this name: other branches, and refs such as those of pull requests.
        others = (f"refs/heads/{rev}", str(rev), f"refs/{rev}")
        return found or next((name for name in others if name in self._hashes), None)

    def _history(self, rev: str) -> tuple[_Git, Sequence[str]]:
        """Return a repository with all commits and the refs of a clone."""
        refs = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
        if self._head is not None:
            git = self._fetch(refs)
            git.run("update-ref", self._head, _on_clone(self._head))
            git.run("symbolic-ref", "HEAD", self._head)
            git.run("symbolic-ref", "refs/remotes/origin/HEAD", _on_clone(self._head))
        elif "HEAD" in self._hashes:
            git = self._fetch([*refs, "HEAD"])
            git.run("update-ref", "--no-deref", "HEAD", self._hashes["HEAD"])
        else:
            git = self._fetch(refs)
        git.forget_fetch()
        return git, (rev, f"refs/remotes/origin/{rev}")

    def _fetch(self, refs: Sequence[str], *options: str) -> _Git:
        """Return a new repository with refs. Options that the server does not support are left out."""
        options = (*self._filter, *options)
        git = self._new_repository()
        if options and not git.tries(*_FETCH, *options, _NAME, *refs):
            git = self._new_repository()
            options = ()
        if not options:
            git.run(*_FETCH, _NAME, *refs)
        return git

    def _new_repository(self) -> _Git:
        self._made += 1
        folder = self._scratch / str(self._made)
        folder.mkdir()
        git = _Git(folder, self._timeout, self._url, is_ours=True)
        git.run("init", "--quiet", "--bare", "--template=", ".")
        git.run("config", f"remote.{_NAME}.url", self._url)
        return git


def _on_clone(name: str) -> str:
    """Return the name that a ref of a remote has on a clone."""
    branch = name.removeprefix("refs/heads/")
    return name if branch == name else f"refs/remotes/origin/{branch}"


class _Git:
    """Runs `git` in a repository, without a shell, a terminal or prompts, and with a timeout.

    A repository that framelode did not create is only read: git runs no commands from its configuration, and fetches nothing
    into it, because the configuration could name a command for that too. Git itself rejects repositories of other users.
    """

    def __init__(
        self, folder: Path, timeout: float, shown: str, *, is_ours: bool, is_around: bool = False
    ) -> None:
        self._is_ours = is_ours
        self._is_around = is_around
        self._folder = folder.resolve()
        self._timeout = timeout
        self.shown = shorten(shown)
        found = shutil.which("git")
        if found is None:
            raise UsageError(
                "datasets of the type dvc need the command git, which is not installed or not on the PATH"
            )
        self._command = found

    def commit(self, rev: str) -> str | None:
        """Return the full hash of a revision's commit, or None if there is none."""
        if rev.startswith(":/"):
            # The rest is an expression to search messages with, also an operator at its end.
            found = self._parsed(rev)
            return self._parsed(f"{found}^{{commit}}") if found else None
        return self._parsed(f"{rev}^{{commit}}")

    def _parsed(self, rev: str) -> str | None:
        found = self.ask("rev-parse", "--quiet", "--verify", "--end-of-options", rev)
        digest = (found or b"").decode(errors="replace").strip()
        return digest if _COMMIT.fullmatch(digest) else None

    def obeys_no_lazy_fetch(self) -> bool:
        """Whether this git can be kept from fetching missing objects on its own, which may start one fetch in another."""
        found = re.search(rb"version 2\.(\d+)\.(\d+)", self.run("version"))
        minor, patch = (int(found[1]), int(found[2])) if found else (0, 0)
        return patch >= _NO_LAZY_FETCH.get(minor, 0 if minor > max(_NO_LAZY_FETCH) else patch + 1)

    def blob(self, commit: str, path: str) -> bytes | None:
        """Return the content of a file, which is fetched if a filter left it out."""
        found = self.ask("cat-file", "blob", f"{commit}:{path}")
        digest = self._parsed(f"{commit}:{path}") if found is None and self._is_ours else None
        if digest is not None:
            self.run(*_FETCH, _NAME, digest)
            found = self.ask("cat-file", "blob", digest)
        return found

    def forget_fetch(self) -> None:
        """Remove what git wrote of the last fetch, which a clone does not have."""
        (self._folder / "FETCH_HEAD").unlink(missing_ok=True)

    def lists(self, commit: str, path: str) -> bool:
        """Whether a commit has a path. Its content is not fetched."""
        return bool(self.ask("ls-tree", "--full-tree", "-z", commit, "--", path))

    def require_repository(self) -> None:
        """Raise `NotFoundError` if the folder is not a repository, or git does not trust it."""
        status, _, said = self._call("rev-parse", "--git-dir")
        if status:
            raise NotFoundError(f"there is no git repository {self.shown}: {_reason(said)}")

    def ask(self, *arguments: str) -> bytes | None:
        """Return the output of git, or None if it fails."""
        status, printed, _ = self._call(*arguments)
        return None if status else printed

    def run(self, *arguments: str) -> bytes:
        """Return the output of git. Raises `StorageError` if it fails."""
        status, printed, said = self._call(*arguments)
        if status:
            raise StorageError(f"the git repository {self.shown} cannot be read: {_reason(said)}")
        return printed

    def tries(self, *arguments: str) -> bool:
        """Whether git succeeds with something that some servers do not support."""
        return self.ask(*arguments) is not None

    def _call(self, *arguments: str) -> tuple[int, bytes, bytes]:
        options = ("-C", str(self._folder), *_OPTIONS)
        command = [self._command, *options, *arguments]
        with subprocess.Popen(  # noqa: S603 - no shell, and nothing given can be read as an option
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(),
            # Without a terminal nothing can prompt for a password, and child processes of git end with it.
            start_new_session=True,
        ) as process:
            try:
                printed, said = process.communicate(timeout=self._timeout)
            except subprocess.TimeoutExpired as error:
                raise StorageError(
                    f"the git repository {self.shown} did not answer within {self._timeout:g} seconds: try again, or use a "
                    "longer timeout"
                ) from error
            finally:
                # Also what git left running when it ended.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
        if not self._is_ours and process.returncode and re.search(rb"promisor|lazy fetching", said):
            raise StorageError(
                f"the git repository {self.shown} is a partial clone with missing objects, which framelode does not fetch: "
                "fetch them with git, or use the URL that it was cloned from"
            )
        return process.returncode, printed, said

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _OWN_REPOSITORY}
        # A folder inside another repository is not a repository itself, except for one around the project.
        ceiling = {} if self._is_around else {"GIT_CEILING_DIRECTORIES": str(self._folder.parent)}
        return kept | {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS if self._is_ours else "none",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "SSH_ASKPASS_REQUIRE": "never",
            "LC_ALL": "C",
            **ceiling,
        }


def _reason(said: bytes) -> str:
    """Return the line of git's output that gives the reason, without secrets."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ssh:"))] or lines
    words = telling[0] if telling else "it failed without a message"
    return shorten(words).strip("'\"")
