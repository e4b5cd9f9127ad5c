"""Resolves commits and paths of git repositories with the command `git`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from ...engine.errors import InvalidValueError, NotFoundError, StorageError, UsageError
from ...engine.storage.atomic_files import from_home
from ...engine.validation import shorten
from .yaml.document import parse_mapping
from .yaml.tree import to_python

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ABBREVIATED = re.compile(r"[0-9a-f]{4,64}")
_HOST_PATH = re.compile(r"(?:[^/:@\s]+@)?[^/:@\s]{2,}:(?!//)")
_PROTOCOLS = "file:git:http:https:ssh"
_LOCK_BYTES = 4 << 20
# Options against commands that the configuration of an untrusted repository could run while it is only read.
_READING_ONLY = (
    "--no-pager",
    "-c",
    "core.fsmonitor=false",
    "-c",
    f"core.hooksPath={os.devnull}",
    "-c",
    "core.alternateRefsCommand=",
)
_NO_TRANSPORT = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
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
        Branch, tag or commit. None is the default branch, or for a folder the checked-out commit.
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
    for what, value in (("url", url), ("rev", rev)):
        if value is not None and (not value or value.startswith("-") or re.search(r"[\x00-\x1f\x7f]", value)):
            raise InvalidValueError(f"{shorten(value)} is not a valid {what} of a git repository")
    wanted = _checked_path(path)
    folder = _local_folder(url, root)
    if folder is not None:
        return _resolve(_Git(folder, timeout, url, is_ours=False), rev, wanted, remote=False)
    with _fetched(url, rev, timeout) as (git, found):
        return _resolve(git, found, wanted, remote=True, shown=rev)


def _checked_path(path: str) -> str:
    parts = PurePosixPath(path.strip("/")).parts
    if ".." in parts or "\0" in path:
        raise InvalidValueError(f"the path {shorten(path)} leads out of the repository")
    return "/".join(parts)


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


def _resolve(git: _Git, rev: str | None, path: str, *, remote: bool, shown: str | None = None) -> str:
    commit = next((found for name in _names(rev, remote=remote) if (found := git.commit(name))), None)
    if commit is None:
        git.require_repository()
        if rev is None:
            raise NotFoundError(f"the git repository {git.shown} has no commit yet")
        raise NotFoundError(f"the git repository {git.shown} has no revision {shorten(shown or rev)}")
    if path and not _holds(git, commit, path):
        what = f"{shorten(shown or rev)}, commit {commit}" if rev else f"commit {commit}"
        raise NotFoundError(f"the git repository {git.shown} has no {shorten(path)} at {what}")
    return commit


def _names(rev: str | None, *, remote: bool) -> list[str]:
    if rev is None:
        return ["HEAD"]
    # A branch that was never checked out exists only as a remote branch.
    return [rev] if remote else [rev, f"refs/remotes/origin/{rev}"]


def _holds(git: _Git, commit: str, path: str) -> bool:
    """Whether a commit has a path, in git or as data tracked by DVC."""
    if git.lists(commit, path):
        return True
    parts = path.split("/")
    for depth in range(len(parts), 0, -1):
        if git.lists(commit, "/".join(parts[:depth]) + ".dvc"):
            return True
        beside = "/".join([*parts[: depth - 1], "dvc.lock"])
        lock = git.ask("cat-file", "blob", f"{commit}:{beside}") if git.lists(commit, beside) else None
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


@contextmanager
def _fetched(url: str, rev: str | None, timeout: float) -> Generator[tuple[_Git, str], None, None]:
    """Yield a bare repository with a revision of a remote repository, and the name of the revision in it."""
    with tempfile.TemporaryDirectory(prefix="framelode-git-", ignore_cleanup_errors=True) as folder:
        git = _Git(Path(folder), timeout, url, is_ours=True)
        git.run("init", "--quiet", "--bare", ".")
        git.run("config", "remote.origin.url", url)
        wanted = _advertised(git, rev)
        if wanted is not None:
            if not git.tries(*_SHALLOW, wanted):
                git.run(*_PLAIN, wanted)
            yield git, "FETCH_HEAD"
            return
        if rev is not None and _COMMIT.fullmatch(rev) and git.tries(*_SHALLOW, rev):
            yield git, rev
            return
        if rev is not None and not _may_be_named_otherwise(rev):
            raise NotFoundError(f"the git repository {git.shown} has no revision {shorten(rev)}")
        if not git.tries(*_HISTORY, *_ALL):
            git.run(*_PLAIN, *_ALL)
        yield git, rev or "HEAD"


def _advertised(git: _Git, rev: str | None) -> str | None:
    """Return the full name of the branch or tag, or None if the revision is neither."""
    listed = git.run("ls-remote", "--quiet", "origin").decode(errors="surrogateescape")
    names = {line.partition("\t")[2] for line in listed.splitlines()}
    if rev is None:
        if "HEAD" not in names:
            raise NotFoundError(f"the git repository {git.shown} has no commit yet")
        return "HEAD"
    candidates = (rev, f"refs/{rev}", f"refs/tags/{rev}", f"refs/heads/{rev}")
    return next((name for name in candidates if name in names and (name == "HEAD" or "/" in name)), None)


def _may_be_named_otherwise(rev: str) -> bool:
    """Whether a revision may be an abbreviated hash, or relative to another revision, such as ``v1~2``."""
    return _ABBREVIATED.fullmatch(rev) is not None or re.search(r"[~^]", rev) is not None


class _Git:
    """Runs `git` in a repository, without a shell, a terminal or prompts, and with a timeout.

    A repository that framelode did not create is only read: git runs no commands from its configuration, and fetches nothing
    into it, because the configuration could name a command for that too. Git itself rejects repositories of other users.
    """

    def __init__(self, folder: Path, timeout: float, shown: str, *, is_ours: bool) -> None:
        self._is_ours = is_ours
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
        found = self.ask("rev-parse", "--quiet", "--verify", "--end-of-options", f"{rev}^{{commit}}")
        commit = (found or b"").decode(errors="replace").strip()
        return commit if _COMMIT.fullmatch(commit) else None

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
        reading = () if self._is_ours else _READING_ONLY
        options = ("-C", str(self._folder), "-c", "credential.interactive=false", *reading)
        command = [self._command, *options, *arguments]
        process = subprocess.Popen(  # noqa: S603 - no shell, and nothing given can be read as an option
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(),
            # Without a terminal nothing can prompt for a password, and child processes of git end with it.
            start_new_session=True,
        )
        try:
            printed, said = process.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired as error:
            raise StorageError(
                f"the git repository {self.shown} did not answer within {self._timeout:g} seconds: try again, or use a "
                "longer timeout"
            ) from error
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if not self._is_ours and process.returncode and re.search(rb"promisor|lazy fetching", said):
            raise StorageError(
                f"the git repository {self.shown} is a partial clone with missing objects, which framelode does not fetch: "
                "fetch them with git, or use the URL that it was cloned from"
            )
        return process.returncode, printed, said

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _OWN_REPOSITORY}
        # A folder inside another repository is not a repository itself.
        return kept | {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
            "GIT_CEILING_DIRECTORIES": str(self._folder.parent),
            "GIT_OPTIONAL_LOCKS": "0",
            "SSH_ASKPASS_REQUIRE": "never",
            "LC_ALL": "C",
            **({} if self._is_ours else _NO_TRANSPORT),
        }


_PLAIN = ("fetch", "--quiet", "--no-tags", "origin")
_HISTORY = ("fetch", "--quiet", "--no-tags", "--filter=blob:none", "origin")
_SHALLOW = ("fetch", "--quiet", "--no-tags", "--filter=blob:none", "--depth=1", "origin")
_ALL = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


def _reason(said: bytes) -> str:
    """Return the line of git's output that gives the reason, without secrets."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ssh:"))] or lines
    words = telling[0] if telling else "it failed without a message"
    return shorten(words).strip("'\"")
