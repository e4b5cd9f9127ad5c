"""Runs a server in a thread while the block runs."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Thread

from patience import join


@contextmanager
def running(server):
    """Serve in a thread, and end and close the server at the end; gives host and port."""
    with server:
        # It looks every 10 ms whether to end, not every 500.
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield "{}:{}".format(*server.server_address)
        finally:
            server.shutdown()
            join(thread)
