"""The client of an Alyx database: login, REST requests with a cache, and downloads from its data server."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import uuid
import warnings
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import wraps
from getpass import getpass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit, urlunsplit

import requests
from requests.exceptions import HTTPError

from ...engine.errors import InvalidValueError, UsageError
from . import params
from .alf.exceptions import PreconditionError
from .util import ensure_list

logger = logging.getLogger(__name__)

N_THREADS = 4
"""Number of downloads at the same time."""

_CHUNK = 1 << 20
_TIMEOUT = 30.0
_PAGE = {"count", "next", "previous", "results"}
_METHODS = {
    "list": "get",
    "read": "get",
    "create": "post",
    "update": "put",
    "partial_update": "patch",
    "delete": "delete",
}


def _cache_response(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a request to answer from the cache on disk while that is fresh, and to save responses there."""

    @wraps(method)
    def wrapper(
        client: Any,
        request: Callable[..., Any],
        query: str,
        *args: Any,
        expires: Any = None,
        clobber: bool = False,
        **kwargs: Any,
    ) -> Any:
        if not client.cache_mode or client.cache_mode != getattr(request, "__name__", "").upper():
            return method(client, request, query, *args, **kwargs)
        path = "/" + query.removeprefix(client.base_url).lstrip("/")
        file = Path(client.cache_dir, ".rest", hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest())
        held = _read_response(file)
        if held is not None and not clobber and held[1] > datetime.now():  # noqa: DTZ005 - the files have local times
            return held[0]
        try:
            response = method(client, request, query, *args, **kwargs)
        except (requests.ConnectionError, ConnectionError):
            if held is None or clobber:
                raise
            warnings.warn(
                f"{path}: there is no connection; the cached response is out of date",
                RuntimeWarning,
                stacklevel=2,
            )
            return held[0]
        _write_response(file, response, _expiry(client, expires))
        return response

    return wrapper


def _expiry(client: Any, expires: Any) -> datetime:
    now = datetime.now()  # noqa: DTZ005 - the files have local times
    if isinstance(expires, datetime):
        return expires
    lasting = (
        expires if isinstance(expires, timedelta) else timedelta(0) if expires else client.default_expiry
    )
    return now + lasting


def _read_response(file: Path) -> tuple[Any, datetime] | None:
    """Return a cached response and when it expires; None if nothing is cached or the file is damaged."""
    try:
        response, expiry = json.loads(file.read_text("utf-8"))
        return response, datetime.fromisoformat(expiry)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _write_response(file: Path, response: Any, expiry: datetime) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    temporary.write_text(json.dumps([response, expiry.isoformat()]), "utf-8")
    temporary.replace(file)


@contextmanager
def no_cache(ac: AlyxClient | None = None) -> Generator[None, None, None]:
    """Neither read nor write the cache of REST responses in a block.

    Parameters
    ----------
    ac : AlyxClient, optional
        The client. By default a new one for the default server.
    """
    client = ac or AlyxClient()
    mode, client.cache_mode = client.cache_mode, None
    try:
        yield
    finally:
        client.cache_mode = mode


