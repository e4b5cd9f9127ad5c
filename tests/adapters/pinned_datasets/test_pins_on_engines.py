"""Changes of pinned datasets on every kind of engine: in memory, on files and in PostgreSQL."""

from __future__ import annotations

import pytest

import framelode
from framelode.adapters.pinned_datasets.datasets import Datasets
from framelode.adapters.pinned_datasets.recording import current_pins, pin_changes
from framelode.projections.tables.pins import PinQuery


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project" / "sub").mkdir(parents=True)
    (tmp_path / "file").write_text("1")
    return tmp_path / "project"


def test_a_life_of_pins(engine, project, tmp_path):
    datasets = Datasets(project)
    assert datasets.engine is engine
    long_name = "n" * 3000 + " é\U0001f600"
    with framelode.acting("me"):
        datasets.add(long_name, "../file", "url")
        datasets.add("b", "../file", "url", "sub/dvc.yaml")
    (tmp_path / "file").write_text("22")
    datasets.update("b")
    manifest = project / "sub" / "dvc.yaml"
    manifest.write_text(manifest.read_text().replace("../file", "../none"))
    assert datasets.status() == {long_name: "stale", "b": "invalidated"}
    manifest.unlink()
    assert list(Datasets(project, engine=engine)) == [long_name]

    told = datasets.history()
    kinds = ["added", "added", "locked", "observed", "invalidated", "observed"]
    assert [change.kind for change in told] == kinds
    assert [change.actor for change in told] == ["me", "me", *["tester"] * 4]
    assert [change.kind for change in datasets.history(actor="me", name="b")] == ["added"]
    assert [change.kind for change in datasets.history(newest_first=True, limit=2)] == kinds[:-3:-1]
    assert [change.position for change in datasets.history(since=told[1].at, until=told[3].at)] == [
        2,
        3,
        4,
        5,
    ]
    assert [sorted(datasets.at(position)) for position in (0, 1, 2, 5, 6)] == [
        [],
        [long_name],
        ["b", long_name],
        ["b", long_name],
        [long_name],
    ]
    assert datasets.at(2)["b"].lock.meta.size == 1
    assert datasets.at(told[2].at)["b"].lock.meta.size == 2
    assert datasets.at(5)["b"]._invalidated
    assert [change.kind for change in engine.history(kinds=["observed", "locked"])] == [
        "locked",
        "observed",
        "observed",
    ]
    engine.rebuild()
    assert datasets.history() == told
    engine.verify()
    engine.export_log(tmp_path / "log.jsonl")
    with framelode.connect("sqlite://") as copy:
        copy.import_log(tmp_path / "log.jsonl")
        assert list(pin_changes(copy.session, PinQuery())) == told
        assert [pin.name for pin in current_pins(copy.session, PinQuery())] == [long_name]
        copy.close()
