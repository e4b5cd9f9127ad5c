"""Compares a lock with the current source, also if another tool wrote the lock."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .records import FileInfo, Meta, URLDatasetLock

_NAMES = ("version_id", "etag", "checksum", "md5")


def rests_on_times(lock: URLDatasetLock) -> bool:
    """Whether a lock identifies contents by file times, as DVC does for local files."""
    return any(meta.mtime is not None for meta in _metas(lock))


def without_times(meta: Meta, files: Sequence[FileInfo]) -> tuple[Meta, list[FileInfo]]:
    """Return the parts that are locked. File times are left out, because they differ between machines."""
    return attrs.evolve(meta, mtime=None), [
        FileInfo(relpath=file.relpath, meta=attrs.evolve(file.meta, mtime=None)) for file in files
    ]


def is_same(lock: URLDatasetLock, meta: Meta, files: Sequence[FileInfo]) -> bool:
    """Whether a lock proves that the source is unchanged."""
    proofs = [file.meta for file in lock.files] or [lock.meta]
    return all(map(_is_proof, proofs)) and not has_moved(lock, meta, files)


def has_moved(lock: URLDatasetLock, meta: Meta, files: Sequence[FileInfo]) -> bool:
    """Whether the source contradicts a lock. Fields that the lock does not have are not compared."""
    if _differ(lock.meta, meta):
        return True
    if not lock.files:
        return False
    found = {file.relpath: file.meta for file in files}
    return len(found) != len(lock.files) or any(
        file.relpath not in found or _differ(file.meta, found[file.relpath]) for file in lock.files
    )


def _metas(lock: URLDatasetLock) -> list[Meta]:
    return [lock.meta, *(file.meta for file in lock.files)]


def _is_proof(meta: Meta) -> bool:
    return not meta.isdir and any(getattr(meta, name) is not None for name in (*_NAMES, "mtime"))


def _differ(held: Meta, found: Meta) -> bool:
    if (held.isdir, held.isexec) != (found.isdir, found.isexec):
        return True
    named = [(getattr(held, name), getattr(found, name)) for name in _NAMES]
    known = [(one, other) for one, other in named if one is not None and other is not None]
    if known:
        return any(one != other for one, other in known)
    pairs = ((held.size, found.size), (held.nfiles, found.nfiles), (held.mtime, found.mtime))
    return any(one is not None and other is not None and one != other for one, other in pairs)
