"""Output of `framelode import voc`."""

from __future__ import annotations

from typing import Any

import msgspec

from ..engine import Engine
from ..voc.importing import VocImport
from .dataset_views import VersionView, view_version
from .output import counted, note


def json_of(engine: Engine, done: VocImport) -> dict[str, Any]:
    """Return the result of an import for `--json`, with the draft after the import."""
    plain = msgspec.structs.asdict(done)
    del plain["version_id"]
    return {"version": view_version(engine, done.version_id), **plain}


def note_problems(done: VocImport) -> None:
    """Print the problems found, and the images that no longer exist."""
    for problem in done.problems:
        note(f"{problem.file}: {problem.reason}")
    for file in done.vanished:
        note(f"{file}: no longer in the folder; its frame is kept, --prune deletes it")


def line_of(version: VersionView, done: VocImport) -> str:
    """Return the summary line of an import."""
    more = "".join(
        f", {number:,} {what}" for number, what in ((done.kept, "kept"), (done.pruned, "pruned")) if number
    )
    return (
        f"{version.address}: {counted(done.added, 'frame')} added, {done.updated:,} updated, {done.unchanged:,} unchanged, "
        f"{done.refused:,} refused{more}; {done.boxes:,} boxes; {counted(len(done.problems), 'problem')}"
    )
