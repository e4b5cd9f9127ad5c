"""The log in a SQL database: opening, appending and checking."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from operator import attrgetter

import sqlalchemy as sa

from ....engine.errors import ConflictError, IntegrityError, StorageError, UsageError
from ....engine.iterables import chunked
from ....engine.log.batch import AppendHeader, Batch, BatchHeader, chain_digest, genesis_digest
from ....engine.log.contract import Append, AppendExistsError, AppendWatch, Clock, Head, Log, Restored
from ....engine.times import LATEST, system_clock
from ....projections.statements import CompiledStatement, DirectInsert, DirectQuery
from ..database import Database
from . import tables as t
from .reads import last_row
from .stored_batches import SqlStoredBatches
from .writes import (
    check_follows,
    check_guards,
    insert_append,
    insert_appends,
    insert_batches,
    insert_rows,
    sealed_rows,
)

_COMMANDS_AT_ONCE = 500
_INFOS = DirectQuery(lambda: sa.select(t.log_info), ())
_insert_info = DirectInsert(t.log_info)
_stray_body = CompiledStatement(
    lambda: (
        sa.select(t.record_body.c.first_position)
        .where(t.record_body.c.first_position.not_in(sa.select(t.record_batch.c.first_position)))
        .limit(1)
    ),
    (),
)
_stream_of = attrgetter("stream_id")
_count_of = attrgetter("count")
_contents_of = attrgetter("stream_id", "first_version", "keys_digest", "body_digest")
_SHARED = [
    field for field in Batch.__struct_fields__ if field in BatchHeader.__struct_fields__ and field != "keys"
]


class SqlLog(SqlStoredBatches):
    """The log in a SQL database. Locks, checks and triggers make it append-only.

    Parameters
    ----------
    database : Database
        The database. The tables are created if it is empty.
    clock : Clock
        Returns UTC microseconds. Recorded times never decrease even if the clock does.
    new_id : callable
        Creates the identity of the log.
    must_exist : bool
        The log must already exist. Raises an error for an empty database instead of creating a log.

    Attributes
    ----------
    on_identity : callable
        Called with an empty string before an empty log takes over another identity, and then with that identity.

    Raises
    ------
    UsageError
        The log has a newer format than this release can read.
    IntegrityError
        The last batch does not match its digest, or tables are missing.
    """

    def __init__(
        self, database: Database, clock: Clock, new_id: Callable[[], str], *, must_exist: bool = False
    ) -> None:
        super().__init__()
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
                    f"{self.name} is not a database of framelode: it holds {', '.join(sorted(names))}"
                )
            if must_exist:
                message = f"{self.name} has none of the tables of its log: restore it from a copy"
                raise IntegrityError(message, file=self.name)
            self._create(new_id)
        else:
            self._refuse_remains(names)
        with self.database.read() as connection:
            return self._identity(connection)

    def _identity(self, connection: sa.Connection) -> str:
        infos = _INFOS.rows(connection, ())
        info = infos[0] if len(infos) == 1 else None
        if (
            info is None
            or not isinstance(info.uuid, str)
            or not isinstance(info.format, int)
            or info.format < 1
        ):
            raise IntegrityError(
                f"the table log_info of {self.name} is empty: restore it from a copy", file=self.name
            )
        if info.format > t.FORMAT_VERSION:
            raise UsageError(
                f"{self.name} has log format {info.format}, but this release reads only up to {t.FORMAT_VERSION}: "
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
            t.schema.create_missing(connection)
            self.database.guards.install(connection)
            if _INFOS.row(connection, ()) is None:
                _insert_info.execute(connection, (new_id(), t.FORMAT_VERSION))

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
        """Identity of the log. An empty log may still take over another one."""
        if self._was_empty:
            self.head()
        return self._uuid

    def head(self) -> Head:
        """Return the end of the log. This is a hot path: it is answered from memory if nothing was written."""
        with self.database.read() as connection:
            version = self.database.data_version(connection)
            held = self._head
            if held is None or version is None or version != self._head_version:
                found = self._read_head(connection)
                # Caches that depend on a head compare identities.
                self._head = held = held if held == found and held is not None else found
                self._head_version = version
            return held

    def _read_head(self, connection: sa.Connection) -> Head:
        row = last_row(connection)
        if self._was_empty:
            # An import may have given the empty log another identity.
            self._uuid = self._identity(connection)
            self._was_empty = row is None
        if row is None:
            return Head(0, genesis_digest(self._uuid), 0)
        last = self.header_of(row)
        return Head(last.last_position, last.digest, last.recorded_at)

    def append(self, append: Append, also: Callable[[sa.Connection], None] | None = None) -> AppendHeader:
        """Record an append. `also` runs in the same transaction, for the tracking row of a process recorder."""
        if not append.batches:
            raise UsageError("an append needs at least one batch")
        try:
            return self.database.retried(partial(self._append, append, also, self.database.is_exclusive))
        finally:
            # An interrupt may have happened after the commit.
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
        """Return the header of an append that was recorded although its answer was lost; None if it was not recorded."""
        found = self.find_append(append.command_id, append.part)
        if found is None:
            return None
        headers = self.headers(gt=found.first_position - 1, lte=found.last_position)
        return found if list(map(_contents_of, headers)) == list(map(_contents_of, append.batches)) else None

    def opener(self) -> Callable[[], AbstractContextManager[Log]]:
        """Return a picklable function that opens this log for reading in another process."""
        return partial(_opened, self.database.opener())

    @property
    def is_closed(self) -> bool:
        """Whether the log was closed."""
        return self.database.is_closed

    @property
    def reads_while_writing(self) -> bool:
        """Whether other threads can read while one is `exclusive`. In memory there is only one connection."""
        return self.database.reads_while_writing

    def watch(self) -> AbstractContextManager[AppendWatch]:
        """Return an object that waits for appends of any process."""
        return self.database.watch()

    def exclusive(self) -> AbstractContextManager[None]:
        """Exclude all other writers while a decision is made, until the first append inside the block."""
        return self.database.exclusive()

    def require_exclusive(self) -> None:
        """Raise `StorageError` if other writers are no longer excluded."""
        self.database.require_exclusive()

    def _record(self, connection: sa.Connection, append: Append) -> AppendHeader:
        streams = {*append.guards, *map(_stream_of, append.batches)}
        asked = streams if append.decided_at is None else ()
        last, part, heads = self.tail(connection, append.command_id, append.part, asked)
        if part:
            raise AppendExistsError(f"part {append.part} of command {append.command_id} is already recorded")
        if not asked and append.decided_at != (last.last_position if last else 0):
            heads = self.tail(connection, append.command_id, append.part, streams).heads
        if heads:
            check_guards(append, heads)
            check_follows(append.batches, heads)
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
        previous = last.digest if last else genesis_digest(self._identity(connection))
        recorded_at = max(_checked_time(self._clock()), last.recorded_at if last else 0)
        rows = sealed_rows(append, header, recorded_at, previous)
        with self.database.together(connection):
            insert_append(connection, header)
            insert_rows(connection, rows)
        return header

    def restore(self, uuid: str, after: Head, appends: Sequence[Restored]) -> None:
        """Record appends of the log `uuid` unchanged, either all or none."""
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
                # The appends were recorded, but the answer was lost.
                return
            if (self._uuid, head.position, head.digest) != (uuid, after.position, after.digest):
                raise ConflictError(
                    f"{self.name} is log {self._uuid} at position {head.position}, not {uuid} at {after.position}: "
                    "another writer appended to it"
                )
            self._refuse_known(connection, [append.header for append in appends])
            insert_appends(connection, [append.header for append in appends])
            for append in appends:
                head = self._check_restored(append, head)
            insert_batches(connection, [each for append in appends for each in append.batches])
            self.database.announce()

    def _refuse_known(self, connection: sa.Connection, headers: Sequence[AppendHeader]) -> None:
        """Raise `IntegrityError` if a part of a command is already recorded, or occurs twice."""
        known: set[tuple[str, int]] = set()
        for some in chunked(headers, _COMMANDS_AT_ONCE):
            parts = [header.part for header in some]
            query = sa.select(t.append.c.command_id, t.append.c.part).where(
                t.append.c.command_id.in_({header.command_id for header in some}),
                t.append.c.part.between(min(parts), max(parts)),
            )
            known.update((row[0], row[1]) for row in connection.execute(query))
        for header in headers:
            if (header.command_id, header.part) in known:
                what = f"part {header.part} of command {header.command_id} is recorded twice"
                raise self.damaged(what, header.first_position)
            known.add((header.command_id, header.part))

    def _check_restored(self, append: Restored, head: Head) -> Head:
        """Check that an append follows a head and matches its digests. Returns the new head."""
        for sealed, batch in append.batches:
            position = sealed.first_position
            follows = (position, sealed.previous_digest) == (head.position + 1, head.digest)
            if not follows or sealed.recorded_at < head.recorded_at:
                raise self.damaged("a batch does not follow the previous one", position)
            if chain_digest(sealed, append.header) != sealed.digest or not _belongs(sealed, batch):
                raise self.damaged("a batch does not match its recorded digest", position)
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
        """Run the database's integrity check, and look for missing triggers and bodies without a batch. Returns the problems."""
        report = [f"{self.name}: {line}" for line in self.database.integrity_report()]
        with self.database.read() as connection:
            stray = _stray_body.execute(connection, ()).fetchone()
            unguarded = list(self.database.guards.missing(connection))
        report += [
            f"{self.name}: the trigger {name} is missing or was changed, so the log can be overwritten: "
            "copy the log with `framelode copy`, which creates the triggers again"
            for name in unguarded
        ]
        if stray is not None:
            report.append(f"{self.name}: the body at position {stray[0]} belongs to no batch")
        return report

    def close(self) -> None:
        """Close the database."""
        self.database.close()


@contextmanager
def _opened(open_database: Callable[[], Database]) -> Generator[Log, None, None]:
    with closing(SqlLog(open_database(), system_clock, _no_new_log)) as log:
        yield log


def _no_new_log() -> str:
    raise StorageError("the log does not exist any more")


def _end_of(appends: Sequence[Restored]) -> Head | None:
    """Return the head after some appends; None if there are none."""
    if not appends:
        return None
    last = appends[-1].batches[-1][0]
    return Head(last.last_position, last.digest, last.recorded_at)


def _belongs(header: BatchHeader, batch: Batch) -> bool:
    """Whether a batch matches a header."""
    return all(getattr(header, name) == getattr(batch, name) for name in _SHARED)


def _checked_time(now: object) -> int:
    """Return the time of the clock, or raise `UsageError` if it is not a valid recorded time."""
    if not isinstance(now, int) or now > LATEST:
        raise UsageError(f"the clock must return integer microseconds since 1970, not {now!r}")
    # The clock of a machine may start before 1970; such times are not recorded.
    return max(int(now), 0)
