"""`framelode one`: folders with ALF files, for the neuroscience ONE API."""

from __future__ import annotations

import json as json_text
import warnings
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engine.errors import NotFoundError, UsageError
from ...engine.log.context import acting
from .options import Actor, By, Json, Limit
from .output import counted, limited, note, print_json, print_table, say

if TYPE_CHECKING:
    from ..one.api import One
    from ..one.recording import FolderRecords

folders = typer.Typer(no_args_is_help=True)

_FIELDS = ("lab", "subject", "date", "number", "task_protocol", "projects")

Folder = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Folder of the data. Default: the working directory.")
]
Moments = Annotated[
    list[str] | None,
    typer.Option(
        "--as-of",
        metavar="POSITION|TIME|TAG",
        help="Use the state at this log position, time or tag. Repeatable: the datasets of all are joined.",
    ),
]
Session = Annotated[
    str, typer.Argument(metavar="SESSION", help="Id, path or reference (date_number_subject) of a session.")
]
Collection = Annotated[
    str | None, typer.Option(metavar="PATTERN", help="Pattern of the collection, such as 'alf/probe*'.")
]
Texts = list[str] | None


@folders.command("setup", epilog="Example: framelode one setup data")
def setup(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the data.")],
    hash_files: Annotated[bool, typer.Option("--hash", help="Compute the MD5 of each file.")] = False,
    lab: Annotated[
        str | None, typer.Option(metavar="NAME", help="Lab of sessions whose paths do not name one.")
    ] = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Record how the files of a folder differ from its records, and write its tables."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    with _records(context, folder) as records, acting(actor):
        done = records.register(hash_files=hash_files, lab=lab)
        records.export()
    if json:
        print_json(done)
        return
    changes = ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in done.recorded.items())
    say(f"{counted(done.sessions, 'session')}, {counted(done.datasets, 'dataset')}: {changes or 'unchanged'}")


@folders.command("search", epilog="Example: framelode one search --subject mouse --dataset spikes.times")
def search(
    context: typer.Context,
    subject: Annotated[Texts, typer.Option(metavar="PATTERN", help="Subject. Repeatable.")] = None,
    lab: Annotated[Texts, typer.Option(metavar="PATTERN", help="Lab. Repeatable.")] = None,
    project: Annotated[Texts, typer.Option(metavar="PATTERN", help="Project. Repeatable.")] = None,
    task: Annotated[Texts, typer.Option(metavar="PATTERN", help="Task protocol. Repeatable.")] = None,
    number: Annotated[list[int] | None, typer.Option(metavar="N", help="Number. Repeatable.")] = None,
    date: Annotated[
        str | None, typer.Option(metavar="DATE", help="Day, or first and last day as FIRST..LAST.")
    ] = None,
    dataset: Annotated[
        Texts, typer.Option(metavar="PATTERN", help="Existing dataset. Repeatable: all of them.")
    ] = None,
    qc: Annotated[str | None, typer.Option(metavar="QC", help="Only datasets that are not worse.")] = None,
    folder: Folder = Path(),
    limit: Limit = None,
    as_of: Moments = None,
    json: Json = False,
) -> None:
    """List the sessions that match, newest first."""
    terms = {
        "subject": subject,
        "laboratory": lab,
        "projects": project,
        "task_protocol": task,
        "number": number,
        "date_range": _dates(date),
        "dataset": dataset,
        "dataset_qc_lte": qc,
    }
    given: dict[str, Any] = {name: value for name, value in terms.items() if value}
    with _opened(context, folder, as_of) as one:
        eids, details = one.search(details=True, **given)
    found = [
        {"eid": eid, **{name: _plain(row[name]) for name in _FIELDS}}
        for eid, row in zip(eids, details or (), strict=True)
    ]
    if json:
        print_json({"sessions": list(limited(found, limit, "session"))})
    else:
        rows = [list(row.values()) for row in limited(found, limit, "session")]
        print_table(("session", "lab", "subject", "date", "number", "task", "projects"), rows)


