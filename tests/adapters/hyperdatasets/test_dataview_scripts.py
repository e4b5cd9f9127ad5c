"""The shapes of public scripts with `DataView`: each runs with only its import lines changed.

The scripts are in our words; calls, arguments and their order are those of the public ones. Each leaves what it found in
`found`.
"""

import re
import textwrap

import pytest
from PIL import Image

import framelode
from framelode import DatasetVersion, FrameGroup, SingleFrame

CHANGES = (
    (r"from allegroai(?:\.\w+)* import", "from framelode import"),
    (r"from clearml(?:\.hyperdatasets)? import", "from framelode.adapters.hyperdatasets.open import"),
)
"""How the import lines change; nothing else does."""

SCRIPTS = {
    "count, list and iterate": (
        """
        from allegroai import DataView

        dataview = DataView(iteration_order='random')
        dataview.set_iteration_parameters(random_seed=123)
        dataview.add_query(dataset_name='sample', version_name='training', roi_query=['aeroplane'])
        print('count', dataview.get_count())
        frames = dataview.to_list()
        paths = [f.get_local_source() for f in frames]
        found = sorted(f.id for f in dataview), len(set(paths))
        """,
        (["f0", "f2", "f4"], 3),
    ),
    "groups and masks": (
        """
        from allegroai import DataView

        dataview = DataView(iteration_order='random')
        dataview.set_iteration_parameters(random_seed=123)
        dataview.add_query(dataset_name='masks', version_name='Current')
        first = [group["000002"].get_local_source() for group in dataview.to_list()]
        rest = []
        for frame_group in dataview:
            for key in frame_group.keys():
                rest.append((frame_group[key].get_local_source(), frame_group[key].get_local_mask_source()))
        found = len(first), all(source and mask for source, mask in rest)
        """,
        (2, True),
    ),
    "a dataset of torch over a list": (
        """
        import numpy as np
        import torch.utils.data
        from allegroai import DataView, SingleFrame
        from PIL import Image
        from torch.utils.data import DataLoader

        class ExampleDataset(torch.utils.data.Dataset):
            def __init__(self, dv):
                self.frames = dv.to_list()

            def __getitem__(self, idx):
                frame = self.frames[idx]  # type: SingleFrame
                img_path = frame.get_local_source()
                img = Image.open(img_path).convert("RGB").resize((16, 16))
                return np.array(img)

            def __len__(self):
                return len(self.frames)

        dataview = DataView()
        dataview.add_query(dataset_name='sample', version_name='Current')
        dataset = ExampleDataset(dataview)
        found = len(dataset), [tuple(data.shape) for data in DataLoader(dataset, batch_size=3)]
        """,
        (6, [(3, 16, 16, 3), (3, 16, 16, 3)]),
    ),
    "a dataset of torch with masks": (
        """
        import numpy as np
        import torch.utils.data
        from allegroai import DataView, FrameGroup
        from PIL import Image

        class ExampleDataset(torch.utils.data.Dataset):
            def __init__(self, dv):
                self.frames = dv.to_list()

            def __getitem__(self, idx):
                frame_group = self.frames[idx]  # type: FrameGroup
                img = Image.open(frame_group["000002"].get_local_source()).convert("RGB")
                mask = Image.open(frame_group["000002"].get_local_mask_source())
                return np.array(img), np.array(mask)

            def __len__(self):
                return len(self.frames)

        dataview = DataView()
        dataview.add_query(dataset_name='masks', version_name='Current')
        image, mask = ExampleDataset(dataview)[1]
        found = image.shape == mask.shape == (4, 4, 3)
        """,
        True,
    ),
    "a dataset of torch over an iterator": (
        """
        from allegroai import DataView, FrameGroup
        from torch.utils.data import DataLoader, Dataset

        class IterDataset(Dataset):
            def __init__(self, dataview):
                self._dataview = dataview
                self._count = None
                self.frames = self._dataview.get_iterator()

            def __next__(self):
                frame = next(self.frames)
                if isinstance(frame, FrameGroup):
                    frame = list(frame.values())[0]
                return frame.get_local_source()

            def __getitem__(self, item):
                return self.__next__()

            def __len__(self):
                if self._count is None:
                    self._count = self._dataview.get_count()[0]
                return self._count

        dataview = DataView('train')
        dataview.add_query(dataset_name="sample", version_name="training", roi_query="person")
        dataview.prefetch_files()
        found = [len(batch) for batch in DataLoader(IterDataset(dataview), batch_size=2)]
        """,
        [2, 1],
    ),
    "queries in a loop over versions": (
        """
        from collections import defaultdict
        from allegroai import DataView, Dataset

        dv = DataView(name='distributions')
        for name, versions in {'sample': None, 'other': ['Current']}.items():
            if versions is None:
                versions = [v.version_name for v in Dataset.get(dataset_name=name).get_versions()
                            if v.version_name != 'Current']
            for version in versions:
                dv.add_query(dataset_name=name, version_name=version, frame_query=None)
        stats = defaultdict(int)
        for frame in dv.get_iterator():
            stats[frame.metadata['city']] += 1
        found = dv.get_count()[0], dict(stats)
        """,
        (9, {"bremen": 6, "ulm": 3}),
    ),
    "mapping in a loop, one frame for each annotation": (
        """
        import copy
        from allegroai import DataView, SingleFrame

        config = {'queries': [
            {'dataset_name': 'sample', 'version_name': 'training', 'roi_query': 'aeroplane'},
            {'dataset_name': 'other', 'version_name': 'Current', 'frame_query': 'meta.city:"bremen"'},
        ]}
        dataview = DataView(auto_connect_with_task=False)
        for query in config.get('queries'):
            dataview.add_query(
                dataset_name=query.get('dataset_name'), version_name=query.get('version_name'),
                frame_query=query.get('frame_query'), roi_query=query.get('roi_query'),
            )
            for src_label, dst_label in zip(['aeroplane', 'Car'], ['plane', 'car']):
                dataview.add_mapping_rule(
                    dataset_name=query.get('dataset_name'), version_name=query.get('version_name'),
                    from_labels=[src_label], to_label=dst_label,
                )
        expanded = []
        for frame in dataview.to_list():
            for ann in [a for a in frame.annotations if a.labels[0] in ('plane', 'car')]:
                data = copy.deepcopy(frame)
                data.annotations = [ann]
                expanded.append((data.annotations[0].labels, data.annotations[0].get_bounding_box()))
        found = len(expanded), expanded[0], expanded[-1][0]
        """,
        (6, (["plane"], [1.0, 2.0, 3.0, 4.0]), ["car"]),
    ),
    "one label or another": (
        """
        from allegroai import DataView, IterationOrder

        myDataView = DataView(iteration_order=IterationOrder.random, iteration_infinite=True)
        myDataView.add_query(dataset_name='sample', version_name='training', roi_query='aeroplane')
        myDataView.add_query(dataset_name='sample', version_name='training', roi_query='person')
        try:
            myDataView.to_list()
        except ValueError:
            myDataView.set_iteration_parameters(order=IterationOrder.random, infinite=False)
        found = sorted(frame.id for frame in myDataView.to_list())
        """,
        ["f0", "f1", "f2", "f3", "f4", "f5"],
    ),
    "one annotation with both, and Lucene": (
        r"""
        from allegroai import DataView

        found = []
        for roi_query in (
            ['person', 'occluded'],
            'label.keyword:\"person\" AND NOT label.keyword:\"occluded\"',
            'label.keyword:"aeroplane" OR label.keyword:"occluded"',
            "rois.meta.conclusion.keyword:Rejected",
            "*",
        ):
            dv = DataView()
            dv.add_query(dataset_name='sample', version_name='training', roi_query=roi_query)
            found.append(len(dv.to_list()))
        """,
        [1, 2, 4, 1, 6],
    ),
    "several datasets and versions": (
        r"""
        from allegroai import DataView

        myDataView = DataView()
        labels = 'label.keyword:\"aeroplane\" OR label.keyword:\"Car\"'
        myDataView.add_query(dataset_name='sample', version_name='training', roi_query=labels)
        myDataView.add_query(dataset_name='sample', version_name='Current', roi_query=labels)
        myDataView.add_query(dataset_name='other', version_name='Current', roi_query=labels)
        found = [frame.id for frame in myDataView.get_iterator()]
        """,
        ["f0", "f2", "f4", "o0", "o1", "o2"],
    ),
    "metadata, wildcards, ranges and dates": (
        """
        from allegroai import DataView

        found = []
        for frame_query in (
            'meta.city:"bremen"', "meta.city:(ulm OR bremen)", "NOT meta.city:br*", "meta.speed:[2 TO 4}",
            "meta.day:[2024-10-20 TO 2024-10-20]", 'id: "f3"', "sources.uri:*f5.png", "+meta.city:ulm -id:f1",
        ):
            dv = DataView()
            dv.add_query(dataset_name='sample', version_name='training', frame_query=frame_query)
            found.append(dv.get_count()[0])
        """,
        [3, 6, 3, 2, 1, 1, 1, 2],
    ),
    "a number of frames at most": (
        """
        from allegroai import DataView, IterationOrder

        myDataView = DataView(iteration_order=IterationOrder.random, iteration_infinite=True)
        myDataView.set_iteration_parameters(
            order=IterationOrder.random, infinite=False, maximum_number_of_frames=4
        )
        myDataView.add_query(dataset_name='sample', version_name='training')
        found = len(myDataView.to_list()), len({frame.id for frame in myDataView.get_iterator()})
        """,
        (4, 4),
    ),
    "debias with weights": (
        r"""
        from itertools import islice
        from allegroai import DataView, IterationOrder

        myDataView = DataView(iteration_order=IterationOrder.random, iteration_infinite=True)
        myDataView.add_query(dataset_name='sample', version_name='training', roi_query='person', weight = 1)
        myDataView.add_query(
            dataset_name='sample', version_name='training',
            roi_query='label.keyword:\"person\" AND label.keyword:\"occluded\"', weight = 5
        )
        frames = [frame.id for frame in islice(myDataView.get_iterator(), 18)]
        found = frames.count('f1'), len(frames)
        """,
        (16, 18),
    ),
    "numbers of labels": (
        """
        from allegroai import DataView

        myDataView = DataView()
        for label in ('aeroplane', 'person'):
            myDataView.add_query(dataset_name='sample', version_name='training', roi_query=label)
        myDataView.set_labels({"aeroplane": 1, "person": 2, "ignore": -1,})
        found = [frame['rois'][0]['label_num'] for frame in myDataView.to_dict(projection=['rois.*.label_num'])]
        """,
        [1, 2, 1, 2, 1, 2],
    ),
    "one name for a class of two datasets": (
        """
        from allegroai import DataView

        myDataView = DataView()
        myDataView.add_query(dataset_name='sample', version_name='training', roi_query='aeroplane')
        myDataView.add_query(dataset_name='other', version_name='Current', roi_query='Car')
        myDataView.add_mapping_rule(
            dataset_name='other', version_name='Current', from_labels=['Car'], to_label='aeroplane'
        )
        found = {label for frame in myDataView for a in frame.get_annotations() for label in a.labels}
        """,
        {"aeroplane"},
    ),
    "lists for training and validation": (
        """
        from allegroai import DataView, DatasetVersion

        dataview = DataView()
        dataview.add_query(dataset_name='sample', version_name='training')
        train_list, validation_list = dataview.split_to_lists(ratio=[80, 20])
        for frame in train_list:
            frame.add_annotation(frame_class=['training'])
        for frame in validation_list:
            frame.add_annotation(frame_class=['validation'])
        dataset = DatasetVersion.create_version(
            dataset_name='sample', version_name='training and validation', parent_version_names=['training'])
        dataset.add_frames(train_list + validation_list)
        counts = {label['name']: label['count'] for label in dataset.get_stats().labels}
        found = counts['training'], counts['validation']
        """,
        (5, 1),
    ),
    "a stored view by id": (
        """
        from allegroai import DataView

        stored = DataView(name='mine')
        stored.add_query(dataset_name='sample', version_name='training', frame_query='id:f1')
        dataview_id = stored.store()
        my_dataview = DataView.get(dataview_id=dataview_id)
        (frame,) = my_dataview.to_dict(projection=['id', 'dataset.id', 'sources'])
        found = frame['id'], sorted(frame), frame['sources'][0]['id']
        """,
        ("f1", ["dataset", "id", "sources"], "default"),
    ),
    "files ahead of time, several rules": (
        """
        from allegroai import DataView, IterationOrder

        dataview = DataView(iteration_order=IterationOrder.random)
        dataview.set_iteration_parameters(random_seed=1337)
        dataview.add_multi_query(
            dataset_name='sample', version_name='training', frame_query='meta.city:"ulm"',
            roi_queries=[{'label': 'person'}, {'label': 'occluded'}],
        )
        dataview.prefetch_files()
        found = []
        for idx, frame in enumerate(dataview.get_iterator()):
            local_file = frame.get_local_source()
            found.append((frame.id, len(frame.annotations), local_file is not None))
            if idx == 10:
                break
        """,
        [("f1", 1, True)],
    ),
    "rows of boxes": (
        """
        import pandas as pd
        from allegroai import DataView

        rows = []
        dataview = DataView()
        dataview.add_query(dataset_name='sample', version_name='training', roi_query='aeroplane')
        for frame in dataview.get_iterator():
            image_id = frame.source.split("/")[-1].split(".")[0]
            bboxes = [bbox.bounding_box_xywh for bbox in frame.get_annotations()]
            for bbox in bboxes:
                row = {'xmin': bbox[0], 'ymin': bbox[1], 'xmax': bbox[0] + bbox[2], 'ymax': bbox[1] + bbox[3]}
                rows.append({**row, 'image_id': image_id, 'filepath': frame.get_local_source()})
        df = pd.DataFrame(rows)
        found = df['image_id'].tolist(), df['xmax'].tolist()
        """,
        (["f0", "f2", "f4"], [4.0, 4.0, 4.0]),
    ),
    "frames kept by id": (
        """
        import shelve
        from allegroai import SingleFrame, DataView, DatasetVersion

        version = DatasetVersion.get_version(dataset_name='sample', version_name='training')
        dataview = DataView("turn_signal")
        dataview.add_query(dataset_id=version.dataset_id, version_id=version.version_id)
        frames = [f for f in dataview.get_iterator(query_cache_size=10000)]
        with shelve.open('cache') as cache:
            for f in frames:
                if f.id not in cache:
                    cache[f.id] = f
            found = len(cache) == dataview.get_count() == 6 and cache['f1'] == frames[1]
        """,
        True,
    ),
    "newer: label rules and entries": (
        """
        from clearml import DataView, HyperDataset

        hyperdataset = HyperDataset(project_name='shop', dataset_name='entries', version_name='v')
        dataview = DataView(name='MyDataView', iteration_order='random')
        dataview.add_query(
            project_id=hyperdataset.project_id, dataset_id=hyperdataset.dataset_id,
            version_id=hyperdataset.version_id,
            frame_query='meta.city:bremen',
            label_rules=[{'label': 'car', 'count_range': [1, -1], 'conf_range': [0.5, 1.0]}],
        )
        dataview.add_mapping_rule(from_labels='car', to_label='vehicle')
        dataview.set_labels({'vehicle': 1, 'background': 0})
        dataview.set_iteration_parameters(limit=1000)
        found = []
        for entry in dataview.get_iterator():
            local_path = entry.sub_data_entries[0].get_local_source()
            roi = entry.sub_data_entries[0].get_all_annotations()[0]
            found.append((entry.id, local_path is not None, roi['label'], roi['label_num']))
        found = found, len(dataview), dataview.get_labels()
        """,
        ([("e0", True, ["vehicle"], 1)], 1, {"vehicle": 1, "background": 0}),
    ),
    "newer: workers share a view": (
        """
        import torch
        from clearml import DataView, HyperDataset

        class MyIterableDataset(torch.utils.data.IterableDataset):
            def __init__(self, dataview):
                self.dataview = dataview

            def __iter__(self):
                worker_info = torch.utils.data.get_worker_info()
                worker_index = worker_info.id if worker_info else 0
                num_workers = worker_info.num_workers if worker_info else 1
                return iter(self.dataview.get_iterator(worker_index=worker_index, num_workers=num_workers))

        hyperdataset = HyperDataset.get(dataset_name='entries', version_name='v', project_name='shop')
        dataview = DataView()
        dataview.add_query(dataset_id=hyperdataset.dataset_id, version_id=hyperdataset.version_id)
        iterator = dataview.get_iterator()
        iterator.set_concurrency(worker_index=1, num_workers=2)
        found = [entry.id for entry in MyIterableDataset(dataview)], [entry.id for entry in iterator]
        """,
        (["e0", "e1", "e2"], ["e1"]),
    ),
    "newer: repetition, storing and files": (
        """
        from clearml import DataView, HyperDataset, HyperDatasetQuery

        ids = {}
        ds = HyperDataset.get(dataset_name='entries', version_name='v', project_name='shop')
        dataview = DataView(name='balanced')
        dataview.add_queries(HyperDatasetQuery(
            dataset_id=ds.dataset_id, version_id=ds.version_id, frame_query='meta.city:ulm', weight=1.0))
        dataview.add_query(
            dataset_id=ds.dataset_id, version_id=ds.version_id, frame_query='meta.city:bremen', weight=2.0)
        for entry in dataview.get_iterator(allow_repetition=True):
            ids[entry.id] = ids.get(entry.id, 0) + 1
        dataview.prefetch_local_sources(num_workers=2, get_previews=True)
        dataview_id = dataview.store()
        again = DataView.get(dataview_name='balanced')
        found = ids, len(dataview), again.id == dataview_id, len(again.to_list())
        """,
        ({"e1": 1, "e2": 1, "e0": 4}, 6, True, 3),
    ),
}


