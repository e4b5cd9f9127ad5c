"""Datalakes: ``python tests/benchmarks/lake.py upload`` and ``python tests/benchmarks/lake.py list [DATA]``.

`upload` stores 10,000 pictures of about 20 KB, a tenth of them twice, from a folder, several times. Beside it the pictures are
copied by one thread, hashed and synced together: what the file system alone takes. `list` measures pages of
`list_data` in lakes of a quarter, a half and all of DATA (a million), whose events are recorded without files, and prints the best of
several calls on the clock and of the processor.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
from blake3 import blake3
from PIL import Image

import framelode
from framelode.adapters.datalake import Client
from framelode.adapters.datalake.exceptions import NoDataError
from framelode.engine.events.lakes import ITEMS_OF_AN_EVENT, DataRecord, DataUploaded, TagRecord, TagsCreated

PICTURES = 10_000
ROUNDS = 3
CALLS = 15
PAGE = 100
QUERIES = (
    ("all", None),
    ("all", "size > 20000"),
    ("part 3", 'filename startswith "12" or size < 11000'),
    ("rare", "width = 640 and size > 20000"),
    ("all", 'filename startswith "123" and size > 20000'),
    ("part 3", "metadata.altitude >= 490 and metadata.weather = 'sun'"),
    ("part 3", "tags.name = 'all' and not filename ~ 'A'"),
)
"""A tag, and a query beside it. One in 1,000 names begins with 123, one in 350 data has the metadata."""


def seconds_of(call, times=1):
    """Return the best seconds of some calls, on the clock and of the processor."""
    clock, processor = [], []
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        call()
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return min(clock), min(processor)


def make_pictures(folder):
    """Write JPEG of 640 x 480 pixels and about 20 KB: noise in squares of 8 pixels on a gradient."""
    folder.mkdir()
    generator = np.random.default_rng(1)
    plain = np.linspace(0, 200, 640, dtype=np.uint8)[None, :, None].repeat(480, 0).repeat(3, 2)
    for number in range(PICTURES * 9 // 10):
        noise = generator.integers(0, 50, (60, 80, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        file = io.BytesIO()
        Image.fromarray(plain + noise).save(file, "jpeg", quality=82)
        (folder / f"{number:05}.jpg").write_bytes(file.getvalue())
    for number in range(PICTURES // 10):
        shutil.copyfile(folder / f"{number:05}.jpg", folder / f"copy-{number:05}.jpg")


def copy_hashed(paths, folder):
    """Copy files to names made of their hashes, each by way of a temporary name, and sync them."""
    for number in range(256):
        (folder / f"{number:02x}").mkdir(parents=True)
    temporary = folder / "temporary"
    for path in paths:
        data = path.read_bytes()
        digest = blake3(data).hexdigest()
        temporary.write_bytes(data)
        temporary.rename(folder / digest[:2] / digest)
    os.sync()


def measure_uploads(base):
    make_pictures(base / "pictures")
    paths = sorted((base / "pictures").iterdir())
    size = sum(path.stat().st_size for path in paths) / len(paths)
    print(f"{len(paths):,} pictures of {size / 1000:.1f} KB")
    for number in range(ROUNDS):
        show_rate("copied", paths, lambda number=number: copy_hashed(paths, base / f"copy-{number}"))
        with framelode.connect(base / f"engine-{number}") as engine:
            lake = Client(engine=engine).get_datalake()
            for what in ("new", "known"):
                show_rate(what, paths, lambda lake=lake: lake.upload_data(paths, tags=["noise"]))
            engine.close()


def show_rate(what, paths, call):
    """Print how many files a second a call takes."""
    seconds, processor = seconds_of(call)
    each = processor / len(paths) * 1e6
    print(f"{what:<8}{len(paths) / seconds:>8,.0f} files/s, {each:>5,.0f} us of processor each", flush=True)


def fill(lake, engine, start, stop):
    """Record data as uploads do, without files."""
    new_id = engine.session.new_id
    names = ("all", "rare", *(f"part {number}" for number in range(10)))
    known = {name: row.id for name, row in lake.lake.tags().items()}
    if not known:
        known = {name: new_id() for name in names}
        made = [TagRecord(id=tag_id, name=name) for name, tag_id in known.items()]
        lake.lake.record(lambda stream: stream.trigger(TagsCreated, lake=lake.name, tags=made))
    for at in range(start, stop, ITEMS_OF_AN_EVENT):
        part = at // ITEMS_OF_AN_EVENT
        tags = ["all", f"part {part % 10}", *(["rare"] if part % 20 == 10 else [])]
        data = [data_record(number) for number in range(at, min(at + ITEMS_OF_AN_EVENT, stop))]
        values = {"lake": lake.name, "data": data, "tags": [known[tag] for tag in tags]}
        lake.lake.record(lambda stream, values=values: stream.trigger(DataUploaded, **values))


def data_record(number):
    name = f"{number % 1000:03}-{number:07}.jpg"
    return DataRecord(
        id=uuid.uuid4().hex,
        filename=name,
        object_name=name,
        digest=f"{number:064x}",
        size=10_000 + number * 7 % 20_000,
        content_type="image/jpeg",
        width=640,
        height=480,
        metadata={"altitude": float(number % 500), "weather": "sun" if number % 7 == 0 else "rain"},
    )


def first_page(lake, tag, q):
    """Return the first data that match; none in a lake too small to have some."""
    try:
        return lake.list_data(limit=PAGE, tags=tag, q=q)
    except NoDataError:
        return []


def measure_lists(base, most):
    with framelode.connect(base / "engine") as engine:
        lake = Client(engine=engine).get_datalake()
        held = 0
        for size in (most // 4, most // 2, most):
            recorded = seconds_of(lambda start=held, stop=size: fill(lake, engine, start, stop))
            replayed = seconds_of(lambda: lake.list_data(limit=1))
            rates = [f"{(size - held) / seconds:,.0f}" for seconds in (*recorded, *replayed)]
            print(
                f"{size:,} data: recorded {rates[0]}/s ({rates[1]}/s of processor), replayed {rates[2]}/s ({rates[3]}/s)",
                flush=True,
            )
            held = size
            for tag, q in QUERIES:
                took = seconds_of(lambda tag=tag, q=q: first_page(lake, tag, q), CALLS)
                shown = [f"{seconds * 1e3:>6.1f} ms" for seconds in took]
                print(f"  {shown[0]} ({shown[1]} of processor): {tag}: {q}", flush=True)
        engine.close()


def main(command="", most="1000000"):
    with tempfile.TemporaryDirectory() as base:
        if command == "upload":
            measure_uploads(Path(base))
        elif command == "list":
            measure_lists(Path(base), int(most))
        else:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
