"""Uploads files into a lake: stores, decodes and records them in parts. An interrupted upload is continued.

Contents are stored before the events that name them. An upload of several parts is recorded as such, and the ids of its
data are made from its id: the same call continues it where it was cut short.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple, Self

import msgspec
import sqlalchemy as sa
from blake3 import blake3
from filelock import FileLock

from ...engine.blobs.content import FileContent, FileSource, SourceError
from ...engine.blobs.reports import FileFailure
from ...engine.datasets.aggregate import Aggregate
from ...engine.errors import InvalidTypeError
from ...engine.events.lakes import (
    ITEMS_OF_AN_EVENT,
    DataDeleted,
    DataRecord,
    UploadFinished,
    UploadStarted,
)
from ...engine.iterables import chunked
from ...engine.validation import shorten
from ...projections.statements import ROWS_AT_ONCE
from ...projections.tables.lakes import name_key, uuid_text
from ..display.progress import notebook_bar
from .data import Data
from .enums import DataUploadStatus
from .error_manager import ErrorManager
from .exceptions import BadRequestError, NothingDoneError, UnprocessableData, UploadError
from .job import lock_of, release
from .media import Media, read_media
from .metadata import check_custom, check_metadata
from .reading import known_ids, rows_by_id
from .recording import Lake, source_named, suffix_of

PART = 2048
"""Number of files that are recorded together."""

_STORE_TRIES = 10

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Progress = Callable[[int, int], None]
Given = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None

logger = logging.getLogger("framelode.datalake")


class UploadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What `upload_data` is asked for, checked.

    Attributes
    ----------
    paths : list
        The paths as they were given.
    tags, source
        Names.
    metadata, custom_metadata : list of dict
        In the order of the paths; empty if none is given.
    sizes : list of tuple
        Widths and heights that replace those of the files; empty if none is given.
    folder : str
        Beginning of the object names.
    workers : int
        Number of threads.
    """

    paths: list[Any]
    tags: list[str]
    source: str | None
    metadata: list[dict[str, Any]]
    custom_metadata: list[dict[str, Any]]
    sizes: list[tuple[int, int]]
    folder: str
    fill_metadata: bool
    workers: int

    @property
    def digest(self) -> str:
        """Digest of the request, without the number of threads."""
        paths = [os.path.abspath(path) for path in self.paths]  # noqa: PTH100 - names may be any bytes
        named = [path.encode("utf-8", "surrogateescape") for path in paths]
        fields = [getattr(self, name) for name in self.__struct_fields__ if name not in {"paths", "workers"}]
        return blake3(msgspec.msgpack.encode([named, fields])).hexdigest(length=16)


def check_request(
    filepaths: Paths,
    metadata: Given,
    custom_metadata: Given,
    sizes: Any,
    max_workers: int | None,
    **others: Any,
) -> UploadRequest:
    """Check the arguments of `upload_data`. Raises `BadRequestError` if lists do not match in length."""
    paths = [filepaths] if isinstance(filepaths, str | os.PathLike) else filepaths
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str | os.PathLike) for path in paths):
        raise InvalidTypeError(f"filepaths must be a path or a list of paths, not {shorten(filepaths)}")
    size = len(paths)
    given_sizes = [sizes] if isinstance(sizes, tuple) else list(sizes or [])
    if given_sizes and len(given_sizes) != size:
        raise BadRequestError(f"sizes has {len(given_sizes):,} sizes for {size:,} paths")
    return UploadRequest(
        paths=list(paths),
        metadata=_checked(metadata, size, "metadata", check_metadata),
        custom_metadata=_checked(custom_metadata, size, "custom_metadata", check_custom),
        sizes=[(int(width), int(height)) for width, height in given_sizes],
        workers=max_workers if max_workers and max_workers > 0 else (os.cpu_count() or 1) + 4,
        **others,
    )


def _checked(
    given: Given, size: int, what: str, check: Callable[[object, str], dict[str, Any]]
) -> list[dict[str, Any]]:
    if not given:
        return []
    listed = [given] if isinstance(given, Mapping) else given
    if not isinstance(listed, list | tuple):
        raise BadRequestError(f"{what} must be a dict or a list of dicts, not {shorten(given)}")
    if len(listed) != size:
        raise BadRequestError(f"{what} has {len(listed):,} dicts for {size:,} paths: give one for each path")
    return [check(each, f"{what}[{index}]" if size > 1 else what) for index, each in enumerate(listed)]


