"""Each format recognizes its own data sets, and none those of another."""

from __future__ import annotations

import pytest
from data_sets import make, write

from framelode.adapters.formats.names import BUILT_IN
from framelode.adapters.formats.registry import find_format, sniff_format
from framelode.engine.annotations.types import BoundingBox2D, ImageAnnotation


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The same frames in every format, by its name."""
    folder = tmp_path_factory.mktemp("sniffing")
    box, whole = BoundingBox2D(1, 2, 3, 4, labels="cat"), ImageAnnotation(labels="dog")
    frames = make(folder / "from", [([box, whole], {"splits": ["train"]})] * 3)
    paths = {name: folder / f"{name}{'.json' if find_format(name).is_file else ''}" for name in BUILT_IN}
    for name, path in paths.items():
        write(name, frames, path)
    return paths


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_data_set_is_recognized_by_its_format_only(written, name):
    assert sniff_format(written[name]).name == name


@pytest.mark.parametrize("name", BUILT_IN)
def test_nothing_is_recognized_in_files_of_others(tmp_path, name):
    for file, content in {
        "empty.json": b"",
        "list.json": b"[1, 2]",
        "cut.json": b'{"ima',
        "notes.txt": b"some words\n",
        "numbers.csv": b"a,b\n1,2\n",
        "page.xml": b"<html></html>",
        "damaged.tar": b"no archive",
        "damaged.parquet": b"PAR1",
        "binary.bin": bytes(range(256)),
    }.items():
        (tmp_path / file).write_bytes(content)
        assert not find_format(name).sniff(tmp_path / file), file
    assert not find_format(name).sniff(tmp_path)
