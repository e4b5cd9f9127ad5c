"""Types of columns that hold the same in every database."""

from __future__ import annotations

import sqlalchemy as sa

INT64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Positions, times and counts: 64 bits, which SQLite's integers have anyway."""
