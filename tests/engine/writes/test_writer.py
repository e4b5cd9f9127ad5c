"""The bulk writer: parts, commands that are repeated, what events record, and writers that race."""

from __future__ import annotations

import multiprocessing
import os
import re
import threading
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
import reader
import workers
from forked import FORKED, Program
from patience import PATIENCE, join

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.errors import ConflictError, InvalidValueError, NotFoundError, PublishedError
from framelode.engine.keys import Operation, frame_key, key_columns, read_rows
from framelode.engine.log.batch import BATCH_BYTES
from framelode.engine.log.frame_batch import changes_at
from framelode.engine.writes.encoder import FrameEncoder


def frames(count, start=0, **values):
    return [SingleFrame(id=f"{number:032x}", **values) for number in range(start, start + count)]


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("d")
    return DatasetVersion.get_current(dataset_name="d")


@pytest.fixture
def add(engine, draft):
    """Add frames through the writer, one frame a batch and so eight a part."""

    def add(items, version_id=None, **arguments):
        encoder = FrameEncoder(engine.session.new_id, None, engine.session.max_frame_bytes)
        arguments = {"batch_size": 1, **arguments}
        return engine.session.writes.frames.add(version_id or draft.version_id, items, encoder, **arguments)

    return add


def stop(report):
    raise KeyboardInterrupt


def operations(engine, version_id):
    """Return the operations on each key of a version's stream, in order."""
    found = {}
    for page in engine.log.stream_rows(version_id):
        for row in read_rows(page.keys):
            found.setdefault((int(row["hi"]), int(row["lo"])), []).append(Operation(row["op"]))
    return found


def check_positions(engine):
    """Positions run on without gap, as do the versions of each stream."""
    position, versions = 1, {}
    for header in engine.log.headers():
        assert header.first_position == position
        assert header.first_version == versions.get(header.stream_id, 1)
        position = header.last_position + 1
        versions[header.stream_id] = header.last_version + 1
    assert position == engine.log.head().position + 1


class TestPublishing:
    def test_nothing_slips_in_between_the_parts_of_a_call(self, engine, draft, add):
        def publish(report):
            engine.session.writes.versions.publish_version(draft.version_id)

        with pytest.raises(PublishedError, match="create a child version"):
            add(frames(20), on_part=publish)
        assert len(draft) == 8

    def test_nothing_slips_in_right_before_the_first_part(self, engine, draft, add):
        def items():
            engine.session.writes.versions.publish_version(draft.version_id)
            yield from frames(1)

        with pytest.raises(PublishedError):
            add(items())
        assert len(draft) == 0

    def test_nothing_slips_into_a_removed_version(self, engine, draft, add):
        def remove(report):
            engine.session.writes.versions.remove_version(draft.version_id)

        with pytest.raises(NotFoundError, match="was removed"):
            add(frames(9), on_part=remove)
        assert engine.session.states.current(draft.version_id).total == 8

    def test_a_publish_between_decision_and_append_is_seen(self, engine, draft, add, monkeypatch):
        append, published = engine.log.append, []

        def publish_first(request, *rest):
            if not published:
                published.append(True)
                engine.session.writes.versions.publish_version(draft.version_id)
            return append(request, *rest)

        monkeypatch.setattr(engine.log, "append", publish_first)
        with pytest.raises(PublishedError):
            add(frames(1))
        assert len(draft) == 0

    def test_a_command_is_not_resumed_after_the_publish(self, draft, add):
        with pytest.raises(KeyboardInterrupt):
            add(frames(20), command_id="c", on_part=stop)
        draft.publish_version()
        with pytest.raises(PublishedError):
            add(frames(20), command_id="c")
        assert len(draft) == 8

    def test_a_finished_command_is_repeated_after_the_publish(self, draft, add):
        first = add(frames(20), command_id="c")
        draft.publish_version()
        assert add(frames(20), command_id="c").added == first.added == 20

    def test_racing_with_a_publish_in_another_process(self, tmp_path):
        with framelode.connect(tmp_path) as engine:
            DatasetVersion.create_new_dataset("d")
            version = DatasetVersion.get_current(dataset_name="d")
            with context() as spawned:
                queue = spawned.Queue()
                adding = [
                    spawned.Process(
                        target=workers.add_until_published_and_put,
                        args=(queue, str(tmp_path), version.version_id, start, "x"),
                    )
                    for start in (0, 1 << 64)
                ]
                for process in adding:
                    process.start()
                head = workers.publish(str(tmp_path), version.version_id, after=40)
                results = [queue.get(timeout=PATIENCE) for _ in adding]
                join(*adding)
            assert results == [None, None], "both writers were stopped"
            assert engine.log.head().position == head
            assert len(version) >= 40
            assert engine.verify().fingerprints == 1
        engine.close()
        reader.read_log(str(tmp_path / "log.db"))


