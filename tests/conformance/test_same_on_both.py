"""SQLite and PostgreSQL hold the same log: equal calls, with the same clock and ids, come to the same bytes and errors."""

from __future__ import annotations

import itertools
import warnings
from contextlib import closing

import histories
import msgspec
import pytest
import rich_log
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sizes import examples

import framelode
from framelode import DatasetVersion
from framelode.adapters.hyperdatasets.dataset import Dataset
from framelode.engine.errors import FramelodeError
from framelode.engine.times import iso_time
from framelode.projections.states.fingerprint import fingerprint

places = itertools.count()

names = st.sampled_from(["food", "Food", "é", "a\0b", "a\1b", " ", "", "x" * 3000])
texts = st.sampled_from(["", "text", "a\0b\1c\0", "\U0001f355", "line\nline", "\ud800"])
tags = st.lists(names, max_size=3)
UNKNOWN = 7
which = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, UNKNOWN])
commands = st.sampled_from([None, None, None, "first", "second", "a\0b"])

STEPS = {
    "create dataset": st.tuples(names, texts, tags, st.booleans()),
    "rename dataset": st.tuples(which, names),
    "move dataset": st.tuples(which, names),
    "describe dataset": st.tuples(which, texts),
    "tag dataset": st.tuples(which, tags),
    "create version": st.tuples(which, names, st.lists(which, max_size=2)),
    "snapshot": st.tuples(which, names, texts),
    "remove": st.tuples(which, st.booleans()),
    "add": st.tuples(which, histories.frame_lists, commands),
    "merge": st.tuples(which, histories.frame_lists, histories.without_fields),
    "delete": st.tuples(which, histories.id_lists, commands),
    "commit": st.tuples(which),
    "publish": st.tuples(which),
    "set metadata": st.tuples(which, histories.metadata),
    "rename version": st.tuples(which, names),
    "describe version": st.tuples(which, texts),
    "tag version": st.tuples(which, tags),
    "read": st.tuples(which, histories.ids),
    "read the past": st.tuples(which, st.integers(-1, 60)),
    "diff": st.tuples(which, which),
    "act": st.tuples(texts),
}
OFTEN = ["add", "add", "add", "merge", "delete", "create dataset", "snapshot", "publish"]

steps = st.lists(
    st.one_of(
        *(st.tuples(st.just(name), STEPS[name]) for name in OFTEN),
        *(st.tuples(st.just(name), arguments) for name, arguments in STEPS.items()),
    ),
    max_size=25,
)
SMALL = {"batch_size": 2}


def one_of(ids, number):
    """Return an id, or one of nobody."""
    return "0" * 32 if number == UNKNOWN else ids[-1 - number % len(ids)]


class Play:
    """Plays steps on an engine, and keeps what each came to: a value, or the kind of an error."""

    def __init__(self, engine):
        self.engine = engine
        self.datasets = []
        self.versions = []

    def run(self, trace):
        with self.engine, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.create_dataset("first", "", ["t"], False)
            return [self.step(name, arguments) for name, arguments in trace]

    def step(self, name, arguments):
        try:
            return getattr(self, name.replace(" ", "_"))(*arguments)
        except FramelodeError as error:
            message = (
                str(error).replace(self.engine.log.name, "the log").replace(self.engine.name, "the engine")
            )
            return type(error).__name__, error.code, message
        except UnicodeEncodeError as error:
            return type(error).__name__, error.reason

    def dataset(self, number):
        return Dataset(self.engine, one_of(self.datasets, number))

    def version(self, number):
        return self.engine.version(one_of(self.versions, number))

    def create_dataset(self, name, description, found, fails):
        dataset = DatasetVersion.create_new_dataset(
            name, description=description, tags=found, raise_if_exists=fails
        )
        self.datasets.append(dataset.id)
        self.versions.append(DatasetVersion.get_current(dataset_id=dataset.id).version_id)

    def rename_dataset(self, number, name):
        self.dataset(number).rename(name)

    def move_dataset(self, number, project):
        self.dataset(number).move(project)

    def describe_dataset(self, number, text):
        self.dataset(number).describe(text)

    def tag_dataset(self, number, found):
        self.dataset(number).set_tags(found)

    def create_version(self, number, name, parents):
        ids = [one_of(self.versions, parent) for parent in parents]
        dataset_id = one_of(self.datasets, number)
        made = DatasetVersion.create_version(name, dataset_id=dataset_id, parent_version_ids=ids)
        self.versions.append(made.version_id)

    def snapshot(self, number, name, text):
        version = self.version(number)
        child = DatasetVersion.create_snapshot(
            dataset_id=version.dataset_id,
            version_id=version.version_id,
            publish_name=name,
            publish_comment=text,
        )
        self.versions.append(child.version_id)
        return child.version_id

    def remove(self, number, force):
        version = self.version(number)
        DatasetVersion.remove_version(
            dataset_id=version.dataset_id, version_id=version.version_id, force=force
        )

    def add(self, number, frames, command_id):
        report = self.version(number).add_frames(frames, command_id=command_id, **SMALL)
        return repr(report)

    def merge(self, number, frames, without):
        return repr(self.version(number).update_frames(frames, without_fields=without, **SMALL))

    def delete(self, number, ids, command_id):
        return repr(self.version(number).delete_frames(ids, command_id=command_id, **SMALL))

    def commit(self, number):
        return repr(self.version(number).commit_version())

    def publish(self, number):
        return self.version(number).publish_version()

    def set_metadata(self, number, metadata):
        self.version(number).set_metadata(metadata)

    def rename_version(self, number, name):
        self.version(number).rename(name)

    def describe_version(self, number, text):
        self.version(number).describe(text)

    def tag_version(self, number, found):
        self.version(number).set_tags(found)

    def read(self, number, frame_id):
        version = self.version(number)
        frames = [frame.to_dict() for frame in version]
        return repr((frames, version.get_stats(), list(version.history(frame_id))))

    def read_the_past(self, number, position):
        return [frame.to_dict() for frame in self.engine.at(position).version(one_of(self.versions, number))]

    def diff(self, one, other):
        return repr(self.version(one).diff(self.version(other)).stats)

    def act(self, text):
        with framelode.acting(text, {"why": text}):
            self.engine.version(self.versions[-1]).commit_version()


