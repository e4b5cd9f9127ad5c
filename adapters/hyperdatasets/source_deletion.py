"""Deletes the source files of deleted frames."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from ...engine.blobs.uris import is_blob_uri, parse_blob_uri
from ...engine.datasets.aggregate import Aggregate
from ...engine.errors import StorageError, UsageError
from ...engine.events.domain import SourcesDeleted
from ...engine.storage.urls import DELETABLE, canonical_uri, scheme_of
from ...engine.validation import how_many
from ...projections.states.source_uris import uris_in, uris_named_by
from ..maintenance.source_removal import SourceRemoval, open_stores
from ..session.blob_sharing import members_of
from ..session.session import Session
from .api_helpers import warn_caller

if TYPE_CHECKING:
    from ..uploads.destination import Destination


class UndeletableError(UsageError):
    """A source cannot be deleted because of its scheme. Nothing was deleted."""


class SourcesNotDeletedWarning(UserWarning):
    """Some sources of deleted frames could not be deleted."""


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
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._uris: list[str] = []

    def look_at_frames(self, version_id: str, frame_ids: Collection[str]) -> dict[str, list[str]]:
        """Find the sources of some frames of a version, and query all stores for them. Nothing is changed.

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
        named = uris_named_by(self._session.log, self._session.states, version_id, frame_ids)
        self._look(uri for uris in named.values() for uri in uris)
        return {frame_id: list(_markable(uris)) for frame_id, uris in named.items()}

    def condemn_versions(self, version_ids: Sequence[str]) -> Aggregate:
        """Return what marks the sources of all frames of some versions, to be saved; see `look_at_frames`."""
        self._session.require_present()
        self._look(uris_in(self._session.log, self._session.states.parts(version_ids)))
        marked = list(dict.fromkeys(_markable(self._uris)))
        return self._session.writes.source_commands.condemn_sources(marked)

    def _look(self, uris: Iterable[str]) -> None:
        self._sources_at, _ = self._session.writes.source_commands.source_ledger.look()
        self._uris = list(dict.fromkeys(uris))
        for uri in self._uris:
            _check(uri)
        for store, some in _opened(dict.fromkeys(_markable(self._uris))):
            for uri in some:
                store.holds(uri, 0)
        for uri in filter(is_blob_uri, self._uris):
            _ = parse_blob_uri(uri).digest in self._session.blobs

    def finish(self) -> SourceDeletion:
        """Delete the sources that no frame of an existing version refers to. Call it after the frames are deleted.

        A warning reports failures.
        """
        removal = SourceRemoval(self._session)
        removal.run()
        _, outcomes = self._session.writes.source_commands.source_ledger.since(self._sources_at)
        result, failures = SourceDeletion(), dict(removal.failures)
        for uri in self._uris:
            canonical = canonical_uri(uri)
            if canonical in removal.failures:
                failures.pop(canonical, None)
                result.failures.append({"uri": uri, "error": removal.failures[canonical]})
            elif canonical in outcomes:
                is_gone = outcomes[canonical] is SourcesDeleted
                (result.deleted if is_gone else result.kept).append(uri)
        result.failures += [{"uri": uri, "error": error} for uri, error in failures.items()]
        self._delete_blobs(list(filter(is_blob_uri, self._uris)), result)
        if result.failures:
            first = result.failures[0]
            message = f"{how_many(len(result.failures), 'source')} could not be deleted, the first: {first['uri']}: {first['error']}"
            warn_caller(message, SourcesNotDeletedWarning)
        return result

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


def _markable(uris: Iterable[str]) -> Iterator[str]:
    """Yield canonical URIs, without those of blobs, which are marked in the blob store."""
    return (canonical_uri(uri) for uri in uris if not is_blob_uri(uri))


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