class TestCommands:
    def test_a_repetition_does_nothing_and_reports_the_same(self, engine, draft, add):
        items = [*frames(10), *frames(3, metadata={"a": 1}), *frames(2, start=90)]
        first = add(items, command_id="c")
        head = engine.log.head()
        again = add(items, command_id="c")
        assert engine.log.head() == head
        assert (again.added, again.updated, again.events) == (first.added, first.updated, 15)

    def test_a_repetition_after_other_changes_does_not_undo_them(self, draft, add):
        add(frames(10), command_id="c")
        draft.update_frames(frames(10, metadata={"later": True}))
        draft.delete_frames([f"{0:032x}"])
        add(frames(10), command_id="c")
        assert len(draft) == 9
        assert all(frame.metadata == {"later": True} for frame in draft)

    @pytest.mark.parametrize("parts", [1, 2, 3])
    def test_what_a_crash_left_is_finished(self, engine, draft, add, parts):
        def crash(report):
            if report.added == 8 * parts:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            add(frames(30), command_id="c", on_part=crash)
        assert len(draft) == min(8 * parts, 30)
        report = add(frames(30), command_id="c")
        assert report.added == 30
        assert len(draft) == 30
        assert set(map(tuple, operations(engine, draft.version_id).values())) == {(Operation.ADD,)}

    def test_deletes_and_merges_are_resumed_too(self, engine, draft, add):
        add(frames(20), batch_size=20)
        encoder = FrameEncoder(engine.session.new_id)
        merge = lambda **more: engine.session.writes.frames.merge(
            draft.version_id,
            frames(20, metadata={"a": 1}),
            encoder,
            frozenset(),
            batch_size=1,
            command_id="m",
            **more,
        )
        delete = lambda **more: engine.session.writes.frames.delete(
            draft.version_id, [frame.id for frame in frames(20)], batch_size=1, command_id="x", **more
        )
        for call, name in ((merge, "updated"), (delete, "deleted")):
            with pytest.raises(KeyboardInterrupt):
                call(on_part=stop)
            assert getattr(call(), name) == 20
            head = engine.log.head()
            assert getattr(call(), name) == 20
            assert engine.log.head() == head
        assert len(draft) == 0
        expected = (Operation.ADD, Operation.UPDATE, Operation.DELETE)
        assert set(map(tuple, operations(engine, draft.version_id).values())) == {expected}

    @pytest.mark.parametrize(
        "other",
        [
            frames(20, metadata={"a": 1}),
            frames(19),
            frames(21),
            frames(8),
            frames(20, start=1),
            list(reversed(frames(20))),
            [*frames(19), SingleFrame(id="x")],
        ],
        ids=["content", "shorter", "longer", "one part", "ids", "order", "last"],
    )
    def test_other_content_is_a_conflict(self, engine, draft, add, other):
        add(frames(20), command_id="c")
        head = engine.log.head()
        with pytest.raises(ConflictError, match="pass a different command id for the new request"):
            add(other, command_id="c")
        assert engine.log.head() == head

    def test_other_content_in_a_part_that_changed_nothing_is_a_conflict(self, engine, draft, add):
        add(frames(8), batch_size=8)
        add([*frames(8), *frames(8, start=50)], command_id="c")
        head = engine.log.head()
        assert add([*frames(8), *frames(8, start=50)], command_id="c").added == 8
        with pytest.raises(ConflictError):
            add([*frames(8, metadata={"a": 1}), *frames(8, start=50)], command_id="c")
        assert engine.log.head() == head

    def test_another_kind_of_change_is_another_request(self, engine, draft, add):
        add(frames(2), command_id="c")
        ids = [frame.id for frame in frames(2)]
        with pytest.raises(ConflictError):
            engine.session.writes.frames.delete(draft.version_id, ids, command_id="c")
        merging = FrameEncoder(engine.session.new_id)
        with pytest.raises(ConflictError):
            engine.session.writes.frames.merge(
                draft.version_id, frames(2), merging, frozenset(), command_id="c"
            )
        assert len(draft) == 2

    def test_another_version_is_another_request(self, draft, add):
        add(frames(2), command_id="c")
        child = DatasetVersion.create_snapshot(dataset_name="d")
        with pytest.raises(ConflictError, match="pass a different command id"):
            add(frames(2), version_id=child.version_id, command_id="c")

    def test_a_rival_with_the_same_command_is_recognised(self, engine, draft, add, monkeypatch):
        append, rival = engine.log.append, []

        def be_second(request, *rest):
            if not rival:
                rival.append(True)
                rival.append(add(frames(3), command_id="c"))
            return append(request, *rest)

        monkeypatch.setattr(engine.log, "append", be_second)
        assert add(frames(3), command_id="c").added == 3
        assert set(map(tuple, operations(engine, draft.version_id).values())) == {(Operation.ADD,)}

    def test_what_a_killed_process_left_is_finished(self, tmp_path):
        with framelode.connect(tmp_path) as engine:
            DatasetVersion.create_new_dataset("d")
            version = DatasetVersion.get_current(dataset_name="d")
            for lines in (1, 4, 9):
                process = Program("workers", tmp_path, version.version_id, 200)
                acknowledged = [int(process.stdout.readline()) for _ in range(lines)][-1]
                process.kill()
                process.communicate()
                assert process.returncode != 0, "it was killed before it was done"
                engine.session.states.forget()
                held = len(version)
                assert acknowledged <= held < 200
                assert held % 8 == 0, "a part is whole or not there"
            items = workers.numbered(0, 200, "all")
            report = workers.add(str(tmp_path), version.version_id, items, batch_size=1, command_id="killed")
            assert report == (200, 0)
            assert len(version) == 200
            assert set(map(tuple, operations(engine, version.version_id).values())) == {(Operation.ADD,)}
            engine.verify()
        engine.close()
        reader.read_log(str(tmp_path / "log.db"))


