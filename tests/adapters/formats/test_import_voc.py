"""`framelode import voc` end to end: what is good is recorded, what is flawed is listed, nothing twice."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from fsspec.callbacks import Callback
from typer.testing import CliRunner

import framelode
from framelode import DatasetVersion
from framelode.adapters.cli.app import app

FLAWS = {
    "Annotations/broken.xml",
    "Annotations/flawed.xml",
    "Annotations/lost.xml",
}


def run(*arguments, status=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == status, (done.exit_code, done.stdout, done.stderr, done.exception)
    return done


def run_json(*arguments, status=0):
    return json.loads(run(*arguments, "--json", status=status).stdout)


def box(label, xmin, ymin, xmax, ymax):
    sides = zip(("xmin", "ymin", "xmax", "ymax"), (xmin, ymin, xmax, ymax), strict=True)
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in sides)
    return f"<object><name>{label}</name><bndbox>{inner}</bndbox></object>"


def annotation(name, *objects):
    size = "<size><width>100</width><height>80</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}.jpg</filename>{size}{''.join(objects)}</annotation>"


@pytest.fixture
def voc(tmp_path, monkeypatch):
    """A VOC folder of four good images, and an engine beside it."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "voc"
    for name in ("Annotations", "JPEGImages"):
        (root / name).mkdir(parents=True)
    for name in ("a", "b", "c", "bare"):
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(b"image " + name.encode())
    for name in ("a", "b", "c"):
        xml = annotation(name, box("cat", 1, 2, 30, 40), box("dog", 5, 5, 9.5, 80))
        (root / "Annotations" / f"{name}.xml").write_text(xml)
    run("init")
    return root


@pytest.fixture
def flawed(voc):
    """The same with a flawed box, a malformed file, and a file without its image."""
    (voc / "Annotations" / "flawed.xml").write_text(
        annotation("flawed", box("cat", 1, 2, 30, 40), box("cat", 5, 5, 5, 9), box("cat", 0, 0, "nan", 9))
    )
    (voc / "JPEGImages" / "flawed.jpg").write_bytes(b"image")
    (voc / "Annotations" / "broken.xml").write_text("<annotation><filename>broken.jpg")
    (voc / "Annotations" / "lost.xml").write_text(annotation("lost", box("cat", 1, 2, 30, 40)))
    return voc


def counts(done):
    return {key: done[key] for key in ("frames", "annotations", "added", "updated", "unchanged", "refused")}


def test_a_good_folder(voc):
    done = run("import", "voc", voc, "--dataset", "pets")
    assert done.stderr == "there was no dataset 'pets': created it in the project 'default'\n"
    expected = "4 frames added, 0 updated, 0 unchanged, 0 refused; 6 annotations; 0 problems"
    assert done.stdout == f"default/pets@Current: {expected}\n"
    labels = run_json("stats", "pets")["version"]["stats"]["labels"]
    assert labels == [{"name": "cat", "count": 3}, {"name": "dog", "count": 3}]


def test_frames_refer_to_the_images(voc):
    run("import", "voc", voc, "--dataset", "pets")
    with framelode.connect(".framelode") as engine:
        version = framelode.DatasetVersion.get_current(dataset_name="pets")
        (frame,) = version.get_frames_by_source(str(voc / "JPEGImages" / "a.jpg"))
        assert (frame.width, frame.height, frame.size) == (100, 80, 7)
        first, second = frame.get_annotations()
        assert (first.x, first.y, first.width, first.height, first.labels) == (1, 2, 29, 38, ["cat"])
        assert (second.width, second.height) == (4.5, 75)
        engine.close()


def test_flaws_are_listed_and_the_rest_recorded(flawed):
    done = run("import", "voc", flawed, "--dataset", "pets", status=1)
    listed = done.stderr.splitlines()[1:]
    assert len(listed) == 4
    assert {line.split(": ")[0] for line in listed} == FLAWS
    assert "zero width" in next(line for line in listed if "object 2" in line)
    assert "must be a finite number" in next(line for line in listed if "object 3" in line)
    assert "5 frames added, 0 updated, 0 unchanged, 0 refused; 7 annotations; 4 problems" in done.stdout


def test_flaws_as_json(flawed):
    done = run_json("import", "voc", flawed, "--dataset", "pets", status=1)
    assert (done["dataset_created"], done["draft_created"]) == (True, False)
    assert done["version"]["frames"] == 5
    assert {problem["file"] for problem in done["problems"]} == FLAWS
    assert all(set(problem) == {"file", "reason"} for problem in done["problems"])


