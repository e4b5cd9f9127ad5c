"""How things look: HTML of versions, datasets and frames, and pictures with annotations on them."""

from __future__ import annotations

import base64
import html.parser
import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE
from PIL import Image
from sizes import examples

import framelode
from framelode import (
    Annotation,
    BoundingBox2D,
    BoundingBox3D,
    ComplexPolygon2D,
    ComplexPolygon3D,
    DatasetVersion,
    Ellipse2D,
    ExecutionStore,
    FrameGroup,
    ImageAnnotation,
    InvalidValueError,
    KeyPoints2D,
    KeyPoints3D,
    Mask,
    NotFoundError,
    Polygon2D,
    Polygon3D,
    SingleFrame,
    StorageError,
    UsageError,
)
from framelode.adapters.display import image_source as sources
from framelode.adapters.display import pictures
from framelode.adapters.display.colours import colour_of
from framelode.adapters.display.fonts import runs_of
from framelode.adapters.hyperdatasets import html as cards
from framelode.engine.blobs.uris import blob_uri

ROOT = Path(__file__).parents[3]
HOSTILE = "<script>alert('x')</script>&\"\u202e\n"
WHITE = (255, 255, 255)


class Checker(html.parser.HTMLParser):
    """Holds that HTML is balanced, loads nothing, and runs nothing."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in {"div", "span", "b", "table", "tr", "th", "td", "figure", "figcaption", "img"}
        given = dict(attrs)
        assert given.keys() <= {"style", "src", "alt"}
        assert "url(" not in given.get("style", "")
        if tag == "img":
            assert given["src"].startswith("data:image/jpeg;base64,")
            self.images.append(given["src"].partition(",")[2])
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def pictures(self):
        return [Image.open(io.BytesIO(base64.b64decode(code))) for code in self.images]


def look(thing):
    return Checker(thing._repr_html_())


def png(path, size=(200, 150), colour=WHITE):
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def frame(tmp_path):
    return SingleFrame(id="f", source=png(tmp_path / "a.png"))


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("food", dataset_project="lab")
    return DatasetVersion.get_current(dataset_name="food")


def labelled(number, *labels):
    frame = SingleFrame(source=f"s3://bucket/{number}.jpg", size=1500)
    frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=list(labels))
    return frame


class TestVersions:
    def test_a_version_shows_where_it_stands_and_what_it_holds(self, draft):
        draft.add_frames([labelled(1, "car"), labelled(2, "car", "red"), SingleFrame(source="s3://b/x.png")])
        child = draft.create_snapshot(publish_name="v1", child_name="next")
        published, shown = look(draft).text, look(child).text
        for text in (
            "v1 published",
            "lab / food",
            draft.version_id,
            "3, 2 annotated",
            "2023-11-14",
            "image/jpeg2",
        ):
            assert text in published
        for text in ("next draft", "parentv1", "car2", "red1", "default3", "3.0 kB"):
            assert text in shown
        assert "parent" not in published

    def test_many_labels_are_cut(self, draft):
        draft.add_frames([labelled(number, f"label {number:02d}") for number in range(40)])
        shown = look(draft).text
        assert "label 14" in shown
        assert "label 15" not in shown
        assert "and 25 more" in shown

    def test_hostile_names_are_escaped(self, engine):
        dataset = DatasetVersion.create_new_dataset(
            HOSTILE.strip(), description=HOSTILE, tags=["<img src=x>"]
        )
        draft = DatasetVersion.get_current(dataset_id=dataset.id)
        draft.rename(HOSTILE)
        draft.add_frames([labelled(1, HOSTILE)])
        for thing in (draft, dataset):
            assert "<script>" in look(thing).text
            assert "\u202e" not in look(thing).text

    def test_hostile_names_are_escaped_in_everything_that_a_notebook_shows(self, engine):
        name = HOSTILE.strip()
        dataset = DatasetVersion.create_new_dataset(name, dataset_project=name, tags=[name])
        draft = DatasetVersion.get_current(dataset_id=dataset.id)
        frame = labelled(1, name)
        frame.id, frame.metadata = name, {"key": name}
        with framelode.acting(name, context={"key": name}):
            draft.add_frames([frame])
            child = draft.create_snapshot(child_name=name, publish_name=f"{name}1")
            frame.annotations[0].labels = [f"{name}2"]
            child.update_frames([frame])
        group = FrameGroup(id="group")
        group[name] = SingleFrame(source="a.jpg", metadata={name: name})
        store = ExecutionStore.create(name)
        store.set(name, name)
        for thing in (
            child,
            dataset,
            store,
            frame,
            group,
            child.get_stats(),
            child.diff(draft),
            child.blame(name),
            child.history(name),
            DatasetVersion.get_versions(dataset_id=dataset.id),
            DatasetVersion.get_datasets(),
            engine,
        ):
            assert "<script>" in look(thing).text, thing

    def test_what_is_read_is_shown_as_a_table(self, engine, draft):
        draft.add_frames([labelled(1, "car"), labelled(2, "car")])
        child = draft.create_snapshot(publish_name="v1", child_name="next")
        frame = next(iter(child))
        frame.metadata = {"camera": "phone"}
        frame.annotations[0].labels = ["bus"]
        with framelode.acting("ada", context={"task": "fix"}):
            child.update_frames([frame])
        assert "2 frames, 2 annotatedlabelannotationsbus1car1" in look(child.get_stats()).text
        diff = look(child.diff(draft)).text
        assert "food@v1 → food@next diff" in diff
        assert "changed1" in diff
        assert "bus+1car-1" in diff
        assert frame.id in diff
        blame = look(child.blame(frame.id)).text
        assert re.search(r"meta\.camera\d+[-\d]+ [:\d]+adatask: fix", blame)
        assert "2 changes" in look(child.history(frame.id)).text
        versions = DatasetVersion.get_versions("food")
        assert "2 versions" in look(versions).text
        assert pickle.loads(pickle.dumps(child.history(frame.id))) == child.history(frame.id)
        assert "foodlab" in look(DatasetVersion.get_datasets()).text
        assert "foodlab" in look(engine).text
        assert "engine at position 1" in look(engine.at(1)).text
        assert "0 versions" in look(DatasetVersion.get_versions("food", only_published=True, as_of=3)).text

    def test_an_empty_version(self, draft):
        assert "0, 0 annotated" in look(draft).text

    def test_a_dataset_shows_its_versions_below_their_parents(self, draft, engine):
        draft.add_frames([labelled(1, "car")])
        draft.create_snapshot(publish_name="root", child_name="first child")
        DatasetVersion.create_version("alone", dataset_name="food")
        second = DatasetVersion.create_version(
            "second child", dataset_name="food", parent_version_ids=[draft.version_id]
        )
        second.create_snapshot(publish_name="second child", child_name="grandchild")
        shown = look(engine.dataset("food")).text
        order = ["root", "└ first child", "└ second child", "\u2003└ grandchild", "alone"]
        assert [shown.index(name) for name in order] == sorted(shown.index(name) for name in order)
        assert "rootpublished1" in shown

    def test_a_long_chain_of_versions_is_cut(self, engine, monkeypatch):
        monkeypatch.setattr(cards, "_VERSIONS", 4)
        DatasetVersion.create_new_dataset("chain")
        draft = DatasetVersion.get_current(dataset_name="chain")
        for number in range(6):
            draft = draft.create_snapshot(child_name=f"child {number}")
        assert "and 3 more" in look(engine.dataset("chain")).text

    def test_statistics_are_short_in_a_console(self, draft):
        draft.add_frames([labelled(number, *"abcde"[: number + 1]) for number in range(5)])
        assert repr(draft.get_stats()) == (
            "Statistics(total=5, annotated=5, labels={'a': 5, 'b': 4, 'c': 3, and 2 more})"
        )

    def test_what_is_removed_can_still_be_looked_at(self, draft):
        DatasetVersion.remove_version(version_id=draft.version_id)
        assert repr(draft) == f"DatasetVersion('food', 'Current', removed, id='{draft.version_id}')"
        assert "Current removed" in look(draft).text

    def test_so_can_what_is_closed(self, tmp_path):
        engine = framelode.connect(tmp_path / "e")
        dataset = DatasetVersion.create_new_dataset("food")
        version = DatasetVersion.get_current(dataset_name="food")
        engine.close()
        assert repr(version) == f"DatasetVersion(id='{version.version_id}')"
        assert repr(dataset) == f"Dataset(id='{dataset.id}')"
        assert "is closed" in look(version).text
        assert "is closed" in look(dataset).text


class TestFrames:
    def test_a_frame_shows_its_picture_metadata_and_annotations(self, frame):
        frame.metadata = {"camera": "phone", "deep": {"a": [1, 2]}}
        frame.add_annotation(box2d_xywh=(20, 30, 100, 60), labels=["car"], confidence=0.5)
        frame.add_annotation(mask_rgb=(1, 2, 3), labels=["road"])
        shown = look(frame)
        (picture,) = shown.pictures()
        assert picture.size == (200, 150)
        for text in (
            "f SingleFrame",
            "phone",
            "'a': [1, 2]",
            "carbox2d20, 30, 100, 600.5",
            "rgb(1, 2, 3)",
            frame.source,
        ):
            assert text in shown.text

    def test_columns_that_nobody_fills_are_left_out(self, frame, draft):
        frame.add_annotation(box2d_xywh=(20, 30, 100, 60), labels=["car"])
        assert "labelstypegeometrycar" in look(frame).text
        frame.add_annotation(box2d_xywh=(20, 30, 100, 60), labels=["car"], confidence=0.5, id="one")
        assert "labelstypegeometryconfidenceidcar" in look(frame).text
        draft.add_frames([SingleFrame(id="s3", source="s3://b/a.png")])
        assert "sourceframesdefault" in look(draft).text
        draft.add_frames([SingleFrame(id="s3", source="s3://b/a.png", size=1500)])
        assert "sourceframessizedefault11.5 kB" in look(draft).text

    def test_the_edges_of_a_box_are_where_they_must_be(self, frame):
        frame.add_annotation(box2d_xywh=(20, 60, 100, 70), labels=["car"])
        pixels = np.asarray(framelode.draw(frame))
        colour = colour_of("car")
        for x, y in ((20, 100), (120, 100), (90, 60), (90, 130), (20, 130), (120, 60)):
            assert tuple(pixels[y, x]) == colour, (x, y)
        for x, y in ((70, 100), (10, 100), (130, 100), (90, 140)):
            assert tuple(pixels[y, x]) == WHITE
        (in_notebook,) = look(frame).pictures()
        near = np.asarray(in_notebook).astype(int)[100, 20]
        assert abs(near - colour).max() < 40

    def test_a_large_picture_is_made_smaller_with_its_boxes(self, tmp_path):
        frame = SingleFrame(source=png(tmp_path / "a.png", (2000, 1000)))
        frame.add_annotation(box2d_xywh=(500, 500, 1000, 400))
        picture = framelode.draw(frame, longest=500)
        assert picture.size == (500, 250)
        assert picture.getpixel((125, 200)) == colour_of("box2d")
        assert look(frame).pictures()[0].size == (800, 400)

    def test_a_tiny_picture_is_enlarged_in_a_notebook_only(self, tmp_path):
        frame = SingleFrame(source=png(tmp_path / "a.png", (28, 20)))
        assert look(frame).pictures()[0].size == (252, 180)
        assert framelode.draw(frame).size == (28, 20)

    def test_an_area_is_tinted_and_its_hole_is_not(self, frame):
        square, hole = ((20, 20, 140, 20, 140, 140, 20, 140), (50, 50, 110, 50, 110, 110, 50, 110))
        frame.add_annotation(poly2d_xy=[square, hole])
        picture = framelode.draw(frame)
        assert picture.getpixel((80, 80)) == WHITE
        assert picture.getpixel((35, 80)) not in (WHITE, colour_of("complex_polygon2d"))

    def test_a_turned_box_and_an_ellipse(self, frame):
        frame.add_annotation(box2d_xywh=(50, 70, 100, 20, np.pi / 2))
        frame.add_annotation(ellipse2d_xyrrt=(40, 70, 30, 10, np.pi / 2))
        picture = framelode.draw(frame)
        assert picture.getpixel((90, 80)) == picture.getpixel((100, 30)) == colour_of("box2d")
        assert picture.getpixel((60, 70)) == WHITE
        assert picture.getpixel((40, 40)) == picture.getpixel((50, 70)) == colour_of("ellipse2d")

    def test_key_points_and_labels_of_the_whole_frame(self, frame):
        frame.add_annotation(points2d_xy=[(100, 100), (150, 120)])
        frame.add_annotation(frame_class="day")
        frame.add_annotation(frame_class="rain")
        picture = framelode.draw(frame)
        assert picture.getpixel((150, 120)) == colour_of("keypoints2d")
        down = [picture.getpixel((1, y)) for y in range(40)]
        assert down.index(colour_of("day")) < down.index(colour_of("rain"))

    @pytest.mark.parametrize("suffix", ["jpg", "tif", "png"])
    def test_orientation_is_respected(self, tmp_path, suffix):
        turned = Image.new("RGB", (80, 40), "white")
        exif = turned.getexif()
        exif[0x0112] = 6
        path = tmp_path / f"a.{suffix}"
        turned.save(path, exif=exif)
        frame = SingleFrame(source=path)
        frame.add_annotation(points2d_xy=[(20, 70)])
        picture = framelode.draw(frame)
        assert picture.size == (40, 80)
        assert picture.getpixel((20, 70)) == colour_of("keypoints2d")
        frame.width, frame.height = 80, 40
        assert framelode.draw(frame).size == ((40, 80) if suffix == "tif" else (80, 40))

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F"])
    def test_all_modes_of_pixels(self, tmp_path, mode):
        path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.tif")
        Image.new(mode, (30, 20)).save(path)
        picture = framelode.draw(SingleFrame(source=path))
        assert (picture.mode, picture.size) == ("RGB", (30, 20))

    def test_of_more_than_8_bits_the_range_used_shows(self, tmp_path):
        Image.fromarray(np.linspace(300, 400, 600, dtype=np.uint16).reshape(20, 30)).save(tmp_path / "a.png")
        grey = np.asarray(framelode.draw(SingleFrame(source=tmp_path / "a.png")))
        assert (grey.min(), grey.max()) == (0, 255)

    def test_what_is_transparent_is_white(self, tmp_path):
        Image.new("RGBA", (30, 20), (255, 0, 0, 0)).save(tmp_path / "a.png")
        assert framelode.draw(SingleFrame(source=tmp_path / "a.png")).getpixel((5, 5)) == WHITE

    def test_hostile_metadata_and_labels(self, frame):
        frame.metadata = {HOSTILE: HOSTILE}
        frame.add_annotation(box2d_xywh=(20, 30, 100, 60), labels=[HOSTILE, "x" * 5000], id=HOSTILE)
        frame.metadata["\ud800"] = "\udfff"
        shown = look(frame)
        assert len(shown.images) == 1
        assert "\u202e" not in shown.text
        shown.text.encode()

    def test_many_annotations_and_much_metadata_are_cut(self, frame):
        frame.metadata = {str(number): number for number in range(50)}
        for number in range(3000):
            frame.add_annotation(box2d_xywh=(number % 190, 0, 5, 5), labels=[f"label {number}"])
        shown = look(frame).text
        assert "and 2,980 more" in shown
        assert "and 30 more" in shown

    def test_a_frame_without_anything(self):
        assert "no picture: the frame has no source" in look(SingleFrame()).text

    def test_labels_of_the_whole_frame_are_on_top_of_all_others(self, frame):
        for number in range(60):
            frame.add_annotation(box2d_xywh=(0, 0, 200, 150), labels=[f"box {number}"])
        frame.add_annotation(frame_class="day")
        assert framelode.draw(frame).getpixel((1, 1)) == colour_of("day")

    def test_labels_of_the_whole_frame_stand_in_columns_if_they_are_many(self, frame):
        for number in range(20):
            frame.add_annotation(frame_class=f"{number}")
        colours = {colour for _, colour in framelode.draw(frame).getcolors(1 << 16)}
        assert {colour_of(f"{number}") for number in range(20)} <= colours

    def test_a_label_may_mix_scripts(self, frame):
        text = "cat \u0915\u093e \u0642\u0637\u0629 0.9"
        runs = runs_of(text, 12)
        assert "".join(run.text for run in runs) == text
        assert len({run.font for run in runs}) >= 3
        assert len(runs_of("cafe\u0301", 12)) == 1
        frame.add_annotation(frame_class=[text])
        assert framelode.draw(frame).getpixel((1, 1)) == colour_of(text)

    def test_letters_that_no_font_has_are_named(self, frame):
        hieroglyph = "\U00013000"
        frame.add_annotation(frame_class=[f"e\u0301 {hieroglyph}"])
        with pytest.warns(
            UserWarning, match=rf"without '{hieroglyph}', which no font has.*framelode\[fonts\]"
        ):
            framelode.draw(frame)
        assert "".join(run.text for run in runs_of(hieroglyph, 12)) == "?"
        assert "<img" in frame._repr_html_()

    def test_an_unknown_type_is_drawn_as_its_box(self, frame):
        frame = SingleFrame.from_dict(frame.to_dict() | {"rois": [{"type": "acme.star", "poly": [1, 2]}]})
        assert framelode.draw(frame).getpixel((1, 2)) == WHITE
        assert "acme.star" in look(frame).text

    def test_a_type_that_fails_costs_the_picture_only(self, frame):
        @framelode.register_annotation
        class Failing(Annotation, tag="test.failing"):
            def get_bounding_box(self):
                raise ZeroDivisionError("no box")

        frame.annotations.append(Failing(labels=["x"]))
        assert "no picture: ZeroDivisionError: no box" in look(frame).text

    def test_a_refused_size(self, frame):
        for longest in (0, -1, 1.5, True, "800"):
            with pytest.raises(InvalidValueError, match="longest"):
                framelode.draw(frame, longest)

    def test_what_is_no_frame(self):
        for value in ("a.jpg", None):
            with pytest.raises(InvalidValueError, match="draw takes a SingleFrame or a FrameGroup, not"):
                framelode.draw(value)


class TestGroups:
    def test_a_group_shows_all_its_pictures_and_what_is_annotated_on_all(self, tmp_path):
        group = FrameGroup(id="g", metadata={"moment": "noon"})
        for name in ("left", "right"):
            group[name] = SingleFrame(source=png(tmp_path / f"{name}.png", (300, 200)), metadata={"of": name})
        group["left"].add_annotation(box2d_xywh=(20, 50, 100, 60), labels=["car"])
        group.add_global_annotation(frame_class="day")
        shown = look(group)
        assert [picture.size for picture in shown.pictures()] == [(300, 200)] * 2
        for text in ("g FrameGroup", "noon", "left: labels", "group: labels", "right: metadata.of"):
            assert text in shown.text
        sheet = framelode.draw(group)
        assert sheet.size == (608, 200)
        assert sheet.getpixel((20, 100)) == colour_of("car")
        assert sheet.getpixel((1, 1)) == sheet.getpixel((309, 1)) == colour_of("day")
        assert framelode.draw(group.record()).tobytes() == sheet.tobytes()
        assert len(look(group.record()).images) == 2

    def test_a_picture_that_is_missing_leaves_the_others(self, tmp_path):
        group = FrameGroup()
        group["here"] = SingleFrame(source=png(tmp_path / "a.png"))
        group["gone"] = SingleFrame(source=tmp_path / "gone.png")
        shown = look(group)
        assert len(shown.images) == 1
        assert "no picture: there is no file" in shown.text

    def test_an_empty_group(self):
        assert "no id yet FrameGroup" in look(FrameGroup()).text
        with pytest.raises(UsageError, match="no frames"):
            framelode.draw(FrameGroup())


class TestSources:
    def test_memory_and_data_are_read(self, tmp_path):
        data = png(tmp_path / "a.png").read_bytes()
        fsspec.filesystem("memory").pipe("/looks/a.png", data)
        inline = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        for uri in ("memory://looks/a.png", inline):
            assert len(look(SingleFrame(source=uri)).images) == 1
            assert framelode.draw(SingleFrame(source=uri)).size == (200, 150)

    @pytest.mark.parametrize("uri", ["s3://bucket/a.png", "https://127.0.0.1:1/a.png", "x+y:z", "file://h/a"])
    def test_a_notebook_fetches_nothing(self, uri, monkeypatch):
        monkeypatch.setattr(fsspec, "open", None)
        monkeypatch.setattr(fsspec, "filesystem", None)
        assert "no picture" in look(SingleFrame(source=uri)).text

    def test_blobs_of_the_current_engine_are_read(self, engine, tmp_path):
        stored = engine.blobs.put(png(tmp_path / "a.png").read_bytes())
        frame = SingleFrame(source=blob_uri(stored.digest, "a.png"))
        assert len(look(frame).images) == 1
        assert framelode.draw(frame).size == (200, 150)
        assert "no picture" in look(SingleFrame(source=blob_uri("0" * 64, "a.png"))).text
        assert "no picture" in look(SingleFrame(source="blobs:abc")).text

    def test_blobs_elsewhere_are_not_fetched(self, tmp_path):
        with framelode.connect(tmp_path / "e", blobs="s3://bucket/blobs") as engine:
            frame = SingleFrame(source=blob_uri("0" * 64, "a.png"))
            assert "not on this machine" in look(frame).text
            engine.close()

    def test_a_chain_of_filesystems_is_not_followed(self):
        shown = look(SingleFrame(source="memory://a::https://127.0.0.1:1/a.png")).text
        assert "no picture: there is no file" in shown

    def test_draw_fetches_from_filesystems_that_are_allowed(self, tmp_path, monkeypatch):
        monkeypatch.setenv("FRAMELODE_PROTOCOLS", "zip")
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.write(png(tmp_path / "a.png"), "inner.png")
        frame = SingleFrame(source=f"zip://inner.png::{tmp_path}/a.zip")
        assert framelode.draw(frame).size == (200, 150)
        assert "not on this machine" in look(frame).text

    @pytest.mark.parametrize(
        ("uri", "error"),
        [
            ("nosuch://a/b.png", UsageError),
            ("memory://looks/none.png", NotFoundError),
            ("/no/such.png", NotFoundError),
        ],
    )
    def test_what_cannot_be_fetched(self, uri, error):
        with pytest.raises(error):
            framelode.draw(SingleFrame(source=uri))

    def test_a_folder_and_a_pipe_never_block(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        for path in (tmp_path, tmp_path / "pipe.png", "/dev/zero"):
            assert "is not a regular file" in look(SingleFrame(source=path)).text

    def test_a_path_that_no_filesystem_takes(self):
        for path in ("/tmp/" + "x" * 5000, "file:///tmp/a%00b.png"):
            with pytest.raises((StorageError, UsageError)):
                framelode.draw(SingleFrame(source=path))

    def test_too_many_bytes(self, frame, monkeypatch):
        monkeypatch.setattr(sources, "MOST_BYTES", 100)
        assert "is not read for a picture" in look(frame).text

    def test_too_many_pixels(self, tmp_path, frame, monkeypatch):
        monkeypatch.setattr(pictures, "MOST_PIXELS", 100)
        assert "200 x 150 pixels is too large" in look(frame).text

    def test_a_decompression_bomb(self, tmp_path):
        path = png(tmp_path / "a.png", (8, 8))
        data = bytearray(path.read_bytes())
        data[16:24] = (60_000).to_bytes(4, "big") * 2
        path.write_bytes(data)
        assert "no picture" in look(SingleFrame(source=path)).text

    @pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "webp", "bmp"])
    def test_broken_files(self, tmp_path, suffix):
        path = tmp_path / f"a.{suffix}"
        Image.effect_noise((64, 64), 50).save(path)
        whole = path.read_bytes()
        for length in (0, 1, 10, len(whole) // 2):
            path.write_bytes(whole[:length])
            assert "no picture" in look(SingleFrame(source=path)).text
        with pytest.raises(InvalidValueError, match="not a picture of a known format|cannot be decoded"):
            framelode.draw(SingleFrame(source=path))

    def test_no_program_is_started_for_a_picture(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
        )
        assert "not a picture of a known format" in look(SingleFrame(source=path)).text

    def test_a_video_is_no_picture(self, tmp_path):
        (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
        assert "the source (video/mp4) is not a picture" in look(SingleFrame(source=tmp_path / "a.mp4")).text

    def test_without_pillow(self, frame):
        code = f"""
