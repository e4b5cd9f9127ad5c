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
from ...engine.validation import did_you_mean, shorten
from ...projections.columns import from_json
from ..session.session import Session
from .enums import ProcessingInputType, ProcessingTargetType
from .exceptions import BadRequestError, ResourceConflictError, ResourceNotFoundError
from .metadata import check_custom
from .recording import check_label, record, things


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
        self._change(lambda: changed)

    def _change(self, decided: Callable[[], dict[str, Any]]) -> None:
        """Record values of the definition. The function that returns them sees the definition up to date."""

        def decide(stream: Aggregate) -> None:
            self.sync()
            definition = {**self.definition, **decided()}
            stream.trigger(ProcessingUpdated, id=self.id.hex, name=self.name, definition=definition)

        record(self._session, LAKES.id, decide)
        self.sync()

    def list_processing_inputs(self) -> list[dict[str, Any]]:
        """Return the inputs that a launch is given, in the order in which they were added."""
        self.sync()
        return self._inputs()

    def _inputs(self) -> list[dict[str, Any]]:
        return list(self.definition.get("inputs") or [])

    def _other_inputs(self, name: str) -> list[dict[str, Any]]:
        """Return the inputs without one. Raises `ResourceNotFoundError` if it does not exist."""
        others = [each for each in self._inputs() if each["name"] != name]
        if len(others) == len(self._inputs()):
            raise ResourceNotFoundError(f"{self!r} has no input {name!r}")
        return others

    def add_processing_input(
        self,
        name: str,
        input_type: str | ProcessingInputType,
        required: bool,
        inference_type_constraint: str | None,
        framework_constraint: str | None,
    ) -> dict[str, Any]:
        """Add an input, which a launch checks and hands to the function as a parameter.

        Parameters
        ----------
        name : str
            Name of the input.
        input_type : str or ProcessingInputType
            ``TEXT`` and ``NUMBER`` are checked; the others are ids or names, as text.
        required : bool
            A launch without it raises an error.
        inference_type_constraint, framework_constraint : str or None
            Kept with the input.

        Raises
        ------
        ResourceConflictError
            There is an input with this name.
        """
        made = check_custom(
            {
                "name": check_label(name, "an input"),
                "input_type": ProcessingInputType.validate(input_type).value,
                "required": bool(required),
                "inference_type_constraint": inference_type_constraint,
                "framework_constraint": framework_constraint,
            },
            "the input",
        )

        def decided() -> dict[str, Any]:
            if any(each["name"] == name for each in self._inputs()):
                raise ResourceConflictError(f"{self!r} has an input {name!r} already")
            return {"inputs": [*self._inputs(), made]}

        self._change(decided)
        return made

    def update_processing_input(
        self,
        name: str,
        required: bool,
        inference_type_constraint: str | None,
        framework_constraint: str | None,
    ) -> dict[str, Any]:
        """Change an input, and return it. Raises `ResourceNotFoundError` if it does not exist."""
        new = check_custom(
            {
                "required": bool(required),
                "inference_type_constraint": inference_type_constraint,
                "framework_constraint": framework_constraint,
            },
            "the input",
        )

        def decided() -> dict[str, Any]:
            self._other_inputs(name)
            changed = [{**each, **new} if each["name"] == name else each for each in self._inputs()]
            return {"inputs": changed}

        self._change(decided)
        return next(each for each in self._inputs() if each["name"] == name)

    def delete_processing_input(self, name: str) -> None:
        """Delete an input. Raises `ResourceNotFoundError` if it does not exist."""
        self._change(lambda: {"inputs": self._other_inputs(name)})

    def check_inputs(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs of a launch. Raises `BadRequestError` if they are not those of the processing."""
        self.sync()
        declared = {each["name"]: each for each in self._inputs()}
        for name, each in declared.items():
            if each["required"] and given.get(name) is None:
                raise BadRequestError(f"{self!r} needs the input {name!r}: give it in inputs")
        for name, value in given.items() if declared else ():
            if name not in declared:
                raise BadRequestError(f"{self!r} has no input {name!r}{did_you_mean(name, list(declared))}")
            kind = declared[name]["input_type"]
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (is_number if kind == "NUMBER" else isinstance(value, str)):
                expected = "a number" if kind == "NUMBER" else "a string"
                raise BadRequestError(f"the input {name!r} must be {expected}, not {shorten(value)}")
        return given

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
