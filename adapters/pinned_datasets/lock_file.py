"""`dvc.lock`: the entries of its section `datasets`, with their file lists, which may be long.

A file list in the layout of DVC is cut out before the text is parsed as YAML, and inserted again on writing. It may have
hundreds of thousands of files, and is read with regular expressions. Any other layout is parsed as YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import attrs
import msgspec

from ...engine.errors import InvalidTypeError, InvalidValueError
from ...engine.log.decoding import gc_paused
from .records import DatasetSpec, FileInfo, Lock, Meta, URLDatasetLock, lock_of
from .yaml.document import Document, parse_mapping, read_text, split_mark
from .yaml.edit import add_empty, add_entry, replace_entry
from .yaml.text import scalar
from .yaml.tree import Alias, Mapping, Node, Scalar, parse_yaml, refuse, resolves_to_text, to_python
from .yaml.tree import Sequence as List

_LIMIT = 1 << 30
_TREE_LIMIT = 8 << 20
_SCHEMA = "2.0"
_LONG = 1000

_SPACE = r" \t\n\r\x85\u2028\u2029"
_WORD = rf"(?:[^{_SPACE}:#\ufeff]|(?<! )#|:(?=[^{_SPACE}]))++"
_FIRST = rf"(?:[^{_SPACE}\-?:,\[\]{{}}#&*!|>'\"%@`\ufeff]|[\-?:](?=[^{_SPACE}]))"
_ESCAPE = (
    r"\\(?:[0abtnvfre \"/\\N_LP\t]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4})"
)
_FOLDED = re.compile(r"[ \t]*\n[ \t\n]*")
_ESCAPED = re.compile(rf"\\\n[ \t\n]*|{_ESCAPE}|[ \t]*\n[ \t\n]*")
_CHARACTERS = {
    "0": "\0", "a": "\x07", "b": "\x08", "t": "\t", "n": "\n", "v": "\x0b", "f": "\x0c", "r": "\r", "e": "\x1b",
    "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_DIGITS = 18
_DECIMAL = re.compile(r"[0-9]{1,18}\.[0-9]{1,18}")
_CONSTANTS = {"true": True, "false": False, "null": None}
# Only plain values that begin with these may be something other than a string.
_UNSURE = frozenset("-+.0123456789~<=!&*yYnNtTfFoO")
# Only hexadecimal numbers contain these letters.
_SURE_TEXT = re.compile(r"[a-zA-Z_/].{5,}|(?!0[xXbB])[0-9].*[abcdfghj-mp-suwyABCDFGHJ-MP-SUWY].*")
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LISTS = re.compile(r"^( *)files:\n(?=\1- relpath: )", re.MULTILINE)


class _Layout(msgspec.Struct, frozen=True):
    """Expressions for a list in the layout of DVC: all its lines, and the fields of one file."""

    lines: re.Pattern[str]
    field: re.Pattern[str]


@lru_cache(maxsize=64)
def _layout(indent: str) -> _Layout:
    """Return the layout of a list with some indentation. Lines inside of a value have more than those with a key."""

    def value(inside: str, group: str) -> str:
        inner_break = rf"\n(?=\n|{inside} )"
        single = rf"'(?:[^'\n\r\x85\u2028\u2029]|''|{inner_break})*+'"
        double = rf"\"(?:[^\"\\\n\r\x85\u2028\u2029]|{_ESCAPE}|\\?{inner_break})*+\""
        more = rf"(?: *\n{inside} +(?!#){_WORD}(?: +(?!#){_WORD})*+)*+"
        plain = rf"{_FIRST}(?:{_WORD})?+(?: +(?!#){_WORD})*+{more}"
        return rf"(?:\n{inside} +)?+({group}(?>{single}|{double}|{plain})(?=\n|\Z))"

    def field(group: str) -> str:
        return rf"\n{indent}    ({group}\w+): {value(f'{indent}    ', group)}"

    path = rf"{indent}- relpath: {value(f'{indent}  ', '?:')}"
    file = rf"{path}\n{indent}  meta:(?: \{{\}}|(?:{field('?:')})++)\n"
    return _Layout(re.compile(rf"(?>{file})++"), re.compile(field("")))


class FileList(msgspec.Struct, frozen=True):
    """The lines of a list of files, with their indentation."""

    indent: str
    lines: str

    def files(self) -> Iterator[FileInfo]:
        """Yield the files. Raises `InvalidValueError` for a value of the wrong type."""
        before_path, before_meta = f"\n{self.indent}- relpath: ", f"\n{self.indent}  meta:"
        for text in f"\n{self.lines[:-1]}".split(before_path)[1:]:
            path, _, meta = text.partition(before_meta)
            pairs = self._pairs(meta)
            fields = {name: _value(text) for name, text in pairs}
            if len(fields) < len(pairs):
                raise InvalidValueError(f"{path} has a key that is duplicated")
            yield FileInfo(relpath=_value(path.lstrip(" \n")), meta=Meta.from_dict(fields))

    def _pairs(self, meta: str) -> list[Any]:
        """Return the names and texts of fields. Only those with values of several lines need an expression."""
        before_name = f"\n{self.indent}    "
        if f"{before_name} " in meta or "\n\n" in meta:
            return _layout(self.indent).field.findall(meta)
        return [field.split(": ", 1) for field in meta.split(before_name)[1:]]


class LockFile(msgspec.Struct, kw_only=True):
    """A parsed lock file.

    Attributes
    ----------
    document : Document
        Its text and tree, without the file lists that were cut out.
    lists : list of FileList
        Those file lists. In the text, a placeholder line stands for each.
    entries : dict of str to Node
        Entries by dataset name. If a name occurs twice, the first is used, as in DVC.
    """

    document: Document
    lists: list[FileList]
    entries: dict[str, Node]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a lock file. A missing file is empty.

        Raises
        ------
        InvalidValueError
            It is not valid YAML, or not a lock file that DVC can read. The message gives the place.
        """
        shown = str(path)
        mark, text = split_mark(read_text(path, shown, _LIMIT))
        lists: list[FileList] = []
        if len(text) > _LONG:
            cut = _cut(text, lists)
            made = cls._of(path, mark, cut, lists)
            if made is not None:
                return made
        whole = cls._of(path, mark, text, [])
        if whole is None:
            raise TypeError("a text without placeholders cannot lose a list")
        return whole

    @classmethod
    def _of(cls, path: Path, mark: str, text: str, lists: list[FileList]) -> Self | None:
        """Return the parsed file, or None if a cut-out list was not a value; it is then parsed without cutting."""
        shown = str(path)
        if len(text) > _TREE_LIMIT:
            raise InvalidValueError(
                f"{shown}:1:1: the file has {len(text):,} characters of YAML, the limit is {_TREE_LIMIT:,}"
            )
        try:
            root = parse_mapping(text, shown)
        except InvalidValueError:
            if lists:
                return None
            raise
        document = Document(path=path, shown=shown, text=text, root=root, mark=mark)
        made = cls(document=document, lists=lists, entries=_entries(document))
        if lists and made._placed() != list(range(len(lists))):
            return None
        made._check_schema()
        return made

    def _placed(self) -> list[int]:
        """Return the numbers of the lists that are values of a key `files`, in the order of the text."""
        numbers: list[int] = []
        left: list[Node | None] = [self.document.root]
        while left:
            node = left.pop()
            if isinstance(node, Mapping):
                found = node.find("files")
                number = _number_of(found.value) if isinstance(found, Scalar) else None
                numbers += [] if number is None else [number]
                left += [value for _, value in reversed(node.pairs)]
            elif isinstance(node, List):
                left += reversed(node.items)
        return sorted(numbers)

    def _check_schema(self) -> None:
        root = self.document.root
        if root is None or not root.pairs:
            return
        schema = root.find("schema")
        if not isinstance(schema, Scalar) or schema.value != _SCHEMA:
            raise refuse(self.document.shown, schema or root, f"schema must be '{_SCHEMA}', as DVC writes it")

    def find(self, name: str) -> Lock | None:
        """Return the lock of a dataset, or None if there is none or its type is unknown."""
        node = self.entries.get(name)
        if node is None:
            return None
        try:
            return self._lock(node)
        except (InvalidValueError, InvalidTypeError) as error:
            if str(error).startswith(self.document.shown):
                raise
            raise refuse(self.document.shown, node, str(error)) from error

    def _lock(self, node: Node) -> Lock | None:
        plain = to_python(node, self.document.shown)
        files = plain.get("files")
        number = _number_of(files) if self.lists else None
        if number is None:
            return lock_of(plain)
        lock = lock_of({name: value for name, value in plain.items() if name != "files"})
        if not isinstance(lock, URLDatasetLock):
            return lock
        with gc_paused():
            return attrs.evolve(lock, files=list(self.lists[number].files()))

    def with_lock(self, lock: Lock) -> str:
        """Return the text with the lock of a dataset replaced or added. All other bytes are unchanged."""
        document, fields = self.document, _without_files(lock)
        expected = document.value() or {"schema": _SCHEMA}
        lists = list(self.lists)
        files = lock.files if isinstance(lock, URLDatasetLock) else []
        if files:
            fields["files"] = _placeholder(len(lists))
            lists.append(FileList("  ", _write_list(files)))
        node = self.entries.get(lock.name)
        if isinstance(node, Alias):
            raise refuse(document.shown, node, "the entry is an alias of another part: edit it by hand")
        listed = expected.get("datasets") or []
        if isinstance(node, Mapping):
            at = next(
                at
                for at, each in enumerate(listed)
                if isinstance(each, dict) and each.get("name") == lock.name
            )
            expected["datasets"] = [*listed[:at], fields, *listed[at + 1 :]]
            edits = [replace_entry(document, node, fields)]
        else:
            expected["datasets"] = [*listed, fields]
            if document.root is None or not document.root.pairs:
                document = _fresh(document)
            edits = add_entry(document, "datasets", fields)
        if "stages" not in expected:
            # As DVC does, with the next change that it writes.
            expected["stages"] = {}
            edits += add_empty(document, "stages")
        return _restored(document.edited(edits, expected), lists, document.newline)


