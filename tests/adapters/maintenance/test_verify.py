"""What `verify` finds where every digest fits: logs forged by somebody who knows the format, and what is derived."""

from __future__ import annotations

import re
import shutil
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing

import msgspec
import pytest
import rich_log
from blake3 import blake3
from forked import FORKED
from raw_logs import forge, raw, unguarded

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.errors import IntegrityError, UsageError
from framelode.engine.events.domain import VersionCreated
from framelode.engine.keys import KeyRow
from framelode.projections.states import snapshots
from framelode.projections.states.tree import fold_tree
from framelode.projections.verify import verify as check
from framelode.projections.verify.chain import ChainWalk


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rich")
    with closing(framelode.connect(folder)) as engine:
        rich_log.play(engine)
    return folder


@pytest.fixture
def folder(rich, tmp_path):
    return shutil.copytree(rich, tmp_path / "engine")


@pytest.fixture(params=[3, 50_000], ids=["in stretches", "at once"])
def stretch(request, monkeypatch):
    monkeypatch.setattr(check, "_EVENTS_AT_ONCE", request.param)
    monkeypatch.setattr(check, "_EVENTS_AT_ONCE_ELSEWHERE", request.param)


def problems(folder, **arguments):
    """Return what is wrong with a log, as a list; projections are not there and so cannot be."""
    (folder / "projections.db").unlink(missing_ok=True)
    with closing(framelode.connect(folder)) as engine:
        try:
            engine.verify(**arguments)
        except IntegrityError as error:
            return list(error.problems)
    return []


def position_of(problem):
    return int(re.findall(r"position (\d+)", problem)[-1])


def frames_batch(batches, number=1):
    return [batch for batch in batches if batch["schema"] == "frames.1"][number]


def lifecycle(batches, topic):
    return next(batch for batch in batches if topic in batch["topics"])


def rewritten(event, **fields):
    """Return a lifecycle event with other fields."""
    number, state = msgspec.msgpack.decode(event)
    version, values = msgspec.msgpack.decode(state)
    return msgspec.msgpack.encode([number, msgspec.msgpack.encode([version, values | fields])])


def with_payload(batches, bodies, payload):
    """Put another payload in the place of a frame's, its digest included; returns its position."""
    batch = frames_batch(batches)
    body = bodies[batch["first_position"]]
    _, *others = msgspec.msgpack.decode(body[1])
    body[1] = msgspec.msgpack.encode([msgspec.Raw(payload), *others])
    keys = bytearray(batch["keys"])
    keys[2 * KeyRow.itemsize - 16 : 2 * KeyRow.itemsize] = blake3(payload).digest(16)
    batch["keys"] = bytes(keys)
    return batch["first_position"] + 1


