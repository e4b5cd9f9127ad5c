"""Shards of WebDataset: samples in tar archives, the same bytes each time, and what is flawed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
import tempfile
from pathlib import Path

import any_frames
import pytest
from data_sets import frames, image, make, plain, read, write
from exchanged import assert_equal, bccd, imported, random_version, real, shapes_of
from hypothesis import given
from sizes import examples

import framelode
from framelode import DatasetVersion
from framelode.adapters.formats import webdataset as module
from framelode.adapters.formats.registry import sniff_format


@examples(25, 1000)
@given(frames(any_frames.annotations, any_frames.objects))
def test_what_is_written_is_read_again(listed):
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder, "from"), listed)
        report = write("webdataset", made, Path(folder, "to"))
        assert report.losses == []
        assert write("webdataset", made, Path(folder, "again")).losses == []
        assert bytes_of(Path(folder, "to")) == bytes_of(Path(folder, "again"))
        found, again, _ = read("webdataset", Path(folder, "to"))
        images = [Path(frame.source).read_bytes() for frame in found.values()]
        assert images == [Path(frame.source).read_bytes() for frame in made]
    assert (again.problems, again.losses) == ([], [])
    assert [plain(frame, 300) for frame in found.values()] == [plain(frame, 300) for frame in made]


def bytes_of(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_versions_go_out_and_come_in(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SAMPLES", 2)
    for number, name in enumerate(("cat/1.png", "dog/2.png", "dog/3.png")):
        image(tmp_path / "from" / name, number)
    version = DatasetVersion.from_imagefolder(tmp_path / "from", "d").version
    out = version.to_webdataset(tmp_path / "to")
    assert (out.images, out.losses) == (3, [])
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [
        "000000.tar",
        "000001.tar",
        "classes.txt",
    ]
    with tarfile.open(tmp_path / "to" / "000000.tar") as archive:
        assert archive.getnames() == [f"{at:09d}.{end}" for at in range(2) for end in ("cls", "json", "png")]
        assert {(each.mtime, each.uid, each.mode) for each in archive} == {(0, 0, 0o644)}
    assert sniff_format(tmp_path / "to").name == "webdataset"
    done = DatasetVersion.from_webdataset(tmp_path / "to", "e")
    assert (done.added, done.annotations, done.problems) == (3, 3, [])
    assert done.version.get_metadata()["categories"] == [{"name": "cat"}, {"name": "dog"}]
    assert (
        Path(next(iter(done.version.get_iterator())).source) == tmp_path / "to" / "000000" / "000000000.png"
    )
    assert DatasetVersion.from_webdataset(tmp_path / "to", "e").unchanged == 3
    bare = version.to_webdataset(tmp_path / "bare", images=False)
    assert (bare.frames, bare.images) == (3, 0)
    again = DatasetVersion.from_webdataset(tmp_path / "bare", "f")
    assert {frame.source for frame in again.version.get_iterator()} == {
        frame.source for frame in version.get_iterator()
    }


@pytest.fixture
def library():
    return pytest.importorskip("webdataset")


@pytest.mark.long  # it imports torch
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves the archive open
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("data", ["random", pytest.param("real", marks=real)])
def test_the_library_reads_and_writes_the_same(data, library, tmp_path):
    with framelode.connect("sqlite://") as engine:
        for seed in range(200 if data == "random" else 1):
            version = bccd() if data == "real" else random_version(tmp_path / "in", seed, KINDS, most=7)
            check_both_ways(library, version, tmp_path / f"out{seed}", tmp_path / f"there{seed}")
        engine.close()


KINDS = ("box", "rotated", "polygon", "holes", "pose", "polyline", "circle", "label", "caption")


def check_both_ways(library, version, out, there):
    version.to_webdataset(out)
    samples = list(library.WebDataset(str(out / "000000.tar"), shardshuffle=False))
    classes = (out / "classes.txt").read_text("utf-8").splitlines()
    frames = list(version)
    assert [sample["__key__"] for sample in samples] == [f"{number:09d}" for number in range(len(frames))]
    there.mkdir()
    written = {}
    with library.TarWriter(str(there / "a.tar")) as archive:
        for number, (sample, frame) in enumerate(zip(samples, frames, strict=True)):
            suffix = Path(frame.source).suffix[1:]
            labels = [each.labels[0] for each in frame.annotations if each.type == "image" and each.labels]
            assert json.loads(sample["json"]).get("rois", []) == frame.to_dict().get("rois", [])
            assert sample[suffix] == Path(frame.source).read_bytes()
            assert [classes[int(sample["cls"])]] * len(labels) == labels if "cls" in sample else not labels
            # It writes what it is given in the format of the suffix.
            made = {
                "__key__": f"a/{number}",
                suffix: sample[suffix],
                "cls": number % 3,
                "json": {"k": number},
            }
            archive.write(made)
            written[f"{number}.{suffix}"] = [("label", str(number % 3), [])]
    back = imported("webdataset", there)
    assert_equal(shapes_of(back), written)
    assert sorted(frame.metadata["k"] for frame in back) == list(range(len(frames)))


def shard(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def png(tmp_path):
    return image(tmp_path / "made" / "x.png").read_bytes()


def test_shards_of_others(tmp_path, png):
    files = [
        ("a/1.PNG", png),
        ("a/1.cls", b"1"),
        ("a/1.txt", "Äpfel".encode()),
        ("a/2.seg.png", png),
        ("a/2.json", b'{"k": 2}'),
        ("a/2.npy", b""),
    ]
    shard(tmp_path / "set" / "train-0.tar", files)
    (tmp_path / "set" / "classes.txt").write_text("cat\ndog\n")
    found, report, _ = read("webdataset", tmp_path / "set")
    assert report.problems == []
    assert [each.kind for each in report.losses] == ["file '.npy' of a sample: left out"]
    one, two = found["train-0/a/1.png"], found["train-0/a/2.seg.png"]
    assert ([each.labels for each in one.annotations], one.metadata) == ([["dog"]], {"txt": "Äpfel"})
    assert two.metadata == {"k": 2}


FLAWED = {
    "json": ([("1.json", b'{"k": ')], "not valid JSON"),
    "frame": ([("1.json", b'{"sources": [{"uri": "s3://b/x", "colour": 1}]}')], "colour"),
}


@pytest.mark.parametrize("kind", FLAWED)
def test_a_flawed_sample_is_listed_and_the_rest_is_imported(tmp_path, png, kind):
    files, told = FLAWED[kind]
    shard(tmp_path / "set" / "0.tar", [("0.png", png), ("1.png", png), *files, ("2.png", png)])
    (tmp_path / "set" / "classes.txt").write_text("cat\n")
    found, report, _ = read("webdataset", tmp_path / "set")
    (problem,) = report.problems
    assert (problem.file, dict(report.flaws)) == ("0.tar", {"sample": 1})
    assert told in problem.reason
    assert list(found) == ["0/0.png", "0/2.png"]


def test_names_that_lead_out_links_and_samples_without_an_image_are_not_unpacked(tmp_path, png):
    path = tmp_path / "set" / "0.tar"
    shard(path, [("../evil.png", png), ("/abs.png", png), ("1.cls", b"0"), ("2.png", b"")])
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("3.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found, report, _ = read("webdataset", path)
    assert list(found) == ["0/abs.png"]
    assert not (tmp_path / "evil.png").exists()
    reasons = " ".join(each.reason for each in report.problems)
    assert all(part in reasons for part in ("leads out", "has no image", "is empty"))


@pytest.mark.parametrize("kept", [512, 1024, 1200])
def test_a_shard_that_ends_without_the_mark_of_its_end_is_listed(tmp_path, png, kept):
    path = tmp_path / "set" / "0.tar"
    shard(path, [("0.png", png), ("1.png", png)])
    path.write_bytes(path.read_bytes()[:kept])
    _, report, _ = read("webdataset", tmp_path / "set")
    assert ["no complete tar archive" in each.reason for each in report.problems] == [True]


@pytest.mark.parametrize("size", [256, 2])
def test_a_compressed_shard_that_is_damaged_is_listed(tmp_path, png, size):
    path = tmp_path / "set" / "0.tar"
    noise = bytes(random.Random(1).choices(range(size), k=2**18))
    shard(path, [("0.png", png), ("1.png", noise), ("2.png", png)])
    content = bytearray(gzip.compress(path.read_bytes()))
    content[2**14 : 2**14 + 64] = bytes(64)
    path.unlink()
    path.with_suffix(".tgz").write_bytes(content)
    found, report, _ = read("webdataset", tmp_path / "set")
    assert next(iter(found)) == "0/0.png"
    assert ["no complete tar archive" in each.reason for each in report.problems] == [True]
    assert {file.name for file in (tmp_path / "set" / "0").iterdir()} <= {"0.png", "1.png", "2.png"}
