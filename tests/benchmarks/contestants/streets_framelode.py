"""The ten questions asked of framelode."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from workload import resident, size_of

import framelode
from framelode import DatasetVersion, F, Roi

from .contestant import Figure, measure
from .streets import asked, frames

COLD = """import sys, time, framelode
from framelode import F, Roi
began = time.perf_counter(), time.process_time()
with framelode.connect(sys.argv[1]) as engine:
    count = engine.version(sys.argv[2]).count(Roi(label="car") & (F.meta.camera == "cam1") & ~Roi(label="bus"))
print(time.perf_counter() - began[0], time.process_time() - began[1])
"""


class Streets:
    packages = ("msgspec", "numpy")

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder / "streets"
        self.engine = framelode.connect(self.folder)
        DatasetVersion.create_new_dataset("streets")
        self.version = DatasetVersion.get_current(dataset_name="streets")
        self.version.add_dicts(map(wire, frames(count)))
        list(self.version.query("*", limit=1))
        self.before = size_of(self.folder)

    def build(self) -> Figure:
        """Store the columns, and decode those of the last events, which are not stored."""
        self.memory = resident()
        return measure(lambda: self.version.count(F.meta.speed < 0))

    def size(self) -> Figure:
        return {"amount": size_of(self.folder) - self.before}

    def cold(self) -> Figure:
        """Ask the first question in a new process, imports not included."""
        command = [sys.executable, "-P", "-c", COLD, str(self.folder), self.version.version_id]
        path = os.pathsep.join(each for each in sys.path if each)
        taken = []
        for _ in range(3):
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path}
            )
            taken.append([float(each) for each in done.stdout.split()])
        clock, processor = min(taken)
        return {"clock": clock, "processor": processor}

    def first(self) -> Figure:
        return measure(lambda: list(self.version.query(F.rois.label == "car", limit=100)), times=7)

    def grown(self) -> Figure:
        return {"amount": resident() - self.memory}

    def labels(self) -> Figure:
        query = Roi(label="car") & (F.meta.camera == "cam1") & ~Roi(label="bus")
        return asked(lambda: self.version.count(query))

    def several(self) -> Figure:
        return asked(lambda: self.version.count(Roi(label="car", confidence=(0.5, 1)).count(2)))

    def counts(self) -> Figure:
        both = lambda: [self.version.count("*", by=field) for field in ("rois.label", "meta.city")]
        return asked(lambda: [sorted(map(list, found)) for found in both()])

    def wildcard(self) -> Figure:
        return asked(lambda: self.version.count("sources.uri:*cam1/*7.jpg"))

    def numbers(self) -> Figure:
        return asked(lambda: self.version.count(F.meta.speed.between(40, 50)))

    def dates(self) -> Figure:
        query = F.meta.captured.between(date(2024, 5, 3), date(2024, 6, 20))
        return asked(lambda: self.version.count(query))

    def boxes(self) -> Figure:
        return asked(lambda: self.version.count(Roi(F.area >= 20_000)))

    def none(self) -> Figure:
        return asked(lambda: self.version.count(Roi().count(0, 0)))

    def ids(self) -> Figure:
        return asked(lambda: self.version.count(F.id.like("00a*")))

    def order(self) -> Figure:
        found = lambda: self.version.query("*", 100, "-meta.speed", projection=["id", "meta.speed"])
        return asked(lambda: [[each["id"], each["meta"]["speed"]] for each in found()])


def wire(frame: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": frame["id"],
        "sources": [{"uri": frame["uri"], "width": 1920, "height": 1080}],
        "meta": {
            "camera": frame["camera"],
            "speed": frame["speed"],
            "city": frame["city"],
            "captured": frame["captured"].isoformat(),
        },
        "rois": [
            {"type": "box2d", "label": [box["label"]], "confidence": box["confidence"], "poly": box["box"]}
            for box in frame["boxes"]
        ],
    }
