"""A folder that cannot be written, in the strongest way that this machine allows."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

MOUNT = ["mount", "-o", "bind"]


@contextmanager
def read_only(folder):
    """Make a folder read-only inside: by a read-only mount if root may mount, else by its modes."""
    folder = Path(folder)
    if os.geteuid() == 0 and _mount(folder):
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
        return
    with _modes(folder):
        yield folder


def _mount(folder):
    """Mount a folder read-only over itself; False where that is not allowed, as in most containers."""
    if (
        shutil.which("mount") is None
        or subprocess.run([*MOUNT, folder, folder], check=False, capture_output=True).returncode
    ):
        return False
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
    return True


@contextmanager
def _modes(folder):
    """Take the right to write from a folder and what is in it. Root, whom modes do not stop, becomes nobody inside."""
    places = [folder, *folder.rglob("*")]
    modes = {place: place.stat().st_mode for place in places}
    above = [parent for parent in folder.parents if parent.stat().st_uid == os.geteuid() == 0]
    modes |= {parent: parent.stat().st_mode for parent in above}
    try:
        for place in places:
            place.chmod(0o555 if place.is_dir() else 0o444)
        for parent in above:
            # A test may write beside the folder.
            parent.chmod(modes[parent] | (0o077 if parent == folder.parent else 0o055))
        if os.geteuid() == 0:
            os.seteuid(65534)
            try:
                yield
            finally:
                os.seteuid(0)
        else:
            yield
    finally:
        for place, mode in modes.items():
            place.chmod(mode)
