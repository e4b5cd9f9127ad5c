"""What the real DVC says and does, in processes of its own: it is heavy to import, and warns."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from patience import PATIENCE

QUIET = {"DVC_NO_ANALYTICS": "1", "DVC_TEST": "true"}


def run_dvc(folder, *arguments, status=0):
    """Run a command of DVC in a folder."""
    command = [sys.executable, "-W", "ignore", "-m", "dvc", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout


def run_all_dvc(folder, *commands):
    """Run several commands of DVC in one process, which takes longer to begin than any of them.

    Returns
    -------
    list of two dicts
        The datasets of the repository before and after, as DVC reads them: spec, lock, and whether the lock is invalid.
    """
    command = [
        sys.executable,
        "-W",
        "ignore",
        __file__,
        json.dumps([list(map(str, each)) for each in commands]),
    ]
    environment = {**os.environ, **QUIET}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def read_datasets(folder):
    """Return the datasets of a repository as DVC reads them."""
    return run_all_dvc(folder)[0]


def _run_all(commands):
    from dvc.cli import main

    for command in commands:
        if status := main(command):
            sys.exit(status)


def _datasets():
    from dvc.repo import Repo

    with Repo(".") as repo:
        return {
            name: {
                "type": dataset.type,
                "spec": dataset.spec.to_dict(),
                "lock": dataset.lock and dataset.lock.to_dict(),
                "invalidated": dataset._invalidated,
                "manifest": os.path.relpath(dataset.manifest_path),
            }
            for name, dataset in repo.datasets.items()
        }


if __name__ == "__main__":
    found = [_datasets()]
    _run_all(json.loads(sys.argv[1]))
    print(json.dumps([*found, _datasets()]))
