"""What other processes do to datalakes: ``python lake_worker.py COMMAND ENGINE FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import lake_files

import framelode
from framelode.adapters.datalake import Client
from framelode.adapters.datalake import upload as uploading


def upload(engine, folder):
    """Upload a folder, and say how many data came of it."""
    lake = Client().get_datalake()
    print("ready", flush=True)
    sys.stdin.readline()
    print(len(lake.upload_data(sorted(folder.iterdir()), tags=["a"])), flush=True)


def upload_half(engine, folder):
    """Upload a folder, and wait to be killed when a part is recorded."""
    uploading.PART = 20
    from framelode.engine.blobs import ingest

    ingest.BATCH_FILES = 20

    def wait(done, total):
        if done == 50:
            print("half", flush=True)
            sys.stdin.read()

    Client().get_datalake().upload_data(sorted(folder.iterdir()), tags=["a"], progress=wait)


def process(engine, folder):
    """Start a processing that does not end, say its id, and wait to be killed."""
    client = Client()
    lake = client.get_datalake()
    processing = client.register_processing(lake_files.wait_for, "wait")
    job = lake.launch_processing(processing, lake.list_data(), {"path": str(folder / "end")})
    job.wait_for_status("RUNNING", 0.01, 10_000)
    while not (folder / "end.begun").exists():
        pass
    print(job.id, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    with framelode.connect(sys.argv[2]) as opened:
        {"upload": upload, "upload_half": upload_half, "process": process}[sys.argv[1]](
            opened, Path(sys.argv[3])
        )
    opened.close()