class Forgery:
    """Ways to rewrite a log so that its chain holds; each returns the position that is wrong."""

    def nothing(batches, appends, bodies):
        return None

    def time_runs_back(batches, appends, bodies):
        batches[7]["recorded_at"] = batches[6]["recorded_at"] - 1
        return batches[7]["first_position"]

    def stream_with_a_gap(batches, appends, bodies):
        batch = frames_batch(batches, 2)
        for later in batches:
            if later["stream_id"] == batch["stream_id"] and later["first_version"] >= batch["first_version"]:
                later["first_version"] += 1
        return batch["first_position"]

    def positions_with_a_gap(batches, appends, bodies):
        last, append = batches[-1], appends[-1]
        assert last["append_id"] == append["append_id"]
        first = last["first_position"]
        last["first_position"] = first + 5
        append["last_position"] += 5
        bodies[first + 5] = bodies.pop(first)
        return first

    def appends_with_a_gap(batches, appends, bodies):
        for append in appends[4:]:
            append["append_id"] += 1
        for batch in batches:
            batch["append_id"] += batch["append_id"] > 4
        return appends[4]["first_position"]

    def append_that_is_longer(batches, appends, bodies):
        appends[4]["last_position"] += 1
        return appends[5]["first_position"]

    def append_that_begins_before(batches, appends, bodies):
        appends[4]["first_position"] -= 1
        return appends[4]["first_position"] + 1

    def payload_of_another(batches, appends, bodies):
        batch = frames_batch(batches)
        body = bodies[batch["first_position"]]
        body[1] = body[2]
        return batch["first_position"] + 1

    def digest_of_another(batches, appends, bodies):
        batch = frames_batch(batches)
        keys = bytearray(batch["keys"])
        keys[KeyRow.itemsize - 1] ^= 1
        batch["keys"] = bytes(keys)
        return batch["first_position"]

    def unknown_operation(batches, appends, bodies):
        batch = frames_batch(batches)
        keys = bytearray(batch["keys"])
        keys[2 * KeyRow.itemsize + 16] = 9
        batch["keys"] = bytes(keys)
        return batch["first_position"] + 2

    def delete_with_a_payload(batches, appends, bodies):
        batch = next(batch for batch in batches if "FrameDeleted" in batch["topics"])
        event = msgspec.msgpack.decode(bodies[batch["first_position"]][0])
        bodies[batch["first_position"]][0] = msgspec.msgpack.encode([{"meta": {}}, *event[1:]])
        return batch["first_position"]

    def previous_of_the_future(batches, appends, bodies):
        batch = next(batch for batch in batches if "FrameUpdated" in batch["topics"])
        event = msgspec.msgpack.decode(bodies[batch["first_position"]][-1])
        event[2] = batch["first_position"] + batch["count"] - 1
        bodies[batch["first_position"]][-1] = msgspec.msgpack.encode(event)
        return event[2]

    def id_of_another(batches, appends, bodies):
        batch = frames_batch(batches)
        event = msgspec.msgpack.decode(bodies[batch["first_position"]][0])
        bodies[batch["first_position"]][0] = msgspec.msgpack.encode([event[0], "another id"])
        return batch["first_position"]

    def event_that_is_none(batches, appends, bodies):
        batch = frames_batch(batches)
        bodies[batch["first_position"]][2] = b"\xc3"
        return batch["first_position"] + 2

    def one_event_less(batches, appends, bodies):
        batch = frames_batch(batches)
        bodies[batch["first_position"]].pop()
        return batch["first_position"]

    def keys_of_one_less(batches, appends, bodies):
        batch = frames_batch(batches)
        batch["keys"] = batch["keys"][: -KeyRow.itemsize]
        return batch["first_position"]

    def lifecycle_with_keys(batches, appends, bodies):
        batch = lifecycle(batches, "VersionPublished")
        batch["keys"] = bytes(KeyRow.itemsize)
        return batch["first_position"]

    def unknown_schema(batches, appends, bodies):
        batch = frames_batch(batches)
        batch["schema"] = "frames.9"
        return batch["first_position"]

    def unreadable_lifecycle_event(batches, appends, bodies):
        batch = lifecycle(batches, "VersionDescribed")
        bodies[batch["first_position"]][0] = b"\xc3"
        return batch["first_position"]

    def another_fingerprint(batches, appends, bodies):
        batch = lifecycle(batches, "VersionPublished")
        at = next(i for i, e in enumerate(bodies[batch["first_position"]]) if b"fingerprint" in e)
        body = bodies[batch["first_position"]]
        body[at] = rewritten(body[at], fingerprint="0" * 64)
        return batch["first_position"] + at

    def another_total(batches, appends, bodies):
        batch = lifecycle(batches, "VersionPublished")
        at = next(i for i, e in enumerate(bodies[batch["first_position"]]) if b"fingerprint" in e)
        body = bodies[batch["first_position"]]
        body[at] = rewritten(body[at], total=1000)
        return batch["first_position"] + at

    def payload_that_is_no_utf8(batches, appends, bodies):
        """The digest of the payload fits, and reads of the frame would fail."""
        return with_payload(batches, bodies, b"\x81\xa4meta\x81\xa1k\xa1\xff")

    def payload_of_another_shape(batches, appends, bodies):
        return with_payload(batches, bodies, b"\x81\xa4meta\x07")

    def payload_that_is_none(batches, appends, bodies):
        return with_payload(batches, bodies, b"\xc0")

    def unknown_topic_in_the_stream_of_a_version(batches, appends, bodies):
        batch = lifecycle(batches, "VersionDescribed")
        batch["topics"] = batch["topics"].replace("VersionDescribed", "VersionForged")
        return batch["first_position"]

    def unknown_topic_of_frames(batches, appends, bodies):
        batch = frames_batch(batches)
        batch["topics"] = '["FrameForged"]'
        return batch["first_position"]

    def frame_left_out(batches, appends, bodies):
        """Replace a frame by another one: all digests fit, the fingerprint does not."""
        batch = frames_batch(batches)
        event = msgspec.msgpack.decode(bodies[batch["first_position"]][0])
        assert len(event) == 1
        batch["keys"] = b"\xee" * 16 + batch["keys"][16:]
        published = lifecycle(batches, "VersionPublished")
        at = next(i for i, e in enumerate(bodies[published["first_position"]]) if b"fingerprint" in e)
        return published["first_position"] + at


