"""The specs and locks of datasets, as they are stored in the files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, ClassVar, Literal, Self

import msgspec

from ...engine.errors import InvalidValueError, NotFoundError
from ...engine.validation import shorten


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


class Meta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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

    isdir: bool = False
    size: int | None = None
    nfiles: int | None = None
    isexec: bool = False
    version_id: str | None = None
    etag: str | None = None
    checksum: str | None = None
    md5: str | None = None
    mtime: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in fields.items() if value is not None and value is not False}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Read the fields. Unknown fields are ignored.

        Raises
        ------
        InvalidValueError
            A field has the wrong type.
        """
        _check_mapping(d, "meta")
        return cls(**{name: _meta_value(name, d[name]) for name in cls.__struct_fields__ if name in d})


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


class FileInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file of a folder: its relative path, and its metadata."""

    relpath: str
    meta: Meta

    def to_dict(self) -> dict[str, Any]:
        """Return the file as plain values."""
        return {"relpath": self.relpath, "meta": self.meta.to_dict()}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Read a file. Raises `InvalidValueError` if a field is missing or has the wrong type."""
        _check_mapping(d, "a file")
        return cls(relpath=_text(d, "relpath"), meta=Meta.from_dict(_required(d, "meta")))


class DatasetSpec(msgspec.Struct, frozen=True, kw_only=True):
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

    name: str
    url: str
    type: Literal["dvc", "dc", "url"]

    families: ClassVar[tuple[str, ...]] = TYPES

    def __post_init__(self) -> None:
        for field in ("name", "url"):
            if not isinstance(getattr(self, field), str):
                raise InvalidValueError(f"{field} must be a string, not {shorten(getattr(self, field))}")
        if self.type not in self.families:
            raise InvalidValueError(f"type must be {' or '.join(self.families)}, not {shorten(self.type)}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, without defaults."""
        return _without_defaults(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Read the fields. Unknown fields are ignored.

        Raises
        ------
        InvalidValueError
            A field is missing or has the wrong type.
        """
        _check_mapping(d, cls.__name__)
        for name in ("name", "url", "type"):
            _required(d, name)
        return cls(**{name: d[name] for name in cls.__struct_fields__ if name in d})


class DVCDatasetSpec(DatasetSpec, frozen=True, kw_only=True):
    """The spec of a dataset in a git repository.

    Attributes
    ----------
    path : str
        Path in the repository; empty for the whole repository.
    rev : str or None
        Branch, tag or commit; None for the default branch.
    """

    path: str = ""
    rev: str | None = None

    families: ClassVar[tuple[str, ...]] = ("dvc",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is None:
            msgspec.structs.force_setattr(self, "path", "")
        for field in ("path", "rev"):
            value = getattr(self, field)
            if not isinstance(value, str) and not (field == "rev" and value is None):
                raise InvalidValueError(f"{field} must be a string, not {shorten(value)}")


class DVCDatasetLock(DVCDatasetSpec, frozen=True, kw_only=True):
    """A dataset in a git repository, locked to a commit.

    Attributes
    ----------
    rev_lock : str
        The full hash of the commit.
    """

    rev_lock: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rev_lock, str):
            raise InvalidValueError(f"rev_lock must be a string, not {shorten(self.rev_lock)}")

    def to_spec(self) -> DVCDatasetSpec:
        """Return the spec that was locked."""
        return DVCDatasetSpec(name=self.name, url=self.url, type=self.type, path=self.path, rev=self.rev)  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Read the fields. Raises `InvalidValueError` if one is missing or has the wrong type."""
        _required(d, "rev_lock")
        return super().from_dict(d)


class DatachainDatasetLock(DatasetSpec, frozen=True, kw_only=True):
    """A catalog dataset, locked to a version.

    Attributes
    ----------
    version : int
        The version, starting at 1.
    created_at : datetime
        When the version was created.
    """

    version: int
    created_at: datetime

    families: ClassVar[tuple[str, ...]] = ("dc",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _is_number(self.version, int) or not 0 < self.version <= _LARGEST:
            raise InvalidValueError(f"version must be an integer of at least 1, not {shorten(self.version)}")
        if isinstance(self.created_at, str | date):
            msgspec.structs.force_setattr(self, "created_at", _time(self.created_at))
        if not isinstance(self.created_at, datetime):
            raise InvalidValueError(f"created_at must be a time, not {shorten(self.created_at)}")

    def to_spec(self) -> DatasetSpec:
        """Return the spec that was locked."""
        return DatasetSpec(name=self.name, url=self.url, type=self.type)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Read the fields. Raises `InvalidValueError` if one is missing or has the wrong type."""
        for name in ("version", "created_at"):
            _required(d, name)
        return super().from_dict(d)


class URLDatasetLock(DatasetSpec, frozen=True, kw_only=True):
    """A file or folder, locked to its content.

    Attributes
    ----------
    meta : Meta
        Metadata of the file, or of the whole folder.
    files : list of FileInfo
        Files of a folder, sorted by path.
    """

    meta: Meta
    files: list[FileInfo] = []

    families: ClassVar[tuple[str, ...]] = ("url",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.meta, dict):
            msgspec.structs.force_setattr(self, "meta", Meta.from_dict(self.meta))
        if not isinstance(self.meta, Meta) or not isinstance(self.files, list):
            raise InvalidValueError("meta must be a Meta, and files a list of FileInfo")
        made = [each if isinstance(each, FileInfo) else FileInfo.from_dict(each) for each in self.files]
        msgspec.structs.force_setattr(self, "files", sorted(made, key=_relpath))

    def to_spec(self) -> DatasetSpec:
        """Return the spec that was locked."""
        return DatasetSpec(name=self.name, url=self.url, type=self.type)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, without defaults."""
        plain: dict[str, Any] = {"name": self.name, "url": self.url, "type": self.type}
        plain["meta"] = self.meta.to_dict()
        return plain | ({"files": [file.to_dict() for file in self.files]} if self.files else {})

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Read the fields. Raises `InvalidValueError` if one is missing or has the wrong type."""
        meta = Meta.from_dict(_required(d, "meta"))
        files = d.get("files") or []
        if not isinstance(files, list):
            raise InvalidValueError(f"files must be a list, not {shorten(files)}")
        return super().from_dict({**d, "meta": meta, "files": files})


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


def _relpath(file: FileInfo) -> str:
    return file.relpath


def _without_defaults(struct: msgspec.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if value != field.default:
            plain[field.name] = value.isoformat() if isinstance(value, datetime) else value
    return plain


def _time(value: str | date) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value if isinstance(value, str) else value.isoformat())
    except ValueError as error:
        raise InvalidValueError(f"created_at must be a time in ISO 8601, not {shorten(value)}") from error


def _check_mapping(d: object, what: str) -> None:
    if not isinstance(d, Mapping):
        raise InvalidValueError(f"{what} must be a mapping, not {shorten(d)}")


def _required(d: Mapping[str, Any], name: str) -> Any:
    _check_mapping(d, "an entry")
    if d.get(name) is None:
        raise InvalidValueError(f"{name} is missing")
    return d[name]


def _text(d: Mapping[str, Any], name: str) -> str:
    value = _required(d, name)
    if not isinstance(value, str):
        raise InvalidValueError(f"{name} must be a string, not {shorten(value)}")
    return value
