"""The reader of Pascal VOC folders: what it keeps, what it lists, and that nothing is both or neither."""

from __future__ import annotations

import math
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from data_sets import make, read, write

from framelode.adapters.formats.report import Problem, Report
from framelode.adapters.formats.voc import FORMAT
from framelode.engine.errors import UsageError
from framelode.engine.frames.frame_group import frame_from_dict


class VocFolder:
    """A folder as the format reads it: frames, and the problems of the last reading."""

    def __init__(self, path):
        self.path = Path(path)
        self.problems = self._reading().problems

    def _reading(self):
        self.report = Report()
        self.reading = FORMAT.read(self.path.resolve(), self.report)
        return self.report

    def __len__(self):
        return self.reading.expected

    def read(self):
        self.problems = self._reading().problems
        return (frame_from_dict(item.frame) for item in self.reading.items if item.frame is not None)


SIZE = "<size><width>100</width><height>80</height><depth>3</depth></size>"


def box(xmin="10", ymin="20", xmax="30", ymax="50"):
    return f"<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>"


def obj(bndbox=None, name="<name>cat</name>", more=""):
    return f"<object>{name}{box() if bndbox is None else bndbox}{more}</object>"


def annotation(*objects, filename="a.jpg", size=SIZE, more=""):
    return f"<annotation><filename>{filename}</filename>{more}{size}{''.join(objects)}</annotation>"


@pytest.fixture
def voc(tmp_path):
    """Make a VOC folder: keyword `xml` maps names to texts, `images` lists names, `lists` maps splits to lines."""

    def make(xml=None, images=("a.jpg",), lists=None):
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in (xml or {}).items():
            content = text if isinstance(text, bytes) else text.encode()
            (tmp_path / "Annotations" / name).write_bytes(content)
        for name in images:
            (tmp_path / "JPEGImages" / name).write_bytes(b"image")
        for split, lines in (lists or {}).items():
            (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(lines) + "\n")
        return VocFolder(tmp_path)

    return make


def names(frames):
    return [Path(frame.source).name for frame in frames]


def boxes(frame):
    return [(a.x, a.y, a.width, a.height) for a in frame.get_annotations()]


def only_problem(folder):
    (problem,) = folder.problems
    return problem


# folder


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere is not a folder"):
        VocFolder(tmp_path / "nowhere")


def test_a_folder_without_annotations_is_refused_saying_what_was_looked_for(tmp_path):
    with pytest.raises(UsageError, match="has no XML files"):
        VocFolder(str(tmp_path))


@pytest.mark.parametrize("text", ["<annotations><image/></annotations>", "<html></html>", "no XML"])
def test_a_folder_whose_annotations_are_of_another_format_is_refused(text, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"image")
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(
        UsageError, match=r"root element 'annotation' of Pascal VOC, but annotations.xml: .*'auto'"
    ):
        VocFolder(tmp_path)


def test_a_whole_frame(voc, tmp_path):
    more = "<folder>VOC</folder><source><database>Known</database></source><segmented>0</segmented>"
    folder = voc(
        {"a.xml": annotation(obj(), more=more)}, lists={"train": ["a"], "trainval": ["a"], "val": []}
    )
    (frame,) = folder.read()
    assert folder.problems == []
    assert frame.source == str(tmp_path.resolve() / "JPEGImages" / "a.jpg")
    assert (frame.width, frame.height, frame.size) == (100, 80, 5)
    assert frame.metadata == {
        "folder": "VOC",
        "source": {"database": "Known"},
        "segmented": False,
        "depth": 3,
        "splits": ["train", "trainval"],
    }
    (found,) = frame.get_annotations()
    assert found.labels == ["cat"]
    assert boxes(frame) == [(10, 20, 20, 30)]


def test_sources_are_absolute_and_the_same_by_a_relative_path(voc, tmp_path, monkeypatch):
    voc({"a.xml": annotation()})
    monkeypatch.chdir(tmp_path / "JPEGImages")
    (frame,) = VocFolder("..").read()
    assert frame.source == str(tmp_path.resolve() / "JPEGImages" / "a.jpg")


