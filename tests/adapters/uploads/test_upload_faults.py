"""Destinations that refuse, die, are full or read-only, through the public API: what is listed, what frames name, what a second call does."""

import errno
import os
from pathlib import Path

import pytest
from blake3 import blake3
from destination_places import Place
from fsspec.implementations.memory import MemoryFileSystem
from refusing_proxy import RefusingProxy
from s3_server import s3_environment, s3_filesystem, s3_prefix, s3_url

import framelode
from framelode import DatasetVersion, FrameGroup, SingleFrame
from framelode.adapters.connect import current_engine
from framelode.engine.storage import local as local_files

KINDS = ("blobs", "blobs on s3", "folder", "memory", "s3", "http")
FAULTS = {
    "every third write is refused": (lambda write: write % 3 == 0, errno.EIO),
    "it dies in the middle": (lambda write: write > 7, errno.EIO),
    "it is full": (lambda write: write > 7, errno.ENOSPC),
    "it is read-only": (lambda write: True, errno.EROFS),
}
_STATUSES = {errno.EIO: 503, errno.ENOSPC: 507, errno.EROFS: 403}


class Faulty:
    """A destination whose writes fail as they are told to: `refuse` is called with the number of each."""

    def __init__(self, kind, folder, monkeypatch):
        self.kind = kind
        self.writes = 0
        self.refuse, self.errno = lambda write: False, errno.EIO
        self.blobs = s3_prefix() if kind == "blobs on s3" else None
        self.place = Place(kind, folder, monkeypatch.setenv) if "blobs" not in kind else None
        self.url = self.place.url if self.place else "blobs:"
        self.proxy = self._behind_a_proxy(monkeypatch) if "s3" in kind else None
        match kind:
            case "folder" | "blobs":
                self._wrap(monkeypatch, local_files, "_create")
            case "memory":
                self._wrap(monkeypatch, MemoryFileSystem, "pipe_file")
            case "http":
                self.place.server.refuse = self._status

    def _behind_a_proxy(self, monkeypatch):
        import s3fs

        proxy = RefusingProxy(s3_url())
        proxy.refuse = self._status
        for name, value in {**s3_environment(proxy.url), "AWS_MAX_ATTEMPTS": "1"}.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        return proxy

    def _wrap(self, monkeypatch, owner, name):
        real = getattr(owner, name)

        def write(*arguments, **options):
            if self._is_refused():
                raise OSError(self.errno, os.strerror(self.errno))
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, write)

    def _status(self, method, path):
        return _STATUSES[self.errno] if method == "PUT" and self._is_refused() else None

    def _is_refused(self):
        self.writes += 1
        return self.refuse(self.writes)

    def read(self, engine, uri):
        if uri.startswith("blobs:"):
            return engine.blobs.read(uri[6:70])
        return Path(uri).read_bytes() if self.kind == "folder" else self.place.read(uri)

    def close(self):
        if self.proxy:
            s3fs = type(s3_filesystem())
            s3fs.clear_instance_cache()
            self.proxy.close()
        if self.place:
            self.place.close()


@pytest.fixture(params=KINDS)
def faulty(request, tmp_path, monkeypatch):
    made = Faulty(request.param, tmp_path, monkeypatch)
    monkeypatch.setattr("framelode.engine.storage.base.WAITS", ())
    monkeypatch.setattr("framelode.engine.storage.base.growing_waits", lambda retries: [0.0] * retries)
    monkeypatch.setattr("framelode.adapters.uploads.uploader.growing_waits", lambda retries: [0.0] * retries)
    yield made
    made.close()


@pytest.fixture
def draft(tmp_path, faulty):
    options = {"blobs": faulty.blobs} if faulty.blobs else {}
    with framelode.connect(tmp_path / "engine", **options) as engine:
        DatasetVersion.create_new_dataset("food")
        yield DatasetVersion.get_current(dataset_name="food")
    engine.close()


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def frame(root, name):
    """Return a frame of three files, and what they hold."""
    for role in ("jpg", "mask", "preview"):
        (root / f"{name}.{role}").write_bytes(f"{role} of {name}".encode())
    made = SingleFrame(source=root / f"{name}.jpg", mask_source=[root / f"{name}.mask"])
    made.preview_uri = root / f"{name}.preview"
    made.metadata = {"name": name}
    return made


def frames(root):
    made = [frame(root, f"{number}") for number in range(3)]
    made += [
        FrameGroup(frames={side: frame(root, f"{number} {side}") for side in "ab"}) for number in range(2)
    ]
    return made


def assert_whole(engine, draft, faulty):
    """Check that whatever a frame names is there, and is what was uploaded."""
    for stored in draft:
        for single in stored.values() if isinstance(stored, FrameGroup) else (stored,):
            name = single.metadata["name"]
            data = faulty.read(engine, single.source)
            assert data == f"jpg of {name}".encode()
            assert (single.size, single.hash) == (len(data), f"blake3:{blake3(data).hexdigest()}")
            assert faulty.read(engine, single.masks_source["00"]) == f"mask of {name}".encode()
            assert faulty.read(engine, single.preview_uri) == f"preview of {name}".encode()


def cases():
    for kind in KINDS:
        for number, fault in enumerate(FAULTS):
            yield pytest.param(kind, fault, marks=[pytest.mark.long] if "s3" in kind and number % 2 else [])


@pytest.mark.parametrize(("faulty", "fault"), list(cases()), indirect=["faulty"])
def test_a_destination_with_a_fault(draft, root, faulty, fault):
    engine = current_engine()
    faulty.refuse, faulty.errno = FAULTS[fault]
    options = {"auto_upload_destination": faulty.url, "local_dataset_root_path": root, "upload_retries": 0}
    given = frames(root)
    failures = draft.add_frames(given, **options)
    assert failures
    assert {failure["error_type"] for failure in failures} == {"upload"}
    held = {stored.id for stored in draft}
    assert held.isdisjoint(failure["frame"].id for failure in failures)
    assert len(held) + len(failures) == len(given)
    assert_whole(engine, draft, faulty)
    faulty.refuse = lambda write: False
    assert draft.add_frames([failure["frame"] for failure in failures], **options) == []
    assert len(draft) == len(given)
    assert_whole(engine, draft, faulty)
    engine.verify(blobs=True)


def test_files_that_are_gone_fail_the_frame_or_group_that_they_belong_to(draft, root, faulty):
    engine = current_engine()
    given = frames(root)
    doomed = [given[0].source, given[1].masks_source["00"], given[3]["a"].preview_uri]
    options = {"auto_upload_destination": faulty.url, "local_dataset_root_path": root}
    held = [Path(path).rename(f"{path} elsewhere") for path in doomed]
    failures = draft.add_frames(given, **options)
    assert [failure["frame"] for failure in failures] == [given[0], given[1], given[3]]
    assert all(path in failure["error"] for path, failure in zip(doomed, failures, strict=True))
    assert len(draft) == len(given) - 3
    assert_whole(engine, draft, faulty)
    for path, there in zip(doomed, held, strict=True):
        there.rename(path)
    assert draft.add_frames([failure["frame"] for failure in failures], **options) == []
    assert len(draft) == len(given)
    assert_whole(engine, draft, faulty)
