"""The house: imports point down only, `import framelode` stays light, and the README's example runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from patience import PATIENCE

import framelode

ROOT = Path(__file__).parents[1]
FLOORS = ("engine", "projections", "adapters")
ROOMS = (
    "engine/secrets",
    "engine/errors",
    "engine/forks engine/iterables engine/keys engine/structs engine/times engine/tracing",
    "engine/validation",
    "engine/canonical engine/decoding engine/parallel engine/storage",
    "engine/events engine/query",
    "engine/log",
    "engine/annotations engine/datasets",
    "engine/blobs engine/frames engine/pins engine/stores",
    "engine/sources",
    "engine/writes",
    "projections/columns projections/pages projections/statements",
    "projections/projection",
    "projections/tracking",
    "projections/stretches",
    "projections/states",
    "projections/runner",
    "projections/history projections/queries projections/tables",
    "projections/verify",
    "adapters/executors",
    "adapters/sql adapters/uploads",
    "adapters/session",
    "adapters/arrow adapters/files adapters/formats adapters/maintenance adapters/portable",
    "adapters/display",
    "adapters/datalake adapters/execution_store adapters/hyperdatasets adapters/one",
    "adapters/queries",
    "adapters/engine adapters/integrations",
    "adapters/pinned_datasets",
    "adapters/connect",
    "adapters/cli",
)
"""The rooms from the ground up: files of one may import those of the same room and of the lines above."""

LEVELS = {room: level for level, rooms in enumerate(ROOMS) for room in rooms.split()}
LIGHT = (
    "pandas",
    "polars",
    "pyarrow",
    "duckdb",
    "PIL",
    "dask",
    "distributed",
    "typer",
    "rich",
    "lance",
    "mlcroissant",
    "mlflow",
    "openlineage",
    "opentelemetry",
    "fsspec.implementations",
    "s3fs",
    "eventsourcing.cipher",
    "sqlalchemy.orm",
    "torch",
)


def imports(file):
    """Yield the framelode modules that a file imports, as paths below the root package."""
    package = file.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (*package[: len(package) - node.level + 1], *filter(None, (node.module or "").split(".")))
            yield from ((*base, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "framelode":
            yield tuple(node.module.split(".")[1:])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name.split(".")[0] != "framelode", f"{file}: import relatively"


def room_of(parts):
    """Return the room of a path or module below the root package."""
    return "/".join(parts[:2]).removesuffix(".py")


def test_every_file_has_a_room():
    files = [file for floor in FLOORS for file in (ROOT / floor).glob("*") if file.name[:2] != "__"]
    # A folder that git has emptied may still hold compiled files.
    files = [file for file in files if file.is_file() or any(file.glob("*.py"))]
    assert {room_of(file.relative_to(ROOT).parts) for file in files} == set(LEVELS)


def test_the_page_on_architecture_lists_every_room_in_order():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    floors = re.split(r"^## (?:engine|projections|adapters)/.*$", page, flags=re.MULTILINE)[1:]
    rows = [
        {f"{floor}/{name.strip('/')}" for name in re.findall(r"`([\w/]+)`", cells)}
        for floor, section in zip(FLOORS, floors, strict=True)
        for cells in re.findall(r"^\| (`.*?) \|", section.partition("\n## ")[0], re.MULTILINE)
    ]
    assert set().union(*rows) == set(LEVELS)
    levels = [max(LEVELS[room] for room in row) for row in rows]
    assert levels == sorted(levels)


def test_the_page_on_architecture_names_files_that_are_there():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = re.findall(r"`((?:engine|projections|adapters|tests|docs)/[\w/.]*)`", page)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_public_apis_attach_where_the_page_on_architecture_says():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## Adding a public API")[2]
    tables = dict(re.findall(r"An entry in `([A-Z]+)` \(`([\w/.]+)`\)", page))
    assert set(tables) == {"STREAMS", "PROJECTIONS"}
    found = {
        name: getattr(import_module("framelode." + path.removesuffix(".py").replace("/", ".")), name)
        for name, path in tables.items()
    }
    homes = {event.__module__ for streams in found["STREAMS"] for event in streams.events}
    own = {"framelode.projections.history.table", "framelode.projections.queries.stored"}
    homes |= {kind.__module__ for kind in found["PROJECTIONS"]} - own
    folders = {"/".join(home.split(".")[1:-1]) + "/" for home in homes}
    assert folders == set(re.findall(r"^\d\. (?:Events|A projection), in `([\w/]+)`", page, re.MULTILINE))


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_point_down_only(floor):
    """Imports inside functions and for type checkers count, too."""
    files = [file for file in (ROOT / floor).rglob("*.py") if len(file.relative_to(ROOT).parts) > 2]
    files += [file for file in (ROOT / floor).glob("*.py") if file.name != "__init__.py"]
    assert files
    upwards = [
        f"{file.relative_to(ROOT)} imports {'.'.join(target)}"
        for file in files
        for target in imports(file)
        if target != ("__version__",)
        if (room := room_of(target)) != (own := room_of(file.relative_to(ROOT).parts))
        and LEVELS[room] >= LEVELS[own]
    ]
    assert not upwards


def test_only_the_adapters_know_databases_by_name():
    """`engine` and `projections` describe tables; `adapters/sql` compiles them for each database."""
    allowed = {
        "engine/storage/held_files.py",  # database files of this process must not be closed while SQLite uses them
        "projections/states/context_order.py",  # sorts in a temporary database of its own
    }
    files = [file for floor in FLOORS[:2] for file in (ROOT / floor).rglob("*.py")]
    names = re.compile(r"sqlite|postgres|psycopg|with_variant|on conflict", re.IGNORECASE)
    found = {file.relative_to(ROOT).as_posix() for file in files if names.search(file.read_text("utf-8"))}
    assert found == allowed


def test_every_package_is_listed_for_the_wheel():
    listed = set(re.findall(r'"(framelode[\w.]*)",', (ROOT / "pyproject.toml").read_text("utf-8")))
    found = {
        ".".join(("framelode", *file.relative_to(ROOT).parts[:-1]))
        for floor in FLOORS
        for file in (ROOT / floor).rglob("*.py")
    }
    assert listed == found | {"framelode"}


def modules_after(code, *arguments):
    """Return what a new process has imported when some code has run."""
    code += "\nimport sys; print(*sorted(sys.modules), file=sys.stderr)"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return done.stderr.split()


def heavy(modules, *more):
    return [name for name in modules if name.startswith((*LIGHT, *more))]


def test_importing_framelode_loads_almost_nothing():
    before = modules_after("pass")
    loaded = [name for name in modules_after("import framelode") if name not in before]
    assert len(loaded) < 20, loaded
    assert not heavy(loaded, "numpy", "sqlalchemy", "eventsourcing", "msgspec", "asyncio", "inspect")


def test_reading_a_frame_loads_nothing_it_does_not_need(tmp_path):
    with framelode.connect(tmp_path / "food") as engine:
        framelode.DatasetVersion.create_new_dataset("food")
        draft = framelode.DatasetVersion.get_current(dataset_name="food")
        draft.add_frames([framelode.SingleFrame(id="a", source="s3://b/a.jpg")])
        engine.close()
    code = """import sys, framelode
