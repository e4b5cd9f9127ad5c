"""Sources deleted with their frames, beside uploads and in spite of kills: no frame names what is gone, nothing leaks."""

import pytest
import source_worker
from blake3 import blake3
from destination_places import Place
from forked import Program
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sizes import examples

import framelode
from framelode import Dataset, DatasetVersion, SingleFrame
from framelode.adapters.hyperdatasets.source_deletion import SourceDeleter, SourcesNotDeletedWarning
from framelode.adapters.maintenance.source_removal import SourceRemoval
from framelode.adapters.uploads.objects import ObjectDestination
from framelode.engine.events.domain import SourcesRestored
from framelode.engine.sources import deletions as source_commands
from framelode.engine.sources.deletions import SourceCommands
from framelode.engine.storage.base import BackendError
from framelode.engine.writes.writer import FrameWriter


class World:
    """A dataset whose files are uploaded to S3, and another engine on the same log."""

    def __init__(self, folder, environment, url=None):
        self.folder, self.root = folder, folder / "data"
        self.root.mkdir()
        self.place = Place("s3", folder, environment)
        self.mine = framelode.connect(url or folder / "engine", blobs=folder / "blobs")
        with self.mine:
            DatasetVersion.create_new_dataset("food")
            self.draft = DatasetVersion.get_current(dataset_name="food")
        self.other = framelode.connect(self.mine.url)

    def file(self, name, data=None):
        path = self.root / name
        path.write_bytes(name.encode() if data is None else data)
        return path

    def upload(self, frame_id, name, engine=None, **options):
        frame = SingleFrame(id=frame_id, source=self.file(name))
        draft = self.version(engine or self.mine)
        arguments = {"auto_upload_destination": self.place.url, "local_dataset_root_path": self.root}
        return draft.add_frames([frame], **arguments, **options), frame

    def version(self, engine):
        return engine.version(self.draft.version_id)

    def delete(self, *frame_ids, engine=None):
        return self.version(engine or self.mine).delete_frames(frame_ids, delete_sources=True)

    def run(self, *arguments):
        return Program("source_worker", arguments[0], self.mine.url, *arguments[1:])

    def sources(self):
        return {frame.id: frame.source for frame in self.draft}

    def check(self):
        """Every frame names an object with its content."""
        for frame in self.draft:
            assert f"blake3:{blake3(self.place.read(frame.source)).hexdigest()}" == frame.hash

    def check_finished(self):
        """Nothing waits to be deleted, and every object is named by a frame."""
        self.check()
        assert not self.mine.session.writes.source_commands.source_ledger.condemned()
        named = {uri.removeprefix(f"{self.place.url}/") for uri in self.sources().values()}
        assert named == set(self.place.everything())
        self.mine.verify()

    def close(self):
        self.mine.close()
        self.other.close()


@pytest.fixture(params=["folder", pytest.param("postgres", marks=pytest.mark.long)])
def world(request, tmp_path, monkeypatch):
    monkeypatch.setattr("framelode.adapters.uploads.uploader.growing_waits", lambda retries: [0.0] * retries)
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    made = World(tmp_path, monkeypatch.setenv, url)
    yield made
    made.close()


def before_append(monkeypatch, act):
    """Do something once, when the next append is ready."""
    append, acts = FrameWriter._append, iter([act])

    def call(*arguments):
        for once in acts:
            once()
        return append(*arguments)

    monkeypatch.setattr(FrameWriter, "_append", call)


def halted_upload(world, name):
    worker = world.run("upload", world.place.url, str(world.root), name)
    assert worker.stdout.readline() == "linked\n"
    return worker


def finished_upload(worker):
    printed, _ = worker.communicate("go\n")
    assert worker.returncode == 0
    return printed.strip()


def killed_delete(world, stage, *frame_ids):
    worker = world.run("delete", stage, *frame_ids)
    worker.communicate()
    assert worker.returncode == -9


