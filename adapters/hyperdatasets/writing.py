"""Writing frames through a version object, and committing what was written."""

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
        """Add frames; an id that the version holds is overwritten, and `frame.id` is set where there was none.

        What an iterator yields is recorded as it was when it was yielded. One object that it yields several times without
        an id stands for several frames, and gets none. If the iterator raises, what it yielded before is recorded, then
        its error goes on.

        With a destination, local files (sources, previews, masks) are uploaded first, and the frames, the objects
        passed included, then name the uploads. Content that was uploaded to the same destination before, for any
        dataset, is linked and not sent again; nothing there is ever overwritten.

        Parameters
        ----------
        frames : iterable of SingleFrame or FrameGroup
            Consumed batch by batch; a generator will do.
        warn_on_duplicate_frames : bool
            Warn of ids that were already added through this object.
        batch_size : int
            Frames in one record batch, at most 10,000; an append takes eight, or as many as suit the
            destination while files are uploaded; of batches below 1,000 one.
        refresh_version_stats : bool
            Commit once at the end.
        auto_upload_destination : str, optional
            URL that local files are uploaded to, as ``<destination>/<dataset_id>/<version_name>.<version_id>/<path
            relative to local_dataset_root_path>``: ``s3``, ``gs``, ``az``, ``azure``, ``abfs``, ``http``, ``https``,
            ``file``, ``memory`` or a folder; or ``blobs:``, the engine's own store.
        local_dataset_root_path : path, optional
            Folder that holds all local files; required with `auto_upload_destination`, unless this object was made
            with one, which counts for all that it writes. Ids derived from local sources are relative to it, so that machines agree.
        force_upload : bool
            Upload also content that is at the destination already, under a name of its own.
        progress_report : int, optional
            Log after every that many frames, as soon as the append is done that holds them; never with 0 or None.
        register_on_upload_failure : bool
            Register frames whose upload failed with their local URIs.
        upload_retries : int
            How often a destination that refuses is asked again, with growing waits.
        src_to_dst_mapping : dict of str to str, optional
            URL for each source (path or URI) that is to be uploaded; a URL that ends in a slash is a folder. Instead
            of `auto_upload_destination`.
        unregister_on_upload_fail : bool
            Delete frames whose upload failed, if the version holds them.
        callback : fsspec.callbacks.Callback, optional
            Told of the frames done (ours).
        command_id : str, optional
            Repeated with the same frames the call does nothing twice and finishes what was left (ours). Frames whose
            upload failed the first time and not the second make it another call, as does `force_upload`: a
            `ConflictError`.

        Returns
        -------
        list of dict
            One ``{"frame", "error", "error_type"}`` for each frame that failed; all others were added. A
            `NotRecordedWarning` counts them and shows the first.

        Raises
        ------
        PublishedError
            The version takes no changes. Where this or another error cuts a call off, a note of it tells what failed before.
        UsageError
            `auto_upload_destination` and `src_to_dst_mapping` are both given, or `local_dataset_root_path` is
            missing, or the destination is of an unknown kind or needs a library that is not installed.
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
        """Add frames in wire form, as `to_dict` and `get_iterator` with a projection give it (ours).

        Nothing is uploaded, also where this object was made with a destination: use `add_frames` for that.

        Parameters
        ----------
        frames : iterable of dict
            Any of ``id, context_id, timestamp, sources, rois, meta`` each; the dicts stay as they are. The rest is as in
            `add_frames`.

        Returns
        -------
        list of dict
            One ``{"frame", "error", "error_type"}`` for each dict that is no frame or was refused; all others were
            added. A `NotRecordedWarning` counts them and shows the first.
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
        """Replace frames by id, or merge into them; frames without an id or with an unknown one are created.

        Parameters
        ----------
        frames : iterable of SingleFrame or FrameGroup
            Consumed batch by batch. What is not told here is as in `add_frames`.
        without_fields : list of str, optional
            None replaces the whole frame. Anything else merges: the fields named are not sent, ``meta`` is merged
            key by key and deep, others are replaced as a whole; nothing can be removed.

        Raises
        ------
        FramesRejected
            Some frames were refused, or their upload failed: the version holds what it held of them; all others were
            written.
        PublishedError
            The version takes no changes.
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
        """Delete frames given by id, frame or dict; one warning counts the ids that are not there.

        Parameters
        ----------
        frames : iterable of str, SingleFrame, FrameGroup or dict
            Of frames and dicts the ids count. What is not told here is as in `add_frames`.
        delete_sources : bool
            Delete the files, too, that the frames name and no frame of any existing version names any more: objects
            on s3, gs and azure, and contents in ``blobs:``. Every store is asked for all of them first; a failure
            there leaves everything as it is.

        Returns
        -------
        SourceDeletion or None
            With `delete_sources` what was deleted, what was kept, and what could not be deleted, which is warned of.

        Raises
        ------
        FramesRejected
            Some entries name no frame; all others were deleted.
        PublishedError
            The version takes no changes.
        UsageError
            `delete_sources`, and a source is of another kind; nothing was deleted.
        StorageError
            `delete_sources`, and a store cannot be asked; nothing was deleted.
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
        """Return the context that gathers changes made one at a time; there is one for each object.

        A second call returns the same context, and warns when its arguments differ. Local files are uploaded with
        each flush; see `add_frames`. The arguments are those of `BulkContext`.

        Raises
        ------
        PublishedError
            The version takes no changes.
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
            warn_caller("this version has a bulk context already; its arguments stay", UserWarning)
        return self._bulk

    def flush(self, refresh_version_stats: bool = True) -> None:
        """Record what the bulk context has gathered, if there is one, and commit if `refresh_version_stats` is set."""
        if self._bulk is not None:
            self._bulk.finish(commit=refresh_version_stats)

    def commit_version(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002 - the API that is followed takes any
        """Bring the statistics up to date and record the counts of the changes since the last commit.

        What the bulk context has gathered is recorded first.

        Returns
        -------
        dict
            ``added``, ``updated``, ``deleted``, ``total``, ``failed`` (0 here) and ``errors`` (empty).

        Raises
        ------
        FramesRejected
            Some frames that the bulk context had gathered were refused; all others are committed.
        """
        if self._bulk is None:
            return self._commit()
        self._bulk.record()
        counts = self._commit()
        self._bulk.raise_refused()
        return counts

    def _commit(self) -> dict[str, Any]:
        counts = self._session.writes.commands.commit_version(self._id)
        self._session.runner.catch_up_all()
        self._session.states.save_snapshot(self._id)
        return {**counts, "failed": 0, "errors": []}

    def publish_version(self) -> bool:
        """Commit pending changes and freeze the version. Return False if it is already published.

        Raises
        ------
        FramesRejected
            Some frames that the bulk context had gathered were refused: all others are recorded, and the version stays a
            draft.
        """
        self._settle()
        published = self._session.writes.commands.publish_version(self._id)
        self._session.runner.catch_up_all()
        self._session.states.save_snapshot(self._id)
        return published

    def _settle(self) -> None:
        self.flush(refresh_version_stats=False)

    def _require_draft(self) -> None:
        self._session.writes.commands.version(self._id).require_draft()

    def _upload(
        self, destination: str | None = None, root: PathLike | None = None, options: Upload = NO_OPTIONS
    ) -> Upload | None:
        """Return what the arguments of a call say of uploads; what they leave open is what this object was made with."""
        if destination is not None and options.mapping is not None:
            raise UsageError("auto_upload_destination and src_to_dst_mapping exclude each other: give one")
        if options.mapping is not None:
            return options
        if destination is None and self._target is not None:
            destination = self._target.destination
        target = check_target(destination, self._root if root is None else root)
        if target is None:
            return None
        if target.destination == SCHEME:
            _ = self._session.blobs  # an engine without a store says so here, not when a bulk context is full
        return msgspec.structs.replace(options, target=target)

    def _refresh(self, wanted: bool, report: WriteReport) -> None:
        """Commit what a call has written; a repeated command only where its first time was cut off before that."""
        if not wanted or (report.repeated and not report.spans and self._holds_commit_of(report.repeated)):
            return
        self._commit_written()

    def _commit_written(self) -> None:
        # Whoever published the version meanwhile has committed all; a removed one needs no commit.
        with suppress(PublishedError, NotFoundError):
            self._commit()

    def _holds_commit_of(self, position: int) -> bool:
        version = self._session.writes.commands.version(self._id)
        return self._session.log.batch_at(position).last_version <= version.committed_version
