"""No password, token or signature of a URL is stored, recorded, logged or shown, whichever argument it is given in."""

import inspect
import itertools
import logging
import pickle
import re
import time
import traceback
import warnings
from contextlib import closing, suppress
from enum import Enum
from functools import cached_property

import psycopg
import pytest
import typer
import zstandard
from typer.testing import CliRunner

import framelode
from framelode import (
    DataEntry,
    DataEntryImage,
    DatasetVersion,
    DataSubEntry,
    DataSubEntryImage,
    FrameGroup,
    HyperDataset,
    LocalCache,
    SingleFrame,
)
from framelode.adapters.cli.app import app
from framelode.adapters.formats.names import BUILT_IN
from framelode.adapters.pinned_datasets.datasets import Datasets
from framelode.engine.blobs.store import BlobStore
from framelode.engine.errors import FramelodeError, InvalidValueError, UsageError
from framelode.engine.secrets import find_secret, redact, without_secrets, without_signature

PLANTED = "hunter2Zq9"
URLS = (
    f"https://me:{PLANTED}@host.invalid/x.jpg",
    f"https://me:{PLANTED}/#@host.invalid/x.jpg",
    f"s3://AKIA1:{PLANTED}@bucket/x.jpg",
    f"https://host.invalid/x.jpg?Token={PLANTED}&v=1",
    f"https://host.invalid/x.jpg?v=1&pass%77ord={PLANTED}",
    f"https://host.invalid/x.jpg#access_token={PLANTED}",
    f"https://host.invalid/x.jpg?client-secret={PLANTED}",
    f"https://host.invalid/x.jpg?%2573ig={PLANTED}",
    f"https://b.s3.amazonaws.com/x.jpg?X-Amz-Credential={PLANTED}&X-Amz-Signature={PLANTED}&versionId=3",
    f"https://storage.googleapis.com/b/x.jpg?X-Goog-Signature={PLANTED}&generation=4",
    f"https://a.blob.core.windows.net/c/x.jpg?sv=1&se=2&sig={PLANTED}",
)
DATABASES = (
    f"host=h user=me password={PLANTED} dbname=d",
    f"mysql://me:{PLANTED}@host.invalid/d",
    f"postgresql://me:{PLANTED}@host.invalid/",
    f"postgresql://host.invalid/d?nonsense=1&sslpassword={PLANTED}",
)

_ARGUMENT = re.compile(
    r"(?:^|_)(url|uri|source|sources|destination|mapping|blobs|projections|path|paths|root|folder|repo|target|repair|forget"
    r"|against|preview|wire|frames|file|context_id|singleframe_dict|framegroup_dict)$"
)
_KIND = re.compile(r"PathLike|SourceLike|MaskLike|Path\b")
_PLAIN = re.compile(r"^bool$|BinaryIO|Sequence\[int\]|FrameDiffs|list\[dict")


def add(world, **arguments):
    """Add a frame of a local file, and close a bulk context of the same arguments."""
    world.draft.add_frames([SingleFrame(source=world.file)], **arguments)


def add_frame(world, frame):
    world.draft.add_frames([frame])


def record(world, wire):
    world.draft.add_dicts([wire])


def upload(world, url):
    return {"auto_upload_destination": url, "local_dataset_root_path": world.folder}


def rooted(world, url):
    return {"auto_upload_destination": "blobs:", "local_dataset_root_path": url}


def changed(world, name, url):
    frame = SingleFrame(source="s3://bucket/a.jpg")
    setattr(frame, name, url)
    add_frame(world, frame)


def wire(world, make):
    def call(url):
        for wire in (
            {"sources": [{"uri": url, "masks": [{"id": "m", "uri": "s3://b/m.png"}]}]},
            {"sources": [{"uri": "s3://b/a", "masks": [{"id": "m", "uri": url}]}]},
            {"sources": [{"uri": "s3://b/a", "preview": {"uri": url}}]},
            {"context_id": url, "sources": [{"uri": "s3://b/a"}]},
        ):
            try:
                make(wire)
            except FramelodeError as error:
                world.errors.append(error)

    return call


def entry_of(part):
    entry = DataEntryImage() if isinstance(part, DataSubEntryImage) else DataEntry()
    entry.add_sub_entries([part])
    return entry


def add_entry(part):
    HyperDataset("p", "h", "v").add_data_entries([entry_of(part)])