def test_annotated_frames_come_first_and_each_kind_in_order_of_names(voc):
    xml = {f"{stem}.xml": annotation(filename=f"{stem}.jpg") for stem in ("c", "a")}
    folder = voc(xml, images=("d.png", "c.jpg", "a.jpg", "b.TIFF"))
    assert names(folder.read()) == ["a.jpg", "c.jpg", "b.TIFF", "d.png"]
    assert len(folder) == 4
    assert folder.problems == []


def test_reading_again_lists_the_same_problems_once(voc):
    folder = voc({"a.xml": annotation(obj(box(xmax="nan")), obj()), "b.xml": "<"})
    first = names(folder.read())
    listed = list(folder.problems)
    assert names(folder.read()) == first == ["a.jpg"]
    assert folder.problems == listed
    assert len(listed) == 2


def test_reading_streams(voc):
    folder = voc({"a.xml": annotation(), "b.xml": "<"}, images=("a.jpg", "b.jpg"))
    frames = folder.read()
    assert names([next(frames)]) == ["a.jpg"]
    assert folder.problems == []
    assert list(frames) == []
    assert only_problem(folder).file == "Annotations/b.xml"


# boxes


def test_fractions_are_kept(voc):
    (frame,) = voc({"a.xml": annotation(obj(box("0.25", "1.5", "10.75", "80.0")))}).read()
    assert boxes(frame) == [(0.25, 1.5, 10.5, 78.5)]


def test_a_box_of_the_whole_image_is_inside(voc):
    folder = voc({"a.xml": annotation(obj(box("0", "0", "100", "80")))})
    (frame,) = folder.read()
    assert boxes(frame) == [(0, 0, 100, 80)]
    assert folder.problems == []


@pytest.mark.parametrize(
    ("flawed", "reason"),
    [
        (obj(box(xmin="30")), "zero width: xmin is 30, xmax is 30"),
        (obj(box(ymin="50")), "zero height: ymin is 50, ymax is 50"),
        (obj(box(xmin="31")), "negative width: xmin is 31, xmax is 30"),
        (obj(box(ymin="51.5")), "negative height: ymin is 51.5, ymax is 50"),
        (obj(box(xmin="-1")), "outside the image: xmin is -1, below 0"),
        (obj(box(ymin="-0.5")), "outside the image: ymin is -0.5, below 0"),
        (obj(box(xmax="101")), "outside the image: xmax is 101, over the width of 100"),
        (obj(box(ymax="80.25")), "outside the image: ymax is 80.25, over the height of 80"),
        (obj(box(xmin="200", xmax="300")), "outside the image: xmax is 300, over the width of 100"),
        (obj(box(xmin="ten")), "xmin must be a finite number, not 'ten'"),
        (obj(box(xmin="1_0")), "xmin must be a finite number, not '1_0'"),
        (obj(box(xmin="")), "xmin must be a finite number, not ''"),
        (obj(box(ymax="NaN")), "ymax must be a finite number, not 'NaN'"),
        (obj(box(xmax="inf")), "xmax must be a finite number, not 'inf'"),
        (obj(box(xmin="-1e308", xmax="1e308")), "infinite width: xmin is -1e+308, xmax is 1e+308"),
        (obj("<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax></bndbox>"), "has no ymax"),
        (obj(""), "has no bndbox"),
        (obj(box() + box()), "has 2 elements 'bndbox' instead of one"),
    ],
)
def test_a_flawed_box_is_listed_and_the_good_ones_stay(voc, flawed, reason):
    folder = voc({"a.xml": annotation(obj(), flawed, obj(box("1", "2", "3", "4")))})
    (frame,) = folder.read()
    assert boxes(frame) == [(10, 20, 20, 30), (1, 2, 2, 2)]
    assert folder.problems == [Problem("Annotations/a.xml", f"object 2 ('cat'): {reason}")]


