"""Commands that make an engine and bring frames into it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ...engine.errors import IntegrityError, UsageError
from ...engine.log.context import acting
from ..session import location
from .options import Actor, Json, Project, engine_of
from .output import note, print_json, progress_bar, say
from .process import SOME_REFUSED

starting = typer.Typer()
imports = typer.Typer(no_args_is_help=True)


@starting.command()
def init(
    context: typer.Context,
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="FOLDER",
            help="Its folder or PostgreSQL URL; else that of --engine, else .framelode here.",
        ),
    ] = None,
    shared: Annotated[
        bool | None, typer.Option("--shared", help="Let the group of the folder read and write the engine.")
    ] = None,
    json: Json = False,
) -> None:
    """Make an engine in a folder or a PostgreSQL database; one that is there already stays as it is."""
    from ..connect import connect

    here = "." if location.exists(".") else location.HIDDEN_FOLDER
    wanted = folder or context.obj or here
    created = not location.exists(wanted)
    with closing(connect(wanted, shared=shared)) as engine:
        if engine.session.location.is_in_memory:
            raise UsageError(f"{wanted} is in memory and would be gone when this command ends: give a folder")
        url = engine.name
    if json:
        print_json({"engine": url, "created": created})
    else:
        say(
            f"made an engine in {url}"
            if created
            else f"there is an engine in {url} already; it stays as it is"
        )


@starting.command()
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
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace also what was changed in the draft since the last import."),
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete the frames whose images are gone from the folder.")
    ] = False,
    root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder whose relative paths the ids of new frames depend on."),
    ] = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Record the frames of a Pascal VOC folder in a draft, by reference or with --copy, and list what is flawed."""
    from ...engine.writes.encoder import check_root
    from ..voc.importing import VocOptions, context_of, find_target, record_voc
    from ..voc.reader import VocFolder
    from .dataset_views import view_version
    from .voc import json_of, line_of, note_problems

    source = VocFolder(folder)
    options = VocOptions(copy=copy, overwrite=overwrite, prune=prune, root=check_root(root))
    with engine_of(context) as engine, acting(actor, context_of(source, options)):
        target = find_target(engine.session, dataset, project, version)
        if target.made:
            note(target.made)
        with progress_bar(f"importing {dataset}") as advance:
            done = record_voc(engine.session, source, target, advance, options)
        shown, view = json_of(engine, done), view_version(engine, done.version_id)
    note_problems(done)
    print_json(shown) if json else say(line_of(view, done))
    if done.problems:
        raise typer.Exit(SOME_REFUSED)
