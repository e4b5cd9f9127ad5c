"""Data of a lake, one or many."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self, overload
from uuid import UUID

import sqlalchemy as sa

from ...engine.datasets.aggregate import Aggregate
from ...engine.errors import InvalidTypeError
from ...engine.events.lakes import (
    ITEMS_OF_AN_EVENT,
    DataDeleted,
    DataUpdated,
    TagsAttached,
    TagsDetached,
)
from ...engine.iterables import chunked
from ...engine.validation import shorten
from ...projections.columns import from_json
from .data_projection import DataProjection
from .datasource import DataSource
from .download import Content, download, open_content, url_of
from .enums import DataType, DataUploadStatus, TagTarget
from .exceptions import (
    NoDataError,
    ResourceNotFoundError,
    UnprocessableData,
    WaitingAttemptsTimeout,
    not_available,
)
from .metadata import check_custom, check_metadata, read_metadata
from .metadata_schema import schema_of
from .reading import DataRow, Wanted, find_rows
from .recording import Lake, NamedRow, hex_id, things
from .tag import Tag, change_tags

if TYPE_CHECKING:
    from ...engine.frames.single_frame import SingleFrame

Tags = str | Tag | Sequence[str | Tag]
PathLike = str | os.PathLike[str]

_FIRST_INCREMENT = (1 / 64, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Parts of it between two questions, since most jobs are short."""


