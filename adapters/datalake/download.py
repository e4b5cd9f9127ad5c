"""Downloads contents of a lake, from the blob store or from its bucket."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import msgspec

from ...engine.blobs.uris import blob_uri
from ...engine.errors import FramelodeError
from ...engine.frames.source import path_or_uri
from ...engine.storage.atomic_files import from_home, temporary_name
from ...engine.storage.urls import fsspec_url
from ..session.session import Session
from .exceptions import DownloadError

_THREADS = 8


class Content(msgspec.Struct, frozen=True):
    """A content to download: its names, and where it is."""

    filename: str
    id_with_extension: str
    digest: str
    uri: str


def url_of(content: Content) -> str:
    """Return the URL of a content: ``blobs:`` and its hash and name, or that of the object in the bucket."""
    return content.uri or blob_uri(content.digest, _safe(content.filename) or "data")


def open_content(session: Session, content: Content) -> BinaryIO:
    """Open a content for reading."""
    if not content.uri:
        return session.blobs.open(content.digest)
    import fsspec

    opened: Any = fsspec.open(fsspec_url(path_or_uri(content.uri) or ""), "rb")
    return opened.open()


def download(
    session: Session,
    contents: Sequence[Content],
    target_path: str | os.PathLike[str],
    *,
    force_replace: bool,
    use_id: bool,
    max_workers: int | None = None,
) -> list[Path]:
    """Download contents into a folder, and return the paths of the files.

    Of several equal names, all but the first are numbered. An existing file is kept unless `force_replace`.

    Raises
    ------
    DownloadError
        A content cannot be read, or a file cannot be written.
    """
    folder = from_home(target_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"{folder} cannot be created: {error}") from error
    paths = [folder / name for name in _names(contents, use_id=use_id)]

    def fetch(content: Content, path: Path) -> None:
        if force_replace or not path.exists():
            _fetch(session, content, path)

    workers = max_workers if max_workers and max_workers > 0 else _THREADS
    with ThreadPoolExecutor(min(workers, len(paths) or 1), "framelode-lake") as pool:
        list(pool.map(fetch, contents, paths))
    return paths


def _fetch(session: Session, content: Content, path: Path) -> None:
    try:
        if not content.uri:
            session.blobs.fetch(content.digest, path)
            return
        temporary = path.with_name(temporary_name(path))
        try:
            with open_content(session, content) as source, temporary.open("xb") as copy:
                shutil.copyfileobj(source, copy)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (FramelodeError, OSError, ImportError, ValueError) as error:
        raise DownloadError(f"{content.filename} cannot be downloaded to {path}: {error}") from error


def _names(contents: Sequence[Content], *, use_id: bool) -> list[str]:
    taken: set[str] = set()
    names: list[str] = []
    for content in contents:
        first = name = content.id_with_extension if use_id else _safe(content.filename)
        first = name = first or content.id_with_extension
        number = 1
        while name in taken:
            number += 1
            plain = PurePosixPath(first)
            name = f"{plain.stem}_{number}{plain.suffix}"
        taken.add(name)
        names.append(name)
    return names


def _safe(name: str) -> str:
    """Return a name as that of a file in a folder; empty if it cannot be one."""
    plain = name.replace("/", "_").replace("\0", "_")
    return "" if plain in {".", ".."} else plain
