"""Imports of buckets and processings, their jobs, and processes that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import lake_files
import pytest
from forked import Program
from patience import PATIENCE

import framelode
from framelode.adapters.datalake import Client, CloudObject, CloudProjectionObject, JobRunStatus
from framelode.adapters.datalake import exceptions as errors
from framelode.adapters.datalake.data import wait_until

LONG = {"blocking_time_increment": 0.05, "attempts": 20 * PATIENCE}


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as opened:
        yield opened
        lake_files.require_whole(opened)
        opened.close()


@pytest.fixture
def lake(engine):
    return Client().get_datalake()


@contextmanager
def worker(command, *arguments, program=Program):
    """Run a command of `lake_worker` in a process of its own."""
    process = program("lake_worker", command, *arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def subprogram(module, *arguments):
    """Start a module of the folder of the tests as a program that may have children."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    folder = Path(lake_files.__file__).parent
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)


def ended(process):
    """Kill a process, and wait until it has ended."""
    process.send_signal(signal.SIGKILL)
    while process.poll() is None:
        time.sleep(0.01)


class TestImport:
    @pytest.fixture
    def bucket(self, lake, tmp_path):
        folder = tmp_path / "bucket"
        lake_files.pictures(folder / "a", 40)
        for name in "xyz":
            (folder / f"{name}.txt").write_text("no picture")
        lake.connect_bucket(str(folder))
        return folder

    def test_only_what_is_new_is_registered_and_nothing_copied(self, engine, lake, bucket):
        job = lake.import_bucket_objects([""], tags=["b"], source="bucket")
        assert job.wait_for_done(**LONG) == JobRunStatus.SUCCEEDED
        result = job.result
        assert (result["found"], result["registered"], result["known"], result["left_out"]) == (43, 40, 0, 3)
        assert result["reasons"].keys() == {"x.txt", "y.txt", "z.txt"}
        assert not list(engine.blobs.entries())
        data = lake.list_data(tags="b", limit=1)[0]
        assert (data.object_name, data.filename, data.width) == ("a/00000.png", "00000.png", 16)
        assert data.url == f"file://{bucket}/a/00000.png"
        assert data.get_datasource().name == "bucket"
        for number in range(40, 45):
            lake_files.picture(bucket / "a" / f"{number:05}.png", number)
        again = lake.import_bucket_objects(["a/", "a/0004"])
        again.wait_for_done(**LONG)
        assert (again.result["registered"], again.result["known"]) == (5, 40)
        assert len(lake.list_data()) == 45

    def test_contents_are_read_from_the_bucket(self, lake, bucket, tmp_path):
        lake.import_bucket_objects(["a/0000"]).wait_for_done(**LONG)
        data = lake.find_data(object_name="a/00003.png")
        assert data.download(tmp_path / "out").read_bytes() == (bucket / "a/00003.png").read_bytes()
        (frame,) = data.to_frames()
        assert frame.source == str(bucket / "a/00003.png")
        (bucket / "a/00003.png").unlink()
        with pytest.raises(errors.DownloadError):
            data.download(tmp_path / "other")

    def test_named_objects(self, lake, bucket):
        objects = {
            "a/00001.png": CloudObject(tags=["one"], custom_metadata={"n": 1}),
            "a/none.png": {"tags": ["none"]},
        }
        job = lake.import_cloud_objects(objects)
        job.wait_for_done(**LONG)
        assert (job.result["registered"], list(job.result["reasons"])) == (1, ["a/none.png"])
        assert lake.list_data(tags="one")[0].custom_metadata == {"n": 1}
        with pytest.raises(ValueError):
            lake.import_cloud_objects({})

    def test_derived_objects(self, engine, lake, bucket, tmp_path):
        lake.import_bucket_objects(["a/0000"]).wait_for_done(**LONG)
        objects = {
            "a/00001.png": [CloudProjectionObject(name="mask", object_name="x.txt")],
            "a/00002.png": [
                {"name": "depth", "object_name": "a/00030.png"},
                {"name": "view", "object_name": "none.png"},
            ],
            "a/none.png": [{"name": "mask", "object_name": "y.txt"}],
        }
        job = lake.import_cloud_projections(objects)
        assert job.wait_for_done(**LONG) == "SUCCEEDED"
        assert (job.result["found"], job.result["registered"], job.result["known"]) == (4, 2, 0)
        assert set(job.result["reasons"]) == {"none.png", "a/none.png"}
        (mask,) = lake.find_data(object_name="a/00001.png").list_projections()
        assert (mask.name, mask.url) == ("mask", f"file://{bucket}/x.txt")
        assert mask.download(tmp_path / "out").read_text() == "no picture"
        assert not list(engine.blobs.entries())
        assert engine.referenced_blobs() == set()
        again = lake.import_cloud_projections(objects)
        again.wait_for_done(**LONG)
        assert (again.result["registered"], again.result["known"]) == (0, 2)
        mask.delete()
        assert lake.find_data(object_name="a/00001.png").list_projections() == []
        for wrong, error in (({}, ValueError), ({"a": [{"name": "x"}]}, TypeError), ({"a": [3]}, TypeError)):
            with pytest.raises(error):
                lake.import_cloud_projections(wrong)

    def test_a_lake_without_a_bucket(self, lake):
        with pytest.raises(errors.NoConnectorFound, match="connect_bucket"):
            lake.import_bucket_objects([""])

    def test_a_bucket_that_cannot_be_opened_fails_the_job(self, lake):
        lake.connect_bucket("unknown://bucket")
        job = lake.import_bucket_objects([""])
        assert job.wait_for_done(**LONG) == "FAILED"
        assert "cannot be opened" in job.error

    def test_secrets_are_refused(self, lake):
        with pytest.raises(framelode.InvalidValueError, match="password"):
            lake.connect_bucket("s3://key:secret@bucket/x")


