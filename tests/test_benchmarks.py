"""The comparison with other libraries: its own part runs, and the page says what its script says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from patience import PATIENCE

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "benchmarks" / "peers.py"

STEPS = (
    "memory,objects,dicts_documented,dicts,ready,ready_unrefreshed,table,prepare,one,many_ids,iterate,iterate_frozen,"
    "iterate_arrow,statistics,child,child_documented,past,difference,difference_contents,history,children,rebuild"
)
"""All but `cold`, which starts four processes."""


def table_after(heading, page):
    """Return the cells of the first table below a heading, by the first cell of each line."""
    lines = page[page.index(heading) :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| --- |"))
    cells = {}
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        first, *others = line.strip("| ").split(" | ")
        cells[first] = others
    return cells


def test_each_step_of_ours_is_measured():
    command = [
        sys.executable,
        "-P",
        SCRIPT,
        "--peers",
        "framelode",
        "--frames",
        "300",
        "--rounds",
        "1",
        "--rows",
        STEPS,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    found = table_after("## Medians", done.stdout)
    assert len(found) == 27
    for step, (figures,) in found.items():
        numbers = [float(figure.replace(",", "")) for figure in figures.split(" / ")]
        assert len(numbers) == (1 if step.endswith((", MB", ", bytes a frame")) else 2), (step, figures)
        assert min(numbers) > 0, step


def test_the_page_has_every_step_of_the_script():
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    done = subprocess.run(
        [sys.executable, "-P", SCRIPT, "--list"], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    listed = done.stdout.splitlines()
    assert list(table_after("## Medians", page)) == listed
    assert list(table_after("By processor time:", page)) == listed
