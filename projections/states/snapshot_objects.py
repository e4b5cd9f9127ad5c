"""State snapshots as objects in a store that several machines share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from urllib.parse import quote, unquote

import msgspec
from blake3 import blake3

from ...engine.blobs.backend import DERIVED
from ...engine.log.contract import Log
from ...engine.storage.base import BackendError
from ...engine.storage.objects import ObjectPrefix
from .snapshots import MINIMUM_EVENTS, Snapshot, SnapshotKey, SnapshotStore

logger = logging.getLogger("framelode.states")

_MAGIC = b"framelode state 2\n"
_DIGEST_SIZE = 32

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)


class SnapshotObjects(SnapshotStore):
    """One object for each snapshot: ``snapshots/<log>/<version>/<position>-<entries>-<digest>``.

    Objects are created atomically if their name is free, and never changed. A listing is cached until there are as many new
    events as a snapshot requires, because the versions of a long chain are looked up one by one. If the store cannot be
    listed, it counts as empty for that time, and states are replayed.

    Parameters
    ----------
    open_objects : callable
        Opens the store. Called on first use.
    log : Log
        The log.
    """

    def __init__(self, open_objects: Callable[[], ObjectPrefix], log: Log) -> None:
        self._open = open_objects
        self._log = log
        self._listed: tuple[int, list[SnapshotKey]] | None = None

    @cached_property
    def _objects(self) -> ObjectPrefix:
        return self._open()

    @property
    def _folder(self) -> str:
        return f"{DERIVED}/{self._log.uuid}"

    def kept(self, version_ids: Collection[str] | None = None, *, fresh: bool = True) -> list[SnapshotKey]:
        """Return the snapshots of some versions, by default of all."""
        found = self._list() if fresh else self._known()
        return (
            found if version_ids is None else [name for name in found if name.version_id in set(version_ids)]
        )

    def _known(self) -> list[SnapshotKey]:
        head = self._log.head().position
        if self._listed is None or head >= self._listed[0] + MINIMUM_EVENTS:
            try:
                self._list()
            except BackendError as error:
                logger.warning("states are replayed, not loaded: %s", error)
                self._listed = head, []
        return self._listed[1] if self._listed else []

    def _list(self) -> list[SnapshotKey]:
        head = self._log.head().position
        names = map(_kept_of, self._objects.find(self._folder))
        self._listed = head, [name for name in names if name is not None]
        return self._listed[1]

    def read(self, name: SnapshotKey) -> Snapshot | None:
        """Return a snapshot; None if it is gone, damaged or cannot be read."""
        path = self._path(name)
        try:
            data = self._objects.read(path)
        except FileNotFoundError:
            # Another process has replaced it, so list again next time.
            self._listed = None
            return None
        except BackendError as error:
            logger.warning("the state of version %s is replayed, not loaded: %s", name.version_id, error)
            return None
        found = _decode(data)
        if found is None or found.name != name or found.log_uuid != self._log.uuid:
            logger.warning("%s/%s is damaged: the state is replayed", self._objects.name, path)
            return None
        return found

    def write(self, snapshot: Snapshot, outdated: Sequence[SnapshotKey]) -> None:
        """Write a snapshot, then remove those that it replaces. A read in progress is not affected."""
        path = self._path(snapshot.name)
        self._objects.retry(lambda: self._objects.keep(path, _encode(snapshot)))
        self._listed = None
        self._remove(outdated)

    def drop(self) -> None:
        """Remove all snapshots, including those with unknown names."""
        self._listed = None
        self._objects.delete([f"{self._folder}/{name}" for name in self._objects.find(self._folder)])

    def _remove(self, names: Iterable[SnapshotKey]) -> None:
        try:
            self._objects.delete([self._path(name) for name in names])
        except BackendError as error:
            # They are still listed, so the next snapshot removes them.
            logger.info("old snapshots were not removed: %s", error)

    def _path(self, name: SnapshotKey) -> str:
        file = f"{name.position:016d}-{name.entries}-{name.digest.hex()}"
        return f"{self._folder}/{quote(name.version_id, safe='')}/{file}"


def _kept_of(name: str) -> SnapshotKey | None:
    """Parse a name below the folder of a log; None if it is not the name of a snapshot."""
    version_id, _, file = name.partition("/")
    try:
        position, entries, digest = file.split("-")
        return SnapshotKey(unquote(version_id), int(position), bytes.fromhex(digest), int(entries))
    except ValueError:
        return None


def _encode(snapshot: Snapshot) -> bytes:
    body = _encoder.encode(snapshot)
    return b"".join((_MAGIC, blake3(body).digest(), body))


def _decode(data: bytes) -> Snapshot | None:
    head = len(_MAGIC) + _DIGEST_SIZE
    body = memoryview(data)[head:]
    if data[: len(_MAGIC)] != _MAGIC or blake3(body).digest() != data[len(_MAGIC) : head]:
        return None
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
