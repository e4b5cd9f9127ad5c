"""Where databases are."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

Place: TypeAlias = Path | None
"""Where a database is: a SQLite file, or in memory."""
