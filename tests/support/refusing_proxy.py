"""A web server in front of another one that refuses requests as it is told: with a status, or by cutting the connection."""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from patience import join

_OF_A_CONNECTION = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}


class RefusingProxy(ThreadingHTTPServer):
    """Forwards to a URL.

    `refuse` is called with method and path of each request: None forwards it, a number is answered as a status,
    ``"cut"`` cuts the connection before the other server has the request, ``"lost"`` after it has done it.
    """

    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.refuse = lambda method, path: None
        self.asked = []
        self.refused = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self.shutdown()
        join(self._thread)
        self.server_close()

    def handle_error(self, request, client_address):
        """Say nothing of clients that went away."""


class Outage:
    """Refuses the next so many requests that match, then none any more."""

    def __init__(self, count, how=503, matches=lambda method, path: True):
        self._left, self._how, self._matches = count, how, matches
        self._lock = threading.Lock()

    def __call__(self, method, path):
        with self._lock:
            if self._left and self._matches(method, path):
                self._left -= 1
                return self._how
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the body would wait until the client has confirmed the head

    def do_GET(self):
        body = self._body()
        how = self.server.refuse(self.command, self.path)
        self.server.refused += how is not None
        if isinstance(how, int):
            self._answer(how, {}, _SLOW_DOWN if how == 503 else b"")
        elif how == "cut":
            self.close_connection = True
        else:
            status, headers, data = self._forward(body)
            if how == "lost":
                self.close_connection = True
            else:
                self._answer(status, headers, data)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _forward(self, body):
        target = self.server.target
        connection = HTTPConnection(target.hostname, target.port)
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in _OF_A_CONNECTION
        }
        connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
        answer = connection.getresponse()
        data = answer.read()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_A_CONNECTION}
        if self.command == "HEAD":
            headers["Content-Length"] = answer.getheader("Content-Length") or "0"
        connection.close()
        return answer.status, headers, data

    def _answer(self, status, headers, data):
        self.server.asked.append((self.command, self.path, status))
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


_SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>ServiceUnavailable</Code><Message>Service is unable to handle request.</Message></Error>"""
