"""The status of a dataset: its lock compared with its source."""

from __future__ import annotations

from enum import StrEnum

from ...engine.errors import NotFoundError
from .comparison import has_moved
from .dataset_types import Dataset
from .records import URLDatasetLock
from .resolver import ResolveContext
from .url_source import read_url


class Status(StrEnum):
    """Status of a dataset: unchanged, changed at the source, spec edited since, without a lock or source, or unknown.

    `unreadable` means that its entry, its lock or its source cannot be read; `Datasets.problems` gives the reason.
    """

    ok = "ok"
    stale = "stale"
    invalidated = "invalidated"
    missing = "missing"
    unreadable = "unreadable"


def status_of(dataset: Dataset, reach: ResolveContext) -> Status:
    """Return the status of a dataset.

    Raises
    ------
    StorageError
        Its source cannot be read, or does not answer in time.
    """
    if dataset._invalidated:  # noqa: SLF001 - of this package
        return Status.invalidated
    if dataset.lock is None:
        return Status.missing
    try:
        if isinstance(dataset.lock, URLDatasetLock):
            moved = has_moved(dataset.lock, *read_url(dataset.spec.url, reach, times=True))
        else:
            moved = dataset.update(reach).lock != dataset.lock
    except NotFoundError:
        return Status.missing
    return Status.stale if moved else Status.ok
