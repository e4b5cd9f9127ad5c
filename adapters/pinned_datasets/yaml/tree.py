"""YAML as a tree with the positions of all nodes in the text. Nothing in it is ever executed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ....engine.errors import InvalidValueError, UsageError
from ....engine.validation import shorten

_DEPTH = 64
_ALIASED = 100_000
_VALUES = 200_000
"""Maximum number of values. The parser takes 25 microseconds for each."""
_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + name for name in ("bool", "float", "int", "null")}
_COLLECTIONS = {_TAG + "map", _TAG + "seq", _TAG + "omap"}
_of_thread = threading.local()
_TEXTS = {_TAG + name for name in ("str", "timestamp", "merge")}


class Node(msgspec.Struct):
    """A range of the text. Line and column start at 1."""

    start: int
    end: int
    line: int
    column: int


class Scalar(Node):
    """A scalar. `merges` is set for the key ``<<``."""

    value: Any
    merges: bool = False


class Sequence(Node):
    """A sequence. `flow` is set if it is written in brackets."""

    items: list[Node]
    flow: bool


class Mapping(Node):
    """A mapping. `flow` is set if it is written in braces."""

    pairs: list[tuple[Scalar, Node]]
    flow: bool

    def find(self, key: str) -> Node | None:
        """Return the value of a key that is written here, not merged from another mapping."""
        return next((value for name, value in self.pairs if name.value == key and not name.merges), None)


class Alias(Node):
    """A reference to another node."""

    target: Node


def content_end(node: Node) -> int:
    """Return the end of a node's content. Block nodes themselves end where the next token starts."""
    if isinstance(node, Mapping) and not node.flow and node.pairs:
        return content_end(node.pairs[-1][1]) or content_end(node.pairs[-1][0])
    if isinstance(node, Sequence) and not node.flow and node.items:
        return content_end(node.items[-1])
    return node.end


def parse_yaml(text: str, path: str) -> Node | None:
    """Return the tree of a text, or None if it is empty.

    Raises
    ------
    InvalidValueError
        It is not valid YAML, or has unsupported features: several documents, custom tags, duplicate keys, keys that are not
        scalars, alias cycles, or too many levels or values. The message gives path, line and column.
    """
    builder, library = _Builder(text, path), _library()
    try:
        for event in library.parse(text):
            builder.take(event)
    except InvalidValueError:
        raise
    except Exception as error:
        # The library's own errors give a place. For others, use the last event.
        raise _refusal_of(error, text, path, builder) from error
    finally:
        if "%YAML" in text:
            # The parser keeps the version of a text for the next one.
            del _of_thread.reader
    return builder.root


def place(path: str, node: Node) -> str:
    """Return the place of a node, for messages."""
    return f"{path}:{node.line}:{node.column}"


def refuse(path: str, node: Node, problem: str) -> InvalidValueError:
    """Return the error for a part of a file."""
    return InvalidValueError(f"{place(path, node)}: {problem}")


def to_python(node: Node, path: str) -> Any:
    """Return the values of a tree, with merges applied. Aliases may repeat only a limited number of values."""
    return _Reading(path).value(node)


def resolves_to_text(plain: str) -> bool:
    """Whether a plain scalar is read as a string with the same characters."""
    from ruamel.yaml.nodes import ScalarNode

    return str(_library().resolver.resolve(ScalarNode, plain, (True, False))) == f"{_TAG}str"


def _library() -> Any:
    """Return the parser of this thread, because a parser has state."""
    if not hasattr(_of_thread, "reader"):
        try:
            from ruamel.yaml import YAML
        except ImportError as error:
            raise UsageError("pinned datasets need ruamel.yaml: pip install 'framelode[pins]'") from error
        _of_thread.reader = YAML(typ="safe", pure=True)
    return _of_thread.reader


def _refusal_of(error: Exception, text: str, path: str, builder: _Builder) -> InvalidValueError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line, mark.column) if mark else (builder.line, builder.column)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is not valid YAML"
    position = getattr(error, "position", None)
    if isinstance(position, int):
        before = text[:position]
        line, column = before.count("\n"), position - before.rfind("\n") - 1
        problem = f"the character {shorten(text[position : position + 1])} is not allowed"
    return InvalidValueError(f"{path}:{line + 1}:{column + 1}: {problem}")


