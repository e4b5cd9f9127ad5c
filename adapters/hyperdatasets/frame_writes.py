"""Writing frames through a version object, and committing what was written."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...engine.frames import SingleFrame
from ...engine.groups import FrameGroup
from .bulk import BulkContext
from .callers import warn_caller
from .handle import VersionHandle
from .writing import Failure, failures_of, logger, raise_if_refused

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

Frames = Iterable[SingleFrame | FrameGroup]


class FrameWrites(VersionHandle):
    """The methods that write frames, commit and publish."""

    _bulk: BulkContext | None = None

    def add_frames(
        self,
        frames: Frames,
        warn_on_duplicate_frames: bool = False,
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        *,
        local_dataset_root_path: str | Path | None = None,
        progress_report: int = 1,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> list[Failure]:
        """Add frames; an id that the version holds is overwritten, and `frame.id` is set where there was none.

        Parameters
        ----------
        frames : iterable of SingleFrame or FrameGroup
            Consumed batch by batch; a generator will do.
        warn_on_duplicate_frames : bool
            Warn of ids that were already added through this object.
        batch_size : int
            Frames in one record batch, at most 10,000; an append takes eight.
        refresh_version_stats : bool
            Commit once at the end.
        local_dataset_root_path : path, optional
            Folder that ids derived from local sources are relative to, so that machines agree.
        progress_report : int
            Log after every that many batches.
        callback : fsspec.callbacks.Callback, optional
            Told of the frames done (ours).
        command_id : str, optional
            Repeated with the same frames the call does nothing twice and finishes what was left (ours).

        Returns
        -------
        list of dict
            One ``{"frame", "error", "error_type"}`` for each frame that was not added; all others were.

        Raises
        ------
        PublishedError
            The version takes no changes.
        """
        report = self._writer.add(
            frames,
            batch_size=batch_size,
            warn_on_duplicates=warn_on_duplicate_frames,
            root=local_dataset_root_path,
            command_id=command_id,
            on_part=_Progress(callback, progress_report),
        )
        self._refresh(refresh_version_stats)
        return failures_of(report)

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
        without_fields : list of str, optional
            None replaces the whole frame. Anything else merges: the fields named are not sent, ``meta`` is merged
            key by key and deep, others are replaced as a whole; nothing can be removed.

        Raises
        ------
        FramesRejected
            Some frames were refused; all others were written.
        PublishedError
            The version takes no changes.
        """
        report = self._writer.update(
            frames,
            batch_size=batch_size,
            without_fields=without_fields,
            command_id=command_id,
            on_part=_Progress(callback),
        )
        self._refresh(refresh_version_stats)
        raise_if_refused(report)

    def delete_frames(
        self,
        frames: Iterable[Any],
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        *,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> None:
        """Delete frames given by id, frame or dict; one warning counts the ids that are not there.

        Raises
        ------
        FramesRejected
            Some entries name no frame; all others were deleted.
        PublishedError
            The version takes no changes.
        """
        report = self._writer.delete(
            frames, batch_size=batch_size, command_id=command_id, on_part=_Progress(callback)
        )
        self._refresh(refresh_version_stats)
        raise_if_refused(report)

    def get_bulk_context(
        self,
        flush_threshold: int | None = None,
        log: Any = None,
        refresh_version_stats: bool = True,
        *,
        local_dataset_root_path: str | Path | None = None,
        allow_update: bool = False,
    ) -> BulkContext:
        """Return the context that gathers changes made one at a time; there is one for each object.

        A second call returns the same context, and warns when its arguments differ.
        """
        arguments = (flush_threshold, log, refresh_version_stats, local_dataset_root_path, allow_update)
        if self._bulk is None:
            self._bulk = BulkContext(self._writer, self.commit_version, *arguments)
        elif self._bulk.arguments != arguments:
            warn_caller("this version has a bulk context already; its arguments stay", UserWarning)
        return self._bulk

    def flush(self, refresh_version_stats: bool = True) -> None:
        """Record what the bulk context has gathered, if there is one."""
        if self._bulk is not None:
            self._bulk.finish(commit=refresh_version_stats)

    def commit_version(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002 - the API that is followed takes any
        """Bring the statistics up to date and record the counts of the changes since the last commit.

        Returns
        -------
        dict
            ``added``, ``updated``, ``deleted``, ``total``, ``failed`` (0 here) and ``errors`` (empty).
        """
        counts = self._engine.commands.commit_version(self._id)
        self._engine.catch_up()
        self._engine.states.save_snapshot(self._id)
        return {**counts, "failed": 0, "errors": []}

    def publish_version(self) -> bool:
        """Commit what is left and freeze the version; False when it is published already."""
        published = self._engine.commands.publish_version(self._id)
        self._engine.catch_up()
        self._engine.states.save_snapshot(self._id)
        return published

    def _refresh(self, wanted: bool) -> None:
        if wanted:
            self.commit_version()


class _Progress:
    """Tells a callback and the log how far a call has come."""

    def __init__(self, callback: Callback | None, every: int = 0) -> None:
        self._callback = callback
        self._every = every
        self._batches = 0
        self._done = 0

    def __call__(self, report: Any) -> None:
        done = report.events + report.unchanged + report.unknown + report.duplicates + len(report.refusals)
        if self._callback is not None:
            self._callback.relative_update(done - self._done)
        self._done = done
        self._batches += 1
        if self._every and self._batches % self._every == 0:
            logger.info("%d frames registered", done)
