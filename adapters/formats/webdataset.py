"""Shards of WebDataset: tar archives in which files of the same name are a sample.

What is written
    Shards of 1,000 samples: the image, `.json` with the frame in wire form, and `.cls` with the index of its first label, if it has one.
    `classes.txt` names the classes. The same frames give the same bytes.
What is read
    The same, and shards of others: `.json` that is no frame and `.txt` are metadata, `.cls` is a label. The images of a shard are
    unpacked into a folder of its name beside it.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Self

import msgspec

from ...engine.annotations.types import ImageAnnotation
from ...engine.errors import InvalidValueError, UsageError
from ...engine.frames.record import READ_ONLY_FIELDS
from ...engine.frames.single_frame import SingleFrame
from ...engine.iterables import chunked
from ...engine.storage.atomic_files import temporary_name
from ...engine.validation import shorten
from .described import put_size
from .files import IMAGE_SUFFIXES, MAX_BYTES, Folder, checked_parts, json_of
from .format import Format, Item, Reading, Wire, Writing
from .report import FlawError, Report

_SUFFIXES = (".tar", ".tgz", ".gz")
_SAMPLES = 1000
_STAGE = "samples"
_CLASSES = "classes.txt"
_TEXTS = frozenset({".json", ".cls", ".txt", ".text"})
_HELD = frozenset({"masks", "preview", "metadata", "context"})
_MAX_IMAGE = 2**30
_CHUNK = 2**20


def sniff(path: Path) -> bool:
    """Whether a file, or one in a folder, is an archive that begins with an image or the annotations of one."""
    if path.is_file():
        return _is_shard(path)
    return any(map(_is_shard, islice(sorted(path.rglob("*.tar")), 3)))


def _is_shard(file: Path) -> bool:
    if file.suffix.lower() not in _SUFFIXES or not file.is_file():
        return False
    try:
        with tarfile.open(file, "r|*") as archive:
            first = next((member for member in archive if member.isfile()), None)
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        return False
    return first is not None and os.path.splitext(first.name)[1].lower() in IMAGE_SUFFIXES | _TEXTS  # noqa: PTH122


def read(path: Path, report: Report) -> Reading:
    """Return the frames of shards.

    Raises
    ------
    UsageError
        There is no archive.
    """
    folder = Folder(path if path.is_dir() else path.parent, report)
    shards = folder.chosen(path, _SUFFIXES)
    if not shards:
        raise UsageError(f"{path} has no tar archives")
    classes: list[str] = []
    if _CLASSES in folder.files:
        try:
            classes = folder.text(_CLASSES).splitlines()
        except FlawError as error:
            report.flaw("file", _CLASSES, error)
    categories = [{"name": name} for name in dict.fromkeys(classes) if name.strip()]
    return Reading(folder.path, _Reader(folder, classes, report).items(shards), None, categories)


class _Member(tarfile.TarInfo):
    """A member of an archive. Whatever follows it must be another one, or the mark of the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the next member."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # pyright: ignore[reportAttributeAccessIssue]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