def set_on_entry(part, method, *values):
    getattr(part, method)(*values)
    add_entry(part)


CASES = {
    "connect.url": lambda w, u: framelode.connect(u).close(),
    "connect.projections": lambda w, u: framelode.connect(w.new(), projections=u).close(),
    "connect.blobs": lambda w, u: framelode.connect(w.new(), blobs=u).close(),
    "SingleFrame.source": lambda w, u: add_frame(w, SingleFrame(source=u)),
    "SingleFrame.preview_uri": lambda w, u: add_frame(w, SingleFrame(source="s3://b/a", preview_uri=u)),
    "SingleFrame.mask_source": lambda w, u: add_frame(w, SingleFrame(source="s3://b/a", mask_source={"m": u})),
    "SingleFrame.context_id": lambda w, u: add_frame(w, SingleFrame(source="s3://b/a", context_id=u)),
    "SingleFrame.source=": lambda w, u: changed(w, "source", u),
    "SingleFrame.preview_uri=": lambda w, u: changed(w, "preview_uri", u),
    "SingleFrame.mask_source=": lambda w, u: changed(w, "mask_source", [u]),
    "SingleFrame.preview_source=": lambda w, u: changed(w, "preview_source", u),
    "SingleFrame.masks_source=": lambda w, u: changed(w, "masks_source", {"m": u}),
    "SingleFrame.context_id=": lambda w, u: changed(w, "context_id", u),
    "SingleFrame.derive_id.root": lambda w, u: SingleFrame(source=w.file).derive_id(u),
    "SingleFrame.from_dict.singleframe_dict": lambda w, u: wire(w, lambda x: add_frame(w, SingleFrame.from_dict(x)))(u),
    "SingleFrame.fill_from_wire.wire": lambda w, u: wire(w, lambda x: SingleFrame().fill_from_wire(x))(u),
    "FrameGroup.context_id": lambda w, u: FrameGroup(context_id=u),
    "FrameGroup.context_id=": lambda w, u: setattr(FrameGroup(), "context_id", u),
    "FrameGroup.frames": lambda w, u: add_frame(w, FrameGroup(frames={"a": SingleFrame(source=u)})),
    "FrameGroup.derive_id.root": lambda w, u: FrameGroup(frames={"a": SingleFrame(source=w.file)}).derive_id(u),
    "FrameGroup.from_dict.framegroup_dict": lambda w, u: add_frame(
        w, FrameGroup.from_dict({"sources": [{"id": "left", "uri": u}, {"id": "right", "uri": "s3://b/a"}]})
    ),
    "frame_from_dict.wire": lambda w, u: wire(w, framelode.frame_from_dict)(u),
    "DatasetVersion.add_dicts.frames": lambda w, u: wire(w, lambda x: record(w, x))(u),
    "DatasetVersion.add_dicts.local_dataset_root_path": lambda w, u: w.draft.add_dicts(
        [{"sources": [{"uri": w.file}]}], local_dataset_root_path=u
    ),
    "DatasetVersion.add_table.local_dataset_root_path": lambda w, u: w.draft.add_table(
        {"source": [w.file]}, local_dataset_root_path=u
    ),
    "DatasetVersion.add_frames.frames": lambda w, u: w.told(each["error"] for each in w.draft.add_frames([u])),
    "DatasetVersion.update_frames.frames": lambda w, u: w.draft.update_frames([u]),
    "DatasetVersion.delete_frames.frames": lambda w, u: w.draft.delete_frames([u]),
    "DatasetVersion.add_frames.auto_upload_destination": lambda w, u: add(w, **upload(w, u)),
    "DatasetVersion.to_parquet.path": lambda w, u: w.draft.to_parquet(u),
    "DatasetVersion.add_frames.local_dataset_root_path": lambda w, u: add(w, **rooted(w, u)),
    "DatasetVersion.add_frames.src_to_dst_mapping": lambda w, u: (
        w.noted(lambda: add(w, src_to_dst_mapping={w.file: u})),
        add(w, src_to_dst_mapping={u: "s3://bucket/a.jpg"}),
    ),
    **{
        f"DatasetVersion.{name}.{argument}": lambda w, u, name=name, given=given: getattr(
            DatasetVersion, name
        )(**given(w, u), **({"dataset_name": "d"} | ({"version_name": w.new().name} if "create" in name else {})))
        for name in ("create_version", "get_current", "get_version")
        for argument, given in (("auto_upload_destination", upload), ("local_dataset_root_path", rooted))
    },
    **{
        f"{name}.{argument}": lambda w, u, given=given: w.bulk(**given(w, u))
        for name in ("BulkContext", "DatasetVersion.get_bulk_context")
        for argument, given in (("auto_upload_destination", upload), ("local_dataset_root_path", rooted))
    },
    "DatasetVersion.checkout.folder": lambda w, u: w.draft.checkout(u),
    "DatasetVersion.find_frames.source": lambda w, u: list(w.draft.find_frames(source=u)),
    **{
        f"Dataset.{name}.{argument}": lambda w, u, name=name, given=given: getattr(
            framelode.Dataset.get(dataset_name="d"), name
        )(**given(w, u), **({"version_name": w.new().name} if name == "create_version" else {}))
        for name in ("create_version", "get_version")
        for argument, given in (("auto_upload_destination", upload), ("local_dataset_root_path", rooted))
    },
    "HyperDataset.add_data_entries.upload_local_files_destination": lambda w, u: HyperDataset(
        "p", "h", "v"
    ).add_data_entries([entry_of(DataSubEntry("a", w.file))], upload_local_files_destination=u),
    **{
        f"{kind.__name__}.{argument}": lambda w, u, kind=kind, argument=argument: add_entry(
            kind("a", **({"source": "s3://b/a"} | {argument: {"m": u} if argument == "masks_source" else u}))
        )
        for kind, argument in (
            (DataSubEntry, "source"), (DataSubEntry, "preview_source"), (DataSubEntryImage, "source"),
            (DataSubEntryImage, "preview_source"), (DataSubEntryImage, "masks_source"), (DataSubEntryImage, "context_id"),
        )
    },
    **{
        f"{kind.__name__}.{method}.{argument}": lambda w, u, kind=kind, method=method, given=given: set_on_entry(
            kind("a", w.file), method, *given(u)
        )
        for kind, method, argument, given in (
            *(
                case
                for kind in (DataSubEntry, DataSubEntryImage)
                for case in (
                    (kind, "set_source", "uri", lambda u: ("source", u)),
                    (kind, "set_local_sources_upload_destination", "local_sources_upload_destination", lambda u: (u,)),
                )
            ),
            (DataSubEntryImage, "set_mask_source", "uri", lambda u: (u,)),
            (DataSubEntryImage, "set_masks_source", "masks_source", lambda u: ({"m": u},)),
        )
    },
    "DataSubEntryImage.context_id=": lambda w, u: set_on_entry(DataSubEntryImage("a", "s3://b/a"), "__setattr__", "context_id", u),
    "DataSubEntryImage.from_api_object.context_id": lambda w, u: add_entry(
        DataSubEntryImage.from_api_object({"id": "a", "uri": "s3://b/a"}, context_id=u)
    ),
    "DatasetVersion.get_frames_by_source.source_uri": lambda w, u: list(w.draft.get_frames_by_source(u)),
    "Engine.checkpoint.key": lambda w, u: w.engine.checkpoint(u),
    "Engine.copy_to.target": lambda w, u: w.engine.copy_to(u),
    "Engine.copy_to.blobs": lambda w, u: w.engine.copy_to(w.new(), blobs=u),
    "Engine.export_log.path": lambda w, u: w.engine.export_log(u),
    "Engine.import_log.path": lambda w, u: w.engine.import_log(u),
    "Engine.scrub.repair": lambda w, u: w.engine.scrub(repair=u),
    "Engine.share_blobs.forget": lambda w, u: w.engine.share_blobs(forget=[u]),
    "Engine.verify.against": lambda w, u: w.engine.verify(against=u),
    "Engine.verify.public_key": lambda w, u: w.engine.verify(against=w.engine.checkpoint(), public_key=u),
    "Checkpoint.read.path": lambda w, u: framelode.Checkpoint.read(u),
    "Checkpoint.write.path": lambda w, u: w.engine.checkpoint().write(u),
    "LocalCache.folder": lambda w, u: LocalCache(u),
    "LocalCache.known.uri": lambda w, u: w.cache().known(u),
    "LocalCache.note.uri": lambda w, u: w.cache().note(u, framelode.adapters.files.cache.Known("0" * 64, "1")),
    "DatasetVersion.import_from.path": lambda w, u: DatasetVersion.import_from("auto", u, "d"),
    "DatasetVersion.import_from.root": lambda w, u: DatasetVersion.from_voc(w.voc(), "voc", root=u),
    "DatasetVersion.from_hf.folder": lambda w, u: DatasetVersion.from_hf(w.hf, "hf", folder=u),
    "DatasetVersion.export.path": lambda w, u: w.draft.export("coco", u),
    "DatasetVersion.to_croissant.path": lambda w, u: w.draft.to_croissant(u),
    "DatasetVersion.to_croissant.url": lambda w, u: w.draft.to_croissant("croissant", url=u),
    **{
        f"DatasetVersion.{way}_{name}.{argument}": lambda w, u, name=name, way=way, argument=argument: getattr(
            DatasetVersion if way == "from" else w.draft, f"{way}_{name}"
        )(*((u,) if way == "to" else (u, "d") if argument == "path" else (w.voc(), "d")), **({"root": u} if argument == "root" else {}))
        for name in BUILT_IN
        for way, argument in (("to", "path"), ("from", "path"), ("from", "root"))
    },
    "Datasets.repo": lambda w, u: Datasets(u),
    "Datasets.add.url": lambda w, u: [w.noted(lambda kind=kind: w.pins.add("p", u, kind)) for kind in ("url", "dvc", "dc")],
    "Datasets.add.manifest_path": lambda w, u: w.pins.add("p", w.file, "url", manifest_path=u),
    "BlobStore.url": lambda w, u: repr(BlobStore(u)),
    "BlobStore.fetch.path": lambda w, u: w.engine.blobs.fetch("0" * 64, u),
    "BlobStore.put_files.paths": lambda w, u: w.told(f.error for f in w.engine.blobs.put_files([u]).failures),
}  # fmt: skip
OF_DATABASES = ("connect", "Engine.copy_to", "Engine.scrub", "Engine.share_blobs")
EXEMPT = {
    "BlobStore.repair.sources": "blobs of other stores, which are open",
    "BlobStore.put_sources.sources": "objects that are read",
    "DataView.set_iteration_parameters.maximum_number_of_frames": "a number",
    "DatasetVersion.of.target": "checked by the call that made it",
    "DatasetVersion.of.root": "checked by the call that made it",
    "DatasetVersion.set_masks_labels.mask_value_label_mapping": "labels",
}


