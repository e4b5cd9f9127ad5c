"""`framelode demo --voc`: a small Pascal VOC folder to try imports with."""

from __future__ import annotations

import random
import struct
import zlib

PICTURES = 12

_SEED = 20_240_229
_WIDTH, _HEIGHT = 160, 120
_COLOURS = {"car": (196, 64, 64), "person": (64, 160, 96), "bicycle": (64, 96, 196)}
_SKY, _ROAD = (200, 220, 240), (120, 120, 124)

Box = tuple[str, int, int, int, int]
"""A label, and the corners of its box in pixels: left, top, right, bottom."""


def voc_files() -> tuple[dict[str, bytes], int]:
    """Return pictures with coloured boxes, their annotations and a split by path, and the number of boxes."""
    pick = random.Random(_SEED)  # noqa: S311 - the same folder every time
    names = [f"{number:04}" for number in range(PICTURES)]
    files: dict[str, bytes] = {}
    total = 0
    for name in names:
        boxes = [_box(pick) for _ in range(pick.randint(1, 3))]
        total += len(boxes)
        files[f"JPEGImages/{name}.png"] = _png(boxes)
        files[f"Annotations/{name}.xml"] = _xml(name, boxes).encode()
    held_back = names[-PICTURES // 4 :]
    splits = {"train": [name for name in names if name not in held_back], "val": held_back}
    for split, listed in splits.items():
        files[f"ImageSets/Main/{split}.txt"] = "\n".join([*listed, ""]).encode()
    return files, total


def _box(pick: random.Random) -> Box:
    width, height = pick.randint(16, 48), pick.randint(12, 36)
    left, top = pick.randint(1, _WIDTH - width), pick.randint(1, _HEIGHT - height)
    return pick.choice(tuple(_COLOURS)), left, top, left + width - 1, top + height - 1


def _xml(name: str, boxes: list[Box]) -> str:
    objects = "".join(
        f"  <object>\n    <name>{label}</name>\n    <bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>\n  </object>\n"
        for label, left, top, right, bottom in boxes
    )
    size = f"<size><width>{_WIDTH}</width><height>{_HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation>\n  <filename>{name}.png</filename>\n  {size}\n{objects}</annotation>\n"


def _png(boxes: list[Box]) -> bytes:
    """Draw boxes in the colours of their labels, as a PNG: three bytes a pixel, each line without a filter."""
    rows = [bytearray(bytes(_SKY if y < _HEIGHT // 2 else _ROAD) * _WIDTH) for y in range(_HEIGHT)]
    for label, left, top, right, bottom in boxes:
        # The corners of VOC count from one, and both belong to the box.
        for row in rows[top - 1 : bottom]:
            row[3 * (left - 1) : 3 * right] = bytes(_COLOURS[label]) * (right - left + 1)
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
