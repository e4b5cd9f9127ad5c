"""`list_data(q=)` beside the other filters, on generated pictures and on the folder of FRAMELODE_TEST_VOC."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import lake_files
import pytest
from PIL import Image

import framelode
from framelode.adapters.datalake import Client
from framelode.adapters.datalake.exceptions import InvalidQueryError, NoDataError

VOC = os.environ.get("FRAMELODE_TEST_VOC", "")


@pytest.fixture
def pictures(tmp_path):
    """Five pictures of different sizes: a0.png, b1.png, A2.PNG, b%_3.png, é4.png."""
    paths = [tmp_path / name for name in ("a0.png", "b1.png", "A2.PNG", "b%_3.png", "é4.png")]
    for number, path in enumerate(paths):
        Image.new("L", (10 + number, 20)).save(path, "png")
    return paths


@pytest.fixture
def lake(engine, pictures):
    lake = Client(engine=engine).get_datalake()
    lake.upload_data(pictures[:3], tags=["train", "both"], source="camera one")
    lake.upload_data(
        pictures[3:],
        tags=["test", "both"],
        metadata=[
            {"acquired_at": datetime.fromisoformat("2024-02-29T12:34:56"), "altitude": -3.5},
            {"acquired_by": "Ada", "altitude": 8},
        ],
        custom_metadata=[{"camera": {"model": "X"}, "marks": ["x", 7]}, {"marks": [[True]], "sharp": True}],
    )
    return lake


def names(lake, q, **filters):
    try:
        return [data.filename for data in lake.list_data(q=q, **filters)]
    except NoDataError:
        return []


QUERIES = [
    ("", "a0 b1 A2 b%_3 é4"),
    ("width = 11", "b1"),
    ("width in (11, 12) or height > 20", "b1 A2"),
    ("filename ~ 'A'", "a0 A2"),
    ("filename = 'b1.png' or filename in ('a0.png', 'é4.png', None)", "a0 b1 é4"),
    ("filename != 'b1.png' and not filename in ('a0.png', 'b1')", "A2 b%_3 é4"),
    ("filename startswith 'b%_'", "b%_3"),
    ("filename ~ 'É'", "é4"),
    ("filename endswith '.png' and not filename ~ 'b'", "a0 é4"),
    ("tags.name = 'train'", "a0 b1 A2"),
    ("tags.name = 'both' and tags.name = 'test'", "b%_3 é4"),
    ("tags.name != 'train'", "b%_3 é4"),
    ("tags.name in ('train', 'test')", "a0 b1 A2 b%_3 é4"),
    ("source.name = 'camera one'", "a0 b1 A2"),
    ("source.name = None", "b%_3 é4"),
    ("source.name != 'camera one'", "b%_3 é4"),
    ("metadata.acquired_at > '2024-02-29'", "b%_3"),
    ("metadata.acquired_at = '2024-02-29T13:34:56+01:00'", "b%_3"),
    ("metadata.altitude < 8", "b%_3"),
    ("metadata.altitude != 8", "a0 b1 A2 b%_3"),
    ("metadata.altitude = '8'", ""),
    ("metadata.acquired_by ~ 'aDA'", "é4"),
    ("custom_metadata.camera.model = 'X'", "b%_3"),
    ("custom_metadata.marks = 7 and custom_metadata.marks = 'x'", "b%_3"),
    ("custom_metadata.marks = True", "é4"),
    ("custom_metadata.sharp != None", "é4"),
    ("type = 'IMAGE' and upload_status = 'DONE' and content_type = 'image/png' and width > 13", "é4"),
    ("created_at > '2000-01-01' and created_at < '9999-01-01' and size > 20 and width = 10", "a0"),
]


def test_queries_find_their_data(lake):
    assert {q: [name.partition(".")[0] for name in names(lake, q)] for q, _ in QUERIES} == {
        q: found.split() for q, found in QUERIES
    }


def test_a_query_is_put_in_parentheses_beside_the_other_filters(lake):
    assert names(lake, "width = 10 or width = 13", tags="train") == ["a0.png"]
    assert names(lake, "width = 10 or width = 13", tags=["train", "both"], intersect_tags=True) == ["a0.png"]
    assert names(lake, "width > 10", limit=2, offset=1, order_by=["-width"]) == ["b%_3.png", "A2.PNG"]
    assert names(lake, "width > 10", filenames=["a0.png", "b1.png"]) == ["b1.png"]


def test_names_that_begin_alike_are_found_by_their_index(lake, tmp_path, monkeypatch):
    odd = ["\U0010ffff.png", "\x7f.png", "x" * 16 + ".png", "x" * 16 + "y.png", "x" * 15 + "é.png", "x.png"]
    for name in odd:
        Image.new("L", (50, 50)).save(tmp_path / name, "png")
    lake.upload_data([tmp_path / name for name in odd])
    held = [*odd, "a0.png", "b1.png", "A2.PNG", "b%_3.png", "é4.png"]
    for limit in (1, 10_000):
        monkeypatch.setattr("framelode.adapters.datalake.reading._FEW_ROWS", limit)
        for beginning in {name[:length] for name in held for length in (1, 2, 15, 16, 17)}:
            found = names(lake, f'filename startswith "{beginning}" and height > 0')
            assert sorted(found) == sorted(name for name in held if name.startswith(beginning))
    assert names(lake, "filename startswith 'x' and filename startswith 'xx'", tags="both") == []
    assert names(lake, "filename startswith 'b' and metadata.a = None", tags=["both"]) == [
        "b1.png",
        "b%_3.png",
    ]
    assert names(lake, "metadata.acquired_by startswith 'A' and filename startswith ''") == ["é4.png"]


def test_a_query_follows_what_changes(lake):
    (data,) = lake.list_data(q="width = 10")
    data.update_metadata({"altitude": 1})
    assert names(lake, "metadata.altitude = 1") == ["a0.png"]
    data.update_metadata({"altitude": None})
    assert names(lake, "metadata.altitude = 1") == []
    lake.get_data_tag("train").update("learn")
    assert names(lake, "tags.name = 'learn'") == ["a0.png", "b1.png", "A2.PNG"]
    data.delete()
    assert names(lake, "tags.name = 'learn'") == ["b1.png", "A2.PNG"]


def test_custom_metadata_is_compared_with_values_of_its_type(lake):
    def found(**values):
        return names(lake, None, custom_metadata=values)

    assert found(sharp=True) == found(marks=True) == ["é4.png"]
    assert found(sharp=1) == found(marks="7") == []
    assert found(marks=7) == found(marks=7.0, sharp=None) == ["b%_3.png"]
    with pytest.raises(InvalidQueryError, match="custom_metadata.camera can be compared"):
        found(camera={"model": "X"})


def test_a_wrong_query_says_where(lake):
    with pytest.raises(InvalidQueryError, match=r"line 1, column 1: found 'widht'.*did you mean 'width'\?"):
        lake.list_data(q="widht = 1")
    with pytest.raises(InvalidQueryError, match="q must be a string, not 5"):
        lake.list_data(q=5)


@pytest.mark.skipif(not VOC, reason="FRAMELODE_TEST_VOC names no VOC folder")
class TestBccd:
    @pytest.fixture(scope="class")
    @staticmethod
    def folder(tmp_path_factory):
        """An engine with all pictures, 205 of them tagged ``train`` and 292 ``tv``."""
        folder = tmp_path_factory.mktemp("bccd") / "engine"
        with framelode.connect(folder) as engine:
            lake = Client(engine=engine).get_datalake()
            lake.upload_data(sorted((Path(VOC) / "JPEGImages").iterdir()), tags=["blood"])
            for tag, listed in (("train", "train"), ("tv", "trainval")):
                stems = (Path(VOC) / "ImageSets" / "Main" / f"{listed}.txt").read_text("utf-8").split()
                lake.list_data(filenames=[f"{stem}.jpg" for stem in stems]).add_tags(tag)
            lake_files.require_whole(engine)
            engine.close()
        return folder

    @pytest.fixture
    def lake(self, folder):
        with framelode.connect(folder) as engine:
            yield Client(engine=engine).get_datalake()
            engine.close()

    @pytest.mark.parametrize(
        ("q", "count"),
        [
            ('filename startswith "BloodImage_000"', 91),
            ('filename endswith "7.jpg"', 40),
            ("size > 20000", 291),
            ('filename ~ "11"', 10),
            ("width = 640", 364),
            ("tags.name = 'train'", 205),
            ("tags.name != 'tv'", 72),
        ],
    )
    def test_a_query_finds_so_many(self, lake, q, count):
        assert len(lake.list_data(q=q)) == count

    def test_tags_beside_a_query(self, lake):
        q = 'width = 640 and (filename endswith "7.jpg" or size > 20000)'
        expected = {
            data.filename
            for data in lake.list_data()
            if data.filename.endswith("7.jpg")
            or (Path(VOC) / "JPEGImages" / data.filename).stat().st_size > 20000
        }
        train = {data.filename for data in lake.list_data(tags="train")}
        assert {data.filename for data in lake.list_data(q=q)} == expected
        assert {data.filename for data in lake.list_data(q=q, tags="train")} == expected & train
        assert len(lake.list_data(tags=["train", "tv"])) == 292
        assert len(lake.list_data(tags=["train", "tv"], intersect_tags=True)) == 205

    @pytest.mark.parametrize(
        ("q", "message"),
        [
            (
                "filename = ",
                "line 1, column 12: found the end, expected a string, a number, True, False or None",
            ),
            ("foo = 1", "line 1, column 1: found 'foo', expected one of id, filename, "),
            ("(width > 1", "line 1, column 11: found the end, expected )"),
            ('width > "a"', "line 1, column 9: found 'a', expected a number: width is a number"),
        ],
    )
    def test_a_wrong_query_says_where_and_what_was_expected(self, lake, q, message):
        with pytest.raises(InvalidQueryError) as raised:
            lake.list_data(q=q)
        assert message in str(raised.value)
