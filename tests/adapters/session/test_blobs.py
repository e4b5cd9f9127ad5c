"""The blobs of an engine: where they are, what frames name, and garbage collection beside uploads."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from patience import join

import framelode
from framelode import DatasetVersion, IntegrityError, SingleFrame, StorageError, UsageError
from framelode.engine.blobs import scrub as blob_scrub
from framelode.engine.blobs.uris import BlobUri, blob_uri, digests_named, parse_blob_uri
from framelode.engine.errors import InvalidValueError, NotFoundError
from framelode.engine.events.domain import BLOBS, BlobsCollected, BlobsCondemned, BlobsRestored
from framelode.engine.log.contract import Append, StreamConflictError
from framelode.engine.writes.blob_guard import BlobGuard

NOW = timedelta(0)


def frame(name, *digests, **values):
    """Return a frame whose source, preview and masks are blobs."""
    uris = [blob_uri(digest, f"{name} {number}.jpg") for number, digest in enumerate(digests)]
    values |= dict(zip(("source", "preview_uri"), uris, strict=False))
    return SingleFrame(id=name, mask_source=uris[2:] or None, **values)


def put(engine, *contents):
    return [engine.blobs.put(content.encode()).digest for content in contents]


def collect(engine, grace=NOW):
    return engine.gc(grace, young=NOW, dry_run=False)


def blob_events(engine):
    return [type(event) for event in engine.session.writes.application.events.get(BLOBS.id)]


class TestUris:
    @pytest.mark.parametrize("path", ["", "a.jpg", "folder/a b#%?\n é.jpg", "\udc80", "a..b/.c"])
    def test_round_trip(self, path):
        uri = blob_uri("0f" * 32, path)
        assert uri.isascii()
        assert parse_blob_uri(uri) == BlobUri("0f" * 32, path)
        assert digests_named([b"..." + uri.encode()]) == {"0f" * 32}

    @pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../b", ".."])
    def test_paths_stay_below_their_root(self, path):
        with pytest.raises(InvalidValueError, match="relative"):
            blob_uri("0f" * 32, path)

    @pytest.mark.parametrize(
        "uri",
        ["s3://a/b", "blobs:", "blobs:0f/a", f"blobs:{'0F' * 32}/a", f"blobs:{'0f' * 32}", "blobs:x/../.."],
    )
    def test_what_is_no_uri_of_a_blob(self, uri):
        with pytest.raises(InvalidValueError):
            parse_blob_uri(uri)

    def test_longer_hex_names_no_blob(self):
        assert digests_named([b"blobs:" + b"0" * 65]) == set()


class TestPlace:
    def test_a_folder_of_the_engine_by_default(self, tmp_path):
        with framelode.connect(tmp_path / "engine") as engine:
            assert not (tmp_path / "engine" / "blobs").exists()
            (digest,) = put(engine, "a")
            assert (tmp_path / "engine" / "blobs" / digest[:2] / digest).read_bytes() == b"a"
            engine.close()

    @pytest.mark.parametrize("kind", ["folder", "url"])
    def test_another_place_is_remembered(self, tmp_path, kind):
        place = tmp_path / "elsewhere" if kind == "folder" else "memory://test-remembered"
        with framelode.connect(tmp_path / "engine", blobs=place) as engine:
            (digest,) = put(engine, "a")
            engine.close()
        with framelode.connect(tmp_path / "engine") as engine:
            assert engine.blobs.name == str(place)
            assert engine.blobs.read(digest) == b"a"
            engine.close()

    def test_engines_in_memory_share_nothing(self):
        with framelode.connect("sqlite://") as one, framelode.connect("sqlite://") as other:
            (digest,) = put(one, "a")
            assert digest not in other.blobs
            one.close()
            other.close()

    def test_no_place(self, tmp_path):
        with pytest.raises(UsageError, match="blobs must not be empty"):
            framelode.connect(tmp_path, blobs="")


class TestDedup:
    def test_a_content_is_known_once_a_frame_named_it(self, engine, draft):
        (digest,) = put(engine, "a")
        assert engine.blobs.put(b"a").is_new
        draft.add_frames([frame("a", digest)])
        assert not engine.blobs.put(b"a").is_new
        assert engine.blobs.put(b"b").is_new
        draft.delete_frames(["a"])
        assert not engine.blobs.put(b"a").is_new

    def test_a_known_content_that_was_lost_is_written_again(self, engine, draft):
        (digest,) = put(engine, "a")
        draft.add_frames([frame("a", digest)])
        engine.blobs.delete([digest])
        assert engine.blobs.put(b"a").is_new


class TestGarbage:
    def test_two_phases(self, engine, draft):
        kept, preview, mask, garbage = put(engine, "kept", "preview", "mask", "garbage")
        draft.add_frames([frame("a", kept, preview, mask)])
        plan = engine.gc(NOW, young=NOW)
        assert (plan.condemned, plan.collected, plan.referenced, plan.blobs) == ([garbage], [], 3, 4)
        assert "would be" in str(plan)
        assert blob_events(engine) == []
        assert collect(engine).condemned == [garbage]
        assert garbage in engine.blobs
        assert collect(engine, timedelta(days=1)).waiting == [garbage]
        assert engine.gc(NOW).collected == [garbage]
        done = collect(engine)
        assert (done.collected, done.freed) == ([garbage], len("garbage"))
        assert garbage not in engine.blobs
        assert blob_events(engine) == [BlobsCondemned, BlobsCollected]
        assert collect(engine).collected == []
        assert engine.verify(blobs=True).blobs == 3

    def test_what_was_written_lately_is_left_alone(self, engine, draft):
        put(engine, "young")
        assert engine.gc(NOW, dry_run=False).young == 1
        assert blob_events(engine) == []

    def test_every_existing_version_counts(self, engine, draft):
        old, new, removed = put(engine, "old", "new", "removed")
        draft.add_frames([frame("a", old)])
        child = DatasetVersion.create_snapshot(dataset_name="food", publish_name="v1")
        child.update_frames([frame("a", new)])
        other = DatasetVersion.create_version("other", dataset_name="food", parent_version_names=["v1"])
        other.add_frames([frame("b", removed)])
        assert engine.gc(NOW, young=NOW).condemned == []
        DatasetVersion.remove_version(dataset_name="food", version_id=other.version_id)
        assert collect(engine).condemned == [removed]
        assert collect(engine).collected == [removed]
        assert engine.verify(blobs=True).blobs == 2

    def test_a_name_in_metadata_counts(self, engine, draft):
        (digest,) = put(engine, "a")
        draft.add_frames([SingleFrame(id="a", metadata={"thumbnail": blob_uri(digest, "t.png")})])
        assert engine.gc(NOW, young=NOW).condemned == []

    def test_wrong_spans(self, engine):
        for span in (timedelta(-1), 7):
            with pytest.raises(UsageError, match="grace"):
                engine.gc(span)

    @pytest.mark.parametrize("collected", [False, True])
    def test_a_banned_blob_is_refused_until_it_is_stored_again(self, engine, draft, collected):
        (digest,) = put(engine, "back")
        collect(engine)
        if collected:
            assert collect(engine).collected == [digest]
        (kept,) = put(engine, "kept")
        failures = draft.add_frames([frame("a", digest), frame("b", kept), frame("c")])
        assert [failure["frame"].id for failure in failures] == ["a"]
        assert digest in failures[0]["error"]
        assert len(draft) == 2
        assert engine.blobs.put(b"back").is_new
        assert draft.add_frames([frame("a", digest)]) == []
        assert BlobsRestored in blob_events(engine)
        assert digest not in collect(engine).condemned
        assert engine.verify(blobs=True).blobs == 2

    def test_one_that_is_named_while_gc_looks_around_is_taken_back(self, engine, draft, monkeypatch):
        (digest,) = put(engine, "late")
        referenced = engine.session.writes.blobs.referenced

        def named_right_after():
            found = referenced()
            draft.add_frames([frame("a", digest)])
            return found

        monkeypatch.setattr(engine.session.writes.blobs, "referenced", named_right_after)
        assert collect(engine).condemned == []
        monkeypatch.undo()
        assert blob_events(engine) == [BlobsCondemned, BlobsRestored]
        draft.update_frames([frame("a", digest, width=7)])
        assert collect(engine).collected == []

    def test_one_that_is_condemned_while_a_frame_is_on_its_way_is_refused(self, engine, draft, monkeypatch):
        (digest,) = put(engine, "late")
        admit = BlobGuard.admit
        condemned = []

        def condemned_right_after(guard, *arguments):
            guards = admit(guard, *arguments)
            if not condemned:
                condemned.append(collect(engine).condemned)
            return guards

        monkeypatch.setattr(BlobGuard, "admit", condemned_right_after)
        failures = draft.add_frames([frame("a", digest), frame("b")])
        assert condemned == [[digest]]
        assert [failure["frame"].id for failure in failures] == ["a"]
        assert len(draft) == 1

    def test_one_that_is_restored_while_gc_is_about_to_delete_stays(self, engine, draft, monkeypatch):
        one, other = put(engine, "one", "other")
        collect(engine)
        restored = []
        entries = engine.blobs.entries

        def restore_meanwhile():
            found = list(entries())
            engine.blobs.put(b"one")
            restored.append(draft.add_frames([frame("a", one)]))
            return found

        monkeypatch.setattr(engine.blobs, "entries", restore_meanwhile)
        assert collect(engine).collected == [other]
        assert restored == [[]]
        monkeypatch.undo()
        assert engine.verify(blobs=True).blobs == 1

    @pytest.mark.parametrize("before", [1, 2], ids=["condemned", "deleted"])
    def test_a_content_that_gc_takes_whenever_it_is_stored(self, engine, draft, monkeypatch, before):
        """It is stored for good all the same, at the first try: waiting would not help."""
        (digest,) = put(engine, "back")
        for _ in range(before):
            collect(engine)
        confirm = engine.session.writes.blobs.confirm
        taken = []

        def vouch_late(digests, present):
            for _ in range(2):  # condemns it, if it is not, and deletes it
                taken.extend(collect(engine).collected)
            return confirm(digests, present)

        monkeypatch.setattr(engine.session.writes.blobs, "confirm", vouch_late)
        monkeypatch.setattr(engine.blobs, "_sleep", None)
        assert engine.blobs.put(b"back").is_new
        assert digest in taken
        assert draft.add_frames([frame("a", digest)]) == []
        assert engine.verify(blobs=True).blobs == 1

    def test_a_known_content_that_gc_takes_while_others_are_stored(
        self, engine, draft, tmp_path, monkeypatch
    ):
        """Also when it was there at the beginning: all that is stored at once can be named when it is stored."""
        paths = [tmp_path / name for name in ("known", "new")]
        for path in paths:
            path.write_bytes(path.name.encode())
        draft.add_frames([frame("old", *put(engine, "known"))])
        confirm, old = engine.session.writes.blobs.confirm, iter([["old"]])

        def vouch_late(digests, present):
            for ids in old:
                draft.delete_frames(ids)
            for _ in range(2):
                collect(engine)
            return confirm(digests, present)

        monkeypatch.setattr(engine.session.writes.blobs, "confirm", vouch_late)
        monkeypatch.setattr(engine.blobs, "_sleep", None)
        stored = engine.blobs.put_files(paths).stored
        assert draft.add_frames([frame(done.digest, done.digest) for done in stored]) == []
        assert engine.verify(blobs=True).blobs == 2

    def test_those_that_went_get_their_names_together(self, engine, tmp_path, monkeypatch):
        """All writers wait meanwhile: a sync for each would take longer than they do."""
        paths = [tmp_path / str(number) for number in range(40)]
        for path in paths:
            path.write_bytes(path.name.encode())
        engine.blobs.put_files(paths)
        confirm, sync = engine.session.writes.blobs.confirm, engine.blobs.place.sync_moved
        synced = []

        def vouch_late(digests, present):
            for _ in range(2):
                collect(engine)
            return confirm(digests, present)

        def sync_moved(digests, since):
            synced.append(len(digests))
            sync(digests, since)

        monkeypatch.setattr(engine.session.writes.blobs, "confirm", vouch_late)
        monkeypatch.setattr(engine.blobs.place, "sync_moved", sync_moved)
        assert len(engine.blobs.put_files(paths).stored) == 40
        assert set(synced) == {40}

    def test_one_that_was_stored_again_is_expected_to_be_named(self, engine, draft, ticks):
        (digest,) = put(engine, "back")
        collect(engine)
        put(engine, "back")
        assert (collect(engine).young, collect(engine).condemned) == (1, [])
        assert draft.add_frames([frame("a", digest)]) == []
        draft.delete_frames(["a"])
        assert collect(engine).condemned == [digest]
        put(engine, "back")
        ticks.move(seconds=600)
        assert collect(engine).condemned == [digest]
        assert collect(engine).collected == [digest]

    def test_one_that_is_restored_while_gc_looks_around_is_not_condemned(self, engine, monkeypatch):
        (digest,) = put(engine, "back")
        collect(engine)
        collect(engine)
        place = engine.blobs.place
        place.move(place.write(b"back"), digest)  # stored, not restored yet
        entries = engine.blobs.entries

        def restore_meanwhile():
            found = list(entries())
            put(engine, "back")
            return found

        monkeypatch.setattr(engine.blobs, "entries", restore_meanwhile)
        assert collect(engine).condemned == []
        assert blob_events(engine)[-1] is BlobsRestored

    def test_a_store_that_does_not_delete_leaves_them_condemned(self, engine, draft, monkeypatch):
        (digest,) = put(engine, "a")
        collect(engine)

        def fail(digests):
            raise StorageError("not now")

        monkeypatch.setattr(engine.blobs.place, "delete", fail)
        with pytest.raises(StorageError, match="not now"):
            collect(engine)
        monkeypatch.undo()
        assert blob_events(engine) == [BlobsCondemned]
        assert collect(engine).collected == [digest]

    def test_beside_uploads(self, engine, draft, tmp_path, ticks):
        """Uploads of a few contents, unreferenced most of the time, while gc runs without any grace."""
        ticks.move(seconds=0, step=1)  # ten minutes are many looks
        paths = [tmp_path / str(number) for number in range(6)]
        for path in paths:
            path.write_bytes(path.name.encode() * 100)
        done, errors = threading.Event(), []

        def run_gc():
            while not done.is_set():
                try:
                    collect(engine)
                except Exception as error:
                    errors.append(error)
                    return

        engine.blobs._sleep = None
        thread = threading.Thread(target=run_gc)
        thread.start()
        try:
            for number in range(8):
                self.upload(engine, draft, paths)
                draft.delete_frames([path.name for path in paths[: number % 6 + 1]])
            self.upload(engine, draft, paths)
        finally:
            done.set()
            join(thread)
        assert errors == []
        assert len(draft) == 6
        assert engine.verify(blobs=True).blobs == 6

    def upload(self, engine, draft, paths):
        """Upload files: those condemned before they were named are stored again, and are then safe."""
        left = self.upload_once(engine, draft, paths)
        assert self.upload_once(engine, draft, left) == []

    def upload_once(self, engine, draft, paths):
        """Upload files; returns those that gc was faster with."""
        stored = {Path(done.source).name: done.digest for done in engine.blobs.put_files(paths).stored}
        failures = draft.add_frames([frame(name, digest) for name, digest in stored.items()])
        refused = {failure["frame"].id for failure in failures}
        return [path for path in paths if path.name in refused or path.name not in stored]


class TestGuards:
    def append(self, engine, guards):
        header = next(engine.log.headers())
        (body,) = engine.log.bodies([header.first_position])
        from framelode.engine.log.batch import pack_batch

        version = engine.log.stream_version(header.stream_id)
        batch = pack_batch(header.stream_id, version + 1, header.schema, header.topics, list(body.events()))
        return Append(
            batches=[batch], command_id=engine.session.new_id(), request_digest=b"", actor="a", guards=guards
        )

    def test_a_stream_that_moved_refuses_the_append(self, engine, draft):
        head = engine.log.head()
        version = engine.log.stream_version(draft.version_id)
        for guards in ({"blobs": 1}, {draft.version_id: version + 1}, {"blobs": 0, draft.version_id: 0}):
            with pytest.raises(StreamConflictError):
                engine.log.append(self.append(engine, guards))
        assert engine.log.head() == head
        engine.log.append(self.append(engine, {"blobs": 0, draft.version_id: version}))
        assert engine.log.head().position == head.position + 1


class TestScrub:
    @pytest.mark.parametrize("look", ["verify", "scrub", "missing"])
    def test_what_is_deleted_while_it_looks_is_not_missed(self, engine, draft, monkeypatch, look):
        kept, *gone = put(engine, "kept", "gone", "too")
        draft.add_frames([frame(digest, digest) for digest in (kept, *gone)])
        deletions = iter(gone)

        def deleted_right_after(digests):
            found = list(digests)
            for digest in deletions:
                assert draft.delete_frames([digest], delete_sources=True).deleted
            return found

        hash_all, present = blob_scrub._hash_all, type(engine.blobs).present
        monkeypatch.setattr(
            blob_scrub, "_hash_all", lambda place, digests: hash_all(place, deleted_right_after(digests))
        )
        monkeypatch.setattr(
            type(engine.blobs), "present", lambda store, digests: present(store, deleted_right_after(digests))
        )
        match look:
            case "verify":
                assert engine.verify(blobs=True).problems == []
            case "scrub":
                assert engine.scrub().missing == []
            case _:
                assert engine.session.writes.blobs.missing() == []
        assert list(deletions) == []

    def test_damage_is_found(self, engine, draft):
        good, missing, altered = put(engine, "good", "missing", "altered")
        draft.add_frames(
            [frame(str(number), digest) for number, digest in enumerate((good, missing, altered))]
        )
        assert engine.scrub().is_sound
        engine.blobs.delete([missing])
        sink = engine.blobs.place.create()
        sink.write(b"damage")
        sink.close()
        engine.blobs.place.move(sink.name, altered)
        found = engine.scrub()
        assert (found.missing, found.altered) == ([missing], [altered])
        with pytest.raises(IntegrityError) as caught:
            engine.verify(blobs=True)
        assert any(missing in problem for problem in caught.value.problems)
        assert any(altered in problem for problem in caught.value.problems)
        engine.verify()
        with pytest.raises(NotFoundError, match=missing):
            engine.blobs.read(missing)
        for content in (b"missing", b"altered"):
            engine.blobs.put(content, known=())
        assert engine.verify(blobs=True).blobs == 3
