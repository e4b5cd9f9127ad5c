"""`framelode lake`: pictures and videos of datalakes."""

from __future__ import annotations

import json as json_text
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engine.errors import InvalidValueError, UsageError
from ...engine.log.context import acting
from ...engine.stores.values import from_json_form, json_form
from .options import Actor, AsOf, Json, Yes, confirm, engine_of
from .output import counted, note, print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..datalake.data import Data, MultiData
    from ..datalake.datalake import Datalake
    from ..datalake.job import Job
    from ..engine import Engine

lakes = typer.Typer()

_JOB_SECONDS = 0.5
_JOB_ATTEMPTS = 10**9

LakeName = Annotated[
    str | None, typer.Option("--lake", metavar="NAME", help="Name of the lake. Default: default.")
]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="Tag of the data. Repeatable.")]
Source = Annotated[str | None, typer.Option(metavar="NAME", help="Source of the data.")]
WithTags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="Only data with this tag. Repeatable.")
]
AllTags = Annotated[bool, typer.Option("--all-tags", help="Only data with all the tags.")]
Query = Annotated[
    str | None,
    typer.Option("--q", metavar="QUERY", help="Only data that match a query, such as 'size > 20000'."),
]
Filenames = Annotated[
    list[str] | None,
    typer.Option("--filename", metavar="NAME", help="Only data of this file name. Repeatable."),
]
Ids = Annotated[
    list[str] | None, typer.Option("--id", metavar="ID", help="Only the data with this id. Repeatable.")
]


@lakes.command("upload", epilog="Example: framelode lake upload camera --tag train")
def upload(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="File, or folder of files.")],
    tag: Tags = None,
    source: Source = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="Metadata of all data as a JSON object.")
    ] = None,
    exif: Annotated[bool, typer.Option("--exif", help="Read the EXIF of pictures.")] = False,
    lake: LakeName = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Upload pictures and videos; files that fail are listed, and the exit status is 1."""
    from ..datalake.data import Data
    from ..datalake.error_manager import ErrorManager
    from ..datalake.exceptions import NothingDoneError

    files = [file for path in paths for file in _files(path)]
    given = _object(metadata)
    errors = ErrorManager()
    with engine_of(context) as engine, acting(actor), progress_bar("uploading") as advance:
        done: list[Data] = []
        with suppress(NothingDoneError):
            uploaded = _lake(engine, lake, create=True).upload_data(
                files,
                tags=list(tag or []),
                source=source,
                metadata=[given] * len(files) if given else None,
                fill_metadata=exif,
                wait_for_unprocessable_data=False,
                error_manager=errors,
                progress=advance,
            )
            done = [uploaded] if isinstance(uploaded, Data) else uploaded.items
        failed = [{"path": str(error.path), "error": str(error)} for error in errors.errors]
        if json:
            print_json({"data": list(map(_view, done)), "failed": failed})
        else:
            for failure in failed:
                note(failure["error"])
            say(f"{counted(len(done), 'file')} uploaded" + (f", {len(failed):,} failed" if failed else ""))
    if failed:
        raise typer.Exit(1)


@lakes.command("ls", epilog="Example: framelode lake ls --tag train --q 'width > 640'")
def list_data(
    context: typer.Context,
    tag: WithTags = None,
    all_tags: AllTags = False,
    q: Query = None,
    filename: Filenames = None,
    ids: Ids = None,
    order_by: Annotated[
        list[str] | None,
        typer.Option(
            "--order-by", metavar="FIELD", help="Order by a field, descending with - in front. Repeatable."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("-n", "--limit", metavar="N", help="Show at most N.", min=1)
    ] = None,
    offset: Annotated[int | None, typer.Option(metavar="N", help="Skip the first N.", min=0)] = None,
    lake: LakeName = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """List the data of a lake, oldest first."""
    from ..datalake.exceptions import NoDataError

    filters = (tag, all_tags, q, filename, ids)
    with engine_of(context, as_of) as engine:
        try:
            how = {"order_by": order_by, "limit": limit, "offset": offset}
            found: Iterable[Data] = _listed(_lake(engine, lake), how, filters)
        except NoDataError:
            if any(filters):
                raise
            found = ()  # an empty lake
        if json:
            print_json({"data": list(map(_view, found))})
            return
        columns = ("id", "filename", "type", "status", "width", "height", "size")
        print_table(
            columns,
            (
                (str(d.id), d.filename, d.type.value, d.upload_status.value, d.width, d.height, d.size)
                for d in found
            ),
        )


@lakes.command("find", epilog="Example: framelode lake find --filename 01.jpg")
def find(
    context: typer.Context,
    filename: Annotated[str | None, typer.Option(metavar="NAME", help="Name of its file.")] = None,
    data_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Its id.")] = None,
    object_name: Annotated[
        str | None, typer.Option("--object-name", metavar="NAME", help="Its name in the lake or bucket.")
    ] = None,
    lake: LakeName = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Show a picture or video with its tags, source and metadata."""
    with engine_of(context, as_of) as engine:
        data = _lake(engine, lake).find_data(filename, object_name, data_id)
        source = data.get_datasource()
        shown = {
            **_view(data),
            "url": data.url,
            "tags": [tag.name for tag in data.get_tags()],
            "source": source and source.name,
            "custom_metadata": json_form(data.custom_metadata),
            "projections": [each.name for each in data.list_projections()],
        }
        if json:
            print_json({"data": shown})
            return
        for name, value in shown.items():
            say(
                f"{name:>16}  {value if isinstance(value, str) else json_text.dumps(value, ensure_ascii=False)}"
            )