def test_importing_again_changes_nothing(flawed):
    first = run_json("import", "voc", flawed, "--dataset", "pets", status=1)
    events = run_json("verify")["verified"]["events"]
    again = run_json("import", "voc", flawed, "--dataset", "pets", status=1)
    assert counts(again) == {
        "frames": 5,
        "annotations": 7,
        "added": 0,
        "updated": 0,
        "unchanged": 5,
        "refused": 0,
    }
    assert again["problems"] == first["problems"]
    assert again["version"] == first["version"]
    assert run_json("verify")["verified"]["events"] == events


def test_a_change_in_the_folder_is_an_update(voc):
    run("import", "voc", voc, "--dataset", "pets")
    (voc / "Annotations" / "a.xml").write_text(annotation("a", box("cat", 1, 2, 30, 41)))
    done = run_json("import", "voc", voc, "--dataset", "pets")
    assert counts(done) == {
        "frames": 4,
        "annotations": 5,
        "added": 0,
        "updated": 1,
        "unchanged": 3,
        "refused": 0,
    }


def test_without_a_draft_a_child_of_what_was_published_last_is_made(voc):
    run("import", "voc", voc, "--dataset", "pets")
    parent = run_json("publish", "pets")["published"]
    done = run("import", "voc", voc, "--dataset", "pets")
    assert done.stderr == "dataset 'pets' has no draft: created 'Current 2', the child of 'Current'\n"
    (draft,) = (row for row in run_json("ls", "pets")["versions"] if row["state"] == "draft")
    assert (draft["name"], draft["parent"], draft["frames"]) == ("Current 2", parent["id"], 4)
    assert "0 frames added, 0 updated, 4 unchanged" in done.stdout


def test_a_dataset_without_versions_gets_an_empty_draft(voc):
    run("import", "voc", voc, "--dataset", "pets")
    with framelode.connect(".framelode") as engine:
        framelode.DatasetVersion.remove_version(dataset_name="pets", version_name="Current")
        engine.close()
    done = run_json("import", "voc", voc, "--dataset", "pets")
    assert (done["draft_created"], done["added"], done["version"]["parent"]) == (True, 4, None)


def test_into_the_draft_that_is_named(voc):
    run("import", "voc", voc, "--dataset", "pets")
    run("snapshot", "pets", "--name", "v1", "--child-name", "v2")
    run("draft", "pets", "side", "--empty")
    done = run_json("import", "voc", voc, "--dataset", "pets", "--version", "side")
    assert (done["version"]["name"], done["added"]) == ("side", 4)


def test_a_published_version_takes_nothing(voc):
    run("import", "voc", voc, "--dataset", "pets")
    run("snapshot", "pets", "--name", "v1")
    refused = run("import", "voc", voc, "--dataset", "pets", "--version", "v1", status=5)
    assert "is published and cannot be changed" in refused.stderr


def test_nothing_is_made_for_what_cannot_be_imported(voc, tmp_path):
    run("import", "voc", voc, "--dataset", "pets", "--version", "v9", status=4)
    run("import", "voc", tmp_path / "nowhere", "--dataset", "pets", status=2)
    (tmp_path / "empty").mkdir()
    run("import", "voc", tmp_path / "empty", "--dataset", "pets", status=2)
    run("import", "auto", tmp_path / "empty", "--dataset", "pets", status=2)
    run("import", "voc", voc, "--dataset", " ", status=2)
    run("import", "voc", voc, "--dataset", "pets", "--actor", "", status=2)
    assert run_json("ls") == {"datasets": []}


def test_projects_are_apart(voc):
    run("import", "voc", voc, "--dataset", "pets", "--project", "zoo")
    done = run_json("import", "voc", voc, "--dataset", "pets")
    assert (done["version"]["project"], done["dataset_created"], done["unchanged"]) == ("zoo", False, 4)
    run("import", "voc", voc, "--dataset", "pets", "--project", "home")
    run("import", "voc", voc, "--dataset", "pets", status=5)
    assert [row["address"] for row in run_json("ls")["datasets"]] == ["zoo/pets", "home/pets"]


def test_who_and_from_where_is_recorded(voc):
    run("import", "voc", voc, "--dataset", "pets", "--actor", "importer")
    with framelode.connect(".framelode") as engine:
        headers = list(engine.log.headers())
        engine.close()
    assert {header.actor for header in headers} == {"importer"}
    assert {header.context for header in headers} == {
        json.dumps({"folder": str(voc), "import": "voc", "root": str(voc)}, separators=(",", ":"))
    }


def test_a_refused_frame_is_listed_like_a_flaw(voc, tmp_path):
    large = annotation("b", *(box("cat", 1, 2, 30, 40) for _ in range(50)))
    (voc / "Annotations" / "b.xml").write_text(large)
    with framelode.connect(tmp_path / "small", max_frame_bytes=1000) as engine:
        done = DatasetVersion.from_voc(voc, "pets")
        engine.close()
    assert (done.frames, done.added, done.refused) == (4, 3, 1)
    (problem,) = done.problems
    assert problem.file == "JPEGImages/b.jpg"
    assert "refused" in problem.reason


