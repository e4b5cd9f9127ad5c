"""What public documents and scripts do with hyper-datasets runs to the end, with only the import changed.

Each test is one such script, in our words: the calls, arguments and order are those of the script.
"""

from __future__ import annotations

import csv
import json
import math
import pickle
from pathlib import Path

import pytest
import s3fs
from s3_server import s3_environment, s3_filesystem, s3_prefix

import framelode
from framelode import (
    DataEntry,
    DataEntryImage,
    Dataset,
    DatasetVersion,
    DataSubEntry,
    DataSubEntryImage,
    FrameGroup,
    HyperDataset,
    HyperDatasetManagement,
    ImageAnnotation,
    SingleFrame,
)

CAMERA = "https://datasets.example.org/tutorials/000012.jpg"


@pytest.fixture(autouse=True)
def engine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with framelode.connect(tmp_path / "engine") as engine:
        yield engine
        engine.verify()


def test_the_documents_on_datasets(capsys):
    dataset = Dataset.create(dataset_name="myDataset One")
    for create in (Dataset.create, DatasetVersion.create_new_dataset):
        try:
            create(dataset_name="myDataset One", raise_if_exists=True)
        except ValueError:
            print("Dataset exists.")
    assert capsys.readouterr().out == "Dataset exists.\n" * 2
    in_project = Dataset.create(dataset_name="myDataset", dataset_project="myDataset Project")
    assert in_project.project == "myDataset Project"
    DatasetVersion.create_new_dataset(
        dataset_name="MyDataset", tags=["One Tag", "Another Tag"], description="some description text"
    )
    dataset = Dataset.get(dataset_name="MyDataset")
    dataset.add_tags(["coco", "dogs"])
    dataset.remove_tags(["dogs"])
    assert dataset.tags == ["One Tag", "Another Tag", "coco"]

    DatasetVersion.get_current(dataset_name="MyDataset").publish_version()
    child = DatasetVersion.create_version(
        dataset_name="MyDataset", parent_version_names=["Current"], version_name="NewChildVersion"
    )
    same = DatasetVersion.create_version(
        dataset_name="MyDataset", parent_version_names=["Current"], version_name="NewChildVersion"
    )
    assert same.version_id == child.version_id
    with pytest.raises(ValueError):
        DatasetVersion.create_version(
            dataset_name="MyDataset",
            parent_version_names=["Current"],
            version_name="NewChildVersion",
            raise_if_exists=True,
        )
    DatasetVersion.create_version(dataset_name="MyDataset", version_name="NewRootVersion")
    assert len(DatasetVersion.get_versions(dataset_name="MyDataset")) == 3
    assert len(DatasetVersion.get_versions(dataset_name="MyDataset", only_published=True)) == 1
    assert len(DatasetVersion.get_versions(dataset_name="MyDataset", only_draft=True)) == 2
    assert DatasetVersion.get_version(dataset_name="MyDataset").version_name == "NewChildVersion"

    dataset.delete_version(version_name="NewRootVersion")
    with pytest.raises(ValueError):
        Dataset.delete(dataset_name="MyDataset", delete_all_versions=True, force=False)
    Dataset.delete(dataset_name="MyDataset", delete_all_versions=True, force=True, show_progress=True)
    with pytest.raises(ValueError):
        Dataset.get(dataset_name="MyDataset")


def test_the_documents_on_snapshots():
    Dataset.create(dataset_name="MyDataset")
    before = DatasetVersion.get_current(dataset_name="MyDataset")
    child = DatasetVersion.create_snapshot(dataset_name="MyDataset")
    assert before.version_name.startswith("snapshot 20")
    assert not before.draft
    assert (child.version_name, child.draft) == ("Current", True)
    DatasetVersion.create_snapshot(dataset_name="MyDataset", publish_name="NewSnapshotName")
    assert child.version_name == "NewSnapshotName"
    last = DatasetVersion.create_snapshot(
        dataset_name="MyDataset",
        child_name="NewCurrentVersionName",
        child_metadata={"abc": "1234", "def": "5678"},
        child_comment="some text comment",
    )
    assert last.get_metadata() == {"abc": "1234", "def": "5678"}
    assert (last.version_name, last.comment) == ("NewCurrentVersionName", "some text comment")


