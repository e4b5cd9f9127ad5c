"""A version as a dataset of MLflow, and its source.

Annotations are not postponed here, because MLflow checks what `from_framelode` is said to return.
"""

import json
from typing import TYPE_CHECKING, Any, Self, Union

from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source import DatasetSource

from ....engine.errors import ConflictError, InvalidValueError
from ....engine.validation import shorten

if TYPE_CHECKING:
    from ...hyperdatasets.version import DatasetVersion
    from ...session.current import HasSession
    from ...session.session import Session

_SCHEME = "framelode://"
_DIGEST_DIGITS = 16
"""MLflow identifies a dataset of an experiment by its name and at most 36 characters of a digest, and advises fewer."""
_LABELS = 1000


class FramelodeDatasetSource(DatasetSource):
    """A version at a position of its log.

    Parameters
    ----------
    uri : str
        ``framelode://[project/]dataset@version``.
    version_id, fingerprint : str
        Id of the version, and the digest of its frames.
    position : int
        The position of the log to read at.
    log : str
        Uuid of the log.
    engine : str
        URL of the engine, without a password.
    """

    def __init__(
        self, uri: str, version_id: str, fingerprint: str, position: int, log: str, engine: str
    ) -> None:
        self.uri = uri
        self.version_id = version_id
        self.fingerprint = fingerprint
        self.position = position
        self.log = log
        self.engine = engine

    @staticmethod
    def _get_source_type() -> str:
        return "framelode"

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        from ...hyperdatasets.version import DatasetVersion

        if not isinstance(raw_source, str):
            return isinstance(raw_source, DatasetVersion)
        return raw_source.startswith(_SCHEME) and _address_of(raw_source) is not None

    @classmethod
    def _resolve(cls, raw_source: Union[str, "DatasetVersion"]) -> Self:
        from ...hyperdatasets.address import Address, version_at
        from ...hyperdatasets.version import DatasetVersion
        from ...session.current import current_session

        if isinstance(raw_source, DatasetVersion):
            return cls.of(raw_source)
        session = current_session()
        address = Address.parse(_address_of(raw_source) or raw_source)
        return cls.of(DatasetVersion.of(session, version_at(session, address).version_id))

    @classmethod
    def of(cls, version: "DatasetVersion") -> Self:
        """Return the source of a version, as it is now, or at the position that it is read at."""
        from ...hyperdatasets.address import Address
        from ...hyperdatasets.selectors import find_dataset

        session = version._session  # noqa: SLF001 - of this package
        position = session.log.head().position
        frozen = version.at(position)
        dataset = find_dataset(session, dataset_id=version.dataset_id)
        address = Address(dataset.name, dataset.project, frozen.version_name)
        return cls(
            f"{_SCHEME}{address}",
            version.version_id,
            frozen.fingerprint,
            position,
            session.log.uuid,
            session.url,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the source as JSON-like values."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> Self:
        """Return the source of what `to_dict` returned. Raises `InvalidValueError` if it lacks a value."""
        try:
            return cls(**source_dict)
        except TypeError as error:
            raise InvalidValueError(
                f"{shorten(source_dict)} is not the source of a version: {error}"
            ) from error

    def load(self, engine: Union["HasSession", str, None] = None) -> "DatasetVersion":
        """Return the version, read-only, as it was at the position.

        Parameters
        ----------
        engine : Engine or str, optional
            The engine, or its folder or URL. By default the current engine if it has this log, else the engine that was
            recorded. If there is no current engine, the one that is opened becomes it.

        Raises
        ------
        ConflictError
            The engine has another log, or the version had other frames at the position.
        NotFoundError
            The log has no such version.
        UsageError
            The engine cannot be opened, or its log does not reach the position.
        """
        from ...hyperdatasets.version import DatasetVersion

        session = self._session(engine)
        if session.log.uuid != self.log:
            raise ConflictError(
                f"{session.name} has log {session.log.uuid}, but {self.uri} was recorded from log {self.log}: "
                "give the engine that has it, or a copy"
            )
        version = DatasetVersion.of(session.at(self.position), self.version_id)
        if version.fingerprint != self.fingerprint:
            raise ConflictError(
                f"{self.uri} has fingerprint {version.fingerprint} at position {self.position}, not {self.fingerprint}: "
                f"the log of {session.name} was restored and written to again"
            )
        return version

    def _session(self, engine: Union["HasSession", str, None]) -> "Session":
        from ...session.current import activate, connected_session, session_of
        from ...session.location import require
        from ...session.session import open_session

        if engine is not None and not isinstance(engine, str):
            return session_of(engine)
        connected = connected_session()
        if engine is None and connected is not None and connected.log.uuid == self.log:
            return connected.present
        require(engine or self.engine)
        session = open_session(engine or self.engine)
        if connected is None:
            activate(session)
        return session


class FramelodeDataset(Dataset):
    """A version as a dataset of MLflow.

    Parameters
    ----------
    version : DatasetVersion
        The version.
    source : FramelodeDatasetSource
        Where it comes from.
    name, digest : str, optional
        Name, by default that of the dataset, and digest, by default the first 16 digits of the fingerprint.
    """

    def __init__(
        self,
        version: "DatasetVersion",
        source: FramelodeDatasetSource,
        name: str | None = None,
        digest: str | None = None,
    ) -> None:
        self._version = version
        self._origin = source
        super().__init__(source, name or version.dataset_name, digest)

    def _compute_digest(self) -> str:
        return self._origin.fingerprint[:_DIGEST_DIGITS]

    @property
    def profile(self) -> dict[str, Any]:
        """Numbers of frames, annotations and the most frequent labels, and the full fingerprint."""
        stats = self._version.get_stats(as_of=self._origin.position)
        labels = {each["name"]: each["count"] for each in stats.labels}
        return {
            "version": self._version.version_name,
            "frames": stats.total,
            "annotated_frames": stats.annotated,
            "labels": dict(list(labels.items())[:_LABELS]),
            "labels_in_all": len(labels),
            "fingerprint": self._origin.fingerprint,
        }

    @property
    def schema(self) -> None:
        """None: frames have no columns."""

    def to_dict(self) -> dict[str, str]:
        """Return what MLflow stores."""
        return super().to_dict() | {"profile": json.dumps(self.profile, ensure_ascii=False)}


def from_framelode(
    version: "DatasetVersion", name: str | None = None, digest: str | None = None
) -> FramelodeDataset:
    """Return a version as a dataset of MLflow, for ``mlflow.log_input``. MLflow has it as ``mlflow.data.from_framelode``.

    Parameters
    ----------
    version : DatasetVersion
        The version, published or a draft, which is recorded as it is now.
    name : str, optional
        Name of the dataset in MLflow. By default its name.
    digest : str, optional
        Digest of the dataset in MLflow. By default the first 16 digits of the fingerprint.
    """
    return FramelodeDataset(version, FramelodeDatasetSource.of(version), name, digest)


def _address_of(uri: str) -> str | None:
    """Return the address of a version in a URI, or None if the URI names something else."""
    from ..filesystem import split_path

    address, path = split_path(uri.removeprefix(_SCHEME))
    return None if path else address
