"""Looking back through the public API: history, blame and diff."""

from __future__ import annotations

import copy
import pickle
import re
import shutil
import weakref
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import histories
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sizes import examples

import framelode
from framelode import (
    DatasetVersion,
    FrameGroup,
    ImageAnnotation,
    NotFoundError,
    SingleFrame,
    UsageError,
)
from framelode.engine.log.contract import Append
from framelode.engine.log.event_batch import pack_states

ROOT = Path(__file__).parents[3]


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("d")
    return DatasetVersion.get_current(dataset_name="d")


def frame(frame_id, *labels, **values):
    made = SingleFrame(id=frame_id, source=values.pop("source", f"s3://b/{frame_id}.jpg"), **values)
    for label in labels:
        made.add_annotation(box2d_xywh=(1, 2, 3, len(made.annotations)), labels=[label])
    return made


def add(version, *frames):
    assert version.add_frames(frames, refresh_version_stats=False) == []


def snapshot(version):
    return version.create_snapshot()


def told(changes):
    return [(change.frame_id, change.kind) for change in changes]


class TestHistoryOfAFrame:
    def test_every_change_is_told_oldest_first(self, draft):
        cat = frame("a", "cat")
        with framelode.acting("anna", {"run": 1}):
            add(draft, cat, frame("b"))
        child = snapshot(draft)
        cat.metadata = {"seen": True}
        with framelode.acting("bert"):
            child.update_frames([cat])
        child.delete_frames(["a"])
        add(child, cat)
        added, updated, deleted, again = child.history("a")
        assert [change.kind for change in (added, updated, deleted, again)] == [
            "added",
            "updated",
            "deleted",
            "added",
        ]
        assert (added.actor, added.context, added.version_id) == ("anna", {"run": 1}, draft.version_id)
        assert (updated.actor, updated.fields, updated.version_id) == ("bert", ("meta",), child.version_id)
        assert added.before is None
        assert "meta" not in added.after
        assert updated.before == added.after
        assert updated.after == deleted.before == again.after == cat.to_dict()
        assert deleted.after is None
        assert again.before is None
        assert added.at < updated.at < deleted.at < again.at
        assert added.at.tzinfo is UTC
        assert {change.dataset_id for change in child.history("a")} == {draft.dataset_id}
        assert draft.history("a") == [added]

    def test_filters(self, draft):
        cat = frame("a")
        for number in range(5):
            cat.metadata = {"n": number}
            with framelode.acting(f"actor {number % 2}"):
                add(draft, cat)
        whole = draft.history("a")
        assert draft.history("a", newest_first=True) == whole[::-1]
        assert draft.history("a", limit=2) == whole[:2]
        assert draft.history("a", newest_first=True, limit=2) == whole[:-3:-1]
        assert draft.history("a", actor="actor 1") == whole[1::2]
        assert draft.history("a", kinds="added") == whole[:1]
        assert draft.history("a", since=whole[1].at, until=whole[3].position) == whole[1:4]
        assert draft.history("a", limit=0) == []

    def test_a_frame_that_was_never_there(self, draft):
        add(draft, frame("a"))
        with pytest.raises(NotFoundError, match="never had a frame 'b'"):
            draft.history("b")
        with pytest.raises(UsageError):
            draft.history("")

    def test_a_sibling_knows_nothing_of_it(self, draft):
        add(draft, frame("a"))
        child = snapshot(draft)
        other = DatasetVersion.create_version(
            "other", dataset_name="d", parent_version_ids=[draft.version_id]
        )
        add(other, frame("b"))
        with pytest.raises(NotFoundError):
            child.history("b")
        assert told(other.history("b")) == [("b", "added")]

    def test_a_group(self, draft):
        group = FrameGroup(id="g")
        group["left"] = SingleFrame(source="s3://b/l.jpg")
        group["right"] = SingleFrame(source="s3://b/r.jpg")
        add(draft, group)
        (change,) = draft.history("g")
        assert change.after == group.to_dict()


