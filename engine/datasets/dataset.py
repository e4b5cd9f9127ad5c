"""The dataset aggregate: a name within a project, and the tree of its versions."""

from __future__ import annotations

from blake3 import blake3

from ..errors import ConflictError
from ..events.base import Event
from ..events.domain import (
    NAMES,
    DatasetCreated,
    DatasetDescribed,
    DatasetRemoved,
    DatasetRenamed,
    DatasetTagged,
    NameClaimed,
    NameReleased,
    VersionAttached,
    VersionDetached,
)
from .aggregate import Aggregate

DEFAULT_PROJECT = "default"


def name_stream(project: str, name: str) -> str:
    """Return the stream in which a dataset name of a project is claimed."""
    digest = blake3(b"\0".join((project.encode(), name.encode())))
    return NAMES.id + digest.hexdigest(length=16)


class DatasetName(Aggregate):
    """A name within a project: whoever appends to its stream first holds it."""

    dataset_id: str | None = None

    def claim(self, dataset_id: str) -> None:
        """Take the name for a dataset."""
        if self.dataset_id is not None:
            raise ConflictError(f"the name is held by dataset {self.dataset_id}")
        self.trigger(NameClaimed, dataset_id=dataset_id)

    def release(self) -> None:
        """Give the name back."""
        self.trigger(NameReleased)

    def change(self, event: Event) -> None:
        """Take over what an event holds."""
        match event:
            case NameClaimed():
                self.dataset_id = event.dataset_id
            case NameReleased():
                self.dataset_id = None
            case _:
                pass


class Dataset(Aggregate):
    """A dataset; every change of its version tree passes through its stream."""

    name: str = ""
    project: str = DEFAULT_PROJECT
    description: str = ""
    removed: bool = False

    def __init__(self, aggregate_id: str) -> None:
        super().__init__(aggregate_id)
        self.tags: list[str] = []
        self.parents: dict[str, str | None] = {}

    def create(self, name: str, project: str, description: str, tags: list[str]) -> None:
        """Bring the dataset into being."""
        self.trigger(DatasetCreated, name=name, project=project, description=description, tags=tags)

    def add_tags(self, tags: list[str]) -> None:
        """Add the tags that the dataset lacks."""
        self.tag(list(dict.fromkeys(self.tags + tags)))

    def tag(self, tags: list[str]) -> None:
        """Replace the tags."""
        if tags != self.tags:
            self.trigger(DatasetTagged, tags=tags)

    def describe(self, description: str) -> None:
        """Replace the description."""
        if description != self.description:
            self.trigger(DatasetDescribed, description=description)

    def rename(self, project: str, name: str) -> None:
        """Take another name, in this or another project."""
        self.trigger(DatasetRenamed, name=name, project=project)

    def remove(self) -> None:
        """Remove the dataset, which has no versions."""
        self.trigger(DatasetRemoved)

    def attach(self, version_id: str, parent_id: str | None) -> None:
        """Add a version to the tree."""
        self.trigger(VersionAttached, version_id=version_id, parent_id=parent_id)

    def detach(self, version_id: str) -> None:
        """Take a version without children out of the tree."""
        self.trigger(VersionDetached, version_id=version_id)

    def children(self, version_id: str) -> list[str]:
        """Return the ids of a version's children."""
        return [child for child, parent in self.parents.items() if parent == version_id]

    def change(self, event: Event) -> None:
        """Take over what an event holds."""
        match event:
            case DatasetCreated() if not self.name:
                self.name, self.project = event.name, event.project
                self.description, self.tags = event.description, list(event.tags)
            case DatasetRenamed():
                self.name, self.project = event.name, event.project
            case DatasetDescribed():
                self.description = event.description
            case DatasetTagged():
                self.tags = list(event.tags)
            case DatasetRemoved():
                self.removed = True
            case VersionAttached():
                self.parents[event.version_id] = event.parent_id
            case VersionDetached():
                self.parents.pop(event.version_id, None)
            case _:
                pass