FORGERIES = [name for name in vars(Forgery) if not name.startswith("_")]

BETWEEN = {
    "nothing",
    "time_runs_back",
    "stream_with_a_gap",
    "positions_with_a_gap",
    "appends_with_a_gap",
    "append_that_is_longer",
    "append_that_begins_before",
    "unknown_topic_in_the_stream_of_a_version",
    "frame_left_out",
}
"""What several batches show. Such logs are cut into many ranges; another flaw is found in the range that has its batch."""


@pytest.mark.parametrize(
    ("name", "stretch"),
    [
        pytest.param(
            name,
            size,
            id=f"{name}-{size}",
            marks=[] if size == (9 if name in BETWEEN else 40) else [pytest.mark.long],
        )
        for name in FORGERIES
        for size in (3, 9, 40, 50_000)
    ],
    indirect=["stretch"],
)
def test_a_forged_log_is_found_and_located(folder, name, stretch):
    wrong = []
    forge(folder, lambda *rows: wrong.append(getattr(Forgery, name)(*rows)))
    found = problems(folder)
    if name == "nothing":
        assert found == []
    else:
        assert position_of(found[0]) == wrong[0], found
        assert str(folder / "log.db") in found[0]
    with ThreadPoolExecutor(2) as pool:
        assert problems(folder, executor=pool) == found, "workers find something else"


def test_a_body_with_fewer_events_than_its_header_says_is_not_read(folder):
    streams = []

    def drop_the_last(batches, appends, bodies):
        batch = frames_batch(batches)
        bodies[batch["first_position"]].pop()
        streams.append(batch["stream_id"])

    forge(folder, drop_the_last)
    with (
        closing(framelode.connect(folder)) as engine,
        pytest.raises(IntegrityError, match="another number of events"),
    ):
        engine.session.writes.application.recorder.select_events(streams[0])


def test_a_value_that_replaces_itself_is_refused_by_the_history(tmp_path):
    with closing(framelode.connect(tmp_path)) as engine, engine:
        store = framelode.ExecutionStore.create("settings")
        store.set("a", 1)
        store.set("a", 2)

    def replace_itself(batches, appends, bodies):
        position = batches[-1]["first_position"]
        bodies[position][0] = rewritten(bodies[position][0], previous=position)

    forge(tmp_path, replace_itself)
    with closing(framelode.connect(tmp_path)) as engine:
        *_, last = engine.history()
        with pytest.raises(IntegrityError, match="does not come before it"):
            last.before  # noqa: B018 - reading it raises


def test_other_processes_find_the_same(folder, monkeypatch):
    monkeypatch.setattr(check, "_EVENTS_AT_ONCE_ELSEWHERE", 20)
    with closing(framelode.connect(folder)) as engine:
        here = engine.verify()
        with ProcessPoolExecutor(2, mp_context=FORKED) as pool:
            assert engine.verify(executor=pool) == here
            forge(folder, Forgery.payload_of_another)
            with pytest.raises(IntegrityError, match="a payload does not match its key row"):
                engine.verify(executor=pool)


