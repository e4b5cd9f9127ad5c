"""Registers the engines that use a blob store: the first to write, and others that call `Engine.share_blobs`."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, cast

import msgspec

from ...engine.blobs.marker import LogRef, Marker, read_marker, write_marker
from ...engine.blobs.members import Member, Members
from ...engine.errors import FramelodeError, IntegrityError, UsageError
from ..sql.urls import PostgresSchema, is_postgres, postgres_schema, with_password_of
from . import location

if TYPE_CHECKING:
    from ...engine.blobs.store import BlobStore
    from ..sql.log.log import SqlLog
    from .session import Session


def own_ref(session: Session) -> LogRef:
    """Return the reference to the log of a session that a marker stores."""
    return LogRef(session.log.uuid, session.location.home)


def joined(session: Session, own: LogRef, marker: Marker, place: str) -> Marker:
    """Return the marker of a store with an engine added, before the engine writes to it.

    An engine that was moved or restored from a copy keeps its store, and its entry gets the new name.

    Raises
    ------
    UsageError
        Another log uses the store, or a copy of this engine does.
    """
    if own in marker.logs:
        return marker
    cast("SqlLog", session.log).database.require_in_place()
    former = {ref for ref in marker.logs if ref.log == own.log and _is_former_name(session, ref, place)}
    if former or not marker.logs:
        return _with(marker, {own, *marker.logs} - former)
    others = ", ".join(f"{ref.engine or 'an engine in memory'} (log {ref.log})" for ref in marker.logs)
    raise UsageError(
        f"the blob store {place} is used by {others}, not by {own.engine or 'this engine'} (log {own.log}): use "
        "another place with blobs=, or run `framelode share`, after which neither deletes blobs of the other"
    )


@contextmanager
def keep_listed(session: Session) -> Generator[None, None, None]:
    """Update the marker of an engine's store if its empty log takes over the uuid of another log inside the block."""
    before = own_ref(session)
    yield
    own = own_ref(session)
    if own == before or not session.location.blobs:
        return
    marker = read_marker(session.blobs.place)
    if marker is not None and before in marker.logs:
        write_marker(session.blobs.place, _with(marker, {own, *marker.logs} - {before}), replace=True)


def _with(marker: Marker, logs: Collection[LogRef]) -> Marker:
    return msgspec.structs.replace(marker, logs=tuple(sorted(logs)))


def _is_former_name(session: Session, ref: LogRef, place: str) -> bool:
    """Whether an entry of the same log is an earlier name of this engine, and not a copy with the same store."""
    if not location.exists(_url(session, ref)):
        return True
    try:
        other = _open(session, ref)
    except FramelodeError as error:
        raise _unopened(ref, error) from error
    with closing(other):
        is_same_store = other.location.blobs and other.blobs.place.is_same(place)
        is_other = other.log.uuid == ref.log and _identity(other) != _identity(session)
        return not (is_same_store and is_other)


def _identity(session: Session) -> str:
    return cast("SqlLog", session.log).database.identity()


def share(session: Session, own: LogRef, store: BlobStore, forget: Collection[str] = ()) -> None:
    """Add a log to the users of a store; see `Engine.share_blobs`."""
    left = {location.home_of(url) for url in forget}
    marker = read_marker(store.place)
    others = [ref for ref in marker.logs if ref != own] if marker else []
    unknown = left.difference(ref.engine for ref in others)
    if unknown:
        raise UsageError(f"no other engine that uses {store.name} is at {', '.join(sorted(unknown))}")
    if marker is None:
        store.join()
        return
    others = [ref for ref in others if ref.engine not in left]
    with ExitStack() as stack:
        # While every log is locked, no garbage collection can be between reading the marker and deleting.
        for ref in sorted(others):
            stack.enter_context(
                stack.enter_context(closing(_open_member(session, ref, store))).log.exclusive()
            )
        write_marker(store.place, _with(marker, {own, *others}), replace=True)


@contextmanager
def members_of(session: Session, store: BlobStore, *, join: bool) -> Generator[Members, None, None]:
    """Yield the logs that use a store, with all engines opened.

    Parameters
    ----------
    join : bool
        Create a missing marker. Otherwise nothing is written.

    Raises
    ------
    UsageError
        The engine is not one of them, or another one cannot be opened to find the blobs that its frames refer to.
    """
    own = own_ref(session)
    marker = store.join() if join else read_marker(store.place)
    logs = joined(session, own, marker, store.name).logs if marker else (own,)
    with ExitStack() as stack:
        members: list[Member] = []
        for ref in logs:
            one = session if ref == own else stack.enter_context(closing(_open_member(session, ref, store)))
            members.append(Member(one.writes.blob_commands, one.writes.blobs))
        yield Members(store, marker, members)


def _open_member(session: Session, ref: LogRef, store: BlobStore) -> Session:
    try:
        other = _open(session, ref)
        if other.log.uuid != ref.log:
            other.close()
            raise IntegrityError(f"it has the log {other.log.uuid}", file=ref.engine)
    except FramelodeError as error:
        raise _unopened(ref, error) from error
    if other.location.blobs and other.blobs.place.is_same(store.name):
        return other
    other.close()
    raise UsageError(
        f"the blob store {store.name} lists {ref.engine} (log {ref.log}), which has another store: an engine that was copied "
        f"or moved may use this one under its former name. Run `framelode gc` on that engine, which lists it; if there is "
        f"none, run `framelode share --forget {ref.engine}`"
    )


def _unopened(ref: LogRef, error: FramelodeError) -> UsageError:
    return UsageError(
        f"{ref.engine or 'an engine in memory'} (log {ref.log}) uses the same blobs and cannot be opened: {error}; if it is "
        f"gone for good, run `framelode share --forget {ref.engine}`"
    )


def _open(session: Session, ref: LogRef) -> Session:
    from .session import LiveSession

    url = _url(session, ref)
    location.require(url)
    return LiveSession(location.locate(url), session.clock, session.new_id)


def _url(session: Session, ref: LogRef) -> str:
    """Return the URL of another engine, with the password of this engine if both use the same server."""
    if not is_postgres(ref.engine) or not isinstance(session.location.log, PostgresSchema):
        return ref.engine
    return with_password_of(session.location.log, postgres_schema(ref.engine)).full_url
