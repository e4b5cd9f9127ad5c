"""Folders reached through symbolic links, links that lead out of them, and paths that begin with ``~``."""

from pathlib import Path

import pytest

import framelode
from framelode import DatasetVersion, SingleFrame
from framelode.engine.frames.source import derive_id


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as engine:
        DatasetVersion.create_new_dataset("food")
        yield engine
    engine.close()


@pytest.fixture
def draft(engine):
    return DatasetVersion.get_current(dataset_name="food")


@pytest.fixture
def places(tmp_path):
    """A folder, and a symbolic link to it."""
    real, link = tmp_path / "real", tmp_path / "link"
    (real / "images").mkdir(parents=True)
    (real / "images" / "a b.jpg").write_bytes(b"picture")
    link.symlink_to(real)
    return real, link


@pytest.mark.parametrize(
    "names_link", [True, False], ids=["source through the link", "root through the link"]
)
def test_a_root_through_a_link_is_the_same_root(draft, places, names_link):
    real, link = places
    source_folder, root = (link, real) if names_link else (real, link)
    plain = SingleFrame(source=real / "images" / "a b.jpg").derive_id(real)
    frame = SingleFrame(source=source_folder / "images" / "a b.jpg")
    assert frame.derive_id(root) == plain
    refused = draft.add_frames([frame], auto_upload_destination="blobs:", local_dataset_root_path=root)
    assert refused == []
    assert frame.id == plain
    assert frame.source.endswith("/images/a%20b.jpg")


def test_what_is_outside_of_the_root_stays_outside(places, tmp_path):
    real, link = places
    for source in (tmp_path / "real2" / "a.jpg", tmp_path / "a.jpg", "s3://bucket/a.jpg"):
        assert SingleFrame(source=source).derive_id(link) == SingleFrame(source=source).derive_id()
    assert derive_id(SingleFrame(source=real).sources, link) == SingleFrame(source=real).derive_id()


def test_a_file_at_the_destination_is_not_sent_there_again(draft, places):
    real, link = places
    frame = SingleFrame(source=real / "images" / "a b.jpg")
    draft.add_frames([frame], auto_upload_destination=link, local_dataset_root_path=real / "other")
    assert sorted(path.name for path in real.rglob("*") if path.is_file()) == ["a b.jpg"]
    assert Path(frame.source) == real / "images" / "a b.jpg"


def test_a_path_from_the_home_folder(tmp_path, monkeypatch, draft, engine):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.jpg").write_bytes(b"picture")
    (tmp_path / "x.png").write_bytes(b"mask")
    for given in (Path("~/x.jpg"), "~/x.jpg"):
        frame = SingleFrame(source=given, preview_uri=given, mask_source=[Path("~/x.png")])
        assert frame.source == frame.preview_uri == str(tmp_path / "x.jpg")
        assert frame.mask_source == str(tmp_path / "x.png")
        assert frame.derive_id("~") == SingleFrame(source=tmp_path / "x.jpg").derive_id(tmp_path)
        sent = draft.add_frames([frame], auto_upload_destination="blobs:", local_dataset_root_path=Path("~"))
        assert sent == []
    assert len(draft.get_frames_by_source("blobs:*")) == len(draft) == 1
    assert engine.blobs.put_files([Path("~/x.jpg")]).stored[0].size == 7
    assert engine.blobs.fetch(engine.blobs.put(b"mask").digest, Path("~/y.png")).parent == tmp_path
    draft.add_frames([SingleFrame(source=tmp_path / "x.jpg")])
    assert len(draft.get_frames_by_source(Path("~/x.jpg"))) == len(draft.get_frames_by_source("~/*")) == 1


def test_a_name_that_begins_with_a_tilde_is_a_file_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("~1.jpg", "~$report.jpg", "~nosuchuser/x.jpg"):
        assert SingleFrame(source=name).source == str(tmp_path / name)


