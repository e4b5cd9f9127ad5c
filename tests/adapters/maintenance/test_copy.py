"""Engines copied from place to place: equal positions and digests, contents before their frames, and what is refused."""

from __future__ import annotations

import shutil
import threading
import uuid
from contextlib import closing, suppress
from datetime import timedelta

import histories
import pytest
import rich_log
from command_line import run, run_json
from copy_worker import copy_apart
from cutting_proxy import QUERY, SYNC, Cut, cutting_proxy
from eventsourcing.persistence import Tracking
from hypothesis import given
from hypothesis import strategies as st
from log_tables import rows
from raw_logs import forge, unguarded
from s3_server import s3_environment, s3_prefix
from sizes import examples, sized

import framelode
from framelode import ConflictError, DatasetVersion, IntegrityError, SingleFrame, StorageError, UsageError
from framelode.adapters.sql import database
from framelode.adapters.sql.recorder import SqlTrackingRecorder
from framelode.engine.blobs.uris import blob_uri, digests_named
from framelode.engine.log import copy as log_copy
from framelode.engine.log.batch import body_checksum, pack_batch
from framelode.engine.storage.base import BackendError

NOW = timedelta(0)
PLACES = ("folder", "postgres")


@pytest.fixture
def place(request, tmp_path):
    """Return a function that makes up a new place of a kind, as `connect` takes it."""
    made = []

    def new(kind):
        made.append(kind)
        if kind == "memory":
            return "sqlite://"
        if kind == "folder":
            return str(tmp_path / f"place{len(made)}")
        url = request.getfixturevalue("postgres_url")
        return f"{url}{'&' if '?' in url else '?'}schema=s{len(made)}"

    return new


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens an engine, closed after the test."""
    engines = []

    def open_engine(url, **arguments):
        if str(url).startswith("postgresql") and "blobs" not in arguments:
            arguments["blobs"] = tmp_path / f"blobs{len(engines)}"
        engines.append(framelode.connect(url, **arguments))
        return engines[-1]

    yield open_engine
    for engine in reversed(engines):
        engine.close()


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    """The folder of an engine in which every projection finds something."""
    folder = tmp_path_factory.mktemp("rich")
    with closing(framelode.connect(folder)) as engine:
        rich_log.play(engine)
    return folder


@pytest.fixture
def source(rich, tmp_path, opened):
    """A copy of that folder, open."""
    return opened(shutil.copytree(rich, tmp_path / "source"))


def check_equal(made, original):
    """Check that two engines have the same log, to the bit, and come to the same versions."""
    assert rows(made) == rows(original)
    assert made.log.head() == original.log.head()
    assert made.verify().events == original.log.head().position
    assert made.session.version_ids() == original.session.version_ids()
    for version_id in original.session.version_ids():
        assert made.version(version_id).fingerprint == original.version(version_id).fingerprint


def numbered(start, stop, **values):
    return [SingleFrame(id=f"{n:032x}", source=f"s3://b/{n}.jpg", **values) for n in range(start, stop)]


def add(engine, *frames):
    with engine:
        if not engine.session.version_ids():
            DatasetVersion.create_new_dataset("d")
        DatasetVersion.get_current(dataset_name="d").add_frames(frames, batch_size=2)


def put(engine, *contents):
    return [engine.blobs.put(content.encode()).digest for content in contents]


def named(name, *digests):
    """Return a frame that names blobs."""
    return SingleFrame(
        id=name, source=blob_uri(digests[0], "a.jpg"), metadata={"more": list(map(blob_uri, digests))}
    )


def stored(engine):
    return {entry.digest for entry in engine.blobs.entries()}


class TestEqual:
    @pytest.mark.parametrize("to", [pytest.param("memory", marks=pytest.mark.long), "postgres"])
    def test_there_and_back(self, source, place, opened, to):
        there = opened(place(to))
        done = source.copy_to(there, blobs=False)
        head = source.log.head()
        assert (done.log, done.position, done.digest) == (source.log.uuid, head.position, head.digest.hex())
        assert (done.events, done.present) == (head.position, 0)
        assert done.batches == len(rows(source, "record_batch")["record_batch"])
        check_equal(there, source)
        for kind in PLACES:
            back = opened(place(kind))
            there.copy_to(back, blobs=False)
            check_equal(back, source)

    @examples(5, 12)
    @given(histories.steps, st.integers(1, 3), st.integers(1, 5), st.integers(1, 2000))
    def test_any_history(self, history, batch_size, appends, size):
        with (
            closing(framelode.connect("sqlite://")) as engine,
            closing(framelode.connect("sqlite://")) as made,
        ):
            histories.play(engine, history, batch_size)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(log_copy, "_GROUP_APPENDS", appends)
                patch.setattr(log_copy, "_GROUP_BYTES", size)
                engine.copy_to(made)
            check_equal(made, engine)

    def test_an_empty_engine(self, place, opened):
        source, target = opened(place("memory")), opened(place("folder"))
        done = source.copy_to(target)
        assert (done.events, done.position) == (0, 0)
        add(target, *numbered(0, 3))

    @pytest.mark.parametrize("to", PLACES)
    def test_the_copy_is_written_to(self, source, place, opened, to):
        made = opened(place(to))
        source.copy_to(made, blobs=False)
        with made:
            DatasetVersion.create_new_dataset("new")
            DatasetVersion.get_current(dataset_name="new").add_frames(numbered(0, 3))
        made.verify()

    @pytest.mark.parametrize("to", PLACES)
    def test_by_url_the_current_engine_stays(self, source, place, opened, to):
        url = place(to)
        assert source.copy_to(url, blobs=False).events == source.log.head().position
        assert framelode.current_engine() is source
        check_equal(opened(url), source)

    def test_where_followers_are_is_theirs(self, source, place, opened):
        made = opened(place("folder"))
        recorders = [SqlTrackingRecorder(engine.log.database) for engine in (source, made)]
        recorders[0].insert_tracking(Tracking("shop", 7))
        source.copy_to(made, blobs=False)
        assert recorders[1].max_tracking_id("shop") is None
        recorders[1].insert_tracking(Tracking("shop", 7))
        check_equal(made, source)
        assert source.copy_to(made, blobs=False).events == 0


class TestGoingOn:
    @pytest.mark.parametrize("to", PLACES)
    def test_a_source_that_grows_is_followed_call_by_call(self, place, opened, to):
        source, made = opened(place("folder")), opened(place(to))
        present = 0
        with source:
            for _ in rich_log.steps(source):
                done = source.copy_to(made, blobs=False)
                assert (done.present, done.position) == (present, source.log.head().position)
                present = done.position
                assert rows(made) == rows(source)
        again = source.copy_to(made, blobs=False)
        assert (again.events, again.batches, again.present) == (0, 0, present)
        check_equal(made, source)

    def test_it_ends_where_the_source_ended_when_it_began(self, source, place, opened, monkeypatch):
        monkeypatch.setattr(log_copy, "_GROUP_APPENDS", 2)
        made, end = opened(place("folder")), source.log.head()

        def grow(position, of):
            assert of == end.position
            with source:
                DatasetVersion.create_new_dataset(f"at {position}")

        done = source.copy_to(made, blobs=False, callback=grow)
        assert (done.position, made.log.head()) == (end.position, end)
        made.verify()
        source.copy_to(made, blobs=False)
        check_equal(made, source)

    def test_positions_are_told(self, source, place, opened, monkeypatch):
        monkeypatch.setattr(log_copy, "_GROUP_APPENDS", 2)
        end, told = source.log.head().position, []
        source.copy_to(opened(place("memory")), blobs=False, callback=lambda *done: told.append(done))
        assert [of for _, of in told] == [end] * len(told)
        assert [position for position, _ in told] == sorted({position for position, _ in told})
        assert told[-1][0] == end
        assert len(told) > 5

    @pytest.mark.parametrize("to", PLACES)
    def test_an_interrupt_leaves_whole_appends(self, source, place, opened, monkeypatch, to):
        monkeypatch.setattr(log_copy, "_GROUP_APPENDS", 2)
        made = opened(place(to))

        def interrupt(*_):
            raise KeyboardInterrupt

        before = threading.active_count()
        position = 0
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                source.copy_to(made, blobs=False, callback=interrupt)
            assert made.log.head().position > position
            position = made.log.head().position
            assert source.log.batch_at(position).digest == made.log.head().digest
        assert threading.active_count() == before
        made.verify()
        assert source.copy_to(made, blobs=False).present == position
        check_equal(made, source)

    @pytest.mark.sized
    @pytest.mark.parametrize("to", PLACES)
    def test_kill_at_any_step(self, place, opened, tmp_path, to):
        source = opened(place("folder"))
        digests = put(source, *"abcdef")
        add(source, *(named(digest[:8], digest) for digest in digests))
        add(source, *numbered(0, 9))
        count = copy_apart(source.url, place(to), tmp_path / "counted")
        assert count > 20
        for at in sized((count // 3, count - 2), (3, count // 3, count * 2 // 3, count - 2)):
            url, blobs = place(to), tmp_path / f"copied{at}"
            copy_apart(source.url, url, blobs, at)
            with closing(framelode.connect(url, blobs=blobs)) as made:
                head = made.log.head()
                assert not head.position or source.log.batch_at(head.position).digest == head.digest
                assert made.missing_blobs() == []
                done = source.copy_to(made)
                assert (done.present, done.position) == (head.position, source.log.head().position)
                check_equal(made, source)
                assert stored(made) == set(digests)


class TestRefused:
    def check_untouched(self, call, made, error, match):
        before = rows(made)
        with pytest.raises(error, match=match) as found:
            call()
        assert rows(made) == before
        return found.value

    @pytest.mark.parametrize("to", PLACES)
    def test_another_log(self, source, place, opened, to):
        made = opened(place(to))
        add(made, *numbered(0, 2))
        self.check_untouched(lambda: source.copy_to(made), made, ConflictError, f"of log {made.log.uuid}")

    @pytest.mark.parametrize("to", PLACES)
    def test_a_copy_that_others_wrote_to(self, source, place, opened, to):
        made = opened(place(to))
        source.copy_to(made, blobs=False)
        with made:
            DatasetVersion.create_new_dataset("mine")
        self.check_untouched(
            lambda: source.copy_to(made), made, ConflictError, "copy the other way, or into an empty engine"
        )
        with source:
            for name in "ab":
                DatasetVersion.create_new_dataset(name)
        self.check_untouched(lambda: source.copy_to(made), made, ConflictError, "that was written to")

    def test_from_a_log_that_is_behind(self, source, place, opened):
        old = opened(place("folder"))
        source.copy_to(old, blobs=False)
        with source:
            DatasetVersion.create_new_dataset("new")
        self.check_untouched(
            lambda: old.copy_to(source), source, ConflictError, "copy the other way, or into an empty engine"
        )
        empty = opened(place("folder"))
        self.check_untouched(lambda: empty.copy_to(source), source, ConflictError, "of log")

    def test_somebody_writes_to_the_target_meanwhile(self, source, place, opened, monkeypatch):
        monkeypatch.setattr(log_copy, "_GROUP_APPENDS", 2)
        made = opened(place("folder"))

        def write(*_):
            with made:
                DatasetVersion.create_new_dataset(uuid.uuid4().hex)

        with pytest.raises(ConflictError, match="another writer appended to it"):
            source.copy_to(made, blobs=False, callback=write)
        made.verify()

    @pytest.mark.parametrize("kind", ["memory", *PLACES])
    def test_into_itself(self, place, opened, tmp_path, kind):
        source = opened(place(kind))
        add(source, *numbered(0, 2))
        ways = [source]
        if kind == "folder":
            (tmp_path / "link").symlink_to(source.url)
            ways += [source.url, f"sqlite:///{source.url}/log.db", tmp_path / "link"]
        elif kind == "postgres":
            ways.append(source.url)
        for target in ways:
            self.check_untouched(
                lambda target=target: source.copy_to(target, blobs=False), source, UsageError, "into itself"
            )
        self.check_untouched(lambda: source.at(2).copy_to(source), source, UsageError, "into itself")

    def test_arguments(self, source, place, opened, tmp_path):
        made = opened(place("memory"))
        with pytest.raises(UsageError, match="pass blobs= when you connect to it"):
            source.copy_to(made, blobs=tmp_path / "b")
        with pytest.raises(UsageError, match="read-only"):
            source.copy_to(made.at(0))
        for wrong in (7, "ftp://host/a", ""):
            with pytest.raises(UsageError):
                source.copy_to(wrong)


class TestCutConnections:
    @pytest.fixture(autouse=True)
    def _hurry(self, monkeypatch):
        monkeypatch.setattr(database, "_WAITS", (0.001,) * 3)

    def test_an_answer_that_was_lost_is_found(self, source, postgres_url, opened):
        with cutting_proxy(postgres_url) as proxy:
            made = opened(proxy.url)
            proxy.arm(Cut.AFTER, 0, lambda _, body: b"COMMIT" in body)
            source.copy_to(made, blobs=False)
            assert proxy.has_cut
            check_equal(made, source)

    @pytest.mark.parametrize("cut", Cut)
    def test_calling_again_completes_it(self, place, postgres_url, opened, cut):
        source = opened(place("folder"))
        with cutting_proxy(postgres_url) as proxy:
            made = opened(proxy.url)
            for number in range(40):
                add(source, *numbered(3 * number, 3 * number + 3))
                proxy.arm(cut, number, lambda kind, _: kind in (QUERY, SYNC))
                for _ in range(3):
                    with suppress(StorageError):
                        source.copy_to(made)
                        break
                if not proxy.has_cut:
                    break
            assert number > 3
            check_equal(opened(postgres_url), source)


def alter(folder, statement, *values):
    with unguarded(folder) as connection:
        assert connection.execute(statement, values).rowcount == 1


def alter_body(folder, position):
    """Change an event, and the checksum with it: only the chain knows better."""
    packed = pack_batch("", 1, "", (), [b"\xc0"])
    checksum = body_checksum(position, packed.stored_hash)
    alter(
        folder,
        "UPDATE record_body SET body = ?, checksum = ? WHERE first_position = ?",
        packed.body,
        checksum,
        position,
    )


class TestDamage:
    """A damaged source is found on the way, with the position; what is recorded up to there is right."""

    @pytest.mark.parametrize(
        "appends", [8, *(pytest.param(number, marks=pytest.mark.long) for number in (1, 3, 4096))]
    )
    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ("UPDATE record_batch SET actor = 'me' WHERE first_position = ?", "was altered"),
            (
                "UPDATE record_batch SET recorded_at = 0 WHERE first_position = ?",
                "the time of the batch is earlier",
            ),
            ("UPDATE record_batch SET append_id = append_id + 1 WHERE first_position = ?", "is missing"),
            ("UPDATE record_batch SET previous_digest = digest WHERE first_position = ?", "does not follow"),
            (
                "UPDATE record_batch SET keys = zeroblob(length(keys)) WHERE first_position = ?",
                "keys of a batch",
            ),
            ("UPDATE record_batch SET topics = '[' WHERE first_position = ?", "header of a batch is damaged"),
            ("UPDATE record_body SET body = zeroblob(9) WHERE first_position = ?", "its checksum"),
            ("UPDATE record_body SET codec = 'lz4' WHERE first_position = ?", "its checksum"),
            ("UPDATE record_body SET body = 'text' WHERE first_position = ?", "its checksum"),
            ("DELETE FROM record_body WHERE first_position = ?", "lacks a batch"),
            ("DELETE FROM record_batch WHERE first_position = ?", "does not follow"),
            ("UPDATE append SET command_id = 'me' WHERE first_position = ?", "was altered"),
            ("UPDATE append SET is_last = 7 WHERE first_position = ?", "is damaged"),
            (
                "UPDATE append SET first_position = first_position - 1 WHERE first_position = ?",
                "outside of append",
            ),
            ("DELETE FROM append WHERE first_position = ?", "is missing"),
            (alter_body, "was altered"),
        ],
    )
    def test_is_found(self, rich, tmp_path, opened, place, monkeypatch, change, match, appends):
        monkeypatch.setattr(log_copy, "_GROUP_APPENDS", appends)
        folder = shutil.copytree(rich, tmp_path / "damaged")
        source = opened(folder)
        # A frame batch in the middle, the first of its append.
        headers = {header.first_position: header for header in source.log.headers()}
        position = next(
            append.first_position
            for append in source.log.appends(gt=5)
            if headers[append.first_position].topics == ("FrameAdded",)
        )
        if callable(change):
            change(folder, position)
        else:
            alter(folder, change, position)
        made = opened(place("folder"))
        with pytest.raises(IntegrityError, match=match) as found:
            source.copy_to(made, blobs=False)
        assert found.value.position is not None
        assert abs(found.value.position - position) <= 5
        assert str(folder) in str(found.value)
        head = made.log.head()
        assert head.position < position
        made.verify()
        with closing(framelode.connect(rich)) as intact:
            assert head.position == 0 or intact.log.batch_at(head.position).digest == head.digest
            intact.copy_to(made, blobs=False)
            check_equal(made, intact)

    def test_a_forged_history_is_another_one(self, rich, tmp_path, opened, place):
        made = opened(place("folder"))
        with closing(framelode.connect(rich)) as intact:
            intact.copy_to(made, blobs=False)
        folder = shutil.copytree(rich, tmp_path / "forged")
        forge(folder, lambda batches, *_: batches[3].update(actor="somebody else"))
        with pytest.raises(ConflictError, match="that was written to"):
            opened(folder).copy_to(made, blobs=False)


class TestBlobs:
    @pytest.fixture
    def s3(self, monkeypatch):
        def prefix():
            for name, value in s3_environment().items():
                monkeypatch.setenv(name, value)
            return s3_prefix()

        return prefix

    @pytest.fixture
    def blobs(self, tmp_path, s3):
        """Return a function that makes up a new place for blobs."""

        def new(kind):
            made = uuid.uuid4().hex
            return {"folder": tmp_path / made, "memory": f"memory://{made}"}.get(kind) or s3()

        return new

    @pytest.mark.parametrize(("a", "b"), [("folder", "s3"), ("s3", "memory")])
    def test_between_stores(self, opened, place, blobs, a, b):
        source, target = (opened(place("folder"), blobs=blobs(kind)) for kind in (a, b))
        digests = put(source, *"abc", "large" * 500_000)
        put(source, "nobody names it")
        add(source, named("f", *digests[:3]), named("g", *digests[2:]))
        told = []
        done = source.copy_to(target, callback=lambda *each: told.append(each))
        assert (done.blobs, done.blob_bytes) == (4, 3 + 2_500_000)
        assert told[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert stored(target) == set(digests)
        assert target.verify(blobs=True).blobs == 4
        again = source.copy_to(target)
        assert (again.blobs, again.blob_bytes, again.events) == (0, 0, 0)

    def test_are_there_before_the_events_that_name_them(self, opened, place, monkeypatch):
        monkeypatch.setattr(log_copy, "_GROUP_APPENDS", 1)
        source, target = opened(place("folder")), opened(place("folder"))
        for number in range(5):
            (digest,) = put(source, str(number))
            add(source, named(f"f{number}", digest))
        with source:
            DatasetVersion.get_current(dataset_name="d").delete_frames(["f2"])
        restore = target.log.restore
        seen = set()

        def watched(uuid, after, appends):
            for append in appends:
                for header, batch in append.batches:
                    events = list(log_copy.Body(header.first_position, batch.codec, batch.body).events())
                    assert digests_named(events) <= stored(target)
                    seen.update(digests_named(events))
            restore(uuid, after, appends)

        monkeypatch.setattr(target.log, "restore", watched)
        source.copy_to(target)
        assert len(seen) == 5

    def test_missing_and_damaged_ones_are_listed(self, opened, place):
        source, url = opened(place("folder")), place("folder")
        good, missing, damaged, short = put(source, "good", "missing", "damaged", "short")
        add(source, named("f", good, missing, damaged), named("g", short))
        source.blobs.delete([missing])
        folder = source.blobs.place.folder
        (folder / damaged[:2] / damaged).write_bytes(b"demaged")
        (folder / short[:2] / short).write_bytes(b"")
        done = source.copy_to(url)
        assert (done.missing_blobs, done.damaged_blobs) == ([missing], sorted([damaged, short]))
        assert (done.blobs, done.position) == (1, source.log.head().position)
        made = opened(url)
        assert stored(made) == {good}
        for content in (b"missing", b"damaged", b"short"):
            source.blobs.put(content, known=())
        done = source.copy_to(made)
        assert (done.blobs, done.missing_blobs, done.damaged_blobs) == (3, [], [])
        assert made.verify(blobs=True).blobs == 4

    def test_collected_ones_are_not_missed_and_condemned_ones_come_along(self, opened, place):
        source, made = opened(place("folder")), opened(place("folder"))
        collected, condemned, restored, kept = put(source, "collected", "condemned", "restored", "kept")
        add(source, *(named(digest, digest) for digest in (collected, condemned, restored, kept)))
        with source:
            draft = DatasetVersion.get_current(dataset_name="d")
            draft.delete_frames([collected, restored])
            for _ in range(2):
                source.gc(NOW, young=NOW, dry_run=False)
            put(source, "restored")
            draft.add_frames([named("again", restored)])
            draft.delete_frames([condemned])
        source.gc(NOW, young=NOW, dry_run=False)
        done = source.copy_to(made)
        assert (done.missing_blobs, done.damaged_blobs) == ([], [])
        assert stored(made) == {condemned, restored, kept}
        check_equal(made, source)
        assert source.copy_to(made).events == 0
        report = made.gc(NOW, young=NOW, dry_run=False)
        assert (report.collected, report.condemned) == ([condemned], [])

    def test_what_is_there_half_is_sent_again(self, opened, place):
        source, made = opened(place("folder")), opened(place("folder"))
        digests = put(source, "whole", "half")
        add(source, named("f", *digests))
        put(made, "whole")
        path = made.blobs.place.folder / digests[1][:2] / digests[1]
        path.parent.mkdir(parents=True)
        path.write_bytes(b"ha")
        assert source.copy_to(made).blobs == 1
        assert made.verify(blobs=True).blobs == 2

    @pytest.mark.parametrize("side", ["source", "target"])
    def test_a_store_that_refuses_ends_the_copy(self, opened, place, monkeypatch, side):
        source, made = opened(place("folder")), opened(place("folder"))
        add(source, named("f", *put(source, "a")))
        engine, step = (source, "open") if side == "source" else (made, "move")

        def refuse(*_):
            raise BackendError("no more today", permanent=True)

        with monkeypatch.context() as patch:
            patch.setattr(type(engine.blobs.place), step, refuse)
            with pytest.raises(StorageError, match="no more today"):
                source.copy_to(made)
        assert made.log.head().position == 0
        assert source.copy_to(made).blobs == 1

    def test_no_blobs(self, opened, place, tmp_path):
        source, made = opened(place("folder")), opened(place("folder"))
        add(source, named("f", *put(source, "a")))
        done = source.copy_to(made, blobs=False)
        assert (done.blobs, done.missing_blobs) == (0, [])
        assert len(made.missing_blobs()) == 1
        assert source.copy_to(made).blobs == 1
        made.verify(blobs=True)

    def test_a_place_for_them_is_asked_for_and_remembered(self, opened, place, tmp_path):
        source, url = opened(place("folder")), place("postgres")
        add(source, *numbered(0, 2))
        assert source.copy_to(url).events > 0
        add(source, named("f", *put(source, "a")))
        with pytest.raises(UsageError, match="has no place for blobs: pass blobs="):
            source.copy_to(url)
        assert source.copy_to(url, blobs=tmp_path / "b").blobs == 1
        assert source.copy_to(url).blobs == 0
        with closing(framelode.connect(url)) as made:
            assert len(stored(made)) == 1
            made.verify(blobs=True)

    def test_one_store_for_both(self, opened, place, tmp_path):
        source = opened(place("folder"), blobs=tmp_path / "b")
        made = opened(place("folder"), blobs=tmp_path / "b")
        add(source, named("f", *put(source, "a")))
        assert source.copy_to(made).blobs == 0
        made.verify(blobs=True)


class TestPast:
    def test_a_prefix(self, source, place, opened):
        made = opened(place("folder"))
        for append in list(source.log.appends())[::7]:
            position = append.last_position
            done = source.at(position).copy_to(made, blobs=False)
            assert (done.position, made.log.head().position) == (position, position)
            made.verify()
        source.copy_to(made, blobs=False)
        check_equal(made, source)

    def test_within_an_append(self, source, place, opened):
        made = opened(place("folder"))
        append = next(
            append for append in source.log.appends() if append.last_position > append.first_position
        )
        with pytest.raises(
            UsageError, match=f"use position {append.first_position - 1} or {append.last_position}"
        ):
            source.at(append.first_position).copy_to(made, blobs=False)
        assert made.log.head().position == 0
        assert source.at(0).copy_to(made).events == 0

    def test_blobs_of_the_past_alone(self, opened, place):
        source, made = opened(place("folder")), opened(place("folder"))
        early, late = put(source, "early", "late")
        add(source, named("f", early))
        position = source.log.head().position
        add(source, named("g", late))
        assert source.at(position).copy_to(made).blobs == 1
        assert stored(made) == {early}


class TestCommandLine:
    @pytest.fixture
    def home(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with closing(framelode.connect("one")) as engine:
            add(engine, *numbered(0, 4), named("f", *put(engine, "a", "b")))
        return tmp_path

    def test_there_and_back(self, home, postgres_url):
        said = run("copy", "one", postgres_url, "--blobs", "pg-blobs", "--verify").stdout
        assert "events copied, now at position" in said
        assert "2 blobs, 2 bytes" in said
        assert "already present" in run("copy", "one", postgres_url).stdout
        done = run_json("copy", postgres_url, "three")
        assert (done["blobs"], done["present"], done["missing_blobs"]) == (2, 0, [])
        assert run_json("--engine", "three", "ls") == run_json("--engine", "one", "ls")
        run("--engine", "three", "verify", "--blobs")
        assert (home / "pg-blobs").is_dir()

    def test_missing_blobs(self, home):
        with closing(framelode.connect("one")) as engine:
            gone, *_ = stored(engine)
            engine.blobs.delete([gone])
        done = run("copy", "one", "two", status=1)
        assert f"blob {gone} is missing" in done.stderr
        assert "1 blobs" in done.stdout
        assert run_json("copy", "one", "two", status=1)["missing_blobs"] == [gone]
        run("copy", "one", "four", "--verify", status=3)
        run("copy", "one", "three", "--no-blobs", "--verify")

    def test_a_moment(self, home):
        with closing(framelode.connect("one")) as engine:
            position = next(engine.log.appends(gt=1)).last_position
        assert run_json("copy", "one", "two", "--as-of", position)["position"] == position
        assert run_json("copy", "one", "two")["present"] == position

    def test_exit_statuses(self, home):
        run("copy", "none", "two", status=2)
        assert not (home / "none").exists()
        run("copy", "one", "one", status=2)
        run("copy", "one", "one", "--blobs", "elsewhere", status=2)
        run("--engine", "one", "verify", "--blobs")
        run("copy", "one", "sqlite://", status=2)
        run("copy", "sqlite://", "one", status=2)
        run("copy", "one", "two", "--blobs", "b", "--no-blobs", status=2)
        run("--engine", "other", "init")
        with closing(framelode.connect("other")) as engine:
            add(engine, *numbered(0, 1))
        run("copy", "one", "other", status=5)
        run("copy", "one", "two")
        alter("one", "UPDATE record_batch SET actor = 'me' WHERE first_position = ?", 2)
        run("copy", "one", "new", status=3)

    def test_passwords_are_not_shown(self, home):
        url = "postgresql+psycopg://me:secret@127.0.0.1:1/db"
        assert "secret" not in run("copy", "one", url, status=6).stderr
