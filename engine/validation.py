"""Checks of values, each returning the value in canonical form."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from numbers import Integral, Real
from types import NoneType, TracebackType
from typing import Any, Protocol, runtime_checkable

import msgspec

from .errors import InvalidValueError

MAX_DEPTH = 100
"""Levels of nesting that metadata may have."""

_INTEGERS = range(-(2**63), 2**64)
_SIGNED = range(-(2**63), 2**63)
_LEAVES = frozenset({str, int, float, bool, NoneType})
_VALUES = _LEAVES | {dict, list}
_TEXT = frozenset({str})
_NUMBERS = frozenset({int, float})
_JSON = "text, numbers, booleans, None, and lists and dicts of them"

COORDINATES = "a sequence of finite numbers"
"""What coordinates may be, for errors."""


@runtime_checkable
class _Array(Protocol):
    """What numpy arrays, and those that look like them, offer."""

    def tolist(self) -> Any: ...


_Path = tuple[Any, str | int]

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 60
_repr.maxlevel = 3


def refusal(path: str, value: object, allowed: str) -> InvalidValueError:
    """Return the error that names a field, the value refused and what is allowed."""
    return InvalidValueError(f"{path}: {shorten(value)} is refused; allowed: {allowed}")


class About:
    """Puts what is being looked at in front of what a refusal inside the block says.

    Parameters
    ----------
    what : str
        Kind of thing.
    value : object, optional
        Which one; shown in the message.
    """

    __slots__ = ("_value", "_what")

    def __init__(self, what: str, value: object = None) -> None:
        self._what, self._value = what, value

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, InvalidValueError):
            which = "" if self._value is None else f" {shorten(self._value)}"
            raise InvalidValueError(f"{self._what}{which}: {error}") from None


def shorten(value: object) -> str:
    """Return the repr of any value, cut to a line's length."""
    return _repr.repr(value)


def text(value: object, path: str) -> str:
    """Return `value` as a plain `str`; lone surrogates are refused, as UTF-8 cannot carry them."""
    if not isinstance(value, str):
        raise refusal(path, value, "text")
    plain = value if type(value) is str else str.__str__(value)
    if not plain.isascii() and _has_surrogate(plain):
        raise refusal(path, value, "text without lone surrogates")
    return plain


def name(value: object, path: str) -> str:
    """Return `value` as text of at least one character."""
    plain = text(value, path)
    if not plain:
        raise refusal(path, value, "text that is not empty")
    return plain


def identifier(value: object, path: str = "id") -> str:
    """Return an id: text that is not empty; numbers become text."""
    if type(value) is str and value and value.isascii():
        return value
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(int(value)) if isinstance(value, Integral) else str(number(value, path))
    if not isinstance(value, str):
        raise refusal(path, value, "text or a number")
    return name(value, path)


def number(value: object, path: str) -> float:
    """Return `value` as a finite `float`, never -0.0; booleans are no numbers."""
    try:
        plain = value if type(value) is float else _real(value)
    except OverflowError:
        plain = math.inf
    if plain is None or not math.isfinite(plain):
        raise refusal(path, value, "a finite number")
    return plain + 0.0


def whole(value: object, path: str) -> int:
    """Return `value` as an `int` of 64 bits; a float without fraction is one too."""
    plain = value if type(value) is int else _integral(value)
    if plain is None or plain not in _SIGNED:
        raise refusal(path, value, "a whole number of 64 bits")
    return plain


def count(value: object, path: str) -> int:
    """Return `value` as a whole number that is not negative."""
    plain = whole(value, path)
    if plain < 0:
        raise refusal(path, value, "a whole number that is not negative")
    return plain


def fraction(value: object, path: str) -> float:
    """Return `value` as a number in [0, 1]."""
    plain = number(value, path)
    if not 0.0 <= plain <= 1.0:
        raise refusal(path, value, "a number in [0, 1]")
    return plain


def label_list(value: object, path: str) -> list[str]:
    """Return a list of labels; a lone text is one label, None is none."""
    if value is None:
        return []
    if isinstance(value, str):
        return [text(value, path)]
    return [
        item if type(item) is str and item.isascii() else text(item, f"{path}[{index}]")
        for index, item in enumerate(items(value, path, "a list of text"))
    ]


