"""Text and HTML representations of versions and datasets. Showing a removed one is not an error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

from ...engine.errors import FramelodeError, NotFoundError
from ...engine.times import utc
from ...engine.validation import shorten
from ...projections.tables.catalog import DatasetRow, VersionRow
from ..display.html import Markup, bar, byte_size, card, pairs, plain, remark, table, title
from ..session.session import Session
from .selectors import find_dataset
from .statistics import Statistics

_MOST = 15
_VERSIONS = 100
_DEEPEST = 20
"""Maximum indentation level of a chain of versions."""


def version_text(session: Session, version_id: str) -> str:
    """Return the repr of a version, with only its id if the rest cannot be read."""
    try:
        row, dataset = _read(session, version_id)
    except FramelodeError:
        return f"DatasetVersion(id={version_id!r})"
    names = f"{shorten(dataset.name)}, {shorten(row.name)}"
    return f"DatasetVersion({names}, {row.state}, id={version_id!r})"


def dataset_text(session: Session, dataset_id: str) -> str:
    """Return the repr of a dataset, with only its id if the rest cannot be read."""
    try:
        row = find_dataset(session, dataset_id=dataset_id)
    except FramelodeError:
        return f"Dataset(id={dataset_id!r})"
    return f"Dataset(id={dataset_id!r}, name={shorten(row.name)}, project={shorten(row.project)})"


def version_card(session: Session, version_id: str) -> str:
    """Return a version as HTML: its dataset, state and statistics."""
    try:
        row, dataset = _read(session, version_id)
        parent = session.version_row(row.parent_id) if row.parent_id else None
        stats = Statistics.from_counts(session.version_counts(version_id))
    except FramelodeError as error:
        return card(title(version_text(session, version_id)), remark(error))
    facts = pairs(
        [
            ("dataset", f"{dataset.project} / {dataset.name}"),
            ("id", version_id),
            ("parent", parent.name if parent else None),
            ("last updated", _moment(row.updated_at)),
            ("frames", f"{stats.total:,}, {stats.annotated:,} annotated"),
            ("comment", row.description or None),
            ("tags", ", ".join(row.tags) or None),
        ]
    )
    return card(title(row.name, row.state), facts, *_statistics(stats))


def dataset_card(session: Session, dataset_id: str) -> str:
    """Return a dataset as HTML, with its versions as a tree."""
    try:
        dataset = find_dataset(session, dataset_id=dataset_id)
        with session.read_catalog() as connection:
            versions = session.catalog.versions(connection, dataset_id=dataset_id)
        totals = session.version_totals()
    except FramelodeError as error:
        return card(title(dataset_text(session, dataset_id)), remark(error))
    rows = [
        (
            _indented(row.name, level),
            row.state,
            totals.get(row.version_id, 0),
            _moment(row.updated_at),
            row.version_id,
        )
        for row, level in islice(_tree(versions), _VERSIONS)
    ]
    facts = pairs(
        [
            ("project", dataset.project),
            ("id", dataset_id),
            ("description", dataset.description or None),
            ("tags", ", ".join(dataset.tags) or None),
        ]
    )
    columns = ("version", "state", "frames", "last updated", "id")
    return card(title(dataset.name, "dataset"), facts, table(columns, rows, len(versions)))


def _read(session: Session, version_id: str) -> tuple[VersionRow, DatasetRow]:
    row = session.version_row(version_id)
    if row is None:
        raise NotFoundError(f"there is no version with id {version_id!r}")
    return row, find_dataset(session, dataset_id=row.dataset_id)


def _statistics(stats: Statistics) -> Iterator[Markup]:
    most = stats.labels[0]["count"] if stats.labels else 0
    labels = [(entry["name"], entry["count"], bar(entry["count"] / most)) for entry in stats.labels[:_MOST]]
    types = [(entry["name"], entry["count"]) for entry in stats.content_types[:_MOST]]
    sources = [
        (entry["name"], entry["count"], byte_size(entry["bytes"]) if entry["bytes"] else None)
        for entry in stats.sources[:_MOST]
    ]
    for columns, rows, total in (
        (("label", "annotations", ""), labels, len(stats.labels)),
        (("content type", "sources"), types, len(stats.content_types)),
        (("source", "frames", "size"), sources, len(stats.sources)),
    ):
        if rows:
            yield table(columns, rows, total)


def _tree(versions: list[VersionRow]) -> Iterator[tuple[VersionRow, int]]:
    """Yield versions with their depth, each child after its parent; newest roots first, oldest siblings first."""
    known = {row.version_id for row in versions}
    children: dict[str | None, list[VersionRow]] = defaultdict(list)
    for row in versions:
        children[row.parent_id if row.parent_id in known else None].append(row)
    pending = [(row, 0) for row in children[None]]
    while pending:
        row, level = pending.pop()
        yield row, level
        pending += [(child, level + 1) for child in children[row.version_id]]


def _indented(name: str, level: int) -> Markup:
    branch = f"{'&emsp;' * min(level - 1, _DEEPEST)}└ " if level else ""
    return Markup(f"{branch}{plain(name)}")


def _moment(microseconds: int) -> str:
    return utc(microseconds).strftime("%Y-%m-%d %H:%M:%S UTC")
