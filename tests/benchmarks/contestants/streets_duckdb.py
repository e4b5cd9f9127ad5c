"""The ten questions asked of DuckDB, on tables of its own format in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from .contestant import Figure
from .streets import asked
from .streets_tables import tables

AREA = "width * height >= 20000"


class Streets:
    packages = ("duckdb", "pyarrow")

    def __init__(self, folder: Path, count: int) -> None:
        self.database = duckdb.connect(str(folder / "streets.duckdb"))
        for number, some in enumerate(tables(count)):
            for name, table in zip(("frames", "annotations"), some, strict=True):
                self.database.register("chunk", table)
                into = f"insert into {name}" if number else f"create table {name} as"
                self.database.execute(f"{into} select * from chunk")
        self.database.execute("checkpoint")

    def ask(self, *texts: str) -> Figure:
        return asked(*(lambda text=text: self.rows(text)[0][0] for text in texts))

    def rows(self, text: str) -> list[list[Any]]:
        return [list(row) for row in self.database.execute(text).fetchall()]

    def labels(self) -> Figure:
        has = "exists (from annotations where frame = number and label = '{}')"
        return self.ask(
            "select count(*) from frames where camera = 'cam1' and list_contains(labels, 'car') and not list_contains(labels, 'bus')",
            f"select count(*) from frames where camera = 'cam1' and {has.format('car')} and not {has.format('bus')}",
        )

    def several(self) -> Figure:
        chosen = (
            "from annotations where label = 'car' and confidence >= 0.5 group by frame having count(*) >= 2"
        )
        return self.ask(f"select count(*) from (select frame {chosen})")

    def counts(self) -> Figure:
        by_city = "select city, count(*) from frames group by 1"
        forms = (
            "select label, count(distinct frame) from annotations group by 1",
            "select label, count(*) from (select unnest(list_distinct(labels)) as label from frames) group by 1",
        )
        return asked(
            *(lambda form=form: [sorted(self.rows(form)), sorted(self.rows(by_city))] for form in forms)
        )

    def wildcard(self) -> Figure:
        return self.ask("select count(*) from frames where uri like '%cam1/%7.jpg'")

    def numbers(self) -> Figure:
        return self.ask("select count(*) from frames where speed between 40 and 50")

    def dates(self) -> Figure:
        return self.ask(
            "select count(*) from frames where captured >= '2024-05-03' and captured < '2024-06-21'"
        )

    def boxes(self) -> Figure:
        return self.ask(f"select count(distinct frame) from annotations where {AREA}")

    def none(self) -> Figure:
        return self.ask("select count(*) from frames where len(labels) = 0")

    def ids(self) -> Figure:
        return self.ask(
            "select count(*) from frames where id like '00a%'",
            "select count(*) from frames where starts_with(id, '00a')",
        )

    def order(self) -> Figure:
        return asked(lambda: self.rows("select id, speed from frames order by speed desc, number limit 100"))