class TestEvents:
    def change(self, engine, version, frame_id):
        """Return the operation, position and change of a frame's last event in a version."""
        state = engine.session.states.current(version.version_id)
        found = state.find(*key_columns(frame_key(frame_id)))
        position = int(found[0]) & ~(1 << 63)
        (change,) = changes_at(engine.log, [position]).values()
        import numpy as np

        return Operation(state.rows(np.array([position], np.uint64))["op"][0]), position, change

    @pytest.mark.parametrize("frame_id", ["0123456789abcdef" * 2, "pizza", "AB" * 16])
    def test_through_a_whole_life(self, engine, draft, frame_id):
        version, other = draft, SingleFrame(id="other " * 3)
        make = lambda **values: SingleFrame(id=frame_id, **values)

        version.add_frames([make(), other])
        kind, added, change = self.change(engine, version, frame_id)
        assert (kind, change.previous, change.saved, change.changed) == (Operation.ADD, 0, 0, [])
        assert change.id == (
            None if frame_id.isalnum() and frame_id.islower() and len(frame_id) == 32 else frame_id
        )

        version.add_frames([make(metadata={"a": 1}, source="s3://b/x.png")])
        kind, updated, change = self.change(engine, version, frame_id)
        assert (kind, change.previous, change.saved) == (Operation.UPDATE, added, added)
        assert change.changed == ["meta", "sources"]

        version = DatasetVersion.create_snapshot(dataset_name="d")
        version.update_frames([make(metadata={"b": 2})], without_fields=[])
        kind, inherited, change = self.change(engine, version, frame_id)
        assert (kind, change.previous, change.saved, change.changed) == (
            Operation.UPDATE,
            updated,
            added,
            ["meta"],
        )
        assert msgspec.msgpack.decode(change.record)["meta"] == {"a": 1, "b": 2}

        version.delete_frames([frame_id])
        kind, deleted, change = self.change(engine, version, frame_id)
        assert (kind, change.previous, change.saved, change.changed) == (
            Operation.DELETE,
            inherited,
            added,
            [],
        )
        assert change.payload == b""

        version.add_frames([make(metadata={"b": 2})])
        kind, again, change = self.change(engine, version, frame_id)
        assert (kind, change.previous, change.saved, change.changed) == (Operation.ADD, deleted, 0, [])

        version.add_frames([make()])
        kind, _, change = self.change(engine, version, frame_id)
        assert (kind, change.previous, change.saved, change.changed) == (
            Operation.UPDATE,
            again,
            again,
            ["meta"],
        )
        assert self.change(engine, draft, frame_id)[1] == updated, "the parent stays as it was"

    def test_a_deleted_inherited_frame(self, engine, draft):
        draft.add_frames(frames(1))
        child = DatasetVersion.create_snapshot(dataset_name="d")
        child.delete_frames([f"{0:032x}"])
        kind, _, change = self.change(engine, child, f"{0:032x}")
        _, added, _ = self.change(engine, draft, f"{0:032x}")
        assert (kind, change.previous, change.saved) == (Operation.DELETE, added, added)

    def test_nothing_is_recorded_for_what_does_not_change(self, engine, draft, add):
        items = frames(20, metadata={"b": 1, "a": 0.0}, source="s3://b/1.jpg")
        add(items)
        head = engine.log.head()
        report = add(
            frames(20, metadata={"a": -0.0, "b": 1}, source="s3://b/1.jpg", context_id="s3://b/1.jpg")
        )
        assert (report.events, report.unchanged) == (0, 20)
        child = DatasetVersion.create_snapshot(dataset_name="d")
        published = engine.log.head().position
        assert published > head.position
        assert add(items, version_id=child.version_id).unchanged == 20
        draft_report = engine.session.writes.frames.delete(child.version_id, ["nobody"])
        assert (draft_report.events, draft_report.unknown) == (0, 1)
        assert engine.log.head().position == published

    def test_one_changed_frame_among_unchanged_ones(self, engine, draft, add):
        add([*frames(5), SingleFrame(id="pizza")], batch_size=10)
        changed = [*frames(5), SingleFrame(id="pizza", width=3)]
        changed[2].metadata = {"x": 1}
        report = add(changed, batch_size=10)
        assert (report.updated, report.unchanged) == (2, 4)
        assert self.change(engine, draft, f"{2:032x}")[2].changed == ["meta"]
        assert self.change(engine, draft, "pizza")[2].changed == ["sources"]

    def test_an_id_twice_in_one_call_keeps_the_last(self, engine, draft, add):
        items = [*frames(3), *frames(3, metadata={"last": True})]
        report = add(items, batch_size=10)
        assert (report.added, report.updated, report.duplicates) == (3, 0, 3)
        assert all(frame.metadata == {"last": True} for frame in draft)
        report = add([frame for n in range(30) for frame in frames(1, metadata={"n": n})])
        assert draft.get_single_frame(f"{0:032x}").metadata == {"n": 29}
        assert report.events + report.duplicates == 30


