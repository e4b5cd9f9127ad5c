"""Local paths of the files of a frame."""

from __future__ import annotations

from ..errors import NotFoundError
from ..validation import shorten
from .hooks import local_path
from .record import Record


class LocalFilesMixin(Record):
    """A record that provides its files as local paths.

    For local files, this is their own path. Other files are fetched into a cache of limited size, named by the hash of
    their content. They are fetched again after they were evicted from the cache.
    """

    def get_local_source(self) -> str:
        """Return the local path of the source. Its content is checked against the frame's `size` and `hash`, if set.

        Raises
        ------
        NotFoundError
            The frame has no source, or the file does not exist.
        IntegrityError
            The content does not match `size` and `hash`: it has changed since the frame was created.
        StorageError
            The file cannot be fetched.
        """
        source = self.sources[0] if self.sources else None
        if source is None or source.uri is None:
            raise self._nothing("source")
        return local_path(source.uri, source.size, source.hash)

    def get_local_preview(self) -> str:
        """Return the local path of the preview. The errors are those of `get_local_source`."""
        preview = self.sources[0].preview if self.sources else None
        if preview is None or preview.uri is None:
            raise self._nothing("preview")
        return local_path(preview.uri)

    def get_local_mask(self, mask_id: str = "00") -> str:
        """Return the local path of a mask. The errors are those of `get_local_source`.

        Parameters
        ----------
        mask_id : str
            Id of the mask: its key in `mask_source`.
        """
        masks = self.sources[0].masks if self.sources else ()
        for mask in masks:
            if mask.id == mask_id:
                return local_path(mask.uri)
        known = f"; it has {', '.join(repr(mask.id) for mask in masks)}" if masks else ""
        raise self._nothing(f"mask {shorten(mask_id)}{known}")

    def get_local_masks(self) -> dict[str, str]:
        """Return the local paths of all masks by id, an empty dict without masks; see `get_local_source`."""
        masks = self.sources[0].masks if self.sources else ()
        return {mask.id: local_path(mask.uri) for mask in masks}

    def _nothing(self, what: str) -> NotFoundError:
        which = "the frame" if self.id is None else f"frame {self.id!r}"
        return NotFoundError(f"{which} has no {what}")
