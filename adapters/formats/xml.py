"""Parses annotation files in XML, with limits, without DTDs, and with clear errors for invalid values."""

from __future__ import annotations

import codecs
import re
from collections import defaultdict
from collections.abc import Collection
from typing import Any
from xml.etree.ElementTree import Element, ParseError, fromstring

from ...engine.validation import shorten
from .report import FlawError, finite

MAX_DEPTH = 8

_DECLARATION = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
# Other Python codecs (punycode, unicode_escape, ...) are slow for hostile input, or are not XML encodings.
_ENCODINGS = re.compile(
    r"utf-?8|(us-)?ascii|iso-8859-\d+|latin-?1|(windows-|cp)\d+|koi8-[ru]"
    r"|gb2312|gbk|gb18030|big5|shift_jis|euc-(jp|kr)",
    re.IGNORECASE,
)


_TAG = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NOT_TEXT = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def parse(content: bytes, tag: str) -> Element:
    """Return the root of an annotation file.

    The text is decoded first, so the parser sees exactly what was searched for a DOCTYPE. Without one there are no entities
    to expand and no external files to load, in any version of expat.

    Raises
    ------
    FlawError
        The file is not well-formed, declares a DOCTYPE, or its root is not `tag`, in any case.
    """
    text = _decode(content)
    if "<!DOCTYPE" in text:
        raise FlawError("declares a DOCTYPE, which is not allowed because it can define unlimited entities")
    try:
        root = fromstring(text)  # noqa: S314 - safe without a DOCTYPE, and that is refused above
    except ParseError as error:
        raise FlawError(f"is not well-formed XML: {error}") from error
    if root.tag.lower() != tag:
        raise FlawError(f"its root element must be {tag!r}, not {shorten(root.tag)}")
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
    """Return the only child named `tag`, or None if there is none.

    Raises
    ------
    FlawError
        There are several.
    """
    found = parent.findall(tag)
    if len(found) > 1:
        raise FlawError(f"has {len(found)} elements '{tag}' instead of one")
    return found[0] if found else None


def text_of(parent: Element, tag: str) -> str:
    """Return the stripped text of the only child named `tag`; empty if there is none."""
    element = only(parent, tag)
    return "" if element is None else _stripped(element)


def number_of(parent: Element, tag: str) -> float:
    """Return the finite number in the only child named `tag`.

    Raises
    ------
    FlawError
        It is missing or not a finite number.
    """
    if only(parent, tag) is None:
        raise FlawError(f"has no {tag}")
    return finite(text_of(parent, tag), tag)


def members(element: Element, skip: Collection[str] = (), depth: int = 1) -> dict[str, Any]:
    """Return the children of an element as JSON-like values.

    Parameters
    ----------
    element : Element
        The parent element.
    skip : collection of str
        Tags of direct children to skip.
    depth : int
        Current nesting depth.

    Returns
    -------
    dict
        By tag: the text, a dict for an element with children, or a list of these for a repeated tag. Empty elements are
        omitted.

    Raises
    ------
    FlawError
        Elements are nested deeper than `MAX_DEPTH`.
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


def element_of(tag: str, value: Any) -> list[Element] | None:
    """Return the elements that `members` reads as a value; None if there are none.

    Parameters
    ----------
    tag : str
        The tag of the elements.
    value : object
        A text, a dict of values by tag, or a list of several of these.
    """
    values = value if isinstance(value, list) else [value]
    if not _TAG.fullmatch(tag) or (isinstance(value, list) and len(value) < 2):
        return None
    made: list[Element] = []
    for each in values:
        element = Element(tag)
        if isinstance(each, dict) and each:
            for name, inner in each.items():
                children = element_of(name, inner)
                if children is None:
                    return None
                element.extend(children)
        elif isinstance(each, str) and each and each == each.strip() and is_xml_text(each):
            element.text = each
        else:
            return None
        made.append(element)
    return made


def is_xml_text(text: str) -> bool:
    """Whether XML can hold a text as it is: no control characters, and no carriage return, which becomes a line feed."""
    return _NOT_TEXT.search(text) is None
