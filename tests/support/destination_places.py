"""Destinations of uploads in tests, and what is really in them."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from urllib.parse import quote, urlsplit

import fsspec
from s3_server import BUCKET, s3_environment, s3_filesystem, s3_prefix
from web_server import WebServer

from framelode.adapters.uploads.local import TEMPORARY
from framelode.adapters.uploads.open import open_destination
from framelode.engine.frames.source import path_or_uri

KINDS = ("folder", "memory", "s3", "http")


class Place:
    """A destination of its own for a test, and a look at what is in it past our own code.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    folder : Path
        Where it may write.
    environment : callable
        Sets variables of the environment.
    """

    def __init__(self, kind, folder, environment):
        self.kind = kind
        self.folder = folder / "destination ä%20#"
        self.server = WebServer(folder / "web") if kind == "http" else None
        if kind == "s3":
            for name, value in s3_environment().items():
                environment(name, value)
        self.url = self._url()
        self.destination = self.again()

    def _url(self):
        match self.kind:
            case "folder":
                return f"{self.folder}/"
            case "memory":
                return f"memory://test-{uuid.uuid4().hex}/up"
            case "s3":
                return s3_prefix()
            case _:
                return f"{self.server.url}/up/"

    def close(self):
        if self.server:
            self.server.close()

    def again(self):
        """Return another destination of the same URL."""
        return open_destination(self.url)

    def everything(self):
        """Return all objects: encoded names and contents."""
        match self.kind:
            case "folder":
                return {
                    quote(str(path.relative_to(self.folder))): path.read_bytes() for path in self._files()
                }
            case "http":
                contents = self.server.contents().items()
                return {quote(path.removeprefix("/up/")): data for path, data in contents}
            case _:
                filesystem, root = self._filesystem(self.url)
                found = filesystem.find(root) if filesystem.exists(root) else []
                return {name.removeprefix(f"{root}/"): filesystem.cat_file(name) for name in found}

    def _files(self):
        """Yield what has its name; what is temporary may go while it is looked at."""
        for folder, folders, files in os.walk(self.folder):
            folders[:] = sorted(set(folders) - {TEMPORARY})
            yield from (Path(folder, file) for file in sorted(files))

    def read(self, uri):
        """Return the content that a URI names."""
        match self.kind:
            case "folder":
                return Path(path_or_uri(uri)).read_bytes()
            case "http":
                return self.server.path(urlsplit(uri).path).read_bytes()
            case _:
                filesystem, path = self._filesystem(uri)
                return filesystem.cat_file(path)

    def leftovers(self):
        """Return what is there of files that were not sent whole."""
        match self.kind:
            case "folder":
                return [path for path in (self.folder / TEMPORARY).rglob("*") if path.is_file()]
            case "http":
                return self.server.halves()
            case "s3":
                prefix = self.url.removeprefix(f"s3://{BUCKET}/")
                filesystem, _ = self._filesystem(self.url)
                found = filesystem.call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads", [])
                return [upload["Key"] for upload in found if upload["Key"].startswith(prefix)]
            case _:
                return []

    def _filesystem(self, url):
        if self.kind == "memory":
            return fsspec.url_to_fs(url)
        return s3_filesystem(), url.removeprefix("s3://")