@folders.command("ls", epilog="Example: framelode one ls 2021-02-05_001_mouse --collection 'alf*'")
def ls(
    context: typer.Context,
    session: Session,
    name: Annotated[
        Texts, typer.Option(metavar="PATTERN", help="Pattern of the file name or path. Repeatable.")
    ] = None,
    collection: Collection = None,
    revision: Annotated[str | None, typer.Option(metavar="PATTERN", help="Pattern of the revision.")] = None,
    qc: Annotated[str, typer.Option(metavar="QC", help="Only datasets that are not worse.")] = "FAIL",
    folder: Folder = Path(),
    limit: Limit = None,
    as_of: Moments = None,
    json: Json = False,
) -> None:
    """List the datasets of a session."""
    with _opened(context, folder, as_of) as one:
        table = one.list_datasets(_known(one, session), name, collection, revision, qc=qc, details=True)
    found = [
        {"id": did, **{key: _plain(value) for key, value in row.items()}}
        for did, row in zip(table.index, table.to_dict("records"), strict=True)
    ]
    shown = sorted(found, key=lambda row: row["rel_path"])
    if json:
        print_json({"datasets": list(limited(shown, limit, "dataset"))})
        return
    rows = [
        (row["rel_path"], row["file_size"], row["qc"], "" if row["exists"] else "missing", row["id"])
        for row in limited(shown, limit, "dataset")
    ]
    print_table(("dataset", "bytes", "qc", "", "id"), rows)


@folders.command("load", epilog="Example: framelode one load 2021-02-05_001_mouse wheel --object")
def load(
    context: typer.Context,
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Dataset, or object with --object.")],
    is_object: Annotated[bool, typer.Option("--object", help="Load all attributes of an object.")] = False,
    collection: Collection = None,
    revision: Annotated[
        str | None,
        typer.Option(metavar="REVISION", help="Use the last revision that is not later than this one."),
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="Record that the datasets were loaded.")] = False,
    folder: Folder = Path(),
    as_of: Moments = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Load a dataset or an object, check its files, and describe the content."""
    with _opened(context, folder, as_of) as one, acting(actor):
        one.record_loaded = record
        load_one = one.load_object if is_object else one.load_dataset
        eid = _known(one, session)
        loaded = load_one(eid, name, collection=collection, revision=revision)
        if record:
            one.save_loaded_ids()
    content = dict(loaded) if is_object else {name: loaded}
    found = [{"name": key, **_described(value)} for key, value in content.items()]
    if json:
        print_json({"eid": eid, "content": found})
    else:
        print_table(
            ("name", "type", "content"), [(row["name"], row["type"], row["content"]) for row in found]
        )


@folders.command("history", epilog="Example: framelode one history -n 20")
def history(
    context: typer.Context,
    about: Annotated[
        str | None, typer.Argument(metavar="ID", help="Id of a session or dataset. Default: all.")
    ] = None,
    by: By = None,
    limit: Limit = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Show the oldest first.")] = False,
    folder: Folder = Path(),
    json: Json = False,
) -> None:
    """List the recorded changes of sessions and datasets, newest first."""
    with _records(context, folder) as records:
        changes = [change for change in records.history(about) if by in {None, change.actor}]
    for change in limited(changes if reverse else reversed(changes), limit, "change"):
        plain = {
            "position": change.position,
            "at": change.at.isoformat(timespec="microseconds"),
            "actor": change.actor,
            "kind": change.kind,
            "eid": change.eid,
            "id": change.id,
            "path": change.path,
            "values": change.values,
        }
        if json:
            print(json_text.dumps(plain))
            continue
        what = change.path or change.id or change.values.get("name", "")
        kind = change.kind.replace("_", " ")
        say(f"{change.position:>10}  {change.at:%Y-%m-%d %H:%M:%S}  {change.actor}  {kind}  {what}")


@folders.command("tag", epilog="Example: framelode one tag paper")
def tag(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the tag. Default: list all.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="POSITION|TIME|TAG", help="What to name. Default: the current position."),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the tag.")] = False,
    folder: Folder = Path(),
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Name a position for `--as-of`, or list the names."""
    if name is None and (at is not None or delete):
        raise UsageError("--at and --delete need the name of a tag: give it first")
    if at is not None and delete:
        raise UsageError("--at and --delete exclude each other: give one of them")
    with _records(context, folder) as records, acting(actor):
        if not records.exists():
            raise NotFoundError(f"nothing is recorded of {folder}: run `framelode one setup {folder}`")
        if name is not None and delete:
            records.untag(name)
        elif name is not None:
            records.tag(name, at)
        tags = records.tags()
    if json:
        print_json({"tags": tags})
    else:
        print_table(("tag", "position"), list(tags.items()))


