"""Stores a folder's files from a process of its own: `python blob_worker.py BLOBS FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from framelode.engine import blobs

if __name__ == "__main__":
    blobs.BATCH_FILES = 200
    report = blobs.BlobStore(sys.argv[1]).put_files(sorted(Path(sys.argv[2]).iterdir()))
    print(len(report.stored), len(report.failures))
