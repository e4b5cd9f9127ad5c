"""`DataView`: which frames, in which order, with which labels; and stored views, which stay as they are."""

import copy
import json
import pickle
import warnings
from itertools import islice

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from reference_view import iterate, mapped
from sizes import examples

import framelode
from framelode import (
    DatasetVersion,
    DataView,
    F,
    FilterByRoiEnum,
    HyperDatasetQuery,
    InvalidQueryError,
    IterationOrder,
    NotFoundError,
    SingleFrame,
    UnknownNameWarning,
    UsageError,
)
from framelode.adapters.hyperdatasets.open import DataView as EntryView
from framelode.adapters.hyperdatasets.reading import FrameReader, log_order
from framelode.adapters.hyperdatasets.views import frames as view_frames

CITIES = ["bremen", "ulm"]
LABELS = ["car", "Car", "dog", "partly"]


def made(number, city="bremen", rois=(), context=None, timestamp=0):
    frame = SingleFrame(
        id=f"f{number}",
        source=f"s3://b/{context or number}.jpg",
        timestamp=timestamp,
        metadata={"city": city},
    )
    for labels, confidence in rois:
        frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=labels, confidence=confidence)
    return frame


def ids(frames):
    return [frame.id for frame in frames]


@pytest.fixture
def engine():
    with framelode.connect("sqlite://") as engine:
        yield engine
    engine.close()


@pytest.fixture
def draft(engine):
    """Nine frames: three of each label, the last third without annotations, in two contexts that run backwards."""
    DatasetVersion.create_new_dataset("streets")
    draft = DatasetVersion.get_current(dataset_name="streets")
    rois = [[(["car"], 0.9)], [(["Car", "partly"], 0.5), (["dog"], None)], []]
    draft.add_frames(
        [made(n, CITIES[n % 2], rois[n // 3], context="ba"[n % 2], timestamp=9 - n) for n in range(9)]
    )
    return draft


def view_of(draft, *queries, **arguments):
    view = DataView(**arguments)
    for query in queries or [{}]:
        view.add_query(version_id=draft.version_id, **query)
    return view


# the oracle

ROIS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(LABELS), min_size=1, max_size=2, unique=True),
        st.sampled_from([None, 0.2, 0.5, 0.9]),
    ),
    max_size=3,
)
WRITES = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from(CITIES),
        ROIS,
        st.sampled_from(["a", "b"]),
        st.integers(0, 2),
    ),
    max_size=6,
)
RULES = st.fixed_dictionaries(
    {"label": st.sampled_from(LABELS)},
    optional={
        "count_range": st.sampled_from([[1, -1], [2, 4], [0, 1], [2, 2]]),
        "conf_range": st.sampled_from([[0.5, 1], [-1, 0.5], [0.3, -1]]),
        "must_not": st.booleans(),
    },
)
QUERIES = st.lists(
    st.fixed_dictionaries(
        {"version": st.sampled_from(["*", "first", "second", "other"])},
        optional={
            "city": st.sampled_from(CITIES),
            "together": st.lists(st.sampled_from(LABELS), min_size=1, max_size=2, unique=True),
            "label_rules": st.lists(RULES, max_size=2),
            "filter_by_roi": st.sampled_from(["no_rois", "disabled", "label_rules"]),
            "weight": st.sampled_from([0.0, 0.1, 1.0, 2.5, 5.0]),
        },
    ),
    min_size=1,
    max_size=3,
)
MAPPINGS = st.lists(
    st.fixed_dictionaries(
        {
            "from_labels": st.lists(st.sampled_from([*LABELS, "*"]), min_size=1, max_size=2, unique=True),
            "to_label": st.sampled_from(["vehicle", *LABELS]),
            "version": st.sampled_from(["*", "first", "second"]),
        }
    ),
    max_size=3,
)
NUMBERS = st.dictionaries(st.sampled_from(["vehicle", *LABELS]), st.integers(-3, 3), max_size=3)
ORDERS = st.fixed_dictionaries(
    {
        "order": st.sampled_from(["added", "context", "random"]),
        "infinite": st.booleans(),
        "limit": st.none() | st.integers(0, 25),
        "seed": st.integers(0, 9),
    }
)


