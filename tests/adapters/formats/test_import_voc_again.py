"""A Pascal VOC folder imported again: what was changed since is kept, and nothing that is known gets lost."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from fsspec.callbacks import Callback
from typer.testing import CliRunner

import framelode
from framelode import DatasetVersion, InvalidValueError, NotFoundError, SingleFrame, UsageError
from framelode.adapters.cli.app import app

BOTH = pytest.mark.parametrize("take", ["call", "command"], indirect=True)

BOX = "<object><name>{}</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>40</ymax></bndbox></object>"


def annotate(root, name, *labels, xmax=30, size=100):
    boxes = "".join(BOX.format(label, xmax) for label in labels)
    size = f"<size><width>{size}</width><height>80</height></size>"
    text = f"<annotation><filename>{name}.jpg</filename>{size}{boxes}</annotation>"
    (root / "Annotations" / f"{name}.xml").write_text(text)


@pytest.fixture
def voc(tmp_path):
    """A VOC folder of the annotated images a and b, and c without annotations."""
    root = tmp_path / "voc"
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for name in ("a", "b", "c"):
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(b"image " + name.encode())
    annotate(root, "a", "cat", "dog")
    annotate(root, "b", "cat")
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\nb\n")
    return root


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as engine:
        yield engine
        engine.verify()
    engine.close()


@pytest.fixture
def take(request, engine, tmp_path):
    """Imports a folder into the dataset ``pets``, by the library and by the command line."""

    def call(folder, status=0, **options):
        done = DatasetVersion.from_voc(folder, "pets", **options)
        assert bool(done.problems) == bool(status), done.problems
        return {name: getattr(done, name) for name in done.__struct_fields__}

    def command(folder, status=0, **options):
        flags = [
            f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items() if value
        ]
        arguments = ["--engine", tmp_path / "engine", "import", "voc", folder, "--dataset", "pets", *flags]
        done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
        assert done.exit_code == status, done.stderr
        return json.loads(done.stdout)

    return {"call": call, "command": command}[getattr(request, "param", "call")]


def draft():
    return DatasetVersion.get_current(dataset_name="pets")


def frame_of(name):
    (found,) = (frame for frame in draft() if frame.source.endswith(f"/{name}.jpg"))
    return found


def labels_of(name):
    return [label for annotation in frame_of(name).get_annotations() for label in annotation.labels]


def counts(done):
    return {key: done[key] for key in ("added", "updated", "unchanged", "kept", "refused") if done[key]}


def correct_labels(name, label, **metadata):
    frame = frame_of(name)
    for annotation in frame.get_annotations():
        annotation.labels = [label]
    frame.metadata = {**frame.metadata, **metadata}
    draft().update_frames([frame])


@BOTH
def test_labels_corrected_since_are_kept(voc, take):
    take(voc)
    correct_labels("a", "fox", checked=True)
    assert counts(take(voc)) == {"unchanged": 3, "kept": 1}
    assert labels_of("a") == ["fox", "fox"]
    assert frame_of("a").metadata == {"checked": True, "splits": ["train"]}


def test_what_both_changed_is_kept_and_what_only_the_folder_changed_is_taken(voc, take):
    take(voc)
    correct_labels("a", "fox")
    annotate(voc, "a", "cat", "dog", "cow", size=200)
    (voc / "ImageSets" / "Main" / "val.txt").write_text("a\n")
    for again in range(3):
        assert counts(take(voc))["kept"] == 1, again
        assert labels_of("a") == ["fox", "fox"]
        assert frame_of("a").width == 200
        assert frame_of("a").metadata["splits"] == ["train", "val"]
    annotate(voc, "a", "cow", size=300)
    take(voc)
    assert (labels_of("a"), frame_of("a").width) == (["fox", "fox"], 300)


@BOTH
def test_overwrite_takes_what_the_folder_says(voc, take):
    take(voc)
    correct_labels("a", "fox", checked=True)
    assert counts(take(voc, overwrite=True)) == {"updated": 1, "unchanged": 2}
    assert labels_of("a") == ["cat", "dog"]
    assert frame_of("a").metadata["checked"] is True
    annotate(voc, "a", "cow")
    assert counts(take(voc)) == {"updated": 1, "unchanged": 2}
    assert labels_of("a") == ["cow"]


def test_a_deletion_is_kept(voc, take):
    take(voc)
    draft().delete_frames([frame_of("a")])
    assert counts(take(voc)) == {"unchanged": 2, "kept": 1}
    assert len(draft()) == 2
    assert counts(take(voc, overwrite=True)) == {"added": 1, "unchanged": 2}
    assert labels_of("a") == ["cat", "dog"]


def test_frames_of_other_origin_with_the_same_ids_are_kept(voc, take):
    DatasetVersion.create_new_dataset("pets")
    draft().add_frames([SingleFrame(source=voc / "JPEGImages" / "a.jpg", width=7, metadata={"own": 1})])
    assert counts(take(voc))["kept"] == 1
    frame = frame_of("a")
    assert (frame.width, frame.height, frame.metadata) == (7, 80, {"own": 1, "splits": ["train"]})
    assert labels_of("a") == ["cat", "dog"]


@BOTH
def test_stored_pictures_stay_stored(voc, take):
    take(voc, copy=True)
    before = {frame.id: frame.to_dict() for frame in draft()}
    assert counts(take(voc)) == {"unchanged": 3}
    assert counts(take(voc, overwrite=True)) == {"unchanged": 3}
    assert {frame.id: frame.to_dict() for frame in draft()} == before
    annotate(voc, "a", "cow")
    assert counts(take(voc)) == {"updated": 1, "unchanged": 2}
    assert (labels_of("a"), frame_of("a").source[:6]) == (["cow"], "blobs:")


def test_pictures_stored_by_an_upload_stay_stored(voc, take):
    take(voc)
    draft().add_frames(list(draft()), auto_upload_destination="blobs:", local_dataset_root_path=voc)
    assert counts(take(voc)) == {"unchanged": 3}
    assert all(frame.source.startswith("blobs:") and frame.hash for frame in draft())


def test_an_image_that_differs_from_the_stored_one_is_told_and_stored_with_copy(voc, take):
    take(voc, copy=True)
    (voc / "JPEGImages" / "a.jpg").write_bytes(b"another image")
    done = take(voc, status=1)
    assert counts(done) == {"unchanged": 3}
    assert "has 13 bytes, the stored image 7" in str(done["problems"])
    assert counts(take(voc, copy=True)) == {"updated": 1, "unchanged": 2}
    assert frame_of("a").size == 13


def test_copy_stores_pictures_of_corrected_frames_and_keeps_the_labels(voc, take):
    take(voc)
    correct_labels("a", "fox")
    assert counts(take(voc, copy=True)) == {"updated": 3, "kept": 1}
    assert (labels_of("a"), frame_of("a").source[:6]) == (["fox", "fox"], "blobs:")


@pytest.mark.parametrize("damage", ["gone", "flawed"])
def test_annotations_that_cannot_be_read_any_more_stay(voc, take, damage):
    take(voc)
    if damage == "gone":
        (voc / "Annotations" / "a.xml").unlink()
    else:
        annotate(voc, "a", "cat", "dog", xmax=1)
    (voc / "ImageSets" / "Main" / "train.txt").unlink()
    done = take(voc, status=1)
    assert counts(done) == {"unchanged": 3}
    assert "2 annotations cannot be read from the folder any more" in str(done["problems"])
    assert labels_of("a") == ["cat", "dog"]
    assert (frame_of("a").width, frame_of("a").metadata) == (100, {"splits": ["train"]})
    take(voc, overwrite=True, status=int(damage == "flawed"))
    assert labels_of("a") == []


def test_annotations_removed_from_a_sound_file_are_removed(voc, take):
    take(voc)
    annotate(voc, "a")
    assert counts(take(voc)) == {"updated": 1, "unchanged": 2}
    assert labels_of("a") == []


@pytest.mark.parametrize("copy", [True, False])
def test_a_moved_folder_makes_no_second_set(voc, take, tmp_path, copy):
    take(voc, copy=copy)
    correct_labels("a", "fox")
    ids = {frame.id for frame in draft()}
    moved = voc.rename(tmp_path / "moved")
    done = take(moved)
    assert done["added"] == 0
    assert {frame.id for frame in draft()} == ids
    assert labels_of("a") == ["fox", "fox"]
    if not copy:
        assert frame_of("a").source == str(moved / "JPEGImages" / "a.jpg")
    assert counts(take(moved)) == {"unchanged": 3, "kept": 1}
    assert len(draft()) == 3
    again = moved.rename(tmp_path / "again")
    (again / "JPEGImages" / "b.jpg").unlink()
    (again / "Annotations" / "b.xml").unlink()
    (again / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    done = take(again)
    assert (done["added"], done["vanished"]) == (0, ["JPEGImages/b.jpg"])


def test_another_folder_of_the_same_names_is_another_set(voc, take, tmp_path):
    take(voc)
    other = tmp_path / "other"
    shutil.copytree(voc, other)
    assert take(other)["added"] == 3
    shutil.rmtree(voc)
    for image in (other / "JPEGImages").iterdir():
        image.write_bytes(b"an image of another set")
    third = other.rename(tmp_path / "third")
    assert take(third)["added"] == 3


@BOTH
def test_a_root_gives_ids_that_do_not_depend_on_the_place(voc, take, tmp_path):
    take(voc, root=voc)
    ids = {frame.id for frame in draft()}
    assert ids == {SingleFrame(source=f"/x/JPEGImages/{name}.jpg").derive_id("/x") for name in "abc"}
    copied = tmp_path / "deep" / "voc"
    shutil.copytree(voc, copied)
    assert take(copied, root=copied)["added"] == 0
    assert take(copied)["added"] == 0
    assert {frame.id for frame in draft()} == ids
    link = tmp_path / "link"
    link.symlink_to(copied)
    assert take(link, root=link)["added"] == 0


def test_a_root_after_an_import_without_one_finds_the_same_frames(voc, take):
    take(voc)
    assert counts(take(voc, root=voc)) == {"unchanged": 3}
    assert counts(take(voc, root=voc.parent)) == {"unchanged": 3}


def test_a_root_must_hold_the_folder(voc, engine, tmp_path):
    with pytest.raises(UsageError, match="is not inside the root"):
        DatasetVersion.from_voc(voc, "pets", root=tmp_path / "engine")


@BOTH
def test_vanished_images_are_told_and_pruned_when_asked_for(voc, take):
    take(voc)
    for name in ("a", "b"):
        (voc / "JPEGImages" / f"{name}.jpg").unlink()
        (voc / "Annotations" / f"{name}.xml").unlink()
    (voc / "ImageSets" / "Main" / "train.txt").unlink()
    DatasetVersion.get_current(dataset_name="pets").add_frames([SingleFrame(id="own", source="s3://b/x.jpg")])
    correct_labels("a", "fox")
    done = take(voc)
    assert (counts(done), done["vanished"]) == ({"unchanged": 1}, ["JPEGImages/a.jpg", "JPEGImages/b.jpg"])
    assert len(draft()) == 4
    done = take(voc, prune=True)
    assert (done["pruned"], done["vanished"]) == (1, ["JPEGImages/a.jpg"])
    done = take(voc, prune=True, overwrite=True)
    assert (done["pruned"], done["vanished"]) == (1, [])
    assert sorted(frame.source for frame in draft()) == [str(voc / "JPEGImages" / "c.jpg"), "s3://b/x.jpg"]
    (voc / "JPEGImages" / "b.jpg").write_bytes(b"back")
    assert take(voc)["added"] == 1


def test_nothing_is_pruned_for_a_folder_without_images(voc, engine):
    DatasetVersion.from_voc(voc, "pets")
    shutil.rmtree(voc / "JPEGImages")
    with pytest.raises(UsageError, match="all frames would be deleted"):
        DatasetVersion.from_voc(voc, "pets", prune=True)
    assert len(DatasetVersion.from_voc(voc, "pets").vanished) == len(draft()) == 3


def test_an_image_that_is_only_refused_has_not_vanished(voc, take):
    take(voc)
    (voc / "Annotations" / "a.xml").write_text("<annotation>")
    done = take(voc, status=1, prune=True)
    assert (done["pruned"], done["vanished"], len(draft())) == (0, [], 3)


def test_the_call_says_what_it_did_and_calls_back(voc, engine):
    callback = Callback()
    done = DatasetVersion.from_voc(voc, "pets", dataset_project="zoo", callback=callback)
    assert (done.frames, done.annotations, done.added, done.dataset_created) == (3, 3, 3, True)
    assert (callback.value, callback.size) == (3, 3)
    assert done.version == draft()
    with pytest.raises(NotFoundError):
        DatasetVersion.from_voc(voc, "pets", version_name="none")
    with pytest.raises(InvalidValueError, match=r"callback must be a fsspec\.callbacks\.Callback"):
        DatasetVersion.from_voc(voc, "pets", callback=print)


class TestLinks:
    @pytest.fixture(autouse=True)
    def secrets(self, tmp_path):
        secrets = tmp_path / "secrets"
        secrets.mkdir()
        (secrets / "key").write_text("root:x:0:0\nsecond line\n")
        return secrets

    @pytest.mark.parametrize("options", [{}, {"copy": True}])
    @pytest.mark.parametrize(
        "link", ["JPEGImages/a.jpg", "Annotations/a.xml", "ImageSets/Main/val.txt", "JPEGImages/d.jpg"]
    )
    def test_files_that_lead_out_are_refused_by_name(self, voc, take, engine, secrets, link, options):
        (voc / link).unlink(missing_ok=True)
        (voc / link).symlink_to(secrets / "key")
        done = take(voc, status=1, **options)
        (problem,) = [str(each) for each in done["problems"] if "symbolic link" in str(each)]
        assert f"{voc / link} is a symbolic link that leads out of {voc}" in problem
        assert "root:x" not in str(done["problems"])
        assert b"root:x" not in b"".join(engine.blobs.read(each.digest) for each in engine.blobs.entries())
        assert not any(frame.size == 23 for frame in draft())

    @pytest.mark.parametrize("folder", ["JPEGImages", "Annotations", "ImageSets/Main", "ImageSets"])
    def test_folders_that_lead_out_are_not_read(self, voc, engine, tmp_path, folder, monkeypatch):
        elsewhere = (voc / folder).rename(tmp_path / "elsewhere")
        (voc / folder).symlink_to(elsewhere)
        done = DatasetVersion.from_voc(voc, "pets")
        assert done.problems[0].file == folder
        assert f"{voc / folder} is a symbolic link that leads out" in done.problems[0].reason
        DatasetVersion.remove_version(dataset_name="pets", version_name="Current")
        monkeypatch.setenv("FRAMELODE_LINK_TARGETS", os.fspath(elsewhere))
        assert DatasetVersion.from_voc(voc, "pets", copy=True).added == 3

    def test_inside_the_folder_and_to_allowed_places_they_are_followed(self, voc, take, secrets, monkeypatch):
        monkeypatch.setenv("FRAMELODE_LINK_TARGETS", str(secrets))
        (voc / "JPEGImages" / "d.jpg").symlink_to(secrets / "key")
        (voc / "JPEGImages" / "e.jpg").symlink_to("a.jpg")
        assert take(voc, copy=True)["added"] == 5


def test_a_folder_in_the_home_folder(voc, engine, monkeypatch):
    monkeypatch.setenv("HOME", str(voc.parent))
    assert DatasetVersion.from_voc("~/voc", "pets", root="~").added == 3
