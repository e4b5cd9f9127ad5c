"""Views and versions as datasets of torch: samples, batches, workers, shuffling, seeds."""

import pickle
import sys

import numpy as np
import pytest
from forked import FORKED
from PIL import Image
from torch_worker import id_and_red, only_id

import framelode
from framelode import (
    DatasetVersion,
    DataView,
    InvalidValueError,
    NotFoundError,
    Sample,
    SingleFrame,
    UsageError,
)
from framelode.adapters.hyperdatasets import reading

SIZE = (8, 6)


def DataLoader(*arguments, **options):
    """Make a loader. torch takes long to import: only the process that runs these tests does it."""
    from torch.utils.data import DataLoader

    return DataLoader(*arguments, **options)


@pytest.fixture
def draft(tmp_path):
    """Twelve frames whose pictures are in blobs; the red of each is its number."""
    with framelode.connect(tmp_path / "engine") as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        folder = tmp_path / "pictures"
        folder.mkdir()
        frames = []
        for number in range(12):
            Image.new("RGB", SIZE, (number, 20, 30)).save(folder / f"{number}.png")
            mask = Image.new("RGB", SIZE)
            mask.paste((255, 0, 0), (0, 0, 3, 2))
            mask.save(folder / f"m{number}.png")
            frame = SingleFrame(
                id=f"f{number:02}", source=folder / f"{number}.png", mask_source=folder / f"m{number}.png"
            )
            frame.add_annotation(box2d_xywh=(1, 2, 3, 2), labels=["car" if number % 2 else "bus"])
            frame.add_annotation(poly2d_xy=[(0, 0), (4, 0), (4, 3)], labels=["odd"])
            frame.add_annotation(mask_rgb=(255, 0, 0), labels=["car"])
            frame.add_annotation(frame_class=["day"])
            frames.append(frame)
        draft.add_frames(frames, auto_upload_destination="blobs:", local_dataset_root_path=folder)
        yield draft
    engine.close()


@pytest.fixture
def view(draft):
    view = DataView()
    view.add_query(version_id=draft.version_id)
    view.set_labels({"car": 1, "bus": 2})
    return view


def names(dataset):
    return [sample.id for sample in dataset]


def test_a_sample_has_what_training_needs(view):
    import torch

    sample = view.to_torch()[3]
    assert isinstance(sample, Sample)
    assert sample.image.shape == (6, 8, 3)
    assert sample.image.dtype == np.uint8
    assert sample.image[5, 7].tolist() == [3, 20, 30]
    assert sample.content[:4] == b"\x89PNG"
    assert sample.boxes.tolist() == [[1, 2, 4, 4], [0, 0, 4, 3]]
    assert (sample.labels, sample.label_nums.tolist()) == ([["car"], ["odd"]], [1, -1])
    assert (sample.classes, sample.class_nums.tolist()) == (["day"], [-1])
    assert sample.masks["00"].shape == (6, 8, 3)
    assert (sample.label_map == 1).sum() == 6
    assert sample.label_map[0].tolist() == [1, 1, 1, -1, -1, -1, -1, -1]
    target = sample.target()
    assert (target["boxes"].dtype, target["labels"].dtype) == (torch.float32, torch.int64)
    assert target["labels"].tolist() == [1, -1]
    loaded = pickle.loads(pickle.dumps(sample))
    assert "image" in vars(loaded)
    assert (loaded.image == sample.image).all()
    assert loaded.frame.annotations[0].label_num == 1


def test_samples_of_groups_and_odd_frames(draft, tmp_path):
    picture = tmp_path / "pictures" / "5.png"
    (tmp_path / "text.txt").write_text("no picture")
    group = framelode.FrameGroup(id="g", left=SingleFrame(source=picture), right=SingleFrame(source=picture))
    draft.add_frames([group, SingleFrame(id="text", source=tmp_path / "text.txt"), SingleFrame(id="void")])
    samples = {sample.id: sample for sample in draft.to_torch()}
    assert list(samples["g"]) == ["left", "right"]
    assert samples["g"]["right"].image[0, 0, 0] == 5
    with pytest.raises(UsageError, match="is a group: take the sample of one of its frames, such as 'left'"):
        _ = samples["g"].image
    with pytest.raises(NotFoundError, match="has no frame 'up'"):
        samples["g"]["up"]
    with pytest.raises(UsageError, match="is no group"):
        samples["f00"]["left"]
    with pytest.raises(InvalidValueError, match="frame 'text': the source"):
        _ = samples["text"].image
    with pytest.raises(NotFoundError, match="has no source"):
        _ = samples["void"].content
    with pytest.raises(NotFoundError, match="has no mask"):
        _ = samples["void"].label_map
    assert samples["void"].boxes.shape == (0, 4)


def test_indices_and_batches(draft, view):
    dataset = view.to_torch(only_id)
    assert len(dataset) == 12
    assert (dataset[0], dataset[-1], dataset[np.int64(4)]) == ("f00", "f11", "f04")
    assert dataset.__getitems__([7, 0, 7, 3]) == ["f07", "f00", "f07", "f03"]
    for wrong in (12, -13):
        with pytest.raises(IndexError):
            dataset[wrong]
    # What ends with an IndexError can be iterated over.
    assert list(dataset) == [f"f{n:02}" for n in range(12)]
    assert list(DataLoader(dataset, batch_size=5, collate_fn=list))[2] == ["f10", "f11"]
    assert [[each.id for each in batch] for batch in DataLoader(view.to_torch(), batch_size=6)] == [
        [f"f{n:02}" for n in some] for some in (range(6), range(6, 12))
    ]


