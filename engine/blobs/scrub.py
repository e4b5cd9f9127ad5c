"""Reads all blobs, and reports missing, altered and stray files."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from functools import partial

import msgspec
from blake3 import blake3

from ..errors import IntegrityError, UsageError
from ..iterables import chunked
from ..parallel import ordered_map
from ..storage.base import CHUNK_BYTES
from .backend import BlobBackend
from .uris import check_digest

_THREADS = 4
_DIGESTS_OF_A_PART = 200

Hashed = tuple[str, int | None, bool]
"""A digest, the size of the blob (None if it is missing), and whether its content matches."""


class ScrubFindings(msgspec.Struct):
    """Result of a scrub.

    Attributes
    ----------
    place : str
        Name of the store.
    checked, size : int
        Number and bytes of the blobs read.
    missing : list of str
        Digests of missing blobs.
    altered : list of str
        Digests of blobs whose content does not match.
    stray : list of str
        Names of files that are not blobs and are not used.
    repaired : list of str
        Digests of missing or altered blobs that were stored again.
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
        """Whether nothing is missing or altered. Stray files are harmless."""
        return not self.missing and not self.altered

    def note_repaired(self, digests: Iterable[str]) -> None:
        """Move restored blobs from `missing` and `altered` to `repaired`."""
        self.repaired = sorted(digests)
        done = set(self.repaired)
        self.missing = [digest for digest in self.missing if digest not in done]
        self.altered = [digest for digest in self.altered if digest not in done]

    def __str__(self) -> str:
        """Return the findings, one per line."""
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
    """Yield the stored blobs, then the missing ones. Record stray files."""
    for entry in place.entries():
        if entry.digest is None:
            findings.stray.append(entry.name)
            continue
        expected.discard(entry.digest)
        yield entry.digest
    yield from sorted(expected)


def _hash_on(executor: Executor, place: BlobBackend, digests: Iterable[str]) -> Generator[Hashed, None, None]:
    """Hash blobs on an executor, in order."""
    parts = ((part,) for part in chunked(digests, _DIGESTS_OF_A_PART))
    for hashed in ordered_map(executor, partial(_hash_part, place.opener()), parts):
        for digest, size, is_sound in hashed:
            if size is None and place.size(digest) is not None:
                message = (
                    f"a worker cannot find blob {digest}, which is in {place.name}: workers must be able to read the blob store; "
                    "other machines can read a local folder only if it is shared with them"
                )
                raise UsageError(message)
            yield digest, size, is_sound


def _hash_part(open_place: Callable[[], BlobBackend], digests: list[str]) -> list[Hashed]:
    return list(_hash_all(open_place(), digests))


def _hash_all(place: BlobBackend, digests: Iterable[str]) -> Generator[Hashed, None, None]:
    """Hash blobs in a few threads, in order."""
    with ThreadPoolExecutor(_THREADS, "framelode-scrub") as pool:
        yield from ordered_map(pool, partial(read_blob, place), ((digest,) for digest in digests))


def read_blob(place: BlobBackend, digest: str) -> Hashed:
    """Read a blob and compare it with its digest. If it is not a regular file, it does not match."""
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