class PaginatedResponse(Sequence[Any]):
    """The results of a list request, of which each page is requested when it is needed.

    Parameters
    ----------
    client : AlyxClient
        The client.
    query : str
        The request.
    first : dict
        The first page.
    options : dict
        Options of the cache for all pages.
    """

    def __init__(
        self, client: AlyxClient, query: str, first: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        self._client = client
        self._query = query
        self._options = options
        self._size = max(len(first["results"]), 1)
        self._count = first["count"]
        self._pages: dict[int, list[Any]] = {0: list(first["results"])}

    def __len__(self) -> int:
        """Return the number of results."""
        return self._count

    def __getitem__(self, item: Any) -> Any:
        """Return one result or several."""
        if isinstance(item, slice):
            return [self[place] for place in range(*item.indices(self._count))]
        place = item + self._count if item < 0 else item
        if not 0 <= place < self._count:
            raise IndexError(f"there is no result {item}: there are {self._count}")
        number, rest = divmod(place, self._size)
        if number not in self._pages:
            query = update_url_params(self._query, {"limit": self._size, "offset": number * self._size})
            page = self._client._generic_request(requests.get, query, **self._options)  # noqa: SLF001 - of this module
            self._pages[number] = list(page["results"])
        if rest >= len(self._pages[number]):
            raise IndexError(f"the results of {self._query} changed while they were read: request them again")
        return self._pages[number][rest]

    def __iter__(self) -> Iterator[Any]:
        """Yield the results."""
        return (self[place] for place in range(self._count))


class AlyxClient:
    """A client of an Alyx database.

    Parameters
    ----------
    base_url : str, optional
        URL of the database. By default that of the default server, see `params`.
    username, password : str, optional
        The login. By default it is asked when it is needed.
    cache_dir : str or path, optional
        Folder of the data. By default that of the parameters.
    silent : bool
        Ask nothing.
    cache_rest : str, optional
        The HTTP method whose responses are cached; None for none.

    Attributes
    ----------
    default_expiry : timedelta
        How long a cached response is used.
    timeout : float
        Seconds to wait for the server.
    """

    def __init__(
        self,
        base_url: str | None = None,
        username: str | None = None,
        password: str | None = None,
        cache_dir: str | Path | None = None,
        silent: bool = False,
        cache_rest: str | None = "GET",
    ) -> None:
        self.silent = silent
        self._par = params.get(client=base_url, silent=silent, username=username)
        if cache_dir is not None:
            self._par = self._par.set("CACHE_DIR", str(cache_dir))
        self.base_url: str = self._par.ALYX_URL.rstrip("/")
        self.cache_mode = cache_rest
        self.default_expiry = timedelta(days=1)
        self.timeout = _TIMEOUT
        self.user: str | None = None
        self._given = username, password
        self._rest_schemes: Any = None
        self._forget()
        if username and password:
            try:
                self.authenticate(username, password)
            except ConnectionError as error:
                logger.warning("%s: login is tried again later", error)

    def __repr__(self) -> str:
        return f"AlyxClient({self.base_url!r}, user={self.user!r}, logged in={self.is_logged_in})"

    @property
    def rest_schemes(self) -> Any:
        """The description of all endpoints: their actions, each with its fields."""
        if self._rest_schemes is None:
            self._rest_schemes = self.get("/docs", expires=timedelta(weeks=1))
        return self._rest_schemes

    @property
    def cache_dir(self) -> Path:
        """The folder of the data."""
        return Path(self._par.CACHE_DIR)

    @cache_dir.setter
    def cache_dir(self, cache_dir: str | Path) -> None:
        Path(cache_dir).mkdir(parents=True, exist_ok=True)
        self._par = self._par.set("CACHE_DIR", Path(cache_dir))

    @property
    def is_logged_in(self) -> bool:
        """Whether there is a token."""
        return bool(self._token and self.user and "Authorization" in self._headers)

    def _forget(self) -> None:
        self._token: dict[str, str] | None = None
        self._headers: dict[str, str] = {"Accept": "application/json"}

    def _take(self, user: str, token: dict[str, str]) -> None:
        self.user, self._token = user, token
        self._headers = {"Accept": "application/json", "Authorization": f"Token {token['token']}"}

    def authenticate(
        self,
        username: str | None = None,
        password: str | None = None,
        cache_token: bool = True,
        force: bool = False,
    ) -> None:
        """Log in.

        Parameters
        ----------
        username, password : str, optional
            The login. By default that of the parameters; it is asked for if it is not known.
        cache_token : bool
            Save the token in the parameters.
        force : bool
            Log in again although there is a token.

        Raises
        ------
        HTTPError
            The server refuses.
        ConnectionError
            There is no connection to the server.
        UsageError
            The password is not known and cannot be asked for.
        """
        user = username or self._given[0] or getattr(self._par, "ALYX_LOGIN", None)
        if not user and not self.silent:
            user = input("Alyx user name: ").strip()
        if not user:
            raise UsageError(f"there is no user name for {self.base_url}: give username, or run ONE.setup")
        tokens = dict(getattr(self._par, "TOKEN", None) or {})
        if user in tokens and password is None and not force:
            self._take(user, tokens[user])
        else:
            self._take(user, self._request_token(user, self._password(user, password, ask=force)))
        self._par = self._par.set("ALYX_LOGIN", user)
        self._save_tokens(
            lambda tokens: tokens.update({user: self._token}) if cache_token else tokens.pop(user, None)
        )

    def _password(self, user: str, password: str | None, *, ask: bool) -> str:
        known = None if ask else self._given[1] or getattr(self._par, "ALYX_PWD", None)
        if found := password or known:
            return found
        if self.silent:
            raise UsageError(
                f"there is no password for {user} at {self.base_url}: give password, or use silent=False"
            )
        return getpass(f"Password of {user} at {self.base_url}: ")

    def _request_token(self, user: str, password: str) -> dict[str, str]:
        try:
            reply = requests.post(
                f"{self.base_url}/auth-token",
                data={"username": user, "password": password},
                timeout=self.timeout,
            )
        except requests.ConnectionError as error:
            # The error of requests has the request, which has the password.
            raise ConnectionError(
                f"cannot connect to {self.base_url}: check the network and the firewall settings ({type(error).__name__})"
            ) from None
        if reply.ok:
            return reply.json()
        if reply.status_code == 400:
            raise HTTPError(
                400,
                f"{self.base_url} refuses the login of {user}: wrong user name or password",
                response=reply,
            )
        raise _http_error(reply, "POST", f"{self.base_url}/auth-token")

    def _save_tokens(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the tokens in the file of the parameters, without the user and folder of this client."""
        saved = params.get(client=self.base_url, silent=True)
        tokens = dict(getattr(saved, "TOKEN", None) or {})
        before = dict(tokens)
        change(tokens)
        if tokens != before:
            params.save(saved.set("TOKEN", tokens), self.base_url)
        self._par = self._par.set("TOKEN", tokens)

    def logout(self) -> None:
        """Forget the token, also in the parameters."""
        user, self.user = self.user, None
        self._forget()
        if user:
            self._save_tokens(lambda tokens: tokens.pop(user, None))

    def list_endpoints(self) -> list[str]:
        """Return the names of all endpoints."""
        hidden = ("_type", "_meta", "", "auth-token")
        return sorted(name for name in self.rest_schemes if name not in hidden)

    def print_endpoint_info(self, endpoint: str, action: str | None = None) -> Any:
        """Print and return the actions and fields of an endpoint.

        Parameters
        ----------
        endpoint : str
            Name of the endpoint.
        action : str, optional
            Only this action.
        """
        if endpoint not in self.rest_schemes:
            raise InvalidValueError(
                f"there is no endpoint {endpoint!r}: use one of {', '.join(self.list_endpoints())}"
            )
        found = self.rest_schemes[endpoint]
        for name in [action] if action else found:
            print(name)
            for field in found[name]["fields"]:
                print(f"    {field['name']}: {field.get('schema', {}).get('description', '')}")
        return found if action is None else found[action]

    @_cache_response
    def _generic_request(
        self, reqfunction: Callable[..., Any], rest_query: str, data: Any = None, files: Any = None
    ) -> Any:
        """Send a request, and log in before if needed, or again if the token has expired."""
        url = rest_query if rest_query.startswith("http") else f"{self.base_url}/{rest_query.lstrip('/')}"
        if urlsplit(url).netloc != urlsplit(self.base_url).netloc:
            raise InvalidValueError(f"{url} is not on the server {self.base_url}")
        if not self.is_logged_in:
            self.authenticate()
        reply = self._send(reqfunction, url, data, files)
        if reply.status_code == 401 or (reply.status_code == 403 and "token" in reply.text.lower()):
            self._renew_token()
            reply = self._send(reqfunction, url, data, files)
        if reply.ok:
            return reply.json() if reply.content else None
        raise _http_error(reply, reqfunction.__name__.upper(), url)

    def _renew_token(self) -> None:
        user = self.user
        self._forget()
        if user:
            self._save_tokens(lambda tokens: tokens.pop(user, None))
        self.authenticate(user)

    def _send(self, reqfunction: Callable[..., Any], url: str, data: Any, files: Any) -> requests.Response:
        headers = dict(self._headers)
        if files is None and data is not None:
            headers["Content-Type"] = "application/json"
            data = data if isinstance(data, str) else json.dumps(data)
        try:
            return reqfunction(url, headers=headers, data=data, files=files, timeout=self.timeout)
        except requests.Timeout as error:
            raise requests.ConnectionError(f"{url} did not answer within {self.timeout} seconds") from error

    def get(self, rest_query: str, **kwargs: Any) -> Any:
        """Send a GET request.

        Parameters
        ----------
        rest_query : str
            The path on the server, or a URL.

        Other Parameters
        ----------------
        expires : bool, timedelta or datetime, optional
            How long the response is used; True for not at all.
        clobber : bool
            Ignore a cached response.
        """
        reply = self._generic_request(requests.get, rest_query, **kwargs)
        if isinstance(reply, dict) and set(reply) == _PAGE:
            return (
                reply["results"]
                if reply["next"] is None
                else PaginatedResponse(self, rest_query, reply, kwargs)
            )
        return reply

    def post(self, rest_query: str, data: Any = None, files: Any = None) -> Any:
        """Send a POST request with data, and files as for `requests.post`."""
        return self._generic_request(requests.post, rest_query, data=data, files=files)

    def put(self, rest_query: str, data: Any = None, files: Any = None) -> Any:
        """Send a PUT request with data, and files as for `requests.put`."""
        return self._generic_request(requests.put, rest_query, data=data, files=files)

    def patch(self, rest_query: str, data: Any = None, files: Any = None) -> Any:
        """Send a PATCH request with data, and files as for `requests.patch`."""
        return self._generic_request(requests.patch, rest_query, data=data, files=files)

    def delete(self, rest_query: str) -> Any:
        """Send a DELETE request."""
        return self._generic_request(requests.delete, rest_query)

    def rest(
        self,
        url: str | None = None,
        action: str | None = None,
        id: Any = None,  # noqa: A002 - the name of the public API
        data: Any = None,
        files: Any = None,
        no_cache: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Send a request to an endpoint.

        Parameters
        ----------
        url : str, optional
            Name of the endpoint. By default all are printed.
        action : {"list", "read", "create", "update", "partial_update", "delete"}, optional
            What to do. By default the actions are printed.
        id : str, optional
            Id of the record to read or change.
        data, files : optional
            What to send.
        no_cache : bool
            Ignore cached responses.
        **kwargs
            Filters of a list. The items of a list are joined by commas.

        Returns
        -------
        list, dict or None
            The records or the record. Of a long list, pages are requested when they are needed.

        Raises
        ------
        ValueError
            There is no such action, or the id or the data are missing.
        HTTPError
            The server refuses.
        """
        if not url:
            for name in self.list_endpoints():
                print(name)
            return None
        endpoint = url.strip("/").split("/")[-1]
        if action is None:
            return self.print_endpoint_info(endpoint)
        if action not in _METHODS:
            raise InvalidValueError(f"there is no action {action!r}: use one of {', '.join(_METHODS)}")
        if action not in {"list", "create"} and id is None:
            raise InvalidValueError(f"{action} needs the id of a record")
        if action in {"create", "update", "partial_update"} and data is None and files is None:
            raise InvalidValueError(f"{action} needs data")
        query = f"/{endpoint}" if id is None else f"/{endpoint}/{str(id).rstrip('/').split('/')[-1]}"
        filters = {
            key: ",".join(map(str, value)) if isinstance(value, list | tuple) else value
            for key, value in kwargs.items()
        }
        query = update_url_params(query, filters)
        if _METHODS[action] == "get":
            return self.get(query, clobber=no_cache, expires=True) if no_cache else self.get(query)
        if action == "delete":
            return self.delete(query)
        return getattr(self, _METHODS[action])(query, data=data, files=files)

    def json_field_write(self, endpoint: str, uuid: str, field_name: str, data: Any) -> Any:
        """Replace a JSON field of a record by some data, and return it."""
        return self.rest(endpoint, "partial_update", id=uuid, data={field_name: data})[field_name]

    def json_field_update(self, endpoint: str, uuid: str, field_name: str = "json", data: Any = None) -> Any:
        """Add the keys of a dict to a JSON field of a record, and return it. A field that is not a dict stays as it is."""
        current = self.rest(endpoint, "read", id=uuid, no_cache=True)[field_name]
        if current and not isinstance(current, dict):
            logger.warning("%s of %s is not a dict and stays as it is", field_name, uuid)
            return current
        return self.json_field_write(endpoint, uuid, field_name, {**(current or {}), **(data or {})})

    def json_field_remove_key(
        self, endpoint: str, uuid: str, field_name: str = "json", key: str | None = None
    ) -> Any:
        """Remove a key of a JSON field of a record, and return the field; None if it is empty or not a dict."""
        current = self.rest(endpoint, "read", id=uuid, no_cache=True)[field_name]
        if not current:
            return None
        if not isinstance(current, dict):
            logger.warning("%s of %s is not a dict and stays as it is", field_name, uuid)
            return None
        if key not in current:
            logger.warning("%s of %s has no key %s", field_name, uuid, key)
        rest = {name: value for name, value in current.items() if name != key}
        return self.json_field_write(endpoint, uuid, field_name, rest)

    def json_field_delete(self, endpoint: str, uuid: str, field_name: str) -> None:
        """Set a JSON field of a record to null."""
        return self.json_field_write(endpoint, uuid, field_name, None)

    def clear_rest_cache(self) -> None:
        """Delete the cached REST responses."""
        for file in Path(self.cache_dir, ".rest").glob("*"):
            file.unlink()

    def rel_path2url(self, path: str | Path) -> str:
        """Return the URL of a file on the data server, from its path there.

        Raises
        ------
        AssertionError
            It is a URL already.
        """
        text = path if isinstance(path, str) else path.as_posix()
        if text.startswith("http"):
            raise PreconditionError(f"{text} is a URL, not a path on the data server")
        return f"{self._par.HTTP_DATA_SERVER.rstrip('/')}/{text.lstrip('/')}"

    def _validate_file_url(self, url: str) -> str:
        """Return the URL of a file on the data server. Raises AssertionError for another server, which gets no password."""
        if not url.startswith("http"):
            return self.rel_path2url(url)
        if urlsplit(url).netloc != urlsplit(self._par.HTTP_DATA_SERVER).netloc:
            raise PreconditionError(f"{url} is not on the data server {self._par.HTTP_DATA_SERVER}")
        return url

    def download_file(self, url: str | Sequence[str], **kwargs: Any) -> Any:
        """Download one file or several from the data server.

        Parameters
        ----------
        url : str or sequence of str
            URLs, or paths on the server.
        **kwargs
            More arguments of `http_download_file`. `target_dir` may be a list of one folder for each file.

        Returns
        -------
        Path or list of Path
            The files; with ``return_md5`` a tuple of these and the MD5s.

        Raises
        ------
        HTTPError
            The server refuses.
        """
        options: dict[str, Any] = {
            "username": getattr(self._par, "HTTP_DATA_SERVER_LOGIN", None) or "",
            "password": getattr(self._par, "HTTP_DATA_SERVER_PWD", None) or "",
            **kwargs,
        }
        try:
            if isinstance(url, str):
                return http_download_file(self._validate_file_url(url), **options)
            done = http_download_file_list([self._validate_file_url(each) for each in url], **options)
        except HTTPError as error:
            if error.response is None or error.response.status_code not in {401, 403}:
                raise
            logger.error("%s", error)  # noqa: TRY400 - the error is raised
            raise HTTPError(
                error.errno,
                f"{error}: set HTTP_DATA_SERVER_LOGIN and HTTP_DATA_SERVER_PWD with ONE.setup",
                response=error.response,
            ) from None
        if not kwargs.get("return_md5"):
            return done
        return [file for file, _ in done], [md5 for _, md5 in done]

    def download_cache_tables(
        self, source: str | None = None, destination: str | Path | None = None
    ) -> list[Path]:
        """Download the tables of the database.

        Parameters
        ----------
        source : str, optional
            URL of a zip archive. By default that of the server.
        destination : str or path, optional
            The folder. By default `cache_dir`.

        Returns
        -------
        list of Path
            The tables.
        """
        target = Path(destination or self.cache_dir)
        target.mkdir(parents=True, exist_ok=True)
        url = urljoin(self.base_url + "/", source or "cache.zip")
        is_ours = urlsplit(url).netloc == urlsplit(self.base_url).netloc
        if is_ours and not self.is_logged_in:
            self.authenticate()
        with tempfile.TemporaryDirectory(dir=target, prefix=".tables.") as folder:
            # Another server does not get the token.
            headers = self._headers if is_ours else None
            archive = http_download_file(url, target_dir=folder, headers=headers, clobber=True, silent=True)
            return _extract_tables(Path(archive), target)


def _extract_tables(archive: Path, target: Path) -> list[Path]:
    """Extract the tables of an archive, wherever they are in it, and replace those in a folder."""
    made: list[Path] = []
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = member.filename.rsplit("/", 1)[-1]
            if not name.endswith(".pqt") or name.startswith("."):
                continue
            temporary = archive.with_name(name)
            with opened.open(member) as source, temporary.open("wb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
            made.append(temporary.replace(target / name))
    return made


def _http_error(reply: requests.Response, method: str, url: str) -> HTTPError:
    """Return the error of a response, with the explanation of the server."""
    try:
        detail = json.dumps(reply.json())
    except ValueError:
        detail = reply.reason or ""
    return HTTPError(
        reply.status_code, f"{method} {url}: status {reply.status_code}: {detail[:500]}", response=reply
    )


def http_download_file(
    full_link_to_file: str,
    chunks: int | None = None,
    *,
    clobber: bool = False,
    silent: bool = False,
    username: str = "",
    password: str = "",
    target_dir: str | Path = "",
    return_md5: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """Download a file.

    Parameters
    ----------
    full_link_to_file : str
        The URL. For an empty text, nothing is done.
    chunks : int, optional
        Bytes to read at once.
    clobber : bool
        Replace a file that exists. Otherwise one of the right size is kept.
    silent : bool
        Log nothing.
    username, password : str
        Login of the server.
    target_dir : str or path
        The folder. By default the working directory.
    return_md5 : bool
        Also return the MD5 of the content.
    headers : mapping, optional
        More HTTP headers.

    Returns
    -------
    Path, or Path and str
        The file, which appears when it is complete.

    Raises
    ------
    HTTPError
        The server refuses.
    ConnectionError
        There is no connection, or it ended before the file was complete.
    """
    if not full_link_to_file:
        return ("", None) if return_md5 else ""
    file = Path(target_dir) / urlsplit(full_link_to_file).path.rsplit("/", 1)[-1]
    digest = hashlib.md5(usedforsecurity=False)
    auth = (username, password) if username else None
    try:
        with requests.get(
            full_link_to_file, stream=True, auth=auth, headers=headers, timeout=_TIMEOUT
        ) as reply:
            if not reply.ok:
                raise _http_error(reply, "GET", full_link_to_file)
            size = int(reply.headers.get("Content-Length") or -1)
            if file.exists() and not clobber and file.stat().st_size == size:
                with file.open("rb") as held:
                    digest = hashlib.file_digest(held, lambda: hashlib.md5(usedforsecurity=False))
            else:
                _write_body(reply, file, chunks or _CHUNK, digest)
    except (requests.exceptions.ChunkedEncodingError, requests.Timeout) as error:
        raise requests.ConnectionError(
            f"{full_link_to_file}: the download ended before the file was complete"
        ) from error
    if not silent:
        logger.info("downloaded %s", file)
    return (file, digest.hexdigest()) if return_md5 else file


def _write_body(reply: requests.Response, file: Path, chunk: int, digest: Any) -> None:
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as out:
            for data in reply.iter_content(chunk):
                digest.update(data)
                out.write(data)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def http_download_file_list(links_to_file_list: Sequence[str], **kwargs: Any) -> list[Any]:
    """Download several files at the same time; see `http_download_file`.

    `target_dir` may be a list of one folder for each file.

    Raises
    ------
    AssertionError
        The number of folders is not that of files.
    """
    folders = kwargs.pop("target_dir", "")
    folders = [folders] * len(links_to_file_list) if isinstance(folders, str | Path) else list(folders)
    if len(folders) != len(links_to_file_list):
        raise PreconditionError(f"{len(folders)} folders are given for {len(links_to_file_list)} files")
    with ThreadPoolExecutor(N_THREADS) as executor:
        return list(
            executor.map(
                lambda link, folder: http_download_file(link, target_dir=folder, **kwargs),
                links_to_file_list,
                folders,
            )
        )


def file_record_to_url(file_records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the URLs of file records that have one."""
    return [record["data_url"] for record in file_records if record["data_url"] is not None]


def dataset_record_to_url(dataset_record: Any) -> list[str]:
    """Return the URLs of the files of one dataset record or several."""
    return [
        url for record in ensure_list(dataset_record) for url in file_record_to_url(record["file_records"])
    ]


def update_url_params(url: str, params: Mapping[str, Any]) -> str:
    """Return a URL with some parameters added or replaced. Parameters that are empty in the URL are removed."""
    parts = urlsplit(url, allow_fragments=False)
    query = {**parse_qs(parts.query), **params}
    return urlunsplit(parts._replace(query=urlencode(query, doseq=True)))
