"""Content types, derived from the suffix of a URI."""

from __future__ import annotations

import re

_DATA_TYPE = re.compile(r"data:([\w.+-]+/[\w.+-]+)[;,]")

# An own table, because those of Python and of the system differ between machines.
_CONTENT_TYPES = {
    suffix: f"{kind}/{subtype}"
    for kind, subtype, suffixes in (
        ("image", "jpeg", "jpg jpeg jpe jfif"),
        ("image", "png", "png"),
        ("image", "gif", "gif"),
        ("image", "bmp", "bmp"),
        ("image", "tiff", "tif tiff"),
        ("image", "webp", "webp"),
        ("image", "avif", "avif"),
        ("image", "heic", "heic"),
        ("image", "heif", "heif"),
        ("image", "jp2", "jp2"),
        ("image", "jxl", "jxl"),
        ("image", "svg+xml", "svg"),
        ("image", "x-portable-graymap", "pgm"),
        ("image", "x-portable-pixmap", "ppm"),
        ("image", "x-exr", "exr"),
        ("video", "mp4", "mp4 m4v"),
        ("video", "quicktime", "mov"),
        ("video", "x-msvideo", "avi"),
        ("video", "x-matroska", "mkv"),
        ("video", "webm", "webm"),
        ("video", "mpeg", "mpg mpeg"),
        ("audio", "wav", "wav"),
        ("audio", "mpeg", "mp3"),
        ("audio", "flac", "flac"),
        ("audio", "ogg", "ogg"),
        ("application", "dicom", "dcm"),
        ("application", "json", "json"),
        ("application", "x-ndjson", "jsonl ndjson"),
        ("application", "pdf", "pdf"),
        ("application", "xml", "xml"),
        ("application", "x-npy", "npy"),
        ("application", "x-npz", "npz"),
        ("application", "x-hdf5", "h5 hdf5"),
        ("application", "vnd.apache.parquet", "parquet"),
        ("application", "zip", "zip"),
        ("application", "x-tar", "tar"),
        ("application", "gzip", "gz"),
        ("model", "gltf-binary", "glb"),
        ("model", "ply", "ply"),
        ("model", "pcd", "pcd"),
        ("text", "plain", "txt"),
        ("text", "csv", "csv"),
    )
    for suffix in suffixes.split()
}


def content_type_of(uri: str) -> str | None:
    """Return the content type for the suffix of a URI, or None if it is unknown. It is the same on every machine."""
    known = _CONTENT_TYPES.get(uri.rpartition(".")[2])
    if known and "?" not in uri and "#" not in uri and not uri.startswith("data:"):
        return known
    if uri.startswith("data:"):
        header = _DATA_TYPE.match(uri)
        return header[1] if header else None
    if "?" in uri or "#" in uri:
        uri = uri.partition("#")[0].partition("?")[0]
    _, dot, suffix = uri.rpartition("/")[2].rpartition(".")
    return _CONTENT_TYPES.get(suffix.lower()) if dot else None
