"""Datasets and versions as the command line shows them; the fields are the keys of `--json`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from ...engine.events.views import ViewStored
from ...engine.times import iso_time
from ...projections.tables.catalog import DatasetRow, VersionRow
from ...projections.tables.views import StoredView
from ..engine import Engine
from ..hyperdatasets.address import Address
from ..hyperdatasets.dataset import Dataset
from ..hyperdatasets.selectors import current_of, find_dataset
from ..hyperdatasets.statistics import Statistics
from ..hyperdatasets.version import DatasetVersion
from .output import Cell, Difference, counted, print_table, say

SHORT_ID = 12


class DatasetView(msgspec.Struct, frozen=True):
    """A dataset; `current` is the name of its current version and `frames` the number of frames in it."""

    address: str
    id: str
    name: str
    project: str
    description: str
    tags: list[str]
    versions: int
    current: str | None
    frames: int
    created: str


class VersionView(msgspec.Struct, frozen=True):
    """A version; `parent` is the parent's id."""

    address: str
    id: str
    dataset: str
    project: str
    name: str
    description: str
    state: str
    parent: str | None
    frames: int
    fingerprint: str | None
    created: str
    updated: str


class StatsView(msgspec.Struct, frozen=True):
    """A version and its statistics."""

    version: VersionView
    stats: dict[str, Any]


class DetailsView(msgspec.Struct, frozen=True):
    """A version with its tags, metadata and statistics."""

    version: VersionView
    tags: list[str]
    metadata: dict[str, Any]
    stats: dict[str, Any]


class StoredDataView(msgspec.Struct, frozen=True):
    """A stored data view; `definition` has its versions, queries, labels and order."""

    id: str
    name: str
    stored: str
    actor: str
    position: int
    definition: ViewStored


def stored_view(view: StoredView) -> StoredDataView:
    """Return a stored view as it is shown."""
    stored = view.at.isoformat()
    return StoredDataView(view.id, view.definition.view, stored, view.actor, view.position, view.definition)


def print_stored_views(views: Iterable[StoredDataView]) -> None:
    """Print stored views as a table."""
    columns = ("view", "id", "versions", "queries", "order", "stored", "by")
    print_table(
        columns,
        (
            (
                view.name,
                view.id[:SHORT_ID],
                len(view.definition.versions),
                len(view.definition.queries),
                view.definition.order,
                view.stored[:19].replace("T", " "),
                view.actor,
            )
            for view in views
        ),
    )


def list_datasets(engine: Engine) -> list[DatasetView]:
    """Return all datasets in order of creation."""
    with engine.session.read_catalog() as connection:
        datasets = engine.session.catalog.datasets(connection)
        versions = engine.session.catalog.versions(connection)
    totals, of_dataset = engine.session.version_totals(), by_dataset(versions)
    return [_dataset_view(totals, row, of_dataset[row.dataset_id]) for row in datasets]


def view_dataset(engine: Engine, dataset_id: str) -> DatasetView:
    """Return the current view of one dataset."""
    row = find_dataset(engine.session, dataset_id=dataset_id)
    with engine.session.read_catalog() as connection:
        versions = engine.session.catalog.versions(connection, dataset_id=dataset_id)
    return _dataset_view(engine.session.version_totals(), row, versions)


def view_subject(engine: Engine, subject: Dataset | DatasetVersion) -> DatasetView | VersionView:
    """Return the view of a dataset or a version."""
    if isinstance(subject, Dataset):
        return view_dataset(engine, subject.id)
    return view_version(engine, subject.version_id)


def by_dataset(versions: Iterable[VersionRow]) -> defaultdict[str, list[VersionRow]]:
    """Group versions by dataset, in the order given."""
    grouped: defaultdict[str, list[VersionRow]] = defaultdict(list)
    for row in versions:
        grouped[row.dataset_id].append(row)
    return grouped


def list_versions(engine: Engine, dataset: DatasetRow) -> list[VersionView]:
    """Return the versions of a dataset, last updated first."""
    with engine.session.read_catalog() as connection:
        versions = engine.session.catalog.versions(connection, dataset_id=dataset.dataset_id)
    versions.sort(key=lambda row: (row.updated_at, row.updated_position), reverse=True)
    totals = engine.session.version_totals()
    return [version_view(totals, row, dataset) for row in versions]


def view_version(engine: Engine, version_id: str) -> VersionView:
    """Return the current view of one version."""
    with engine.session.read_catalog() as connection:
        (row,) = engine.session.catalog.versions(connection, version_id=version_id, removed=True)
    return version_view(
        engine.session.version_totals(), row, find_dataset(engine.session, dataset_id=row.dataset_id)
    )


