"""What is asked of a version's frames, one part of a command at a time: write, merge, delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..canonical import digest_of
from ..datasets.state import VersionState
from ..decoding import UNDECODABLE, array_of, guarded
from ..errors import FramelodeError, InvalidValueError, UnreadableError
from ..frames.frame_group import FrameGroup
from ..frames.record import READ_ONLY_FIELDS, encode_record
from ..frames.single_frame import SingleFrame
from ..frames.source import DEFAULT_SOURCE
from ..keys import DIGEST_SIZE, KEY_SIZE, U64, Operation, frame_keys, last_places, payload_digests
from ..log.contract import Log
from ..log.frame_batch import FrameChanges, changes_at
from ..validation import is_series, shorten
from .encoder import EncodedFrames, LinkedFiles, Refusal


class Request(Protocol):
    """One part of a command: what it touches, and how it is decided."""

    @property
    def keys(self) -> bytes:
        """Joined keys of the frames."""
        ...

    @property
    def links(self) -> LinkedFiles | None:
        """The files that the frames were made to name; None for none."""
        ...

    def digest(self) -> bytes:
        """Identify the request, so that a repeated command is known again."""
        ...

    def decide(self, state: VersionState, found: U64) -> Decided:
        """Decide against the state in which each key was last seen at `found`."""
        ...


class Write(msgspec.Struct):
    """Frames to be added, or to replace what is there."""

    encoded: EncodedFrames
    log: Log

    @property
    def keys(self) -> bytes:
        """Joined keys of the frames."""
        return self.encoded.keys

    @property
    def links(self) -> LinkedFiles | None:
        """The files that the frames were made to name."""
        return self.encoded.links

    def digest(self) -> bytes:
        """Identify the request."""
        return digest_of(b"write", self.encoded.keys, self.encoded.digests)

    def decide(self, state: VersionState, found: U64) -> Decided:
        """Decide adds, and updates of what is held."""
        return decide_writes(self.encoded, self.log, state, found)


class Merge(Write):
    """Frames whose fields are merged into what is there."""

    without_fields: frozenset[str]

    def digest(self) -> bytes:
        """Identify the request."""
        fields = " ".join(sorted(self.without_fields)).encode()
        sent = [(index, payload) for index, some in self.encoded.earlier.items() for payload, _ in some]
        earlier = [part for index, payload in sent for part in (str(index).encode(), payload)]
        return digest_of(b"merge", fields, self.encoded.keys, self.encoded.digests, *earlier)

    def decide(self, state: VersionState, found: U64) -> Decided:
        """Decide updates of the fields sent."""
        return decide_merges(self.encoded, self.without_fields, self.log, state, found)


class Delete:
    """Frames to be deleted, and the URIs, by frame id, that are condemned with them."""

    links: LinkedFiles | None = None

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


DELETED = np.uint64(1 << 63)
"""Marks the position of a delete in what a state finds."""

WIRE_FIELDS = ("context_id", "meta", "num_frames", "rois", "sources", "timestamp")
"""Fields of a frame that an update may leave out."""

_NOTHING = b"\x80"
"""The payload of a frame with nothing set."""

_Fields = dict[str, msgspec.Raw]

_decode_fields = guarded(msgspec.msgpack.Decoder(list[_Fields]).decode)

_decode_record = guarded(msgspec.msgpack.Decoder(dict[str, Any]).decode)


class Decided(msgspec.Struct):
    """The changes that a request comes to, and what it does not change.

    Attributes
    ----------
    frames : list
        The last frame sent for each of the changes; deletes have none.
    merged : dict of str to list
        The frames sent before that one which the change holds, too, by frame id.
    condemned : list of str
        URIs of files that go with deleted frames.
    records : list
        What all changes were encoded from, if all of them add frames that the version never held.
    """

    changes: FrameChanges
    frames: Sequence[Any] = []
    merged: dict[str, list[Any]] = {}
    unchanged: int = 0
    unknown: int = 0
    duplicates: int = 0
    refusals: list[Refusal] = []
    condemned: list[str] = []
    records: list[Any] = []

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Keep the changes that a mask keeps."""
        if not mask.all():
            self.changes = _keep_changes(self.changes, mask)
            self.frames = list(compress(self.frames, mask.tolist()))
            self.records = []