@pytest.mark.parametrize("name", ["", "<name/>", "<name>  </name>"])
def test_an_object_without_name_is_listed(voc, name):
    folder = voc({"a.xml": annotation(obj(name=name), obj())})
    (frame,) = folder.read()
    assert len(boxes(frame)) == 1
    assert folder.problems == [Problem("Annotations/a.xml", "object 1 (no name): has no name")]


def test_a_long_value_is_cut_and_a_strange_one_printable(voc):
    folder = voc({"a.xml": annotation(obj(box(xmin="9" * 100_000 + "x"), name="<name>a\tb</name>"))})
    list(folder.read())
    reason = only_problem(folder).reason
    assert reason.startswith("object 1 ('a\\tb'): xmin must be a finite number, not '999")
    assert len(reason) < 200


# what else is said of objects and frames


def test_flags_that_are_set_and_a_known_pose_are_kept(voc):
    more = "<pose>Left</pose><truncated>1</truncated><difficult>0</difficult><occluded>true</occluded><score>0.5</score>"
    plain = "<pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
    (frame,) = voc({"a.xml": annotation(obj(more=more), obj(more=plain), obj())}).read()
    first, second, third = frame.get_annotations()
    assert first.metadata == {"pose": "Left", "truncated": True, "occluded": True, "score": "0.5"}
    assert not second.metadata
    assert not third.metadata


def test_nested_details_are_kept_as_json_like_values(voc):
    more = "<actions><jumping>1</jumping><riding>0</riding></actions><tag>x</tag><tag>y</tag><empty/>"
    (frame,) = voc({"a.xml": annotation(obj(more=more))}).read()
    (found,) = frame.get_annotations()
    assert found.metadata == {"actions": {"jumping": "1", "riding": "0"}, "tag": ["x", "y"]}


def test_parts_are_annotations_that_name_their_object(voc):
    head = f"<part><name>head</name>{box('11', '21', '15', '25')}</part>"
    folder = voc({"a.xml": annotation(obj(), obj(more=head, name="<name>person</name>"))})
    (frame,) = folder.read()
    cat, person, part = frame.get_annotations()
    assert folder.problems == []
    assert not cat.metadata
    assert person.metadata == {"object": 2}
    assert part.labels == ["head"]
    assert part.metadata == {"object": 2, "part_of": "person"}
    assert boxes(frame)[2] == (11, 21, 4, 4)


def test_a_flawed_part_is_listed_and_a_part_of_a_flawed_object_is_kept(voc):
    bad = f"<part><name>hand</name>{box('5', '5', '5', '9')}</part>"
    good = f"<part><name>head</name>{box()}</part>"
    folder = voc({"a.xml": annotation(obj(box(xmax="0"), more=good + bad))})
    (frame,) = folder.read()
    assert [a.labels for a in frame.get_annotations()] == [["head"]]
    assert [p.reason for p in folder.problems] == [
        "object 1 ('cat'): negative width: xmin is 10, xmax is 0",
        "object 1 ('cat'), part 2 ('hand'): zero width: xmin is 5, xmax is 5",
    ]


def test_details_that_nest_too_deep_are_listed(voc):
    folder = voc({"a.xml": annotation(obj(more="<a>" * 20 + "x" + "</a>" * 20), obj())})
    (frame,) = folder.read()
    assert len(boxes(frame)) == 1
    assert only_problem(folder).reason == "object 1 ('cat'): nests elements more than 8 levels deep"


def test_the_annotators_path_is_left_out_and_verified_kept(voc):
    text = annotation(more="<path>/home/me/a.jpg</path><segmented>1</segmented>")
    (frame,) = voc({"a.xml": text.replace("<annotation>", '<annotation verified="yes">')}).read()
    assert frame.metadata == {"segmented": True, "verified": "yes", "depth": 3}


# size


