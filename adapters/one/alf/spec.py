"""The ALF specification: how sessions, collections and files are named."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID

SPEC_DESCRIPTION = {
    "lab": "The lab that recorded the data. Optional; it is followed by the folder Subjects.",
    "Subjects": "A folder that separates the lab from its subjects. Optional.",
    "subject": "The name of the subject.",
    "date": "The day of the session as YYYY-MM-DD, in the local time of the experiment.",
    "number": "The number of the session on that day, usually padded with zeros to three digits.",
    "collection": "The folders between session and file, such as alf/probe00. Optional.",
    "revision": "A version of some files, in a folder between two hash signs, such as #2020-01-01#. It is usually a date "
    "and is ordered as text. Optional.",
    "namespace": "The group that defined the file, between underscores. Optional.",
    "object": "Every file describes one attribute of an object. All files of an object have the same number of rows, so "
    "that together they form a table with a column for each attribute.",
    "attribute": "The property of the object in this file, such as times, intervals, or any name in camel case.",
    "timescale": "The clock of the times in the file, or its unit. Optional.",
    "extra": "More parts of the name, separated by dots. Optional.",
    "extension": "The format of the file, such as npy or csv.",
}

_PARTS = {
    "lab": r"\w+",
    "subject": r"[\w.-]+",
    "date": r"\d{4}-\d{2}-\d{2}",
    "number": r"\d{1,3}",
    "collection": r"[\w./-]+",
    "revision": r"[\w.-]+",
    "namespace": "(?<=_)[a-zA-Z0-9]+",
    "object": r"\w+",
    "attribute": r"(?:_[a-z]+_)?[a-zA-Z0-9]+(?:_times(?=[_.])|_intervals(?=[_.]))?",
    "timescale": r"\w+",
    "extra": r"[.\w-]+",
    "extension": r"\w+",
}

SESSION_SPEC = "({lab}/Subjects/)?{subject}/{date}/{number}"
COLLECTION_SPEC = "({collection}/)?(#{revision}#/)?"
FILE_SPEC = r"_?{namespace}?_?{object}\.{attribute}(?:_{timescale})?(?:\.{extra})*\.{extension}$"
REL_PATH_SPEC = COLLECTION_SPEC + FILE_SPEC
FULL_SPEC = SESSION_SPEC + "/" + REL_PATH_SPEC

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TIMES = ("times", "timestamps", "intervals")


class QC(IntEnum):
    """Quality control of a dataset; a higher value is worse."""

    CRITICAL = 50
    FAIL = 40
    WARNING = 30
    NOT_SET = 0
    PASS = 10

    @staticmethod
    def validate(v: Any) -> QC:
        """Return a member from its name, in any case, or its value, also as text.

        Raises
        ------
        ValueError
            It is neither.
        """
        text = str(v.name if isinstance(v, QC) else v).strip().upper()
        for member in QC:
            if text in {member.name, str(member.value)}:
                return member
        known = ", ".join(f"{member.name} ({member.value})" for member in sorted(QC))
        raise ValueError(f"{v!r} is not a QC value: use one of {known}")


def _named(pattern: str, name: str) -> str:
    """Return a pattern as a named group."""
    return f"(?P<{name}>{pattern})"


def regex(spec: str = FULL_SPEC, **kwargs: str) -> re.Pattern[str]:
    """Return a specification as a regular expression with a named group for each part.

    Parameters
    ----------
    spec : str
        One of the specifications of this module, or a similar text with the parts in braces.
    **kwargs
        Patterns that replace the default pattern of a part.

    Raises
    ------
    KeyError
        A keyword is not the name of a part.
    """
    unknown = kwargs.keys() - _PARTS.keys()
    if unknown:
        raise KeyError(f"unknown part {min(unknown)!r}: use one of {', '.join(_PARTS)}")
    groups = {name: _named(pattern, name) for name, pattern in (_PARTS | kwargs).items()}
    return re.compile(re.sub(r"\{([a-z]+)\}", lambda part: groups[part[1]], spec))


def path_pattern() -> str:
    """Return the specification of a full path as readable text, with optional parts in parentheses."""
    pattern = re.sub(r"\(\?:|\\|\$", lambda mark: "(" if mark[0] == "(?:" else "", FULL_SPEC)
    return re.sub(r"[{}?*]", "", pattern)


def describe(part: str | None = None, width: int = 99) -> None:
    """Print the specification of a full path, and the description of a part or of all parts.

    Parameters
    ----------
    part : str, optional
        Name of a part. By default all are described.
    width : int
        Columns of the text.

    Raises
    ------
    ValueError
        There is no such part.
    """
    if part is not None and part not in SPEC_DESCRIPTION:
        raise ValueError(f"unknown part {part!r}: use one of {', '.join(SPEC_DESCRIPTION)}")
    pattern = path_pattern()
    print(pattern)
    if part is not None:
        at = re.search(rf"(?<![a-z]){part}(?![a-z])", pattern)
        print(" " * (at.start() if at else 0) + "^" * len(part) + " ")
    for name in SPEC_DESCRIPTION if part is None else (part,):
        print(f"\n{name.upper()}")
        lines = textwrap.wrap(SPEC_DESCRIPTION[name], width)
        print("\n".join(line + " " if len(line) < width else line for line in lines))


def is_session_path(path_object: str | Path) -> bool:
    """Whether a path ends with subject, date and number."""
    path = path_object if isinstance(path_object, str) else path_object.as_posix()
    return regex(f"(?:^|/){SESSION_SPEC}$").search(path.strip("/")) is not None


def is_uuid_string(string: Any) -> bool:
    """Whether a value is the text of a random UUID, in lower case and with its hyphens."""
    return isinstance(string, str) and _UUID.fullmatch(string) is not None and is_uuid(string, (3, 4, 5))


def is_uuid(uuid: Any, versions: Iterable[int] = (4,)) -> bool:
    """Whether a value is a UUID of one of some versions.

    Parameters
    ----------
    uuid : str, int, bytes or UUID
        The value.
    versions : iterable of int
        The allowed versions.
    """
    try:
        match uuid:
            case UUID():
                found = uuid
            case str():
                found = UUID(hex=uuid)
            case bytes():
                found = UUID(bytes=uuid)
            case int():
                found = UUID(int=uuid)
            case _:
                return False
    except ValueError:
        return False
    return found.version in tuple(versions)


def is_valid(filename: str) -> bool:
    """Whether a file name follows the specification."""
    return regex(FILE_SPEC).match(filename) is not None


def to_alf(
    object: str,  # noqa: A002 - the name of the public API
    attribute: str,
    extension: str,
    namespace: str | None = None,
    timescale: str | Iterable[str] | None = None,
    extra: str | Iterable[str] | None = None,
) -> str:
    """Return the file name that is made of some parts.

    Parameters
    ----------
    object, attribute, extension : str
        The required parts. The attribute is put into camel case, the extension may begin with a dot.
    namespace : str, optional
        The namespace, without underscores.
    timescale : str or iterable of str, optional
        The timescale, put into camel case; several are joined by underscores.
    extra : str or iterable of str, optional
        Further parts.

    Raises
    ------
    TypeError
        A required part is missing.
    ValueError
        A part has characters that it must not have.
    """
    extension = (extension or "").lstrip(".")
    for name, value in {"object": object, "attribute": attribute, "extension": extension}.items():
        if not value:
            raise TypeError(f"{name} is empty: a file name needs an object, an attribute and an extension")
    for name, value in {"object": object, "namespace": namespace}.items():
        if value and (not value.replace("_", "").isalnum() or value.startswith("_") or value.endswith("_")):
            raise ValueError(f"{name} {value!r} must consist of letters and digits")
    if namespace and not namespace.isalnum():
        raise ValueError(f"namespace {namespace!r} must consist of letters and digits")
    clocks = [timescale] if isinstance(timescale, str) else list(timescale or ())
    clock = "_".join(map(_dromedary, filter(None, clocks)))
    more = [extra] if isinstance(extra, str) else list(extra or ())
    parts = [_attribute(attribute) + (f"_{clock}" if clock else ""), *filter(None, more), extension]
    words = _dromedary(object)
    name = ".".join([f"_{namespace}_{words}" if namespace else words, *parts])
    if not is_valid(name):
        raise ValueError(f"{name!r} is not a valid name: parts must not contain dots, slashes or spaces")
    return name


def _attribute(name: str) -> str:
    """Return an attribute in camel case, which may end with a kind of times after an underscore."""
    front, _, last = name.rpartition("_")
    return f"{_dromedary(front)}_{last}" if front and last in _TIMES else _dromedary(name)


def _dromedary(string: str) -> str:
    """Return words separated by spaces or underscores in camel case. Words in capitals stay as they are beside others."""
    first, *more = re.split(r"[\s_]", string)
    if not more:
        return first[:1].lower() + first[1:]
    first = first if first.isupper() else first.lower()
    return first + "".join(word if word.isupper() else word.capitalize() for word in more)


def readableALF(name: str, capitalize: bool = False) -> str:  # noqa: N802 - the name of the public API
    """Return a name in camel case as separate words. Words in capitals stay as they are.

    Parameters
    ----------
    name : str
        The name.
    capitalize : bool
        Begin with a capital letter.
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+", name)
    text = " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)
    return text[:1].upper() + text[1:] if capitalize else text
