"""Reads and writes frames as JSON of ClearML Hyper-Datasets: a list, one object a line, or an answer of its server.

Nothing of a frame is lost: groups, videos, masks, previews and ids are written, too. Image files are not: sources are URIs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ...engine.errors import InvalidValueError, UsageError
from ...engine.frames.frame_group import FrameGroup, frame_from_dict
from ...engine.frames.record import FRAME_FIELDS
from ...engine.frames.source import DEFAULT_SOURCE, path_or_uri
from ...engine.validation import shorten
from .described import put_size
from .files import Folder, checked_parts, json_of, start_of
from .format import Format, Item, Reading, Wire, Writing
from .report import FlawError, Report

_SUFFIXES = (".json", ".jsonl", ".ndjson")
_START = 2**16
_MAX_FRAME = 32 * 2**20
_MAX_VALUE = 128 * 2**20


def sniff(path: Path) -> bool:
    """Whether a JSON file has the sources of frames; of a folder, one directly in it."""
    if path.is_file():
        return _has_frames(path)
    return any(_has_frames(file) for file in islice(sorted(path.iterdir()), 100))


def _has_frames(file: Path) -> bool:
    if file.suffix.lower() not in _SUFFIXES:
        return False
    start = start_of(file)
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
    files = [
        name
        for name in folder.chosen(path, _SUFFIXES)
        if path.is_file() or _has_frames(Path(folder.path, name))
    ]
    if not files:
        raise UsageError(f"{path} has no JSON file with frames of ClearML")
    return Reading(folder.path, _items(folder, files, report))


def _items(folder: Folder, files: list[str], report: Report) -> Iterator[Item]:
    seen: set[str] = set()
    there = set(folder.files)
    for file in files:
        try:
            for number, given in enumerate(_frames_in(folder, file), 1):
                try:
                    frame = _decoded(given)
                    for source in frame.get("sources") or ():
                        _find_file(source, folder, there, file, report)
                    yield _item(frame, f"{file}#{number}", folder, seen, report)
                except (FlawError, InvalidValueError) as error:
                    report.flaw("frame", file, f"frame {number}: {error}")
        except FlawError as error:
            report.flaw("file", file, error)


def _frames_in(folder: Folder, file: str) -> Iterator[Any]:
    """Yield the frames of a file, each as JSON or as its value: of a list, of one object a line, or of an answer of the server."""
    content = folder.view(file)
    first, _, rest = bytes(content[:_START]).lstrip().partition(b"\n")
    if first[:1] == b"[":
        yield from _listed(content)
    elif first.rstrip().endswith(b"}") and rest.strip():
        with Path(folder.path, file).open("rb") as opened:
            while line := opened.readline(_MAX_FRAME):
                if len(line) == _MAX_FRAME:
                    raise FlawError(f"has a line of more than {_MAX_FRAME:,} bytes")
                if line.strip(b"\xef\xbb\xbf \t\r\n"):
                    yield msgspec.Raw(line)
    else:
        yield from _answered(_json_of(content))


def _listed(content: memoryview) -> Sequence[Any]:
    try:
        return msgspec.json.decode(content, type=list[msgspec.Raw])
    except msgspec.DecodeError:
        # It may have NaN in it, which only its frame is refused for.
        return _json_of(content)


def _json_of(content: memoryview) -> Any:
    if len(content) > _MAX_VALUE:
        raise FlawError(
            f"is no JSON list of frames, nor one frame a line, and has more than {_MAX_VALUE:,} bytes"
        )
    return json_of(bytes(content))


def _answered(given: Any) -> list[Any]:
    while isinstance(given, dict) and "sources" not in given:
        given = given.get("frames", given.get("data", given.get("frame")))
    if given is None:
        raise FlawError("has neither sources nor frames")
    return given if isinstance(given, list) else [given]


def _decoded(given: Any) -> dict[str, Any]:
    if isinstance(given, msgspec.Raw):
        if len(given) > _MAX_FRAME:
            raise FlawError(f"has {len(given):,} bytes, more than the limit of {_MAX_FRAME:,}")
        given = json_of(bytes(given))
    if not isinstance(given, dict):
        raise FlawError(f"must be an object, not {shorten(given)}")
    return given


def _item(given: dict[str, Any], place: str, folder: Folder, seen: set[str], report: Report) -> Item:
    for key in given.keys() - FRAME_FIELDS:
        report.loss(f"key {shorten(key)} that frames do not have: left out", place)
        del given[key]
    frame = frame_from_dict(given)
    frame_id = frame.id
    if frame_id is None and isinstance(frame, FrameGroup):
        frame_id = frame.derive_id(folder.path)
    if frame_id is not None:
        if frame_id in seen:
            raise FlawError(f"id {shorten(frame_id)} is there twice")
        seen.add(frame_id)
    wire: Wire = frame.to_dict()
    wire.pop("id", None)
    if frame_id is not None:
        wire["id"] = frame_id
    local = path_or_uri((wire.get("sources") or [{}])[0].get("uri")) or place
    return Item(local.removeprefix(f"{folder.path}/"), wire)


def _find_file(source: Any, folder: Folder, there: set[str], file: str, report: Report) -> None:
    """Make a path relative to the folder absolute, and compare the size of the image."""
    uri = source.get("uri") if isinstance(source, dict) else None
    if not isinstance(uri, str) or not uri or ":" in uri or uri.startswith(("/", "~")):
        return
    name = "/".join(checked_parts(uri))
    if name not in there:
        raise FlawError(f"missing image: no file is {shorten(uri)}")
    found = folder.source(name)
    size = source.get("width"), source.get("height")
    if None not in size:
        put_size(found, folder, name, file, size, report)
    source["uri"] = f"{folder.path}/{name}"


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
