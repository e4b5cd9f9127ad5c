"""Reads pictures and videos: what they are, their sizes and their EXIF. The content decides, never the name."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from datetime import datetime
from functools import lru_cache
from mimetypes import guess_type
from typing import Any, BinaryIO

import msgspec

from .enums import DataType, DataUploadStatus
from .jpeg import START, read_header

_LARGE_PIXELS = 1 << 24
"""Pictures with more pixels are decoded one at a time."""

_MOST_PIXELS = 90_000_000
"""Pictures with more pixels are refused: a small file may claim any size."""

_HEADERS = 64
_SHORT_HEADER = 4096
"""Number of headers of JPEG that are kept, and the most bytes of each."""

_UPRIGHT_SWAPPED = range(5, 9)
"""EXIF orientations that swap width and height."""

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_NO_VIDEOS = ("image2", "tty", "gif", "apng", "concat", "hls", "srt", "ass", "webvtt")
_VIDEO_TYPES = {
    "mov": "video/mp4",
    "matroska": "video/x-matroska",
    "avi": "video/x-msvideo",
    "mpegts": "video/mp2t",
    "mpeg": "video/mpeg",
    "asf": "video/x-ms-wmv",
    "ogg": "video/ogg",
}
_UNITS = {2: "inches", 3: "cm"}
_COLOR_SPACES = {1: "sRGB", 2: "Adobe RGB", 65535: "Uncalibrated"}
_large = threading.Lock()


class Media(msgspec.Struct, kw_only=True):
    """What a content is.

    Attributes
    ----------
    type : DataType
        Whether it is a picture or a video.
    content_type : str
        MIME type.
    width, height : int
        Size in pixels, upright; 0 if unknown.
    reason : str
        Why it cannot be read; empty if it can.
    exif : dict
        Metadata of the picture.
    """

    type: DataType = DataType.IMAGE
    content_type: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""
    exif: dict[str, Any] = {}

    @property
    def status(self) -> DataUploadStatus:
        """Whether it can be read."""
        return DataUploadStatus.ERROR if self.reason else DataUploadStatus.DONE


def read_media(file: BinaryIO, name: str, *, exif: bool = False) -> Media:
    """Decode a picture or video.

    Parameters
    ----------
    file : binary file
        The content, which can seek.
    name : str
        Name of the file, for the type of contents that cannot be read.
    exif : bool
        Read the EXIF of a picture.
    """
    head = _head(file)
    plain = _plain_jpeg(file.getvalue(), exif=exif) if isinstance(file, io.BytesIO) else None
    if plain is not None:
        return plain
    found = _picture(file, exif=exif) if head else "the file is empty"
    if isinstance(found, str) and head and not _is_heif(head):
        video = _video(file)
        found = video if isinstance(video, Media) else f"{found}; {video}"
    if isinstance(found, Media) and found.content_type:
        return found
    reason = found.reason if isinstance(found, Media) else found
    guessed = guess_type(name)[0] or "application/octet-stream"
    kind = DataType.VIDEO if guessed.startswith("video/") else DataType.IMAGE
    return Media(type=kind, content_type=guessed, reason=reason)


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(32)


def _is_heif(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _plain_jpeg(data: bytes, *, exif: bool) -> Media | None:
    """Return a sound JPEG of the common form, whose pixels need not be decoded."""
    header = read_header(data) if data.startswith(START) else None
    if header is None or header.width * header.height > _MOST_PIXELS:
        return None
    found = (_read_small if len(header.content) <= _SHORT_HEADER else _picture_of)(header.content, exif=exif)
    if not isinstance(found, Media) or found.reason:
        return None
    sides = (header.width, header.height)
    width, height = sides if found.width > found.height else sides[::-1]
    return msgspec.structs.replace(found, width=width, height=height)


def _picture_of(content: bytes, *, exif: bool) -> Media | str:
    return _picture(io.BytesIO(content), exif=exif)


_read_small = lru_cache(_HEADERS)(_picture_of)
"""Pictures of one program often have the same header."""


def _picture(file: BinaryIO, *, exif: bool) -> Media | str:
    """Return a picture; the reason if it is no picture, or a `Media` with the reason if it is a damaged one."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        return "pictures need Pillow: pip install 'framelode[image]'"
    head = _head(file)
    file.seek(0)
    try:
        picture = Image.open(file)
    except UnidentifiedImageError:
        return "pictures in HEIF need pillow-heif" if _is_heif(head) else "it is no picture that Pillow reads"
    except Exception as error:  # noqa: BLE001 - damaged files raise anything
        return Media(content_type="", reason=f"the picture is damaged: {error}")
    with picture:
        return _decoded(picture, Image.MIME.get(picture.format or "", "image/unknown"), exif=exif)


