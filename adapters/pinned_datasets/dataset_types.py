"""The three families of datasets: a spec, and the lock that it resolves to."""

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

_WAY_OUT = "leave it out, and give it by a credential helper of git or an SSH key, or by the environment or profile of the store"

OPTIONS = {"dvc": ("path", "rev"), "dc": ("version", "record"), "url": ()}
"""What can be given of each type, beside name and URL."""


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
        The `dvc.yaml` that names it.
    spec : DVCDatasetSpec
        What it is asked to be.
    lock : DVCDatasetLock or None
        What it is pinned to.
    """

    spec: DVCDatasetSpec
    lock: DVCDatasetLock | None = None

    type: ClassVar[Literal["dvc"]] = "dvc"

    def update(self, repo: Any, rev: str | None = None, **kwargs: Any) -> Self:
        """Return the dataset locked to the commit that its revision is now.

        Parameters
        ----------
        repo : Datasets, path or object with a root_dir
            The project.
        rev : str, optional
            Another branch, tag or commit from now on.
        """
        reach = _reach(repo, self.spec, kwargs)
        spec = _with_rev(self.spec, rev) if rev else self.spec
        commit = resolve_commit(spec.url, spec.rev, spec.path, reach.root, reach.timeout)
        return replace(self, spec=spec, lock=DVCDatasetLock.from_dict({**spec.to_dict(), "rev_lock": commit}))


@dataclass(frozen=True, kw_only=True)
class DatachainDataset(_Family):
    """A dataset of a catalog: DataChain's, or framelode's own.

    Attributes
    ----------
    manifest_path : str
        The `dvc.yaml` that names it.
    spec : DatasetSpec
        What it is asked to be.
    lock : DatachainDatasetLock or None
        What it is pinned to.
    """

    spec: DatasetSpec
    lock: DatachainDatasetLock | None = None

    type: ClassVar[Literal["dc"]] = "dc"

    @property
    def pinned(self) -> bool:
        """Whether the URL itself names a version."""
        return self.name_version[1] is not None

    @property
    def name_version(self) -> tuple[str, int | None]:
        """Name and version that the URL names; None for no version."""
        return name_and_version(self.spec.url)

    def update(self, repo: Any, record: Any = None, version: int | None = None, **kwargs: Any) -> Self:
        """Return the dataset locked to a version, the latest if none is named.

        Parameters
        ----------
        repo : Datasets, path or object with a root_dir
            The project.
        record : object, optional
            The dataset as its catalog gives it, asked in place of the catalog.
        version : int, optional
            Which version, from 1.
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
        The `dvc.yaml` that names it.
    spec : DatasetSpec
        What it is asked to be.
    lock : URLDatasetLock or None
        What it is pinned to.
    """

    spec: DatasetSpec
    lock: URLDatasetLock | None = None

    type: ClassVar[Literal["url"]] = "url"

    def update(self, repo: Any, **kwargs: Any) -> Self:
        """Return the dataset locked to what is at its URL now.

        Parameters
        ----------
        repo : Datasets, path or object with a root_dir
            The project.
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
    """Return the dataset that entries of a manifest and of a lock file say; a lock of another spec is none."""
    spec = spec_of(spec_data)
    lock = lock_data if lock_data is None or not isinstance(lock_data, Mapping) else lock_of(lock_data)
    invalidated = lock is not None and lock.to_spec() != spec
    return assemble(manifest_path, spec, None if invalidated else lock, invalidated=invalidated)


def assemble(manifest_path: str, spec: Spec, lock: Lock | None, *, invalidated: bool = False) -> Dataset:
    """Return the dataset of a spec and a lock that belong together."""
    kind: Any = {"dvc": DVCDataset, "dc": DatachainDataset, "url": URLDataset}[spec.type]
    return kind(manifest_path=manifest_path, spec=spec, lock=lock, invalidated=invalidated)


def check_options(kind: str, given: Mapping[str, Any], allowed: tuple[str, ...]) -> dict[str, Any]:
    """Return what was given, without what is None; `InvalidValueError` for what a type does not take."""
    known = {name for names in OPTIONS.values() for name in names}
    for name, value in given.items():
        if name in allowed or (name in known and value is None):
            continue
        takes = ", ".join(allowed) or "nothing more"
        raise InvalidValueError(f"a dataset of the type {kind} takes no {name!r} here: it takes {takes}")
    return {name: value for name, value in given.items() if value is not None}


def refuse_secret_of(spec: Spec) -> None:
    """Raise `InvalidValueError` for a URL that holds a secret: it is written into files that are committed."""
    refuse_secret(spec.url, "url", _WAY_OUT)


def _reach(repo: Any, spec: Spec, kwargs: dict[str, Any]) -> ResolveContext:
    callback = kwargs.pop("callback", None)
    check_options(spec.type, kwargs, ())
    refuse_secret_of(spec)
    return reach_of(repo, callback)


def _with_rev(spec: DVCDatasetSpec, rev: str) -> DVCDatasetSpec:
    return DVCDatasetSpec.from_dict({**spec.to_dict(), "rev": rev})