class TestBesideUploads:
    def test_a_linked_object_that_is_deleted_before_the_append_is_sent_again(self, world):
        _, first = world.upload("a", "1.jpg")
        late = halted_upload(world, "1.jpg")
        assert world.delete("a").deleted == [first.source]
        source = finished_upload(late)
        assert world.sources() == {"late 1.jpg": source}
        world.check_finished()

    @pytest.mark.parametrize("stage", source_worker.STAGES)
    def test_a_deletion_killed_at_any_stage_beside_a_halted_upload(self, world, stage):
        world.upload("a", "1.jpg")
        world.upload("b", "2.jpg")
        late = halted_upload(world, "1.jpg")
        killed_delete(world, stage, "a", "b")
        world.check()
        assert finished_upload(late).startswith(world.place.url)
        world.check()
        if stage == "looked":
            assert set(world.sources()) == {"a", "b", "late 1.jpg"}
            world.delete("a", "b")
        else:
            assert set(world.sources()) == {"late 1.jpg"}
            world.mine.gc(dry_run=False)
        world.check_finished()

    def test_what_is_kept_after_all_is_linked_and_not_sent_again(self, world):
        _, frame = world.upload("a", "a.jpg")
        with world.mine:
            child = world.draft.create_snapshot()
            assert child.delete_frames(["a"], delete_sources=True).kept == [frame.source]
            again = SingleFrame(id="b", source=world.root / "a.jpg")
            place = {"auto_upload_destination": world.place.url, "local_dataset_root_path": world.root}
            assert child.add_frames([again], **place) == []
        assert again.source == frame.source
        world.mine.verify()

    def test_an_upload_that_comes_first_keeps_the_object(self, world):
        _, first = world.upload("a", "1.jpg")
        world.upload("twin", "1.jpg", engine=world.other)
        assert world.sources() == {"a": first.source, "twin": first.source}
        assert world.delete("a").kept == [first.source]
        world.check_finished()

    def test_frames_passed_are_changed_to_what_was_sent_in_the_end(self, world, monkeypatch):
        world.upload("a", "1.jpg")
        before_append(monkeypatch, lambda: world.delete("a", engine=world.other))
        failures, second = world.upload("b", "1.jpg", command_id="once")
        assert failures == []
        assert world.sources() == {"b": second.source}
        world.check_finished()
        head = world.mine.log.head().position
        again = world.upload("b", "1.jpg", command_id="once")
        assert again[0] == []
        assert world.mine.log.head().position == head

    def test_a_merge_is_linked_again_too(self, world, monkeypatch):
        world.upload("a", "1.jpg")
        world.upload("b", "2.jpg")
        with world.mine:
            draft = DatasetVersion.get_current(None, "food", world.place.url, world.root)
        before_append(monkeypatch, lambda: world.delete("a", engine=world.other))
        draft.update_frames([SingleFrame(id="b", source=world.file("1.jpg"))], without_fields=["meta"])
        world.check()
        assert set(world.sources()) == {"b"}

    def test_other_deletions_move_the_guard_and_change_nothing(self, world, monkeypatch):
        _, first = world.upload("a", "1.jpg")
        world.upload("b", "2.jpg")
        sent = []
        real = ObjectDestination.send
        monkeypatch.setattr(
            ObjectDestination, "send", lambda store, items: (sent.extend(items), real(store, items))
        )
        before_append(monkeypatch, lambda: world.delete("b", engine=world.other))
        world.upload("c", "1.jpg")
        assert sent == []
        assert world.sources() == {"a": first.source, "c": first.source}
        world.check_finished()

    def test_an_upload_ends_beside_deletions_that_are_always_faster(self, world, monkeypatch):
        log, append, acts = world.mine.log, FrameWriter._append, []
        exclusive = log.exclusive

        def delete_another():
            acts.append(
                world.other.session.writes.source_commands._record_sources(
                    SourcesRestored, ["s3://elsewhere/x"]
                )
            )

        def append_late(*arguments):
            if not log.database.is_exclusive:
                delete_another()
            return append(*arguments)

        def exclusive_late():
            delete_another()
            return exclusive()

        world.upload("a", "1.jpg")
        monkeypatch.setattr(FrameWriter, "_append", append_late)
        monkeypatch.setattr(log, "exclusive", exclusive_late)
        assert world.upload("b", "1.jpg")[0] == []
        assert len(acts) < 10
        world.check_finished()

    def test_a_name_whose_deletion_was_cut_off_is_not_taken(self, world):
        _, first = world.upload("a", "1.jpg")
        killed_delete(world, "condemned", "a")
        failures, second = world.upload("b", "1.jpg")
        assert failures == []
        assert second.source != first.source
        world.check()
        world.upload("c", "3.jpg")
        world.delete("c")
        world.check_finished()

    def test_a_deletion_that_is_finished_and_killed_in_that_beside_a_halted_upload(self, world):
        world.upload("a", "1.jpg")
        world.upload("b", "2.jpg")
        killed_delete(world, "condemned", "a")
        late = halted_upload(world, "1.jpg")
        killed_delete(world, "deleted", "b")
        finished_upload(late)
        assert set(world.sources()) == {"late 1.jpg"}
        world.check()
        world.mine.gc(dry_run=False)
        world.check_finished()

    def test_an_exact_name_whose_deletion_was_cut_off_is_refused_until_that_is_finished(self, world):
        path, url = world.file("1.jpg"), f"{world.place.url}/exact.jpg"
        world.draft.add_frames([SingleFrame(id="a", source=path)], src_to_dst_mapping={str(path): url})
        killed_delete(world, "condemned", "a")
        (failure,) = world.draft.add_frames(
            [SingleFrame(id="b", source=path)], src_to_dst_mapping={str(path): url}
        )
        assert "marked for deletion" in failure["error"]
        world.mine.gc(dry_run=False)
        world.check_finished()
        assert not world.draft.add_frames(
            [SingleFrame(id="b", source=path)], src_to_dst_mapping={str(path): url}
        )
        world.check_finished()

    def test_frames_added_by_hand_while_it_looks_around_keep_the_object(self, world, monkeypatch):
        """Whichever of the parts that are deleted at once it is in."""
        _, first = world.upload("a", "1.jpg")
        _, second = world.upload("b", "2.jpg")
        _, third = world.upload("c", "3.jpg")
        real = SourceCommands.delete_sources
        late = iter(
            [SingleFrame(id=f"late {n}", source=f.source, hash=f.hash) for n, f in enumerate((first, third))]
        )

        def call(commands, *arguments):
            world.version(world.other).add_frames(list(late))
            return real(commands, *arguments)

        monkeypatch.setattr(SourceCommands, "delete_sources", call)
        monkeypatch.setattr(source_commands, "DELETED_AT_ONCE", 1)
        result = world.delete("a", "b", "c")
        assert (result.deleted, result.kept) == ([second.source], [first.source, third.source])
        world.check_finished()