def log_of(engine):
    """Return all that the log holds, to the byte."""
    headers = list(engine.log.headers())
    positions = [header.first_position for header in headers]
    return {
        "uuid": engine.log.uuid,
        "head": engine.log.head(),
        "appends": list(engine.log.appends()),
        "headers": headers,
        "keys": engine.log.rows_at(positions),
        "bodies": [(body.first_position, list(body.events())) for body in engine.log.bodies(positions)],
    }


def derived_of(engine):
    """Return what is derived of it, in the order in which readers get it."""
    with engine.session.read_catalog() as connection:
        datasets, versions = (
            engine.session.catalog.datasets(connection),
            engine.session.catalog.versions(connection, removed=True),
        )
    existing = engine.session.version_ids()
    return {
        "datasets": datasets,
        "versions": versions,
        "counts": {version_id: engine.session.version_counts(version_id) for version_id in existing},
        "fingerprints": {
            version_id: fingerprint(engine.session.states.current(version_id)).root for version_id in existing
        },
        "history": [repr(change) for change in engine.history()],
        "newest": [repr(change) for change in engine.history(newest_first=True, limit=7)],
        "found": [iso_time(engine.log.head().recorded_at)],
    }


@pytest.fixture(scope="module")
def server(postgres_databases):
    with postgres_databases.one() as url:
        yield url


def both(server, ticks):
    """Yield an engine in memory and one in a new schema, of equal clocks and ids."""
    for url in ("sqlite://", f"{server}&schema=same_{next(places)}"):
        same = ticks()
        with closing(framelode.connect(url, clock=same.clock, new_id=same.new_id)) as engine:
            yield engine


def compare(server, ticks, trace):
    found = []
    for engine in both(server, ticks):
        came_to = Play(engine).run(trace)
        found.append((came_to, log_of(engine), derived_of(engine)))
        engine.verify()
    (steps, log, derived), (other_steps, other_log, other_derived) = found
    assert steps == other_steps
    assert log == other_log
    assert derived == other_derived


@examples(3, 150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(trace=steps)
def test_random_calls(server, new_ticks, trace):
    compare(server, new_ticks, trace)


def test_something_of_everything(server, new_ticks, monkeypatch):
    """Events of every kind and tables of every projection, row by row in the order of their keys."""
    found = []
    for engine in both(server, new_ticks):
        rich_log.play(engine)
        engine.verify()
        engine.rebuild()
        with engine.session.runner.store.read() as connection:
            tables = [
                [
                    tuple(row)
                    for row in connection.execute(table.select().order_by(*table.primary_key.columns))
                ]
                for projection in engine.session.runner.kept()
                for table in projection.metadata.sorted_tables
            ]
        found.append((log_of(engine), derived_of(engine), tables))
    assert found[0] == found[1]
    assert msgspec.structs.asdict(found[0][0]["head"])["position"] > 30
