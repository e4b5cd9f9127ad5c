"""The formats by name: those of framelode, and those that other packages register as entry points."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from ...engine.errors import UsageError
from ...engine.validation import did_you_mean, shorten
from .format import Format
from .names import BUILT_IN

GROUP = "framelode.formats"
"""The group of entry points. Each is an object of `Format` under its name."""


def format_names() -> list[str]:
    """Return the sorted names of all formats. None of their modules is imported."""
    return sorted({*BUILT_IN, *_entry_points()})


def find_format(name: str) -> Format:
    """Return a format by its name.

    Raises
    ------
    UsageError
        There is no format of that name, or another package registered something else under it.
    """
    if name in BUILT_IN:
        return import_module(f".{name}", __package__).FORMAT
    found = _entry_points().get(name)
    if found is None:
        known = format_names()
        raise UsageError(
            f"there is no format {shorten(name)}{did_you_mean(str(name), known)}: the formats are {', '.join(known)}"
        )
    loaded = found.load()
    if not isinstance(loaded, Format) or loaded.name != name:
        raise UsageError(
            f"the entry point {name!r} of {GROUP} is {shorten(loaded)}, not a Format of that name"
        )
    return loaded


def sniff_format(path: Path) -> Format:
    """Return the only format that a path seems to have.

    Raises
    ------
    UsageError
        There is nothing at the path, or no format or several fit.
    """
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    fitting = [
        found for found in map(find_format, format_names()) if found.read is not None and found.sniff(path)
    ]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(each.name for each in fitting) or ", ".join(format_names())
    what = "could be several formats" if fitting else "has no format that is recognized"
    raise UsageError(f"{path} {what}: name one of {names}")


@lru_cache(maxsize=1)
def _entry_points() -> dict[str, EntryPoint]:
    return {each.name: each for each in entry_points(group=GROUP)}
