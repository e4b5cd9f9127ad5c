"""COCO and YOLO as their tools lay them out: several files for one image, lists, folders of other names, all tasks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

import framelode
from framelode import DatasetVersion, UsageError

PEOPLE = {
    "id": 1,
    "name": "person",
    "supercategory": "living",
    "keypoints": ["nose", "neck"],
    "skeleton": [[1, 2]],
}


@pytest.fixture(autouse=True)
def engine():
    with framelode.connect("sqlite://") as engine:
        yield engine
        engine.verify()
        engine.close()


def picture(file, size=(100, 200)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(file)


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text if isinstance(text, str) else json.dumps(text))


def found(done):
    """Return what was imported by the path of the image: splits, and type, label and geometry of each annotation."""
    assert done.problems == [], done.problems
    return {
        Path(frame.source).name: (
            frame.metadata.get("splits"),
            [(each.type, *each.labels, *each.poly) for each in frame.get_annotations()],
        )
        for frame in done.version
    }


class TestCoco:
    @pytest.fixture
    def folder(self, tmp_path):
        """A folder as COCO lays it out: instances, key points and captions of one image in files of their own."""
        picture(tmp_path / "train2017" / "1.jpg")
        images = [{"id": 139, "file_name": "1.jpg", "width": 100, "height": 200, "license": 2}]
        both = {"id": 7, "image_id": 139, "category_id": 1, "bbox": [1, 2, 30, 40], "iscrowd": 0, "area": 5}
        polygon = [[1, 2, 31, 2, 31, 42]]
        files = {
            "instances": [
                {**both, "segmentation": polygon},
                {
                    **both,
                    "id": 8,
                    "bbox": [5, 6, 7, 8],
                    "attributes": {"occluded": True},
                    "score": 0.5,
                    "extra": 1,
                },
            ],
            "person_keypoints": [
                {**both, "segmentation": polygon, "keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 1}
            ],
            "captions": [{"id": 7, "image_id": 139, "caption": "a person"}],
        }
        for name, given in files.items():
            document = {"info": {}, "images": images, "annotations": given}
            if name != "captions":
                document["categories"] = [PEOPLE]
            write(tmp_path / "annotations" / f"{name}_train2017.json", document)
        return tmp_path

    def test_files_about_one_image_are_one_frame(self, folder):
        done = DatasetVersion.from_coco(folder, "d")
        assert found(done) == {
            "1.jpg": (
                ["train2017"],
                [
                    ("image",),
                    ("polygon2d", "person", 1, 2, 31, 2, 31, 42),
                    ("keypoints2d", "person", 1, 2, 0, 0),
                    ("box2d", "person", 5, 6, 7, 8),
                ],
            )
        }
        (frame,) = done.version
        caption, polygon, points, box = frame.get_annotations()
        assert (caption.metadata, polygon.id, points.id) == ({"caption": "a person"}, "7", "7")
        assert points.metadata == {"visibility": [2, 0]}
        assert (box.confidence, box.metadata) == (0.5, {"occluded": True, "extra": 1})
        assert (frame.metadata["coco_id"], frame.metadata["license"], frame.width) == (139, 2, 100)
        assert done.version.get_metadata()["categories"] == [PEOPLE]

    def test_ids_and_categories_go_out_as_they_came(self, folder, tmp_path):
        done = DatasetVersion.from_coco(folder, "d")
        out = tmp_path / "out"
        assert done.version.to_coco(out).losses == []
        document = json.loads((out / "annotations" / "instances_train2017.json").read_text())
        assert document["categories"] == [PEOPLE]
        assert [image["id"] for image in document["images"]] == [139]
        assert [(each["id"], each.get("num_keypoints")) for each in document["annotations"]] == [
            (7, 1),
            (8, None),
        ]
        assert document["annotations"][0]["keypoints"] == [1.0, 2.0, 2, 0.0, 0.0, 0]
        assert (out / "annotations" / "captions_train2017.json").exists()

    def test_captions_need_no_category(self, folder, tmp_path):
        file = folder / "annotations" / "captions_train2017.json"
        document = json.loads(file.read_text())
        document["annotations"][0]["category_id"] = 0  # as datumaro writes it
        write(file, {**document, "categories": []})
        done = DatasetVersion.from_coco(folder, "d")
        assert done.problems == []
        (frame,) = done.version
        assert frame.get_annotations()[0].metadata == {"caption": "a person"}
        done.version.to_coco(tmp_path / "out")
        out = tmp_path / "out" / "annotations" / file.name
        assert json.loads(out.read_text()).keys() == {"info", "licenses", "images", "annotations"}

    def test_one_of_the_files_prunes_nothing_of_the_others(self, folder):
        picture(folder / "val2017" / "2.jpg")
        images = [{"id": 1, "file_name": "2.jpg", "width": 100, "height": 200}]
        val = folder / "annotations" / "instances_val2017.json"
        write(val, {"images": images, "annotations": [], "categories": [PEOPLE]})
        assert DatasetVersion.from_coco(folder, "d").added == 2
        done = DatasetVersion.from_coco(val, "d", prune=True)
        assert (done.frames, done.unchanged, done.pruned, done.vanished) == (1, 1, 0, [])
        (folder / "train2017" / "1.jpg").unlink()
        assert DatasetVersion.from_coco(val, "d").vanished == ["train2017/1.jpg"]
        assert DatasetVersion.from_coco(val, "d", prune=True).pruned == 1

    def test_a_moved_folder_makes_no_second_set(self, folder, tmp_path):
        ids = {frame.id for frame in DatasetVersion.from_coco(folder, "d").version}
        moved = folder.rename(tmp_path.parent / f"{tmp_path.name}-moved")
        done = DatasetVersion.from_coco(moved, "d")
        assert (done.added, {frame.id for frame in done.version}) == (0, ids)
        assert DatasetVersion.from_coco(moved, "another").version.keys() == ids

    def test_images_elsewhere(self, folder):
        images = [{"id": 1, "file_name": "9.jpg", "coco_url": "https://images.example/9.jpg"}]
        images.append({"id": 2, "file_name": "s3://bucket/8.jpg"})
        write(folder / "web.json", {"images": images, "annotations": [], "categories": []})
        done = DatasetVersion.from_coco(folder / "web.json", "d")
        assert sorted(frame.source for frame in done.version) == [
            "https://images.example/9.jpg",
            "s3://bucket/8.jpg",
        ]
        again = DatasetVersion.from_coco(folder / "web.json", "d")
        assert (again.unchanged, again.vanished) == (2, [])

    def test_roboflow_and_cvat_name_splits_and_none(self, tmp_path):
        for name, file in (
            ("train", "train/_annotations.coco.json"),
            ("x", "x/annotations/instances_default.json"),
        ):
            picture(tmp_path / name / f"{name}.jpg")
            images = [{"id": 0, "file_name": f"{name}.jpg"}]
            write(tmp_path / file, {"images": images, "annotations": [], "categories": []})
        done = DatasetVersion.from_coco(tmp_path, "d")
        assert found(done) == {"train.jpg": (["train"], []), "x.jpg": (None, [])}


class TestYolo:
    def test_all_kinds_of_rows(self, tmp_path):
        picture(tmp_path / "images" / "1.png")
        write(tmp_path / "classes.txt", "car\nbus\n")
        corners = "0.1 0.1 0.3 0.1 0.3 0.2 0.1 0.2"
        rows = ["0 0.5 0.5 0.2 0.1", "1 0.5 0.5 0.2 0.1 0.75", f"0 {corners}", f"0 {corners} 0.5"]
        write(tmp_path / "labels" / "1.txt", "\n".join(rows) + "\n\n")
        done = DatasetVersion.import_from("auto", tmp_path, "d")
        box = (40, 90, 20, 20)
        assert found(done) == {
            "1.png": (
                None,
                [
                    ("box2d", "car", *box),
                    ("box2d", "bus", *box),
                    ("box2d", "car", 10, 20, 20, 20),
                    ("box2d", "car", 10, 20, 20, 20),
                ],
            )
        }
        (frame,) = done.version
        assert [each.confidence for each in frame.get_annotations()] == [None, 0.75, None, 0.5]

    def test_oriented_boxes(self, tmp_path):
        picture(tmp_path / "images" / "1.png", (200, 200))
        turned = [100, 50, 150, 100, 100, 150, 50, 100]
        write(tmp_path / "labels" / "1.txt", "0 " + " ".join(str(each / 200) for each in turned))
        write(tmp_path / "data.yaml", "train: images\nnames: {0: plane}\n")
        ((_, (box,)),) = found(DatasetVersion.from_yolo(tmp_path / "data.yaml", "d")).values()
        assert box[:2] == ("box2d", "plane")
        assert box[2:] == pytest.approx(
            (100 - 25 * 2**0.5, 100 - 25 * 2**0.5, 50 * 2**0.5, 50 * 2**0.5, math.pi / 4)
        )

    def test_segments(self, tmp_path):
        picture(tmp_path / "images" / "1.png")
        write(tmp_path / "labels" / "1.txt", "0 0.1 0.1 0.3 0.1 0.3 0.2\n0 0.1 0.1 0.3 0.1 0.3 0.2 0.1 0.2\n")
        write(tmp_path / "data.yaml", "train: images\nnames: [x]\n")
        assert found(DatasetVersion.from_yolo(tmp_path, "d"))["1.png"][1] == [
            ("polygon2d", "x", 10, 20, 30, 20, 30, 40),
            ("polygon2d", "x", 10, 20, 30, 20, 30, 40, 10, 40),
        ]

    @pytest.mark.parametrize(
        ("dimensions", "row", "visibility"),
        [(3, "0.1 0.1 2 0 0 0", [2, 0]), (2, "0.1 0.1 0 0", [2, 0]), (3, "0.1 0.1 2 0.2 0.2 2", None)],
    )
    def test_poses(self, tmp_path, dimensions, row, visibility):
        picture(tmp_path / "images" / "1.png")
        write(tmp_path / "labels" / "1.txt", f"0 0.5 0.5 0.2 0.1 {row}\n")
        write(tmp_path / "data.yaml", f"train: images\nnames: [x]\nkpt_shape: [2, {dimensions}]\n")
        done = DatasetVersion.from_yolo(tmp_path, "d")
        (frame,) = done.version
        box, points = frame.get_annotations()
        assert (box.id, points.id, points.poly[:2]) == ("1", "1", (10, 20))
        assert points.metadata == ({} if visibility is None else {"visibility": visibility})
        assert done.version.to_yolo(tmp_path / "out").losses == []
        assert "kpt_shape:\n- 2\n- 3\n" in (tmp_path / "out" / "data.yaml").read_text()

    def test_coordinates_may_be_outside_by_a_hundredth_of_the_image(self, tmp_path):
        picture(tmp_path / "a.jpg")
        (tmp_path / "a.txt").write_text("0 1.005 0.5 0.1 0.2\n0 1.011 0.5 0.1 0.2\n")
        done = DatasetVersion.from_yolo(tmp_path, "d")
        assert [each.reason for each in done.problems] == [
            "line 2: coordinates must be from 0 to 1, relative to the image, not 1.011"
        ]
        assert [each.poly for frame in done.version for each in frame.annotations] == [(95.5, 80, 10, 40)]

    def test_points_of_a_pose_outside_of_the_image_are_clipped(self, tmp_path):
        picture(tmp_path / "1.png")
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        both = {"label": ["x"], "id": "1"}
        rois = [
            {**both, "type": "box2d", "poly": [10, 20, 30, 40]},
            {**both, "type": "keypoints2d", "poly": [20, 30, -5, 1.7e308]},
        ]
        source = {"uri": str(tmp_path / "1.png"), "width": 100, "height": 200}
        draft.add_dicts([{"id": "f", "sources": [source], "rois": rois, "meta": {"splits": ["train"]}}])
        (loss,) = draft.to_yolo(tmp_path / "out").losses
        assert (loss.kind, loss.count) == ("shape that is partly outside of the image: clipped", 1)
        (file,) = (tmp_path / "out").rglob("1.txt")
        assert file.read_text() == "0 0.25 0.2 0.3 0.2 0.2 0.15 2 0 1 2\n"

    def test_the_examples_of_a_loss_are_different_frames(self, tmp_path):
        picture(tmp_path / "1.png")
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        roi = {"type": "box2d", "poly": [1, 2, 3, 4], "label": ["x"], "meta": {"by": "hand"}}
        source = {"uri": str(tmp_path / "1.png"), "width": 100, "height": 200}
        draft.add_dicts([{"id": name, "sources": [source], "rois": [roi, roi]} for name in ("f1", "f2")])
        losses = {loss.kind: loss for loss in draft.to_yolo(tmp_path / "out").losses}
        loss = losses["metadata of an annotation: left out"]
        assert (loss.count, loss.examples) == (4, ["f1", "f2"])

    @pytest.mark.parametrize(
        "definition",
        [
            "path: .\ntrain: train/images\nval: valid/images\n",
            "train: ../train/images\nval: ../valid/images\n",
            "path: ../datasets/elsewhere\ntrain: [train/images]\nval: val.txt\n",
            "train: train.txt\nval: val.txt\n",
            "path: /content/set\ntrain: /content/set/train/images\nval: D:\\data\\set\\valid\\images\n",
        ],
        ids=["path", "Roboflow", "mixed", "lists", "another machine"],
    )
    def test_splits_are_folders_or_lists(self, tmp_path, definition):
        for split in ("train", "valid"):
            picture(tmp_path / split / "images" / f"{split}.png")
            write(tmp_path / split / "labels" / f"{split}.txt", "0 0.5 0.5 0.2 0.1\n")
        write(tmp_path / "train.txt", "./train/images/train.png\n")
        write(tmp_path / "val.txt", "/home/me/set/valid/images/valid.png\n")
        write(tmp_path / "data.yaml", definition + "nc: 1\nnames: ['x']\n")
        boxes = [("box2d", "x", 40, 90, 20, 20)]
        done = DatasetVersion.import_from("auto", tmp_path, "d")
        assert found(done) == {"train.png": (["train"], boxes), "valid.png": (["val"], boxes)}
        assert done.version.get_metadata()["categories"] == [{"name": "x"}]

    @pytest.mark.parametrize(
        ("file", "text", "label"),
        [
            ("data.yaml", "names: {'0': a, '1': b, '2': c}", "c"),
            ("data.yaml", "names:\n  0: a\n  2: c\nnc: 3", "c"),
            ("data.yaml", "nc: 3\nnames:", "2"),
            ("set/deeper/coco8.yml", "path: ../..\nnames: [a, b, c]", "c"),
            ("classes.txt", "a\n\nc\n\n", "c"),
            ("obj.names", "a\r\nb\r\nc", "c"),
        ],
    )
    def test_names_of_classes(self, tmp_path, file, text, label):
        picture(tmp_path / "images" / "1.png")
        write(tmp_path / "labels" / "1.txt", "2 0.5 0.5 0.2 0.1\n")
        write(tmp_path / file, text)
        done = DatasetVersion.import_from("auto", tmp_path, "d")
        assert (done.problems, found(done)["1.png"][1]) == ([], [("box2d", label, 40, 90, 20, 20)])

    def test_a_folder_of_another_format_is_refused(self, tmp_path):
        picture(tmp_path / "images" / "1.png")
        with pytest.raises(UsageError, match=r"has no data.yaml and no labels"):
            DatasetVersion.from_yolo(tmp_path, "d")
        write(tmp_path / "1.json", {"images": []})
        with pytest.raises(UsageError, match="has no JSON files of LabelMe"):
            DatasetVersion.from_labelme(tmp_path, "d")

    def test_sizes_are_those_that_are_shown(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        (tmp_path / "images").mkdir()
        Image.new("L", (100, 200)).save(tmp_path / "images" / "1.jpg", exif=exif)
        write(tmp_path / "labels" / "1.txt", "0 0.5 0.5 0.5 0.5\n")
        assert found(DatasetVersion.from_yolo(tmp_path, "d"))["1.jpg"][1] == [("box2d", "0", 50, 25, 100, 50)]

    def test_classes_keep_their_order_whatever_is_exported(self, tmp_path):
        picture(tmp_path / "images" / "1.png")
        write(tmp_path / "labels" / "1.txt", "2 0.5 0.5 0.2 0.1\n")
        write(tmp_path / "data.yaml", "train: images\nnames: [z, y, x]\n")
        done = DatasetVersion.from_yolo(tmp_path, "d")
        done.version.to_yolo(tmp_path / "out", query="rois.label:x")
        assert (tmp_path / "out" / "labels" / "train" / "1.txt").read_text() == "2 0.5 0.5 0.2 0.1\n"
        assert "names:\n  0: z\n  1: y\n  2: x\n" in (tmp_path / "out" / "data.yaml").read_text()
