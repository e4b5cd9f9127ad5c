"""The neuroscience ONE API on folders of ALF files; what is registered is recorded in the log."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ...engine.errors import UsageError

_missing = [name for name in ("iblutil", "pandas", "pyarrow", "requests") if find_spec(name) is None]
if _missing:
    raise UsageError(f"the ONE API needs {' and '.join(_missing)}: pip install 'framelode[one]'")

__version__ = "2.9.0"
"""The release of ONE-api that this API follows."""

if TYPE_CHECKING:
    from .api import ONE, One, OneAlyx

__all__ = ["ONE", "One", "OneAlyx", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api

    return getattr(api, name)
