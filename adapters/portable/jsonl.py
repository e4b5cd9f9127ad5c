"""Logs as JSON Lines: a header, one line for each batch, and a footer; compressed if the name ends in ``.zst``."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard
from blake3 import blake3

from ...engine.errors import IntegrityError, InvalidValueError, UsageError
from ...engine.storage.atomic_files import new_file
from .events_json import Events, decode_events, event_lines
from .schema import (
    UNREADABLE,
    BatchLine,
    Footer,
    Header,
    Recorded,
    check_version,
    decode_line,
    describe,
    is_costly,
)

LARGEST_LINE = 128 * 1024 * 1024
"""Maximum size of a line. A fully escaped batch of 16 MB is smaller."""

_LARGEST_HEADER = 1024 * 1024
_ZSTD = b"\x28\xb5\x2f\xfd"
_FOOTER = b'{"framelode":"end"'
_LEVEL = 3
_encode = msgspec.json.Encoder().encode


class _Version(msgspec.Struct):
    framelode: str
    version: int


def write_lines(path: Path, header: Header, batches: Iterable[Recorded]) -> None:
    """Write a file atomically."""
    with new_file(path) as file, _compressing(file, path) as out:
        hasher = blake3()

        def put(line: bytes) -> None:
            if len(line) >= LARGEST_LINE:
                raise UsageError(f"{path}: a batch takes {len(line)} bytes as a line: write Parquet instead")
            out.write(line + b"\n")
            hasher.update(line)
            hasher.update(b"\n")

        put(_encode(header))
        append_id, count, events = 0, 0, 0
        for recorded in batches:
            line = describe(recorded, with_append=recorded.append.append_id != append_id)
            events_json = _encode(event_lines(recorded))
            if is_costly(events_json):
                events_json = _encode(event_lines(recorded, readable=False))
            put(_encode(msgspec.structs.replace(line, events=msgspec.Raw(events_json))))
            append_id = recorded.append.append_id
            count, events = count + 1, events + len(recorded.events)
        out.write(_encode(Footer(framelode="end", batches=count, events=events, digest=hasher.hexdigest())))
        out.write(b"\n")


@contextmanager
def _compressing(file: BinaryIO, path: Path) -> Generator[BinaryIO, None, None]:
    if path.suffix != ".zst":
        yield file
        return
    with zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, closefd=False) as out:
        yield out  # type: ignore[misc]  # it has the methods of a binary file that are used


class LinesSource:
    """A file of lines, read once from start to end.

    Raises
    ------
    InvalidValueError
        The file is not such an export.
    UsageError
        A newer framelode wrote it.
    IntegrityError
        The file is damaged. The message gives the line.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._name = name
        self._file = _expanded(file)
        self._hasher = blake3()
        self._number = 0
        self.header = self._read_header()

    def place(self) -> str:
        """Return the place of the last batch in the file, for messages."""
        return f"{self._name}, line {self._number}"

    def batches(self) -> Iterator[tuple[BatchLine, Events]]:
        """Yield the batches in order. At the end, check that the file is complete."""
        count = events = 0
        while True:
            above = self._hasher.hexdigest()
            line = self._read_line()
            if not line:
                raise IntegrityError(
                    f"{self._name} is cut off after line {self._number}: the footer is missing",
                    file=self._name,
                )
            if line.startswith(_FOOTER):
                self._check_end(line, Footer(framelode="end", batches=count, events=events, digest=above))
                return
            batch, found = self._decode(line)
            count, events = count + 1, events + len(found)
            yield batch, found

    def _decode(self, line: bytes) -> tuple[BatchLine, Events]:
        try:
            batch = decode_line(line)
            return batch, decode_events(batch)
        except UNREADABLE as error:
            raise IntegrityError(f"{self.place()} is damaged: {error}", file=self._name) from error

    def _read_header(self) -> Header:
        try:
            line = self._read_line(_LARGEST_HEADER)
            found = msgspec.json.decode(line, type=_Version)
            if found.framelode != "log":
                raise ValueError(found.framelode)
        except UNREADABLE as error:
            raise InvalidValueError(f"{self._name} is not a log exported by framelode") from error
        check_version(found.version, self._name)
        try:
            return msgspec.json.decode(line, type=Header)
        except UNREADABLE as error:
            raise IntegrityError(f"{self.place()} is damaged: {error}", file=self._name) from error

    def _read_line(self, limit: int | None = None) -> bytes:
        limit = limit or LARGEST_LINE
        try:
            line = self._file.readline(limit)
        except zstandard.ZstdError as error:
            message = f"{self._name} is damaged after line {self._number}: {error}"
            raise IntegrityError(message, file=self._name) from error
        self._number += bool(line)
        if len(line) >= limit:
            raise IntegrityError(
                f"{self.place()} is too long: the file is damaged, or not a log", file=self._name
            )
        self._hasher.update(line)
        return line

    def _check_end(self, line: bytes, expected: Footer) -> None:
        try:
            found = msgspec.json.decode(line, type=Footer)
        except UNREADABLE as error:
            raise IntegrityError(f"{self.place()} is damaged: {error}", file=self._name) from error
        whole = expected.events == self.header.events
        if found != expected or not whole or not line.endswith(b"\n"):
            raise IntegrityError(
                f"{self.place()} does not match the lines before it: the file was altered or is cut off",
                file=self._name,
            )
        if self._read_line():
            raise IntegrityError(f"{self.place()} comes after the footer", file=self._name)


def _expanded(file: BinaryIO) -> BinaryIO:
    magic = file.read(len(_ZSTD))
    file.seek(0)
    if magic != _ZSTD:
        return file
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return io.BufferedReader(reader, 1 << 20)  # type: ignore[type-var]  # it behaves like a raw reader
