"""Any moment of the past reads as it was seen then: by position, by time, whole engines and single calls."""

from __future__ import annotations

import itertools
import pickle
import threading
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone

import histories
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from patience import join
from sizes import examples

import framelode
from framelode import DatasetVersion, NotFoundError, SingleFrame, UsageError
from framelode.adapters.sql.sqlite.database import SqliteDatabase
from framelode.engine.keys import KeyRow
from framelode.engine.log.moments import parse_moment
from framelode.engine.log.prefix import LogPrefix
from framelode.engine.times import utc
from framelode.projections.runner import Runner
from framelode.projections.states import snapshots
from framelode.projections.tables.catalog import Catalog
from framelode.projections.tables.stats import Stats

FIELDS = ["id", "meta", "sources", "rois", "context_id", "dataset", "saved", "saved_in_version"]
FIELDS += ["updated", "updated_in_version"]


NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - what is refused


def frame(number, *labels, **fields):
    made = SingleFrame(id=f"{number:032x}", source=f"s3://b/{number}.jpg", width=4, **fields)
    for label in labels:
        made.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=[label])
    return made


def shown(engine):
    """Return everything that the public API shows of an engine."""
    with engine:
        return [shown_dataset(dataset) for dataset in DatasetVersion.get_datasets()]


def shown_dataset(dataset):
    facts = (dataset.id, dataset.name, dataset.project, dataset.description, dataset.tags, dataset.created)
    versions = [shown_version(version) for version in dataset.versions()]
    current = DatasetVersion.get_current(dataset_id=dataset.id).version_id if versions else None
    return facts, current, versions


def shown_version(version):
    facts = (version.version_id, version.version_name, version.draft, version.comment, version.tags)
    facts += (version.get_parent(), version.get_metadata(), version.last_updated, version.fingerprint)
    return facts, len(version), version.get_stats().to_dict(), list(version.get_iterator(FIELDS))


def head(engine):
    return engine.log.head().position


