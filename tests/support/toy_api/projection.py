"""Which toys are in which box."""

from __future__ import annotations

from typing import ClassVar

import sqlalchemy as sa

from framelode.projections.projection import FoldedProjection

from .events import TOYS


class Toys(FoldedProjection):
    """A table of toys."""

    name: ClassVar = "toys"
    code_version: ClassVar = 1
    topics: ClassVar = TOYS.topics

    def define_tables(self):
        self.toy = self.table(
            "toy",
            sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("box", sa.Text, nullable=False),
            sa.Column("name", sa.Text, nullable=False),
        )

    def fold(self, page):
        packed = page.lifecycle(*TOYS.events)
        return [{"position": at, "box": event.box, "name": event.name} for _, at, event in packed]

    def merge(self, earlier, later):
        return earlier + later

    def write(self, connection, folded):
        if folded:
            connection.execute(self.toy.insert(), folded)

    def names(self, connection, box):
        column = self.toy.c
        query = sa.select(column.name).where(column.box == box).order_by(column.position)
        return list(connection.execute(query).scalars())
