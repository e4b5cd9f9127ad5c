"""Reading frames through a version object."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Iterator, KeysView, Sequence
from numbers import Real
from typing import Any, TypeVar, overload

from ...engine.errors import InvalidTypeError
from ...engine.frames.frame_group import FrameGroup
from ...engine.frames.single_frame import SingleFrame
from ...engine.log.moments import Moment
from ...engine.validation import identifier, shorten
from .callers import warn_caller
from .handle import VersionHandle, meant
from .instance_or_class import instance_or_class
from .reading import FrameReader

Default = TypeVar("Default")


class FrameReads(VersionHandle):
    """The methods that read frames; `as_of` is the moment to read at, a position or an aware datetime."""

    @instance_or_class
    def get_single_frame(
        self: VersionHandle | type[VersionHandle],
        frame_id: str,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        dataset_project: str | None = None,
        *,
        as_of: Moment | None = None,
    ) -> SingleFrame | FrameGroup:
        """Return the frame with the id `frame_id`; `NotFoundError` when the version does not hold it."""
        reader = _reader(self, dataset_id, dataset_name, version_id, version_name, dataset_project, as_of)
        return reader.one(frame_id)

    @instance_or_class
    def get_frames_by_ids(
        self: VersionHandle | type[VersionHandle],
        frame_ids: Collection[str],
        projection: Collection[str] | None = None,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        dataset_project: str | None = None,
        *,
        as_of: Moment | None = None,
    ) -> list[Any]:
        """Return the frames found, in the order asked, and warn with the count missing.

        Parameters
        ----------
        frame_ids : collection of str
            Ids; any iterable will do.
        projection : collection of str, optional
            Dot paths of the parts wanted, see `get_iterator`; the result then holds dicts.
        """
        if isinstance(self, type):
            message = "calling get_frames_by_ids on the class is deprecated: call it on a version"
            warn_caller(message, DeprecationWarning)
        reader = _reader(self, dataset_id, dataset_name, version_id, version_name, dataset_project, as_of)
        return reader.by_ids(frame_ids, projection)

    @instance_or_class
    def get_frames_by_source(
        self: VersionHandle | type[VersionHandle],
        source_uri: str | os.PathLike[str],
        dataset_id: str | None = None,
        dataset_name: str | None = None,
        version_id: str | None = None,
        version_name: str | None = None,
        dataset_project: str | None = None,
        *,
        as_of: Moment | None = None,
    ) -> list[SingleFrame | FrameGroup]:
        """Return the frames with a source whose URI fits the pattern `source_uri`, in log order.

        ``*`` is the only wildcard and crosses ``/``; without one the URI must be equal, or begin with a pattern
        that ends in ``/``. A path means its ``file://`` URI.
        """
        reader = _reader(self, dataset_id, dataset_name, version_id, version_name, dataset_project, as_of)
        return reader.by_source(source_uri)

    def get_iterator(
        self,
        projection: Sequence[str] | None = None,
        *,
        order_by: str | None = None,
        as_of: Moment | None = None,
    ) -> Generator[Any, None, None]:
        """Yield all frames in log order: the order of their last changes, the same on every machine.

        Frames are streamed; at most 64 bytes of each stay in memory.

        Parameters
        ----------
        projection : sequence of str, optional
            Dot paths of the parts wanted (a number is an array index, ``*`` every element); yields dicts then.
        order_by : str, optional
            ``"context"`` yields frames of one context together, as video needs them: by context id, then timestamp,
            then id (ours). It reads the version twice and sorts on disk.
        as_of : int or datetime, optional
            The moment to read at, a position or an aware datetime (ours).

        Raises
        ------
        ValueError
            A path is one that no frame can have, or the order is unknown.
        """
        engine = self._engine.at(as_of)
        return FrameReader(engine, self._row_in(engine)).iterate(projection, order_by)

    def __iter__(self) -> Iterator[SingleFrame | FrameGroup]:
        return self.get_iterator()

    def __len__(self) -> int:
        """Return the number of frames."""
        return self._engine.states.current(self._row().version_id).total

    def __getitem__(self, frame_id: str) -> SingleFrame | FrameGroup:
        """Return the frame with an id; `NotFoundError` (a `KeyError`) when the version does not hold it."""
        return FrameReader(self._engine, self._row()).one(_check_key(frame_id))

    def __contains__(self, frame_id: object) -> bool:
        """Say whether the version holds a frame with an id."""
        return FrameReader(self._engine, self._row()).holds(_check_key(frame_id))

    @overload
    def get(self, frame_id: str) -> SingleFrame | FrameGroup | None: ...
    @overload
    def get(self, frame_id: str, default: Default) -> SingleFrame | FrameGroup | Default: ...
    def get(self, frame_id: str, default: Any = None) -> Any:
        """Return the frame with an id, `default` when the version does not hold it (ours).

        Parameters
        ----------
        frame_id : str
            Id of the frame; numbers become text.
        default : any
            What to return when there is no such frame.
        """
        reader, key = FrameReader(self._engine, self._row()), _check_key(frame_id)
        return reader.one(key) if reader.holds(key) else default

    def keys(self) -> KeysView[str]:
        """Return the ids of all frames, in the order of iteration (ours)."""
        return FrameIds(self)

    __reversed__ = None  # a version has no places, only ids


class FrameIds(KeysView[str]):
    """The ids of a version's frames; iterating over the version itself gives frames."""

    def __init__(self, version: FrameReads) -> None:
        self._version = version

    def __len__(self) -> int:
        return len(self._version)

    def __contains__(self, key: object) -> bool:
        return key in self._version

    def __iter__(self) -> Iterator[str]:
        return (frame["id"] for frame in self._version.get_iterator(projection=["id"]))

    def __repr__(self) -> str:
        return f"FrameIds({self._version!r})"


def _check_key(frame_id: object) -> str:
    """Return an id; a slice or a frame is an `InvalidTypeError`, as a mapping would raise a TypeError."""
    if isinstance(frame_id, slice):
        raise InvalidTypeError(
            f"a version is a mapping of frame ids and has no slices, such as {shorten(frame_id)}: "
            "use itertools.islice(version, ...)"
        )
    if not isinstance(frame_id, str | Real):
        raise InvalidTypeError(f"a frame id must be a string or a number, not {shorten(frame_id)}")
    return identifier(frame_id, "frame_id")


def _reader(
    target: VersionHandle | type[VersionHandle],
    dataset_id: str | None,
    dataset_name: str | None,
    version_id: str | None,
    version_name: str | None,
    dataset_project: str | None,
    as_of: Moment | None,
) -> FrameReader:
    found = meant(target, dataset_id, dataset_name, version_id, version_name, dataset_project, as_of)
    return FrameReader(*found)
