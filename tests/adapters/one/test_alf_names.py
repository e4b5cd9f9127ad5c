"""Names of sessions and datasets: parsing, making and describing them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID, uuid5

import pytest

from framelode.adapters.one.alf import files, spec
from framelode.adapters.one.alf.exceptions import (
    ALFError,
    ALFMultipleCollectionsFound,
    ALFObjectNotFound,
    AttributeConflictError,
)
from framelode.engine.errors import FramelodeError, NotFoundError

ID = "0f4c4f2c-9e0c-4c37-a1b8-6f2f4d8f9c11"
SESSION = "lab/Subjects/mouse-1/2021-02-05/001"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("spikes.times.npy", (None, "spikes", "times", None, None, "npy")),
        ("_ibl_trials.goCue_times_bpod.csv", ("ibl", "trials", "goCue_times", "bpod", None, "csv")),
        ("_ns_obj.attr_clock.raw.v12.ext", ("ns", "obj", "attr", "clock", "raw.v12", "ext")),
        (
            "_spikeglx_ephysData_g0_t0.imec0.lf.bin",
            ("spikeglx", "ephysData_g0_t0", "imec0", None, "lf", "bin"),
        ),
        ("channels._phy_ids.csv", (None, "channels", "_phy_ids", None, None, "csv")),
    ],
)
def test_parts_of_file_names(name, parts):
    assert files.filename_parts(name) == parts
    assert files.rel_path_parts(f"alf/probe00/#2021-01-01#/{name}") == ("alf/probe00", "2021-01-01", *parts)
    assert files.full_path_parts(f"/data/{SESSION}/{name}") == (
        *("lab", "mouse-1", "2021-02-05", "001", None, None),
        *parts,
    )


def test_invalid_names_are_refused_or_have_no_parts():
    for function in (
        files.filename_parts,
        files.rel_path_parts,
        files.session_path_parts,
        files.folder_parts,
    ):
        with pytest.raises(ValueError, match="'spike_train' does not follow"):
            function("spike_train")
        assert not any(function("spike_train", assert_valid=False))
    assert files.session_path_parts("a/2021-02-05/x", as_dict=True, assert_valid=False)["subject"] is None


def test_session_paths():
    assert files.get_session_path(f"/data/{SESSION}/alf/spikes.times.npy") == Path(f"/data/{SESSION}")
    windows = PureWindowsPath(r"D:\data\mouse\2021-02-05\1\alf")
    assert files.get_session_path(windows) == PureWindowsPath(r"D:\data\mouse\2021-02-05\1")
    assert files.get_session_path("/data/2021-13-05/001") is None
    assert spec.is_session_path(f"/data/{SESSION}/")
    assert not spec.is_session_path(f"/data/{SESSION}/alf")
    assert files.get_alf_path(f"https://host/public/{SESSION}/alf/a.b.npy") == f"{SESSION}/alf/a.b.npy"
    assert files.get_alf_path("/alf/a.b.npy") == "alf/a.b.npy"
    assert files.get_alf_path("nothing") is None
    assert files.folder_parts(f"{SESSION}/alf/#r1#") == ("lab", "mouse-1", "2021-02-05", "001", "alf", "r1")


def test_changes_of_paths():
    with_id = PurePosixPath(f"a/b.c.{ID}.npy")
    assert files.add_uuid_string(PurePosixPath("a/b.c.npy"), UUID(ID)) == with_id
    assert files.add_uuid_string(with_id, ID) == with_id
    assert files.remove_uuid_string(with_id) == PurePosixPath("a/b.c.npy")
    assert files.padded_sequence(PurePosixPath("m/2021-02-05/1/a.b.npy")) == PurePosixPath(
        "m/2021-02-05/001/a.b.npy"
    )
    assert files.without_revision(f"/{SESSION}/alf/#r#/a.b.npy") == Path(f"/{SESSION}/alf/a.b.npy")
    with pytest.raises(ValueError, match="not a valid UUID"):
        files.add_uuid_string("a.b.npy", "no")
    for function in (files.padded_sequence, files.without_revision):
        with pytest.raises(ValueError, match="Invalid ALF"):
            function("a/b.c.npy")


def test_names_are_made_from_parts():
    assert spec.to_alf("wheel", "timestamps", ".npy", "ibl", ("ephys clock", "minutes"), ("raw", "v12")) == (
        "_ibl_wheel.timestamps_ephysClock_minutes.raw.v12.npy"
    )
    assert spec.to_alf("obj", "foo_bar_intervals", "npy") == "obj.fooBar_intervals.npy"
    with pytest.raises(TypeError, match="extension is empty"):
        spec.to_alf("spikes", "times", "")
    for wrong in ({"object": "a.b"}, {"object": "_a"}, {"namespace": "_n_"}, {"attribute": "a/b"}):
        with pytest.raises(ValueError, match="must"):
            spec.to_alf(**{"object": "a", "attribute": "b", "extension": "npy"} | wrong)


def test_readable_names():
    assert spec.readableALF("someROIDataset") == "some ROI dataset"
    assert spec.readableALF("fooBAR", capitalize=True) == "Foo BAR"


def test_patterns():
    assert spec.regex(spec.COLLECTION_SPEC, collection=r"probe\d{2}").pattern == (
        r"((?P<collection>probe\d{2})/)?(#(?P<revision>[\w.-]+)#/)?"
    )
    with pytest.raises(KeyError, match="unknown part 'foo'"):
        spec.regex(foo="x")
    assert all(part in spec.path_pattern() for part in spec.regex().groupindex)


def test_describe(capsys):
    spec.describe("revision", width=40)
    shown = capsys.readouterr().out
    assert "REVISION\n" in shown
    assert "COLLECTION" not in shown
    spec.describe()
    assert "COLLECTION" in capsys.readouterr().out
    with pytest.raises(ValueError, match="unknown part 'size'"):
        spec.describe("size")


def test_qc():
    for given in (spec.QC.FAIL, 40, "40", "FAIL", "fail"):
        assert spec.QC.validate(given) is spec.QC.FAIL
    with pytest.raises(ValueError, match=r"'NOPE' is not a QC value: use one of NOT_SET \(0\), PASS \(10\)"):
        spec.QC.validate("NOPE")


def test_uuids():
    assert spec.is_uuid_string(ID)
    assert not spec.is_uuid_string(ID.replace("-", ""))
    assert spec.is_uuid(UUID(ID).bytes)
    assert spec.is_uuid(UUID(ID).int)
    assert not spec.is_uuid(54323)
    assert not spec.is_uuid(uuid5(UUID(ID), "x"))
    assert not spec.is_uuid(None)


def test_errors_belong_to_both_trees():
    assert str(ALFError()) == ""
    assert str(ALFMultipleCollectionsFound("a", "b")).startswith('"a", "b" are collections')
    assert str(ALFMultipleCollectionsFound("a", "b", terse=True)) == '"a", "b" '
    assert str(ALFError("a whole sentence")) == "a whole sentence"
    assert issubclass(ALFObjectNotFound, (ALFError, NotFoundError, KeyError))
    assert issubclass(AttributeConflictError, AssertionError)
    assert issubclass(ALFError, FramelodeError)