class TestMoments:
    def test_every_read_takes_a_moment(self, engine, draft):
        draft.add_frames([frame(1, "cat"), frame(2, "dog")])
        draft.set_metadata({"a": 1})
        draft.set_masks_labels({(0, 0, 0): ["background"]})
        then = head(engine)
        print_ = draft.fingerprint
        draft.delete_frames([frame(2).id])
        draft.update_frames([frame(1, "bird", metadata={"x": 1}), frame(3)])
        draft.set_metadata({})
        child = DatasetVersion.create_snapshot(dataset_name="food")
        child.add_frames([frame(4)])
        DatasetVersion.create_new_dataset("drink")

        assert draft.get_single_frame(frame(1).id, as_of=then).annotations[0].labels == ["cat"]
        assert [one.id for one in draft.get_frames_by_ids([frame(2).id], as_of=then)] == [frame(2).id]
        assert [one.id for one in draft.get_frames_by_source("s3://b/2.jpg", as_of=then)] == [frame(2).id]
        assert [one.id for one in draft.get_iterator(as_of=then)] == [frame(1).id, frame(2).id]
        assert [one["id"] for one in draft.get_iterator(["id"], order_by="context", as_of=then)] == [
            frame(1).id,
            frame(2).id,
        ]
        assert draft.get_stats(as_of=then).labels == [
            {"name": "cat", "count": 1},
            {"name": "dog", "count": 1},
        ]
        assert draft.get_metadata(as_of=then)["a"] == 1
        assert draft.get_masks_labels(as_of=then) == {(0, 0, 0): ("background",)}
        assert draft.get_parent(as_of=then) is None
        assert draft.at(then).fingerprint == print_ != draft.fingerprint
        assert [one.name for one in DatasetVersion.get_datasets(as_of=then)] == ["food"]
        assert DatasetVersion.get_versions("food", as_of=then) == [draft.at(then)]
        assert DatasetVersion.get_current(dataset_name="food", as_of=then) == draft.at(then)
        assert DatasetVersion.get_version(dataset_name="food", as_of=then).draft
        assert engine.dataset("food").versions(as_of=then) == [draft.at(then)]
        assert engine.dataset("food").at(then).versions() == [draft.at(then)]
        assert engine.at(then).version(draft.version_id) == draft.at(then) != draft
        assert engine.at(then).dataset("food") != engine.dataset("food")
        chosen = {"dataset_name": "food", "version_name": "Current", "as_of": then}
        assert DatasetVersion.get_single_frame(frame(2).id, **chosen).id == frame(2).id
        assert child.get_frames_by_source("*", **chosen) == list(draft.at(then))
        assert draft.get_stats(as_of=None) == draft.get_stats()

    def test_a_position_may_lie_within_a_batch(self, engine, draft):
        draft.add_frames([frame(number, "cat") for number in range(10)], refresh_version_stats=False)
        first = head(engine) - 9
        assert engine.log.batch_at(first).count == 10
        for count in range(11):
            then = draft.at(first + count - 1)
            assert [one.id for one in then] == [frame(number).id for number in range(count)]
            assert then.get_stats().total == len(then) == count
            assert len(list(then.get_iterator(FIELDS))) == count
            prefix = engine.at(first + count - 1).log
            assert sum(header.count for header in prefix.headers()) == prefix.head().position
            assert [append.last_position for append in prefix.appends()][-1] == prefix.head().position
            assert dict(prefix.first_positions(range(1, first + 10))).get(first, 0) == count

    def test_statistics_at_the_first_position_of_a_batch(self, engine, draft):
        """They are counted back from the present: most of the version is earlier."""
        for numbers, label in ((range(20), "cat"), (range(20, 25), "dog")):
            draft.add_frames([frame(number, label) for number in numbers], refresh_version_stats=False)
        stats = draft.at(head(engine) - 4).get_stats()
        assert stats.total == 21
        assert stats.labels == [{"name": "cat", "count": 20}, {"name": "dog", "count": 1}]

    def test_a_time_means_all_that_was_recorded_until_then(self, engine, draft):
        draft.add_frames([frame(1)])
        batches = list(engine.log.headers())
        assert engine.at(utc(batches[0].recorded_at - 1)).as_of == 0
        for batch in batches:
            last = max(one.last_position for one in batches if one.recorded_at == batch.recorded_at)
            for late in (0, 1, 999_999):
                assert engine.at(utc(batch.recorded_at + late)).as_of == last
        then = utc(batches[-1].recorded_at)
        assert engine.at(then.astimezone(timezone(timedelta(hours=-9)))).as_of == head(engine)
        assert engine.at(datetime.max.replace(tzinfo=timezone(-timedelta(hours=23)))).as_of == head(engine)
        assert engine.at(datetime.min.replace(tzinfo=timezone(timedelta(hours=23)))).as_of == 0

    @pytest.mark.parametrize("moment", [-1, 10**9, True, 1.0, "1", date(2026, 1, 1), NAIVE, b""])
    def test_what_is_no_moment_is_refused(self, engine, draft, moment):
        calls = [engine.at, draft.at, lambda one: draft.get_stats(as_of=one)]
        for call in calls:
            with pytest.raises(UsageError) as caught:
                call(moment)
        message = str(caught.value)
        assert str(moment).replace(" ", "T") in message or repr(moment) in message
        if isinstance(moment, datetime):
            assert "replace(tzinfo=timezone.utc)" in message
        if moment == 10**9:
            assert f"0 to {head(engine)}" in message

    def test_numbers_of_numpy_are_positions(self, engine, draft):
        np = pytest.importorskip("numpy")
        assert engine.at(np.int64(2)).as_of == 2
        assert type(engine.at(np.uint64(2)).as_of) is int

    def test_an_empty_log_has_position_0(self, engine):
        assert shown(engine.at(0)) == shown(engine.at(datetime.now(UTC))) == []
        with pytest.raises(UsageError, match="0 to 0"):
            engine.at(1)

    def test_a_moment_within_the_past_is_not_later(self, engine, draft):
        draft.add_frames([frame(1)])
        past = engine.at(3)
        assert past.at(2) is engine.at(2)
        assert past.at(None) is past
        assert past.at(3) is past
        assert past.at(datetime.now(UTC)) is past
        with pytest.raises(UsageError, match="0 to 3"):
            past.at(4)

    def test_what_was_not_there_is_not_found(self, engine, draft):
        born = head(engine)
        draft.add_frames([frame(1)])
        child = DatasetVersion.create_snapshot(dataset_name="food")
        for call in (
            lambda: child.at(born),
            lambda: child.get_stats(as_of=born),
            lambda: DatasetVersion.get_version(dataset_name="food", version_id=child.version_id, as_of=born),
            lambda: engine.at(0).dataset("food"),
            lambda: engine.dataset("food").at(0),
        ):
            with pytest.raises(NotFoundError, match=r"at position \d+ \((2023|before)"):
                call()
        with pytest.raises(NotFoundError):
            draft.get_single_frame(frame(1).id, as_of=born)

    def test_a_removed_version_is_there_before_it_was_removed(self, engine, draft):
        draft.add_frames([frame(1, "cat")])
        then = head(engine)
        before = shown(engine)
        DatasetVersion.remove_version(version_id=draft.version_id)
        with pytest.raises(NotFoundError, match="was removed;"):
            draft.get_stats()
        with pytest.raises(NotFoundError, match="was removed already at position"):
            draft.get_stats(as_of=head(engine))
        assert draft.get_single_frame(frame(1).id, as_of=then).id == frame(1).id
        assert draft.get_stats(as_of=then).total == 1
        assert shown(engine.at(then)) == before


