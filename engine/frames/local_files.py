"""The files of a frame, as paths on this machine."""

from __future__ import annotations

from ..errors import NotFoundError
from ..validation import shorten
from .hooks import local_path
from .record import Record


class LocalFilesMixin(Record):
    """A record whose files can be had as paths on this machine.

    Local files are given as they are; others are fetched into a cache of bounded size, under the hash of their
    content, and fetched again when they are not in it any more.
    """

    def get_local_source(self) -> str:
        """Return the path of the source's content, compared with the frame's `size` and `hash` if it has them.

        Raises
        ------
        NotFoundError
            The frame has no source, or there is nothing at its URI.
        IntegrityError
            The content is not the one that `size` and `hash` say: it changed after it was registered.
        StorageError
            It cannot be fetched.
        """
        source = self.sources[0] if self.sources else None
        if source is None or source.uri is None:
            raise self._nothing("source")
        return local_path(source.uri, source.size, source.hash)

    def get_local_preview(self) -> str:
        """Return the path of the preview's content; see `get_local_source`."""
        preview = self.sources[0].preview if self.sources else None
        if preview is None or preview.uri is None:
            raise self._nothing("preview")
        return local_path(preview.uri)

    def get_local_mask(self, mask_id: str = "00") -> str:
        """Return the path of a mask's content; see `get_local_source`.

        Parameters
        ----------
        mask_id : str
            Which mask: its key in `mask_source`.
        """
        masks = self.sources[0].masks if self.sources else ()
        for mask in masks:
            if mask.id == mask_id:
                return local_path(mask.uri)
        known = f"; it has {', '.join(repr(mask.id) for mask in masks)}" if masks else ""
        raise self._nothing(f"mask {shorten(mask_id)}{known}")

    def get_local_masks(self) -> dict[str, str]:
        """Return the paths of all masks by their ids; empty without masks. See `get_local_source`."""
        masks = self.sources[0].masks if self.sources else ()
        return {mask.id: local_path(mask.uri) for mask in masks}

    def _nothing(self, what: str) -> NotFoundError:
        which = "the frame" if self.id is None else f"frame {self.id!r}"
        return NotFoundError(f"{which} has no {what}")