def _entries(document: Document) -> dict[str, Node]:
    section = document.section("datasets")
    if section is None or (isinstance(section, Scalar) and section.value is None):
        return {}
    if not isinstance(section, List):
        raise refuse(document.shown, section, "datasets must be a list")
    found: dict[str, Node] = {}
    for item in section.items:
        entry = item.target if isinstance(item, Alias) else item
        name = entry.find("name") if isinstance(entry, Mapping) else None
        # An entry without a name belongs to no dataset.
        if name is not None:
            found.setdefault(str(to_python(name, document.shown)), item)
    return found


def _fresh(document: Document) -> Document:
    """Return the file with only a schema, followed by its previous text."""
    if document.root is not None:
        text = document.text[: document.root.start] + document.text[document.root.end :]
        document = msgspec.structs.replace(document, text=text, root=None)
    lead = (
        document.text
        if not document.text or document.text[-1] in "\r\n"
        else f"{document.text}{document.newline}"
    )
    text = f"{lead}schema: '{_SCHEMA}'{document.newline}"
    return msgspec.structs.replace(document, text=text, root=parse_mapping(text, document.shown))


def _without_files(lock: Lock) -> dict[str, Any]:
    if isinstance(lock, URLDatasetLock):
        return DatasetSpec.to_dict(lock.to_spec()) | {"meta": lock.meta.to_dict()}
    return lock.to_dict()


