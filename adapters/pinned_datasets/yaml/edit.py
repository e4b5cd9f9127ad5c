"""Changes, replaces and adds list entries in the text itself, so that every other byte stays the same."""

from __future__ import annotations

import re
from collections.abc import Sequence as Items
from typing import Any

from .document import Document, Edit
from .text import block_lines, flow, scalar
from .tree import Alias, Mapping, Node, Scalar, Sequence, content_end, refuse

_LINE_END = re.compile(r"\r\n|\n|\r")

Lines = Items[str]


def change_fields(
    document: Document, entry: Mapping, wanted: dict[str, Any], owned: Items[str]
) -> list[Edit]:
    """Return the edits that set the `owned` keys of an entry. Its other keys stay."""
    own = [(key.value, key, value) for key, value in entry.pairs if not key.merges]
    edits = [
        _replacing(document, value, wanted[name], inside=entry.flow)
        for name, _, value in own
        if name in wanted and not (isinstance(value, Scalar) and value.value == wanted[name])
    ]
    gone = [at for at, (name, _, _) in enumerate(own) if name in owned and name not in wanted]
    edits += [_removal(document, entry, at, gone) for at in gone]
    kept = [name for at, (name, _, _) in enumerate(own) if at not in gone]
    values = {name: value for name, _, value in own}
    anchor = next((name for name in reversed(owned) if name in kept), kept[-1] if kept else None)
    added = {name: wanted[name] for name in owned if name in wanted and name not in values}
    if not added:
        return edits
    if anchor is None:
        raise refuse(document.shown, entry, "the entry has no keys of its own: edit it by hand")
    return [*edits, _addition(document, entry, values[anchor], added)]


def _replacing(document: Document, node: Node, value: Any, *, inside: bool = False) -> Edit:
    end = _visible_end(document, node)
    text = flow(value, inside=inside)
    if node.start == end and document.text[end - 1 : end] not in {" ", "\t"}:
        text = f" {text}"
    return Edit(node.start, end, text)


def _removal(document: Document, entry: Mapping, at: int, gone: list[int]) -> Edit:
    pairs = [pair for pair in entry.pairs if not pair[0].merges]
    key, value = pairs[at]
    if not entry.flow and at > 0:
        return Edit(_line_start(document.text, key.start), _after_line(document.text, content_end(value)), "")
    if at > 0 and not all(earlier in gone for earlier in range(at)):
        return Edit(content_end(pairs[at - 1][1]), content_end(value), "")
    following = pairs[at + 1][0].start if at + 1 < len(pairs) else content_end(value)
    return Edit(key.start, following, "")


def _addition(document: Document, entry: Mapping, after: Node, added: dict[str, Any]) -> Edit:
    if entry.flow:
        at = content_end(after)
        return Edit(
            at, at, "".join(f", {scalar(key)}: {flow(value, inside=True)}" for key, value in added.items())
        )
    indent = _indent(document, entry)
    lines = [f"{indent}{scalar(key)}: {flow(value)}" for key, value in added.items()]
    return _insertion(document, content_end(after), lines)


def replace_entry(document: Document, entry: Mapping, fields: dict[str, Any]) -> Edit:
    """Return the edit that replaces an entry."""
    if entry.flow:
        return Edit(entry.start, entry.end, flow(fields))
    indent = _indent(document, entry)
    text = f"{document.newline}{indent}".join(block_lines(fields))
    return Edit(entry.start, _visible_end(document, entry), text)


def add_entry(document: Document, key: str, fields: dict[str, Any]) -> list[Edit]:
    """Return the edits that append an entry to the list of a key, which is created if missing."""
    block = list(block_lines(fields))
    root = document.root
    if root is None or not root.pairs:
        return _first_section(document, key, fields, block)
    section = root.find(key)
    if section is None:
        return _new_section(document, root, key, fields, block)
    if isinstance(section, Alias):
        raise refuse(document.shown, section, f"{key} is an alias of another part: edit it by hand")
    if isinstance(section, Sequence) and section.items:
        return [_next_item(document, section, fields, block)]
    empty = isinstance(section, Sequence | Mapping) or (isinstance(section, Scalar) and section.value is None)
    if not empty:
        raise refuse(document.shown, section, f"{key} must be a list")
    if root.flow:
        return [_replacing(document, section, [fields])]
    (name,) = (each for each, _ in root.pairs if each.value == key and not each.merges)
    return _filled_section(document, name, section, fields, block)


