"""`Datasets`: the pinned datasets of a project, as a mapping that can add, update and compare them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import msgspec

from ...engine.errors import (
    ConcurrencyError,
    ConflictError,
    FramelodeError,
    InvalidValueError,
    UsageError,
)
from ...engine.log.moments import Moment
from ...engine.pins import PinKey, PinState
from ...engine.times import microseconds
from ...engine.validation import check_name, shorten
from ...projections.tables.pins import PinChange, PinQuery
from .dataset_types import (
    OPTIONS,
    DatachainDataset,
    Dataset,
    DVCDataset,
    URLDataset,
    assemble,
    build_dataset,
    check_options,
    refuse_secret_of,
)
from .discovery import MANIFEST, ManifestFinder
from .pin_files import PinFiles, Stamp, stamp_of
from .project import Project
from .project_engine import ProjectEngine
from .recording import PinRecorder, current_pins, pin_changes, state_of
from .records import DatasetNotFoundError, lock_of, spec_of
from .resolver import TIMEOUT, Progress, ResolveContext, root_of
from .status import Status, status_of

if TYPE_CHECKING:
    from ..engine import Engine

_UPDATED = {"dvc": ("rev",), "dc": ("version", "record"), "url": ()}
_TRIES = 10


class _Contents(msgspec.Struct, frozen=True):
    """What is in the files of a project: its datasets, and why others or whole files cannot be read."""

    datasets: dict[str, Dataset] = {}
    problems: dict[str, FramelodeError] = {}
    files: dict[str, FramelodeError] = {}

    @classmethod
    def of(cls, read: Sequence[PinFiles], project: Project) -> Self:
        contents = cls()
        for files in read:
            contents.problems.update(files.problems)
            if files.broken is not None and not files.problems:
                contents.files[project.relative(files.manifest_path)] = files.broken
            for name, dataset in files.datasets.items():
                held = contents.datasets.setdefault(name, dataset)
                if held is not dataset:
                    contents.problems[name] = ConflictError(
                        f"the dataset {shorten(name)} is in {held.manifest_path} and in {files.manifest_path}: rename one"
                    )
        for name in contents.problems.keys() & contents.datasets.keys():
            del contents.datasets[name]
        return contents


class Datasets(Mapping[str, Dataset]):
    """The pinned datasets of a project: the entries of its `dvc.yaml` and `dvc.lock` files.

    The files are authoritative. Changes in the files, from an edit or a `git checkout`, are recorded when the project is
    opened and whenever the files are found changed.

    Parameters
    ----------
    repo : path or object with a root_dir
        The project folder. Relative paths start there.
    engine : Engine, optional
        Engine that records changes. By default the current engine, or else one in the folder's `.framelode`, created if missing.
    timeout : float
        Maximum seconds without progress of a source, and maximum seconds of each call of `git`. A web response without a
        length may take ten times as long.

    Raises
    ------
    InvalidValueError
        `repo` or `timeout` is invalid.
    UsageError
        The folder does not exist, or `engine` shows the past.
    """

    def __init__(self, repo: Any, *, engine: Engine | None = None, timeout: float = TIMEOUT) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < 1e6:
            raise InvalidValueError(f"timeout must be a number of seconds, not {shorten(timeout)}")
        self.repo = repo
        self._project = Project(root_of(repo), timeout)
        self._engine = ProjectEngine(self._project.root, engine)
        self._timeout = float(timeout)
        self._filesystems: dict[tuple[Any, ...], Any] = {}
        self._manifests: tuple[Stamp, list[Path]] | None = None
        self._read: tuple[Stamp, _Contents] | None = None
        self._unreachable: dict[str, FramelodeError] = {}
        self._ignored: set[Path] = set()
        # A project with broken files can be opened.
        self._contents()

    @property
    def root_dir(self) -> str:
        """The project folder."""
        return str(self._project.root)

    @property
    def engine(self) -> Engine:
        """The engine that records changes."""
        from ..engine import Engine

        return Engine.of(self._engine.opened())

    @property
    def reach(self) -> ResolveContext:
        """The settings for resolving datasets."""
        return ResolveContext(
            self._project.root, self._timeout, self._engine.opened, filesystems=self._filesystems
        )

    @property
    def problems(self) -> dict[str, FramelodeError]:
        """Why datasets cannot be read, by name; for an entry without a name or a whole file by its place.

        It includes the sources that the last `status` could not read.
        """
        contents = self._contents()
        sources = {name: error for name, error in self._unreachable.items() if name in contents.datasets}
        return contents.files | contents.problems | sources

    def __getitem__(self, name: str) -> Dataset:
        """Return a dataset.

        Raises
        ------
        DatasetNotFoundError
            There is none.
        FramelodeError
            Its entry or its lock cannot be read, or a file that may contain it.
        """
        contents = self._contents()
        if name not in contents.datasets and name not in contents.problems:
            self._manifests = self._read = None
            contents = self._contents()
        if name in contents.datasets:
            return contents.datasets[name]
        error = contents.problems.get(name) or next(iter(contents.files.values()), None)
        raise error or DatasetNotFoundError(name)

    def __contains__(self, name: object) -> bool:
        return name in self._datasets()

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets())

    def __len__(self) -> int:
        """Return the number of datasets."""
        return len(self._datasets())

    def __repr__(self) -> str:
        return repr(self._datasets())

    @overload
    def add(
        self,
        name: str,
        url: str,
        type: Literal["dvc"],
        manifest_path: str | os.PathLike[str] = MANIFEST,
        *,
        force: bool = False,
        callback: Progress | None = None,
        **kwargs: Any,
    ) -> DVCDataset: ...
    @overload
    def add(
        self,
        name: str,
        url: str,
        type: Literal["dc"],
        manifest_path: str | os.PathLike[str] = MANIFEST,
        *,
        force: bool = False,
        callback: Progress | None = None,
        **kwargs: Any,
    ) -> DatachainDataset: ...
    @overload
    def add(
        self,
        name: str,
        url: str,
        type: Literal["url"],
        manifest_path: str | os.PathLike[str] = MANIFEST,
        *,
        force: bool = False,
        callback: Progress | None = None,
        **kwargs: Any,
    ) -> URLDataset: ...
    @overload
    def add(
        self,
        name: str,
        url: str,
        type: str,
        manifest_path: str | os.PathLike[str] = MANIFEST,
        *,
        force: bool = False,
        callback: Progress | None = None,
        **kwargs: Any,
    ) -> Dataset: ...
    def add(
        self,
        name: str,
        url: str,
        type: str,  # noqa: A002 - what the argument is called everywhere
        manifest_path: str | os.PathLike[str] = MANIFEST,
        *,
        force: bool = False,
        callback: Progress | None = None,
        **kwargs: Any,
    ) -> Dataset:
        """Resolve and lock a dataset, and write it to the manifest and the lock file.

        Parameters
        ----------
        name : str
            Name of the dataset in the project.
        url : str
            Source of the dataset. For `dvc`: the path or URL of a git repository; for `dc`: a catalog dataset such as
            ``framelode://<dataset>``; for `url`: any file or folder that fsspec can read.
        type : {"dvc", "dc", "url"}
            Type of the dataset.
        manifest_path : str or path
            Path of the manifest, relative to the project folder.
        force : bool
            Replace a dataset of the same name.
        callback : callable, optional
            Called with the number of files done and the total, which is None if it is unknown.
        **kwargs
            Options: `path` and `rev` for `dvc`; `version` or `record` for `dc`.

        Returns
        -------
        Dataset
            The locked dataset.

        Raises
        ------
        InvalidValueError
            The type or an option is invalid, or the manifest is ignored. This is also a `ValueError`.
        NotFoundError
            There is no such source, path or revision.
        StorageError
            The source cannot be read, or does not answer in time.
        ConflictError
            There is such a dataset, or its entry cannot be overwritten.
        """
        manifest = self._project.manifest(manifest_path)
        spec = {"name": check_name(name, "name"), "url": url, "type": type}
        options = check_options(str(type), kwargs, OPTIONS.get(spec_of(spec).type, ()))
        asked = {key: value for key, value in options.items() if key in {"version", "record"}}
        built = build_dataset(str(manifest), spec | {k: v for k, v in options.items() if k not in asked})
        self._check_addable(name, manifest, force=force)
        PinFiles.read(manifest).check_writable(built.spec)
        dataset = built.update(self, callback=callback, **asked)
        self._write(dataset, added=True)
        return dataset

    def update(
        self, name: str, *, callback: Progress | None = None, **kwargs: Any
    ) -> tuple[Dataset, Dataset]:
        """Lock a dataset to the current state of its source. The files are written only if something changed.

        Parameters
        ----------
        name : str
            Name of the dataset.
        callback : callable, optional
            Called with the number of files done and the total, which is None if it is unknown.
        **kwargs
            Options: `rev` for `dvc`; `version` or `record` for `dc`.

        Returns
        -------
        tuple of two datasets
            The dataset before and after the update.

        Raises
        ------
        DatasetNotFoundError
            There is no such dataset.
        InvalidValueError, InvalidTypeError
            An option is not valid for the type. This is also a `ValueError` or `TypeError`.
        StorageError
            The source cannot be read, or does not answer in time.
        ConcurrencyError
            Other writers kept changing the dataset. Call again.
        """
        for _ in range(_TRIES):
            old = self[name]
            options = check_options(old.type, kwargs, _UPDATED[old.type])
            new = old.update(self, callback=callback, **options)
            if (new.spec, new.lock) == (old.spec, old.lock):
                return old, old
            if self._write(new, old):
                return old, new
        raise ConcurrencyError(f"other writers kept changing the dataset {shorten(name)}: call again")

    def dump(self, dataset: Dataset, old: Dataset | None = None) -> None:
        """Write the spec and the lock of a dataset to the files.

        Parameters
        ----------
        dataset : Dataset
            The dataset to write.
        old : Dataset, optional
            Write only what differs from this one.
        """
        self._write(dataset, old, follow=False)

    def status(self, name: str | None = None) -> dict[str, Status]:
        """Compare datasets with their sources.

        Parameters
        ----------
        name : str, optional
            Only this dataset.

        Returns
        -------
        dict of str to Status
            Status by name. Of all datasets, those that cannot be read or compared are `unreadable`, and `problems` has the reasons.

        Raises
        ------
        StorageError
            The source of the one dataset cannot be read, or does not answer in time.
        DatasetNotFoundError
            There is no such dataset.
        """
        if name is not None:
            return {name: status_of(self[name], self.reach)}
        found: dict[str, Status] = {}
        self._unreachable = {}
        for each, dataset in self._datasets().items():
            try:
                found[each] = status_of(dataset, self.reach)
            except FramelodeError as error:
                found[each] = Status.unreadable
                self._unreachable[each] = error
        return found | dict.fromkeys(self._contents().problems, Status.unreadable)

    def at(self, moment: Moment) -> dict[str, Dataset]:
        """Return the datasets as they were recorded at a point in time. Long file lists are reduced to a summary.

        Parameters
        ----------
        moment : int or datetime
            A position of the log, or a datetime with a time zone.
        """
        if not self._is_known():
            return {}
        view = self.engine.session.at(moment)
        standing = current_pins(view, PinQuery(project=self._project.identity()))
        return {pin.name: self._recorded(pin) for pin in standing}

    def history(
        self,
        name: str | None = None,
        *,
        actor: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        all_projects: bool = False,
    ) -> list[PinChange]:
        """Return the recorded changes of all datasets, or of one.

        Parameters
        ----------
        name : str, optional
            Only this dataset.
        actor : str, optional
            Only changes by this actor.
        since, until : int or datetime, optional
            First and last position, or datetimes with a time zone; both inclusive.
        newest_first : bool
            Return the latest change first.
        limit : int, optional
            Maximum number of changes.
        all_projects : bool
            Include the changes of all projects in the same engine.

        Raises
        ------
        UsageError
            `since` or `until` is not a position or an aware datetime, or `limit` is invalid.
        """
        self._datasets()
        if not (self._engine.exists() if all_projects else self._is_known()):
            return []
        wanted = PinQuery(
            project=None if all_projects else self._project.identity(),
            name=name,
            actor=actor,
            newest_first=newest_first,
            limit=limit,
            **_bounds("since", since),
            **_bounds("until", until),
        )
        return list(pin_changes(self.engine.session, wanted))

    def close(self) -> None:
        """Close the engine if it was opened for this project only."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ledger(self) -> PinRecorder:
        return PinRecorder(self._engine.opened, self._project.identity(), self._project.folder)

    def _datasets(self) -> dict[str, Dataset]:
        """Return the datasets in the files. If none of several can be read, raise the first error."""
        contents = self._contents()
        if not contents.datasets and (contents.files or contents.problems):
            raise next(iter((contents.files | contents.problems).values()))
        return contents.datasets

    def _contents(self) -> _Contents:
        """Return what is in the files. Changes in the files are recorded first."""
        manifests = self._find_manifests()
        if self._read is not None and self._read[0].is_current():
            return self._read[1]
        read = [PinFiles.read(manifest) for manifest in manifests]
        contents = _Contents.of(read, self._project)
        self._observe(read)
        self._read = Stamp.of(read), contents
        return contents

    def _find_manifests(self) -> list[Path]:
        """Return the manifests. They are looked for again if a name is not found, or a file of rules was changed."""
        if self._manifests is not None and self._manifests[0].is_current():
            return self._manifests[1]
        root = self._project.root
        finder = ManifestFinder(root)
        found = finder.manifests()
        known = {root / each for each in self._ledger().known_manifests()} if self._is_known() else set()
        self._ignored = {each for each in {root / MANIFEST, *known} if finder.leaves_out(each, found)}
        listed = sorted({root / MANIFEST, *found, *known} - self._ignored)
        self._manifests, self._read = (Stamp({file: stamp_of(file) for file in finder.files}), listed), None
        return listed

    def _is_known(self) -> bool:
        """Whether the log may have records of this project."""
        return self._engine.exists() and self._project.is_known()

    def _observe(self, read: list[PinFiles]) -> None:
        if not any(files.datasets for files in read) and not self._is_known():
            return
        ledger = self._ledger()
        found = {key: state for files in read for key, state in self._states(ledger, files).items()}
        known = {files.manifest_path: files for files in read}
        for manifest in sorted(ledger.differs(found)):
            path = self._project.root / manifest
            if path in self._ignored:
                ledger.observe(manifest, {})
                continue
            is_writable = os.access(path.parent, os.W_OK | os.X_OK)
            with self._project.writing(path) if is_writable else nullcontext():
                files = known.get(path)
                if files is None or not Stamp.of([files]).is_current():
                    files = PinFiles.read(path)
                self._observe_files(ledger, files)

    def _observe_files(self, ledger: PinRecorder, files: PinFiles) -> None:
        ledger.observe(self._project.relative(files.manifest_path), self._states(ledger, files))

    def _states(self, ledger: PinRecorder, files: PinFiles) -> dict[PinKey, PinState]:
        """Return what the files say. Of what cannot be read, what was recorded stays."""
        manifest = self._project.relative(files.manifest_path)
        kept = {
            key: state
            for key, state in ledger.recorded().items()
            if key[0] == manifest and (files.manifest is None or key[1] in files.problems)
        }
        return kept | {(manifest, name): state_of(dataset) for name, dataset in files.datasets.items()}

    def _write(
        self, dataset: Dataset, old: Dataset | None = None, *, added: bool = False, follow: bool = True
    ) -> bool:
        """Write and record a dataset. Return False if its previous state was changed by another writer."""
        refuse_secret_of(dataset.spec)
        manifest = self._project.manifest(dataset.manifest_path)
        # The files are written first, and what is in them must be recorded.
        self._engine.opened().present.require_writable()
        ledger = self._ledger()
        with self._project.writing(manifest):
            with self._project.without_dvc(manifest):
                files = PinFiles.read(manifest)
                self._observe_files(ledger, files)
                held = files.datasets.get(dataset.spec.name)
                if old is not None and follow:
                    if held is None:
                        raise DatasetNotFoundError(dataset.spec.name)
                    if held.spec != old.spec:
                        self._read = None
                        return False
                standing = files.write(
                    dataset,
                    spec=old is None or old.spec != dataset.spec,
                    lock=old is None or old.lock != dataset.lock,
                )
            if standing is not None:
                key = (self._project.relative(manifest), dataset.spec.name)
                ledger.record(key, state_of(standing), added=added)
        self._read = None
        if self._manifests is not None and manifest not in self._manifests[1]:
            self._manifests = self._manifests[0], sorted([*self._manifests[1], manifest])
        return True

    def _check_addable(self, name: str, manifest: Path, *, force: bool) -> None:
        held = self._contents().datasets.get(name)
        if held is not None and Path(held.manifest_path) != manifest:
            raise ConflictError(
                f"the dataset {shorten(name)} is already in {held.manifest_path}: pass that manifest_path to replace it"
            )
        if held is not None and not force:
            raise ConflictError(
                f"the dataset {shorten(name)} is already in {held.manifest_path}: pass force=True, or --force on the command line, "
                "to replace it"
            )
        if ManifestFinder(self._project.root).ignores(manifest):
            raise InvalidValueError(f"{manifest} is ignored by git or DVC: datasets in it would not be read")

    def _recorded(self, pin: PinChange) -> Dataset:
        state = pin.after or {}
        try:
            return assemble(
                str(self._project.root / pin.manifest),
                spec_of(state["spec"]),
                lock_of(state.get("lock")),
                invalidated="invalidated" in state,
            )
        except (FramelodeError, KeyError) as error:
            raise UsageError(
                f"the record of {shorten(pin.name)} at position {pin.position} is not a valid dataset"
            ) from error


def _bounds(which: str, moment: Moment | None) -> dict[str, Any]:
    if not isinstance(moment, datetime):
        return {which: moment}
    if moment.utcoffset() is None:
        raise UsageError(f"{which} is {moment.isoformat()}, which has no time zone: pass an aware datetime")
    return {f"{which}_time": microseconds(moment)}
