"""A web server of a few pages, some with a name for their content."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from running import running


class Page(BaseHTTPRequestHandler):
    """A web server's answer, with or without a name for the content."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the body would wait until the client has confirmed the head
    pages: dict[str, tuple[bytes, str | None]]

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        if "endless" in self.path:
            self.stream(body)
            return
        data, etag = self.pages.get(self.path, (b"", None))
        status = 200 if self.path in self.pages else 500 if "broken" in self.path else 404
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "text/html" if data.startswith(b"<") else "text/plain")
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def stream(self, body):
        """Send chunks until the client goes away."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(OSError):
            while body:
                self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    def log_message(self, *arguments):
        pass


@contextmanager
def web(**pages):
    handler = type("Handler", (Page,), {"pages": {f"/{name}": page for name, page in pages.items()}})
    with running(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as place:
        yield f"http://{place}", handler.pages
