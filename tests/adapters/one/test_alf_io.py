"""Files and objects: loading, saving and finding them."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pandas as pd
import pytest

from framelode.adapters.one.alf import io as alfio
from framelode.adapters.one.alf.exceptions import ALFMultipleObjectsFound, ALFObjectNotFound
from framelode.engine.errors import InvalidValueError


@pytest.fixture
def wheel(tmp_path):
    for name, rows in {"position": 5, "velocity": 5}.items():
        np.save(tmp_path / f"_ibl_wheel.{name}.npy", np.arange(rows, dtype=float))
    np.save(tmp_path / "_ibl_wheel.timestamps.npy", np.array([[0.0, 10.0], [5.0, 20.0]]))
    return tmp_path


class TestContents:
    def test_by_extension(self, tmp_path):
        texts = {
            "a.b.csv": "x,y\n1,2\n",
            "a.b.ssv": "x y\n1 2\n",
            "a.b.tsv": "x\ty\n1\t2\n",
            "a.b.htsv": "x\ty\n1\t2\n",
        }
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
            assert alfio.load_file_content(tmp_path / name).to_dict("list") == {"x": [1], "y": [2]}
        (tmp_path / "a.one.csv").write_text("x\n1\n2\n")
        assert isinstance(alfio.load_file_content(tmp_path / "a.one.csv"), pd.Series)
        (tmp_path / "a.b.jsonable").write_text('{"t": 1}\n{"t": 2}\n')
        assert alfio.load_file_content(tmp_path / "a.b.jsonable") == [{"t": 1}, {"t": 2}]
        (tmp_path / "a.b.yaml").write_text("t: [1, 2]\n")
        assert alfio.load_file_content(tmp_path / "a.b.yaml") == {"t": [1, 2]}
        pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "a.b.pqt")
        assert list(alfio.load_file_content(tmp_path / "a.b.pqt")["x"]) == [1]
        (tmp_path / "a.b.bin").write_bytes(b"\0")
        assert alfio.load_file_content(tmp_path / "a.b.bin") == tmp_path / "a.b.bin"
        (tmp_path / "a.empty.npy").touch()
        assert alfio.load_file_content(tmp_path / "a.empty.npy") is None
        assert alfio.load_file_content(None) is None

    def test_numpy(self, tmp_path):
        np.save(tmp_path / "a.column.npy", np.zeros((3, 1)))
        assert alfio.load_file_content(tmp_path / "a.column.npy").shape == (3,)
        np.savez(tmp_path / "a.one.npz", np.arange(3))
        assert alfio.load_file_content(tmp_path / "a.one.npz").tolist() == [0, 1, 2]
        np.savez(tmp_path / "a.two.npz", np.arange(3), np.arange(2))
        assert alfio.load_file_content(tmp_path / "a.two.npz")["arr_1"].tolist() == [0, 1]

    def test_what_can_run_code_needs_the_opt_in(self, tmp_path):
        np.save(tmp_path / "a.object.npy", np.array([{"x": 1}], dtype=object))
        (tmp_path / "a.b.pkl").write_bytes(pickle.dumps([1]))
        (tmp_path / "a.b.yaml").write_text("t: !!python/tuple [1, 2]\n")
        for name in ("a.object.npy", "a.b.pkl", "a.b.yaml"):
            with pytest.raises(InvalidValueError, match=f"{name} .*pass allow_pickle=True"):
                alfio.load_file_content(tmp_path / name)
            alfio.load_file_content(tmp_path / name, allow_pickle=True)

    def test_damaged_files_are_named_with_the_place(self, tmp_path):
        (tmp_path / "a.b.json").write_text('{"a": [1 2]}')
        with pytest.raises(InvalidValueError, match=r"a\.b\.json is not valid JSON at line 1, column 10"):
            alfio.load_file_content(tmp_path / "a.b.json")
        (tmp_path / "a.b.npy").write_bytes(b"\x93NUMPY")
        with pytest.raises(InvalidValueError, match=r"a\.b\.npy cannot be loaded"):
            alfio.load_file_content(tmp_path / "a.b.npy")
        (tmp_path / "a.b.yaml").write_text("a: [1")
        with pytest.raises(InvalidValueError, match=r"a\.b\.yaml is not valid YAML"):
            alfio.load_file_content(tmp_path / "a.b.yaml")


class TestObjects:
    def test_folder_file_and_list(self, wheel):
        expected = {"position", "velocity", "timestamps"}
        assert alfio.load_object(wheel, "wheel").keys() == expected
        assert alfio.load_object(wheel / "_ibl_wheel.velocity.npy").keys() == expected
        assert alfio.load_object([wheel / "_ibl_wheel.velocity.npy"]).keys() == {"velocity"}
        assert alfio.load_object(wheel, "wh*", attribute=["pos*", "vel*"]).keys() == {"position", "velocity"}
        assert alfio.load_object(wheel, "^wheel$", wildcards=False).keys() == expected
        with pytest.raises(ValueError, match="the object name should be provided"):
            alfio.load_object(wheel)
        with pytest.raises(ALFObjectNotFound, match="spikes"):
            alfio.load_object(wheel, "spikes")

    def test_two_by_two_timestamps_are_interpolated(self, wheel):
        assert alfio.load_object(wheel, "wheel").timestamps.tolist() == [10, 12, 14, 16, 18]
        assert alfio.load_object(wheel, "wheel", attribute="timestamps").timestamps.shape == (2, 2)
        times, values = alfio.read_ts(wheel / "_ibl_wheel.position.npy")
        assert (times.tolist(), values.tolist()) == ([10, 12, 14, 16, 18], [0, 1, 2, 3, 4])

    def test_two_files_of_an_attribute(self, wheel):
        (wheel / "_ibl_wheel.position.csv").write_text("x\n1\n")
        with pytest.raises(
            ALFMultipleObjectsFound, match=r"position\.csv and _ibl_wheel\.position\.npy"
        ) as caught:
            alfio.load_object(wheel, "wheel")
        assert isinstance(caught.value, AssertionError)
        assert alfio.load_object(wheel, "wheel", extension="npy").keys() == {
            "position",
            "velocity",
            "timestamps",
        }

    def test_paths_and_mismatched_rows(self, wheel, caplog):
        (wheel / "_ibl_wheel.video.mp4").write_bytes(b"\0")
        loaded = alfio.load_object(wheel, "wheel")
        assert loaded.video == wheel / "_ibl_wheel.video.mp4"
        assert loaded.timestamps.shape == (5,)
        assert not caplog.text
        np.save(wheel / "_ibl_wheel.position.npy", np.zeros(7))
        alfio.load_object(wheel, "wheel")
        assert "position: (7,)" in caplog.text

    def test_metadata_split_columns(self, tmp_path):
        file = tmp_path / "obj.attr.npy"
        np.save(file, np.arange(6).reshape(3, 2))
        alfio.save_metadata(file, {"columns": ["left", "right"], "unit": "cm"})
        loaded = alfio.load_object(tmp_path, "obj")
        assert loaded.left.tolist() == [0, 2, 4]
        assert loaded.attrmetadata == {"unit": "cm"}
        alfio.save_metadata(file, {"unit": "cm"})
        assert alfio.load_object(tmp_path, "obj").keys() == {"attr", "attrmetadata"}

    def test_tables_win(self, tmp_path):
        pd.DataFrame({"x_0": [1, 2], "x_1": [3, 4], "y": [5, 6]}).to_parquet(tmp_path / "obj.table.pqt")
        np.save(tmp_path / "obj.y.npy", np.zeros(2))
        loaded = alfio.load_object(tmp_path, "obj")
        assert loaded.x.tolist() == [[1, 3], [2, 4]]
        assert loaded.y.tolist() == [5, 6]

    def test_extra_parts_and_timescales_are_part_of_the_key(self, tmp_path):
        alfio.save_object_npy(tmp_path, {"a": np.arange(3)}, "obj", parts="one", timescale="bpod")
        alfio.save_object_npy(tmp_path, {"a": np.arange(3)}, "obj", parts="two", timescale="bpod")
        assert alfio.load_object(tmp_path, "obj").keys() == {"a_bpod.one", "a_bpod.two"}
        assert alfio.load_object(tmp_path, "obj", extra="two", short_keys=True).keys() == {"a_bpod"}
        assert alfio.exists(tmp_path, "obj", attributes=["a"])
        assert not alfio.exists(tmp_path, "obj", attributes=["a", "b"])
        with pytest.raises(ALFMultipleObjectsFound, match="leave out short_keys"):
            alfio.load_object(tmp_path, "obj", short_keys=True)

    def test_saving_refuses_different_numbers_of_rows(self, tmp_path):
        with pytest.raises(ValueError, match=r"Dimensions are not consistent:\n    a: \(3,\)"):
            alfio.save_object_npy(tmp_path, {"a": np.zeros(3), "b": np.zeros(4)}, "obj")


class TestBunch:
    def test_append(self):
        one = alfio.AlfBunch(a=np.arange(2), b=["x", "y"])
        both = one.append({"a": np.arange(1), "b": ["z"]})
        assert (both.a.tolist(), both.b, len(one.b)) == ([0, 1, 0], ["x", "y", "z"], 2)
        assert alfio.AlfBunch().append(one).b == ["x", "y"]
        with pytest.raises(NotImplementedError, match="only one has a, c"):
            one.append({"c": [1], "b": ["z"]})

    def test_data_frames(self):
        frame = alfio.AlfBunch(a=np.zeros((3, 12)), b=np.arange(3)).to_df()
        assert frame.shape == (3, 11)
        assert alfio.AlfBunch.from_df(frame).a.shape == (3, 10)
        with pytest.raises(ValueError, match="different numbers of rows"):
            alfio.dataframe({"a": np.zeros(3), "b": np.zeros(2)})


class TestFolders:
    def test_sessions_and_datasets(self, tmp_path):
        for path in (
            "lab/Subjects/a/2021-01-02/001/alf/x.y.npy",
            "lab/Subjects/a/2021-01-02/001/notes.txt.d/x.y.npy",
            "lab/Subjects/a/2021-01-02/001/readme",
            "b/2021-01-01/1/x.y.npy",
            ".hidden/a/2021-01-02/001/x.y.npy",
        ):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        sessions = [path.relative_to(tmp_path).as_posix() for path in alfio.iter_sessions(tmp_path)]
        assert sessions == ["b/2021-01-01/1", "lab/Subjects/a/2021-01-02/001"]
        assert [*alfio.iter_sessions(tmp_path, pattern="*/????-??-??/*")] == [tmp_path / "b/2021-01-01/1"]
        found = [path.as_posix() for path in alfio.iter_datasets(tmp_path / sessions[1])]
        assert found == ["alf/x.y.npy", "notes.txt.d/x.y.npy"]
        assert alfio.next_num_folder(tmp_path / "lab/Subjects/a/2021-01-02") == "002"
        (tmp_path / "day" / "7").mkdir(parents=True)
        assert alfio.next_num_folder(tmp_path / "day") == "008"
        assert json.dumps(alfio.next_num_folder(tmp_path / "none")) == '"001"'

    def test_variants(self, tmp_path):
        session = tmp_path / "a/2021-01-02/001"
        for name in ("x.y.npy", "#r1#/x.y.npy", "#r1#/_ns_x.y.npy", "alf/x.y.npy"):
            (session / name).parent.mkdir(parents=True, exist_ok=True)
            (session / name).touch()
        file = session / "x.y.npy"
        assert alfio.find_variants([file]) == {file: [session / "#r1#/x.y.npy"]}
        assert len(alfio.find_variants([file], namespace=False)[file]) == 2

    def test_uuids_are_removed_from_names(self, tmp_path, capsys):
        name = "x.y.0f4c4f2c-9e0c-4c37-a1b8-6f2f4d8f9c11.npy"
        (tmp_path / "alf").mkdir()
        (tmp_path / "alf" / name).touch()
        alfio.remove_uuid_recursive(tmp_path, dry=True)
        assert "x.y.npy" in capsys.readouterr().out
        assert (tmp_path / "alf" / name).exists()
        alfio.remove_uuid_recursive(tmp_path)
        assert [path.name for path in (tmp_path / "alf").iterdir()] == ["x.y.npy"]
