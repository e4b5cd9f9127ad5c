"""What an import or export could not carry over: flaws of what was read, and losses of what the other side cannot hold."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from msgspec import Struct

from ...engine.errors import InvalidValueError
from ...engine.validation import how_many, shorten

MAX_PROBLEMS = 10_000
"""Problems that are kept one by one. All are counted."""

_EXAMPLES = 3


class FlawError(Exception):
    """A part of a data set is invalid and is not imported. The message gives the reason to the user."""


def finite(given: object, what: str) -> float:
    """Return the finite number of a text or number; raise `FlawError` if it is none."""
    try:
        value = float(given)  # type: ignore[arg-type]  # what is no number is refused
    except (TypeError, ValueError):
        value = math.nan
    # Python reads "1_0" as ten, but no other tool does.
    if not math.isfinite(value) or (isinstance(given, str) and "_" in given):
        raise FlawError(f"{what} must be a finite number, not {shorten(given)}")
    return value


class Problem(Struct, frozen=True):
    """An invalid part of the data, with the reason.

    Attributes
    ----------
    file : str
        The file, relative to the folder.
    reason : str
        The problem, the value, and its place in the file.
    """

    file: str
    reason: str


class Loss(Struct, frozen=True):
    """Values that the target cannot store.

    Attributes
    ----------
    kind : str
        What was lost, and what was done with it.
    count : int
        How often it occurred.
    examples : list of str
        The first frames or files in which it occurred.
    """

    kind: str
    count: int
    examples: list[str]


class Report:
    """Collects flaws and losses while data is read or written."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.flaws: Counter[str] = Counter()
        self._losses: dict[str, list[Any]] = {}

    def flaw(self, kind: str, file: str, reason: object) -> None:
        """Note a part of the data that is left out because it is flawed.

        Parameters
        ----------
        kind : str
            What is flawed, such as ``annotation``, ``file`` or ``image``.
        file : str
            The file, relative to the folder.
        reason : object
            The problem, the value, and its place in the file.
        """
        self.flaws[kind] += 1
        if len(self.problems) < MAX_PROBLEMS:
            # A name that is not valid Unicode could not be printed or stored.
            shown = (text.encode("utf-8", "backslashreplace").decode() for text in (file, str(reason)))
            self.problems.append(Problem(*shown))

    def loss(self, kind: str, place: str) -> None:
        """Note a value that the other side cannot hold.

        Parameters
        ----------
        kind : str
            What is lost, in the same words each time: losses of one kind are counted together.
        place : str
            The frame or file.
        """
        found = self._losses.setdefault(kind, [0])
        found[0] += 1
        if len(found) <= _EXAMPLES:
            shown = place.encode("utf-8", "backslashreplace").decode()
            if shown not in found:
                found.append(shown)

    @property
    def losses(self) -> list[Loss]:
        """The losses by kind, in the order in which they were met first."""
        return [Loss(kind, count, examples) for kind, (count, *examples) in self._losses.items()]

    def refuse_any(self, what: str) -> None:
        """Raise `InvalidValueError` if anything was noted.

        Parameters
        ----------
        what : str
            What is refused, for the message.
        """
        losses, flaws = self.losses, sum(self.flaws.values())
        if not (losses or flaws):
            return
        told = [f"{each.file}: {each.reason}" for each in self.problems[:_EXAMPLES]]
        told += [f"{each.kind} ({each.count:,}, such as {each.examples[0]})" for each in losses]
        raise InvalidValueError(
            f"{what}, because it is strict: {how_many(flaws, 'flaw')} and {how_many(len(losses), 'kind')} of losses: "
            + "; ".join(told)
        )
