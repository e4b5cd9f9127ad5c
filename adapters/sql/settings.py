"""Settings of an engine without a folder, stored in the log's database."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from .database import Database

_metadata = sa.MetaData()
_settings = sa.Table(
    "settings",
    _metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)


def stored_settings(database: Database) -> dict[str, str]:
    """Return the settings by name.

    Parameters
    ----------
    database : Database
        The database of the log. It must exist.
    """
    if _settings.name not in database.table_names():
        return {}
    with database.read() as connection:
        return {row.name: row.value for row in connection.execute(sa.select(_settings))}


def store_settings(database: Database, given: Mapping[str, str]) -> None:
    """Store settings. They replace settings with the same names."""
    if _settings.name not in database.table_names():
        with database.write() as connection:
            _metadata.create_all(connection)
    known = stored_settings(database)
    changed = {name: value for name, value in given.items() if known.get(name) != value}
    if changed:
        with database.write() as connection:
            connection.execute(sa.delete(_settings).where(_settings.c.name.in_(list(changed))))
            rows = [{"name": name, "value": value} for name, value in changed.items()]
            connection.execute(_settings.insert(), rows)
