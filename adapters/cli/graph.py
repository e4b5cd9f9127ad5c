"""`framelode log --graph`: version trees."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from ...engine.errors import NotFoundError
from ...engine.validation import printable
from ...projections.tables.catalog import DatasetRow, VersionRow
from ..engine import Engine
from ..hyperdatasets.address import Address
from .dataset_views import VersionView, by_dataset, version_view
from .history_views import Scope
from .output import counted, print_renderable


class Node(msgspec.Struct, frozen=True):
    """A version and its child versions, oldest first."""

    version: VersionView
    children: list[Node]


class Graph(msgspec.Struct, frozen=True):
    """The versions of a dataset, as trees."""

    dataset: str
    roots: list[Node]


def trees(engine: Engine, scope: Scope) -> list[Graph]:
    """Return the version trees of the datasets in scope."""
    with engine.session.read_catalog() as connection:
        datasets = engine.session.catalog.datasets(connection, dataset_id=scope.dataset_id)
        versions = by_dataset(engine.session.catalog.versions(connection, dataset_id=scope.dataset_id))
    totals = engine.session.version_totals()
    return [
        Graph(
            str(Address(dataset.name, dataset.project)),
            _roots(totals, dataset, versions[dataset.dataset_id], scope.version_id),
        )
        for dataset in datasets
    ]


def print_trees_json(graphs: list[Graph]) -> None:
    """Print trees as JSON, piece by piece: a long chain of versions nests deeper than a JSON encoder allows."""
    waiting: list[str | Graph | Node] = ["]}\n", *_listed(graphs), '{"datasets": [']
    while waiting:
        piece = waiting.pop()
        if isinstance(piece, Graph):
            start = f'{{"dataset": {json.dumps(piece.dataset)}, "roots": ['
            waiting += ["]}", *_listed(piece.roots), start]
        elif isinstance(piece, Node):
            start = f'{{"version": {json.dumps(msgspec.to_builtins(piece.version))}, "children": ['
            waiting += ["]}", *_listed(piece.children), start]
        else:
            print(piece, end="")


def _listed(items: Sequence[Graph | Node]) -> list[str | Graph | Node]:
    """Return items with commas between them, in reverse order."""
    return [piece for item in reversed(items) for piece in (", ", item)][1:]


def print_trees(graphs: list[Graph]) -> None:
    """Draw trees. An only child is not indented, so a chain of versions is as narrow as one version."""
    from rich.tree import Tree

    for graph in graphs:
        top = Tree(printable(graph.dataset))
        waiting = [(top, node) for node in reversed(graph.roots)]
        while waiting:
            above, node = waiting.pop()
            chain = [node.version]
            while len(node.children) == 1:
                (node,) = node.children
                chain.append(node.version)
            below = above.add("\n".join(map(_line, chain)))
            waiting += [(below, child) for child in reversed(node.children)]
        print_renderable(top)


def _roots(
    totals: dict[str, int], dataset: DatasetRow, rows: list[VersionRow], version_id: str | None
) -> list[Node]:
    """Build the nodes without recursion, because the tree may be deep."""
    rows = sorted(rows, key=lambda row: row.created_position)
    nodes = {row.version_id: Node(version_view(totals, row, dataset), []) for row in rows}
    roots: list[Node] = []
    for row in rows:
        parent = nodes.get(row.parent_id or "")
        (parent.children if parent else roots).append(nodes[row.version_id])
    if version_id is None:
        return roots
    if version_id not in nodes:
        raise NotFoundError(f"version not found: no version has the id {version_id!r}")
    return [nodes[version_id]]


def _line(version: VersionView) -> str:
    address = Address(version.dataset, None, version.name)
    return printable(
        f"{address}  {version.state}  {counted(version.frames, 'frame')}  {version.updated[:19].replace('T', ' ')}"
    )
