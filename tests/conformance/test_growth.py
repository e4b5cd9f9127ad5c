"""Work grows in step with what there is: counted, not timed, at n and 2n; and every operation has its growth measured."""

from __future__ import annotations

import importlib.util
import itertools
import re
import sqlite3
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
import typer
from sizes import sized

import framelode
from framelode import BulkContext, Dataset, DatasetVersion, Engine, ExecutionStore, SingleFrame
from framelode.adapters.cli.app import app
from framelode.adapters.pinned_datasets.datasets import Datasets
from framelode.adapters.pinned_datasets.yaml.tree import parse_yaml
from framelode.engine.errors import InvalidValueError

_SPEC = importlib.util.spec_from_file_location(
    "growth", Path(__file__).parents[1] / "benchmarks" / "growth.py"
)
growth = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(growth)

LIMIT = 2.3
_OURS = re.compile(re.escape(str(Path(framelode.__file__).parent)) + "/(engine|projections|adapters)/")
STEP = 20
"""How many steps of SQLite are counted as one."""


class Work:
    """What was done: instructions of our own Python code, and steps of SQLite."""

    python = sqlite = 0

    def trace(self, frame, event, _):
        if event == "call":
            if not _OURS.match(frame.f_code.co_filename):
                return None
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
        self.python += event == "opcode"
        return self.trace

    def step(self):
        self.sqlite += STEP
        return 0


@contextmanager
def counted():
    """Count the work of the block."""
    work, connections = Work(), set()

    def watch(_, cursor, *__):
        connections.add(cursor.connection)
        cursor.connection.set_progress_handler(work.step, STEP)

    sa.event.listen(sa.Engine, "before_cursor_execute", watch)
    sys.settrace(work.trace)
    try:
        yield work
    finally:
        sys.settrace(None)
        sa.event.remove(sa.Engine, "before_cursor_execute", watch)
        for connection in connections:
            # A command closes its engine.
            with suppress(sqlite3.ProgrammingError):
                connection.set_progress_handler(None, 0)


SIZES = {"versions": sized((40, 80), (70, 140)), "datasets": sized((80, 160), (150, 300))}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """Makes the worlds of size n and 2n, once."""
    made = {}

    def pair(name):
        if name not in made:
            made[name] = [growth.World(tmp_path_factory.mktemp(name), n) for n in SIZES[name]]
            first = next(each for each in growth.OPERATIONS if each.world == name)
            for world in made[name]:
                with world.engine:
                    first.call(world)
        return made[name]

    yield pair
    for world in itertools.chain.from_iterable(made.values()):
        world.engine.close()


@pytest.mark.sized
@pytest.mark.parametrize(
    "title",
    [
        "versions: DatasetVersion.get_version each",
        "versions: DatasetVersion.get_current each",
        "versions: DatasetVersion.get_single_frame of each version + new engine",
        "versions: Engine.gc",
        "versions: Engine.referenced_blobs",
        "versions: framelode log --graph",
        "datasets: Engine.dataset each",
        "datasets: framelode ls",
    ],
)
def test_work_grows_in_step(title, worlds):
    operation = next(each for each in growth.OPERATIONS if each.title == title)
    done = []
    for world in worlds(operation.world):
        world.engine.session.states.forget()
        with world.engine, counted() as work:
            operation.call(world)
        done.append(work)
    small, large = done
    assert large.python <= LIMIT * small.python
    assert large.sqlite <= LIMIT * small.sqlite


def test_a_change_of_a_version_does_not_read_earlier_ones(engine):
    """There is no index on the positions of a stream, so reading on from a position would read the whole stream."""
    DatasetVersion.create_new_dataset("d")
    draft = DatasetVersion.get_current(dataset_name="d")

    def change_tags(times):
        for _ in range(times):
            draft.add_tags(["a"])
            draft.remove_tags(["a"])

    steps = []
    for _ in range(2):
        with counted() as work:
            change_tags(5)
        steps.append(work.sqlite)
        change_tags(60)
    assert steps[1] <= 1.2 * steps[0]


class TestPlainValues:
    def test_long_ones_are_not_walked_in_python(self):
        lists = [[] for _ in range(10_000)]
        with counted() as work:
            SingleFrame(source="a.jpg", metadata={"lists": lists})
        assert work.python < 10_000

    @pytest.mark.parametrize("odd", [-0.0, (1,), True])
    def test_long_ones_are_canonical(self, odd):
        values = [[number] for number in range(1000)] + [odd]
        held = SingleFrame(source="a.jpg", metadata={"values": values}).metadata["values"]
        assert held[:-1] == values[:-1]
        assert held[0] is not values[0]
        assert repr(held[-1]) == {"-0.0": "0.0", "(1,)": "[1]", "True": "True"}[repr(odd)]

    @pytest.mark.parametrize("wrong", [float("nan"), 2**64, "\ud800", {1}])
    def test_long_ones_with_a_wrong_value_are_refused(self, wrong):
        with pytest.raises(InvalidValueError, match=r"metadata\.values\[1000\]"):
            SingleFrame(source="a.jpg", metadata={"values": [*range(1000), wrong]})

    def test_long_ones_may_be_as_deep_as_short_ones(self):
        for length in (1, 1000):
            for depth in (98, 99):
                value = [1]
                for _ in range(depth - 2):
                    value = [value]
                nested = {"a": [value] * length}
                if depth == 98:
                    SingleFrame(source="a.jpg", metadata=nested)


def test_yaml_of_very_many_values_is_refused(monkeypatch):
    monkeypatch.setattr("framelode.adapters.pinned_datasets.yaml.tree._VALUES", 100)
    parse_yaml("x: [" + "x," * 97 + "]", "dvc.yaml")
    with pytest.raises(InvalidValueError, match="more than 100 values"):
        parse_yaml("x: [" + "x," * 98 + "]", "dvc.yaml")


def commands(group, path="framelode"):
    """Yield the full name of every command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


def test_every_public_operation_is_measured():
    owners = (DatasetVersion, Dataset, Engine, ExecutionStore, BulkContext, Datasets)
    public = {
        f"{owner.__name__}.{name}" for owner in owners for name in dir(owner) if not name.startswith("_")
    }
    public |= set(commands(typer.main.get_command(app)))
    known = growth.covered() | growth.NOT_MEASURED.keys()
    assert public - known == set()
