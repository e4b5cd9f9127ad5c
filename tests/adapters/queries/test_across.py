"""One query over several versions, which are named by addresses with wildcards."""

import pytest

import framelode
from framelode import DatasetVersion, F, InvalidQueryError, NotFoundError, Roi, SingleFrame


@pytest.fixture
def engine(tmp_path):
    with framelode.connect("sqlite://") as engine:
        for project, name in (("p", "cars"), ("p", "cats"), ("q", "cars")):
            DatasetVersion.create_new_dataset(name, dataset_project=project)
            draft = DatasetVersion.get_current(dataset_name=name, dataset_project=project)
            frame = SingleFrame(id=f"{project}-{name}", metadata={"n": 1})
            frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=[name])
            draft.add_frames([frame, SingleFrame(id="both", metadata={"n": 2})])
            child = DatasetVersion.create_snapshot(
                dataset_name=name, dataset_project=project, publish_name="v1"
            )
            child.add_frames([SingleFrame(id="new", metadata={"n": 3})])
        yield engine


def found(engine, *arguments, **options):
    return [
        (hit.version.version_name, hit.version.dataset_name, hit.frame.id)
        for hit in engine.query(*arguments, **options)
    ]


def test_each_hit_tells_its_version(engine):
    assert found(engine, "meta.n:>=2", "p/*@*") == [
        ("v1", "cars", "both"),
        ("Current", "cars", "both"),
        ("Current", "cars", "new"),
        ("v1", "cats", "both"),
        ("Current", "cats", "both"),
        ("Current", "cats", "new"),
    ]
    assert engine.count("meta.n:>=2", "p/*@*") == 6


def test_without_a_version_it_is_the_current_one(engine):
    assert found(engine, F.meta.n == 3) == [("Current", name, "new") for name in ("cars", "cats", "cars")]
    assert found(engine, F.meta.n == 3, "q/*") == [("Current", "cars", "new")]
    assert engine.count(F.meta.n == 3, "c?ts") == 1


def test_versions_are_named_in_several_ways(engine):
    version = DatasetVersion.get_version(dataset_name="cats", version_name="v1")
    for given in (version, "cats@v1", "p/cats@v1", version.version_id, f"id:{version.version_id[:8]}"):
        assert found(engine, Roi(label="cats"), given) == [("v1", "cats", "p-cats")]
        assert engine.count(Roi(label="cats"), [given, "cats@v?", version]) == 1
    assert found(engine, "*", ["cats@v1", "q/cars@v1"], limit=3) == [
        ("v1", "cats", "p-cats"),
        ("v1", "cats", "both"),
        ("v1", "cars", "q-cars"),
    ]


def test_a_limit_below_0_is_refused(engine):
    for ask in (engine.query, DatasetVersion.get_current(dataset_name="cats").query):
        with pytest.raises(
            framelode.InvalidValueError, match="limit must be an integer of at least 0, not -1"
        ):
            ask("*", limit=-1)
    assert found(engine, "*", limit=0) == []


def test_limit_order_and_projection(engine):
    assert found(engine, "*", limit=0) == []
    hits = list(engine.query("*", "p/*@*", limit=5, projection=["id", "dataset"], order_by="context"))
    assert [hit.frame["dataset"]["version"] for hit in hits] == [hit.version.version_id for hit in hits]
    assert len(hits) == 5
    version, frame = hits[0]
    assert isinstance(version, DatasetVersion)
    assert frame["id"] == "both"


def test_wrong_arguments_are_told_at_once(engine):
    with pytest.raises(InvalidQueryError, match="line 1, column 1"):
        engine.query("metta:1")
    with pytest.raises(NotFoundError, match="no version is named like 'dogs\\*'"):
        engine.query("*", "dogs*")
    with pytest.raises(NotFoundError, match="no version named 'v9'"):
        engine.count("*", "cats@v9")
    with pytest.raises(ValueError, match="order_by"):
        engine.query("*", order_by="name")
    with pytest.raises(NotFoundError, match="not 5"):
        engine.query("*", 5)


def test_at_any_moment(engine):
    before = engine.at(next(iter(engine.history(kinds="published"))).position)
    assert before.count("*") == 2
    assert found(before, "*") == [("v1", "cars", "p-cars"), ("v1", "cars", "both")]