def wires_of(version):
    """Return the frames of a version in wire form, in the order of the log, with their positions."""
    positions = log_order(FrameReader(version._session, version._row()).state()).tolist()
    return [
        {**frame.to_dict(), "position": position} for position, frame in zip(positions, version, strict=True)
    ]


COUNTER = iter(range(10**6))


def written(*writes):
    """Write frames into a published version, its child and a draft of another dataset."""
    number = next(COUNTER)
    for name in ("first", "other"):
        DatasetVersion.create_new_dataset(f"{name} {number}")
    first = DatasetVersion.get_current(dataset_name=f"first {number}")
    first.add_frames([made(*each) for each in writes[0]])
    second = DatasetVersion.create_snapshot(dataset_name=f"first {number}")
    second.add_frames([made(*each) for each in writes[1]])
    other = DatasetVersion.get_current(dataset_name=f"other {number}")
    other.add_frames([made(*each) for each in writes[2]])
    return {"first": first, "second": second, "other": other}


@examples(15, 400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    writes=st.tuples(WRITES, WRITES, WRITES),
    queries=QUERIES,
    mapping=MAPPINGS,
    labels=NUMBERS,
    order=ORDERS,
    repeats=st.booleans(),
    workers=st.integers(1, 3),
    window=st.sampled_from([1, 3, 1000]),
)
def test_views_and_the_reference_agree(
    engine, writes, queries, mapping, labels, order, repeats, workers, window
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownNameWarning)
        versions = written(*writes)
        known = {name: version.version_id for name, version in versions.items()} | {"*": "*"}
        view = DataView(
            iteration_order=IterationOrder.sequential if order["order"] == "context" else order["order"],
            iteration_infinite=order["infinite"],
            iteration_limit=order["limit"],
            iteration_random_seed=order["seed"],
        )
        view.set_versions(versions.values())
        for query in queries:
            given_ = {
                key: value for key, value in query.items() if key not in {"version", "city", "together"}
            }
            given_ |= {"frame_query": f"meta.city:{query['city']}"} if "city" in query else {}
            given_ |= {"roi_query": query["together"]} if "together" in query else {}
            view.add_query(version_id=known[query["version"]], **given_)
        for rule in mapping:
            view.add_mapping_rule(rule["from_labels"], rule["to_label"], version_id=known[rule["version"]])
        view.set_labels(labels)
        plain = {name: wires_of(version) for name, version in versions.items()}
        for worker in range(workers):
            expected = [
                (frame["id"], mapped(frame, version, mapping, labels))
                for version, frame in iterate(
                    plain, queries, **order, repeats=repeats, worker=(worker, workers), most=60
                )
            ]
            iterator = view.get_iterator(
                allow_repetition=repeats, worker_index=worker, num_workers=workers, query_cache_size=window
            )
            found = list(islice(iterator, 60))
            assert [
                (frame.id, [(each.labels, each.label_num) for each in frame.annotations]) for frame in found
            ] == expected
            if len(expected) < 60:
                assert len(iterator) == len(expected)
        view_id = view.store()
        versions["second"].delete_frames([frame["id"] for frame in plain["second"]])
        versions["other"].publish_version()
        again = DataView.get(view_id)
        assert ids(islice(again.get_iterator(allow_repetition=repeats), 60)) == ids(
            islice(view.get_iterator(allow_repetition=repeats), 60)
        )
        assert again.get_count()[1] == view.get_count()[1]


# queries


