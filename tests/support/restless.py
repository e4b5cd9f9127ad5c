"""Processes that write to an engine until they are told to stop."""

from __future__ import annotations

import random
import time
from contextlib import closing

import framelode
from framelode import DatasetVersion, SingleFrame


def write(url, stop, number):
    dice = random.Random(number)
    with closing(framelode.connect(url)) as engine, engine:
        DatasetVersion.create_new_dataset(f"d{number}")
        while not stop.is_set():
            version = DatasetVersion.get_current(dataset_name=f"d{number}")
            frames = [
                SingleFrame(id=f"{dice.randrange(200):032x}", width=dice.randrange(9)) for _ in range(3)
            ]
            version.add_frames(frames)
            if dice.random() < 0.2:
                version.delete_frames([frames[0].id])
            if dice.random() < 0.01:
                DatasetVersion.create_snapshot(dataset_name=f"d{number}", publish_name=str(time.time_ns()))
            engine.catch_up()
            stop.wait(0.1)


def rebuild(url, stop):
    with closing(framelode.connect(url)) as engine:
        while not stop.is_set():
            engine.rebuild()
            stop.wait(1)