@lakes.command("tag", epilog="Example: framelode lake tag reviewed --q 'width > 640'")
def add_tag(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TAG", help="Tag to attach, created if it does not exist.")],
    tag: WithTags = None,
    all_tags: AllTags = False,
    q: Query = None,
    filename: Filenames = None,
    ids: Ids = None,
    lake: LakeName = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Attach a tag to the data that match all filters."""
    with engine_of(context) as engine, acting(actor):
        found = _selected(_lake(engine, lake), (tag, all_tags, q, filename, ids))
        found.add_tags(name)
        _tell("tagged", found, json=json)


@lakes.command("untag", epilog="Example: framelode lake untag reviewed --filename 01.jpg")
def remove_tag(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TAG", help="Tag to detach.")],
    tag: WithTags = None,
    all_tags: AllTags = False,
    q: Query = None,
    filename: Filenames = None,
    ids: Ids = None,
    lake: LakeName = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Detach a tag from the data that match all filters."""
    with engine_of(context) as engine, acting(actor):
        found = _selected(_lake(engine, lake), (tag, all_tags, q, filename, ids))
        found.remove_tags(name)
        _tell("untagged", found, json=json)


@lakes.command("import", epilog="Example: framelode lake import 2024/ --bucket s3://bucket/camera")
def import_bucket(
    context: typer.Context,
    prefixes: Annotated[
        list[str], typer.Argument(metavar="PREFIX", help="Beginning of object names; '' for all.")
    ],
    bucket: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Bucket or folder. Default: the one that was given last."),
    ] = None,
    tag: Tags = None,
    source: Source = None,
    lake: LakeName = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Register pictures and videos of a bucket without copying them."""
    with engine_of(context) as engine, acting(actor):
        found = _lake(engine, lake, create=True)
        if bucket is not None:
            found.connect_bucket(bucket)
        job = found.import_bucket_objects(prefixes, list(tag or []), source)
        job.wait_for_done(_JOB_SECONDS, _JOB_ATTEMPTS)
        result = job.result
        if json:
            print_json({"job": job.sync()})
        elif not job.error:
            for name, reason in result["reasons"].items():
                note(f"left out {name}: {reason}")
            say(
                f"{result['registered']:,} registered, {result['known']:,} known, {result['left_out']:,} left out"
            )
        if job.error:
            raise UsageError(f"the import failed: {job.error}")


@lakes.command("download", epilog="Example: framelode lake download out --tag reviewed")
def download(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write to, which is created.")],
    tag: WithTags = None,
    all_tags: AllTags = False,
    q: Query = None,
    filename: Filenames = None,
    ids: Ids = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace existing files.")] = False,
    use_id: Annotated[bool, typer.Option("--use-id", help="Name the files by id.")] = False,
    lake: LakeName = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Download the contents of the data that match all filters."""
    with engine_of(context, as_of) as engine:
        found = _listed(_lake(engine, lake), {}, (tag, all_tags, q, filename, ids))
        paths = found.download(folder, force_replace=replace, use_id=use_id)
        if json:
            print_json({"paths": list(map(str, paths))})
        else:
            say(f"{counted(len(paths), 'file')} in {folder}")


@lakes.command("jobs", epilog="Example: framelode lake jobs")
def jobs(
    context: typer.Context,
    job_id: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="Id of a job, to show its log. Default: list all jobs."),
    ] = None,
    kill: Annotated[bool, typer.Option("--kill", help="Stop the job. Running calls are completed.")] = False,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """List the jobs of all lakes, show one with its log, or end it."""
    from ..datalake.client import Client

    if kill and job_id is None:
        raise UsageError("say which job to end: give its id before --kill")
    with engine_of(context) as engine, acting(actor):
        client = Client(engine=engine)
        found: list[Job] = client.list_jobs() if job_id is None else [client.get_job_by_id(job_id)]
        if kill:
            found[0].kill()
        views = [job.sync() for job in found]
        if json:
            print_json({"jobs": views} if job_id is None else {"job": views[0]})
            return
        rows = [
            (str(job.id), job.name, job.status.value, f"{job.done}/{job.total}", job.error) for job in found
        ]
        print_table(("id", "name", "status", "done", "error"), rows)
        if job_id is not None:
            for line in found[0].log:
                say(line)