@pytest.mark.parametrize("size", ["", "<size/>", "<size><depth>3</depth></size>"])
def test_a_missing_size_is_accepted_and_boxes_are_not_compared(voc, size):
    folder = voc({"a.xml": annotation(obj(box(xmax="5000")), size=size)})
    (frame,) = folder.read()
    assert (frame.width, frame.height) == (None, None)
    assert len(boxes(frame)) == 1
    assert folder.problems == []


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ("<size><width>wide</width><height>80</height></size>", "width must be a finite number, not 'wide'"),
        ("<size><width>100</width><height>nan</height></size>", "height must be a finite number, not 'nan'"),
        (
            "<size><width>0</width><height>0</height></size>",
            "width must be a positive integer, not '0'",
        ),
        (
            "<size><width>9.5</width><height>8</height></size>",
            "width must be a positive integer, not '9.5'",
        ),
        (
            "<size><width>1e99</width><height>8</height></size>",
            "width must be a positive integer, not '1e99'",
        ),
        ("<size><width>100</width></size>", "has no height"),
        (SIZE + SIZE.replace("100", "200"), "has 2 elements 'size' instead of one"),
    ],
)
def test_a_wrong_size_is_listed_and_the_frame_kept_without(voc, size, reason):
    folder = voc({"a.xml": annotation(obj(box(xmax="5000")), size=size)})
    (frame,) = folder.read()
    assert (frame.width, frame.height) == (None, None)
    assert len(boxes(frame)) == 1
    assert folder.problems == [
        Problem("Annotations/a.xml", f"size: {reason}; boxes are not compared with it")
    ]


def test_a_size_written_with_a_decimal_point_is_a_whole_number(voc):
    (frame,) = voc({"a.xml": annotation(size="<size><width>100.0</width><height>80</height></size>")}).read()
    assert (frame.width, frame.height) == (100, 80)


# files that are not imported


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<annotation><object></annotation>", "is not well-formed XML: mismatched tag: line 1, column 22"),
        ("", "is not well-formed XML: no element found"),
        (b"<annotation>\xff</annotation>", "is not well-formed XML: 'utf-8' codec can't decode"),
        ("<html/>", "its root element must be 'annotation', not 'html'"),
        ('<annotation xmlns="urn:x"/>', "its root element must be 'annotation', not '{urn:x}annotation'"),
        ('<?xml version="1.0" encoding="punycode"?><annotation/>', "declares the encoding 'punycode'"),
    ],
)
def test_a_malformed_file_is_listed_and_its_image_not_imported(voc, text, reason):
    folder = voc({"a.xml": text, "b.xml": annotation(filename="b.jpg")}, images=("a.jpg", "b.jpg"))
    assert names(folder.read()) == ["b.jpg"]
    problem = only_problem(folder)
    assert problem.file == "Annotations/a.xml"
    assert problem.reason.startswith(reason)


BOMB = (
    '<!DOCTYPE annotation [<!ENTITY a0 "lol">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    + "]><annotation><filename>&a11;</filename></annotation>"
)
EXTERNAL = '<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><folder>&x;</folder></annotation>'
# In this encoding the bytes BC and A1 are "<" and "!" too.
ARABIC = b'<?xml version="1.0" encoding="mac-arabic"?>\xbc\xa1DOCTYPE annotation []><annotation/>'


@pytest.mark.parametrize(
    "content",
    [BOMB.encode(), BOMB.encode("utf-16"), EXTERNAL.encode(), ARABIC],
    ids=["bomb", "bomb in utf-16", "external entity", "hidden by encoding"],
)
def test_entities_cannot_hurt(voc, content):
    folder = voc({"a.xml": content})
    assert list(folder.read()) == []
    assert only_problem(folder).reason.startswith("declares ")


def test_a_file_of_very_many_nested_elements_is_survived(voc):
    # More than any stack has room for.
    folder = voc({"a.xml": annotation(more="<a>" * 250_000 + "</a>" * 250_000)})
    assert list(folder.read()) == []
    assert only_problem(folder).reason == "nests elements more than 8 levels deep"


