"""A manifest and the lock file beside it, which together define datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from ...engine.errors import FramelodeError, InvalidValueError
from ...engine.storage.atomic_files import replace_file
from ..session.location import hidden_folder
from .dataset_types import Dataset, build_dataset
from .lock_file import LockFile
from .manifest import Manifest
from .records import Spec


class PinFiles(msgspec.Struct, kw_only=True):
    """A manifest, its lock file, and their datasets.

    Attributes
    ----------
    manifest_path : Path
        Path of the manifest.
    manifest, lock_file
        The parsed files; None if they cannot be read.
    datasets : dict of str to Dataset
        Datasets by name.
    problems : dict of str to FramelodeError
        Why other datasets cannot be read, by name, or by place if they have none.
    broken : FramelodeError or None
        Why one of the files cannot be read.
    stamps : dict of Path
        The state of the files before they were read.
    """

    manifest_path: Path
    manifest: Manifest | None = None
    lock_file: LockFile | None = None
    datasets: dict[str, Dataset] = {}
    problems: dict[str, FramelodeError] = {}
    broken: FramelodeError | None = None
    stamps: dict[Path, FileStamp]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read both files. A missing file is empty."""
        lock_path = path.with_suffix(".lock")
        files = cls(manifest_path=path, stamps={file: stamp_of(file) for file in (path, lock_path)})
        try:
            files.manifest = Manifest.read(path)
            files.stamps |= {file: stamp_of(file) for file in files.manifest.parameter_files}
            files.lock_file = LockFile.read(lock_path)
        except FramelodeError as error:
            files.broken = error
            names = files.manifest.entries if files.manifest is not None else {}
            files.problems = dict.fromkeys(names, error)
            return files
        files.problems = dict(files.manifest.problems)
        for name, entry in files.manifest.entries.items():
            try:
                files.datasets[name] = build_dataset(
                    str(path), entry.spec.to_dict(), files.lock_file.find(name)
                )
            except FramelodeError as error:
                files.problems[name] = error
        return files

    def parsed(self) -> tuple[Manifest, LockFile]:
        """Return both files, to write to them. Raises the error of a file that cannot be read."""
        if self.manifest is None or self.lock_file is None:
            raise self.broken or InvalidValueError(f"{self.manifest_path} cannot be read")
        return self.manifest, self.lock_file

    def check_writable(self, spec: Spec) -> None:
        """Raise an error if an entry must not be overwritten, before its source is queried."""
        self.parsed()[0].with_spec(spec)

    def write(self, dataset: Dataset, *, spec: bool, lock: bool) -> Dataset | None:
        """Write the spec and the lock of a dataset, if requested. Return None if both are unchanged.

        Returns
        -------
        Dataset or None
            The dataset that the files now define.
        """
        manifest, lock_file = self.parsed()
        held = self.datasets.get(dataset.spec.name)
        text = manifest.with_spec(dataset.spec) if spec else None
        recorded = lock_file.find(dataset.spec.name)
        locked = dataset.lock if lock and dataset.lock is not None and dataset.lock != recorded else None
        # Both texts are created before either is written, so an error leaves both files unchanged.
        lock_text = lock_file.with_lock(locked) if locked is not None else None
        if text is not None:
            _replace(self.manifest_path, text)
        if lock_text is not None:
            _replace(lock_file.document.path, lock_text)
        if text is None and lock_text is None:
            return None
        standing = dataset.spec if spec or held is None else held.spec
        return build_dataset(str(self.manifest_path), standing.to_dict(), locked or recorded)


FileStamp = tuple[int, int, int] | None


class Stamp(msgspec.Struct, frozen=True):
    """The state of the files that something was read from."""

    files: dict[Path, FileStamp]

    @classmethod
    def of(cls, read: Sequence[PinFiles]) -> Self:
        """Return the stamp of manifests and the files that belong to them."""
        return cls({path: stamp for files in read for path, stamp in files.stamps.items()})

    def is_current(self) -> bool:
        """Whether the files are unchanged."""
        return all(stamp_of(path) == stamp for path, stamp in self.files.items())


def stamp_of(path: Path) -> FileStamp:
    """Return the state of a file, None if it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _replace(path: Path, text: str) -> None:
    """Replace the text of a file. If the path is a symbolic link, replace its target, so the link stays."""
    if path.is_symlink():
        replace_file(path.resolve(), text.encode())
    else:
        replace_file(path, text.encode(), by_way_of=hidden_folder(path.parent))
