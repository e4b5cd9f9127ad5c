"""Recorders of the eventsourcing library for the log, and their factory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

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
from eventsourcing.persistence import (
    Recorder as AnyRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic

from ...engine.errors import UsageError
from ...engine.log.batch import EVENTS_SCHEMA, OpenedBatch
from ...engine.log.context import current_context
from ...engine.log.contract import Append, StreamConflictError
from ...engine.log.event_batch import states_of
from ...engine.log.stored_events import (
    Originators,
    frame_states,
    pack_stored_events,
)
from ...engine.secrets import redact_url
from ...engine.times import system_clock
from .database import Database
from .log import tables as t
from .log.log import SqlLog
from .open import open_database
from .snapshot_recorder import SqlSnapshotRecorder
from .urls import Place, is_postgres, postgres_schema

_POLL_SECONDS = 0.02
_SELECTED_AT_ONCE = 500
_LOWEST = -(2**63)
_SQLITE = "sqlite:///"
_IN_MEMORY = ("sqlite://", "sqlite:///:memory:")
_URLS = "sqlite:///path/log.db, sqlite:// for one in memory, or postgresql+psycopg://user@host/database"

Recorder = TypeVar("Recorder", bound=AnyRecorder)
LogRecorder = TypeVar("LogRecorder", bound="SqlAggregateRecorder")


def _random_id() -> str:
    return uuid4().hex


class RecordConflictError(StreamConflictError, IntegrityError):
    """A stream has newer events than the caller expected. The eventsourcing library expects this error of a recorder."""


class SqlTrackingRecorder(TrackingRecorder):
    """Records how far applications were followed, in the database of the log. The chain does not cover it.

    It is the base class of views in the same database, whose transactions write the tracking as well.

    Parameters
    ----------
    database : Database
        Where the log is.
    follower : str
        Name of the projection or application that follows. Each has its own tracking.
    """

    def __init__(self, database: Database, *, follower: str = "") -> None:
        self.database = database
        self._follower = Originators(follower)

    def insert_tracking(self, tracking: Tracking) -> None:
        """Record the position that an application has processed. A position that is not higher raises an error."""
        with self.database.write() as connection:
            self.write_tracking(connection, tracking)

    def write_tracking(self, connection: sa.Connection, tracking: Tracking) -> None:
        """Record how far an application was followed, in a transaction of the caller.

        A view calls it together with its own statements, inside ``with self.database.write() as connection``.

        Parameters
        ----------
        connection : Connection
            From `Database.write` of this database.
        tracking : Tracking
            The application, and the position that was processed.

        Raises
        ------
        IntegrityError
            The application was followed to this position before. The transaction is rolled back.
        """
        name, row = self._follower.stream_id(tracking.application_name), t.tracking.c
        query = sa.select(row.notification_id).where(row.application_name == name)
        found = connection.execute(query).scalar_one_or_none()
        if found is not None and found >= tracking.notification_id:
            raise IntegrityError(f"{tracking.application_name} was followed to {found} already")
        values = {"notification_id": tracking.notification_id}
        if found is None:
            connection.execute(t.tracking.insert(), values | {"application_name": name})
        else:
            connection.execute(t.tracking.update().where(row.application_name == name), values)

    def max_tracking_id(self, application_name: str) -> int | None:
        """Return the position that an application has processed, or None."""
        query = sa.select(t.tracking.c.notification_id).where(
            t.tracking.c.application_name == self._follower.stream_id(application_name)
        )
        with self.database.read() as connection:
            return connection.execute(query).scalar_one_or_none()


class SqlAggregateRecorder(AggregateRecorder):
    """Stored events, recorded as record batches of the log.

    Parameters
    ----------
    log : SqlLog
        The log.
    new_id : callable
        Creates command ids for calls without one.
    uuid_ids : bool
        Return originator ids as `UUID` instead of `str`.
    application : str
        Name of the application. It reads only its own events; if empty, those of all applications on the log.
    """

    def __init__(
        self, log: SqlLog, new_id: Callable[[], str], *, uuid_ids: bool = False, application: str = ""
    ) -> None:
        self.log = log
        self.database = log.database
        self._new_id = new_id
        self._originators = Originators(application, uuid_ids=uuid_ids)

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Record events in one append, with one batch for each run of events of the same originator."""
        self._insert(stored_events, **kwargs)
        return None

    def _insert(
        self,
        stored_events: Sequence[StoredEvent],
        also: Callable[[sa.Connection], None] | None = None,
        **kwargs: Any,
    ) -> list[int] | None:
        if not stored_events:
            if also is not None:
                with self.database.write() as connection:
                    also(connection)
            return None
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
            batches=[pack_stored_events(run, self._originators) for run in _runs(stored_events)],
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
        low = _LOWEST if gt is None else gt + 1
        stream_id = self._originators.stream_id(originator_id)
        shown_id = self._originators.originator_id(stream_id)
        found: list[StoredEvent] = []
        for batch in self.log.opened(low, lte, stream_id=stream_id, desc=desc, limit=limit):
            events = [
                StoredEvent(shown_id, version, topic, state)
                for version, (topic, state) in enumerate(self._states(batch), batch.first_version)
                if low <= version and (lte is None or version <= lte)
            ]
            found += reversed(events) if desc else events
            if limit is not None and len(found) >= limit:
                break
        return found if limit is None else found[:limit]

    def _states(self, batch: OpenedBatch) -> list[tuple[str, bytes]]:
        """Return the topics and states of a batch."""
        if batch.schema == EVENTS_SCHEMA:
            return states_of(batch, batch.events)
        return frame_states(batch, self.log.rows_at([batch.first_position])[batch.first_position])