def test_all_that_is_wrong_is_told(folder, stretch):
    with raw(folder) as connection:
        rows = connection.execute("SELECT first_position, schema FROM record_batch ORDER BY 1").fetchall()
    firsts = [first for first, schema in rows if schema == "events.1"]
    frames = [first for first, schema in rows if schema == "frames.1"]
    changed, unreadable, missing = firsts[2], firsts[5], firsts[-3]
    keys, body, gone = frames[1], frames[3], frames[5]
    with unguarded(folder) as connection:
        change = "UPDATE record_batch SET {} WHERE first_position = ?"
        connection.execute(change.format("actor = 'somebody else'"), (changed,))
        connection.execute(change.format("topics = 'none'"), (unreadable,))
        connection.execute(change.format("keys = zeroblob(length(keys))"), (keys,))
        connection.execute("UPDATE record_body SET body = x'00' WHERE first_position = ?", (body,))
        connection.execute("DELETE FROM record_body WHERE first_position = ?", (gone,))
        connection.execute("DELETE FROM record_batch WHERE first_position = ?", (missing,))
    with raw(folder) as connection:
        connection.execute("DROP TRIGGER append_no_delete")
    found = problems(folder)
    told = {int(number) for problem in found for number in re.findall(r"position (\d+)", problem)}
    assert {changed, unreadable, missing, keys, body, gone} <= told
    assert any("append_no_delete" in problem for problem in found)


def test_an_index_that_differs_from_its_table_is_found(folder):
    with raw(folder) as connection:
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'events.1', 'frames.1') WHERE name = 'record_batch_lifecycle'"
        )
    assert any("record_batch_lifecycle" in problem for problem in problems(folder))


TOOTHLESS = {
    "a row": (
        "BEFORE INSERT ON record_batch WHEN 0",
        "record_batch_in_order",
    ),
    "an update": ("AFTER UPDATE OF codec ON record_body", "record_body_no_update"),
    "a delete": ("BEFORE DELETE ON append WHEN OLD.append_id < 0", "append_no_delete"),
    "another table": ("BEFORE UPDATE ON tracking", "log_info_no_update"),
}


@pytest.mark.parametrize(("rule", "name"), TOOTHLESS.values(), ids=TOOTHLESS)
def test_a_trigger_of_the_same_name_that_does_nothing_is_found(folder, rule, name):
    with raw(folder) as connection:
        connection.execute(f"DROP TRIGGER {name}")
        connection.execute(f"CREATE TRIGGER {name} {rule} BEGIN SELECT 1; END")
    (problem,) = problems(folder)
    assert f"the trigger {name} is missing or was changed" in problem


class TestQuick:
    def test_the_chain_without_payloads(self, folder):
        with closing(framelode.connect(folder)) as engine:
            found = engine.verify(quick=True)
            assert not found.contents
            assert (found.events, found.versions, found.projections) == (engine.log.head().position, 0, 0)
            whole = engine.verify()
            assert whole.contents
            assert (whole.events, whole.batches) == (found.events, found.batches)
            assert whole.versions == 5
            assert whole.fingerprints == 2
            assert whole.projections == len(engine.session.runner.kept())

    def test_finds_headers_and_keys_but_no_bodies(self, folder):
        with unguarded(folder) as connection:
            connection.execute("UPDATE record_body SET body = x'00'")
        assert problems(folder, quick=True) == []
        assert len(problems(folder)) > 10
        with unguarded(folder) as connection:
            connection.execute(
                "UPDATE record_batch SET keys = zeroblob(length(keys)) WHERE schema = 'frames.1'"
            )
        assert problems(folder, quick=True)

    def test_blobs_are_found_in_payloads(self, folder):
        with (
            closing(framelode.connect(folder)) as engine,
            pytest.raises(UsageError, match="quick=True does not read"),
        ):
            engine.verify(quick=True, blobs=True)