class TestProcessing:
    @pytest.fixture
    def data(self, lake, tmp_path):
        return lake.upload_data(lake_files.pictures(tmp_path / "in", 4))

    def test_a_function_runs_in_worker_processes(self, engine, lake, data):
        client = Client()
        processing = client.register_processing(
            lake_files.tag_it, "tagging", default_parameters={"name": "x"}
        )
        with framelode.acting("ada"):
            job = lake.launch_processing(processing, [*data, data[0]], {"name": "done"})
        assert job.wait_for_done(**LONG) == JobRunStatus.SUCCEEDED
        assert len(lake.list_data(tags="done")) == 4
        assert (job.done, job.total, job.result) == (4, 4, {"data": 4, "failed": 0})
        assert sorted(job.log) == [f"{number:05}.png: 16" for number in range(4)]
        assert {change.actor for change in engine.history(kinds="attached")} == {"ada"}
        assert client.get_job_by_id(job.id) == job == client.list_jobs()[0]

    def test_a_failure_does_not_stop_the_others(self, lake, data):
        processing = Client().register_processing(lake_files.fail_at, "failing")
        job = lake.launch_processing(processing, data)
        assert job.wait_for_done(**LONG) == JobRunStatus.FAILED
        assert job.error == (
            "1 of 4 data failed; the first: 00001.png: ValueError: this one cannot be processed"
        )
        assert (job.done, job.result["failed"]) == (4, 1)

    def test_a_command(self, lake, data):
        script = "import sys; from pathlib import Path; print(Path(sys.argv[1]).stat().st_size, sys.argv[2])"
        processing = Client().register_processing([sys.executable, "-c", script, "{path}", "{word}"], "sizes")
        job = lake.launch_processing(processing, data[:1], {"word": "hi"})
        job.wait_for_done(**LONG)
        assert job.log == [f"00000.png: {data[0].size} hi"]
        broken = Client().register_processing([sys.executable, "-c", "import sys; sys.exit('no')"], "broken")
        job = lake.launch_processing(broken, data[:1])
        job.wait_for_done(**LONG)
        assert "exit status 1: no" in job.error

    def test_on_a_dask_cluster_with_resources(self, lake, data):
        pytest.importorskip("distributed")
        from dask_cluster import unlike_workers
        from distributed import Client as Dask

        with (
            unlike_workers({"CPU": 2, "GPU": 1}) as cluster,
            Dask(cluster, set_as_default=False) as dask,
        ):
            dask.wait_for_workers(2)
            client = Client(executor=dask.get_executor())
            on_dask = client.get_datalake()
            job = on_dask.launch_processing(client.register_processing(lake_files.tag_it, "tagging"), data)
            assert job.wait_for_done(**LONG) == JobRunStatus.SUCCEEDED, job.error
            where = client.register_processing(lake_files.name_of_worker, "where")
            job = on_dask.launch_processing(where, data, cpu=1, gpu=1)
            assert job.wait_for_done(**LONG) == JobRunStatus.SUCCEEDED, job.error
            assert job.log == [f"{each.filename}: 0" for each in data]
            job = on_dask.launch_processing(where, data, gpu=2)
            assert job.wait_for_done(**LONG) == JobRunStatus.FAILED
            assert "no worker of the Dask cluster declares GPU=2" in job.error
        assert len(lake.list_data(tags="processed")) == 4

    def test_in_threads_the_engine_stays_open(self, lake, data):
        with ThreadPoolExecutor(2) as pool:
            client = Client(executor=pool)
            processing = client.register_processing(lake_files.tag_it, "tagging")
            job = client.get_datalake().launch_processing(processing, data)
            assert job.wait_for_done(**LONG) == JobRunStatus.SUCCEEDED
        assert len(lake.list_data(tags="processed")) == 4

    def test_inputs_are_checked(self, lake, data):
        processing = Client().register_processing(lake_files.tag_it, "tagging")
        made = processing.add_processing_input("name", "TEXT", True, None, None)
        processing.add_processing_input("size", "number", False, None, None)
        assert [each["name"] for each in processing.list_processing_inputs()] == ["name", "size"]
        assert (made["input_type"], made["required"]) == ("TEXT", True)
        for inputs in ({}, {"name": 3}, {"name": "x", "size": "big"}, {"name": "x", "nam": "y"}):
            with pytest.raises(errors.BadRequestError, match="input"):
                lake.launch_processing(processing, data, inputs=inputs)
        with pytest.raises(errors.ResourceConflictError):
            processing.add_processing_input("name", "TEXT", True, None, None)
        with pytest.raises(TypeError):
            processing.add_processing_input("kind", "PICTURE", True, None, None)
        assert not processing.update_processing_input("name", False, None, None)["required"]
        processing.delete_processing_input("size")
        for missing in (
            lambda: processing.delete_processing_input("size"),
            lambda: processing.update_processing_input("size", True, None, None),
        ):
            with pytest.raises(errors.ResourceNotFoundError):
                missing()
        with ThreadPoolExecutor(1) as pool:
            job = (
                Client(executor=pool).get_datalake().launch_processing(processing, data, inputs={"name": "x"})
            )
            assert job.wait_for_done(**LONG) == "SUCCEEDED"
        assert len(lake.list_data(tags="x")) == 4

    def test_a_killed_job_begins_nothing_new(self, engine, lake, data, tmp_path, monkeypatch):
        monkeypatch.setattr("framelode.adapters.datalake.job._TELL_SECONDS", 0)
        with ThreadPoolExecutor(1) as pool:
            client = Client(executor=pool)
            processing = client.register_processing(lake_files.wait_for, "wait")
            path = tmp_path / "end"
            job = client.get_datalake().launch_processing(processing, data, {"path": str(path)})
            while not path.with_name("end.begun").exists():
                time.sleep(0.01)
            Client().get_job_by_id(job.id).kill()
            assert job.wait_for_done(**LONG) == JobRunStatus.KILLED
            path.touch()
        while any(thread.name.endswith(job.id.hex[:8]) for thread in threading.enumerate()):
            time.sleep(0.01)
        end = engine.log.head().position
        assert (job.sync()["status"], job.done < len(data)) == ("KILLED", True)
        with pytest.raises(errors.IllegalJobTransitionError, match="from KILLED"):
            job.kill()
        assert engine.log.head().position == end

    def test_an_engine_in_memory_runs_it_in_a_thread(self, tmp_path):
        with framelode.connect("sqlite://", blobs=tmp_path / "blobs") as engine:
            client = Client()
            lake = client.get_datalake()
            data = lake.upload_data(lake_files.pictures(tmp_path, 2))
            job = lake.launch_processing(client.register_processing(lake_files.tag_it, "t"), data)
            assert job.wait_for_done(**LONG) == "SUCCEEDED"
            assert len(lake.list_data(tags="processed")) == 2
            lake_files.require_whole(engine)
            engine.close()

    def test_registered_things(self, lake, data):
        client = Client()
        with pytest.raises(framelode.InvalidValueError, match="at the top of a module"):
            client.register_processing(lambda data: None, "local")
        made = client.create_processing("p", "DATALAKE", 1, 0, {"a": 1}, "image", "1")
        made.update(docker_tag="2", default_cpu=3)
        assert (made.docker, made.definition["default_cpu"]) == ("image:2", 3)
        with pytest.raises(errors.ResourceConflictError):
            client.create_processing("p", "DATALAKE", 1, 0, {}, "image", "1")
        with pytest.raises(framelode.UsageError, match="register_processing"):
            lake.launch_processing(made, data)
        assert client.list_processings() == [made]
        made.delete()
        with pytest.raises(errors.ResourceNotFoundError):
            client.get_processing("p")

    def test_waiting_asks_often_at_first_and_lasts_as_long_as_told(self, monkeypatch):
        slept = []
        monkeypatch.setattr("framelode.adapters.datalake.data.time.sleep", slept.append)
        wait_until(lambda: len(slept) == 2, 1.0, 20, "it")
        assert sum(slept) < 0.1
        slept.clear()
        with pytest.raises(errors.WaitingAttemptsTimeout, match=r"it is not done after 3 times 0\.5 s"):
            wait_until(lambda: False, 0.5, 3, "it")
        assert sum(slept) == 1.5

    def test_waiting_ends(self, lake, data, tmp_path):
        processing = Client().register_processing(lake_files.wait_for, "wait")
        job = lake.launch_processing(processing, data[:1], {"path": str(tmp_path / "end")})
        try:
            with pytest.raises(errors.WaitingAttemptsTimeout):
                job.wait_for_done(0.01, 2)
            with pytest.raises(TypeError):
                job.wait_for_status("LATER")
            assert job.wait_for_status(["RUNNING"], **LONG) == "RUNNING"
            job.send_logging(["one", "two"], "part")
            job.start_logging_chapter("more")
        finally:
            (tmp_path / "end").touch()
        job.wait_for_done(**LONG)
        assert job.log[:3] == ["part: one", "part: two", "-- more --"]
        with pytest.raises(errors.IllegalJobTransitionError):
            job.update_job_run_with_status("RUNNING")


