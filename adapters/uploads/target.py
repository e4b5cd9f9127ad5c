"""Upload targets: checks of the arguments, and the names of files at the destination."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec

from ...engine.blobs.uris import SCHEME
from ...engine.errors import InvalidValueError, UsageError
from ...engine.frames.source import check_root, path_or_uri, source_uri
from ...engine.secrets import redact_url
from ...engine.storage.atomic_files import from_home
from ...engine.storage.root_folder import RootFolder
from ...engine.validation import refuse_secret, shorten
from .destination import NAME_BYTES, is_plain, shortened

WAY_OUT = (
    "leave it out, and let the library of the store find it in its environment, profile or role; that of a web server "
    "in ~/.netrc"
)
"""How to pass credentials for a destination."""

PathLike = str | os.PathLike[str]

NameOf = Callable[[str], str]


class UploadTarget(msgspec.Struct, frozen=True):
    """A destination, and the local folder that contains the files.

    Attributes
    ----------
    destination : str
        URL, or ``blobs:`` for the blob store of the engine.
    root : str
        Absolute path of the folder. Names at the destination are relative to it.
    """

    destination: str
    root: str


class Route(msgspec.Struct, frozen=True):
    """A destination, and the names of some local files there.

    Attributes
    ----------
    destination : str
        URL.
    names : dict of str to str
        Names by local path.
    """

    destination: str
    names: dict[str, str]


def check_target(destination: object, root: PathLike | None) -> UploadTarget | None:
    """Return the upload target for the arguments of a call, or None without a destination.

    Raises
    ------
    UsageError
        `local_dataset_root_path` is missing, or the destination is invalid or needs a library that is not installed.
    """
    if destination is None:
        return None
    if not isinstance(destination, str | os.PathLike) or not os.fspath(destination):
        raise UsageError(
            f"auto_upload_destination must be a URL such as 's3://bucket/datasets', a folder or 'blobs:', "
            f"not {shorten(destination)}"
        )
    folder = check_root(root)
    if folder is None:
        raise UsageError(
            "auto_upload_destination needs local_dataset_root_path, the folder that contains all local files"
        )
    target = UploadTarget(str(os.fspath(destination)), folder)
    if target.destination != SCHEME:
        from .open import open_destination

        _ = open_destination(target.destination)  # raise its errors in the call that passes it
    return target


def names_below(root: str, folder: str = "") -> NameOf:
    """Return a function that names local files: their percent-encoded paths relative to a root, below a folder.

    It raises `InvalidValueError` for a file outside the root, and `UsageError` if symbolic links lead out of the root.
    """
    root_folder = RootFolder(root)

    def name_of(path: str) -> str:
        below = root_folder.below(path)
        if below is None:
            raise InvalidValueError(f"{path} is not inside local_dataset_root_path {root}")
        root_folder.check_links(below)
        return folder + encoded(below)

    return name_of


def version_folder(dataset_id: str, version_name: str, version_id: str) -> str:
    """Return the folder of a version's files at a destination, with a trailing slash."""
    # A name is a single folder, even if a tool decodes it.
    name = version_name.replace("/", "%2F").replace("\0", "%00")
    end = encoded_part(f".{version_id}")
    return f"{encoded_part(dataset_id)}/{shortened(encoded_part(name), NAME_BYTES - len(end))}{end}/"


def encoded(path: str) -> str:
    """Return a percent-encoded relative path with ``/`` between its parts."""
    if is_plain(path):
        return path
    return "/".join(map(encoded_part, Path(path).parts))


def encoded_part(part: str) -> str:
    """Return a percent-encoded name. Names that consist of dots are encoded too, because they would select a folder."""
    if part in {".", ".."}:
        return part.replace(".", "%2E")
    return quote(os.fsencode(part), safe="")