class TestDerived:
    @pytest.fixture
    def engine(self, folder, monkeypatch):
        monkeypatch.setattr(snapshots, "MINIMUM_EVENTS", 1)
        with closing(framelode.connect(folder)) as engine:
            yield engine

    def versions(self, engine):
        with engine.session.read_catalog() as connection:
            return [row.version_id for row in engine.session.catalog.versions(connection)]

    def test_a_state_in_memory(self, engine):
        version_id = self.versions(engine)[0]
        engine.session.states.current(version_id).total += 1
        with pytest.raises(IntegrityError, match=f"the state of version {version_id} differs"):
            engine.verify()

    def test_snapshots_of_any_age(self, engine):
        kept = [
            version_id
            for version_id in self.versions(engine)
            if engine.session.states.save_snapshot(version_id)
        ]
        assert kept
        draft = engine.version(kept[0])
        found = engine.verify()
        assert found.snapshots == len(engine.session.snapshots.positions()) > 0
        with engine:
            if draft.draft:
                draft.add_frames([SingleFrame(id="later")])
        assert engine.verify().snapshots == found.snapshots

    def test_a_snapshot_that_differs(self, engine):
        assert any(engine.session.states.save_snapshot(version_id) for version_id in self.versions(engine))
        with engine.session.runner.store.write() as connection:
            connection.exec_driver_sql("UPDATE state_snapshot_v2 SET total = total + 1")
        engine.session.states.forget()
        with pytest.raises(IntegrityError, match="the snapshot of the state of version"):
            engine.verify()
        engine.rebuild()
        engine.verify()

    def test_a_projection_says_which_row(self, engine):
        engine.catch_up()
        with engine.session.runner.store.write() as connection:
            connection.exec_driver_sql("UPDATE catalog_version_v3 SET name = 'x' WHERE name = 'right'")
        with pytest.raises(
            IntegrityError, match=r"catalog_version_v3 differs from a fresh replay at [0-9a-f]{32}"
        ):
            engine.verify()
        engine.rebuild()
        engine.verify()

    @pytest.mark.parametrize(
        "change", ["DELETE FROM stats_count_v3", "UPDATE stats_count_v3 SET name = 'x' || name"]
    )
    def test_rows_too_few_or_of_another_key(self, engine, change):
        engine.catch_up()
        with engine.session.runner.store.write() as connection:
            connection.exec_driver_sql(change)
        with pytest.raises(IntegrityError, match="projection stats: table stats_count_v3 differs"):
            engine.verify()

    def test_what_is_written_meanwhile_is_no_problem(self, engine, monkeypatch, stretch):
        draft = DatasetVersion.get_current(dataset_name="meals")
        told = []

        def write(done, total):
            told.append((done, total))
            if len(told) < 8:
                draft.add_frames([SingleFrame(id=f"meanwhile {len(told)}")])

        engine.verify(write)
        assert told[-1][0] == told[-1][1] > 0


class TestTrees:
    def line(self, count):
        return [None, *range(count - 1)]

    def caterpillar(self, count):
        """A line with a leaf at every version."""
        return [None, *(parent for number in range(count // 2) for parent in (2 * number, 2 * number))][
            :count
        ]

    def two_lines(self, count):
        return [None, 0, 0, *range(1, count - 2)]

    @pytest.mark.parametrize("shape", ["line", "caterpillar", "two_lines"])
    def test_few_states_are_held(self, shape):
        count = 400
        parents = getattr(self, shape)(count)
        name = "version {}".format
        created = [
            VersionCreated(
                originator_id=name(number),
                originator_version=1,
                dataset_id="d",
                name="",
                parent_id=None if parent is None else name(parent),
            )
            for number, parent in enumerate(parents)
        ]
        held, seen, most = weakref.WeakSet(), [], 0
        with framelode.connect("sqlite://") as engine:
            for fresh in fold_tree(engine.log, created, 0, {}):
                held.add(fresh.state)
                seen.append(fresh.version_id)
                most = max(most, len(held))
        engine.close()
        assert sorted(seen) == sorted(event.originator_id for event in created)
        assert most <= count.bit_length() + 2

    def test_a_line_of_versions(self, ticks):
        with framelode.connect("sqlite://", clock=ticks.clock, new_id=ticks.new_id) as engine:
            DatasetVersion.create_new_dataset("d")
            version = DatasetVersion.get_current(dataset_name="d")
            for number in range(40):
                version.add_frames([SingleFrame(id=str(n)) for n in range(number, number + 3)])
                version.delete_frames([str(number - 1)] if number else [])
                version = version.create_snapshot()
            found = engine.verify()
        engine.close()
        assert (found.versions, found.fingerprints) == (41, 40)


def test_an_append_that_comes_between_the_batches_and_the_appends_is_no_problem(folder, monkeypatch):
    look = ChainWalk._append_of
    with closing(framelode.connect(folder)) as engine, closing(framelode.connect(folder)) as other:
        draft = other.version(DatasetVersion.create_new_dataset("meanwhile").versions()[0].version_id)

        def write_and_look(walk, header):
            if not len(draft):
                draft.add_frames([SingleFrame(id="x")], refresh_version_stats=False)
            return look(walk, header)

        monkeypatch.setattr(ChainWalk, "_append_of", write_and_look)
        assert engine.verify(quick=True).problems == []
        assert len(draft) == 1