import sys
sys.modules["PIL"] = None
import framelode
frame = framelode.SingleFrame(source={frame.source!r}, annotations=[framelode.BoundingBox2D(1, 2, 3, 4, labels="car")])
shown = frame._repr_html_()
assert "framelode[image]" in shown and "car" in shown, shown
try:
    framelode.draw(frame)
except framelode.UsageError as error:
    print(error)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE
        )
        assert done.stdout.strip() == "pictures need Pillow: pip install 'framelode[image]'"


numbers = st.one_of(
    st.floats(-300, 300),
    st.integers(-(10**9), 10**9).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
)
sizes = st.one_of(st.floats(0, 300), st.floats(0, 1e308))
points = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6)
spatial = st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=6)
faces = st.tuples(*[numbers, numbers, numbers, sizes, sizes] * 2)
labels = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=2)
annotations = st.one_of(
    st.builds(BoundingBox2D, numbers, numbers, sizes, sizes, numbers, labels=labels),
    st.builds(BoundingBox3D, faces, labels=labels),
    st.builds(Polygon2D, points, labels=labels),
    st.builds(Polygon3D, spatial, labels=labels),
    st.builds(ComplexPolygon2D, st.lists(points, min_size=1, max_size=3), labels=labels),
    st.builds(ComplexPolygon3D, st.lists(spatial, min_size=1, max_size=3), labels=labels),
    st.builds(Ellipse2D, numbers, numbers, sizes, sizes, numbers, labels=labels),
    st.builds(KeyPoints2D, points, labels=labels),
    st.builds(KeyPoints3D, spatial, labels=labels),
    st.builds(Mask, st.tuples(*[st.integers(0, 255)] * 3), labels=labels),
    st.builds(ImageAnnotation, labels=labels),
)


@pytest.mark.filterwarnings("ignore:labels are drawn without")
@examples(60, 200)
@given(st.lists(annotations, max_size=5), st.sampled_from([(1, 1), (200, 150), (1, 3000), (1200, 5)]))
def test_every_annotation_can_be_drawn_wherever_it_is(drawn, size):
    buffer = io.BytesIO()
    Image.new("RGB", size, "white").save(buffer, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    frame = SingleFrame(source=source, annotations=drawn)
    assert framelode.draw(frame).size == size
    assert len(look(frame).images) == 1


def test_the_guide_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs/how-to/pictures.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "pictures.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"print\(.*?\)\s+# (.*)", example)
    with Image.open("small.png") as small:
        assert small.size == (320, 240)
