"""Processings: functions or commands that run on data."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any
from uuid import UUID

from ...engine.datasets.aggregate import Aggregate
from ...engine.errors import InvalidTypeError, InvalidValueError, UsageError
from ...engine.events.lakes import LAKES, ProcessingDeleted, ProcessingUpdated
from ...engine.validation import shorten
from ...projections.columns import from_json
from ..session.session import Session
from .enums import ProcessingTargetType
from .exceptions import ResourceNotFoundError
from .metadata import check_custom
from .recording import record, things


class Processing:
    """A registered processing.

    Attributes
    ----------
    id : UUID
        Id of the processing.
    name : str
        Name of the processing.
    definition : dict
        What was registered.
    """

    def __init__(self, session: Session, row: Any) -> None:
        self._session = session
        self._take(row)

    def _take(self, row: Any) -> None:
        self.id = UUID(row.id)
        self.name = str(row.name)
        self.definition: dict[str, Any] = from_json(row.definition, dict[str, Any])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Processing) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Processing({self.name!r})"

    @property
    def target(self) -> ProcessingTargetType:
        """What it works on."""
        return ProcessingTargetType.validate(self.definition.get("target", "DATALAKE"))

    @property
    def type(self) -> str | None:
        """Kind of processing, as it was given."""
        return self.definition.get("type")

    @property
    def docker(self) -> str:
        """Image and tag, as they were given."""
        return f"{self.definition.get('docker_image', '')}:{self.definition.get('docker_tag', '')}"

    def update(
        self,
        docker_image: str | None = None,
        docker_tag: str | None = None,
        description: str | None = None,
        default_parameters: dict[str, Any] | None = None,
        default_cpu: int | None = None,
        default_gpu: int | None = None,
    ) -> None:
        """Change values of the processing. Those that are None stay as they are."""
        given = {
            "docker_image": docker_image,
            "docker_tag": docker_tag,
            "description": description,
            "default_parameters": default_parameters,
            "default_cpu": default_cpu,
            "default_gpu": default_gpu,
        }
        changed = check_custom(
            {key: value for key, value in given.items() if value is not None}, "processing"
        )

        def decide(stream: Aggregate) -> None:
            self.sync()
            definition = {**self.definition, **changed}
            stream.trigger(ProcessingUpdated, id=self.id.hex, name=self.name, definition=definition)

        record(self._session, LAKES.id, decide)
        self.sync()

    def delete(self) -> None:
        """Delete the processing."""

        def decide(stream: Aggregate) -> None:
            self.sync()
            stream.trigger(ProcessingDeleted, id=self.id.hex, name=self.name)

        record(self._session, LAKES.id, decide)

    def sync(self) -> dict[str, Any]:
        """Read the processing again, and return its values."""
        found = things(self._session, "processing", id=self.id.hex)
        if not found:
            raise ResourceNotFoundError(f"there is no processing {self.name!r} any more")
        self._take(found[0])
        return {"id": str(self.id), "name": self.name, **self.definition}


def described(work: Callable[..., Any] | Sequence[str] | str) -> dict[str, Any]:
    """Return what is registered of a function or command.

    Raises
    ------
    InvalidValueError
        The function cannot be imported by other processes.
    """
    if callable(work):
        try:
            pickle.dumps(work)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InvalidValueError(
                f"{shorten(work)} cannot be run by other processes: define it with def at the top of a module"
            ) from error
        return {"function": f"{work.__module__}:{work.__qualname__}"}
    command = work.split() if isinstance(work, str) else work
    if (
        not isinstance(command, list | tuple)
        or not command
        or not all(isinstance(one, str) for one in command)
    ):
        raise InvalidTypeError(f"a processing must be a function or a command, not {shorten(work)}")
    return {"command": list(command)}


def function_of(processing: Processing) -> Callable[..., Any] | list[str]:
    """Return the function or command of a processing.

    Raises
    ------
    UsageError
        It has neither, or the function cannot be imported.
    """
    definition = processing.definition
    if "command" in definition:
        return list(definition["command"])
    if "function" not in definition:
        raise UsageError(
            f"{processing!r} has no function or command: register one with client.register_processing"
        )
    module, _, name = definition["function"].partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{processing!r} runs {definition['function']}, which cannot be imported: {error}"
        ) from error
    return found
