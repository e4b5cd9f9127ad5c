"""Works on blobs of an S3 server from a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from framelode.engine.blobs.fsspec import FsspecBackend
from framelode.engine.blobs.store import BlobStore

ACCOUNT = {"key": "test", "secret": "test"}


def filesystem_at(server):
    """Return a filesystem on a server, whose library asks but once."""
    import s3fs

    return s3fs.S3FileSystem(**options_for(server), skip_instance_cache=True)


def options_for(server):
    return {
        **ACCOUNT,
        "endpoint_url": server,
        "client_kwargs": {"region_name": "us-east-1"},
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }


def put(server, url, folder, start, results):
    """Wait for the others, store all files of a folder, and tell what became of them."""
    store = BlobStore(url, filesystem=filesystem_at(server))
    start.wait()
    report = store.put_files(sorted(Path(folder).iterdir()))
    results.put(([stored.digest for stored in report.stored], [failure.error for failure in report.failures]))


if __name__ == "__main__":
    sink = FsspecBackend(sys.argv[2], filesystem_at(sys.argv[1])).create()
    for _ in range(20):
        sink.write(bytes(1 << 20))
    print("half", flush=True)
    sys.stdin.read()