class SqlApplicationRecorder(SqlAggregateRecorder, ApplicationRecorder):
    """Stored events with the log's positions as notification ids. The parameters are those of `SqlAggregateRecorder`."""

    def __init__(self, log: SqlLog, new_id: Callable[[], str], **options: Any) -> None:
        super().__init__(log, new_id, **options)
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
        """Return the events of the application from a position on, in order of position."""
        low = max(start or 0, 0) + (0 if inclusive_of_start and start else 1)
        found: list[Notification] = []
        if limit < 1:
            return found
        wanted, prefix = set(topics), self._originators.prefix
        opened = self.log.opened(low, stop, topics=sorted(wanted), prefix=prefix, limit=limit)
        for batch in opened:
            originator_id = self._originators.originator_id(batch.stream_id)
            position, version = batch.first_position, batch.first_version
            for topic, state in self._states(batch):
                if low <= position and (stop is None or position <= stop) and (not wanted or topic in wanted):
                    found.append(Notification(originator_id, version, topic, state, position))
                position += 1
                version += 1
            if len(found) >= limit:
                break
        return found[:limit]

    def max_notification_id(self) -> int | None:
        """Return the position of the last event of the application, or None if there is none."""
        prefix = self._originators.prefix
        return self.log.last_position(prefix) if prefix else self.log.head().position or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """Follow the application: recorded events first, then new ones of any process as they come."""
        return _LogSubscription(self, gt=gt, topics=topics)

    def listen(self, event: threading.Event) -> None:
        """Set `event` after each append in this process."""
        self._listeners.add(event)

    def unlisten(self, event: threading.Event) -> None:
        """Stop setting `event`."""
        self._listeners.discard(event)


class SqlProcessRecorder(SqlTrackingRecorder, SqlApplicationRecorder, ProcessRecorder):
    """Events and the tracking of what they were made from, in one transaction.

    The parameters are those of `SqlAggregateRecorder`.
    """

    def __init__(
        self, log: SqlLog, new_id: Callable[[], str], *, application: str = "", **options: Any
    ) -> None:
        SqlApplicationRecorder.__init__(self, log, new_id, application=application, **options)
        self._follower = Originators(application)

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Record events and their ``tracking`` in one append, and return their positions."""
        tracking: Tracking | None = kwargs.pop("tracking", None)
        also = None if tracking is None else lambda connection: self.write_tracking(connection, tracking)
        return super().insert_events(stored_events, also=also, **kwargs)


class _LogSubscription(Subscription[SqlApplicationRecorder]):
    """Reads in the iterating thread. It notices appends of this process immediately, and others after a short wait.

    It ends when it is stopped or the log is closed, in any thread.
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
        with suppress(ValueError):  # another thread is reading, and notices the stop
            self._notifications.close()


