"""Checks a JPEG without decoding its pixels.

The decoder of a baseline JPEG refuses wrong headers and tables, and data that end too early. It takes any other data for
pixels. So it need not see the data of a picture in the common form: one scan that ends with the end of the file.
"""

from __future__ import annotations

from typing import NamedTuple

START = b"\xff\xd8"

_END = b"\xff\xd9"
_MOST_PIXELS_OF_A_SIDE = 65_500
_SIZE = b"\0\x08\0\x10"
_SCAN, _BASELINE, _TABLES, _RESTARTS = 0xDA, 0xC0, {0xC4, 0xDB, 0xFE}, 0xDD
_APPLICATION = range(0xE0, 0xF0)


class Header(NamedTuple):
    """The header of a JPEG.

    Attributes
    ----------
    content : bytes
        A JPEG with the same header, except for its size: 16 x 8 pixels. A decoder reads it if it reads the whole JPEG.
    width, height : int
        Size of the whole JPEG in pixels, as stored.
    """

    content: bytes
    width: int
    height: int


def read_header(data: bytes) -> Header | None:
    """Return the header of a JPEG, or None if only a decoder can tell whether it is whole."""
    frame, at = 0, len(START)
    while (marker := _marker(data, at)) != _SCAN:
        if marker == _BASELINE and not frame:
            frame = at
        elif marker not in _TABLES and (marker not in _APPLICATION or data[at + 4 : at + 7] == b"MPF"):
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    start = at + 2 + int.from_bytes(data[at + 2 : at + 4])
    height, width = int.from_bytes(data[frame + 5 : frame + 7]), int.from_bytes(data[frame + 7 : frame + 9])
    # One scan has all components, and no marker comes before the end.
    is_plain = (
        frame
        and data[frame + 4] == 8
        and data[frame + 9] == data[at + 4]
        and 0 < min(width, height) <= max(width, height) <= _MOST_PIXELS_OF_A_SIDE
        and start < len(data) - len(_END)
        and data.endswith(_END)
        and data.count(b"\xff", start) == data.count(b"\xff\0", start) + 1
    )
    if not is_plain:
        return None
    small = data[: frame + 5] + _SIZE + data[frame + 9 : start] + _END
    return Header(small, width, height)


def _marker(data: bytes, at: int) -> int:
    """Return the marker at a place; 0 if the bytes there are no marker, or end too soon."""
    return data[at + 1] if data[at : at + 1] == b"\xff" and at + 10 < len(data) else 0
