"""The command `framelode`: what it offers. The work is done in the modules beside, loaded when needed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ...engine.context import acting
from ...engine.errors import IntegrityError, UsageError
from .. import location
from . import portable
from .checkpoint import checkpoints
from .options import Actor, AddressText, DatasetText, Json, Project, engine_of
from .output import note, print_json, print_table, progress_bar, say
from .process import SOME_REFUSED, Commands, run

SUMMARY = (
    "Version frames and their annotations: every change is an event in a log, every reading a fold of it."
)

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
imports = typer.Typer(no_args_is_help=True)
app.add_typer(imports, name="import", help="Record what is kept in other forms.")
app.add_typer(checkpoints, name="checkpoint", help="Keep what the log's head was.")


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    run(app, "framelode")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"framelode {version('framelode')}")
        raise typer.Exit


@app.callback(help=SUMMARY)
def _options(
    context: typer.Context,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar=location.ENVIRONMENT_URL,
            help="Folder or URL of the engine; else the nearest one upwards of the working directory.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    del version
    context.obj = engine


@app.command()
def init(
    context: typer.Context,
    folder: Annotated[
        str | None,
        typer.Argument(metavar="FOLDER", help="Its folder; else that of --engine, else .framelode here."),
    ] = None,
    json: Json = False,
) -> None:
    """Make an engine in a folder; one that is there already stays as it is."""
    from ..connection import connect

    here = "." if location.exists(".") else location.HIDDEN_FOLDER
    wanted = folder or context.obj or here
    created = not location.exists(wanted)
    with closing(connect(wanted)) as engine:
        if engine.location.folder is None:
            raise UsageError(f"{wanted} is in memory and would be gone when this command ends: give a folder")
        url = engine.url
    if json:
        print_json({"engine": url, "created": created})
    else:
        say(
            f"made an engine in {url}"
            if created
            else f"there is an engine in {url} already; it stays as it is"
        )


@app.command()
def demo(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="A new or empty folder to make it in; else a temporary one."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary folder.")] = False,
) -> None:
    """Version a small synthetic dataset in an engine of its own, step by step, and verify every result."""
    import shutil
    import tempfile

    from .demo import run_demo

    if folder is not None and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: give the demo a new or empty folder, or none")
    place = folder or Path(tempfile.mkdtemp(prefix="framelode-demo-"))
    keep = keep or folder is not None
    try:
        run_demo(place)
    except IntegrityError:
        keep = True
        note(f"the engine is kept in {place}")
        raise
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
    say(f"Kept in {place}: look with framelode --engine {place} ls" if keep else "Removed its folder.")
    say("All was verified: the log, both versions, and everything derived from them agree.")


@imports.command("voc")
def import_voc(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder that holds Annotations and JPEGImages.")
    ],
    dataset: Annotated[str, typer.Option(metavar="NAME", help="Dataset to import into; created if missing.")],
    project: Project = None,
    version: Annotated[
        str | None,
        typer.Option(
            "--version",
            metavar="NAME",
            help="Draft to import into; else the current one, made if there is none.",
        ),
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Store the images in the engine's blob store.")
    ] = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Record the frames of a Pascal VOC folder in a draft, by reference or with --copy, and list what is flawed."""
    from ..voc import VocFolder
    from .voc import find_target, record_voc

    with engine_of(context) as engine:
        source = VocFolder(folder)
        with acting(actor, {"import": "voc", "folder": str(source.path)}):
            target = find_target(engine, dataset, project, version)
            if target.made:
                note(target.made)
            with progress_bar(f"importing {dataset}") as advance:
                done = record_voc(engine, source, target, advance, copy=copy)
    for problem in done.problems:
        note(f"{problem.file}: {problem.reason}")
    if json:
        print_json(done)
    else:
        say(
            f"{done.version.address}: {done.added:,} frames added, {done.updated:,} updated, {done.unchanged:,} unchanged, "
            f"{done.refused:,} refused; {done.boxes:,} boxes; {len(done.problems):,} problems"
        )
    if done.problems:
        raise typer.Exit(SOME_REFUSED)


app.command("export")(portable.export)
imports.command("log")(portable.import_log)


@app.command("ls")
def list_all(
    context: typer.Context,
    dataset: Annotated[
        str | None, typer.Argument(metavar="DATASET", help="project/dataset; the project may be left out.")
    ] = None,
    json: Json = False,
) -> None:
    """List the datasets, or the versions of one, latest updated first."""
    from . import views
    from .address import Address, dataset_at

    address = None if dataset is None else Address.parse_dataset(dataset)
    with engine_of(context) as engine:
        if address is None:
            datasets = views.list_datasets(engine)
            print_json({"datasets": datasets}) if json else views.print_datasets(datasets)
        else:
            versions = views.list_versions(engine, dataset_at(engine, address))
            print_json({"versions": versions}) if json else views.print_versions(versions)


