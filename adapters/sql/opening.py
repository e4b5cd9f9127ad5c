"""Which database stands at a place."""

from __future__ import annotations

from ..places import Place
from .database import Database
from .sqlite import SqliteDatabase


def open_database(place: Place, *, durable: bool = True) -> Database:
    """Open the database at a place.

    Parameters
    ----------
    place : Place
        Where it is, or is made.
    durable : bool
        Wait at each commit until the data is on the disk. Off only for data that can be rebuilt.
    """
    return SqliteDatabase(place, durable=durable)