class SqlFactory(InfrastructureFactory[SqlTrackingRecorder]):
    """Creates eventsourcing's recorders for one log.

    As a persistence module of eventsourcing, it is created from an environment and opens the log that ``FRAMELODE_LOG`` names:
    ``sqlite:///path/log.db``, ``sqlite://`` for one in memory, or a PostgreSQL URL. ``ORIGINATOR_ID_TYPE`` is ``uuid`` or
    ``text``. Recorders are those of the topics in ``APPLICATION_RECORDER_TOPIC``, ``TRACKING_RECORDER_TOPIC`` and
    ``PROCESS_RECORDER_TOPIC``, if they are given. The name of the environment is that of the application.

    Parameters
    ----------
    log : SqlLog, optional
        An open log. Its recorders read the events of all applications.
    new_id : callable, optional
        Creates ids of 32 hex digits.
    env : Environment or mapping, optional
        Names the log if `log` is not given.
    uuid_ids : bool, optional
        Return originator ids as `UUID`.

    Raises
    ------
    UsageError
        A variable is missing or cannot be used.
    """

    FRAMELODE_LOG = "FRAMELODE_LOG"
    ORIGINATOR_ID_TYPE = "ORIGINATOR_ID_TYPE"

    def __init__(
        self,
        log: SqlLog | None = None,
        new_id: Callable[[], str] = _random_id,
        *,
        env: Environment | EnvType | None = None,
        uuid_ids: bool | None = None,
    ) -> None:
        super().__init__(env)
        self.log = log or SqlLog(open_database(self._place()), system_clock, new_id)
        self._new_id = new_id
        self._application = self.env.name
        self._uuid_ids = (log is None and self._has_uuids()) if uuid_ids is None else uuid_ids

    def _place(self) -> Place:
        url = self.env.get(self.FRAMELODE_LOG)
        if not url:
            names = ", ".join(self.env.create_keys(self.FRAMELODE_LOG))
            raise UsageError(f"no log is named in the environment: set {names} to {_URLS}")
        if is_postgres(url):
            return postgres_schema(url)
        if url in _IN_MEMORY:
            return None
        if not url.startswith(_SQLITE) or url == _SQLITE:
            raise UsageError(
                f"{redact_url(url)} is not the URL of a log: set {self.FRAMELODE_LOG} to {_URLS}"
            )
        # Connections are opened when they are needed, whatever the current folder is then.
        return Path(url.removeprefix(_SQLITE)).absolute()

    def _has_uuids(self) -> bool:
        kind = self.env.get(self.ORIGINATOR_ID_TYPE, "uuid")
        if kind not in {"uuid", "text"}:
            raise UsageError(f"{self.ORIGINATOR_ID_TYPE} must be 'uuid' or 'text', not {kind!r}")
        return kind == "uuid"

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """Return a recorder of aggregate events, or of snapshots in a separate table."""
        if purpose == "events":
            return self._recorder(SqlAggregateRecorder)
        originators = Originators(self._application, uuid_ids=self._uuid_ids)
        return SqlSnapshotRecorder(self.log.database, purpose, originators)

    def application_recorder(self) -> SqlApplicationRecorder:
        """Return the recorder of the application."""
        return self._recorder(self._class_of(self.APPLICATION_RECORDER_TOPIC, SqlApplicationRecorder))

    def tracking_recorder(
        self, tracking_recorder_class: type[SqlTrackingRecorder] | None = None
    ) -> SqlTrackingRecorder:
        """Return a tracking recorder, which may be a view."""
        kind = tracking_recorder_class or self._class_of(self.TRACKING_RECORDER_TOPIC, SqlTrackingRecorder)
        return kind(self.log.database, follower=self._application)

    def process_recorder(self) -> SqlProcessRecorder:
        """Return a recorder of events together with their tracking."""
        return self._recorder(self._class_of(self.PROCESS_RECORDER_TOPIC, SqlProcessRecorder))

    def _recorder(self, kind: type[LogRecorder]) -> LogRecorder:
        return kind(self.log, self._new_id, uuid_ids=self._uuid_ids, application=self._application)

    def _class_of(self, variable: str, base: type[Recorder]) -> type[Recorder]:
        """Return the recorder class that a variable of the environment names, by default `base`."""
        topic = self.env.get(variable)
        if not topic:
            return base
        found = resolve_topic(topic)
        if not isinstance(found, type) or not issubclass(found, base):
            raise UsageError(f"{variable} must name a subclass of {base.__name__}, not {topic}")
        return found

    def close(self) -> None:
        """Close the database of the log."""
        self.log.close()


def _runs(events: Sequence[StoredEvent]) -> list[list[StoredEvent]]:
    """Split events into runs of one originator with consecutive versions."""
    runs: list[list[StoredEvent]] = []
    expected = None
    for event in events:
        if (event.originator_id, event.originator_version) != expected:
            runs.append([])
        runs[-1].append(event)
        expected = (event.originator_id, event.originator_version + 1)
    return runs
