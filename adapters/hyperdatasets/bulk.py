"""`BulkContext`: changes made one at a time, recorded together."""

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
from ...engine.frames.source import Source
from ...engine.sources.relocation import put_back, sources_of
from ...engine.validation import at_least, how_many, shorten
from ...engine.writes.encoder import check_root
from .version_writer import failures_of, logger

if TYPE_CHECKING:
    from ..uploads.target import PathLike
    from .writing import FrameWrites

DEFAULT_FLUSH_THRESHOLD = 1000

Log = logging.Logger | logging.LoggerAdapter[Any]


class BulkContext:
    """Gathers changes of one version and records them every `flush_threshold` changes and on exit.

    Get one from `DatasetVersion.get_bulk_context`: that one is also flushed before its version is committed or
    published. The order of changes is kept, and frames are recorded as they are when they are handed over. An exception
    inside the ``with`` block still records what was complete before it; what a flush could not record waits for the
    next one. Several threads may use one.

    Parameters
    ----------
    dv : DatasetVersion
        The draft that is changed.
    flush_threshold : int, optional
        1000 if not given.
    log : logging.Logger, optional
        Told of each flush.
    refresh_version_stats : bool
        Commit once on exit.
    auto_upload_destination : str, optional
        URL that local files are uploaded to with each flush; see `DatasetVersion.add_frames`.
    local_dataset_root_path : path, optional
        Folder that holds all local files, and that derived ids are relative to.
    allow_update : bool
        Updates merge into what is there; otherwise they are adds.

    Raises
    ------
    FramesRejected
        On a flush: some frames were refused; all others were recorded.
    PublishedError
        The version takes no changes.
    """

    def __init__(
        self,
        dv: FrameWrites,
        flush_threshold: int | None = None,
        log: Log | None = None,
        refresh_version_stats: bool = True,
        auto_upload_destination: str | None = None,
        local_dataset_root_path: PathLike | None = None,
        allow_update: bool = False,
    ) -> None:
        from .writing import FrameWrites

        if not isinstance(dv, FrameWrites):
            raise InvalidValueError(f"dv must be a DatasetVersion, not {shorten(dv)}")
        dv._require_draft()  # noqa: SLF001 - of this package, as are those below
        if log is not None and not isinstance(log, logging.Logger | logging.LoggerAdapter):
            raise InvalidValueError(f"log must be a logging.Logger, not {shorten(log)}")
        threshold = DEFAULT_FLUSH_THRESHOLD if flush_threshold is None else flush_threshold
        self._threshold = at_least(threshold, "flush_threshold", 1)
        self._version = dv
        self._writer = dv._writer  # noqa: SLF001
        self._log = log or logger
        self._refresh = bool(refresh_version_stats)
        self._upload = dv._upload(auto_upload_destination, local_dataset_root_path)  # noqa: SLF001
        target = None if self._upload is None else self._upload.target
        own = check_root(local_dataset_root_path) or dv._root  # noqa: SLF001
        self._root = own if target is None else target.root
        self._allow_update = bool(allow_update)
        forks.renewed(self._renew)

    def _renew(self) -> None:
        """Begin with nothing gathered: what a parent has gathered before a fork is recorded by the parent."""
        self._lock = threading.Lock()
        self._recording = threading.Lock()
        self._changes: list[PendingChange] = []
        self._failures: list[dict[str, Any]] = []

    def add_frame(self, frame: SingleFrame | FrameGroup, warn_on_duplicate_frames: bool = False) -> None:
        """Add a frame, as it is now, with the next flush; see `DatasetVersion.add_frames`. Its id is set at once."""
        self._gather("add", frame, warn=warn_on_duplicate_frames)

    def update_frame(self, frame: SingleFrame | FrameGroup) -> None:
        """Update a frame with the next flush: merged when `allow_update` is set, else as an add.

        What the version holds of it stays when its upload fails.
        """
        # Without uploads an add does the same, and is recorded together with others.
        self._gather("update" if self._allow_update or self._upload else "add", frame)

    def delete_frame(self, frame: SingleFrame | FrameGroup | str, delete_sources: bool = False) -> None:
        """Delete a frame with the next flush; see `DatasetVersion.delete_frames`.

        With `delete_sources`, where a source is of a kind that cannot be deleted, all deletions that follow each other
        and are recorded together are refused.
        """
        self._gather("delete", frame, delete_sources=delete_sources)

    def flush(self) -> None:
        """Record what was gathered."""
        self.record()
        self.raise_refused()

    def finish(self, *, commit: bool) -> None:
        """Record what was gathered, commit if asked to, and only then say what was refused."""
        self.record()
        if commit:
            self._version._commit_written()  # noqa: SLF001
        self.raise_refused()

    def record(self) -> None:
        """Record what was gathered, and keep what was refused for `raise_refused`."""
        # What one thread has taken is recorded before another takes what was gathered after it.
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
        """Raise `FramesRejected` for what was refused since the last time, if anything was."""
        failures, self._failures = self._failures, []
        if failures:
            raise FramesRejected(failures)

    def is_like(self, other: BulkContext) -> bool:
        """Say whether another context was made with arguments that mean the same."""
        return self._arguments() == other._arguments()

    def _arguments(self) -> tuple[object, ...]:
        of_frames = (self._upload, self._root, self._allow_update)
        return self._threshold, self._log, self._refresh, *of_frames

    def _gather(self, kind: str, frame: Any, *, warn: bool = False, delete_sources: bool = False) -> None:
        change = PendingChange(kind, frame, frame, bool(warn), bool(delete_sources))
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
        """Delete frames and their sources; where one can never be deleted all are refused, so that the rest goes on."""
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
        return f"BulkContext({self._version!r}, {how_many(len(self._changes), 'change')} to be recorded)"