def url_arguments():
    """Yield the public arguments and attributes that may be given a path or URL."""
    public = [(name, getattr(framelode, name)) for name in framelode.__all__ if name != "__version__"]
    for name, thing in [*public, ("Datasets", Datasets), ("BlobStore", BlobStore)]:
        if inspect.isclass(thing) and issubclass(
            thing, BaseException | Enum | framelode.Annotation | framelode.Statistics
        ):
            continue
        yield from _arguments(name, thing)
        for member in dir(thing) if inspect.isclass(thing) else ():
            found = inspect.getattr_static(thing, member)
            if member.startswith("_") or (
                name == "SingleFrame" and member in {"check", "keep_source", "with_parts"}
            ):
                continue
            if callable(getattr(thing, member)):
                yield from _arguments(f"{name}.{member}", getattr(thing, member))
            elif isinstance(found, property) and found.fset and _ARGUMENT.search(member):
                yield f"{name}.{member}="


def _arguments(name, function):
    if not callable(function):
        return
    for parameter in inspect.signature(function).parameters.values():
        kind = str(parameter.annotation)
        if (_ARGUMENT.search(parameter.name) or _KIND.search(kind)) and not _PLAIN.search(kind):
            yield f"{name}.{parameter.name}"


class Lines(logging.Handler):
    """Keeps what is logged, at every level."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines = []

    def emit(self, record):
        self.lines.append(logging.Formatter().format(record))


@pytest.fixture
def lines():
    """Log lines of all loggers."""
    handler, root = Lines(), logging.getLogger()
    named = [
        root,
        *(logging.getLogger(name) for name in ("sqlalchemy", "fsspec", "framelode", "urllib3", "botocore")),
    ]
    levels = [logger.level for logger in named]
    root.addHandler(handler)
    for logger in named:
        logger.setLevel(logging.DEBUG)
    yield handler.lines
    root.removeHandler(handler)
    for logger, level in zip(named, levels, strict=True):
        logger.setLevel(level)


class World:
    """An engine with a draft, a project of pins, and what was shown of them."""

    def __init__(self, folder):
        self.top = folder
        self.folder = folder / "files"
        self.folder.mkdir()
        (self.folder / "a.jpg").write_bytes(b"a")
        self.file = str(self.folder / "a.jpg")
        self.errors, self.shown, self.looked_at = [], [], {}
        self.engine = framelode.connect(folder / "engine")
        DatasetVersion.create_new_dataset("d")
        self.draft = DatasetVersion.get_current(dataset_name="d")
        (folder / "project").mkdir()
        self.pins = Datasets(folder / "project", engine=self.engine)

    @cached_property
    def hf(self):
        """A data set of one local file: those of the draft would be looked for on the network, each time."""
        DatasetVersion.create_new_dataset("of hf")
        draft = DatasetVersion.get_current(dataset_name="of hf")
        draft.add_frames([SingleFrame(source=self.file)])
        return draft.to_hf()

    def voc(self):
        (self.folder / "Annotations").mkdir(exist_ok=True)
        return self.folder

    def new(self):
        return self.top / f"new-{time.monotonic_ns()}"

    def new_folder(self):
        folder = self.new()
        folder.mkdir()
        return folder

    def cache(self):
        return LocalCache(self.top / "cache")

    def bulk(self, **arguments):
        with self.draft.get_bulk_context(**arguments) as context:
            context.add_frame(SingleFrame(source=self.file))

    def told(self, texts):
        self.shown += texts

    def noted(self, call):
        try:
            self.shown.append(repr(call()))
        except Exception as error:
            self.errors.append(error)

    def texts(self):
        """Yield everything that was said or written."""
        yield from self.said()
        yield events_of(self.engine, self.new_folder())
        frames = list(self.draft)
        yield from (repr(frame) + frame._repr_html_() + repr(frame.to_dict()) for frame in frames)

    def said(self):
        """Yield what was said, and what was written outside the log: of a log, all that was ever written is read later."""
        yield from self.shown
        for error in self.errors:
            yield from (str(error), repr(error), "".join(traceback.format_exception(error)))
            yield repr([getattr(error, name, None) for name in ("file", "problems", "filename")])
            yield repr([failure["error"] for failure in getattr(error, "failures", ())])
        for path in self.top.rglob("*"):
            yield path.name
            if path.is_file() and self.looked_at.get(path) != (found := identity(path)):
                self.looked_at[path] = found
                yield path.read_bytes().decode("latin-1")


def identity(path):
    """Return what changes with each change of a file."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def events_of(engine, folder):
    """Return all events as they are exported, decoded."""
    path = folder / "events.jsonl.zst"
    engine.export_log(path)
    lines = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().decode()
    assert engine.log.head().position > 0
    assert '"VersionCreated"' in lines
    return lines


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAMELODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)
    made = World(tmp_path)
    yield made
    made.pins.close()
    made.engine.close()


