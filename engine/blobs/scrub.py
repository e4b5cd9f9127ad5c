"""Reads blobs again and reports which are missing, which are altered, and which files are not blobs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice

import msgspec
from blake3 import blake3

from ..errors import IntegrityError, UsageError
from ..parallel import ordered_map
from ..storage.base import CHUNK_BYTES
from .backend import BlobBackend
from .uris import check_digest

_THREADS = 4
_DIGESTS_OF_A_PART = 200

Hashed = tuple[str, int | None, bool]
"""A digest; the bytes of the blob, None when it is missing; and whether they are those that the digest names."""


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
        Names of files that are not blobs; nothing uses them.
    repaired : list of str
        Digests of blobs that were missing or altered and have been stored again.
    """

    place: str
    checked: int = 0
    size: int = 0
    missing: list[str] = []
    altered: list[str] = []
    stray: list[str] = []
    repaired: list[str] = []

    @property
    def is_sound(self) -> bool:
        """Nothing is missing or altered; stray files do no harm."""
        return not self.missing and not self.altered

    def note_repaired(self, digests: Iterable[str]) -> None:
        """Move blobs that were stored again from what is wrong to what is repaired."""
        self.repaired = sorted(digests)
        done = set(self.repaired)
        self.missing = [digest for digest in self.missing if digest not in done]
        self.altered = [digest for digest in self.altered if digest not in done]

    def __str__(self) -> str:
        """Return what was found, a line each."""
        lines = [f"{self.checked} blobs read, {self.size} bytes"]
        lines += [f"missing: blob {digest}" for digest in self.missing]
        lines += [f"altered: blob {digest}" for digest in self.altered]
        lines += [f"repaired: blob {digest}" for digest in self.repaired]
        lines += [f"stray: {self.place}/{name}" for name in self.stray]
        return "\n".join(lines)


def scrub(
    place: BlobBackend,
    digests: Iterable[str] | None,
    progress: Callable[[int, int], None] | None,
    expected: Iterable[str],
    executor: Executor | None = None,
) -> ScrubFindings:
    """Read some blobs, or all; see `BlobStore.scrub`."""
    findings = ScrubFindings(place.name)
    wanted = map(check_digest, digests) if digests is not None else _all(place, findings, set(expected))
    with closing(
        _hash_all(place, wanted) if executor is None else _hash_on(executor, place, wanted)
    ) as hashed:
        _sum_up(hashed, findings, progress)
    return findings


def _sum_up(
    hashed: Iterable[Hashed], findings: ScrubFindings, progress: Callable[[int, int], None] | None
) -> None:
    for digest, size, is_sound in hashed:
        if size is None:
            findings.missing.append(digest)
            continue
        findings.checked += 1
        findings.size += size
        if not is_sound:
            findings.altered.append(digest)
        if progress:
            progress(findings.checked, findings.size)


def _all(place: BlobBackend, findings: ScrubFindings, expected: set[str]) -> Iterator[str]:
    """Yield the blobs that are there, then those that should be; files that are none are noted."""
    for entry in place.entries():
        if entry.digest is None:
            findings.stray.append(entry.name)
            continue
        expected.discard(entry.digest)
        yield entry.digest
    yield from sorted(expected)


def _hash_on(executor: Executor, place: BlobBackend, digests: Iterable[str]) -> Generator[Hashed, None, None]:
    """Hash blobs on an executor, in order."""
    wanted = iter(digests)
    parts = iter(lambda: list(islice(wanted, _DIGESTS_OF_A_PART)), [])
    for hashed in ordered_map(executor, partial(_hash_part, place.opener()), ((part,) for part in parts)):
        for digest, size, is_sound in hashed:
            if size is None and place.size(digest) is not None:
                message = (
                    f"a worker does not find blob {digest}, which is in {place.name}: workers read the blobs "
                    "where you have them, and a folder is seen from other machines only if they share it"
                )
                raise UsageError(message)
            yield digest, size, is_sound


def _hash_part(open_place: Callable[[], BlobBackend], digests: list[str]) -> list[Hashed]:
    return list(_hash_all(open_place(), digests))


def _hash_all(place: BlobBackend, digests: Iterable[str]) -> Generator[Hashed, None, None]:
    """Hash blobs in a few threads, in order, with no more waiting than there are threads to read them."""
    with ThreadPoolExecutor(_THREADS, "framelode-scrub") as pool:
        waiting: deque[Future[Hashed]] = deque()
        try:
            for digest in digests:
                waiting.append(pool.submit(read_blob, place, digest))
                if len(waiting) > 2 * _THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read_blob(place: BlobBackend, digest: str) -> Hashed:
    """Read a blob and compare it with its digest; what is not a regular file has other bytes."""
    hasher, size = blake3(), 0
    try:
        with place.open(digest) as file:
            while data := file.read(CHUNK_BYTES):
                hasher.update(data)
                size += len(data)
    except FileNotFoundError:
        return digest, None, False
    except IntegrityError:
        return digest, 0, False
    return digest, size, hasher.hexdigest() == digest
