"""Deleting the files that deleted frames named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec

from ...engine.blob_uris import SCHEME, parse_blob_uri
from ...engine.errors import StorageError, UsageError
from ...projections.sources import named_among, uris_named_by
from ..connection import Engine
from ..uploads.destination import Destination
from ..uploads.opening import open_destination

DELETABLE = ("s3", "gs", "gcs", "az", "azure", "abfs", "abfss")
"""Schemes of sources that may be deleted with their frames, beside ``blobs:``."""

_SAME = (("gs", "gcs"), ("az", "azure", "abfs", "abfss"))
"""Schemes that mean the same objects."""


class SourceDeletion(msgspec.Struct):
    """What became of the sources of deleted frames.

    Attributes
    ----------
    deleted : list of str
        URIs of what is gone.
    kept : list of str
        URIs that frames of existing versions still name.
    failures : list of dict
        One ``{"uri", "error"}`` for each source that could not be deleted: it is still there.
    """

    deleted: list[str] = []
    kept: list[str] = []
    failures: list[dict[str, str]] = []


class SourceDeleter:
    """Deletes sources in three steps: look, delete the frames, delete what nobody names any more.

    Parameters
    ----------
    engine : Engine
        The engine.
    version_id : str
        The version that the frames are deleted from.
    """

    def __init__(self, engine: Engine, version_id: str) -> None:
        self._engine = engine
        self._version_id = version_id
        self._uris: dict[str, None] = {}

    def look(self, frame_ids: Collection[str]) -> None:
        """Note what frames name, and ask every store for all of it; nothing is changed.

        Raises
        ------
        UsageError
            A source is not of a kind that may be deleted.
        StorageError
            A store cannot be asked.
        """
        self._engine.require_present()
        log, states = self._engine.log, self._engine.states
        uris = uris_named_by(log, states, self._version_id, frame_ids)
        for uri in uris:
            if not uri.startswith(SCHEME) and _scheme(uri) not in DELETABLE:
                allowed = f"{', '.join(DELETABLE)} and {SCHEME[:-1]}"
                raise UsageError(
                    f"delete_sources: {uri} cannot be deleted: only sources on {allowed} can; nothing was deleted"
                )
            if "?versionId=" in uri and not _is_blob(uri):
                raise UsageError(
                    f"delete_sources: {uri} cannot be deleted: it is one version of an object, and others may name the "
                    "object; nothing was deleted"
                )
        for destination, some in self._stores(list(uris)):
            for uri in some:
                destination.holds(_in(destination, uri), 0)
        if any(map(_is_blob, uris)):
            for uri in filter(_is_blob, uris):
                _ = parse_blob_uri(uri).digest in self._engine.blobs
        self._uris |= uris

    def finish(self) -> SourceDeletion:
        """Delete what no frame of any existing version names, now that the frames are deleted."""
        head = self._engine.log.head().position
        kept = self._named(0)
        doomed = [uri for uri in self._uris if uri not in kept]
        objects = [uri for uri in doomed if not _is_blob(uri)]
        if objects:
            # From here on nothing is linked to them; what was linked meanwhile is kept.
            self._engine.commands.record_deleted_sources(objects)
            kept |= self._named(head)
            objects = [uri for uri in objects if uri not in kept]
        result = SourceDeletion(kept=[uri for uri in self._uris if uri in kept])
        for destination, some in self._stores(objects):
            for uri in some:
                _try(result, [uri], lambda doomed=uri, store=destination: store.delete([_in(store, doomed)]))
        self._delete_blobs([uri for uri in doomed if _is_blob(uri)], result)
        return result

    def _delete_blobs(self, uris: Sequence[str], result: SourceDeletion) -> None:
        """Condemn contents, look who names them after that, and delete the rest at once."""
        if not uris:
            return
        by_digest: dict[str, list[str]] = {}
        for uri in uris:
            by_digest.setdefault(parse_blob_uri(uri).digest, []).append(uri)
        _try(result, uris, lambda: self._collect(by_digest, result))

    def _collect(self, by_digest: dict[str, list[str]], result: SourceDeletion) -> None:
        engine = self._engine
        referenced = engine.referenced_blobs()
        engine.commands.condemn_blobs([digest for digest in by_digest if digest not in referenced])
        referenced = engine.referenced_blobs()
        engine.commands.restore_blobs(
            [digest for digest in by_digest if digest in referenced], engine.blobs.__contains__
        )
        condemned = engine.commands.blob_ledger.condemned()
        doomed = {
            digest: condemned[digest].position
            for digest in by_digest
            if digest in condemned and digest not in referenced
        }
        collected = set(engine.commands.collect_blobs(doomed, engine.blobs.delete))
        for digest, uris in by_digest.items():
            (result.deleted if digest in collected else result.kept).extend(uris)

    def _named(self, after: int) -> set[str]:
        """Return those of the URIs whose objects are named, under whatever scheme."""
        engine = self._engine
        meant: dict[str, list[str]] = {}
        for uri in self._uris:
            for spelling in _spellings(uri):
                meant.setdefault(spelling, []).append(uri)
        found = named_among(engine.log, engine.states, engine.version_ids(), meant.keys(), after)
        return {uri for spelling in found for uri in meant[spelling]}

    def _stores(self, uris: Sequence[str]) -> list[tuple[Destination, list[str]]]:
        roots: dict[str, list[str]] = {}
        for uri in uris:
            if not _is_blob(uri):
                roots.setdefault("/".join(uri.split("/", 3)[:3]), []).append(uri)
        return [(open_destination(root), some) for root, some in roots.items()]


def _try(result: SourceDeletion, uris: Sequence[str], delete: Callable[[], None]) -> None:
    try:
        delete()
    except StorageError as error:
        result.failures += [{"uri": uri, "error": str(error)} for uri in uris]
        return
    if not _is_blob(uris[0]):
        result.deleted += uris


def _in(destination: Destination, uri: str) -> str:
    """Return a URI as a destination spells it."""
    return f"{destination.root}/{uri.split('/', 3)[3]}" if uri.count("/") > 2 else uri


def _spellings(uri: str) -> set[str]:
    """Return the URIs that mean the same object."""
    scheme, colon, rest = uri.partition(":")
    same = next((schemes for schemes in _SAME if scheme.lower() in schemes), (scheme.lower(),))
    return {uri, *(f"{other}{colon}{rest}" for other in same)}


def _scheme(uri: str) -> str:
    return uri.partition("://")[0].lower()


def _is_blob(uri: str) -> bool:
    return uri.startswith(SCHEME)
