"""Works on a datalake from a process of its own: ``python killed_lake.py COMMAND ENGINE FOLDER [STEP]``.

STEP is an append that kills the process: ``before:3`` stands for the third one, when nothing of it is written.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lake_files

import framelode
from framelode.adapters.datalake import Client, bucket, launching, upload

SOME = 8
"""Files of a part, so that few of them are several parts."""


def paths_in(folder):
    return sorted(Path(folder).iterdir())


def upload_all(lake, folder):
    """Upload a folder as soon as a line comes on stdin."""
    print("ready", flush=True)
    sys.stdin.readline()
    return [
        str(each.id) for each in lake.upload_data(paths_in(folder), tags=["blood", "train"], source="camera")
    ]


def import_all(lake, folder):
    """Import a folder as a bucket, and wait for the job."""
    lake.connect_bucket(folder)
    job = lake.import_bucket_objects([""], tags=["blood"])
    return job.wait_for_done(0.02, 10_000)


def process_all(lake, folder):
    """Tag all data by a processing in two threads, and wait for the job."""
    with ThreadPoolExecutor(2) as pool:
        client = Client(executor=pool)
        known = {each.name: each for each in client.list_processings()}
        processing = known.get("see") or client.register_processing(lake_files.tag_it, "see")
        job = client.get_datalake().launch_processing(processing, lake.list_data(), {"name": "seen"})
        return job.wait_for_done(0.02, 10_000)


def kill_at(log, step):
    """Kill this process before or after an append."""
    when, _, number = step.partition(":")
    counted, append = itertools.count(1), log.append

    def deadly(*asked):
        is_due = next(counted) >= int(number)  # an append that conflicts is repeated
        if is_due and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = append(*asked)
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    log.append = deadly


def main(command, url, folder, step=""):
    upload.PART = SOME
    bucket.ROWS_AT_ONCE = SOME
    launching._DATA_OF_A_TASK = SOME
    blobs = {"blobs": Path(folder).parent / "blobs"} if url.startswith("postgresql") else {}
    with framelode.connect(url, **blobs) as engine:
        lake = Client(engine=engine).get_datalake()
        if step:
            kill_at(engine.log, step)
        print(
            json.dumps(
                {"upload": upload_all, "import": import_all, "process": process_all}[command](lake, folder)
            )
        )
        engine.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
