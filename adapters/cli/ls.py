"""Commands that show datasets, versions and frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...engine.errors import UsageError
from .options import AddressText, AsOf, Json, engine_of
from .output import note, print_json

listing = typer.Typer()


@listing.command("ls")
def list_all(
    context: typer.Context,
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET", help="project/dataset (the project is optional). Default: list the datasets."
        ),
    ] = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """List the datasets, or the versions of one dataset."""
    from . import dataset_views as views
    from .address import Address, dataset_at

    address = None if dataset is None else Address.parse_dataset(dataset)
    with engine_of(context, as_of) as engine:
        if address is None:
            datasets = views.list_datasets(engine)
            print_json({"datasets": datasets}) if json else views.print_datasets(datasets)
        else:
            versions = views.list_versions(engine, dataset_at(engine, address))
            print_json({"versions": versions}) if json else views.print_versions(versions)


@listing.command()
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
    from . import dataset_views as views
    from .address import Address, version_at

    addresses = [Address.parse(text) for text in (address, against) if text is not None]
    with engine_of(context, as_of) as engine:
        shown = [views.view_stats(engine, version_at(engine, each)) for each in addresses]
    before = shown[1] if against is not None else None
    if json:
        print_json({"version": shown[0], "against": before})
    else:
        views.print_stats(shown[0], before)


@listing.command()
def show(
    context: typer.Context,
    address: AddressText,
    frame_id: Annotated[str | None, typer.Argument(metavar="FRAME", help="Frame id.")] = None,
    draw: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the frame and its annotations into a new image file."),
    ] = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show a version and its metadata, or one of its frames."""
    from . import dataset_views as views
    from .address import Address, version_at
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
        frame = engine.version(row.version_id).get_single_frame(frame_id)
        if draw is not None:
            draw_frame(frame, draw)
            note(f"drew {draw}")
        print_json(frame.to_dict())
