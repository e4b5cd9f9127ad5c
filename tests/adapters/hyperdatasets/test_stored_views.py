"""A stored view gives the same frames for ever: after edits, in rebuilt, imported and reopened logs, on both databases."""

import json
import os
import pickle

import pytest
from command_line import run

import framelode
from framelode import DatasetVersion, DataView, F, IterationOrder, NotFoundError, SingleFrame, UsageError
from framelode.engine.datasets.aggregate import Aggregate
from framelode.engine.events.views import ViewQuery, ViewStored
from framelode.projections.tables.views import Views


def made(number, label="car"):
    frame = SingleFrame(id=f"f{number}", source=f"s3://b/{number}.jpg", metadata={"n": number})
    frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=[label])
    return frame


def shown(view):
    return [
        (frame.id, frame.metadata, [(a.labels, a.label_num) for a in frame.annotations]) for frame in view
    ]


@pytest.fixture
def child(draft):
    """A draft below a published version."""
    draft.add_frames([made(n) for n in range(8)])
    child = DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
    child.add_frames([made(n, "bus") for n in (3, 8, 9)])
    return child


@pytest.fixture
def view(child):
    """A view of everything that can be stored."""
    view = DataView("train", "text é\0", ["a", "b"], "random", iteration_random_seed=5, iteration_limit=12)
    view.add_query(dataset_name="food", version_name="v1", roi_query="car", weight=2.5)
    view.add_query(
        version_id=child.version_id,
        frame_query=(F.meta.n >= 3) & ~F.meta.odd.exists(),
        label_rules=[{"label": "bus", "count_range": [1, -1], "conf_range": [-1, -1]}],
    )
    view.add_query(dataset_id=child.dataset_id, roi_query=["bus"], source_query="sources.uri:*9.jpg")
    view.add_mapping_rule(["bus"], "vehicle", version_id=child.version_id)
    view.set_labels({"vehicle": 2, "car": 1})
    return view


def edit(child):
    """Change everything that the view reads."""
    child.update_frames([made(3, "car"), made(20)])
    child.delete_frames(["f8", "f9"])
    child.publish_version()
    framelode.Dataset.get(dataset_name="food").move("elsewhere")
    below = DatasetVersion.create_version("v3", dataset_name="food", parent_version_ids=[child.version_id])
    below.add_frames([made(0, "cat")])


