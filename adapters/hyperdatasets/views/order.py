"""The order in which a view yields its frames: seeds, weights, limits, and the split among workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from fractions import Fraction
from math import ceil

import msgspec
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from ....engine.errors import InvalidValueError
from ....engine.keys import mix

_LONGEST_PASS = 100_000_000

Places = NDArray[np.int64]
"""Places of frames in a view, the number of each frame in its base order."""


class IterationOrder(StrEnum):
    """The orders of a view.

    ``sequential`` is by context id, then timestamp, then id. ``added`` is the order in which the frames were last
    changed, and ``random`` a permutation that depends on the seed only.
    """

    sequential = "sequential"
    random = "random"
    added = "added"


class Order(msgspec.Struct, frozen=True, gc=False):
    """What decides on the order of the frames of a view.

    Attributes
    ----------
    random : bool
        Whether each pass is a permutation.
    seed : int
        Seed of the permutations.
    infinite : bool
        Whether passes follow each other without end.
    limit : int or None
        The most frames in all.
    shares : tuple of int
        How many frames of each query one pass has; empty if each frame comes once.
    """

    random: bool = False
    seed: int = 0
    infinite: bool = False
    limit: int | None = None
    shares: tuple[int, ...] = ()


class Worker(msgspec.Struct, frozen=True, gc=False):
    """One of several workers that share a view: it takes each frame whose number leaves `index` modulo `count`."""

    index: int = 0
    count: int = 1

    def share(self, limit: int | None) -> int | None:
        """Return its part of a limit, rounded up."""
        return None if limit is None else ceil(limit / self.count)


def permutation(size: int, seed: int, *numbers: int) -> Places:
    """Return a permutation that depends on its arguments only, on every machine and in every release.

    Parameters
    ----------
    size : int
        Number of places.
    seed : int
        The seed.
    *numbers : int
        Numbers that make different permutations of one seed.
    """
    text = ":".join(map(str, (seed, *numbers)))
    high, low = np.frombuffer(blake3(text.encode()).digest(length=16), "<u8").astype(np.uint64)
    # Arrays of one item, since numpy warns about scalars that overflow.
    keys = mix(np.arange(size, dtype=np.uint64) ^ high, np.array([low], np.uint64))
    return np.argsort(keys, kind="stable")


def weighted_shares(counts: Sequence[int], weights: Sequence[float]) -> tuple[int, ...]:
    """Return how many frames of each query a pass has, so that the weights hold and the largest query is complete.

    A pass is as long as the count of the largest query, divided by its normalised weight, rounded up. Queries without
    frames do not count. Empty if no query has frames and a weight.

    Raises
    ------
    InvalidValueError
        The weights differ so much that a pass is too long to be ordered.
    """
    # A float is meant as it is written: 0.1 is a tenth.
    parts = [
        Fraction(repr(float(weight))) if count else Fraction()
        for count, weight in zip(counts, weights, strict=True)
    ]
    total = sum(parts)
    if not total:
        return ()
    largest = max(count for count, part in zip(counts, parts, strict=True) if part)
    part = next(part for count, part in zip(counts, parts, strict=True) if part and count == largest)
    length = ceil(largest * total / part)
    if length > _LONGEST_PASS:
        shown = f"about 10^{len(str(length)) - 1}"
        raise InvalidValueError(
            f"weights of {', '.join(map(str, weights[:10]))} make a pass of {shown} frames, and at most {_LONGEST_PASS:,} "
            "are possible: choose weights that differ less, or leave out the query with the least"
        )
    exact = [length * part / total for part in parts]
    shares = [int(each) for each in exact]
    by_rest = sorted(range(len(exact)), key=lambda place: shares[place] - exact[place])
    for place in by_rest[: length - sum(shares)]:
        shares[place] += 1
    return tuple(shares)


def one_pass(size: int, queries: Sequence[Places], order: Order, number: int) -> Places:
    """Return the places of one pass.

    Parameters
    ----------
    size : int
        Number of frames of the view.
    queries : sequence of ndarray
        The places of each query, ascending. They are used with shares only.
    order : Order
        The order.
    number : int
        Number of the pass, from 0.
    """
    if not order.shares:
        return permutation(size, order.seed, number) if order.random else np.arange(size)
    drawn: list[Places] = []
    for query, (places, share) in enumerate(zip(queries, order.shares, strict=True)):
        taken = places[permutation(len(places), order.seed, number, query)] if order.random else places
        drawn.append(np.resize(taken, share))
    joined = np.concatenate(drawn)
    if order.random:
        return joined[permutation(len(joined), order.seed, number)]
    # Each query is spread evenly over the pass.
    moments = np.concatenate([(np.arange(share) + 0.5) / max(share, 1) for share in order.shares])
    return joined[np.argsort(moments, kind="stable")]


def passes(
    size: int, queries: Sequence[Places], order: Order, worker: Worker, first: int = 0
) -> Iterator[Places]:
    """Yield the places that a worker takes, pass by pass. With a limit, a worker takes its share of it, rounded up.

    Parameters
    ----------
    size, queries, order
        As for `one_pass`.
    worker : Worker
        The worker.
    first : int
        Number of the first pass.
    """
    left = worker.share(order.limit)
    number, start = first, 0
    while size and left != 0:
        whole = one_pass(size, queries, order, number)
        taken = whole[(worker.index - start) % worker.count :: worker.count][:left]
        yield taken
        if not order.infinite:
            return
        left = None if left is None else left - len(taken)
        number, start = number + 1, start + len(whole)
