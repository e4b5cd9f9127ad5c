"""Attributes that do not exist cannot be set on public objects."""

import pytest

import framelode
from framelode import (
    BoundingBox2D,
    DataEntry,
    DataEntryImage,
    DatasetVersion,
    DataSubEntry,
    DataSubEntryImage,
    ExecutionStore,
    FrameGroup,
    HyperDataset,
    SingleFrame,
)


@pytest.fixture
def engine(tmp_path):
    with framelode.connect(tmp_path / "engine") as engine:
        DatasetVersion.create_new_dataset("data")
        yield engine


def draft(engine):
    return DatasetVersion.get_current(dataset_name="data")


MAKERS = {
    "SingleFrame": lambda engine: SingleFrame(),
    "FrameGroup": lambda engine: FrameGroup(),
    "BoundingBox2D": lambda engine: BoundingBox2D(1, 2, 3, 4),
    "Dataset": lambda engine: engine.dataset("data"),
    "DatasetVersion": draft,
    "BulkContext": lambda engine: draft(engine).get_bulk_context(),
    "Statistics": lambda engine: draft(engine).get_stats(),
    "Engine": lambda engine: engine,
    "ExecutionStore": lambda engine: ExecutionStore.create("store"),
    "HyperDataset": lambda engine: HyperDataset("default", "data", "Current"),
    "DataEntry": lambda engine: DataEntry(),
    "DataEntryImage": lambda engine: DataEntryImage(),
    "DataSubEntry": lambda engine: DataSubEntry("a", None),
    "DataSubEntryImage": lambda engine: DataSubEntryImage(),
}


@pytest.mark.parametrize("name", MAKERS)
def test_an_attribute_that_does_not_exist_is_refused(engine, name):
    made = MAKERS[name](engine)
    with pytest.raises(AttributeError, match=f"{name}"):
        made.metdata = {}
    assert not hasattr(made, "metdata")


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("SingleFrame", "metdata", "metadata"),
        ("FrameGroup", "metdata", "metadata"),
        ("BoundingBox2D", "lables", "labels"),
        ("Dataset", "descripton", "description"),
        ("DatasetVersion", "coment", "comment"),
        ("BulkContext", "add_frames", "add_frame"),
        ("Engine", "dataset_", "dataset"),
    ],
)
def test_the_most_similar_attribute_is_named(engine, name, wrong, right):
    message = f"'{name}' object has no attribute '{wrong}': did you mean '{right}'"
    with pytest.raises(AttributeError, match=message):
        setattr(MAKERS[name](engine), wrong, 1)


def test_subclasses_of_entries_have_attributes_of_their_own():
    class Answer(DataEntry):
        def __init__(self, question):
            super().__init__()
            self.question = question

    assert Answer("Why?").question == "Why?"
