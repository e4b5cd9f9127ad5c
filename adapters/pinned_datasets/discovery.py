"""Finds the manifests of a project that DVC reads: none that git or DVC ignores, and none in the outputs of stages."""

from __future__ import annotations

import itertools
import os
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...engine.errors import FramelodeError, StorageError, UsageError
from .git_source import excludes_file
from .manifest import MANIFEST_BYTES
from .parameters import Parameters
from .yaml.document import Document

MANIFEST = "dvc.yaml"
_SKIPPED = {"node_modules", "__pycache__"}
_OUTS = ("outs", "metrics", "plots")


class ManifestFinder:
    """The rules of `.gitignore` and `.dvcignore` files of a project, and the manifests that they leave.

    Parameters
    ----------
    root : Path
        The project folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        around = (root, *root.parents)
        repository = next((each for each in around if os.path.lexists(each / ".git")), None)
        dvc_root = next((each for each in around if (each / ".dvc").is_dir()), root)
        self._rules = [_Rules(dvc_root, ".dvcignore", ())]
        if repository is not None:
            of_user = (repository / ".git" / "info" / "exclude", excludes_file(repository))
            self._rules.append(_Rules(repository, ".gitignore", of_user))

    @property
    def files(self) -> set[Path]:
        """The files with rules that were looked for."""
        return {file for rules in self._rules for file in rules.files}

    def manifests(self) -> list[Path]:
        """Return every `dvc.yaml` that DVC reads, except in nested repositories and hidden folders."""
        return sorted(self._below(str(self._root), set()))

    def ignores(self, manifest: Path) -> bool:
        """Whether a manifest, or a folder around it, is ignored."""
        inside = [self._root / part for part in manifest.relative_to(self._root).parents][:-1]
        folders = any(self._is_ignored(str(folder), is_folder=True) for folder in inside)
        return folders or self._is_ignored(str(manifest), is_folder=False)

    def leaves_out(self, manifest: Path, found: Sequence[Path]) -> bool:
        """Whether a manifest exists that is not among those found, although nothing hides its folder."""
        if manifest.name != MANIFEST or manifest in found or not manifest.exists():
            return False
        folders = list(manifest.relative_to(self._root).parents)[:-1]
        return not any(_is_apart(str(self._root / folder)) for folder in folders)

    def _is_ignored(self, path: str, *, is_folder: bool) -> bool:
        return any(rules.match(path, is_folder=is_folder) for rules in self._rules)

    def _below(self, folder: str, outs: set[str]) -> Iterator[Path]:
        try:
            with os.scandir(folder) as listed:
                entries = {entry.name: entry for entry in listed}
        except PermissionError:
            # A folder without access has nothing that can be read.
            return
        except OSError as error:
            raise StorageError(f"{folder} cannot be read: {error.strerror or error}") from error
        own = entries.get(MANIFEST)
        if own is not None and own.is_file() and not self._is_ignored(own.path, is_folder=False):
            yield Path(own.path)
            outs |= set(_outputs(Path(own.path)))
        for name, entry in entries.items():
            if not entry.is_dir(follow_symlinks=False) or _is_apart(entry.path):
                continue
            is_output = entry.path in outs or f"{name}.dvc" in entries
            if not is_output and not self._is_ignored(entry.path, is_folder=True):
                yield from self._below(entry.path, outs)


class _Rules:
    """The rules of files of one name in all folders, from an outermost one.

    Parameters
    ----------
    top : Path
        The outermost folder.
    name : str
        Name of the files.
    first : sequence of Path
        Files whose rules apply in the outermost folder and come last.
    """

    def __init__(self, top: Path, name: str, first: Sequence[Path]) -> None:
        self._top, self._name = str(top), name
        self.files = {*first, top / name}
        self._held: dict[str, tuple[tuple[str, Any], ...]] = {}
        lines = [line for file in reversed(first) for line in _lines(file)]
        self._first = ((self._top, _compiled(lines)),) if lines else ()

    def match(self, path: str, *, is_folder: bool) -> bool:
        """Whether the rules ignore a path whose folder they do not ignore. The innermost rule decides."""
        for base, rules in reversed(self._in(os.path.dirname(path))):  # noqa: PTH120 - paths are text here
            relative = path[len(base.rstrip("/")) + 1 :] + ("/" if is_folder else "")
            is_included = rules.check_file(relative).include
            if is_included is not None:
                return bool(is_included)
        return False

    def _in(self, folder: str) -> tuple[tuple[str, Any], ...]:
        """Return the rules that apply in a folder, each with the folder that they start at."""
        found = self._held.get(folder)
        if found is None:
            is_inside = len(folder) > len(self._top)
            around = self._in(os.path.dirname(folder)) if is_inside else self._first  # noqa: PTH120
            file = Path(folder, self._name)
            lines = _lines(file)
            if lines:
                self.files.add(file)
            found = self._held[folder] = (*around, (folder, _compiled(lines))) if lines else around
        return found


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", "replace").splitlines() if file.is_file() else []
    except OSError:
        # As git and DVC do, a file without access has no rules.
        return []


def _compiled(lines: list[str]) -> Any:
    try:
        from pathspec import GitIgnoreSpec
    except ImportError as error:
        raise UsageError("pinned datasets need pathspec: pip install 'framelode[pins]'") from error
    return GitIgnoreSpec.from_lines(lines)


def _is_apart(folder: str) -> bool:
    """Whether a folder is hidden, or a repository of its own."""
    name = os.path.basename(folder)  # noqa: PTH119 - paths are text here
    hidden = name.startswith(".") or name in _SKIPPED
    return hidden or any(os.path.lexists(f"{folder}/{mark}") for mark in (".dvc", ".git"))


def _outputs(manifest: Path) -> Iterator[str]:
    """Yield the paths of the outputs of stages. Those that cannot be read are left out."""
    try:
        document = Document.read(manifest, MANIFEST_BYTES)
        stages = document.value().get("stages")
    except FramelodeError:
        # It is reported where the datasets of the manifest are read.
        return
    parameters = Parameters(document)
    for stage in stages.values() if isinstance(stages, dict) else ():
        for body, local in _bodies(stage, parameters) if isinstance(stage, dict) else ():
            wdir = _resolved(body.get("wdir") or ".", parameters, local)
            for out in (out for key in _OUTS for out in _listed(body.get(key))):
                path = _resolved(out, parameters, local)
                if isinstance(wdir, str) and isinstance(path, str):
                    yield posixpath.normpath(posixpath.join(manifest.parent, wdir, path))


def _bodies(stage: dict[str, Any], parameters: Parameters) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield what a stage runs, once for each item of a loop, and the names that are defined in it."""
    if "foreach" in stage:
        over = _resolved(stage["foreach"], parameters, {}, whole=True)
        items = over.items() if isinstance(over, dict) else enumerate(over if isinstance(over, list) else [])
        rounds = [{"key": key, "item": item} for key, item in items]
        stage = stage["do"] if isinstance(stage.get("do"), dict) else {}
    elif isinstance(stage.get("matrix"), dict):
        axes = [_resolved(values, parameters, {}, whole=True) for values in stage["matrix"].values()]
        products = itertools.product(*(axis if isinstance(axis, list) else [] for axis in axes))
        rounds = [{"item": dict(zip(stage["matrix"], each, strict=True))} for each in products]
    else:
        rounds = [{}]
    for local in rounds:
        yield stage, local


def _resolved(value: Any, parameters: Parameters, local: dict[str, Any], *, whole: bool = False) -> Any:
    try:
        return parameters.resolve(value, local, whole=whole)
    except FramelodeError:
        return None


def _listed(outs: Any) -> Iterator[Any]:
    """Yield the outputs of a list: each is a path, or a mapping of a path to its settings."""
    for each in outs if isinstance(outs, list) else []:
        yield from each if isinstance(each, dict) else [each]
