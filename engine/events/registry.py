"""The registry of event classes: topics, encoding and decoding."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from ..canonical import encode_canonical, is_plain_json
from ..decoding import UNDECODABLE, guarded
from ..errors import IntegrityError, UnreadableError
from ..keys import Operation
from .alf import ALF
from .base import Event, Streams
from .domain import (
    BLOBS,
    IMPORTS,
    NAMES,
    SOURCES,
    UPLOADS,
    DatasetCreated,
    DatasetDescribed,
    DatasetRemoved,
    DatasetRenamed,
    DatasetTagged,
    FrameAdded,
    FrameDeleted,
    FrameEvent,
    FrameUpdated,
    VersionAttached,
    VersionCommitted,
    VersionCreated,
    VersionDescribed,
    VersionDetached,
    VersionMetadataSet,
    VersionPublished,
    VersionRemoved,
    VersionRenamed,
    VersionTagged,
)
from .lakes import LAKE, LAKES
from .pins import PINS
from .stores import STORES
from .views import VIEWS

STREAMS: tuple[Streams[Any], ...] = (
    NAMES,
    BLOBS,
    UPLOADS,
    SOURCES,
    IMPORTS,
    PINS,
    STORES,
    LAKES,
    LAKE,
    ALF,
    VIEWS,
)
"""The streams that do not belong to a dataset. A public API with its own events adds them here."""

_decode_state = guarded(msgspec.msgpack.Decoder(tuple[int, dict[str, Any]]).decode)


FRAME_EVENTS: dict[int, type[FrameEvent]] = {
    Operation.ADD: FrameAdded,
    Operation.UPDATE: FrameUpdated,
    Operation.DELETE: FrameDeleted,
}

FRAME_TOPICS: dict[int, str] = {operation: event.__name__ for operation, event in FRAME_EVENTS.items()}

_OF_DATASETS: tuple[type[Event], ...] = (
    DatasetCreated,
    DatasetRenamed,
    DatasetDescribed,
    DatasetTagged,
    DatasetRemoved,
    VersionAttached,
    VersionDetached,
    VersionCreated,
    VersionRenamed,
    VersionDescribed,
    VersionTagged,
    VersionMetadataSet,
    VersionCommitted,
    VersionPublished,
    VersionRemoved,
    *FRAME_EVENTS.values(),
)


def streams_of(stream_id: str) -> Streams[Any] | None:
    """Return the family of a stream, or None for streams of datasets, versions and other applications."""
    return next((family for family in STREAMS if family.has(stream_id)), None)


def events_by_topic() -> Mapping[str, type[Event]]:
    """Return all event classes by topic."""
    return _by_topic(STREAMS)


@lru_cache(maxsize=2)
def _by_topic(streams: tuple[Streams[Any], ...]) -> Mapping[str, type[Event]]:
    return {event.__name__: event for event in (*_OF_DATASETS, *(e for each in streams for e in each.events))}


def blob_events() -> tuple[type[Event], ...]:
    """Return the classes of lifecycle events that refer to blobs."""
    return _blob_events(STREAMS)


@lru_cache(maxsize=2)
def _blob_events(streams: tuple[Streams[Any], ...]) -> tuple[type[Event], ...]:
    return tuple(event for event in _by_topic(streams).values() if event.blobs is not Event.blobs)


def is_known_topic(topic: str) -> bool:
    """Whether a topic is that of a domain event. Other eventsourcing applications have their own topics."""
    return topic in _by_topic(STREAMS)


_WORDS = re.compile(r"[A-Z][a-z0-9]*")


@lru_cache(maxsize=256)
def subject_and_kind(topic: str) -> tuple[str, str]:
    """Return the subject and kind of an event's topic: ``VersionMetadataSet`` is ``("version", "metadata_set")``."""
    # Topics of other applications are paths of classes.
    subject, *kind = _WORDS.findall(topic.rpartition(":")[2].rpartition(".")[2]) or [topic]
    return subject.lower(), "_".join(kind).lower()


def encode_event(event: Event) -> tuple[str, bytes]:
    """Return the topic of an event and its stored state: schema version and fields as msgpack."""
    fields = msgspec.to_builtins(event, builtin_types=(bytes,))
    del fields["originator_id"], fields["originator_version"]
    return type(event).__name__, encode_canonical([event.stored_schema, fields])


def decode_event(
    topic: str, originator_id: str, originator_version: int, state: bytes, position: int | None = None
) -> Event:
    """Decode an event from its stored state, and upgrade states of older schemas.

    Parameters
    ----------
    position : int, optional
        Position of the event in the log, for messages.

    Raises
    ------
    IntegrityError
        The topic is unknown, or a newer framelode wrote the event.
    UnreadableError
        The state is not valid for the event class.
    """
    event = _by_topic(STREAMS).get(topic)
    if event is None:
        raise IntegrityError(
            f"{originator_id} holds an event of the unknown topic {topic!r}: install a newer framelode",
            position=position,
        )
    try:
        schema_version, fields = _decode_state(state)
        if schema_version > event.schema_version:
            raise IntegrityError(
                f"event {originator_version} of {originator_id} ({topic}) has schema version {schema_version}, "
                f"this framelode reads up to {event.schema_version}: install a newer framelode",
                position=position,
            )
        for step in range(schema_version, event.schema_version):
            fields = getattr(event, f"upcast_v{step}_v{step + 1}")(fields)
        if not issubclass(event, FrameEvent) and not is_plain_json(
            [v for v in fields.values() if type(v) is dict]
        ):
            raise msgspec.ValidationError("it holds values that JSON does not have, or is nested too deeply")
        fields |= {"originator_id": originator_id, "originator_version": originator_version}
        return msgspec.convert(fields, event)
    except (*UNDECODABLE, AttributeError) as error:
        where = "" if position is None else f" at position {position}"
        message = f"event {originator_version} of {originator_id} ({topic}){where} is damaged: {error}"
        raise UnreadableError(message, position=position) from error