def test_queries_are_ored_and_what_one_has_is_anded(draft):
    view = view_of(draft, {"roi_query": "car"}, {"roi_query": "dog"})
    assert ids(view) == ["f0", "f1", "f2", "f3", "f4", "f5"]
    assert (view.get_count(), view.get_count()[0], view.get_count()[1]) == (6, 6, [3, 3])
    total, per_query = view.get_count()
    assert (total, per_query, json.dumps(view.get_count())) == (6, [3, 3], "6")
    both = {"roi_query": "car", "frame_query": "meta.city:ulm", "source_query": "sources.uri:*a.jpg"}
    assert ids(view_of(draft, both)) == ["f1"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"roi_query": "car"}, "012"),
        ({"roi_query": ["Car", "partly"]}, "345"),
        ({"roi_query": ["Car", "dog"]}, ""),
        ({"roi_query": 'label.keyword:"Car" AND NOT label.keyword:"dog"'}, "345"),
        ({"roi_query": 'label.keyword:"car" OR label.keyword:"dog"'}, "012345"),
        ({"roi_query": "(car OR Car) AND rois.confidence:<0.7"}, "345"),
        ({"roi_query": "*"}, "012345678"),
        ({"roi_query": "*ar"}, "012345"),
        ({"frame_query": 'meta.city:"bremen"'}, "02468"),
        ({"frame_query": F.meta.city == "bremen", "source_query": F.sources.uri.like("*b.jpg")}, "02468"),
        ({"frame_query": ""}, "012345678"),
        ({"source_query": "source.id:default AND sources.uri:*a.jpg"}, "1357"),
        ({"label_rules": []}, "012345678"),
        ({"label_rules": [{"label": "car"}]}, "012"),
        ({"label_rules": {"label": "dog"}}, "345"),
        ({"label_rules": [{"label": "'Car' partly"}]}, "345"),
        ({"label_rules": [{"label": "Car"}, {"label": "dog"}]}, "345"),
        ({"label_rules": [{"label": "Car dog"}]}, ""),
        ({"label_rules": [{"count_range": [2, 4]}]}, "345"),
        ({"label_rules": [{"count_range": [0, 1]}]}, "012678"),
        ({"label_rules": [{"label": "car OR dog", "conf_range": [0.8, 1.0]}]}, "012"),
        ({"label_rules": [{"conf_range": [-1, 0.5]}]}, "345"),
        ({"label_rules": [{"label": "dog", "must_not": True}]}, "012678"),
        ({"label_rules": [{"label": "dog", "conf_range": [-1, -1]}]}, "345"),
        ({"filter_by_roi": "no_rois"}, "678"),
        ({"filter_by_roi": FilterByRoiEnum.no_rois, "label_rules": [{"label": "car"}]}, "678"),
        ({"filter_by_roi": "disabled", "label_rules": [{"label": "car"}]}, "012345678"),
        ({"filter_by_roi": "label_rules", "label_rules": [{"label": "car"}]}, "012"),
    ],
    ids=str,
)
def test_what_a_query_finds(draft, given, found):
    assert ids(view_of(draft, given)) == [f"f{digit}" for digit in found]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"frame_query": "meta.city:(a"}, r"frame_query: line 1, column 13: found the end"),
        ({"source_query": "a:1"}, r"source_query: line 1, column 1: found the field 'a', expected one of"),
        ({"roi_query": "a\nAND ("}, r"roi_query: line 2, column 6: found the end"),
        ({"label_rules": [{}, {"label": "[1 TO"}]}, r"label_rules\[1\].label: line 1, column 6"),
        ({"label_rules": [{"lable": "a"}]}, r"label_rules\[0\].lable is an unknown field.*label"),
        ({"label_rules": [{"count_range": [1]}]}, r"label_rules\[0\].count_range must be a list of two"),
        ({"label_rules": [{"count_range": ["a", 1]}]}, r"count_range must be a 64-bit integer"),
        ({"label_rules": 5}, "label_rules must be a list of dicts"),
        ({"filter_by_roi": "some"}, "filter_by_roi must be one of label_rules, no_rois, disabled"),
        ({"weight": -1}, "weight must be a number of at least 0"),
        ({"frame_query": 5}, "a query must be a text or an expression"),
        ({"version_id": "0" * 32}, "there is no version with id"),
        ({"dataset_id": "streets"}, "pass dataset_name='streets'"),
        ({"dataset_name": "streetz"}, "did you mean 'streets'"),
        ({"dataset_name": "streets", "version_name": "v1"}, "no version named 'v1'"),
    ],
    ids=str,
)
def test_a_wrong_query_is_refused_when_it_is_added(draft, given, message):
    view = DataView()
    with pytest.raises(ValueError, match=message) as raised:
        view.add_query(**given)
    assert view.get_queries() == []
    if isinstance(raised.value, InvalidQueryError) and "line" in message:
        assert raised.value.line is not None