@lakes.command("rm", epilog="Example: framelode lake rm --tag blurred")
def remove(
    context: typer.Context,
    tag: WithTags = None,
    all_tags: AllTags = False,
    q: Query = None,
    filename: Filenames = None,
    ids: Ids = None,
    yes: Yes = False,
    lake: LakeName = None,
    actor: Actor = None,
    json: Json = False,
) -> None:
    """Delete the data that match all filters; the history is kept."""
    with engine_of(context) as engine, acting(actor):
        found = _selected(_lake(engine, lake), (tag, all_tags, q, filename, ids))
        confirm(f"Delete {len(found):,} data of the lake?", yes=yes)
        found.delete()
        _tell("deleted", found, json=json)


Filters = tuple[list[str] | None, bool, str | None, list[str] | None, list[str] | None]


def _lake(engine: Engine, name: str | None, *, create: bool = False) -> Datalake:
    from ..datalake.client import Client

    client = Client(engine=engine)
    if create and name is not None:
        return client.create_datalake(name, exist_ok=True)
    return client.get_datalake(name=name)


def _listed(lake: Datalake, how: dict[str, Any], filters: Filters) -> MultiData:
    tag, all_tags, q, filename, ids = filters
    given: dict[str, Any] = {"tags": tag, "q": q, "filenames": filename, "ids": ids, **how}
    return lake.list_data(intersect_tags=all_tags, **{name: value for name, value in given.items() if value})


def _selected(lake: Datalake, filters: Filters) -> MultiData:
    """Return the data to change. Raises `UsageError` without any filter."""
    if not any(filters):
        raise UsageError("say which data: give --tag, --q, --filename or --id")
    return _listed(lake, {}, filters)


def _tell(what: str, data: MultiData, *, json: bool) -> None:
    if json:
        print_json({what: [str(each) for each in data.ids]})
    else:
        say(f"{what} {len(data):,} data")


def _view(data: Data) -> dict[str, Any]:
    return {
        "id": str(data.id),
        "filename": data.filename,
        "object_name": data.object_name,
        "type": data.type.value,
        "content_type": data.content_type,
        "status": data.upload_status.value,
        "reason": data.reason,
        "width": data.width,
        "height": data.height,
        "size": data.size,
        "metadata": json_form(data.metadata),
    }


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json_text.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"--metadata is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidValueError("--metadata must be a JSON object")
    return from_json_form(found)
