"""Uploads or deletes sources from a process of its own, up to a stopping point.

`python source_worker.py upload URL DESTINATION ROOT NAME` prints ``linked`` once the frame names its upload, and
appends it when a line comes on stdin; it prints the frame's source at the end.
`python source_worker.py delete URL STAGE ID ...` deletes frames with their sources, and kills itself at a stage.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.adapters.hyperdatasets.version_writer import VersionWriter
from framelode.adapters.maintenance.source_removal import SourceRemoval
from framelode.engine.sources.deletions import SourceCommands
from framelode.engine.writes.writer import FrameWriter

STAGES = ("looked", "condemned", "scanned", "deleted", "recorded")


def die(*_arguments, **_options):
    os.kill(os.getpid(), signal.SIGKILL)


def after(method):
    def call(*arguments):
        method(*arguments)
        die()

    return call


def kill_at(stage):
    match stage:
        case "looked":
            VersionWriter.delete = die
        case "condemned":
            SourceRemoval.run = die
        case "scanned":
            SourceCommands.delete_sources = die
        case "deleted":
            SourceRemoval._delete = after(SourceRemoval._delete)
        case "recorded":
            SourceCommands.delete_sources = after(SourceCommands.delete_sources)


def wait_before_appending():
    append, waiting = FrameWriter._append, iter(["linked"])

    def call(*arguments):
        for word in waiting:
            print(word, flush=True)
            sys.stdin.readline()
        return append(*arguments)

    FrameWriter._append = call


def main(kind, url, *arguments):
    with framelode.connect(url):
        draft = DatasetVersion.get_current(dataset_name="food")
        if kind == "delete":
            kill_at(arguments[0])
            draft.delete_frames(arguments[1:], delete_sources=True)
            return
        wait_before_appending()
        destination, root, name = arguments
        frame = SingleFrame(id=f"late {name}", source=Path(root) / name)
        failures = draft.add_frames(
            [frame], auto_upload_destination=destination, local_dataset_root_path=root
        )
        print(failures or frame.source, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
