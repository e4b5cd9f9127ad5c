"""Random histories of one dataset, played through the public API, and ids that are hard on a fold."""

from __future__ import annotations

import struct
import warnings

from hypothesis import strategies as st

from framelode import DatasetVersion, SingleFrame

MASK = (1 << 64) - 1
GOLDEN_RATIO, MULTIPLIER = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


def key_with_mix(mixed: int, lo: int) -> bytes:
    """Return the key with lower half `lo` that has a given 64-bit mix: every step of the mix can be undone."""
    undo = pow(MULTIPLIER, -1, 1 << 64)
    x = mixed ^ (mixed >> 32)
    for _ in range(2):
        x = x * undo & MASK
        x ^= x >> 32
    return struct.pack(">QQ", x ^ (lo * GOLDEN_RATIO & MASK), lo)


COLLIDING = [key_with_mix(mixed, lo).hex() for mixed in (0, 1 << 63, MASK) for lo in (0, 1, MASK)]
COLLIDING += [key_with_mix(mixed, 0).hex() for mixed in (1, 0xFFFF, (1 << 63) + 1)]
"""Ids of 32 hex digits; three share each mix, others its upper 48 bits."""

IDS = [
    *COLLIDING,
    *(f"{number:032x}" for number in range(1, 5)),
    "pizza",
    "Ä\U0001f355",
    "AB" * 16,
    "0" * 31,
    " " + "0" * 32,
]

ids = st.sampled_from(IDS)
labels = st.lists(st.sampled_from(["cat", "dog", "é"]), max_size=3)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
)
metadata = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.one_of(values, st.dictionaries(st.sampled_from(["x", "y"]), values, max_size=2)),
    max_size=3,
)


@st.composite
def frames(draw, frame_ids=ids):
    """Make a frame with an id and few enough contents that equal ones come up."""
    frame = SingleFrame(
        id=draw(frame_ids),
        source=draw(st.sampled_from([None, "s3://b/1.jpg", "s3://b/2.png"])),
        width=draw(st.sampled_from([None, 1, 2])),
        size=draw(st.sampled_from([None, 10])),
        metadata=draw(metadata),
        context_id=draw(st.sampled_from([None, "s3://b/1.jpg", "video"])),
    )
    for label in draw(labels):
        frame.add_annotation(box2d_xywh=(1, 2, 3, draw(st.integers(0, 3))), labels=[label, label])
    return frame


frame_lists = st.lists(frames(), max_size=6)
id_lists = st.lists(ids, max_size=6)
without_fields = st.lists(st.sampled_from(["sources", "rois", "meta", "context_id"]), max_size=2)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), frame_lists),
        st.tuples(st.just("add"), frame_lists),
        st.tuples(st.just("merge"), frame_lists, without_fields),
        st.tuples(st.just("delete"), id_lists),
        st.tuples(st.just("commit")),
        st.tuples(st.just("metadata"), metadata),
        st.tuples(st.just("snapshot")),
        st.tuples(st.just("branch")),
    ),
    max_size=12,
)


def play(engine, history, batch_size=2):
    """Play a history and return the ids of all versions."""
    with engine, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        versions = [draft.version_id]
        root = None
        for step, *arguments in history:
            match step:
                case "add":
                    draft.add_frames(*arguments, batch_size=batch_size, refresh_version_stats=False)
                case "merge":
                    draft.update_frames(
                        arguments[0],
                        without_fields=arguments[1],
                        batch_size=batch_size,
                        refresh_version_stats=False,
                    )
                case "delete":
                    draft.delete_frames(*arguments, batch_size=batch_size, refresh_version_stats=False)
                case "commit":
                    draft.commit_version()
                case "metadata":
                    draft.set_metadata(*arguments)
                case "snapshot":
                    root = draft.version_id
                    draft = DatasetVersion.create_snapshot(dataset_id=dataset.id, version_id=root)
                    versions.append(draft.version_id)
                case "branch" if root:
                    name = f"branch {len(versions)}"
                    draft = DatasetVersion.create_version(
                        name, dataset_id=dataset.id, parent_version_ids=[root]
                    )
                    versions.append(draft.version_id)
        return versions