class Data:
    """A picture or video of a lake.

    Its values are those of the time when it was read; `sync` reads them again.
    """

    __slots__ = ("_row", "lake")

    target_type = TagTarget.DATA
    large = True
    duration = 0

    def __init__(self, lake: Lake, row: DataRow) -> None:
        self.lake = lake
        self._row = row

    @property
    def id(self) -> UUID:
        """Id of the data."""
        return UUID(self._row.id)

    @property
    def ids(self) -> list[UUID]:
        """List of the id."""
        return [self.id]

    @property
    def datalake_id(self) -> UUID:
        """Id of the lake."""
        return UUID(self.lake.row.id)

    @property
    def connection(self) -> Lake:
        """What `MultiData` is given."""
        return self.lake

    connexion = connection

    def __getattr__(self, name: str) -> Any:
        raise not_available("Data", name)

    @property
    def filename(self) -> str:
        """Name of the file that was uploaded."""
        return self._row.filename

    @property
    def object_name(self) -> str:
        """Name in the lake, or in its bucket."""
        return self._row.object_name

    @property
    def content_type(self) -> str:
        """MIME type."""
        return self._row.content_type

    @property
    def type(self) -> DataType:
        """Whether it is a picture or a video."""
        return DataType.validate(self._row.type)

    @property
    def size(self) -> int:
        """Size of the content in bytes."""
        return self._row.size

    @property
    def digest(self) -> str:
        """blake3 of the content, 64 hex digits."""
        return self._row.digest

    @property
    def width(self) -> int:
        """Width in pixels, upright; 0 if unknown."""
        return self._row.width

    @property
    def height(self) -> int:
        """Height in pixels, upright; 0 if unknown."""
        return self._row.height

    @property
    def upload_status(self) -> DataUploadStatus:
        """``DONE``, or ``ERROR`` if the content cannot be read."""
        return DataUploadStatus.validate(self._row.upload_status)

    @property
    def reason(self) -> str:
        """Why the content cannot be read; empty if it can."""
        return self._row.reason

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata by key."""
        return read_metadata(from_json(self._row.metadata, dict[str, Any]))

    @property
    def custom_metadata(self) -> dict[str, Any]:
        """Metadata of your own by key."""
        return read_metadata(from_json(self._row.custom_metadata, dict[str, Any]))

    @property
    def url(self) -> str:
        """URL of the content."""
        return url_of(self.content)

    @property
    def id_with_extension(self) -> str:
        """The id with the extension of the file."""
        return f"{self._row.id}{PurePosixPath(self.filename).suffix}"

    @property
    def content(self) -> Content:
        """Where the content is."""
        return Content(self.filename, self.id_with_extension, self._row.digest, self._row.uri)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Data) and self._row.id == other._row.id

    def __hash__(self) -> int:
        return hash(self._row.id)

    def __repr__(self) -> str:
        return f"Data({self.filename!r}, {self._row.id!r})"

    def open(self) -> Any:
        """Open the content for reading, as a binary file."""
        return open_content(self.lake.session, self.content)

    def reset_url(self) -> str:
        """Return the URL of the content. It does not expire."""
        return self.url

    def sync(self) -> dict[str, Any]:
        """Read the values again, and return them. Raises `ResourceNotFoundError` if the data was deleted."""
        found = find_rows(self.lake, Wanted(ids=[self._row.id]))
        if not found:
            raise ResourceNotFoundError(f"there is no data {self._row.id} any more")
        self._row = found[0]
        values = {name: getattr(self, name) for name in _SYNCED}
        return {
            **values,
            "id": self._row.id,
            "type": self.type.value,
            "upload_status": self.upload_status.value,
        }

    def refresh(self, data: dict[str, Any]) -> None:  # noqa: ARG002 - the SDK's signature
        """Read the values again: what `sync` returned may be older."""
        self.sync()

    def is_ready(self) -> bool:
        """Whether the upload is done. It always is."""
        return True

    def wait_for_upload_done(self, blocking_time_increment: float = 1.0, attempts: int = 20) -> None:
        """Return at once, because uploads are done when `upload_data` returns.

        Raises
        ------
        UnprocessableData
            The content cannot be read.
        """
        del blocking_time_increment, attempts
        self.sync()
        if self.upload_status == DataUploadStatus.ERROR:
            raise UnprocessableData(self, self.filename)

    def get_tags(self) -> list[Tag]:
        """Return the tags, in the order of their creation."""
        with self.lake.read() as (tables, connection):
            tag, link = tables.tag, tables.data_tag
            query = sa.select(tag.c.number, tag.c.id, tag.c.name).join(link, link.c.tag == tag.c.number)
            query = query.where(link.c.number == self._row.number).order_by(tag.c.number)
            return [Tag(self.lake, NamedRow(*row)) for row in connection.execute(query)]

    def get_datasource(self) -> DataSource | None:
        """Return the source, or None if the data has no source or it was deleted."""
        if self._row.source is None:
            return None
        found = things(self.lake.session, "source", number=self._row.source)
        row = found[0] if found else None
        return None if row is None else DataSource(self.lake.session, NamedRow(row.number, row.id, row.name))

    def add_tags(self, tags: Tags) -> None:
        """Attach tags. Tags given as text are created if they do not exist."""
        change_tags(self.lake, TagsAttached, tags, [self])

    def remove_tags(self, tags: Tags) -> None:
        """Detach tags."""
        change_tags(self.lake, TagsDetached, tags, [self])

    def update_metadata(self, metadata: dict[str, Any] | None) -> None:
        """Set keys of the metadata. A value of None removes its key; None in place of a dict removes all."""
        _update([self], "metadata", metadata)

    def update_custom_metadata(self, custom_metadata: dict[str, Any] | None) -> None:
        """Set keys of the metadata of your own, as `update_metadata` does."""
        _update([self], "custom_metadata", custom_metadata)

    def download(
        self, target_path: PathLike = "./", force_replace: bool = False, use_id: bool = False
    ) -> Path:
        """Download the content into a folder, and return the path of the file.

        Parameters
        ----------
        target_path : path
            The folder, which is created.
        force_replace : bool
            Replace an existing file, which is kept otherwise.
        use_id : bool
            Name the file by the id.

        Raises
        ------
        DownloadError
            The content cannot be read, or the file cannot be written.
        """
        return download(
            self.lake.session, [self.content], target_path, force_replace=force_replace, use_id=use_id
        )[0]

    def list_projections(self, type: str | None = None) -> list[DataProjection]:  # noqa: A002, ARG002 - the SDK's name
        """Return the derived files, oldest first."""
        rows = things(self.lake.session, "derived", data=self._row.number)
        return [DataProjection(self.lake, self.id, row) for row in rows]

    def delete(self) -> None:
        """Delete the data with its derived files. The history keeps them, and the blob stays while a frame names it."""
        _delete([self])

    def to_frames(self) -> list[SingleFrame]:
        """Return a frame that names the content. Nothing is copied."""
        from ...engine.frames.single_frame import SingleFrame

        frame = SingleFrame(
            id=self._row.id,
            source=self.url,
            width=self.width or None,
            height=self.height or None,
            size=self.size,
            hash=f"blake3:{self.digest}",
            metadata={"datalake": self.lake.name, "data": self._row.id, "filename": self.filename},
        )
        frame.content_type = self.content_type
        return [frame]


_SYNCED = (
    *("filename", "object_name", "content_type", "size", "width", "height", "metadata"),
    *("custom_metadata", "url"),
)


class MultiData:
    """Several data of a lake, in order. It is never empty.

    Parameters
    ----------
    connexion : Lake
        The lake.
    datalake_id : UUID
        Id of the lake.
    items : list of Data
        The data.

    Raises
    ------
    NoDataError
        There are no data.
    """

    def __init__(self, connexion: Lake, datalake_id: UUID | str, items: list[Data]) -> None:
        self.lake = connexion
        self.datalake_id = UUID(hex_id(datalake_id, "datalake_id"))
        self.items = list(map(_data, items))
        self._require(self.items)

    @staticmethod
    def _require(items: Sequence[Data]) -> None:
        if not items:
            raise NoDataError("there would be no data left: a MultiData is never empty")

    @property
    def connection(self) -> Lake:
        """What a `MultiData` is given."""
        return self.lake

    @property
    def ids(self) -> list[UUID]:
        """The ids of the data."""
        return [data.id for data in self.items]

    def _like(self, items: list[Data]) -> MultiData:
        return MultiData(self.lake, self.datalake_id, items)

    @overload
    def __getitem__(self, key: int) -> Data: ...
    @overload
    def __getitem__(self, key: slice) -> MultiData: ...
    def __getitem__(self, key: int | slice) -> Data | MultiData:
        """Return one `Data`, or a `MultiData` for a slice."""
        return self._like(self.items[key]) if isinstance(key, slice) else self.items[key]

    def __setitem__(self, key: int, data: Data) -> None:
        self.items[key] = _data(data)

    def __delitem__(self, key: int | slice) -> None:
        left = self.items.copy()
        del left[key]
        self._require(left)
        self.items = left

    def __len__(self) -> int:
        """Return the number of data."""
        return len(self.items)

    def __contains__(self, data: object) -> bool:
        return data in self.items

    def __iter__(self) -> Iterator[Data]:
        return iter(self.items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MultiData | list):
            return False
        theirs: list[Any] = other.items if isinstance(other, MultiData) else other
        return len(self.items) == len(theirs) and set(self.items) == set(theirs)

    __hash__ = None  # pyright: ignore[reportAssignmentType] - as of lists

    def __add__(self, other: Data | MultiData | list[Data]) -> MultiData:
        return self._like(self.items + _listed(other))

    def __iadd__(self, other: Data | MultiData | list[Data]) -> Self:
        self.items += _listed(other)
        return self

    def __repr__(self) -> str:
        return f"MultiData of {len(self.items):,} data in {self.lake.name!r}"

    def append(self, data: Data) -> None:
        """Add a `Data` at the end."""
        self.items.append(_data(data))

    def extend(self, data: Data | MultiData | list[Data]) -> None:
        """Add data at the end."""
        self.items += _listed(data)

    def insert(self, index: int, data: Data) -> None:
        """Insert a `Data` before an index."""
        self.items.insert(index, _data(data))

    def remove(self, data: Data) -> None:
        """Remove the first equal data. Raises `ValueError` if no data is equal, `NoDataError` if only this one is left."""
        del self[self.items.index(_data(data))]

    def pop(self, i: int | None = None) -> Data:
        """Remove the data at an index, by default the last, and return it."""
        data = self.items[-1 if i is None else i]
        del self[-1 if i is None else i]
        return data

    def clear(self) -> None:
        """Raise `NoDataError`: a `MultiData` is never empty."""
        self._require([])

    def index(self, x: Data, start: int | None = None, end: int | None = None) -> int:
        """Return the index of the first equal data. Raises `ValueError` if no data is equal."""
        return self.items.index(x, start or 0, len(self.items) if end is None else end)

    def count(self, x: Data) -> int:
        """Return the number of equal data."""
        return self.items.count(x)

    def sort(self, key: Callable[[Data], Any] | None = None, reverse: bool = False) -> None:
        """Sort in place, by default by the filename."""
        self.items.sort(key=key or (lambda data: data.filename), reverse=reverse)

    def reverse(self) -> None:
        """Reverse in place."""
        self.items.reverse()

    def copy(self) -> MultiData:
        """Return a copy, which has the same data."""
        return self._like(self.items)

    def split(self, ratio: float) -> tuple[MultiData, MultiData]:
        """Return the first part of the data, rounded to a whole number, and the rest.

        Raises
        ------
        NoDataError
            One of them would be empty.
        """
        if not isinstance(ratio, float) or math.isnan(ratio):
            raise InvalidTypeError(f"ratio must be a float, not {shorten(ratio)}")
        size = round(min(max(ratio, 0.0), 1.0) * len(self.items))
        return self._like(self.items[:size]), self._like(self.items[size:])

    def add_tags(self, tags: Tags) -> None:
        """Attach tags to all data. Tags given as text are created if they do not exist."""
        change_tags(self.lake, TagsAttached, tags, self.items)

    def remove_tags(self, tags: Tags) -> None:
        """Detach tags from all data."""
        change_tags(self.lake, TagsDetached, tags, self.items)

    def update_metadata(self, metadata: dict[str, Any] | None) -> None:
        """Set keys of the metadata of all data, as `Data.update_metadata` does."""
        _update(self.items, "metadata", metadata)

    def update_custom_metadata(self, custom_metadata: dict[str, Any] | None) -> None:
        """Set keys of the metadata of your own of all data."""
        _update(self.items, "custom_metadata", custom_metadata)

    def delete(self) -> None:
        """Delete all data with their derived files."""
        _delete(self.items)

    def wait_for_upload_done(self, blocking_time_increment: float = 1.0, attempts: int = 20) -> None:
        """Return at once, because uploads are done when `upload_data` returns."""

    def download(
        self,
        target_path: PathLike = "./",
        force_replace: bool = False,
        max_workers: int | None = None,
        use_id: bool = False,
    ) -> list[Path]:
        """Download all contents into a folder, and return the paths of the files in the order of the data.

        Of several equal names, all but the first are numbered.
        """
        return download(
            self.lake.session,
            [data.content for data in self.items],
            target_path,
            force_replace=force_replace,
            use_id=use_id,
            max_workers=max_workers,
        )

    def to_frames(self) -> list[SingleFrame]:
        """Return frames that name the contents, to be added to a dataset version. Nothing is copied."""
        return [frame for data in self.items for frame in data.to_frames()]


def _data(value: object) -> Data:
    if not isinstance(value, Data):
        raise InvalidTypeError(f"a MultiData has Data only, not {shorten(value)}")
    return value


def _listed(value: Data | MultiData | list[Data]) -> list[Data]:
    if isinstance(value, Data):
        return [value]
    if not isinstance(value, MultiData | list):
        raise InvalidTypeError(
            f"a MultiData takes a Data, a MultiData or a list of Data, not {shorten(value)}"
        )
    return list(map(_data, value))


def _update(data: Sequence[Data], column: str, given: dict[str, Any] | None) -> None:
    """Change metadata, and bring the data up to date."""
    check = check_metadata if column == "metadata" else check_custom
    values = None if given is None else check(given, column)
    lake = data[0].lake
    if column == "custom_metadata":
        rules = schema_of(lake)
        rules.check_whole({}, column) if values is None else rules.check(values, column)

    def decide(stream: Aggregate) -> None:
        _require_there(data)
        for part in chunked([each.id.hex for each in data], ITEMS_OF_AN_EVENT):
            change = {"cleared": [column]} if values is None else {column: values}
            stream.trigger(DataUpdated, lake=lake.name, data=part, **change)

    if values is None or values:
        lake.record(decide)
        _require_there(data)


def _delete(data: Sequence[Data]) -> None:
    lake = data[0].lake

    def decide(stream: Aggregate) -> None:
        _require_there(data)
        for part in chunked(dict.fromkeys(each.id.hex for each in data), ITEMS_OF_AN_EVENT):
            stream.trigger(DataDeleted, lake=lake.name, data=part)

    lake.record(decide)


def _require_there(data: Sequence[Data]) -> None:
    """Read the rows of data again. Raises `ResourceNotFoundError` if one was deleted."""
    rows = {row.id: row for row in find_rows(data[0].lake, Wanted(ids=[str(each.id) for each in data]))}
    for each in data:
        key = str(each.id)
        if key not in rows:
            raise ResourceNotFoundError(f"there is no data {key} any more")
        each._row = rows[key]  # noqa: SLF001 - of this module


def wait_until(is_done: Callable[[], bool], blocking_time_increment: float, attempts: int, what: str) -> None:
    """Wait until a function returns True, asking it once in a while. During the first increment it is asked more often.

    Raises
    ------
    WaitingAttemptsTimeout
        It did not within the attempts.
    """
    for part in chain(_FIRST_INCREMENT, repeat(1.0, max(1, attempts) - 1)):
        if is_done():
            return
        time.sleep(part * blocking_time_increment)
    raise WaitingAttemptsTimeout(f"{what} is not done after {attempts} times {blocking_time_increment} s")