class TestViews:
    def test_nothing_can_be_written(self, engine, draft, tmp_path):
        draft.add_frames([frame(1)])
        end = head(engine)
        past = engine.at(end)
        then = past.version(draft.version_id)
        blob = engine.blobs.put(b"a").digest
        writes = [
            lambda: then.add_frames([frame(2)]),
            lambda: then.add_frames([]),
            lambda: then.update_frames([frame(1)]),
            lambda: then.update_frames([frame(1)], without_fields=[]),
            lambda: then.delete_frames(["nobody"]),
            then.commit_version,
            then.publish_version,
            lambda: then.set_metadata({}),
            lambda: then.set_masks_labels({}),
            lambda: then.rename("x"),
            lambda: then.describe("x"),
            lambda: then.set_tags([]),
            then.create_snapshot,
            lambda: past.dataset("food").rename("x"),
            lambda: DatasetVersion.create_new_dataset("x"),
            lambda: DatasetVersion.create_version("x", dataset_name="food"),
            lambda: DatasetVersion.remove_version(version_id=draft.version_id),
            past.gc,
            past.scrub,
            past.verify,
            past.rebuild,
            past.checkpoint,
            lambda: past.export_log(tmp_path / "log.jsonl"),
            lambda: past.import_log(tmp_path / "log.jsonl"),
            past.log.exclusive,
            lambda: past.log.append(None),
            lambda: past.blobs.put(b"b"),
            lambda: past.blobs.put_files([]),
            lambda: past.blobs.delete([blob]),
            past.blobs.clean,
        ]
        with past:
            for write in writes:
                with pytest.raises(UsageError, match=rf"at position {end} .*read-only"):
                    write()
            with pytest.raises(UsageError, match="read-only"), then.get_bulk_context() as bulk:
                bulk.add_frame(frame(3))
        assert head(engine) == end
        assert past.blobs.read(blob) == b"a"

    def test_nothing_is_sent_or_deleted_either(self, engine, draft, tmp_path):
        (tmp_path / "root").mkdir()
        file = tmp_path / "root" / "a.jpg"
        file.write_bytes(b"a")
        place = {"local_dataset_root_path": str(tmp_path / "root"), "dataset_name": "food"}
        place["auto_upload_destination"] = f"file://{tmp_path}/sent"
        there = DatasetVersion.get_version(**place)
        assert there.add_frames([SingleFrame(source=str(file))]) == []
        sent = sorted((tmp_path / "sent").rglob("*"))
        file.with_name("b.jpg").write_bytes(b"b")
        then = DatasetVersion.get_version(**place, as_of=head(engine))
        with pytest.raises(UsageError, match="read-only"):
            then.add_frames([SingleFrame(source=str(file.with_name("b.jpg")))])
        with pytest.raises(UsageError, match="read-only"):
            then.delete_frames([next(iter(then)).id], delete_sources=True)
        assert sorted((tmp_path / "sent").rglob("*")) == sent
        assert file.exists()

    def test_the_present_goes_on_beside_a_view(self, engine, draft):
        draft.add_frames([frame(1, "cat")])
        past, before = engine.at(head(engine)), shown(engine)
        assert shown(past) == before
        for number in range(2, 20):
            draft.add_frames([frame(number, "dog"), frame(1, "dog", "cat")])
            assert shown(past) == before
        assert engine.at(past.as_of) is past
        DatasetVersion.create_snapshot(dataset_name="food")
        assert shown(past) == before

    def test_the_last_moments_are_held_and_a_handle_holds_its_own(self, engine, draft):
        draft.add_frames([frame(number) for number in range(20)])
        early = draft.at(6)
        assert engine.at(6) is engine.at(6)
        views = {number: id(engine.at(number)) for number in range(7, 20)}
        assert [one.id for one in early] == [one.id for one in draft.get_iterator(as_of=6)]
        assert engine.at(6).session is early._session
        assert id(engine.at(19)) == views[19]
        assert len(engine.session._cache._recent) == 8

    def test_many_threads_ask_for_many_moments(self, engine, draft):
        draft.add_frames([frame(number, "cat") for number in range(30)], refresh_version_stats=False)
        first = head(engine) - 30

        def read(number):
            then = draft.at(first + number)
            with engine.at(first + number):
                same = DatasetVersion.get_current(dataset_name="food")
                return number, len(then), then.get_stats().total, len(list(same))

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(read, [n % 31 for n in range(93)]))
        assert all(set(counts) == {counts[0]} for counts in found)

    def test_a_view_is_the_engine_of_a_block(self, engine, draft):
        draft.add_frames([frame(1)])
        with engine.at(0) as nothing:
            assert framelode.current_engine() is nothing
            assert DatasetVersion.get_datasets() == []
            with engine:
                assert len(DatasetVersion.get_datasets()) == 1
            assert DatasetVersion.get_datasets() == []
        assert framelode.current_engine() is engine

    def test_views_show_themselves(self, engine, draft):
        then = head(engine)
        draft.add_frames([frame(1, "cat")])
        draft.rename("later")
        assert repr(engine.at(then)).startswith(f"Engine({engine.url!r}) at position {then} (2023-")
        assert repr(draft.at(then)) == repr(draft).replace("later", "Current")
        assert ">cat<" in draft._repr_html_()
        assert ">cat<" not in draft.at(then)._repr_html_()
        assert "Current" in engine.dataset("food").at(then)._repr_html_()

    def test_a_collected_blob_says_so(self, engine, draft):
        digest = engine.blobs.put(b"a").digest
        one = SingleFrame(source=f"blobs:{digest}/a.jpg")
        draft.add_frames([one])
        then = head(engine)
        assert engine.at(then).blobs.read(digest) == b"a"
        draft.delete_frames([one.id])
        none = timedelta(0)
        engine.gc(none, young=none, dry_run=False)
        engine.gc(none, young=none, dry_run=False)
        past = engine.at(then).blobs
        for read in (past.read, past.open, past.size, engine.blobs.read):
            with pytest.raises(
                NotFoundError, match=rf"collection deleted it at position {head(engine)} \(2023"
            ):
                read(digest)
        with pytest.raises(NotFoundError, match=r"there is no blob 0a.*\)$"):
            past.read("0a" * 32)
        engine.blobs.put(b"a")
        assert past.read(digest) == b"a"