def test_names_and_ids_exclude_each_other(draft):
    view = DataView()
    with pytest.raises(UsageError, match="dataset_id and dataset_name"):
        view.add_query(dataset_name="streets", dataset_id=draft.dataset_id)
    with pytest.raises(ValueError, match="belongs to dataset"):
        other = DatasetVersion.create_new_dataset("other")
        view.add_query(dataset_id=other.id, version_id=draft.version_id)


def test_wildcards_choose_among_the_versions_of_the_view(draft):
    DatasetVersion.create_new_dataset("lanes", dataset_project="roads")
    lanes = DatasetVersion.get_current(dataset_name="lanes")
    lanes.add_frames([made(100), made(101, rois=[(["car"], None)])])
    view = DataView()
    view.add_query(roi_query="car")
    with pytest.raises(ValueError, match="no version"):
        view.get_count()
    with pytest.raises(ValueError, match="no version"):
        view.store()
    view.add_query(version_id=lanes.version_id, filter_by_roi="no_rois")
    assert ids(view) == ["f100", "f101"]
    view.add_query(dataset_name="streets", version_name="Current", frame_query="id:f8")
    assert ids(view) == ["f0", "f1", "f2", "f8", "f100", "f101"]
    view.set_queries(
        [
            HyperDatasetQuery(dataset_id=lanes.dataset_id),
            HyperDatasetQuery(version_id=draft.version_id, roi_query="car"),
        ]
    )
    assert ids(view) == ["f0", "f1", "f2"]
    assert [query.dataset_id for query in view.get_queries()] == [lanes.dataset_id, "*"]
    view.set_versions([draft, lanes.version_id])
    assert ids(view) == ["f0", "f1", "f2", "f100", "f101"]
    view.set_queries(None)
    view.set_versions([draft, lanes])
    assert len(view) == 11
    view.add_query(project_id="roads")
    assert ids(view) == ["f100", "f101"]
    assert [version.version_id for version in view.get_versions()] == [draft.version_id, lanes.version_id]


def test_a_frame_that_versions_share_is_one_frame(draft):
    child = DatasetVersion.create_snapshot(dataset_name="streets", publish_name="v1")
    child.add_frames([made(0, "paris"), made(9)])
    view = DataView()
    view.add_query(dataset_name="streets", version_name="v1")
    view.add_query(dataset_name="streets", version_name="Current")
    assert view.get_count()[1] == [9, 10]
    assert ids(view) == [*(f"f{n}" for n in range(9)), "f0", "f9"]
    assert [frame["dataset"]["version"] for frame in view.to_dict(["dataset.version"])] == [
        *[draft.version_id] * 9,
        *[child.version_id] * 2,
    ]
    assert [frame.origin["version_name"] for frame in view][8:] == ["v1", "Current", "Current"]


