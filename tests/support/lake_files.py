"""Small pictures and videos for datalakes, made by the tests, and processings that run on them."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

from PIL import Image

from framelode.projections.tables.lakes import Lakes

VOC = "FRAMELODE_TEST_VOC"


def picture(path, number=0, size=(16, 12), color=None, **options):
    """Write a picture whose content its number decides, unless it has a color."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, color or (number % 256, number // 256 % 256, number // 65536))
    image.save(path, **options)
    return path


def pictures(folder, count, **options):
    return [picture(folder / f"{number:05}.png", number, **options) for number in range(count)]


def photo(path):
    """Write a picture, stored on its side, with EXIF and GPS."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F], exif[0x0131], exif[0x013B] = "Framelode Cam", "make 1.0", "Ada Example"
    exif[0x0132] = "2024:02:29 12:34:56"
    exif[0x011A] = exif[0x011B] = 300.0
    exif[0x0128] = 2
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0xA001] = "2024:02:29 12:34:50", 1
    place = exif.get_ifd(0x8825)
    place.update({1: "S", 2: (33.0, 51.0, 35.4), 3: "E", 4: (151.0, 12.0, 40.0), 5: b"\x01", 6: 12.5})
    Image.new("RGB", (64, 48), "red").save(path, exif=exif)
    return path


def video(path, frames=10, size=(64, 48)):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_image(Image.new("RGB", size, (number * 20, 0, 0)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def require_whole(engine):
    """Verify an engine with its blobs, rebuild the tables of its lakes, and require the same rows."""
    for thread in threading.enumerate():
        if thread.name.startswith("framelode-job"):
            thread.join()  # it may still record how its job ended
    assert engine.verify(blobs=True).problems == []
    runner = engine.session.runner
    lakes = next(each for each in runner.projections if isinstance(each, Lakes))
    before = rows_of(engine)
    runner.rebuild(lakes)
    assert rows_of(engine) == before


def rows_of(engine):
    """Return all rows of the tables of lakes, by table."""
    with engine.session.read(Lakes) as (lakes, connection):
        tables = lakes.metadata.sorted_tables
        return {table.name: sorted(map(repr, connection.execute(table.select()))) for table in tables}


def tag_it(data, name="processed"):
    """A processing."""
    data.add_tags(name)
    return data.width


def fail_at(data, filename="00001.png"):
    """A processing that fails for one file."""
    if data.filename == filename:
        raise ValueError("this one cannot be processed")


def name_of_worker(data):
    """A processing that tells which worker of a Dask cluster it runs on."""
    from distributed import get_worker

    return get_worker().name


def wait_for(data, path):
    """A processing that ends only once a file is there."""
    import time

    Path(path + ".begun").touch()
    while not Path(path).exists():
        time.sleep(0.01)
