"""Exact nearest-neighbour search over vectors in the metadata of frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....engine.annotations.coordinates import finite
from ....engine.errors import InvalidTypeError, InvalidValueError
from ....engine.frames.frame_group import FrameGroup
from ....engine.frames.single_frame import SingleFrame
from ....engine.iterables import chunked
from ....engine.validation import at_least, items, refusal, shorten
from .entries import metadata_in

_CHUNK_NUMBERS = 1 << 20
"""Numbers of the vectors that are compared at once."""

_MOST_ROWS = 1024

_NUMBERS = frozenset({int, float})

Frame = SingleFrame | FrameGroup
Vectors = NDArray[np.float64]


class VectorSearch:
    """A search for the vectors that are most similar to a given one.

    Parameters
    ----------
    vector : sequence of float
        The vector to compare with.
    field : str
        Key, or dotted path, of the stored vectors in the metadata, with or without ``meta.``.
    neighbors : int
        Number of results.
    similarity : str
        ``cosine``, ``l2_norm`` or ``dot_product``.
    fast : bool
        The search is exact in both cases. Like ClearML, it is only allowed with ``cosine``.

    Raises
    ------
    InvalidTypeError
        The vector, the field or the similarity has the wrong type.
    InvalidValueError
        A value is not allowed.
    """

    def __init__(
        self, vector: Sequence[float], field: str, neighbors: int, similarity: str, *, fast: bool = False
    ) -> None:
        self._neighbors = at_least(neighbors, "number_of_neighbors", 1)
        self._vector = _reference(vector)
        if not isinstance(field, str) or not field.strip():
            raise InvalidTypeError(f"vector_field must be a non-empty string, not {shorten(field)}")
        self._field = field.removeprefix("meta.")
        name = _similarity_name(similarity)
        if fast and name != "cosine":
            raise InvalidValueError(f"fast search supports the similarity 'cosine' only, not {name!r}")
        if name == "cosine" and not self._vector.any():
            raise InvalidValueError("reference_vector must not be zero with the similarity 'cosine'")
        self._score = _SIMILARITIES[name]

    def nearest(self, frames: Iterable[Frame]) -> list[Frame]:
        """Return the frames with the most similar vectors, the best first; of equal ones, the first in `frames`.

        Frames without the field are skipped. In memory are the results and one chunk of frames.
        """
        rows = max(1, min(_MOST_ROWS, _CHUNK_NUMBERS // len(self._vector)))
        found = ((frame, value) for frame in frames if (value := self._stored(frame)) is not None)
        best: list[Frame] = []
        scores = np.empty(0)
        for chunk in chunked(found, rows):
            scored = self._score(self._matrix(chunk), self._vector)
            candidates, scores = [*best, *(frame for frame, _ in chunk)], np.concatenate([scores, scored])
            order = np.argsort(-scores, kind="stable")[: self._neighbors]
            best, scores = [candidates[place] for place in order.tolist()], scores[order]
        return best

    def _stored(self, frame: Frame) -> Any:
        metadata: Any = metadata_in(frame)
        if self._field in metadata:
            return metadata[self._field]
        for part in self._field.split("."):
            if not isinstance(metadata, Mapping) or part not in metadata:
                return None
            metadata = metadata[part]
        return metadata

    def _matrix(self, chunk: Sequence[tuple[Frame, Any]]) -> Vectors:
        for frame, value in chunk:
            self._check(frame, value)
        return np.array([value for _, value in chunk], np.float64)

    def _check(self, frame: Frame, value: Any) -> None:
        if not isinstance(value, list) or not _NUMBERS.issuperset(map(type, value)):
            raise refusal(f"frame {frame.id!r}: meta.{self._field}", value, "a list of numbers")
        if len(value) != len(self._vector):
            raise InvalidValueError(
                f"frame {frame.id!r} has {len(value)} numbers in meta.{self._field}, but reference_vector has {len(self._vector)}"
            )


def _reference(vector: object) -> Vectors:
    if isinstance(vector, str | bytes | Mapping) or not hasattr(vector, "__len__"):
        raise InvalidTypeError(f"reference_vector must be a sequence of numbers, not {shorten(vector)}")
    numbers = finite(items(vector, "reference_vector", "a sequence of numbers"), "reference_vector")
    if not numbers:
        raise InvalidValueError("reference_vector must have at least one number")
    return np.array(numbers)


def _similarity_name(similarity: object) -> str:
    if not isinstance(similarity, str):
        raise InvalidTypeError(f"similarity_function must be a string, not {shorten(similarity)}")
    name = similarity.strip().lower()
    if name not in _SIMILARITIES:
        raise refusal("similarity_function", similarity, f"one of {', '.join(_SIMILARITIES)}")
    return name


def _cosine(matrix: Vectors, vector: Vectors) -> Vectors:
    lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(vector)
    return np.divide(matrix @ vector, lengths, out=np.zeros(len(matrix)), where=lengths > 0)


def _closeness(matrix: Vectors, vector: Vectors) -> Vectors:
    return -np.linalg.norm(matrix - vector, axis=1)


def _dot_product(matrix: Vectors, vector: Vectors) -> Vectors:
    return matrix @ vector


_SIMILARITIES: dict[str, Callable[[Vectors, Vectors], Vectors]] = {
    "cosine": _cosine,
    "l2_norm": _closeness,
    "dot_product": _dot_product,
}
