"""The three dataset types, each with its spec and its lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

from ...engine.errors import InvalidValueError
from ...engine.validation import refuse_secret
from .catalog_source import check_version, find_version, name_and_version
from .comparison import is_same, rests_on_times, without_times
from .git_source import resolve_commit
from .records import (
    DatachainDatasetLock,
    DatasetSpec,
    DVCDatasetLock,
    DVCDatasetSpec,
    Lock,
    Spec,
    URLDatasetLock,
    lock_of,
    spec_of,
)
from .resolver import ResolveContext, reach_of
from .url_source import read_url

_WAY_OUT = (
    "leave it out, and use a credential helper of git, an SSH key, or the environment or profile of the store"
)

OPTIONS = {"dvc": ("path", "rev"), "dc": ("version", "record"), "url": ()}
"""Options of each type, besides name and URL."""


@dataclass(frozen=True, kw_only=True)
class _Family:
    manifest_path: str
    _invalidated: bool = field(default=False, init=False, repr=False, compare=False)
    invalidated: InitVar[bool] = False

    def __post_init__(self, invalidated: bool) -> None:
        object.__setattr__(self, "_invalidated", bool(invalidated))


@dataclass(frozen=True, kw_only=True)
class DVCDataset(_Family):
    """A dataset in a git repository.

    Attributes
    ----------
    manifest_path : str
        Path of the `dvc.yaml` with its entry.
    spec : DVCDatasetSpec
        The entry in the manifest.
    lock : DVCDatasetLock or None
        The locked commit, if any.
    """

    spec: DVCDatasetSpec
    lock: DVCDatasetLock | None = None

    type: ClassVar[Literal["dvc"]] = "dvc"

    def update(self, repo: Any, rev: str | None = None, **kwargs: Any) -> Self:
        """Return the dataset locked to the current commit of its revision.

        Parameters
        ----------
        repo : Datasets, path or object with a root_dir
            The project. Only its folder is used, unless it is a `Datasets`.
        rev : str, optional
            Use another branch, tag or commit from now on.

        Raises
        ------
        InvalidValueError
            An option is not valid for this type.
        NotFoundError
            There is no such repository, revision or path.
        StorageError
            The repository cannot be read, or does not answer in time.
        """
        reach = _reach(repo, self.spec, kwargs)
        spec = _with_rev(self.spec, rev) if rev else self.spec
        commit = resolve_commit(spec.url, spec.rev, spec.path, reach.root, reach.timeout)
        return replace(self, spec=spec, lock=DVCDatasetLock.from_dict({**spec.to_dict(), "rev_lock": commit}))


@dataclass(frozen=True, kw_only=True)
class DatachainDataset(_Family):
    """A dataset in a catalog of DataChain or framelode.

    Attributes
    ----------
    manifest_path : str
        Path of the `dvc.yaml` with its entry.
    spec : DatasetSpec
        The entry in the manifest.
    lock : DatachainDatasetLock or None
        The locked version, if any.
    """

    spec: DatasetSpec
    lock: DatachainDatasetLock | None = None

    type: ClassVar[Literal["dc"]] = "dc"

    @property
    def pinned(self) -> bool:
        """Whether the URL selects a version."""
        return self.name_version[1] is not None

    @property
    def name_version(self) -> tuple[str, int | None]:
        """Name and version in the URL; the version is None if the URL has none."""
        return name_and_version(self.spec.url)

    def update(self, repo: Any, record: Any = None, version: int | None = None, **kwargs: Any) -> Self:
        """Return the dataset locked to a version, by default the latest.

        Parameters
        ----------
        repo : Datasets, path or object with a root_dir
            The project. Only its folder is used, unless it is a `Datasets`.
        record : object, optional
            The dataset object of the catalog, used instead of the catalog.
        version : int, optional
            The version, starting at 1.

        Raises
        ------
        InvalidValueError, InvalidTypeError
            An option is not valid for this type.
        NotFoundError
            There is no such dataset or version.
        StorageError
            The catalog cannot be read.
        """
        reach = _reach(repo, self.spec, kwargs)
        found = find_version(self.spec.url, record, check_version(version), reach)
        lock = DatachainDatasetLock(
            name=self.spec.name,
            url=self.spec.url,
            type="dc",
            version=found.version,
            created_at=found.created_at,
        )
        return replace(self, lock=lock)


@dataclass(frozen=True, kw_only=True)
class URLDataset(_Family):
    """A file or folder at a URL.

    Attributes
    ----------
    manifest_path : str
        Path of the `dvc.yaml` with its entry.
    spec : DatasetSpec
        The entry in the manifest.
    lock : URLDatasetLock or None
        The locked content, if any.
    """

    spec: DatasetSpec
    lock: URLDatasetLock | None = None

    type: ClassVar[Literal["url"]] = "url"

    def update(self, repo: Any, **kwargs: Any) -> Self:
        """Return the dataset locked to the current content of its URL.

        Parameters
        ----------
        repo : Datasets, path or object with a root_dir
            The project. Only its folder is used, unless it is a `Datasets`.

        Raises
        ------
        InvalidValueError
            An option is not valid for this type.
        NotFoundError
            There is nothing at the URL.
        StorageError
            The URL cannot be read, or does not answer in time.
        """
        reach = _reach(repo, self.spec, kwargs)
        held = self.lock
        times = held is not None and rests_on_times(held)
        meta, files = read_url(self.spec.url, reach, times=times)
        if held is not None and is_same(held, meta, files):
            return self
        if times:
            meta, files = without_times(meta, files)
        lock = URLDatasetLock(name=self.spec.name, url=self.spec.url, type="url", meta=meta, files=files)
        return replace(self, lock=lock)


Dataset = DVCDataset | DatachainDataset | URLDataset


def build_dataset(
    manifest_path: str, spec_data: Mapping[str, Any], lock_data: Mapping[str, Any] | Lock | None = None
) -> Dataset:
    """Return the dataset of a manifest entry and a lock entry. A lock with a different spec is ignored."""
    spec = spec_of(spec_data)
    lock = lock_data if lock_data is None or not isinstance(lock_data, Mapping) else lock_of(lock_data)
    invalidated = lock is not None and lock.to_spec() != spec
    return assemble(manifest_path, spec, None if invalidated else lock, invalidated=invalidated)


def assemble(manifest_path: str, spec: Spec, lock: Lock | None, *, invalidated: bool = False) -> Dataset:
    """Return the dataset of a spec and its lock."""
    kind: Any = {"dvc": DVCDataset, "dc": DatachainDataset, "url": URLDataset}[spec.type]
    return kind(manifest_path=manifest_path, spec=spec, lock=lock, invalidated=invalidated)


def check_options(kind: str, given: Mapping[str, Any], allowed: tuple[str, ...]) -> dict[str, Any]:
    """Return the options that are not None. Raises `InvalidValueError` for an option that the type does not have."""
    known = {name for names in OPTIONS.values() for name in names}
    for name, value in given.items():
        if name in allowed or (name in known and value is None):
            continue
        takes = ", ".join(allowed) or "nothing more"
        raise InvalidValueError(
            f"a dataset of the type {kind} has no option {name!r} here: its options are {takes}"
        )
    return {name: value for name, value in given.items() if value is not None}


def refuse_secret_of(spec: Spec) -> None:
    """Raise `InvalidValueError` if a URL has a secret, because it would be written to files that are committed."""
    refuse_secret(spec.url, "url", _WAY_OUT)


def _reach(repo: Any, spec: Spec, kwargs: dict[str, Any]) -> ResolveContext:
    callback = kwargs.pop("callback", None)
    check_options(spec.type, kwargs, ())
    refuse_secret_of(spec)
    return reach_of(repo, callback)


def _with_rev(spec: DVCDatasetSpec, rev: str) -> DVCDatasetSpec:
    return DVCDatasetSpec.from_dict({**spec.to_dict(), "rev": rev})
