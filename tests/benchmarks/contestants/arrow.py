"""The workload as an Arrow table, for the peers that take one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

BOX = pa.struct({"label": pa.string(), "box": pa.list_(pa.float64())})
META = pa.struct({"camera": pa.string(), "split": pa.string(), "iso": pa.int64(), "exposure": pa.float64()})
ROW = pa.struct(
    {
        "id": pa.string(),
        "uri": pa.string(),
        "width": pa.int64(),
        "height": pa.int64(),
        "boxes": pa.list_(BOX),
        "meta": META,
    }
)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return the rows as a table, in the fastest way that Arrow has for dicts."""
    return pa.Table.from_struct_array(pa.array(rows, ROW))


def label_counts(boxes: pa.ChunkedArray) -> dict[str, int]:
    counts = pc.value_counts(pc.struct_field(pc.list_flatten(boxes), "label"))
    return {pair["values"]: pair["counts"] for pair in counts.to_pylist()}


def id_list(ids: Iterable[str]) -> str:
    """Return ids as SQL writes them after `IN`."""
    return f"({', '.join(map(repr, ids))})"
