"""Describes a published version in Croissant 1.1: JSON-LD beside tables of its records, and its files.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import glob
import hashlib
import json
import mimetypes
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from ....engine.errors import UsageError
from ....engine.times import utc
from ....engine.tracing import traced
from ....engine.validation import refuse_secret, shorten, text
from ....projections.tables.catalog import DRAFT, VersionRow
from ...arrow import pa
from ...formats.format import splits_of
from ...session.session import Session
from ..address import Address
from ..checkout import CheckoutFailure, check_out, relative_names, sources_of
from ..reading import FrameReader
from ..selectors import find_dataset
from ..statistics import Statistics
from .exporting import replacing

DESCRIPTION = "croissant.json"
"""Name of the description in the folder."""

_FILES = "files"
_RECORDS = "records"
_ROWS = 10_000
_ENUMERATED = 10_000
"""Labels beyond this number are left out of the description; all are in the table."""

_CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
_PARQUET = "application/x-parquet"  # the name that readers of Croissant know
_OTHER_TYPE = "application/octet-stream"
_SPLIT_URLS = {
    **dict.fromkeys(("train", "training"), "cr:TrainingSplit"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "cr:ValidationSplit"),
    **dict.fromkeys(("test", "testing"), "cr:TestSplit"),
}

_TERMS = (
    "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract", "field",
    "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5",
    "parentField", "path", "readLines", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "sdVersion",
    "separator", "source", "subField", "transform", "unArchive", "value",
)  # fmt: skip

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _TERMS},
}

_TEXT, _WHOLE, _NUMBER = pa.string(), pa.int64(), pa.float64()

_KINDS: dict[pa.DataType, str] = {_TEXT: "sc:Text", _WHOLE: "sc:Integer", _NUMBER: "sc:Float"}

_TABLES: dict[str, tuple[str, dict[str, tuple[pa.DataType, str]]]] = {
    "frames": (
        "The frames, one record each.",
        {
            "id": (_TEXT, "Id of the frame."),
            "context_id": (_TEXT, "What the frame belongs to, such as a video, if it is not its file."),
            "split": (_TEXT, "The first split of the frame."),
            "splits": (pa.list_(_TEXT), "All splits of the frame."),
            "metadata": (_TEXT, "Metadata of the frame, as JSON."),
        },
    ),
    "sources": (
        "The files of the frames, one record each.",
        {
            "frame_id": (_TEXT, "The frame."),
            "name": (_TEXT, "Name of the source in its frame."),
            "path": (_TEXT, "Path of the file."),
            "url": (_TEXT, "URL of the file, which fsspec opens where framelode and its engine are."),
            "content_type": (_TEXT, "Media type."),
            "width": (_WHOLE, "Width in pixels."),
            "height": (_WHOLE, "Height in pixels."),
            "timestamp": (_WHOLE, "Time in the file, in milliseconds."),
            "size": (_WHOLE, "Size in bytes."),
            "hash": (_TEXT, "Hash of the file, after the name of its algorithm."),
            "masks": (pa.list_(_TEXT), "Paths of the mask files."),
        },
    ),
    "annotations": (
        "The annotations of the frames, one record each.",
        {
            "frame_id": (_TEXT, "The frame."),
            "number": (_WHOLE, "Number of the annotation in its frame, from 0."),
            "id": (_TEXT, "Id of the annotation."),
            "type": (_TEXT, "Kind of the geometry, such as box2d or polygon2d."),
            "label": (_TEXT, "The first label."),
            "labels": (pa.list_(_TEXT), "All labels."),
            "box": (
                pa.list_(_NUMBER),
                "Left, top, width and height of the box around the geometry, in pixels.",
            ),
            "geometry": (
                pa.list_(_NUMBER),
                "The coordinates of the geometry, as framelode stores them for its type.",
            ),
            "confidence": (_NUMBER, "Confidence of the annotation."),
            "sources": (
                pa.list_(_TEXT),
                "Names of the sources that the annotation refers to; empty for all.",
            ),
            "metadata": (_TEXT, "Metadata of the annotation, as JSON."),
        },
    ),
}
"""The tables of records: what each is, and its columns with their types and what they are."""

_KEYS = {"frames": ("id",), "sources": ("frame_id", "name"), "annotations": ("frame_id", "number")}


class CroissantExport(msgspec.Struct, frozen=True):
    """What was written.

    Attributes
    ----------
    path : str
        The description.
    frames, sources, annotations : int
        Numbers of records.
    files : int
        Number of files of the version that were written beside it.
    failures : list of CheckoutFailure
        Files that were not written, and why.
    missing : list of str
        Properties that Croissant requires and that are not known.
    """

    path: str
    frames: int
    sources: int
    annotations: int
    files: int
    failures: list[CheckoutFailure]
    missing: list[str]


class About(msgspec.Struct, frozen=True):
    """What the user says of a dataset; see `DatasetVersion.to_croissant`."""

    name: str | None = None
    description: str | None = None
    license: str | None = None
    citation: str | None = None
    url: str | None = None
    creators: Sequence[str] | None = None


@traced("export")
def write_croissant(
    session: Session, version: VersionRow, path: str | os.PathLike[str], about: About, *, files: bool
) -> CroissantExport:
    """Write the description of a version, its tables and its files; see `DatasetVersion.to_croissant`."""
    if version.state == DRAFT:
        raise UsageError(f"version {shorten(version.name)} is a draft, which can change: publish it first")
    with replacing(path) as (target, made):
        (made / _RECORDS).mkdir()
        description = _Description(session, version, about, has_files=files)
        counts = description.write_tables(made)
        checked_out = (
            check_out(session, version, made / _FILES, force=False, link=True, callback=None)
            if files
            else None
        )
        written = description.document(made)
        (made / DESCRIPTION).write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", "utf-8")
    required = ("name", "description", "license", "url", "creator", "datePublished")
    return CroissantExport(
        str(target / DESCRIPTION),
        counts["frames"],
        counts["sources"],
        counts["annotations"],
        checked_out.written if checked_out else 0,
        checked_out.failures if checked_out else [],
        [name for name in required if name not in written],
    )


class _Description:
    """The tables of a version and their description.

    Parameters
    ----------
    session : Session
        The engine.
    version : VersionRow
        A published version.
    about : About
        What the user says of it.
    has_files : bool
        Whether the files are written beside the description.
    """

    def __init__(self, session: Session, version: VersionRow, about: About, *, has_files: bool) -> None:
        self._session = session
        self._version = version
        self._about = about
        self._has_files = has_files
        self._dataset = find_dataset(session, dataset_id=version.dataset_id)
        self._url_of_version = (
            f"framelode://{Address(self._dataset.name, self._dataset.project, version.name)}"
        )
        self._names = relative_names(sources_of(session, version))
        self._splits: set[str] = set()
        self._uris: set[str | None] = set()
        self._is_shared = False

    def write_tables(self, folder: Path) -> dict[str, int]:
        """Write the records, and return how many there are in each table."""
        from pyarrow import parquet as pq

        counts = dict.fromkeys(_TABLES, 0)
        with ExitStack() as opened:
            schemas = {
                name: pa.schema([(column, kind) for column, (kind, _) in columns.items()])
                for name, (_, columns) in _TABLES.items()
            }
            writers = {
                name: opened.enter_context(
                    pq.ParquetWriter(folder / _table(name), schema, compression="zstd")
                )
                for name, schema in schemas.items()
            }
            for name, rows in self._pages():
                counts[name] += len(rows)
                writers[name].write_table(pa.Table.from_pylist(rows, schema=schemas[name]))
        return counts

    def _pages(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        held: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for frame in FrameReader(self._session, self._version).records():
            for name, rows in self._records_of(frame):
                held[name] += rows
                if len(held[name]) >= _ROWS:
                    yield name, held.pop(name)
        yield from held.items()

    def _records_of(self, frame: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        splits = splits_of(frame)
        self._splits.update(splits)
        context = frame.context_id
        # By default it is the URI, which may be a path of this machine.
        is_named = context not in {source.uri for source in frame.sources}
        yield (
            "frames",
            [
                {
                    "id": frame.id,
                    "context_id": context if is_named else None,
                    "split": splits[0] if splits else None,
                    "splits": splits,
                    "metadata": _json(frame.metadata),
                }
            ],
        )
        yield "sources", [self._source(frame.id, source) for source in frame.sources]
        yield "annotations", [_annotation(frame.id, *each) for each in enumerate(frame.annotations)]

    def _source(self, frame_id: str, source: Any) -> dict[str, Any]:
        self._is_shared |= source.uri in self._uris
        self._uris.add(source.uri)
        return {
            "frame_id": frame_id,
            "name": source.id,
            "path": self._path(source.uri) if self._has_files else None,
            "url": self._url(source.uri),
            "content_type": source.content_type,
            "width": source.width,
            "height": source.height,
            "timestamp": source.timestamp,
            "size": source.size,
            "hash": source.hash,
            "masks": [(self._path if self._has_files else self._url)(mask.uri) for mask in source.masks],
        }

    def _path(self, uri: str | None) -> str | None:
        return None if uri is None else f"{_FILES}/{self._names[uri]}"

    def _url(self, uri: str | None) -> str | None:
        return None if uri is None else f"{self._url_of_version}/{self._names[uri]}"

    def document(self, folder: Path) -> dict[str, Any]:
        """Return the description, when tables and files are in the folder."""
        sets = self._file_sets() if self._has_files else []
        tables = [_file_object(folder, name) for name in _TABLES]
        counts = self._session.version_counts(self._version.version_id)
        labels = [str(each["name"]) for each in Statistics.from_counts(counts).labels]
        enumerated = labels if 0 < len(labels) <= _ENUMERATED else []
        described: dict[str, Any] = {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": _CONFORMS_TO,
            **self._about_dataset(),
            "distribution": [*tables, *sets],
            "recordSet": [
                *([_splits(sorted(self._splits))] if self._splits else []),
                *([_labels(enumerated)] if enumerated else []),
                *(self._record_set(name, has_labels=bool(enumerated)) for name in _TABLES),
                *_images(sets, is_referring=not self._is_shared),
            ],
        }
        return described

    def _about_dataset(self) -> dict[str, Any]:
        version, dataset, about = self._version, self._dataset, self._about
        published = self._session.log.batch_at(version.published_position or 0)
        plain = f"Version {version.name} of the dataset {dataset.name} of the project {dataset.project}."
        creators = [published.actor] if about.creators is None else list(about.creators)
        known: dict[str, Any] = {
            "name": about.name or dataset.name,
            "description": about.description or version.description or dataset.description or plain,
            "license": about.license,
            "citeAs": about.citation,
            "url": about.url or self._url_of_version,
            "sameAs": f"framelode://id:{version.version_id}" if about.url else None,
            "creator": [{"@type": "sc:Person", "name": name} for name in creators],
            "version": version.name,
            "keywords": [*dict.fromkeys([*dataset.tags, *version.tags])],
            "dateCreated": _date(dataset.created_at),
            "dateModified": _date(version.updated_at),
            "datePublished": _date(published.recorded_at),
            "identifier": {
                "@type": "sc:PropertyValue",
                "propertyID": "framelode:fingerprint",
                "value": version.fingerprint,
            },
        }
        if version.parent_id is not None:
            known["prov:wasDerivedFrom"] = {"@id": f"framelode://id:{version.parent_id}"}
        return {name: value for name, value in known.items() if value}

    def _file_sets(self) -> list[dict[str, Any]]:
        """Return the sets of files of one media type, by the ends of their names."""
        by_type: dict[str, set[str]] = defaultdict(set)
        for name in self._names.values():
            kind = mimetypes.guess_type(name)[0]
            suffix = PurePosixPath(name).suffix if kind else ""
            escaped = glob.escape(suffix or f"{_FILES}/{name}")
            patterns = (f"{_FILES}/*{escaped}", f"{_FILES}/**/*{escaped}") if suffix else (escaped,)
            by_type[kind or _OTHER_TYPE].update(patterns)
        return [
            {
                "@type": "cr:FileSet",
                "@id": f"{_FILES}-{kind.replace('/', '-')}",
                "name": f"{_FILES}-{kind.replace('/', '-')}",
                "description": f"The files of the media type {kind}.",
                "encodingFormat": kind,
                "includes": sorted(patterns),
            }
            for kind, patterns in sorted(by_type.items())
        ]

    def _record_set(self, name: str, *, has_labels: bool) -> dict[str, Any]:
        said, columns = _TABLES[name]
        fields = {column: _field(name, column, *of) for column, of in columns.items()}
        if name != "frames":
            fields["frame_id"]["references"] = {"field": {"@id": "frames/id"}}
        elif self._splits:
            fields["split"]["references"] = {"field": {"@id": "splits/name"}}
        if name == "annotations":
            fields["label"]["dataType"] = fields["labels"]["dataType"] = ["sc:Text", "cr:Label"]
            fields["box"] |= {"dataType": ["sc:Float", "cr:BoundingBox"], "arrayShape": "4"}
            fields["box"]["source"]["format"] = "XYWH"
            if has_labels:
                fields["label"]["references"] = {"field": {"@id": "labels/name"}}
        return {
            "@type": "cr:RecordSet",
            "@id": name,
            "name": name,
            "description": said,
            "key": [{"@id": f"{name}/{column}"} for column in _KEYS[name]],
            "field": list(fields.values()),
        }


def _table(name: str) -> str:
    return f"{_RECORDS}/{name}.parquet"


def _annotation(frame_id: str, number: int, annotation: Any) -> dict[str, Any]:
    wire = annotation.to_dict()
    labels = annotation.labels
    return {
        "frame_id": frame_id,
        "number": number,
        "id": wire.get("id"),
        "type": wire["type"],
        "label": labels[0] if labels else None,
        "labels": list(labels),
        "box": annotation.get_bounding_box() if "poly" in wire else None,
        "geometry": wire.get("poly"),
        "confidence": wire.get("confidence"),
        "sources": wire.get("sources", []),
        "metadata": _json(annotation.metadata),
    }


def _json(values: Mapping[str, Any]) -> str | None:
    return json.dumps(values, ensure_ascii=False, sort_keys=True) if values else None


def _date(microseconds: int) -> str:
    return utc(microseconds).isoformat(timespec="seconds")


def _file_object(folder: Path, name: str) -> dict[str, Any]:
    path = _table(name)
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": f"{name}-table",
        "name": f"{name}.parquet",
        "contentUrl": path,
        "contentSize": f"{(folder / path).stat().st_size} B",
        "encodingFormat": _PARQUET,
        "sha256": digest,
    }


def _field(table: str, column: str, kind: pa.DataType, said: str) -> dict[str, Any]:
    is_list = pa.types.is_list(kind)
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{table}/{column}",
        "name": column,
        "description": said,
        "dataType": _KINDS[kind.value_type if is_list else kind],
        "source": {"fileObject": {"@id": f"{table}-table"}, "extract": {"column": column}},
    }
    return field | {"isArray": True, "arrayShape": "-1"} if is_list else field


def _enumeration(
    name: str, kind: str, columns: Mapping[str, str], rows: Iterable[Sequence[str]]
) -> dict[str, Any]:
    """Return a record set whose records are in the description itself."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "dataType": kind,
        "key": {"@id": f"{name}/name"},
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/{column}", "name": column, "dataType": of}
            for column, of in columns.items()
        ],
        "data": [
            {f"{name}/{column}": value for column, value in zip(columns, row, strict=True)} for row in rows
        ],
    }


