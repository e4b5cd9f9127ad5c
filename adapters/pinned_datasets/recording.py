"""What the log knows of a project's datasets, and what its files say: the files lead, the log follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from blake3 import blake3

from ...engine.events.pins import PinAdded, PinEvent, PinLocked, PinUpdated
from ...engine.pins import PinKey, PinState
from ...engine.secrets import redact_url
from .dataset_types import Dataset
from .records import URLDatasetLock

if TYPE_CHECKING:
    from ..session.session import Session

_FILES = 1000
"""Files that an event lists; of more it has the number and a digest."""

_encoder = msgspec.msgpack.Encoder(order="deterministic")


def state_of(dataset: Dataset) -> PinState:
    """Return a dataset as events tell of it."""
    state: PinState = {"spec": _shown(dataset.spec.to_dict())}
    if dataset.lock is not None:
        lock = dataset.lock.to_dict() if not _is_long(dataset) else _shortened(dataset, state)
        state["lock"] = _shown(lock)
    if dataset._invalidated:  # noqa: SLF001 - of this package
        state["invalidated"] = True
    return state


def _shown(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a spec or lock without a secret that somebody wrote into a file."""
    return fields | {"url": redact_url(fields["url"])} if "url" in fields else fields


def _is_long(dataset: Dataset) -> bool:
    return isinstance(dataset.lock, URLDatasetLock) and len(dataset.lock.files) > _FILES


def _shortened(dataset: Dataset, state: PinState) -> dict[str, Any]:
    """Return a lock without its files, which `state` is told the number and a digest of."""
    lock = dataset.lock
    if not isinstance(lock, URLDatasetLock):
        raise TypeError(type(lock))
    hasher = blake3()
    for file in lock.files:
        hasher.update(_encoder.encode([file.relpath, file.meta.to_dict()]))
    state["files"] = {"count": len(lock.files), "digest": hasher.hexdigest(length=16)}
    return msgspec.structs.replace(lock, files=[]).to_dict()


class PinRecorder:
    """Records what becomes of the datasets of a project.

    Parameters
    ----------
    session : Session
        Where.
    project : str
        Id of the project.
    folder : str
        What its folder is called.
    """

    def __init__(self, session: Callable[[], Session], project: str, folder: str) -> None:
        self._session = session
        self.project = project
        self._folder = folder

    def differs(self, found: Mapping[PinKey, PinState]) -> set[str]:
        """Return the manifests whose files say something else than is recorded."""
        known = self._session().writes.commands.pinned_project(self.project).pins
        keys = known.keys() | found.keys()
        return {key[0] for key in keys if known.get(key) != found.get(key)}

    def known_manifests(self) -> set[str]:
        """Return the manifests in which there were datasets when they were looked at last."""
        return {manifest for manifest, _ in self._session().writes.commands.pinned_project(self.project).pins}

    def observe(self, manifest: str, found: Mapping[PinKey, PinState]) -> None:
        """Record what the files of a manifest say, where it is not recorded."""
        if manifest in self.differs(found):
            self._session().writes.commands.record_pins(
                self.project, lambda pins: pins.observe(self._folder, found, manifest=manifest)
            )

    def record(self, key: PinKey, after: PinState, *, added: bool) -> None:
        """Record that a dataset was added, updated, or locked."""
        self._session().writes.commands.record_pins(
            self.project,
            lambda pins: pins.record(_kind(pins.pins.get(key), after, added=added), self._folder, key, after),
        )


def _kind(before: PinState | None, after: PinState, *, added: bool) -> type[PinEvent]:
    if added or before is None:
        return PinAdded
    return PinLocked if before["spec"] == after["spec"] else PinUpdated