def test_every_argument_that_takes_a_url_is_covered():
    found = set(url_arguments())
    assert found == set(CASES) | set(EXEMPT)


def test_a_secret_is_neither_kept_nor_shown(world, lines):
    wrong = {}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for case, call in CASES.items():
            for url in (*URLS, *(DATABASES if case.startswith(OF_DATABASES) else ())):
                world.noted(lambda call=call, url=url: call(world, url))
            said = [*world.said(), *lines, *(str(each.message) for each in warned)]
            found = [text[:300] for text in said if PLANTED in text]
            found += [
                repr(error) for error in world.errors if not isinstance(error, FramelodeError | OSError)
            ]
            if found:
                wrong[case] = found
            world.shown, world.errors = [], []
            lines.clear()
    assert wrong == {}
    assert not [text[:300] for text in world.texts() if PLANTED in text]


PLACES = {"URL", "FOLDER", "FROM", "TO", "FILE", "ENGINE", "KEY"}
"""What arguments and options of commands are called that take a path or URL."""
NOT_PLACES = {
    "ACTOR", "ADDRESS", "COMMENT", "DATASET", "FORMAT", "FRAME", "GLOB", "ID", "KIND", "LABEL", "N", "NAME", "NEW", "OLD", "PATH", "POLICY", "POSITION|TIME", "PROJECT",
    "DATE", "FIELD", "JOB", "JSON", "PATTERN", "POSITION|TIME|TAG", "PREFIX", "QC", "QUERY", "REVISION", "SESSION",
    "REV", "SECONDS", "SHELL", "SIZE", "STATEMENT", "STORE", "TAG", "TEXT", "TIME", "TYPE", "VALUE", "VIEW",
}  # fmt: skip