def upload(
    lake: Lake, request: UploadRequest, errors: ErrorManager | None, progress: Progress | None = None
) -> list[Data]:
    """Upload files, and return their data in the order of the paths, without those that cannot be read.

    Parameters
    ----------
    errors : ErrorManager, optional
        Gets the errors, which are logged otherwise.
    progress : callable, optional
        Called with the number of files done and their total.

    Raises
    ------
    NothingDoneError
        No file was uploaded.
    """
    if not request.paths:
        raise NothingDoneError("there are no files to upload")
    with _Upload(lake, request) as running:
        running.run(progress)
    ids = list(map(running.id_of, range(len(request.paths))))
    found = rows_by_id(lake, ids)
    done: list[Data] = []
    failures = running.failures
    for index, path in enumerate(request.paths):
        row = found.get(ids[index])
        if row is not None and row.upload_status == DataUploadStatus.ERROR:
            failures[index] = UnprocessableData(Data(lake, row), path)
        elif row is not None:
            done.append(Data(lake, row))
    for _, error in sorted(failures.items()):
        if errors is None:
            logger.error("%s", error)
        else:
            errors.append(error)
    if not done:
        raise NothingDoneError(
            f"none of {len(request.paths):,} files was uploaded; the first error: {failures[min(failures)]}"
        )
    return done


class _Source(FileSource):
    """A file, and the picture or video that was read when its content was.

    Attributes
    ----------
    name : str
        Path of the file.
    exif : bool
        Read the EXIF of a picture.
    media : Media or None
        What the content is; None before it was read.
    """

    exif: bool = False
    media: Media | None = None

    def open(self) -> Any:
        """Open the file. Raises an error if it is not a regular file."""
        return _Content(FileSource.open(self), self)


class _Content:
    """An open file. The picture or video is read from the bytes that are hashed, those of a large file from the file."""

    def __init__(self, content: FileContent, source: _Source) -> None:
        self._content = content
        self._source = source
        self._read = b""
        self._is_whole = True
        self.mode = content.mode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._content.__exit__(*raised)

    def read(self) -> bytes:
        """Return the next chunk, empty at the end."""
        data = self._content.read()
        self._read = self._read + data if self._read else data
        return data

    def read_on(self) -> memoryview:
        """Return the next chunk of a large file, empty at the end."""
        self._is_whole, self._read = False, b""
        return self._content.read_on()

    def check(self) -> None:
        """Read the picture or video. Raises `SourceError` if the file may have changed meanwhile."""
        source = self._source
        try:
            with BytesIO(self._read) if self._is_whole else open(source.name, "rb") as file:  # noqa: PTH123
                source.media = read_media(file, source.name, exif=source.exif)
        except (OSError, ValueError) as error:
            raise SourceError(f"{source.name} cannot be read: {error}") from error
        self._content.check()


class _Stored(NamedTuple):
    """A file that is stored, but not recorded: its place in the request, its path and content, and what it is."""

    place: int
    path: str
    digest: str
    size: int
    media: Media


