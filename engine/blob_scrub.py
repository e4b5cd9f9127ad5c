"""Reads blobs again and says which are missing, which are altered, and which files are none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
from blake3 import blake3

from .blob_place import CHUNK_BYTES, BlobPlace
from .blob_uris import check_digest

_THREADS = 4


class ScrubFindings(msgspec.Struct):
    """What a scrub read, and what is wrong.

    Attributes
    ----------
    place : str
        The store.
    checked, size : int
        Blobs read, and their bytes.
    missing : list of str
        Digests of blobs that are not there.
    altered : list of str
        Digests of blobs whose bytes are others than their name says.
    stray : list of str
        Names of files that are no blobs; nothing uses them.
    """

    place: str
    checked: int = 0
    size: int = 0
    missing: list[str] = []
    altered: list[str] = []
    stray: list[str] = []

    @property
    def is_sound(self) -> bool:
        """Nothing is missing or altered; stray files do no harm."""
        return not self.missing and not self.altered

    def __str__(self) -> str:
        """Return what was found, a line each."""
        lines = [f"{self.checked} blobs read, {self.size} bytes"]
        lines += [f"missing: blob {digest}" for digest in self.missing]
        lines += [f"altered: blob {digest}" for digest in self.altered]
        lines += [f"stray: {self.place}/{name}" for name in self.stray]
        return "\n".join(lines)


def scrub(
    place: BlobPlace,
    digests: Iterable[str] | None,
    progress: Callable[[int, int], None] | None,
    expected: Iterable[str],
) -> ScrubFindings:
    """Read some blobs, or all; see `BlobStore.scrub`."""
    findings = ScrubFindings(place.name)
    wanted = map(check_digest, digests) if digests is not None else _all(place, findings, set(expected))
    for digest, size, is_sound in _hash_all(place, wanted):
        if size is None:
            findings.missing.append(digest)
            continue
        findings.checked += 1
        findings.size += size
        if not is_sound:
            findings.altered.append(digest)
        if progress:
            progress(findings.checked, findings.size)
    return findings


def _all(place: BlobPlace, findings: ScrubFindings, expected: set[str]) -> Iterator[str]:
    """Yield the blobs that are there, then those that should be; files that are none are noted."""
    for entry in place.entries():
        if entry.digest is None:
            findings.stray.append(entry.name)
            continue
        expected.discard(entry.digest)
        yield entry.digest
    yield from sorted(expected)


def _hash_all(place: BlobPlace, digests: Iterable[str]) -> Iterator[tuple[str, int | None, bool]]:
    """Hash blobs in a few threads, in order, with no more waiting than there are threads to read them."""
    with ThreadPoolExecutor(_THREADS, "framelode-scrub") as pool:
        waiting: deque[Future[tuple[str, int | None, bool]]] = deque()
        try:
            for digest in digests:
                waiting.append(pool.submit(_hash, place, digest))
                if len(waiting) > 2 * _THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _hash(place: BlobPlace, digest: str) -> tuple[str, int | None, bool]:
    hasher, size = blake3(), 0
    try:
        with place.open(digest) as file:
            while data := file.read(CHUNK_BYTES):
                hasher.update(data)
                size += len(data)
    except FileNotFoundError:
        return digest, None, False
    return digest, size, hasher.hexdigest() == digest