@pytest.mark.parametrize("encoding", ["gbk", "iso-8859-1", "utf-16", "utf-8-sig"])
def test_other_encodings_are_read(voc, encoding):
    name = "caf\u00e9" if encoding == "iso-8859-1" else "\u732b"
    declared = "" if encoding.startswith("utf") else f'<?xml version="1.0" encoding="{encoding}"?>'
    (frame,) = voc(
        {"a.xml": (declared + annotation(obj(name=f"<name>{name}</name>"))).encode(encoding)}
    ).read()
    (found,) = frame.get_annotations()
    assert found.labels == [name]


def test_a_pipe_is_not_waited_for(voc, tmp_path):
    voc()
    os.mkfifo(tmp_path / "Annotations" / "a.xml")
    folder = VocFolder(tmp_path)
    assert list(folder.read()) == []
    assert only_problem(folder) == Problem("Annotations/a.xml", "is not a regular file")


# images


def test_a_missing_image_is_listed(voc):
    folder = voc({"a.xml": annotation(filename="x.jpg")}, images=())
    assert list(folder.read()) == []
    assert only_problem(folder) == Problem(
        "Annotations/a.xml", "missing image: no file is 'a' and none is the filename 'x.jpg'"
    )


def test_a_folder_without_images_lists_every_file(tmp_path):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(annotation())
    folder = VocFolder(tmp_path)
    assert list(folder.read()) == []
    assert only_problem(folder).reason.startswith("missing image")


@pytest.mark.parametrize("filename", ["a", "", "other.jpg", "a.jpg", "sub/a.jpg"])
def test_the_image_is_found_by_the_name_of_the_file_if_filename_does_not_help(voc, filename):
    folder = voc({"a.xml": annotation(filename=filename)}, images=("a.PNG",))
    assert names(folder.read()) == ["a.PNG"]
    assert folder.problems == []


def test_the_filename_counts_before_the_name_of_the_file(voc):
    folder = voc({"0001.xml": annotation(obj(), filename="photo.jpg")}, images=("photo.jpg",))
    (frame,) = folder.read()
    assert names([frame]) == ["photo.jpg"]
    assert len(boxes(frame)) == 1
    assert folder.problems == []


def test_several_images_of_one_name_are_not_guessed_between(voc):
    folder = voc({"a.xml": annotation(filename="a")}, images=("a.jpg", "a.png"))
    assert list(folder.read()) == []
    assert only_problem(folder).reason.startswith(
        "several images could be 'a': 'JPEGImages/a.jpg', 'JPEGImages/a.png'"
    )


@pytest.mark.parametrize("filename", ["../secret.jpg", "x/../../secret.jpg", r"..\a.jpg"])
def test_a_filename_cannot_leave_the_folder(voc, tmp_path, filename):
    folder = voc({"a.xml": annotation(filename=filename)})
    assert list(folder.read()) == []
    assert only_problem(folder) == Problem(
        "Annotations/a.xml", f"file name {filename!r} leads out of the folder"
    )


@pytest.mark.parametrize(
    "filename", ["/home/me/a.jpg", r"C:\pictures\a.jpg", "elsewhere/a.jpg", "JPEGImages/a.jpg"]
)
def test_folders_of_other_machines_do_not_matter(voc, filename):
    folder = voc({"1.xml": annotation(obj(), filename=filename)}, images=("a.jpg", "b.jpg"))
    annotated, bare = folder.read()
    assert (names([annotated]), len(boxes(annotated)), names([bare])) == (["a.jpg"], 1, ["b.jpg"])
    assert folder.problems == []


def test_an_empty_image_and_a_broken_link_are_listed(voc, tmp_path):
    voc({"a.xml": annotation(), "b.xml": annotation(filename="b.jpg")}, images=("a.jpg",))
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes(b"")
    (tmp_path / "JPEGImages" / "b.jpg").symlink_to("nowhere.jpg")
    folder = VocFolder(tmp_path)
    assert list(folder.read()) == []
    assert [(p.file, p.reason) for p in folder.problems] == [
        ("Annotations/a.xml", "image 'JPEGImages/a.jpg' is empty"),
        ("Annotations/b.xml", "image 'JPEGImages/b.jpg' cannot be read: No such file or directory"),
    ]


