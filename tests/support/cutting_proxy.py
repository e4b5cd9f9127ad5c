"""Stands between libpq and a PostgreSQL server, and cuts a connection at exactly the message that a test names."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import postgres_server
from patience import join
from psycopg.conninfo import conninfo_to_dict

QUERY, SYNC = b"Q", b"S"


class Cut(Enum):
    """What becomes of a message and its connection."""

    BEFORE = "the server never gets it"
    AFTER = "the server has answered, nobody hears it"
    TERMINATE = "the server is told to end the session, and then gets it"


class Proxy:
    """Listens in a folder as the server does in its own.

    Attributes
    ----------
    seen : list of bytes
        The kinds of the messages that clients sent since `arm`: one letter each, as the protocol has them.
    """

    def __init__(self, server_url, folder):
        self._parts = urlsplit(server_url)
        self._server_url = server_url
        self._folder = folder
        self._lock = threading.Lock()
        self._planned = None
        self._counts = lambda kind, body: False
        self.seen = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._open = set()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def url(self):
        user = f"{self._parts.username}@" if self._parts.username else ""
        return urlunsplit(self._parts._replace(netloc=user, query=f"host={self._folder}"))

    def arm(self, cut, number, counts=lambda kind, body: True):
        """Cut the connection of the message of this number, from 0, among those that count; None cuts nothing."""
        with self._lock:
            self.seen = []
            self._counts, self._planned = counts, (cut, number)

    @property
    def has_cut(self):
        return self._planned is None

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        join(self._thread)
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            try:
                server = _connected(self._server_url)
            except OSError:
                return
            with server, suppress(OSError):
                self._open |= {client, server}
                try:
                    _Session(self, client, server).run()
                finally:
                    self._open -= {client, server}

    def decide(self, kind, body):
        """Return the cut that is planned for a message, if one is."""
        with self._lock:
            if self._planned is None or not self._counts(kind, body):
                return None
            cut, number = self._planned
            self.seen.append(kind)
            if number is None or len(self.seen) <= number:
                return None
            self._planned = None
            return cut

    def terminate(self, pid):
        """Tell the server to end a session."""
        with postgres_server._connect(self._server_url) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))


class _Session:
    def __init__(self, proxy, client, server):
        self._proxy, self._client, self._server = proxy, client, server
        self._from_client, self._from_server = bytearray(), bytearray()
        self._started = False
        self._pid = None

    def run(self):
        while True:
            ready, _, _ = select.select([self._client, self._server], [], [])
            if self._server in ready:
                data = self._server.recv(65536)
                if not data:
                    return
                self._note_pid(data)
                self._client.sendall(data)
            if self._client in ready:
                data = self._client.recv(65536)
                if not data:
                    return
                self._from_client += data
                while (message := self._next_message()) is not None:
                    if self._forward(*message):
                        return

    def _next_message(self):
        """Return the kind and the bytes of the next whole message; the first has no kind."""
        buffer, start = self._from_client, 1 if self._started else 0
        if len(buffer) < start + 4:
            return None
        (length,) = struct.unpack_from(">I", buffer, start)
        if len(buffer) < start + length:
            return None
        message = bytes(buffer[: start + length])
        del buffer[: start + length]
        kind = message[:1] if self._started else b""
        self._started = True
        return kind, message

    def _forward(self, kind, message):
        """Hand a message on; returns whether the connection is to end."""
        cut = self._proxy.decide(kind, message) if kind else None
        if cut is Cut.BEFORE:
            return True
        if cut is Cut.TERMINATE:
            self._proxy.terminate(self._pid)
            # What the server said last is still to be heard.
            while data := self._server.recv(65536):
                self._client.sendall(data)
            return True
        self._server.sendall(message)
        if cut is Cut.AFTER:
            if kind in (QUERY, SYNC):
                self._await_answer()
            return True
        return False

    def _await_answer(self):
        """Read until the server is ready for the next query."""
        buffer = bytearray()
        while data := self._server.recv(65536):
            buffer += data
            while len(buffer) >= 5:
                (length,) = struct.unpack_from(">I", buffer, 1)
                if len(buffer) < 1 + length:
                    break
                if buffer[:1] == b"Z":
                    return
                del buffer[: 1 + length]

    def _note_pid(self, data):
        """Take the session's number from what the server says at first."""
        if self._pid is not None:
            return
        buffer = self._from_server
        buffer += data
        while len(buffer) >= 5:
            (length,) = struct.unpack_from(">I", buffer, 1)
            if len(buffer) < 1 + length:
                return
            if buffer[:1] == b"K":
                (self._pid,) = struct.unpack_from(">I", buffer, 5)
                return
            del buffer[: 1 + length]


def _connected(url):
    given = conninfo_to_dict(url.replace("+psycopg", ""))
    host, port = given.get("host") or "127.0.0.1", int(given.get("port") or 5432)
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(os.fspath(Path(host) / f".s.PGSQL.{port}"))
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def cutting_proxy(server_url):
    """Give a proxy for a server."""
    folder = postgres_server.short_folder("px")
    proxy = Proxy(server_url, folder)
    try:
        yield proxy
    finally:
        proxy.close()
        (folder / ".s.PGSQL.5432").unlink()
        folder.rmdir()