def test_a_user_without_a_home_folder_is_told(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)  # a container may run under an id without a name
    with pytest.raises(framelode.InvalidValueError, match="no home folder"):
        SingleFrame(source="~/x.jpg")


class TestLinksOutOfTheRoot:
    @pytest.fixture
    def root(self, tmp_path):
        """A root with a link to a secret file, and a link to a folder of secrets."""
        secrets, root = tmp_path / "secrets", tmp_path / "root"
        (secrets / "deep").mkdir(parents=True)
        (root / "data").mkdir(parents=True)
        for path in (secrets / "key.jpg", secrets / "deep" / "key.jpg", root / "data" / "fine.jpg"):
            path.write_bytes(b"secret")
        (root / "data" / "file.jpg").symlink_to(secrets / "key.jpg")
        (root / "data" / "folder").symlink_to(secrets)
        (root / "data" / "inside.jpg").symlink_to(root / "data" / "fine.jpg")
        return root

    @pytest.fixture(params=["blobs:", "folder", "memory://out"])
    def destination(self, request, tmp_path):
        return tmp_path / "out" if request.param == "folder" else request.param

    @pytest.mark.parametrize(
        ("name", "link"),
        [("file.jpg", "file.jpg"), ("folder/key.jpg", "folder"), ("folder/deep/key.jpg", "folder")],
    )
    def test_are_refused_by_name(self, draft, engine, root, destination, name, link):
        frame = SingleFrame(source=root / "data" / name)
        (failure,) = draft.add_frames(
            [frame], auto_upload_destination=destination, local_dataset_root_path=root
        )
        assert failure["error_type"] == "upload"
        assert f"{root / 'data' / link} is a symbolic link that leads out of {root}" in failure["error"]
        assert "FRAMELODE_LINK_TARGETS" in failure["error"]
        assert len(draft) == 0
        assert list(engine.blobs.entries()) == []

    def test_are_refused_where_the_destination_is_the_root(self, draft, root):
        frame = SingleFrame(source=root / "data" / "file.jpg")
        assert draft.add_frames([frame], auto_upload_destination=root, local_dataset_root_path=root)
        assert len(draft) == 0

    def test_inside_of_it_are_followed(self, draft, root, destination):
        frame = SingleFrame(source=root / "data" / "inside.jpg")
        assert (
            draft.add_frames([frame], auto_upload_destination=destination, local_dataset_root_path=root) == []
        )

    @pytest.mark.parametrize("allowed", ["/", "/nowhere:{}/secrets"])
    def test_are_followed_where_the_environment_allows_it(
        self, draft, root, destination, monkeypatch, allowed, tmp_path
    ):
        monkeypatch.setenv("FRAMELODE_LINK_TARGETS", allowed.format(tmp_path))
        frames = [SingleFrame(source=root / "data" / name) for name in ("file.jpg", "folder/key.jpg")]
        assert (
            draft.add_frames(frames, auto_upload_destination=destination, local_dataset_root_path=root) == []
        )
        assert len(draft) == 2


def test_dots_after_a_link_mean_what_the_system_means(draft, tmp_path):
    (tmp_path / "data/links").mkdir(parents=True)
    (tmp_path / "data/other/sub").mkdir(parents=True)
    (tmp_path / "data/links/x").symlink_to("../other/sub")
    (tmp_path / "data/links/a.jpg").write_bytes(b"wrong")
    (tmp_path / "data/other/a.jpg").write_bytes(b"right")
    frame = SingleFrame(id="a", source=f"{tmp_path}/data/links/x/../a.jpg")
    draft.add_frames(
        [frame], auto_upload_destination="blobs:", local_dataset_root_path=tmp_path / "data/links/x/.."
    )
    assert Path(draft["a"].get_local_source()).read_bytes() == b"right"
    assert SingleFrame(source="x/../a.jpg").source == SingleFrame(source="a.jpg").source