def _first_section(document: Document, key: str, fields: dict[str, Any], block: Lines) -> list[Edit]:
    """Add the first section of a file that is empty or has only comments."""
    root = document.root
    lines = [f"{key}:", *_item(block, "", 2)]
    if root is not None:
        # An empty mapping is written as {}.
        alone = root.column == 1
        return [Edit(root.start, root.end, document.newline.join(lines) if alone else flow({key: [fields]}))]
    return [_insertion(document, _end_of_document(document), lines)]


def add_empty(document: Document, key: str) -> list[Edit]:
    """Return the edits that append an empty mapping to a file that is not empty."""
    root = document.root
    return [] if root is None else _appended(document, root, f"{key}: {{}}", [f"{key}: {{}}"])


def _new_section(
    document: Document, root: Mapping, key: str, fields: dict[str, Any], block: Lines
) -> list[Edit]:
    lines = [f"{key}:", *_item(block, "", 2)]
    return _appended(document, root, f"{scalar(key)}: {flow([fields])}", lines)


def _appended(document: Document, root: Mapping, in_flow: str, lines: Lines) -> list[Edit]:
    if root.flow:
        at = content_end(root.pairs[-1][1])
        return [Edit(at, at, f", {in_flow}")]
    indent = _indent(document, root)
    lines = [f"{indent}{line}" for line in lines]
    at = _end_of_document(document)
    if at == content_end(root) and not document.text.endswith(("\n", "\r")):
        # A block scalar at the end of the file would gain a line end if a line followed.
        at = _line_start(document.text, root.pairs[-1][0].start)
    return [_insertion(document, at, lines)]


def _filled_section(
    document: Document, name: Scalar, section: Node, fields: dict[str, Any], block: Lines
) -> list[Edit]:
    """Add the first entry to an empty list: ``datasets: []``, or nothing after the colon."""
    colon = document.text.index(":", name.end) + 1
    between = document.text[colon : section.start]
    if between.strip(" \t") or _LINE_END.search(document.text[section.start : section.end]):
        # An anchor, a tag or a comment is in between, so the list is filled in place.
        return [_replacing(document, section, [fields])]
    indent = " " * (name.column - 1)
    emptied = [Edit(colon, section.end, "")] if section.end > colon else []
    return [*emptied, _insertion(document, section.end, _item(block, indent, 2))]


def _next_item(document: Document, section: Sequence, fields: dict[str, Any], block: Lines) -> Edit:
    at = content_end(section.items[-1])
    if section.flow:
        return Edit(at, at, f", {flow(fields)}")
    first = section.items[0].start
    dash = document.text.rfind("-", 0, first)
    indent = " " * (dash - _line_start(document.text, dash))
    gap = first - dash if _line_start(document.text, first) <= dash else 2
    return _insertion(document, at, _item(block, indent, gap))


def _item(block: Lines, indent: str, gap: int) -> list[str]:
    first, *others = block
    return [f"{indent}-{' ' * (gap - 1)}{first}", *(f"{indent}{' ' * gap}{line}" for line in others)]


def _insertion(document: Document, at: int, lines: Lines) -> Edit:
    """Return the edit that inserts lines after the line of a position, or before it if the line starts there."""
    text, newline = document.text, document.newline
    at = at if _line_start(text, at) == at else _after_line(text, at)
    added = newline.join(lines)
    # A file without a final line end stays so.
    return Edit(at, at, added + newline if at == 0 or text[at - 1] in "\r\n" else newline + added)


def _end_of_document(document: Document) -> int:
    """Return the end of the document's text: before a line of three dots, if there is one."""
    found = re.search(r"^\.\.\.(?=\s|\Z)", document.text, re.MULTILINE)
    start = content_end(document.root) if document.root is not None else 0
    return found.start() if found and found.start() >= start else len(document.text)


def _indent(document: Document, mapping: Mapping) -> str:
    """Return the indentation of a mapping's keys. An anchor or a tag may precede the first key."""
    first = mapping if document.text[mapping.start] not in "&!" else mapping.pairs[0][0]
    return " " * (first.column - 1)


def _visible_end(document: Document, node: Node) -> int:
    """Return the position of the last visible character of a node. A block scalar extends to the next line."""
    return max(node.start, len(document.text[: content_end(node)].rstrip()))


def _line_start(text: str, at: int) -> int:
    return max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1


def _after_line(text: str, at: int) -> int:
    """Return the position after the next line end, skipping a comment."""
    if at > 0 and text[at - 1] in "\r\n":
        return at
    found = _LINE_END.search(text, at)
    return found.end() if found else len(text)
