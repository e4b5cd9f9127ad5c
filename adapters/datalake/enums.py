"""Enumerations of the datalake. Members are strings: ``DataType.IMAGE == "IMAGE"``."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from ...engine.errors import InvalidTypeError
from ...engine.validation import shorten


class Choice(StrEnum):
    """Base class of the enumerations."""

    @classmethod
    def values(cls) -> list[str]:
        """Return the values of all members."""
        return [member.value for member in cls]

    @classmethod
    def validate(cls, token: object) -> Self:
        """Return the member with a name or value in any case. Raises `InvalidTypeError` if no member matches."""
        if isinstance(token, str) and token.upper() in cls.__members__:
            return cls[token.upper()]
        raise InvalidTypeError(f"{shorten(token)} is no {cls.__name__}: it must be one of {', '.join(cls)}")


class DataUploadStatus(Choice):
    """Status of a `Data`: `DONE` if its file can be read, else `ERROR`."""

    PENDING = "PENDING"
    COMPUTING = "COMPUTING"
    ERROR = "ERROR"
    DONE = "DONE"


class DataType(Choice):
    """Type of a `Data`."""

    IMAGE = "IMAGE"
    VIDEO = "VIDEO"


class JobRunStatus(Choice):
    """Status of a job."""

    PENDING = "PENDING"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    KILLED = "KILLED"

    @property
    def is_final(self) -> bool:
        """Whether a job with this status has ended."""
        return self in {JobRunStatus.SUCCEEDED, JobRunStatus.FAILED, JobRunStatus.KILLED}


class JobStatus(Choice):
    """Status of a job in older scripts."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    TERMINATED = "TERMINATED"
    FAILED = "FAILED"


class TagTarget(Choice):
    """What a tag is for. Tags of a lake are for `DATA`."""

    DATA = "DATA"
    ASSET = "ASSET"
    MODEL_VERSION = "MODEL_VERSION"
    MODEL = "MODEL"
    DATASET_VERSION = "DATASET_VERSION"
    DATASET = "DATASET"
    DEPLOYMENT = "DEPLOYMENT"
    PREDICTED_ASSET = "PREDICTED_ASSET"


class ProcessingTargetType(Choice):
    """What a processing works on."""

    DATASET_VERSION = "DATASET_VERSION"
    MODEL_VERSION = "MODEL_VERSION"
    DATALAKE = "DATALAKE"


class ProcessingInputType(Choice):
    """Type of an input of a processing."""

    TEXT = "TEXT"
    NUMBER = "NUMBER"
    DATASET_VERSION = "DATASET_VERSION"
    MODEL_VERSION = "MODEL_VERSION"
    MODEL = "MODEL"
    DATALAKE = "DATALAKE"
    DATASET = "DATASET"


class DataProjectionType(Choice):
    """Type of a derived file. It is always `CUSTOM`."""

    THUMBNAIL = "THUMBNAIL"
    TILE = "TILE"
    GRAYSCALE = "GRAYSCALE"
    CLOUD_TIFF = "CLOUD_TIFF"
    MPD = "MPD"
    RGB = "RGB"
    CUSTOM = "CUSTOM"
