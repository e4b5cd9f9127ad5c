"""A project folder: its id, its manifests, and the locks for writers."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from blake3 import blake3
from filelock import FileLock, Timeout

from ...engine.errors import InvalidValueError, StorageError, UsageError
from ...engine.storage.atomic_files import from_home
from ...engine.validation import shorten
from ..session.location import HIDDEN_FOLDER, hidden_folder

_IDENTITY = "project"
_ID = re.compile(r"[0-9a-f]{32}")
_LOCK = "pins.lock"
# Unfinished files of a killed writer.
_LEFT_BEHIND = re.compile(r"\..+\.(?:yaml|yml|lock)\.(?:\d+\.\d+|[0-9a-f]{32})")
_DVC_LOCK = Path(".dvc", "tmp", "lock")


class Project:
    """A folder with manifests.

    It has a random id in its `.framelode` folder, so it stays the same project when it is moved or renamed. Two clones of a
    repository are two projects, because their files differ.

    Parameters
    ----------
    root : Path
        The folder.
    timeout : float
        Maximum seconds to wait for other writers.
    """

    def __init__(self, root: Path, timeout: float) -> None:
        if not root.is_dir():
            raise UsageError(f"there is no folder {root}: pass the folder of the project")
        self.root = root
        self._timeout = timeout

    @property
    def folder(self) -> str:
        """Name of the folder, for display."""
        return self.root.name.encode(errors="backslashreplace").decode() or "/"

    def is_known(self) -> bool:
        """Whether the project has an id."""
        return (self.root / HIDDEN_FOLDER / _IDENTITY).exists() or not self._is_writable()

    def _is_writable(self) -> bool:
        return os.access(self.root, os.W_OK | os.X_OK)

    def identity(self) -> str:
        """Return the id of the project, created on first use."""
        file = self.root / HIDDEN_FOLDER / _IDENTITY
        try:
            found = file.read_text("utf-8").strip()
        except FileNotFoundError:
            return self._new_identity(file)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from error
        if not _ID.fullmatch(found):
            raise UsageError(
                f"{file} must hold 32 hex digits: restore it, or delete it to begin a new project"
            )
        return found

    def _new_identity(self, file: Path) -> str:
        if not self._is_writable():
            # A read-only project is identified by its path.
            return blake3(os.fsencode(self.root)).hexdigest(length=16)
        hidden_folder(self.root)
        made = file.with_name(f".{_IDENTITY}.{uuid.uuid4().hex}")
        try:
            made.write_text(f"{uuid.uuid4().hex}\n", "utf-8")
            # If several processes create it at the same time, the first one wins.
            os.link(made, file)
        except FileExistsError:
            pass
        except OSError as error:
            raise UsageError(f"{file} cannot be written: {error.strerror or error}") from error
        finally:
            made.unlink(missing_ok=True)
        return self.identity()

    def manifest(self, path: str | os.PathLike[str]) -> Path:
        """Return the path of a manifest, relative to the folder by default.

        Raises
        ------
        InvalidValueError
            It is outside of the folder, or not the path of a manifest.
        """
        if not isinstance(path, str | os.PathLike) or not os.fspath(path) or "\0" in os.fsdecode(path):
            raise InvalidValueError(f"manifest_path must be the path of a dvc.yaml, not {shorten(path)}")
        found = Path(os.path.normpath(self.root / from_home(os.fsdecode(path))))
        if not found.is_relative_to(self.root) or found == self.root:
            raise InvalidValueError(
                f"the manifest {shorten(str(path))} is not in the project folder {self.root}"
            )
        if found.suffix == ".lock":
            raise InvalidValueError(f"{shorten(str(path))} is a lock file: pass the path of the manifest")
        return found

    def relative(self, manifest: Path) -> str:
        """Return the path of a manifest relative to the folder, as it is recorded."""
        return manifest.relative_to(self.root).as_posix().encode(errors="backslashreplace").decode()

    @contextmanager
    def writing(self, manifest: Path) -> Generator[None, None, None]:
        """Lock a manifest and its lock file against other writers.

        Raises
        ------
        StorageError
            Another writer holds the lock for too long.
        """
        _require_folder(manifest.parent)
        hidden = hidden_folder(manifest.parent)
        with _held(hidden / _LOCK, self._timeout, manifest):
            for file in hidden.iterdir():
                if _LEFT_BEHIND.fullmatch(file.name):
                    file.unlink(missing_ok=True)
            yield

    @contextmanager
    def without_dvc(self, manifest: Path) -> Generator[None, None, None]:
        """Lock out the DVC commands that lock the repository."""
        with ExitStack() as held:
            for folder in (manifest.parent, *manifest.parent.parents):
                if (folder / ".dvc").is_dir():
                    if not _locks_by_links(folder / ".dvc"):
                        lock = folder / _DVC_LOCK
                        lock.parent.mkdir(exist_ok=True)
                        held.enter_context(_held(lock, self._timeout, manifest))
                    break
            yield


def _locks_by_links(configuration: Path) -> bool:
    """Whether DVC is configured to lock with hard links. A lock file from framelode would block it."""
    files = [configuration / name for name in ("config", "config.local")]
    texts = [file.read_text("utf-8", "replace") for file in files if file.is_file()]
    return any(re.search(r"^\s*hardlink_lock\s*=\s*(?i:true|yes|on|1)", text, re.MULTILINE) for text in texts)


@contextmanager
def _held(lock: Path, timeout: float, manifest: Path) -> Generator[None, None, None]:
    try:
        with FileLock(lock, timeout=timeout):
            yield
    except Timeout as error:
        raise StorageError(
            f"{manifest} is locked by another process, which has held {lock} for {timeout:g} seconds: try again"
        ) from error


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} for the manifest: create it first")
