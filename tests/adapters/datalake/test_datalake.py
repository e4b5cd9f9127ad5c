"""Datalakes: upload, find, tags, metadata, downloads, derived files, and what the log says of them."""

from __future__ import annotations

import inspect
import os
import pickle
import warnings
from datetime import UTC, datetime
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import lake_files
import pytest

import framelode
from framelode import DatasetVersion, acting
from framelode.adapters import datalake
from framelode.adapters.datalake import (
    Client,
    CloudObject,
    Data,
    DataType,
    DataUploadStatus,
    ErrorManager,
    MultiData,
    upload,
)
from framelode.adapters.datalake import exceptions as errors
from framelode.adapters.datalake.schemas import StringCustomMetadataKey

NEW_YEAR = datetime(2024, 1, 1, 12, tzinfo=UTC)
TABLE = Path(__file__).with_name("datalake_signatures.txt")
ROWS = [
    [cell.strip() for cell in line.split("|")]
    for line in TABLE.read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]
LEAVES = (
    *("client", "data", "datalake", "tag", "datasource", "data_projection", "job", "processing"),
    *("error_manager", "exceptions", "enums", "schemas"),
)


@pytest.fixture
def lake(engine):
    return Client().get_datalake()


@pytest.fixture
def ten(lake, tmp_path):
    return lake.upload_data(lake_files.pictures(tmp_path / "in", 10))


def names(data):
    return [each.filename for each in data]


def blobs(engine):
    return sum(1 for entry in engine.blobs.entries() if entry.digest)


class TestSignatures:
    @pytest.mark.parametrize(("name", "parameters"), ROWS, ids=[row[0] for row in ROWS])
    def test_they_are_those_of_the_api_that_is_followed(self, name, parameters):
        owner, member = name.split(".")
        ours = list(inspect.signature(getattr(getattr(datalake, owner), member)).parameters.values())[1:]
        theirs = list(inspect.signature(eval(f"lambda {parameters}: None")).parameters.values())
        assert [(each.name, each.default) for each in ours[: len(theirs)]] == [
            (each.name, each.default) for each in theirs
        ]
        assert all(each.kind is each.KEYWORD_ONLY for each in ours[len(theirs) :])

    @pytest.mark.parametrize("leaf", LEAVES)
    def test_there_is_a_module_for_each_part(self, leaf):
        assert import_module(f"framelode.adapters.datalake.{leaf}")

    def test_enumerations_are_text(self):
        assert DataUploadStatus.DONE == "DONE"
        assert DataUploadStatus.values() == ["PENDING", "COMPUTING", "ERROR", "DONE"]
        assert DataType.validate("image") is DataType.IMAGE
        with pytest.raises(TypeError, match="'film' is no DataType: it must be one of IMAGE, VIDEO"):
            DataType.validate("film")

    def test_errors_are_those_of_framelode_and_of_the_api(self):
        for kind in (errors.ResourceNotFoundError, errors.NoDataError, errors.NotFoundError):
            assert issubclass(kind, framelode.NotFoundError)
            assert issubclass(kind, errors.PicselliaError)
        assert issubclass(errors.ResourceConflictError, framelode.ConflictError)
        assert issubclass(errors.MissingArgumentError, AssertionError)

    def test_errors_of_the_service_can_be_named(self):
        for name in (
            *("NetworkError", "DistantStorageError", "UnauthorizedError", "InsufficientResourcesError"),
            *("ForbiddenError", "RequestTooLargeError", "ResourceLockedError", "TooManyRequestError"),
            *("InternalServerError", "BadGatewayError", "UndefinedObjectError", "WrongJobVersionError"),
            *("NotSupportedJobVersionError",),
        ):
            assert issubclass(getattr(errors, name), errors.PicselliaError)

    def test_what_needs_the_service_says_so(self, lake, ten):
        for name in (
            *("similar_search", "visual_search", "text_search", "embeddings_computation_status"),
            *("count_embeddings", "list_embeddings"),
        ):
            assert not hasattr(lake, name)
            with pytest.raises(errors.NotAvailableError, match=rf"Datalake.{name} .*embeddings.*list_data"):
                getattr(lake, name)
        with pytest.raises(errors.PicselliaError, match="charts are drawn by the service"):
            lake.create_chart("sizes")
        with pytest.raises(framelode.UsageError, match=r"there is no platform: Data\.url"):
            lake.get_resource_url_on_platform()
        with pytest.raises(errors.NotAvailableError, match=r"Data\.embeddings"):
            _ = ten[0].embeddings
        with pytest.raises(AttributeError, match="'Datalake' object has no attribute 'x'"):
            _ = lake.x
        assert ten[0].connection is ten[0].connexion is lake.connection
        assert MultiData(ten.connection, lake.id, [ten[3]])[0] == ten[3]

    def test_what_goes_to_a_server_is_ignored_with_one_warning(self, engine):
        with pytest.warns(UserWarning, match="are ignored") as caught:
            Client("token", organization_name="us", host="https://example.com")
        assert len(caught) == 1


