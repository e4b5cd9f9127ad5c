"""A manifest and the lock file beside it, which together define datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from ...engine.storage.atomic_files import replace_file
from .dataset_types import Dataset, build_dataset
from .lock_file import LockFile
from .manifest import Manifest
from .project import hidden_folder
from .records import Spec


class PinFiles(msgspec.Struct, kw_only=True):
    """A manifest, its lock file, and their datasets.

    Attributes
    ----------
    manifest_path : Path
        Path of the manifest.
    manifest, lock_file
        The parsed files.
    datasets : dict of str to Dataset
        Datasets by name.
    stamps : dict of Path
        The state of the files before they were read.
    """

    manifest_path: Path
    manifest: Manifest
    lock_file: LockFile
    datasets: dict[str, Dataset]
    stamps: dict[Path, FileStamp]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read both files. A missing file is empty."""
        lock_path = path.with_suffix(".lock")
        stamps = {file: _stamp(file) for file in (path, lock_path)}
        manifest = Manifest.read(path)
        stamps |= {file: _stamp(file) for file in manifest.parameter_files}
        lock_file = LockFile.read(lock_path)
        datasets = {
            name: build_dataset(str(path), entry.spec.to_dict(), lock_file.find(name))
            for name, entry in manifest.entries.items()
        }
        return cls(
            manifest_path=path, manifest=manifest, lock_file=lock_file, datasets=datasets, stamps=stamps
        )

    def check_writable(self, spec: Spec) -> None:
        """Raise an error if an entry must not be overwritten, before its source is queried."""
        self.manifest.with_spec(spec)

    def write(self, dataset: Dataset, *, spec: bool, lock: bool) -> Dataset | None:
        """Write the spec and the lock of a dataset, if requested. Return None if both are unchanged.

        Returns
        -------
        Dataset or None
            The dataset that the files now define.
        """
        held = self.datasets.get(dataset.spec.name)
        text = self.manifest.with_spec(dataset.spec) if spec else None
        recorded = self.lock_file.find(dataset.spec.name)
        locked = dataset.lock if lock and dataset.lock is not None and dataset.lock != recorded else None
        # Both texts are created before either is written, so an error leaves both files unchanged.
        lock_text = self.lock_file.with_lock(locked) if locked is not None else None
        if text is not None:
            _replace(self.manifest_path, text)
        if lock_text is not None:
            _replace(self.lock_file.document.path, lock_text)
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
        """Return the stamp of some files."""
        return cls({path: stamp for files in read for path, stamp in files.stamps.items()})

    def is_current(self) -> bool:
        """Whether the files are unchanged."""
        return all(_stamp(path) == stamp for path, stamp in self.files.items())


def _stamp(path: Path) -> FileStamp:
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