def test_unknown_names_are_warned_of_once_with_the_nearest(draft):
    view = view_of(draft, {"frame_query": "meta.citty:a OR meta.city:a", "roi_query": "carr OR label:d*"})
    with pytest.warns(UnknownNameWarning) as warned:
        found = [view.get_count(), len(view)]
    assert found == [0, 0]
    assert [str(each.message) for each in warned] == [
        "no frame of the view's versions has the field 'meta.citty': did you mean 'meta.city'?",
        "no frame of the view's versions has the label 'carr': did you mean 'car'?",
    ]
    assert {each.filename for each in warned} == {__file__}


# labels


def test_mapping_is_after_matching_and_of_what_was_recorded(draft):
    view = view_of(draft, {"roi_query": "Car"})
    view.add_mapping_rule(["Car", "partly"], "car")
    view.add_mapping_rule("car", "vehicle")
    view.set_labels({"car": 1, "dog": 2})
    assert [(each.labels, each.label_num) for frame in view for each in frame.annotations] == [
        (["car"], 1),
        (["dog"], 2),
    ] * 3
    assert ids(view) == ["f3", "f4", "f5"]
    view.add_mapping_rule("*", "thing", dataset_name="streets")
    assert [each.labels for each in view.to_list()[0].annotations] == [["car"], ["thing"]]
    assert [each.label_enum for each in view.to_list()[0].annotations] == [1, -1]
    assert [rule.to_label for rule in view.get_mapping_rules()] == ["car", "vehicle", "thing"]
    assert view.get_labels() == {"car": 1, "dog": 2}
    view.set_labels({})
    assert view.to_list()[0].annotations[0].label_num is None
    assert draft["f3"].annotations[0].labels == ["Car", "partly"]


def test_rules_apply_to_the_versions_they_name(draft):
    child = DatasetVersion.create_snapshot(dataset_name="streets", publish_name="v1")
    child.add_frames([made(0, rois=[(["car"], None)])])
    view = view_of(draft, {"roi_query": "car", "frame_query": "id:f0"})
    view.add_query(version_id=child.version_id, roi_query="car", frame_query="id:f0")
    view.add_mapping_rule("car", "old", dataset_name="streets", version_name="v1")
    assert [frame.annotations[0].labels for frame in view] == [["old"], ["car"]]
    with pytest.raises(NotFoundError):
        view.add_mapping_rule("car", "old", dataset_name="nowhere")
    for wrong in ([], "", [""], None):
        with pytest.raises(ValueError, match="from_labels"):
            view.add_mapping_rule(wrong, "x")
    for wrong in ("", None, ["a"]):
        with pytest.raises(ValueError, match="to_label"):
            view.add_mapping_rule("car", wrong)
    for wrong in ({"a": "1"}, {"a": True}, ["a"], {1: 1}):
        with pytest.raises(ValueError, match="label_dict"):
            view.set_labels(wrong)


def test_numbers_stay_with_copies_but_are_not_stored(draft):
    group = framelode.FrameGroup(id="g", left=made(1, rois=[(["car"], None)]), right=made(2))
    group["left"].id = group["right"].id = None
    group.add_global_annotation(frame_class=["dog"])
    draft.add_frames([group])
    view = view_of(draft, {"roi_query": "dog OR car"})
    view.set_labels({"car": 7})
    frames = {frame.id: frame for frame in view}
    for kept in (frames, copy.deepcopy(frames), pickle.loads(pickle.dumps(frames))):
        assert kept["f0"].annotations[0].label_num == 7
        assert [each.label_num for each in kept["f3"].annotations] == [-1, -1]
        assert kept["g"]["left"].annotations[0].label_num == 7
        assert kept["g"].global_annotations[0].label_num == -1
        assert kept["g"].to_dict()["rois"][0]["label_num"] == 7
    DatasetVersion.create_new_dataset("copy")
    copied = DatasetVersion.get_current(dataset_name="copy")
    copied.add_frames(frames.values())
    copied.add_dicts([frame | {"id": f"d{frame['id']}"} for frame in view.to_dict()])
    assert copied["f0"].annotations[0].label_num is None
    assert copied["df0"].annotations[0].to_dict() == copied["f0"].annotations[0].to_dict()