@pytest.fixture
def pictures(tmp_path):
    def picture(name):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (4, 4), (len(name), 2, 3)).save(path)
        return path

    return picture


@pytest.fixture(autouse=True)
def engine(tmp_path, pictures, monkeypatch):
    """What the scripts read: single frames in two versions, groups with masks, another dataset, and entries."""
    monkeypatch.chdir(tmp_path)
    with framelode.connect(tmp_path / "engine") as engine:
        for name in ("sample", "other", "masks"):
            DatasetVersion.create_new_dataset(name)
        sample, other, masks = (
            DatasetVersion.get_current(dataset_name=name) for name in ("sample", "other", "masks")
        )
        frames = []
        for n in range(6):
            frame = SingleFrame(id=f"f{n}", source=pictures(f"f{n}"))
            frame.metadata = {
                "city": ("bremen", "ulm")[n % 2],
                "speed": n,
                "day": f"2024-10-{18 + n}T10:00:00",
            }
            labels = ["person", "occluded"][: 1 + (n == 1)] if n % 2 else ["aeroplane"]
            conclusion = {"metadata": {"conclusion": "Rejected"}} if n == 3 else {}
            frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=labels, **conclusion)
            frames.append(frame)
        sample.add_frames(frames)
        DatasetVersion.create_snapshot(dataset_name="sample", publish_name="training", child_name="Current")
        for n in range(3):
            frame = SingleFrame(id=f"o{n}", source=pictures(f"o{n}"), metadata={"city": "bremen"})
            frame.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["Car"])
            other.add_frames([frame])
        group = FrameGroup(id="g")
        group["000002"] = SingleFrame(source=pictures("left"), mask_source=pictures("left mask"))
        masks.add_frames([group, group.copy()])
        _add_entries(pictures)
        yield engine
        engine.verify()
    engine.close()


