"""The specs and locks of datasets, as they are stored in the files."""

from __future__ import annotations

import dataclasses
import math
import operator
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, ClassVar, Literal, Self, TypeVar

import attrs
from attrs import field, frozen

from ...engine.errors import InvalidTypeError, InvalidValueError, NotFoundError
from ...engine.validation import shorten

Record = TypeVar("Record", bound=type)


class DatasetNotFoundError(NotFoundError):
    """The project has no such dataset.

    Attributes
    ----------
    name : str
        Name of the dataset.
    """

    def __init__(self, name: str) -> None:
        super().__init__("dataset not found")
        self.name = name

    def __reduce__(self) -> tuple[type[DatasetNotFoundError], tuple[str]]:
        return type(self), (self.name,)


TYPES = ("dvc", "dc", "url")

_INTEGERS = {"size", "nfiles"}

_FLAGS = {"isdir", "isexec"}

_LARGEST = 2**63 - 1

_THREE_NUMBERS = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}")


def replaceable(made: Record) -> Record:
    """Let `dataclasses.fields`, `asdict` and `replace` accept an attrs class, too."""
    described = [
        (each.alias or each.name, Any, dataclasses.field(kw_only=True)) for each in attrs.fields(made)
    ]
    made.__dataclass_fields__ = dataclasses.make_dataclass(made.__name__, described).__dataclass_fields__  # type: ignore[attr-defined]
    return made


class SerDe:
    """Conversion from and to plain values."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, without defaults."""
        plain: dict[str, Any] = {}
        for each in attrs.fields(type(self)):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if value != each.default:
                plain[each.name] = value.isoformat() if isinstance(value, datetime) else value
        return plain

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Read the fields. Unknown fields are ignored.

        Raises
        ------
        InvalidValueError
            A field is missing or has the wrong type.
        """
        _check_mapping(d, cls.__name__)
        fields: tuple[Any, ...] = attrs.fields(cls)  # type: ignore[arg-type]
        for each in fields:
            if each.default is attrs.NOTHING and d.get(each.name) is None:
                raise InvalidValueError(f"{each.name} is missing")
        return cls(**{each.name: d[each.name] for each in fields if each.name in d})


def _meta_value(name: str, value: Any) -> Any:
    if value is None:
        return False if name in _FLAGS else None
    if name in _FLAGS:
        is_right, what = isinstance(value, bool), "true or false"
    elif name in _INTEGERS:
        is_right, what = _is_number(value, int) and 0 <= value <= _LARGEST, "an integer of at least 0"
    elif name == "mtime":
        is_right, what = _is_number(value, int, float) and math.isfinite(value), "a number of seconds"
        value = float(value) if is_right else value
    else:
        # A generation in Google Cloud Storage is a number.
        value = str(value) if _is_number(value, int) else value
        is_right, what = isinstance(value, str), "text"
    if not is_right:
        raise InvalidValueError(f"meta: {name} must be {what}, not {shorten(value)}")
    return value


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _checked(value: Any, item: attrs.Attribute[Any]) -> Any:
    # Most fields of the many files of a folder are not set.
    return value if value is item.default else _meta_value(item.name, value)


_part: Any = attrs.Converter(_checked, takes_field=True)


@replaceable
@frozen(kw_only=True)
class Meta(SerDe):
    """Metadata that identifies the content of a file or folder, as far as its store provides it.

    Attributes
    ----------
    isdir : bool
        Whether it is a folder.
    size : int or None
        Total size in bytes.
    nfiles : int or None
        Number of files in a folder.
    isexec : bool
        Whether the file is executable.
    version_id, etag, checksum : str or None
        Identifiers that the store gives the content. `checksum` is that of web servers.
    md5 : str or None
        Digest of the content, if the store has no identifier.
    mtime : float or None
        Modification time in seconds. DVC writes it for local files.
    """

    isdir: bool = field(default=False, converter=_part)
    size: int | None = field(default=None, converter=_part)
    nfiles: int | None = field(default=None, converter=_part)
    isexec: bool = field(default=False, converter=_part)
    version_id: str | None = field(default=None, converter=_part)
    etag: str | None = field(default=None, converter=_part)
    checksum: str | None = field(default=None, converter=_part)
    md5: str | None = field(default=None, converter=_part)
    mtime: float | None = field(default=None, converter=_part)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set."""
        fields = zip(META_FIELDS, _meta_values(self), strict=True)
        return {name: value for name, value in fields if value is not None and value is not False}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Read the fields. Unknown fields are ignored.

        Raises
        ------
        InvalidValueError
            A field has the wrong type.
        """
        _check_mapping(d, "meta")
        return cls(**{name: value for name, value in d.items() if name in META_FIELDS})


META_FIELDS = tuple(each.name for each in attrs.fields(Meta))
_meta_values = operator.attrgetter(*META_FIELDS)


def _meta_of(value: Any) -> Meta:
    """Return a `Meta`, also of a mapping or of the class that DVC has for it."""
    if isinstance(value, Meta):
        return value
    return Meta.from_dict(attrs.asdict(value) if attrs.has(type(value)) else value)


def _text(instance: Any, item: attrs.Attribute[str], value: Any) -> None:  # noqa: ARG001 - what a validator takes
    if not isinstance(value, str):
        raise InvalidValueError(f"{item.name} must be a string, not {shorten(value)}")


def _optional_text(instance: Any, item: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        _text(instance, item, value)


@replaceable
@frozen(kw_only=True, order=True)
class FileInfo(SerDe):
    """A file of a folder: its relative path, and its metadata."""

    relpath: str = field(validator=_text)
    meta: Meta = field(converter=_meta_of, order=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the file as plain values."""
        return {"relpath": self.relpath, "meta": self.meta.to_dict()}