def items(value: object, path: str, allowed: str) -> list[Any] | tuple[Any, ...]:
    """Return the items of a list, tuple, array or other ordered iterable; text and mappings are refused."""
    if isinstance(value, (list, tuple)):
        return value
    value = value.tolist() if isinstance(value, _Array) else value
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, bytearray, Mapping, set, frozenset)):
        raise refusal(path, value, allowed)
    return list(value)


def finite(values: Sequence[Any], path: str, names: Sequence[str] | None = None) -> tuple[float, ...]:
    """Return numbers as floats, -0.0 as 0.0.

    Parameters
    ----------
    values : sequence of number
        Python or numpy numbers; booleans, NaN and infinities are refused.
    path : str
        Name of the field, for errors.
    names : sequence of str, optional
        Name of each number; without names they are shown by index.
    """
    if _NUMBERS.issuperset(map(type, values)):
        try:
            numbers = tuple(map(float, values))
        except OverflowError:
            numbers = (math.inf,)
        # A sum is finite only if every term is; a sum that overflows is looked at term by term below.
        if math.isfinite(sum(numbers)):
            return tuple([n + 0.0 for n in numbers]) if 0.0 in numbers else numbers
    return tuple([number(value, _place(path, index, names)) for index, value in enumerate(values)])


def flatten(points: object, dimensions: int, path: str) -> tuple[float, ...]:
    """Return points, given as ``(x, y), ...`` or as one flat sequence, as a flat tuple of floats.

    Parameters
    ----------
    points : sequence
        Shape ``(n, dimensions)`` or ``(n * dimensions,)``.
    dimensions : int
        Numbers of a point, 2 or 3.
    path : str
        Name of the field, for errors.
    """
    given = items(points, path, COORDINATES)
    if any(map(_is_sequence, given)):
        given = [
            n for index, point in enumerate(given) for n in _point(point, dimensions, f"{path}[{index}]")
        ]
    return whole_points(finite(given, path), dimensions, path)


def whole_points(numbers: tuple[float, ...], dimensions: int, path: str) -> tuple[float, ...]:
    """Return `numbers` if they make one or more points."""
    if not numbers or len(numbers) % dimensions:
        raise refusal(path, list(numbers), f"one or more points of {dimensions} numbers")
    return numbers


def is_rings(points: object, dimensions: int) -> bool:
    """Tell whether points are given as several rings, each flat or a sequence of points."""
    if isinstance(points, str) or not isinstance(points, Sequence) or not points:
        return False
    first = points[0]
    return _is_sequence(first) and len(first) > 0 and (_is_sequence(first[0]) or len(first) > dimensions)


def fields(wire: object, allowed: Iterable[str], path: str) -> dict[str, Any]:
    """Return the fields of a wire form that are set, refusing unknown ones by name."""
    if not isinstance(wire, Mapping):
        raise refusal(path or "frame", wire, "a dict")
    unknown = [key for key in wire if key not in allowed]
    if unknown:
        known = ", ".join(sorted(allowed))
        raise InvalidValueError(f"{dotted(path, str(unknown[0]))}: this field is unknown; allowed: {known}")
    return {key: value for key, value in wire.items() if value is not None}


def dotted(path: str, part: str) -> str:
    """Return the path of a part."""
    return f"{path}.{part}" if path else part


def canonical_json(value: object, path: str) -> Any:
    """Return a deep copy of a JSON-like value in canonical form.

    Tuples become lists, -0.0 becomes 0.0, numpy scalars and subclasses of the plain types become the plain types.

    Parameters
    ----------
    value : object
        Text, bool, int of 64 bits (signed or unsigned), finite float, None, or dicts with text keys and
        lists or tuples of such values, at most `MAX_DEPTH` levels deep.
    path : str
        Name of the field, for errors.

    Raises
    ------
    InvalidValueError
        Anything else; the message has the path of the offending part.
    """
    return _canonical(value, (None, path), 0)


