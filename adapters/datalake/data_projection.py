"""Files derived from data: thumbnails, masks, depth maps and others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import UUID

from ...engine.datasets.aggregate import Aggregate
from ...engine.events.lakes import ProjectionDeleted
from ...projections.columns import from_json
from .download import Content, download, url_of
from .enums import DataProjectionType
from .exceptions import ResourceNotFoundError
from .metadata import read_metadata
from .recording import Lake, hex_id, things


class DataProjection:
    """A derived file of a `Data`.

    Attributes
    ----------
    id, data_id : UUID
        Ids of the file and of its data.
    name : str
        Name of the derived file.
    filename, object_name : str
        Names of its content.
    infos : dict
        Values given with it.
    """

    type = DataProjectionType.CUSTOM

    def __init__(self, lake: Lake, data_id: UUID, row: Any) -> None:
        self.lake = lake
        self.data_id = data_id
        self._take(row)

    def _take(self, row: Any) -> None:
        self.id = UUID(row.id)
        self.name = str(row.name)
        self.filename = str(row.filename)
        self.object_name = str(row.object_name)
        self.infos: dict[str, Any] = read_metadata(from_json(row.infos, dict[str, Any]))
        self._digest, self._uri = str(row.digest), str(row.uri)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataProjection) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"DataProjection({self.name!r}, {str(self.id)!r})"

    @property
    def id_with_extension(self) -> str:
        """The id with the extension of the file."""
        return f"{self.id}{Path(self.filename).suffix}"

    @property
    def url(self) -> str:
        """URL of the content."""
        return url_of(self._content)

    def reset_url(self) -> str:
        """Return the URL of the content. It does not expire."""
        return self.url

    @property
    def _content(self) -> Content:
        return Content(self.filename, self.id_with_extension, self._digest, self._uri)

    def download(
        self,
        target_path: str | os.PathLike[str] = "./",
        force_replace: bool = False,
        use_id: bool = False,
    ) -> Path:
        """Download the file into a folder, and return its path. An existing file is kept unless `force_replace`."""
        (path,) = download(
            self.lake.session, [self._content], target_path, force_replace=force_replace, use_id=use_id
        )
        return path

    def delete(self) -> None:
        """Delete the derived file."""

        def decide(stream: Aggregate) -> None:
            self.sync()
            stream.trigger(
                ProjectionDeleted,
                lake=self.lake.name,
                id=self.id.hex,
                data=self.data_id.hex,
                name=self.name,
            )

        self.lake.record(decide)

    def sync(self) -> dict[str, Any]:
        """Read the file's values again, and return them. Raises `ResourceNotFoundError` if it was deleted."""
        found = things(self.lake.session, "derived", id=str(self.id))
        if not found:
            raise ResourceNotFoundError(f"there is no projection {self.name!r} any more")
        self._take(found[0])
        return {
            "id": str(self.id),
            "data_id": str(self.data_id),
            "name": self.name,
            "object_name": self.object_name,
            "filename": self.filename,
            "infos": self.infos,
        }

    def refresh(self, data: dict[str, Any]) -> None:
        """Take over values that `sync` returned."""
        self.id = UUID(hex_id(data["id"]))
        self.name, self.filename, self.infos = data["name"], data["filename"], data["infos"]
