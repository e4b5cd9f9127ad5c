"""Methods that write frames through a version object, and commit or publish them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...engine.blobs.uris import SCHEME
from ...engine.errors import NotFoundError, PublishedError, UsageError
from ...engine.frames.frame_group import FrameGroup
from ...engine.frames.single_frame import SingleFrame
from ...engine.validation import at_least
from ...engine.writes.report import WriteReport
from ..uploads.target import PathLike, check_mapping, check_target
from .api_helpers import warn_caller
from .bulk import BulkContext
from .version_base import VersionBase
from .version_writer import (
    NO_OPTIONS,
    UPLOAD_RETRIES,
    Failure,
    Progress,
    Upload,
    raise_if_refused,
    warn_of_failures,
)

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

    from .source_deletion import SourceDeletion

Frames = Iterable[SingleFrame | FrameGroup]


class FrameWrites(VersionBase):
    """The methods that write frames, commit and publish."""

    _bulk: BulkContext | None = None

    def add_frames(
        self,
        frames: Frames,
        warn_on_duplicate_frames: bool = False,
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        auto_upload_destination: str | None = None,
        local_dataset_root_path: str | Path | None = None,
        force_upload: bool = False,
        progress_report: int | None = 1,
        register_on_upload_failure: bool = False,
        upload_retries: int = UPLOAD_RETRIES,
        src_to_dst_mapping: Mapping[str, str] | None = None,
        unregister_on_upload_fail: bool = True,
        *,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> list[Failure]:
        """Add frames. A frame with an existing id replaces that frame; a frame without an id gets one in `frame.id`.

        Each frame is recorded as it was when the iterable yielded it. If an iterable yields the same object several times
        without an id, each time is a separate frame, and the object gets no id. If the iterable raises an error, the frames
        before it are recorded, and the error propagates.

        With a destination, local files (sources, previews, masks) are uploaded first. The recorded frames and the objects
        passed then refer to the uploads. Content that was uploaded to the same destination before, for any dataset, is
        linked instead of uploaded again. Files at the destination are never overwritten.

        Parameters
        ----------
        frames : iterable of SingleFrame or FrameGroup
            Frames, which are consumed in batches. It may be a generator.
        warn_on_duplicate_frames : bool
            Warn about ids that were already added through this object.
        batch_size : int
            Number of frames in a record batch, at most 10,000. One transaction appends eight batches, or with uploads as
            many as suit the destination. Batches of fewer than 1,000 frames are appended one by one.
        refresh_version_stats : bool
            Commit once at the end of the call.
        auto_upload_destination : str, optional
            URL to upload local files to, with the scheme ``s3``, ``gs``, ``az``, ``azure``, ``abfs``, ``http``, ``https``,
            ``file`` or ``memory``; or a folder; or ``blobs:``, the blob store of the engine. Files are named
            ``<destination>/<dataset_id>/<version_name>.<version_id>/<path relative to local_dataset_root_path>``.
        local_dataset_root_path : path, optional
            Folder that contains all local files. It is required with `auto_upload_destination`, unless this object was
            created with one. Ids derived from local sources use paths relative to it, so they are the same on every machine.
        force_upload : bool
            Upload a file under a name of its own even if the destination already has its content.
        progress_report : int, optional
            Log progress after this many frames, once they are appended. 0 or None disables it.
        register_on_upload_failure : bool
            Add frames whose upload failed, with their local URIs.
        upload_retries : int
            Number of retries of a failed upload, with exponential backoff.
        src_to_dst_mapping : dict of str to str, optional
            Destination URL by source (path or URI), instead of `auto_upload_destination`. A URL that ends in a slash is a
            folder.
        unregister_on_upload_fail : bool
            Delete frames whose upload failed, if the version has them.
        callback : fsspec.callbacks.Callback, optional
            Receives the number of completed frames (extension).
        command_id : str, optional
            Idempotency key (extension). If the call is repeated with the same frames, it records nothing twice and
            completes what was left. The call counts as different, and raises `ConflictError`, if `force_upload` is set or if
            frames are uploaded whose upload failed the first time.

        Returns
        -------
        list of dict
            One ``{"frame", "error", "error_type"}`` for each frame that failed. All others were added. A
            `NotRecordedWarning` gives their number and the first error.

        Raises
        ------
        PublishedError
            The version is published. If a call stops early with an error, a note on the error lists earlier failures.
        UsageError
            `auto_upload_destination` and `src_to_dst_mapping` are both given, `local_dataset_root_path` is missing, or the
            destination has an unknown scheme or needs a library that is not installed.
        ConflictError
            `command_id` was used before with other frames.
        """
        options = Upload(
            mapping=check_mapping(src_to_dst_mapping),
            force=force_upload,
            retries=at_least(upload_retries, "upload_retries", 0),
            register_on_failure=register_on_upload_failure,
            unregister_on_failure=unregister_on_upload_fail,
        )
        upload = self._upload(auto_upload_destination, local_dataset_root_path, options)
        report = self._writer.add(
            frames,
            batch_size=batch_size,
            warn_on_duplicates=warn_on_duplicate_frames,
            root=local_dataset_root_path,
            upload=upload,
            command_id=command_id,
            on_part=Progress(callback, progress_report, failed_too=register_on_upload_failure),
        )
        self._refresh(refresh_version_stats, report)
        return warn_of_failures(report)

    def add_dicts(
        self,
        frames: Iterable[Mapping[str, Any]],
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        *,
        local_dataset_root_path: str | Path | None = None,
        progress_report: int | None = 1,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> list[Failure]:
        """Add frames in wire form, as returned by `to_dict` and by `get_iterator` with a projection (extension).

        Files are never uploaded, even if this object was created with a destination; use `add_frames` for that.

        Parameters
        ----------
        frames : iterable of dict
            Dicts with any of ``id, context_id, timestamp, sources, rois, meta, num_frames``. They are not modified. The other
            parameters are described at `add_frames`.

        Returns
        -------
        list of dict
            One ``{"frame", "error", "error_type"}`` for each dict that is not a valid frame. All others were added. A
            `NotRecordedWarning` gives their number and the first error.

        Raises
        ------
        PublishedError
            The version is published.
        ConflictError
            `command_id` was used before with other frames.
        """
        report = self._writer.add_dicts(
            frames,
            batch_size=batch_size,
            root=local_dataset_root_path,
            command_id=command_id,
            on_part=Progress(callback, progress_report),
        )
        self._refresh(refresh_version_stats, report)
        return warn_of_failures(report)

    def update_frames(
        self,
        frames: Frames,
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        without_fields: Collection[str] | bool | None = None,
        *,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> None:
        """Replace or merge frames by id. Frames without an id or with an unknown id are created.

        Parameters
        ----------
        frames : iterable of SingleFrame or FrameGroup
            Frames, which are consumed in batches. The other parameters are described at `add_frames`.
        without_fields : list of str, optional
            None replaces the whole frame. Any other value merges: the fields listed are left unchanged, ``meta`` is merged
            recursively by key, and other fields are replaced. Merging cannot remove anything.

        Raises
        ------
        FramesRejected
            Some frames are invalid or their upload failed. These frames are unchanged in the version; all others were
            written.
        PublishedError
            The version is published.
        ConflictError
            `command_id` was used before with other frames.
        """
        report = self._writer.update(
            frames,
            batch_size=batch_size,
            without_fields=without_fields,
            upload=self._upload(),
            command_id=command_id,
            on_part=Progress(callback),
        )
        self._refresh(refresh_version_stats, report)
        raise_if_refused(report)

    def delete_frames(
        self,
        frames: Iterable[Any],
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        delete_sources: bool = False,
        *,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> SourceDeletion | None:
        """Delete frames by id, frame or dict. One warning counts the ids that the version does not have.

        Parameters
        ----------
        frames : iterable of str, SingleFrame, FrameGroup or dict
            Ids, or objects with an id. The other parameters are described at `add_frames`.
        delete_sources : bool
            Also delete the source files of the frames if no frame of an existing version refers to them: objects in s3, gs
            and azure, and blobs in ``blobs:``. All stores are queried before anything is deleted; if a query fails, nothing
            changes.

        Returns
        -------
        SourceDeletion or None
            With `delete_sources`: which sources were deleted, kept or failed. A warning reports failures.

        Raises
        ------
        FramesRejected
            Some entries have no id. All others were deleted.
        PublishedError
            The version is published.
        ConflictError
            `command_id` was used before with other frames.
        UsageError
            `delete_sources` is set, and a source cannot be deleted because of its scheme. Nothing was deleted.
        StorageError
            `delete_sources` is set, and a store cannot be queried. Nothing was deleted.
        """
        progress = Progress(callback)
        if delete_sources:
            report, sources = self._writer.delete_with_sources(
                frames, batch_size=batch_size, command_id=command_id, on_part=progress
            )
        else:
            sources = None
            report = self._writer.delete(
                frames, batch_size=batch_size, command_id=command_id, on_part=progress
            )
        self._refresh(refresh_version_stats, report)
        raise_if_refused(report)
        return sources

    def get_bulk_context(
        self,
        flush_threshold: int | None = None,
        log: Any = None,
        refresh_version_stats: bool = True,
        auto_upload_destination: str | None = None,
        local_dataset_root_path: str | Path | None = None,
        allow_update: bool = False,
    ) -> BulkContext:
        """Return the bulk context of this object, which collects changes and records them together.

        A second call returns the same context, and warns if its arguments differ. Each flush uploads local files; see
        `add_frames`. The parameters are described at `BulkContext`.

        Raises
        ------
        PublishedError
            The version is published.
        UsageError
            The upload destination cannot be used; see `add_frames`.
        """
        context = BulkContext(
            self,
            flush_threshold,
            log,
            refresh_version_stats,
            auto_upload_destination,
            local_dataset_root_path,
            allow_update,
        )
        if self._bulk is None:
            self._bulk = context
        elif not self._bulk.is_like(context):
            warn_caller("this version already has a bulk context: the new arguments are ignored", UserWarning)
        return self._bulk

    def flush(self, refresh_version_stats: bool = True) -> None:
        """Record the changes in the bulk context, if there is one.

        Parameters
        ----------
        refresh_version_stats : bool
            Commit afterwards.

        Raises
        ------
        FramesRejected
            Some frames were rejected. All others are recorded.
        PublishedError
            The version is published.
        """
        if self._bulk is not None:
            self._bulk.finish(commit=refresh_version_stats)

    def commit_version(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002 - ClearML's method accepts any
        """Update the statistics, and record the number of changes since the last commit.

        The changes in the bulk context are recorded first.

        Parameters
        ----------
        **kwargs
            Ignored.

        Returns
        -------
        dict
            ``added``, ``updated``, ``deleted``, ``total``, ``failed`` (always 0) and ``errors`` (always empty).

        Raises
        ------
        FramesRejected
            Some frames in the bulk context were rejected. All others are committed.
        PublishedError
            The version is published.
        """
        if self._bulk is None:
            return self._commit()
        self._bulk.record()
        counts = self._commit()
        self._bulk.raise_refused()
        return counts

    def _commit(self) -> dict[str, Any]:
        counts = self._session.writes.versions.commit_version(self._id)
        self._session.runner.catch_up_all()
        self._session.states.save_snapshot(self._id)
        return {**counts, "failed": 0, "errors": []}

    def publish_version(self) -> bool:
        """Commit pending changes and publish the version, which can then no longer be changed.

        Returns
        -------
        bool
            False if the version is already published.

        Raises
        ------
        FramesRejected
            Some frames in the bulk context were rejected. All others are recorded, and the version stays a draft.
        """
        self._settle()
        published = self._session.writes.versions.publish_version(self._id)
        self._session.runner.catch_up_all()
        self._session.states.save_snapshot(self._id)
        return published

    def _settle(self) -> None:
        self.flush(refresh_version_stats=False)

    def _require_draft(self) -> None:
        self._session.writes.application.version(self._id).require_draft()

    def _upload(
        self, destination: str | None = None, root: PathLike | None = None, options: Upload = NO_OPTIONS
    ) -> Upload | None:
        """Return the upload options of a call. The defaults are those that this object was created with."""
        if destination is not None and options.mapping is not None:
            raise UsageError(
                "auto_upload_destination and src_to_dst_mapping exclude each other: pass one of them"
            )
        if options.mapping is not None:
            return options
        if destination is None and self._target is not None:
            destination = self._target.destination
        target = check_target(destination, self._root if root is None else root)
        if target is None:
            return None
        if target.destination == SCHEME:
            _ = self._session.blobs  # raises now, not on a later flush, if the engine has no blob store
        return msgspec.structs.replace(options, target=target)

    def _refresh(self, wanted: bool, report: WriteReport) -> None:
        """Commit what a call wrote. A repeated command is committed only if its first run stopped before the commit."""
        if not wanted or (report.repeated and not report.spans and self._holds_commit_of(report.repeated)):
            return
        self._commit_written()

    def _commit_written(self) -> None:
        # Publishing has already committed everything, and a removed version needs no commit.
        with suppress(PublishedError, NotFoundError):
            self._commit()

    def _holds_commit_of(self, position: int) -> bool:
        version = self._session.writes.application.version(self._id)
        return self._session.log.batch_at(position).last_version <= version.committed_version