class TestDatasets:
    """`Dataset.delete(delete_sources=True)`."""

    def delete(self, world):
        with world.mine:
            return Dataset.delete(
                world.draft.dataset_id, delete_all_versions=True, force=True, delete_sources=True
            )

    def elsewhere(self, world, *sources):
        """Another dataset names some sources."""
        with world.other:
            DatasetVersion.create_new_dataset("drinks")
            other = DatasetVersion.get_current(dataset_name="drinks")
            other.add_frames([SingleFrame(id=source, source=source) for source in sources])
        return other

    def test_what_other_datasets_name_is_kept(self, world):
        frames = [world.upload(name, f"{name}.jpg")[1] for name in "abc"]
        sources = [frame.source for frame in frames]
        with world.mine:
            child = world.draft.create_snapshot()
            child.delete_frames(["a"])
        self.elsewhere(world, sources[1])
        result = self.delete(world)
        assert (sorted(result.deleted), result.kept) == ([sources[0], sources[2]], [sources[1]])
        assert world.place.everything().keys() == {sources[1].removeprefix(f"{world.place.url}/")}
        assert not world.mine.session.writes.source_commands.source_ledger.condemned()
        assert world.mine.dataset("drinks").get_version()
        world.mine.verify()

    def test_blobs(self, world):
        with world.mine:
            for name in "ab":
                world.draft.add_frames(
                    [SingleFrame(id=name, source=world.file(f"{name}.jpg"))],
                    auto_upload_destination="blobs:",
                    local_dataset_root_path=world.root,
                )
        blobs = [frame.source for frame in world.draft]
        self.elsewhere(world, blobs[1])
        result = self.delete(world)
        assert (result.deleted, result.kept) == ([blobs[0]], [blobs[1]])
        assert [blob.split(":")[1].split("/")[0] in world.mine.blobs for blob in blobs] == [False, True]
        world.mine.verify(blobs=True)

    def test_a_frame_that_comes_meanwhile_goes_with_its_source(self, world, monkeypatch):
        world.upload("a", "a.jpg")
        look, late = SourceDeleter._look, iter(["b"])

        def call(deleter, uris):
            look(deleter, uris)
            for name in late:
                world.upload(name, f"{name}.jpg", engine=world.other)

        monkeypatch.setattr(SourceDeleter, "_look", call)
        assert len(self.delete(world).deleted) == 2
        assert not world.place.everything()
        world.mine.verify()

    def test_a_store_that_does_not_answer_changes_nothing(self, world, monkeypatch):
        world.upload("a", "a.jpg")
        head = world.mine.log.head().position
        with monkeypatch.context() as patched:
            patched.setattr(ObjectDestination, "holds", refuse)
            with pytest.raises(framelode.StorageError):
                self.delete(world)
        assert world.mine.log.head().position == head
        with monkeypatch.context() as patched:
            patched.setattr(ObjectDestination, "delete", refuse)
            with pytest.warns(
                SourcesNotDeletedWarning, match="1 source could not be deleted, the first: s3://"
            ):
                (failure,) = self.delete(world).failures
        assert failure["error"] == "out of order"
        world.mine.gc(dry_run=False)
        assert not world.place.everything()


