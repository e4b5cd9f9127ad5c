"""Parts of ALF paths, and the changes of paths that ALF needs."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

from . import spec

logger = logging.getLogger(__name__)

AnyPath = str | PurePath
Parts = tuple[str | None, ...] | dict[str, str | None]

_FOLDER_SPEC = rf"(?:^|/){spec.SESSION_SPEC}/{spec.COLLECTION_SPEC}$"
_FOLDERS = ("lab", "subject", "date", "number", "collection", "revision")


@lru_cache
def _compiled(text: str) -> re.Pattern[str]:
    return spec.regex(text)


def _posix(path: AnyPath) -> str:
    return path if isinstance(path, str) else path.as_posix()


def _parts(
    found: re.Match[str] | None, text: str, names: Sequence[str], *, as_dict: bool, check: bool
) -> Any:
    if found is None and check:
        raise ValueError(
            f"Invalid ALF: {text!r} does not follow the specification, see one.alf.spec.describe()"
        )
    values = {name: None if found is None else found[name] for name in names}
    return values if as_dict else tuple(values.values())


def rel_path_parts(rel_path: AnyPath, as_dict: bool = False, assert_valid: bool = True) -> Any:
    """Return the parts of a path relative to its session: collection, revision, and the parts of the file name.

    Parameters
    ----------
    rel_path : str or path
        The relative path.
    as_dict : bool
        Return a dict rather than a tuple.
    assert_valid : bool
        Raise for an invalid path. Otherwise all its parts are None.

    Raises
    ------
    ValueError
        The path is invalid.
    """
    pattern, text = _compiled(spec.REL_PATH_SPEC), _posix(rel_path)
    return _parts(pattern.match(text), text, list(pattern.groupindex), as_dict=as_dict, check=assert_valid)


def filename_parts(filename: str, as_dict: bool = False, assert_valid: bool = True) -> Any:
    """Return namespace, object, attribute, timescale, extra and extension of a file name.

    The parameters and errors are those of `rel_path_parts`.
    """
    pattern = _compiled(spec.FILE_SPEC)
    return _parts(
        pattern.match(filename), filename, list(pattern.groupindex), as_dict=as_dict, check=assert_valid
    )


def session_path_parts(session_path: AnyPath, as_dict: bool = False, assert_valid: bool = True) -> Any:
    """Return lab, subject, date and number of a path in a session.

    The parameters and errors are those of `rel_path_parts`.
    """
    pattern, text = _compiled(spec.SESSION_SPEC), _posix(session_path)
    return _parts(pattern.search(text), text, list(pattern.groupindex), as_dict=as_dict, check=assert_valid)


def folder_parts(folder_path: AnyPath, as_dict: bool = False, assert_valid: bool = True) -> Any:
    """Return lab, subject, date, number, collection and revision of a folder.

    The parameters and errors are those of `rel_path_parts`.
    """
    text = _posix(folder_path).rstrip("/")
    return _parts(
        _compiled(_FOLDER_SPEC).search(text + "/"), text, _FOLDERS, as_dict=as_dict, check=assert_valid
    )


def full_path_parts(path: AnyPath, as_dict: bool = False, assert_valid: bool = True) -> Any:
    """Return the parts of a path: those of its folder and of its file name, as far as it has them.

    The parameters and errors are those of `rel_path_parts`.
    """
    pure = PurePath(path) if isinstance(path, str) else path
    is_file = spec.is_valid(pure.name)
    is_name = len(pure.parts) == 1
    folder = pure.parent if is_file else pure
    folders = folder_parts(folder, as_dict=True, assert_valid=assert_valid and not is_name)
    names = filename_parts(pure.name, as_dict=True, assert_valid=assert_valid and is_name)
    values = folders | names
    return values if as_dict else tuple(values.values())


def _isdatetime(text: str) -> bool:
    """Whether a text is a day as YYYY-MM-DD."""
    try:
        datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 - only whether it is one
    except ValueError:
        return False
    return True


def get_session_path(path: Any) -> Any:
    """Return the session folder of a path, of the same class of path; None if it is not in a session.

    Parameters
    ----------
    path : str, path or None
        The session folder, or anything below it.
    """
    if path is None:
        return None
    pure = Path(path) if isinstance(path, str) else path
    parts = pure.parts
    for place in range(len(parts) - 1, 0, -1):
        if re.fullmatch(r"\d{1,3}", parts[place]) and _isdatetime(parts[place - 1]):
            return type(pure)(*parts[: place + 1])
    return None


def get_alf_path(path: AnyPath) -> str | None:
    """Return the part of a path that ALF describes: from lab or subject on, or else from the collection on.

    Parameters
    ----------
    path : str or path
        A path, or a URL.

    Returns
    -------
    str or None
        The path with forward slashes; None if no part of it follows the specification.
    """
    text = _posix(path)
    session = _compiled(rf"(?:^|(?<=/)){spec.SESSION_SPEC}(?:/|$)").search(text)
    if session:
        return text[session.start() :].strip("/")
    found = _compiled(spec.REL_PATH_SPEC).match(text.strip("/"))
    return found[0] if found else None


def add_uuid_string(file_path: AnyPath, uuid: str | UUID) -> Any:
    """Return a path whose file name has a UUID before the extension. It replaces one that is there.

    Parameters
    ----------
    file_path : str or path
        The file.
    uuid : str or UUID
        The UUID.

    Raises
    ------
    ValueError
        It is not a UUID.
    """
    text = str(uuid)
    if not spec.is_uuid(text, versions=(3, 4, 5)):
        raise ValueError(f"{text!r} is not a valid UUID")
    path = Path(file_path) if isinstance(file_path, str) else file_path
    *front, extension = path.name.split(".")
    if front and spec.is_uuid_string(front[-1]):
        if front[-1] != text:
            logger.debug("Replacing %s with %s", front[-1], text)
        front.pop()
    return path.with_name(".".join([*front, text, extension]))


def remove_uuid_string(file_path: AnyPath) -> Any:
    """Return a path whose file name has no UUID before the extension."""
    path = Path(file_path) if isinstance(file_path, str) else file_path
    parts = path.name.split(".")
    if len(parts) > 2 and spec.is_uuid_string(parts[-2]):
        return path.with_name(".".join([*parts[:-2], parts[-1]]))
    return path


def padded_sequence(file_path: AnyPath) -> Any:
    """Return a path whose session number has three digits.

    Raises
    ------
    ValueError
        The path is not in a session.
    """
    path = Path(file_path) if isinstance(file_path, str) else file_path
    session = get_session_path(path)
    if session is None:
        raise ValueError(f"Invalid ALF: {str(path)!r} is not in a session folder (subject/date/number)")
    below = path.relative_to(session)
    return session.with_name(session.name.zfill(3)) / below


def without_revision(file_path: AnyPath) -> Any:
    """Return a path of a dataset without its revision folder.

    Raises
    ------
    ValueError
        The path is not that of a dataset in a session.
    """
    path = Path(file_path) if isinstance(file_path, str) else file_path
    if get_session_path(path) is None or not spec.is_valid(path.name):
        raise ValueError(f"Invalid ALF: {str(path)!r} is not the path of a dataset in a session")
    folder = path.parent
    if re.fullmatch(r"#[\w.-]+#", folder.name):
        folder = folder.parent
    return folder / path.name
