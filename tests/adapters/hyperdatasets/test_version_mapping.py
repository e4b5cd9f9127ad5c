"""A version read as a mapping of frame ids, and the warning that counts what was not recorded."""

from __future__ import annotations

from itertools import islice

import pytest

from framelode import DatasetVersion, NotFoundError, NotRecordedWarning, SingleFrame

IDS = ["b", "a", "7", "0" * 32]


@pytest.fixture
def version(draft):
    draft.add_frames([SingleFrame(id=each, metadata={"id": each}) for each in IDS])
    return draft


def test_ids_are_in_the_version_or_not(version):
    assert all(each in version for each in IDS)
    assert 7 in version
    assert "c" not in version
    version.delete_frames(["a"])
    assert "a" not in version


def test_frames_are_read_by_id(version):
    assert version["a"] == version.get("a") == version.get_single_frame("a")
    assert version[7].metadata == {"id": "7"}
    assert (version.get("c"), version.get("c", 5)) == (None, 5)
    with pytest.raises(KeyError, match="has no frame 'c'"):
        version["c"]
    with pytest.raises(NotFoundError):
        version[0]


def test_keys_are_the_ids_in_the_order_of_the_frames(version):
    keys = version.keys()
    assert list(keys) == [frame.id for frame in version] == IDS
    assert (len(keys), "a" in keys, "c" in keys) == (4, True, False)
    assert dict(version) == {frame.id: frame for frame in version}


@pytest.mark.parametrize("key", [slice(0, 2), None, b"a", SingleFrame(id="a"), ("a",)])
def test_what_is_no_id_is_a_type_error(version, key):
    for read in (version.__getitem__, version.__contains__, version.get):
        with pytest.raises(TypeError):
            read(key)
    assert len(list(islice(version, 2))) == 2


def test_a_version_has_no_order_to_be_reversed(version):
    with pytest.raises(TypeError):
        reversed(version)


def test_published_inherited_and_past_versions_are_mappings_too(version, engine):
    before = engine.log.head().position
    child = version.create_snapshot(publish_name="v1")
    child.delete_frames(["a"])
    assert ("a" in version, "a" in child) == (True, False)
    assert "a" in version.at(before)


def test_refused_frames_are_counted_in_a_warning(draft):
    with pytest.warns(
        NotRecordedWarning, match=r"^2 frames not recorded, the first, 'a.jpg': str is no frame"
    ) as seen:
        failures = draft.add_frames(["a.jpg", "b.jpg", SingleFrame(id="a")])
    assert (len(failures), len(draft), len(seen)) == (2, 1, 1)
    assert seen[0].filename == __file__
    with pytest.warns(NotRecordedWarning, match="^1 frame not recorded"):
        draft.add_dicts([{"idd": "a"}, {"id": "b"}])
    assert len(draft) == 2


def test_metadata_that_a_published_version_does_not_take_is_warned_of(draft):
    draft.publish_version()
    for change in (lambda: draft.set_metadata({"a": 1}), lambda: draft.set_masks_labels({(0,): ["a"]})):
        with pytest.warns(NotRecordedWarning, match="metadata was not changed: .* is published"):
            assert change() is False


def test_what_is_recorded_is_not_warned_of(draft):
    assert draft.add_frames([SingleFrame(id="a")]) == []
    assert draft.set_metadata({"a": 1}) is True
    assert DatasetVersion.get_current(dataset_name="food").get_metadata() == {"a": 1}
