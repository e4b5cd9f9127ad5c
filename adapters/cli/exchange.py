"""`framelode import FORMAT` and `framelode export FORMAT`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ...engine.log.context import acting
from ..formats.names import BUILT_IN
from .options import Actor, AsOf, Json, Project, engine_of
from .output import counted, note, print_json, progress_bar, say
from .process import SOME_REFUSED

if TYPE_CHECKING:
    from ..formats.report import Loss, Problem
    from ..hyperdatasets.exchange.importing import Imported

_SHOWN = 100
_AUTO = "auto"


class FormatCommands(TyperGroup):
    """A command for each format. Those of other packages are looked for only if no other command has the name."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a format."""
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in _other_names():
            made = typer.Typer()
            made.command(cmd_name)(import_path if ctx.info_name == "import" else export_version)
            found = typer.main.get_command(made)
        return found

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *_other_names()})


def _other_names() -> set[str]:
    from ..formats.registry import format_names

    return {*format_names()} - {*BUILT_IN}


imports = typer.Typer(cls=FormatCommands, no_args_is_help=True)
exports = typer.Typer(cls=FormatCommands, no_args_is_help=True)

Strict = Annotated[
    bool,
    typer.Option("--strict", help="Write nothing if there is any problem or loss."),
]


def import_path(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder or file of the dataset.")],
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="Dataset to import into; created if it does not exist.")
    ],
    project: Project = None,
    version: Annotated[
        str | None,
        typer.Option(
            "--version",
            metavar="NAME",
            help="Draft to import into. Default: the current draft. If the dataset has no draft, one is created.",
        ),
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Store the images in the engine's blob store.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Also overwrite frames that were changed in the draft since the last import."
        ),
    ] = False,
    only_new: Annotated[
        bool, typer.Option("--only-new", help="Do not change frames that the draft already has.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete frames whose files no longer exist.")
    ] = False,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Derive the ids of new frames from paths relative to this folder. Default: PATH.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Record nothing; print what would be recorded.")
    ] = False,
    strict: Strict = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Import a dataset in another format into a draft, and list its problems and losses."""
    from ...engine.frames.source import check_root
    from ..hyperdatasets.exchange.importing import DataSet, Into, Options, import_data_set
    from .dataset_views import view_version

    data_set = DataSet(context.info_name or "", path)
    options = Options(copy, overwrite, only_new, prune, check_root(root), dry_run, strict)
    into = Into(dataset, project, version)
    with engine_of(context) as engine, acting(actor):
        with progress_bar(f"importing {dataset}") as advance:
            done = import_data_set(engine.session, data_set, into, options, advance, note)
        view = None if done.version_id is None else view_version(engine, done.version_id)
    _note_all(done.problems, sum(done.flaws.values()), done.losses)
    for file in done.vanished:
        note(f"{file}: no longer in the folder; its frame is kept, --prune deletes it")
    if json:
        print_json({"version": view, **_plain(done)})
    else:
        say(f"{dataset if view is None else view.address}: {_line_of(done)}")
    if done.flaws:
        raise typer.Exit(SOME_REFUSED)


def export_version(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="New or empty folder; a new file for a format of files.")
    ],
    version: Annotated[
        str,
        typer.Option(
            "--version",
            metavar="ADDRESS",
            help="project/dataset@version (project and version are optional), or id:<first digits of a version id>.",
        ),
    ],
    query: Annotated[
        str | None,
        typer.Option(metavar="QUERY", help="Only frames that match, such as meta.camera:cam1."),
    ] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Write no image files.")] = False,
    strict: Strict = False,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Export the frames of a version, and list what the format cannot store."""
    from ..hyperdatasets.address import Address, version_at
    from ..hyperdatasets.exchange.exporting import write_version
    from ..hyperdatasets.version import DatasetVersion

    with engine_of(context, as_of) as engine:
        row = version_at(engine, Address.parse(version))
        chosen = DatasetVersion.of(engine, row.version_id)
        with progress_bar(f"exporting {version}") as advance:
            done = write_version(
                engine.session,
                chosen,
                context.info_name or "",
                path,
                advance,
                query=query,
                images=not no_images,
                strict=strict,
            )
    _note_all(done.problems, sum(done.flaws.values()), done.losses)
    if json:
        print_json(done)
    else:
        images = f" and {counted(done.images, 'image')}" if done.images else ""
        say(f"wrote {counted(done.frames, 'frame')}{images} to {done.path}; {_lost(done.losses)}")
    if done.flaws:
        raise typer.Exit(SOME_REFUSED)


