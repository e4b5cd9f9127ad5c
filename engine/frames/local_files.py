"""Local paths and hashes of the files of a frame."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any, Literal, overload

from ..errors import FramelodeError, IntegrityError, NotFoundError, StorageError
from ..storage.regular_files import open_regular
from ..validation import flag, shorten
from .hooks import local_path
from .record import Record

_FILE = "file:///"


class LocalFileWarning(UserWarning):
    """A file of a frame is not available on this machine, so its path is None."""


class LocalFilesMixin(Record):
    """A record that provides its files as local paths.

    For local files, this is their own path. Other files are fetched into a cache of limited size, named by the hash of
    their content. They are fetched again after they were evicted from the cache.
    """

    @overload
    def get_local_source(
        self, raise_on_error: Literal[True], skip_size_check: bool = False, force_download: bool = False
    ) -> str: ...
    @overload
    def get_local_source(
        self, raise_on_error: bool = False, skip_size_check: bool = False, force_download: bool = False
    ) -> str | None: ...
    def get_local_source(
        self, raise_on_error: bool = False, skip_size_check: bool = False, force_download: bool = False
    ) -> str | None:
        """Return the local path of the source. Its content is checked against the frame's `size` and `hash`, if set.

        Parameters
        ----------
        raise_on_error : bool
            Raise an error if the file is not available. By default the result is then None, and a `LocalFileWarning`
            gives the reason.
        skip_size_check : bool
            Accept an empty file, and one whose size differs from the frame's `size`.
        force_download : bool
            Fetch the file again even if it is in the cache.

        Raises
        ------
        NotFoundError
            The frame has no source, or the file does not exist. All errors are raised only with `raise_on_error`.
        IntegrityError
            The content does not match `size` and `hash`, because it was changed, or it is empty.
        StorageError
            The file cannot be fetched.
        """
        source = self.sources[0] if self.sources else None
        uri, size, hash_ = (source.uri, source.size, source.hash) if source else (None, None, None)
        return self._fetch("source", uri, raise_on_error, skip_size_check, force_download, size, hash_)

    def get_local_preview_source(
        self, raise_on_error: bool = False, skip_size_check: bool = False, force_download: bool = False
    ) -> str | None:
        """Return the local path of the preview. Parameters and errors are those of `get_local_source`."""
        preview = self.sources[0].preview if self.sources else None
        uri = preview.uri if preview else None
        return self._fetch("preview", uri, raise_on_error, skip_size_check, force_download)

    def get_local_mask_source(
        self,
        raise_on_error: bool = False,
        mask_id: str | None = None,
        skip_size_check: bool = False,
        force_download: bool = False,
    ) -> str | None:
        """Return the local path of a mask. Errors and the other parameters are those of `get_local_source`.

        Parameters
        ----------
        mask_id : str, optional
            Id of the mask: its key in `masks_source`. By default the first mask.
        """
        uris = self._mask_uris()
        uri = next(iter(uris.values()), None) if mask_id is None else uris.get(mask_id)
        known = f"; it has {', '.join(map(repr, uris))}" if uris else ""
        what = "mask" if mask_id is None else f"mask {shorten(mask_id)}{known}"
        return self._fetch(what, uri, raise_on_error, skip_size_check, force_download)

    def get_local_masks_source(
        self, raise_on_error: bool = False, skip_size_check: bool = False, force_download: bool = False
    ) -> dict[str, str | None]:
        """Return the local paths of all masks by id, an empty dict without masks.

        Parameters and errors are those of `get_local_source`.
        """
        return {
            mask_id: self._fetch(f"mask {mask_id!r}", uri, raise_on_error, skip_size_check, force_download)
            for mask_id, uri in self._mask_uris().items()
        }

    def update_source_files_hash(self, allow_download: bool = False) -> None:
        """Compute the SHA-256 hashes of the frame's files and store them in `sourcedata`, under ``hash``.

        Parameters
        ----------
        allow_download : bool
            Also hash remote files, which are fetched. By default they are skipped.

        Raises
        ------
        NotFoundError
            A file does not exist.
        StorageError
            A file cannot be read.
        """
        everywhere = flag(allow_download, "allow_download")

        def hash_of(uri: str | None) -> str | None:
            return _sha256(uri) if uri and (everywhere or uri.startswith(_FILE)) else None

        source = self.sources[0] if self.sources else None
        masks = [hash_of(uri) for uri in self._mask_uris().values()]
        found = {
            "source": hash_of(self.first_uri()),
            "mask_source": masks if any(masks) else None,
            "preview_source": hash_of(source.preview.uri if source and source.preview else None),
        }
        known = {key: value for key, value in found.items() if value is not None}
        if source and known:
            self.put_source(metadata={**source.metadata, "hash": known})

    def get_source_hash(self) -> dict[str, Any]:
        """Return the hashes that `update_source_files_hash` stored: `source`, `mask_source` (a list), `preview_source`."""
        return dict(self.sources[0].metadata.get("hash") or {}) if self.sources else {}

    def _mask_uris(self) -> dict[str, str]:
        return {mask.id: mask.uri for mask in (self.sources[0].masks if self.sources else ())}

    def _fetch(
        self,
        what: str,
        uri: str | None,
        raise_on_error: bool,
        skip_size_check: bool,
        force_download: bool,
        size: int | None = None,
        hash_: str | None = None,
    ) -> str | None:
        raises = flag(raise_on_error, "raise_on_error")
        any_size = flag(skip_size_check, "skip_size_check")
        anew = flag(force_download, "force_download")
        which = "the frame" if self.id is None else f"frame {self.id!r}"
        try:
            if uri is None:
                raise NotFoundError(f"{which} has no {what}")
            path = local_path(uri, None if any_size else size, hash_, anew)
            if not any_size and size != 0 and not Path(path).stat().st_size:
                raise IntegrityError(f"{path!r} is empty: pass skip_size_check=True to accept it", file=path)
        except FramelodeError as error:
            if raises:
                raise
            warnings.warn(f"no local {what.partition(';')[0]} of {which}: {error}", LocalFileWarning, 3)
            return None
        return path


def _sha256(uri: str) -> str:
    path = local_path(uri)
    try:
        with open_regular(path) as file:
            content: Any = file
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from error
