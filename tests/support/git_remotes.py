"""Remote git repositories over each protocol, and what git processes a call runs."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from git_repository import ENVIRONMENT
from patience import PATIENCE
from running import running


class _Files(SimpleHTTPRequestHandler):
    """A dumb web server: the files of a repository."""

    def log_message(self, *arguments):
        pass


class _Backend(_Files):
    """A smart web server: answers come from `git http-backend`."""

    def do_POST(self):
        self.do_GET()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        size = int(self.headers.get("Content-Length") or 0)
        environment = {
            "GIT_PROJECT_ROOT": self.directory,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(size),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"],
            input=self.rfile.read(size),
            env={**os.environ, **ENVIRONMENT, **environment, "GIT_TRACE2_EVENT": "0"},
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().splitlines()]
        status = next((int(value.split()[0]) for name, value in lines if name == "Status"), 200)
        self.send_response(status)
        for name, value in lines:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def http_server(folder, *, smart):
    """Serve the repositories below a folder over HTTP; gives the URL."""
    handler = partial(_Backend if smart else _Files, directory=str(folder))
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as place:
        yield f"http://{place}"


def local_ssh(folder):
    """Return the environment in which git runs the commands for an SSH server on this machine."""
    command = folder / "ssh"
    command.write_text('#!/bin/sh\nfor last in "$@"; do :; done\nexec sh -c "$last"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return {"GIT_SSH_COMMAND": str(command), "GIT_SSH_VARIANT": "ssh"}


class GitTrace:
    """The git processes that were run, as git itself recorded them."""

    def __init__(self, file):
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        self.starts = [line for line in lines if line["event"] == "start"]
        self.at_once = self.calls = 0
        running = set()
        for line in lines:
            if "/" in line["sid"]:
                continue
            if line["event"] == "start":
                self.calls += 1
                running.add(line["sid"])
            elif line["event"] == "atexit":
                running.discard(line["sid"])
            self.at_once = max(self.at_once, len(running))

    @property
    def nested_fetches(self):
        """Commands of the fetches that git itself started."""
        return [
            " ".join(each["argv"]) for each in self.starts if "/" in each["sid"] and "fetch" in each["argv"]
        ]

    @property
    def depth(self):
        """The longest chain of processes, each started by the one before."""
        return max((each["sid"].count("/") + 1 for each in self.starts), default=0)
