"""A manifest with the lock file beside it: the datasets that both make, read and written together."""

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
    """A manifest, its lock file, and the datasets that they make.

    Attributes
    ----------
    manifest_path : Path
        The manifest.
    manifest, lock_file
        What was read.
    datasets : dict of str to Dataset
        By name.
    stamps : dict of Path
        The files that this rests on, as they were before they were read.
    """

    manifest_path: Path
    manifest: Manifest
    lock_file: LockFile
    datasets: dict[str, Dataset]
    stamps: dict[Path, FileStamp]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read both files; one that is not there says nothing."""
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
        """Raise for an entry that must not be overwritten, before anything is asked of its source."""
        self.manifest.with_spec(spec)

    def write(self, dataset: Dataset, *, spec: bool, lock: bool) -> Dataset | None:
        """Write the spec and the lock of a dataset, as far as wanted; None when both stand there already.

        Returns
        -------
        Dataset or None
            The dataset as the files make it now.
        """
        held = self.datasets.get(dataset.spec.name)
        text = self.manifest.with_spec(dataset.spec) if spec else None
        recorded = self.lock_file.find(dataset.spec.name)
        locked = dataset.lock if lock and dataset.lock is not None and dataset.lock != recorded else None
        # Both are made before either is written: what is refused leaves both as they are.
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
    """The files that something was read from, as they were."""

    files: dict[Path, FileStamp]

    @classmethod
    def of(cls, read: Sequence[PinFiles]) -> Self:
        """Return the stamp of what was read."""
        return cls({path: stamp for files in read for path, stamp in files.stamps.items()})

    def is_current(self) -> bool:
        """Say whether the files are still the same."""
        return all(_stamp(path) == stamp for path, stamp in self.files.items())


def _stamp(path: Path) -> FileStamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _replace(path: Path, text: str) -> None:
    """Put another text into a file, or into that which a link leads to, so that the link stays."""
    if path.is_symlink():
        replace_file(path.resolve(), text.encode())
    else:
        replace_file(path, text.encode(), by_way_of=hidden_folder(path.parent))
