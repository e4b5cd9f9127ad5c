"""Writes the files of a version into a folder."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
from blake3 import blake3

from ...engine.blobs.uris import is_blob_uri, parse_blob_uri
from ...engine.errors import ConflictError, FramelodeError, UsageError
from ...engine.sources.hashes import HASH_PREFIX
from ...engine.storage.atomic_files import path_of, temporary_name
from ...engine.tracing import traced
from ...projections.states.frames import read_records
from ...projections.tables.catalog import VersionRow
from ..files.expectation import Expectation
from ..files.fetch import fetch
from ..session.current import entered
from ..session.session import Session
from .reading import log_order

_THREADS = 8
_SUFFIX_DIGITS = 8
_CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int], None]


class CheckoutFailure(msgspec.Struct, frozen=True):
    """A file that was not written, and why."""

    uri: str
    error: str


class Checkout(msgspec.Struct, frozen=True):
    """What a checkout wrote.

    Attributes
    ----------
    folder : str
        The folder.
    files : int
        Number of files of the version.
    written, present : int
        Number of files written, and of files that the folder had already.
    bytes : int
        Bytes of the files written.
    failures : list of CheckoutFailure
        Files that were not written: missing, damaged, or another file has their name.
    """

    folder: str
    files: int
    written: int
    present: int
    bytes: int
    failures: list[CheckoutFailure]


@traced("checkout")
def check_out(
    session: Session,
    version: VersionRow,
    folder: str | os.PathLike[str],
    *,
    force: bool,
    link: bool,
    callback: Progress | None,
) -> Checkout:
    """Write the files of a version into a folder; see `DatasetVersion.checkout`."""
    root = path_of(folder, "folder").absolute()
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file: give a folder")
    found = sources_of(session, version)
    names = relative_names(found)
    written = present = size = 0
    failures: list[CheckoutFailure] = []

    def place(uri: str) -> int | CheckoutFailure | None:
        # A thread does not know the session of the caller.
        with entered(session):
            try:
                return place_file(found[uri], root / names[uri], root, force=force, link=link)
            except FramelodeError as error:
                return CheckoutFailure(uri, str(error))
            except OSError as error:
                return CheckoutFailure(uri, f"{root / names[uri]}: {error.strerror or error}")

    with ThreadPoolExecutor(_THREADS) as threads:
        try:
            for done, outcome in enumerate(threads.map(place, names), 1):
                if isinstance(outcome, CheckoutFailure):
                    failures.append(outcome)
                elif outcome is None:
                    present += 1
                else:
                    written, size = written + 1, size + outcome
                if callback is not None:
                    callback(done, len(names))
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise
    return Checkout(str(root), len(names), written, present, size, failures)


def sources_of(session: Session, version: VersionRow) -> dict[str, Expectation]:
    """Return the URIs of all sources and masks of a version, with what is known of their contents."""
    found: dict[str, Expectation] = {}
    state = session.states.read(version.version_id)
    for record in read_records(session.log, state, log_order(state)):
        for source in record.sources:
            if source.uri is not None:
                found.setdefault(source.uri, Expectation(source.uri, source.size, source.hash))
            for mask in source.masks:
                found.setdefault(mask.uri, Expectation(mask.uri))
    return found


def relative_names(uris: Iterable[str]) -> dict[str, str]:
    """Return the path of each URI inside the folder of a checkout, by URI.

    A blob has the relative path in its URI. All others have their paths below the folder that they have in common. If
    several have one path, all but the first in the order of their URIs get a part of a digest of the URI.
    """
    ordered = sorted(set(uris))
    parts = {uri: _parts(uri) for uri in ordered}
    others = [parts[uri][:-1] for uri in ordered if not is_blob_uri(uri)]
    ends = zip(min(others), max(others), strict=False) if others else ()
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
    taken: set[str] = set()
    names: dict[str, str] = {}
    for uri in ordered:
        name = "/".join(parts[uri] if is_blob_uri(uri) else parts[uri][common:])
        if name in taken:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name with slashes
            name = f"{stem}-{blake3(uri.encode()).hexdigest()[:_SUFFIX_DIGITS]}{suffix}"
        taken.add(name)
        names[uri] = name
    return names


def _parts(uri: str) -> tuple[str, ...]:
    """Return the parts of a path that never leads out of its folder."""
    if is_blob_uri(uri):
        blob = parse_blob_uri(uri)
        path = blob.path or blob.digest
    else:
        split = urlsplit(uri)
        is_plain = split.scheme != "data"
        # Only these encode their paths; a key of an object is what it is.
        encoded = split.scheme in {"file", "http", "https"}
        path = f"{split.netloc}/{unquote(split.path) if encoded else split.path}" if is_plain else ""
    parts = tuple(part for part in path.replace("\0", "").split("/") if part not in {"", ".", ".."})
    return parts or (blake3(uri.encode()).hexdigest()[:16],)


def place_file(expected: Expectation, target: Path, root: Path, *, force: bool, link: bool) -> int | None:
    """Write one file; returns its size, or None if it is there already."""
    if not target.parent.resolve().is_relative_to(root.resolve()):
        raise UsageError(
            f"{target} is outside of {root}, because a folder in between is a link: remove the link"
        )
    there = os.path.lexists(target)
    if there and _has_digest(target, expected):
        return None
    local = Path(fetch(expected.uri, expected.size, expected.hash))
    if there and target.is_file() and (target.samefile(local) or filecmp.cmp(local, target, shallow=False)):
        return None
    if there and not force:
        raise ConflictError(f"{target} is another file: move it away, or check out with force to replace it")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(temporary_name(target))
    try:
        if not (link and not expected.uri.startswith("file:") and _linked(local, temporary)):
            shutil.copyfile(local, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target.stat().st_size


def _linked(local: Path, temporary: Path) -> bool:
    """Make a hard link; False if the files are on different file systems, or these allow none."""
    with suppress(OSError):
        temporary.hardlink_to(local)
        return True
    return False


def _has_digest(target: Path, expected: Expectation) -> bool:
    """Whether a file has the content that its URI or frame names, so that nothing needs to be fetched."""
    digest = parse_blob_uri(expected.uri).digest if is_blob_uri(expected.uri) else expected.digest
    if digest is None or not target.is_file():
        return False
    check = Expectation(expected.uri, None, HASH_PREFIX + digest).begin()
    for chunk in _chunks(target):
        check.update(chunk)
    return check.digest == digest


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            yield chunk
