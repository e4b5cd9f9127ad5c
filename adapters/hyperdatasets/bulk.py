"""`BulkContext`: collects single changes and records them in batches."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from ...engine import forks
from ...engine.errors import FramelodeError, FramesRejected, InvalidValueError
from ...engine.frames.frame_group import FrameGroup
from ...engine.frames.record import encode_record
from ...engine.frames.single_frame import SingleFrame, restore, screen
from ...engine.frames.source import Source, check_root
from ...engine.sources.relocation import put_back, sources_of
from ...engine.validation import KnownAttributes, at_least, flag, how_many, shorten
from .version_writer import failures_of, logger

if TYPE_CHECKING:
    from ..uploads.target import PathLike
    from .version import DatasetVersion

DEFAULT_FLUSH_THRESHOLD = 1000

Log = logging.Logger | logging.LoggerAdapter[Any]


class BulkContext(KnownAttributes):
    """Collects changes of one version, and records them every `flush_threshold` changes and on exit.

    Use `DatasetVersion.get_bulk_context` to get one that is also flushed before its version is committed or published.
    Changes are recorded in order, with each frame as it was when it was passed. If the ``with`` block raises an error,
    the changes before it are still recorded. Changes that a flush could not record stay for the next flush. The object
    is thread-safe.

    Parameters
    ----------
    dv : DatasetVersion
        The draft to change.
    flush_threshold : int, optional
        Number of changes after which to flush, by default 1000.
    log : logging.Logger, optional
        Logger for flushes.
    refresh_version_stats : bool
        Commit once on exit.
    auto_upload_destination : str, optional
        URL to upload local files to on each flush; see `DatasetVersion.add_frames`.
    local_dataset_root_path : path, optional
        Folder that contains all local files. Derived ids use paths relative to it.
    allow_update : bool
        Merge updates into the existing frames. Otherwise updates replace them.

    Raises
    ------
    InvalidValueError
        An argument is invalid.
    FramesRejected
        On a flush: some frames were rejected. All others were recorded.
    PublishedError
        The version is published.
    """

    def __init__(
        self,
        dv: DatasetVersion,
        flush_threshold: int | None = None,
        log: Log | None = None,
        refresh_version_stats: bool = True,
        auto_upload_destination: str | None = None,
        local_dataset_root_path: PathLike | None = None,
        allow_update: bool = False,
    ) -> None:
        from .version import DatasetVersion

        if not isinstance(dv, DatasetVersion):
            raise InvalidValueError(f"dv must be a DatasetVersion, not {shorten(dv)}")
        writer = dv._writer  # noqa: SLF001 - of this package
        writer.require_draft()
        if log is not None and not isinstance(log, logging.Logger | logging.LoggerAdapter):
            raise InvalidValueError(f"log must be a logging.Logger, not {shorten(log)}")
        threshold = DEFAULT_FLUSH_THRESHOLD if flush_threshold is None else flush_threshold
        self._threshold = at_least(threshold, "flush_threshold", 1)
        self._version = dv
        self._writer = writer
        self._log = log or logger
        self._refresh = flag(refresh_version_stats, "refresh_version_stats")
        self._upload = writer.upload_options(auto_upload_destination, local_dataset_root_path)
        target = None if self._upload is None else self._upload.target
        own = check_root(local_dataset_root_path) or writer.root
        self._root = own if target is None else target.root
        self._allow_update = flag(allow_update, "allow_update")
        forks.renewed(self._renew)

    def _renew(self) -> None:
        """Start empty. After a fork, the parent process records the changes collected before it."""
        self._lock = threading.Lock()
        self._recording = threading.Lock()
        self._changes: list[PendingChange] = []
        self._failures: list[dict[str, Any]] = []

    def add_frame(self, frame: SingleFrame | FrameGroup, warn_on_duplicate_frames: bool = False) -> None:
        """Add a frame with the next flush; see `DatasetVersion.add_frames`.

        Parameters
        ----------
        frame : SingleFrame or FrameGroup
            The frame, recorded as it is now. Its id is set immediately.
        warn_on_duplicate_frames : bool
            Warn if the id was already added through the version object.
        """
        self._gather("add", frame, warn=warn_on_duplicate_frames)

    def update_frame(self, frame: SingleFrame | FrameGroup) -> None:
        """Update a frame with the next flush. If its upload fails, the frame in the version stays unchanged.

        Parameters
        ----------
        frame : SingleFrame or FrameGroup
            The frame, recorded as it is now. It is merged if `allow_update` is set; otherwise it replaces the existing one.
        """
        # Without uploads, an add has the same effect and can share a batch with other adds.
        self._gather("update" if self._allow_update or self._upload else "add", frame)

    def delete_frame(self, frame: SingleFrame | FrameGroup | str, delete_sources: bool = False) -> None:
        """Delete a frame with the next flush; see `DatasetVersion.delete_frames`.

        Parameters
        ----------
        frame : SingleFrame, FrameGroup or str
            The frame or its id.
        delete_sources : bool
            Also delete its sources. If a source cannot be deleted because of its scheme, all consecutive deletions that are
            recorded together with this one are rejected.
        """
        self._gather("delete", frame, delete_sources=delete_sources)

    def flush(self) -> None:
        """Record the collected changes. Raises `FramesRejected` if some frames were rejected."""
        self.record()
        self.raise_refused()

    def finish(self, *, commit: bool) -> None:
        """Record the collected changes, commit if `commit` is set, then raise `FramesRejected` for rejected frames."""
        self.record()
        if commit:
            self._writer.commit_written()
        self.raise_refused()

    def record(self) -> None:
        """Record the collected changes, and keep rejected frames for `raise_refused`."""
        # A thread records its changes before another thread takes later ones, so the order is kept.
        with self._recording:
            self._record()

    def _record(self) -> None:
        with self._lock:
            changes, self._changes = self._changes, []
        done = 0
        try:
            for _, run in groupby(changes, PendingChange.group):
                together = list(run)
                self._failures += self._write(together)
                done += len(together)
        finally:
            with self._lock:
                self._changes[:0] = changes[done:]
        if changes:
            self._log.debug("%d changes flushed", len(changes))

    def raise_refused(self) -> None:
        """Raise `FramesRejected` if frames were rejected since the last call."""
        failures, self._failures = self._failures, []
        if failures:
            raise FramesRejected(failures)

    def is_like(self, other: BulkContext) -> bool:
        """Whether another context has equivalent arguments."""
        return self._arguments() == other._arguments()

    def _arguments(self) -> tuple[object, ...]:
        of_frames = (self._upload, self._root, self._allow_update)
        return self._threshold, self._log, self._refresh, *of_frames

    def _gather(self, kind: str, frame: Any, *, warn: bool = False, delete_sources: bool = False) -> None:
        warns = flag(warn, "warn_on_duplicate_frames")
        change = PendingChange(kind, frame, frame, warns, flag(delete_sources, "delete_sources"))
        if kind == "delete":
            change.hold_id()
        else:
            change.hold(self._writer.give_id, self._root)
        with self._lock:
            self._changes.append(change)
            is_full = len(self._changes) >= self._threshold
        if is_full:
            self.flush()

    def _write(self, run: list[PendingChange]) -> list[dict[str, Any]]:
        frames, writer = [change.held for change in run], self._writer
        match run[0].kind:
            case "delete" if run[0].delete_sources:
                return self._delete_with_sources(run)
            case "delete":
                report = writer.delete(frames)
            case "update":
                fields = [] if self._allow_update else None
                report = writer.update(frames, without_fields=fields, root=self._root, upload=self._upload)
            case _:
                report = writer.add(
                    frames, warn_on_duplicates=run[0].warn, root=self._root, upload=self._upload
                )
        given = {id(change.held): change.frame for change in run}
        for change in run:
            change.hand_back()
        return [
            failure | {"frame": given.get(id(failure["frame"]), failure["frame"])}
            for failure in failures_of(report)
        ]

    def _delete_with_sources(self, run: list[PendingChange]) -> list[dict[str, Any]]:
        """Delete frames and their sources. If a source can never be deleted, reject these frames; other changes go on."""
        from .source_deletion import UndeletableError

        try:
            report, _ = self._writer.delete_with_sources([change.held for change in run])
        except UndeletableError as error:
            kind = "validation"
            return [{"frame": change.frame, "error": str(error), "error_type": kind} for change in run]
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

    def __repr__(self) -> str:
        return f"BulkContext({self._version!r}, {how_many(len(self._changes), 'change')} pending)"


GiveId = Callable[[Any, "str | None"], object]


class PendingChange(msgspec.Struct, gc=False):
    """A change that is not recorded yet.

    Attributes
    ----------
    kind : str
        ``add``, ``update`` or ``delete``.
    frame : SingleFrame, FrameGroup or any
        The object that the caller passed.
    held : SingleFrame, FrameGroup or any
        What is recorded: `frame` as it was when it was passed.
    warn : bool
        Warn if the id was already added.
    delete_sources : bool
        Also delete the sources.
    sources : sequence of Source
        The sources of `held`.
    """

    kind: str
    frame: Any
    held: Any
    warn: bool = False
    delete_sources: bool = False
    sources: Sequence[Source] = ()

    def group(self) -> tuple[str, bool, bool]:
        """Return the key by which consecutive changes are written together."""
        return self.kind, self.warn, self.delete_sources

    def hold(self, give_id: GiveId, root: str | None) -> None:
        """Set the id of the frame, and keep a copy, because the caller may reuse the object."""
        if isinstance(self.frame, SingleFrame | FrameGroup):
            # An invalid frame is rejected when it is written, with the usual message.
            with suppress(FramelodeError):
                give_id(self.frame, root)
                self.held = _copied(self.frame)
                self.sources = sources_of(self.held)

    def hold_id(self) -> None:
        """Keep the current id of the frame; a deletion needs nothing else."""
        if isinstance(self.frame, SingleFrame | FrameGroup) and self.frame.id is not None:
            self.held = self.frame.id

    def hand_back(self) -> None:
        """Set the uploaded sources on the caller's frame, unless its sources have changed."""
        if self.kind == "delete" or self.held is self.frame:
            return
        uploaded = sources_of(self.held)
        if uploaded != self.sources and sources_of(self.frame) == self.sources:
            put_back(self.frame, uploaded)


def _copied(frame: SingleFrame | FrameGroup) -> SingleFrame | FrameGroup:
    """Return a copy of a frame. Skip validation if possible, because writing validates it."""
    if isinstance(frame, SingleFrame) and screen([frame]):
        with suppress(ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            return restore(encode_record(frame), frame.id)
    return copy.copy(frame)
