"""Places for blobs in tests: those that every suite runs on, and some that misbehave."""

from __future__ import annotations

import itertools
import uuid

from fsspec.implementations.memory import MemoryFileSystem
from s3_server import s3_filesystem, s3_prefix

from framelode.engine.blobs.fsspec import FsspecBackend
from framelode.engine.blobs.local import LocalBackend
from framelode.engine.blobs.store import BlobStore
from framelode.engine.storage.base import BackendError


class StreamedMemory(MemoryFileSystem):
    """Memory that stands for a filesystem without atomic puts: everything goes by temporary names."""

    protocol = "streamed"
    cachable = False


def make_place(kind, folder):
    """Return a place of a kind that the conformance suite knows."""
    if kind == "folder":
        return LocalBackend(folder / "blobs")
    if kind == "s3":
        return FsspecBackend(s3_prefix(), s3_filesystem(keeps_listings=True))
    filesystem = StreamedMemory() if kind == "streamed" else None
    return FsspecBackend(f"memory://test-{uuid.uuid4().hex}", filesystem)


KINDS = ("folder", "memory", "streamed", "s3")


class Refusing(LocalBackend):
    """A folder that refuses every n-th step that writes, or all from some step on.

    Parameters
    ----------
    every : int
        Refuse each n-th step; 0 for none.
    dies_after : int, optional
        Refuse everything after so many steps.
    """

    def __init__(self, folder, every=0, dies_after=None, permanent=False):
        super().__init__(folder)
        self._steps = itertools.count(1)
        self._every, self._dies_after, self._permanent = every, dies_after, permanent

    def _step(self):
        step = next(self._steps)
        if (self._every and step % self._every == 0) or (
            self._dies_after is not None and step > self._dies_after
        ):
            raise BackendError(f"blob store {self.name}: refused step {step}", permanent=self._permanent)

    def create(self):
        self._step()
        return super().create()

    def write(self, data):
        self._step()
        return super().write(data)

    def move(self, temporary, digest):
        self._step()
        super().move(temporary, digest)

    def heal(self):
        self._every, self._dies_after = 0, None


class Waits:
    """Stands for time.sleep and keeps what it was asked to wait."""

    def __init__(self):
        self.seconds = []

    def __call__(self, seconds):
        self.seconds.append(seconds)


def quick_store(place, **arguments):
    """Return a store that does not wait between tries."""
    return BlobStore(place, sleep=Waits(), **arguments)
