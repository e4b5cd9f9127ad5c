"""The blobs of an engine: what frames name, garbage collection, scrubs, and stores that engines share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from ..engine.blobs.ledger import GRACE, YOUNG
from .executors.resolve import wrap_executor

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ..engine.blobs.gc import GcReport
    from ..engine.blobs.members import Members, References
    from ..engine.blobs.scrub import ScrubFindings
    from ..engine.blobs.store import BlobStore
    from ..engine.log.contract import Clock
    from ..engine.storage.atomic_files import PathLike
    from .blob_access import BlobAccess
    from .connection import Engine
    from .write_side import WriteSide


class EngineBlobs:
    """The part of an engine that looks after its blobs."""

    clock: Clock

    if TYPE_CHECKING:

        def _writes(self) -> WriteSide: ...

    @property
    def _blobs(self) -> BlobAccess:
        return self._writes().blobs

    @property
    def blobs(self) -> BlobStore:
        """The store of file contents, opened at first use.

        What it stores may be named by frames; a content that frames named before is not written again.
        """
        return self._blobs.store

    @property
    def blob_references(self) -> References:
        """What tells which blobs the frames of this engine name."""
        return self._blobs

    def share_blobs(self, forget: Sequence[PathLike] = ()) -> None:
        """Use the blob store together with the engines that use it already.

        From then on `gc` of each of them reads the logs of all, which must be open to it, and deletes a blob when no
        frame of any of them names it.

        Parameters
        ----------
        forget : sequence of str or path
            Folders or URLs of engines that do not use the store any more: `gc` deletes what they alone name.

        Raises
        ------
        UsageError
            Another engine that uses the store cannot be opened, or one of `forget` does not use it.
        """
        from .blob_sharing import own_ref, share

        engine = cast("Engine", self)
        share(engine, own_ref(engine), self.blobs, [os.fspath(url) for url in forget])

    def blob_members(self, *, join: bool = True) -> AbstractContextManager[Members]:
        """Give this engine and all others that use its blob store; see `share_blobs`."""
        from .blob_sharing import members_of

        return members_of(cast("Engine", self), self.blobs, join=join)

    def referenced_blobs(self) -> set[str]:
        """Return the digests of the blobs that frames of existing versions name."""
        return self._blobs.referenced()

    def gc(self, grace: timedelta = GRACE, *, young: timedelta = YOUNG, dry_run: bool = True) -> GcReport:
        """Condemn blobs that no frame of any existing version names, and delete those condemned for long.

        Finishes what a `delete_frames(delete_sources=True)` that was cut off has left, too.

        Frames cannot name a condemned blob until its content is stored again, so uploads may go on meanwhile. Reads
        with `as_of` do not find the contents of blobs that were deleted since.

        Parameters
        ----------
        grace : timedelta
            How long ago a blob must have been condemned to be deleted.
        young : timedelta
            Blobs written so lately are left alone: their frames may not be added yet. One that was condemned or deleted
            and is stored again is left alone for ten minutes at least, until a frame has named it.
        dry_run : bool
            Only report what would be done.

        Returns
        -------
        GcReport
            Prints as a few lines of text.

        Raises
        ------
        UsageError
            Another log uses the blob store, or an engine that shares it cannot be opened.
        ConcurrencyError
            An engine joined or left the store meanwhile: call again.
        """
        from ..engine.blobs.gc import GarbageCollection

        commands = self._writes().commands
        with self.blob_members(join=not dry_run) as members:
            report = GarbageCollection(self.blobs, members, self.clock).run(grace, young, dry_run=dry_run)
        waiting = commands.source_ledger.condemned()
        if waiting and not dry_run:
            from .source_removal import SourceRemoval

            removal = SourceRemoval(cast("Engine", self))
            removal.run()
            report.source_failures = removal.failures
        report.sources = [uri for uri in waiting if uri not in report.source_failures]
        return report

    def scrub(
        self,
        progress: Callable[[int, int], None] | None = None,
        executor: Executor | None = None,
        *,
        repair: Engine | PathLike | None = None,
    ) -> ScrubFindings:
        """Read every blob again: which are altered, which do frames name that are missing, which files are not blobs.

        A content whose blob is altered is stored again by the next upload of it.

        Parameters
        ----------
        progress : callable, optional
            Called with the blobs read so far and their bytes.
        executor : concurrent.futures.Executor, optional
            Where frames are searched and blobs read; else here, in a few threads.
        repair : Engine, str or path, optional
            Store what is altered or missing again, from an engine, a blob store (a folder or an fsspec URL), or a folder of
            any files: there every file is hashed.

        Raises
        ------
        UsageError
            `repair` is not the place of an engine, a folder or a URL that can be opened.
        """
        found = self._blobs.scrub(progress, wrap_executor(executor))
        if repair is not None:
            from .blob_repair import repair_from

            found.note_repaired(repair_from(self.blobs, [*found.altered, *found.missing], repair))
        return found

    def named_blobs(self) -> set[str]:
        """Return the digests of the blobs that any frame ever named."""
        return set(self._blobs.named_after(0))

    def missing_blobs(self) -> list[str]:
        """Return the blobs that frames of existing versions name and the store does not have."""
        return self._writes().blobs.missing()
