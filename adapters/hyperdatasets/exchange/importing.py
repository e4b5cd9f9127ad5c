"""Imports a data set in any format into a draft, also repeatedly after the data set or the draft changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ....engine.blobs.uris import SCHEME as BLOBS
from ....engine.errors import FramelodeError, NotFoundError, UsageError
from ....engine.frames.frame_group import frame_from_dict
from ....engine.frames.record import encode_record
from ....engine.frames.single_frame import SingleFrame
from ....engine.frames.source import check_root, path_or_uri
from ....engine.iterables import chunked
from ....engine.log.context import acting
from ....engine.log.decoding import gc_paused
from ....engine.storage.atomic_files import from_home
from ....engine.storage.root_folder import RootFolder
from ....engine.tracing import traced
from ....engine.writes.encoder import Refusal, WireEncoder
from ....engine.writes.report import WriteReport
from ....projections.tables.catalog import DRAFT, DatasetRow, VersionRow
from ...display.progress import notebook_bar
from ...formats.format import CATEGORIES, Item, Reading, Wire
from ...formats.registry import find_format, sniff_format
from ...formats.report import Loss, Problem, Report
from ...session.current import current_session
from ...session.session import Session
from ...uploads.target import UploadTarget
from ..selectors import VersionSelector, find_dataset, find_version
from ..version_writer import Upload, VersionWriter, check_callback
from .merging import merge_frame
from .past import ImportedFrames, Place

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

    from ..version import DatasetVersion

AUTO = "auto"
"""Name for the format that a path seems to have."""

_BATCH = 1000
"""Frames of a record batch. Batches are recorded while the data set is read, so that an interrupted import has little to do again."""

_COPIED = 250
"""The same, if files are copied, which takes longer."""

Advance = Callable[[int, int | None], object]


class Target(msgspec.Struct, frozen=True):
    """The draft to import into; None for one that a dry run does not create. `made` describes what was created."""

    version_id: str | None
    dataset_created: bool = False
    draft_created: bool = False
    made: str = ""


class Options(msgspec.Struct, frozen=True):
    """Options of an import; see `DatasetVersion.import_from`."""

    copy: bool = False
    overwrite: bool = False
    only_new: bool = False
    prune: bool = False
    root: str | None = None
    dry_run: bool = False
    strict: bool = False


class Imported(msgspec.Struct, kw_only=True):
    """Result of an import.

    Attributes
    ----------
    format : str
        Name of the format.
    version_id : str or None
        Id of the draft. None if a dry run would create it.
    dataset_created, draft_created : bool
        Whether the import created the dataset or the draft.
    dry_run : bool
        Whether nothing was recorded.
    frames, annotations : int
        Number of frames and annotations in the imported dataset.
    added, updated, unchanged, refused : int
        Number of frames that were added, updated, unchanged or rejected.
    kept : int
        Number of frames that differ from the imported dataset because a later change was kept.
    skipped : int
        Number of frames that were not changed because of `only_new`.
    pruned : int
        Number of frames that were deleted because their files no longer exist.
    vanished : list of str
        Images of an earlier import that no longer exist. Their frames are kept.
    problems : list of Problem
        Files and values that are invalid and were not imported, with the reasons; at most 10,000.
    flaws : dict of str to int
        Number of all problems by kind.
    losses : list of Loss
        What frames cannot store, by kind.
    """

    format: str
    version_id: str | None
    dataset_created: bool = False
    draft_created: bool = False
    dry_run: bool = False
    frames: int = 0
    annotations: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    kept: int = 0
    skipped: int = 0
    pruned: int = 0
    vanished: list[str] = []
    problems: list[Problem] = []
    flaws: dict[str, int] = {}
    losses: list[Loss] = []

    @property
    def version(self) -> DatasetVersion:
        """The draft, in the current engine."""
        from ..version import DatasetVersion

        if self.version_id is None:
            raise NotFoundError("a dry run did not create the version")
        return DatasetVersion.of(current_session(), self.version_id)


class DataSet:
    """A data set at a path.

    Parameters
    ----------
    name : str
        Name of the format, or `AUTO` for the one that the path seems to have.
    path : str or path
        The folder or file.

    Raises
    ------
    UsageError
        There is nothing at the path, there is no such format, or the path has not this format.
    """

    def __init__(self, name: str, path: str | os.PathLike[str]) -> None:
        given = from_home(path)
        if not given.exists():
            raise UsageError(f"{given} does not exist: give a folder or a file to import")
        self.path = given.resolve()
        self.format = sniff_format(self.path) if name == AUTO else find_format(name)
        self.format_name = self.format.name
        self.begin()

    def begin(self) -> None:
        """Read from the beginning."""
        if self.format.read is None:
            raise UsageError(f"{self.format.title} is only written: it cannot be imported")
        self.report = Report()
        self.reading = self.format.read(self.path, self.report)


class Readable(Protocol):
    """What is imported: a `DataSet`, or one that is not in files."""

    path: Path
    format_name: str
    report: Report
    reading: Reading

    def begin(self) -> None:
        """Read from the beginning."""
        ...


class Into(msgspec.Struct, frozen=True):
    """Where to import to: the names of a dataset, its project and its draft."""

    dataset: str
    project: str | None = None
    version: str | None = None


@traced("import")
def import_data_set(
    session: Session,
    data_set: Readable,
    into: Into,
    options: Options,
    advance: Advance,
    note: Callable[[str], object] = str,
) -> Imported:
    """Import a data set into a draft; see `DatasetVersion.import_from`.

    Parameters
    ----------
    advance : callable
        Told of the number of frames read, and of how many.
    note : callable, optional
        Told of what was created.
    """
    folder = data_set.reading.folder
    # Later imports read the context of the recorded events.
    context = {"import": data_set.format_name, "folder": folder, "root": options.root or folder}
    with acting(context=context):
        if options.strict:
            tried = find_target(session, into, dry_run=True)
            dry = msgspec.structs.replace(options, dry_run=True)
            _Import(session, data_set, tried, dry).run(lambda *_: None)
            data_set.report.refuse_any(f"nothing of {data_set.path} was imported")
            data_set.begin()
        target = find_target(session, into, dry_run=options.dry_run)
        if target.made:
            note(target.made)
        return _Import(session, data_set, target, options).run(advance)


@contextmanager
def told(callback: Callback | None, what: str) -> Generator[Advance, None, None]:
    """Yield a function that tells a callback of progress. Without a callback, notebooks show a bar."""
    check_callback(callback)

    def advance(done: int, of: int | None) -> None:
        if callback is not None:
            if of is not None and callback.size != of:
                callback.set_size(of)
            callback.absolute_update(done)

    if callback is not None:
        yield advance
        return
    with notebook_bar(what, None) as shown:
        yield shown or advance  # type: ignore[misc]  # a bar takes an unknown total, too


def find_target(session: Session, into: Into, *, dry_run: bool = False) -> Target:
    """Return the draft to import into: the named one, or the current one, which is created if there is none.

    A missing dataset is created with its first draft. If a dataset has no draft, one is created as a child of the last
    published version. A dry run creates nothing: its target is the published version, or none.

    Raises
    ------
    NotFoundError
        The named version does not exist.
    """
    from ..version import DatasetVersion

    dataset, project, version = into.dataset, into.project, into.version
    try:
        row = find_dataset(session, dataset_name=dataset, dataset_project=project)
    except NotFoundError:
        if version is not None:
            raise
        if dry_run:
            return Target(None)
        made = DatasetVersion.create_new_dataset(dataset, dataset_project=project)
        said = f"there was no dataset {dataset!r}: created it in the project {made.project!r}"
        return Target(
            find_version(session, VersionSelector(made.id)).version_id, dataset_created=True, made=said
        )
    if version is not None:
        selector = VersionSelector(row.dataset_id, version_name=version)
        return Target(find_version(session, selector, raise_on_multiple=True).version_id)
    with session.read_catalog() as connection:
        versions = session.catalog.versions(connection, dataset_id=row.dataset_id)
        current = session.catalog.current(connection, row.dataset_id)
    if current is not None and (dry_run or current.state == DRAFT):
        return Target(current.version_id)
    if dry_run:
        return Target(None)
    draft = _new_draft(row, versions, current)
    of = f"the child of {current.name!r}" if current else "an empty one"
    said = f"dataset {row.name!r} has no draft: created {draft.version_name!r}, {of}"
    return Target(draft.version_id, draft_created=True, made=said)


def _new_draft(dataset: DatasetRow, versions: list[VersionRow], parent: VersionRow | None) -> DatasetVersion:
    from ..version import DatasetVersion

    names = {row.name for row in versions}
    candidates = ("Current" if number == 1 else f"Current {number}" for number in count(1))
    return DatasetVersion.create_version(
        next(name for name in candidates if name not in names),
        dataset_id=dataset.dataset_id,
        parent_version_ids=[parent.version_id] if parent else None,
    )


class _Import:
    """One reading of a data set into a draft."""

    def __init__(self, session: Session, data_set: Readable, target: Target, options: Options) -> None:
        self._session, self._options = session, options
        self.report, self._reading = data_set.report, data_set.reading
        folder = self._reading.folder
        root = check_root(options.root) or folder
        if folder != os.path.realpath(root) and RootFolder(root).below(folder) is None:
            raise UsageError(f"the folder {folder} is not inside the root {root}")
        here = Place(folder, root, is_chosen=options.root is not None)
        self._past = ImportedFrames(session, target.version_id, here)
        self._has_images = False
        self._current: dict[str, tuple[Item, Any]] = {}
        self._encoder = WireEncoder(session.new_id, None, session.max_frame_bytes)
        self.done = Imported(
            format=data_set.format_name,
            version_id=target.version_id,
            dataset_created=target.dataset_created,
            draft_created=target.draft_created,
            dry_run=options.dry_run,
        )

    def run(self, advance: Advance) -> Imported:
        done, version_id = self.done, self.done.version_id
        batches = self._batches(advance)
        if self._options.dry_run or version_id is None:
            self._try(batches)
        else:
            self._write(version_id, batches)
        done.problems, done.flaws = self.report.problems, dict(self.report.flaws)
        done.losses = self.report.losses
        return done

    def _write(self, version_id: str, batches: Iterator[list[Wire]]) -> None:
        from ..version import DatasetVersion

        writer = VersionWriter(self._session, version_id)
        writer.require_draft()
        if self._options.copy:
            store = UploadTarget(BLOBS, self._reading.folder)
            upload = Upload(store, unregister_on_failure=False)
            frames = (frame_from_dict(wire) for batch in batches for wire in batch)
            self._take(writer.add(frames, batch_size=_COPIED, upload=upload))
        else:
            # What is read stays in memory until it is recorded: there is nothing to collect.
            with gc_paused():
                self._take(writer.add_batches(batches, batch_size=_BATCH))
        self._vanished(writer)
        version = DatasetVersion.of(self._session, version_id)
        self._keep_categories(version)
        version.commit_version()

    def _take(self, written: WriteReport) -> None:
        done = self.done
        done.added, done.updated = written.added, written.updated
        done.unchanged += written.unchanged
        self._refuse(written.refusals)

    def _refuse(self, refusals: Sequence[Refusal]) -> None:
        self.done.refused += len(refusals)
        for refusal in refusals:
            self.report.flaw("frame", self._file_of(refusal.frame), f"the frame was refused: {refusal.error}")

    def _file_of(self, frame: Any) -> str:
        wire = frame if isinstance(frame, dict) else frame.to_wire(frame.id)
        path = path_or_uri((wire.get("sources") or [{}])[0].get("uri")) or ""
        return path.removeprefix(self._reading.folder + "/")

    def _try(self, batches: Iterator[list[Wire]]) -> None:
        """Count what an import would do."""
        for batch in batches:
            encoded, refusals = self._encoder.encode(batch)
            self._refuse(refusals)
            updated = sum(frame["id"] in self._current for frame in encoded.frames)
            self.done.updated += updated
            self.done.added += len(encoded) - updated
        self._vanished(None)

    def _batches(self, advance: Advance) -> Iterator[list[Wire]]:
        """Yield the frames to record, in wire form with ids, some at a time."""
        for some in chunked(self._reading.items, _BATCH):
            there = [item for item in some if item.frame is not None]
            self._past.pass_over(item.name for item in some if item.frame is None)
            batch = list(self._frames(there))
            self._has_images = True
            yield batch
            self.done.frames += len(there)
            advance(self.done.frames, self._reading.expected)

    def _frames(self, some: list[Item]) -> Iterator[Wire]:
        done = self.done
        self._current = {}
        for item, (frame_id, current) in zip(some, self._past.match(some), strict=True):
            frame: Wire = item.frame  # type: ignore[assignment]  # those without one were left out
            done.annotations += len(frame.get("rois", ()))
            frame["id"] = frame_id
            if current is not None and self._options.only_new:
                done.skipped += 1
            elif current is not None:
                self._current[frame_id] = (item, current)
            elif self._past.was_deleted(frame_id) and not self._options.overwrite:
                done.kept += 1
            else:
                yield frame
        if self._current:
            yield from self._changed()

    def _changed(self) -> Iterator[Wire]:
        """Yield the frames of the draft in which something changes."""
        encoded, _ = self._encoder.encode([item.frame for item, _ in self._current.values()])
        payloads = dict(zip(encoded.ids, encoded.payloads, strict=True))
        for frame_id, (item, current) in self._current.items():
            same = isinstance(current, SingleFrame) and payloads.get(frame_id) == encode_record(current)
            if same and not self._options.copy:
                self.done.unchanged += 1
                continue
            merged = self._merged(item, current)
            if merged is None:
                continue
            if self._options.copy or frame_from_dict(merged) != current:
                yield merged
            else:
                self.done.unchanged += 1

    def _merged(self, item: Item, current: Any) -> Wire | None:
        """Return the frame of the draft with what has changed in the data set; None if it is refused."""
        try:
            given = frame_from_dict(item.frame or {}).to_dict()
        except FramelodeError as error:
            self._refuse([Refusal(item.frame, str(error))])
            return None
        merged = merge_frame(
            self._past.imported(current),
            current.to_dict(),
            given,
            is_whole=item.is_whole,
            copy=self._options.copy,
            overwrite=self._options.overwrite,
        )
        self.done.kept += merged.is_kept
        for reason in merged.notes:
            self.report.flaw("frame", item.name, reason)
        return merged.wire

    def _vanished(self, writer: VersionWriter | None) -> None:
        """Tell of the frames whose images are gone, or delete them."""
        gone = self._past.missing()
        if self._options.prune and not self._has_images:
            raise UsageError(f"{self._reading.folder} has no images: with prune all frames would be deleted")
        pruned = [
            frame.id
            for frame, is_changed in gone
            if self._options.prune and (self._options.overwrite or not is_changed)
        ]
        if pruned and writer is not None:
            writer.delete(pruned)
        self.done.pruned = len(pruned)
        kept = [frame for frame, _ in gone if frame.id not in set(pruned)]
        self.done.vanished = sorted(self._past.name_of(frame) or "" for frame in kept)

    def _keep_categories(self, version: DatasetVersion) -> None:
        """Add the classes of the data set to those of the version, which keep their order."""
        metadata = version.get_metadata()
        held = metadata.get(CATEGORIES)
        categories: list[Any] = list(held) if isinstance(held, list) else []
        names = {each.get("name") for each in categories if isinstance(each, dict)}
        new = [each for each in self._reading.categories if each["name"] not in names]
        if new:
            version.set_metadata({**metadata, CATEGORIES: [*categories, *new]})
