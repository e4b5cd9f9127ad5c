"""The registry of event classes: topics, encoding and decoding."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from ..canonical import is_plain_json
from ..decoding import UNDECODABLE
from ..errors import IntegrityError, UnreadableError
from ..keys import Operation
from .base import Event
from .domain import (
    BlobsCollected,
    BlobsCondemned,
    BlobsRestored,
    DatasetCreated,
    DatasetDescribed,
    DatasetRenamed,
    DatasetTagged,
    FilesUploaded,
    FrameAdded,
    FrameDeleted,
    FrameEvent,
    FrameUpdated,
    LogImported,
    NameClaimed,
    NameReleased,
    SourcesCondemned,
    SourcesDeleted,
    SourcesRestored,
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
    _decode_state,
)
from .pins import PIN_EVENTS
from .stores import STORE_EVENTS

_encoder = msgspec.msgpack.Encoder(order="deterministic")


FRAME_EVENTS: dict[int, type[FrameEvent]] = {
    Operation.ADD: FrameAdded,
    Operation.UPDATE: FrameUpdated,
    Operation.DELETE: FrameDeleted,
}

FRAME_TOPICS: dict[int, str] = {operation: event.__name__ for operation, event in FRAME_EVENTS.items()}

_EVENTS: dict[str, type[Event]] = {
    event.__name__: event
    for event in (
        DatasetCreated,
        DatasetRenamed,
        DatasetDescribed,
        DatasetTagged,
        VersionAttached,
        VersionDetached,
        NameClaimed,
        NameReleased,
        VersionCreated,
        VersionRenamed,
        VersionDescribed,
        VersionTagged,
        VersionMetadataSet,
        VersionCommitted,
        VersionPublished,
        VersionRemoved,
        BlobsCondemned,
        BlobsRestored,
        BlobsCollected,
        FilesUploaded,
        SourcesCondemned,
        SourcesRestored,
        SourcesDeleted,
        LogImported,
        *PIN_EVENTS,
        *STORE_EVENTS,
        FrameAdded,
        FrameUpdated,
        FrameDeleted,
    )
}


def is_known_topic(topic: str) -> bool:
    """Say whether a topic is that of a domain event; eventsourcing applications of other people have their own."""
    return topic in _EVENTS


TOPICS = frozenset(_EVENTS)
"""Every topic there is."""

_WORDS = re.compile(r"[A-Z][a-z0-9]*")


@lru_cache(maxsize=256)
def subject_and_kind(topic: str) -> tuple[str, str]:
    """Return what an event is about and what happened to it: ``VersionMetadataSet`` is ``("version", "metadata_set")``."""
    # Those of other applications are paths of classes.
    subject, *kind = _WORDS.findall(topic.rpartition(":")[2].rpartition(".")[2]) or [topic]
    return subject.lower(), "_".join(kind).lower()


def encode_event(event: Event) -> tuple[str, bytes]:
    """Return the topic of an event and its stored state: schema version and fields, as msgpack."""
    fields = msgspec.to_builtins(event, builtin_types=(bytes,))
    del fields["originator_id"], fields["originator_version"]
    return type(event).__name__, _encoder.encode([type(event).schema_version, fields])


def decode_event(
    topic: str, originator_id: str, originator_version: int, state: bytes, position: int | None = None
) -> Event:
    """Rebuild an event from its stored state, upcasting states of older schemas.

    Parameters
    ----------
    position : int, optional
        Position of the event in the log, for errors.

    Raises
    ------
    IntegrityError
        The topic is unknown, or a newer framelode wrote the event.
    UnreadableError
        The state is not that of such an event.
    """
    event = _EVENTS.get(topic)
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