def _placeholder(number: int) -> str:
    return f"\x7f framelode list {number}"


def _number_of(value: Any) -> int | None:
    found = re.fullmatch(r"\x7f framelode list (\d{1,9})", value) if isinstance(value, str) else None
    return int(found[1]) if found else None


def _cut(text: str, lists: list[FileList]) -> str:
    """Cut the lists out of a text, and add them to `lists`."""
    if _UNREADABLE.search(text):
        return text
    if "\r" in text and text.count("\r") == text.count("\n") == text.count("\r\n"):
        return _cut(text.replace("\r\n", "\n"), lists).replace("\n", "\r\n")
    parts: list[str] = []
    kept = at = 0
    while found := _LISTS.search(text, at):
        listed = _layout(found[1]).lines.match(text, found.end())
        at = listed.end() if listed else found.end()
        if listed:
            parts += [text[kept : found.start()], f"{found[1]}files: {scalar(_placeholder(len(lists)))}\n"]
            lists.append(FileList(found[1], listed[0]))
            kept = at
    return "".join([*parts, text[kept:]])


_PLACEHOLDER_LINE = re.compile(r"( *)files: \"\\x7F framelode list (\d+)\"(\r\n|\n|\r|\Z)")
_PLACEHOLDER_FLOW = re.compile(r"\"\\x7F framelode list (\d+)\"")