def view_stats(engine: Engine, row: VersionRow) -> StatsView:
    """Return a version with its statistics."""
    stats = Statistics.from_counts(engine.session.version_counts(row.version_id))
    return StatsView(view_version(engine, row.version_id), stats.to_dict())


def view_details(engine: Engine, row: VersionRow) -> DetailsView:
    """Return a version with its tags, metadata and statistics."""
    shown = view_stats(engine, row)
    return DetailsView(shown.version, row.tags, row.metadata, shown.stats)


def print_details(shown: DetailsView) -> None:
    """Print a version, one property per line."""
    version = shown.version
    facts = [
        ("version", version.address),
        ("id", version.id),
        ("state", version.state),
        ("parent", version.parent),
        ("comment", version.description),
        ("tags", ", ".join(shown.tags)),
        ("created", version.created),
        ("updated", version.updated),
        ("fingerprint", version.fingerprint),
        ("frames", f"{version.frames:,}, {shown.stats['annotated']:,} annotated"),
        ("labels", ", ".join(f"{each['name']} {each['count']:,}" for each in shown.stats["labels"])),
        ("metadata", json.dumps(shown.metadata, ensure_ascii=False) if shown.metadata else ""),
    ]
    for name, fact in facts:
        if fact:
            say(f"{name:<11}  {fact}")


def print_datasets(datasets: list[DatasetView]) -> None:
    """Print datasets as a table."""
    print_table(
        ("dataset", "project", "versions", "current", "frames"),
        ((row.name, row.project, row.versions, row.current, row.frames) for row in datasets),
    )


def print_versions(versions: list[VersionView]) -> None:
    """Print the versions of a dataset as a table."""
    names = {row.id: row.name for row in versions}

    def parent(row: VersionView) -> str | None:
        return names.get(row.parent, row.parent[:SHORT_ID]) if row.parent else None

    print_table(
        ("version", "id", "state", "parent", "frames", "updated (UTC)"),
        (
            (
                row.name,
                row.id[:SHORT_ID],
                row.state,
                parent(row),
                row.frames,
                row.updated[:19].replace("T", " "),
            )
            for row in versions
        ),
    )


def print_stats(shown: StatsView, against: StatsView | None = None) -> None:
    """Print statistics as a table; with `against`, both versions side by side and the differences."""
    counts = _counts(shown.stats)
    if against is None:
        print_table(("", "", shown.version.address), ((*key, count) for key, count in counts.items()))
        return
    before = _counts(against.stats)
    rows: list[tuple[Cell, ...]] = []
    for key in dict.fromkeys([*counts, *before]):
        old, new = before.get(key, 0), counts.get(key, 0)
        rows.append((*key, old, new, Difference(new - old) if new != old else None))
    rows.sort(key=lambda row: _KINDS.index(str(row[0])))
    print_table(("", "", against.version.address, shown.version.address, "change"), rows)


def print_change(what: str, version: VersionView) -> None:
    """Print what happened to a version, and its id."""
    say(f"{what} {version.address} ({version.id}, {counted(version.frames, 'frame')})")


_KINDS = ("frames", "label", "content type", "source", "bytes")


def _counts(stats: dict[str, Any]) -> dict[tuple[str, str], int]:
    """Flatten statistics into counts by kind and name, in the order in which they are shown."""
    counts = {("frames", ""): stats["total"], ("frames", "annotated"): stats["annotated"]}
    for kind, key in (("label", "labels"), ("content type", "content_types"), ("source", "sources")):
        counts |= {(kind, entry["name"]): entry["count"] for entry in stats[key]}
    return counts | {("bytes", entry["name"]): entry["bytes"] for entry in stats["sources"]}


def _dataset_view(totals: dict[str, int], row: DatasetRow, versions: list[VersionRow]) -> DatasetView:
    current = current_of(versions) if versions else None
    return DatasetView(
        address=str(Address(row.name, row.project)),
        id=row.dataset_id,
        name=row.name,
        project=row.project,
        description=row.description,
        tags=row.tags,
        versions=len(versions),
        current=current.name if current else None,
        frames=totals.get(current.version_id, 0) if current else 0,
        created=iso_time(row.created_at),
    )


def version_view(totals: dict[str, int], row: VersionRow, dataset: DatasetRow) -> VersionView:
    """Return one version; `totals` holds the number of frames of each version."""
    return VersionView(
        address=str(Address(dataset.name, dataset.project, row.name)),
        id=row.version_id,
        dataset=dataset.name,
        project=dataset.project,
        name=row.name,
        description=row.description,
        state=row.state,
        parent=row.parent_id,
        frames=totals.get(row.version_id, 0),
        fingerprint=row.fingerprint,
        created=iso_time(row.created_at),
        updated=iso_time(row.updated_at),
    )