def test_an_image_without_annotation_file_is_a_frame_without_annotations(voc):
    folder = voc(images=("a.jpg",), lists={"test": ["a"]})
    (frame,) = folder.read()
    assert frame.metadata == {"splits": ["test"]}
    assert list(frame.get_annotations()) == []
    assert (frame.size, folder.problems) == (5, [])


def test_two_files_about_one_image_are_one_frame_and_one_problem(voc):
    xml = {name: annotation(obj(), filename="photo.jpg") for name in ("1.xml", "2.xml")}
    folder = voc(xml, images=("photo.jpg",))
    assert names(folder.read()) == ["photo.jpg"]
    assert only_problem(folder) == Problem(
        "Annotations/2.xml", "image 'JPEGImages/photo.jpg' is already described by 'Annotations/1.xml'"
    )


def test_the_file_that_bears_the_images_name_counts_before_an_earlier_one(voc):
    xml = {"a.xml": annotation(obj(), filename="b.jpg"), "b.xml": annotation(filename="b.jpg")}
    folder = voc(xml, images=("a.jpg", "b.jpg"))
    (frame,) = folder.read()
    assert boxes(frame) == []
    assert only_problem(folder).file == "Annotations/a.xml"
    assert "has an annotation file of the same name" in only_problem(folder).reason


def test_an_image_whose_file_is_about_another_is_listed(voc):
    folder = voc({"a.xml": annotation(obj())}, images=("a.jpg", "a.png"))
    assert names(folder.read()) == ["a.jpg"]
    assert only_problem(folder).file == "JPEGImages/a.png"


def test_hidden_and_foreign_files_are_passed_over(voc, tmp_path):
    voc({"a.xml": annotation(), "._a.xml": "x", "notes.txt": "x"}, images=("a.jpg", "._a.jpg", "Thumbs.db"))
    folder = VocFolder(tmp_path)
    assert names(folder.read()) == ["a.jpg"]
    assert len(folder) == 1
    assert folder.problems == []


# lists


def test_names_in_lists_may_carry_a_suffix_and_unknown_ones_are_listed_once(voc):
    folder = voc(
        {"a.xml": annotation()},
        lists={"train": ["a.jpg", "", "a.jpg"], "test": ["a", "w", "x", "y", "z"], "cat_val": ["a -1"]},
    )
    (frame,) = folder.read()
    assert frame.metadata["splits"] == ["test", "train"]
    assert only_problem(folder) == Problem(
        "ImageSets/Main/test.txt", "4 of 5 names have no image and no annotation file: 'w', 'x', 'y', ..."
    )


def test_a_name_with_dots_belongs_to_its_own_lists_only(voc):
    folder = voc(images=("a.jpg", "a.v2.jpg"), lists={"train": ["a"], "val": ["a.v2"]})
    assert {Path(f.source).name: f.metadata["splits"] for f in folder.read()} == {
        "a.jpg": ["train"],
        "a.v2.jpg": ["val"],
    }
    assert folder.problems == []


def test_a_list_that_is_no_text_is_listed(voc, tmp_path):
    folder = voc({"a.xml": annotation()}, lists={"train": ["a"]})
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_bytes(b"\xff\xfe\xff")
    (frame,) = folder.read()
    assert "splits" not in frame.metadata
    assert only_problem(folder).reason.startswith("is not text in UTF-8")


# a real folder


def expected(path: Path) -> tuple[int, int]:
    """Count objects, and those without extent, by other means than the reader's."""
    objects = flat = 0
    for file in (path / "Annotations").glob("*.xml"):
        for bndbox in ET.parse(file).iter("bndbox"):
            side = {child.tag: float(child.text or math.nan) for child in bndbox}
            objects += 1
            flat += not (side["xmax"] > side["xmin"] and side["ymax"] > side["ymin"])
    return objects, flat


