"""What users of the API have in hand."""

from __future__ import annotations

from framelode.adapters.session.current import session_of
from framelode.engine.datasets.aggregate import Aggregate
from framelode.engine.stores.values import encode_value

from .events import TOYS, ToyPacked
from .projection import Toys


class ToyBox:
    """A box of toys in an engine, the current one by default."""

    def __init__(self, name, engine=None):
        self.name = name
        self._session = session_of(engine)

    def pack(self, toy, made_of=None):
        application = self._session.writes.application

        def decide():
            box = application.aggregates.load(Aggregate, TOYS.id + self.name)
            box.trigger(ToyPacked, box=self.name, name=toy, made_of=encode_value(made_of))
            return [box], {}

        application.run(["pack", self.name, toy], None, decide)

    def toys(self, as_of=None):
        with self._session.at(as_of).read(Toys) as (projection, connection):
            return projection.names(connection, self.name)