def options_of_commands(command, path=()):
    """Yield each command with its options."""
    for name, each in getattr(command, "commands", {}).items():
        yield from options_of_commands(each, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command.params


def lines_of_arguments(url):
    """Yield the arguments of a command for each place that it may be given; what else it needs is made up."""
    yield ["--engine", url, "ls"]
    for path, params in options_of_commands(typer.main.get_command(app)):
        for place in (param for param in params if param.metavar in PLACES):
            given = []
            for param in params:
                value = url if param is place else "x"
                if param.param_type_name == "argument" and (param.required or param is place):
                    given.append(value)
                elif param is place:
                    given += [param.opts[0], value]
            yield [*path, *given]


def test_what_commands_call_their_arguments_is_known():
    for path, params in options_of_commands(typer.main.get_command(app)):
        for param in params:
            assert param.metavar is None or param.metavar in PLACES | NOT_PLACES, (path, param.name)


@pytest.mark.parametrize(
    "url",
    [URLS[0], *(pytest.param(url, marks=pytest.mark.long) for url in (*URLS[1:], *DATABASES))],
    ids=itertools.count(),
)
def test_on_the_command_line(url, world, lines, monkeypatch):
    monkeypatch.setenv("FRAMELODE_URL", str(world.top / "engine"))
    for arguments in lines_of_arguments(url):
        if arguments[-1] == "completion" or "demo" in arguments:
            continue
        done = CliRunner().invoke(app, arguments, input="")
        said = done.stdout + done.stderr + repr(done.exception)
        assert PLANTED not in said.replace(" ".join(arguments), ""), arguments
    assert not [text[:300] for text in [*world.texts(), *lines] if PLANTED in text]


class TestDatabase:
    def test_a_password_is_in_memory_only(self, postgres_url, lines, tmp_path):
        url = postgres_url.replace("://postgres@", f"://postgres:{PLANTED}@") + f"&sslpassword={PLANTED}"
        with closing(framelode.connect(url, blobs=tmp_path / "blobs")) as engine:
            DatasetVersion.create_new_dataset("d")
            draft = DatasetVersion.get_current(dataset_name="d")
            draft.add_frames([SingleFrame(source="s3://b/a.jpg")])
            shown = [repr(engine), engine.url, engine.name, repr(engine.session.location), repr(draft)]
            shown += [repr(pickle.dumps(engine)), repr(pickle.dumps(draft))]
            again = pickle.loads(pickle.dumps(engine))
            assert again.log.uuid == engine.log.uuid
            assert PLANTED in again.session.location.log.url
            again.close()
        shown += [path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
        with psycopg.connect(postgres_url.replace("+psycopg", "").partition("&schema")[0]) as server:
            tables = server.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE tablename = 'settings'"
            ).fetchall()
            for schema, table in tables:
                shown.append(str(server.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()))
        assert tables
        assert not [text for text in [*shown, *lines] if PLANTED in text]

    def test_a_server_that_is_not_there(self, lines):
        with pytest.raises(FramelodeError) as caught:
            framelode.connect(f"postgresql://me:{PLANTED}@127.0.0.1:1/d?passw%6Frd={PLANTED}")
        assert PLANTED not in "".join([*traceback.format_exception(caught.value), repr(caught.value), *lines])


class TestOlderLogs:
    """Signatures and passwords that were recorded before are read as they are, and not shown."""

    @pytest.fixture
    def read(self, world):
        for url in (URLS[0], URLS[3], URLS[8]):
            frame = SingleFrame(source="https://host.invalid/x.jpg")
            frame.put_source(uri=url)
            world.draft.add_frames([frame])
        return list(world.draft)

    def test_frames_are_read(self, read, world):
        assert {frame.source for frame in read} == {URLS[0], URLS[3], URLS[8]}
        assert [frame.id for frame in world.draft.get_frames_by_source(URLS[8])]

    def test_they_are_not_shown(self, read, world, lines):
        shown = [repr(frame) + frame._repr_html_() for frame in read]
        for frame in read:
            world.noted(frame.get_local_source)
        shown += [str(error) + "".join(traceback.format_exception(error)) for error in world.errors]
        assert len(world.errors) == len(read)
        assert not [text for text in shown if PLANTED in text]

    def test_a_pin_that_somebody_wrote(self, world):
        manifest = world.top / "project" / "dvc.yaml"
        manifest.write_text(f"datasets:\n- name: p\n  url: {URLS[0]}\n  type: url\n")
        assert world.pins["p"].spec.url == URLS[0]
        for call in (lambda: world.pins.update("p"), lambda: world.pins.dump(world.pins["p"])):
            with pytest.raises(InvalidValueError, match="contains a password") as caught:
                call()
            assert PLANTED not in str(caught.value)
        assert PLANTED not in events_of(world.engine, world.new_folder())
        assert "me:***@" in events_of(world.engine, world.new_folder())


@pytest.mark.parametrize(
    ("signed", "plain"),
    [
        ("https://b/x?versionId=3&X-Amz-Date=1&X-Amz-Signature=s", "https://b/x?versionId=3"),
        ("https://b/x?x%2Damz%2Dsignature=s&X-Amz-SignedHeaders=host;x-amz-date&a=b", "https://b/x?a=b"),
        ("https://b/x?AWSAccessKeyId=k&Expires=1&Signature=s&response-content-type=t", "https://b/x?response-content-type=t"),
        ("https://b/x?GoogleAccessId=k&Expires=1&Signature=s&generation=4#part", "https://b/x?generation=4#part"),
        ("https://b/x?X-Goog-Algorithm=a&X-Goog-Signature=s", "https://b/x"),
        ("https://a.blob.core.windows.net/c/x?sv=1&se=2&sp=r&sig=s&snapshot=5", "https://a.blob.core.windows.net/c/x?snapshot=5"),
        ("https://b/x?sv=1&se=2&Expires=3", "https://b/x?sv=1&se=2&Expires=3"),
        ("https://b/x?", "https://b/x?"),
        ("s3://b/a?b&c;d#e", "s3://b/a?b&c;d#e"),
    ],
)  # fmt: skip
def test_a_source_is_stored_without_its_signature(signed, plain):
    assert SingleFrame(source=signed).source == plain
    assert without_signature(signed) == plain


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/a@b.jpg",
        "http://[::1]:80/x@y",
        "abfs://container@account.dfs.core.windows.net/x",
        "ssh://git@github.com/x.git",
        "https://organisation@dev.azure.com/x",
        "github://owner:repository@main/a.txt",
        "s3://bucket/key=1/token=2/password=3.jpg",
        "https://host/x?key=&token=",
        "https://host/x?monkey=1&keyword=2&tokens=3&page=4",
        "/folder/user:name@x?token=1.jpg",
        "data:text/plain;base64,Pz90b2tlbj0=",
    ],
)
def test_what_is_no_secret(url):
    assert find_secret(url) is None
    assert redact(url) == url or url.startswith(("/", "data:"))


