"""Published versions as runs of OpenLineage, with the real client, a transport to a file, and one to a server."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import pytest
from patience import PATIENCE

import framelode
from framelode import DatasetVersion, SingleFrame, acting


@pytest.fixture(autouse=True)
def no_configuration(tmp_path, monkeypatch):
    """Keep configuration of this machine away, and what the client itself puts into the environment."""
    import os

    monkeypatch.setattr(
        os, "environ", {k: v for k, v in os.environ.items() if not k.startswith("OPENLINEAGE")}
    )
    os.environ["HOME"] = str(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def events(tmp_path):
    """A function that returns the events in the file that the transport writes."""
    file = tmp_path / "events.jsonl"
    Path("openlineage.yml").write_text(
        json.dumps({"transport": {"type": "file", "log_file_path": str(file), "append": True}})
    )

    def read():
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    return read


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as opened:
        yield opened
        opened.close()


@pytest.fixture
def draft(engine):
    DatasetVersion.create_new_dataset("food", dataset_project="kitchen")
    draft = DatasetVersion.get_current(dataset_name="food")
    draft.add_frames(
        [
            SingleFrame(id="a", source="s3://photos/day/a.jpg", size=10),
            SingleFrame(id="b", source="s3://photos/night/b.jpg", size=20),
            SingleFrame(id="c", source="file:///data/one%20two/c.jpg"),
        ]
    )
    return draft


def test_a_snapshot_is_a_run_from_its_sources_to_the_version(draft, engine, events):
    draft.set_tags(["gold"])
    with acting("jane"):
        child = DatasetVersion.create_snapshot(
            dataset_name="food", publish_name="v1", publish_comment="all photos"
        )
    begun, done = events()
    assert [event["eventType"] for event in (begun, done)] == ["START", "COMPLETE"]
    assert begun["eventTime"] <= done["eventTime"]
    assert done["run"]["runId"] == begun["run"]["runId"] == str(UUID(draft.version_id))
    assert done["run"]["facets"]["processing_engine"]["name"] == "framelode"
    assert (done["job"]["namespace"], done["job"]["name"]) == ("framelode", "kitchen/food.publish")
    assert done["job"]["facets"]["jobType"]["jobType"] == "PUBLISH"
    assert done["producer"] == f"pkg:generic/framelode@{framelode.__version__}"
    assert [(each["namespace"], each["name"]) for each in done["inputs"]] == [
        ("file", "/data/one two"),
        ("s3://photos", "/"),
    ]
    (output,) = done["outputs"]
    assert (output["namespace"], output["name"]) == (f"framelode://{engine.log.uuid}", "kitchen/food")
    facets = output["facets"]
    assert facets["version"]["datasetVersion"] == draft.version_id
    assert facets["storage"]["storageLayer"] == "framelode"
    assert facets["dataSource"]["uri"] == engine.url
    assert facets["ownership"]["owners"] == [{"name": "user:jane", "type": "PUBLISHER"}]
    assert facets["documentation"]["description"] == "all photos"
    assert facets["lifecycleStateChange"]["lifecycleStateChange"] == "CREATE"
    metrics = facets["dataQualityMetrics"]
    assert (metrics["rowCount"], metrics["fileCount"], metrics["bytes"]) == (3, 3, 30)
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 3
    tags = {tag["key"]: tag["value"] for tag in facets["tags"]["tags"]}
    published = next(change for change in engine.history(kinds="published"))
    assert tags == {
        "framelode.name": "v1",
        "framelode.fingerprint": draft.fingerprint,
        "framelode.position": str(published.position),
        "gold": "true",
    }
    assert all(facet["_producer"] == done["producer"] for facet in facets.values())
    assert child.draft


def test_the_parent_is_an_input(draft, engine, events):
    child = DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
    child.delete_frames(["a", "b", "c"])
    assert child.publish_version()
    assert not child.publish_version()
    assert len(events()) == 4
    (parent,) = events()[-1]["inputs"]
    assert parent["name"] == "kitchen/food"
    assert parent["facets"]["version"]["datasetVersion"] == draft.version_id
    assert parent["inputFacets"]["dataQualityMetrics"]["rowCount"] == 3
    assert parent["inputFacets"]["inputStatistics"]["size"] == 30
    (output,) = events()[-1]["outputs"]
    assert output["facets"]["dataQualityMetrics"]["rowCount"] == 0


def test_folders_that_were_imported_are_inputs(engine, tmp_path, events):
    Path("out").mkdir()
    Path("out/data.json").write_text(
        json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []})
    )
    Path("out/a.jpg").write_bytes(b"a")
    DatasetVersion.from_coco("out", dataset_name="food", copy=True)
    DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
    assert {(each["namespace"], each["name"]) for each in events()[-1]["inputs"]} == {
        ("file", str(tmp_path / "out"))
    }


class Collector(BaseHTTPRequestHandler):
    """A server that keeps what it gets."""

    got: ClassVar = []

    def do_POST(self):
        self.got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_events_are_sent_to_a_server(draft):
    import os

    Collector.got = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        os.environ["OPENLINEAGE_URL"] = f"http://127.0.0.1:{server.server_port}"
        os.environ["OPENLINEAGE_NAMESPACE"] = "nightly"
        draft.publish_version()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert [path for path, _ in Collector.got] == ["/api/v1/lineage"] * 2
    assert Collector.got[1][1]["job"]["namespace"] == "nightly"


@pytest.mark.parametrize(
    "transport",
    [
        {"type": "http", "url": "http://127.0.0.1:9", "retry": {"total": 0}},
        {"type": "file", "log_file_path": "/nothing/here", "append": True},
        {"type": "unknown"},
    ],
    ids=lambda transport: transport["type"],
)
def test_a_transport_that_fails_is_a_warning(draft, transport, caplog):
    Path("openlineage.yml").write_text(json.dumps({"transport": transport}))
    with caplog.at_level(logging.WARNING, "framelode.lineage"):
        assert draft.publish_version()
    (record,) = [each for each in caplog.records if each.name == "framelode.lineage"]
    assert record.getMessage().startswith(f"version {draft.version_id} is published, but OpenLineage has no")
    assert not DatasetVersion.get_version(version_id=draft.version_id).draft


def test_without_a_configuration_nothing_is_sent(draft, caplog):
    import os

    assert draft.publish_version()
    Path("openlineage.yml").write_text("facets: {}")  # no transport
    with caplog.at_level(logging.INFO):
        DatasetVersion.create_version("next", dataset_name="food").publish_version()
    os.environ["OPENLINEAGE_DISABLED"] = "true"
    DatasetVersion.create_version("last", dataset_name="food").publish_version()
    assert not [each for each in caplog.records if "eventType" in each.getMessage()]


def test_the_client_is_imported_only_if_it_is_configured(tmp_path):
    code = """import sys, framelode
with framelode.connect("food"):
    framelode.DatasetVersion.create_new_dataset("food")
    framelode.DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
assert "openlineage" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE, cwd=tmp_path)


def test_a_configuration_without_the_client(draft, events, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    with caplog.at_level(logging.INFO, "framelode.lineage"):
        assert draft.publish_version()
    assert "framelode[lineage]" in caplog.text
    assert events() == []
