"""Registers objects of a lake's bucket. Contents are read, but not copied."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote
from uuid import UUID

import fsspec
import msgspec
from blake3 import blake3

from ...engine.datasets.aggregate import Aggregate
from ...engine.errors import StorageError
from ...engine.events.lakes import DataRecord, ProjectionCreated, StoredContent
from ...engine.iterables import chunked
from ...engine.parallel import ordered_map
from ...engine.storage.urls import fsspec_url
from ...projections.statements import ROWS_AT_ONCE
from .exceptions import ResourceNotFoundError
from .job import Job, JobProgress, start_job
from .media import read_media
from .reading import DataRow, Wanted, find_rows, rows_by_id
from .recording import Lake, source_named, things
from .schemas import CloudObject, CloudProjectionObject

_THREADS = 8
_WHOLE_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_REASONS = 100
"""Number of objects left out that the result lists."""


class _Found(msgspec.Struct):
    """What an import found, for its result."""

    found: int = 0
    registered: int = 0
    known: int = 0
    left_out: int = 0
    reasons: dict[str, str] = {}

    def leave_out(self, name: str, reason: str) -> None:
        self.left_out += 1
        if len(self.reasons) < _REASONS:
            self.reasons[name] = reason


class Bucket:
    """A bucket or folder.

    Parameters
    ----------
    url : str
        An fsspec URL, or the absolute path of a local folder.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        found: Any = fsspec.url_to_fs(fsspec_url(self._url))
        self._files, root = found
        self._root = str(root).rstrip("/")

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names of objects, relative to the bucket, that begin with a prefix."""
        folder = prefix.rpartition("/")[0]
        try:
            paths: list[str] = sorted(self._files.find(f"{self._root}/{folder}".rstrip("/")))
        except FileNotFoundError:
            return
        for path in paths:
            name = path[len(self._root) + 1 :]
            if name.startswith(prefix):
                yield name

    def uri(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{self._url}/{name}" if "://" in self._url else "file://" + quote(f"{self._url}/{name}")

    def read(self, name: str) -> DataRecord | str:
        """Return the record of a picture or video, without an id, or the reason why it is left out."""
        found = self.read_any(name)
        return found if isinstance(found, str) else found.reason or found

    def read_any(self, name: str) -> DataRecord | str:
        """Return the record of an object, without an id, or the reason why it cannot be read."""
        try:
            with self._files.open(f"{self._root}/{name}", "rb") as file:
                hasher, size = blake3(), 0
                content = file.read(_WHOLE_BYTES)
                opened = file if len(content) == _WHOLE_BYTES else io.BytesIO(content)
                opened.seek(0)
                while chunk := opened.read(_CHUNK_BYTES):
                    hasher.update(chunk)
                    size += len(chunk)
                media = read_media(opened, name)
        except (OSError, ValueError) as error:
            return f"it cannot be read: {error}"
        return DataRecord(
            id="",
            filename=name.rpartition("/")[2],
            object_name=name,
            digest=hasher.hexdigest(),
            uri=self.uri(name),
            size=size,
            content_type=media.content_type,
            width=media.width,
            height=media.height,
            type=media.type,
            status=media.status,
            reason=media.reason,
        )


def import_objects(
    lake: Lake, url: str, prefixes: Sequence[str], tags: Sequence[str], source: str | None
) -> Job:
    """Start a job that registers the objects whose names begin with a prefix."""
    described = CloudObject(tags=tags, data_source=source)

    def work(progress: JobProgress) -> tuple[str, dict[str, Any]]:
        bucket = _opened(url)
        names = dict.fromkeys(name for prefix in prefixes for name in bucket.names(prefix))
        return _register(lake, bucket, dict.fromkeys(names, described), progress)

    request = {"bucket": url, "prefixes": list(prefixes), "tags": list(tags), "source": source}
    return start_job(lake, "import", request, work)


def import_named(lake: Lake, url: str, objects: Mapping[str, CloudObject]) -> Job:
    """Start a job that registers the objects of some names."""

    def work(progress: JobProgress) -> tuple[str, dict[str, Any]]:
        return _register(lake, _opened(url), objects, progress)

    return start_job(lake, "import", {"bucket": url, "objects": list(objects)}, work)


def import_derived(lake: Lake, url: str, derived: Mapping[str, Sequence[CloudProjectionObject]]) -> Job:
    """Start a job that registers objects that were derived from the data of some object names."""

    def work(progress: JobProgress) -> tuple[str, dict[str, Any]]:
        bucket = _opened(url)
        told = _Found(found=sum(map(len, derived.values())))
        numbers = _data_of(lake, derived)
        with ThreadPoolExecutor(_THREADS, "framelode-lake") as pool:
            for done, (name, objects) in enumerate(derived.items(), 1):
                if name not in numbers:
                    told.leave_out(name, f"there is no data with the object name {name}")
                    continue
                read = ordered_map(pool, bucket.read_any, ((each.object_name,) for each in objects))
                records: list[tuple[str, DataRecord]] = []
                for each, record in zip(objects, read, strict=True):
                    if isinstance(record, str):
                        told.leave_out(each.object_name, record)
                    else:
                        records.append((each.name, record))
                new = _record_derived(lake, numbers[name], records)
                told.registered += new
                told.known += len(records) - new
                progress.advance(done, len(derived))
        return "", msgspec.to_builtins(told)

    request = {"bucket": url, "data": list(derived), "projections": sum(map(len, derived.values()))}
    return start_job(lake, "import", request, work)


def _data_of(lake: Lake, names: Iterable[str]) -> dict[str, DataRow]:
    """Return the first data of each object name."""
    found: dict[str, DataRow] = {}
    for row in find_rows(lake, Wanted(object_names=list(names))):
        found.setdefault(row.object_name, row)
    return found


def _record_derived(lake: Lake, data: DataRow, records: Sequence[tuple[str, DataRecord]]) -> int:
    """Record the objects derived from a data that it does not have yet, and return their number."""
    new_id = lake.session.present.new_id
    fields = StoredContent.__struct_fields__
    count = 0

    def decide(stream: Aggregate) -> None:
        nonlocal count
        known = {(row.name, row.uri) for row in things(lake.session, "derived", data=data.number)}
        new = [(name, record) for name, record in records if (name, record.uri) not in known]
        count = len(new)
        if new and not rows_by_id(lake, [data.id]):
            raise ResourceNotFoundError(f"there is no data {data.id} any more")
        for name, record in new:
            values: dict[str, Any] = {field: getattr(record, field) for field in fields}
            values["id"] = UUID(new_id()).hex
            content = StoredContent(**values)
            stream.trigger(
                ProjectionCreated, lake=lake.name, data=UUID(data.id).hex, name=name, content=content
            )

    lake.record(decide)
    return count


def _opened(url: str) -> Bucket:
    try:
        return Bucket(url)
    except (ImportError, ValueError, OSError) as error:
        raise StorageError(f"the bucket {url} cannot be opened: {error}") from error


def _register(
    lake: Lake, bucket: Bucket, objects: Mapping[str, CloudObject], progress: JobProgress
) -> tuple[str, dict[str, Any]]:
    told = _Found(found=len(objects))
    done = 0
    with ThreadPoolExecutor(_THREADS, "framelode-lake") as pool:
        for part in chunked(objects, ROWS_AT_ONCE):
            known = _known(lake, bucket, part)
            new = [name for name in part if name not in known]
            told.known += len(part) - len(new)
            read = dict(zip(new, ordered_map(pool, bucket.read, ((name,) for name in new)), strict=True))
            for name, record in read.items():
                if isinstance(record, str):
                    told.leave_out(name, record)
            records = {name: record for name, record in read.items() if isinstance(record, DataRecord)}
            told.registered += _record(lake, bucket, records, objects)
            done += len(part)
            progress.advance(done, len(objects))
    return "", msgspec.to_builtins(told)


def _known(lake: Lake, bucket: Bucket, names: Sequence[str]) -> set[str]:
    rows = find_rows(lake, Wanted(object_names=names))
    return {row.object_name for row in rows if row.uri == bucket.uri(row.object_name)}


def _record(
    lake: Lake, bucket: Bucket, records: Mapping[str, DataRecord], objects: Mapping[str, CloudObject]
) -> int:
    """Record the objects that another import has not recorded meanwhile, and return their number."""
    alike: dict[tuple[tuple[str, ...], str | None], list[DataRecord]] = {}
    new_id = lake.session.present.new_id
    for name, record in records.items():
        described = objects[name]
        given = {
            "metadata": dict(described.metadata or {}),
            "custom_metadata": dict(described.custom_metadata or {}),
        }
        whole = msgspec.structs.replace(record, id=UUID(new_id()).hex, **given)
        alike.setdefault((tuple(described.tags), described.data_source), []).append(whole)
    sources = {
        name: source_named(lake.session, name, create=True).id for _, name in alike if name is not None
    }
    count = 0

    def decide(stream: Aggregate) -> None:
        nonlocal count
        known = _known(lake, bucket, list(records))
        count = 0
        for (tags, source), some in alike.items():
            new = [record for record in some if record.object_name not in known]
            if new:
                ids = lake.make_tags(stream, tags)
                source_id = None if source is None else sources[source]
                lake.add_data(stream, new, ids, source_id)
                count += len(new)

    lake.record(decide)
    return count