def _check_type(instance: Any, item: attrs.Attribute[Any], value: Any) -> None:  # noqa: ARG001
    if not isinstance(value, str) or value not in instance.families:
        raise InvalidValueError(f"type must be {' or '.join(instance.families)}, not {shorten(value)}")


@replaceable
@frozen(kw_only=True, order=True)
class DatasetSpec(SerDe):
    """The spec of a dataset.

    Attributes
    ----------
    name : str
        Name of the dataset in the project.
    url : str
        Source of the dataset.
    type : {"dvc", "dc", "url"}
        Type of the dataset.
    """

    name: str = field(validator=_text)
    url: str = field(validator=_text)
    type: Literal["dvc", "dc", "url"] = field(validator=_check_type)

    families: ClassVar[tuple[str, ...]] = TYPES


def _or_empty(value: Any) -> Any:
    return "" if value is None else value


@replaceable
@frozen(kw_only=True, order=True)
class DVCDatasetSpec(DatasetSpec):
    """The spec of a dataset in a git repository.

    Attributes
    ----------
    path : str
        Path in the repository; empty for the whole repository.
    rev : str or None
        Branch, tag or commit; None for the default branch.
    """

    path: str = field(default="", converter=_or_empty, validator=_text)
    rev: str | None = field(default=None, validator=_optional_text, order=_or_empty)

    families: ClassVar[tuple[str, ...]] = ("dvc",)


@replaceable
@frozen(kw_only=True, order=True)
class DVCDatasetLock(DVCDatasetSpec):
    """A dataset in a git repository, locked to a commit.

    Attributes
    ----------
    rev_lock : str
        The full hash of the commit.
    """

    rev_lock: str = field(validator=_text)

    def to_spec(self) -> DVCDatasetSpec:
        """Return the spec that was locked."""
        return DVCDatasetSpec(name=self.name, url=self.url, type="dvc", path=self.path, rev=self.rev)


