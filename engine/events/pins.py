"""What happens to pinned datasets: the entries of a project's `dvc.yaml` and `dvc.lock`."""

from __future__ import annotations

from typing import Any

from .base import Event, Streams


class PinEvent(Event, frozen=True):
    """One change of one pinned dataset.

    What stood before and after is ``{"spec": ..., "lock": ..., "files": ..., "invalidated": True}``, each as far as there is
    any: spec and lock as the files hold them. A long list of files is left out of the lock; ``files`` is then how many
    there are and the digest of the list, ``{"count", "digest"}``.

    Attributes
    ----------
    project : str
        The project folder, under an id that it keeps when it is moved or renamed.
    folder : str
        What the folder was called, for people.
    manifest : str
        The `dvc.yaml`, as a path from the project folder.
    name : str
        The dataset.
    before, after : dict or None
        What stood before and after; None where there was no entry.
    """

    project: str
    folder: str
    manifest: str
    name: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class PinAdded(PinEvent, frozen=True):
    """A dataset was added and locked, or took the place of one of the same name."""


class PinUpdated(PinEvent, frozen=True):
    """A dataset was updated to another spec and locked."""


class PinLocked(PinEvent, frozen=True):
    """A dataset was locked to another content; its spec stayed."""


class PinInvalidated(PinEvent, frozen=True):
    """The lock of a dataset does not belong to its spec any more."""


class PinObserved(PinEvent, frozen=True):
    """The files were found to say something else than was recorded: they were edited, or another tool wrote them."""


PINS = Streams(
    "pins-", (PinAdded, PinUpdated, PinLocked, PinInvalidated, PinObserved), label="folder", detail="name"
)
