"""Writing frames through a version object, and committing what was written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...engine.errors import InvalidValueError, NotFoundError, PublishedError
from ...engine.frames import SingleFrame
from ...engine.groups import FrameGroup
from ...engine.validation import shorten
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
        self._refresh(refresh_version_stats, command_id)
        return failures_of(report)

    def add_dicts(
        self,
        frames: Iterable[Mapping[str, Any]],
        batch_size: int = 1000,
        refresh_version_stats: bool = True,
        *,
        local_dataset_root_path: str | Path | None = None,
        progress_report: int = 1,
        callback: Callback | None = None,
        command_id: str | None = None,
    ) -> list[Failure]:
        """Add frames in wire form, as `to_dict` and `get_iterator` with a projection give it (ours).

        Parameters
        ----------
        frames : iterable of dict
            Any of ``id, context_id, timestamp, sources, rois, meta`` each; the dicts stay as they are. The rest is as in
            `add_frames`.

        Returns
        -------
        list of dict
            One ``{"frame", "error", "error_type"}`` for each dict that is no frame or was refused; all others were
            added.
        """
        report = self._writer.add_dicts(
            frames,
            batch_size=batch_size,
            root=local_dataset_root_path,
            command_id=command_id,
            on_part=_Progress(callback, progress_report),
        )
        self._refresh(refresh_version_stats, command_id)
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
        self._refresh(refresh_version_stats, command_id)
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
        self._refresh(refresh_version_stats, command_id)
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
        return {**self._commit(), "failed": 0, "errors": []}

    def publish_version(self) -> bool:
        """Commit what is left and freeze the version; False when it is published already."""
        published = self._engine.commands.publish_version(self._id)
        self._engine.catch_up()
        self._engine.states.save_snapshot(self._id)
        return published

    def _commit(self, command_id: str | None = None) -> dict[str, int]:
        counts = self._engine.commands.commit_version(self._id, command_id=command_id)
        self._engine.catch_up()
        self._engine.states.save_snapshot(self._id)
        return counts

    def _refresh(self, wanted: bool, command_id: str | None) -> None:
        """Commit what a call has written; repeated, a command commits no more than its first time."""
        if wanted:
            # Whoever published the version meanwhile has committed all; a removed one needs no commit.
            with suppress(PublishedError, NotFoundError):
                self._commit(command_id and f"{command_id} commit")


class _Progress:
    """Tells a callback and the log how far a call has come."""

    def __init__(self, callback: Callback | None, every: int = 0) -> None:
        if callback is not None and not _is_callback(callback):
            raise InvalidValueError(f"callback must be a fsspec.callbacks.Callback, not {shorten(callback)}")
        if isinstance(every, bool) or not isinstance(every, int) or every < 0:
            raise InvalidValueError(
                f"progress_report must be a whole number of 0 (never) or more, not {shorten(every)}"
            )
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


def _is_callback(value: object) -> bool:
    # fsspec is loaded where it is used: whoever has such a callback has loaded it.
    from fsspec.callbacks import Callback

    return isinstance(value, Callback)
