"""Commands that record changes of pinned datasets. The files of the project are authoritative."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .datasets.aggregate import Aggregate
from .datasets.application import LogApplication, Result
from .events.base import Event
from .events.pins import PINS, PinEvent, PinInvalidated, PinObserved

PinKey = tuple[str, str]
"""Manifest and name."""

PinState = dict[str, Any]
"""What `PinEvent` says of what stood before or after."""


def pins_stream(project: str) -> str:
    """Return the stream of a project's pinned datasets."""
    return PINS.id + project


class PinnedProject(Aggregate):
    """The pinned datasets of a project folder, as recorded."""

    def __init__(self, aggregate_id: str) -> None:
        super().__init__(aggregate_id)
        self.pins: dict[PinKey, PinState] = {}

    def record(self, kind: type[PinEvent], folder: str, key: PinKey, after: PinState | None) -> None:
        """Record that a dataset has become something else."""
        manifest, name = key
        self.trigger(
            kind,
            project=self.id.removeprefix(PINS.id),
            folder=folder,
            manifest=manifest,
            name=name,
            before=self.pins.get(key),
            after=after,
        )

    def observe(self, folder: str, found: Mapping[PinKey, PinState], *, manifest: str | None = None) -> None:
        """Record what is found in the files, all of them or one manifest, and differs from what was recorded."""
        known = [key for key in self.pins if manifest in {None, key[0]}]
        for key in dict.fromkeys([*known, *found]):
            after = found.get(key)
            if after == self.pins.get(key):
                continue
            if after is None or "invalidated" not in after:
                self.record(PinObserved, folder, key, after)
                continue
            edited = {name: value for name, value in after.items() if name != "invalidated"}
            if self.pins.get(key) != edited:
                self.record(PinObserved, folder, key, edited)
            self.record(PinInvalidated, folder, key, after)

    def change(self, event: Event) -> None:
        """Take over what an event holds."""
        if isinstance(event, PinEvent):
            key = (event.manifest, event.name)
            if event.after is None:
                self.pins.pop(key, None)
            else:
                self.pins[key] = event.after


def record_pins(application: LogApplication, project: str, change: Callable[[PinnedProject], None]) -> None:
    """Record what a function finds to have changed; it is called again when another writer was faster."""

    def decide() -> tuple[list[Aggregate], Result]:
        pinned = application.aggregates.load(PinnedProject, pins_stream(project))
        version = pinned.version
        change(pinned)
        return ([pinned] if pinned.version > version else []), {}

    application.run(["record_pins", project], None, decide)
