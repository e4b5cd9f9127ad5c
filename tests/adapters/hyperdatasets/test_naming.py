"""What is said about datasets and versions: names, projects, descriptions, tags and their filter, mask labels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import framelode
from framelode import ConflictError, DatasetVersion, InvalidValueError, NotFoundError, PublishedError
from framelode.adapters.hyperdatasets.tag_filter import TagFilter


@pytest.fixture
def dataset(engine):
    return DatasetVersion.create_new_dataset("food", tags=["a"])


class TestNotFound:
    def test_it_is_a_key_error_and_a_value_error(self, engine, dataset):
        for kind in (NotFoundError, KeyError, ValueError):
            with pytest.raises(kind) as caught:
                DatasetVersion.get_version(dataset_name="food", version_name="missing")
            assert str(caught.value) == "dataset 'food' has no version named 'missing'"

    def test_a_name_in_place_of_the_id(self, engine, dataset):
        with pytest.raises(NotFoundError, match="first argument is an id; .* pass dataset_name='food'$"):
            DatasetVersion.get_version("food")
        with pytest.raises(NotFoundError, match="there is no dataset with id 'foo'$"):
            DatasetVersion.get_version("foo")

    def test_similar_names(self, engine, dataset):
        with pytest.raises(NotFoundError, match="no dataset with name 'foodd': did you mean 'food'\\?$"):
            DatasetVersion.get_version(dataset_name="foodd")
        with pytest.raises(NotFoundError, match="no version named 'current': did you mean 'Current'\\?$"):
            DatasetVersion.get_version(dataset_name="food", version_name="current")


class TestDatasets:
    def test_rename_frees_the_old_name(self, engine, dataset):
        dataset.rename("meals")
        assert (dataset.name, engine.dataset("meals")) == ("meals", dataset)
        with pytest.raises(NotFoundError):
            engine.dataset("food")
        other = DatasetVersion.create_new_dataset("food", raise_if_exists=True)
        assert other != dataset
        with pytest.raises(ConflictError, match="dataset 'food' exists already in project 'default'"):
            dataset.rename("food")
        other.rename("dishes")
        dataset.rename("food")
        assert engine.dataset("food") == dataset

    def test_move(self, dataset):
        DatasetVersion.create_new_dataset("food", dataset_project="taken")
        dataset.move("lab")
        assert (dataset.project, dataset.name) == ("lab", "food")
        with pytest.raises(ConflictError, match="in project 'taken'"):
            dataset.move("taken")
        assert DatasetVersion.get_current(dataset_name="food", dataset_project="lab").dataset_id == dataset.id

    def test_describe_and_tag(self, dataset, engine):
        dataset.describe("what people eat")
        dataset.set_tags(["b", "c", "b"])
        assert (dataset.description, dataset.tags) == ("what people eat", ["b", "c"])
        head = engine.log.head().position
        dataset.describe("what people eat")
        dataset.set_tags(["b", "c"])
        dataset.rename("food")
        assert engine.log.head().position == head  # what changes nothing leaves no event
        dataset.describe("")
        assert dataset.description == ""

    @pytest.mark.parametrize("value", ["", 7, None, "\udc00"])
    def test_bad_values(self, dataset, value):
        for call in (dataset.rename, dataset.move, lambda bad: dataset.set_tags([bad])):
            if value is not None or call.__name__ == "<lambda>":
                with pytest.raises(InvalidValueError):
                    call(value)


class TestVersions:
    def test_tags_and_descriptions_of_published_versions_may_change(self, dataset, engine):
        version = DatasetVersion.get_current(dataset_name="food")
        version.rename("v1")
        version.publish_version()
        fingerprint = version.fingerprint
        version.describe("the first")
        version.set_tags(["prod"])
        assert (version.version_name, version.comment, version.tags) == ("v1", "the first", ["prod"])
        assert version.fingerprint == fingerprint
        topics = [
            topic for header in engine.log.headers(stream_id=version.version_id) for topic in header.topics
        ]
        assert topics[-3:] == ["VersionPublished", "VersionDescribed", "VersionTagged"]

    def test_the_name_of_a_published_version_stays(self, dataset):
        version = DatasetVersion.get_current(dataset_name="food")
        version.publish_version()
        with pytest.raises(PublishedError):
            version.rename("v1")

    def test_removed_ones_are_not_found(self, dataset):
        version = DatasetVersion.create_version("v", dataset_name="food")
        DatasetVersion.remove_version(version_id=version.version_id)
        with pytest.raises(NotFoundError):
            version.rename("w")

    @pytest.mark.parametrize("name", [None, "", " ", 5, b"x", "\ud800"])
    def test_bad_names(self, dataset, name):
        for change in (dataset.rename, dataset.move):
            with pytest.raises(InvalidValueError, match="dataset (name|project)"):
                change(name)
        assert (dataset.name, dataset.project) == ("food", "default")


class TestMasks:
    def test_stored_in_the_metadata(self, dataset):
        version = DatasetVersion.get_current(dataset_name="food")
        assert version.get_masks_labels() == {}
        version.set_metadata({"a": 1})
        assert version.set_masks_labels({(0, 0, 0): ["background"], (1, 1, 1): ("person", "sitting")}) is True
        assert version.get_masks_labels() == {(0, 0, 0): ("background",), (1, 1, 1): ("person", "sitting")}
        assert version.get_metadata() == {
            "a": 1,
            "mask_labels": {
                "_all_": [
                    {"value": [0, 0, 0], "labels": ["background"]},
                    {"value": [1, 1, 1], "labels": ["person", "sitting"]},
                ]
            },
        }
        child = version.create_snapshot()
        assert child.get_masks_labels() == version.get_masks_labels()
        assert version.set_masks_labels({}) is False

    def test_numbers_and_labels_may_be_numpy_s(self, dataset):
        version = DatasetVersion.get_current(dataset_name="food")
        version.set_masks_labels({tuple(np.array([1, 2, 255], np.uint8)): np.array(["a", "b"])})
        assert version.get_masks_labels() == {(1, 2, 255): ("a", "b")}

    @pytest.mark.parametrize(
        "mapping",
        [
            [],
            {"red": ["a"]},
            {(0, 300): ["a"]},
            {(): ["a"]},
            {(1.5,): ["a"]},
            {(True,): ["a"]},
            {(1,): None},
            {(1,): "a"},
            {(1,): [2]},
        ],
    )
    def test_bad_mappings(self, dataset, mapping):
        with pytest.raises(ValueError, match="mask"):
            DatasetVersion.get_current(dataset_name="food").set_masks_labels(mapping)


class TestTagFilter:
    LONG = ("__$all", "a", "b", "c", "__$or", "d", "__$not", "e", "__$and", "__$or", "f", "g")

    @pytest.mark.parametrize(
        ("filters", "tags", "fits"),
        [
            ([], [], True),
            (["best", "-debug"], ["best"], True),
            (["best", "-debug"], ["best", "debug"], False),
            (["best", "-debug"], ["other"], False),
            (["-debug"], [], True),
            (["-debug"], ["debug"], False),
            (["x", "y"], ["y"], True),
            (["__$all", "best", "experiment", "ever"], ["best", "experiment"], False),
            (["__$all", "best", "experiment", "ever"], ["ever", "best", "experiment"], True),
            (["__$all", "best", "__$not", "internal", "__$not", "test"], ["best"], True),
            (["__$all", "best", "__$not", "internal", "__$not", "test"], ["best", "test"], False),
            (["x", "__$all", "a", "b"], ["x"], True),
            (["x", "__$all", "a", "b"], ["a", "b"], True),
            (["x", "__$all", "a", "b"], ["a"], False),
            (["__$any", "a", "__$all", "b", "c"], ["b", "c"], True),
            (["__$not", "a", "b"], ["b"], True),
            (["__$not", "a", "b"], ["a", "b"], False),
            (LONG, ["a", "b", "c", "d", "f"], True),
            (LONG, ["a", "b", "c", "g"], True),
            (LONG, ["a", "b", "c", "e", "g"], False),
            (LONG, ["a", "b", "c", "d"], False),
            (LONG, ["a", "b", "d", "f"], False),
        ],
    )
    def test_examples(self, filters, tags, fits):
        assert TagFilter(list(filters))(tags) is fits

    @pytest.mark.parametrize(
        "filters",
        [
            ["__$not"],
            ["a", "__$not", "__$or", "b"],
            ["-"],
            [7],
            ["__$xor", "a"],
            "a",
            [""],
            ["__$not", "__$not", "a"],
        ],
    )
    def test_what_is_malformed(self, filters):
        with pytest.raises(ValueError):
            TagFilter(filters)

    @given(
        st.lists(st.sampled_from("abcd")),
        st.lists(st.sampled_from("abcd")),
        st.lists(st.sampled_from("abcd")),
    )
    def test_without_operators(self, included, excluded, tags):
        filters = included + [f"-{tag}" for tag in excluded]
        expected = (not included or bool(set(included) & set(tags))) and not set(excluded) & set(tags)
        assert TagFilter(filters)(tags) is expected

    def test_get_datasets_oldest_first(self, engine):
        for name, tags in (("one", ["a"]), ("two", ["b"]), ("three", ["a", "b"])):
            DatasetVersion.create_new_dataset(name, tags=tags)
        assert [dataset.name for dataset in DatasetVersion.get_datasets()] == ["one", "two", "three"]
        assert [dataset.name for dataset in DatasetVersion.get_datasets(["a"])] == ["one", "three"]
        assert [dataset.name for dataset in DatasetVersion.get_datasets(["__$all", "a", "b"])] == ["three"]


class TestNamesAreTakenOnce:
    """A version's name is unique in its dataset."""

    @pytest.fixture
    def draft(self, dataset):
        """A draft named Current beside a published version v1."""
        return DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")

    @pytest.mark.parametrize(
        "take",
        [
            lambda draft: draft.create_snapshot(publish_name="v1"),
            lambda draft: draft.create_snapshot(publish_name="v2", child_name="v1"),
            lambda draft: draft.create_snapshot(publish_name="Current"),
            lambda draft: draft.create_snapshot(publish_name="v2", child_name="v2"),
            lambda draft: draft.rename("v1"),
            lambda _: DatasetVersion.create_version("v1", dataset_name="food"),
            lambda _: DatasetVersion.create_version("Current", dataset_name="food", raise_if_exists=True),
        ],
    )
    def test_a_second_one_is_refused_at_every_door(self, draft, engine, take):
        head = engine.log.head().position
        with pytest.raises(ConflictError, match="another name"):
            take(draft)
        assert engine.log.head().position == head

    def test_the_error_says_how_to_name_the_version_that_has_it(self, draft):
        v1 = DatasetVersion.get_version(dataset_name="food", version_name="v1")
        with pytest.raises(ConflictError, match=f"named 'v1' already, published \\(id:{v1.version_id}\\)"):
            draft.create_snapshot(publish_name="v1")

    def test_names_of_removed_versions_and_of_other_datasets_are_free(self, draft):
        DatasetVersion.create_new_dataset("other")
        DatasetVersion.create_snapshot(dataset_name="other", publish_name="v1")
        extra = DatasetVersion.create_version("extra", dataset_name="food")
        DatasetVersion.remove_version(version_id=extra.version_id)
        assert DatasetVersion.create_version("extra", dataset_name="food") != extra

    def test_a_draft_may_keep_its_own_name(self, draft):
        draft.rename("Current")
        child = draft.create_snapshot(publish_name="Current", child_name="next")
        assert (draft.version_name, child.version_name) == ("Current", "next")

    def test_names_that_are_made_never_collide(self, draft, engine, monkeypatch):
        monkeypatch.setattr(engine.session.writes.application, "clock", lambda: 1_800_000_000_000_000)
        child = draft.create_snapshot()
        child.create_snapshot()
        assert child.version_name == f"{draft.version_name} (2)"

    def test_a_log_that_holds_a_name_twice_opens_rebuilds_and_is_imported(self, tmp_path, ticks, monkeypatch):
        with framelode.connect(tmp_path / "old", new_id=ticks.new_id) as old:
            monkeypatch.setattr(old.session.writes.application, "versions_named", lambda *_: [])
            DatasetVersion.create_new_dataset("food")
            draft = DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
            draft.create_snapshot(publish_name="v1")
            old.rebuild()
            old.verify()
            old.export_log(tmp_path / "log.jsonl")
        with framelode.connect(tmp_path / "new") as new:
            new.import_log(tmp_path / "log.jsonl")
            new.verify()
            names = [version.version_name for version in DatasetVersion.get_versions("food")]
            assert sorted(names) == ["Current", "v1", "v1"]
            with pytest.raises(ConflictError, match="2 versions named 'v1': select one by id: id:"):
                DatasetVersion.get_version(dataset_name="food", version_name="v1", raise_on_multiple=True)
            with pytest.raises(ConflictError, match="already, published"):
                DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
            for engine in (old, new):
                engine.close()

    def test_one_of_many_threads_gets_a_name(self, dataset, engine):
        drafts = [DatasetVersion.create_version(f"d{number}", dataset_name="food") for number in range(4)]

        def rename(draft):
            with suppress(ConflictError):
                draft.rename("wanted")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(rename, drafts))
        taken = [draft.version_name for draft in drafts].count("wanted")
        # In memory, where there is one connection, nobody can be kept out while a name is looked up.
        assert taken == 1 if engine.log.reads_while_writing else taken >= 1
