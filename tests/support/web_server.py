"""A small web server that takes `PUT`, and misbehaves when it is told to."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from base64 import b64encode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

from patience import PATIENCE, join


class WebServer:
    """A folder served from threads of this process.

    Parameters
    ----------
    folder : Path
        Where contents lie, each under the quoted path of its URL.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.requests = []
        self.faults = []
        self.account = None
        self.refuse = lambda method, path: None
        self.overlooks_conditions = False
        self.answers_lost = 0
        self.lock = threading.Lock()
        self._at_rest = threading.Condition()
        self._writing = 0
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def fail(self, method, status, times=1, body=b""):
        """Answer the next requests of a method (or all, `*`) with an error."""
        self.faults += [(method, status, body)] * times

    def require(self, user, password):
        """Take only requests of this account."""
        self.account = "Basic " + b64encode(f"{user}:{password}".encode()).decode()

    @contextmanager
    def writing(self):
        with self._at_rest:
            self._writing += 1
        try:
            yield
        finally:
            with self._at_rest:
                self._writing -= 1
                self._at_rest.notify_all()

    def halves(self):
        """Return files that are being written, once nobody writes any more: an end is noticed a little later."""
        with self._at_rest:
            assert self._at_rest.wait_for(lambda: not self._writing, timeout=PATIENCE)
        return list(self.folder.glob("tmp-*"))

    def close(self):
        self._server.shutdown()
        join(self._thread)
        self._server.server_close()

    def path(self, url_path):
        """Return the file of a URL's path."""
        return self.folder / quote(unquote(url_path), safe="")

    def contents(self):
        """Return all contents by decoded path."""
        return {
            unquote(path.name): path.read_bytes()
            for path in sorted(self.folder.iterdir())
            if not path.name.startswith("tmp-")
        }


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the body would wait until the client has confirmed the head

    def log_message(self, *arguments):
        pass

    def do_PUT(self):
        if self._refused():
            return
        with self.site.writing():
            self._put(self.site.path(self.path))

    def _put(self, path):
        if self._is_barred(path):
            self._answer(412)
            return
        temporary = self.site.folder / f"tmp-{uuid.uuid4().hex}"
        left = int(self.headers["Content-Length"])
        with temporary.open("wb") as file:
            while left and (data := self.rfile.read(min(left, 1 << 16))):
                file.write(data)
                left -= len(data)
        if left:
            temporary.unlink()
            self.close_connection = True
            return
        with self.site.lock:
            barred = self._is_barred(path)
            if not barred:
                temporary.rename(path)
        temporary.unlink(missing_ok=True)
        if self.site.answers_lost:
            self.site.answers_lost -= 1
            self.close_connection = True
            return
        self._answer(412 if barred else 201)

    def do_HEAD(self):
        self._show(body=False)

    def do_GET(self):
        self._show(body=True)

    def do_DELETE(self):
        if self._refused():
            return
        path = self.site.path(self.path)
        was_there = path.exists()
        path.unlink(missing_ok=True)
        self._answer(204 if was_there else 404)

    def _show(self, body):
        if self._refused():
            return
        try:
            with self.site.path(self.path).open("rb") as file:
                self._begin_answer(200, os.fstat(file.fileno()).st_size)
                if body:
                    shutil.copyfileobj(file, self.wfile, 1 << 16)
        except FileNotFoundError:
            self._answer(404)

    def _is_barred(self, path):
        wanted = self.headers.get("If-None-Match") == "*" and not self.site.overlooks_conditions
        return wanted and path.exists()

    def _refused(self):
        self.site.requests.append((self.command, self.path))
        if self.site.account and self.headers.get("Authorization") != self.site.account:
            self._answer(401)
            return True
        if status := self.site.refuse(self.command, self.path):
            self._answer(status, body=self.command != "HEAD")
            return True
        for at, (method, status, body) in enumerate(self.site.faults):
            if method in {self.command, "*"}:
                del self.site.faults[at]
                self._answer(status, body, body=self.command != "HEAD")
                return True
        return False

    def _answer(self, status, data=b"", body=True):
        if self.command == "PUT" and status >= 300:
            # What was not read of the body would be taken for the next request.
            self.close_connection = True
        self._begin_answer(status, len(data))
        if body:
            self.wfile.write(data)

    def _begin_answer(self, status, length):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
