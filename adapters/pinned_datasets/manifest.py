"""`dvc.yaml`: the entries of its section `datasets`, with parameters resolved."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import msgspec

from ...engine.errors import (
    ConflictError,
    FramelodeError,
    InvalidTypeError,
    InvalidValueError,
    NotFoundError,
)
from ...engine.validation import shorten
from .parameters import Parameters, has_reference
from .records import Spec, spec_of
from .yaml.document import Document
from .yaml.edit import add_entry, change_fields
from .yaml.tree import Alias, Mapping, Node, Scalar, Sequence, place, refuse, to_python

MANIFEST_BYTES = 4 << 20
"""Maximum size of a manifest."""

_OWNED = ("name", "url", "type", "path", "rev")


class Entry(msgspec.Struct, frozen=True):
    """A dataset entry of a manifest.

    Attributes
    ----------
    at : int
        Its number in the list.
    node : Node
        Its node in the text.
    raw : dict
        The entry as written.
    spec : Spec
        The entry with parameters resolved.
    """

    at: int
    node: Node
    raw: dict[str, Any]
    spec: Spec


class Manifest(msgspec.Struct, kw_only=True):
    """A parsed manifest. A missing file has no datasets.

    Attributes
    ----------
    document : Document
        Its text and tree.
    entries : dict of str to Entry
        Entries by dataset name.
    problems : dict of str to FramelodeError
        Why other entries cannot be read, by dataset name, or by place if they have none.
    parameter_files : set of Path
        Other files that the entries depend on.
    """

    document: Document
    entries: dict[str, Entry]
    problems: dict[str, FramelodeError] = {}
    parameter_files: set[Path] = set()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest. An entry that cannot be read does not keep others from being read.

        Raises
        ------
        InvalidValueError
            It is not valid YAML. The message gives path, line and column.
        """
        document = Document.read(path, MANIFEST_BYTES)
        section = document.section("datasets")
        if section is None or (isinstance(section, Scalar) and section.value is None):
            return cls(document=document, entries={})
        listed = section.target if isinstance(section, Alias) else section
        if not isinstance(listed, Sequence):
            raise refuse(document.shown, section, "datasets must be a list")
        parameters, entries = Parameters(document), dict[str, Entry]()
        problems: dict[str, FramelodeError] = {}
        for at, item in enumerate(listed.items):
            try:
                entry = _entry(document, at, item, parameters)
            except FramelodeError as error:
                problems[_name_of(item) or place(document.shown, item)] = error
                continue
            before = entries.setdefault(entry.spec.name, entry)
            if before is not entry:
                problems[entry.spec.name] = ConflictError(
                    f"{place(document.shown, item)}: the dataset {shorten(entry.spec.name)} is defined twice, first in line "
                    f"{before.node.line}: rename one"
                )
        return cls(
            document=document,
            entries={name: entry for name, entry in entries.items() if name not in problems},
            problems=problems,
            parameter_files=parameters.files,
        )

    def with_spec(self, spec: Spec) -> str | None:
        """Return the text with a spec added or replaced, or None if it is unchanged. All other bytes stay the same.

        Raises
        ------
        ConflictError
            The entry has a ``${...}``, which is never overwritten.
        FramelodeError
            There is an entry of this name that cannot be read.
        """
        if spec.name in self.problems:
            raise self.problems[spec.name]
        wanted = spec.to_dict()
        _check_writable(wanted)
        entry, document = self.entries.get(spec.name), self.document
        expected = document.value()
        listed = expected.get("datasets") or []
        if entry is None:
            expected["datasets"] = [*listed, wanted]
            return document.edited(add_entry(document, "datasets", wanted), expected)
        if entry.spec == spec:
            return None
        if has_reference(entry.raw):
            found = next(key for key, value in entry.raw.items() if has_reference([key, value]))
            raise ConflictError(
                f"{place(document.shown, entry.node)}: the dataset {shorten(spec.name)} has a parameter, {found}: "
                f"{entry.raw[found]}, which is not overwritten: change the parameter, or edit the entry by hand"
            )
        if not isinstance(entry.node, Mapping) or isinstance(document.section("datasets"), Alias):
            raise refuse(document.shown, entry.node, "the entry is an alias of another part: edit it by hand")
        at = entry.at
        kept = {key: value for key, value in listed[at].items() if key not in _OWNED}
        expected["datasets"] = [*listed[:at], kept | wanted, *listed[at + 1 :]]
        return document.edited(change_fields(document, entry.node, wanted, _OWNED), expected)


def _name_of(item: Node) -> str | None:
    entry = item.target if isinstance(item, Alias) else item
    name = entry.find("name") if isinstance(entry, Mapping) else None
    return name.value if isinstance(name, Scalar) and isinstance(name.value, str) else None


def _entry(document: Document, at: int, item: Node, parameters: Parameters) -> Entry:
    raw = to_python(item, document.shown)
    if not isinstance(raw, dict):
        raise refuse(document.shown, item, "a dataset must be a mapping")
    try:
        resolved = parameters.resolve(raw) if has_reference(raw) else raw
        spec = spec_of(resolved)
    except (InvalidValueError, InvalidTypeError, NotFoundError) as error:
        if str(error).startswith(document.shown):
            raise _placed(error, document, item) from error
        raise refuse(document.shown, item, str(error)) from error
    return Entry(at, item, raw, spec)


def _placed(error: FramelodeError, document: Document, item: Node) -> FramelodeError:
    """Return the error with file, line and column added."""
    rest = str(error).removeprefix(document.shown)
    return type(error)(f"{place(document.shown, item)}{rest}") if rest.startswith(": ") else error


def _check_writable(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if has_reference(value):
            raise InvalidValueError(
                f"{name} {shorten(value)} contains ${{, which would be read as a parameter: write such an entry by hand"
            )