class TestSizes:
    def test_too_large_frames_are_refused_and_the_others_recorded(self, tmp_path):
        with framelode.connect(tmp_path, max_frame_bytes=1000) as engine:
            DatasetVersion.create_new_dataset("d")
            version = DatasetVersion.get_current(dataset_name="d")
            large = SingleFrame(id="large", metadata={"text": "x" * 1000})
            failures = version.add_frames([SingleFrame(id="a"), large, SingleFrame(id="b")])
            (failure,) = failures
            assert failure["frame"] is large
            assert failure["error_type"] == "validation"
            assert "'large' has 10" in failure["error"]
            assert "the limit is 1000" in failure["error"]
            assert [frame.id for frame in version] == ["a", "b"]
            version.update_frames([SingleFrame(id="a", metadata={"a": "x" * 700})])
            with pytest.raises(framelode.engine.errors.FramesRejected, match="1000") as error:
                version.update_frames(
                    [SingleFrame(id="a", metadata={"b": "x" * 700}), SingleFrame(id="b", width=2)],
                    without_fields=[],
                )
            assert len(error.value.failures) == 1
            assert list(version.get_single_frame("a").metadata) == ["a"]
            assert version.get_single_frame("b").width == 2
        engine.close()

    @pytest.mark.parametrize("is_merged", [False, True])
    def test_a_frame_may_have_as_many_bytes_as_the_limit(self, tmp_path, is_merged):
        with framelode.connect(tmp_path, max_frame_bytes=1000) as engine:
            DatasetVersion.create_new_dataset("d")
            version = DatasetVersion.get_current(dataset_name="d")
            version.add_frames([SingleFrame(id="a", metadata={"a": "x" * 300})])

            def write(length):
                """Return the number of bytes of a frame that is refused."""
                frame = SingleFrame(id="a", metadata={"b": "x" * length})
                try:
                    failures = (
                        version.update_frames([frame], without_fields=[])
                        if is_merged
                        else version.add_frames([frame])
                    )
                except framelode.engine.errors.FramesRejected as error:
                    failures = error.failures
                return int(re.search(r"(\d+) bytes", failures[0]["error"])[1]) if failures else 0

            too_many = 700 if is_merged else 1000
            most = too_many - (write(too_many) - 1000)
            assert (write(most + 1), write(most)) == (1001, 0)
            assert len(version.get_single_frame("a").metadata["b"]) == most
        engine.close()

    def test_batches_are_cut_at_eight_megabytes(self, engine, draft, add):
        size = BATCH_BYTES // 3 + 1
        sizes = [size] * 7 + [10, 10, BATCH_BYTES + 1, 10]
        items = [SingleFrame(id=f"{n:032x}", metadata={"t": "x" * size}) for n, size in enumerate(sizes)]
        report = add(items, batch_size=1000)
        assert report.added == len(items)
        counts = [
            header.count for header in engine.log.headers(stream_id=draft.version_id, schema="frames.1")
        ]
        assert counts == [2, 2, 2, 3, 1, 1]
        assert [len(frame.metadata["t"]) for frame in draft] == sizes

    def test_batches_are_cut_at_their_size(self, engine, draft, add):
        add(frames(20), batch_size=3)
        counts = [
            header.count for header in engine.log.headers(stream_id=draft.version_id, schema="frames.1")
        ]
        assert counts == [3] * 6 + [2]
        appends = [append.last_position - append.first_position + 1 for append in engine.log.appends()]
        assert appends[-1] == 20, "they share one append"

    def test_a_batch_has_at_most_ten_thousand(self, engine, draft, add):
        add(frames(10_001), batch_size=50_000)
        counts = [
            header.count for header in engine.log.headers(stream_id=draft.version_id, schema="frames.1")
        ]
        assert counts == [10_000, 1]

    @pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "10", None])
    def test_a_batch_size_is_a_whole_number(self, add, batch_size):
        with pytest.raises(InvalidValueError, match="batch_size"):
            add(frames(1), batch_size=batch_size)

    def test_a_generator_is_consumed_part_by_part(self, engine, draft, add):
        seen = []

        def items():
            for frame in frames(50):
                seen.append(engine.session.states.current(draft.version_id).total)
                yield frame

        add(items())
        # Two parts at most are held: the one at hand, and the one that tells whether it is the last.
        assert all(index - held <= 16 for index, held in enumerate(seen))