class _Reader:
    def __init__(self, folder: Folder, classes: list[str], report: Report) -> None:
        self._folder, self._classes, self._report = folder, classes, report
        self._members: set[str] = set()

    def items(self, shards: list[str]) -> Iterator[Item]:
        for shard in shards:
            try:
                with tarfile.open(Path(self._folder.path, shard), "r:*", tarinfo=_Member) as archive:
                    for key, parts in self._samples(archive, shard):
                        yield from self._sample(key, parts, shard)
                    # The checksum of a compressed archive is behind its end.
                    while archive.fileobj is not None and archive.fileobj.read(_CHUNK):
                        pass
            except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
                self._report.flaw("file", shard, f"is no complete tar archive: {error}")
            except FlawError as error:
                self._report.flaw("file", shard, error)

    def _samples(self, archive: tarfile.TarFile, shard: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield samples: the content of small files by suffix, and the name of the image that was unpacked."""
        current, parts = "", {}
        self._members.clear()
        while (member := archive.next()) is not None:
            # The archive would keep all of them.
            archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
            if not member.isfile():
                continue
            try:
                *folders, base = checked_parts(member.name)
                stem, _, suffix = base.partition(".")
                key = "/".join([*folders, stem])
                if key != current and parts:
                    yield current, parts
                    parts = {}
                current = key
                suffix = f".{suffix.lower()}"
                self._take(archive, member, key, suffix, parts, shard)
            except FlawError as error:
                self._report.flaw("sample", shard, f"{shorten(member.name)}: {error}")
        if parts:
            yield current, parts

    def _take(
        self,
        archive: tarfile.TarFile,
        member: tarfile.TarInfo,
        key: str,
        suffix: str,
        parts: dict[str, Any],
        shard: str,
    ) -> None:
        if member.name in self._members:
            raise FlawError("is there twice: the first one is used")
        self._members.add(member.name)
        last = f".{suffix.rpartition('.')[2]}"
        content = archive.extractfile(member)
        if content is None or (last not in IMAGE_SUFFIXES and last not in _TEXTS):
            self._report.loss(f"file {shorten(suffix)} of a sample: left out", f"{shard}: {member.name}")
        elif last in IMAGE_SUFFIXES:
            if "image" in parts:
                self._report.loss("further image of a sample: left out", f"{shard}: {member.name}")
                return
            parts["image"] = None
            parts["image"] = self._unpack(content, member, f"{_below(shard)}/{key}{suffix}")
        elif member.size > MAX_BYTES:
            raise FlawError(f"has {member.size:,} bytes, more than the limit of {MAX_BYTES:,}")
        else:
            parts[last] = content.read()

    def _unpack(self, content: IO[bytes], member: tarfile.TarInfo, name: str) -> str:
        """Write an image beside its shard, unless it is there; return its name."""
        if member.size > _MAX_IMAGE:
            raise FlawError(f"has {member.size:,} bytes, more than the limit of {_MAX_IMAGE:,}")
        path = Path(self._folder.path, name)
        if path.is_file() and not path.is_symlink() and path.stat().st_size == member.size:
            return name
        made = path.with_name(temporary_name(path))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with made.open("xb") as file:
                shutil.copyfileobj(content, file, _CHUNK)
            made.replace(path)
        finally:
            made.unlink(missing_ok=True)
        return name

    def _sample(self, key: str, parts: dict[str, Any], shard: str) -> Iterator[Item]:
        image = parts.get("image")
        if "image" in parts and image is None:
            return
        try:
            yield self._item(image, self._wire(parts), f"{_below(shard)}/{key}", shard)
        except (FlawError, InvalidValueError) as error:
            self._report.flaw("sample", shard, f"{shorten(key)}: {error}")
            if image is not None:
                yield Item(image, None, is_whole=False)

    def _item(self, image: str | None, wire: Wire, name: str, shard: str) -> Item:
        is_whole = bool(wire)
        # An id of the wire form is that of a frame whose image is another file.
        wire.pop("id", None)
        held: Wire = (wire.pop("sources", None) or [{}])[0]
        if wire.get("context_id") == held.get("uri"):
            wire.pop("context_id", None)
        if image is None and not held.get("uri"):
            raise FlawError("has no image")
        if image is None:
            return Item(name, {**wire, "sources": [held]}, is_whole=is_whole)
        source = self._folder.source(image)
        size = held.pop("width", None), held.pop("height", None)
        put_size(source, self._folder, image, shard, None if None in size else size, self._report)
        for field in ("uri", "size", "content_type"):
            held.pop(field, None)
        return Item(image, {**wire, "sources": [{**source, **held}]}, is_whole=is_whole)

    def _wire(self, parts: dict[str, Any]) -> Wire:
        """Return the frame of a sample, as far as its files give it."""
        given = json_of(parts[".json"]) if ".json" in parts else {}
        if isinstance(given, dict) and isinstance(given.get("sources"), list):
            return SingleFrame.from_dict(given).to_dict()
        meta: dict[str, Any] = given if isinstance(given, dict) else {"json": given}
        for suffix in (".txt", ".text"):
            if suffix in parts:
                meta[suffix[1:]] = _text(parts[suffix])
        wire: Wire = {"meta": meta} if meta else {}
        if ".cls" in parts:
            wire["rois"] = [{"type": "image", "label": [self._label(_text(parts[".cls"]).strip())]}]
        return SingleFrame.from_dict(wire).to_dict() if wire else {}

    def _label(self, given: str) -> str:
        if not given:
            raise FlawError("has an empty class")
        if not given.isdecimal() or not self._classes:
            return given
        if int(given) >= len(self._classes):
            raise FlawError(f"class {given} is not in {_CLASSES}, which has {len(self._classes)}")
        return self._classes[int(given)]


def _below(shard: str) -> str:
    """Return the folder that the images of a shard are unpacked into."""
    folder, slash, base = shard.rpartition("/")
    return f"{folder}{slash}{base.partition('.')[0]}"


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FlawError(f"is not text in UTF-8: {error.reason} at byte {error.start}") from error


def write(out: Writing) -> None:
    """Write the files of samples; `finish` packs them with the images."""
    stage = out.path / _STAGE
    stage.mkdir()
    for number, frame in enumerate(out.singles(_HELD)):
        name = out.place_image(frame, _STAGE)
        source = out.images.pop(f"{_STAGE}/{name}")
        key = f"{number:09d}"
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - no path
        out.images[f"{_STAGE}/{key}{suffix}"] = source
        wire = {name: value for name, value in frame.to_dict().items() if name not in READ_ONLY_FIELDS}
        (stage / f"{key}.json").write_bytes(msgspec.json.encode(wire))
        label = next(
            (
                each.labels[0]
                for each in frame.annotations
                if isinstance(each, ImageAnnotation) and each.labels
            ),
            None,
        )
        if label is not None:
            (stage / f"{key}.cls").write_text(str(out.class_index(label)), "ascii")
    names = [each["name"].replace("\n", " ") for each in out.categories]
    (out.path / _CLASSES).write_text("".join(f"{name}\n" for name in names), "utf-8")


def finish(out: Writing) -> None:
    """Pack the samples into shards."""
    stage = out.path / _STAGE
    files: dict[str, list[Path]] = {}
    for file in sorted(stage.iterdir()):
        files.setdefault(file.name.partition(".")[0], []).append(file)
    for number, some in enumerate(chunked(files.values(), _SAMPLES)):
        with tarfile.open(out.path / f"{number:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            for file in chain.from_iterable(some):
                _add(archive, file)
                file.unlink()
    stage.rmdir()


def _add(archive: tarfile.TarFile, file: Path) -> None:
    info = tarfile.TarInfo(file.name)
    info.size = file.stat().st_size
    with file.open("rb") as opened:
        archive.addfile(info, opened)


FORMAT = Format("webdataset", "WebDataset", sniff, read, write, finish=finish)
