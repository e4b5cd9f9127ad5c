"""Exports the frames of a version in a format of others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ....engine.errors import ConflictError, FramelodeError, UsageError
from ....engine.frames.source import Source
from ....engine.log.decoding import gc_paused
from ....engine.query.tree import Query
from ....engine.storage.atomic_files import path_of, temporary_name
from ....engine.tracing import traced
from ...files.expectation import Expectation
from ...formats.format import CATEGORIES, Writing
from ...formats.registry import find_format
from ...formats.report import Loss, Problem, Report
from ...session.current import entered
from ...session.session import Session
from ..checkout import place_file
from .importing import Advance

if TYPE_CHECKING:
    from ..version import DatasetVersion

_THREADS = 8
_STEP = 1000


class Exported(msgspec.Struct, kw_only=True):
    """Result of an export.

    Attributes
    ----------
    format : str
        Name of the format.
    path : str
        The folder or file that was written.
    frames : int
        Number of frames that were read.
    images : int
        Number of image files that were written.
    problems : list of Problem
        Image files that could not be written, with the reasons; at most 10,000.
    flaws : dict of str to int
        Number of all problems by kind.
    losses : list of Loss
        What the format cannot store, by kind.
    """

    format: str
    path: str
    frames: int = 0
    images: int = 0
    problems: list[Problem] = []
    flaws: dict[str, int] = {}
    losses: list[Loss] = []


@traced("export")
def write_version(
    session: Session,
    version: DatasetVersion,
    name: str,
    path: str | os.PathLike[str],
    advance: Advance,
    *,
    query: Query | str | None = None,
    images: bool = True,
    strict: bool = False,
) -> Exported:
    """Export the frames of a version; see `DatasetVersion.export`. A function is told of the frames done, and of how many.

    The files are written into a folder beside `path`, which is renamed at the end.
    """
    form = find_format(name)
    if form.write is None:
        raise UsageError(f"{form.title} is only read: a version cannot be exported as it")
    report = Report()
    with replacing(path, is_file=form.is_file) as (target, made):
        done = Exported(format=form.name, path=str(target))
        writing = Writing(made, _Frames(version, query, done, advance), report, categories_of(version))
        with gc_paused():
            form.write(writing)
        if strict:
            report.refuse_any(f"nothing was exported to {target}")
        if images:
            _write_images(session, writing, done)
        if form.finish is not None:
            form.finish(writing)
        if strict:
            report.refuse_any(f"nothing was exported to {target}")
    done.problems, done.flaws, done.losses = report.problems, dict(report.flaws), report.losses
    return done


@contextmanager
def replacing(
    path: str | os.PathLike[str], *, is_file: bool = False
) -> Generator[tuple[Path, Path], None, None]:
    """Yield a path, and the folder beside it that is renamed to it at the end, or where a file is to be written.

    Raises
    ------
    ConflictError
        Something is at the path that is no empty folder.
    """
    target = path_of(path, "path").absolute()
    if os.path.lexists(target) and (is_file or not target.is_dir() or any(target.iterdir())):
        wanted = "a new file" if is_file else "a new or empty folder"
        raise ConflictError(f"{target} exists already: give {wanted}")
    target.parent.mkdir(parents=True, exist_ok=True)
    made = target.with_name(temporary_name(target))
    try:
        if not is_file:
            made.mkdir()
        yield target, made
        made.replace(target)
    finally:
        if made.is_dir():
            shutil.rmtree(made)
        made.unlink(missing_ok=True)


class _Frames:
    """The frames of a version that match a query, which can be read several times. The last time counts."""

    def __init__(
        self, version: DatasetVersion, query: Query | str | None, done: Exported, advance: Advance
    ) -> None:
        self._version, self._query, self._done, self._advance = version, query, done, advance
        self._expected = len(version) if query is None else version.count(query)

    def __iter__(self) -> Iterator[Any]:
        version, query, done = self._version, self._query, self._done
        done.frames = 0
        for frame in version.get_iterator() if query is None else version.query(query):
            done.frames += 1
            if done.frames % _STEP == 0:
                self._advance(done.frames, self._expected)
            yield frame
        self._advance(done.frames, self._expected)


def categories_of(version: DatasetVersion) -> list[dict[str, Any]]:
    """Return the classes in the metadata of a version, then the other labels of its annotations by name.

    They are the same for all frames, so that indices of classes do not depend on a query.
    """
    held = version.get_metadata().get(CATEGORIES)
    found = [
        dict(each)
        for each in (held if isinstance(held, list) else ())
        if isinstance(each, dict) and isinstance(each.get("name"), str) and each["name"].strip()
    ]
    found = list({each["name"]: each for each in found}.values())
    names = {each["name"] for each in found}
    labels = sorted(str(each["name"]) for each in version.get_stats().labels)
    return [*found, *({"name": label} for label in labels if label.strip() and label not in names)]


def _write_images(session: Session, writing: Writing, done: Exported) -> None:
    def place(named: tuple[str, Source]) -> FramelodeError | OSError | None:
        name, source = named
        expected = Expectation(source.uri or "", source.size, source.hash)
        # A thread does not know the session of the caller.
        with entered(session):
            try:
                place_file(expected, writing.path / name, writing.path, force=True, link=True)
            except (FramelodeError, OSError) as error:
                return error
        return None

    with ThreadPoolExecutor(_THREADS) as threads:
        try:
            outcomes = threads.map(place, writing.images.items())
            for name, error in zip(writing.images, outcomes, strict=True):
                if error is None:
                    done.images += 1
                else:
                    writing.report.flaw("image", name, error)
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise
