"""The open hyper-datasets API: entries are frames, a hyper-dataset is a version, and vectors are compared exactly."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import framelode
from framelode import (
    ConflictError,
    DataEntry,
    DataEntryImage,
    Dataset,
    DatasetVersion,
    DataSubEntry,
    DataSubEntryImage,
    FrameGroup,
    FramesRejected,
    HyperDataset,
    HyperDatasetManagement,
    InvalidTypeError,
    InvalidValueError,
    NotFoundError,
    PublishedError,
    SingleFrame,
    UsageError,
)
from framelode.adapters.hyperdatasets.open import vector_search
from framelode.adapters.hyperdatasets.version_writer import UnknownFramesWarning
from framelode.engine.frames.local_files import LocalFileWarning


class Answer(DataEntry):
    def __init__(self, question, answer):
        super().__init__(metadata={"question": question, "answer": answer})

    @property
    def question(self):
        return self._metadata["question"]


class Text(DataSubEntry):
    def __init__(self, name, text):
        super().__init__(name=name, source=f"text://{name}", metadata={"text": text})


@pytest.fixture
def engine():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.verify()


@pytest.fixture
def dataset(engine):
    return HyperDataset("lab", "food", "v1", description="meals")


def answer(question="what", text="this"):
    entry = Answer(question, text)
    entry.add_sub_entries([Text("question", question), Text("answer", text)])
    return entry


def image(entry_id=None, **arguments):
    entry = DataEntryImage(entry_id, metadata={"k": 1})
    entry.add_sub_entries([DataSubEntryImage("image", **{"source": "s3://b/a.jpg", **arguments})])
    return entry


class TestHyperDatasets:
    def test_made_if_missing(self, dataset):
        made = Dataset.get(dataset_name="food", dataset_project="lab")
        assert (dataset.project_id, dataset.dataset_id) == ("lab", made.id)
        assert made.description == dataset.version.comment == "meals"
        assert dataset.version.draft
        assert HyperDataset("lab", "food", "v1").version_id == dataset.version_id
        with pytest.raises(ConflictError, match="a version named 'v1' already"):
            HyperDataset("lab", "food", "v1", raise_if_exists=True)

    @pytest.mark.parametrize("how", ["parent_id", "parent_ids"])
    def test_parents(self, dataset, how):
        dataset.add_data_entries([image("1")])
        dataset.publish_version()
        parent = dataset.version_id if how == "parent_id" else [dataset.version_id]
        child = HyperDataset("lab", "food", "v2", **{how: parent})
        assert child.version.get_parent() == dataset.version_id
        assert [entry.id for entry in child.get_iterator()] == ["1"]
        assert HyperDataset("lab", "food", "v2", **{how: parent}).version_id == child.version_id
        with pytest.raises(ConflictError, match="another parent"):
            HyperDataset("lab", "food", "v1", **{how: parent})
        assert HyperDataset("lab", "food", "v1").version_id == dataset.version_id  # published, to be read

    def test_bad_arguments(self, engine):
        with pytest.raises(UsageError, match="no parameter parents"):
            HyperDataset("lab", "food", "v1", parents=[])
        with pytest.raises(UsageError, match="exclude each other"):
            HyperDataset("lab", "food", "v1", parent_id="a", parent_ids=["b"])
        with pytest.warns(UserWarning, match="field_mappings has no effect"):
            HyperDataset("lab", "food", "v1", field_mappings={"meta.v": {"type": "dense_vector", "dims": 3}})

    def test_get_and_exists(self, dataset):
        for found in (
            HyperDatasetManagement.get("food", "v1", "lab"),
            HyperDataset.get(dataset_id=dataset.dataset_id, version_id=dataset.version_id),
        ):
            assert type(found) is HyperDataset
            assert found.version == dataset.version
        assert HyperDataset.get(dataset_name="food").version.version_name == "v1"
        with pytest.raises(ValueError, match="no version named 'v2'"):
            HyperDataset.get("food", "v2")
        assert HyperDataset.exists("food")
        assert HyperDataset.exists("food", version_id="*")
        assert HyperDataset.exists("food", "v1", "lab")
        assert not HyperDataset.exists("food", "v2")
        assert not HyperDataset.exists("food", project_name="other")
        assert not HyperDataset.exists(dataset_id="0" * 32)
        with pytest.raises(UsageError):
            HyperDataset.exists()

    def test_list(self, dataset):
        HyperDataset("lab/deep", "drinks", "v1").set_tags("a b")
        HyperDataset("laboratory", "foods", "v1")

        def names(**filters):
            return [found["name"] for found in HyperDatasetManagement.list(**filters)]

        assert names() == ["food", "drinks", "foods"]
        assert names(project_name="lab") == names(project_name="lab/") == ["food", "drinks"]
        assert names(project_name="lab", recursive_project_search=False) == ["food"]
        assert names(partial_name="^food$") == ["food"]
        assert names(tags=["a"]) == ["drinks"]
        assert names(tags=["-a"]) == ["food", "foods"]
        assert names(ids=[dataset.dataset_id]) == ["food"]
        (found,) = HyperDatasetManagement.list(partial_name="drinks")
        assert found["project"] == "lab/deep"
        assert found["tags"] == ["a", "b"]
        assert found["version_count"] == 2
        with pytest.raises(InvalidValueError, match="not a regular expression"):
            names(partial_name="(")

    def test_delete(self, dataset):
        assert not HyperDataset.delete("drinks")
        assert not HyperDataset.delete("food", "v2")
        dataset.publish_version()
        with pytest.raises(PublishedError):
            HyperDataset.delete("food", "v1")
        assert HyperDataset.delete("food", "v1", force=True)
        assert not HyperDataset.exists("food", "v1")
        Dataset.get(dataset_name="food").delete_version(version_name="Current")
        assert HyperDataset.exists("food", version_id="*")  # without a version, it is a dataset nevertheless
        assert [found["version_count"] for found in HyperDataset.list()] == [0]
        assert HyperDataset.delete("food", project_name="lab")
        assert not HyperDataset.exists("food")
        assert HyperDatasetManagement.list() == []
        assert not HyperDataset.delete("food")
        assert HyperDataset("lab", "food", "v1").version_id != dataset.version_id

    def test_tags(self, dataset):
        dataset.tags = ["a", "b"]
        dataset.add_tags("c d")
        dataset.remove_tags(["a"])
        assert dataset.tags == dataset.get_tags(reload=True) == ["b", "c", "d"]
        dataset.tags = None
        assert Dataset.get(dataset_name="food").tags == []

    def test_metadata(self, dataset):
        assert dataset.set_metadata({"a": {"b": 1}})
        assert dataset.get_metadata() == dataset.version.get_metadata() == {"a": {"b": 1}}

    def test_commit_and_publish(self, dataset):
        dataset.version.add_frames([SingleFrame(id="1")], refresh_version_stats=False)
        with pytest.warns(UserWarning, match="override_stats and publishing_task have no effect"):
            counts = dataset.commit_version(publish=True, force=True, override_stats={}, publishing_task="t")
        assert counts["added"] == 1
        assert not dataset.version.draft
        assert dataset.publish_version(force=True) is False

    def test_snapshot(self, dataset):
        dataset.add_data_entries([image("1")])
        published = dataset.version_id
        snapshot = dataset.create_snapshot()
        assert (snapshot.version_id, snapshot.version.draft) == (published, False)
        assert (dataset.version.version_name, dataset.version.draft) == ("v1", True)
        dataset.add_data_entries([image("2")])
        assert [entry.id for entry in snapshot.get_iterator()] == ["1"]
        assert [entry.id for entry in dataset.get_iterator()] == ["1", "2"]

    def test_it_uses_the_engine_of_its_version(self, dataset):
        with framelode.connect("sqlite://"):
            assert dataset.add_data_entries([image("1")])["register"] == {}
            assert HyperDataset.of(dataset.version).delete_data_entries(["1"]) == 1
            dataset.add_tags("a")
            assert dataset.tags == ["a"]

    def test_pickle(self, tmp_path):
        with framelode.connect(tmp_path / "engine"):
            dataset = HyperDataset("lab", "food", "v1")
            dataset.add_data_entries([image("1")])
            copy = pickle.loads(pickle.dumps(dataset))
            assert copy.version == dataset.version
            (entry,) = copy.get_iterator()
            assert pickle.loads(pickle.dumps(entry)).to_api_object() == entry.to_api_object()


class TestEntries:
    def test_an_entry_is_a_frame(self, dataset):
        entry = image("1", width=4, height=3, timestamp=40, context_id="video", masks_source=["s3://b/m.png"])
        (sub_entry,) = entry
        sub_entry.add_annotation(box2d_xywh=(0, 1, 2, 3), labels=["cat"], id="b", confidence=0.5)
        assert entry.add_annotation(id="e", labels=["day"], confidence=None, metadata={"by": "me"}) == 0
        assert dataset.add_data_entries([entry]) == {"upload": {}, "register": {}}
        group = dataset.version.get_single_frame("1")
        assert isinstance(group, FrameGroup)
        assert (group.context_id, group.metadata["k"]) == ("video", 1)
        assert (group["image"].width, group["image"].timestamp) == (4, 40)
        assert [annotation.labels for annotation in group["image"].annotations] == [["cat"]]
        assert [annotation.labels for annotation in group.global_annotations] == [["day"]]
        (back,) = dataset.get_iterator()
        assert type(back) is DataEntryImage
        assert back.to_api_object() == entry.to_api_object()
        (image_back,) = back.sub_data_entries
        assert type(image_back) is DataSubEntryImage
        assert (image_back.width, image_back.height, image_back.timestamp) == (4, 3, 40)
        assert (image_back.context_id, image_back.get_mask_source()) == ("video", "s3://b/m.png")

    def test_without_sources(self, dataset):
        entry = DataEntry("1", metadata={"text": "hello"})
        entry.add_annotation("a", ["x"], 0.5, None)
        dataset.add_data_entries([entry])
        (back,) = dataset.get_iterator()
        assert (back.metadata, back.sub_data_entries) == ({"text": "hello"}, [])
        assert back.get_all_annotations() == [{"type": "image", "id": "a", "label": ["x"], "confidence": 0.5}]

    def test_the_default_source_alone(self, dataset):
        entry = DataEntry("1", metadata={"k": 1})
        entry.add_sub_entries([DataSubEntry("default", "s3://b/a.bin", metadata={"s": 2})])
        dataset.add_data_entries([entry])
        group = dataset.version.get_single_frame("1")
        assert isinstance(group, FrameGroup)
        assert (group["default"].source, group.metadata["k"]) == ("s3://b/a.bin", 1)
        (back,) = dataset.get_iterator()
        assert DataEntry.from_api_object(entry.to_api_object()).to_api_object() == back.to_api_object()
        assert (back.metadata, back.sub_data_entries[0].metadata) == ({"k": 1}, {"s": 2})

    def test_classes_of_the_caller(self, dataset):
        entry = answer()
        dataset.add_data_entries([entry])
        (back,) = dataset.get_iterator()
        assert type(back) is Answer
        assert back.question == "what"  # although a source has the name, too
        assert [(type(sub), sub.metadata["text"]) for sub in back] == [(Text, "what"), (Text, "this")]
        assert back.to_api_object() == entry.to_api_object()

    def test_a_class_that_this_process_does_not_know(self, dataset):
        wire = answer().to_api_object()
        wire["meta"]["_clearml_data_entry_class"] = "Unheard"
        dataset.version.add_dicts([wire])
        (back,) = dataset.get_iterator()
        assert type(back) is DataEntry
        assert back.to_api_object()["meta"]["_clearml_data_entry_class"] == "Unheard"

    def test_frames_that_were_no_entries(self, dataset):
        single = SingleFrame(id="1", source="s3://b/a.jpg", metadata={"k": 1})
        single.add_annotation(labels=["x"])
        group = FrameGroup(id="2", frames={"left": SingleFrame(source="s3://b/l.jpg")})
        dataset.version.add_frames([single, group])
        first, second = dataset.get_iterator()
        assert type(first) is type(second) is DataEntryImage
        assert first.metadata == {"k": 1}
        assert first.get_all_global_annotations() == [{"type": "image", "label": ["x"]}]
        assert [sub.name for sub in (*first, *second)] == ["default", "left"]

    def test_metadata_is_the_dict_that_was_given(self, dataset):
        metadata = {"a": 1}
        entry = DataEntry("1", metadata=metadata)
        metadata["b"] = 2
        dataset.add_data_entries([entry])
        assert dataset.version.get_single_frame("1").metadata["b"] == 2

    def test_metadata_of_sources_as_clearml_stores_it(self):
        wire = {
            "id": "1",
            "meta": {"k": 1, "left": {"_clearml_data_sub_entry_class": "Text", "text": "t"}},
            "sources": [
                {"id": "left", "uri": "s3://b/l", "meta": {"iso": 5}},
                {"id": "right", "uri": "s3://b/r"},
            ],
        }
        entry = DataEntry.from_api_object(wire)
        left, right = entry.sub_data_entries
        assert (type(left), left.metadata, right.metadata) == (Text, {"iso": 5, "text": "t"}, {})
        assert entry.metadata == {"k": 1}
        with pytest.raises(InvalidValueError, match="data_entry must be a dict"):
            DataEntry.from_api_object([])
        with pytest.raises(InvalidValueError, match="frame '1': surces is an unknown field"):
            DataEntry.from_api_object({"id": "1", "surces": []})

    def test_sources_in_wire_form(self):
        wire = {
            "id": "left",
            "uri": "s3://b/l.png",
            "width": 3,
            "preview": {"uri": "s3://b/p"},
            "meta": {"k": 1},
        }
        made = DataSubEntry.from_api_object(wire)
        assert (made.name, made.source, made.preview_source) == ("left", "s3://b/l.png", "s3://b/p")
        assert made.metadata == {"k": 1}
        del wire["id"]
        image = DataSubEntryImage.from_api_object(wire, {"x": {"z": 2}}, "video", name_fallback="x")
        assert (image.name, image.width, image.context_id) == ("x", 3, "video")
        assert image.metadata == {"k": 1, "z": 2}
        with pytest.raises(InvalidValueError, match="url is an unknown field"):
            DataSubEntry.from_api_object({"url": "a"})

    def test_sub_entries(self, tmp_path):
        sub_entry = DataSubEntry("a", str(tmp_path / "a.bin"), "s3://b/p.png")
        assert sub_entry.get_source() == sub_entry.source == str(tmp_path / "a.bin")
        assert sub_entry.get_source("preview_source") == "s3://b/p.png"
        sub_entry.set_source("preview_source", None)
        assert sub_entry.preview_source is None
        with pytest.raises(
            InvalidValueError, match="source_field must be one of source, preview_source, not 'mask'"
        ):
            sub_entry.set_source("mask", "a")
        with pytest.raises(InvalidValueError, match="name must be a non-empty string"):
            DataSubEntry("", None)
        entry = DataEntry()
        entry.add_sub_entries([sub_entry])
        entry.add_sub_entries(iter([DataSubEntry("a", "s3://b/other")]))
        assert [each.source for each in entry] == ["s3://b/other"]
        with pytest.raises(InvalidValueError, match="a list of DataSubEntry, not 5"):
            entry.add_sub_entries([5])

    def test_masks(self):
        sub_entry = DataSubEntryImage(masks_source={"seg": "s3://b/0.png"})
        assert [sub_entry.set_mask_source(uri) for uri in ("s3://b/1.png", None, "s3://b/2.png")] == [
            "00",
            None,
            "01",
        ]
        assert sub_entry.get_masks_source_dict() == {
            "seg": "s3://b/0.png",
            "00": "s3://b/1.png",
            "01": "s3://b/2.png",
        }
        assert sub_entry.get_mask_source() == "s3://b/1.png"
        assert sub_entry.get_mask_source("seg") == "s3://b/0.png"
        assert sub_entry.get_mask_source("none") is None
        sub_entry.set_masks_source({"seg": "s3://b/9.png"})
        assert sub_entry.get_masks_source_dict() == {"00": "s3://b/9.png"}
        sub_entry.set_masks_source()
        assert sub_entry.get_mask_source() is None

    def test_local_files(self, tmp_path):
        here, mask = tmp_path / "a.png", tmp_path / "m.png"
        here.write_bytes(b"a")
        mask.write_bytes(b"m")
        sub_entry = DataSubEntryImage(source=here, preview_source=here, masks_source=[mask])
        assert sub_entry.get_local_source() == sub_entry.get_local_preview_source() == str(here)
        assert sub_entry.get_local_mask_source() == str(mask)
        assert sub_entry.get_local_masks_source() == {"00": str(mask)}
        empty = DataSubEntryImage()
        assert (empty.get_local_source(), empty.get_local_mask_source()) == (None, None)
        assert (empty.get_local_preview_source(), empty.get_local_masks_source()) == (None, {})
        here.unlink()
        with pytest.warns(LocalFileWarning, match="no local source of the frame: .*a.png"):
            assert sub_entry.get_local_source() is None
        with pytest.raises(NotFoundError):
            sub_entry.get_local_source(raise_on_error=True, force_download=True)

    def test_annotations(self):
        sub_entry = DataSubEntryImage(source="s3://b/a.jpg")
        sub_entry.add_annotation(box2d_xywh=(0, 0, 1, 1), points2d_xy=[(1, 2)], labels=["a", "b"], id="1")
        sub_entry.add_annotation(frame_class=["c"], metadata={"m": 1})
        assert [found["type"] for found in sub_entry.get_annotations(id="1")] == ["keypoints2d", "box2d"]
        assert sub_entry.get_annotations(index=2) == [{"type": "image", "label": ["c"], "meta": {"m": 1}}]
        assert sub_entry.get_annotations(id="9") == sub_entry.get_annotations(index=9) == []
        assert [found["label"] for found in sub_entry.remove_annotations(labels=["b", "z"])] == [
            ["a", "b"]
        ] * 2
        assert sub_entry.remove_annotation(id="9") is None
        assert sub_entry.remove_annotation(0)["label"] == ["c"]
        assert sub_entry.remove_annotation(0) is None
        with pytest.raises(UsageError, match="either index or id"):
            sub_entry.remove_annotation()
        with pytest.raises(UsageError, match="without label"):
            sub_entry.remove_annotation(label="a")

    def test_global_annotations(self):
        entry = DataEntryImage()
        with pytest.raises(UsageError, match="add sub-entries before"):
            entry.add_global_annotation(labels=["a"])
        entry.add_sub_entries([DataSubEntryImage("left"), DataSubEntryImage("right")])
        assert entry.add_global_annotation(box2d_xywh=(0, 0, 1, 1), labels=["a"], id="1") == [0, 0]
        assert entry.add_global_annotation(frame_class="b") == [1, 1]
        assert len(entry.get_all_global_annotations()) == 4
        assert [found["id"] for found in entry.get_global_annotations(id="1")] == ["1", "1"]
        assert entry.remove_global_annotation(id="1")["label"] == ["a"]
        assert len(entry.remove_global_annotations(label="b")) == 2
        assert entry.get_all_global_annotations() == []
        assert entry.remove_global_annotation(0) is None


class TestWrites:
    def test_failures_are_returned_and_the_rest_is_added(self, dataset):
        bad = DataEntry("bad", metadata={"k": object()})
        errors = dataset.add_data_entries([image("1"), bad, image("2")])
        assert list(errors["register"]) == ["bad"]
        assert "metadata.k must be" in errors["register"]["bad"]
        assert [entry.id for entry in dataset.get_iterator()] == ["1", "2"]
        with pytest.raises(UsageError, match="a list of DataEntry, not of 'x'"):
            dataset.add_data_entries(["x"])

    def test_a_generator_is_streamed(self, dataset):
        dataset.add_data_entries((image(str(number)) for number in range(30)), batch_size=7)
        assert len(dataset.version) == 30
        assert dataset.commit_version()["added"] == 0  # it was committed

    def test_uploads(self, dataset, tmp_path):
        paths = [tmp_path / "in" / folder / "a.jpg" for folder in ("x", "y")]
        for path in paths:
            path.parent.mkdir(parents=True)
            path.write_bytes(path.parent.name.encode())
        entries = [image(str(number), source=path, preview_source=path) for number, path in enumerate(paths)]
        missing = image("missing", source=tmp_path / "in" / "z.jpg")
        bad = DataEntry("bad")
        bad.add_sub_entries([DataSubEntry("a", paths[0], metadata={"k": object()})])
        errors = dataset.add_data_entries(
            [*entries, bad, missing], upload_local_files_destination=str(tmp_path / "out")
        )
        assert (list(errors["upload"]), list(errors["register"])) == (["missing"], ["bad"])
        folder = tmp_path / "out" / dataset.dataset_id / f"v1.{dataset.version_id}"
        uploaded = [entry.sub_data_entries[0] for entry in entries]
        assert [sub.source for sub in uploaded] == [str(folder / "x" / "a.jpg"), str(folder / "y" / "a.jpg")]
        assert [sub.preview_source for sub in uploaded] == [sub.source for sub in uploaded]
        assert all(sub.get_hash().startswith("blake3:") for sub in uploaded)
        assert [entry.sub_data_entries[0].source for entry in dataset.get_iterator()] == [
            sub.source for sub in uploaded
        ]

    def test_each_entry_may_have_its_destination(self, dataset, tmp_path):
        (tmp_path / "a.jpg").write_bytes(b"a")
        kept, sent = image("kept", source=tmp_path / "a.jpg"), image("sent", source=tmp_path / "a.jpg")
        sent.sub_data_entries[0].set_local_sources_upload_destination("blobs:")
        dataset.add_data_entries([kept, sent])
        sources = [entry.sub_data_entries[0].source for entry in dataset.get_iterator()]
        assert sources[0] == str(tmp_path / "a.jpg")
        assert sources[1].startswith("blobs:")
        sent.add_sub_entries([DataSubEntry("b", None)])
        sent.sub_data_entries[1].set_local_sources_upload_destination("s3://b")
        with pytest.raises(UsageError, match="several upload destinations: blobs:, s3://b"):
            dataset.add_data_entries([sent])

    def test_hashes_without_an_upload(self, dataset, tmp_path):
        (tmp_path / "a.jpg").write_bytes(b"a")
        entry = image("1", source=tmp_path / "a.jpg")
        dataset.add_data_entries([entry, image("2")], hash_sources=True)
        first, second = (found.sub_data_entries[0] for found in dataset.get_iterator())
        assert first.get_hash() == entry.sub_data_entries[0].get_hash() != second.get_hash() is None
        assert first.get_hash("preview_source") is None

    def test_what_has_no_effect(self, dataset):
        with pytest.warns(UserWarning, match="max_workers and max_request_size_mb have no effect"):
            dataset.add_data_entries([], max_workers=3, max_request_size_mb=1)
        dataset.add_data_entries([], max_request_size_mb=None)
        with pytest.warns(UserWarning, match="batch_size has no effect"):
            dataset.get_iterator(batch_size=9)
        with pytest.warns(UserWarning, match="calculate_stats has no effect"):
            dataset.commit_version(calculate_stats=False)
        dataset.commit_version(calculate_stats=None, force=True)
        with pytest.warns(UserWarning, match="publish has no effect"):
            dataset.version.commit_version(publish=True)
        assert dataset.version.draft
        assert HyperDataset.list(include_archived=False) == HyperDataset.list()
        assert dataset.get_tags(reload=True) == []

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda it: it.add_data_entries(None), "data_entries must be a list of DataEntry, not None"),
            (lambda it: it.add_data_entries([], show_progress="no"), "show_progress must be True or False"),
            (lambda it: it.add_data_entries([], hash_sources="no"), "hash_sources must be True or False"),
            (lambda it: it.delete_data_entries(None), "data_entries must be a list of DataEntry, not None"),
            (lambda it: it.delete_data_entries([], force="no"), "force must be True or False"),
            (lambda it: it.commit_version(publish="no"), "publish must be True or False"),
            (lambda it: it.get_tags("no"), "reload must be True or False"),
            (lambda it: HyperDataset.list(include_archived="no"), "include_archived must be True or False"),
            (lambda it: DataEntry(metadata=[1]), r"metadata must be a dict, not \[1\]"),
            (lambda it: DataSubEntry("a", None, metadata="a"), "metadata must be a dict, not 'a'"),
            (lambda it: DataEntry().remove_annotation("a"), "index must be a 64-bit integer, not 'a'"),
            (lambda it: DataSubEntryImage().get_annotations(index=0.5), "index must be a 64-bit integer"),
        ],
    )
    def test_odd_arguments(self, dataset, call, message):
        with pytest.raises((InvalidValueError, UsageError), match=message):
            call(dataset)

    def test_one_entry(self, dataset):
        assert dataset.add_data_entries(image("1")) == {"upload": {}, "register": {}}
        assert [entry.id for entry in dataset.get_iterator()] == ["1"]
        assert dataset.delete_data_entries(image("1")) == 1

    def test_metadata_under_the_key_of_shadowed_values(self, dataset):
        dataset.version.add_frames([SingleFrame(id="1", metadata={"_data_entry_metadata": 5})])
        (entry,) = dataset.get_iterator()
        assert entry.metadata == {"_data_entry_metadata": 5}
        assert dataset.vector_search([1.0], "v") == []

    def test_delete(self, dataset):
        entries = [image(str(number)) for number in range(4)]
        dataset.add_data_entries(entries)
        with pytest.warns(UnknownFramesWarning):
            assert dataset.delete_data_entries([entries[0], "1", "none"], force=True) == 2
        assert [entry.id for entry in dataset.get_iterator()] == ["2", "3"]
        with pytest.raises(FramesRejected):
            dataset.delete_data_entries([None, "2"])
        assert len(dataset.version) == 1
        dataset.publish_version()
        with pytest.raises(PublishedError):
            dataset.delete_data_entries(["3"])

    def test_projection(self, dataset):
        dataset.add_data_entries([image("1", width=4), image("2")])
        first, second = dataset.get_iterator(["sources.*.width"])
        assert (first.id, first.sub_data_entries[0].name, second.id) == ("1", "image", "2")
        assert first.sub_data_entries[0].get_source() is None
        assert first.metadata == {}
        with pytest.raises(InvalidValueError, match="no frame can have"):
            dataset.get_iterator(["nothing"])


class TestVectorSearch:
    @pytest.fixture
    def vectors(self):
        return np.random.default_rng(5).normal(size=(50, 4)).tolist()

    @pytest.fixture
    def found(self, dataset, vectors):
        entries = [DataEntry(str(number)) for number in range(len(vectors))]
        for entry, vector in zip(entries, vectors, strict=True):
            entry.set_vector(vector, metadata_field="v")
        dataset.add_data_entries([*entries, DataEntry("none")])
        return lambda *args, **kwargs: [int(entry.id) for entry in dataset.vector_search(*args, **kwargs)]

    @pytest.mark.parametrize("chunk", [1, 7 * 4, 1 << 20])
    def test_it_is_exact(self, found, vectors, monkeypatch, chunk):
        monkeypatch.setattr(vector_search, "_CHUNK_NUMBERS", chunk)
        matrix, wanted = np.array(vectors), np.array([1.0, -2.0, 0.5, 0.0])
        cosine = matrix @ wanted / np.linalg.norm(matrix, axis=1)
        assert found(wanted.tolist(), "v", 5) == np.argsort(-cosine)[:5].tolist()
        assert found(wanted, "meta.v", 5, fast=True) == np.argsort(-cosine)[:5].tolist()
        closest = np.argsort(np.linalg.norm(matrix - wanted, axis=1))[:9].tolist()
        assert found(wanted, "v", 9, similarity_function=" L2_norm ") == closest
        assert (
            found(wanted, "v", similarity_function="dot_product") == np.argsort(-(matrix @ wanted)).tolist()
        )

    def test_equal_ones_come_in_order(self, dataset):
        for name in "cab":
            entry = DataEntry(name)
            entry.set_vector(np.array([1, 0]), "v")
            dataset.add_data_entries([entry])
        assert [entry.id for entry in dataset.vector_search([2, 0], "v", 2)] == ["c", "a"]

    def test_dotted_fields(self, dataset):
        nested, flat, zero = DataEntry("nested", {"v": {"e": [1, 0]}}), DataEntry("flat"), DataEntry("zero")
        flat.set_vector((0.5, 0.5), "v.e")
        zero.set_vector([0, 0], "v.e")
        dataset.add_data_entries([flat, zero, nested])
        assert [entry.id for entry in dataset.vector_search([1, 0], "v.e")] == ["nested", "flat", "zero"]

    def test_a_vector_in_the_name_of_a_source(self, dataset):
        entry = answer()
        entry.set_vector([1, 2], "answer")
        dataset.add_data_entries([entry])
        assert [each.id for each in dataset.vector_search([1, 2], "answer")] == [entry.id]

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ((None, "v"), InvalidTypeError, "reference_vector must be a sequence of numbers, not None"),
            (("abcd", "v"), InvalidTypeError, "reference_vector must be a sequence of numbers"),
            (([], "v"), InvalidValueError, "at least one number"),
            (
                ([1, "x", 0, 0], "v"),
                InvalidValueError,
                r"reference_vector\[1\] must be a finite number, not 'x'",
            ),
            (
                ([1, 2, 3], "v"),
                InvalidValueError,
                "frame '0' has 4 numbers in meta.v, but reference_vector has 3",
            ),
            (([0, 0, 0, 0], "v"), InvalidValueError, "must not be zero with the similarity 'cosine'"),
            (([1, 0, 0, 0], ""), InvalidTypeError, "vector_field must be a non-empty string"),
            (([1, 0, 0, 0], "v", 0), InvalidValueError, "number_of_neighbors must be .* at least 1, not 0"),
            (([1, 0, 0, 0], "v", 1, True, "l2_norm"), InvalidValueError, "'cosine' only, not 'l2_norm'"),
            (([1, 0, 0, 0], "v", 1, False, "cos"), InvalidValueError, "one of cosine, l2_norm, dot_product"),
            (([1, 0, 0, 0], "v", 1, False, None), InvalidTypeError, "similarity_function must be a string"),
        ],
    )
    def test_refused(self, found, arguments, error, message):
        with pytest.raises(error, match=message):
            found(*arguments)

    @pytest.mark.parametrize("stored", ["text", [1, "2"], [True, False], {"a": 1}, [[1], [2, 3]]])
    def test_what_is_stored_may_be_no_vector(self, dataset, stored):
        dataset.add_data_entries([DataEntry("1", {"v": stored})])
        with pytest.raises(InvalidValueError, match="frame '1'"):
            dataset.vector_search([1, 2], "v")

    def test_vectors_that_are_refused(self):
        with pytest.raises(InvalidTypeError, match="vector must be a sequence of numbers, not 5"):
            DataEntry().set_vector(5, "v")
        with pytest.raises(InvalidValueError, match=r"vector\[1\] must be a finite number, not nan"):
            DataEntry().set_vector([1.0, float("nan")], "v")
        with pytest.raises(InvalidValueError, match="metadata_field must be a non-empty string"):
            DataEntry().set_vector([1.0], "")

    def test_a_past_state_is_searched_through_its_version(self, engine, dataset):
        entry = DataEntry("1")
        entry.set_vector([1, 0], "v")
        dataset.add_data_entries([entry])
        then = engine.log.head().position
        dataset.delete_data_entries(["1"])
        assert dataset.vector_search([1, 0], "v") == []
        past = HyperDataset.of(DatasetVersion.get_version(dataset_name="food", version_name="v1", as_of=then))
        assert [found.id for found in past.vector_search([1, 0], "v")] == ["1"]