@pytest.mark.skipif("FRAMELODE_TEST_VOC" not in os.environ, reason="FRAMELODE_TEST_VOC names no VOC folder")
def test_a_real_folder_is_read_whole():
    path = Path(os.environ["FRAMELODE_TEST_VOC"])
    folder = VocFolder(path)
    frames = list(folder.read())
    objects, flat = expected(path)
    assert len(frames) == len(folder)
    assert sum(len(list(frame.get_annotations())) for frame in frames) == objects - len(folder.problems)
    assert sum("zero" in p.reason or "negative" in p.reason for p in folder.problems) == flat


# what other tools write


def read_one(folder):
    (frame,) = VocFolder(folder).read()
    return frame


def test_one_folder_of_labelimg_and_any_other_names(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"image")
    (tmp_path / "x.xml").write_text(annotation(obj(), filename="x.jpg").replace("annotation>", "Annotation>"))
    assert boxes(read_one(tmp_path)) == [(10, 20, 20, 30)]
    (tmp_path / "pictures").mkdir()
    (tmp_path / "x.jpg").rename(tmp_path / "pictures" / "x.jpg")
    (tmp_path / "texts").mkdir()
    (tmp_path / "x.xml").rename(tmp_path / "texts" / "x.xml")
    assert boxes(read_one(tmp_path)) == [(10, 20, 20, 30)]


def test_equal_names_in_subfolders_are_told_apart(tmp_path):
    for day, xmax in (("monday", "30"), ("friday", "40")):
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (tmp_path / folder / day).mkdir(parents=True)
        (tmp_path / "JPEGImages" / day / "a.jpg").write_bytes(b"image")
        (tmp_path / "Annotations" / day / "a.xml").write_text(annotation(obj(box(xmax=xmax))))
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("monday/a\n")
    folder = VocFolder(tmp_path)
    found = {Path(frame.source).parent.name: frame for frame in folder.read()}
    assert folder.problems == []
    assert {day: boxes(frame)[0][2] for day, frame in found.items()} == {"monday": 20, "friday": 30}
    assert (found["monday"].metadata["splits"], "splits" in found["friday"].metadata) == (["train"], False)


def test_rotations_of_rolabelimg_and_of_cvat_are_angles(voc):
    rotated = (
        "<type>robndbox</type><robndbox><cx>20</cx><cy>30</cy><w>10</w><h>4</h><angle>0.5</angle></robndbox>"
    )
    degrees = "<attributes><attribute><name>rotation</name><value>90.0</value></attribute></attributes>"
    (frame,) = voc({"a.xml": annotation(obj(rotated), obj(more=degrees))}).read()
    first, second = frame.get_annotations()
    assert (boxes(frame)[0], first.angle, dict(first.metadata)) == ((15, 28, 10, 4), 0.5, {})
    assert (boxes(frame)[1], second.angle, dict(second.metadata)) == ((10, 20, 20, 30), math.pi / 2, {})


@pytest.mark.parametrize(
    "polygon",
    [
        "<x1>1</x1><y1>2</y1><x2>3.5</x2><y2>4</y2><x3>5</x3><y3>6</y3>",
        "<pt><x>1</x><y>2</y></pt><pt><x>3.5</x><y>4</y></pt><pt><x>5</x><y>6</y></pt>",
    ],
)
def test_polygons_are_polygons(voc, polygon):
    folder = voc({"a.xml": annotation(obj(more=f"<polygon>{polygon}</polygon>"))})
    (frame,) = folder.read()
    (found,) = frame.get_annotations()
    assert (type(found).__name__, found.polygon_xy) == ("Polygon2D", [(1, 2), (3.5, 4), (5, 6)])
    assert folder.problems == []