class _Upload:
    """One upload while it runs.

    Attributes
    ----------
    failures : dict of int to UploadError
        Files that are not recorded, by their place in the request.
    """

    def __init__(self, lake: Lake, request: UploadRequest) -> None:
        self._lake = lake
        self._request = request
        self._store = lake.session.writes.blobs.store
        self._is_long = len(request.paths) > PART
        self._lock: FileLock | None = None
        self._is_started = False
        self._begun_at = lake.session.log.head().position
        self.failures: dict[int, UploadError] = {}
        self.id = self._continued() or lake.session.present.new_id()
        if self._is_long and self._lock is None:
            self._lock = lock_of("upload", self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._lock is not None:
            release(self._lock)

    def _continued(self) -> str | None:
        """Return the id of the same upload that was interrupted."""
        if not self._is_long:
            return None
        with self._lake.read() as (tables, connection):
            upload = tables.upload.c
            query = sa.select(upload.id).where(
                upload.request == self._request.digest, upload.lake == self._lake.row.number
            )
            ids = list(connection.execute(query).scalars())
        for upload_id in ids:
            # The system releases the lock of a process that was killed.
            self._lock = lock_of("upload", upload_id)
            if self._lock is not None:
                self._is_started = True
                return upload_id
        return None

    def id_of(self, index: int) -> str:
        """Return the id of the data of a path."""
        return uuid_text(blake3(f"{self.id} {index}".encode()).hexdigest(length=16))

    def run(self, progress: Progress | None) -> None:
        """Upload all files that are not recorded yet."""
        total = len(self._request.paths)
        left: Sequence[int] = range(total)
        if self._is_started:
            known = known_ids(self._lake, map(self.id_of, left))
            left = [index for index in left if self.id_of(index) not in known]
        stored: list[_Stored] = []
        reading: deque[tuple[int, _Source]] = deque()
        with notebook_bar("uploading", progress) as advance:
            for outcome in self._store.put_sources(
                self._sources(left, reading), threads=self._request.workers
            ):
                index, source = reading.popleft()
                if isinstance(outcome, FileFailure):
                    self._fail(index, outcome.error)
                elif source.media is not None:
                    stored.append(_Stored(index, source.name, outcome.digest, outcome.size, source.media))
                if len(stored) >= PART:
                    self._record(stored)
                    stored = []
                if advance:
                    advance(index + 1, total)
            if stored or self._is_started:
                self._record(stored, is_last=True)

    def _sources(self, indices: Iterable[int], reading: deque[tuple[int, _Source]]) -> Iterator[_Source]:
        for index in indices:
            path = os.path.expanduser(self._request.paths[index])  # noqa: PTH111 - a Path costs more
            source = _Source(path, self._request.fill_metadata)
            reading.append((index, source))
            yield source

    def _fail(self, index: int, message: str) -> None:
        self.failures[index] = UploadError(message, self._request.paths[index])

    def _record_of(self, stored: _Stored) -> DataRecord:
        request, media, index = self._request, stored.media, stored.place
        name = os.fsencode(os.path.basename(request.paths[index])).decode("utf-8", "backslashreplace")  # noqa: PTH119
        data_id = self.id_of(index)
        given = request.metadata[index] if request.metadata else {}
        # What the caller gives wins, and None means that there is to be none.
        metadata = {**(check_metadata(media.exif) if media.exif else {}), **given}
        width, height = request.sizes[index] if request.sizes else (media.width, media.height)
        return DataRecord(
            id=data_id.replace("-", ""),
            filename=name,
            object_name=f"{request.folder}{data_id}{suffix_of(name)}",
            digest=stored.digest,
            size=stored.size,
            content_type=media.content_type,
            width=width,
            height=height,
            type=media.type,
            status=media.status,
            reason=media.reason,
            metadata={key: value for key, value in metadata.items() if value is not None},
            custom_metadata=request.custom_metadata[index] if request.custom_metadata else {},
        )

    def _record(self, stored: Sequence[_Stored], *, is_last: bool = False) -> None:
        """Record files that are stored."""
        records = list(map(self._record_of, stored))
        paths = {each.digest: each.path for each in stored}
        lake, request = self._lake, self._request
        source = None if request.source is None else source_named(lake.session, request.source, create=True)
        ledger = lake.session.writes.blob_commands.blob_ledger
        gone: set[str] = set()

        def decide(stream: Aggregate) -> None:
            nonlocal gone
            gone = ledger.banned({record.digest for record in records})[1]
            if gone:
                return
            new = self._without_recorded(records) if self._is_long else records
            if self._is_long and not self._is_started:
                stream.trigger(
                    UploadStarted,
                    lake=lake.name,
                    id=self.id,
                    request=request.digest,
                    paths=len(request.paths),
                )
            if new:
                stale = self._superseded(new)
                if stale:
                    stream.trigger(DataDeleted, lake=lake.name, data=stale)
                tags = lake.make_tags(stream, request.tags)
                lake.add_data(stream, new, tags, source and source.id)
            if is_last and self._is_long:
                stream.trigger(UploadFinished, lake=lake.name, id=self.id)

        for _ in range(_STORE_TRIES):
            # Other writers are kept out, so that no blob is deleted between the look and the event.
            lake.record(decide, alone=True)
            if not gone:
                self._is_started = self._is_long
                return
            self._store.put_files([paths[digest] for digest in sorted(gone)])
        raise UploadError(f"garbage collection deletes {len(gone):,} contents again and again", None)

    def _without_recorded(self, records: list[DataRecord]) -> list[DataRecord]:
        """Return records without those that the same upload of another process has recorded."""
        if not self._is_started:
            return records
        known = known_ids(self._lake, (uuid_text(record.id) for record in records))
        return [record for record in records if uuid_text(record.id) not in known]

    def _superseded(self, records: Sequence[DataRecord]) -> list[str]:
        """Return the ids of earlier data of the same names that cannot be read."""
        with self._lake.read() as (tables, connection):
            data = tables.data.c
            # Those that this call recorded are not superseded.
            query = sa.select(data.id).where(
                data.lake == self._lake.row.number,
                data.upload_status == DataUploadStatus.ERROR.value,
                data.number < (self._begun_at + 1) * ITEMS_OF_AN_EVENT,
            )
            found: list[str] = []
            for part in chunked({name_key(record.filename) for record in records}, ROWS_AT_ONCE):
                found += connection.execute(query.where(data.filename_key.in_(part))).scalars()
        return [data_id.replace("-", "") for data_id in found][:ITEMS_OF_AN_EVENT]
