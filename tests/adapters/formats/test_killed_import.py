"""An import that is killed goes on where it was; a second one changes nothing; a moved data set makes no duplicate."""

from __future__ import annotations

import signal

import pytest
from forked import FORKED
from killed_import import AT_ONCE, BATCHES, import_and_die
from patience import PATIENCE
from PIL import Image

import framelode
from framelode import DatasetVersion
from framelode.adapters.formats.names import BUILT_IN

FRAMES = 30


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Wire forms of annotated pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    frames = []
    for number in range(FRAMES):
        file = folder / f"{number:02}.png"
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
        roi = {"type": "box2d", "poly": [1, 2, 3, 4], "label": [f"label {number % 3}"]}
        source = {"uri": str(file), "width": 8, "height": 8}
        frames.append({"id": f"{number:032x}", "sources": [source], "rois": [roi]})
    return frames


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_killed_import_goes_on(name, pictures, tmp_path):
    path = tmp_path / ("data.csv" if name == "csv" else "data.parquet" if name == "parquet" else "data")
    with framelode.connect("sqlite://") as engine:
        DatasetVersion.create_new_dataset("here")
        draft = DatasetVersion.get_current(dataset_name="here")
        draft.add_dicts([dict(frame) for frame in pictures])
        draft.export(name, path)
        engine.close()
    framelode.connect(tmp_path / "engine").close()
    child = FORKED.Process(target=import_and_die, args=(tmp_path / "engine", name, path))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == -signal.SIGKILL
    with framelode.connect(tmp_path / "engine") as engine:
        recorded = len(DatasetVersion.get_current(dataset_name="there"))
        assert recorded == AT_ONCE * BATCHES
        done = DatasetVersion.import_from(name, path, "there")
        assert (done.added, done.unchanged, done.updated) == (FRAMES - recorded, recorded, 0)
        again = DatasetVersion.import_from(name, path, "there")
        assert (again.added, again.unchanged, again.updated) == (0, FRAMES, 0)
        moved = path.rename(path.with_stem("moved"))
        assert DatasetVersion.import_from(name, moved, "there").added == 0
        assert len(done.version) == FRAMES
        engine.verify()
        engine.close()
