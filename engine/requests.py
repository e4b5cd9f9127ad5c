"""What is asked of a version's frames, one part of a command at a time: write, merge, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from blake3 import blake3

from .decisions import Decided, decide_deletes, decide_merges, decide_writes
from .encoding import EncodedFrames
from .keys import U64, frame_keys, last_places
from .links import Links
from .log import Log
from .state import VersionState


class FrameRequest(Protocol):
    """One part of a command: what it touches, and how it is decided."""

    @property
    def keys(self) -> bytes:
        """Joined keys of the frames."""
        ...

    @property
    def links(self) -> Links | None:
        """The files that the frames were made to name; None for none."""
        ...

    def digest(self) -> bytes:
        """Identify the request, so that a repeated command is known again."""
        ...

    def decide(self, state: VersionState, found: U64) -> Decided:
        """Decide against the state in which each key was last seen at `found`."""
        ...


class WriteRequest(msgspec.Struct):
    """Frames to be added, or to replace what is there."""

    encoded: EncodedFrames
    log: Log

    @property
    def keys(self) -> bytes:
        """Joined keys of the frames."""
        return self.encoded.keys

    @property
    def links(self) -> Links | None:
        """The files that the frames were made to name."""
        return self.encoded.links

    def digest(self) -> bytes:
        """Identify the request."""
        return digest_of(b"write", self.encoded.keys, self.encoded.digests)

    def decide(self, state: VersionState, found: U64) -> Decided:
        """Decide adds, and updates of what is held."""
        return decide_writes(self.encoded, self.log, state, found)


class MergeRequest(msgspec.Struct):
    """Frames whose fields are merged into what is there."""

    encoded: EncodedFrames
    without_fields: frozenset[str]
    log: Log

    @property
    def keys(self) -> bytes:
        """Joined keys of the frames."""
        return self.encoded.keys

    @property
    def links(self) -> Links | None:
        """The files that the frames were made to name."""
        return self.encoded.links

    def digest(self) -> bytes:
        """Identify the request."""
        fields = " ".join(sorted(self.without_fields)).encode()
        sent = [(index, payload) for index, some in self.encoded.earlier.items() for payload, _ in some]
        earlier = [part for index, payload in sent for part in (str(index).encode(), payload)]
        return digest_of(b"merge", fields, self.encoded.keys, self.encoded.digests, *earlier)

    def decide(self, state: VersionState, found: U64) -> Decided:
        """Decide updates of the fields sent."""
        return decide_merges(self.encoded, self.without_fields, self.log, state, found)


class DeleteRequest:
    """Frames to be deleted, and the URIs, by frame id, that are condemned with them."""

    links: Links | None = None

    def __init__(self, ids: Sequence[str], log: Log, sources: Mapping[str, Sequence[str]]) -> None:
        self.ids = [ids[place] for place in last_places(ids)]
        self.keys, self.plain = frame_keys(self.ids)
        self._log = log
        self._sources = sources

    def digest(self) -> bytes:
        """Identify the request."""
        return digest_of(b"delete", self.keys)

    def decide(self, state: VersionState, found: U64) -> Decided:
        """Decide deletes of what is held."""
        decided = decide_deletes(self.ids, self.plain, self.keys, self._log, state, found)
        named = (uri for frame_id in decided.changes.ids for uri in self._sources.get(frame_id, ()))
        decided.condemned = list(dict.fromkeys(named))
        return decided


def digest_of(*parts: bytes) -> bytes:
    """Return a 16-byte digest of parts, each preceded by its length."""
    hasher = blake3()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest(length=16)
