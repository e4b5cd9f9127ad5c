"""Which protocols URLs may use: those of files and object stores, and what the environment names."""

import zipfile
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import _registry

import framelode
from framelode import DatasetVersion, SingleFrame, UsageError
from framelode.adapters.pinned_datasets.datasets import Datasets

REFUSED = (
    "simplecache::memory://secret/a.txt",
    "filecache::file:///etc/hostname",
    "SimpleCache::memory://secret/a.txt",
    "zip://a.txt::memory://secret/a.zip",
    "reference://secret",
    "dask::memory://secret/a.txt",
    "github://owner:repository@main/a.txt",
    "sftp://host/a.txt",
    "probe://a.txt",
    "probe::memory://secret/a.txt",
)


@pytest.fixture(autouse=True)
def opened():
    """What instances of a filesystem of the protocol ``probe`` were made with."""
    fsspec.filesystem("memory").pipe_file("/secret/a.txt", b"secret")
    made = []

    class Probe(fsspec.AbstractFileSystem):
        protocol = "probe"
        cachable = False

        def __init__(self, **options):
            made.append(options)
            super().__init__(**options)

    fsspec.register_implementation("probe", Probe, clobber=True)
    yield made
    _registry.pop("probe")
    fsspec.filesystem("memory").rm("/secret", recursive=True)


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as engine:
        yield engine
    engine.close()


@pytest.mark.parametrize("uri", REFUSED)
def test_sources_of_other_protocols_are_recorded_and_not_opened(engine, opened, uri):
    DatasetVersion.create_new_dataset("food")
    draft = DatasetVersion.get_current(dataset_name="food")
    assert draft.add_frames([SingleFrame(id="a", source=uri)]) == []
    frame = draft.get_single_frame("a")
    assert frame.source == uri
    for read in (lambda: frame.get_local_source(raise_on_error=True), lambda: framelode.draw(frame)):
        with pytest.raises(UsageError, match="is not opened: .*FRAMELODE_PROTOCOLS"):
            read()
    with pytest.warns(framelode.LocalFileWarning, match="is not opened: .*FRAMELODE_PROTOCOLS"):
        assert frame.get_local_source() is None
    assert opened == []


@pytest.mark.parametrize("uri", REFUSED)
def test_neither_are_pins(tmp_path, opened, uri):
    with framelode.connect(tmp_path / "engine") as engine:
        with pytest.raises(UsageError, match="is not opened: .*FRAMELODE_PROTOCOLS"):
            Datasets(tmp_path, engine=engine).add(name="pinned", url=uri, type="url")
        engine.close()
    assert opened == []


@pytest.mark.parametrize("uri", [uri for uri in REFUSED if "://" in uri])
def test_nor_places_of_blobs_also_where_a_settings_file_names_them(tmp_path, opened, uri):
    place = f"memory://{tmp_path.name}"
    with framelode.connect(tmp_path / "engine", blobs=place) as engine:
        engine.blobs.put(b"content")
        engine.close()
    settings = tmp_path / "engine" / "framelode.toml"
    settings.write_text(settings.read_text().replace(place, uri))
    with pytest.raises(UsageError, match="is not opened: .*FRAMELODE_PROTOCOLS"):  # noqa: SIM117
        with framelode.connect(tmp_path / "engine") as engine:
            engine.blobs.put(b"content")
    assert opened == []


def test_the_environment_allows_more(tmp_path, monkeypatch, engine):
    monkeypatch.setenv("FRAMELODE_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "inner")
    inside = SingleFrame(source=f"zip://a.txt::{tmp_path}/a.zip")
    chained = SingleFrame(source="simplecache::memory://secret/a.txt")
    monkeypatch.setenv("FRAMELODE_PROTOCOLS", "zip, probe")
    assert Path(inside.get_local_source()).read_text() == "inner"
    with pytest.raises(UsageError, match="'simplecache' is not allowed"):
        chained.get_local_source(raise_on_error=True)
    with pytest.raises(UsageError, match="'github' is not allowed"):
        SingleFrame(source="zip://a.txt::github://owner:repository@main/a.zip").get_local_source(
            raise_on_error=True
        )
    monkeypatch.setenv("FRAMELODE_PROTOCOLS", "simplecache")
    assert Path(chained.get_local_source()).read_text() == "secret"


def test_two_colons_belong_to_a_name_of_an_allowed_protocol(tmp_path, monkeypatch, engine):
    monkeypatch.setenv("FRAMELODE_CACHE", str(tmp_path / "cache"))
    fsspec.filesystem("memory").pipe_file("memory://secret/a::probe", b"named so")
    (tmp_path / "a::probe").write_bytes(b"a file")
    for uri, content in (
        ("memory://secret/a::probe", b"named so"),
        (f"local://{tmp_path}/a::probe", b"a file"),
    ):
        assert Path(SingleFrame(source=uri).get_local_source()).read_bytes() == content
