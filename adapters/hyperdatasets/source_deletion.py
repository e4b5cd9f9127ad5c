"""Deletes the source files of deleted frames."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from ...engine.blobs.uris import is_blob_uri, parse_blob_uri
from ...engine.errors import StorageError, UsageError
from ...engine.events.domain import SourcesDeleted
from ...engine.storage.urls import DELETABLE, canonical_uri, scheme_of
from ...projections.states.source_uris import uris_named_by
from ..maintenance.source_removal import SourceRemoval, open_stores
from ..session.blob_sharing import members_of
from ..session.session import Session

if TYPE_CHECKING:
    from ..uploads.destination import Destination


class UndeletableError(UsageError):
    """A source cannot be deleted because of its scheme. Nothing was deleted."""


class SourceDeletion(msgspec.Struct):
    """Result of deleting the sources of deleted frames.

    Attributes
    ----------
    deleted : list of str
        URIs of the deleted sources.
    kept : list of str
        URIs that frames of existing versions still refer to.
    failures : list of dict
        One ``{"uri", "error"}`` for each source that could not be deleted, including sources of earlier calls. The next
        such call or garbage collection retries.
    """

    deleted: list[str] = []
    kept: list[str] = []
    failures: list[dict[str, str]] = []

    def __repr__(self) -> str:
        counts = (f"{name}={len(getattr(self, name)):,}" for name in self.__struct_fields__)
        return f"SourceDeletion({', '.join(counts)})"


class SourceDeleter:
    """Deletes sources in three steps.

    First it checks all sources. Then the caller deletes the frames, which marks their sources for deletion. Finally it
    deletes the sources that no frame refers to.

    Parameters
    ----------
    session : Session
        The engine.
    version_id : str
        The version that the frames are deleted from.
    """

    def __init__(self, session: Session, version_id: str) -> None:
        self._session = session
        self._version_id = version_id
        self._named: dict[str, list[str]] = {}

    def look(self, frame_ids: Collection[str]) -> dict[str, list[str]]:
        """Find the sources of the frames, and query all stores for them. Nothing is changed.

        Returns
        -------
        dict of str to list of str
            Canonical URIs of the sources to mark for deletion, by frame id. Blobs in ``blobs:`` are not included.

        Raises
        ------
        UndeletableError
            A source cannot be deleted because of its scheme.
        StorageError
            A store cannot be queried.
        """
        self._session.require_present()
        self._sources_at, _ = self._session.writes.source_commands.source_ledger.look()
        self._named = uris_named_by(self._session.log, self._session.states, self._version_id, frame_ids)
        for uri in self._uris():
            _check(uri)
        objects = dict.fromkeys(canonical_uri(uri) for uri in self._uris() if not is_blob_uri(uri))
        for store, some in _opened(objects):
            for uri in some:
                store.holds(uri, 0)
        for uri in filter(is_blob_uri, self._uris()):
            _ = parse_blob_uri(uri).digest in self._session.blobs
        return {
            frame_id: [canonical_uri(uri) for uri in uris if not is_blob_uri(uri)]
            for frame_id, uris in self._named.items()
        }

    def finish(self) -> SourceDeletion:
        """Delete the sources that no frame of an existing version refers to. Call it after the frames are deleted."""
        removal = SourceRemoval(self._session)
        removal.run()
        _, outcomes = self._session.writes.source_commands.source_ledger.since(self._sources_at)
        result, failures = SourceDeletion(), dict(removal.failures)
        for uri in self._uris():
            canonical = canonical_uri(uri)
            if canonical in removal.failures:
                failures.pop(canonical, None)
                result.failures.append({"uri": uri, "error": removal.failures[canonical]})
            elif canonical in outcomes:
                is_gone = outcomes[canonical] is SourcesDeleted
                (result.deleted if is_gone else result.kept).append(uri)
        result.failures += [{"uri": uri, "error": error} for uri, error in failures.items()]
        self._delete_blobs(list(filter(is_blob_uri, self._uris())), result)
        return result

    def _uris(self) -> Iterator[str]:
        """Yield each source of the frames once, in log order."""
        yield from dict.fromkeys(uri for uris in self._named.values() for uri in uris)

    def _delete_blobs(self, uris: Sequence[str], result: SourceDeletion) -> None:
        """Mark blobs, check which ones are still referenced, and delete the others immediately."""
        if not uris:
            return
        by_digest: dict[str, list[str]] = {}
        for uri in uris:
            by_digest.setdefault(parse_blob_uri(uri).digest, []).append(uri)
        try:
            self._collect(by_digest, result)
        except StorageError as error:
            result.failures += [{"uri": uri, "error": str(error)} for uri in uris]

    def _collect(self, by_digest: dict[str, list[str]], result: SourceDeletion) -> None:
        with members_of(self._session, self._session.blobs, join=True) as members:
            heads, referenced = members.positions(), members.referenced()
            members.condemn([digest for digest in by_digest if digest not in referenced], heads)
            condemned = members.condemned()
            referenced = members.referenced()
            members.restore([digest for digest in by_digest if digest in referenced])
            positions = [{digest: when.position for digest, when in one.items()} for one in condemned]
            doomed = [digest for digest in by_digest if digest not in referenced]
            collected = set(members.collect(doomed, positions))
        for digest, uris in by_digest.items():
            (result.deleted if digest in collected else result.kept).extend(uris)


def _opened(uris: Iterable[str]) -> list[tuple[Destination, list[str]]]:
    try:
        return open_stores(uris)
    except UsageError as error:
        raise UndeletableError(f"delete_sources: {error}; nothing was deleted") from None


def _check(uri: str) -> None:
    if is_blob_uri(uri):
        return
    if scheme_of(uri) not in DELETABLE:
        allowed = f"{', '.join(DELETABLE)} and blobs"
        raise UndeletableError(
            f"delete_sources: {uri} cannot be deleted: its scheme must be one of {allowed}; nothing was deleted"
        )
    if "?versionId=" in uri:
        raise UndeletableError(
            f"delete_sources: {uri} cannot be deleted: it is one version of an object, and other frames may refer to "
            "the object; nothing was deleted"
        )
