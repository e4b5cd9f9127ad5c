"""The ten questions asked of Lance, by its scanner; what that cannot do is done with pyarrow."""

from __future__ import annotations

from pathlib import Path

import lance
import pyarrow as pa
import pyarrow.compute as pc

from .contestant import Figure
from .streets import asked
from .streets_tables import ANNOTATIONS, FRAMES, tables


class Streets:
    packages = ("pylance", "pyarrow")

    def __init__(self, folder: Path, count: int) -> None:
        places = folder / "frames", folder / "annotations"
        for some in tables(count):
            for place, table in zip(places, some, strict=True):
                lance.write_dataset(table, place, mode="append" if place.exists() else "create")
        self.frames, self.annotations = map(lance.dataset, places)
        assert self.frames.schema.names == FRAMES.names
        assert self.annotations.schema.names == ANNOTATIONS.names

    def ask(self, condition: str) -> Figure:
        return asked(lambda: self.frames.count_rows(condition))

    def column(self, name: str, condition: str | None = None) -> pa.ChunkedArray:
        dataset = self.annotations if name == "frame" else self.frames
        return dataset.to_table(columns=[name], filter=condition)[name]

    def labels(self) -> Figure:
        return self.ask("camera = 'cam1' AND array_has(labels, 'car') AND NOT array_has(labels, 'bus')")

    def several(self) -> Figure:
        def work() -> int:
            counts = self.column("frame", "label = 'car' AND confidence >= 0.5").value_counts()
            return pc.sum(pc.greater_equal(pc.struct_field(counts, "counts"), 2)).as_py()

        return asked(work)

    def counts(self) -> Figure:
        def work() -> list[list[list[object]]]:
            table = self.annotations.to_table(columns=["frame", "label"])
            pairs = (
                table.group_by(["label", "frame"])
                .aggregate([])
                .group_by("label")
                .aggregate([([], "count_all")])
            )
            cities = self.frames.to_table(columns=["city"]).group_by("city").aggregate([([], "count_all")])
            return [
                sorted([row[name], row["count_all"]] for row in found.to_pylist())
                for found, name in ((pairs, "label"), (cities, "city"))
            ]

        return asked(work)

    def wildcard(self) -> Figure:
        return self.ask("uri LIKE '%cam1/%7.jpg'")

    def numbers(self) -> Figure:
        return self.ask("speed >= 40 AND speed <= 50")

    def dates(self) -> Figure:
        return self.ask(
            "captured >= timestamp '2024-05-03 00:00:00' AND captured < timestamp '2024-06-21 00:00:00'"
        )

    def boxes(self) -> Figure:
        return asked(lambda: len(self.column("frame", "width * height >= 20000").unique()))

    def none(self) -> Figure:
        return self.ask("array_length(labels) = 0 OR array_length(labels) IS NULL")

    def ids(self) -> Figure:
        return self.ask("id LIKE '00a%'")

    def order(self) -> Figure:
        def work() -> list[list[object]]:
            table = self.frames.to_table(columns=["speed", "number"])
            first = pc.select_k_unstable(table, 100, [("speed", "descending"), ("number", "ascending")])
            found = self.frames.take(first.to_pylist(), columns=["id", "speed"])
            return [[row["id"], row["speed"]] for row in found.to_pylist()]

        return asked(work)
