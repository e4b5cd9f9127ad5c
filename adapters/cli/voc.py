"""`framelode import voc` as it is shown."""

from __future__ import annotations

from typing import Any

import msgspec

from ..engine import Engine
from ..voc.importing import VocImport
from .dataset_views import VersionView, view_version
from .output import counted, note


def json_of(engine: Engine, done: VocImport) -> dict[str, Any]:
    """Return what an import has done as JSON shows it: with the draft as it is afterwards."""
    plain = msgspec.structs.asdict(done)
    del plain["version_id"]
    return {"version": view_version(engine, done.version_id), **plain}


def note_problems(done: VocImport) -> None:
    """Print what was left out, and which images are gone."""
    for problem in done.problems:
        note(f"{problem.file}: {problem.reason}")
    for file in done.vanished:
        note(f"{file}: is gone from the folder; its frame is kept, --prune deletes it")


def line_of(version: VersionView, done: VocImport) -> str:
    """Return the line that sums an import up."""
    more = "".join(
        f", {number:,} {what}" for number, what in ((done.kept, "kept"), (done.pruned, "pruned")) if number
    )
    return (
        f"{version.address}: {counted(done.added, 'frame')} added, {done.updated:,} updated, {done.unchanged:,} unchanged, "
        f"{done.refused:,} refused{more}; {done.boxes:,} boxes; {counted(len(done.problems), 'problem')}"
    )