# order


def test_orders(draft):
    assert ids(view_of(draft)) == [f"f{n}" for n in range(9)]
    assert ids(view_of(draft, iteration_order="added")) == [f"f{n}" for n in range(9)]
    by_context = view_of(draft, iteration_order=IterationOrder.sequential)
    assert ids(by_context) == [f"f{n}" for n in (7, 5, 3, 1, 8, 6, 4, 2, 0)]
    one, two = (
        view_of(draft, iteration_order=IterationOrder.random, iteration_random_seed=s) for s in (1, 2)
    )
    assert sorted(ids(one)) == sorted(ids(two)) == [f"f{n}" for n in range(9)]
    assert ids(one) == ids(one.get_iterator()) != ids(two)
    # The permutation of the page on the format, which never changes.
    assert ids(one) == [f"f{n}" for n in (3, 7, 2, 8, 4, 5, 6, 1, 0)]
    one.set_iteration_parameters(infinite=True)
    rounds = ids(islice(one, 27))
    assert rounds[:9] != rounds[9:18] != rounds[18:]
    assert sorted(rounds[9:18]) == sorted(rounds[:9])


def test_iteration_parameters_of_both_apis(draft):
    view = view_of(draft)
    assert view.get_iteration_parameters() == {
        "order": "sequential",
        "infinite": False,
        "limit": None,
        "random_seed": None,
    }
    view.set_iteration_parameters(
        order=IterationOrder.random, infinite=False, maximum_number_of_frames=4, random_seed=5
    )
    assert (len(view), len(view.to_list())) == (4, 4)
    view.set_iteration_parameters(infinite=True)
    assert view.get_iteration_parameters() == {
        "order": IterationOrder.random,
        "infinite": True,
        "limit": 4,
        "random_seed": 5,
    }
    view.set_iteration_parameters(limit=20)
    assert (len(view), len(view.to_list()), view.get_count()) == (20, 20, 9)
    view.set_iteration_parameters(limit=None)
    for read in (view.to_list, view.to_dict, view.split_to_lists, view.prefetch_files):
        with pytest.raises(ValueError, match="without a limit"):
            read()
    assert len(view) == 9
    for wrong in ({"limit": -1}, {"order": "backwards"}, {"infinite": "yes"}, {"random_seed": "a"}):
        with pytest.raises(ValueError, match="must be"):
            view.set_iteration_parameters(**wrong)
    with pytest.raises(ValueError, match="are the same"):
        view.set_iteration_parameters(limit=1, maximum_number_of_frames=1)


@pytest.mark.parametrize("weight", [1e-9, 1e-300])
def test_weights_that_differ_too_much_are_refused(draft, weight):
    view = DataView(iteration_order="random", iteration_limit=5)
    view.add_query(version_id=draft.version_id, weight=weight)
    view.add_query(version_id=draft.version_id, frame_query="id:f1")
    for read in (view.to_list, view.__len__, view.split_to_lists, lambda: next(view.get_iterator())):
        with pytest.raises(ValueError, match=f"weights of {weight}, 1.0 make a pass of about 10\\^"):
            read()
    assert view.get_count()[1] == [9, 1]