def test_the_documents_on_frames():
    Dataset.create(dataset_name="MyDataset")
    version = DatasetVersion.create_version(dataset_name="MyDataset", version_name="SingleFrame")
    frames = [
        SingleFrame(
            source="s3://my/bucket/path_to_file.jpg",
            width=None,
            height=None,
            preview_uri="s3://my/bucket/path_to_file.jpg",
            metadata=None,
            annotations=None,
            mask_source=None,
        ),
        SingleFrame(source=CAMERA, preview_uri=CAMERA, metadata={"alive": "yes"}),
    ]
    frames[1].metadata["dangerous"] = "no"
    assert version.add_frames(frames) == []

    frame = DatasetVersion.get_single_frame(
        frame_id=frames[1].id, dataset_name="MyDataset", version_name="SingleFrame"
    )
    frame.add_annotation(
        poly2d_xy=[154, 343, 209, 343, 209, 423, 154, 423],
        labels=["tire"],
        metadata={"alive": "no"},
        confidence=0.5,
    )
    frame.meta["road_hazard"] = "yes"
    version.update_frames([frame])
    back = DatasetVersion.get_single_frame(
        frame_id=frame.id, dataset_name="MyDataset", version_name="SingleFrame"
    )
    assert back.metadata == {"alive": "yes", "dangerous": "no", "road_hazard": "yes"}
    assert [annotation.labels for annotation in back.get_annotations()] == [["tire"]]
    version.delete_frames([back])
    assert len(version) == 1


def test_the_documents_on_frame_groups():
    Dataset.create(dataset_name="MyDataset")
    version = DatasetVersion.create_version(dataset_name="MyDataset", version_name="FrameGroup")
    group = FrameGroup()
    group["FrameOne"] = SingleFrame(source=CAMERA, width=512, height=512, preview_uri=CAMERA)
    frames = [group]
    assert version.add_frames(frames) == []
    group = DatasetVersion.get_single_frame(
        frame_id=frames[0].id, dataset_name="MyDataset", version_name="FrameGroup"
    )
    group["FrameOne"].metadata["new_key"] = "new_value"
    version.update_frames([group])
    (back,) = version.get_iterator()
    assert back["FrameOne"].metadata == {"new_key": "new_value"}
    version.delete_frames([back])
    assert len(version) == 0


def test_the_documents_on_masks():
    Dataset.create(dataset_name="Example")
    version = DatasetVersion.create_version(
        dataset_name="Example", version_name="Registering frame with mask"
    )
    street = "https://datasets.example.org/cityscapes/val/frankfurt_000000_000294"
    frame = SingleFrame(source=f"{street}_leftImg8bit.png", mask_source=f"{street}_gtFine_labelIds.png")
    version.add_frames([frame])
    version.set_masks_labels(
        {(0, 0, 0): ["background"], (1, 1, 1): ["person", "sitting"], (2, 2, 2): ["cat"]}
    )
    assert version.get_metadata()["mask_labels"] == {
        "_all_": [
            {"value": [0, 0, 0], "labels": ["background"]},
            {"value": [1, 1, 1], "labels": ["person", "sitting"]},
            {"value": [2, 2, 2], "labels": ["cat"]},
        ]
    }
    frame = SingleFrame(source=f"{street}_rightImg8bit.png")
    frame.masks_source = {"ID 1 ": f"{street}_1.png", "ID 2": f"{street}_2.png"}
    frame.masks_source = [f"{street}_1.png", f"{street}_2.png"]
    version.add_frames([frame])
    assert frame.masks_source == {"00": f"{street}_1.png", "01": f"{street}_2.png"}


def test_the_documents_on_annotations():
    Dataset.create(dataset_name="MyDataset")
    version = DatasetVersion.get_current(dataset_name="MyDataset")
    frame, group = SingleFrame(source=CAMERA), FrameGroup()
    group["left"] = frame
    frame.add_annotation(box2d_xywh=(10, 10, 30, 20), labels=["test"])
    frame.add_annotation(ellipse2d_xyrrt=[5, 5, 10, 10, 0], labels=["ellipse"])
    frame.add_annotation(labels=["frame level label one", "frame level label two"])
    group.add_global_annotation(annotation=ImageAnnotation(labels=["cityscape"], confidence=1.0000))
    version.add_frames([group])
    version.commit_version()
    counts = {each["name"]: each["count"] for each in version.get_stats().labels}
    assert counts["cityscape"] == counts["test"] == 1
    (back,) = version
    assert [len(annotation.labels) for annotation in back["left"].annotations] == [1, 1, 2]


def test_boxes_from_a_table_with_labels_as_bytes(tmp_path):
    table = tmp_path / "boxes.csv"
    table.write_text(
        "Filename,Width,Height,Format,BBox/xmin,BBox/xmax,BBox/ymin,BBox/ymax,ClassName,ClassID\n"
        "a.jpg,640,480,jpeg,10|20,60|90,5|6,55|70,cat|dög,1|2\n"
        "b.png,32,32,png,0,4,0,4,cat,1\n",
        encoding="utf-8",
    )

    def numbers(text):
        return list(map(int, text.split("|")))

    frames = []
    with table.open(encoding="utf-8") as rows:
        for example in csv.DictReader(rows):
            frame = SingleFrame(source=f"s3://pictures/{example['Filename']}")
            frame.height = int(example["Height"])
            frame.width = int(example["Width"])
            frame.metadata = {"image_format": example["Format"], "filename": example["Filename"]}
            boxes = (numbers(example[f"BBox/{side}"]) for side in ("xmin", "xmax", "ymin", "ymax"))
            names = [name.encode() for name in example["ClassName"].split("|")]
            for left, right, top, bottom, name, number in zip(
                *boxes, names, numbers(example["ClassID"]), strict=True
            ):
                frame.add_annotation(
                    box2d_xywh=(left, top, right - left, bottom - top),
                    labels=[name],
                    metadata={"bbox_size": int((right - left) * (bottom - top)), "class_id": [number]},
                )
            frames.append(frame)
    DatasetVersion.create_new_dataset("boxes")
    dataset = DatasetVersion.create_version(dataset_name="boxes", version_name="train")
    dataset.add_frames(frames)
    first, second = dataset
    assert [annotation.labels for annotation in first.annotations] == [["cat"], ["dög"]]
    assert first.annotations[1].metadata == {"bbox_size": 70 * 64, "class_id": [2]}
    assert second.annotations[0].poly == (0.0, 0.0, 4.0, 4.0)


def test_a_bucket_of_pictures_is_registered(monkeypatch):
    for name, value in s3_environment().items():
        monkeypatch.setenv(name, value)
    # Another test may have opened it with other credentials.
    s3fs.S3FileSystem.clear_instance_cache()
    store, bucket = s3_filesystem(), s3_prefix()
    for key in ("train/1.jpg", "train/2.jpg", "test/3.jpg"):
        store.pipe(f"{bucket}/{key}", key.encode())
    version_frames = {}
    for folder in sorted(Path(path).name for path in store.ls(bucket)):
        files = sorted(store.ls(f"{bucket}/{folder}"))
        version_frames[folder] = [
            SingleFrame(source=f"s3://{file}", size=store.info(file)["size"], hash=store.info(file)["ETag"])
            for file in files
        ]
    dataset = DatasetVersion.create_new_dataset("coco_sample")
    for version_name, frames in version_frames.items():
        version = dataset.create_version(version_name=version_name)
        version.add_frames(frames)
        version.commit_version()
    train = dataset.get_version(version_name="train")
    assert len(train) == 2
    read = [Path(frame.get_local_source()).read_bytes() for frame in train]
    assert read == [b"train/1.jpg", b"train/2.jpg"]
    assert len(train.get_frames_by_source(f"{bucket}/train/*")) == 2


def test_one_frame_is_looked_up_and_its_files_are_read(tmp_path):
    picture = tmp_path / "1.jpg"
    picture.write_bytes(b"picture")
    Dataset.create(dataset_name="pictures")
    draft = DatasetVersion.get_current(dataset_name="pictures")
    draft.add_frames([SingleFrame(source=str(picture)), SingleFrame(source="file:///nowhere/2.jpg")])
    first, second = draft.get_iterator()
    assert first.get_local_source(raise_on_error=True) == str(picture)
    with pytest.warns(UserWarning, match="no local source"):
        assert second.get_local_source() is None
    found = DatasetVersion.get_single_frame(frame_id=first.id, dataset_id=draft.dataset_id)
    assert found.get_annotations() == []
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_version_that_is_missing_is_created(capsys):
    DatasetVersion.create_new_dataset(dataset_name="Data registration example")
    for _ in range(2):
        try:
            version = DatasetVersion.get_version(
                dataset_name="Data registration example", version_name="Gun,Jan"
            )
        except ValueError:
            print("Can not find version Gun,Jan, will create a new one")
            version = DatasetVersion.create_version(
                dataset_name="Data registration example", version_name="Gun,Jan"
            )
        frame = SingleFrame(
            source="https://tmp.example.org/bucket/guns/1.jpg", timestamp=int(1.7e9), metadata={}
        )
        frame.add_annotation(frame_class=["guns"])
        version.add_frames([frame])
    assert capsys.readouterr().out.count("Can not find") == 1
    assert len(version) == 1


def test_regions_with_metadata_are_uploaded(tmp_path):
    folder = tmp_path / "ds_with_rois"
    folder.mkdir()
    roi = {"poly": [1, 1, 9, 1, 9, 9], "labels": ["tiger"], "meta": {"alive": "yes"}, "confidence": 0.7}
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(bytes([number]))
        described = {"rois": [roi], "size": {"x": 64, "y": 48}, "meta": {"dangerous": "no"}}
        (folder / f"{number}.json").write_text(json.dumps(described))
    frames = []
    for file in sorted(folder.glob("*.jpg")):
        data = json.loads(file.with_suffix(".json").read_text())
        frame = SingleFrame(source=str(file))
        for roi in data["rois"]:
            frame.add_annotation(
                poly2d_xy=roi["poly"],
                labels=roi["labels"],
                metadata={"alive": roi["meta"]["alive"]},
                confidence=roi["confidence"],
            )
        frame.width = data["size"]["x"]
        frame.height = data["size"]["y"]
        frame.metadata["dangerous"] = data["meta"]["dangerous"]
        frames.append(frame)
    dataset = DatasetVersion.create_new_dataset(dataset_name="sample-dataset")
    version = dataset.create_version(version_name="initial")
    version.add_frames(
        frames, auto_upload_destination=str(tmp_path / "files"), local_dataset_root_path=str(folder)
    )
    version.commit_version()
    assert {Path(frame.source).parents[2] for frame in version} == {tmp_path / "files"}
    assert {frame.annotations[0].metadata["alive"] for frame in version} == {"yes"}


def test_groups_with_masks_are_uploaded(tmp_path):
    folder = tmp_path / "ds_with_masks"
    folder.mkdir()
    for name in ("a_000001", "a_000002", "b_000001"):
        (folder / f"{name}.png").write_bytes(name.encode())
        (folder / f"{name}_mask.png").write_bytes(b"mask")
    groups = {}
    for file in sorted(folder.glob("*.png")):
        if file.name.endswith("_mask.png"):
            continue
        group_id, source_id = file.stem.split("_")
        group = groups.setdefault(group_id, FrameGroup())
        group[source_id] = SingleFrame(source=str(file), mask_source=str(file).replace(".png", "_mask.png"))
    dataset = DatasetVersion.create_new_dataset(dataset_name="sample-dataset-masks")
    version = dataset.create_version(version_name="initial")
    version.set_masks_labels({tuple(value): [key] for key, value in {"sky": [1, 2, 3]}.items()})
    version.add_frames(
        list(groups.values()), auto_upload_destination="blobs:", local_dataset_root_path=str(folder)
    )
    version.commit_version()
    first, _ = version
    assert Path(first["000002"].get_local_source()).read_bytes() == b"a_000002"
    assert Path(first["000002"].get_local_mask_source()).read_bytes() == b"mask"


