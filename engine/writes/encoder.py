"""From frames to canonical payloads, keys and digests, a whole batch at a time.

Objects are checked where they are made and set, so a batch is only screened here: its types by iteration in C,
its numbers on the encoded bytes. Where the screen finds anything, the frames are looked at one by one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any, Protocol

import msgspec

from ..canonical import encode_canonical, suspicious_floats
from ..errors import FramelodeError, InvalidValueError
from ..frames.frame_group import FrameGroup, frame_from_dict, wrap
from ..frames.record import MAX_FRAME_BYTES, encode_record, get_id
from ..frames.single_frame import SingleFrame, restore, screen, screen_one
from ..frames.source import check_root
from ..frames.wire_batch import PlainFrame, put_plain_id, read_plain
from ..frames.yielded import AnyFrame, GivenIds, Yielded
from ..keys import KEY_SIZE, frame_keys, last_places, payload_digests
from ..log.decoding import gc_paused

_FRAMES_AT_ONCE = 500

_FEW_FRAMES = 16
"""So many frames in wire form are read one after the other when one of them must be."""

_NOT_ENCODED = (TypeError, ValueError, OverflowError, msgspec.MsgspecError, RecursionError)


class Refusal(msgspec.Struct, frozen=True):
    """One frame that was not recorded, and why."""

    frame: Any
    error: str
    error_type: str = "validation"


class EncodedFrames(msgspec.Struct):
    """Frames ready to be decided on: each key once, at the place of its last frame in the call.

    Attributes
    ----------
    frames : list
        What was sent.
    limit : int
        What one encoded frame may have.
    duplicates : int
        Frames whose key came again later.
    earlier : dict of int to list of (bytes, frame)
        Those frames and their payloads in the order sent, by the index of the last one.
    links : LinkedFiles or None
        What they were made to name that others may delete.
    records : list
        What the payloads were encoded from, one for each, if the encoder keeps it.
    """

    ids: list[str]
    plain: bool
    keys: bytes
    payloads: Sequence[bytes]
    digests: bytes
    frames: Sequence[Any]
    limit: int
    duplicates: int = 0
    earlier: dict[int, list[tuple[bytes, Any]]] = {}
    links: LinkedFiles | None = None
    records: list[Any] = []

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.ids)


class Encoder(Protocol):
    """Makes frames ready to be decided on."""

    def encode(self, frames: Sequence[Any]) -> tuple[EncodedFrames, list[Refusal]]:
        """Encode a batch; frames that cannot be recorded come back as refusals."""
        ...

    def take(self, sent: Any) -> Yielded:
        """Keep what an iterator has just yielded as it is now; `encode` takes a batch of these, too."""
        ...


class FrameEncoder:
    """Encodes batches of frames and gives ids to those that have none.

    Parameters
    ----------
    new_id : callable
        Makes ids for frames without a source.
    root : path, optional
        Folder that derived ids take local sources relative to.
    max_frame_bytes : int
        Limit of one encoded frame.
    keeps_records : bool
        Keep what the payloads are encoded from, to count it.
    """

    def __init__(
        self,
        new_id: Callable[[], str],
        root: str | os.PathLike[str] | None = None,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        *,
        keeps_records: bool = False,
    ) -> None:
        self._keeps_records = keeps_records
        self._new_id = new_id
        self._root = check_root(root)
        self._limit = max_frame_bytes
        self._given = GivenIds(self._make_id)

    def encode(self, frames: Sequence[Any]) -> tuple[EncodedFrames, list[Refusal]]:
        """Encode a batch; frames that cannot be recorded come back as refusals."""
        if frames and isinstance(frames[0], Yielded):
            return self._encode_yielded(frames)
        accepted: list[Any] = []
        ids: list[str] = []
        payloads: list[bytes] = []
        digests: list[bytes] = []
        records: list[Any] = []
        refusals: list[Refusal] = []
        for sent, some, encoded in self._encode_all(frames, refusals):
            accepted += sent
            ids += self._ids_of(some)
            payloads += encoded
            digests += payload_digests(encoded)
            if self._keeps_records:
                records += some
        finished = self._finish(accepted, ids, payloads, digests)
        if not finished.duplicates:
            finished.records = records
        return finished, refusals

    def check(self, frames: Sequence[Any]) -> list[Refusal]:
        """Return the frames that cannot be recorded; all others get ids."""
        refusals: list[Refusal] = []
        for _, some, _ in self._encode_all(frames, refusals):
            for frame in some:
                if frame.id is None:
                    self.give_id(frame)
        return refusals

    def take(self, sent: Any) -> Yielded:
        """Keep what an iterator has just yielded as it is now."""
        try:
            frame = self._frame_of(sent)
            payload = self._encode_alone(frame)
        except FramelodeError as error:
            return Yielded(sent, error=str(error))
        frame_id = self._given.take(frame) if frame is sent else frame.id or self._make_id(frame)
        return Yielded(sent, frame, frame_id, payload)

    def restored(self, some: Sequence[Any]) -> tuple[Sequence[Any], list[Refusal]]:
        """Return the frames of a batch as they were when they were yielded: the objects themselves where they still are so."""
        if not some or not isinstance(some[0], Yielded):
            return some, []
        frames = [self._restored(item) for item in some if item.frame is not None]
        return frames, _refused(some)

    def _restored(self, item: Yielded) -> AnyFrame:
        frame = item.frame
        if (
            isinstance(frame, SingleFrame | FrameGroup)
            and frame is item.sent
            and self._given.hand_back(frame, item.frame_id)
        ):
            with suppress(FramelodeError):
                if self._encode_alone(frame) == item.payload:
                    return frame
        return wrap(restore(item.payload, item.frame_id))

    def _encode_yielded(self, some: Sequence[Yielded]) -> tuple[EncodedFrames, list[Refusal]]:
        refusals = _refused(some)
        ready = [item for item in some if item.frame is not None]
        payloads = [item.payload for item in ready]
        for index in reversed(suspicious_floats(payloads) if payloads else []):
            try:
                payloads[index] = self._encode_one(restore(payloads[index], ready[index].frame_id))
            except FramelodeError as error:
                refusals.append(Refusal(ready.pop(index).sent, str(error)))
                del payloads[index]
        for item in ready:
            if item.frame is item.sent:
                self._given.hand_back(item.sent, item.frame_id)
        digests = payload_digests(payloads)
        sent, ids = [item.sent for item in ready], [item.frame_id for item in ready]
        return self._finish(sent, ids, payloads, digests), refusals

    def _encode_all(
        self, frames: Sequence[Any], refusals: list[Refusal]
    ) -> Iterator[tuple[Sequence[Any], Sequence[Any], list[bytes]]]:
        """Yield what was sent, the frames that it stands for, and their payloads, some at a time."""
        # What the screen has touched is still in the processor's cache when it is encoded and hashed.
        for start in range(0, len(frames), _FRAMES_AT_ONCE):
            sent, some = self._read(frames[start : start + _FRAMES_AT_ONCE], refusals)
            encoded = self._encode_together(some)
            if encoded is None:
                sent, some, encoded = self._encode_one_by_one(sent, some, refusals)
            yield sent, some, encoded

    def _read(self, sent: Sequence[Any], refusals: list[Refusal]) -> tuple[Sequence[Any], Sequence[Any]]:  # noqa: ARG002 - for those that override it
        """Return what was sent and can be read, and the frames that it stands for."""
        return sent, sent

    def _encode_together(self, frames: Sequence[Any]) -> list[bytes] | None:
        """Encode frames that need no second look; None when some do."""
        if not set(map(type, frames)) <= {SingleFrame} or not screen(frames):
            return None
        try:
            payloads = list(map(encode_canonical, frames))
            for index in suspicious_floats(payloads):
                payloads[index] = self._encode_one(frames[index])
        except _NOT_ENCODED:
            return None
        return payloads if max(map(len, payloads), default=0) <= self._limit else None

    def _encode_alone(self, frame: Any) -> bytes:
        """Encode one frame; NaN and -0.0 are left to a look at many payloads together."""
        if type(frame) is SingleFrame and screen_one(frame):
            with suppress(*_NOT_ENCODED):
                payload = encode_record(frame)
                if len(payload) <= self._limit:
                    return payload
        return self._encode_one(frame)

    def _encode_one_by_one(
        self, sent: Sequence[Any], frames: Sequence[Any], refusals: list[Refusal]
    ) -> tuple[list[Any], list[AnyFrame], list[bytes]]:
        accepted: list[Any] = []
        taken: list[AnyFrame] = []
        payloads: list[bytes] = []
        for given, frame in zip(sent, frames, strict=True):
            try:
                payloads.append(self._encode_one(frame))
                accepted.append(given)
                taken.append(frame)
            except FramelodeError as error:
                refusals.append(Refusal(given, str(error)))
        return accepted, taken, payloads

    def _encode_one(self, frame: Any) -> bytes:
        if not isinstance(frame, SingleFrame | FrameGroup):
            raise InvalidValueError(
                f"{type(frame).__name__} is no frame: pass SingleFrame or FrameGroup objects; add_dicts takes dicts"
            )
        frame.validated()
        payload = encode_record(frame.record() if isinstance(frame, FrameGroup) else frame)
        if len(payload) > self._limit:
            raise InvalidValueError(
                f"frame {frame.id!r} has {len(payload)} bytes encoded, the limit is {self._limit}: "
                "keep large arrays in files of their own and name them by URI"
            )
        return payload

    def _finish(
        self, frames: Sequence[Any], ids: list[str], payloads: Sequence[bytes], digests: list[bytes]
    ) -> EncodedFrames:
        keys, plain = frame_keys(ids)
        last = last_places(ids, (keys, plain))
        earlier: dict[int, list[tuple[bytes, Any]]] = {}
        duplicates = len(ids) - len(last)
        if duplicates:
            earlier = _earlier(ids, last, list(zip(payloads, frames, strict=True)))
            ids, frames = [ids[index] for index in last], [frames[index] for index in last]
            payloads, digests = [payloads[index] for index in last], [digests[index] for index in last]
            keys, plain = frame_keys(ids)
        joined = b"".join(digests)
        return EncodedFrames(ids, plain, keys, payloads, joined, frames, self._limit, duplicates, earlier)

    def _ids_of(self, frames: Sequence[Any]) -> list[str]:
        """Return the ids of frames; those without one get one."""
        with suppress(AttributeError):  # groups, frames in wire form, and frames that never had an id
            ids = list(map(get_id, frames))
            if all(ids):
                return ids
        return [frame.id or self.give_id(frame) for frame in frames]

    def give_id(self, frame: AnyFrame) -> str:
        """Give a frame without an id the one that its sources give, or a new one."""
        frame.id = self._make_id(frame)
        return frame.id

    def _make_id(self, frame: AnyFrame | PlainFrame) -> str:
        return frame.derive_id(self._root) or self._new_id()

    def _frame_of(self, sent: Any) -> Any:
        """Return the frame that something stands for."""
        return sent


class WireEncoder(FrameEncoder):
    """Encodes frames given in wire form; what it refuses, and hands on as sent, are those dicts."""

    def take(self, sent: Any) -> Yielded:
        """Keep what an iterator has just yielded as it is now."""
        with suppress(*_NOT_ENCODED):
            for frame in read_plain((sent,)) or ():
                (payload,) = _encode_plain([frame])
                if len(payload) <= self._limit:
                    return Yielded(sent, frame, frame.id or self._make_id(frame), payload)
        return super().take(sent)

    def _encode_all(
        self, frames: Sequence[Any], refusals: list[Refusal]
    ) -> Iterator[tuple[Sequence[Any], Sequence[Any], list[bytes]]]:
        for start in range(0, len(frames), _FRAMES_AT_ONCE):
            yield from self._encode_some(frames[start : start + _FRAMES_AT_ONCE], refusals)

    def _encode_some(
        self, sent: Sequence[Any], refusals: list[Refusal]
    ) -> Iterator[tuple[Sequence[Any], Sequence[Any], list[bytes]]]:
        """Read frames together; if that fails, look for those that must be read carefully, by halves."""
        plain = self._encode_plain(sent)
        if plain is not None:
            yield sent, *plain
        elif len(sent) <= _FEW_FRAMES:
            yield from super()._encode_all(sent, refusals)
        else:
            half = len(sent) // 2
            yield from self._encode_some(sent[:half], refusals)
            yield from self._encode_some(sent[half:], refusals)

    def _encode_plain(self, sent: Sequence[Any]) -> tuple[list[Any], list[bytes]] | None:
        """Read and encode frames together; None if some must be read carefully."""
        with gc_paused():
            frames = read_plain(sent)
        if frames is None:
            return None
        try:
            payloads = _encode_plain(frames)
            for index in suspicious_floats(payloads):
                payloads[index] = self._encode_one(self._frame_of(sent[index]))
        except (*_NOT_ENCODED, FramelodeError):
            return None
        return (frames, payloads) if max(map(len, payloads), default=0) <= self._limit else None

    def _read(self, sent: Sequence[Any], refusals: list[Refusal]) -> tuple[Sequence[Any], Sequence[Any]]:
        readable: list[Any] = []
        frames: list[AnyFrame] = []
        for wire in sent:
            try:
                frames.append(self._frame_of(wire))
                readable.append(wire)
            except FramelodeError as error:
                refusals.append(Refusal(wire, str(error)))
        return readable, frames

    def _frame_of(self, sent: Any) -> AnyFrame:
        return frame_from_dict(sent)


def _encode_plain(frames: Sequence[PlainFrame]) -> list[bytes]:
    """Return the canonical payloads: an id is not part of them."""
    ids = [frame.id for frame in frames]
    deque(map(put_plain_id, frames, repeat(None)), maxlen=0)
    payloads = list(map(encode_canonical, frames))
    deque(map(put_plain_id, frames, ids), maxlen=0)
    return payloads


def _refused(some: Sequence[Yielded]) -> list[Refusal]:
    return [Refusal(item.sent, item.error) for item in some if item.error is not None]


def _earlier(
    ids: Sequence[str], last: Sequence[int], sent: Sequence[tuple[bytes, Any]]
) -> dict[int, list[tuple[bytes, Any]]]:
    """Return what was sent before the last frame of each key, by the index of that key among the last places."""
    keys, _ = frame_keys(ids)
    names = [keys[at : at + KEY_SIZE] for at in range(0, len(keys), KEY_SIZE)]
    index_of = {names[place]: index for index, place in enumerate(last)}
    found: dict[int, list[tuple[bytes, Any]]] = {}
    for place in sorted(set(range(len(ids))).difference(last)):
        found.setdefault(index_of[names[place]], []).append(sent[place])
    return found


class LinkedFiles(Protocol):
    """The files that frames were made to name while they were encoded."""

    @property
    def guards(self) -> Mapping[str, int]:
        """Streams that must not move until the frames are appended, and their versions."""
        ...

    @property
    def blobs(self) -> Collection[str]:
        """Digests of those that are in the blob store."""
        ...

    def hold(self) -> bool:
        """Say whether none of the files was touched so far; if so, the guards are what they have to be now."""
        ...

    def undo(self, frames: Iterable[Any] | None = None) -> None:
        """Put frames back as they were, all by default, so that they can be encoded again."""
        ...
