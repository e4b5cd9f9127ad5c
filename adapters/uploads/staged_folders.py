"""Creates complete folders: files are written to a temporary folder, which is then renamed.

To rename each file on its own takes the system as long as to write it.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from ...engine import forks
from ...engine.storage.local import LocalSyncPoint, LocalTemporaryFiles, make_folder


class NewFolders(LocalSyncPoint):
    """A point in time after which files are written, and the new folders created for them.

    Parameters
    ----------
    root : str
        The folder that contains all of them.
    temporaries : LocalTemporaryFiles
        Creates temporary folders.
    """

    def __init__(self, root: str, temporaries: LocalTemporaryFiles) -> None:
        super().__init__(root)
        self._temporaries = temporaries
        self._temporary: dict[str, str] = {}
        forks.renewed(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def name_for(self, path: str) -> str:
        """Return the path to write a file to first, or an empty string if its folder already exists."""
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
        """Rename the temporary folders that contain exactly the files to publish.

        Parameters
        ----------
        files : dict of str to int
            Number of files to publish, by temporary folder.

        Returns
        -------
        set of str
            The renamed temporary folders. Files in all other folders have to be linked one by one.
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
        except OSError:  # linking the files one by one will show the cause
            return False
        return True

    def close(self) -> None:
        """Stop watching, and delete empty temporary folders."""
        super().close()
        for temporary in filter(None, self._temporary.values()):
            with suppress(OSError):
                os.rmdir(self._temporaries.path(temporary))  # noqa: PTH106
        self._temporary.clear()