@folders.command("status", epilog="Example: framelode one status")
def status(context: typer.Context, folder: Folder = Path(), json: Json = False) -> None:
    """Show what is recorded of a folder, its tags, and whether its tables are up to date."""
    from ..one.alf.cache import load_table

    with _records(context, folder) as records:
        if not records.exists():
            raise NotFoundError(f"nothing is recorded of {folder}: run `framelode one setup {folder}`")
        tables = records.tables()
        files = {name: folder / f"{name}.pqt" for name in tables}
        view = {
            "folder": str(folder.resolve()),
            "engine": records.session.url,
            "position": records.session.log.head().position,
            "sessions": len(tables["sessions"]),
            "datasets": len(tables["datasets"]),
            "missing": int((~tables["datasets"]["exists"]).sum()),
            "bytes": int(tables["datasets"]["file_size"].fillna(0).sum()),
            "loads": len(records.loads()),
            "tables_up_to_date": all(
                file.exists() and load_table(file)[0].equals(tables[name]) for name, file in files.items()
            ),
            "tags": records.tags(),
        }
    if json:
        print_json(view)
        return
    for name, value in view.items():
        shown = ", ".join(f"{tag} ({at})" for tag, at in value.items()) if isinstance(value, dict) else value
        say(f"{name.replace('_', ' ')}: {shown}")


@contextmanager
def _records(context: typer.Context, folder: Path) -> Generator[FolderRecords, None, None]:
    """Yield the records of a folder, in the engine that is given or the folder's own."""
    from ..connect import current_engine
    from ..one.recording import FolderRecords

    with ExitStack() as opened:
        engine = opened.enter_context(closing(current_engine(context.obj))) if context.obj else None
        yield opened.enter_context(FolderRecords(folder, engine))


@contextmanager
def _opened(context: typer.Context, folder: Path, as_of: list[str] | None) -> Generator[One, None, None]:
    """Yield a folder, now or at points in time. Warnings are printed on stderr."""
    from ..one.api import One

    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    with _records(context, folder) as records, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        one = One(folder, mode="local", engine=records.session if context.obj else None)
        one.records = records
        try:
            yield one.at(as_of) if as_of else one
        finally:
            for warning in told:
                note(str(warning.message))


def _known(one: One, session: str) -> str:
    eid = None
    with suppress(NotFoundError):
        eid = one.to_eid(session)
    if eid is None or eid not in one.search():
        raise NotFoundError(f"there is no session {session!r}: see `framelode one search`")
    return eid


def _dates(text: str | None) -> Any:
    """Return the range of days of an option."""
    if text is None or ".." not in text:
        return text
    first, _, last = text.partition("..")
    return [first or None, last or None]


def _plain(value: Any) -> Any:
    """Return a cell of a table as a value that JSON has."""
    from ..one.recording import is_missing

    if is_missing(value):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value if isinstance(value, bool | int | str) else str(value)


def _described(value: Any) -> dict[str, Any]:
    """Describe a loaded value: its type, and its shape, length or text."""
    if hasattr(value, "shape"):
        shape = "x".join(map(str, value.shape)) or "one value"
        kind = getattr(value, "dtype", "")
        return {"type": f"{type(value).__name__} {kind}".strip(), "content": shape}
    content = (
        str(value)
        if isinstance(value, Path) or not hasattr(value, "__len__")
        else counted(len(value), "item")
    )
    return {"type": type(value).__name__, "content": content}
