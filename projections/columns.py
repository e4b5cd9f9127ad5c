"""Types of columns that hold the same in every database."""

from __future__ import annotations

import sqlalchemy as sa
from blake3 import blake3

INT64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Positions, times and counts: 64 bits, which SQLite's integers have anyway."""


class Bytes(sa.LargeBinary):
    """Bytes that are handed to the database as they are: SQLAlchemy would wrap each of a million in an object of its own."""

    cache_ok = True

    def bind_processor(self, dialect: sa.Dialect) -> None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return None: nothing is to be done."""
        return


def text_key(*texts: str) -> bytes:
    """Return a digest to index texts by that may be of any length: PostgreSQL's index rows end at 2.7 KB.

    None of several texts but the last may hold NUL.
    """
    return blake3("\0".join(texts).encode()).digest(length=16)
