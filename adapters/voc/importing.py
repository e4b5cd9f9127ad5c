"""Imports a Pascal VOC folder into a draft, also repeatedly after the folder or the draft changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from ...engine.blobs.uris import SCHEME as BLOBS
from ...engine.errors import NotFoundError, UsageError
from ...engine.frames.frame_group import frame_from_dict
from ...engine.frames.single_frame import SingleFrame
from ...engine.log.context import acting
from ...engine.storage.root_folder import RootFolder
from ...engine.writes.encoder import Refusal, check_root
from ...projections.tables.catalog import DRAFT, DatasetRow, VersionRow
from ..display.progress import notebook_bar
from ..hyperdatasets.selectors import VersionSelector, find_dataset, find_version
from ..hyperdatasets.version import DatasetVersion
from ..hyperdatasets.version_writer import Upload, VersionWriter
from ..session.current import current_session
from ..session.session import Session
from ..uploads.target import UploadTarget
from .merging import merge_frame
from .past import ImportedFrames, Place
from .reader import Problem, VocFolder

_BATCH = 250
"""Frames per record batch: reading is slow, so batches are small and recorded early."""

Advance = Callable[[int, int], None]


class Target(msgspec.Struct, frozen=True):
    """The draft to import into. `made` describes what was created."""

    version_id: str
    dataset_created: bool = False
    draft_created: bool = False
    made: str = ""


class VocOptions(msgspec.Struct, frozen=True):
    """Options of an import; see `import_voc`."""

    copy: bool = False
    overwrite: bool = False
    prune: bool = False
    root: str | None = None


class VocImport(msgspec.Struct, kw_only=True):
    """Result of an import.

    Attributes
    ----------
    version_id : str
        Id of the draft.
    dataset_created, draft_created : bool
        Whether the import created the dataset or the draft.
    frames, boxes : int
        Number of frames and boxes in the folder.
    added, updated, unchanged, refused : int
        Number of frames that were added, updated, unchanged or rejected.
    kept : int
        Number of frames that differ from the folder because a later change was kept.
    pruned : int
        Number of frames that were deleted because their files no longer exist.
    vanished : list of str
        Images of an earlier import that are no longer in the folder. Their frames are kept.
    problems : list of Problem
        What was not imported, and why.
    """

    version_id: str
    dataset_created: bool = False
    draft_created: bool = False
    frames: int = 0
    boxes: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    kept: int = 0
    pruned: int = 0
    vanished: list[str] = []
    problems: list[Problem] = []


def import_voc(
    folder: str | os.PathLike[str],
    dataset: str,
    *,
    project: str | None = None,
    version: str | None = None,
    copy: bool = False,
    overwrite: bool = False,
    prune: bool = False,
    root: str | os.PathLike[str] | None = None,
    callback: Advance | None = None,
) -> VocImport:
    """Import the frames of a Pascal VOC folder into a draft of the current engine.

    A repeated import records only the changes in the folder. Changes made in the draft since the last import are kept:
    fields, annotations, metadata keys and deletions. Values that the folder does not provide are kept too: stored images
    stay stored, and annotations stay if their file is missing or invalid.

    Parameters
    ----------
    folder : str or path
        Folder with `Annotations` and `JPEGImages`, and optionally `ImageSets/Main`.
    dataset : str
        Name of the dataset, created if missing.
    project : str, optional
        Project of the dataset. By default all projects are searched.
    version : str, optional
        Name of the draft. By default the current draft, created if there is none.
    copy : bool
        Store the images in the blob store of the engine.
    overwrite : bool
        Replace changes made in the draft since the last import.
    prune : bool
        Delete frames whose images no longer exist. Frames changed since the last import are deleted only with `overwrite`.
    root : str or path, optional
        A folder that contains `folder`, or `folder` itself. Ids of new frames use paths relative to it, so they are the same
        on every machine. By default they use absolute paths. If a folder was moved, it is recognized by the names and sizes
        of its images.
    callback : callable, optional
        Called with the number of frames read and the total.

    Returns
    -------
    VocImport
        What was imported, and what was not and why.

    Raises
    ------
    UsageError
        It is not a VOC folder or not inside `root`, or `prune` is set and the folder has no images.
    NotFoundError
        The named version does not exist.
    PublishedError
        The version is published.
    """
    source = VocFolder(folder)
    options = VocOptions(copy=copy, overwrite=overwrite, prune=prune, root=check_root(root))
    session = current_session()
    with acting(context=context_of(source, options)):
        target = find_target(session, dataset, project, version)
        with notebook_bar("importing", callback) as advance:
            return record_voc(session, source, target, advance or (lambda *_: None), options)


def context_of(folder: VocFolder, options: VocOptions) -> dict[str, str]:
    """Return the context of the recorded events. Later imports read it."""
    context = {"import": "voc", "folder": str(folder.path)}
    return context if options.root is None else context | {"root": options.root}


def find_target(session: Session, dataset: str, project: str | None, version: str | None) -> Target:
    """Return the draft to import into: the named one, or the current one, which is created if there is none.

    A missing dataset is created with its first draft. If a dataset has no draft, one is created as a child of the last
    published version.

    Raises
    ------
    NotFoundError
        The named version does not exist.
    """
    try:
        row = find_dataset(session, dataset_name=dataset, dataset_project=project)
    except NotFoundError:
        if version is not None:
            raise
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
    if current is not None and current.state == DRAFT:
        return Target(current.version_id)
    draft = _new_draft(row, versions, current)
    of = f"the child of {current.name!r}" if current else "an empty one"
    said = f"dataset {row.name!r} has no draft: created {draft.version_name!r}, {of}"
    return Target(draft.version_id, draft_created=True, made=said)


def _new_draft(dataset: DatasetRow, versions: list[VersionRow], parent: VersionRow | None) -> DatasetVersion:
    names = {row.name for row in versions}
    candidates = ("Current" if number == 1 else f"Current {number}" for number in count(1))
    return DatasetVersion.create_version(
        next(name for name in candidates if name not in names),
        dataset_id=dataset.dataset_id,
        parent_version_ids=[parent.version_id] if parent else None,
    )


NO_OPTIONS = VocOptions()


def record_voc(
    session: Session, folder: VocFolder, target: Target, advance: Advance, options: VocOptions = NO_OPTIONS
) -> VocImport:
    """Record the frames of a folder in a draft; see `import_voc`.

    Parameters
    ----------
    advance : callable
        Told of the frames read, and of how many.
    options : VocOptions
        How; the context of `context_of` must surround the call.
    """
    return _Import(session, folder, target, options).run(advance)


class _Import:
    def __init__(self, session: Session, folder: VocFolder, target: Target, options: VocOptions) -> None:
        path = str(folder.path)
        root = options.root or path
        if path != os.path.realpath(root) and RootFolder(root).below(path) is None:
            raise UsageError(f"the folder {path} is not inside the root {root}")
        if options.prune and not folder.images:
            raise UsageError(f"{path} has no images in JPEGImages: with prune all frames would be deleted")
        self._session, self._folder, self._options = session, folder, options
        self._past = ImportedFrames(session, target.version_id, Place(path, options.root))
        self.done = VocImport(
            version_id=target.version_id,
            dataset_created=target.dataset_created,
            draft_created=target.draft_created,
        )

    def run(self, advance: Advance) -> VocImport:
        done, folder = self.done, self._folder
        store = UploadTarget(BLOBS, str(folder.path))
        upload = Upload(store, unregister_on_failure=False) if self._options.copy else None
        writer = VersionWriter(self._session, done.version_id)
        report = writer.add(self._frames(advance), batch_size=_BATCH, upload=upload)
        done.added, done.updated, done.unchanged = report.added, report.updated, report.unchanged
        done.refused = len(report.refusals)
        done.problems = [
            *folder.problems,
            *done.problems,
            *(_refused(refusal, folder.path) for refusal in report.refusals),
        ]
        self._vanished(writer)
        DatasetVersion.of(self._session, done.version_id).commit_version()
        return done

    def _frames(self, advance: Advance) -> Iterator[SingleFrame]:
        expected, frames = len(self._folder), self._folder.read()
        while some := list(islice(frames, _BATCH)):
            names = [Path(frame.source or "").name for frame in some]
            found = self._past.match(names, [frame.size for frame in some])
            for name, frame, (frame_id, current) in zip(names, some, found, strict=True):
                self.done.frames += 1
                self.done.boxes += len(frame.get_annotations())
                advance(self.done.frames, expected)
                frame.id = frame_id
                if current is not None:
                    yield self._merged(name, frame, current)
                elif self._past.was_deleted(frame_id) and not self._options.overwrite:
                    self.done.kept += 1
                else:
                    yield frame

    def _merged(self, name: str, frame: SingleFrame, current: Any) -> Any:
        """Return the frame of the draft with what has changed in the folder."""
        merged = merge_frame(
            self._past.imported(current),
            current.to_dict(),
            frame.to_dict(),
            is_whole=self._folder.is_whole(name),
            copy=self._options.copy,
            overwrite=self._options.overwrite,
        )
        self.done.kept += merged.is_kept
        self.done.problems += [Problem(f"JPEGImages/{name}", reason) for reason in merged.notes]
        return frame_from_dict(merged.wire)

    def _vanished(self, writer: VersionWriter) -> None:
        """Tell of the frames whose images are gone, or delete them."""
        gone = self._past.missing(self._folder.images)
        pruned = [
            frame.id
            for frame, is_changed in gone
            if self._options.prune and (self._options.overwrite or not is_changed)
        ]
        if pruned:
            writer.delete(pruned)
        self.done.pruned = len(pruned)
        kept = [frame for frame, _ in gone if frame.id not in set(pruned)]
        self.done.vanished = sorted(f"JPEGImages/{Path(unquote(frame.source or '')).name}" for frame in kept)


def _refused(refusal: Refusal, root: Path) -> Problem:
    source = Path(refusal.frame.source)
    file = source.relative_to(root) if source.is_relative_to(root) else source
    return Problem(str(file), f"the frame was refused: {refusal.error}")
