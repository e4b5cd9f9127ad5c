"""Parses annotation files as XML, with limits, without DTDs, and with clear errors for invalid values."""

from __future__ import annotations

import codecs
import math
import re
import stat
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, fromstring

from ...engine.validation import shorten

MAX_BYTES = 8 * 2**20
MAX_DEPTH = 8

_DECLARATION = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
# Others that Python knows (punycode, unicode_escape, ...) are slow on hostile input or no XML encodings.
_ENCODINGS = re.compile(
    r"utf-?8|(us-)?ascii|iso-8859-\d+|latin-?1|(windows-|cp)\d+|koi8-[ru]"
    r"|gb2312|gbk|gb18030|big5|shift_jis|euc-(jp|kr)",
    re.IGNORECASE,
)


class FlawError(Exception):
    """Something in the folder is wrong and left out; the message is the reason a user reads."""


def file_size(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises
    ------
    FlawError
        If the file is missing, out of reach or something else than a file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise FlawError(f"cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise FlawError("is not a regular file")
    return status.st_size


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return the content of a file that has at most `limit` bytes.

    Raises
    ------
    FlawError
        If the file is larger or cannot be read.
    """
    size = file_size(path)
    if size > limit:
        raise FlawError(f"has {size:,} bytes, over the limit of {limit:,}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise FlawError(f"cannot be read: {error.strerror}") from error


def parse(content: bytes) -> Element:
    """Return the root of a VOC annotation file.

    The text is decoded first, so that the parser sees exactly what was searched for a DOCTYPE: without one there
    are no entities to expand and nothing external to load, whatever the version of expat.

    Raises
    ------
    FlawError
        If it is not well-formed, declares a DOCTYPE, or is no `annotation`.
    """
    text = _decode(content)
    if "<!DOCTYPE" in text:
        raise FlawError("declares a DOCTYPE, which is refused since it can define entities without bound")
    try:
        root = fromstring(text)  # noqa: S314 - safe without a DOCTYPE, and that is refused above
    except ParseError as error:
        raise FlawError(f"is not well-formed XML: {error}") from error
    if root.tag != "annotation":
        raise FlawError(f"its root element is {shorten(root.tag)}, not 'annotation'")
    return root


def _decode(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        content = content.removeprefix(codecs.BOM_UTF8)
        encoding = _declared_encoding(content)
    try:
        return content.decode(encoding)
    except (LookupError, UnicodeError) as error:
        raise FlawError(f"is not well-formed XML: {error}") from error


def _declared_encoding(content: bytes) -> str:
    declaration = _DECLARATION.match(content)
    if declaration is None:
        return "utf-8"
    encoding = declaration[1].decode("ascii")
    if not _ENCODINGS.fullmatch(encoding):
        raise FlawError(f"declares the encoding {shorten(encoding)}, which is not supported")
    return encoding


def only(parent: Element, tag: str) -> Element | None:
    """Return the one child named `tag`, or None.

    Raises
    ------
    FlawError
        If there are several: taking one of them would be a guess.
    """
    found = parent.findall(tag)
    if len(found) > 1:
        raise FlawError(f"has {len(found)} elements '{tag}' where one belongs")
    return found[0] if found else None


def text_of(parent: Element, tag: str) -> str:
    """Return the text of the one child named `tag`, without the white space around it; empty if there is none."""
    element = only(parent, tag)
    return "" if element is None else _stripped(element)


def number_of(parent: Element, tag: str) -> float:
    """Return the finite number in the one child named `tag`.

    Raises
    ------
    FlawError
        If it is missing or anything else than a finite number.
    """
    if only(parent, tag) is None:
        raise FlawError(f"has no {tag}")
    text = text_of(parent, tag)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # Python reads "1_0" as ten; no VOC tool means that.
    if not math.isfinite(value) or "_" in text:
        raise FlawError(f"{tag} is {shorten(text)}, not a finite number")
    return value


def members(element: Element, skip: Collection[str] = (), depth: int = 1) -> dict[str, Any]:
    """Return what the children of an element say, as JSON-like values.

    Parameters
    ----------
    element : Element
        The element whose children are taken.
    skip : collection of str
        Tags of direct children to leave out.
    depth : int
        Level of nesting reached so far.

    Returns
    -------
    dict
        Tag -> text, or a dict for an element with children, or a list of these for a tag that repeats. Empty
        elements are left out.

    Raises
    ------
    FlawError
        If elements nest deeper than `MAX_DEPTH`.
    """
    if depth > MAX_DEPTH:
        raise FlawError(f"nests elements more than {MAX_DEPTH} levels deep")
    values: defaultdict[str, list[Any]] = defaultdict(list)
    for child in element:
        if child.tag in skip:
            continue
        value = members(child, depth=depth + 1) if len(child) else _stripped(child)
        if value:
            values[child.tag].append(value)
    return {tag: found[0] if len(found) == 1 else found for tag, found in values.items()}


def _stripped(element: Element) -> str:
    return (element.text or "").strip()
