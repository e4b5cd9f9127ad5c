"""Pictures that are checked without decoding their pixels: the result is that of the decoder."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from framelode.adapters.datalake.jpeg import read_header
from framelode.adapters.datalake.media import read_media

FORMS = {
    "plain": {},
    "gray": {"mode": "L"},
    "four colors": {"mode": "CMYK"},
    "no subsampling": {"subsampling": 0, "quality": 98},
    "own tables": {"optimize": True},
    "rotated": {"exif": {0x0112: 6, 0x0131: "x"}},
    "comment": {"comment": b"\xff\xd9"},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
}
DECODED = {"progressive", "restarts"}
CHANGED = 150


def jpeg(mode="RGB", exif=None, **options):
    generator = random.Random(1)
    image = Image.frombytes("L", (60, 44), generator.randbytes(60 * 44)).convert("RGB").convert(mode)
    if exif:
        options["exif"] = Image.Exif()
        options["exif"].update(exif)
    file = io.BytesIO()
    image.save(file, "jpeg", **options)
    return file.getvalue()


def decoded(data):
    return read_media(io.BufferedReader(io.BytesIO(data)), "x.jpg", exif=True)


def changed(data, generator):
    """Return a JPEG of which something was changed, removed or inserted, mostly in its header."""
    data = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 4))):
        at = generator.randrange(2, len(data) if generator.random() < 0.3 else min(len(data), 700))
        match generator.randrange(5):
            case 0:
                data[at : at + 1] = bytes([generator.randrange(256)])
            case 1:
                data[at : at + 1] = bytes([generator.choice((0, 1, 0xC4, 0xD9, 0xFF))])
            case 2:
                del data[at : at + generator.choice((1, 2, 30))]
            case 3:
                data[at:at] = bytes([generator.randrange(256)]) * generator.choice((1, 2, 9))
            case _:
                data[at : at + 2] = bytes([0xFF, generator.randrange(256)])
    return bytes(data)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
def test_a_jpeg_is_judged_as_by_its_decoder(form):
    data = jpeg(**FORMS[form])
    assert (read_header(data) is None) == (form in DECODED)
    assert read_media(io.BytesIO(data), "x.jpg", exif=True) == decoded(data)
    assert (decoded(data).width, decoded(data).reason) == (44 if form == "rotated" else 60, "")
    generator = random.Random(form)
    judged = 0
    for _ in range(CHANGED):
        other = changed(data, generator)
        judged += read_header(other) is not None
        assert read_media(io.BytesIO(other), "x.jpg", exif=True) == decoded(other)
    assert form in DECODED or judged > CHANGED // 4


@pytest.mark.parametrize("cut", [1, 2, 3, 40, 1500])
def test_a_cut_jpeg_is_an_error(cut):
    data = jpeg()[:-cut]
    assert read_header(data) is None
    assert read_media(io.BytesIO(data), "x.jpg").status == decoded(data).status == "ERROR"


def test_a_second_picture_in_a_file_is_decoded():
    file = io.BytesIO()
    image = Image.new("RGB", (60, 44))
    image.save(file, "mpo", save_all=True, append_images=[image])
    data = file.getvalue()
    assert read_header(data) is None
    assert read_media(io.BytesIO(data), "x").content_type == "image/mpo"
    assert read_media(io.BytesIO(data[:-3]), "x").status == "ERROR"
