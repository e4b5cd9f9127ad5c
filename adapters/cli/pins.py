"""`framelode pin`: external datasets, pinned in `dvc.yaml` and `dvc.lock`."""

from __future__ import annotations

import json as json_text
import re
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engine.errors import FramelodeError, NotFoundError
from ...engine.log.context import acting
from ..session import location
from .options import Actor, AsOf, By, Json, Limit, Since, Until, moment_of, start_of
from .output import counted, limited, note, print_json, print_table, progress_bar, say
from .process import SOME_REFUSED

if TYPE_CHECKING:
    from ..pinned_datasets.dataset_types import Dataset
    from ..pinned_datasets.datasets import Datasets

pins = typer.Typer(no_args_is_help=True)


class Kind(StrEnum):
    """The types of datasets."""

    dvc = "dvc"
    dc = "dc"
    url = "url"


Folder = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Project folder. Default: the nearest parent folder with .dvc, then with .git, then the working directory.",
    ),
]
Timeout = Annotated[
    float, typer.Option(metavar="SECONDS", help="Give up on a source after this long without a response.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.")]
NameOrAll = Annotated[str | None, typer.Argument(metavar="NAME", help="Name of a dataset. Default: all.")]
Rev = Annotated[str | None, typer.Option(metavar="REV", help="Branch, tag or commit; only with type dvc.")]
Version = Annotated[
    str | None,
    typer.Option(
        metavar="N", help="Version: an integer from 1, or three numbers as 1.0.2; only with type dc."
    ),
]


@pins.command(epilog="Example: framelode pin add labels ./labels --type url")
def add(
    context: typer.Context,
    name: Name,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Git repository, dataset in a catalog, or file or folder.")
    ],
    kind: Annotated[
        Kind, typer.Option("--type", metavar="TYPE", help="dvc (git), dc (catalog) or url (anything else).")
    ],
    path: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="File or folder in the repository; only with type dvc."),
    ] = None,
    rev: Rev = None,
    version: Version = None,
    manifest: Annotated[
        str, typer.Option(metavar="FILE", help="Manifest, relative to the project folder.")
    ] = "dvc.yaml",
    force: Annotated[bool, typer.Option("--force", help="Replace a dataset of the same name.")] = False,
    folder: Folder = None,
    timeout: Timeout = 60.0,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Add a dataset to the manifest, and lock it to the current state of its source."""
    given = {"path": path, "rev": rev, "version": _version(version)}
    with _project(context, folder, timeout, actor) as datasets, progress_bar(f"reading {name}") as advance:
        made = datasets.add(
            name,
            url,
            kind.value,
            manifest,
            force=force,
            callback=advance,
            **{key: value for key, value in given.items() if value is not None},
        )
        view = _view(datasets, made)
    print_json({"dataset": view}) if json else say(f"added {name}: {_brief(view)}")


@pins.command(epilog="Example: framelode pin update labels")
def update(
    context: typer.Context,
    name: Name,
    rev: Rev = None,
    version: Version = None,
    folder: Folder = None,
    timeout: Timeout = 60.0,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Lock a dataset to the current state of its source."""
    given = {
        key: value for key, value in {"rev": rev, "version": _version(version)}.items() if value is not None
    }
    with _project(context, folder, timeout, actor) as datasets, progress_bar(f"reading {name}") as advance:
        _require(datasets, name)
        old, new = datasets.update(name, callback=advance, **given)
        before, after = _view(datasets, old), _view(datasets, new)
    if json:
        print_json({"changed": before != after, "before": before, "after": after})
    elif before == after:
        say(f"{name} is unchanged: {_brief(after)}")
    else:
        say(f"updated {name}: {_brief(before)} -> {_brief(after)}")


