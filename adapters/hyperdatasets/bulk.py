"""`BulkContext`: changes made one at a time, recorded together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from itertools import groupby
from types import TracebackType
from typing import Any, Self

import msgspec

from ...engine.encoding import check_root
from ...engine.errors import FramesRejected, InvalidValueError
from ...engine.frames import SingleFrame
from ...engine.groups import FrameGroup
from ...engine.validation import shorten
from .writing import Upload, VersionWriter, failures_of, logger

DEFAULT_FLUSH_THRESHOLD = 1000

Log = logging.Logger | logging.LoggerAdapter[Any]


class _Change(msgspec.Struct):
    kind: str
    frame: Any
    warn: bool = False
    delete_sources: bool = False

    def group(self) -> tuple[str, bool, bool]:
        return self.kind, self.warn, self.delete_sources


class BulkContext:
    """Gathers changes of one version and records them every `flush_threshold` changes and on exit.

    Get one from `DatasetVersion.get_bulk_context`. The order of changes is kept. An exception inside the ``with``
    block still records what was complete before it; what a flush could not record waits for the next one.

    Parameters
    ----------
    writer : VersionWriter
        Writes into the draft.
    commit : callable
        Commits the draft.
    flush_threshold : int, optional
        1000 if not given.
    log : logging.Logger, optional
        Told of each flush.
    refresh_version_stats : bool
        Commit once on exit.
    upload : Upload, optional
        Where local files go.
    local_dataset_root_path : path, optional
        Folder that derived ids are relative to.
    allow_update : bool
        Updates merge into what is there; otherwise they are adds.

    Raises
    ------
    FramesRejected
        On a flush: some frames were refused; all others were recorded.
    """

    def __init__(
        self,
        writer: VersionWriter,
        commit: Callable[[], object],
        flush_threshold: int | None = None,
        log: Log | None = None,
        refresh_version_stats: bool = True,
        upload: Upload | None = None,
        local_dataset_root_path: str | os.PathLike[str] | None = None,
        allow_update: bool = False,
    ) -> None:
        threshold = DEFAULT_FLUSH_THRESHOLD if flush_threshold is None else flush_threshold
        if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
            raise InvalidValueError(
                f"flush_threshold must be a whole number of 1 or more, not {flush_threshold!r}"
            )
        if log is not None and not isinstance(log, logging.Logger | logging.LoggerAdapter):
            raise InvalidValueError(f"log must be a logging.Logger, not {shorten(log)}")
        self.arguments = (
            flush_threshold,
            log,
            refresh_version_stats,
            upload,
            local_dataset_root_path,
            allow_update,
        )
        self._writer = writer
        self._commit = commit
        self._threshold = threshold
        self._log = log or logger
        self._refresh = refresh_version_stats
        self._upload = upload
        self._root = check_root(local_dataset_root_path)
        self._allow_update = allow_update
        self._changes: list[_Change] = []
        self._failures: list[dict[str, Any]] = []

    def add_frame(self, frame: SingleFrame | FrameGroup, warn_on_duplicate_frames: bool = False) -> None:
        """Add a frame with the next flush; see `DatasetVersion.add_frames`."""
        self._gather(_Change("add", frame, warn_on_duplicate_frames))

    def update_frame(self, frame: SingleFrame | FrameGroup) -> None:
        """Update a frame with the next flush: merged when `allow_update` is set, else as an add."""
        self._gather(_Change("update" if self._allow_update else "add", frame))

    def delete_frame(self, frame: SingleFrame | FrameGroup | str, delete_sources: bool = False) -> None:
        """Delete a frame with the next flush; see `DatasetVersion.delete_frames`."""
        self._gather(_Change("delete", frame, delete_sources=delete_sources))

    def flush(self) -> None:
        """Record what was gathered."""
        self._record()
        self._raise_refused()

    def finish(self, *, commit: bool) -> None:
        """Record what was gathered, commit if asked to, and only then say what was refused."""
        self._record()
        if commit:
            self._commit()
        self._raise_refused()

    def _record(self) -> None:
        changes, self._changes = self._changes, []
        done = 0
        try:
            for _, run in groupby(changes, _Change.group):
                together = list(run)
                self._failures += self._write(together)
                done += len(together)
        finally:
            self._changes = changes[done:] + self._changes
        if changes:
            self._log.debug("%d changes flushed", len(changes))

    def _raise_refused(self) -> None:
        failures, self._failures = self._failures, []
        if failures:
            raise FramesRejected(failures)

    def _gather(self, change: _Change) -> None:
        self._changes.append(change)
        if len(self._changes) >= self._threshold:
            self.flush()

    def _write(self, run: list[_Change]) -> list[dict[str, Any]]:
        frames = [change.frame for change in run]
        match run[0].kind:
            case "delete" if run[0].delete_sources:
                report, _ = self._writer.delete_with_sources(frames)
            case "delete":
                report = self._writer.delete(frames)
            case "update":
                report = self._writer.update(frames, without_fields=[], root=self._root, upload=self._upload)
            case _:
                report = self._writer.add(
                    frames, warn_on_duplicates=run[0].warn, root=self._root, upload=self._upload
                )
        return failures_of(report)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.finish(commit=self._refresh)
        except FramesRejected as rejected:
            if error is None:
                raise
            error.add_note(str(rejected))
