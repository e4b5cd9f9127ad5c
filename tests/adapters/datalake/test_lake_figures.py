"""Figures on real data: the pictures of FRAMELODE_TEST_VOC, and the odd files of FRAMELODE_TEST_LAKE."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

import lake_files
import pytest
from patience import PATIENCE

import framelode
from framelode.adapters.datalake import Client, ErrorManager
from framelode.adapters.datalake import exceptions as errors
from framelode.adapters.session import current

needs_voc = pytest.mark.skipif(
    not os.environ.get("FRAMELODE_TEST_VOC"), reason="FRAMELODE_TEST_VOC names no VOC folder"
)
needs_lake = pytest.mark.skipif(
    not os.environ.get("FRAMELODE_TEST_LAKE"), reason="FRAMELODE_TEST_LAKE names no folder of odd files"
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    with closing(framelode.connect(tmp_path_factory.mktemp("figures") / "engine")) as engine:
        # Not the current engine, which is closed after each test.
        current.deactivate(engine.session)
        yield Client(engine=engine).get_datalake()
        lake_files.require_whole(engine)


@pytest.fixture(scope="module")
def voc():
    return Path(os.environ["FRAMELODE_TEST_VOC"]).resolve()


@pytest.fixture(scope="module")
def data(lake, voc):
    paths = sorted((voc / "JPEGImages").iterdir())
    found = lake.upload_data(paths, tags=["blood", "train"])
    assert [each.filename for each in found] == [path.name for path in paths]
    return found


@needs_voc
class TestBloodCells:
    def test_all_are_there_and_doubles_add_no_blob(self, lake, data, voc, tmp_path):
        assert len(data) == 364
        for each in data:
            assert (each.upload_status, each.type, each.width, each.height, each.content_type) == (
                *("DONE", "IMAGE", 640, 480),
                "image/jpeg",
            )
        store = lake.lake.session.blobs
        assert sum(1 for entry in store.entries() if entry.digest) == 364
        assert [tag.name for tag in lake.list_data_tags()] == ["blood", "train"]
        assert lake.list_data(tags=["blood", "train"], intersect_tags=True).ids == data.ids
        copies = []
        for number, path in enumerate(sorted((voc / "JPEGImages").iterdir())[:10]):
            copies.append(tmp_path / f"copy {number}.jpg")
            copies[-1].write_bytes(path.read_bytes())
        again = lake.upload_data(copies)
        assert len(again) == 10
        assert sum(1 for entry in store.entries() if entry.digest) == 364
        again.delete()

    def test_limits(self, lake, data):
        assert len(lake.list_data(limit=100, offset=300)) == 64
        for wrong in ({"limit": 0}, {"offset": -1}):
            with pytest.raises(ValueError):
                lake.list_data(**wrong)
        with pytest.raises(errors.NoDataError):
            lake.list_data(offset=364)
        assert len(lake.list_data(ids=data.ids[:50], limit=10, offset=45)) == 5

    def test_tags(self, lake, data, voc):
        data.remove_tags("train")
        by_name = {each.filename.removesuffix(".jpg"): each for each in data}
        for tag, name in (("train", "train"), ("tv", "trainval")):
            named = (voc / "ImageSets" / "Main" / f"{name}.txt").read_text("utf-8").split()
            lake.get_or_create_data_tag(tag).attach_on([by_name[each] for each in named])
        assert (len(lake.list_data(tags="train")), len(lake.list_data(tags="tv"))) == (205, 292)
        assert len(lake.list_data(tags=["train", "tv"])) == 292
        assert len(lake.list_data(tags=["train", "tv"], intersect_tags=True)) == 205
        with pytest.raises(errors.ResourceNotFoundError):
            lake.list_data(tags=["train", "unknown"])

    @pytest.mark.parametrize(
        ("q", "count"),
        [
            ('filename startswith "BloodImage_000"', 91),
            ('filename endswith "7.jpg"', 40),
            ("size > 20000", 291),
            ('filename ~ "11"', 10),
            ('width = 640 and (filename endswith "7.jpg" or size > 20000)', 304),
        ],
    )
    def test_queries(self, lake, data, q, count):
        assert len(lake.list_data(q=q, tags="blood")) == count

    def test_split(self, data):
        first, rest = data.split(0.8)
        assert (len(first), len(rest)) == (291, 73)
        with pytest.raises(errors.NoDataError):
            data.split(0.001)
        assert (first + rest).items == data.items


ERRORS = {
    *("own_broken_empty.png", "own_broken_text_as.jpg", "pillow_broken.png", "pillow_broken_zero_width.gif"),
    *("pillow_bomb_header.gif", "pillow_broken_truncated.jpg", "small_webp.webp"),
    *("small_Mpeg4.mp4", "small_mp4-with-audio.mp4", "small_heif.heif"),
}
SIZES = {
    "own_full_exif_gps_orient6.jpg": (48, 64),
    "pillow_orientation_rectangle_2x1_orient8.jpg": (1, 2),
    "pillow_hopper_orientation_3.jpg": (128, 128),
    "pillow_hopper_orientation_6.jpg": (128, 128),
    "pillow_hopper_orientation_8.webp": (128, 128),
    "own_16bit_gray.png": (40, 30),
    "own_clip_64x48_10f.mp4": (64, 48),
}


def odd_files():
    folder = Path(os.environ["FRAMELODE_TEST_LAKE"])
    return sorted(path for path in folder.iterdir() if path.suffix not in {".md", ".txt"})


@needs_lake
@pytest.mark.filterwarnings("ignore")
def test_odd_files(lake):
    manager = ErrorManager()
    done = lake.upload_data(
        odd_files(),
        fill_metadata=True,
        error_manager=manager,
        custom_metadata=[{"odd": True}] * len(odd_files()),
    )
    assert {Path(error.path).name for error in manager.errors} == ERRORS
    assert all(isinstance(error, errors.UnprocessableData) for error in manager.errors)
    found = {each.filename: each for each in done}
    assert len(found) == 30 - len(ERRORS)
    assert {name: (found[name].width, found[name].height) for name in SIZES} == SIZES
    assert "pillow-heif" in lake.find_data(filename="small_heif.heif").reason
    metadata = found["own_full_exif_gps_orient6.jpg"].metadata
    assert metadata.pop("latitude") == pytest.approx(-33.859833, abs=1e-6)
    assert metadata.pop("longitude") == pytest.approx(151.211111, abs=1e-6)
    assert metadata == {
        "acquired_at": datetime.fromisoformat("2024-02-29T12:34:56"),
        "acquired_by": "Ada Example",
        "altitude": -12.5,
        "color_space": "sRGB",
        "manufacturer": "Framelode Cam",
        "resolution_unit": "inches",
        "resolution_x": 300.0,
        "resolution_y": 300.0,
        "software": "make 1.0",
    }


MEMORY = """import re, resource, sys, framelode
from pathlib import Path
from framelode.adapters.datalake import Client, ErrorManager
with framelode.connect(sys.argv[1]) as engine:
    Client().get_datalake().upload_data(sys.argv[2:], fill_metadata=True, error_manager=ErrorManager())
engine.close()
status = Path("/proc/self/status")  # the peak that the system tells begins with the memory of the process that forked
peak = re.search(r"VmHWM:\\s+(\\d+)", status.read_text()) if status.exists() else None
print(peak[1] if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"""


@needs_lake
def test_odd_files_need_little_memory(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", MEMORY, tmp_path / "engine", *odd_files()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(re.findall(r"\d+", done.stdout)[-1]) * unit < 300 * 1024 * 1024
