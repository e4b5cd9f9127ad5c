"""A strict type checker accepts code that uses the public API."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from patience import PATIENCE

HERE = Path(__file__).parent


def test_the_public_api_is_typed(tmp_path):
    (tmp_path / "framelode").symlink_to(HERE.parents[1])
    (tmp_path / "example.py").write_text((HERE / "public_api.py").read_text("utf-8"), "utf-8")
    settings = {"include": ["example.py"], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=PATIENCE
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] >= 1
    assert [
        (problem["range"]["start"]["line"] + 1, problem["message"])
        for problem in report["generalDiagnostics"]
    ] == []