class TestUpload:
    def test_one_path_gives_a_data_and_a_list_several(self, lake, tmp_path):
        path = lake_files.picture(tmp_path / "a.png")
        for given in (path, str(path), [path]):
            data = lake.upload_data(given)
            assert isinstance(data, Data)
            assert (data.filename, data.type, data.upload_status) == ("a.png", "IMAGE", "DONE")
            assert (data.width, data.height, data.content_type) == (16, 12, "image/png")
            assert data.object_name == f"data/{data.id}.png"
        twice = lake.upload_data([path, path])
        assert isinstance(twice, MultiData)
        assert len(set(twice.ids)) == 2
        with pytest.raises(errors.NothingDoneError):
            lake.upload_data([])

    def test_contents_are_stored_once_and_results_are_in_order(self, engine, lake, tmp_path):
        paths = lake_files.pictures(tmp_path, 9)
        paths += [lake_files.picture(tmp_path / f"copy {number}.png", number) for number in range(3)]
        data = lake.upload_data(paths[::-1], tags=["a", "b", "a"], source="camera", upload_dir="x/y")
        assert names(data) == [path.name for path in paths[::-1]]
        assert blobs(engine) == 9
        assert [tag.name for tag in data[0].get_tags()] == ["a", "b"]
        assert data[5].get_datasource() == Client().get_datasource("camera")
        assert data[0].object_name == f"x/y/{data[0].id}.png"

    def test_failures_are_told_and_the_others_uploaded(self, lake, tmp_path):
        good = lake_files.picture(tmp_path / "good.png")
        missing, folder = str(tmp_path / "missing.png"), tmp_path
        manager = ErrorManager()
        data = lake.upload_data([good, missing, folder], error_manager=manager)
        assert names(data) == ["good.png"]
        assert [(type(error), error.path) for error in manager.errors] == [
            (errors.UploadError, missing),
            (errors.UploadError, folder),
        ]
        assert manager.has_errors()
        assert str(manager).count("\n") == 1

    def test_a_retry_loop_ends_with_each_file_once(self, lake, tmp_path):
        paths = lake_files.pictures(tmp_path, 20)
        for path in paths[3:6]:
            path.rename(f"{path}.away")
        for path in paths[6:8]:
            path.write_bytes(path.read_bytes()[:-30])
        manager = ErrorManager()
        lake.upload_data(paths, error_manager=manager)
        assert [error.path for error in manager.errors] == paths[3:8]
        for number, path in enumerate(paths):
            lake_files.picture(path, number)
        while manager.has_errors():
            again = [error.path for error in manager.errors]
            manager.clear()
            lake.upload_data(again, error_manager=manager)
        assert sorted(names(lake.list_data())) == [path.name for path in paths]

    def test_metadata_must_match_in_length(self, engine, lake, tmp_path):
        paths = lake_files.pictures(tmp_path, 2)
        before = engine.log.head().position
        for metadata in ([{}], [{"a": 1}] * 3, {"a": 1}):
            with pytest.raises(errors.BadRequestError, match="metadata has . dicts for 2 paths"):
                lake.upload_data(paths, metadata=metadata)
        assert engine.log.head().position == before
        both = lake.upload_data(paths, metadata=[{"altitude": 1}, {}], custom_metadata=[{"at": NEW_YEAR}, {}])
        assert (both[0].metadata, both[1].metadata) == ({"altitude": 1.0}, {})
        assert both[0].custom_metadata == {"at": NEW_YEAR}

    def test_metadata_is_checked(self, lake, ten):
        for metadata in (
            {"latitude": 1},
            {"altitude": "high"},
            {"weather": 3},
            {"acquired_at": "soon"},
            {"a": object()},
            {"a": {"$x": 1}},
        ):
            with pytest.raises(errors.BadRequestError):
                ten[0].update_metadata(metadata)
        assert lake.find_data(id=ten[0].id).metadata == {}

    def test_exif_is_read_and_what_is_given_wins(self, lake, tmp_path):
        path = lake_files.photo(tmp_path / "photo.jpg")
        data = lake.upload_data(
            path, fill_metadata=True, metadata={"software": None, "acquired_by": "me", "weather": "dry"}
        )
        assert (data.width, data.height) == (48, 64)
        found = data.metadata
        assert found.pop("latitude") == pytest.approx(-33.859833, abs=1e-6)
        assert found.pop("longitude") == pytest.approx(151.211111, abs=1e-6)
        assert found == {
            "acquired_at": datetime.fromisoformat("2024-02-29T12:34:56"),
            "acquired_by": "me",
            "altitude": -12.5,
            "color_space": "sRGB",
            "manufacturer": "Framelode Cam",
            "resolution_unit": "inches",
            "resolution_x": 300.0,
            "resolution_y": 300.0,
            "weather": "dry",
        }
        assert lake.upload_data(path).metadata == {}

    def test_the_content_decides_what_a_file_is(self, lake, tmp_path):
        clip = lake.upload_data(lake_files.video(tmp_path / "clip.mp4"))
        assert (clip.type, clip.content_type, clip.width, clip.height) == ("VIDEO", "video/mp4", 64, 48)
        png = lake_files.picture(tmp_path / "a.png").rename(tmp_path / "named.mp4")
        assert lake.upload_data(png).content_type == "image/png"

    def test_a_large_file_is_read_as_a_small_one(self, lake, tmp_path):
        large = lake_files.picture(tmp_path / "large.bmp", size=(1200, 500), color="red")
        assert large.stat().st_size > 1_200_000
        data = lake.upload_data(large)
        assert (data.width, data.height, data.content_type) == (1200, 500, "image/bmp")
        assert data.open().read() == large.read_bytes()
        with large.open("r+b") as file:
            file.truncate(1_200_000)
        with pytest.raises(errors.UnprocessableData):
            lake.upload_data(large)

    def test_a_file_that_changes_while_it_is_read_is_an_error(self, lake, tmp_path, monkeypatch):
        paths = lake_files.pictures(tmp_path, 3)
        read = upload.read_media

        def change(file, name, **options):
            if name == str(paths[1]):
                paths[1].write_bytes(b"other")
            return read(file, name, **options)

        monkeypatch.setattr(upload, "read_media", change)
        manager = ErrorManager()
        assert names(lake.upload_data(paths, error_manager=manager)) == ["00000.png", "00002.png"]
        assert [(error.path, type(error)) for error in manager.errors] == [(paths[1], errors.UploadError)]
        assert "changed while it was read" in str(manager)

    def test_a_file_that_cannot_be_read_is_an_error(self, lake, tmp_path):
        whole = lake_files.picture(tmp_path / "whole.jpg", size=(200, 200)).read_bytes()
        clip = lake_files.video(tmp_path / "clip.mp4").read_bytes()
        contents = {
            "empty.png": b"",
            "text.jpg": b"this is no picture",
            "cut.jpg": whole[:-200],
            "cut.mp4": clip[:300],
            "bomb.gif": b"GIF89a" + b"\xff\xff" * 2 + b"\0\0\0,\0\0\0\0" + b"\xff\xff" * 2 + b"\0\x02\0;",
        }
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        manager = ErrorManager()
        paths = [tmp_path / "whole.jpg", *(tmp_path / name for name in contents)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done = lake.upload_data(paths, error_manager=manager)
        assert names(done) == ["whole.jpg"]
        assert [(type(error), error.path) for error in manager.errors] == [
            (errors.UnprocessableData, path) for path in paths[1:]
        ]
        assert {data.filename for data in lake.list_data(q='upload_status = "ERROR"')} == set(contents)
        assert all(str(tmp_path) not in data.reason for data in lake.list_data())
        with pytest.raises(errors.UnprocessableData) as caught:
            lake.upload_data(tmp_path / "empty.png")
        assert caught.value.path == tmp_path / "empty.png"
        with pytest.raises(errors.NothingDoneError):
            lake.upload_data(tmp_path / "empty.png", wait_for_unprocessable_data=False)

    def test_names_may_be_anything(self, lake, tmp_path):
        odd = [
            "a b.png",
            "ü\U0001f355.png",
            "'\";--.png",
            "%41.png",
            "line\nbreak.png",
            "-rf.png",
            "x" * 250 + ".png",
        ]
        raw = os.fsencode(tmp_path) + b"/\xff.png"
        paths = [lake_files.picture(tmp_path / name, number) for number, name in enumerate(odd)]
        Path(os.fsdecode(raw)).write_bytes(paths[0].read_bytes())
        data = lake.upload_data([*paths, os.fsdecode(raw)])
        assert names(data) == [*odd, r"\xff.png"]
        for name in odd:
            assert lake.find_data(filename=name).filename == name
            assert len(lake.list_data(filenames=[name])) == 1

    def test_object_names_stay_inside(self, lake, tmp_path):
        path = lake_files.picture(tmp_path / "a.b.png")
        for folder in ("/etc", "../up", "a/../../b", ""):
            with pytest.raises(ValueError):
                lake.upload_data(path, upload_dir=folder)
        for folder, beginning in ((".", ""), ("a//b/", "a/b/"), ("x", "x/")):
            data = lake.upload_data(path, upload_dir=folder)
            assert data.object_name == f"{beginning}{data.id}.png"

    def test_an_upload_of_many_is_recorded_in_parts(self, engine, lake, tmp_path, monkeypatch):
        monkeypatch.setattr("framelode.adapters.datalake.upload.PART", 4)
        paths = lake_files.pictures(tmp_path, 10)
        told = []
        assert names(lake.upload_data(paths, progress=lambda *far: told.append(far))) == [
            path.name for path in paths
        ]
        assert told[-1] == (10, 10)
        kinds = [change.kind for change in engine.history()]
        assert kinds.count("uploaded") >= 2
        assert (kinds.count("started"), kinds.count("finished")) == (1, 1)

    def test_an_interrupted_upload_is_continued(self, engine, lake, tmp_path, monkeypatch):
        monkeypatch.setattr("framelode.adapters.datalake.upload.PART", 4)
        monkeypatch.setattr("framelode.engine.blobs.ingest.BATCH_FILES", 4)
        paths = lake_files.pictures(tmp_path, 10)

        def interrupt(done, total):
            if done == 6:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            lake.upload_data(paths, progress=interrupt)
        assert len(lake.list_data()) == 4
        data = lake.upload_data(paths)
        assert names(data) == [path.name for path in paths]
        assert len(lake.list_data()) == 10
        assert len(lake.upload_data(paths)) == 10
        assert len(lake.list_data()) == 20


class TestFinding:
    def test_by_one_criterion_or_several(self, lake, ten):
        first = ten[0]
        assert lake.find_data(filename="00000.png") == first
        assert lake.find_data(id=first.id) == lake.find_data(id=str(first.id)) == first
        assert lake.find_data(object_name=first.object_name) == first
        assert lake.find_data(filename="00000.png", id=first.id) == first
        for missing in ({"filename": "x"}, {"id": UUID(int=9)}, {"filename": "00001.png", "id": first.id}):
            with pytest.raises(errors.ResourceNotFoundError):
                lake.find_data(**missing)
        for base in (AssertionError, framelode.UsageError):
            with pytest.raises(base):
                lake.find_data()
        with pytest.raises(ValueError):
            lake.find_data(id="no id")

    def test_several_of_a_name(self, lake, ten, tmp_path):
        other = lake.upload_data(tmp_path / "in" / "00000.png")
        with pytest.raises(errors.InvalidQueryError, match="2 data have filename '00000.png'") as caught:
            lake.find_data(filename="00000.png")
        assert str(other.id) in str(caught.value)

    def test_limits_are_honoured(self, lake, ten):
        assert names(lake.list_data(limit=3, offset=8)) == ["00008.png", "00009.png"]
        assert len(lake.list_data(offset=4)) == 6
        assert len(lake.list_data(ids=ten.ids[:5], limit=10, offset=3)) == 2
        for wrong in ({"limit": 0}, {"offset": -1}, {"ids": []}, {"filenames": []}, {"tags": []}):
            with pytest.raises(ValueError):
                lake.list_data(**wrong)
        with pytest.raises(errors.NoDataError):
            lake.list_data(offset=10)
        with pytest.warns(DeprecationWarning, match="page_size"):
            lake.list_data(page_size=5)

    def test_an_empty_lake_has_no_data(self, lake):
        with pytest.raises(errors.NoDataError):
            lake.list_data()

    def test_filters_combine(self, lake, ten):
        assert names(lake.list_data(filenames=["00003.png", "00001.png"])) == ["00001.png", "00003.png"]
        one = lake.list_data(
            filenames=["00003.png", "00001.png"], ids=[ten[3].id], object_names=[ten[3].object_name]
        )
        assert names(one) == ["00003.png"]
        ten[3].update_custom_metadata({"part": "x", "n": 3})
        assert lake.list_data(custom_metadata={"part": "x", "n": 3}) == [ten[3]]

    def test_order(self, lake, ten):
        for number, data in enumerate(ten[:4]):
            data.update_metadata({"altitude": [2, 10, 1, 2][number]})
        ordered = lake.list_data(order_by=["metadata.altitude", "-filename"], limit=4)
        assert names(ordered) == ["00002.png", "00003.png", "00000.png", "00001.png"]
        assert names(lake.list_data(order_by=["-filename"]))[0] == "00009.png"
        with pytest.raises(errors.InvalidQueryError, match="did you mean 'filename'"):
            lake.list_data(order_by=["filenam"])

    def test_tags_any_or_all(self, lake, ten):
        ten[:6].add_tags("a")
        ten[4:8].add_tags("b")
        assert len(lake.list_data(tags="a")) == 6
        assert len(lake.list_data(tags=["a", "b"])) == 8
        assert names(lake.list_data(tags=["a", "b"], intersect_tags=True)) == ["00004.png", "00005.png"]
        assert names(lake.list_data(tags="b", q='filename endswith "7.png"')) == ["00007.png"]
        with pytest.raises(errors.ResourceNotFoundError, match="there is no tag 'c'"):
            lake.list_data(tags=["a", "c"])

    def test_any_of_many_data(self, lake, ten, monkeypatch):
        ten[:2].add_tags("a")
        ten[1:4].add_tags("b")
        for limit in (1, 10_000):
            monkeypatch.setattr("framelode.adapters.datalake.reading._FEW_ROWS", limit)
            assert len(lake.list_data(tags=["a", "b"])) == 4

    def test_queries_know_every_field(self, lake, tmp_path):
        data = lake.upload_data(
            lake_files.photo(tmp_path / "p.jpg"), tags=["x"], source="s", fill_metadata=True
        )
        for q in (
            f'id = "{data.id}"',
            'tags.name = "x" and source.name in ("s", "t")',
            "metadata.altitude < 0 and not (width >= 49)",
            'metadata.acquired_at > "2024-02-29" and created_at > "2000-01-01"',
            'type = "IMAGE" and upload_status != "ERROR" and custom_metadata.x = None',
            "size > 0",
        ):
            assert lake.list_data(q=q) == [data], q

    def test_wrong_queries_say_where(self, lake):
        for q, column in (("filename = ", 12), ("foo = 1", 1), ("(width > 1", 11), ('width > "a"', 9)):
            with pytest.raises(errors.InvalidQueryError, match="expected") as caught:
                lake.list_data(q=q)
            assert (caught.value.line, caught.value.column) == (1, column)


class TestMultiData:
    def test_it_is_a_list_that_is_never_empty(self, lake, ten):
        assert names(ten[2:4]) == ["00002.png", "00003.png"]
        assert names(ten[:1] + ten[5]) == ["00000.png", "00005.png"]
        both = ten.copy()[:1]
        both += ten[3:5]
        both.extend(ten[9])
        assert both.pop(0) == ten[0]
        assert names(both) == ["00003.png", "00004.png", "00009.png"]
        assert both.pop() == ten[9]
        both.remove(ten[3])
        for empty in (
            both.clear,
            both.pop,
            lambda: ten[20:],
            lambda: ten.split(0.001),
            lambda: ten.split(1.0),
        ):
            with pytest.raises(errors.NoDataError):
                empty()
        assert len(both) == 1
        for wrong in (lambda: both.append("x"), lambda: both + 3, lambda: ten.split(1)):
            with pytest.raises(TypeError):
                wrong()
        first, rest = ten.split(0.75)
        assert (len(first), len(rest)) == (8, 2)
        assert ten == list(reversed(list(ten)))
        assert ten != ten[1:]
        with pytest.raises(TypeError):
            hash(ten)
        assert len(set(ten)) == 10

    def test_bulk_metadata(self, lake, ten):
        ten.update_metadata({"altitude": 3, "brand": "x"})
        ten[:2].update_metadata({"brand": None})
        assert [data.metadata for data in lake.list_data(limit=3)] == [
            {"altitude": 3.0},
            {"altitude": 3.0},
            {"altitude": 3.0, "brand": "x"},
        ]
        ten[2].update_metadata(None)
        assert lake.find_data(id=ten[2].id).metadata == {}

    def test_many_are_changed_at_once(self, engine, lake, ten):
        ten[0].update_metadata({"brand": "x", "altitude": 2})
        lake.update_multiple_data(
            {
                ten[0].id: {"metadata": {"brand": None}, "tags": ["b", "a"], "data_source": "camera"},
                ten[1].id: CloudObject(tags=["a"], custom_metadata={"n": 1}),
                ten[2].id: {},
            }
        )
        one, two, three = lake.list_data(limit=3)
        assert (one.metadata, two.custom_metadata) == ({"altitude": 2.0}, {"n": 1})
        assert [[tag.name for tag in data.get_tags()] for data in (one, two, three)] == [
            ["b", "a"],
            ["a"],
            [],
        ]
        assert one.get_datasource() == Client().get_datasource("camera")
        assert two.get_datasource() is None
        assert [data.id for data in lake.list_data(q="source.name = 'camera'")] == [one.id]
        before = engine.log.head().position
        for wrong in (
            {},
            {UUID(int=number): {} for number in range(101)},
            {ten[0].id: {"tags": ["c"]}, UUID(int=9): {"tags": ["d"]}},
            {ten[0].id: {"metadata": {"altitude": "high"}}},
            {"no id": {}},
        ):
            with pytest.raises(ValueError):
                lake.update_multiple_data(wrong)
        for wrong in ({"source": "x"}, {"tags": "a"}, 3):
            with pytest.raises(TypeError, match="must be a CloudObject or a dict of its fields"):
                lake.update_multiple_data({ten[0].id: wrong})
        assert engine.log.head().position == before

    def test_downloads_keep_equal_names_apart(self, lake, ten, tmp_path):
        again = lake.upload_data([tmp_path / "in" / "00000.png", tmp_path / "in" / "00001.png"])
        paths = (ten[:2] + again).download(tmp_path / "out")
        assert [path.name for path in paths] == ["00000.png", "00001.png", "00000_2.png", "00001_2.png"]
        assert paths[0].read_bytes() == (tmp_path / "in" / "00000.png").read_bytes()
        paths[0].write_text("mine")
        assert ten[0].download(tmp_path / "out").read_text() == "mine"
        assert ten[0].download(tmp_path / "out", force_replace=True).read_bytes()[:4] == b"\x89PNG"
        assert ten[0].download(tmp_path / "out", use_id=True).name == f"{ten[0].id}.png"


class TestSchemas:
    def test_rules_hold_for_what_is_set(self, engine, lake, ten, tmp_path):
        path = tmp_path / "in" / "00000.png"
        assert lake.get_custom_metadata_schema() == {
            "custom_metadata_schema": None,
            "allow_extra_custom_metadata": True,
            "keys": {},
        }
        camera = StringCustomMetadataKey(required=True, choices=["front", "rear"], allow_multiple=True)
        made = lake.upsert_custom_metadata_schema_key("camera", camera)
        assert made == {
            "required": True,
            "input_type": "STRING",
            "choices": ["front", "rear"],
            "allow_multiple": True,
        }
        lake.upsert_custom_metadata_schema_key(
            "n", {"required": False, "input_type": "INTEGER", "min": 1, "max": 5}
        )
        score = {"required": False, "input_type": "FLOAT", "choices": [0.5, 1]}
        lake.upsert_custom_metadata_schema_key("score", score)
        since = {"required": False, "input_type": "DATETIME", "min": "2024-01-01T00:00:00Z"}
        lake.upsert_custom_metadata_schema_key("at", since)
        lake.upsert_custom_metadata_schema_key("sharp", {"required": False, "input_type": "BOOLEAN"})
        lake.set_allow_extra_custom_metadata(False)
        good = {"camera": "front", "n": 5, "score": 1, "at": NEW_YEAR, "sharp": True}
        data = lake.upload_data(path, custom_metadata=good)
        data.update_custom_metadata({"camera": ["front", "rear"], "n": None, "at": "2024-02-01"})
        before = engine.log.head().position
        for wrong in (
            {"camera": "left"},
            {"camera": ["front", "left"]},
            {"camera": None},
            {"n": 6},
            {"n": 0},
            {"n": 1.5},
            {"n": True},
            {"n": [1]},
            {"score": 0.7},
            {"score": "1"},
            {"at": "2023-12-31"},
            {"at": "soon"},
            {"at": 3},
            {"sharp": 1},
            {"camra": "front"},
            None,
        ):
            with pytest.raises(errors.BadRequestError, match="custom_metadata"):
                data.update_custom_metadata(wrong)
        for wrong in (None, {"n": 1}):
            with pytest.raises(errors.BadRequestError, match=r"camera is required"):
                lake.upload_data(path, custom_metadata=wrong)
        with pytest.raises(errors.BadRequestError):
            lake.update_multiple_data({ten[0].id: {"custom_metadata": {"n": 6}}})
        lake.connect_bucket(str(tmp_path))
        with pytest.raises(errors.BadRequestError):
            lake.import_cloud_objects({"a.png": {}})
        assert engine.log.head().position == before + 1
        past = Client(engine=engine.at(before - 2)).get_datalake()
        assert past.get_custom_metadata_schema()["allow_extra_custom_metadata"] is False
        lake.delete_custom_metadata_schema_key("camera")
        with pytest.raises(errors.ResourceNotFoundError):
            lake.delete_custom_metadata_schema_key("camera")
        assert len(lake.upload_data([path, path])) == 2

    def test_many_rules_are_changed_together(self, engine, lake):
        plain = {"required": False, "input_type": "STRING"}
        report = lake.update_custom_metadata_schema({"a": plain, "b": plain})
        assert (report["created"], report["unchanged"]) == (["a", "b"], [])
        before = engine.log.head().position
        lake.update_custom_metadata_schema({"b": plain})
        assert engine.log.head().position == before
        changed = {"b": {**plain, "archived": True}, "c": plain, "d": {**plain, "choices": ["one"]}}
        with pytest.raises(errors.CustomMetadataSchemaUpdateError, match="choices must be 2 to 64") as caught:
            lake.update_custom_metadata_schema(changed, delete_missing_keys=True)
        assert list(caught.value.errors) == ["d"]
        report = lake.update_custom_metadata_schema(changed, raise_on_error=False)
        assert (report["unchanged"], list(report["errors"])) == (["b", "c"], ["d"])
        keys = lake.get_custom_metadata_schema()["custom_metadata_schema"]
        assert keys == {"b": {**plain, "archived": True}, "c": plain}
        assert engine.log.head().position == before + 1

    def test_rules_that_contradict_themselves(self, engine, lake):
        before = engine.log.head().position
        number = {"required": False, "input_type": "INTEGER"}
        for wrong in (
            {**number, "required": True, "archived": True},
            {**number, "display_name": ""},
            {**number, "choices": []},
            {**number, "choices": [1], "min": 0},
            {**number, "allow_multiple": True},
            {**number, "min": 2, "max": 2},
            {"required": False, "input_type": "DATETIME", "min": "2024-01-01T00:00:00"},
        ):
            with pytest.raises(errors.BadRequestError, match="the schema of 'k'"):
                lake.upsert_custom_metadata_schema_key("k", wrong)
        for wrong in ({}, 3, {"input_type": "STRING"}, {**number, "choices": ["a"]}, {**number, "size": 1}):
            with pytest.raises(TypeError, match="the schema of a key must be a CustomMetadataKey or a dict"):
                lake.upsert_custom_metadata_schema_key("k", wrong)
        for key in ("", "x" * 256, 3):
            with pytest.raises(errors.BadRequestError):
                lake.upsert_custom_metadata_schema_key(key, number)
        with pytest.raises(TypeError):
            lake.set_allow_extra_custom_metadata("no")
        assert engine.log.head().position == before


class TestTags:
    def test_create_get_and_list(self, lake):
        tag = lake.create_data_tag("b")
        assert lake.get_or_create_data_tag("b") == tag == lake.get_data_tag("b")
        lake.get_or_create_data_tag("a")
        assert [each.name for each in lake.list_data_tags()] == ["b", "a"]
        assert [each.name for each in lake.list_data_tags(order_by=["name"], limit=1)] == ["a"]
        with pytest.raises(errors.ResourceConflictError):
            lake.create_data_tag("b")
        with pytest.raises(errors.ResourceNotFoundError):
            lake.get_data_tag("c")
        for name in ("", "x" * 2000, 3, "a\0b"):
            with pytest.raises(framelode.UsageError):
                lake.create_data_tag(name)

    def test_the_history_tells_who_changed_what(self, engine, lake, ten):
        tag = lake.create_data_tag("old")
        with acting("ada"):
            tag.attach_on(ten)
            tag.update("new")
        with acting("bob"):
            tag.detach_from(ten[0])
        assert len(lake.list_data(tags="new")) == 9
        tag.delete()
        assert ten[1].get_tags() == []
        changes = list(engine.history(since=4))
        assert all(change.at.tzinfo and change.at < later.at for change, later in pairwise(changes))
        assert [(change.actor, change.subject, change.kind) for change in changes] == [
            ("ada", "tags", "attached"),
            ("ada", "tag", "updated"),
            ("bob", "tags", "detached"),
            ("tester", "tag", "deleted"),
        ]
        with pytest.raises(errors.ResourceNotFoundError):
            tag.update("x")

    def test_what_cannot_be_added(self, lake, ten):
        other = Client().create_datalake("other").create_data_tag("theirs")
        for tags in ([], [other]):
            with pytest.raises(AssertionError):
                ten[0].add_tags(tags)
        with pytest.raises(TypeError):
            ten[0].add_tags([3])
        with pytest.raises(errors.ResourceNotFoundError):
            ten[0].remove_tags("unknown")

    def test_lakes_are_apart(self, lake, ten, tmp_path):
        other = Client().create_datalake("other")
        other.upload_data(tmp_path / "in" / "00000.png", tags="t")
        assert (len(lake.list_data()), len(other.list_data())) == (10, 1)
        assert [each.name for each in Client().list_datalakes()] == ["default", "other"]
        assert Client().get_datalake(id=other.id) == Client().get_datalake(name="other") == other
        with pytest.raises(errors.ResourceNotFoundError):
            Client().get_datalake(name="none")


class TestSources:
    def test_create_update_delete(self, lake, ten, tmp_path):
        client = Client()
        source = client.create_datasource("one")
        data = lake.upload_data(tmp_path / "in" / "00000.png", source=source)
        source.update("two")
        assert data.get_datasource().name == "two"
        with pytest.raises(errors.ResourceConflictError):
            client.create_datasource("two")
        assert client.list_datasources() == [source]
        source.delete()
        assert data.get_datasource() is None
        with pytest.raises(errors.ResourceNotFoundError):
            client.get_datasource("two")


class TestProjections:
    def test_create_list_download_delete(self, engine, lake, ten, tmp_path):
        path = lake_files.picture(tmp_path / "thumb.png", 77, size=(4, 4))
        made = lake.create_projection(ten[0], "thumbnail", str(path), {"scale": 4})
        other = lake.create_projection(
            ten[0], "depth", str(lake_files.photo(tmp_path / "p.jpg")), fill_metadata=True
        )
        assert ten[0].list_projections() == [made, other]
        assert (made.name, made.data_id, made.infos, made.filename) == (
            "thumbnail",
            ten[0].id,
            {"scale": 4},
            "thumb.png",
        )
        assert other.infos["manufacturer"] == "Framelode Cam"
        assert made.download(tmp_path / "out").read_bytes() == path.read_bytes()
        other.delete()
        assert ten[0].list_projections() == [made]
        assert made.url.split("/")[0].removeprefix("blobs:") in engine.referenced_blobs()
        with pytest.raises(errors.DownloadError):
            lake.create_projection(ten[0], "none", str(tmp_path / "none"))


class TestLog:
    def test_deleted_data_stay_in_the_past(self, engine, lake, ten):
        end = engine.log.head().position
        ten[:3].delete()
        assert len(lake.list_data()) == 7
        past = Client(engine=engine.at(end)).get_datalake()
        assert len(past.list_data()) == 10
        assert past.find_data(id=ten[0].id).open().read(4) == b"\x89PNG"
        with pytest.raises(framelode.UsageError, match="read-only"):
            past.create_data_tag("x")
        with pytest.raises(errors.ResourceNotFoundError):
            ten[0].sync()

    def test_blobs_are_kept_while_data_or_frames_name_them(self, engine, lake, ten):
        from datetime import timedelta

        DatasetVersion.create_new_dataset("food")
        version = DatasetVersion.get_current(dataset_name="food")
        version.add_frames(ten[:2].to_frames())
        ten[1:5].delete()
        zero = timedelta(0)
        for _ in range(2):
            engine.gc(dry_run=False, grace=zero, young=zero)
        assert blobs(engine) in {7, 10}  # those that were just written are not deleted yet
        assert engine.referenced_blobs() == {data.digest for data in [*ten[:2], *ten[5:]]}

    def test_frames_name_the_blobs(self, engine, lake, ten):
        DatasetVersion.create_new_dataset("food")
        version = DatasetVersion.get_current(dataset_name="food")
        before = blobs(engine)
        report = version.add_frames(lake.list_data(limit=4).to_frames())
        assert report is not None
        assert blobs(engine) == before
        frame = version.get_single_frame(str(ten[0].id))
        assert frame.source == ten[0].url
        assert (frame.width, frame.height, frame.size, frame.hash) == (
            16,
            12,
            ten[0].size,
            f"blake3:{ten[0].digest}",
        )

    @pytest.mark.parametrize("name", ["log.jsonl.zst", "log.parquet"])
    def test_export_and_import(self, engine, lake, ten, tmp_path, name):
        ten[0].add_tags("t")
        ten[1].update_metadata({"acquired_at": NEW_YEAR})
        engine.export_log(tmp_path / name)
        with framelode.connect("sqlite://") as other:
            other.import_log(tmp_path / name)
            copied = Client().get_datalake()
            assert copied.list_data().ids == ten.ids
            assert copied.find_data(id=ten[1].id).metadata == {"acquired_at": NEW_YEAR}
            assert copied.list_data(tags="t").ids == [ten[0].id]
            other.verify()
            other.close()

    def test_a_copy_has_the_contents(self, engine, lake, ten, tmp_path):
        report = engine.copy_to(tmp_path / "copy", blobs=tmp_path / "copied")
        assert report.blobs == 10
        with framelode.connect(tmp_path / "copy") as copy:
            assert Client().get_datalake().find_data(id=ten[0].id).open().read(4) == b"\x89PNG"
            assert copy.verify(blobs=True).problems == []
            copy.close()

    def test_errors_can_be_pickled(self, lake):
        error = errors.UploadError("no", "a.png")
        again = pickle.loads(pickle.dumps(error))
        assert (again.path, str(again)) == ("a.png", "no")
