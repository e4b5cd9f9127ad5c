"""`dvc.lock`: the entries of its section `datasets`, with their file lists, which may be long.

A file list in the format of DVC and framelode is cut out before the text is parsed as YAML, and inserted again on writing.
It may have hundreds of thousands of files, and is parsed line by line. Any other format is parsed as YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from ...engine.errors import InvalidValueError
from .records import DatasetSpec, FileInfo, Lock, Meta, URLDatasetLock, lock_of
from .yaml.document import Document, parse_mapping, read_text, split_mark
from .yaml.edit import add_entry, replace_entry
from .yaml.text import scalar
from .yaml.tree import Alias, Mapping, Node, Scalar, parse_yaml, refuse, resolves_to_text, to_python
from .yaml.tree import Sequence as List

_LIMIT = 1 << 30
_TREE_LIMIT = 8 << 20
_SCHEMA = "2.0"
_LONG = 1000

_PLAIN = r"[\w./][^\s:]*(?::[^\s:]+)*(?: (?!#)[^\s:]+(?::[^\s:]+)*)*"
_VALUE = rf"(?>{_PLAIN}|'(?:[^'\n]|'')*'|\"(?:[^\"\\\n]|\\.)*\")"
_META = rf"(?:      \w+: {_VALUE}\n)"
_FILE = rf"  - relpath: {_VALUE}\n    meta:\n{_META}++"
_LIST = re.compile(rf"^  files:\n((?>{_FILE})++)", re.MULTILINE)
_ONE = re.compile(rf"  - relpath: ({_VALUE})\n    meta:\n({_META}++)")
_FIELD = re.compile(rf"      (\w+): ({_VALUE})\n")
_DIGITS = re.compile(r"[0-9]{1,18}")
# Only hexadecimal numbers contain these letters.
_SURE_TEXT = re.compile(r"[a-zA-Z_/].{5,}|(?!0[xX])[0-9].*[acdfghj-mp-suwyACDFGHJ-MP-SUWY].*")
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


class LockFile(msgspec.Struct, kw_only=True):
    """A parsed lock file.

    Attributes
    ----------
    document : Document
        Its text and tree, without the file lists that were cut out.
    lists : list of str
        Those file lists. In the text, a placeholder line stands for each.
    entries : dict of str to Node
        Entries by dataset name. If a name occurs twice, the first is used, as in DVC.
    """

    document: Document
    lists: list[str]
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
        lists: list[str] = []
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
    def _of(cls, path: Path, mark: str, text: str, lists: list[str]) -> Self | None:
        """Return the parsed file, or None if a cut-out list was not in an entry; it is then parsed without cutting."""
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
        """Return the numbers of the lists that are in the `files` field of entries."""
        found = [entry.find("files") for entry in self.entries.values() if isinstance(entry, Mapping)]
        numbers = [_number_of(node.value) for node in found if isinstance(node, Scalar)]
        return [number for number in numbers if number is not None]

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
        except InvalidValueError as error:
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
        return msgspec.structs.replace(lock, files=list(_read_list(self.lists[number], self.document.shown)))

    def with_lock(self, lock: Lock) -> str:
        """Return the text with the lock of a dataset replaced or added. All other bytes are unchanged."""
        document, fields = self.document, _without_files(lock)
        expected = document.value() or {"schema": _SCHEMA}
        lists = list(self.lists)
        files = lock.files if isinstance(lock, URLDatasetLock) else []
        if files:
            fields["files"] = _placeholder(len(lists))
            lists.append(_write_list(files))
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


def _cut(text: str, lists: list[str]) -> str:
    if _UNREADABLE.search(text):
        return text

    def take(found: re.Match[str]) -> str:
        lists.append(found[1])
        return f"  files: {scalar(_placeholder(len(lists) - 1))}\n"

    return _LIST.sub(take, text)


_PLACEHOLDER_LINE = re.compile(r"( *)files: \"\\x7f framelode list (\d+)\"(\r\n|\n|\r|\Z)")
_PLACEHOLDER_FLOW = re.compile(r"\"\\x7f framelode list (\d+)\"")


def _restored(text: str, lists: Sequence[str], newline: str) -> str:
    """Insert the lists into a text again."""

    def put(found: re.Match[str]) -> str:
        indent, number, end = found[1], int(found[2]), found[3]
        block = lists[number]
        if newline != "\n" or indent != "  ":
            lines = [indent + line[2:] for line in block.splitlines()]
            block = newline.join(lines) + newline
        return f"{indent}files:{newline}" + (block if end else block.removesuffix(newline))

    restored = _PLACEHOLDER_LINE.sub(put, text)
    return _PLACEHOLDER_FLOW.sub(lambda found: _in_flow(lists[int(found[1])]), restored)


def _in_flow(block: str) -> str:
    from .yaml.text import flow

    return flow([file.to_dict() for file in _read_list(block, "")])


def _write_list(files: Sequence[FileInfo]) -> str:
    parts: list[str] = []
    for file in files:
        fields = file.meta.to_dict()
        if not fields:
            raise InvalidValueError(f"the file {file.relpath!r} has no metadata")
        parts.append(f"  - relpath: {scalar(file.relpath)}\n    meta:\n")
        parts += [f"      {name}: {scalar(value)}\n" for name, value in fields.items()]
    return "".join(parts)


def _read_list(block: str, shown: str) -> Iterator[FileInfo]:
    for found in _ONE.finditer(block):
        fields = {name: _value(text, shown) for name, text in _FIELD.findall(found[2])}
        yield FileInfo(relpath=_text(_value(found[1], shown)), meta=Meta.from_dict(fields))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidValueError(f"relpath must be a string, not {value!r}")
    return value


def _value(text: str, shown: str) -> Any:
    """Return a value on a single line. Most values need no YAML parser."""
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    if _DIGITS.fullmatch(text):
        return int(text)
    if text in {"true", "false"}:
        return text == "true"
    if text[0] != '"' and (_SURE_TEXT.fullmatch(text) or resolves_to_text(text)):
        return text
    node = parse_yaml(text, shown)
    return node.value if isinstance(node, Scalar) else None
