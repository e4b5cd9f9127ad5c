"""The projections of an engine."""

from __future__ import annotations

from ...projections.history.table import History
from ...projections.projection import Projection
from ...projections.queries.stored import FrameColumns
from ...projections.tables.alf import Alf
from ...projections.tables.blob_references import BlobNames
from ...projections.tables.catalog import Catalog
from ...projections.tables.lakes import Lakes
from ...projections.tables.pins import Pins
from ...projections.tables.stats import Stats
from ...projections.tables.stores import Stores
from ...projections.tables.uploads import Uploads
from ...projections.tables.views import Views

PROJECTIONS: tuple[type[Projection], ...] = (
    Catalog,
    Stats,
    BlobNames,
    Uploads,
    History,
    Pins,
    Stores,
    Lakes,
    Alf,
    Views,
    FrameColumns,
)
"""The projections of an engine. A public API that needs another one adds it here."""