with framelode.connect(sys.argv[1]):
    assert framelode.DatasetVersion.get_version(dataset_name="food").get_single_frame("a").width is None"""
    loaded = modules_after(code, tmp_path / "food")
    assert "sqlalchemy" in loaded
    assert not heavy(
        loaded, "eventsourcing", "fsspec", "lark", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql"
    )
    # Projections and rooms that other uses need. A first read takes longer with each of them.
    others = (
        "engine.blobs.store",
        "engine.writes",
        "projections.history",
        "projections.queries",
        "projections.tables",
    )
    others += ("adapters.display.html", "adapters.uploads", "adapters.hyperdatasets.version_writer")
    found = {name for name in loaded if name.startswith(tuple(f"framelode.{each}" for each in others))}
    assert found == {"framelode.projections.tables", "framelode.projections.tables.catalog"}
    assert "filelock" not in loaded


COMMAND = """import sys
from framelode.adapters.cli.main import main
try:
    main()
except SystemExit as done:
    assert not done.code, done.code"""


def test_a_command_loads_what_it_needs(tmp_path):
    framelode.connect(tmp_path / "food").close()
    said = modules_after(COMMAND, "--version")
    helped = modules_after(COMMAND, "ls", "--help")
    listed = modules_after(COMMAND, "--engine", tmp_path / "food", "ls")
    light = [name for name in LIGHT if name not in {"typer", "rich"}]
    assert not heavy(said, "numpy", "sqlalchemy", "eventsourcing", "msgspec", "asyncio", "inspect", "typer")
    assert "typer" in listed
    for loaded, more in ((helped, ("numpy", "sqlalchemy")), (listed, ("fsspec",))):
        assert not [name for name in loaded if name.startswith((*light, *more, "eventsourcing"))]


def test_the_public_face_is_what_it_says():
    for name in framelode.__all__:
        assert getattr(framelode, name) is not None
    assert framelode.__all__ == sorted(framelode.__all__)
    assert set(framelode.__all__) <= set(dir(framelode))
    with pytest.raises(AttributeError, match="module 'framelode' has no attribute 'SingelFrame'"):
        framelode.SingelFrame  # noqa: B018


def test_a_type_checker_sees_the_names_where_they_are_loaded_from():
    (block,) = (
        node
        for node in ast.parse((ROOT / "__init__.py").read_text("utf-8")).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )
    checked = {alias.name: node.module for node in block.body for alias in node.names}
    assert checked == {name: home for home, names in framelode._HOMES.items() for name in names}
    assert set(checked) == set(framelode.__all__) - {"__version__"}


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


def test_every_page_of_the_docs_is_in_the_site_and_every_decision_listed():
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    listed = (ROOT / "docs" / "decisions" / "index.md").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert name in nav or f"({page.name})" in listed, name
