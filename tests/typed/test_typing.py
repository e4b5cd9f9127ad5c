"""Strict type checkers accept code that uses the public API: the examples of the documentation and `public_api.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from doc_examples import PAGES, python_of
from patience import PATIENCE

HERE = Path(__file__).parent
UNTYPED = ("distributed", "fsspec", "mlflow", "pyarrow", "torch")
"""Libraries without types: what they return is unknown."""

_UNKNOWN = (
    "reportUnknownVariableType",
    "reportUnknownMemberType",
    "reportUnknownArgumentType",
    "reportMissingTypeStubs",
    "reportAttributeAccessIssue",
)

FOLLOWED = (
    "distributed",
    "eventsourcing",
    "fsspec",
    "mlflow",
    "msgspec",
    "numpy",
    "opentelemetry",
    "PIL",
    "pyarrow",
    "sqlalchemy",
    "torch",
)
"""Libraries that an example imports, or sees a type of. Without the others basedpyright takes two thirds of the time."""

NOT_FOLLOWED = (
    "blake3",
    "cryptography",
    "dask",
    "datasets",
    "distributed",
    "duckdb",
    "filelock",
    "fsspec",
    "hypothesis",
    "lark",
    "mlflow",
    "numpy",
    "openlineage",
    "opentelemetry",
    "pandas",
    "polars",
    "requests",
    "rich",
    "sqlalchemy",
    "torch",
    "typer",
    "zstandard",
)
"""Libraries that no example shows a type of. Without them mypy takes a third of the time."""


@pytest.fixture
def programs(tmp_path):
    """Write the programs to check into one folder, beside a package of the right name."""
    (tmp_path / "framelode").symlink_to(HERE.parents[1])
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "public_api.py").write_text((HERE / "public_api.py").read_text("utf-8"), "utf-8")
    for page in PAGES:
        program = python_of(page.read_text("utf-8"))
        if any(f"import {name}" in program or f"from {name}" in program for name in UNTYPED):
            # The first line of a page is its title.
            program = f"# pyright: {', '.join(f'{rule}=false' for rule in _UNKNOWN)}{program}"
        (folder / f"{page.stem.replace('-', '_')}.py").write_text(f"{program}\n", "utf-8")
    return tmp_path


def run(folder, *command):
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=PATIENCE,
    )


def test_basedpyright_accepts_the_examples(programs):
    libraries = programs / "venv" / "lib" / "python3.11" / "site-packages"
    libraries.mkdir(parents=True)
    for name in FOLLOWED:
        (found,) = find_spec(name).submodule_search_locations
        (libraries / name).symlink_to(found)
    settings = {"include": ["programs"], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (programs / "pyrightconfig.json").write_text(json.dumps({**settings, "venvPath": ".", "venv": "venv"}))
    done = run(programs, "basedpyright", "--outputjson", "--project", ".")
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == len(PAGES) + 1
    assert [
        (Path(problem["file"]).name, problem["range"]["start"]["line"] + 1, problem["message"])
        for problem in report["generalDiagnostics"]
    ] == []


def test_mypy_accepts_the_examples(programs, pytestconfig):
    strict = "[mypy]\nstrict = True\npython_version = 3.11\nfollow_imports = silent\n"
    skipped = f"[mypy-{','.join(f'{name}.*' for name in NOT_FOLLOWED)}]\nfollow_imports = skip\nfollow_imports_for_stubs = True\nignore_missing_imports = True\n"
    skipped += "[mypy-pyarrow.*]\nignore_missing_imports = True\n"
    (programs / "mypy.ini").write_text(strict + skipped, "utf-8")
    cache = f"--cache-dir={pytestconfig.cache.mkdir('mypy')}"
    done = run(programs, "mypy", "--no-error-summary", cache, "--config-file=mypy.ini", "programs")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
