"""The log format: the golden log, and a reader that was written from `docs/format.md` alone."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import histories
import make_log
import msgspec
import pytest
import reader
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE
from sizes import examples

import framelode
from framelode.adapters.execution_store.engine_repo import store_reader
from framelode.adapters.pinned_datasets.recording import current_pins
from framelode.engine import keys
from framelode.engine.errors import IntegrityError
from framelode.engine.events.alf import ALF
from framelode.engine.events.lakes import LAKE, LAKES
from framelode.engine.events.views import VIEWS
from framelode.engine.log import batch
from framelode.projections.states import fingerprint
from framelode.projections.tables.pins import PinQuery

HERE = Path(__file__).parent
FORMAT = (HERE.parents[1] / "docs" / "format.md").read_text("utf-8")
GOLDEN = json.loads((HERE / "log.json").read_text("utf-8"))


def summary_of(engine):
    """Return what framelode says of a log, in the words of the reader."""
    engine.catch_up()
    with engine.session.read_catalog() as connection:
        datasets = engine.session.catalog.datasets(connection)
        versions = engine.session.catalog.versions(connection, removed=True)[::-1]
    return {
        "uuid": engine.log.uuid,
        "head": engine.log.head().position,
        "batches": [
            {
                "first_position": header.first_position,
                "count": header.count,
                "stream_id": header.stream_id,
                "schema": header.schema,
                "digest": header.digest.hex(),
            }
            for header in engine.log.headers()
        ],
        "datasets": {
            row.dataset_id: {
                "name": row.name,
                "project": row.project,
                "description": row.description,
                "tags": row.tags,
                "versions": [
                    version.version_id
                    for version in versions
                    if version.dataset_id == row.dataset_id and version.state != "removed"
                ],
            }
            for row in datasets
        },
        "versions": {row.version_id: version_summary(engine, row) for row in versions},
        "banned_blobs": sorted(
            engine.session.writes.blob_commands.blob_ledger.banned(["0a" * 32, "0b" * 32])[1]
        ),
        "uploads": uploads_of(engine),
        "pins": pins_of(engine),
        "stores": stores_of(engine),
        "condemned_sources": sorted(engine.session.writes.source_commands.source_ledger.condemned()),
    }


def uploads_of(engine):
    digests = [f"{number:02x}" * 32 for number in range(256)]
    index = engine.session.writes.uploads._ledger
    is_empty, found = index.is_empty("s3://bucket/up"), index.find("s3://bucket/up", digests)
    assert is_empty is not bool(found)
    return sorted(file.uri for file in found.values())


def pins_of(engine):
    standing = current_pins(engine.session, PinQuery())
    return {f"{pin.project}/{pin.manifest}/{pin.name}": pin.after for pin in standing}


def stores_of(engine):
    reader = engine.session.shared(store_reader)
    with reader.listing() as connection:
        stores = reader.tables.names(connection).values()
    found = {
        store.stream: reader.find(store, [key.key for key in reader.keys([store]).get(store.digest, [])])
        for store in stores
    }
    return {
        stream: {
            key: [one.value.hex(), one.created_at, one.updated_at, one.expires_at, one.policy]
            for key, one in documents.items()
        }
        for stream, documents in found.items()
        if documents
    }


def version_summary(engine, row):
    state = engine.session.states.current(row.version_id)
    commits = [
        event
        for event in engine.session.writes.application.events.get(row.version_id)
        if type(event).__name__ == "VersionCommitted"
    ]
    return {
        "name": row.name,
        "parent_id": row.parent_id,
        "description": row.description,
        "tags": row.tags,
        "metadata": row.metadata,
        "state": row.state,
        "fingerprint": engine.session.states.fingerprint(row.version_id).root,
        "committed": [
            {name: getattr(event, name) for name in ("added", "updated", "deleted", "total")}
            for event in commits
        ],
        "frames": frames_of(engine, state),
    }


def frames_of(engine, state):
    from framelode.projections.states.fold import live_positions
    from framelode.projections.states.frames import read_stored

    positions = live_positions(state.settled())
    positions.sort()
    rows = state.rows(positions)
    digests = [struct.pack(">QQ", row["digest_hi"], row["digest_lo"]).hex() for row in rows]
    stored = list(read_stored(engine.log, state, positions))
    return {
        frame_id: [position, event.saved or position, digest]
        for (position, frame_id, event), digest in zip(stored, digests, strict=True)
    }


def chained_rows(path):
    """Return every stored value that the chain commits to."""
    with closing(sqlite3.connect(path)) as connection:
        return [
            connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for table in ("log_info", "append", "record_batch")
        ]


NEWER_EVENTS = {
    "DatasetRemoved",
    *(event.__name__ for family in (LAKES, LAKE, ALF, VIEWS) for event in family.events),
}
"""Kinds of events that were added after the golden log was written."""


class TestGoldenLog:
    def test_is_read_by_framelode(self, tmp_path):
        shutil.copy(HERE / "log.db", tmp_path / "log.db")
        with framelode.connect(tmp_path) as engine:
            findings = engine.verify()
            assert summary_of(engine) == GOLDEN
        engine.close()
        assert findings.events == GOLDEN["head"]
        assert findings.fingerprints == sum(v["state"] == "published" for v in GOLDEN["versions"].values())

    def test_is_read_by_the_reader(self):
        assert reader.read_log(str(HERE / "log.db")).summary() == GOLDEN

    def test_is_made_again_to_the_last_digest(self, tmp_path):
        made = make_log.make(tmp_path)
        assert chained_rows(made) == chained_rows(HERE / "log.db")
        assert reader.read_log(str(made)).summary() == GOLDEN

    def test_has_every_kind_of_event(self):
        log = reader.read_log(str(HERE / "log.db"))
        with closing(sqlite3.connect(HERE / "log.db")) as connection:
            topics = {
                topic
                for (text,) in connection.execute("SELECT topics FROM record_batch")
                for topic in json.loads(text)
            }
            parts = connection.execute("SELECT max(part) FROM append").fetchone()[0]
            actors = {actor for (actor,) in connection.execute("SELECT actor FROM record_batch")}
        documented = set(re.findall(r"^\| `([A-Z]\w+)` \| 1 \|", FORMAT, re.MULTILINE))
        assert topics == (documented | set(reader.TOPICS.values())) - NEWER_EVENTS
        assert parts > 0
        assert actors == {"golden", "writer é"}
        kinds = {
            roi["type"]
            for version in log.versions.values()
            for change in version.frames.values()
            for roi in msgspec.msgpack.decode(change.payload).get("rois", [])
        }
        assert kinds == set(
            re.findall(
                r"`(\w+2d|\w+3d|mask|image)`", FORMAT.partition("`poly` by `type`")[2].partition("\n\n")[0]
            )
        )


class TestReader:
    def test_imports_nothing_of_framelode(self):
        tree = ast.parse((HERE / "reader.py").read_text("utf-8"))
        imported = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not [name for name in imported if name.startswith((".", "framelode"))]

    def test_runs_alone(self):
        command = [sys.executable, "-I", str(HERE / "reader.py"), str(HERE / "log.db")]
        found = subprocess.run(command, capture_output=True, check=True, encoding="utf-8", timeout=PATIENCE)
        assert json.loads(found.stdout) == GOLDEN

    @examples(8, 25)
    @given(histories.steps, st.integers(1, 3))
    def test_agrees_with_framelode_on_any_history(self, history, batch_size):
        with framelode.connect("sqlite://") as engine:
            histories.play(engine, history, batch_size)
            with engine.log.database.read() as connection:
                read = reader.Reader(connection.connection.driver_connection).read()
                connection.connection.driver_connection.row_factory = None
            assert read.summary() == summary_of(engine)
        engine.close()

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ("UPDATE record_batch SET actor = 'me' WHERE first_position = 4", "the digest is wrong"),
            ("UPDATE append SET result = x'80' WHERE append_id = 2", "the digest is wrong"),
            ("UPDATE record_batch SET keys = zeroblob(length(keys)) WHERE count = 5", "the keys are not"),
            (
                "UPDATE record_body SET (checksum, body) = (SELECT checksum, body FROM record_body) WHERE first_position = 4",
                "the checksum is wrong",
            ),
            ("DELETE FROM record_batch WHERE first_position = 4", "positions are not contiguous"),
            ("UPDATE log_info SET uuid = 'x'", "the chain is broken"),
        ],
    )
    def test_finds_what_was_changed(self, tmp_path, change, what):
        path = shutil.copy(HERE / "log.db", tmp_path / "log.db")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            connection.execute(change)
        with pytest.raises(reader.Unsound, match=what):
            reader.read_log(str(path))


class TestDocument:
    def test_mixes(self):
        examples = re.findall(r"^\| `([0-9a-f]{32})` \| `([0-9a-f]{16})` \|", FORMAT, re.MULTILINE)
        assert len(examples) == 3
        for key, mixed in examples:
            assert f"{int(keys.mix(*keys.key_columns(bytes.fromhex(key)))[0]):016x}" == mixed
            assert f"{reader.mix(bytes.fromhex(key)):016x}" == mixed

    def test_limits(self):
        assert batch.BLOCK_EVENTS == 128
        assert f"{batch.BLOCK_BYTES:,}" in FORMAT
        assert f"{batch.BATCH_EVENTS:,} events" in FORMAT
        assert f"{batch.BATCH_BYTES >> 20} MiB" in FORMAT
        assert (fingerprint.BUCKET_FRAMES, fingerprint.FAN_OUT) == (256, 256)

    def test_tables(self, tmp_path):
        with framelode.connect(tmp_path) as engine:
            engine.close()
        with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
            for table in ("log_info", "append", "record_batch", "record_body"):
                columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
                (described,) = re.findall(rf"^{table}\(\s*(.*?)\)$", FORMAT, re.MULTILINE | re.DOTALL)
                named = [(name, kind) for name, kind in re.findall(r"(\w+) (INTEGER|TEXT|BLOB)", described)]
                assert named == [(name, kind) for _, name, kind, *_ in columns]

    def test_a_newer_schema_of_an_event_asks_for_a_newer_framelode(self):
        from framelode.engine.events.registry import decode_event

        state = msgspec.msgpack.encode([2, {"name": "x"}])
        with pytest.raises(IntegrityError, match="schema version 2.*install a newer framelode"):
            decode_event("VersionRenamed", "v", 3, state)

    def test_older_schemas_are_upcast_step_by_step(self, monkeypatch):
        from framelode.engine.events.domain import VersionRenamed
        from framelode.engine.events.registry import decode_event

        monkeypatch.setattr(VersionRenamed, "schema_version", 3)
        monkeypatch.setattr(
            VersionRenamed, "upcast_v1_v2", lambda fields: {"title": fields["name"]}, raising=False
        )
        monkeypatch.setattr(
            VersionRenamed, "upcast_v2_v3", lambda fields: {"name": fields["title"] + "!"}, raising=False
        )
        old = decode_event("VersionRenamed", "v", 3, msgspec.msgpack.encode([1, {"name": "x"}]))
        newer = decode_event("VersionRenamed", "v", 3, msgspec.msgpack.encode([2, {"title": "x"}]))
        assert old.name == newer.name == "x!"
