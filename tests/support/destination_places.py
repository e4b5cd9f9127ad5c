"""Destinations of uploads in tests, and what is really in them."""

from __future__ import annotations

import uuid
from pathlib import Path
from urllib.parse import quote

import fsspec

from framelode.adapters.uploads.local import TEMPORARY
from framelode.adapters.uploads.opening import open_destination
from framelode.engine.wire import path_or_uri

KINDS = ("folder", "memory")


class Place:
    """A destination of its own for a test, and a look at what is in it past our own code."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.folder = folder / "destination ä%20#"
        self.url = {
            "folder": f"{self.folder}/",
            "memory": f"memory://test-{uuid.uuid4().hex}/up",
        }[kind]
        self.destination = self.again()

    def again(self):
        """Return another destination of the same URL."""
        return open_destination(self.url)

    def everything(self):
        """Return all objects: encoded names and contents."""
        if self.kind == "folder":
            return {
                quote(str(path.relative_to(self.folder))): path.read_bytes()
                for path in sorted(self.folder.rglob("*"))
                if path.is_file() and TEMPORARY not in path.parts
            }
        filesystem, root = fsspec.url_to_fs(self.url)
        filesystem.invalidate_cache()
        found = filesystem.find(root) if filesystem.exists(root) else []
        return {name.removeprefix(f"{root}/"): filesystem.cat_file(name) for name in found}

    def read(self, uri):
        """Return the content that a URI names."""
        if self.kind == "folder":
            return Path(path_or_uri(uri)).read_bytes()
        filesystem, path = fsspec.url_to_fs(uri)
        return filesystem.cat_file(path)

    def leftovers(self):
        """Return temporary files."""
        return [path for path in (self.folder / TEMPORARY).rglob("*") if path.is_file()]
