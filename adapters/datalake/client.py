"""The entry to the datalakes of an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Self
from uuid import UUID
from warnings import warn

from ...engine.events.lakes import LakeCreated, ProcessingCreated, SourceCreated
from ..session.current import HasSession, session_of
from ..session.session import Session
from .datalake import Datalake, page
from .datasource import DataSource
from .enums import ProcessingTargetType
from .exceptions import ResourceConflictError, ResourceNotFoundError
from .job import Job
from .metadata import check_custom
from .processing import Processing, described
from .recording import Lake, LakeRow, NamedRow, check_label, create_named, hex_id, source_named, things

DEFAULT_LAKE = "default"


class Client:
    """The datalakes of an engine.

    Parameters
    ----------
    api_token, organization_id, organization_name, host, session
        Accepted and ignored: nothing leaves the machine.
    engine : Engine, optional
        The engine, by default the current one. One of the past is read-only.
    executor : concurrent.futures.Executor, optional
        Runs processings, such as ``Client.get_executor()`` of Dask. By default worker processes of this machine.

    Attributes
    ----------
    id, name : str
        Id of the log, and name of the engine.
    """

    def __init__(
        self,
        api_token: str | None = None,
        organization_id: str | None = None,
        organization_name: str | None = None,
        host: str | None = None,
        session: Any = None,
        *,
        engine: HasSession | Session | None = None,
        executor: Executor | None = None,
    ) -> None:
        ignored = (api_token, organization_id, organization_name, host, session)
        if any(given is not None for given in ignored):
            warn(
                "api_token, organization_id, organization_name, host and session are ignored: the lake is in the engine",
                stacklevel=2,
            )
        self._session = session_of(engine)
        self._executor = executor
        self.id = self._session.log.uuid
        self.name = self._session.name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: the engine stays open."""

    def __repr__(self) -> str:
        return f"Client({self.name!r})"

    def sync(self) -> dict[str, Any]:
        """Return the values of the client."""
        return {"id": self.id, "name": self.name}

    def refresh(self, data: dict[str, Any]) -> None:
        """Do nothing: the values of a client do not change."""

    def get_datalake(self, id: str | UUID | None = None, name: str | None = None) -> Datalake:  # noqa: A002 - the SDK's name
        """Return a lake by id or name. Without either, the lake ``default``, which is created if it does not exist.

        Raises
        ------
        ResourceNotFoundError
            There is no such lake.
        """
        wanted = {"id": hex_id(id)} if id is not None else {"name": DEFAULT_LAKE if name is None else name}
        found = things(self._session, "lake", **wanted)
        may_create = self._session.as_of is None and not self._session.location.read_only
        if not found and id is None and name is None and may_create:
            return self.create_datalake(DEFAULT_LAKE, exist_ok=True)
        if not found:
            raise ResourceNotFoundError(
                f"there is no datalake with the {'id' if id else 'name'} {id or name!r}"
            )
        return self._lake(found[0])

    def create_datalake(self, name: str, *, exist_ok: bool = False) -> Datalake:
        """Create a lake.

        Raises
        ------
        ResourceConflictError
            The name is taken, unless `exist_ok`.
        """
        try:
            create_named(self._session, "lake", check_label(name, "a datalake"), LakeCreated)
        except ResourceConflictError:
            if not exist_ok:
                raise
        return self.get_datalake(name=name)

    def list_datalakes(self) -> list[Datalake]:
        """Return all lakes, oldest first."""
        return list(map(self._lake, things(self._session, "lake")))

    def _lake(self, row: Any) -> Datalake:
        return Datalake(
            Lake(self._session, LakeRow(row.number, row.id, row.name, row.bucket)), self._executor
        )

    def get_datasource(self, name: str) -> DataSource:
        """Return a source. Raises `ResourceNotFoundError` if it does not exist."""
        return DataSource(self._session, source_named(self._session, name))

    def create_datasource(self, name: str) -> DataSource:
        """Create a source. Raises `ResourceConflictError` if it exists."""
        create_named(self._session, "source", check_label(name, "a source"), SourceCreated)
        return self.get_datasource(name)

    def get_or_create_datasource(self, name: str) -> DataSource:
        """Return a source, which is created if it does not exist."""
        return DataSource(self._session, source_named(self._session, name, create=True))

    def list_datasources(
        self, limit: int | None = None, offset: int | None = None, order_by: list[str] | None = None
    ) -> list[DataSource]:
        """Return the sources, oldest first, or ordered by ``name`` or ``-name``."""
        rows = things(self._session, "source")
        sources = [DataSource(self._session, NamedRow(row.number, row.id, row.name)) for row in rows]
        return page(sources, limit, offset, order_by)

    def register_processing(
        self,
        work: Callable[..., Any] | Sequence[str] | str,
        name: str,
        *,
        default_parameters: dict[str, Any] | None = None,
        description: str | None = None,
    ) -> Processing:
        """Register a function or command that runs on data.

        Parameters
        ----------
        work : callable, or list of str
            A function at the top of a module, called with a `Data` and the parameters; what it returns goes into the log of
            the job. Or a command, run for each `Data`; ``{path}`` is replaced by the path of a copy, ``{id}``,
            ``{filename}`` and parameters by their values.
        name : str
            Name of the processing.
        default_parameters : dict, optional
            Parameters that are used unless a launch gives others.
        description : str, optional
            What it does.

        Raises
        ------
        ResourceConflictError
            The name is taken.
        """
        return self._create(
            name, {**described(work), "default_parameters": default_parameters, "description": description}
        )

    def create_processing(
        self,
        name: str,
        target: str | ProcessingTargetType,
        default_cpu: int,
        default_gpu: int,
        default_parameters: dict[str, Any],
        docker_image: str,
        docker_tag: str,
        docker_flags: list[str] | None = None,
        type: str | None = None,  # noqa: A002 - the SDK's name
        description: str | None = None,
    ) -> Processing:
        """Record a processing in a container. It is not run: use `register_processing` for those that are."""
        return self._create(
            name,
            {
                "target": ProcessingTargetType.validate(target).value,
                "default_cpu": default_cpu,
                "default_gpu": default_gpu,
                "default_parameters": default_parameters,
                "docker_image": docker_image,
                "docker_tag": docker_tag,
                "docker_flags": docker_flags,
                "type": type,
                "description": description,
            },
        )

    def _create(self, name: str, definition: dict[str, Any]) -> Processing:
        given = {key: value for key, value in definition.items() if value is not None}
        create_named(
            self._session,
            "processing",
            check_label(name, "a processing"),
            ProcessingCreated,
            definition=check_custom(given, "the definition"),
        )
        return self.get_processing(name)

    def get_processing(self, name: str) -> Processing:
        """Return a processing. Raises `ResourceNotFoundError` if it does not exist."""
        found = things(self._session, "processing", name=name)
        if not found:
            raise ResourceNotFoundError(f"there is no processing with the name {name!r}")
        return Processing(self._session, found[0])

    def list_processings(
        self, limit: int | None = None, offset: int | None = None, order_by: list[str] | None = None
    ) -> list[Processing]:
        """Return the processings, oldest first, or ordered by ``name`` or ``-name``."""
        found = [Processing(self._session, row) for row in things(self._session, "processing")]
        return page(found, limit, offset, order_by)

    def get_job_by_id(self, id: UUID | str) -> Job:  # noqa: A002 - the SDK's name
        """Return a job, up to date: one whose process has ended is failed.

        Raises
        ------
        ResourceNotFoundError
            There is no such job.
        """
        found = things(self._session, "job", id=hex_id(id))
        if not found:
            raise ResourceNotFoundError(f"there is no job with the id {id}")
        lakes = things(self._session, "lake", number=found[0].lake)
        job = Job(self._lake(lakes[0]).lake, found[0].id)
        job.sync()
        return job

    def list_jobs(self) -> list[Job]:
        """Return the jobs of all lakes, oldest first."""
        return [self.get_job_by_id(row.id) for row in things(self._session, "job")]