def _labels(labels: Sequence[str]) -> dict[str, Any]:
    return _enumeration("labels", "sc:Enumeration", {"name": "sc:Text"}, ([label] for label in labels))


def _splits(names: Sequence[str]) -> dict[str, Any]:
    known = all(name.lower() in _SPLIT_URLS for name in names)
    columns = {"name": "sc:Text"} | ({"url": "sc:URL"} if known else {})
    rows = ([name, _SPLIT_URLS[name.lower()]] if known else [name] for name in names)
    return _enumeration("splits", "cr:Split", columns, rows)


def _images(sets: Iterable[dict[str, Any]], *, is_referring: bool) -> Iterator[dict[str, Any]]:
    """Yield a record set for each set of images. They refer to their sources by path, unless several sources share a file."""
    for each in sets:
        if not each["encodingFormat"].startswith("image/"):
            continue
        name = f"images-{each['encodingFormat'].removeprefix('image/')}"

        def field(
            column: str, kind: str, said: str, what: str, name: str = name, each: Any = each
        ) -> dict[str, Any]:
            return {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "description": said,
                "dataType": kind,
                "source": {"fileSet": {"@id": each["@id"]}, "extract": {"fileProperty": what}},
            }

        path = field("path", "sc:Text", "Path of the file.", "fullpath")
        if is_referring:
            path["references"] = {"field": {"@id": "sources/path"}}
        yield {
            "@type": "cr:RecordSet",
            "@id": name,
            "name": name,
            "description": f"The images of the media type {each['encodingFormat']}.",
            "key": {"@id": f"{name}/path"},
            "field": [path, field("image", "sc:ImageObject", "The image.", "content")],
        }


def checked_about(
    name: str | None,
    description: str | None,
    license: str | None,  # noqa: A002 - the name of the property
    citation: str | None,
    url: str | None,
    creators: str | Iterable[str] | None,
) -> About:
    """Return what a user says of a dataset. Raises `InvalidValueError` if a value is not text."""
    given = {"name": name, "description": description, "license": license, "citation": citation, "url": url}
    for key, value in given.items():
        if value is not None:
            text(value, key)
    if url is not None:
        refuse_secret(url, "url", "give the public web page of the dataset")
    people = [creators] if isinstance(creators, str) else creators
    return About(**given, creators=None if people is None else [text(each, "creators") for each in people])