class TestHistoryOfAVersion:
    def test_what_is_inherited_ends_where_the_version_begins(self, draft):
        add(draft, frame("a"))
        child = snapshot(draft)
        draft.describe("described later")
        draft.set_tags(["later"])
        add(child, frame("b"))
        changes = list(child.history())
        assert [(change.subject, change.kind) for change in changes] == [
            ("version", "created"),
            ("frame", "added"),
            ("version", "renamed"),
            ("version", "described"),
            ("version", "committed"),
            ("version", "published"),
            ("version", "created"),
            ("frame", "added"),
        ]
        assert list(child.history(newest_first=True)) == changes[::-1]
        assert told(child.history(kinds=["added"])) == [("a", "added"), ("b", "added")]
        assert list(draft.history())[-1].after == {"tags": ["later"]}

    def test_what_a_change_replaces(self, draft):
        draft.rename("one")
        draft.rename("two")
        draft.set_metadata({"a": 1})
        *_, first, second, metadata = draft.history()
        assert (first.before, first.after) == ({"name": "Current"}, {"name": "one"})
        assert (second.before, second.after) == ({"name": "one"}, {"name": "two"})
        assert (metadata.before, metadata.after) == ({"metadata": {}}, {"metadata": {"a": 1}})
        assert metadata.fields == ("metadata",)

    def test_of_a_removed_version(self, engine, draft):
        add(draft, frame("a"))
        engine.session.writes.versions.remove_version(draft.version_id)
        assert [change.kind for change in draft.history()] == ["created", "added", "removed"]
        assert told(draft.history("a")) == [("a", "added")]
        assert list(engine.history(version=draft.version_id)) == list(draft.history())
        assert [change.kind for change in engine.history("d")][-2:] == ["removed", "detached"]

    def test_what_comes_later_is_left_to_the_next_look(self, draft):
        add(draft, frame("a"))
        changes = draft.history()
        add(draft, frame("b"))
        assert ("b", "added") not in told(changes)
        assert ("b", "added") in told(draft.history())


