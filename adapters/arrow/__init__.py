"""Frames as tables of Arrow (extra `arrow`): in from tables, data frames and files, out as batches of columns."""

from ...engine.errors import UsageError

try:
    import pyarrow as pa
except ImportError as _error:
    raise UsageError("tables need the library pyarrow: pip install 'framelode[arrow]'") from _error

__all__ = ["pa"]