class TestKilled:
    def test_an_upload_is_finished_by_a_second_call(self, engine, lake, tmp_path, monkeypatch):
        paths = lake_files.pictures(tmp_path / "in", 90)
        with worker("upload_half", tmp_path / "engine", tmp_path / "in") as process:
            assert process.stdout.readline() == "half\n"
            ended(process)
        assert len(lake.list_data()) == 40
        assert engine.verify(blobs=True).problems == []
        monkeypatch.setattr("framelode.adapters.datalake.upload.PART", 20)
        data = lake.upload_data(sorted((tmp_path / "in").iterdir()), tags=["a"])
        assert [each.filename for each in data] == [path.name for path in paths]
        assert len(lake.list_data(tags="a")) == 90

    def test_two_processes_upload_the_same_at_once(self, engine, lake, tmp_path):
        lake_files.pictures(tmp_path / "in", 200)
        with (
            worker("upload", tmp_path / "engine", tmp_path / "in") as one,
            worker("upload", tmp_path / "engine", tmp_path / "in") as other,
        ):
            for process in (one, other):
                assert process.stdout.readline() == "ready\n"
            for process in (one, other):
                process.stdin.write("\n")
                process.stdin.flush()
            for process in (one, other):
                assert process.stdout.readline() == "200\n"
        assert len(lake.list_data()) == 400
        assert len({data.digest for data in lake.list_data()}) == 200
        assert [tag.name for tag in lake.list_data_tags()] == ["a"]

    def test_a_job_is_failed_with_the_reason(self, engine, lake, tmp_path):
        lake.upload_data(lake_files.pictures(tmp_path / "in", 3))
        with worker("process", tmp_path / "engine", tmp_path, program=subprogram) as process:
            job = Client().get_job_by_id(process.stdout.readline().strip())
            assert job.sync()["status"] == "RUNNING"
            ended(process)
        assert job.wait_for_done(**LONG) == "FAILED"
        assert job.error == "the process that ran the job has ended"
        (tmp_path / "end").touch()
        again = lake.launch_processing(
            Client().get_processing("wait"), lake.list_data(), {"path": str(tmp_path / "end")}
        )
        assert again.wait_for_done(**LONG) == "SUCCEEDED"
