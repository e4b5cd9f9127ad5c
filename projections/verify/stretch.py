"""Verifies one range of the log: chain, contents, the versions it creates, and the replay of projections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...engine.errors import IntegrityError
from ...engine.events.domain import VersionCreated, VersionPublished
from ...engine.log.contract import Log
from ..pages import Page, cut_pages
from ..projection import FoldedProjection
from ..stretches import OpenLog, Stretch, fold_page
from .chain import ChainPart, ChainWalk
from .contents import content_problems, key_problems


class StretchFindings(msgspec.Struct):
    """The findings in a range of the log.

    Attributes
    ----------
    chain : ChainPart
        The chain, with all problems.
    created : list of VersionCreated
        Versions created in the range, in order.
    published : list of (int, VersionPublished)
        Versions published in the range, with their positions.
    stretch : Stretch or None
        The replay for the projections; None if the range is empty or damaged.
    not_folded : str or None
        Why a sound range could not be replayed: an event that it refers to is damaged.
    """

    chain: ChainPart
    created: list[VersionCreated] = []
    published: list[tuple[int, VersionPublished]] = []
    stretch: Stretch | None = None
    not_folded: str | None = None


def examine(
    open_log: OpenLog,
    kinds: Sequence[type[FoldedProjection[Any]]],
    contents: bool,
    gt: int,
    lte: int | None,
) -> StretchFindings:
    """Check the batches that begin after `gt`, up to `lte` (None: to the end), and replay them until a problem is found.

    Parameters
    ----------
    open_log : callable
        Opens the log.
    kinds : sequence of type
        Projections to replay.
    contents : bool
        Read the bodies.
    """
    with open_log() as log:
        walk = ChainWalk(log, gt)
        found = StretchFindings(walk.part)
        projections: list[FoldedProjection[Any]] = []
        damaged: list[IntegrityError] = []
        headers = (
            header for header in log.headers(gt=gt, lte=lte, damaged=damaged) if header.first_position > gt
        )
        for page in cut_pages(log, headers):
            _check_page(log, walk, page, damaged, contents)
            if contents and not walk.part.problems:
                _collect(page, found)
                projections = projections or [kind(log) for kind in kinds]
                _fold(projections, page, found)
        _note(walk.part, damaged)
        if lte is None:
            walk.finish()
        if walk.part.problems or found.not_folded:
            found.stretch = None
    return found


def _fold(projections: Sequence[FoldedProjection[Any]], page: Page, found: StretchFindings) -> None:
    if found.not_folded is None:
        try:
            found.stretch = fold_page(projections, page, found.stretch)
        except IntegrityError as error:
            found.not_folded = str(error)


def _check_page(log: Log, walk: ChainWalk, page: Page, damaged: list[IntegrityError], contents: bool) -> None:
    _note(walk.part, damaged)
    for header in page:
        walk.take(header)
    keys, problems = key_problems(log, list(page))
    walk.part.problems += problems
    if contents:
        walk.part.problems += content_problems(log, page, keys)


def _note(part: ChainPart, damaged: list[IntegrityError]) -> None:
    part.problems += map(str, damaged)
    damaged.clear()


def _collect(page: Page, found: StretchFindings) -> None:
    for _, position, event in page.lifecycle(VersionCreated, VersionPublished):
        if isinstance(event, VersionCreated):
            found.created.append(event)
        else:
            found.published.append((position, event))
