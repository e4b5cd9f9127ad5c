"""File modes: new folders and files are accessible to their owner only, or to a group as well.

A folder is shared if its group can write to it and new files inherit the group (``chmod g+ws``). Files created in a
shared folder are readable and writable for the group; all others for the owner only. The umask has no effect.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterable
from pathlib import Path

from ..errors import UsageError

UNWRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
"""Errors of the system for what may not be written."""

_SHARED = stat.S_ISGID | stat.S_IWGRP
_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC


def is_shared(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is shared with its group. A missing folder is not."""
    try:
        mode = os.stat(folder).st_mode  # noqa: PTH116 - asked for many files
    except FileNotFoundError:
        return False
    return mode & _SHARED == _SHARED


def file_mode(folder: str | os.PathLike[str]) -> int:
    """Return the mode of a new file in a folder: 0660 if the folder is shared, otherwise 0600."""
    return 0o660 if is_shared(folder) else 0o600


def why_unwritable(path: str | os.PathLike[str]) -> str | None:
    """Return why an existing file or folder cannot be written, in the words of the system; None if it can."""
    mode = os.W_OK | os.X_OK if os.path.isdir(path) else os.W_OK  # noqa: PTH112 - as the rest of this module
    if os.access(path, mode, effective_ids=os.access in os.supports_effective_ids):
        return None
    is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    return os.strerror(errno.EROFS if is_read_only else errno.EACCES)


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Create a folder and its missing parents, with mode 2770 in a shared folder and 0700 elsewhere.

    The modes of existing folders are not changed.
    """
    missing = [os.fspath(folder)]
    failed: set[str] = set()
    while missing:
        try:
            _make_one(missing[-1])
            missing.pop()
        except FileNotFoundError:
            parent = os.path.dirname(missing[-1].rstrip("/"))  # noqa: PTH120
            # Some file systems, such as /proc, say the same of a folder whose parent exists.
            if parent in {"", missing[-1]} or missing[-1] in failed:
                raise
            failed.add(missing[-1])
            missing.append(parent)


def _make_one(folder: str | os.PathLike[str]) -> None:
    if is_shared(os.path.dirname(folder) or "."):  # noqa: PTH120 - a Path for each file costs more than the call
        _make_shared(os.fspath(folder))
        return
    try:
        os.mkdir(folder, 0o700)  # noqa: PTH102
    except FileExistsError:
        if not os.path.isdir(folder):  # noqa: PTH112
            raise


def _make_shared(folder: str) -> None:
    """Create a folder that is shared from the start, so that files created in it meanwhile are shared as well."""
    if os.path.isdir(folder):  # noqa: PTH112
        return
    temporary = f"{folder}.{uuid.uuid4().hex}"
    os.mkdir(temporary, 0o700)  # noqa: PTH102
    os.chmod(temporary, 0o2770)  # noqa: S103, PTH101
    try:
        os.rename(temporary, folder)  # noqa: PTH104
    except OSError:
        os.rmdir(temporary)  # noqa: PTH106
        if not os.path.isdir(folder):  # noqa: PTH112
            raise


def create_file(path: str | os.PathLike[str]) -> int:
    """Create a file with the mode for its folder and return a descriptor. Raises an error if the name exists.

    Symbolic links are not followed.
    """
    mode = file_mode(os.path.dirname(path) or ".")  # noqa: PTH120
    descriptor = os.open(path, _NEW_FILE, 0o600)
    if mode != 0o600:
        os.fchmod(descriptor, mode)
    return descriptor


def share(paths: Iterable[Path]) -> None:
    """Give the group of our folders and files the permissions of the owner.

    Raises
    ------
    UsageError
        The mode cannot be set: the path belongs to another user, or its group is not a group of this user.
    """
    for path in paths:
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                continue
            path.chmod(stat.S_IMODE(mode) | (mode & stat.S_IRWXU) >> 3 | stat.S_ISDIR(mode) * stat.S_ISGID)
            if stat.S_ISDIR(mode) and not is_shared(path):
                raise UsageError(
                    f"{path} cannot be shared with its group, of which you are not a member: run `chgrp GROUP {path}`"
                )
        except OSError as error:
            raise UsageError(f"{path} cannot be shared with its group: {error.strerror}") from error