class context:
    """Processes that are ended with the block."""

    def __enter__(self):
        return FORKED

    def __exit__(self, *error):
        for process in multiprocessing.active_children():
            process.kill()


class TestRaces:
    def check(self, engine, version, ranges):
        """Each id was added once and updated by every later writer; everything is there."""
        wanted = Counter(number for start, stop in ranges for number in range(start, stop))
        found = operations(engine, version.version_id)
        assert len(version) == len(found) == len(wanted)
        for number, writers in wanted.items():
            hi, lo = key_columns(number.to_bytes(16, "big"))
            assert found[int(hi[0]), int(lo[0])] == [Operation.ADD] + [Operation.UPDATE] * (writers - 1)
        check_positions(engine)
        engine.verify()

    def test_two_processes_add_overlapping_ids(self, tmp_path):
        with framelode.connect(tmp_path) as engine:
            DatasetVersion.create_new_dataset("d")
            version = DatasetVersion.get_current(dataset_name="d")
            ranges = [(0, 300), (200, 500)]
            with context() as spawned:
                barrier, queue = spawned.Barrier(2, timeout=PATIENCE), spawned.Queue()
                processes = [
                    spawned.Process(
                        target=workers.add_and_put,
                        args=(queue, str(tmp_path), version.version_id, *span, f"p{number}"),
                        kwargs={"barrier": barrier},
                    )
                    for number, span in enumerate(ranges)
                ]
                for process in processes:
                    process.start()
                reports = [queue.get(timeout=PATIENCE) for _ in processes]
                join(*processes)
            assert sum(added for added, _ in reports) == 500
            assert sum(updated for _, updated in reports) == 100
            self.check(engine, version, ranges)
        engine.close()
        reader.read_log(str(tmp_path / "log.db"))

    def test_four_threads_add_overlapping_ids(self, engine, draft):
        ranges = [(at, at + 120) for at in (0, 60, 120, 0)]
        barrier = threading.Barrier(4, timeout=PATIENCE)

        def add(number):
            barrier.wait()
            encoder = FrameEncoder(engine.session.new_id)
            items = workers.numbered(*ranges[number], f"t{number}")
            return engine.session.writes.frames.add(draft.version_id, items, encoder, batch_size=3)

        with ThreadPoolExecutor(4) as pool:
            reports = list(pool.map(add, range(4)))
        assert sum(report.added for report in reports) == 240
        assert sum(report.updated for report in reports) == 240
        self.check(engine, draft, ranges)

    def test_threads_read_while_others_write(self, engine, draft):
        done = threading.Event()

        def read():
            counts = [0]
            while not done.is_set():
                found = [frame.metadata["by"] for frame in draft]
                assert len(found) >= counts[-1]
                counts.append(len(found))
            return counts

        with ThreadPoolExecutor(3) as pool:
            reading = [pool.submit(read) for _ in range(2)]
            try:
                for at in range(0, 400, 40):
                    draft.add_frames(workers.numbered(at, at + 40, "w"), batch_size=7)
            finally:
                done.set()
            for future in reading:
                future.result()
        assert len(draft) == 400

    def test_a_frame_deleted_by_a_rival_is_added_again(self, engine, draft, add, monkeypatch):
        add(frames(1))
        append, rival = engine.log.append, []

        def delete_first(request, *rest):
            if not rival:
                rival.append(True)
                engine.session.writes.frames.delete(draft.version_id, [f"{0:032x}"])
            return append(request, *rest)

        monkeypatch.setattr(engine.log, "append", delete_first)
        report = add(frames(1, metadata={"a": 1}))
        assert (report.added, report.updated) == (1, 0)
        expected = [Operation.ADD, Operation.DELETE, Operation.ADD]
        assert list(operations(engine, draft.version_id).values()) == [expected]

    def test_a_rival_on_other_frames_only_renumbers(self, engine, draft, add, monkeypatch):
        append, packed = engine.log.append, []

        def add_first(request, *rest):
            packed.append(request.batches)
            if len(packed) == 1:
                add([SingleFrame(id="rival")])
            return append(request, *rest)

        monkeypatch.setattr(engine.log, "append", add_first)
        add(frames(3), batch_size=3)
        first, _, second = packed
        assert first[0].first_version + 1 == second[0].first_version
        assert first[0].body is second[0].body
        assert len(draft) == 4


class TestFork:
    def in_child(self, do):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            status = 1
            try:
                do()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0

    def test_parent_and_child_write_on(self, tmp_path):
        with framelode.connect(tmp_path) as engine:
            DatasetVersion.create_new_dataset("d")
            version = DatasetVersion.get_current(dataset_name="d")
            version.add_frames(frames(10))

            def write():
                assert len(version) == 10
                version.add_frames(frames(10, start=100))
                version.update_frames(frames(1, metadata={"by": "child"}))
                engine.verify()
                engine.close()

            self.in_child(write)
            assert len(version) == 20
            assert version.get_single_frame(f"{0:032x}").metadata == {"by": "child"}
            version.add_frames(frames(5, start=200))
            self.in_child(lambda: version.delete_frames([f"{200:032x}"]))
            assert len(version) == 24
            assert version.get_stats().total == 24
            check_positions(engine)
            engine.verify()
        engine.close()
        reader.read_log(str(tmp_path / "log.db"))