def _add_entries(pictures):
    dataset = framelode.HyperDataset(project_name="shop", dataset_name="entries", version_name="v")
    entries = []
    for n in range(3):
        entry = framelode.DataEntryImage(f"e{n}", metadata={"city": "ulm" if n else "bremen"})
        image = framelode.DataSubEntryImage("front", str(pictures(f"e{n}")))
        image.add_annotation(box2d_xywh=(1, 2, 3, 4), labels=["car"], confidence=0.9)
        entry.add_sub_entries([image])
        entries.append(entry)
    dataset.add_data_entries(entries)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_with_its_import_changed(name, monkeypatch):
    script, expected = SCRIPTS[name]
    program = textwrap.dedent(script)
    for before, after in CHANGES:
        program = re.sub(rf"^{before}", after, program, flags=re.MULTILINE)
    names = {"__name__": "__main__", "print": lambda *_: None}
    exec(compile(program, name, "exec"), names)
    assert names["found"] == expected


def test_there_is_a_script_for_each_public_shape():
    assert len(SCRIPTS) >= 16
    called = set(re.findall(r"\.(\w+)\(", "".join(script for script, _ in SCRIPTS.values())))
    methods = {name for name in vars(framelode.DataView) if not name.startswith("_")}
    ours = {"at", "plan", "versions", "get_versions", "set_versions", "get_views", "delete", "to_torch"}
    properties = {"id", "name", "description", "project", "tags", "session"}
    getters = {"get_queries", "set_queries", "get_iteration_parameters", "get_mapping_rules"}
    assert methods - ours - properties - getters - {"require_end"} <= called