def refuse(*_):
    raise BackendError("out of order")


class TestCutOff:
    @pytest.mark.parametrize("stage", ["looked", "condemned", "deleted"])
    def test_the_next_deletion_finishes_what_was_left(self, world, stage):
        for name in "abc":
            world.upload(name, f"{name}.jpg")
        killed_delete(world, stage, "a", "b")
        world.check()
        if stage == "looked":
            assert set(world.sources()) == {"a", "b", "c"}
            world.delete("a", "b")
        world.delete("c")
        assert world.sources() == {}
        world.check_finished()

    def test_gc_says_what_is_left_and_finishes_it(self, world):
        _, first = world.upload("a", "1.jpg")
        killed_delete(world, "condemned", "a")
        dry = world.mine.gc()
        assert dry.sources == [first.source]
        assert "1 source, whose deletion was interrupted, would be deleted or kept" in str(dry)
        assert world.mine.gc(dry_run=False).sources == [first.source]
        assert world.mine.gc().sources == []
        world.check_finished()

    def test_what_a_store_refused_is_tried_again_by_the_next_call(self, world, monkeypatch):
        _, first = world.upload("a", "1.jpg")
        world.upload("b", "2.jpg")

        def refuse(destination, uris):
            raise BackendError("not today")

        with monkeypatch.context() as patched:
            patched.setattr(ObjectDestination, "delete", refuse)
            with pytest.warns(UserWarning, match="not today"):
                result = world.delete("a")
            report = world.mine.gc(dry_run=False)
        assert result.failures == [{"uri": first.source, "error": "not today"}]
        assert report.source_failures == {first.source: "not today"}
        assert "1 source cannot be deleted, the first" in str(report)
        world.delete("b")
        world.check_finished()

    def test_frames_and_condemnation_are_one_append(self, world):
        for number in range(5):
            world.upload(f"{number}", f"{number}.jpg")
        head = world.mine.log.head().position
        world.draft.delete_frames([f"{n}" for n in range(5)], batch_size=2, delete_sources=True)
        appended = [
            h
            for h in world.mine.log.headers(gt=head)
            if h.append_id == world.mine.log.batch_at(head + 1).append_id
        ]
        assert [(h.stream_id, h.count) for h in appended] == [
            (world.draft.version_id, 2),
            (world.draft.version_id, 2),
            (world.draft.version_id, 1),
            ("sources", 1),
        ]
        world.check_finished()

    def test_a_dataset_whose_sources_were_deleted_is_exported_alone(self, world):
        world.upload("a", "1.jpg")
        world.upload("b", "2.jpg")
        world.delete("a")
        world.mine.export_log(world.folder / "food.jsonl", dataset="food")
        with framelode.connect(world.folder / "copy") as copy:
            copy.import_log(world.folder / "food.jsonl")
            assert [frame.id for frame in copy.version(world.draft.version_id)] == ["b"]
            copy.verify()
            copy.close()