def _decoded(picture: Any, content_type: str, *, exif: bool) -> Media:
    """Return a picture after all of it was decoded."""
    found = Media(content_type=content_type)
    width, height = picture.size
    if width * height > _MOST_PIXELS:
        found.reason = f"the picture claims {width} x {height} pixels, more than {_MOST_PIXELS:,}"
        return found
    upright, details = _read_exif(picture, wanted=exif)
    try:
        with _large if width * height > _LARGE_PIXELS else nullcontext():
            _decode(picture)
    except Exception as error:  # noqa: BLE001 - damaged files raise anything
        found.reason = f"the picture is damaged: {error}"
        return found
    found.width, found.height = (width, height) if upright else (height, width)
    found.exif = details
    return found


def _read_exif(picture: Any, *, wanted: bool) -> tuple[bool, dict[str, Any]]:
    """Return whether a picture is stored upright, and its EXIF. A picture with damaged EXIF is still a picture."""
    upright = True
    try:
        known = picture.getexif()
        upright = known.get(0x0112) not in _UPRIGHT_SWAPPED
        return upright, _exif(picture, known) if wanted else {}
    except Exception:  # noqa: BLE001 - damaged EXIF raises anything
        return upright, {}


def _decode(picture: Any) -> None:
    """Decode all of a picture. A JPEG is decoded at an eighth of its size, which reads every byte, too."""
    picture.draft("L", (max(1, picture.width // 8), max(1, picture.height // 8)))
    left = _MOST_PIXELS
    for number in range(getattr(picture, "n_frames", 1)):
        left -= picture.width * picture.height
        if number and left < 0:
            break
        picture.seek(number)
        picture.load()


def _exif(picture: Any, known: Any) -> dict[str, Any]:
    from PIL import ExifTags, TiffImagePlugin

    base, detail, place = known, known.get_ifd(ExifTags.IFD.Exif), known.get_ifd(ExifTags.IFD.GPSInfo)
    found: dict[str, Any] = {
        "acquired_at": _time(base.get(0x0132)) or _time(detail.get(0x9003)),
        "acquired_by": _text(base.get(0x013B)),
        "resolution_x": _number(base.get(0x011A)),
        "resolution_y": _number(base.get(0x011B)),
        "resolution_unit": _UNITS.get(base.get(0x0128)),
        "compression": TiffImagePlugin.COMPRESSION_INFO.get(base.get(0x0103)),
        "manufacturer": _text(base.get(0x010F)),
        "software": _text(base.get(0x0131)),
        "color_space": _COLOR_SPACES.get(detail.get(0xA001)),
        "altitude": _altitude(place),
    }
    latitude = _degrees(place.get(2), place.get(1), "S")
    longitude = _degrees(place.get(4), place.get(3), "W")
    if latitude is not None and longitude is not None:
        found |= {"latitude": latitude, "longitude": longitude}
    density = picture.info.get("dpi")
    if found["resolution_x"] is None and density:
        found |= {"resolution_x": _number(density[0]), "resolution_y": _number(density[1])}
        found["resolution_unit"] = found["resolution_unit"] or "inches"
    return {name: value for name, value in found.items() if value is not None}


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    plain = str(value).replace("\0", "").encode("utf-8", "replace").decode() if value else ""
    return plain.strip()[:128] or None


def _number(value: Any) -> float | None:
    try:
        plain = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return plain if abs(plain) < float("inf") else None


def _time(value: object) -> datetime | None:
    try:
        return datetime.strptime(_text(value) or "", "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - EXIF has no time zone
    except ValueError:
        return None


def _degrees(value: Any, reference: object, negative: str) -> float | None:
    if not isinstance(value, tuple) or len(value) != 3:
        return None
    parts = [_number(part) for part in value]
    if None in parts:
        return None
    degrees = sum(part / size for part, size in zip(parts, (1, 60, 3600), strict=True) if part is not None)
    return -degrees if _text(reference) == negative else degrees


def _altitude(place: Any) -> float | None:
    metres = _number(place.get(6))
    if metres is None:
        return None
    return -metres if place.get(5) in {1, b"\x01"} else metres


def _video(file: BinaryIO) -> Media | str:
    """Return a video of which a frame can be decoded, or the reason."""
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        return "videos need PyAV: pip install 'framelode[video]'"
    file.seek(0)
    try:
        with av.open(file, "r", metadata_errors="ignore") as container:
            names = container.format.name.split(",")
            if any(name.endswith("_pipe") or name in _NO_VIDEOS for name in names):
                return "it is no video"
            stream = container.streams.video[0]
            frame = next(container.decode(stream), None)
            if frame is None:
                return "the video has no frame that can be decoded"
            width, height = frame.width, frame.height
            if round(getattr(frame, "rotation", 0) / 90) % 2:
                width, height = height, width
    except (FFmpegError, IndexError, ValueError, OSError, EOFError, MemoryError) as error:
        # The whole text of an error has the path of the file.
        return f"it is no video that PyAV reads: {getattr(error, 'strerror', None) or error}"
    kind = next((_VIDEO_TYPES[name] for name in names if name in _VIDEO_TYPES), f"video/{names[0]}")
    return Media(type=DataType.VIDEO, content_type=kind, width=width, height=height)
