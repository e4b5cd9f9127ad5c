"""The log in a SQL database: opening, appending and checking."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from operator import attrgetter

import sqlalchemy as sa

from ....engine.errors import ConflictError, IntegrityError, StorageError, UsageError
from ....engine.log.batch import AppendHeader, Batch, BatchHeader, chain_digest, genesis_digest
from ....engine.log.contract import Append, AppendExistsError, AppendWatch, Clock, Head, Log, Restored
from ....engine.times import LATEST, system_clock
from ..database import Database
from . import tables as t
from .reads import last_row
from .stored_batches import SqlStoredBatches
from .writes import check_follows, check_guards, insert_append, insert_appends, insert_batch, insert_batches

_COMMANDS_AT_ONCE = 500
_stream_of = attrgetter("stream_id")
_count_of = attrgetter("count")
_SHARED = [
    field for field in Batch.__struct_fields__ if field in BatchHeader.__struct_fields__ and field != "keys"
]


class SqlLog(SqlStoredBatches):
    """The log in a SQL database, append-only by lock, check and trigger.

    Parameters
    ----------
    database : Database
        Where the tables are, or are made when the database is empty.
    clock : Clock
        UTC microseconds; a recorded time never runs backwards even if this does.
    new_id : callable
        Makes the log's identity.
    must_exist : bool
        The log was recorded before: in an empty database it is lost, and none is made.

    Attributes
    ----------
    on_identity : callable
        Told an empty text before an empty log takes over another identity, then that identity.

    Raises
    ------
    UsageError
        The log was written by a newer format than this code reads.
    IntegrityError
        The last batch does not match its digest, or the tables are lost.
    """

    def __init__(
        self, database: Database, clock: Clock, new_id: Callable[[], str], *, must_exist: bool = False
    ) -> None:
        self.database = database
        self.on_identity: Callable[[str], object] = lambda _: None
        self.name = database.name
        self._clock = clock
        self._head: Head | None = None
        self._head_version: object = None
        self._was_empty, self._adopts = True, False
        self._uuid = self._open(new_id, must_exist)
        database.adopt()
        self._check_head()

    def _open(self, new_id: Callable[[], str], must_exist: bool) -> str:
        names = self.database.table_names()
        if "log_info" not in names:
            if names:
                self._refuse_remains(names)
                raise UsageError(
                    f"{self.name} is a database of something else: it holds {', '.join(sorted(names))}"
                )
            if must_exist:
                message = f"{self.name} has lost all its tables: restore it from a copy"
                raise IntegrityError(message, file=self.name)
            self._create(new_id)
        else:
            self._refuse_remains(names)
        with self.database.read() as connection:
            return self._identity(connection)

    def _identity(self, connection: sa.Connection) -> str:
        infos = connection.execute(sa.select(t.log_info)).all()
        info = infos[0] if len(infos) == 1 else None
        if (
            info is None
            or not isinstance(info.uuid, str)
            or not isinstance(info.format, int)
            or info.format < 1
        ):
            raise IntegrityError(f"{self.name} has lost its identity (table log_info)", file=self.name)
        if info.format > t.FORMAT_VERSION:
            raise UsageError(
                f"{self.name} has log format {info.format}, this framelode reads up to {t.FORMAT_VERSION}: "
                "install a newer framelode"
            )
        return info.uuid

    def _refuse_remains(self, names: set[str]) -> None:
        missing = set(t.LOG_TABLES) - names
        if missing and missing != set(t.LOG_TABLES):
            raise IntegrityError(
                f"{self.name} has lost its tables {', '.join(sorted(missing))}: restore it from a copy",
                file=self.name,
            )

    def _create(self, new_id: Callable[[], str]) -> None:
        with self.database.write() as connection:
            self.database.prepare(connection)
            t.metadata.create_all(connection)
            self.database.guards.install(connection)
            if connection.execute(sa.select(t.log_info)).first() is None:
                connection.execute(t.log_info.insert(), {"uuid": new_id(), "format": t.FORMAT_VERSION})

    def _check_head(self) -> None:
        with self.database.read() as connection:
            row = last_row(connection)
        if row is None:
            return
        header = self.header_of(row)
        append = self.append_header(header.append_id)
        if chain_digest(header, append) != header.digest or append.last_position != header.last_position:
            raise self.damaged("the last batch does not match its digest", header.first_position)

    @property
    def uuid(self) -> str:
        """The log's identity; an empty log may still take over another one."""
        if self._was_empty:
            self.head()
        return self._uuid

    def head(self) -> Head:
        """Return the end of the log; a hot read, answered from memory while nobody has written."""
        with self.database.read() as connection:
            version = self.database.data_version(connection)
            held = self._head
            if held is None or version is None or version != self._head_version:
                found = self._read_head(connection)
                # Whoever remembers something by its head compares identities.
                self._head = held = held if held == found and held is not None else found
                self._head_version = version
            return held

    def _read_head(self, connection: sa.Connection) -> Head:
        row = last_row(connection)
        if self._was_empty:
            # While it was empty, an import may have given the log another identity.
            self._uuid = self._identity(connection)
            self._was_empty = row is None
        if row is None:
            return Head(0, genesis_digest(self._uuid), 0)
        last = self.header_of(row)
        return Head(last.last_position, last.digest, last.recorded_at)

    def append(self, append: Append, also: Callable[[sa.Connection], None] | None = None) -> AppendHeader:
        """Record an append; `also` runs in the same transaction (a process recorder's tracking)."""
        if not append.batches:
            raise UsageError("an append needs at least one batch")
        try:
            return self.database.retried(partial(self._append, append, also, self.database.is_exclusive))
        finally:
            # An interrupt may have come upon the commit when it was done.
            self._head = None

    def _append(
        self,
        append: Append,
        also: Callable[[sa.Connection], None] | None,
        was_exclusive: bool,
        again: bool,
    ) -> AppendHeader:
        with self.database.write() as connection:
            recorded = self._recorded_before(append) if again else None
            if recorded is None:
                if again and was_exclusive:
                    raise self.database.lost()
                recorded = self._record(connection, append)
                if also:
                    also(connection)
                self.database.announce()
        return recorded

    def _recorded_before(self, append: Append) -> AppendHeader | None:
        """Return what was recorded of an append whose answer was lost, None if nothing was."""
        found = self.find_append(append.command_id, append.part)
        if found is None:
            return None
        headers = self.headers(gt=found.first_position - 1, lte=found.last_position)
        recorded = [
            (each.stream_id, each.first_version, each.keys_digest, each.body_digest) for each in headers
        ]
        ours = [
            (each.stream_id, each.first_version, each.keys_digest, each.body_digest)
            for each in append.batches
        ]
        return found if recorded == ours else None

    def opener(self) -> Callable[[], AbstractContextManager[Log]]:
        """Return what opens this log for reading in another process, and can be pickled."""
        return partial(_opened, self.database.opener())

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self.database.is_closed

    @property
    def reads_while_writing(self) -> bool:
        """Whether other threads can read while one is `exclusive`: in memory there is one connection for both."""
        return self.database.reads_while_writing

    def watch(self) -> AbstractContextManager[AppendWatch]:
        """Return what waits for appends of any process."""
        return self.database.watch()

    @contextmanager
    def exclusive(self) -> Generator[None, None, None]:
        """Keep all other writers out while something is decided inside, up to its first append."""
        with self.database.exclusive():
            yield

    def require_exclusive(self) -> None:
        """Raise `StorageError` when other writers are not kept out any more."""
        self.database.require_exclusive()

    def _record(self, connection: sa.Connection, append: Append) -> AppendHeader:
        streams = {*append.guards, *map(_stream_of, append.batches)}
        last, part, heads = self.tail(connection, append.command_id, append.part, streams)
        if part:
            raise AppendExistsError(f"part {append.part} of command {append.command_id} is recorded already")
        check_guards(append, heads)
        position = last.last_position + 1 if last else 1
        header = AppendHeader(
            append_id=last.append_id + 1 if last else 1,
            command_id=append.command_id,
            part=append.part,
            is_last=append.is_last,
            request_digest=append.request_digest,
            first_position=position,
            last_position=position + sum(map(_count_of, append.batches)) - 1,
            result=append.result,
        )
        check_follows(append.batches, heads)
        previous = last.digest if last else genesis_digest(self._identity(connection))
        recorded_at = max(_checked_time(self._clock()), last.recorded_at if last else 0)
        with self.database.together(connection):
            insert_append(connection, header)
            for batch in append.batches:
                unsealed = BatchHeader(
                    first_position=position,
                    count=batch.count,
                    append_id=header.append_id,
                    stream_id=batch.stream_id,
                    first_version=batch.first_version,
                    topics=batch.topics,
                    schema=batch.schema,
                    recorded_at=recorded_at,
                    actor=append.actor,
                    context=append.context,
                    previous_digest=previous,
                    keys_digest=batch.keys_digest,
                    body_digest=batch.body_digest,
                )
                previous = insert_batch(connection, batch, unsealed, header)
                position += batch.count
        return header

    def restore(self, uuid: str, after: Head, appends: Sequence[Restored]) -> None:
        """Record appends of the log `uuid` as they were recorded before; all of them or nothing."""
        try:
            self.database.retried(partial(self._restore, uuid, after, appends))
        finally:
            self._head, self._was_empty = None, True
        if self._adopts:
            self._adopts = False
            self.on_identity(uuid)

    def _restore(self, uuid: str, after: Head, appends: Sequence[Restored], again: bool) -> None:
        with self.database.write() as connection:
            if last_row(connection) is None:
                self._adopt(connection, uuid)
            head = self._read_head(connection)
            if again and self._uuid == uuid and head == _end_of(appends):
                # It was recorded, and the answer was lost.
                return
            if (self._uuid, head.position, head.digest) != (uuid, after.position, after.digest):
                raise ConflictError(
                    f"{self.name} is log {self._uuid} at position {head.position}, not {uuid} at {after.position}: "
                    "somebody else wrote to it"
                )
            self._refuse_known(connection, [append.header for append in appends])
            insert_appends(connection, [append.header for append in appends])
            for append in appends:
                head = self._check_restored(append, head)
            insert_batches(connection, [each for append in appends for each in append.batches])
            self.database.announce()

    def _refuse_known(self, connection: sa.Connection, headers: Sequence[AppendHeader]) -> None:
        """Raise `IntegrityError` when a part of a command is there already, or twice among some."""
        known: set[tuple[str, int]] = set()
        for at in range(0, len(headers), _COMMANDS_AT_ONCE):
            some = headers[at : at + _COMMANDS_AT_ONCE]
            parts = [header.part for header in some]
            query = sa.select(t.append.c.command_id, t.append.c.part).where(
                t.append.c.command_id.in_({header.command_id for header in some}),
                t.append.c.part.between(min(parts), max(parts)),
            )
            known.update((row[0], row[1]) for row in connection.execute(query))
        for header in headers:
            if (header.command_id, header.part) in known:
                what = f"part {header.part} of command {header.command_id} is there twice"
                raise self.damaged(what, header.first_position)
            known.add((header.command_id, header.part))

    def _check_restored(self, append: Restored, head: Head) -> Head:
        """Check that an append follows a head and comes to its digests; returns the head that it makes."""
        for sealed, batch in append.batches:
            position = sealed.first_position
            follows = (position, sealed.previous_digest) == (head.position + 1, head.digest)
            if not follows or sealed.recorded_at < head.recorded_at:
                raise self.damaged("a batch does not follow the one before", position)
            if chain_digest(sealed, append.header) != sealed.digest or not _belongs(sealed, batch):
                raise self.damaged("a batch does not come to the digest that was recorded", position)
            head = Head(sealed.last_position, sealed.digest, sealed.recorded_at)
        return head

    def _adopt(self, connection: sa.Connection, uuid: str) -> None:
        """Give an empty log another identity."""
        if self._identity(connection) != uuid:
            self._adopts = True
            self.on_identity("")
            with self.database.guards.lifted(connection):
                connection.execute(t.log_info.update().values(uuid=uuid))

    def check_tables(self) -> list[str]:
        """Run the database's own integrity check and look for bodies that belong to no batch; [] means sound."""
        report = [f"{self.name}: {line}" for line in self.database.integrity_report()]
        batch, body = t.record_batch.c.first_position, t.record_body.c.first_position
        query = sa.select(body).where(body.not_in(sa.select(batch))).limit(1)
        with self.database.read() as connection:
            stray = connection.execute(query).scalar_one_or_none()
            unguarded = list(self.database.guards.missing(connection))
        report += [
            f"{self.name}: the trigger {name} is missing or was altered, so the log can be rewritten: "
            "a copy of the log (framelode copy) has its own"
            for name in unguarded
        ]
        if stray is not None:
            report.append(f"{self.name}: the body at position {stray} belongs to no batch")
        return report

    def close(self) -> None:
        """Close the database."""
        self.database.close()


@contextmanager
def _opened(open_database: Callable[[], Database]) -> Generator[Log, None, None]:
    with closing(SqlLog(open_database(), system_clock, _no_new_log)) as log:
        yield log


def _no_new_log() -> str:
    raise StorageError("the log is gone: it was there when the work began")


def _end_of(appends: Sequence[Restored]) -> Head | None:
    """Return the head after some appends, None when there are none."""
    if not appends:
        return None
    last = appends[-1].batches[-1][0]
    return Head(last.last_position, last.digest, last.recorded_at)


def _belongs(header: BatchHeader, batch: Batch) -> bool:
    """Say whether a batch is the one that a header tells of."""
    return all(getattr(header, name) == getattr(batch, name) for name in _SHARED)


def _checked_time(now: object) -> int:
    """Return what the clock says; what reading would take for damage is not written."""
    if not isinstance(now, int) or now > LATEST:
        raise UsageError(f"the clock must return whole microseconds since 1970, not {now!r}")
    # A machine without a clock may begin before 1970; such times are not written.
    return max(int(now), 0)
