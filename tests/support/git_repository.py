"""Git repositories made by the tests, with a date and an author of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from subprocess import DEVNULL, PIPE

from patience import PATIENCE
from running import running

ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


class GitRepository:
    """A repository in a folder of its own."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments):
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**os.environ, **ENVIRONMENT},
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return done.stdout.strip()

    def commit(self, **files):
        """Write files, `__` in a name stands for a slash and `_dot_` for a dot, and return the commit."""
        for name, text in files.items():
            path = self.folder / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "more")
        return self.git("rev-parse", "HEAD")


@contextmanager
def git_server(folder):
    """Serve the repositories below a folder over git's own protocol; gives the URL."""
    command = ["git", "daemon", "--inetd", "--export-all", f"--base-path={folder}", str(folder)]
    environment = {**os.environ, **ENVIRONMENT, "GIT_TRACE2_EVENT": "0"}

    class Connection(StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self):
            daemon = subprocess.Popen(
                command, stdin=PIPE, stdout=self.connection, stderr=DEVNULL, env=environment
            )
            with daemon, suppress(OSError):
                while data := self.connection.recv(1 << 16):
                    if sys.platform == "linux":
                        # A client sends small parts, each of which would wait until the one before is confirmed.
                        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                    os.write(daemon.stdin.fileno(), data)

    with running(ThreadingTCPServer(("127.0.0.1", 0), Connection)) as place:
        yield f"git://{place}"


@contextmanager
def silent_server():
    """Take connections and never answer; gives host and port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"
