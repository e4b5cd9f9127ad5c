"""Imports and exports of data sets of others: COCO with a million annotations, and YOLO with 100,000 label files.

Run ``python tests/benchmarks/formats.py``. Each step runs in a process of its own and prints the items a second of processor time,
and the most memory that the process had more than before, beside the size of the file.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

LABELS = [f"class {number}" for number in range(80)]


def make_coco(file: Path, images: int, of_each: int) -> None:
    """Write a file in which the annotations of an image are apart, as tools write them that go by classes."""
    pick = random.Random(1)
    names = [
        {
            "id": number,
            "file_name": f"{number:012}.jpg",
            "width": 640,
            "height": 480,
            "coco_url": f"s3://bucket/{number:012}.jpg",
        }
        for number in range(1, images + 1)
    ]
    with file.open("w") as out:
        out.write('{"images":' + json.dumps(names) + ',"annotations":[')
        for number in range(images * of_each):
            x, y, w, h = (round(pick.uniform(1, 200), 2) for _ in range(4))
            annotation = {
                "id": number + 1,
                "image_id": number % images + 1,
                "category_id": pick.randrange(80) + 1,
                "bbox": [x, y, w, h],
                "area": round(w * h, 4),
                "segmentation": [],
                "iscrowd": 0,
            }
            out.write(("," if number else "") + json.dumps(annotation))
        categories = [{"id": number + 1, "name": name} for number, name in enumerate(LABELS)]
        out.write('],"categories":' + json.dumps(categories) + "}")


def png(width: int, height: int) -> bytes:
    """Return a grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 0, 0, 0, 0))
    pixels = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def make_yolo(folder: Path, images: int, of_each: int) -> None:
    pick = random.Random(1)
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True)
    picture = folder / "images" / "train" / "first.png"
    picture.write_bytes(png(640, 480))
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(LABELS))
    (folder / "data.yaml").write_text(f"train: images/train\nnames:\n{names}")
    for number in range(images):
        if number:
            (folder / "images" / "train" / f"{number}.png").write_bytes(picture.read_bytes())
        rows = (
            f"{pick.randrange(80)} {pick.uniform(0.3, 0.7):.6f} {pick.uniform(0.3, 0.7):.6f} 0.125000 0.250000\n"
            for _ in range(of_each)
        )
        stem = str(number) if number else "first"
        (folder / "labels" / "train" / f"{stem}.txt").write_text("".join(rows))


def step(name: str, folder: Path) -> dict[str, float]:
    """Do one step in the folder."""
    import framelode
    from framelode import DatasetVersion

    framelode.connect(folder / "engine")
    kind, way = name.split(" ")
    if way == "warm":
        return {}
    before, start = memory(), time.process_time()
    if way == "out":
        version = DatasetVersion.get_version(dataset_name=kind)
        count = sum(len(frame.get_annotations()) for frame in version)
        before, start = memory(), time.process_time()
        version.export(kind, folder / f"{kind}-out", images=False)
    else:
        path = folder / ("coco.json" if kind == "coco" else "yolo")
        done = DatasetVersion.import_from(kind, path, kind)
        assert not done.problems, done.problems[:3]
        assert (done.added, done.unchanged) == ((done.frames, 0) if way == "in" else (0, done.frames))
        count = done.annotations
    seconds = time.process_time() - start
    return {"count": count, "seconds": seconds, "memory": memory() - before}


def memory() -> int:
    """Return the most memory that the process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--of-each", type=int, default=10)
    parser.add_argument("--steps", default="coco in,coco again,coco out,yolo in,yolo again,yolo out")
    parser.add_argument("--step")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(step(given.step, given.folder)))
        return
    folder = given.folder or Path(tempfile.mkdtemp(prefix="framelode-formats-"))
    folder.mkdir(exist_ok=True)
    steps = given.steps.split(",")
    try:
        if any(each.startswith("coco") for each in steps) and not (folder / "coco.json").exists():
            make_coco(folder / "coco.json", given.images, given.of_each)
        if any(each.startswith("yolo") for each in steps) and not (folder / "yolo").exists():
            make_yolo(folder / "yolo", given.images, given.of_each)
        for each in steps:
            shutil.rmtree(folder / f"{each.split(' ')[0]}-out", ignore_errors=True)
            command = [sys.executable, __file__, "--step", each, "--folder", str(folder)]
            done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            size = (folder / "coco.json").stat().st_size if each.startswith("coco") else 0
            line = f"{each}: {done['count'] / done['seconds']:,.0f} annotations/s, "
            line += f"{given.images / done['seconds']:,.0f} images/s, {done['memory'] / 2**20:,.0f} MB more memory"
            print(line + (f", the file has {size / 2**20:,.0f} MB" if size else ""), flush=True)
    finally:
        if given.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
