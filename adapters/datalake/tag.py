"""Tags of a datalake."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ...engine.datasets.aggregate import Aggregate
from ...engine.errors import InvalidTypeError
from ...engine.events.lakes import ITEMS_OF_AN_EVENT, TagDeleted, TagsAttached, TagsDetached, TagUpdated
from ...engine.iterables import chunked
from ...engine.validation import shorten
from .enums import TagTarget
from .exceptions import MissingArgumentError, ResourceConflictError, ResourceNotFoundError
from .recording import Lake, NamedRow, check_label, hex_id, things

if TYPE_CHECKING:
    from .data import Data, MultiData


class Tag:
    """A tag of a lake. Tags of the same lake and name are equal.

    Attributes
    ----------
    id : UUID
        Id of the tag.
    name : str
        Name of the tag.
    target_type : TagTarget
        Always ``DATA``.
    """

    target_type = TagTarget.DATA

    def __init__(self, lake: Lake, row: NamedRow) -> None:
        self.lake = lake
        self.id = UUID(row.id)
        self.name = row.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tag) and (self.lake.row.id, self.name) == (other.lake.row.id, other.name)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Tag({self.name!r})"

    def update(self, name: str) -> None:
        """Give the tag another name.

        Raises
        ------
        ResourceConflictError
            Another tag has the name.
        """
        check_label(name, "a tag")

        def decide(stream: Aggregate) -> None:
            self.sync()
            other = self.lake.tag(name)
            if other is not None and UUID(other.id) != self.id:
                raise ResourceConflictError(f"there is a tag with the name {name!r} already")
            stream.trigger(TagUpdated, lake=self.lake.name, id=self.id.hex, name=name)

        self.lake.record(decide)
        self.name = name

    def delete(self) -> None:
        """Delete the tag, and detach it from all data."""

        def decide(stream: Aggregate) -> None:
            self.sync()
            stream.trigger(TagDeleted, lake=self.lake.name, id=self.id.hex, name=self.name)

        self.lake.record(decide)

    def attach_on(self, data: Data | list[Data] | MultiData) -> None:
        """Attach the tag to data."""
        change_tags(self.lake, TagsAttached, [self], data_list(data))

    def detach_from(self, data: Data | list[Data] | MultiData) -> None:
        """Detach the tag from data."""
        change_tags(self.lake, TagsDetached, [self], data_list(data))

    def sync(self) -> dict[str, Any]:
        """Read the tag again, and return its values. Raises `ResourceNotFoundError` if it was deleted."""
        found = things(self.lake.session, "tag", id=self.id.hex)
        if not found:
            raise ResourceNotFoundError(f"there is no tag {self.name!r} any more")
        self.name = found[0].name
        return {"id": str(self.id), "name": self.name, "target_type": self.target_type.value}

    def refresh(self, data: dict[str, Any]) -> None:
        """Take over values that `sync` returned."""
        self.id, self.name = UUID(hex_id(data["id"])), data["name"]


def data_list(data: Any) -> list[Data]:
    """Return data given as one, a list or a `MultiData` as a list."""
    from .data import Data

    listed = [data] if isinstance(data, Data) else list(data) if isinstance(data, Iterable) else None
    if listed is None or not all(isinstance(each, Data) for each in listed):
        raise InvalidTypeError(f"data must be a Data, a list of Data or a MultiData, not {shorten(data)}")
    return listed


def tag_names(lake: Lake, tags: Any) -> list[str]:
    """Return the names of tags given as text, a `Tag` or a list of these.

    Raises
    ------
    MissingArgumentError
        A tag is of another lake.
    """
    names: list[str] = []
    for tag in [tags] if isinstance(tags, str | Tag) else tags or []:
        if isinstance(tag, Tag) and tag.lake.row.id != lake.row.id:
            raise MissingArgumentError(
                f"{tag!r} is a tag of the lake {tag.lake.name!r}, not of {lake.name!r}"
            )
        names.append(check_label(tag.name if isinstance(tag, Tag) else tag, "a tag"))
    return list(dict.fromkeys(names))


def change_tags(lake: Lake, event: type[TagsAttached | TagsDetached], tags: Any, data: list[Data]) -> None:
    """Attach tags to data, or detach them. Tags given as text are created if they are to be attached.

    Raises
    ------
    MissingArgumentError
        There are no tags, or one is of another lake.
    ResourceNotFoundError
        A tag does not exist.
    """
    names = tag_names(lake, tags)
    if not names:
        raise MissingArgumentError("tags must have at least one tag")
    if not data:
        return
    given = [tags] if isinstance(tags, str | Tag) else tags
    may_make = {tag for tag in given if isinstance(tag, str)} if event is TagsAttached else set[str]()

    def decide(stream: Aggregate) -> None:
        known = lake.tags(names)
        lacking = [name for name in names if name not in known and name not in may_make]
        if lacking:
            raise ResourceNotFoundError(f"there is no tag {lacking[0]!r} in the lake {lake.name!r}")
        ids = lake.make_tags(stream, names)
        for part in chunked([each.id.hex for each in data], ITEMS_OF_AN_EVENT):
            for some in chunked(ids, ITEMS_OF_AN_EVENT):
                stream.trigger(event, lake=lake.name, tags=some, data=part)

    lake.record(decide)
