"""Writes to a version: checks the arguments of a call, uploads, commits, and reports failures."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

from ...engine.blobs.uris import SCHEME
from ...engine.errors import FramesRejected, InvalidValueError, NotFoundError, PublishedError, UsageError
from ...engine.frames.frame_group import FrameGroup
from ...engine.frames.single_frame import SingleFrame
from ...engine.times import system_clock
from ...engine.validation import at_least, how_many, identifier, is_series, shorten
from ...engine.writes.decisions import check_without_fields
from ...engine.writes.encoder import FrameEncoder, Refusal, WireEncoder
from ...engine.writes.report import WriteReport
from ...engine.writes.writer import APPEND_BATCHES, Parts
from ..display.progress import Advance, bar, in_notebook
from ..session.session import Session
from ..uploads.target import PathLike, UploadTarget, check_target, version_folder
from .api_helpers import UPLOAD_RETRIES, warn_caller
from .lineage import record_published
from .selectors import version_by_id

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

    from ..arrow.tables import TableReader
    from ..uploads.encoder import UploadingEncoder
    from .source_deletion import SourceDeletion

logger = logging.getLogger("framelode.hyperdatasets")

DEFAULT_BATCH_SIZE = 1000

Failure = dict[str, Any]
"""``{"frame", "error", "error_type"}``; the type is ``upload``, ``validation`` or ``register``."""


class NotRecordedWarning(UserWarning):
    """Some frames or values were not recorded. The return value of the call has the details."""


class UnknownFramesWarning(UserWarning):
    """The version does not have some of the frames to delete."""


class DuplicateFramesWarning(UserWarning):
    """Some frames have ids that were already added through the same object."""


class Upload(msgspec.Struct, frozen=True):
    """Options for uploading the local files of frames.

    Attributes
    ----------
    target : UploadTarget or None
        Destination of all files.
    mapping : dict of str to str, optional
        Destination by local path, instead of `target`.
    force : bool
        Upload contents even if the destination already has them.
    retries : int
        Number of retries of a failed upload.
    register_on_failure : bool
        Add frames whose upload failed, with their local URIs.
    unregister_on_failure : bool
        Delete frames whose upload failed, if the version has them.
    """

    target: UploadTarget | None = None
    mapping: dict[str, str] | None = None
    force: bool = False
    retries: int = UPLOAD_RETRIES
    register_on_failure: bool = False
    unregister_on_failure: bool = True


NO_OPTIONS = Upload()


class VersionWriter:
    """Writes to one draft for one `DatasetVersion` object, and remembers the ids added through that object.

    Parameters
    ----------
    session : Session
        The engine.
    version_id : str
        The draft.
    root : str, optional
        Folder for relative paths in derived ids, if a call passes none.
    target : UploadTarget, optional
        Where to upload local files, if a call passes no destination.
    """

    def __init__(
        self, session: Session, version_id: str, root: str | None = None, target: UploadTarget | None = None
    ) -> None:
        self._session = session
        self._version_id = version_id
        self.root = root
        self.target = target
        self._added: list[tuple[int, int]] = []

    def require_draft(self) -> None:
        """Raise `PublishedError` if the version is published."""
        self._session.writes.application.version(self._version_id).require_draft()

    def upload_options(
        self, destination: str | None = None, root: PathLike | None = None, options: Upload = NO_OPTIONS
    ) -> Upload | None:
        """Return the upload options of a call, or None if it uploads nothing. The default destination is `target`."""
        if destination is not None and options.mapping is not None:
            raise UsageError(
                "auto_upload_destination and src_to_dst_mapping exclude each other: pass one of them"
            )
        if options.mapping is not None:
            return options
        if destination is None and self.target is not None:
            destination = self.target.destination
        target = check_target(destination, self._root_of(root))
        if target is None:
            return None
        if target.destination == SCHEME:
            _ = self._session.blobs  # raises now, not on a later flush, if the engine has no blob store
        return msgspec.structs.replace(options, target=target)

    def give_id(self, frame: SingleFrame | FrameGroup, root: str | None) -> None:
        """Set the id that the frame would get when it is added, unless it has one."""
        if frame.id is None:
            FrameEncoder(self._session.new_id, self._root_of(root)).give_id(frame)

    def add(
        self,
        frames: Iterable[Any],
        *,
        batch_size: int = 1000,
        warn_on_duplicates: bool = False,
        root: str | os.PathLike[str] | None = None,
        upload: Upload | None = None,
        command_id: str | None = None,
        on_part: Callable[[WriteReport], None] | None = None,
        is_counted: bool = False,
    ) -> WriteReport:
        """Add frames and return the report. They are counted for the statistics at once if a commit follows."""
        encoder = self._encoder(root, upload, is_counted=is_counted)
        report = self._session.writes.frames.add(
            self._version_id,
            _as_iterable(frames),
            encoder,
            batch_size=batch_size,
            append_batches=_append_batches(encoder, batch_size),
            command_id=command_id,
            on_part=on_part,
        )
        self._unregister(encoder, upload, batch_size, report)
        if warn_on_duplicates:
            self._warn_of_duplicates(report)
        self._remember(report)
        return report

    def add_dicts(
        self,
        wires: Iterable[Any],
        *,
        batch_size: int = 1000,
        root: str | os.PathLike[str] | None = None,
        command_id: str | None = None,
        on_part: Callable[[WriteReport], None] | None = None,
        is_counted: bool = False,
    ) -> WriteReport:
        """Add frames in wire form and return the report. `is_counted` is as in `add`."""
        limit = self._session.max_frame_bytes
        report = self._session.writes.frames.add(
            self._version_id,
            _as_iterable(wires),
            WireEncoder(self._session.new_id, self._root_of(root), limit, keeps_records=is_counted),
            batch_size=batch_size,
            command_id=command_id,
            on_part=on_part,
        )
        self._remember(report)
        return report

    def add_batches(self, batches: Iterable[Sequence[Any]], *, batch_size: int = 1000) -> WriteReport:
        """Add frames in wire form that come some at a time, and return the report. Each is recorded when the next one comes."""
        encoder = WireEncoder(self._session.new_id, self.root, self._session.max_frame_bytes)
        report = self._session.writes.frames.add_parts(
            self._version_id, lambda _: _with_last(batches), encoder, batch_size=batch_size
        )
        self._remember(report)
        return report

    def add_table(
        self,
        table: TableReader,
        columns: Mapping[str, str | None] | None,
        *,
        batch_size: int = 1000,
        root: str | os.PathLike[str] | None = None,
        command_id: str | None = None,
        on_part: Callable[[WriteReport], None] | None = None,
    ) -> WriteReport:
        """Add the rows of a table and return the report. What was refused is the row, as a dict."""
        from ..arrow.encoder import TableEncoder, with_values
        from ..arrow.fields import plan_of
        from ..arrow.tables import parts_of

        def after_part(report: WriteReport) -> None:
            # The rows of a part are in memory only until the next one.
            report.refusals = list(map(with_values, report.refusals))
            if on_part:
                on_part(report)

        plan = plan_of(table.schema, columns)
        encoder = TableEncoder(plan, self._session.new_id, self._root_of(root), self._session.max_frame_bytes)
        report = self._session.writes.frames.add_parts(
            self._version_id,
            lambda size: encoder.encode_parts(parts_of(table.reader, size)),
            encoder,
            batch_size=batch_size,
            command_id=command_id,
            on_part=after_part,
        )
        self._remember(report)
        return report

    def update(
        self,
        frames: Iterable[Any],
        *,
        batch_size: int = 1000,
        without_fields: Any = None,
        root: str | os.PathLike[str] | None = None,
        upload: Upload | None = None,
        command_id: str | None = None,
        on_part: Callable[[WriteReport], None] | None = None,
    ) -> WriteReport:
        """Replace frames, or merge them if `without_fields` is not None. Frames that fail stay unchanged."""
        if upload is not None:
            upload = msgspec.structs.replace(upload, unregister_on_failure=False)
        if without_fields is None:
            return self.add(
                frames,
                batch_size=batch_size,
                root=root,
                upload=upload,
                command_id=command_id,
                on_part=on_part,
            )
        fields = check_without_fields(without_fields)
        upload = None if "sources" in fields else upload
        encoder = self._encoder(root, upload)
        report = self._session.writes.frames.merge(
            self._version_id,
            _as_iterable(frames),
            encoder,
            fields,
            batch_size=batch_size,
            command_id=command_id,
            on_part=on_part,
        )
        self._remember(report)
        return report

    def delete(
        self,
        frames: Iterable[Any],
        *,
        sources: Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 1000,
        command_id: str | None = None,
        on_part: Callable[[WriteReport], None] | None = None,
    ) -> WriteReport:
        """Delete frames by id, object or dict. One warning counts ids that the version does not have."""
        refusals: list[Refusal] = []
        report = self._session.writes.frames.delete(
            self._version_id,
            _ids_of(_as_iterable(frames), refusals),
            sources=sources,
            batch_size=batch_size,
            command_id=command_id,
            on_part=on_part,
        )
        report.refusals += refusals
        if report.unknown:
            message = f"{how_many(report.unknown, 'frame')} to delete not found in the version"
            warn_caller(message, UnknownFramesWarning)
        return report

    def delete_with_sources(
        self,
        frames: Iterable[Any],
        *,
        batch_size: int = 1000,
        command_id: str | None = None,
        on_part: Callable[[WriteReport], None] | None = None,
    ) -> tuple[WriteReport, SourceDeletion]:
        """Delete frames, then the sources that no frame of an existing version refers to."""
        from .source_deletion import SourceDeleter

        given = list(_as_iterable(frames))
        if command_id is None:  # a repeated command may have been recorded before the version was published
            self._session.writes.application.version(self._version_id).require_draft()
        sources = SourceDeleter(self._session)
        named = sources.look_at_frames(self._version_id, list(_ids_of(given, [])))
        report = self.delete(
            given, sources=named, batch_size=batch_size, command_id=command_id, on_part=on_part
        )
        return report, sources.finish()

    def commit(self) -> dict[str, Any]:
        """Commit the changes since the last commit and return their counts."""
        counts = self._session.writes.versions.commit_version(self._version_id)
        self._save_state()
        return {**counts, "failed": 0, "errors": []}

    def commit_written(self) -> None:
        """Commit, unless the version was published, which commits everything, or removed."""
        with suppress(PublishedError, NotFoundError):
            self.commit()

    def commit_report(self, report: WriteReport, *, wanted: bool) -> None:
        """Commit what a call wrote. A repeated command is committed only if its first run stopped before the commit."""
        if not wanted or (report.repeated and not report.spans and self._holds_commit_of(report.repeated)):
            return
        self.commit_written()

    def publish(self) -> bool:
        """Commit and publish the version. Return False if it is already published."""
        began = system_clock()  # that of the session may be replaced, and counts how often it is asked
        published = self._session.writes.versions.publish_version(self._version_id)
        self._save_state()
        if published:
            record_published(self._session, self._version_id, began)
        return published

    def _save_state(self) -> None:
        self._session.runner.catch_up_after_writing()
        self._session.states.save_snapshot(self._version_id)

    def _holds_commit_of(self, position: int) -> bool:
        version = self._session.writes.application.version(self._version_id)
        return self._session.log.batch_at(position).last_version <= version.committed_version

    def _encoder(
        self, root: str | os.PathLike[str] | None, upload: Upload | None, *, is_counted: bool = False
    ) -> FrameEncoder | UploadingEncoder:
        root = self._root_of(root)
        if upload is None:
            limit = self._session.max_frame_bytes
            return FrameEncoder(self._session.new_id, root, limit, keeps_records=is_counted)
        from ..uploads.encoder import UploadingEncoder

        uploads = self._session.writes.uploads
        if upload.target is not None:
            root = upload.target.root
            row = version_by_id(self._session, self._version_id)
            folder = version_folder(row.dataset_id, row.name, row.version_id)
            uploader = uploads.to_target(upload.target, folder, force=upload.force, retries=upload.retries)
        else:
            mapping = upload.mapping or {}
            uploader = uploads.by_mapping(mapping, force=upload.force, retries=upload.retries)
        encoder = FrameEncoder(self._session.new_id, root, self._session.max_frame_bytes)
        ledgers = (
            self._session.writes.source_commands.source_ledger,
            self._session.writes.blob_commands.blob_ledger,
        )
        return UploadingEncoder(encoder, uploader, *ledgers, register_on_failure=upload.register_on_failure)

    def _root_of(self, given: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
        return self.root if given is None else given

    def _unregister(
        self,
        encoder: FrameEncoder | UploadingEncoder,
        upload: Upload | None,
        batch_size: int,
        report: WriteReport,
    ) -> None:
        """Delete the frames whose upload failed, if the version has them."""
        if upload is None or upload.register_on_failure or not upload.unregister_on_failure:
            return
        # A repeated command has no effect: later changes take precedence.
        is_repeated = report.repeated and not report.spans
        if isinstance(encoder, FrameEncoder) or not encoder.failed_ids or is_repeated:
            return
        # If the version was published or removed meanwhile, delete nothing, but still report the failures.
        with suppress(PublishedError, NotFoundError):
            self._session.writes.frames.delete(self._version_id, encoder.failed_ids, batch_size=batch_size)

    def _remember(self, report: WriteReport) -> None:
        for first, last in report.spans:
            if self._added and self._added[-1][1] == first - 1:
                self._added[-1] = (self._added[-1][0], last)
            else:
                self._added.append((first, last))

    def _warn_of_duplicates(self, report: WriteReport) -> None:
        count = report.duplicates
        overwritten = np.concatenate(report.overwritten) if report.overwritten else np.empty(0, np.uint64)
        for first, last in [*self._added, *report.spans]:
            count += int(((overwritten >= first) & (overwritten <= last)).sum())
        if count:
            frames = how_many(count, "frame")
            message = f"{frames} with an id that was already added through this object: the last one is kept"
            warn_caller(message, DuplicateFramesWarning)


def _with_last(batches: Iterable[Sequence[Any]]) -> Parts:
    """Yield batches that are not empty, each with whether it is the last, and no error."""
    waiting: Sequence[Any] = ()
    for batch in filter(None, batches):
        if waiting:
            yield waiting, False, None
        waiting = batch
    if waiting:
        yield waiting, True, None


def _append_batches(encoder: FrameEncoder | UploadingEncoder, batch_size: int) -> int:
    """Return the number of batches in one append. With uploads, the destination decides."""
    if isinstance(encoder, FrameEncoder):
        return APPEND_BATCHES
    if at_least(batch_size, "batch_size", 1) < DEFAULT_BATCH_SIZE:
        return 1  # a caller that passes small batches wants to see progress
    return max(1, encoder.frames_at_once // batch_size)


def failures_of(report: WriteReport) -> list[Failure]:
    """Return the rejected frames in the form that the API returns."""
    return [
        {"frame": refusal.frame, "error": refusal.error, "error_type": refusal.error_type}
        for refusal in report.refusals
    ]


def warn_of_failures(report: WriteReport) -> list[Failure]:
    """Return the rejected frames, and warn about them, because many callers ignore the return value."""
    if report.refusals:
        first = report.refusals[0]
        message = (
            f"{how_many(len(report.refusals), 'frame')} not recorded, the first, {shorten(first.frame)}: {first.error}; "
            "the call returns all of them"
        )
        warn_caller(message, NotRecordedWarning)
    return failures_of(report)


def raise_if_refused(report: WriteReport) -> None:
    """Raise `FramesRejected` if any frames were rejected."""
    if report.refusals:
        raise FramesRejected(failures_of(report))


def _as_iterable(frames: Any) -> Iterable[Any]:
    if isinstance(frames, SingleFrame | FrameGroup | str | dict):
        return [frames]
    if not is_series(frames):
        raise InvalidValueError(
            f"frames must be a list or another iterable of frames, not {type(frames).__name__}"
        )
    return frames


def _ids_of(frames: Iterable[Any], refusals: list[Refusal]) -> Iterator[str]:
    for frame in frames:
        frame_id = frame.get("id") if isinstance(frame, dict) else getattr(frame, "id", frame)
        try:
            yield identifier(frame_id)
        except InvalidValueError:
            allowed = "pass an id, a frame that has one, or a dict with 'id'"
            refusals.append(Refusal(frame, f"{shorten(frame)} has no frame id: {allowed}"))


class Progress:
    """Reports the progress of a call to a callback and to the logger.

    Parameters
    ----------
    callback : fsspec.callbacks.Callback, optional
        Receives the number of completed frames.
    every : int
        Log after this many frames; 0 or None disables it.
    failed_too : bool
        Count frames whose upload failed as registered, because they are.
    frames : iterable, optional
        The frames of the call. Without a callback, notebooks show a bar if they are more than one part.
    """

    def __init__(
        self,
        callback: Callback | None,
        every: int | None = 0,
        *,
        failed_too: bool = False,
        frames: Iterable[Any] = (),
    ) -> None:
        check_callback(callback)
        self._callback = callback
        self._every = 0 if every is None else at_least(every, "progress_report", 0)
        self._failed_too = failed_too
        self._done = self._reported = 0
        self._total = _length(frames)
        self._advance: Advance | None = None
        self._bar = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, report: Any) -> None:
        """Report the progress so far."""
        refused = len(report.refusals)
        if self._failed_too:
            refused -= sum(refusal.error_type == "upload" for refusal in report.refusals)
        done = report.events + report.unchanged + report.unknown + report.duplicates + refused
        if self._callback is not None:
            self._callback.relative_update(done - self._done)
        elif self._advance is not None or (self._goes_on(done) and in_notebook()):
            self._advance = self._advance or self._bar.enter_context(bar("writing frames"))
            self._advance(done, self._total)
        self._done = done
        if self._every and done - self._reported >= self._every:
            self._reported = done
            logger.info("%d frames registered", done)

    def _goes_on(self, done: int) -> bool:
        return done >= DEFAULT_BATCH_SIZE if self._total is None else done < self._total


def _length(frames: Any) -> int | None:
    """Return the number of frames, or None if it is not known before they are read."""
    try:
        return len(frames)
    except TypeError:
        return None


def check_callback(callback: object) -> None:
    """Raise `InvalidValueError` if something is neither None nor a callback of fsspec."""
    if callback is None:
        return
    # fsspec is not imported here otherwise: a caller with such a callback has imported it.
    from fsspec.callbacks import Callback

    if not isinstance(callback, Callback):
        raise InvalidValueError(f"callback must be a fsspec.callbacks.Callback, not {shorten(callback)}")
