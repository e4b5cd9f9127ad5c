"""Sources of data, such as cameras."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ...engine.datasets.aggregate import Aggregate
from ...engine.events.lakes import LAKES, SourceDeleted, SourceUpdated
from ..session.session import Session
from .exceptions import ResourceConflictError, ResourceNotFoundError
from .recording import NamedRow, check_label, hex_id, record, things


class DataSource:
    """A source of data, which all lakes of an engine share.

    Attributes
    ----------
    id : UUID
        Id of the source.
    name : str
        Name of the source.
    """

    def __init__(self, session: Session, row: NamedRow) -> None:
        self._session = session
        self.id = UUID(row.id)
        self.name = row.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataSource) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"DataSource({self.name!r})"

    def update(self, name: str) -> None:
        """Give the source another name. Raises `ResourceConflictError` if another source has it."""
        check_label(name, "a source")

        def decide(stream: Aggregate) -> None:
            self.sync()
            if any(row.id != self.id.hex for row in things(self._session, "source", name=name)):
                raise ResourceConflictError(f"there is a data source with the name {name!r} already")
            stream.trigger(SourceUpdated, id=self.id.hex, name=name)

        record(self._session, LAKES.id, decide)
        self.name = name

    def delete(self) -> None:
        """Delete the source. Its data stay."""

        def decide(stream: Aggregate) -> None:
            self.sync()
            stream.trigger(SourceDeleted, id=self.id.hex, name=self.name)

        record(self._session, LAKES.id, decide)

    def sync(self) -> dict[str, Any]:
        """Read the source again, and return its values. Raises `ResourceNotFoundError` if it was deleted."""
        found = things(self._session, "source", id=self.id.hex)
        if not found:
            raise ResourceNotFoundError(f"there is no data source {self.name!r} any more")
        self.name = found[0].name
        return {"id": str(self.id), "name": self.name}

    def refresh(self, data: dict[str, Any]) -> None:
        """Take over values that `sync` returned."""
        self.id, self.name = UUID(hex_id(data["id"])), data["name"]
