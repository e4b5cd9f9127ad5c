"""Uploads files into a lake: stores, decodes and records them in parts. An interrupted upload is continued.

Contents are stored before the events that name them. An upload of several parts is recorded as such, and the ids of its
data are made from its id: the same call continues it where it was cut short.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, Self
from uuid import UUID

import msgspec
import sqlalchemy as sa
from blake3 import blake3
from filelock import FileLock

from ...engine.blobs.reports import FileFailure, StoredFile
from ...engine.datasets.aggregate import Aggregate
from ...engine.errors import InvalidTypeError
from ...engine.events.lakes import (
    ITEMS_OF_AN_EVENT,
    DataDeleted,
    DataRecord,
    UploadFinished,
    UploadStarted,
)
from ...engine.validation import shorten
from ...projections.columns import text_key
from ..display.progress import notebook_bar
from .data import Data
from .enums import DataUploadStatus
from .error_manager import ErrorManager
from .exceptions import BadRequestError, NothingDoneError, UnprocessableData, UploadError
from .job import lock_of, release
from .media import Media, read_media
from .metadata import check_custom, check_metadata
from .reading import Wanted, find_rows
from .recording import Lake, parts, source_named

PART = 2048
"""Number of files that are recorded together."""

_FILES_OF_A_TASK = 16
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
    workers : int
        Number of threads that decode.
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
    found = {
        row.id: row
        for row in find_rows(lake, Wanted(ids=list(map(running.id_of, range(len(request.paths))))))
    }
    done: list[Data] = []
    failures = running.failures
    for index, path in enumerate(request.paths):
        row = found.get(running.id_of(index))
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


class _Pending(msgspec.Struct):
    """A file that is not recorded yet.

    Attributes
    ----------
    index : int
        Its place in the request.
    path : str
        Its path.
    seen : tuple or None
        What changes when the file does, before it is read; None if there is no file.
    media : Future
        What is read of this file and those decoded together with it.
    at : int
        Its place among these.
    stored : StoredFile or None
        Its content in the blob store.
    """

    index: int
    path: str
    seen: tuple[int, ...] | None
    media: Future[list[Media | str]]
    at: int
    stored: StoredFile | None = None


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
        self._pool = ThreadPoolExecutor(request.workers, "framelode-lake")
        self._reading: deque[_Pending] = deque()
        self._pending: list[_Pending] = []
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
        self._pool.shutdown(cancel_futures=True)
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
        return str(UUID(blake3(f"{self.id} {index}".encode()).hexdigest(length=16)))

    def run(self, progress: Progress | None) -> None:
        """Upload all files that are not recorded yet."""
        left = list(range(len(self._request.paths)))
        if self._is_started:
            known = {row.id for row in find_rows(self._lake, Wanted(ids=list(map(self.id_of, left))))}
            left = [index for index in left if self.id_of(index) not in known]
        total = len(self._request.paths)
        with notebook_bar("uploading", progress) as advance:

            def settle(outcome: StoredFile | FileFailure) -> None:
                pending = self._reading.popleft()
                if isinstance(outcome, FileFailure):
                    self._fail(pending.index, outcome.error)
                else:
                    pending.stored = outcome
                    self._pending.append(pending)
                if len(self._pending) >= PART:
                    self._flush()
                if advance:
                    advance(pending.index + 1, total)

            self._store.put_files(self._read_ahead(left), on_done=settle)
            self._flush(is_last=True)

    def _read_ahead(self, indices: Sequence[int]) -> Iterator[str]:
        """Yield the paths, and begin to decode the files, a few in each task."""
        for part in parts(indices, _FILES_OF_A_TASK):
            paths = [os.path.expanduser(self._request.paths[index]) for index in part]  # noqa: PTH111
            seen = list(map(_stamp, paths))
            media = self._pool.submit(self._read, paths, seen)
            for at, path in enumerate(paths):
                self._reading.append(_Pending(part[at], path, seen[at], media, at))
                yield path

    def _read(self, paths: Sequence[str], seen: Sequence[object]) -> list[Media | str]:
        """Return what the files are, or why one cannot be read. Those that were not seen are not opened."""
        found: list[Media | str] = []
        for path, stamp in zip(paths, seen, strict=True):
            try:
                if stamp is None:  # to open a pipe would wait for its writer
                    found.append(f"{path} is no regular file")
                else:
                    with open(path, "rb") as file:  # noqa: PTH123 - a Path for each file costs more
                        found.append(read_media(file, path, exif=self._request.fill_metadata))
            except (OSError, ValueError) as error:
                found.append(f"{path} cannot be read: {error}")
        return found

    def _fail(self, index: int, message: str) -> None:
        self.failures[index] = UploadError(message, self._request.paths[index])

    def _flush(self, *, is_last: bool = False) -> None:
        """Record the files that are stored."""
        pending, self._pending = self._pending, []
        records: list[DataRecord] = []
        paths: dict[str, str] = {}
        for each in pending:
            media = each.media.result()[each.at]
            if isinstance(media, str):
                self._fail(each.index, media)
            elif each.stored is None or _stamp(each.path) != each.seen:
                self._fail(each.index, f"{each.path} changed while it was read: upload it again")
            else:
                records.append(self._record_of(each.index, each.stored, media))
                paths[each.stored.digest] = each.path
        if records or (is_last and self._is_started):
            self._record(records, paths, is_last=is_last)

    def _record_of(self, index: int, stored: StoredFile, media: Media) -> DataRecord:
        request = self._request
        name = os.fsencode(Path(request.paths[index]).name).decode("utf-8", "backslashreplace")
        data_id = self.id_of(index)
        given = request.metadata[index] if request.metadata else {}
        # What the caller gives wins, and None means that there is to be none.
        metadata = {**(check_metadata(media.exif) if media.exif else {}), **given}
        width, height = request.sizes[index] if request.sizes else (media.width, media.height)
        return DataRecord(
            id=UUID(data_id).hex,
            filename=name,
            object_name=str(PurePosixPath(request.folder, f"{data_id}{PurePosixPath(name).suffix}")),
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

    def _record(self, records: list[DataRecord], paths: Mapping[str, str], *, is_last: bool) -> None:
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
        ids = [str(UUID(record.id)) for record in records]
        known = {row.id for row in find_rows(self._lake, Wanted(ids=ids))}
        return [record for record, data_id in zip(records, ids, strict=True) if data_id not in known]

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
            for part in parts({text_key(record.filename) for record in records}):
                found += connection.execute(query.where(data.filename_key.in_(part))).scalars()
        return [UUID(data_id).hex for data_id in found][:ITEMS_OF_AN_EVENT]


def _stamp(path: str) -> tuple[int, ...] | None:
    """Return what changes when a file does, or None if there is no regular file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path for each file costs more
    except (OSError, ValueError):
        return None
    if not S_ISREG(found.st_mode):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
