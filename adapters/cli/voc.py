"""`framelode import voc`: a Pascal VOC folder becomes frames of a draft."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec

from ...engine.blob_uris import SCHEME as BLOBS
from ...engine.encoding import Refusal
from ...engine.errors import NotFoundError
from ...engine.frames import SingleFrame
from ...projections.catalog import DRAFT, DatasetRow, VersionRow
from ..connection import Engine
from ..hyperdatasets.selection import find_dataset, find_version
from ..hyperdatasets.version import DatasetVersion
from ..hyperdatasets.writing import Upload, VersionWriter
from ..uploads.target import UploadTarget
from ..voc import VocFolder
from .output import Advance
from .views import VersionView, view_version

_BATCH = 250
"""Frames of one record batch: reading the files is what takes long, so they are recorded early and often."""


class Problem(msgspec.Struct, frozen=True):
    """A file of the folder, and what of it was left out and why."""

    file: str
    reason: str


class Target(msgspec.Struct, frozen=True):
    """The draft that takes the frames; `made` says what had to be made to have it."""

    version_id: str
    dataset_created: bool = False
    draft_created: bool = False
    made: str = ""


class VocImport(msgspec.Struct, frozen=True):
    """What an import has done.

    Attributes
    ----------
    version : VersionView
        The draft, as it is afterwards.
    dataset_created, draft_created : bool
        Whether it had to be made.
    frames, boxes : int
        What the folder gave.
    added, updated, unchanged, refused : int
        What became of the frames.
    problems : list of Problem
        What was left out.
    """

    version: VersionView
    dataset_created: bool
    draft_created: bool
    frames: int
    boxes: int
    added: int
    updated: int
    unchanged: int
    refused: int
    problems: list[Problem]


def find_target(engine: Engine, dataset: str, project: str | None, version: str | None) -> Target:
    """Return the draft to import into: the one named, or the current one, made if there is none.

    A dataset that is missing is created, with its first draft. A dataset that has no draft gets one, the child of
    the version published last.

    Raises
    ------
    NotFoundError
        A version is named that does not exist.
    """
    try:
        row = find_dataset(engine, dataset_name=dataset, dataset_project=project)
    except NotFoundError:
        if version is not None:
            raise
        made = DatasetVersion.create_new_dataset(dataset, dataset_project=project)
        said = f"there was no dataset {dataset!r}: created it in the project {made.project!r}"
        return Target(find_version(engine, made.id).version_id, dataset_created=True, made=said)
    if version is not None:
        return Target(
            find_version(engine, row.dataset_id, version_name=version, raise_on_multiple=True).version_id
        )
    with engine.read_catalog() as connection:
        versions = engine.catalog.versions(connection, dataset_id=row.dataset_id)
        current = engine.catalog.current(connection, row.dataset_id)
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


def record_voc(
    engine: Engine, folder: VocFolder, target: Target, advance: Advance, *, copy: bool = False
) -> VocImport:
    """Record the frames of a folder in a draft; the same frames again change nothing.

    Parameters
    ----------
    advance : callable
        Told of the frames read, and of how many.
    copy : bool
        Store the images in the engine's blob store, and let the frames name them there.

    Raises
    ------
    PublishedError
        The version takes no changes.
    """
    frames = boxes = 0
    expected = len(folder)

    def read() -> Iterator[SingleFrame]:
        nonlocal frames, boxes
        for frame in folder.read():
            frames += 1
            boxes += len(frame.get_annotations())
            advance(frames, expected)
            # A frame has the same id whether its image is copied or not.
            frame.id = frame.derive_id()
            yield frame

    store = UploadTarget(BLOBS, str(folder.path.absolute()))
    upload = Upload(store, unregister_on_failure=False) if copy else None
    report = VersionWriter(engine, target.version_id).add(read(), batch_size=_BATCH, upload=upload)
    engine.version(target.version_id).commit_version()
    problems = [Problem(problem.file, problem.reason) for problem in folder.problems]
    return VocImport(
        version=view_version(engine, target.version_id),
        dataset_created=target.dataset_created,
        draft_created=target.draft_created,
        frames=frames,
        boxes=boxes,
        added=report.added,
        updated=report.updated,
        unchanged=report.unchanged,
        refused=len(report.refusals),
        problems=problems + [_refused(refusal, folder.path) for refusal in report.refusals],
    )


def _refused(refusal: Refusal, root: Path) -> Problem:
    source = Path(refusal.frame.source)
    file = source.relative_to(root) if source.is_relative_to(root) else source
    return Problem(str(file), f"the frame was refused: {refusal.error}")
