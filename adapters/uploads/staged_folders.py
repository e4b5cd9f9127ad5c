"""Folders that come about whole: their files are written into a temporary folder, which then gets their name.

To give each file its name takes the system as long as to write it.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from ...engine import forks
from ...engine.storage.local import LocalSyncPoint, LocalTemporaryFiles, make_folder


class NewFolders(LocalSyncPoint):
    """The moment from which on some files are written, and the folders that come about with them.

    Parameters
    ----------
    root : str
        The folder that all are below.
    temporaries : LocalTemporaryFiles
        Makes temporary folders.
    """

    def __init__(self, root: str, temporaries: LocalTemporaryFiles) -> None:
        super().__init__(root)
        self._temporaries = temporaries
        self._temporary: dict[str, str] = {}
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def name_for(self, path: str) -> str:
        """Return the name under which a file is written first: empty where its folder is there already."""
        folder, _, file = path.rpartition("/")
        temporary = self._temporary.get(folder)
        if temporary is None:
            with self._lock:
                temporary = self._temporary.get(folder)
                if temporary is None:
                    temporary = self._temporary[folder] = self._begin(folder)
        return f"{temporary}/{file}" if temporary else ""

    def _begin(self, folder: str) -> str:
        return "" if os.path.lexists(folder) else self._temporaries.make_folder()

    def publish(self, files: dict[str, int]) -> set[str]:
        """Give temporary folders their names, those that hold what is to be published and nothing else.

        Parameters
        ----------
        files : dict of str to int
            How many files of each temporary folder are to be published.

        Returns
        -------
        set of str
            The temporary folders that got their names; the files of all others have to be named one by one.
        """
        named: set[str] = set()
        for folder, temporary in sorted(self._temporary.items()):
            if temporary in files and self._rename(temporary, folder, files[temporary]):
                named.add(temporary)
        return named

    def _rename(self, temporary: str, folder: str, files: int) -> bool:
        path = self._temporaries.path(temporary)
        try:
            if len(os.listdir(path)) != files:  # noqa: PTH208
                return False
            make_folder(folder.rpartition("/")[0])
            os.rename(path, folder)  # noqa: PTH104 - at most an empty folder is replaced
        except OSError:  # whatever it is, naming the files one by one tells
            return False
        return True

    def close(self) -> None:
        """Stop watching, and drop the temporary folders that are empty."""
        super().close()
        for temporary in filter(None, self._temporary.values()):
            with suppress(OSError):
                os.rmdir(self._temporaries.path(temporary))  # noqa: PTH106
        self._temporary.clear()