def test_weights_repeat_frames_so_that_their_parts_hold(draft):
    queries = {"roi_query": "car"}, {"frame_query": "id:f8", "weight": 2}
    view = view_of(draft, *queries)
    assert len(view) == len(view.to_list()) == 4
    iterator = view.get_iterator(allow_repetition=True)
    found = ids(iterator)
    # Three frames of one part in three: nine in all.
    assert len(iterator) == iterator.limit == len(view) == len(found) == 9
    assert sorted(found) == ["f0", "f1", "f2"] + ["f8"] * 6
    assert found[:3].count("f8") == 2
    view.set_iteration_parameters(limit=5)
    assert len(ids(view.get_iterator(allow_repetition=True))) == 5
    random = view_of(draft, *queries, iteration_order="random")
    assert len(random) == 9
    assert sorted(ids(random)) == sorted(found)
    equal = view_of(draft, {"roi_query": "car"}, {"frame_query": "id:f8"}, iteration_order="random")
    assert sorted(ids(equal)) == ["f0", "f1", "f2", "f8"]
    assert sorted(ids(equal.get_iterator(auto_synthetic_epoch_limit=True))) == ["f0", "f1", "f2"] + ["f8"] * 3
    assert [frame.id for frame in equal.get_iterator(allow_repetition=True)].count("f8") == 3
    first, second = islice((each for each in equal.get_iterator(allow_repetition=True) if each.id == "f8"), 2)
    assert first == second
    assert first is not second


def test_workers_share_a_view(draft):
    view = view_of(draft, iteration_limit=5)
    parts = [view.get_iterator(worker_index=n, num_workers=2) for n in (0, 1)]
    # Each takes its part of the limit, rounded up, as in the public API.
    assert list(map(ids, parts)) == [["f0", "f2", "f4"], ["f1", "f3", "f5"]]
    assert list(map(len, parts)) == [3, 3]
    view.set_iteration_parameters(limit=None)
    parts = [ids(view.get_iterator(node_id=n, num_workers=4)) for n in range(4)]
    assert sorted(name for part in parts for name in part) == [f"f{n}" for n in range(9)]
    iterator = view.get_iterator()
    iterator.set_concurrency(worker_index=5, num_workers=4)
    assert ids(iterator) == parts[1]
    next(iter(iterator))
    with pytest.raises(UsageError, match="has begun"):
        iterator.set_concurrency(0, 2)
    with pytest.raises(UsageError, match="has begun"):
        pickle.dumps(iterator)


def test_an_iterator_starts_again_and_may_keep_its_frames(draft):
    iterator = view_of(draft).get_iterator(cache_in_memory=True)
    assert next(iterator).id == "f0"
    rest = list(iterator)
    assert ids(rest) == [f"f{n}" for n in range(1, 9)]
    assert next(iterator, None) is next(iterator, None) is None
    assert [a is b for a, b in zip(rest, list(iterator)[1:], strict=True)] == [True] * 8
    anew = view_of(draft).get_iterator()
    assert [a is b for a, b in zip(list(anew), list(anew), strict=True)] == [False] * 9


def test_lists_split_a_view(draft):
    view = view_of(draft, iteration_random_seed=3)
    train, test = view.split_to_lists(ratio=[80, 20])
    assert (len(train), len(test)) == (7, 2)
    assert sorted(ids(train + test)) == [f"f{n}" for n in range(9)]
    assert ids(train) == sorted(ids(train))
    assert list(map(ids, view.split_to_lists([80, 20]))) == [ids(train), ids(test)]
    assert [len(part) for part in view.split_to_lists([1, 1, 0, 1])] == [3, 3, 0, 3]
    assert ids(view.split_to_lists([1, 1], seed=1)[0]) != ids(view.split_to_lists([1, 1], seed=2)[0])
    weighted = view_of(draft, {}, {"frame_query": "id:f8", "weight": 9}, iteration_order="random")
    train, test = map(set, map(ids, weighted.split_to_lists([80, 20])))
    assert (len(train), len(test), train & test) == (7, 2, set())
    for wrong in ([], [0], [-1, 2], "ab", None):
        with pytest.raises(ValueError, match="ratio"):
            view.split_to_lists(wrong)


def test_projections(draft):
    view = view_of(draft, {"roi_query": "dog"})
    assert view.to_dict(projection=["id", "meta.city"])[0] == {"id": "f3", "meta": {"city": "ulm"}}
    assert view.to_dict()[0] == next(iter(view)).to_dict()
    assert list(view.get_iterator(projection=["*"])) == list(view)
    with pytest.raises(ValueError, match="no frame can have"):
        view.get_iterator(projection=["nosuch"])