def check_version(version: Any) -> int | str:
    """Return a version of a catalog dataset.

    Raises
    ------
    InvalidTypeError
        It is neither an integer nor ``major.minor.patch``. This is also a `TypeError`.
    InvalidValueError
        It is less than 1. This is also a `ValueError`.
    """
    if isinstance(version, str) and _THREE_NUMBERS.fullmatch(version):
        return version
    if isinstance(version, bool) or not isinstance(version, int):
        raise InvalidTypeError(f"version must be an integer or major.minor.patch, not {shorten(version)}")
    if not 0 < version <= _LARGEST:
        raise InvalidValueError(f"version must be at least 1, not {shorten(version)}")
    return version


def version_order(version: int | str) -> tuple[int, ...]:
    """Return the numbers of a version, to compare it with others."""
    return (version,) if isinstance(version, int) else tuple(map(int, version.split(".")))


def _time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str | date):
        raise InvalidValueError(f"created_at must be a time, not {shorten(value)}")
    try:
        return datetime.fromisoformat(value if isinstance(value, str) else value.isoformat())
    except ValueError as error:
        raise InvalidValueError(f"created_at must be a time in ISO 8601, not {shorten(value)}") from error


@replaceable
@frozen(kw_only=True, order=True)
class DatachainDatasetLock(DatasetSpec):
    """A catalog dataset, locked to a version.

    Attributes
    ----------
    version : int or str
        The version: an integer, starting at 1, or ``major.minor.patch``.
    created_at : datetime
        When the version was created.
    """

    version: int | str = field(converter=check_version, order=version_order)
    created_at: datetime = field(converter=_time)

    families: ClassVar[tuple[str, ...]] = ("dc",)

    def to_spec(self) -> DatasetSpec:
        """Return the spec that was locked."""
        return DatasetSpec(name=self.name, url=self.url, type=self.type)


def _files_of(value: Any) -> list[FileInfo]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidValueError(f"files must be a list, not {shorten(value)}")
    files = (each if isinstance(each, FileInfo) else FileInfo.from_dict(each) for each in value)
    return sorted(files, key=lambda file: file.relpath)


@replaceable
@frozen(kw_only=True, order=True)
class URLDatasetLock(DatasetSpec):
    """A file or folder, locked to its content.

    Attributes
    ----------
    meta : Meta
        Metadata of the file, or of the whole folder.
    files : list of FileInfo
        Files of a folder, sorted by path.
    """

    meta: Meta = field(converter=_meta_of, order=False)
    files: list[FileInfo] = field(factory=list, converter=_files_of)

    families: ClassVar[tuple[str, ...]] = ("url",)

    def to_spec(self) -> DatasetSpec:
        """Return the spec that was locked."""
        return DatasetSpec(name=self.name, url=self.url, type=self.type)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, without defaults."""
        plain: dict[str, Any] = {"name": self.name, "url": self.url, "type": self.type}
        plain["meta"] = self.meta.to_dict()
        return plain | ({"files": [file.to_dict() for file in self.files]} if self.files else {})


Spec = DatasetSpec | DVCDatasetSpec

Lock = DVCDatasetLock | DatachainDatasetLock | URLDatasetLock

_LOCKS: dict[str, type[Lock]] = {
    "dvc": DVCDatasetLock,
    "dc": DatachainDatasetLock,
    "url": URLDatasetLock,
}


def spec_of(d: Mapping[str, Any]) -> Spec:
    """Return the spec of a manifest entry."""
    kind = d.get("type")
    if not kind:
        raise InvalidValueError("type is missing: it must be dvc, dc or url")
    if kind not in TYPES:
        raise InvalidValueError(f"type must be dvc, dc or url, not {shorten(kind)}")
    return DVCDatasetSpec.from_dict(d) if kind == "dvc" else DatasetSpec.from_dict(d)


def lock_of(d: Mapping[str, Any] | None) -> Lock | None:
    """Return the lock of a lock file entry, or None if there is none or its type is unknown."""
    kind = _LOCKS.get(str(d.get("type"))) if d else None
    return kind.from_dict(d) if kind is not None and d is not None else None


def _check_mapping(d: object, what: str) -> None:
    if not isinstance(d, Mapping):
        raise InvalidValueError(f"{what} must be a mapping, not {shorten(d)}")
