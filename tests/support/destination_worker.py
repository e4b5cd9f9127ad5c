"""Uploads a folder's files from a process of its own: `python destination_worker.py URL FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import quote

from framelode.adapters.uploads import objects, remote
from framelode.adapters.uploads.destination import UploadItem
from framelode.adapters.uploads.open import open_destination

if __name__ == "__main__":
    objects.PART_BYTES = remote.WHOLE_BYTES = 5 << 20
    destination = open_destination(sys.argv[1])
    items = [UploadItem(str(path), f"up/{quote(path.name)}") for path in sorted(Path(sys.argv[2]).iterdir())]
    for at in range(0, len(items), 100):
        together = items[at : at + 100]
        destination.read(together)
        destination.stage(together, together)
        destination.send(together)
    print(json.dumps({item.path: item.uri for item in items if item.error is None}))
