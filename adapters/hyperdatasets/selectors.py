"""Finds datasets and versions by the selectors that a caller passes."""

from __future__ import annotations

from typing import Any

import msgspec

from ...engine.errors import ConflictError, NotFoundError, UsageError
from ...engine.log.contract import Head
from ...engine.validation import check_flags, did_you_mean, items, shorten, text
from ...projections.tables.catalog import DRAFT, REMOVED, DatasetRow, VersionRow
from ..session.session import Session


class VersionSelector(msgspec.Struct, frozen=True, gc=False):
    """The selectors of a version, as passed to the public methods.

    Attributes
    ----------
    dataset_id, dataset_name : str or None
        The dataset, by id or by name.
    version_id, version_name : str or None
        The version, by id or by name. If neither is given, the current version of the dataset.
    dataset_project : str or None
        Project of the dataset.
    """

    dataset_id: str | None = None
    dataset_name: str | None = None
    version_id: str | None = None
    version_name: str | None = None
    dataset_project: str | None = None


NO_SELECTOR = VersionSelector()


def exclusive(**values: object) -> None:
    """Raise `UsageError` if more than one of the arguments is given."""
    given = [name for name, value in values.items() if value is not None and value is not False]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: pass one of them")


def check_texts(**values: object) -> None:
    """Raise `InvalidValueError` if an argument that is given is not a non-empty string."""
    for name, value in values.items():
        if value is not None:
            text(value, name)


def find_dataset(
    session: Session,
    dataset_id: str | None = None,
    dataset_name: str | None = None,
    dataset_project: str | None = None,
) -> DatasetRow:
    """Return the selected dataset.

    Raises
    ------
    UsageError
        Not exactly one of id and name is given.
    NotFoundError
        There is no such dataset.
    ConflictError
        Several projects have a dataset of that name. The message lists them.
    """
    exclusive(dataset_id=dataset_id, dataset_name=dataset_name)
    check_texts(dataset_id=dataset_id, dataset_name=dataset_name, dataset_project=dataset_project)
    if dataset_id is None and dataset_name is None:
        raise UsageError("pass dataset_id or dataset_name")
    with session.read_catalog() as connection:
        found = session.catalog.datasets(connection, dataset_id=dataset_id, name=dataset_name)
        known = [] if found else [row.name for row in session.catalog.datasets(connection)]
    if dataset_project is not None:
        found = [row for row in found if row.project == dataset_project]
    if not found:
        what = f"id {shorten(dataset_id)}" if dataset_id is not None else f"name {shorten(dataset_name)}"
        where = f" in project {shorten(dataset_project)}" if dataset_project is not None else ""
        hint = did_you_mean(dataset_name or "", known) or _name_given_as_id(dataset_id, known)
        raise NotFoundError(f"there is no dataset with {what}{where}{session.when}{hint}")
    if len(found) > 1:
        projects = ", ".join(shorten(row.project) for row in found)
        raise ConflictError(
            f"dataset {shorten(dataset_name)} exists in the projects {projects}: pass the project as well"
        )
    return found[0]


def _name_given_as_id(dataset_id: str | None, known: list[str]) -> str:
    if dataset_id not in known:
        return ""
    return (
        f": the first argument is an id; for a dataset of that name pass dataset_name={shorten(dataset_id)}"
    )