class TestConnect:
    def make(self, folder, ticks):
        with framelode.connect(folder, clock=ticks.clock, new_id=ticks.new_id) as engine:
            DatasetVersion.create_new_dataset("food")
            draft = DatasetVersion.get_current(dataset_name="food")
            draft.add_frames([frame(1)])
            then = head(engine)
            draft.add_frames([frame(2)])
            engine.close()
        return then, draft.version_id

    def test_a_whole_engine_at_a_moment(self, tmp_path, ticks):
        then, version_id = self.make(tmp_path / "e", ticks)
        with framelode.connect(tmp_path / "e", as_of=then) as engine:
            assert framelode.current_engine() is engine
            assert engine.url == str(tmp_path / "e")
            (version,) = DatasetVersion.get_versions("food")
            assert (version.version_id, len(version)) == (version_id, 1)
            with pytest.raises(UsageError, match="read-only"):
                DatasetVersion.create_new_dataset("drink")
            copy = pickle.loads(pickle.dumps(version))
            assert copy == version
            assert len(copy) == 1
            copy._session.close()
            engine.close()
        with pytest.raises(UsageError):
            framelode.current_engine()
        with pytest.raises(UsageError, match="is closed"):
            len(version)

    def test_nothing_is_made_where_nothing_is(self, tmp_path):
        for place in (tmp_path / "new", tmp_path, "sqlite://"):
            with pytest.raises(UsageError, match="there is no engine at"):
                framelode.connect(place, as_of=0)
        assert list(tmp_path.iterdir()) == []

    def test_a_moment_that_is_none_leaves_nothing_open(self, tmp_path, ticks):
        then, _ = self.make(tmp_path, ticks)
        for moment in (then + 100, NAIVE, "now"):
            with pytest.raises(UsageError):
                framelode.connect(tmp_path, as_of=moment)
        for place in ("projections", "blobs"):
            with pytest.raises(UsageError, match="read-only"):
                framelode.connect(tmp_path, as_of=then, **{place: tmp_path / "x"})
        with pytest.raises(UsageError):
            framelode.current_engine()
        assert not (tmp_path / "x").exists()

    def test_closing_the_engine_closes_its_views(self, tmp_path, ticks):
        self.make(tmp_path, ticks)
        engine = framelode.connect(tmp_path)
        version = engine.at(head(engine)).dataset("food").versions()[0]
        engine.at(3).close()
        assert len(version) == 2
        engine.close()
        for read in (lambda: version.version_name, lambda: len(version), lambda: engine.at(1)):
            with pytest.raises(UsageError, match="is closed"):
                read()


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("0", 0),
            (" 12 ", 12),
            ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
            ("2026-03-01 12:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
            ("2026-03-01T12:00:00.000001+00:00", datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)),
        ],
    )
    def test_positions_and_times(self, text, moment):
        assert parse_moment(text) == moment

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "-1",
            "last week",
            "1.5",
            "9" * 5000,
            "9999999 days ago",
            "999999 weeks ago",
            "2026-02-30",
            "\u0661",
            "2026-13-01T00:00Z",
        ],
    )
    def test_other_texts_are_refused(self, text):
        with pytest.raises(UsageError, match="is not a point in time"):
            parse_moment(text)

    @pytest.mark.parametrize(
        ("text", "start", "end"),
        [
            ("2026-03-01", "2026-03-01T00:00:00", "2026-03-01T23:59:59.999999"),
            ("today", "2026-11-20T00:00:00", "2026-11-20T23:59:59.999999"),
            (" Yesterday ", "2026-11-19T00:00:00", "2026-11-19T23:59:59.999999"),
        ],
    )
    def test_a_day_is_one_of_the_local_time_zone(self, text, start, end):
        now = datetime(2026, 11, 20, 9, 30).astimezone()
        for ends, expected in ((False, start), (True, end)):
            moment = parse_moment(text, day_ends=ends, now=now)
            assert moment == datetime.fromisoformat(expected).astimezone()

    @pytest.mark.parametrize(
        ("text", "before"),
        [
            ("now", {}),
            ("2 days ago", {"days": 2}),
            ("1 Hour  ago", {"hours": 1}),
            ("30 seconds ago", {"seconds": 30}),
            ("3 weeks ago", {"weeks": 3}),
        ],
    )
    def test_a_time_ago(self, text, before):
        now = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
        assert parse_moment(text, now=now) == now - timedelta(**before)

    @pytest.mark.parametrize("text", ["2026-03-01T12:00"])
    def test_a_time_needs_its_offset(self, text):
        with pytest.raises(UsageError, match="no time zone: write 2026-03-01T"):
            parse_moment(text)

    @given(st.text(max_size=30))
    def test_any_text_is_a_moment_or_refused(self, text):
        try:
            moment = parse_moment(text)
        except UsageError:
            return
        assert isinstance(moment, int) or moment.utcoffset() is not None


