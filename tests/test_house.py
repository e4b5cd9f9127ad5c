"""The house: imports point down only, `import framelode` stays light, and the README's example runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import framelode

ROOT = Path(__file__).parents[1]
FLOORS = {"engine": 0, "projections": 1, "adapters": 2}
LIGHT = ("pandas", "pyarrow", "PIL", "dask", "typer", "rich", "lance", "fsspec.implementations")


def imports(file):
    """Yield the framelode modules that a file imports, as paths below the root package."""
    package = file.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield (*package[: len(package) - node.level + 1], *(node.module or "").split("."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "framelode":
            yield tuple(node.module.split(".")[1:])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name.split(".")[0] != "framelode", f"{file}: import relatively"


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_point_down_only(floor):
    files = list((ROOT / floor).rglob("*.py"))
    assert files
    for file in files:
        for target in imports(file):
            assert FLOORS.get(target[0], 99) <= FLOORS[floor], (
                f"{file.relative_to(ROOT)} imports {'.'.join(target)}"
            )


def test_every_package_is_listed_for_the_wheel():
    listed = set(re.findall(r'"(framelode[\w.]*)",', (ROOT / "pyproject.toml").read_text("utf-8")))
    found = {
        ".".join(("framelode", *file.relative_to(ROOT).parts[:-1]))
        for floor in FLOORS
        for file in (ROOT / floor).rglob("*.py")
    }
    assert listed == found | {"framelode"}


def test_importing_framelode_loads_nothing_heavy():
    code = f"import framelode, sys; print([m for m in sys.modules if m.startswith({LIGHT!r})])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_face_is_what_it_says():
    for name in framelode.__all__:
        assert getattr(framelode, name) is not None
    assert framelode.__all__ == sorted(framelode.__all__)


def test_the_readme_example_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    names["engine"].close()
    printed = capsys.readouterr().out.splitlines()
    promised = re.findall(r"print\(.*?\)\s+# (.*)", example)
    assert len(promised) == 3
    assert printed[:3] == promised
    assert len(example.splitlines()) <= 30
