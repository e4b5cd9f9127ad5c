"""Records the state of a project's files in the log. The files are authoritative."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
from blake3 import blake3

from ...engine.canonical import encode_canonical
from ...engine.events.pins import PinAdded, PinEvent, PinLocked, PinUpdated
from ...engine.pins import PinKey, PinnedProject, PinState, pins_stream, record_pins
from ...engine.secrets import redact_url
from ...projections.tables.pins import PinChange, PinQuery, Pins
from .dataset_types import Dataset
from .records import URLDatasetLock

if TYPE_CHECKING:
    from ..session.session import Session

_FILES = 1000
"""Maximum number of files that an event lists. Of longer lists it has the count and a digest."""


def pin_changes(session: Session, wanted: PinQuery) -> Sequence[PinChange]:
    """Return the changes of pinned datasets that match a query, up to the point in time of a session."""
    with session.present.read(Pins) as (pins, connection):
        return pins.changes(connection, _up_to(session, wanted))


def current_pins(session: Session, wanted: PinQuery) -> Sequence[PinChange]:
    """Return the last change of each dataset that was pinned at the point in time of a session."""
    with session.present.read(Pins) as (pins, connection):
        return pins.standing(connection, _up_to(session, wanted))


def _up_to(session: Session, wanted: PinQuery) -> PinQuery:
    ends = [end for end in (session.as_of, wanted.until) if end is not None]
    return msgspec.structs.replace(wanted, until=min(ends, default=None))


def state_of(dataset: Dataset) -> PinState:
    """Return a dataset in the form that events store."""
    state: PinState = {"spec": _shown(dataset.spec.to_dict())}
    if dataset.lock is not None:
        lock = dataset.lock.to_dict() if not _is_long(dataset) else _shortened(dataset, state)
        state["lock"] = _shown(lock)
    if dataset._invalidated:  # noqa: SLF001 - of this package
        state["invalidated"] = True
    return state


def _shown(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a spec or lock without secrets that a user wrote into a file."""
    return fields | {"url": redact_url(fields["url"])} if "url" in fields else fields


def _is_long(dataset: Dataset) -> bool:
    return isinstance(dataset.lock, URLDatasetLock) and len(dataset.lock.files) > _FILES


def _shortened(dataset: Dataset, state: PinState) -> dict[str, Any]:
    """Return a lock without its files, and set their number and digest in `state`."""
    lock = dataset.lock
    if not isinstance(lock, URLDatasetLock):
        raise TypeError(type(lock))
    hasher = blake3()
    for file in lock.files:
        hasher.update(encode_canonical([file.relpath, file.meta.to_dict()]))
    state["files"] = {"count": len(lock.files), "digest": hasher.hexdigest(length=16)}
    return attrs.evolve(lock, files=[]).to_dict()


class PinRecorder:
    """Records the changes of a project's datasets.

    Parameters
    ----------
    session : Session
        Session to record in.
    project : str
        Id of the project.
    folder : str
        Name of the project folder.
    """

    def __init__(self, session: Callable[[], Session], project: str, folder: str) -> None:
        self._session = session
        self.project = project
        self._folder = folder

    def differs(self, found: Mapping[PinKey, PinState]) -> set[str]:
        """Return the manifests whose files differ from the records."""
        known = self.recorded()
        keys = known.keys() | found.keys()
        return {key[0] for key in keys if known.get(key) != found.get(key)}

    def known_manifests(self) -> set[str]:
        """Return the manifests that had datasets when they were last recorded."""
        return {manifest for manifest, _ in self.recorded()}

    def recorded(self) -> Mapping[PinKey, PinState]:
        """Return the recorded datasets."""
        return self._session().aggregates.load(PinnedProject, pins_stream(self.project)).pins

    def observe(self, manifest: str, found: Mapping[PinKey, PinState]) -> None:
        """Record the differences between the files of a manifest and the records."""
        # What cannot be recorded now is recorded by the next process that may write.
        if manifest in self.differs(found) and not self._session().location.read_only:
            self._record(lambda pins: pins.observe(self._folder, found, manifest=manifest))

    def record(self, key: PinKey, after: PinState, *, added: bool) -> None:
        """Record that a dataset was added, updated or locked."""
        self._record(
            lambda pins: pins.record(_kind(pins.pins.get(key), after, added=added), self._folder, key, after)
        )

    def _record(self, change: Callable[[PinnedProject], None]) -> None:
        record_pins(self._session().writes.application, self.project, change)


def _kind(before: PinState | None, after: PinState, *, added: bool) -> type[PinEvent]:
    if added or before is None:
        return PinAdded
    return PinLocked if before["spec"] == after["spec"] else PinUpdated