def _restored(text: str, lists: Sequence[FileList], newline: str) -> str:
    """Insert the lists into a text again."""

    def put(found: re.Match[str]) -> str:
        indent, listed, end = found[1], lists[int(found[2])], found[3]
        block = listed.lines
        if newline != "\n" or indent != listed.indent:
            lines = block.removesuffix("\n").split("\n")
            block = "".join(f"{indent}{line.removeprefix(listed.indent)}{newline}" for line in lines)
        return f"{indent}files:{newline}" + (block if end else block.removesuffix(newline))

    restored = _PLACEHOLDER_LINE.sub(put, text)
    return _PLACEHOLDER_FLOW.sub(lambda found: _in_flow(lists[int(found[1])]), restored)


def _in_flow(listed: FileList) -> str:
    from .yaml.text import flow

    return flow([file.to_dict() for file in listed.files()])


def _write_list(files: Sequence[FileInfo]) -> str:
    parts: list[str] = []
    for file in files:
        fields = file.meta.to_dict()
        if not fields:
            raise InvalidValueError(f"the file {file.relpath!r} has no metadata")
        parts.append(f"  - relpath: {scalar(file.relpath)}\n    meta:\n")
        parts += [f"      {name}: {scalar(value)}\n" for name, value in fields.items()]
    return "".join(parts)


def _value(text: str) -> Any:
    """Return a value in any style. Most need no YAML parser."""
    if text[0] == "'" or text[0] == '"':
        return _unescaped(text[1:-1]) if text[0] == '"' else _unfolded(text[1:-1]).replace("''", "'")
    text = _unfolded(text)
    if text.isdecimal() and text.isascii() and len(text) <= _DIGITS:
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _UNSURE or _SURE_TEXT.fullmatch(text) or resolves_to_text(text):
        return text
    node = parse_yaml(text, "")
    return node.value if isinstance(node, Scalar) else None


def _unfolded(text: str) -> str:
    return _FOLDED.sub(lambda found: _breaks(found[0], " "), text) if "\n" in text else text


def _breaks(between: str, single: str) -> str:
    """Return what line ends stand for: one for a space or nothing, more for one less."""
    return "\n" * (between.count("\n") - 1) or single


def _unescaped(text: str) -> str:
    if "\\" not in text and "\n" not in text:
        return text
    found = _ESCAPED.sub(_character, text)
    # As in YAML that is parsed, a string has no such characters.
    if "\0" in found or _SURROGATE.search(found):
        raise InvalidValueError("a string must not contain a NUL character or a lone surrogate")
    return found


def _character(found: re.Match[str]) -> str:
    written = found[0]
    if written[0] != "\\":
        return _breaks(written, " ")
    kind = written[1]
    if kind == "\n":
        return _breaks(written, "")
    code = written[2:]
    return chr(int(code, 16)) if code else _CHARACTERS.get(kind, kind)
