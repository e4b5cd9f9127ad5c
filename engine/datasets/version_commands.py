"""Commands on versions: create, commit, publish, snapshot, remove, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from ..errors import ConflictError, PublishedError, UsageError
from ..keys import Operation
from ..log.context import current_context
from ..log.contract import StreamRows
from ..times import iso_time
from ..validation import check_flags, check_name, check_tags, check_text, shorten
from .aggregate import Aggregate
from .application import LogApplication, Result
from .dataset import Dataset
from .dataset_commands import changed_tags
from .version import Version, check_metadata


class VersionCommands:
    """Commands on versions.

    Parameters
    ----------
    application : LogApplication
        Decides on aggregates and records their events.
    """

    def __init__(self, application: LogApplication) -> None:
        self._application = application

    def create_version(
        self,
        dataset_id: str,
        name: str,
        *,
        parent_id: str | None = None,
        description: str | None = None,
        raise_if_exists: bool = False,
        command_id: str | None = None,
    ) -> str:
        """Create a draft: an empty root, or the child of a published version; a draft of that name is returned instead.

        Parameters
        ----------
        raise_if_exists : bool
            Refuse a name that a draft has, too.

        Raises
        ------
        ConflictError
            A version of the dataset has the name.
        UsageError
            The parent is a draft or belongs to another dataset.
        """
        name = check_name(name, "version name")
        description = None if description is None else check_text(description, "description")
        check_flags(raise_if_exists=raise_if_exists)

        def decide() -> tuple[list[Aggregate], Result]:
            dataset = self._application.dataset(dataset_id)
            drafts = [
                other
                for other, published in self._application.versions_named(dataset.id, name)
                if not published
            ]
            if drafts and not raise_if_exists:
                return [], {"version_id": drafts[0]}
            self._require_free(dataset, name)
            metadata = self._parent(dataset, parent_id).metadata if parent_id else {}
            version = Version(self._application.new_id())
            dataset.attach(version.id, parent_id)
            version.create(dataset.id, name, parent_id, description or "", metadata)
            return [dataset, version], {"version_id": version.id}

        request = ["create_version", dataset_id, name, parent_id, description]
        return self._application.run(request, command_id, decide)["version_id"]

    def _require_free(self, dataset: Dataset, name: str, own: str | None = None) -> None:
        """Raise `ConflictError` when a version of the dataset other than `own` has a name."""
        for version_id, published in self._application.versions_named(dataset.id, name):
            if version_id != own:
                state = "published" if published else "a draft"
                raise ConflictError(
                    f"dataset {shorten(dataset.name)} has a version named {shorten(name)} already, {state} (id:{version_id}): "
                    "choose another name, or use that version by its id"
                )

    def _free_name(self, dataset: Dataset, name: str) -> str:
        """Return a name that no version has: this one, or with a number behind it."""
        numbered = (name if number == 1 else f"{name} ({number})" for number in count(1))
        return next(each for each in numbered if not self._application.versions_named(dataset.id, each))

    def _parent(self, dataset: Dataset, parent_id: str) -> Version:
        parent = self._application.version(parent_id)
        parent.require_present()
        if parent_id not in dataset.parents:
            raise UsageError(
                f"version {parent_id} belongs to another dataset than {shorten(dataset.name)}: a child needs a parent of its own dataset"
            )
        if not parent.published:
            raise UsageError(
                f"the parent version {shorten(parent.name)} ({parent_id}) is a draft: publish it first, "
                "so that what the child inherits cannot move"
            )
        return parent

    def commit_version(self, version_id: str, *, command_id: str | None = None) -> dict[str, int]:
        """Record the counts of the changes since the last commit; nothing to commit leaves no event.

        Returns
        -------
        dict
            ``added``, ``updated``, ``deleted``, and ``total`` frames now.
        """

        def decide() -> tuple[list[Aggregate], Result]:
            version = self._application.version(version_id)
            version.require_draft()
            counts = self._commit(version)
            return [version], counts

        return self._application.run(["commit_version", version_id], command_id, decide)

    def _commit(self, version: Version) -> dict[str, int]:
        """Trigger the commit event of what has changed, if anything has."""
        rows = self._application.record_log.stream_rows(version.id, after=version.committed_version)
        counts = [sum(column) for column in zip(*map(StreamRows.counts, rows), strict=True)] or [0, 0, 0, 0]
        result = {
            "added": counts[Operation.ADD],
            "updated": counts[Operation.UPDATE],
            "deleted": counts[Operation.DELETE],
            "total": self._application.states.current(version.id).total,
        }
        if any(counts):
            version.commit(**result)
        return result

    def publish_version(self, version_id: str, *, command_id: str | None = None) -> bool:
        """Freeze a version, its content committed to by fingerprint; False when it is published already."""

        def decide() -> tuple[list[Aggregate], Result]:
            version = self._application.version(version_id)
            version.require_present()
            if version.published:
                return [], {"published": False}
            self._publish(version)
            return [version], {"published": True}

        return self._application.run(["publish_version", version_id], command_id, decide)["published"]

    def _publish(self, version: Version) -> None:
        self._commit(version)
        fingerprint = self._application.states.fingerprint(version.id)
        version.publish(fingerprint.root, fingerprint.total)

    def create_snapshot(
        self,
        version_id: str,
        *,
        publish_name: str | None = None,
        publish_comment: str | None = None,
        publish_metadata: dict[str, Any] | None = None,
        child_name: str | None = None,
        child_comment: str | None = None,
        child_metadata: dict[str, Any] | None = None,
        command_id: str | None = None,
    ) -> str:
        """Publish a draft, which keeps its id, and create its draft child, both in one append.

        Returns
        -------
        str
            The child's id.

        Raises
        ------
        ConflictError
            A version of the dataset has one of the names, or both are equal.
        """
        publish_name = None if publish_name is None else check_name(publish_name, "publish name")
        child_name = None if child_name is None else check_name(child_name, "child name")
        publish_comment = None if publish_comment is None else check_text(publish_comment, "publish comment")
        child_comment = None if child_comment is None else check_text(child_comment, "child comment")
        for_publish = None if publish_metadata is None else check_metadata(publish_metadata)
        for_child = None if child_metadata is None else check_metadata(child_metadata)

        def decide() -> tuple[list[Aggregate], Result]:
            version = self._application.version(version_id)
            version.require_draft()
            dataset, child = (
                self._application.dataset(version.dataset_id),
                Version(self._application.new_id()),
            )
            now = iso_time(self._application.clock())
            wanted = publish_name or self._free_name(dataset, f"snapshot {now}")
            name = child_name or version.name
            self._require_free(dataset, wanted, own=version.id)
            self._require_free(dataset, name, own=version.id)
            _require_different(wanted, name)
            version.rename(wanted)
            comment = f"published at {now} by {current_context().actor}"
            version.describe(comment if publish_comment is None else publish_comment)
            if for_publish is not None:
                version.set_metadata(for_publish)
            self._publish(version)
            dataset.attach(child.id, version.id)
            metadata = version.metadata if for_child is None else for_child
            child.create(dataset.id, name, version.id, child_comment or "", metadata)
            return [version, dataset, child], {"version_id": child.id}

        request = ["create_snapshot", version_id, publish_name, publish_comment, for_publish]
        return self._application.run([*request, child_name, child_comment, for_child], command_id, decide)[
            "version_id"
        ]

    def remove_version(self, version_id: str, *, force: bool = False, command_id: str | None = None) -> None:
        """Remove a version without children; a published one only with `force`. Its history stays readable.

        Raises
        ------
        PublishedError
            The version is published and `force` is not set.
        ConflictError
            The version has children; they are named.
        """
        check_flags(force=force)

        def decide() -> tuple[list[Aggregate], Result]:
            version = self._application.version(version_id)
            version.require_present()
            if version.published and not force:
                raise PublishedError(
                    f"version {shorten(version.name)} ({version_id}) is published: remove it with force=True"
                )
            dataset = self._application.dataset(version.dataset_id)
            children = [self._application.version(child) for child in dataset.children(version_id)]
            if children:
                names = ", ".join(f"{shorten(child.name)} ({child.id})" for child in children)
                raise ConflictError(
                    f"version {shorten(version.name)} has children: {names}; remove them first"
                )
            version.remove()
            dataset.detach(version_id)
            return [version, dataset], {}

        self._application.run(["remove_version", version_id, bool(force)], command_id, decide)

    def set_metadata(
        self, version_id: str, metadata: dict[str, Any], *, command_id: str | None = None
    ) -> None:
        """Replace the metadata of a draft as a whole."""
        checked = check_metadata(metadata)

        def decide() -> tuple[list[Aggregate], Result]:
            version = self._application.version(version_id)
            version.set_metadata(checked)
            return [version], {}

        self._application.run(["set_metadata", version_id, checked], command_id, decide)

    def merge_metadata(self, version_id: str, values: dict[str, Any]) -> None:
        """Set some keys of a draft's metadata; the others stay, also those that another process sets meanwhile."""
        checked = check_metadata(values)

        def decide() -> tuple[list[Aggregate], Result]:
            version = self._application.version(version_id)
            version.set_metadata(version.metadata | checked)
            return [version], {}

        self._application.run(["merge_metadata", version_id, checked], None, decide)

    def rename_version(self, version_id: str, name: str, *, command_id: str | None = None) -> None:
        """Give a draft another name.

        Raises
        ------
        PublishedError
            The version is published: its name stays.
        ConflictError
            A version of the dataset has the name.
        """
        name = check_name(name, "version name")

        def rename(version: Version) -> None:
            version.require_draft()
            self._require_free(self._application.dataset(version.dataset_id), name, own=version_id)
            version.rename(name)

        # A rename does not write to the dataset's stream, which keeps other changes of names apart.
        self._change_version(["rename_version", version_id, name], command_id, rename, alone=True)

    def describe_version(self, version_id: str, description: str, *, command_id: str | None = None) -> None:
        """Replace the description of a version, published or not."""
        text = check_text(description, "description")
        self._change_version(
            ["describe_version", version_id, text], command_id, lambda version: version.describe(text)
        )

    def tag_version(self, version_id: str, tags: list[str], *, command_id: str | None = None) -> None:
        """Replace the tags of a version, published or not."""
        checked = check_tags(tags)
        self._change_version(
            ["tag_version", version_id, checked], command_id, lambda version: version.tag(checked)
        )

    def retag_version(
        self, version_id: str, add: list[str], remove: list[str], *, command_id: str | None = None
    ) -> None:
        """Add tags to a version and remove others; the rest stay, also those that another process sets meanwhile."""
        added, removed = check_tags(add), check_tags(remove)
        self._change_version(
            ["retag_version", version_id, added, removed],
            command_id,
            lambda version: version.tag(changed_tags(version.tags, added, removed)),
        )

    def _change_version(
        self,
        request: list[Any],
        command_id: str | None,
        change: Callable[[Version], None],
        *,
        alone: bool = False,
    ) -> None:
        def decide() -> tuple[list[Aggregate], Result]:
            version = self._application.version(request[1])
            version.require_present()
            change(version)
            return [version], {}

        self._application.run(request, command_id, decide, alone=alone)


def _require_different(published: str, child: str) -> None:
    if published == child:
        raise ConflictError(
            f"the published version and its child would both be named {shorten(child)}: give one of them another name"
        )
