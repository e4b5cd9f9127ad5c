"""Commands that create an engine."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ...engine.errors import IntegrityError, UsageError
from ..session import location
from .options import Json
from .output import note, print_json, say

starting = typer.Typer()


@starting.command(epilog="Example: framelode init")
def init(
    context: typer.Context,
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="FOLDER",
            help="Folder or PostgreSQL URL. Default: --engine, then .framelode in the working directory.",
        ),
    ] = None,
    shared: Annotated[
        bool | None, typer.Option("--shared", help="Give the group of the folder read and write access.")
    ] = None,
    json: Json = False,
) -> None:
    """Create an engine in a folder or a PostgreSQL database; an existing engine is left unchanged."""
    from ..connect import connect

    here = "." if location.exists(".") else location.HIDDEN_FOLDER
    wanted = folder or context.obj or here
    created = not location.exists(wanted)
    with closing(connect(wanted, shared=shared)) as engine:
        if engine.session.location.is_in_memory:
            raise UsageError(
                f"{wanted} is an in-memory engine and would be lost when this command ends: give a folder"
            )
        url = engine.name
    if json:
        print_json({"engine": url, "created": created})
    else:
        say(
            f"created an engine in {url}" if created else f"{url} already contains an engine; nothing changed"
        )


@starting.command(epilog="Example: framelode demo")
def demo(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", help="New or empty folder for the engine. Default: a temporary folder."
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary folder.")] = False,
    voc: Annotated[
        bool,
        typer.Option(
            "--voc", help="Make a small Pascal VOC folder in FOLDER instead, to try `import voc` with."
        ),
    ] = False,
) -> None:
    """Run a demo: version a small synthetic dataset in a new engine and verify every result."""
    import shutil
    import tempfile

    from .demo import run_demo

    if voc:
        _make_voc(folder)
        return
    if folder is not None and _has_files(folder):
        raise UsageError(f"{folder} is not empty: give a new or empty folder, or none")
    place = folder or Path(tempfile.mkdtemp(prefix="framelode-demo-"))
    keep = keep or folder is not None
    try:
        run_demo(place)
    except IntegrityError:
        keep = True
        note(f"kept the engine in {place}")
        raise
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
    say(
        f"Kept the engine in {place}. To list its datasets: framelode --engine {place} ls"
        if keep
        else "Removed the temporary folder."
    )
    say("Verified: the log, both versions and all projections agree.")


def _make_voc(folder: Path | None) -> None:
    from .demo_voc import PICTURES, voc_files

    if folder is None:
        raise UsageError("--voc requires FOLDER, such as `framelode demo --voc street`")
    files, boxes = voc_files()
    wrote = "Wrote"
    if _has_files(folder):
        wrote = "Found"
        if not all(_holds(folder / name, data) for name, data in files.items()):
            raise UsageError(f"{folder} is not empty: give a new or empty folder")
    else:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    say(
        f"{wrote} {PICTURES} pictures with {boxes} boxes in {folder}. To import them: framelode init, and then"
    )
    say(f"framelode import voc {folder} --dataset {folder.absolute().name}")


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _holds(file: Path, data: bytes) -> bool:
    return file.is_file() and file.read_bytes() == data
