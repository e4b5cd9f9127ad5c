"""Reads and writes frames as JSON of ClearML Hyper-Datasets: a list, one object a line, or an answer of its server.

Nothing of a frame is lost: groups, videos, masks, previews and ids are written, too. Image files are not: sources are URIs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ...engine.errors import InvalidValueError, UsageError
from ...engine.frames.frame_group import FrameGroup, frame_from_dict
from ...engine.frames.record import FRAME_FIELDS
from ...engine.frames.source import DEFAULT_SOURCE, path_or_uri
from ...engine.validation import shorten
from .described import is_remote
from .files import Folder, json_of
from .format import Format, Item, Reading, Wire, Writing
from .report import FlawError, Report

_SUFFIXES = (".json", ".jsonl", ".ndjson")
_START = 2**16
_MAX_FILE = 2**30
_MAX_LINE = 32 * 2**20


def sniff(path: Path) -> bool:
    """Whether a JSON file has the sources of frames; of a folder, one directly in it."""
    if path.is_file():
        return _has_frames(path)
    return any(_has_frames(file) for file in islice(sorted(path.iterdir()), 100) if file.is_file())


def _has_frames(file: Path) -> bool:
    if file.suffix.lower() not in _SUFFIXES:
        return False
    with file.open("rb") as opened:
        start = opened.read(_START)
    return (
        b'"sources"' in start
        and b'"uri"' in start
        and start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"[", b"{"}
    )


def read(path: Path, report: Report) -> Reading:
    """Return the frames in JSON files.

    Raises
    ------
    UsageError
        There is no file with frames.
    """
    folder = Folder(path if path.is_dir() else path.parent, report)
    if path.is_file():
        files = [path.name]
    else:
        files = [name for name in folder.with_suffix(_SUFFIXES) if _has_frames(Path(folder.path, name))]
    if not files:
        raise UsageError(f"{path} has no JSON file with frames of ClearML")
    return Reading(folder.path, _items(folder, files, report))


def _items(folder: Folder, files: list[str], report: Report) -> Iterator[Item]:
    seen: set[str] = set()
    for file in files:
        try:
            for number, raw in enumerate(_frames_in(folder, file), 1):
                try:
                    yield _item(raw, f"{file}#{number}", folder, seen, report)
                except (FlawError, InvalidValueError) as error:
                    report.flaw("frame", file, f"frame {number}: {error}")
        except FlawError as error:
            report.flaw("file", file, error)


def _frames_in(folder: Folder, file: str) -> Iterator[Any]:
    """Yield the frames of a file, each as JSON or as its value."""
    size = folder.size(file)
    path = Path(folder.path, file)
    with path.open("rb") as opened:
        start = opened.read(_START).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] == b"[" or size <= _START or not start.partition(b"\n")[0].rstrip().endswith(b"}"):
        yield from _whole(folder.read(file, _MAX_FILE))
        return
    with path.open("rb") as opened:
        while line := opened.readline(_MAX_LINE):
            if len(line) == _MAX_LINE:
                raise FlawError(f"has a line of more than {_MAX_LINE:,} bytes")
            if line.strip(b"\xef\xbb\xbf \t\r\n"):
                yield msgspec.Raw(line)


def _whole(content: bytes) -> Iterable[Any]:
    text = content.removeprefix(b"\xef\xbb\xbf").strip()
    try:
        if text[:1] == b"[":
            return msgspec.json.decode(text, type=list[msgspec.Raw])
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and lines[0].rstrip().endswith(b"}"):
            return map(msgspec.Raw, lines)
        raise FlawError(f"is not valid JSON: {error}") from error
    # An answer of the server has the frames in its data.
    while isinstance(given, dict) and "sources" not in given:
        inner = given.get("frames", given.get("data", given.get("frame")))
        if inner is None:
            raise FlawError("has neither sources nor frames")
        given = inner
    return given if isinstance(given, list) else [given]


def _item(raw: Any, place: str, folder: Folder, seen: set[str], report: Report) -> Item:
    wire = json_of(bytes(raw)) if isinstance(raw, msgspec.Raw) else raw
    if not isinstance(wire, dict):
        raise FlawError(f"must be an object, not {shorten(wire)}")
    for key in wire.keys() - FRAME_FIELDS:
        report.loss(f"key {shorten(key)} that frames do not have: left out", place)
        del wire[key]
    for source in wire.get("sources") or ():
        _make_absolute(source, folder)
    frame = frame_from_dict(wire)
    frame_id = frame.id
    if frame_id is None and isinstance(frame, FrameGroup):
        frame_id = frame.derive_id(folder.path)
    if frame_id is not None:
        if frame_id in seen:
            raise FlawError(f"id {shorten(frame_id)} is there twice")
        seen.add(frame_id)
    canonical: Wire = frame.to_dict()
    canonical.pop("id", None)
    if frame_id is not None:
        canonical["id"] = frame_id
    local = path_or_uri((canonical.get("sources") or [{}])[0].get("uri")) or place
    return Item(local.removeprefix(f"{folder.path}/"), canonical)


def _make_absolute(source: Any, folder: Folder) -> None:
    """Make a path relative to the file absolute."""
    uri = source.get("uri") if isinstance(source, dict) else None
    if (
        isinstance(uri, str)
        and uri
        and not is_remote(uri)
        and ":" not in uri
        and not uri.startswith(("/", "~"))
    ):
        source["uri"] = f"{folder.path}/{uri}"


def write(out: Writing) -> None:
    """Write the frames as a list with one object a line."""
    encoder = msgspec.json.Encoder()
    with out.path.open("wb") as file:
        before = b"[\n"
        for frame in out.frames:
            if isinstance(frame, FrameGroup) and list(frame) == [DEFAULT_SOURCE]:
                out.report.loss("group of one frame named 'default': written as that frame", str(frame.id))
            file.write(before + encoder.encode(frame.to_dict()))
            before = b",\n"
        file.write(b"\n]\n" if before == b",\n" else b"[]\n")


FORMAT = Format("clearml", "ClearML frames", sniff, read, write, is_file=True)
