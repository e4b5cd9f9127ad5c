"""The version aggregate: draft, published, removed, and what each allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..canonical import canonical_object
from ..errors import InvalidValueError, NotFoundError, PublishedError
from ..events.base import Event
from ..events.domain import (
    VersionCommitted,
    VersionCreated,
    VersionDescribed,
    VersionMetadataSet,
    VersionPublished,
    VersionRemoved,
    VersionRenamed,
    VersionTagged,
)
from ..validation import shorten
from .aggregate import Aggregate

_ONLY_COMMITS = (VersionCommitted.__name__,)


def check_metadata(metadata: object) -> dict[str, Any]:
    """Return a copy of version metadata; keys with ``$`` or ``.`` are refused at any depth.

    Raises
    ------
    InvalidValueError
        The metadata is no JSON-like dict, or holds such a key; the message names it.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidValueError(f"metadata must be a dict, not {type(metadata).__name__}")
    checked = canonical_object(metadata, "metadata")
    _check_keys(checked)
    return checked


def _check_keys(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _check_keys(item)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if "$" in key or "." in key:
            raise InvalidValueError(f"metadata key {shorten(key)} holds '$' or '.', which keys must not")
        _check_keys(item)


class Version(Aggregate):
    """One version of a dataset; its frames are events of the same stream but are not loaded here."""

    dataset_id: str = ""
    name: str = ""
    parent_id: str | None = None
    description: str = ""
    published: bool = False
    removed: bool = False
    committed_version: int = 0
    fingerprint: str | None = None

    def __init__(self, aggregate_id: str) -> None:
        super().__init__(aggregate_id)
        self.metadata: dict[str, Any] = {}
        self.tags: list[str] = []

    def create(
        self, dataset_id: str, name: str, parent_id: str | None, description: str, metadata: dict[str, Any]
    ) -> None:
        """Bring the version into being, as a draft."""
        self.trigger(
            VersionCreated,
            dataset_id=dataset_id,
            name=name,
            parent_id=parent_id,
            description=description,
            metadata=metadata,
        )

    def require_draft(self) -> None:
        """Raise `PublishedError` unless the version takes changes, `NotFoundError` when it is removed."""
        self.require_present()
        if self.published:
            raise PublishedError(
                f"version {shorten(self.name)} ({self.id}) is published and cannot be changed: "
                "create a child version and change that"
            )

    def require_present(self) -> None:
        """Raise `NotFoundError` when the version is removed."""
        if self.removed:
            raise NotFoundError(
                f"version {shorten(self.name)} ({self.id}) was removed; its history stays readable"
            )

    def rename(self, name: str) -> None:
        """Give the version another name."""
        if name != self.name:
            self.trigger(VersionRenamed, name=name)

    def describe(self, description: str) -> None:
        """Replace the description."""
        if description != self.description:
            self.trigger(VersionDescribed, description=description)

    def tag(self, tags: list[str]) -> None:
        """Replace the tags."""
        if tags != self.tags:
            self.trigger(VersionTagged, tags=tags)

    def set_metadata(self, metadata: dict[str, Any]) -> None:
        """Replace the metadata of a draft as a whole."""
        self.require_draft()
        if metadata != self.metadata:
            self.trigger(VersionMetadataSet, metadata=metadata)

    def commit(self, added: int, updated: int, deleted: int, total: int) -> None:
        """Record the counts of the changes since the last commit."""
        self.require_draft()
        self.trigger(VersionCommitted, added=added, updated=updated, deleted=deleted, total=total)

    def publish(self, fingerprint: str, total: int) -> None:
        """Freeze the version."""
        self.require_draft()
        self.trigger(VersionPublished, fingerprint=fingerprint, total=total)

    def remove(self) -> None:
        """Remove the version."""
        self.require_present()
        self.trigger(VersionRemoved)

    def apply_unopened(self, topics: Sequence[str], version: int) -> bool:
        """Take over commits, of which only the place counts: a draft may have thousands."""
        if tuple(topics) != _ONLY_COMMITS:
            return False
        self.version = self.committed_version = version
        return True

    def change(self, event: Event) -> None:
        """Take over what an event holds."""
        match event:
            case VersionCreated() if not self.dataset_id:
                self.dataset_id, self.name, self.parent_id = event.dataset_id, event.name, event.parent_id
                self.description, self.metadata = event.description, event.metadata
                self.committed_version = event.originator_version
            case VersionRenamed():
                self.name = event.name
            case VersionDescribed():
                self.description = event.description
            case VersionTagged():
                self.tags = list(event.tags)
            case VersionMetadataSet():
                self.metadata = event.metadata
            case VersionCommitted():
                self.committed_version = event.originator_version
            case VersionPublished():
                self.published, self.fingerprint = True, event.fingerprint
            case VersionRemoved():
                self.removed = True
            case _:
                pass