class _Builder:
    """Builds the tree from the events of a text."""

    def __init__(self, text: str, path: str) -> None:
        self.root: Node | None = None
        self._text = text
        self.line = self.column = 0
        self._path = path
        self._open: list[tuple[Sequence | Mapping, list[Scalar]]] = []
        self._anchors: dict[str, Node] = {}
        self._documents = self._values = 0
        self._steps: dict[str, Callable[[Any], None]] = {
            "DocumentStartEvent": self._begin,
            "ScalarEvent": self._scalar,
            "SequenceStartEvent": self._collection,
            "MappingStartEvent": self._collection,
            "SequenceEndEvent": self._end,
            "MappingEndEvent": self._end,
            "AliasEvent": self._alias,
        }

    def take(self, event: Any) -> None:
        """Process the next event."""
        self.line, self.column = event.start_mark.line, event.start_mark.column
        step = self._steps.get(type(event).__name__)
        if step is not None:
            step(event)

    def _begin(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise refuse(
                self._path, Node(**_span(event)), "a second document begins here; only one is allowed"
            )

    def _scalar(self, event: Any) -> None:
        node = Scalar(*_span(event).values(), value=event.value)
        tag = _tag(event)
        if tag is None and event.implicit[0]:
            from ruamel.yaml.nodes import ScalarNode

            tag = str(_library().resolver.resolve(ScalarNode, event.value, (True, False)))
        if tag in _SCALARS:
            node.value = self._plain(tag, event.value, node)
        elif tag not in _TEXTS and tag is not None:
            raise refuse(self._path, node, f"the tag {shorten(tag)} is not supported")
        node.merges = tag == f"{_TAG}merge"
        self._check_text(node)
        self._add(event, node)

    def _plain(self, tag: str, text: str, node: Node) -> Any:
        from ruamel.yaml.nodes import ScalarNode

        try:
            return _library().constructor.construct_object(ScalarNode(tag, text))
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            raise refuse(
                self._path, node, f"{shorten(text)} is not a valid {tag.removeprefix(_TAG)}"
            ) from error

    def _check_text(self, node: Scalar) -> None:
        if not isinstance(node.value, str):
            return
        if "\0" in node.value:
            raise refuse(self._path, node, "a string must not contain a NUL character")
        try:
            node.value.encode()
        except UnicodeEncodeError as error:
            raise refuse(self._path, node, "a string must not contain a lone surrogate") from error

    def _collection(self, event: Any) -> None:
        is_mapping = type(event).__name__ == "MappingStartEvent"
        node: Mapping | Sequence
        if is_mapping:
            node = Mapping(**_span(event), pairs=[], flow=bool(event.flow_style))
        else:
            node = Sequence(**_span(event), items=[], flow=bool(event.flow_style))
        tag = _tag(event)
        if tag is not None and tag not in _COLLECTIONS:
            raise refuse(self._path, node, f"the tag {shorten(tag)} is not supported")
        if len(self._open) >= _DEPTH:
            raise refuse(self._path, node, f"nested more than {_DEPTH} levels deep")
        self._add(event, node)
        self._open.append((node, []))

    def _end(self, event: Any) -> None:
        node, keys = self._open.pop()
        node.end = event.end_mark.index
        if isinstance(node, Mapping):
            seen: set[Any] = set()
            for key, (written, _) in zip(keys, node.pairs, strict=True):
                if (key.merges, key.value) in seen:
                    raise refuse(self._path, written, f"the key {shorten(key.value)} is duplicated")
                seen.add((key.merges, key.value))

    def _alias(self, event: Any) -> None:
        span = _span(event)
        target = self._anchors.get(event.anchor)
        if target is None:
            raise refuse(
                self._path, Node(**span), f"the anchor {shorten(event.anchor)} is not defined before this"
            )
        if any(node is target for node, _ in self._open):
            raise refuse(self._path, Node(**span), f"{shorten(event.anchor)} contains itself")
        self._add(event, Alias(**span, target=target))

    def _add(self, event: Any, node: Node) -> None:
        self._values += 1
        if self._values > _VALUES:
            raise refuse(self._path, node, f"the file has more than {_VALUES:,} values, which is the limit")
        if event.anchor is not None and not isinstance(node, Alias):
            self._anchors[event.anchor] = node
        if not self._open:
            self.root = node
            return
        parent, keys = self._open[-1]
        is_key = isinstance(parent, Mapping) and len(keys) == len(parent.pairs)
        if isinstance(node, Scalar) and node.merges and not is_key:
            raise refuse(self._path, node, "<< is not a value: write it in quotes")
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif len(keys) > len(parent.pairs):
            self._place_after(keys[-1], node)
            parent.pairs.append((keys[-1], node))
        else:
            key = node.target if isinstance(node, Alias) else node
            if not isinstance(key, Scalar):
                raise refuse(self._path, node, "a key must be a scalar")
            keys.append(Scalar(node.start, node.end, node.line, node.column, key.value, key.merges))

    def _place_after(self, key: Scalar, node: Node) -> None:
        """Place an empty value after its colon. The parser places it where the next token starts."""
        if isinstance(node, Scalar) and node.start == node.end:
            colon = self._text.find(":", key.end)
            if colon >= 0 and not self._text[key.end : colon].strip():
                node.start = node.end = colon + 1


def _span(event: Any) -> dict[str, int]:
    start, end = event.start_mark, event.end_mark
    return {"start": start.index, "end": end.index, "line": start.line + 1, "column": start.column + 1}


def _tag(event: Any) -> str | None:
    tag = getattr(event, "tag", None)
    return None if tag is None or str(tag) == "!" else str(tag)


class _Reading:
    """Converts a tree to plain values."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._left = _ALIASED
        self._within = 0

    def value(self, node: Node) -> Any:
        self._left -= self._within > 0
        if self._left < 0:
            raise refuse(self._path, node, f"aliases repeat more than {_ALIASED:,} values")
        match node:
            case Alias():
                self._within += 1
                if self._within > _DEPTH:
                    raise refuse(self._path, node, f"more than {_DEPTH} aliases are nested")
                value = self.value(node.target)
                self._within -= 1
                return value
            case Scalar():
                return node.value
            case Sequence():
                return [self.value(item) for item in node.items]
            case Mapping():
                return self._mapping(node)
            case _:
                raise TypeError(type(node))

    def _mapping(self, node: Mapping) -> dict[Any, Any]:
        own = {key.value: self.value(value) for key, value in node.pairs if not key.merges}
        merged: dict[Any, Any] = {}
        for key, value in node.pairs:
            if key.merges:
                for each in self._merged(value):
                    merged = each | merged
        return merged | own

    def _merged(self, node: Node) -> Iterator[dict[Any, Any]]:
        found = self.value(node)
        for each in found if isinstance(found, list) else [found]:
            if not isinstance(each, dict):
                raise refuse(self._path, node, "a merged value must be a mapping, or a list of mappings")
            yield each