def test_an_atlas_of_pictures_is_moved_to_another_dataset():
    Dataset.create(dataset_name="atlas")
    source = DatasetVersion.get_current(dataset_name="atlas")
    source.add_frames(
        [SingleFrame(source=f"/isilon/{number}.jpg", metadata={"dataloop_tasks": []}) for number in range(20)]
    )
    frames = [frame for frame in source if "dataloop_tasks" in frame.metadata]
    fixed_frames = []
    for frame in frames:
        del frame.metadata["dataloop_tasks"]
        fixed_frames.append(frame)
    target = Dataset.create(dataset_name="atlas_isilon_all_data")
    target.create_version(version_name="atlas_all_with_boxes")
    dataset_version = target.get_version(version_name="atlas_all_with_boxes")
    dataset_version.add_frames(fixed_frames, batch_size=10000)
    assert len(dataset_version) == 20
    assert [frame.metadata for frame in dataset_version] == [{}] * 20

    faces = []
    for number in range(3):
        arguments = {"metadata": {"face_landmarks": [[1.0, 2.0]]}}
        arguments["image"] = SingleFrame(source=f"/isilon/ffhq/{number}.png")
        faces.append(FrameGroup(**arguments))
    dataset_version.add_frames(faces, batch_size=2)
    assert [list(frame) for frame in dataset_version if isinstance(frame, FrameGroup)] == [["image"]] * 3


def test_questions_and_answers_with_vectors(capsys):
    class Snippet(DataSubEntry):
        def __init__(self, name, text, role, preview_source=None):
            super().__init__(
                name=name,
                source=f"text://{abs(hash(text)):x}",
                preview_source=preview_source,
                metadata={"text": text, "role": role},
            )

    class Question(DataEntry):
        def __init__(self, question, answer, *, reference=None, tags=None):
            metadata = {"question": question, "answer": answer}
            if reference:
                metadata["reference"] = reference
            if tags:
                metadata["tags"] = list(tags)
            super().__init__(metadata=metadata)

        @property
        def question(self):
            return self._metadata.get("question", "")

    pairs = [("What is it?", "A data structure.", [1.0, 0.0]), ("How to add?", "Call add.", [0.0, 1.0])]
    entries = []
    for question, answer, vector in pairs:
        entry = Question(question=question, answer=answer, tags=["docs"])
        entry.add_sub_entries(
            [
                Snippet(name="question", text=question, role="question"),
                Snippet(name="answer", text=answer, role="answer"),
            ]
        )
        entry.set_vector(vector, metadata_field="_vector")
        entries.append(entry)
    mappings = {"meta._vector": {"type": "dense_vector", "element_type": "float", "dims": 2}}
    with pytest.warns(UserWarning, match="field_mappings"):
        dataset = HyperDataset(
            project_name="HyperDatasets Examples",
            dataset_name="qa-demo",
            version_name="version",
            description="Q&A demo HyperDataset",
            field_mappings=mappings,
        )
    errors = dataset.add_data_entries(entries, upload_local_files_destination=None, force_upload=True)
    assert not errors.get("register")
    print(f"project={dataset.project_id} dataset={dataset.dataset_id} version={dataset.version_id}")

    dataset = HyperDatasetManagement.get(
        dataset_name="qa-demo", version_name="version", project_name="HyperDatasets Examples"
    )
    results = dataset.vector_search(
        reference_vector=[0.1, 0.9],
        vector_field="_vector",
        number_of_neighbors=1,
        fast=False,
        similarity_function="cosine",
    )
    for entry in results:
        print(entry.id, entry.question, entry._metadata["answer"])
    assert "How to add? Call add." in capsys.readouterr().out


