"""The three dataset types, each with its spec and its lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import attrs
from attrs import field, frozen

from ...engine.errors import InvalidTypeError, InvalidValueError
from ...engine.validation import refuse_secret, shorten
from .catalog_source import find_version, name_and_version
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
    replaceable,
    spec_of,
)
from .resolver import ResolveContext, reach_of
from .url_source import read_url

_WAY_OUT = (
    "leave it out, and use a credential helper of git, an SSH key, or the environment or profile of the store"
)

OPTIONS = {"dvc": ("path", "rev"), "dc": ("version", "record"), "url": ()}
"""Options of each type, besides name and URL."""


class _Family:
    __slots__ = ()

    _invalidated: bool

    @property
    def invalidated(self) -> bool:
        """Whether there was a lock, which belongs to another spec."""
        return self._invalidated


def _is(*kinds: type) -> Any:
    def check(instance: Any, item: attrs.Attribute[Any], value: Any) -> None:  # noqa: ARG001 - what a validator takes
        if not isinstance(value, kinds):
            raise InvalidTypeError(f"{item.name} must be a {kinds[0].__name__}, not {shorten(value)}")

    return check


@replaceable
@frozen(kw_only=True)
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

    manifest_path: str
    spec: DVCDatasetSpec = field(validator=_is(DVCDatasetSpec))
    lock: DVCDatasetLock | None = field(default=None, validator=_is(DVCDatasetLock, type(None)))
    _invalidated: bool = field(default=False, converter=bool, eq=False, repr=False)

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
        spec = DVCDatasetSpec.from_dict({**self.spec.to_dict(), "rev": rev}) if rev else self.spec
        commit = resolve_commit(spec.url, spec.rev, spec.path, reach.root, reach.timeout)
        return attrs.evolve(
            self, spec=spec, lock=DVCDatasetLock.from_dict({**spec.to_dict(), "rev_lock": commit})
        )


@replaceable
@frozen(kw_only=True)
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

    manifest_path: str
    spec: DatasetSpec = field(validator=_is(DatasetSpec))
    lock: DatachainDatasetLock | None = field(default=None, validator=_is(DatachainDatasetLock, type(None)))
    _invalidated: bool = field(default=False, converter=bool, eq=False, repr=False)

    type: ClassVar[Literal["dc"]] = "dc"

    @property
    def pinned(self) -> bool:
        """Whether the URL selects a version."""
        return self.name_version[1] is not None

    @property
    def name_version(self) -> tuple[str, int | str | None]:
        """Name and version in the URL; the version is None if the URL has none."""
        return name_and_version(self.spec.url)

    def update(self, repo: Any, record: Any = None, version: int | str | None = None, **kwargs: Any) -> Self:
        """Return the dataset locked to a version, by default the latest.

        Parameters
        ----------
        repo : Datasets, path or object with a root_dir
            The project. Only its folder is used, unless it is a `Datasets`.
        record : object, optional
            The dataset object of the catalog, used instead of the catalog.
        version : int or str, optional
            The version: an integer, starting at 1, or ``major.minor.patch``.

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
        found = find_version(self.spec.url, record, version, reach)
        lock = DatachainDatasetLock(
            name=self.spec.name,
            url=self.spec.url,
            type="dc",
            version=found.version,
            created_at=found.created_at,
        )
        return attrs.evolve(self, lock=lock)


@replaceable
@frozen(kw_only=True)
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

    manifest_path: str
    spec: DatasetSpec = field(validator=_is(DatasetSpec))
    lock: URLDatasetLock | None = field(default=None, validator=_is(URLDatasetLock, type(None)))
    _invalidated: bool = field(default=False, converter=bool, eq=False, repr=False)

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
        return attrs.evolve(self, lock=lock)


Dataset = DVCDataset | DatachainDataset | URLDataset


def build_dataset(
    manifest_path: str, spec_data: Mapping[str, Any], lock_data: Mapping[str, Any] | Lock | None = None
) -> Dataset:
    """Return the dataset of a manifest entry and a lock entry. A lock with a different spec is ignored."""
    spec = spec_of(spec_data)
    lock = lock_of(lock_data) if isinstance(lock_data, Mapping) else lock_data
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