@app.command()
def stats(
    context: typer.Context,
    address: AddressText,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Another version to set beside it, with what changed since that one."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Count what a version holds: frames, labels, content types, sources and their bytes."""
    from . import views
    from .address import Address, version_at

    addresses = [Address.parse(text) for text in (address, against) if text is not None]
    with engine_of(context) as engine:
        shown = [views.view_stats(engine, version_at(engine, each)) for each in addresses]
    before = shown[1] if against is not None else None
    if json:
        print_json({"version": shown[0], "against": before})
    else:
        views.print_stats(shown[0], before)


@app.command()
def draft(
    context: typer.Context,
    dataset: DatasetText,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the draft; no version may have it yet.")
    ],
    parent: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Published version to start from; else the draft is empty."),
    ] = None,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="Description of the draft.")] = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Create a draft: the child of a published version, or an empty one."""
    from ..hyperdatasets.version import DatasetVersion
    from .address import Address, dataset_at, version_at
    from .views import print_change, view_version

    place, start = Address.parse_dataset(dataset), Address.parse(parent) if parent is not None else None
    with engine_of(context) as engine, acting(actor):
        made = DatasetVersion.create_version(
            name,
            comment,
            dataset_id=dataset_at(engine, place).dataset_id,
            parent_version_ids=None if start is None else [version_at(engine, start).version_id],
            raise_if_exists=True,
        )
        shown = view_version(engine, made.version_id)
    print_json({"draft": shown}) if json else print_change("created", shown)


@app.command()
def publish(context: typer.Context, address: AddressText, actor: Actor = None, json: Json = False) -> None:
    """Publish a draft: it never changes again, and its content is committed to by fingerprint."""
    from .address import Address, version_at
    from .views import print_change, view_version

    meant = Address.parse(address)
    with engine_of(context) as engine, acting(actor):
        version_id = version_at(engine, meant).version_id
        changed = engine.version(version_id).publish_version()
        shown = view_version(engine, version_id)
    if json:
        print_json({"published": shown, "changed": changed})
    else:
        print_change("published" if changed else "published already", shown)


@app.command()
def snapshot(
    context: typer.Context,
    address: AddressText,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="New name of the version that is published.")
    ] = None,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="Its description.")] = None,
    child_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the child; else the version's name until now.")
    ] = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Publish a draft, which keeps its id, and go on in a new draft that is its child."""
    from .address import Address, version_at
    from .views import print_change, view_version

    meant = Address.parse(address)
    with engine_of(context) as engine, acting(actor):
        version = engine.version(version_at(engine, meant).version_id)
        child = version.create_snapshot(publish_name=name, publish_comment=comment, child_name=child_name)
        shown, new = (view_version(engine, each.version_id) for each in (version, child))
    if json:
        print_json({"published": shown, "draft": new})
    else:
        print_change("published", shown)
        print_change("created", new)


@app.command()
def verify(
    context: typer.Context,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A checkpoint: is the log up to it still as it was then?"),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="Public Ed25519 key that must have signed the checkpoint."),
    ] = None,
    json: Json = False,
) -> None:
    """Check the whole log, and everything derived from it against a fresh fold."""
    with engine_of(context) as engine:
        url = engine.url
        try:
            with progress_bar("verifying") as advance:
                found = engine.verify(advance, against=against, public_key=public_key)
        except IntegrityError as error:
            if json:
                print_json({"engine": url, "problems": list(error.problems)})
            for problem in error.problems[1:] if not json else ():
                note(problem)
            raise
    if json:
        print_json({"engine": url, "verified": found})
        return
    say(f"verified {url}: nothing is wrong{'' if against is None else f', and it continues {against}'}")
    print_table(
        ("checked", "number"),
        (
            ("events", found.events),
            ("batches, an unbroken chain", found.batches),
            ("versions equal to a fresh fold", found.versions),
            ("published fingerprints reproduced", found.fingerprints),
            ("projections equal to a fresh fold", found.projections),
        ),
    )


@app.command()
def rebuild(context: typer.Context, json: Json = False) -> None:
    """Throw away everything derived from the log and fold it afresh."""
    with engine_of(context) as engine, progress_bar("rebuilding") as advance:
        engine.rebuild(advance)
        url, events = engine.url, engine.log.head().position
        names = [projection.name for projection in engine.runner.projections]
    if json:
        print_json({"engine": url, "projections": names, "events": events})
    else:
        say(f"rebuilt {', '.join(names)} from {events:,} events in {url}")
