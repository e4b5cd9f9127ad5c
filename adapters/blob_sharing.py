"""Which engines use a blob store: the first to write owns it, others join by `Engine.share_blobs`."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, cast

import msgspec

from ..engine.blobs.marker import LogRef, Marker, read_marker, write_marker
from ..engine.blobs.members import Member, Members
from ..engine.errors import FramelodeError, IntegrityError, UsageError
from . import location
from .sql.urls import PostgresSchema, is_postgres, postgres_schema, with_password_of

if TYPE_CHECKING:
    from ..engine.blobs.store import BlobStore
    from .connection import Engine
    from .sql.log.log import SqlLog


def own_ref(engine: Engine) -> LogRef:
    """Return how a marker names the log of an engine."""
    return LogRef(engine.log.uuid, engine.location.home)


def joined(engine: Engine, own: LogRef, marker: Marker, place: str) -> Marker:
    """Return the marker that a store must have before an engine writes to it.

    An engine that was moved, or restored from a copy, keeps the store that it used under its former name.

    Raises
    ------
    UsageError
        Another log uses the store, or a copy of this engine does.
    """
    if own in marker.logs:
        return marker
    former = {ref for ref in marker.logs if ref.log == own.log and _is_former_name(engine, ref, place)}
    if former or not marker.logs:
        return _with(marker, {own, *marker.logs} - former)
    others = ", ".join(f"{ref.engine or 'an engine in memory'} (log {ref.log})" for ref in marker.logs)
    raise UsageError(
        f"the blob store {place} is used by {others}, not by {own.engine or 'this engine'} (log {own.log}): give this engine "
        "another place by blobs=, or run `framelode share` so that both use it and neither deletes blobs of the other"
    )


@contextmanager
def keep_listed(engine: Engine) -> Generator[None, None, None]:
    """Keep an engine listed in the marker of its store where its empty log takes over the identity of a copy inside."""
    before = own_ref(engine)
    yield
    own = own_ref(engine)
    if own == before or not engine.location.blobs:
        return
    marker = read_marker(engine.blobs.place)
    if marker is not None and before in marker.logs:
        write_marker(engine.blobs.place, _with(marker, {own, *marker.logs} - {before}), replace=True)


def _with(marker: Marker, logs: Collection[LogRef]) -> Marker:
    return msgspec.structs.replace(marker, logs=tuple(sorted(logs)))


def _is_former_name(engine: Engine, ref: LogRef, place: str) -> bool:
    """Say whether a name of the same log is that of no other engine, that is of no copy that has the same store."""
    if not location.exists(_url(engine, ref)):
        return True
    try:
        other = _open(engine, ref)
    except FramelodeError as error:
        raise _unopened(ref, error) from error
    with closing(other):
        is_same_store = other.location.blobs and other.blobs.place.is_same(place)
        is_other = other.log.uuid == ref.log and _identity(other) != _identity(engine)
        return not (is_same_store and is_other)


def _identity(engine: Engine) -> str:
    return cast("SqlLog", engine.log).database.identity()


def share(engine: Engine, own: LogRef, store: BlobStore, forget: Collection[str] = ()) -> None:
    """Add a log to those that use a store; see `Engine.share_blobs`."""
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
        # While every log is held, no garbage collection is between reading the marker and deleting.
        for ref in sorted(others):
            stack.enter_context(stack.enter_context(closing(_open_member(engine, ref))).log.exclusive())
        write_marker(store.place, _with(marker, {own, *others}), replace=True)


@contextmanager
def members_of(engine: Engine, store: BlobStore, *, join: bool) -> Generator[Members, None, None]:
    """Give the logs that use a store, the others opened.

    Parameters
    ----------
    join : bool
        Make the marker if there is none; else nothing is written.

    Raises
    ------
    UsageError
        The engine is not one of them, or another one cannot be opened, so that nobody knows what its frames name.
    """
    own = own_ref(engine)
    marker = store.join() if join else read_marker(store.place)
    logs = joined(engine, own, marker, store.name).logs if marker else (own,)
    with ExitStack() as stack:
        members: list[Member] = []
        for ref in logs:
            one = engine if ref == own else stack.enter_context(closing(_open_member(engine, ref)))
            members.append(Member(one.commands, one.blob_references))
        yield Members(store, marker, members)


def _open_member(engine: Engine, ref: LogRef) -> Engine:
    try:
        other = _open(engine, ref)
        if other.log.uuid == ref.log:
            return other
        other.close()
        raise IntegrityError(f"it holds log {other.log.uuid}", file=ref.engine)
    except FramelodeError as error:
        raise _unopened(ref, error) from error


def _unopened(ref: LogRef, error: FramelodeError) -> UsageError:
    return UsageError(
        f"{ref.engine or 'an engine in memory'} (log {ref.log}) uses the same blobs and cannot be opened: {error}; if it is "
        f"gone for good, run `framelode share --forget {ref.engine}`"
    )


def _open(engine: Engine, ref: LogRef) -> Engine:
    url = _url(engine, ref)
    location.require(url)
    return type(engine)(location.locate(url), engine.clock, engine.new_id)


def _url(engine: Engine, ref: LogRef) -> str:
    """Return the URL of another engine, with the password of this one if both are on one server."""
    if not is_postgres(ref.engine) or not isinstance(engine.location.log, PostgresSchema):
        return ref.engine
    return with_password_of(engine.location.log, postgres_schema(ref.engine)).full_url