def test_entries_come_back_as_entries(engine):
    data = framelode.HyperDataset("p", "d", "v")
    entry = framelode.DataEntryImage("e", metadata={"a": 1})
    image = framelode.DataSubEntryImage("left", "s3://b/1.jpg")
    image.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["car"])
    entry.add_sub_entries([image])
    data.add_data_entries([entry])
    data.version.add_frames([made(0)])
    view = DataView()
    view.add_query(project_id=data.project_id, dataset_id=data.dataset_id, version_id=data.version_id)
    view.set_labels({"car": 4})
    assert [type(each) for each in view] == [framelode.DataEntryImage, SingleFrame]
    assert next(iter(view)).sub_data_entries[0].get_all_annotations()[0]["label_num"] == 4
    entries = EntryView()
    entries.add_queries(view.get_queries())
    assert [type(each) for each in entries.get_iterator()] == [framelode.DataEntryImage] * 2
    assert [each.id for each in entries.get_iterator(projection=["meta"])] == ["e", "f0"]


# moments


def test_a_view_reads_drafts_at_the_moment_of_its_first_read(draft):
    view, later = view_of(draft, {"roi_query": "car"}), view_of(draft, {"roi_query": "car"})
    assert len(view) == 3
    draft.add_frames([made(10, rois=[(["car"], None)])])
    assert len(view) == 3
    assert len(later) == 4
    view.add_mapping_rule("car", "Car")
    assert len(view) == 3
    assert view.get_versions()[0].get("f10") is None
    before = view.versions()[0].position
    assert ids(view.get_iterator(as_of=before + 1)) == ids(later)
    assert (later.get_count(as_of=before), len(later.to_list(as_of=before)), len(later.at(before))) == (
        3,
        3,
        3,
    )
    assert len(later.to_dict(as_of=before)) == sum(map(len, later.split_to_lists(as_of=before))) == 3
    with pytest.raises(NotFoundError):
        later.get_count(as_of=1)
    assert view.at(None) is view


def test_views_of_past_engines(engine, draft):
    position = engine.log.head().position
    draft.delete_frames(["f0"])
    with engine.at(position):
        past = view_of(draft, {"roi_query": "car"})
        assert len(past) == 3
        with pytest.raises(UsageError, match="read-only"):
            past.store()


def test_odd_arguments(engine, draft):
    for wrong in (
        {"name": 5},
        {"tags": "abc"},
        {"iteration_limit": -1},
        {"iteration_order": "up"},
        {"iteration_infinite": "x"},
        {"project_name": ""},
        {"description": b""},
    ):
        with pytest.raises(ValueError, match="must be|tag"):
            DataView(**wrong)
    view = DataView("v", "text", ["a", "a"], "random", True, 3, 5, False, "p")
    assert (view.name, view.description, view.tags, view.project) == ("v", "text", ["a"], "p")
    with pytest.raises(AttributeError, match="did you mean 'name'"):
        view.nam = 1
    with pytest.raises(ValueError, match="queries must be"):
        view.add_queries([view])
    with pytest.raises(ValueError, match="versions must be"):
        view.set_versions("abc")
    assert repr(view) == "DataView(name='v')"
    assert bool(view_of(draft, {"frame_query": "id:nosuch"}))
    for wrong in ({"num_workers": -1}, {"worker_index": -1}, {"query_cache_size": 0}):
        with pytest.raises(ValueError, match="must be"):
            view_of(draft).get_iterator(**wrong)


def test_repeated_reads_ask_the_columns_once(draft, monkeypatch):
    asked = []
    find = view_frames.find_positions
    monkeypatch.setattr(view_frames, "find_positions", lambda *given: asked.append(1) or find(*given))
    view = view_of(draft, {"roi_query": "car"})
    assert [len(view), view.get_count(), len(list(view)), len(view.to_list())] == [3] * 4
    assert len(asked) == 1