def test_the_passwords_of_a_database_are_removed_and_its_other_parameters_stay():
    url = "postgresql://me:pw@h/d?sslpassword=x&sslkey=/k.pem&pass%77ord=y&schema=a"
    assert without_secrets(url) == "postgresql://me@h/d?sslkey=/k.pem&schema=a"


def test_searching_long_text_takes_linear_time():
    for long in ("a" * 10**6, "a://" * 10**4, "a://b:" * 10**3, "?a=" * 10**4, "password='" * 10**4):
        redact(long)
        with suppress(UsageError):
            SingleFrame(source=f"s3://b/{long}?@")


@pytest.mark.parametrize(
    "token",
    [
        "5b1e6a7c9d3f40218e6b7a5c4d3f2e1091827364",
        "iL4mZ9sQ2xW7bV5nKc3R",
        "glpat-abcdefghij1234567890",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "xoxb-1234-abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "sk-proj-abcdefghijklmnop",
        "dckr_pat_abcdefgh",
    ],
)
def test_a_token_in_place_of_a_user_is_found(token):
    url = f"https://{token}@host/x"
    assert find_secret(url) == "an access token"
    assert token not in redact(f"{url} is not there")
    assert find_secret("https://some-organisation@dev.azure.com/o/p/_git/r") is None