@pins.command("ls", epilog="Example: framelode pin ls")
def list_pins(
    context: typer.Context,
    folder: Folder = None,
    limit: Limit = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """List the datasets and their locks, now or at a point in time."""
    moment = moment_of(as_of)
    with _project(context, folder) as datasets:
        found = dict(datasets) if moment is None else datasets.at(moment)
        views = [_view(datasets, dataset) for dataset in limited(found.values(), limit, "dataset")]
        problems = datasets.problems if moment is None else {}
    if json:
        print_json({"datasets": views, "problems": _told(problems)})
    else:
        rows = [(view["name"], view["type"], view["spec"]["url"], _brief(view)) for view in views]
        print_table(("name", "type", "url", "locked to"), rows)
    _leave_with(problems)


@pins.command(epilog="Example: framelode pin status --check")
def status(
    context: typer.Context,
    name: NameOrAll = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with status 1 unless all are ok.")] = False,
    folder: Folder = None,
    timeout: Timeout = 60.0,
    json: Json = False,
) -> None:
    """Compare datasets with their sources and report ok, stale, invalidated, missing or unreadable."""
    with _project(context, folder, timeout) as datasets:
        if name is None:
            found = datasets.status()
        else:
            _require(datasets, name)
            found = datasets.status(name)
        views = [
            _view(datasets, datasets[each]) | {"status": status.value}
            for each, status in found.items()
            if each in datasets
        ]
        problems = datasets.problems if name is None else {}
    if json:
        print_json({"datasets": views, "problems": _told(problems)})
    else:
        rows = [(view["name"], view["type"], view["status"], _brief(view)) for view in views]
        print_table(("name", "type", "status", "locked to"), rows)
    _leave_with(problems)
    if check and any(view["status"] != "ok" for view in views):
        raise typer.Exit(SOME_REFUSED)


@pins.command("log", epilog="Example: framelode pin log -n 10")
def log(
    context: typer.Context,
    name: NameOrAll = None,
    by: By = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Show the oldest first.")] = False,
    everywhere: Annotated[
        bool, typer.Option("--all", help="Include all projects recorded in the same engine.")
    ] = False,
    folder: Folder = None,
    json: Json = False,
) -> None:
    """List the changes of datasets and their locks, newest first."""
    with _project(context, folder) as datasets:
        changes = datasets.history(
            name,
            actor=by,
            since=start_of(since),
            until=moment_of(until),
            newest_first=not reverse,
            all_projects=everywhere,
        )
    for change in limited(changes, limit, "change"):
        before, after = _brief(change.before), _brief(change.after)
        if json:
            plain = {
                "position": change.position,
                "at": change.at.isoformat(timespec="microseconds"),
                "actor": change.actor,
                "kind": change.kind,
                "project": change.project,
                "folder": change.folder,
                "manifest": change.manifest,
                "name": change.name,
                "before": change.before,
                "after": change.after,
            }
            print(json_text.dumps(plain))
            continue
        moved = after if before == "nothing" else f"{before} -> {after}"
        place = f"{change.folder}: {change.name}" if everywhere else change.name
        say(
            f"{change.position:>10}  {change.at:%Y-%m-%d %H:%M:%S}  {change.actor}  {place} {change.kind}  {moved}"
        )


@contextmanager
def _project(
    context: typer.Context, folder: Path | None, timeout: float = 60.0, actor: str | None = None
) -> Generator[Datasets, None, None]:
    """Yield the datasets of the selected project, recorded in the selected engine or in the project's own."""
    from ..connect import current_engine
    from ..pinned_datasets.datasets import Datasets

    url = location.find(context.obj)
    with ExitStack() as opened, acting(actor):
        engine = None if url is None else opened.enter_context(closing(current_engine(url)))
        yield opened.enter_context(Datasets(folder or _nearest(), engine=engine, timeout=timeout))


def _nearest() -> Path:
    here = Path.cwd()
    around = (here, *here.parents)
    marked = (each for mark in (".dvc", ".git") for each in around if (each / mark).exists())
    return next(marked, here)


def _version(given: str | None) -> int | str | None:
    return int(given) if given is not None and re.fullmatch(r"-?\d{1,18}", given) else given


def _told(problems: dict[str, FramelodeError]) -> dict[str, str]:
    return {name: str(error) for name, error in problems.items()}


def _leave_with(problems: dict[str, FramelodeError]) -> None:
    """Report what could not be read, and end with the exit status of the first error."""
    for name, error in problems.items():
        note(f"{name}: {error}")
    for error in problems.values():
        raise typer.Exit(error.exit_status)


def _require(datasets: Datasets, name: str) -> None:
    if name not in datasets and name not in datasets.problems:
        raise NotFoundError(f"dataset not found: {name!r} is not in any dvc.yaml of {datasets.root_dir}")


def _view(datasets: Datasets, dataset: Dataset) -> dict[str, Any]:
    manifest = Path(dataset.manifest_path).relative_to(datasets.root_dir)
    return {
        "name": dataset.spec.name,
        "type": dataset.type,
        "manifest": manifest.as_posix(),
        "spec": dataset.spec.to_dict(),
        "lock": dataset.lock.to_dict() if dataset.lock else None,
        "invalidated": dataset._invalidated,  # noqa: SLF001 - the name that the API gives it
    }


def _brief(state: dict[str, Any] | None) -> str:
    """Describe briefly what a dataset is locked to."""
    if state is None:
        return "nothing"
    lock = state.get("lock")
    if not lock:
        return "lock does not match the spec" if state.get("invalidated") else "not locked"
    if "rev_lock" in lock:
        return " ".join(filter(None, (lock.get("rev"), lock["rev_lock"][:12])))
    if "version" in lock:
        return f"version {lock['version']}"
    meta = lock.get("meta") or {}
    named = next((str(meta[key]) for key in ("version_id", "etag", "checksum", "md5") if meta.get(key)), None)
    files = counted(meta["nfiles"], "file") if meta.get("isdir") and "nfiles" in meta else None
    size = counted(meta["size"], "byte") if "size" in meta else None
    return ", ".join(filter(None, (files, size, named)))