class TestHistoryOfAnEngine:
    @pytest.fixture
    def filled(self, engine):
        for name in ("d", "e"):
            with framelode.acting(f"maker of {name}"):
                DatasetVersion.create_new_dataset(name)
                version = DatasetVersion.get_current(dataset_name=name)
                add(version, *(frame(f"{name}{n}") for n in range(5)))
        with framelode.acting("cleaner"):
            version.delete_frames(["e1", "e3"])
            snapshot(version)
        return engine

    def test_is_the_whole_log(self, filled):
        changes = list(filled.history())
        assert [change.position for change in changes] == list(range(1, filled.log.head().position + 1))
        assert list(filled.history(newest_first=True)) == changes[::-1]
        assert list(filled.history(newest_first=True, limit=3)) == changes[:-4:-1]
        assert {change.subject for change in changes} == {"name", "dataset", "version", "frame"}

    def test_of_a_dataset(self, filled):
        dataset = filled.dataset("d")
        changes = list(filled.history("d"))
        assert changes == [change for change in filled.history() if change.dataset_id == dataset.id]
        assert changes == list(filled.history(dataset))
        assert [change.kind for change in changes] == ["created", "attached", "created"] + ["added"] * 5
        assert {change.version_id for change in changes if change.subject == "dataset"} == {None}

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_filters_are_combined(self, filled, newest_first):
        whole = list(filled.history(newest_first=newest_first))
        since, until = whole[len(whole) // 4], whole[-5]
        if newest_first:
            since, until = until, since
        for filters, fits in (
            ({"actor": "cleaner"}, lambda change: change.actor == "cleaner"),
            ({"kinds": {"deleted", "published"}}, lambda change: change.kind in {"deleted", "published"}),
            (
                {"since": since.position, "until": until.position},
                lambda change: since.position <= change.position <= until.position,
            ),
            ({"since": since.at, "until": until.at}, lambda change: since.at <= change.at <= until.at),
            (
                {"dataset": "e", "actor": "maker of e", "kinds": "added", "since": since.position},
                lambda change: (
                    change.actor == "maker of e"
                    and change.kind == "added"
                    and change.position >= since.position
                ),
            ),
        ):
            expected = [change for change in whole if fits(change)]
            assert expected
            assert list(filled.history(**filters, newest_first=newest_first)) == expected

    def test_only_the_batches_that_matter_are_opened(self, filled, monkeypatch):
        opened = []
        bodies = filled.log.bodies

        def counting(positions):
            opened.extend(positions)
            return bodies(positions)

        filled.catch_up()
        monkeypatch.setattr(filled.log, "bodies", counting)
        changes = list(filled.history(kinds="deleted"))
        assert told(changes) == [("e1", "deleted"), ("e3", "deleted")]
        assert len(opened) == 1
        next(filled.history(actor="maker of d", kinds="added"))
        assert len(opened) == 2

    def test_events_of_other_applications(self, engine, draft):
        states = [("world:World.Created", b"?"), ("world:World.SomethingHappened", b"?")]
        batch = pack_states("world", 1, states)
        engine.log.append(Append(batches=[batch], command_id="c", request_digest=b"", actor="they"))
        created, happened = list(engine.history())[-2:]
        assert (created.subject, happened.subject, happened.kind) == ("created", "something", "happened")
        assert (happened.after, happened.before, happened.dataset_id) == (None, None, None)

    @pytest.mark.parametrize(
        ("filters", "message"),
        [
            ({"since": datetime(2024, 1, 1)}, "no time zone"),  # noqa: DTZ001 - that is what is refused
            ({"until": "yesterday"}, "until must be a position or a datetime with a time zone"),
            ({"since": -1}, "since must be"),
            ({"since": True}, "since must be"),
            ({"kinds": "moved"}, "unknown kind of change 'moved': it must be one of added"),
            ({"kinds": 7}, "kinds must be a list"),
            ({"kinds": [7]}, "kinds"),
            ({"limit": -1}, "limit must be"),
            ({"limit": 1.5}, "limit must be"),
            ({"actor": 7}, "actor"),
            ({"project": "default"}, "pass dataset= as well"),
            ({"version": 7}, "version"),
        ],
    )
    def test_wrong_arguments(self, engine, draft, filters, message):
        with pytest.raises(UsageError, match=message):
            engine.history(**filters)

    def test_unknown_things(self, engine, draft):
        with pytest.raises(NotFoundError):
            engine.history("nothing")
        with pytest.raises(NotFoundError):
            engine.history(version="nothing")
        with pytest.raises(UsageError, match="exclude each other"):
            engine.history(engine.dataset("d"), project="default")
        assert list(engine.history(since=2**70)) == []
        assert list(engine.history(actor="nobody")) == []
        assert len(list(engine.history(until=2**70))) == engine.log.head().position


class TestChange:
    @pytest.fixture
    def change(self, draft):
        cat = frame("a", "cat")
        add(draft, cat)
        cat.metadata = {"n": 1}
        add(draft, cat)
        return draft.history("a")[1]

    def test_shows_itself(self, change):
        assert repr(change) == (
            f"Change({change.position}: frame a updated (meta) by tester, {change.at:%Y-%m-%d %H:%M:%S})"
        )

    def test_is_a_value(self, change, draft):
        (same,) = draft.history("a", kinds="updated")
        assert same == change
        assert hash(same) == hash(change)
        assert change != draft.history("a")[0]
        assert change != "change"

    def test_travels(self, change):
        for other in (pickle.loads(pickle.dumps(change)), copy.deepcopy(change)):
            assert other == change
            assert (other.before, other.after) == (change.before, change.after)

    def test_as_json(self, change):
        plain = change.to_dict()
        assert plain["at"] == change.at.isoformat(timespec="microseconds")
        assert plain["fields"] == ["meta"]
        assert set(change.to_dict(images=True)) == set(plain) | {"before", "after"}
        assert "images" not in plain


class TestBlame:
    def test_each_part_goes_back_to_who_brought_it(self, draft):
        cat = frame("a", "cat", metadata={"camera": 1, "iso": 100})
        with framelode.acting("anna"):
            add(draft, cat)
        child = snapshot(draft)
        cat.metadata["iso"] = 200
        cat.annotations[0].labels.append("pet")
        cat.add_annotation(box2d_xywh=(5, 5, 5, 5), labels=["dog"])
        with framelode.acting("bert"):
            child.update_frames([cat])
        cat.annotations[0].confidence = 0.5
        with framelode.acting("cleo"):
            child.update_frames([cat])
        blame = child.blame("a")
        first, second = blame.annotations
        assert {label: change.actor for label, change in first.labels.items()} == {
            "cat": "anna",
            "pet": "bert",
        }
        assert (first.index, first.type, first.change.actor) == (0, "box2d", "anna")
        assert (second.index, second.change.actor, second.labels["dog"].actor) == (1, "bert", "bert")
        assert {name: change.actor for name, change in blame.fields.items()} == {
            "context_id": "anna",
            "meta": "bert",
            "rois": "cleo",
            "sources": "anna",
            "timestamp": "anna",
        }
        assert {name: change.actor for name, change in blame.metadata.items()} == {
            "camera": "anna",
            "iso": "bert",
        }
        assert blame.metadata["iso"] == child.history("a")[1]
        assert repr(blame) == "Blame(a, 2 annotations)"
        lines = [line.split(maxsplit=4) for line in str(blame).splitlines()]
        assert ["anna", "rois.0 label 'cat'"] in [[*line[3:]] for line in lines]
        assert blame.to_dict()["annotations"][0]["labels"]["pet"]["actor"] == "bert"

    def test_an_interruption_begins_anew(self, draft):
        cat = frame("a", "cat", metadata={"x": 1})
        add(draft, cat)
        kept = cat.copy()
        kept.id = "a"
        cat.clear_annotations()
        cat.metadata = {"x": 2}
        add(draft, cat)
        add(draft, kept)
        third = draft.history("a")[2]
        blame = draft.blame("a")
        assert blame.annotations[0].labels == {"cat": third}
        assert blame.metadata == {"x": third}
        assert blame.fields["sources"] == draft.history("a")[0]

    def test_an_annotation_with_an_id_may_move(self, draft):
        moving = SingleFrame(id="a")
        moving.add_annotation(box2d_xywh=(1, 1, 1, 1), labels=["cat"], id="7")
        moving.add_annotation(box2d_xywh=(2, 2, 2, 2), labels=["dog"])
        add(draft, moving)
        moving.annotations[0].x = 50
        moving.annotations[1].x = 50
        add(draft, moving)
        first, second = draft.history("a")
        cat, dog = draft.blame("a").annotations
        assert (cat.id, cat.change, cat.labels) == ("7", first, {"cat": first})
        assert (dog.id, dog.change, dog.labels) == (None, second, {"dog": second})

    def test_annotations_alike_are_counted(self, draft):
        twins = SingleFrame(id="a", annotations=[ImageAnnotation(labels=["day"])])
        add(draft, twins)
        twins.annotations = [ImageAnnotation(labels=["day"]), ImageAnnotation(labels=["day"])]
        add(draft, twins)
        first, second = draft.history("a")
        assert [each.change for each in draft.blame("a").annotations] == [first, second]

    def test_frames_that_are_not_there(self, draft):
        add(draft, frame("a"))
        draft.delete_frames(["a"])
        with pytest.raises(NotFoundError, match="was deleted"):
            draft.blame("a")
        with pytest.raises(NotFoundError, match="never had"):
            draft.blame("b")


class TestDiff:
    def test_what_leads_from_one_version_to_another(self, draft):
        add(draft, frame("a", "cat"), frame("b", "cat"), frame("c"))
        child = snapshot(draft)
        changed = frame("a", "cat", "dog", metadata={"x": 1})
        child.update_frames([changed])
        child.delete_frames(["b"])
        add(child, frame("d", "dog"))
        diff = child.diff(draft)
        assert (diff.added.ids, diff.removed.ids, diff.changed.ids) == (["d"], ["b"], ["a"])
        (entry,) = diff.changed
        assert (entry.frame_id, entry.fields) == ("a", ("meta", "rois"))
        assert (entry.before, entry.after) == (frame("a", "cat").to_dict(), changed.to_dict())
        assert (entry.labels_gained, entry.labels_lost) == ({"dog": 1}, {})
        (added,), (removed,) = diff.added, diff.removed
        assert (added.before, added.after) == (None, frame("d", "dog").to_dict())
        assert (removed.before, removed.after) == (frame("b", "cat").to_dict(), None)
        assert (removed.labels_lost, removed.fields) == ({"cat": 1}, ("rois", "sources"))
        stats = diff.stats
        assert (stats.added, stats.removed, stats.changed) == (1, 1, 1)
        assert (stats.labels_gained, stats.labels_lost) == ({"dog": 2}, {"cat": 1})
        assert (stats.old, stats.new) == (draft.get_stats(), child.get_stats())
        assert str(diff).splitlines() == [
            "d@" + draft.version_name + " -> d@Current",
            " dog | +2 ++",
            " cat | -1 -",
            " frames: 1 added, 1 changed, 1 removed",
        ]
        assert repr(diff).endswith("-> 'd@Current', added=1, removed=1, changed=1)")
        assert repr(stats) == (
            "DiffStats(added=1, removed=1, changed=1, labels_gained={'dog': 2}, labels_lost={'cat': 1})"
        )
        assert repr(diff.added) == "<1 frame>"
        assert repr(entry) == "FrameDiff(a changed (meta, rois))"
        plain = diff.to_dict()
        assert (plain["added"], plain["removed"], plain["changed"]) == (["d"], ["b"], ["a"])
        assert plain["stats"]["added"] == 1
        assert diff.to_dict(frames=True)["changed"] == [entry.to_dict()]
        back = draft.diff(child)
        assert (back.added.ids, back.removed.ids, back.changed.ids) == (["b"], ["d"], ["a"])

    def test_contents_are_decoded_once_and_outlive_the_diff(self, draft):
        add(draft, *(frame(f"{n}", "cat") for n in range(5)))
        child = snapshot(draft)
        child.update_frames([frame(f"{n}", "dog") for n in range(4)])
        entries = list(child.diff(draft).changed)
        again = list(child.diff(draft).changed)
        child.delete_frames([f"{n}" for n in range(5)])
        for n, entry in reversed(list(enumerate(entries))):
            assert entry.after is entry.after
            assert (entry.before, entry.after) == (
                frame(f"{n}", "cat").to_dict(),
                frame(f"{n}", "dog").to_dict(),
            )
        assert entries == again
        assert entries != again[::-1]
        assert set(entries) == set(again)
        assert entries[0] != "0"

    def test_a_kept_one_keeps_no_other(self, draft):
        add(draft, *(frame(f"pizza{n}", "cat") for n in range(3)))
        child = snapshot(draft)
        child.update_frames([frame(f"pizza{n}", "dog") for n in range(3)])
        entry = child.diff(draft).changed[:3][1]
        decoded = [weakref.ref(entry._before), weakref.ref(entry._after)]
        for other in (pickle.loads(pickle.dumps(entry)), copy.copy(entry), copy.deepcopy(entry)):
            assert (other, repr(other), other.to_dict()) == (entry, repr(entry), entry.to_dict())
        del other
        assert [each() for each in decoded] == [None, None]
        assert b"pizza2" not in pickle.dumps(child.diff(draft).changed[:3][1])

    def test_of_a_version_and_itself(self, draft):
        add(draft, frame("a"))
        diff = draft.diff(draft)
        assert not diff
        assert list(diff.added) == []
        assert diff.stats.labels_gained == {}
        assert str(diff).endswith(" frames: 0 added, 0 changed, 0 removed")

    def test_names_and_labels_drive_no_terminal(self, draft):
        draft.rename("\x1b[2J")
        child = draft.create_snapshot(publish_name="\x1b[2J1")
        named = SingleFrame(id="\x1b[2J")
        named.add_annotation(labels=["\x1b[2J\n"])
        with framelode.acting(actor="\x1b[2J"):
            child.add_frames([named])
        diff, blame = child.diff(draft), child.blame("\x1b[2J")
        looks = [*map(str, (diff, blame)), *map(repr, (diff.added[0], blame, *child.history("\x1b[2J")))]
        assert "\x1b" not in "".join(looks)
        assert all(len(look.splitlines()) == 1 for look in looks[2:])

    def test_a_frame_set_back_is_not_changed(self, draft):
        add(draft, frame("a"), frame("b"), frame("c"))
        child = snapshot(draft)
        add(child, frame("a", "cat"), frame("b", "cat"), frame("new"))
        child.delete_frames(["c", "new"])
        add(child, frame("a"), frame("c"))
        diff = child.diff(draft)
        assert (diff.added.ids, diff.removed.ids, diff.changed.ids) == ([], [], ["b"])

    def test_of_siblings(self, draft):
        add(draft, *(frame(name) for name in "abcd"))
        one = snapshot(draft)
        two = DatasetVersion.create_version("two", dataset_name="d", parent_version_ids=[draft.version_id])
        add(one, frame("a", "cat"), frame("b", "cat"), frame("x"))
        add(two, frame("a", "cat"), frame("b", "dog"), frame("y"))
        one.delete_frames(["c", "d"])
        two.delete_frames(["d"])
        diff = two.diff(one)
        assert (diff.added.ids, diff.removed.ids, diff.changed.ids) == (["c", "y"], ["x"], ["b"])
        assert (diff.changed[0].labels_gained, diff.changed[0].labels_lost) == ({"dog": 1}, {"cat": 1})

    @pytest.mark.parametrize(("common", "own"), [(0, 3), (600, 1), (600, 400)])
    def test_of_versions_without_a_common_past(self, draft, common, own):
        other = DatasetVersion.create_version("other", dataset_name="d")
        shared = [frame(f"{n}") for n in range(common)]
        add(draft, *shared, *(frame(f"old {n}") for n in range(own)), frame("same", "cat"))
        add(other, frame("same", "dog"), *shared[::-1])
        diff = other.diff(draft)
        assert diff.added.ids == []
        assert diff.removed.ids == [f"old {n}" for n in range(own)]
        assert diff.changed.ids == ["same"]
        assert diff.stats.labels_gained == {"dog": 1}

    def test_the_same_content_of_another_dataset(self, engine, draft):
        frames = [frame(f"{n}", "cat") for n in range(700)]
        add(draft, *frames)
        DatasetVersion.create_new_dataset("copy")
        other = DatasetVersion.get_current(dataset_name="copy")
        add(other, *frames)
        assert not other.diff(draft)

    def test_a_draft_may_go_on_meanwhile(self, draft):
        add(draft, frame("a", "cat"))
        child = snapshot(draft)
        add(child, frame("b", "dog"))
        diff = child.diff(draft)
        add(child, frame("a", "dog"), frame("b"), frame("c", "dog"))
        child.delete_frames(["b"])
        assert (diff.added.ids, diff.removed.ids, diff.changed.ids) == (["b"], [], [])
        assert diff.added[0].after == frame("b", "dog").to_dict()
        assert diff.stats.labels_gained == {"dog": 1}

    def test_of_two_moments(self, draft):
        add(draft, frame("a", "cat"))
        then = draft.history("a")[0]
        add(draft, frame("a", "dog"), frame("b"))
        diff = draft.diff(draft.at(then.at))
        assert (diff.added.ids, diff.removed.ids, diff.changed.ids) == (["b"], [], ["a"])
        assert (diff.stats.labels_gained, diff.stats.labels_lost) == ({"dog": 1}, {"cat": 1})
        assert diff.to_dict()["old"].startswith(f"d@Current at position {then.position} (")
        assert draft.history("a", as_of=then.position) == [then]
        assert draft.blame("a", as_of=then.at).annotations[0].labels == {"cat": then}
        with pytest.raises(NotFoundError):
            draft.blame("b", as_of=then.at)
        with pytest.raises(NotFoundError, match="at position 1"):
            draft.history(as_of=1)

    def test_a_part_of_the_frames(self, draft):
        child = snapshot(draft)
        add(child, *(frame(f"{n}") for n in range(5)))
        added = child.diff(draft).added
        assert len(added) == 5
        assert [each.frame_id for each in added[1:3]] == ["1", "2"]
        assert added[-1] == list(added)[4]
        with pytest.raises(IndexError):
            added[5]

    def test_many_labels_are_cut(self, draft):
        child = snapshot(draft)
        add(child, *(frame(f"{n}", *[f"label {n}"] * (n * 3)) for n in range(30)))
        lines = str(child.diff(draft)).splitlines()
        assert lines[-2] == " ... and 9 more labels"
        assert lines[1] == " label 29 | +87 " + "+" * 40

    def test_wrong_arguments(self, engine, draft, tmp_path):
        for wrong in (None, draft.version_id, 3):
            with pytest.raises(UsageError, match="diff needs a DatasetVersion"):
                draft.diff(wrong)
        with framelode.connect(tmp_path / "other") as other:
            DatasetVersion.create_new_dataset("d")
            there = DatasetVersion.get_current(dataset_name="d")
            with pytest.raises(UsageError, match="in another log"):
                there.diff(draft)
            other.close()

    def test_a_copy_of_the_log_is_the_same_until_it_goes_on_by_itself(self, tmp_path):
        with framelode.connect(tmp_path / "one") as one:
            DatasetVersion.create_new_dataset("d")
            here = DatasetVersion.get_current(dataset_name="d")
            add(here, frame("a"))
        with closing(one), framelode.connect(shutil.copytree(tmp_path / "one", tmp_path / "two")) as two:
            there = DatasetVersion.get_current(dataset_name="d")
            add(there, frame("b"))
            assert (there.diff(here).added.ids, here.diff(there).removed.ids) == (["b"], ["b"])
            add(here, frame("c"))
            with pytest.raises(UsageError, match="in another log"):
                there.diff(here)
            two.close()


def by_id(version):
    return {frame.id: frame.to_dict() for frame in version}


def origins(chain, parts_of):
    """Return for each part of the last state since when it has been there, by looking at every state."""
    states = [parts_of(change.after) for change in chain]
    found = {}
    for part, value in states[-1].items():
        since = len(states) - 1
        while since and states[since - 1].get(part) == value:
            since -= 1
        found[part] = chain[since].position
    return found


def labels_of(wire):
    """Return the labels of a frame whose annotations have no ids, each with its geometry and number."""
    found, seen = {}, {}
    for roi in (wire or {}).get("rois", ()):
        what = repr([roi["type"], roi.get("poly")])
        number = seen[what] = seen.get(what, -1) + 1
        found |= {(what, number, label): True for label in roi["label"]}
    return found


class TestRandomHistories:
    @examples(8, 40)
    @given(histories.steps, st.integers(1, 3), st.randoms(use_true_random=False))
    def test_equal_what_was_done(self, history, batch_size, random):
        with framelode.connect("sqlite://") as engine:
            versions = [engine.version(found) for found in histories.play(engine, history, batch_size)]
            self.check_log(engine, random)
            for version in versions:
                self.check_version(version)
            for old in versions:
                for new in versions:
                    self.check_diff(old, new)
        engine.close()

    @examples(6, 25)
    @given(histories.steps, st.integers(1, 3), st.data())
    def test_at_any_moment(self, history, batch_size, data):
        with framelode.connect("sqlite://") as engine:
            versions = histories.play(engine, history, batch_size)
            seen = []
            for _ in range(4):
                version = engine.version(data.draw(st.sampled_from(versions)))
                born = engine.session.version_row(version.version_id).created_position
                moment = data.draw(st.integers(born, engine.log.head().position))
                seen.append(data.draw(st.sampled_from([version, version.at(moment)])))
                assert list(version.history(as_of=moment)) == list(version.at(moment).history())
                positions = [change.position for change in engine.at(moment).history()]
                assert positions == list(range(1, moment + 1))
            for old in seen:
                self.check_version(old)
                for new in seen:
                    self.check_diff(old, new)
        engine.close()

    def check_log(self, engine, random):
        whole = list(engine.history())
        assert [change.position for change in whole] == list(range(1, len(whole) + 1))
        low, high = sorted(random.choices(range(len(whole) + 2), k=2))
        kinds = random.sample(sorted({change.kind for change in whole}), 2)
        some = [change for change in whole if low <= change.position <= high and change.kind in kinds]
        assert list(engine.history(since=low, until=high, kinds=kinds)) == some
        assert list(engine.history(since=low, until=high, kinds=kinds, newest_first=True)) == some[::-1]
        late = whole[len(whole) // 2].at + timedelta(microseconds=1)
        assert list(engine.history(since=late)) == [change for change in whole if change.at >= late]

    def check_version(self, version):
        state, chains = {}, {}
        for change in version.history(kinds=["added", "updated", "deleted"]):
            assert change.before == state.get(change.frame_id)
            assert (change.kind == "added") == (change.before is None)
            assert (change.kind == "deleted") == (change.after is None)
            chains.setdefault(change.frame_id, []).append(change)
            state[change.frame_id] = change.after
            if change.after is None:
                del state[change.frame_id]
        assert state == by_id(version)
        for frame_id in histories.IDS:
            if frame_id in chains:
                assert version.history(frame_id) == chains[frame_id]
                for one, other in zip(version.history(frame_id), chains[frame_id], strict=True):
                    assert (one.before, one.after) == (other.before, other.after)
            else:
                with pytest.raises(NotFoundError):
                    version.history(frame_id)
            if frame_id in state:
                self.check_blame(version, frame_id, chains[frame_id])

    def check_blame(self, version, frame_id, chain):
        blame = version.blame(frame_id)
        positions = lambda changes: {name: change.position for name, change in changes.items()}
        assert positions(blame.metadata) == origins(
            chain, lambda wire: {name: repr(value) for name, value in (wire or {}).get("meta", {}).items()}
        )
        assert positions(blame.fields) == origins(
            chain,
            lambda wire: {name: repr(value) for name, value in (wire or {}).items() if name != "id"},
        )
        expected = origins(chain, labels_of)
        told = sorted(
            (label, change.position) for each in blame.annotations for label, change in each.labels.items()
        )
        assert told == sorted((label, position) for (_, _, label), position in expected.items())

    def check_diff(self, old, new):
        before, after = by_id(old), by_id(new)
        diff = new.diff(old)
        assert sorted(diff.added.ids) == sorted(after.keys() - before.keys())
        assert sorted(diff.removed.ids) == sorted(before.keys() - after.keys())
        both = before.keys() & after.keys()
        assert sorted(diff.changed.ids) == sorted(
            name for name in both if repr(before[name]) != repr(after[name])
        )
        for part in (diff.added, diff.removed, diff.changed):
            assert [entry.frame_id for entry in part] == part.ids
            for entry in part:
                assert entry.before == before.get(entry.frame_id)
                assert entry.after == after.get(entry.frame_id)
        labels = lambda frames: Counter(
            label for wire in frames.values() for roi in wire.get("rois", ()) for label in roi["label"]
        )
        assert diff.stats.labels_gained == dict(labels(after) - labels(before))
        assert diff.stats.labels_lost == dict(labels(before) - labels(after))


def test_the_page_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs/how-to/history-and-diff.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    names = {}
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(example, "history-and-diff.md", "exec"), names)
        promised = re.findall(r"print\(.*\) +# (.*)|^# (.*)", example, re.MULTILINE)
        assert capsys.readouterr().out.splitlines() == ["".join(each) for each in promised]
    names["engine"].close()
