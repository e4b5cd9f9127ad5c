"""Finds the contents of damaged and missing blobs in another engine, a blob store or a folder of files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

from ...engine.blobs.content import BlobSource, FileSource, Readable, hash_of
from ...engine.blobs.store import BlobStore
from ...engine.errors import FramelodeError, UsageError
from ...engine.storage.atomic_files import PathLike, from_home
from ..session import location
from ..session.session import Session, open_session
from ..sql.urls import is_postgres


def repair_from(store: BlobStore, digests: Collection[str], source: Session | PathLike) -> list[str]:
    """Restore blobs from another place, and return the digests of those restored; see `Engine.scrub`."""
    if isinstance(source, Session):
        return _repair(store, digests, source.blobs)
    url = os.fspath(source)
    if _is_engine(url):
        with closing(open_session(url)) as session:
            return _repair(store, digests, session.blobs)
    if "://" not in url and not from_home(url).is_dir():
        raise UsageError(
            f"{url} is not a folder: repair from an engine, a folder or a URL such as s3://bucket/blobs"
        )
    done = _repair(store, digests, BlobStore(url))
    left = set(digests).difference(done)
    if left and "://" not in url:
        done += store.repair(_among_files(from_home(url), left))
    return done


def _is_engine(url: str) -> bool:
    if "://" in url and not is_postgres(url) and not url.startswith("sqlite:"):
        return False
    return location.exists(url)


def _repair(store: BlobStore, digests: Collection[str], other: BlobStore) -> list[str]:
    if other.place.is_same(store.name):
        raise UsageError(f"{store.name} cannot be repaired from itself: pass another engine, folder or URL")
    return store.repair(BlobSource(other.place, digest) for digest in other.present(digests))


def _among_files(folder: Path, digests: set[str]) -> Iterator[Readable]:
    """Yield one file below a folder for each digest that is found. Skip files that cannot be read."""
    for above, _, names in os.walk(folder):
        for name in names:
            source = FileSource(os.path.join(above, name))  # noqa: PTH118
            try:
                digest = hash_of(source)
            except FramelodeError:
                continue
            if digest in digests:
                digests.discard(digest)
                yield source
