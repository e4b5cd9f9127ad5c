"""Recorders of the eventsourcing library for the log, and their factory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    IntegrityError,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)

from ...engine.errors import UsageError
from ...engine.log.batch import EVENTS_SCHEMA, BatchHeader
from ...engine.log.context import current_context
from ...engine.log.contract import Append, StreamConflictError
from ...engine.log.stored_events import (
    frame_stored_events,
    pack_stored_events,
    stream_id_of,
    unpack_stored_events,
)
from .database import Database
from .log import tables as t
from .log.log import SqlLog
from .snapshot_recorder import SqlSnapshotRecorder

_POLL_SECONDS = 0.02
_SELECTED_AT_ONCE = 500


class RecordConflictError(StreamConflictError, IntegrityError):
    """A stream has moved on since its events were decided; what eventsourcing expects of a recorder."""


class _Tracks(TrackingRecorder):
    """Tracking rows in the log's database, outside chain and triggers."""

    database: Database

    def insert_tracking(self, tracking: Tracking) -> None:
        """Record how far an application was followed; a lower or equal position is refused."""
        with self.database.write() as connection:
            _write_tracking(connection, tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        """Return how far an application was followed, or None."""
        query = sa.select(t.tracking.c.notification_id).where(
            t.tracking.c.application_name == application_name
        )
        with self.database.read() as connection:
            return connection.execute(query).scalar_one_or_none()


def _write_tracking(connection: sa.Connection, tracking: Tracking) -> None:
    row = t.tracking.c
    query = sa.select(row.notification_id).where(row.application_name == tracking.application_name)
    found = connection.execute(query).scalar_one_or_none()
    if found is not None and found >= tracking.notification_id:
        raise IntegrityError(f"{tracking.application_name} was followed to {found} already")
    values = {"notification_id": tracking.notification_id}
    if found is None:
        connection.execute(t.tracking.insert(), values | {"application_name": tracking.application_name})
    else:
        change = t.tracking.update().where(row.application_name == tracking.application_name)
        connection.execute(change, values)


class SqlAggregateRecorder(AggregateRecorder):
    """Stored events as record batches of the log.

    Parameters
    ----------
    log : SqlLog
        The log.
    new_id : callable
        Makes command ids for calls that bring none.
    uuid_ids : bool
        Give originator ids back as `UUID` and not as `str`.
    """

    def __init__(self, log: SqlLog, new_id: Callable[[], str], *, uuid_ids: bool = False) -> None:
        self.log = log
        self.database = log.database
        self._new_id = new_id
        self._uuid_ids = uuid_ids

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Record events in one append, a batch for each run of one originator."""
        self._insert(stored_events, **kwargs)
        return None

    def _insert(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> list[int] | None:
        tracking: Tracking | None = kwargs.get("tracking")
        if not stored_events:
            if tracking:
                with self.database.write() as connection:
                    _write_tracking(connection, tracking)
            return None
        also = (lambda connection: _write_tracking(connection, tracking)) if tracking else None
        try:
            header = self.log.append(self._make_append(stored_events, **kwargs), also)
        except StreamConflictError as error:
            raise RecordConflictError(error.stream_id, error.expected, error.found) from error
        return list(range(header.first_position, header.last_position + 1))

    def _make_append(
        self,
        stored_events: Sequence[StoredEvent],
        command_id: str | None = None,
        request_digest: bytes = b"",
        result: bytes = b"",
        **_: Any,
    ) -> Append:
        context = current_context()
        return Append(
            batches=[pack_stored_events(run) for run in _runs(stored_events)],
            command_id=command_id or self._new_id(),
            request_digest=request_digest,
            actor=context.actor,
            context=context.encoded,
            result=result,
        )

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return the events of one stream, frame changes included."""
        headers = list(self.log.headers(stream_id=stream_id_of(originator_id)))
        if desc:
            headers.reverse()
        found: list[StoredEvent] = []
        for header in headers:
            if limit is not None and len(found) >= limit:
                break
            if (gt is not None and header.last_version <= gt) or (
                lte is not None and header.first_version > lte
            ):
                continue
            events = self.stored_events(header)
            wanted = [
                event
                for event in (reversed(events) if desc else events)
                if (gt is None or event.originator_version > gt)
                and (lte is None or event.originator_version <= lte)
            ]
            found += wanted
        return found if limit is None else found[:limit]

    def stored_events(self, header: BatchHeader) -> list[StoredEvent]:
        """Open a batch and return its events."""
        (body,) = self.log.bodies([header.first_position])
        originator_id = UUID(header.stream_id) if self._uuid_ids else header.stream_id
        if header.schema == EVENTS_SCHEMA:
            return unpack_stored_events(header, body, originator_id)
        keys = self.log.rows_at([header.first_position])[header.first_position]
        return frame_stored_events(header, keys, body, originator_id)


class SqlApplicationRecorder(SqlAggregateRecorder, ApplicationRecorder):
    """Stored events with the log's positions as notification ids."""

    def __init__(self, log: SqlLog, new_id: Callable[[], str], *, uuid_ids: bool = False) -> None:
        super().__init__(log, new_id, uuid_ids=uuid_ids)
        self._listeners: set[threading.Event] = set()

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Record events in one append and return their positions."""
        positions = self._insert(stored_events, **kwargs)
        for listener in list(self._listeners):
            listener.set()
        return positions

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return the events from a position on, in order of position."""
        gt = max(start or 0, 0) - (1 if inclusive_of_start and start else 0)
        found: list[Notification] = []
        for header in self.log.headers(gt=max(gt, 0), lte=stop):
            if len(found) >= limit:
                break
            if topics and not set(topics) & set(header.topics):
                continue
            found += [
                Notification(
                    event.originator_id, event.originator_version, event.topic, event.state, position
                )
                for position, event in enumerate(self.stored_events(header), header.first_position)
                if position > gt
                and (stop is None or position <= stop)
                and (not topics or event.topic in topics)
            ]
        return found[:limit]

    def max_notification_id(self) -> int | None:
        """Return the position of the last event, or None for an empty log."""
        return self.log.head().position or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """Follow the log: recorded events first, then new ones of any process as they come."""
        return _LogSubscription(self, gt=gt, topics=topics)

    def listen(self, event: threading.Event) -> None:
        """Set `event` after each append of this process."""
        self._listeners.add(event)

    def unlisten(self, event: threading.Event) -> None:
        """Undo `listen`."""
        self._listeners.discard(event)


class SqlTrackingRecorder(_Tracks):
    """Tracking rows alone."""

    def __init__(self, database: Database) -> None:
        self.database = database


class SqlProcessRecorder(_Tracks, SqlApplicationRecorder, ProcessRecorder):
    """Events and the tracking of what they were made from, in one transaction."""


class _LogSubscription(Subscription[SqlApplicationRecorder]):
    """Reads in the thread that iterates; it wakes on appends of this process at once, and soon on those of others.

    It ends when it is stopped or the log is closed, by any thread.
    """

    def __init__(self, recorder: SqlApplicationRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._wake = threading.Event()
        self._notifications = self._follow()

    def __next__(self) -> Notification:
        if self._has_been_stopped:
            raise StopIteration
        return next(self._notifications)

    def _follow(self) -> Generator[Notification, None, None]:
        read, log = self._last_notification_id or 0, self._recorder.log
        self._recorder.listen(self._wake)
        try:
            with log.watch() as watch:
                while not self._has_been_stopped:
                    self._wake.clear()
                    head = log.head().position
                    found = self._select(read) if head > read else []
                    yield from found
                    if len(found) == _SELECTED_AT_ONCE:
                        read = found[-1].id
                    elif head > read:
                        read = max(head, found[-1].id if found else 0)
                    elif not self._has_been_stopped:
                        watch.wait(self._wake, _POLL_SECONDS)
        except UsageError:
            if not log.is_closed:
                raise
        finally:
            self._recorder.unlisten(self._wake)

    def _select(self, after: int) -> Sequence[Notification]:
        return self._recorder.select_notifications(
            after, _SELECTED_AT_ONCE, topics=self._topics, inclusive_of_start=False
        )

    def stop(self) -> None:
        """Stop the subscription."""
        super().stop()
        self._wake.set()
        with suppress(ValueError):  # another thread is reading, and sees that it was stopped
            self._notifications.close()


class SqlFactory(InfrastructureFactory[SqlTrackingRecorder]):
    """Makes eventsourcing's recorders over one log."""

    def __init__(self, log: SqlLog, new_id: Callable[[], str], *, uuid_ids: bool = False) -> None:
        super().__init__({})
        self.log = log
        self._new_id = new_id
        self._uuid_ids = uuid_ids

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """Make a recorder of aggregate events, or of snapshots in a table of their own."""
        if purpose == "events":
            return SqlAggregateRecorder(self.log, self._new_id, uuid_ids=self._uuid_ids)
        return SqlSnapshotRecorder(self.log.database, purpose, uuid_ids=self._uuid_ids)

    def application_recorder(self) -> SqlApplicationRecorder:
        """Make the application's recorder."""
        return SqlApplicationRecorder(self.log, self._new_id, uuid_ids=self._uuid_ids)

    def tracking_recorder(
        self, tracking_recorder_class: type[SqlTrackingRecorder] | None = None
    ) -> SqlTrackingRecorder:
        """Make a tracking recorder."""
        return (tracking_recorder_class or SqlTrackingRecorder)(self.log.database)

    def process_recorder(self) -> SqlProcessRecorder:
        """Make a recorder of events and tracking together."""
        return SqlProcessRecorder(self.log, self._new_id, uuid_ids=self._uuid_ids)

    def close(self) -> None:
        """Close the log's database."""
        self.log.close()


def _runs(events: Sequence[StoredEvent]) -> list[list[StoredEvent]]:
    """Cut events into runs of one originator with consecutive versions."""
    runs: list[list[StoredEvent]] = []
    expected = None
    for event in events:
        if (event.originator_id, event.originator_version) != expected:
            runs.append([])
        runs[-1].append(event)
        expected = (event.originator_id, event.originator_version + 1)
    return runs
