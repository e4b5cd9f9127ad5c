"""A datalake: pictures and videos with tags, sources and metadata."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from uuid import UUID
from warnings import warn

import msgspec

from ...engine.blobs.reports import FileFailure, StoredFile
from ...engine.datasets.aggregate import Aggregate
from ...engine.errors import InvalidTypeError, InvalidValueError
from ...engine.events.lakes import (
    ITEMS_OF_AN_EVENT,
    LAKES,
    DataUpdated,
    LakeConnected,
    ProjectionCreated,
    SchemaUpdated,
    StoredContent,
    TagRecord,
    TagsAttached,
    TagsCreated,
)
from ...engine.iterables import chunked
from ...engine.validation import at_least, refuse_secret, shorten
from ...projections.tables.lakes import uuid_text
from .bucket import import_derived, import_named, import_objects
from .data import Data, MultiData
from .data_projection import DataProjection
from .datasource import DataSource
from .error_manager import ErrorManager
from .exceptions import (
    BadRequestError,
    CustomMetadataSchemaUpdateError,
    DownloadError,
    InvalidQueryError,
    MissingArgumentError,
    NoConnectorFound,
    NoDataError,
    NothingDoneError,
    ResourceConflictError,
    ResourceNotFoundError,
    UnprocessableData,
    not_available,
)
from .job import Job
from .launching import launch
from .media import read_media
from .metadata import check_custom, check_metadata
from .metadata_schema import MetadataSchema, check_rules, read_rules, recorded_rules, schema_of
from .processing import Processing
from .reading import Wanted, find_rows, known_ids
from .recording import (
    Lake,
    check_label,
    hex_id,
    record,
    source_named,
    suffix_of,
    things,
)
from .schemas import CloudObject, CloudProjectionObject, CustomMetadataKey
from .tag import Tag, tag_names
from .upload import Given, Paths, Progress, check_request, upload

Tags = str | Tag | Sequence[str | Tag] | None
Source = str | DataSource | None

_MOST_OBJECTS = 500
_MOST_UPDATES = 100

Described = TypeVar("Described", CloudObject, CloudProjectionObject)


class Datalake:
    """A datalake. Get one with `Client.get_datalake`.

    Attributes
    ----------
    id : UUID
        Id of the lake.
    name : str
        Name of the lake.
    """

    def __init__(self, lake: Lake, executor: Any = None) -> None:
        self.lake = lake
        self._executor = executor

    @property
    def id(self) -> UUID:
        """Id of the lake."""
        return UUID(self.lake.row.id)

    @property
    def ids(self) -> list[UUID]:
        """List of the id."""
        return [self.id]

    @property
    def name(self) -> str:
        """Name of the lake."""
        return self.lake.name

    @property
    def connection(self) -> Lake:
        """What `MultiData` is given."""
        return self.lake

    def __getattr__(self, name: str) -> Any:
        raise not_available("Datalake", name)

    @property
    def connector_id(self) -> str:
        """URL of the bucket. Raises `NoConnectorFound` if the lake is not connected to one."""
        bucket = self._row().bucket
        if not bucket:
            raise NoConnectorFound(
                f"the lake {self.name!r} is not connected to a bucket: use connect_bucket('s3://bucket/folder')"
            )
        return bucket

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Datalake) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Datalake({self.name!r}){self.lake.session.when}"

    def _row(self) -> Any:
        return things(self.lake.session, "lake", id=self.lake.row.id)[0]

    def sync(self) -> dict[str, Any]:
        """Return the values of the lake."""
        row = self._row()
        return {"id": str(self.id), "name": row.name, "bucket": row.bucket}

    def refresh(self, data: dict[str, Any]) -> None:
        """Do nothing: the values of a lake do not change."""

    def connect_bucket(self, url: str) -> None:
        """Connect the lake to a bucket or folder, whose objects `import_bucket_objects` registers.

        Parameters
        ----------
        url : str
            An fsspec URL such as ``s3://bucket/folder``, or a local folder; empty to disconnect the lake.
        """
        if not isinstance(url, str | os.PathLike):
            raise InvalidTypeError(f"url must be a string, not {shorten(url)}")
        bucket = os.fspath(url)
        if bucket and "://" not in bucket:
            bucket = str(Path(bucket).expanduser().absolute())
        refuse_secret(
            bucket, "url", "leave it out: the library of the store finds it in its environment or profile"
        )
        record(
            self.lake.session,
            LAKES.id,
            lambda stream: stream.trigger(LakeConnected, id=self.id.hex, name=self.name, bucket=bucket),
        )

    def upload_data(
        self,
        filepaths: Paths,
        tags: Tags = None,
        source: Source = None,
        max_workers: int | None = None,
        error_manager: ErrorManager | None = None,
        metadata: Given = None,
        fill_metadata: bool | None = False,
        wait_for_unprocessable_data: bool | None = True,
        upload_dir: str | None = None,
        custom_metadata: Given = None,
        sizes: Any = None,
        *,
        progress: Progress | None = None,
    ) -> Data | MultiData:
        """Upload files. An upload that was interrupted is continued by the same call.

        Parameters
        ----------
        filepaths : path or list of paths
            The files.
        tags : list of str or Tag, optional
            Tags of all data. Tags given as text are created if they do not exist.
        source : str or DataSource, optional
            Source of all data, created if it does not exist.
        max_workers : int, optional
            Number of threads, by default the number of cores and four.
        error_manager : ErrorManager, optional
            Gets an `UploadError` for each file that could not be uploaded, and an `UnprocessableData` for each whose content
            cannot be read. They are logged otherwise.
        metadata, custom_metadata : dict or list of dict, optional
            Metadata of each file, in the order of the paths.
        fill_metadata : bool
            Read the EXIF of pictures. Values that are given win.
        wait_for_unprocessable_data : bool
            Raise `UnprocessableData` if one path is given and its content cannot be read.
        upload_dir : str, optional
            Folder of the object names.
        sizes : tuple or list of tuple, optional
            Widths and heights that replace those of the files.
        progress : callable, optional
            Called with the number of files done and their total.

        Returns
        -------
        Data or MultiData
            One `Data` for one path; for several a `MultiData` in their order, without those that failed.

        Raises
        ------
        BadRequestError
            Lists do not match in length, or metadata is invalid. Nothing is uploaded.
        NothingDoneError
            No file was uploaded.
        UnprocessableData
            See `wait_for_unprocessable_data`.
        """
        request = check_request(
            filepaths,
            metadata,
            custom_metadata,
            sizes,
            max_workers,
            tags=tag_names(self.lake, tags),
            source=_source_name(source),
            folder=_folder(upload_dir),
            fill_metadata=bool(fill_metadata),
        )
        rules = schema_of(self.lake)
        for index, values in enumerate(request.custom_metadata or [{}] * bool(request.paths)):
            rules.check_whole(values, f"custom_metadata[{index}]")
        errors = ErrorManager() if error_manager is None and len(request.paths) == 1 else error_manager
        try:
            done = upload(self.lake, request, errors, progress)
        except NothingDoneError:
            failed = errors.errors[-1] if errors and errors.errors and len(request.paths) == 1 else None
            if isinstance(failed, UnprocessableData) and wait_for_unprocessable_data:
                raise failed from None
            raise
        return done[0] if len(request.paths) == 1 else MultiData(self.lake, self.id, done)

    def find_data(
        self,
        filename: str | None = None,
        object_name: str | None = None,
        id: str | UUID | None = None,  # noqa: A002 - the SDK's name
    ) -> Data:
        """Return the data that matches all criteria.

        Raises
        ------
        ResourceNotFoundError
            No data matches.
        InvalidQueryError
            There are several. The message has their ids.
        UsageError
            There are no criteria.
        """
        if filename is None and object_name is None and id is None:
            raise MissingArgumentError("give a filename, an object_name or an id")
        wanted = Wanted(
            filenames=None if filename is None else _texts([filename], "filename"),
            object_names=None if object_name is None else _texts([object_name], "object_name"),
            ids=None if id is None else [str(UUID(hex_id(id)))],
        )
        found = find_rows(self.lake, wanted)
        named = {"filename": filename, "object_name": object_name, "id": id}
        asked = ", ".join(
            f"{name} {shorten(str(value))}" for name, value in named.items() if value is not None
        )
        if not found:
            raise ResourceNotFoundError(f"there is no data with {asked} in the lake {self.name!r}")
        if len(found) > 1:
            ids = ", ".join(row.id for row in found[:10])
            raise InvalidQueryError(f"{len(found):,} data have {asked}: find one by its id: {ids}")
        return Data(self.lake, found[0])

    def list_data(
        self,
        limit: int | None = None,
        offset: int | None = None,
        page_size: int | None = None,
        order_by: list[str] | None = None,
        tags: Tags = None,
        filenames: list[str] | None = None,
        intersect_tags: bool | None = False,
        object_names: list[str] | None = None,
        q: str | None = None,
        ids: list[str | UUID] | None = None,
        custom_metadata: dict[str, Any] | None = None,
    ) -> MultiData:
        """Return the data that match all filters, oldest first.

        Parameters
        ----------
        limit, offset : int, optional
            Return at most `limit` data, without the first `offset`.
        page_size : int, optional
            Ignored.
        order_by : list of str, optional
            Fields to order by, with ``-`` in front for descending order: ``id``, ``filename``, ``object_name``,
            ``created_at``, ``upload_status``, ``type``, ``content_type``, ``size``, ``width``, ``height`` or
            ``metadata.<key>``.
        tags : str, Tag or list of these, optional
            Data with any of the tags, or with all of them if `intersect_tags`.
        filenames, object_names, ids : list, optional
            Data with one of these names or ids.
        q : str, optional
            A query, such as ``width > 640 and tags.name = "train"``.
        custom_metadata : dict, optional
            Data with all of these values.

        Raises
        ------
        NoDataError
            No data match.
        ResourceNotFoundError
            A tag does not exist.
        InvalidQueryError
            The query or a field of the order is wrong.
        ValueError
            The limit is below 1, the offset below 0, or a list is empty.
        """
        if page_size is not None:
            warn("page_size is ignored", DeprecationWarning, stacklevel=2)
        for name, listed in (("filenames", filenames), ("object_names", object_names), ("ids", ids)):
            if listed is not None and not listed:
                raise InvalidValueError(f"{name} must not be empty")
        wanted = Wanted(
            limit=None if limit is None else at_least(limit, "limit", 1),
            offset=0 if offset is None else at_least(offset, "offset", 0),
            order_by=_texts(order_by or [], "order_by"),
            tags=self._tag_numbers(tags),
            all_tags=bool(intersect_tags),
            filenames=None if filenames is None else _texts(filenames, "filenames"),
            object_names=None if object_names is None else _texts(object_names, "object_names"),
            ids=None if ids is None else [str(UUID(hex_id(each))) for each in ids],
            q=q,
            custom_metadata=custom_metadata,
        )
        rows = find_rows(self.lake, wanted)
        if not rows:
            raise NoDataError(f"no data of the lake {self.name!r}{self.lake.session.when} match")
        return MultiData(self.lake, self.id, [Data(self.lake, row) for row in rows])

    def _tag_numbers(self, tags: Tags) -> list[int]:
        names = tag_names(self.lake, tags)
        if tags is not None and not names:
            raise InvalidValueError("tags must not be empty")
        known = self.lake.tags(names) if names else {}
        lacking = next((name for name in names if name not in known), None)
        if lacking is not None:
            raise ResourceNotFoundError(f"there is no tag {lacking!r} in the lake {self.name!r}")
        return [known[name].number for name in names]

    def create_data_tag(self, name: str) -> Tag:
        """Create a tag. Raises `ResourceConflictError` if it exists."""
        check_label(name, "a tag")
        tag_id = self.lake.session.present.new_id()

        def decide(stream: Aggregate) -> None:
            if self.lake.tag(name) is not None:
                raise ResourceConflictError(f"there is a tag {name!r} in the lake {self.name!r} already")
            stream.trigger(TagsCreated, lake=self.name, tags=[TagRecord(id=tag_id, name=name)])

        self.lake.record(decide)
        return self.get_data_tag(name)

    def get_data_tag(self, name: str) -> Tag:
        """Return a tag. Raises `ResourceNotFoundError` if it does not exist."""
        row = self.lake.tag(name)
        if row is None:
            raise ResourceNotFoundError(f"there is no tag {name!r} in the lake {self.name!r}")
        return Tag(self.lake, row)

    def get_or_create_data_tag(self, name: str) -> Tag:
        """Return a tag, which is created if it does not exist."""
        row = self.lake.tag(name)
        if row is None:
            self.lake.record(lambda stream: self.lake.make_tags(stream, [name]))
        return self.get_data_tag(name)

    def list_data_tags(
        self, limit: int | None = None, offset: int | None = None, order_by: list[str] | None = None
    ) -> list[Tag]:
        """Return the tags, oldest first, or ordered by ``name`` or ``-name``."""
        tags = [Tag(self.lake, row) for row in self.lake.tags().values()]
        return page(tags, limit, offset, order_by)

    def create_projection(
        self,
        data: Data,
        name: str,
        path: str,
        additional_info: dict[str, Any] | None = None,
        fill_metadata: bool = False,
    ) -> DataProjection:
        """Store a file that was derived from a `Data`, such as a thumbnail, mask or depth map.

        Parameters
        ----------
        data : Data
            The data, which can have any number of derived files.
        name : str
            Name of the derived file.
        path : str
            The file.
        additional_info : dict, optional
            Values to keep with it; see `DataProjection.infos`.
        fill_metadata : bool
            Add the EXIF of a picture to these values.

        Raises
        ------
        DownloadError
            The file cannot be read.
        """
        check_label(name, "a projection")
        infos = check_custom(additional_info or {}, "additional_info")
        session = self.lake.session
        (outcome,) = _stored(session, [os.fspath(path)])
        with Path(path).open("rb") as file:
            media = read_media(file, os.fspath(path), exif=fill_metadata)
        projection_id = UUID(session.present.new_id())
        filename = os.fsencode(Path(path).name).decode("utf-8", "backslashreplace")
        content = StoredContent(
            id=projection_id.hex,
            filename=filename,
            object_name=str(PurePosixPath("projections", f"{projection_id}{suffix_of(filename)}")),
            digest=outcome.digest,
            size=outcome.size,
            content_type=media.content_type,
            width=media.width,
            height=media.height,
        )
        infos = {**(check_metadata(media.exif) if media.exif else {}), **infos}

        def decide(stream: Aggregate) -> None:
            data.sync()
            # Other writers are kept out, so that the blob is not deleted between the look and the event.
            if session.writes.blob_commands.blob_ledger.banned([outcome.digest])[1]:
                raise DownloadError(f"garbage collection deleted the content of {path} meanwhile: call again")
            stream.trigger(
                ProjectionCreated,
                lake=self.name,
                data=data.id.hex,
                name=name,
                content=content,
                infos=infos,
            )

        self.lake.record(decide, alone=True)
        return next(each for each in data.list_projections() if each.id == projection_id)

    def import_bucket_objects(self, prefixes: list[str], tags: Tags = None, source: Source = None) -> Job:
        """Register pictures and videos of the bucket whose names begin with a prefix. Nothing is copied.

        Parameters
        ----------
        prefixes : list of str
            Beginnings of names, relative to the bucket of `connect_bucket`.
        tags, source
            As for `upload_data`.

        Returns
        -------
        Job
            Its `result` tells how many objects were found, registered, known before and left out, and why.

        Raises
        ------
        NoConnectorFound
            The lake is not connected to a bucket.
        """
        listed = _texts([prefixes] if isinstance(prefixes, str) else prefixes, "prefixes")
        if not listed:
            raise InvalidValueError("prefixes must not be empty: use [''] for all objects")
        return import_objects(
            self.lake, self.connector_id, listed, tag_names(self.lake, tags), _source_name(source)
        )

    def import_cloud_objects(self, cloud_objects: Mapping[str, CloudObject | Mapping[str, Any]]) -> Job:
        """Register objects of the bucket by name, each with its own tags, source and metadata.

        Parameters
        ----------
        cloud_objects : mapping of str to CloudObject or dict
            From 1 to 500 objects.
        """
        _check_number(cloud_objects, "cloud_objects", _MOST_OBJECTS)
        checked = {
            name: self._described(each, f"the object {name!r}", is_new=True)
            for name, each in cloud_objects.items()
        }
        return import_named(self.lake, self.connector_id, checked)

    def import_cloud_projections(
        self, cloud_projections: Mapping[str, Sequence[CloudProjectionObject | Mapping[str, Any]]]
    ) -> Job:
        """Register objects of the bucket that were derived from data. Nothing is copied.

        Parameters
        ----------
        cloud_projections : mapping of str to list of CloudProjectionObject or dict
            The objects by the object name of their data, of 1 to 500 data.

        Returns
        -------
        Job
            Its `result` tells how many objects were found, registered, known before and left out, and why.
        """
        _check_number(cloud_projections, "cloud_projections", _MOST_OBJECTS)
        checked: dict[str, list[CloudProjectionObject]] = {}
        for name, objects in cloud_projections.items():
            checked[name] = [
                _converted(each, CloudProjectionObject, f"an object of {name!r}") for each in objects
            ]
            for each in checked[name]:
                check_label(each.name, "a projection")
        return import_derived(self.lake, self.connector_id, checked)

    def update_multiple_data(self, objects: Mapping[UUID, CloudObject | Mapping[str, Any]]) -> None:
        """Set keys of the metadata of data, attach tags, and set the source, all together or nothing.

        Parameters
        ----------
        objects : mapping of UUID to CloudObject or dict
            What changes, by the id of the data, of 1 to 100 data. What is None or empty stays as it is.

        Raises
        ------
        ResourceNotFoundError
            There is no data with an id.
        """
        _check_number(objects, "objects", _MOST_UPDATES)
        changes = {
            hex_id(data_id): self._described(each, f"the data {data_id}") for data_id, each in objects.items()
        }
        names = {each.data_source for each in changes.values() if each.data_source is not None}
        sources = {name: source_named(self.lake.session, name, create=True).id for name in sorted(names)}

        def decide(stream: Aggregate) -> None:
            known = known_ids(self.lake, map(uuid_text, changes))
            tags = self.lake.make_tags(stream, [tag for each in changes.values() for tag in each.tags])
            by_name = dict(
                zip(dict.fromkeys(tag for each in changes.values() for tag in each.tags), tags, strict=True)
            )
            for data_id, each in changes.items():
                if uuid_text(data_id) not in known:
                    raise ResourceNotFoundError(
                        f"there is no data {uuid_text(data_id)} in the lake {self.name!r}"
                    )
                new = {"metadata": each.metadata or None, "custom_metadata": each.custom_metadata or None}
                source = None if each.data_source is None else sources[each.data_source]
                if source or any(new.values()):
                    stream.trigger(DataUpdated, lake=self.name, data=[data_id], source=source, **new)
                for some in chunked([by_name[tag] for tag in each.tags], ITEMS_OF_AN_EVENT):
                    stream.trigger(TagsAttached, lake=self.name, tags=some, data=[data_id])

        self.lake.record(decide)

    def _described(self, given: Any, what: str, *, is_new: bool = False) -> CloudObject:
        """Return what a data gets, checked."""
        each = _converted(given, CloudObject, what)
        custom_metadata = check_custom(each.custom_metadata or {})
        rules = schema_of(self.lake)
        (rules.check_whole if is_new else rules.check)(custom_metadata, "custom_metadata")
        return CloudObject(
            metadata=check_metadata(each.metadata or {}),
            custom_metadata=custom_metadata,
            tags=tag_names(self.lake, list(each.tags)),
            data_source=_source_name(each.data_source),
        )

    def get_custom_metadata_schema(self) -> dict[str, Any]:
        """Return the rules of `custom_metadata`.

        Returns
        -------
        dict
            ``custom_metadata_schema``, the rules by key, or None if there are none; ``allow_extra_custom_metadata``, whether
            other keys are allowed; and ``keys``, which is empty.
        """
        rules = schema_of(self.lake)
        keys = {key: recorded_rules(each) for key, each in rules.keys.items()}
        return {
            "custom_metadata_schema": keys or None,
            "allow_extra_custom_metadata": rules.allow_extra,
            "keys": {},
        }

    def upsert_custom_metadata_schema_key(
        self, key: str, schema: CustomMetadataKey | Mapping[str, Any]
    ) -> dict[str, Any]:
        """Create or replace the rules of a key of `custom_metadata`, and return them.

        They hold for what is set from then on, by uploads, updates and imports of named objects.

        Parameters
        ----------
        key : str
            The key.
        schema : CustomMetadataKey or dict
            Its rules: ``required``, ``input_type`` (``STRING``, ``INTEGER``, ``FLOAT``, ``DATETIME`` or ``BOOLEAN``),
            ``display_name``, ``archived``, and ``choices`` with ``allow_multiple``, or ``min`` and ``max``.

        Raises
        ------
        BadRequestError
            The rules contradict themselves.
        """
        rules = read_rules(schema)
        check_rules(key, rules)
        self._change_schema(lambda keys: {**keys, key: rules})
        return recorded_rules(rules)

    def delete_custom_metadata_schema_key(self, key: str) -> None:
        """Delete the rules of a key. Raises `ResourceNotFoundError` if it has none."""

        def without(keys: dict[str, CustomMetadataKey]) -> dict[str, CustomMetadataKey]:
            if key not in keys:
                raise ResourceNotFoundError(f"the schema of the lake {self.name!r} has no key {shorten(key)}")
            return {each: rules for each, rules in keys.items() if each != key}

        self._change_schema(without)

    def set_allow_extra_custom_metadata(self, allow_extra_custom_metadata: bool) -> None:
        """Set whether `custom_metadata` may have keys without rules. By default it may."""
        if not isinstance(allow_extra_custom_metadata, bool):
            raise InvalidTypeError(
                f"allow_extra_custom_metadata must be True or False, not {shorten(allow_extra_custom_metadata)}"
            )
        self._change_schema(dict, allow_extra=allow_extra_custom_metadata)

    def update_custom_metadata_schema(
        self,
        custom_metadata_schema: Mapping[str, CustomMetadataKey | Mapping[str, Any]],
        delete_missing_keys: bool = False,
        raise_on_error: bool = True,
    ) -> dict[str, Any]:
        """Create, replace and delete the rules of many keys together.

        Parameters
        ----------
        custom_metadata_schema : mapping of str to CustomMetadataKey or dict
            The rules by key, as for `upsert_custom_metadata_schema_key`.
        delete_missing_keys : bool
            Delete the rules of all other keys.
        raise_on_error : bool
            Raise an error if rules of some keys contradict themselves. The other keys are changed all the same.

        Returns
        -------
        dict
            The keys that were ``created``, ``updated``, ``deleted`` and ``unchanged``, and the ``errors`` by key.

        Raises
        ------
        CustomMetadataSchemaUpdateError
            See `raise_on_error`.
        """
        given = {key: read_rules(each) for key, each in custom_metadata_schema.items()}
        failed: dict[str, Exception] = {}
        for key, rules in given.items():
            try:
                check_rules(key, rules)
            except BadRequestError as error:
                failed[key] = error
        good = {key: rules for key, rules in given.items() if key not in failed}
        report: dict[str, Any] = {}

        def changed(keys: dict[str, CustomMetadataKey]) -> dict[str, CustomMetadataKey]:
            deleted = [key for key in keys if delete_missing_keys and key not in given]
            report.update(
                created=[key for key in good if key not in keys],
                updated=[key for key in good if key in keys and keys[key] != good[key]],
                deleted=deleted,
                unchanged=[key for key in good if keys.get(key) == good[key]],
                errors=failed,
            )
            return {key: rules for key, rules in {**keys, **good}.items() if key not in deleted}

        self._change_schema(changed)
        if failed and raise_on_error:
            raise CustomMetadataSchemaUpdateError(failed)
        return report

    def _change_schema(
        self,
        change: Callable[[dict[str, CustomMetadataKey]], dict[str, CustomMetadataKey]],
        *,
        allow_extra: bool | None = None,
    ) -> None:
        def decide(stream: Aggregate) -> None:
            now = schema_of(self.lake)
            new = MetadataSchema(change(now.keys), now.allow_extra if allow_extra is None else allow_extra)
            if new != now:
                keys = {key: recorded_rules(rules) for key, rules in new.keys.items()}
                stream.trigger(SchemaUpdated, lake=self.name, keys=keys, allow_extra=new.allow_extra)

        self.lake.record(decide)

    def launch_processing(
        self,
        processing: Processing,
        data: list[Data] | MultiData,
        parameters: dict[str, Any] | None = None,
        cpu: int | None = None,
        gpu: int | None = None,
        inputs: dict[str, Any] | None = None,
    ) -> Job:
        """Run a processing on data, each once, and return the job.

        Parameters
        ----------
        processing : Processing
            What to run.
        data : list of Data or MultiData
            The data.
        parameters : dict, optional
            Parameters that replace the defaults of the processing.
        cpu, gpu : int, optional
            Resources that each task needs on a Dask cluster.
        inputs : dict, optional
            Inputs of the processing, which are parameters as well.

        Raises
        ------
        BadRequestError
            An input is missing, unknown or of another type than the processing declares.
        """
        if not isinstance(processing, Processing):
            raise InvalidTypeError(f"processing must be a Processing, not {shorten(processing)}")
        values = {**(parameters or {}), **processing.check_inputs(inputs or {})}
        return launch(self.lake, processing, data, values, cpu, gpu, self._executor)


def _check_number(given: Mapping[Any, Any], what: str, most: int) -> None:
    if not 1 <= len(given) <= most:
        raise InvalidValueError(f"{what} must have 1 to {most} items, not {len(given):,}")


def _converted(given: Any, kind: type[Described], what: str) -> Described:
    """Return a description given as an object or a dict. Raises `InvalidTypeError` if it is neither, or has wrong keys."""
    if isinstance(given, kind):
        return given
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise InvalidTypeError(
            f"{what} must be a {kind.__name__} or a dict of its fields: {error}"
        ) from error


def page(items: list[Any], limit: int | None, offset: int | None, order_by: list[str] | None) -> list[Any]:
    """Return a part of things with names, in an order."""
    for field in reversed(order_by or []):
        if field.removeprefix("-") not in {"name", "id"}:
            raise InvalidQueryError(f"they cannot be ordered by {field!r}: it must be name or id")
        items.sort(key=lambda item: str(getattr(item, field.removeprefix("-"))), reverse=field[0] == "-")
    start = 0 if offset is None else at_least(offset, "offset", 0)
    return items[start:] if limit is None else items[start : start + at_least(limit, "limit", 1)]


def _stored(session: Any, paths: list[str]) -> list[StoredFile]:
    outcomes: list[StoredFile | FileFailure] = []
    session.writes.blobs.store.put_files(paths, on_done=outcomes.append)
    for outcome in outcomes:
        if isinstance(outcome, FileFailure):
            raise DownloadError(outcome.error)
    return [outcome for outcome in outcomes if isinstance(outcome, StoredFile)]


def _texts(values: Any, what: str) -> list[str]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise InvalidTypeError(f"{what} must be a list of strings, not {shorten(values)}")
    return list(values)


def _source_name(source: Source) -> str | None:
    if source is None:
        return None
    if not isinstance(source, str | DataSource):
        raise InvalidTypeError(f"source must be a string or a DataSource, not {shorten(source)}")
    return check_label(source if isinstance(source, str) else source.name, "a source")


def _folder(upload_dir: str | None) -> str:
    """Return the beginning of object names. Raises `InvalidValueError` if it leads outside."""
    if upload_dir is None:
        return "data/"
    folder = PurePosixPath(check_label(upload_dir, "upload_dir"))
    if folder.is_absolute() or ".." in folder.parts:
        raise InvalidValueError(f"upload_dir must be a relative folder without .., not {shorten(upload_dir)}")
    return f"{folder}/" if folder.parts else ""