def decide_writes(encoded: EncodedFrames, log: Log, state: VersionState, found: U64) -> Decided:
    """Decide adds: a frame that the version holds is updated, or left alone when it is the same."""
    live = (found != 0) & (found < DELETED)
    operations = np.where(live, Operation.UPDATE, Operation.ADD).astype(np.uint8)
    previous = found & ~DELETED
    saved = np.zeros(len(encoded), np.uint64)
    changes = FrameChanges(
        ids=encoded.ids,
        plain=encoded.plain,
        keys=encoded.keys,
        digests=encoded.digests,
        operations=operations,
        payloads=encoded.payloads,
        previous=previous,
        saved=saved,
    )
    decided = Decided(changes, encoded.frames, duplicates=encoded.duplicates)
    if not live.any():
        decided.records = [] if previous.any() else encoded.records
        return decided
    same = np.zeros(len(encoded), bool)
    same[live] = _has_digest(
        state, previous[live], np.frombuffer(encoded.digests, ">u8").reshape(-1, 2)[live]
    )
    before = changes_at(log, previous[live & ~same].tolist())
    updated = np.flatnonzero(live & ~same)
    replaced = previous[updated].tolist()
    saved[updated] = [before[position].saved or position for position in replaced]
    names = changed_fields(
        [before[position].payload for position in replaced],
        [encoded.payloads[index] for index in updated.tolist()],
    )
    changes.changed = dict(zip(updated.tolist(), names, strict=True))
    decided.keep(~same)
    decided.unchanged = int(same.sum())
    return decided


def decide_merges(
    encoded: EncodedFrames, without_fields: frozenset[str], log: Log, state: VersionState, found: U64
) -> Decided:
    """Decide updates that merge: what is held stays unless the request says otherwise; all sent for an id count."""
    live = (found != 0) & (found < DELETED)
    held = changes_at(log, (found[live]).tolist())
    merged: list[bytes] = []
    taken: list[list[Any]] = []
    refusals: list[Refusal] = []
    kept = np.zeros(len(encoded), bool)
    for index, last in enumerate(zip(encoded.payloads, encoded.frames, strict=True)):
        after, frames = held[int(found[index])].payload if live[index] else _NOTHING, list[Any]()
        for payload, frame in (*encoded.earlier.get(index, ()), last):
            try:
                after = _merge(encoded.ids[index], after, payload, without_fields, encoded.limit)
                frames.append(frame)
            except FramelodeError as error:
                refusals.append(Refusal(frame, str(error)))
        if frames:
            kept[index] = True
            merged.append(after)
            taken.append(frames)
    whole = EncodedFrames(
        ids=list(compress(encoded.ids, kept.tolist())),
        plain=encoded.plain,
        keys=np.frombuffer(encoded.keys, np.uint8).reshape(-1, KEY_SIZE)[kept].tobytes(),
        payloads=merged,
        digests=b"".join(payload_digests(merged)),
        frames=[frames[-1] for frames in taken],
        limit=encoded.limit,
        duplicates=sum(map(len, taken)) - len(taken),
    )
    decided = decide_writes(whole, log, state, found[kept])
    decided.refusals = refusals
    decided.merged = {
        frame_id: frames[:-1] for frame_id, frames in zip(whole.ids, taken, strict=True) if frames[1:]
    }
    return decided


def decide_deletes(
    ids: Sequence[str], plain: bool, keys: bytes, log: Log, state: VersionState, found: U64
) -> Decided:
    """Decide deletes: what the version does not hold is counted and left alone."""
    live = (found != 0) & (found < DELETED)
    positions = found[live]
    count = len(positions)
    changes = FrameChanges(
        ids=[frame_id for frame_id, is_live in zip(ids, live.tolist(), strict=True) if is_live],
        plain=plain,
        keys=np.frombuffer(keys, np.uint8).reshape(-1, KEY_SIZE)[live].tobytes(),
        digests=bytes(DIGEST_SIZE * count),
        operations=np.full(count, Operation.DELETE, np.uint8),
        payloads=[b""] * count,
        previous=positions,
        saved=_first_added(log, state, positions),
    )
    return Decided(changes, unknown=len(ids) - count)


def _first_added(log: Log, state: VersionState, positions: U64) -> U64:
    """Return where the frames recorded at some positions were first added; only updates say it in their bodies."""
    updated = state.rows(positions)["op"] == Operation.UPDATE
    before = changes_at(log, positions[updated].tolist())
    saved = positions.copy()
    saved[updated] = [before[position].saved or position for position in positions[updated].tolist()]
    return saved


