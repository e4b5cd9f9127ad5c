"""Text and HTML representations of versions, datasets and what is read from them. Showing a removed one is not an error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from ...engine.errors import FramelodeError, NotFoundError
from ...engine.times import utc
from ...engine.validation import how_many, shorten
from ...projections.history.changes import Change
from ...projections.tables.catalog import DatasetRow, VersionRow
from ..display.html import Cell, Markup, bar, byte_size, card, pairs, plain, remark, table, title
from ..session.session import Session
from .selectors import find_dataset
from .statistics import Statistics

if TYPE_CHECKING:
    from .blame import Blame
    from .dataset import Dataset
    from .diff import Diff
    from .version import DatasetVersion

_MOST = 15
_VERSIONS = 100
_DEEPEST = 20
"""Maximum indentation level of a chain of versions."""

_VERSION_COLUMNS = ("version", "state", "frames", "last updated", "id")
_DATASET_COLUMNS = ("dataset", "project", "tags", "created", "id")
_CHANGE_COLUMNS = ("position", "time (UTC)", "actor", "context")


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
        _version_cells(row, _indented(row.name, level), totals)
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
    return card(title(dataset.name, "dataset"), facts, table(_VERSION_COLUMNS, rows, len(versions)))


def versions_card(versions: Sequence[DatasetVersion]) -> str:
    """Return a list of versions as HTML."""
    heading = title(how_many(len(versions), "version"))
    try:
        listed = [(each._session, each._row()) for each in versions[:_VERSIONS]]  # noqa: SLF001 - of this package
        totals = listed[0][0].version_totals() if listed else {}
    except FramelodeError as error:
        return card(heading, remark(error))
    rows = [_version_cells(row, row.name, totals) for _, row in listed]
    return card(heading, table(_VERSION_COLUMNS, rows, len(versions)))


def datasets_card(datasets: Sequence[Dataset]) -> str:
    """Return a list of datasets as HTML."""
    heading = title(how_many(len(datasets), "dataset"))
    try:
        rows = [_dataset_cells(each._row()) for each in datasets[:_VERSIONS]]  # noqa: SLF001 - of this package
    except FramelodeError as error:
        return card(heading, remark(error))
    return card(heading, table(_DATASET_COLUMNS, rows, len(datasets)))


def engine_card(session: Session) -> str:
    """Return an engine as HTML: its position and datasets."""
    try:
        head = session.log.head()
        with session.read_catalog() as connection:
            datasets = session.catalog.datasets(connection)
    except FramelodeError as error:
        return card(title(session.name, "engine"), remark(error))
    facts = pairs([("position", f"{head.position:,}")])
    rows = [_dataset_cells(row) for row in datasets[:_VERSIONS]]
    return card(
        title(session.name, f"engine{session.when}"), facts, table(_DATASET_COLUMNS, rows, len(datasets))
    )


def statistics_card(stats: Statistics) -> str:
    """Return statistics as HTML."""
    heading = title("statistics", f"{stats.total:,} frames, {stats.annotated:,} annotated")
    return card(heading, *_statistics(stats))


def diff_card(diff: Diff) -> str:
    """Return a diff as HTML: changes of labels, and the first frames."""
    heading = title(" → ".join(diff.names), "diff")
    parts = {"added": diff.added, "changed": diff.changed, "removed": diff.removed}
    try:
        labels = diff.stats.label_changes()
        frames = [
            (name, each.frame_id, ", ".join(each.fields))
            for name, part in parts.items()
            for each in part[:_MOST]
        ]
    except FramelodeError as error:
        return card(heading, remark(error))
    most = max((abs(change) for _, change in labels), default=0)
    rows = [(name, f"{change:+,}", bar(abs(change) / most)) for name, change in labels[:_MOST]]
    return card(
        heading,
        pairs([(name, f"{len(part):,}") for name, part in parts.items()]),
        table(("label", "change", ""), rows, len(labels)),
        table(("frames", "id", "fields"), frames, sum(map(len, parts.values()))),
    )


def blame_card(blame: Blame) -> str:
    """Return a blame as HTML: who set each part of a frame."""
    parts = blame.parts()
    rows = [(part, *_change_cells(change)) for part, change in parts[:_VERSIONS]]
    return card(title(blame.frame_id, "blame"), table(("part", *_CHANGE_COLUMNS), rows, len(parts)))


def changes_card(changes: Sequence[Change]) -> str:
    """Return a list of changes as HTML."""
    rows = [
        (*_change_cells(change), f"{change.subject} {change.kind}", ", ".join(change.fields))
        for change in changes[:_VERSIONS]
    ]
    columns = (*_CHANGE_COLUMNS, "what", "fields")
    return card(title(how_many(len(changes), "change")), table(columns, rows, len(changes)))


def _version_cells(row: VersionRow, name: Cell, totals: Mapping[str, int]) -> tuple[Cell, ...]:
    return name, row.state, totals.get(row.version_id, 0), _moment(row.updated_at), row.version_id


def _dataset_cells(row: DatasetRow) -> tuple[Cell, ...]:
    return row.name, row.project, ", ".join(row.tags) or None, _moment(row.created_at), row.dataset_id


def _change_cells(change: Change) -> tuple[Cell, ...]:
    context = ", ".join(f"{key}: {value}" for key, value in change.context.items())
    return change.position, f"{change.at:%Y-%m-%d %H:%M:%S}", change.actor, context or None


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
