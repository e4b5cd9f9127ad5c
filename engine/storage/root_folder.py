"""A folder that the user passes, and the files inside it, with all symbolic links resolved."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UsageError
from .atomic_files import from_home

LINKS_VARIABLE = "FRAMELODE_LINK_TARGETS"
"""Environment variable with the folders, separated as in PATH, that symbolic links may lead to; ``/`` allows all."""


class RootFolder:
    """A folder that contains relative paths. It caches resolved folders, so use it for one call only.

    Parameters
    ----------
    path : str
        Absolute path of the folder, which may be a symbolic link.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._prefix = _prefix(path)
        self._real: dict[str, str] = {}

    def below(self, path: str) -> str | None:
        """Return an absolute path relative to the folder, with symbolic links resolved; None if it is outside.

        If the file itself is a symbolic link, the location of the link counts.
        """
        if path.startswith(self._prefix):
            return path[len(self._prefix) :]
        folder, name = os.path.split(path)
        real, prefix = _prefix(self._real_path(folder)) + name, _prefix(self._real_path(self.path))
        return real[len(prefix) :] if real.startswith(prefix) else None

    def check_links(self, below: str) -> None:
        """Raise `UsageError` if symbolic links lead from a path in the folder to a target outside.

        Parameters
        ----------
        below : str
            The path, relative to the folder.
        """
        path = self._prefix + below
        folder, name = os.path.split(path)
        is_link = os.path.islink(path)  # noqa: PTH114 - a Path for each file costs more than the call
        real = os.path.realpath(path) if is_link else _prefix(self._real_path(folder)) + name
        if self._may_lead_to(real):
            return
        parts = Path(below).parts
        links = [Path(self.path, *parts[: count + 1]) for count in range(len(parts))]
        link = next(each for each in links if not self._may_lead_to(os.path.realpath(each)))
        raise UsageError(
            f"{link} is a symbolic link that leads out of {self.path}, to {os.path.realpath(link)}: copy the file into "
            f"the folder, or add the folder of the target to {LINKS_VARIABLE}"
        )

    def _may_lead_to(self, real: str) -> bool:
        place = _prefix(real)
        return place.startswith(_prefix(self._real_path(self.path))) or any(
            place.startswith(_prefix(target)) for target in _targets()
        )

    def _real_path(self, folder: str) -> str:
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return self._real[folder]


def _targets() -> list[str]:
    given = os.environ.get(LINKS_VARIABLE, "").split(os.pathsep)
    return [os.path.realpath(from_home(folder)) for folder in given if folder]


def _prefix(folder: str) -> str:
    return folder.rstrip(os.sep) + os.sep
