"""The whole engine on PostgreSQL, and what only a server has: roles, passwords, connections that are lost."""

from __future__ import annotations

import pickle
from contextlib import closing

import pytest

import framelode
from framelode import DatasetVersion
from framelode.engine.errors import UsageError


@pytest.fixture
def engine(postgres_url, ticks):
    with framelode.connect(postgres_url, clock=ticks.clock, new_id=ticks.new_id) as opened:
        yield opened
        opened.verify()
    opened.close()


class TestConnect:
    def test_is_found_again(self, engine, postgres_url):
        DatasetVersion.create_new_dataset("d")
        with closing(framelode.connect(postgres_url)) as again:
            assert again.log.uuid == engine.log.uuid
            assert again.dataset("d").name == "d"
        with closing(pickle.loads(pickle.dumps(engine))) as other:
            assert other.log.head() == engine.log.head()

    def test_blobs_have_no_place_until_they_are_told(self, engine, postgres_url, tmp_path):
        with pytest.raises(UsageError, match="no place for file contents.*blobs="):
            engine.blobs.put(b"content")
        with closing(framelode.connect(postgres_url, blobs=tmp_path / "blobs")) as told:
            digest = told.blobs.put(b"content").digest
        with closing(framelode.connect(postgres_url)) as again:
            assert again.blobs.read(digest) == b"content"
        assert list((tmp_path / "blobs").iterdir())

    def test_projections_elsewhere_are_remembered(self, postgres_url, tmp_path):
        for given in ({"projections": tmp_path / "p.db"}, {}):
            with framelode.connect(postgres_url, **given) as engine:
                DatasetVersion.create_new_dataset(f"d{len(given)}")
                engine.verify()
            engine.close()
            assert engine.location.projections == tmp_path / "p.db"
        assert (tmp_path / "p.db").exists()
