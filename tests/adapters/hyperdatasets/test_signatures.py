"""The names, parameters, order and defaults of the API that is followed, read from a table."""

import inspect
from pathlib import Path

import pytest

import framelode

TABLE = Path(__file__).with_name("hyperdatasets_signatures.txt")
ROWS = [
    [cell.strip() for cell in line.split("|")]
    for line in TABLE.read_text().splitlines()
    if line and not line.startswith("#")
]
CLASSES = {"BulkContext", "DatasetVersion"}


@pytest.fixture
def version(tmp_path):
    with framelode.connect(tmp_path / "engine"):
        framelode.DatasetVersion.create_new_dataset("data")
        yield framelode.DatasetVersion.get_current(dataset_name="data")


def signature_of(parameters):
    return inspect.signature(eval(f"lambda {parameters}: None"))


def reached(version, owner, member, how):
    if how == "constructor":
        return getattr(framelode, owner)
    if how == "class":
        return getattr(getattr(framelode, owner), member)
    target = version.get_bulk_context() if owner == "BulkContext" else version
    return getattr(target, member)


@pytest.mark.parametrize(("name", "how", "parameters"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_signature(version, name, how, parameters):
    owner, member = name.split(".")
    assert owner in CLASSES
    if how == "property":
        assert not callable(reached(version, owner, member, how))
        assert isinstance(inspect.getattr_static(getattr(framelode, owner), member), property)
        return
    ours = inspect.signature(reached(version, owner, member, how)).parameters
    theirs = signature_of(parameters).parameters
    same = [parameter for parameter in ours.values() if parameter.name in theirs]
    assert [(p.name, p.default, p.kind) for p in same] == [
        (p.name, p.default, p.kind) for p in theirs.values()
    ]
    for parameter in ours.values():
        if parameter.name not in theirs:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, f"{parameter.name} is ours"
            assert parameter.default is not inspect.Parameter.empty


def test_the_table_is_whole():
    assert len(ROWS) == len({tuple(row[:2]) for row in ROWS}) == 38


def test_frame_names_what_a_version_holds():
    assert framelode.DatasetVersion.Frame == framelode.SingleFrame | framelode.FrameGroup