@pytest.mark.filterwarnings("ignore::framelode.UnknownNameWarning")
class TestStoredViews:
    def test_later_edits_change_nothing(self, engine, child, view):
        before = shown(view)
        view_id = view.store()
        assert len(before) == 12
        assert view.store() == view.id == view_id
        edit(child)
        for again in (DataView.get(view_id), DataView.get(dataview_name="train")):
            assert shown(again) == before
            assert again.get_count() == view.get_count()
            assert again.get_queries() == view.get_queries()
            assert again.get_queries()[1].frame_query == view.get_queries()[1].frame_query
            assert again.get_mapping_rules() == view.get_mapping_rules()
            assert again.get_iteration_parameters() == view.get_iteration_parameters()
            assert (again.id, again.name, again.description, again.tags) == (
                view_id,
                "train",
                "text é\0",
                ["a", "b"],
            )
        assert engine.verify().problems == []
        engine.rebuild()
        assert shown(DataView.get(view_id)) == before
        assert shown(again.get_iterator(as_of=engine.log.head().position)) != before

    def test_a_deleted_one_is_found_in_the_past_only(self, engine, child, view):
        other = DataView("train")
        other.add_query(version_id=child.version_id)
        kept = DataView.get(other.store())
        before, view_id = shown(view), view.store()
        position = engine.log.head().position
        found, again = DataView.get(view_id), DataView.get(view_id)
        found.delete()
        assert found.id is None
        assert shown(found) == before
        assert [each.id for each in DataView.get_views()] == [kept.id]
        assert DataView.get(dataview_name="train").id == kept.id
        assert DataView.get(view_id, as_of=position).id == view_id
        (change,) = engine.history(kinds="removed")
        assert (change.subject, change.kind) == ("view", "removed")
        for one, error in ((again, NotFoundError), (found, UsageError), (DataView("new"), UsageError)):
            with pytest.raises(error):
                one.delete()
        with pytest.raises(UsageError):
            DataView.get(kept.id).at(position).delete()
        with pytest.raises(NotFoundError, match="there is no view with id"):
            DataView.get(view_id)
        assert engine.verify().problems == []
        engine.rebuild()
        assert [each.id for each in DataView.get_views()] == [kept.id]
        found.description = "another"
        ids = {view_id, found.store(), again.store()}
        assert [DataView.get(each.id).id for each in (found, again)] == [found.id, again.id]
        assert len(ids) == 3

    def test_in_a_removed_dataset(self, engine, child, view):
        before, view_id = shown(view), view.store()
        framelode.Dataset.delete(dataset_name="food", delete_all_versions=True, force=True)
        assert shown(DataView.get(view_id)) == before

    @pytest.mark.parametrize("name", ["log.jsonl.zst", "log.parquet"])
    def test_in_an_imported_log(self, engine, child, view, tmp_path, name):
        before, view_id = shown(view), view.store()
        edit(child)
        engine.export_log(tmp_path / name)
        with framelode.connect(tmp_path / "other") as other:
            other.import_log(tmp_path / name)
            assert shown(DataView.get(view_id)) == before
            assert other.verify().problems == []
        other.close()

    def test_the_export_of_a_dataset_leaves_views_out(self, engine, child, view, tmp_path):
        view.store()
        engine.export_log(tmp_path / "food.jsonl", dataset="food")
        with framelode.connect(tmp_path / "other") as other:
            other.import_log(tmp_path / "food.jsonl")
            assert DataView.get_views() == []
        other.close()

    def test_history_and_log_tell_of_it(self, engine, child, view):
        view.store()
        (change,) = engine.history(kinds="stored")
        assert (change.subject, change.kind, change.after["view"]) == ("view", "stored", "train")
        assert change.after["versions"][1]["position"] == change.position - 1
        json.dumps(change.to_dict(images=True))
        entry = json.loads(run("--engine", engine.url, "log", "--json", "-n1").stdout)
        assert (entry["view"], entry["events"]) == ("train", ["view stored"])
        assert "view stored" in run("--engine", engine.url, "history").stdout
        (listed,) = json.loads(run("--engine", engine.url, "views", "--json").stdout)["views"]
        assert (listed["id"], listed["name"], listed["position"]) == (view.id, "train", change.position)
        assert listed["definition"]["versions"] == change.after["versions"]
        assert f"train  {view.id[:12]}" in run("--engine", engine.url, "views").stdout
        before = ("--as-of", change.position - 1)
        assert json.loads(run("--engine", engine.url, "views", *before, "--json").stdout) == {"views": []}
        later = DataView("later")
        later.add_query(version_id=child.version_id)
        later.store()
        both = json.loads(run("--engine", engine.url, "views", "--json").stdout)["views"]
        assert [each["name"] for each in both] == ["train", "later"]

    def test_the_command_line_removes_them(self, engine, child, view):
        def views(*arguments, status=0):
            return run("--engine", engine.url, "views", *arguments, status=status)

        ids = [view.store(name) for name in ("train", "test", "train")]
        assert "--yes" in views("--remove", "train", status=2).stderr
        assert views("--remove", "train", "--yes", "--actor", "ada").stdout == "removed the view train\n"
        (change,) = engine.history(kinds="removed")
        assert (change.actor, change.after) == ("ada", {"view": "train"})
        removed = json.loads(views("--remove", ids[1], "--yes", "--json").stdout)
        assert removed == {"removed": {"id": ids[1], "name": "test"}}
        assert [each.id for each in DataView.get_views()] == ids[:1]
        assert "did you mean 'train'?" in views("--remove", "trains", "--yes", status=4).stderr
        assert "exclude each other" in views("--remove", "train", "-n1", status=2).stderr
        _simple(child).store()
        assert "--remove is empty" in views("--remove", "", "--yes", status=2).stderr
        views("--remove", ids[0][:12], "--yes", status=4)  # begins the ids of both
        DataView.get_views()[1].delete()
        views("--remove", ids[0][:11], "--yes", status=4)
        views("--remove", ids[0][:12], "--yes")
        assert DataView.get_views() == []

    def test_verify_finds_a_row_that_was_altered(self, engine, view):
        view.store()
        with engine.session.read(Views) as (views, _), engine.session.database.write() as connection:
            connection.execute(views.view.update().values(definition="{}"))
        with pytest.raises(framelode.IntegrityError, match="views"):
            engine.verify()
        engine.rebuild()
        assert engine.verify().problems == []


