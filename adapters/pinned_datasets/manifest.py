"""`dvc.yaml`: the entries of its section `datasets`, with parameters resolved."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import msgspec

from ...engine.errors import ConflictError, FramelodeError, InvalidValueError, NotFoundError
from ...engine.validation import shorten
from .parameters import Parameters, has_reference
from .records import Spec, spec_of
from .yaml.document import Document
from .yaml.edit import add_entry, change_fields
from .yaml.tree import Alias, Mapping, Node, Scalar, Sequence, place, refuse, to_python

_LIMIT = 4 << 20
_OWNED = ("name", "url", "type", "path", "rev")


class Entry(msgspec.Struct, frozen=True):
    """A dataset entry of a manifest.

    Attributes
    ----------
    node : Node
        Its node in the text.
    raw : dict
        The entry as written.
    spec : Spec
        The entry with parameters resolved.
    """

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
    parameter_files : set of Path
        Other files that the entries depend on.
    """

    document: Document
    entries: dict[str, Entry]
    parameter_files: set[Path] = set()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest.

        Raises
        ------
        InvalidValueError
            It is not valid YAML, or an entry is invalid. The message gives path, line and column.
        ConflictError
            Two entries have the same name.
        NotFoundError
            An entry refers to a parameter that does not exist.
        """
        document = Document.read(path, _LIMIT)
        section = document.section("datasets")
        if section is None or (isinstance(section, Scalar) and section.value is None):
            return cls(document=document, entries={})
        listed = section.target if isinstance(section, Alias) else section
        if not isinstance(listed, Sequence):
            raise refuse(document.shown, section, "datasets must be a list")
        parameters, entries = Parameters(document), dict[str, Entry]()
        for item in listed.items:
            entry = _entry(document, item, parameters)
            before = entries.setdefault(entry.spec.name, entry)
            if before is not entry:
                raise ConflictError(
                    f"{place(document.shown, item)}: the dataset {shorten(entry.spec.name)} is defined twice, first in line "
                    f"{before.node.line}: rename one"
                )
        return cls(document=document, entries=entries, parameter_files=parameters.files)

    def with_spec(self, spec: Spec) -> str | None:
        """Return the text with a spec added or replaced, or None if it is unchanged. All other bytes stay the same.

        Raises
        ------
        ConflictError
            The entry has a ``${...}``, which is never overwritten.
        """
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
        at = next(at for at, each in enumerate(listed) if each.get("name") == spec.name)
        kept = {key: value for key, value in listed[at].items() if key not in _OWNED}
        expected["datasets"] = [*listed[:at], kept | wanted, *listed[at + 1 :]]
        return document.edited(change_fields(document, entry.node, wanted, _OWNED), expected)


def _entry(document: Document, item: Node, parameters: Parameters) -> Entry:
    raw = to_python(item, document.shown)
    if not isinstance(raw, dict):
        raise refuse(document.shown, item, "a dataset must be a mapping")
    try:
        resolved = parameters.resolve(raw) if has_reference(raw) else raw
        spec = spec_of(resolved)
    except (InvalidValueError, NotFoundError) as error:
        if str(error).startswith(document.shown):
            raise _placed(error, document, item) from error
        raise refuse(document.shown, item, str(error)) from error
    return Entry(item, raw, spec)


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
