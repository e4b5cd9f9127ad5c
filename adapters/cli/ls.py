"""Commands that show datasets, versions and frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...engine.errors import NotFoundError, UsageError
from ...engine.log.context import acting
from ...engine.validation import did_you_mean
from .options import Actor, AddressText, AsOf, Json, Limit, Yes, confirm, engine_of
from .output import counted, limited, note, print_json, progress_bar, say

if TYPE_CHECKING:
    from ..engine import Engine
    from ..hyperdatasets.views.data_view import DataView

listing = typer.Typer()


def _one_of(given: dict[str, bool]) -> str | None:
    """Return the option that is given; raise `UsageError` for several."""
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} exclude each other")
    return names[0] if names else None


@listing.command("ls", epilog="Example: framelode ls food")
def list_all(
    context: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET", help="project/dataset (the project is optional). Default: list the datasets."
        ),
    ] = None,
    limit: Limit = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """List the datasets, or the versions of one dataset."""
    from ..hyperdatasets.address import Address, dataset_at
    from . import dataset_views as views

    address = None if dataset is None else Address.parse_dataset(dataset)
    with engine_of(context, as_of) as engine:
        if address is None:
            datasets = list(limited(views.list_datasets(engine), limit, "dataset"))
            print_json({"datasets": datasets}) if json else views.print_datasets(datasets)
        else:
            versions = list(
                limited(views.list_versions(engine, dataset_at(engine, address)), limit, "version")
            )
            print_json({"versions": versions}) if json else views.print_versions(versions)


@listing.command(epilog="Example: framelode frames food@v1 --label cat")
def frames(
    context: typer.Context,
    address: AddressText,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB", help="Only frames with a source URI like this, such as 's3://bucket/2026/*'."
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Only frames with an annotation of this label.")
    ] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", metavar="N", help="Show at most N.", min=0)] = 100,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """List the frames of a version with their sources and labels."""
    from ..hyperdatasets.address import Address, version_at
    from . import frame_views as views

    meant = Address.parse(address)
    with engine_of(context, as_of) as engine:
        version = engine.version(version_at(engine, meant).version_id)
        with progress_bar(f"reading {address}") as advance:
            if source is None and label is None:
                listed = views.list_frames(version, limit, max(len(version) - limit, 0))
            else:
                found = version.find_frames(source=source, label=label, callback=advance)
                listed = views.list_frames(found, limit)
        labels = version.get_stats().labels if label is not None and not listed.frames else []
    views.print_frames(listed, "--json" if json else None)
    if labels and label is not None and all(each["name"] != label for each in labels):
        note(f"no frame has the label {label!r}{did_you_mean(label, (each['name'] for each in labels))}")


@listing.command(epilog="Example: framelode query food@v1 'meta.camera:cam1 AND NOT rois.label:cat'")
def query(
    context: typer.Context,
    address: AddressText,
    text: Annotated[
        str,
        typer.Argument(metavar="QUERY", help="Lucene text, such as 'rois.label:car AND meta.speed:>=40'."),
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--limit",
            metavar="N",
            help="At most N. Default: 100; all in a file.",
            min=0,
            show_default=False,
        ),
    ] = None,
    order_by: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD", help="Order by this field, such as meta.speed; -meta.speed is descending."
        ),
    ] = None,
    count: Annotated[bool, typer.Option("--count", help="Print only the number of frames.")] = False,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD", help="Print the values of this field, with the number of frames of each."
        ),
    ] = None,
    as_of: AsOf = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
    parquet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write all columns of the frames into a Parquet file (extra arrow)."
        ),
    ] = None,
) -> None:
    """Find the frames of a version that match a query."""
    from ..hyperdatasets.address import Address, version_at
    from ..hyperdatasets.querying import matching_reader, prepare_columns
    from . import frame_views as views

    form = _one_of({"--json": json, "--csv": csv, "--parquet": parquet is not None})
    if _one_of({"--count": count, "--by": by is not None, "--parquet": parquet is not None}) and order_by:
        raise UsageError("--order-by orders frames that are shown: omit it with --count, --by and --parquet")
    meant = Address.parse(address)
    with engine_of(context, as_of) as engine:
        row = version_at(engine, meant)
        with progress_bar("storing columns") as advance:
            prepare_columns(engine.session, row, advance)
        if parquet is not None:
            from ..arrow.files import write_parquet

            rows = write_parquet(matching_reader(engine.session, row, text, limit), parquet)
            note(f"wrote {counted(rows, 'frame')} to {parquet}")
            return
        version = engine.version(row.version_id)
        most = 100 if limit is None else limit
        if by is not None:
            found = version.count(text, by)
            views.print_counts(by, found[:most], len(found) - most, form)
            return
        total = version.count(text)
        if count:
            views.print_count(total, form)
            return
        listed = views.list_frames(version.query(text, most, order_by), most, max(total - most, 0))
    views.print_frames(listed, form)


@listing.command("views", epilog="Example: framelode views")
def list_views(
    context: typer.Context,
    remove: Annotated[
        str | None,
        typer.Option(
            metavar="VIEW",
            help="Remove the view with this name (the last one stored, if there are several) or this id (12 digits or more).",
        ),
    ] = None,
    limit: Limit = None,
    as_of: AsOf = None,
    yes: Yes = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """List the stored data views, oldest first, or remove one."""
    from ...projections.tables.views import Views
    from . import dataset_views as shown

    if remove is not None:
        _one_of({"--remove": True, "--as-of": as_of is not None, "--limit": limit is not None})
        with engine_of(context) as engine, acting(actor):
            _remove_view(engine, remove, yes=yes, json=json)
        return
    with (
        engine_of(context, as_of) as engine,
        engine.session.read(Views) as (projection, connection),
    ):
        found = list(limited(map(shown.stored_view, projection.find(connection)[::-1]), limit, "view"))
    print_json({"views": found}) if json else shown.print_stored_views(found)


def _remove_view(engine: Engine, name: str, *, yes: bool, json: bool) -> None:
    with engine:
        view = _view_of(name)
        view_id = view.id
        confirm(
            f"Remove the view {name}? Its history is kept; blobs that only it reads are deleted by `framelode gc`.",
            yes=yes,
        )
        view.delete()
    print_json({"removed": {"id": view_id, "name": view.name or ""}}) if json else say(
        f"removed the view {name}"
    )


def _view_of(name: str) -> DataView:
    """Return the last view that was stored with a name, or else the only one whose id begins with as many digits as are listed."""
    from ..hyperdatasets.views.data_view import DataView
    from .dataset_views import SHORT_ID

    if not name:
        raise UsageError("--remove is empty: pass the name or the id of a view")
    try:
        return DataView.get(dataview_name=name)
    except NotFoundError:
        is_id = len(name) >= SHORT_ID
        found = [view for view in DataView.get_views() if is_id and (view.id or "").startswith(name)]
        if len(found) != 1:
            raise
        return found[0]


@listing.command(epilog="Example: framelode stats food@v2 --against food@v1")
def stats(
    context: typer.Context,
    address: AddressText,
    against: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Version to compare with; adds its counts and the differences."),
    ] = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show statistics of a version: frames, labels, content types, sources and bytes."""
    from ..hyperdatasets.address import Address, version_at
    from . import dataset_views as views

    addresses = [Address.parse(text) for text in (address, against) if text is not None]
    with engine_of(context, as_of) as engine:
        shown = [views.view_stats(engine, version_at(engine, each)) for each in addresses]
    before = shown[1] if against is not None else None
    if json:
        print_json({"version": shown[0], "against": before})
    else:
        views.print_stats(shown[0], before)


@listing.command(epilog="Example: framelode show food@v1 apple")
def show(
    context: typer.Context,
    address: AddressText,
    frame_id: Annotated[
        str | None, typer.Argument(metavar="FRAME", help="Frame id, or its first characters.")
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the frame and its annotations into a new image file."),
    ] = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show a version and its metadata, or one of its frames."""
    from ..hyperdatasets.address import Address, version_at
    from . import dataset_views as views
    from .pictures import draw_frame

    meant = Address.parse(address)
    if draw is not None and frame_id is None:
        raise UsageError("--draw requires a frame id")
    with engine_of(context, as_of) as engine:
        row = version_at(engine, meant)
        if frame_id is None:
            shown = views.view_details(engine, row)
            print_json(shown) if json else views.print_details(shown)
            return
        version = engine.version(row.version_id)
        frame = version.get_single_frame(version.find_frame_id(frame_id))
        if draw is not None:
            draw_frame(frame, draw)
            note(f"drew {draw}")
        print_json(frame.to_dict())
