"""`framelode demo`: the main workflow end to end, with every result compared with a plain dict."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from ...engine.errors import IntegrityError, PublishedError
from ...engine.frames.frame_group import FrameGroup
from ...engine.frames.single_frame import SingleFrame
from ..connect import connect
from ..engine import Engine
from ..hyperdatasets.selectors import version_by_id
from ..hyperdatasets.version import DatasetVersion
from .dataset_views import print_stats, view_stats
from .output import say

FRAMES, ADDED, UPDATED, DELETED = 300, 25, 40, 15
DATASET = "street"

_SEED = 20_240_229
_WIDTH, _HEIGHT = 1280, 720
_LABELS = ("car", "person", "bicycle", "bus")
_WEATHER = ("sun", "rain", "fog")

Model = dict[str, dict[str, Any]]
"""Expected content of a version: frames in wire form by id."""


def run_demo(folder: Path) -> None:
    """Create an engine in a folder, version a dataset in it, and check all results.

    Raises
    ------
    IntegrityError
        A result differs from the expected one.
    """
    _Demo(folder).run()


class _Demo:
    """The steps of the demo.

    Parameters
    ----------
    folder : Path
        Folder of the engine.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._random = random.Random(_SEED)  # noqa: S311 - the same demo every time

    def run(self) -> None:
        """Create an engine, version a dataset in it, reopen it and verify everything."""
        with closing(connect(self._folder)) as engine, engine:
            say(f"1. Created an engine in {self._folder} with an empty log.")
            first, before = self._first_version()
            second, after = self._second_version(engine, before)
            self._compare(engine, first, second)
        self._verify({first: before, second: after})

    def _first_version(self) -> tuple[str, Model]:
        DatasetVersion.create_new_dataset(DATASET, description="synthetic street scenes")
        draft = DatasetVersion.get_current(dataset_name=DATASET)
        frames = [self._frame(number) for number in range(FRAMES)]
        failures = draft.add_frames(frames, refresh_version_stats=False)
        _check("rejected frames", failures, [])
        model = {str(frame.id): frame.to_dict() for frame in frames}
        _check_version(draft, model)
        boxes = sum(len(frame.get_annotations()) for frame in frames)
        say(
            f"2. Created the dataset {DATASET!r} and added {FRAMES} synthetic frames with {boxes} boxes and metadata, "
            "one event per frame. Frames reference images by URI; no image is read."
        )
        counts = draft.commit_version()
        _check("committed frames", counts["added"], FRAMES)
        say(f"3. Committed: {counts['added']} added, {counts['total']} frames in total.")
        return draft.version_id, model

    def _second_version(self, engine: Engine, before: Model) -> tuple[str, Model]:
        first = DatasetVersion.get_current(dataset_name=DATASET)
        child = first.create_snapshot(publish_name="v1", child_name="v2")
        fingerprint = version_by_id(engine.session, first.version_id).fingerprint
        say(
            f"4. Published it as 'v1' with the fingerprint {str(fingerprint)[:16]}..., and created its child 'v2'."
        )
        _check_refuses_changes(first, self._frame(0))
        say("5. Tried to change 'v1': raised PublishedError, because a published version is immutable.")
        _check_version(child, before)
        after = dict(before)
        self._update(child, after)
        self._delete(child, after)
        self._add(child, after)
        counts = child.commit_version()
        found = (counts["added"], counts["updated"], counts["deleted"], counts["total"])
        _check("changes of 'v2'", found, (ADDED, UPDATED, DELETED, len(after)))
        say(
            f"6. Changed 'v2': {ADDED} frames added, {UPDATED} updated, {DELETED} deleted. "
            "Only the changes are recorded; all other frames are inherited."
        )
        return child.version_id, after

    def _update(self, child: DatasetVersion, model: Model) -> None:
        frames: list[SingleFrame] = child.get_frames_by_ids(self._random.sample(sorted(model), UPDATED))
        for frame in frames:
            frame.add_annotation(box2d_xywh=self._box(), labels=["traffic light"], confidence=1.0)
            frame.metadata = {**frame.metadata, "reviewed": True}
        child.update_frames(frames, refresh_version_stats=False)
        model |= {str(frame.id): frame.to_dict() for frame in frames}

    def _delete(self, child: DatasetVersion, model: Model) -> None:
        untouched = sorted(frame_id for frame_id, frame in model.items() if "reviewed" not in frame["meta"])
        ids = self._random.sample(untouched, DELETED)
        child.delete_frames(ids, refresh_version_stats=False)
        for frame_id in ids:
            del model[frame_id]

    def _add(self, child: DatasetVersion, model: Model) -> None:
        frames = [self._frame(number) for number in range(FRAMES, FRAMES + ADDED)]
        failures = child.add_frames(frames, refresh_version_stats=False)
        _check("rejected frames", failures, [])
        model |= {str(frame.id): frame.to_dict() for frame in frames}

    def _compare(self, engine: Engine, first: str, second: str) -> None:
        say("7. Statistics of both versions, side by side:")
        say("")
        rows = [version_by_id(engine.session, version_id) for version_id in (second, first)]
        print_stats(view_stats(engine, rows[0]), view_stats(engine, rows[1]))
        say("")

    def _verify(self, models: dict[str, Model]) -> None:
        before, after = models.values()
        frame_id = next(frame_id for frame_id, frame in after.items() if "reviewed" in frame["meta"])
        with closing(connect(self._folder)) as engine, engine:
            versions = {engine.version(version_id): model for version_id, model in models.items()}
            old, new = (_plain(version.get_single_frame(frame_id)) for version in versions)
            _check(f"frame {frame_id}", (old, new), (before[frame_id], after[frame_id]))
            say(
                f"8. Reopened the engine and read frame {frame_id[:12]}... by id: "
                f"{len(old['rois'])} boxes in 'v1', {len(new['rois'])} in 'v2', as written."
            )
            found = engine.verify()
            _check("problems", found.problems, [])
            say(
                f"9. Verified: {found.events} events in {found.batches} batches form an unbroken digest chain; {found.versions} "
                f"versions and {found.projections} projections equal a fresh replay; {found.fingerprints} published "
                "fingerprint was reproduced."
            )
            engine.rebuild()
            for version, model in versions.items():
                _check_version(version, model)
            say("10. Rebuilt every projection from the log, and compared each frame and count again.")

    def _frame(self, number: int) -> SingleFrame:
        pick = self._random
        frame = SingleFrame(
            source=f"s3://example/street/{number:04}.jpg",
            width=_WIDTH,
            height=_HEIGHT,
            size=pick.randint(80_000, 400_000),
            metadata={
                "camera": f"cam{number % 4}",
                "weather": pick.choice(_WEATHER),
                "hour": pick.randrange(24),
            },
        )
        for _ in range(pick.randrange(5)):
            frame.add_annotation(
                box2d_xywh=self._box(),
                labels=[pick.choice(_LABELS)],
                confidence=round(pick.uniform(0.5, 1), 3),
            )
        return frame

    def _box(self) -> tuple[int, int, int, int]:
        width, height = self._random.randint(10, 300), self._random.randint(10, 200)
        return (
            self._random.randint(0, _WIDTH - width),
            self._random.randint(0, _HEIGHT - height),
            width,
            height,
        )