@pytest.mark.parametrize("count", [1, 2])
def test_attributes_are_a_dict_however_many_there_are(voc, count):
    one = "<attribute><name>n{0}</name><value>v{0}</value></attribute>"
    more = f"<attributes>{''.join(one.format(n) for n in range(count))}{one.format(0)}</attributes>"
    (frame,) = voc({"a.xml": annotation(obj(more=more))}).read()
    (found,) = frame.get_annotations()
    others = {f"n{n}": f"v{n}" for n in range(1, count)}
    assert found.metadata == {"attributes": {"n0": ["v0", "v0"], **others}}


def test_segmentation_masks_are_masks_of_the_frame(voc, tmp_path):
    from PIL import Image

    voc({"a.xml": annotation()}, lists={"train": ["a"]})
    for folder in ("SegmentationClass", "SegmentationObject"):
        (tmp_path / folder).mkdir()
        image = Image.new("RGB", (100, 80))
        image.putpixel((5, 5), (128, 0, 0))
        image.putpixel((6, 5), (250, 50, 50))
        image.save(tmp_path / folder / "a.png")
    folder = VocFolder(tmp_path)
    (frame,) = folder.read()
    assert only_problem(folder) == Problem(
        "SegmentationClass/a.png", "colour [250, 50, 50] is not in the classes of VOC"
    )
    assert set(frame.masks_source) == {"SegmentationClass", "SegmentationObject"}
    assert [(each.labels, each.mask_rgb) for each in frame.get_annotations()] == [
        (["aeroplane"], (128, 0, 0))
    ]
    (tmp_path / "labelmap.txt").write_text("# label:color\nbackground:0,0,0::\ncar:250,50,50::\n")
    folder = VocFolder(tmp_path)
    (frame,) = folder.read()
    assert [(each.labels, each.mask_id) for each in frame.get_annotations()] == [
        (["car"], "SegmentationClass")
    ]
    assert folder.reading.categories == [{"name": "car", "color": [250, 50, 50]}]
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:::\nvan:::\n")
    folder = VocFolder(tmp_path)
    (frame,) = folder.read()
    assert [(each.labels, each.mask_rgb) for each in frame.get_annotations()] == [(["van"], (128, 0, 0))]
    assert folder.reading.categories == [{"name": "van"}]


def test_classes_are_in_a_label_map_and_keep_their_order(tmp_path):
    """CVAT and datumaro refuse other classes than those of VOC without one."""
    names = [{"name": "zebra"}, {"name": "x:y"}, {"name": "ant"}]
    write("voc", make(tmp_path / "in", [([], {})]), tmp_path / "out", names)
    lines = (tmp_path / "out" / "labelmap.txt").read_text().splitlines()
    assert lines == ["# label:color_rgb:parts:actions", "background:::", "zebra:::", "ant:::"]
    _, report, reading = read("voc", tmp_path / "out")
    assert (report.problems, reading.categories) == ([], [{"name": "zebra"}, {"name": "ant"}])


def test_masks_of_equal_names_belong_to_the_images_beside_them(tmp_path):
    from PIL import Image

    for folder, colour in {"VOC2007": (128, 0, 0), "VOC2012": (0, 128, 0)}.items():
        for kind in ("Annotations", "JPEGImages", "SegmentationClass"):
            (tmp_path / folder / kind).mkdir(parents=True)
        (tmp_path / folder / "Annotations" / "a.xml").write_text(annotation(size=""))
        (tmp_path / folder / "JPEGImages" / "a.jpg").write_bytes(b"image")
        Image.new("RGB", (100, 80), colour).save(tmp_path / folder / "SegmentationClass" / "a.png")
    labels = [frame.annotations[0].labels for frame in VocFolder(tmp_path).read()]
    assert labels == [["aeroplane"], ["bicycle"]]


def test_a_url_is_the_source_of_an_image_that_is_not_there(voc):
    folder = voc({"a.xml": annotation(obj(), more="<path>s3://bucket/a.jpg</path>")}, images=())
    (frame,) = folder.read()
    assert (frame.source, folder.problems) == ("s3://bucket/a.jpg", [])
