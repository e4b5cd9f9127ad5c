"""Uploads to a web server with ``PUT``, to names that are free."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from ...engine.frames.content_types import content_type_of
from ...engine.storage.base import CHUNK_BYTES, BackendError
from .remote import RemoteDestination

_TIMEOUTS = (10.0, 60.0)
_CONNECTIONS = 16
_GONE = {404, 410}
_WAITING = {408, 423, 425, 429}
_FOR_GOOD = {501, 505, 507}


class HttpDestination(RemoteDestination):
    """A folder of a web server that accepts ``PUT``.

    A name is queried before it is written, and written with ``If-None-Match: *``, because some servers ignore that header.
    Redirects are not followed.

    Parameters
    ----------
    root : str
        The normalized URL without credentials. It is recorded with the frames.
    """

    def _renew(self) -> None:
        super()._renew()
        self._opened: requests.Session | None = None
        self._opening = threading.Lock()

    @property
    def _session(self) -> requests.Session:
        """The HTTP session. A forked process opens its own."""
        with self._opening:
            if self._opened is None:
                session = requests.Session()
                # Threads share the session, so it must not store cookies.
                session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
                for scheme in ("http://", "https://"):
                    session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
                self._opened = session
            return self._opened

    def _create(self, uri: str, data: bytes) -> bool:
        return self._put_free(uri, data)

    def _create_large(self, uri: str, size: int, chunks: Iterator[bytes]) -> bool:
        return self._put_free(uri, _Body(size, chunks))

    def _put_free(self, uri: str, body: bytes | _Body) -> bool:
        if self._size(uri) is not None:
            return False
        headers = {
            "If-None-Match": "*",
            "Content-Type": content_type_of(uri) or "application/octet-stream",
        }
        with self._asked("PUT", uri, data=body, headers=headers) as response:
            if response.status_code == 412:
                return False
            self._check(response)
        return True

    def _size(self, uri: str) -> int | None:
        with self._asked("HEAD", uri, headers={"Accept-Encoding": "identity"}) as response:
            if response.status_code in _GONE:
                return None
            self._check(response)
            length = response.headers.get("Content-Length", "")
        # A server without Content-Length only shows that the object exists.
        return int(length) if length.isdigit() else -1

    def _chunks(self, uri: str, size: int) -> Iterator[bytes]:  # noqa: ARG002 - the signature of all
        with self._asked("GET", uri, headers={"Accept-Encoding": "identity"}, stream=True) as response:
            self._check(response)
            yield from response.iter_content(CHUNK_BYTES)

    def _delete(self, uri: str) -> None:
        with self._asked("DELETE", uri) as response:
            if response.status_code not in _GONE:
                self._check(response)

    @contextmanager
    def _asked(self, method: str, uri: str, **arguments: Any) -> Generator[requests.Response, None, None]:
        try:
            with self._session.request(
                method, uri, timeout=_TIMEOUTS, allow_redirects=False, **arguments
            ) as response:
                yield response
        except requests.RequestException as error:
            # Its message may contain secrets, such as the password of a proxy.
            permanent = isinstance(error, ValueError)
            raise BackendError(
                f"destination {self.root}: {method} failed: {type(error).__name__}", permanent=permanent
            ) from None

    def _check(self, response: requests.Response) -> None:
        status = response.status_code
        if 200 <= status < 300:
            return
        permanent = status in _FOR_GOOD or (status < 500 and status not in _WAITING)
        words = "permission denied: " if status in {401, 403} else ""
        raise BackendError(
            f"destination {self.root}: {words}the server answered {status} {response.reason}",
            permanent=permanent,
        )


class _Body:
    """Chunks with a known total length, so that they are not sent with chunked encoding, which many servers reject."""

    def __init__(self, size: int, chunks: Iterator[bytes]) -> None:
        self._size = size
        self._chunks = chunks

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks
