"""Resolves ``${...}``: parameters from `params.yaml` and the section `vars`, as in DVC."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...engine.errors import FramelodeError, InvalidValueError, NotFoundError
from ...engine.validation import shorten
from .yaml.document import Document, read_text

_REFERENCE = re.compile(r"(?<!\\)\$\{(.*?)\}")
_NAME = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[[^.\[\]]+\])*")
_DEFAULT = "params.yaml"
_LIMIT = 4 << 20
_PLAIN = (str, int, float, bool, type(None))


def has_reference(value: Any) -> bool:
    """Whether a string, or any string in a mapping or list, refers to a parameter."""
    if isinstance(value, dict):
        return any(has_reference(key) or has_reference(each) for key, each in value.items())
    if isinstance(value, list):
        return any(map(has_reference, value))
    return isinstance(value, str) and (_REFERENCE.search(value) is not None or r"\${" in value)


class Parameters:
    """The parameters of a manifest, which are read on first use.

    Parameters
    ----------
    document : Document
        The manifest.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values: dict[str, Any] | None = None
        self._loaded: dict[Path, list[str] | None] = {}
        self._files: set[Path] = set()

    @property
    def files(self) -> set[Path]:
        """The files that were read, or could not be, and the default file even if it is missing."""
        return self._files

    def resolve(self, value: Any, local: Mapping[str, Any] | None = None, *, whole: bool = False) -> Any:
        """Return a value with all references replaced.

        Parameters
        ----------
        local : mapping, optional
            Names that are defined besides the parameters, such as ``item`` in a loop.
        whole : bool
            Whether a reference that is a whole value may refer to a list or mapping.

        Raises
        ------
        NotFoundError
            There is no such parameter, or no such parameter file.
        InvalidValueError
            A reference is malformed, or refers to a list or mapping.
        """
        if isinstance(value, dict):
            return {self.resolve(key, local): self.resolve(each, local) for key, each in value.items()}
        if isinstance(value, list):
            return [self.resolve(each, local) for each in value]
        if not isinstance(value, str):
            return value
        alone = _REFERENCE.fullmatch(value)
        if alone and _REFERENCE.match(value) and len(_REFERENCE.findall(value)) == 1:
            return self._find(alone[1], local or {}, whole=whole)
        return _REFERENCE.sub(lambda found: _shown(self._find(found[1], local or {})), value).replace(
            r"\${", "${"
        )

    def _find(self, name: str, local: Mapping[str, Any], *, whole: bool = False) -> Any:
        if not _NAME.fullmatch(name):
            raise self._refused(f"${{{name}}} is not a parameter: write ${{name}}, ${{a.b}} or ${{list[0]}}")
        parts = name.replace("[", ".").replace("]", "").split(".")
        if parts[0].strip() not in local and self._values is None:
            self._values = self._load()
        found: Any = local if parts[0].strip() in local else self._values
        for part in parts:
            found = _step(found, part.strip())
            if found is _step:
                places = ", ".join(path.name for path in self._loaded) or _DEFAULT
                raise NotFoundError(
                    f"{self._document.shown}: there is no parameter {shorten(name)} in {places} or vars"
                )
        if not whole and not isinstance(found, _PLAIN):
            raise self._refused(
                f"${{{name}}} refers to a {type(found).__name__}, but must refer to a plain value"
            )
        return found

    def _refused(self, problem: str) -> InvalidValueError:
        return InvalidValueError(f"{self._document.shown}: {problem}")

    def _load(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        self._loaded = {}
        self._files.add(self._document.path.parent / _DEFAULT)
        if (self._document.path.parent / _DEFAULT).exists():
            self._merge_file(values, _DEFAULT)
        vars_ = self._document.value().get("vars") or []
        if not isinstance(vars_, list):
            raise self._refused("vars must be a list of files and mappings")
        for item in vars_:
            if has_reference(item):
                raise self._refused("vars must not refer to parameters")
            if isinstance(item, str):
                self._merge_file(values, item)
            elif isinstance(item, dict):
                self._merge(values, item, "vars")
            else:
                raise self._refused(f"vars must be a list of files and mappings, not {shorten(item)}")
        return values

    def _merge_file(self, values: dict[str, Any], item: str) -> None:
        name, _, listed = item.partition(":")
        keys = [key for key in listed.split(",") if key] or None
        path = (self._document.path.parent / name).resolve()
        self._files.add(path)
        known = self._loaded.get(path, [])
        if path in self._loaded and (known is None or keys is None or set(known) & set(keys)):
            if known is None and keys is None:
                return
            raise self._refused(f"vars: {item} is already loaded, completely or in part")
        found = self._read(path, name)
        missing = [key for key in keys or [] if key not in found]
        if missing:
            raise NotFoundError(f"{self._document.shown}: {name} has no {missing[0]!r}")
        self._merge(values, found if keys is None else {key: found[key] for key in keys}, name)
        self._loaded[path] = None if keys is None else [*(known or []), *keys]

    def _read(self, path: Path, name: str) -> dict[str, Any]:
        if not path.is_file():
            raise NotFoundError(f"{self._document.shown}: the parameter file {name} does not exist")
        found = _parse(path)
        if not isinstance(found, dict):
            raise InvalidValueError(f"{path} has no parameters: it must be a mapping")
        return found

    def _merge(self, values: dict[str, Any], more: dict[Any, Any], source: str) -> None:
        for key, value in more.items():
            # As in DVC, only string keys can be referred to.
            if not isinstance(key, str):
                continue
            if isinstance(values.get(key), dict) and isinstance(value, dict):
                self._merge(values[key], value, source)
            elif key in values:
                raise self._refused(f"{source} defines the parameter {key!r} again")
            else:
                values[key] = value


def _step(found: Any, part: str) -> Any:
    """Return the value of one part of a name, or this function itself if there is none."""
    if isinstance(found, dict):
        return found.get(part, _step)
    if isinstance(found, list) and re.fullmatch(r"-?\d{1,9}", part) and -len(found) <= int(part) < len(found):
        return found[int(part)]
    return _step


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse(path: Path) -> Any:
    suffix, shown = path.suffix.lower(), str(path)
    if suffix not in {".json", ".toml", ".py"}:
        return Document.read(path, _LIMIT).value()
    text = read_text(path, shown, _LIMIT)
    try:
        if suffix == ".json":
            return json.loads(text)
        return tomllib.loads(text) if suffix == ".toml" else dict(_assigned(ast.parse(text).body))
    except FramelodeError:
        raise
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise InvalidValueError(f"{shown} cannot be read: {error}") from error


def _assigned(body: list[ast.stmt], *, of_self: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield the constants assigned in Python code. Those of classes and their constructors are yielded as mappings."""
    for statement in body:
        match statement:
            case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=value):
                name = _assigned_name(target, of_self=of_self)
                constant = _constant(value)
                if name is not None and constant is not _constant:
                    yield name, constant
            case ast.ClassDef(name=name, body=inner):
                yield name, dict(_assigned(inner))
            case ast.FunctionDef(name="__init__", body=inner):
                yield from _assigned(inner, of_self=True)
            case _:
                pass


def _assigned_name(target: ast.expr, *, of_self: bool) -> str | None:
    if of_self:
        is_own = isinstance(target, ast.Attribute) and getattr(target.value, "id", None) == "self"
        return target.attr if is_own and isinstance(target, ast.Attribute) else None
    return target.id if isinstance(target, ast.Name) else None


def _constant(value: ast.expr | None) -> Any:
    """Return the value of an expression without running it, or this function itself if it is not a constant."""
    try:
        return _constant if value is None else ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _constant