def test_a_batch_opens_each_block_once(draft, view, monkeypatch):
    opened = []
    read = reading.record_blocks

    def counted(log, state, positions):
        opened.append(len(positions))
        return read(log, state, positions)

    dataset = view.to_torch(only_id)
    monkeypatch.setattr(reading, "record_blocks", counted)
    assert dataset.__getitems__([5, 1, 9, 5]) == ["f05", "f01", "f09", "f05"]
    assert opened == [3, 1]
    opened.clear()
    list(DataLoader(dataset, batch_size=12, shuffle=True, collate_fn=list))
    assert opened == [12]


def test_samplers_of_torch_shuffle(view):
    import torch

    def epoch(seed):
        generator = torch.Generator().manual_seed(seed)
        loader = DataLoader(
            view.to_torch(only_id), batch_size=4, shuffle=True, generator=generator, collate_fn=list
        )
        return [name for batch in loader for name in batch]

    assert sorted(epoch(1)) == sorted(epoch(2)) == [f"f{n:02}" for n in range(12)]
    assert epoch(1) == epoch(1) != epoch(2)


def test_the_view_decides_what_is_in_a_dataset(draft, view):
    view.set_iteration_parameters("random", limit=5, random_seed=3)
    expected = [frame.id for frame in view]
    assert list(view.to_torch(only_id)) == list(view.to_torch(only_id, iterable=True)) == expected
    stream = view.to_torch(only_id, iterable=True)
    assert len(stream) == 5
    stream.set_epoch(1)
    assert list(stream) != expected
    assert list(stream) == list(stream)
    parts = [list(view.to_torch(only_id, iterable=True, rank=rank, world_size=3)) for rank in range(3)]
    assert list(map(len, parts)) == [2, 2, 1]
    assert sorted(name for part in parts for name in part) == sorted(expected)
    with pytest.raises(ValueError, match="rank must be below world_size, which is 3, not 3"):
        view.to_torch(only_id, iterable=True, rank=3, world_size=3)
    for shared in (view, draft):
        with pytest.raises(framelode.UsageError, match="pass iterable=True"):
            shared.to_torch(only_id, rank=1, world_size=3)
    view.set_iteration_parameters(infinite=True, limit=None)
    with pytest.raises(ValueError, match="without a limit"):
        view.to_torch()
    endless = view.to_torch(only_id, iterable=True)
    with pytest.raises(TypeError, match="no length"):
        len(endless)
    first = next(iter(DataLoader(endless, batch_size=30, collate_fn=list)))
    assert len(first) == 30
    view.add_query(version_id=draft.version_id, frame_query="id:f00", weight=11)
    view.set_iteration_parameters(infinite=False)
    assert len(view.to_torch()) == len(view) == 144
    assert list(view.to_torch(only_id)).count("f00") == 133


def test_versions_and_moments(draft):
    version = draft.to_torch(only_id)
    position = draft._session.log.head().position
    draft.delete_frames(["f00"])
    assert list(version) == [f"f{n:02}" for n in range(12)]
    assert list(draft.to_torch(only_id, iterable=True)) == [f"f{n:02}" for n in range(1, 12)]
    assert len(draft.to_torch(as_of=position)) == len(draft.at(position).to_torch()) == 12
    with pytest.raises(TypeError, match="transform must be a function"):
        draft.to_torch("x")


@pytest.mark.parametrize(
    ("context", "iterable", "workers"),
    [
        ("fork", True, 2),
        ("fork", False, 2),
        # Spawned ones are given the same, and load everything anew.
        pytest.param(FORKED, True, 1, id="forkserver-True-1"),
        pytest.param("spawn", True, 2, marks=pytest.mark.long),
        pytest.param("spawn", False, 2, marks=pytest.mark.long),
    ],
)
def test_workers_read_each_frame_once(draft, view, context, iterable, workers):
    dataset = view.to_torch(id_and_red, iterable=iterable)
    # Later changes are not seen, by workers neither.
    draft.delete_frames(["f03"])
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=workers,
        multiprocessing_context=context,
        collate_fn=list,
        **({} if iterable else {"shuffle": True}),
    )
    read = [item for batch in loader for item in batch]
    assert sorted(read) == [(f"f{n:02}", n, [2 - n % 2, -1]) for n in range(12)]


def test_without_torch_the_message_names_the_extra(view, monkeypatch):
    monkeypatch.delitem(sys.modules, "framelode.adapters.hyperdatasets.views.training")
    monkeypatch.setitem(sys.modules, "torch.utils.data", None)
    with pytest.raises(UsageError, match=r"pip install 'framelode\[torch\]'"):
        view.to_torch()


def test_an_engine_in_memory_cannot_be_sent_to_workers():
    with framelode.connect("sqlite://") as engine:
        DatasetVersion.create_new_dataset("food")
        draft = DatasetVersion.get_current(dataset_name="food")
        draft.add_frames([SingleFrame(id="a")])
        with pytest.raises(UsageError, match="in memory cannot be pickled"):
            pickle.dumps(draft.to_torch())
    engine.close()