def test_views_of_one_name_and_of_the_past(engine, draft):
    draft.add_frames([made(0), made(1)])
    view = DataView("a")
    view.add_query(version_id=draft.version_id)
    first = view.store()
    between = engine.log.head().position
    view.add_query(version_id=draft.version_id, roi_query="car", weight=3)
    assert view.id is None
    second = view.store("b")
    view.tags = ["new"]
    third = view.store("a", project_name="p")
    assert len({first, second, third}) == 3
    assert DataView.get(dataview_name="a").id == third
    assert DataView.get(dataview_name="a", as_of=between).id == first
    assert [each.id for each in DataView.get_views()] == [first, second, third]
    assert [each.id for each in DataView.get_views(as_of=between)] == [first]
    assert DataView.get(third).project == "p"
    with engine.at(between), pytest.raises(NotFoundError, match="no view with name 'b' at position"):
        DataView.get(dataview_name="b")
    with pytest.raises(NotFoundError, match="did you mean 'b'"):
        DataView.get(dataview_name="bb")
    with pytest.raises(ValueError, match="no view with id '0{32}'$"):
        DataView.get("0" * 32)
    for wrong in ({}, {"dataview_id": first, "dataview_name": "a"}):
        with pytest.raises(ValueError, match="pass either"):
            DataView.get(**wrong)


def test_a_changed_view_is_another_one(engine, draft):
    draft.add_frames([made(0)])
    view = DataView.get(DataView.store(_simple(draft)))
    for change in (
        lambda: view.set_labels({"a": 1}),
        lambda: view.add_mapping_rule("a", "b"),
        lambda: view.set_iteration_parameters(limit=5),
        lambda: setattr(view, "description", "x"),
        lambda: view.set_queries(view.get_queries()),
    ):
        stored = view.store()
        assert view.id == stored
        change()
        assert view.id is None
    assert len(DataView.get_views()) == 5


def _simple(draft, **arguments):
    view = DataView(**arguments)
    view.add_query(version_id=draft.version_id)
    return view


def test_queries_of_strange_logs_are_unreadable(engine, draft):
    for number, strange in enumerate(
        [
            {"expression": {"type": "Nosuch"}},
            {"expression": {"type": "Range", "field": "meta.a", "lower": []}},
            {"label_rules": [{"count_range": [1]}]},
            {"label_rules": [{"label": 5}]},
            {"frame_query": "a:("},
        ]
    ):
        definition = _simple(draft)._definition()
        definition["queries"] = [ViewQuery(**strange)]
        application = engine.session.writes.application

        def decide(definition=definition, number=number):
            view = Aggregate(f"view-{number:032x}")
            view.trigger(ViewStored, **definition)
            return [view], {}

        application.run(["store_view", number], None, decide)
        with pytest.raises(framelode.IntegrityError, match="cannot be read"):
            DataView.get(f"{number:032x}")


def test_views_with_strange_weights_hide_no_others():
    with framelode.connect("sqlite://") as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        kept = _simple(draft).store()
        for number, weight in enumerate((float("nan"), float("inf"), -1.0)):
            definition = _simple(draft)._definition() | {"queries": [ViewQuery(weight=weight)]}
            view = Aggregate(f"view-{number:032x}")
            view.trigger(ViewStored, **definition)
            engine.session.writes.application.run(
                ["store_view", number], None, lambda view=view: ([view], {})
            )
        assert [each.id for each in DataView.get_views()] == [kept]
        assert engine.session.blob_access.referenced() == set()
        with pytest.raises(framelode.IntegrityError, match="weight"):
            engine.verify()
    engine.close()


def test_orders_come_back(engine, draft):
    draft.add_frames([made(0)])
    for given, stored in (
        ("sequential", "sequential"),
        ("added", "sequential"),
        (IterationOrder.sequential, IterationOrder.sequential),
        (IterationOrder.random, "random"),
    ):
        view = DataView.get(_simple(draft, iteration_order=given, iteration_infinite=True).store())
        assert view.get_iteration_parameters()["order"] is stored or given != IterationOrder.sequential
        assert view.get_iteration_parameters()["order"] == stored
        assert view._is_by_context() is (given is IterationOrder.sequential)


def test_a_read_only_engine_reads_stored_views(tmp_path):
    with framelode.connect(tmp_path / "engine") as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        draft.add_frames([made(0)])
        stored = _simple(draft).store("v")
    engine.close()
    with framelode.connect(tmp_path / "engine", read_only=True) as engine:
        view = DataView.get(stored)
        assert [frame.id for frame in view] == ["f0"]
        view.description = "changed"
        with pytest.raises(UsageError, match="read-only"):
            view.store()
    engine.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_pickled_and_forked_views_read_the_same(tmp_path):
    with framelode.connect(tmp_path / "engine") as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        draft.add_frames([made(n) for n in range(5)])
        view = _simple(draft, iteration_order="random")
        view.set_labels({"car": 3})
        before = shown(view)
        draft.delete_frames(["f0"])
        copied = pickle.loads(pickle.dumps(view))
        assert shown(copied) == before
        iterator = pickle.loads(pickle.dumps(view.get_iterator()))
        assert shown(iterator) == before
        for each in (copied, iterator):
            session = getattr(each, "session", None) or each._plan.func.__self__.session
            session.close()
        assert shown(view) == before
    engine.close()