def changed_fields(before: Sequence[bytes], after: Sequence[bytes]) -> list[list[str]]:
    """Return for each pair of payloads the names of the top-level fields in which they differ, in order."""
    try:
        old, new = _decode_fields(array_of(before)), _decode_fields(array_of(after))
    except UNDECODABLE as error:
        raise UnreadableError(f"a stored frame cannot be read: {error}") from error
    return list(map(_differing, old, new))


def _differing(old: _Fields, new: _Fields) -> list[str]:
    if not old or not new:
        return sorted(old or new)
    if old.keys() == new.keys():
        return sorted([name for name, value in new.items() if old[name] != value])
    return [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]


def check_without_fields(without_fields: Any) -> frozenset[str]:
    """Return the fields that an update leaves out; unknown ones are an `InvalidValueError`."""
    if isinstance(without_fields, bool):
        return frozenset()
    is_list = is_series(without_fields)
    names: list[Any] = list(without_fields) if is_list else []
    if not is_list or not all(isinstance(name, str) for name in names):
        raise InvalidValueError(
            f"without_fields must be a list of field names, not {shorten(without_fields)}"
        )
    unknown = sorted(set(names).difference(WIRE_FIELDS, READ_ONLY_FIELDS))
    if unknown:
        raise InvalidValueError(
            f"without_fields names {', '.join(map(shorten, unknown))}; frames have {', '.join(WIRE_FIELDS)}"
        )
    return frozenset(names).intersection(WIRE_FIELDS)  # the others are never sent


def _has_digest(state: VersionState, positions: U64, digests: NDArray[Any]) -> NDArray[np.bool_]:
    rows = state.rows(positions)
    return (rows["digest_hi"] == digests[:, 0]) & (rows["digest_lo"] == digests[:, 1])


def _keep_changes(changes: FrameChanges, keep: NDArray[np.bool_]) -> FrameChanges:
    kept = np.flatnonzero(keep).tolist()
    places = {index: place for place, index in enumerate(kept)}
    return FrameChanges(
        ids=[changes.ids[index] for index in kept],
        plain=changes.plain,
        keys=np.frombuffer(changes.keys, np.uint8).reshape(-1, KEY_SIZE)[keep].tobytes(),
        digests=np.frombuffer(changes.digests, np.uint8).reshape(-1, DIGEST_SIZE)[keep].tobytes(),
        operations=changes.operations[keep],
        payloads=[changes.payloads[index] for index in kept],
        previous=changes.previous[keep],
        saved=changes.saved[keep],
        changed={places[index]: names for index, names in changes.changed.items() if index in places},
    )


def _merge(frame_id: str, before: bytes, sent: bytes, without_fields: frozenset[str], limit: int) -> bytes:
    new = _decode_record(sent)
    try:
        old = _decode_record(before)
    except UNDECODABLE as error:
        raise UnreadableError(f"the stored frame {frame_id!r} cannot be read: {error}") from error
    if "timestamp" in without_fields:
        _leave_timestamps(old, new)
    merged = old | {name: value for name, value in new.items() if name not in without_fields}
    if "meta" in new and "meta" not in without_fields:
        merged["meta"] = _merge_deep(old.get("meta", {}), new["meta"])
    # In a payload, only the sources of a group have names.
    is_group = any("id" in source for source in merged.get("sources", ()))
    wire = merged | {"id": frame_id}
    payload = encode_record(FrameGroup.from_dict(wire).record() if is_group else SingleFrame.from_dict(wire))
    if len(payload) > limit:
        raise InvalidValueError(
            f"frame {frame_id!r} would have {len(payload)} bytes merged, the limit is {limit}"
        )
    return payload


def _leave_timestamps(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Give the sources sent the timestamps that are held for those of the same names."""
    for source in new.get("sources", ()):
        source.pop("timestamp", None)
    if new.get("sources") == [{}]:
        del new["sources"]
    held = {_name_of(source): source.get("timestamp", 0) for source in old.get("sources", ())}
    for source in new.get("sources", ()):
        source["timestamp"] = held.get(_name_of(source), 0)


def _name_of(source: dict[str, Any]) -> str:
    return source.get("id", DEFAULT_SOURCE)


def _merge_deep(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        held = merged.get(key)
        merged[key] = (
            _merge_deep(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
        )
    return merged