def test_progress_is_told(voc, tmp_path):
    callback = Callback()
    with framelode.connect(tmp_path / "other") as engine:
        DatasetVersion.from_voc(voc, "pets", callback=callback)
        engine.close()
    assert (callback.value, callback.size) == (4, 4)


@pytest.mark.skipif(not os.environ.get("FRAMELODE_TEST_VOC"), reason="FRAMELODE_TEST_VOC names no VOC folder")
def test_the_main_job_on_real_data(tmp_path, monkeypatch):
    folder = Path(os.environ["FRAMELODE_TEST_VOC"]).resolve()
    monkeypatch.chdir(tmp_path)
    run("init")
    expected = good_labels(folder)
    boxes = sum(expected.values())
    frames = len(list((folder / "Annotations").glob("*.xml")))
    flat = len(list(all_labels(folder).elements())) - boxes
    imported = run_json("import", "voc", folder, "--dataset", "real", status=1 if flat else 0)
    assert counts(imported) | {"refused": 0} == {
        "frames": frames,
        "annotations": boxes,
        "added": frames,
        "updated": 0,
        "unchanged": 0,
        "refused": 0,
    }
    assert imported["flaws"] == ({"annotation": flat} if flat else {})
    assert len(imported["problems"]) == flat
    published = run_json("publish", "real")["published"]
    run("draft", "real", "v2", "--parent", f"id:{published['id']}")
    with framelode.connect(".framelode") as engine:
        child = framelode.DatasetVersion.get_version(dataset_name="real", version_name="v2")
        gone, changed = (frame for frame, _ in zip(child, range(2), strict=False))
        child.delete_frames([gone])
        changed.add_annotation(box2d_xywh=(0, 0, 5, 5), labels=["new"])
        child.update_frames([changed])
        engine.close()

    both = run_json("stats", "real@v2", "--against", "real@Current")
    before, after = both["against"]["stats"], both["version"]["stats"]
    lost = Counter(label for roi in gone.get_annotations() for label in roi.labels)
    assert labels_of(before) == expected
    assert labels_of(after) == expected - lost + Counter(new=1)
    assert (before["total"], after["total"]) == (frames, frames - 1)
    assert "default/real@v2" in run("stats", "real@v2", "--against", "real@Current").stdout
    verified = run_json("verify")["verified"]
    assert (verified["versions"], verified["fingerprints"], verified["problems"]) == (2, 1, [])


def labels_of(stats):
    return Counter({entry["name"]: entry["count"] for entry in stats["labels"]})


def all_labels(folder):
    """Count all boxes by label, straight from the XML."""
    files = (folder / "Annotations").glob("*.xml")
    return Counter(item.findtext("name") for file in files for item in ET.parse(file).iter("object"))


def good_labels(folder):
    """Count the boxes of positive size by label, straight from the XML."""
    labels = Counter()
    for file in (folder / "Annotations").glob("*.xml"):
        for item in ET.parse(file).iter("object"):
            sides = {
                side: float(item.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")
            }
            if sides["xmin"] < sides["xmax"] and sides["ymin"] < sides["ymax"]:
                labels[item.findtext("name")] += 1
    return labels


def test_copied_images_are_blobs_and_the_ids_stay(voc):
    run("import", "voc", voc, "--dataset", "street")
    before = {
        frame.id: Path(frame.source).read_bytes()
        for frame in framelode.DatasetVersion.get_current(None, "street")
    }
    done = run_json("import", "voc", voc, "--dataset", "street", "--copy")
    assert (done["added"], done["updated"], done["problems"]) == (0, 4, [])
    for image in (voc / "JPEGImages").iterdir():
        image.unlink()
    version = framelode.DatasetVersion.get_current(None, "street")
    assert {frame.id: Path(frame.get_local_source()).read_bytes() for frame in version} == before
    assert all(frame.source.startswith("blobs:") and frame.source.endswith(".jpg") for frame in version)
    framelode.current_engine().verify(blobs=True)


def test_images_that_cannot_be_copied_are_listed_and_the_draft_keeps_what_it_held(voc):
    run("import", "voc", voc, "--dataset", "street")
    (voc.parent / ".framelode" / "blobs").write_bytes(b"no folder")
    done = run_json("import", "voc", voc, "--dataset", "street", "--copy", status=1)
    assert (done["refused"], done["version"]["frames"]) == (4, 4)
    assert {problem["file"] for problem in done["problems"]} == {
        f"JPEGImages/{name}.jpg" for name in ("a", "b", "c", "bare")
    }
    assert all("a part of its path is a file" in problem["reason"] for problem in done["problems"])
