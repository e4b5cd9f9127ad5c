"""A public API as somebody would add one: events, a projection, and a class that writes and reads."""

from __future__ import annotations

from framelode.adapters.session import projections
from framelode.engine.events import registry

from .events import TOYS
from .projection import Toys


def attach(replace=setattr):
    """Attach the API, as its entries in the two tables would; a test gives `monkeypatch.setattr`."""
    replace(projections, "PROJECTIONS", (*projections.PROJECTIONS, Toys))
    replace(registry, "STREAMS", (*registry.STREAMS, TOYS))