class Recording:
    """An engine that remembers after each step what it showed."""

    def __init__(self, engine):
        self.engine = engine
        self.seen = {}

    def remember(self):
        self.seen[head(self.engine)] = shown(self.engine)

    def check(self, engine):
        for position, before in self.seen.items():
            assert shown(engine.at(position)) == before
        recorded = {header.last_position: header.recorded_at for header in engine.log.headers()}
        for at in set(recorded.values()):
            position = max(one for one, when in recorded.items() if when <= at)
            for time in (at, min((when for when in recorded.values() if when > at), default=at + 2) - 1):
                assert engine.at(utc(time)).as_of == position


more_steps = st.lists(
    st.one_of(
        *(st.tuples(st.just("add"), histories.frame_lists),) * 3,
        st.tuples(st.just("merge"), histories.frame_lists, histories.without_fields),
        st.tuples(st.just("delete"), histories.id_lists),
        st.tuples(st.sampled_from(["commit", "snapshot", "branch", "remove", "rename", "look"])),
        st.tuples(st.just("metadata"), histories.metadata),
    ),
    max_size=14,
)


class Player:
    """Plays steps, each on the draft made last."""

    def __init__(self, engine, dataset_name):
        self.dataset = DatasetVersion.create_new_dataset(dataset_name)
        self.engine = engine
        self.published = None
        self.draft = DatasetVersion.get_current(dataset_id=self.dataset.id)

    def play(self, step, *arguments):
        getattr(self, step)(*arguments)

    def add(self, frames):
        self.draft.add_frames(frames, batch_size=2, refresh_version_stats=False)

    def merge(self, frames, without):
        options = {"without_fields": without, "batch_size": 2, "refresh_version_stats": False}
        self.draft.update_frames(frames, **options)

    def delete(self, ids):
        self.draft.delete_frames(ids, batch_size=2, refresh_version_stats=False)

    def commit(self):
        self.draft.commit_version()

    def metadata(self, metadata):
        self.draft.set_metadata(metadata)

    def snapshot(self):
        self.published = self.draft.version_id
        self.draft = DatasetVersion.create_snapshot(version_id=self.published, dataset_id=self.dataset.id)

    def branch(self):
        parents = [self.published] if self.published else None
        name = f"branch {head(self.engine)}"
        self.draft = DatasetVersion.create_version(
            name, dataset_id=self.dataset.id, parent_version_ids=parents
        )

    def remove(self):
        DatasetVersion.remove_version(version_id=self.draft.version_id)
        self.branch()

    def rename(self):
        self.draft.rename(f"renamed {head(self.engine)}")
        self.dataset.rename(f"renamed {head(self.engine)}")
        self.dataset.set_tags([str(head(self.engine))])

    def look(self):
        """Look back, so that states of the past are held while the present goes on."""
        for position in {head(self.engine), head(self.engine) // 2}:
            shown(self.engine.at(position))


@given(steps=more_steps, same_time=st.integers(1, 4), minimum=st.sampled_from([1, 3, 10**6]))
@examples(4, 15)
def test_every_moment_is_what_was_seen_then(tmp_path_factory, steps, same_time, minimum):
    folder = tmp_path_factory.mktemp("engine")
    looks = itertools.count()
    clock = lambda: 1_700_000_000_000_000 + next(looks) // same_time * 7
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(snapshots, "MINIMUM_EVENTS", minimum)
        with framelode.connect(folder, clock=clock) as engine:
            recording = Recording(engine)
            recording.remember()
            player = Player(engine, "d")
            recording.remember()
            for step in steps:
                player.play(*step)
                recording.remember()
            recording.check(engine)
            engine.rebuild()
            recording.check(engine)
            engine.close()
        for file in folder.glob("projections.db*"):
            file.unlink()
        with framelode.connect(folder, clock=clock) as engine:
            recording.check(engine)
            engine.verify()
            engine.close()


def tables(projection, store):
    """Return the rows of all tables of a projection."""
    with store.read() as connection:
        return [
            sorted(map(tuple, connection.execute(sa.select(each))), key=repr)
            for each in projection.metadata.sorted_tables
        ]


def folded(prefix):
    """Return the catalog and the statistics of every version, folded over a prefix of the log from its start."""
    with closing(SqliteDatabase(None)) as scratch:
        catalog, stats = Catalog(prefix), Stats(prefix)
        Runner(prefix, scratch, [catalog, stats]).catch_up_all()
        counts = defaultdict(Counter)
        for version_id, _, kind, name, count in tables(stats, scratch)[0]:
            counts[version_id][kind, name] = count
        return tables(catalog, scratch), counts


def events_of(log):
    """Return every event of a log: stream, version, key row and encoded event."""
    found = []
    for header in log.headers():
        (body,) = log.bodies([header.first_position])
        keys = log.rows_at([header.first_position])[header.first_position]
        assert len(body) == header.count
        assert len(keys) in {0, header.count * KeyRow.itemsize}
        for index, event in enumerate(body.events()):
            key = keys[index * KeyRow.itemsize : (index + 1) * KeyRow.itemsize]
            found.append((header.stream_id, header.first_version + index, key, event))
    return found


@given(steps=more_steps, first=st.integers(0, 4))
@examples(8, 20)
def test_any_position_is_a_fold_of_the_events_up_to_it(steps, first):
    """Positions that nobody ever saw, within appends and batches, too."""
    with warnings.catch_warnings(), framelode.connect("sqlite://") as engine:
        warnings.simplefilter("ignore")
        player = Player(engine, "d")
        for step in steps:
            player.play(*step)
        for position in range(first, head(engine) + 1, 5):
            past = engine.at(position)
            catalog, counts = folded(LogPrefix(engine.log, position))
            with past.session.read_catalog() as connection:
                rows = past.session.catalog.versions(connection, removed=True)
            assert tables(past.session.catalog, past.session._view.database) == catalog
            for row in rows:
                fresh = engine.session.states.at(row.version_id, position)
                found = past.session.states.current(row.version_id)
                assert found.settled().positions.tolist() == fresh.settled().positions.tolist()
                assert (found.total, found.batches.counts.sum()) == (
                    fresh.total,
                    fresh.batches.counts.sum(),
                )
                assert past.session.version_totals().get(row.version_id, 0) == fresh.total
                assert past.session.version_counts(row.version_id) == counts[row.version_id]
        engine.close()


def test_a_snapshot_helps_unless_it_is_later(tmp_path, ticks, monkeypatch):
    monkeypatch.setattr(snapshots, "MINIMUM_EVENTS", 1)

    def after(change):
        """Change the draft, then read it at the end of the first ten frames in another process; says what helped."""
        with framelode.connect(tmp_path, clock=ticks.clock, new_id=ticks.new_id) as engine:
            change(DatasetVersion.get_current(dataset_name="food"))
            engine.close()
        with framelode.connect(tmp_path) as engine:
            draft = DatasetVersion.get_current(dataset_name="food")
            loaded, load = [], engine.session.snapshots.load
            note = lambda *given, **more: loaded.append(load(*given, **more)) or loaded[-1]
            monkeypatch.setattr(engine.session.snapshots, "load", note)
            first = next(header.first_position for header in engine.log.headers(schema="frames.1"))
            assert [one.id for one in draft.at(first + 9)] == [frame(number).id for number in range(10)]
            engine.close()
        return [found is not None for found in loaded]

    with framelode.connect(tmp_path, clock=ticks.clock, new_id=ticks.new_id) as engine:
        DatasetVersion.create_new_dataset("food")
        engine.close()
    assert after(lambda draft: draft.add_frames([frame(n) for n in range(10)]) or list(draft)) == [True]
    assert after(lambda draft: draft.delete_frames([frame(3).id])) == [True]
    assert after(lambda draft: draft.add_frames([frame(n) for n in range(20, 90)]) or list(draft)) == [False]


@given(steps=more_steps)
@examples(6, 15)
def test_a_prefix_is_a_log_of_its_first_events(steps):
    with warnings.catch_warnings(), framelode.connect("sqlite://") as engine:
        warnings.simplefilter("ignore")
        player = Player(engine, "d")
        for step in steps:
            player.play(*step)
        whole = engine.log
        events, appends = events_of(whole), list(whole.appends())
        for position in range(len(events) + 1):
            prefix = LogPrefix(whole, position)
            assert events_of(prefix) == events[:position]
            assert prefix.head().position == position
            streams = {}
            for stream, version, *_ in events[:position]:
                streams[stream] = version
            for stream in {stream for stream, *_ in events}:
                assert prefix.stream_version(stream) == streams.get(stream)
                keys = [key for one, _, key, _ in events[:position] if one == stream]
                assert b"".join(page.keys for page in prefix.stream_rows(stream)) == b"".join(keys)
            for append in appends:
                found = prefix.find_append(append.command_id)
                assert (found is not None) == (append.first_position <= position)
            assert sum(len(list(prefix.headers(gt=at, lte=at + 1))) > 0 for at in range(position)) == position
            covered = [one.last_position - one.first_position + 1 for one in prefix.appends()]
            assert sum(covered) == position
            with pytest.raises(NotFoundError):
                prefix.batch_at(position + 1)
        engine.close()


def test_commands_of_several_parts_are_found_up_to_the_moment(engine, draft):
    draft.add_frames([frame(number) for number in range(20)], batch_size=1, command_id="c")
    parts = [one for one in engine.log.appends() if one.command_id == "c"]
    assert [one.part for one in parts] == [0, 1, 2]
    prefix = engine.at(parts[1].first_position + 3).log
    found = prefix.find_append("c")
    assert (found.part, found.is_last, found.last_position) == (1, False, parts[1].first_position + 3)
    assert prefix.find_append("c", 0) == parts[0]
    assert prefix.find_append("c", 2) is None
    assert engine.at(parts[0].first_position - 1).log.find_append("c") is None


def test_a_prefix_opens_in_another_process(tmp_path, ticks):
    with framelode.connect(tmp_path, clock=ticks.clock, new_id=ticks.new_id) as engine:
        DatasetVersion.create_new_dataset("food")
        DatasetVersion.get_current(dataset_name="food").add_frames([frame(1), frame(2)])
        prefix = engine.at(6).log
        with pickle.loads(pickle.dumps(prefix.opener()))() as opened:
            assert events_of(opened) == events_of(prefix)
        engine.close()


def test_readers_of_the_past_beside_a_writer(tmp_path, ticks):
    with framelode.connect(tmp_path, clock=ticks.clock, new_id=ticks.new_id) as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        draft.add_frames([frame(number, "cat") for number in range(10)])
        then, before = head(engine), shown(engine)
        done = threading.Event()
        problems = []

        def look():
            while not done.is_set():
                if shown(engine.at(then)) != before:
                    problems.append("the past has changed")

        looker = threading.Thread(target=look)
        looker.start()
        for number in range(40):
            draft.update_frames([frame(number % 12, "dog", metadata={"n": number})])
        done.set()
        join(looker)
        assert problems == []
        engine.close()