def _check_version(version: DatasetVersion, model: Model) -> None:
    """Compare all frames and the statistics of a version with the expected content."""
    name = repr(version.version_name)
    _check(f"number of frames of {name}", len(version), len(model))
    _check(f"frames of {name}", {str(frame.id): _plain(frame) for frame in version}, model)
    stats = version.get_stats()
    labels = Counter(
        label for frame in model.values() for roi in frame.get("rois", []) for label in roi["label"]
    )
    _check(f"labels of {name}", {entry["name"]: entry["count"] for entry in stats.labels}, dict(labels))
    _check(
        f"annotated frames of {name}",
        stats.annotated,
        sum(bool(frame.get("rois")) for frame in model.values()),
    )
    size = sum(source["size"] for frame in model.values() for source in frame["sources"])
    _check(f"bytes of {name}", sum(entry["bytes"] for entry in stats.sources), size)


def _check_refuses_changes(version: DatasetVersion, frame: SingleFrame) -> None:
    try:
        version.add_frames([frame])
    except PublishedError:
        return
    raise IntegrityError(f"the published version {version.version_name!r} accepted a change")


def _check(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise IntegrityError(f"{what}: found {_short(found)}, expected {_short(expected)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _plain(frame: SingleFrame | FrameGroup) -> dict[str, Any]:
    return frame.to_dict()