def find_version(
    session: Session, selector: VersionSelector, *, raise_on_multiple: bool = False
) -> VersionRow:
    """Return the selected version. Without a version selector, return the current version of the dataset.

    Raises
    ------
    UsageError
        Selectors are missing or exclude each other.
    NotFoundError
        There is no such version, or it does not belong to the dataset or project that is given.
    ConflictError
        Several versions have the name and `raise_on_multiple` is set.
    """
    exclusive(dataset_id=selector.dataset_id, dataset_name=selector.dataset_name)
    exclusive(version_id=selector.version_id, version_name=selector.version_name)
    check_texts(**msgspec.structs.asdict(selector))
    check_flags(raise_on_multiple=raise_on_multiple)
    if selector.version_id is not None:
        row = version_by_id(session, selector.version_id)
        _require_dataset(session, row, selector)
        return row
    version_name = selector.version_name
    dataset = find_dataset(session, selector.dataset_id, selector.dataset_name, selector.dataset_project)
    with session.read_catalog() as connection:
        if version_name is None:
            current = session.catalog.current(connection, dataset.dataset_id)
            found = [] if current is None else [current]
        else:
            found = session.catalog.versions(connection, dataset_id=dataset.dataset_id, name=version_name)
        rows = [] if found else session.catalog.versions(connection, dataset_id=dataset.dataset_id)
    if not found:
        which = f"version named {shorten(version_name)}" if version_name is not None else "version left"
        hint = did_you_mean(version_name or "", (row.name for row in rows))
        raise NotFoundError(f"dataset {shorten(dataset.name)} has no {which}{session.when}{hint}")
    if len(found) > 1 and raise_on_multiple:
        ids = ", ".join(f"id:{row.version_id}" for row in found)
        raise ConflictError(
            f"dataset {shorten(dataset.name)} has {len(found)} versions named {shorten(version_name)}: select one by id: {ids}"
        )
    return found[0]


def version_by_id(session: Session, version_id: str, head: Head | None = None) -> VersionRow:
    """Return the version with an id; `NotFoundError` when there is none, or it was removed.

    Parameters
    ----------
    head : Head, optional
        The end of the log, if it is known.
    """
    row = session.version_row(version_id, head)
    if row is None:
        raise NotFoundError(f"there is no version with id {shorten(version_id)}{session.when}")
    if row.state == REMOVED:
        already = f" already{session.when}" if session.when else ""
        raise NotFoundError(
            f"version {shorten(row.name)} ({version_id}) was removed{already}; its history stays readable"
        )
    return row


def _require_dataset(session: Session, row: VersionRow, selector: VersionSelector) -> None:
    """Raise `NotFoundError` if a version does not belong to the selected dataset."""
    given = {"id": selector.dataset_id, "name": selector.dataset_name, "project": selector.dataset_project}
    if all(value is None for value in given.values()):
        return
    dataset = find_dataset(session, dataset_id=row.dataset_id)
    found = {"id": dataset.dataset_id, "name": dataset.name, "project": dataset.project}
    wrong = [name for name, value in given.items() if value is not None and value != found[name]]
    if wrong:
        raise NotFoundError(
            f"version {shorten(row.version_id)} belongs to dataset {shorten(dataset.name)} ({dataset.dataset_id}) in project "
            f"{shorten(dataset.project)}, not to one with {wrong[0]} {shorten(given[wrong[0]])}"
        )


def find_parent(
    session: Session, dataset: DatasetRow, ids: list[str] | None, names: list[str] | None
) -> str | None:
    """Return the id of the parent that is given by id or by name, each in a list of at most one; None if there is none."""
    by_id, by_name = _parents(ids), _parents(names)
    exclusive(parent_version_ids=by_id or None, parent_version_names=by_name or None)
    if not (by_id or by_name):
        return None
    parent = text((by_id or by_name)[0], "the parent")
    version_id, version_name = (parent, None) if by_id else (None, parent)
    selector = VersionSelector(dataset.dataset_id, version_id=version_id, version_name=version_name)
    return find_version(session, selector).version_id


def _parents(given: list[str] | None) -> list[Any]:
    if isinstance(given, str):
        raise UsageError(f"a version has at most one parent: pass a list of one, not {shorten(given)}")
    parents = [] if given is None else list(items(given, "the parent", "a list of one version"))
    if len(parents) > 1:
        raise UsageError(f"a version has at most one parent: pass a list of one, not {shorten(parents)}")
    return parents


def current_of(versions: list[VersionRow]) -> VersionRow:
    """Return the deepest draft, the newest of several; without drafts, the version published last."""
    drafts = [row for row in versions if row.state == DRAFT]
    if drafts:
        return max(drafts, key=lambda row: (row.depth, row.created_position))
    return max(versions, key=lambda row: row.published_position or 0)


def latest_updated(session: Session, dataset: DatasetRow, state: str | None = None) -> list[VersionRow]:
    """Return the versions of a dataset, most recently updated first."""
    with session.read_catalog() as connection:
        rows = session.catalog.versions(connection, dataset_id=dataset.dataset_id, state=state)
    return sorted(rows, key=lambda row: (row.updated_at, row.updated_position), reverse=True)
