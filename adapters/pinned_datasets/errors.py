"""What is raised for a dataset that a project does not have."""

from __future__ import annotations

from ...engine.errors import NotFoundError


class DatasetNotFoundError(NotFoundError):
    """The project has no such dataset.

    Attributes
    ----------
    name : str
        What was asked for.
    """

    def __init__(self, name: str) -> None:
        super().__init__("dataset not found")
        self.name = name

    def __reduce__(self) -> tuple[type[DatasetNotFoundError], tuple[str]]:
        return type(self), (self.name,)