GiveId = Callable[[Any, "str | None"], object]


class PendingChange(msgspec.Struct, gc=False):
    """One change that waits.

    Attributes
    ----------
    kind : str
        ``add``, ``update`` or ``delete``.
    frame : SingleFrame, FrameGroup or any
        What the caller passed.
    held : SingleFrame, FrameGroup or any
        What is recorded: `frame` as it was when it was handed over.
    sources : sequence of Source
        Its sources then.
    """

    kind: str
    frame: Any
    held: Any
    warn: bool = False
    delete_sources: bool = False
    sources: Sequence[Source] = ()

    def group(self) -> tuple[str, bool, bool]:
        """Return what changes that are written together have in common."""
        return self.kind, self.warn, self.delete_sources

    def hold(self, give_id: GiveId, root: str | None) -> None:
        """Give the frame an id, and keep it as it is: whoever passed it may change it for the next one."""
        if isinstance(self.frame, SingleFrame | FrameGroup):
            # What is not valid is refused when it is written, in the words of that.
            with suppress(FramelodeError):
                give_id(self.frame, root)
                self.held = _copied(self.frame)
                self.sources = sources_of(self.held)

    def hold_id(self) -> None:
        """Keep the id that the frame has now: that is all a deletion needs."""
        if isinstance(self.frame, SingleFrame | FrameGroup) and self.frame.id is not None:
            self.held = self.frame.id

    def hand_back(self) -> None:
        """Make the frame that was passed name its uploads, unless its sources were changed since."""
        if self.kind == "delete" or self.held is self.frame:
            return
        uploaded = sources_of(self.held)
        if uploaded != self.sources and sources_of(self.frame) == self.sources:
            put_back(self.frame, uploaded)


def _copied(frame: SingleFrame | FrameGroup) -> SingleFrame | FrameGroup:
    """Return a copy of a frame; it is validated here only if it must be, as writing validates it anyway."""
    if isinstance(frame, SingleFrame) and screen([frame]):
        with suppress(ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            return restore(encode_record(frame), frame.id)
    return copy.copy(frame)
