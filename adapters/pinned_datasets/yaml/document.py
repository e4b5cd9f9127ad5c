"""A YAML file with its text and tree, for edits that leave all other bytes unchanged."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from ....engine.errors import InvalidValueError, StorageError, UsageError
from .tree import Mapping, Node, Scalar, parse_yaml, refuse, to_python

_BOM = "\ufeff"
_LINE_END = re.compile(r"\r\n|\n|\r")


class Edit(msgspec.Struct, frozen=True):
    """A range of characters in a text, and its replacement."""

    start: int
    end: int
    text: str


class Document(msgspec.Struct, kw_only=True):
    """A parsed file. A missing file is empty.

    Attributes
    ----------
    path : Path
        Path of the file.
    shown : str
        Name of the file in messages.
    text : str
        Its text, without a byte order mark.
    root : Node or None
        Its tree, or None if it is empty.
    mark : str
        The byte order mark, or empty.
    """

    path: Path
    shown: str
    text: str
    root: Mapping | None
    mark: str = ""

    @classmethod
    def read(cls, path: Path, limit: int) -> Self:
        """Read a file.

        Raises
        ------
        InvalidValueError
            It is not valid YAML or UTF-8, not a mapping, or larger than `limit` bytes. The message gives the place.
        """
        shown = str(path)
        mark, text = split_mark(read_text(path, shown, limit))
        return cls(path=path, shown=shown, text=text, root=parse_mapping(text, shown), mark=mark)

    @property
    def newline(self) -> str:
        """The line ending of the first line."""
        found = _LINE_END.search(self.text)
        return found[0] if found else "\n"

    def section(self, key: str) -> Node | None:
        """Return the value of a key of the file."""
        return None if self.root is None else self.root.find(key)

    def value(self) -> dict[Any, Any]:
        """Return the content as plain values."""
        return {} if self.root is None else to_python(self.root, self.shown)

    def edited(self, edits: Sequence[Edit], expected: dict[Any, Any]) -> str:
        """Return the text with edits applied, after a check that it has the expected content.

        Raises
        ------
        InvalidValueError
            The edited text would have other content, because the entry is linked to other parts of the file.
        """
        text = apply_edits(self.text, edits)
        try:
            root = parse_mapping(text, self.shown)
            found = {} if root is None else to_python(root, self.shown)
        except InvalidValueError:
            found = None
        if found != expected:
            raise InvalidValueError(
                f"{self.shown}: its entries cannot be changed without changes to other parts, possibly because an anchor is "
                "used elsewhere: edit it by hand"
            )
        return self.mark + text


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """Return a text with edits applied. They do not overlap; edits at the same place are applied in order."""
    parts: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        parts += [text[at : edit.start], edit.text]
        at = max(at, edit.end)
    return "".join([*parts, text[at:]])


def parse_mapping(text: str, shown: str) -> Mapping | None:
    """Return the tree of a text whose top level is a mapping, or None if it is empty."""
    root = parse_yaml(text, shown)
    if root is None or isinstance(root, Mapping):
        return root
    if isinstance(root, Scalar) and root.value is None:
        return None
    raise refuse(shown, root, "the file must be a mapping, such as `datasets:` with a list")


def read_text(path: Path, shown: str, limit: int) -> str:
    """Return the text of a file, empty if it is missing.

    Raises
    ------
    InvalidValueError
        It is not UTF-8, not a regular file, or larger than `limit` bytes.
    """
    try:
        data = _read_plain(path, shown, limit)
    except FileNotFoundError:
        return ""
    except InvalidValueError:
        raise
    except OSError as error:
        raise StorageError(f"{shown} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{shown!r} is not a valid path on this system") from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n"), error.start - before.rfind(b"\n") - 1
        raise InvalidValueError(
            f"{shown}:{line + 1}:{column + 1}: the byte 0x{data[error.start]:02x} is not valid UTF-8"
        ) from error


def _read_plain(path: Path, shown: str, limit: int) -> bytes:
    # Opening a pipe could block forever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidValueError(f"{shown} is not a regular file")
        if found.st_size > limit:
            raise InvalidValueError(
                f"{shown}:1:1: the file has {found.st_size:,} bytes, the limit is {limit:,}"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def split_mark(text: str) -> tuple[str, str]:
    """Return the byte order mark of a text, if any, and the rest."""
    return (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)