def test_coco_as_data_entries(tmp_path):
    image_path = tmp_path / "images" / "000000000139.jpg"
    image_path.parent.mkdir()
    image_path.write_bytes(b"picture")
    annotation = {
        "id": 7,
        "category_id": 1,
        "area": 12,
        "iscrowd": 0,
        "bbox": [1, 2, 3, 4],
        "segmentation": [[1, 2, 4, 2, 4, 6], []],
        "keypoints": [1, 2, 2, 0, 0, 0],
    }
    entry_metadata = {"coco_image_id": 139, "file_name": image_path.name, "split": "val2017"}
    entry = DataEntryImage(metadata=entry_metadata)
    sub_entry = DataSubEntryImage(
        name="image", source=str(image_path.resolve()), width=640, height=426, metadata={"split": "val2017"}
    )
    entry.add_sub_entries([sub_entry])
    base = {"annotation_id": 7, "area": float(annotation["area"]), "iscrowd": bool(annotation["iscrowd"])}
    sub_entry.add_annotation(
        box2d_xywh=annotation["bbox"][:4], labels=["person"], id="7_bbox", metadata={**base, "type": "bbox"}
    )
    for index, ring in enumerate(annotation["segmentation"]):
        if ring:
            sub_entry.add_annotation(poly2d_xy=ring, labels=["person"], id=f"7_seg{index}", metadata=base)
    points = [
        (float(x), float(y)) for x, y, seen in zip(*[iter(annotation["keypoints"])] * 3, strict=True) if seen
    ]
    sub_entry.add_annotation(points2d_xy=points, labels=["person"], id="7_keypoints", metadata=base)
    entry_metadata["frame_labels"] = ["person"]
    entry.add_annotation(
        id="139_frame_labels",
        labels=["person"],
        confidence=None,
        metadata={"source": "coco", "image_id": 139},
    )
    dataset = HyperDataset(
        project_name="HyperDatasets Examples", dataset_name="coco-2017", version_name="val2017-top100"
    )
    errors = dataset.add_data_entries([entry], upload_local_files_destination=str(tmp_path / "files"))
    assert errors == {"upload": {}, "register": {}}
    (back,) = dataset.get_iterator()
    assert back.metadata["frame_labels"] == ["person"]
    (image,) = back
    assert [found["type"] for found in image.get_all_annotations()] == ["box2d", "polygon2d", "keypoints2d"]
    assert Path(image.get_local_source()).read_bytes() == b"picture"


def test_pictures_with_histograms(tmp_path):
    def histogram(path):
        counts = [path.read_bytes().count(value) for value in (1, 2)]
        return [count / math.hypot(*counts) for count in counts]

    for number in range(4):
        (tmp_path / f"image_{number}.png").write_bytes(bytes([1] * (number + 1) + [2] * (4 - number)))
    entries = []
    for index, path in enumerate(sorted(tmp_path.glob("*.png")), 1):
        entry = DataEntryImage(metadata={"index": index, "filename": path.name})
        entry.add_sub_entries([DataSubEntryImage(name="image", source=str(path), width=1, height=5)])
        entry.set_vector(histogram(path), metadata_field="vectors.colour")
        entries.append(entry)
    dataset = HyperDataset(project_name="demo", dataset_name="image-demo", version_name="version")
    assert not dataset.add_data_entries(entries, upload_local_files_destination=None, force_upload=False)[
        "register"
    ]
    query = histogram(tmp_path / "image_2.png")
    found = dataset.vector_search(
        query, "vectors.colour", number_of_neighbors=2, similarity_function="l2_norm"
    )
    assert found[0].metadata["filename"] == "image_2.png"
    assert len(found) == 2