def check_mapping(mapping: object) -> dict[str, str] | None:
    """Return destinations by local path, from ``src_to_dst_mapping``.

    Raises
    ------
    InvalidValueError
        It is not a mapping of local paths or URIs to URLs, or two sources have the same URL.
    """
    if mapping is None:
        return None
    if not isinstance(mapping, Mapping):
        raise InvalidValueError(
            f"src_to_dst_mapping must map sources to destinations, not {shorten(mapping)}"
        )
    checked: dict[str, str] = {}
    taken: dict[str, str] = {}
    for source, target in mapping.items():
        path = path_or_uri(source_uri(source, "src_to_dst_mapping")) or ""
        if not path.startswith("/"):
            raise InvalidValueError(
                f"src_to_dst_mapping: {shorten(redact_url(path))} is not a local file: only local files are uploaded"
            )
        if not isinstance(target, str | os.PathLike) or not os.fspath(target):
            raise InvalidValueError(
                f"src_to_dst_mapping[{shorten(source)}] must be a URL, not {shorten(target)}"
            )
        refuse_secret(os.fspath(target), "src_to_dst_mapping", WAY_OUT)
        url = _target_url(path, str(os.fspath(target)))
        if taken.setdefault(url, path) != path and url != SCHEME:
            raise InvalidValueError(
                f"src_to_dst_mapping maps two sources, {taken[url]} and {path}, to {redact_url(url)}"
            )
        if checked.setdefault(path, url) != url:
            raise InvalidValueError(
                f"src_to_dst_mapping maps {path} to two URLs, {redact_url(checked[path])} and {redact_url(url)}"
            )
    return checked


def routes_of(mapping: Mapping[str, str]) -> list[Route]:
    """Group mapped files by destination: a server, a bucket, or a local folder."""
    local = {path: url for path, url in mapping.items() if url.startswith("file:///")}
    routes: dict[str, dict[str, str]] = {}
    for path, url in mapping.items():
        if url == SCHEME:
            routes.setdefault(SCHEME, {})[path] = encoded_part(Path(path).name)
        elif path not in local:
            scheme, _, rest = url.partition("://")
            place, _, name = rest.lstrip("/").partition("/")
            if not place or not name:
                raise InvalidValueError(f"src_to_dst_mapping: {redact_url(url)} has no object name")
            routes.setdefault(f"{scheme}://{place}", {})[path] = name
    for folder, targets in _folders_of({path: path_or_uri(url) or url for path, url in local.items()}):
        names = {path: encoded(os.path.relpath(target, folder)) for path, target in targets.items()}
        routes[source_uri(Path(folder), "src_to_dst_mapping")] = names
    return [Route(destination, names) for destination, names in routes.items()]


def _folders_of(targets: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Group local targets in as few folders as possible, such that files can be linked from a temporary folder in each."""
    folders = {path: os.path.dirname(target) for path, target in targets.items()}  # noqa: PTH120
    if not folders:
        return
    common = os.path.commonpath(folders.values())
    if len(set(folders.values())) == 1 or _is_one_place(common, set(folders.values())):
        yield common, targets
        return
    shares: dict[str, dict[str, str]] = {}
    for path, folder in folders.items():
        below = folder.removeprefix(common).lstrip("/").partition("/")[0]
        shares.setdefault(below, {})[path] = targets[path]
    for share in shares.values():
        yield from _folders_of(share)


def _is_one_place(common: str, folders: Iterable[str]) -> bool:
    """Whether files written to a folder can be linked into the folders below it."""
    devices = {os.stat(_existing(folder)).st_dev for folder in (common, *folders)}  # noqa: PTH116
    return common != "/" and len(devices) == 1 and os.access(_existing(common), os.W_OK)


def _existing(folder: str) -> str:
    while not os.path.exists(folder):  # noqa: PTH110
        folder = os.path.dirname(folder)  # noqa: PTH120
    return folder


def _target_url(path: str, target: str) -> str:
    """Return the full URL of a target. If it ends in a slash, the name of the file is appended."""
    if target == SCHEME:
        return target
    name = encoded_part(Path(path).name)
    if "://" in target and not target.startswith("file:"):
        return target + name if target.endswith("/") else target
    if target.startswith("~"):
        target = f"{from_home(target)}{'/' * target.endswith('/')}"
    inside = os.path.join(path_or_uri(target) or target, Path(path).name) if target.endswith("/") else target  # noqa: PTH118
    return source_uri(inside, "src_to_dst_mapping")