def canonical_object(value: object, path: str) -> dict[str, Any]:
    """Return `canonical_json` of a mapping; None is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise refusal(path, value, f"a dict of {_JSON}")
    return _canonical(value, (None, path), 0)


def settle_object(held: dict[str, Any], path: str) -> None:
    """Bring a dict that users may have changed into canonical form, leaving it alone when it is."""
    if not held:
        return
    canonical = canonical_object(held, path)
    # Users keep references into their metadata, so an unchanged tree must stay the same objects.
    if is_plain_json([held]) and _encode(held) == _encode(canonical):
        return
    held.clear()
    held.update(canonical)


def is_plain_json(objects: list[dict[str, Any]]) -> bool:
    """Tell whether dicts consist of the exact plain types only, at C speed over all of them.

    It looks at types alone: the size of integers, NaN and surrogates show when the dicts are encoded.
    """
    dicts, lists = objects, list[list[Any]]()
    for _ in range(MAX_DEPTH):
        if not _TEXT.issuperset(map(type, chain.from_iterable(dicts))):
            return False
        values = list(chain(chain.from_iterable(map(dict.values, dicts)), chain.from_iterable(lists)))
        kinds = set(map(type, values))
        if kinds <= _LEAVES:
            return True
        if not kinds <= _VALUES:
            return False
        # By identity: a container reached by many ways must not be walked as many times.
        dicts = list({id(item): item for item in values if type(item) is dict}.values())
        lists = list({id(item): item for item in values if type(item) is list}.values())
    return False


def _is_sequence(value: object) -> bool:
    return not isinstance(value, str) and hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _point(point: object, dimensions: int, path: str) -> Sequence[Any]:
    given = items(point, path, f"a point of {dimensions} numbers")
    if len(given) != dimensions:
        raise refusal(path, point, f"a point of {dimensions} numbers")
    return given


def _place(path: str, index: int, names: Sequence[str] | None) -> str:
    if names is None:
        return f"{path}[{index}]"
    return f"{path}.{names[index]}" if path else names[index]


def _has_surrogate(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def _real(value: object) -> float | None:
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else None


def _integral(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    if isinstance(value, Integral):
        return int(value)
    plain = float(value)
    return int(plain) if plain.is_integer() else None


def _canonical(value: Any, path: _Path, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isascii() else text(value, _show(path))
    if kind is bool or value is None:
        return value
    if kind is int or kind is float:
        return _canonical_number(value, path)
    if isinstance(value, (Mapping, list, tuple)):
        return _canonical_container(value, path, depth + 1)
    return _canonical(_plain(value, path), path, depth)


def _canonical_number(value: int | float, path: _Path) -> int | float:  # noqa: PYI041 - kept apart, not merged
    if type(value) is float:
        if not math.isfinite(value):
            raise refusal(_show(path), value, "a finite number")
        return value + 0.0
    if value not in _INTEGERS:
        raise refusal(_show(path), value, "an integer from -2**63 to 2**64 - 1")
    return value


def _canonical_container(value: Any, path: _Path, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise refusal(_show(path), value, f"at most {MAX_DEPTH} levels, and nothing that contains itself")
    if isinstance(value, Mapping):
        return {_key(key, path): _canonical(item, (path, key), depth) for key, item in value.items()}
    return [_canonical(item, (path, index), depth) for index, item in enumerate(value)]


def _key(key: object, path: _Path) -> str:
    if type(key) is str and key.isascii():
        return key
    if not isinstance(key, str):
        raise refusal(_show(path), key, "keys that are text")
    return text(key, _show(path))


def _plain(value: object, path: _Path) -> Any:
    """Return the plain value behind a numpy scalar or a subclass of a plain type."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    import numpy as np

    for kind, plain in ((np.bool_, bool), (np.integer, int), (np.floating, float)):
        if isinstance(value, kind):
            return plain(value)
    raise refusal(_show(path), value, _JSON)


def _show(path: _Path) -> str:
    parts: list[str] = []
    node: Any = path
    while node[0] is not None:
        parts.append(f"[{node[1]}]" if isinstance(node[1], int) else f".{node[1]}")
        node = node[0]
    shown = node[1] + "".join(reversed(parts))
    return shown if len(shown) <= 200 else f"{shown[:100]}...{shown[-90:]}"
