"""Commands on datasets: create, name, describe, tag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ConflictError, PublishedError
from ..validation import check_flags, check_name, check_tags, check_text, how_many, shorten
from .aggregate import Aggregate
from .application import LogApplication, Result
from .dataset import DEFAULT_PROJECT, Dataset, DatasetName, name_stream
from .version import Version

FIRST_VERSION_NAME = "Current"


def changed_tags(tags: list[str], add: list[str], remove: list[str]) -> list[str]:
    """Return tags with some added and others removed, in their order."""
    return [tag for tag in dict.fromkeys([*tags, *add]) if tag not in remove]


class DatasetCommands:
    """Commands on datasets.

    Parameters
    ----------
    application : LogApplication
        Decides on aggregates and records their events.
    """

    def __init__(self, application: LogApplication) -> None:
        self._application = application

    def create_dataset(
        self,
        name: str,
        *,
        project: str | None = None,
        description: str | None = None,
        tags: list[str] | None = None,
        raise_if_exists: bool = False,
        command_id: str | None = None,
    ) -> str:
        """Create a dataset with an empty draft named ``Current``, or add tags to the one of that name.

        Returns
        -------
        str
            The dataset's id.

        Raises
        ------
        InvalidValueError
            A name or tag is no string or empty.
        ConflictError
            The name is taken and `raise_if_exists` is set.
        """
        name = check_name(name, "dataset name")
        project = check_name(DEFAULT_PROJECT if project is None else project, "dataset project")
        checked_tags = check_tags(tags)
        check_flags(raise_if_exists=raise_if_exists)
        description = None if description is None else check_text(description, "description")

        def decide() -> tuple[list[Aggregate], Result]:
            held = self._application.aggregates.load(DatasetName, name_stream(project, name))
            if held.dataset_id is not None:
                if raise_if_exists:
                    raise ConflictError(
                        f"dataset {shorten(name)} exists already in project {shorten(project)}"
                    )
                dataset = self._application.dataset(held.dataset_id)
                dataset.add_tags(checked_tags)
                return [dataset], {"dataset_id": dataset.id}
            dataset, version = Dataset(self._application.new_id()), Version(self._application.new_id())
            held.claim(dataset.id)
            dataset.create(name, project, description or "", checked_tags)
            dataset.attach(version.id, None)
            version.create(dataset.id, FIRST_VERSION_NAME, None, "", {})
            return [held, dataset, version], {"dataset_id": dataset.id}

        request = ["create_dataset", name, project, description, checked_tags, bool(raise_if_exists)]
        return self._application.run(request, command_id, decide)["dataset_id"]

    def delete_dataset(
        self,
        dataset_id: str,
        *,
        delete_all_versions: bool = False,
        force: bool = False,
        condemn: Callable[[Sequence[str]], Aggregate] | None = None,
        command_id: str | None = None,
    ) -> None:
        """Remove a dataset with all its versions in one append. Its name can then be used again.

        Parameters
        ----------
        condemn : callable, optional
            Takes the ids of the versions, and returns a stream to save with the removal. It is called again if another
            writer changed a version in between.

        Raises
        ------
        ConflictError
            The dataset has versions and `delete_all_versions` is not set.
        PublishedError
            A version is published and `force` is not set.
        """
        check_flags(delete_all_versions=delete_all_versions, force=force)

        def decide() -> tuple[list[Aggregate], Result]:
            dataset = self._application.dataset(dataset_id)
            versions = [self._application.version(each) for each in reversed(dataset.parents)]
            if versions and not delete_all_versions:
                raise ConflictError(
                    f"dataset {shorten(dataset.name)} has {how_many(len(versions), 'version')}: pass "
                    "delete_all_versions=True to remove them, too"
                )
            published = [shorten(version.name) for version in versions if version.published]
            if published and not force:
                raise PublishedError(
                    f"dataset {shorten(dataset.name)} has published versions: {', '.join(published)}; pass force=True to "
                    "remove them, too"
                )
            for version in versions:
                version.remove()
                dataset.detach(version.id)
            dataset.remove()
            held = self._application.aggregates.load(DatasetName, name_stream(dataset.project, dataset.name))
            held.release()
            condemned = [] if condemn is None else [condemn([version.id for version in versions])]
            return [*versions, dataset, held, *condemned], {}

        request = ["delete_dataset", dataset_id, bool(delete_all_versions), bool(force)]
        self._application.run(request, command_id, decide)

    def rename_dataset(
        self,
        dataset_id: str,
        *,
        name: str | None = None,
        project: str | None = None,
        command_id: str | None = None,
    ) -> None:
        """Give a dataset another name, move it to another project, or both; the old name is free again.

        Raises
        ------
        ConflictError
            The name is taken in that project.
        """
        if name is not None:
            name = check_name(name, "dataset name")
        if project is not None:
            project = check_name(project, "dataset project")

        def decide() -> tuple[list[Aggregate], Result]:
            dataset = self._application.dataset(dataset_id)
            wanted = (project or dataset.project, name or dataset.name)
            if wanted == (dataset.project, dataset.name):
                return [], {}
            held = self._application.aggregates.load(DatasetName, name_stream(dataset.project, dataset.name))
            target = self._application.aggregates.load(DatasetName, name_stream(*wanted))
            if target.dataset_id is not None:
                raise ConflictError(
                    f"dataset {shorten(wanted[1])} exists already in project {shorten(wanted[0])}"
                )
            held.release()
            target.claim(dataset_id)
            dataset.rename(*wanted)
            return [held, target, dataset], {}

        self._application.run(["rename_dataset", dataset_id, name, project], command_id, decide)

    def describe_dataset(self, dataset_id: str, description: str, *, command_id: str | None = None) -> None:
        """Replace the description of a dataset."""
        text = check_text(description, "description")
        request = ["describe_dataset", dataset_id, text]
        self._change_dataset(request, command_id, lambda dataset: dataset.describe(text))

    def tag_dataset(self, dataset_id: str, tags: list[str], *, command_id: str | None = None) -> None:
        """Replace the tags of a dataset."""
        checked = check_tags(tags)
        self._change_dataset(
            ["tag_dataset", dataset_id, checked], command_id, lambda dataset: dataset.tag(checked)
        )

    def retag_dataset(
        self, dataset_id: str, add: list[str], remove: list[str], *, command_id: str | None = None
    ) -> None:
        """Add tags to a dataset and remove others; the rest stay, also those that another process sets meanwhile."""
        added, removed = check_tags(add), check_tags(remove)
        request = ["retag_dataset", dataset_id, added, removed]
        self._change_dataset(
            request, command_id, lambda dataset: dataset.tag(changed_tags(dataset.tags, added, removed))
        )

    def _change_dataset(
        self, request: list[Any], command_id: str | None, change: Callable[[Dataset], None]
    ) -> None:
        def decide() -> tuple[list[Aggregate], Result]:
            dataset = self._application.dataset(request[1])
            change(dataset)
            return [dataset], {}

        self._application.run(request, command_id, decide)