ACTS = st.one_of(
    st.tuples(st.just("upload"), st.integers(0, 2), st.one_of(st.none(), st.integers(0, 5))),
    st.tuples(st.just("delete"), st.integers(0, 5), st.sampled_from([None, *source_worker.STAGES])),
    st.tuples(st.just("gc"), st.none(), st.none()),
)


class CutOffError(Exception):
    """Stands for the death of a process at a stage."""


@examples(5, 12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, min_size=2, max_size=8))
def test_whatever_comes_in_between_no_frame_names_what_is_gone(tmp_path_factory, acts):
    with pytest.MonkeyPatch.context() as outer:
        outer.setattr("framelode.adapters.uploads.uploader.growing_waits", lambda retries: [0.0] * retries)
        world = World(tmp_path_factory.mktemp("world"), outer.setenv)
        try:
            for number, act in enumerate(acts):
                do(world, number, *act)
                world.check()
            world.mine.gc(dry_run=False)
            world.check_finished()
        finally:
            world.close()


def do(world, number, kind, what, more):
    with pytest.MonkeyPatch.context() as patched:
        if kind == "upload":
            if more is not None:
                before_append(patched, lambda: delete_one(world, world.other, more, None))
            failures, _ = world.upload(f"{number}", f"{what}.jpg")
            assert failures == []
        elif kind == "delete":
            delete_one(world, world.mine, what, more)
        else:
            world.mine.gc(dry_run=False)


def delete_one(world, engine, which, stage):
    ids = sorted(world.sources())
    if not ids:
        return
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(source_worker, "die", stop)
        keep = [(owner, name, getattr(owner, name)) for owner, name in PATCHED]
        try:
            source_worker.kill_at(stage)
            world.delete(ids[which % len(ids)], engine=engine)
        except CutOffError:
            pass
        finally:
            for owner, name, value in keep:
                setattr(owner, name, value)


def stop(*_arguments, **_options):
    raise CutOffError


PATCHED = [
    (source_worker.VersionWriter, "delete"),
    (SourceRemoval, "run"),
    (SourceRemoval, "_delete"),
    (SourceCommands, "delete_sources"),
]


@pytest.mark.parametrize(
    "spell",
    [
        lambda uri: uri.replace("s3://", "S3A://"),
        lambda uri: uri.replace(".jpg", "%2Ejpg"),
        lambda uri: uri.replace("/a.jpg", "//a.jpg"),
    ],
)
def test_an_object_that_a_frame_spells_otherwise_is_kept(world, spell):
    _, frame = world.upload("a", "a.jpg")
    with world.mine:
        world.draft.add_frames([SingleFrame(id="other", source=spell(frame.source))])
    deleted = world.delete("a")
    assert (deleted.deleted, deleted.kept) == ([], [frame.source])
    assert world.place.read(frame.source)
