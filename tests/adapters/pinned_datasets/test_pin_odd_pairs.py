"""Odd pairs of `dvc.yaml` and `dvc.lock`: DVC reads them as we do, or we refuse them by name."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

from dvc_project import QUIET
from patience import PATIENCE

from framelode.adapters.pinned_datasets.pin_files import PinFiles

VALUES = (
    "v1", "on", "'#x'", "'v1'", '"v\\u0031"', "yes", "0o17", "017", "1_000", "1e3", "12:30", "2024-01-01", "~", "null", "''", "0x1F", ".5",
    "!!str 5", "<<", "=", "é 日", "a b  c", "'it''s'", '"tab\\t"', "a\n    b", "'a\n\n    b'", ">-\n    a\n    b", "|-\n    a",
)  # fmt: skip
STYLES = (
    "datasets:\n- name: a\n  url: u\n  type: dvc\n  rev: {}\n",
    "# c\ndatasets:\n    -   type: dvc   # t\n        rev: {}\n        name: a\n        url: u\nstages: {{}}\n",
    "%YAML 1.1\n---\ndatasets:\n- name: a\n  url: u\n  type: dvc\n  rev: {}\n",
    "datasets:\n- &b\n  name: b\n  url: u\n  type: dvc\n  rev: {}\n- <<: *b\n  name: a\n",
    "datasets:\n- name: b\n  url: u\n  type: dvc\n  rev: &r {}\n- {{name: a, url: u, type: dvc, rev: *r}}\n",
)
LOCK = (
    "schema: '2.0'\ndatasets:\n- name: a\n  url: u\n  type: dvc\n  rev: {}\n  rev_lock: '{}'\nstages: {{}}\n"
)
OTHERS = (
    ("vars:\n- x: v1\ndatasets:\n- {name: a, url: u, type: dvc, rev: '${x}'}\n", LOCK.format("v1", "0" * 40)),
    ("datasets:\n- {name: a, url: 'u${y}', type: dvc}\n", ""),
    ("datasets:\n- {name: '\\${a}', url: u, type: url}\n", ""),
    ("datasets: []\n", ""),
    ("datasets:\n", ""),
    ("", ""),
    ("datasets:\n- {name: a, url: u, type: dc}\n", "schema: '2.0'\ndatasets:\n- {name: a, url: u, type: dc, version: 2, created_at: 2024-01-01T00:00:00}\n"),
    ("datasets:\n- {name: a, url: u, type: dc}\n", "schema: '2.0'\ndatasets:\n- {name: a, url: u, type: dc, version: 1.0.1, created_at: '2024-01-01T00:00:00+00:00'}\n"),
    ("datasets:\n- {name: a, url: u, type: url}\n", "schema: '2.0'\ndatasets:\n- {name: a, url: u, type: url, meta: {size: 1, etag: '\"x\"'}}\n"),
    ("datasets:\n- {name: a, url: u, type: url}\n", "schema: '2.0'\ndatasets:\n- {name: a, url: u, type: new, meta: {}}\n"),
    ("datasets:\n- {name: a, url: u, type: url}\n", "schema: '1.0'\n"),
    ("datasets:\n- {name: a, url: u, type: url}\n- {name: a, url: w, type: url}\n", ""),
)  # fmt: skip

READ = """
import json, sys
from dvc.dvcfile import ProjectFile
from dvc.repo import Repo
from dvc.repo.datasets import Datasets
with Repo(".") as repo:
    for path in sys.argv[1:]:
        try:
            file = ProjectFile(repo, path)
            locks = {}
            for each in file.datasets_lock:
                locks.setdefault(each["name"], each)
            made = [Datasets._build_dataset(path, each, locks.get(each["name"])) for each in file.datasets]
            found = {each.spec.name: [each.spec.to_dict(), each.lock and each.lock.to_dict(), each._invalidated] for each in made}
        except Exception as error:
            found = None
        print(json.dumps(found, default=str))
"""


def pairs():
    for style, value in itertools.product(STYLES, VALUES):
        yield style.format(value), LOCK.format(value, "0" * 40)
    yield from OTHERS


def written(at, text):
    """Return a text in one of the forms that an editor may give it."""
    form = at % 6
    text = text.replace("\n", "\r\n") if form == 1 else text.rstrip("\n") if form == 2 else text
    return text.encode("utf-8-sig" if form == 3 else "utf-16" if form == 4 and at % 12 == 4 else "utf-8")


def test_are_read_as_dvc_reads_them_or_refused(tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    paths = []
    for at, (manifest, lock) in enumerate(pairs()):
        paths.append(tmp_path / str(at) / "dvc.yaml")
        paths[-1].parent.mkdir()
        paths[-1].write_bytes(written(at, manifest))
        if lock:
            paths[-1].with_suffix(".lock").write_bytes(written(at, lock))
    assert len(paths) >= 150
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, *map(str, paths)],
        cwd=tmp_path,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    alike = 0
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        theirs, files = json.loads(line), PinFiles.read(path)
        ours = {
            name: [found.spec.to_dict(), found.lock and found.lock.to_dict(), found.invalidated]
            for name, found in files.datasets.items()
        }
        if files.broken or files.problems:
            told = [files.broken, *files.problems.values()]
            assert all(str(path.parent) in str(error) for error in told if error), told
            continue
        assert ours == (theirs or {}), (path.read_bytes(), ours, theirs)
        alike += 1
    assert alike >= 85