def export_croissant(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="New or empty folder.")],
    version: Annotated[
        str,
        typer.Option(
            "--version",
            metavar="ADDRESS",
            help="project/dataset@version (project and version are optional), or id:<first digits of a version id>.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the dataset. Default: its name in the engine.")
    ] = None,
    description: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Default: the description of the version or of the dataset."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", metavar="URL", help="License of the data, preferably a URL.")
    ] = None,
    citation: Annotated[
        str | None, typer.Option(metavar="TEXT", help="How to cite the dataset, preferably in BibTeX.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Web page of the dataset. Default: its framelode:// URL."),
    ] = None,
    creator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A creator; repeatable. Default: the actor who published the version."
        ),
    ] = None,
    no_files: Annotated[bool, typer.Option("--no-files", help="Write no files, only their URLs.")] = False,
    json: Json = False,
) -> None:
    """Describe a published version in Croissant 1.1, beside tables of its records and its files."""
    from ..hyperdatasets.address import Address, version_at
    from ..hyperdatasets.version import DatasetVersion

    with engine_of(context) as engine:
        row = version_at(engine, Address.parse(version))
        done = DatasetVersion.of(engine, row.version_id).to_croissant(
            path,
            name=name,
            description=description,
            license=licence,
            citation=citation,
            url=url,
            creators=creator or None,
            files=not no_files,
        )
    for failure in done.failures:
        note(f"{failure.uri}: {failure.error}")
    if done.missing:
        note(f"Croissant also requires: {', '.join(done.missing)}")
    if json:
        print_json(done)
    else:
        files = f" and {counted(done.files, 'file')}" if done.files else ""
        say(
            f"wrote {counted(done.frames, 'frame')}, {counted(done.annotations, 'annotation')}{files}: {done.path}"
        )
    if done.failures:
        raise typer.Exit(SOME_REFUSED)


def _note_all(problems: list[Problem], total: int, losses: list[Loss]) -> None:
    for problem in problems[:_SHOWN]:
        note(f"{problem.file}: {problem.reason}")
    if total > _SHOWN:
        note(f"and {counted(total - _SHOWN, 'more problem')}: --json lists them")
    for loss in losses:
        note(f"lost: {loss.kind} ({loss.count:,}, such as {', '.join(loss.examples)})")


def _plain(done: Imported) -> dict[str, Any]:
    import msgspec

    plain = msgspec.structs.asdict(done)
    del plain["version_id"]
    return plain


def _line_of(done: Imported) -> str:
    more = "".join(
        f", {number:,} {what}"
        for number, what in ((done.kept, "kept"), (done.skipped, "skipped"), (done.pruned, "pruned"))
        if number
    )
    return (
        f"{'would be: ' if done.dry_run else ''}{counted(done.added, 'frame')} added, {done.updated:,} updated, "
        f"{done.unchanged:,} unchanged, {done.refused:,} refused{more}; {counted(done.annotations, 'annotation')}; "
        f"{counted(sum(done.flaws.values()), 'problem')}" + (f"; {_lost(done.losses)}" if done.losses else "")
    )


def _lost(losses: list[Loss]) -> str:
    total = sum(each.count for each in losses)
    return f"{counted(total, 'value')} lost" if total else "nothing lost"


imports.command(
    _AUTO,
    short_help="Detect the format of a dataset, and import it.",
    epilog=f"Example: framelode import {_AUTO} photos --dataset food",
)(import_path)
for _name, _title in BUILT_IN.items():
    imports.command(
        _name,
        short_help=f"Import {_title}.",
        epilog=f"Example: framelode import {_name} photos --dataset food",
    )(import_path)
    exports.command(
        _name,
        short_help=f"Export {_title}.",
        epilog=f"Example: framelode export {_name} food-{_name} --version food --no-images",
    )(export_version)
exports.command(
    "croissant",
    epilog="Example: framelode export croissant food-croissant --version food@v1 --no-files",
)(export_croissant)
