"""Builds the site: shows the package to the reference under its name, and runs the home page for its picture."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

# It looks for the drawing of one page in all pages after it.
logging.getLogger("markdown_svgbob.extension").setLevel(logging.ERROR)

_search_path = tempfile.TemporaryDirectory()
_PICTURE = "annotated.png"


@event_priority(100)  # before mkdocstrings looks
def on_config(config: Any) -> Any:
    """Give mkdocstrings a folder in which the repository has the package's name."""
    package = Path(_search_path.name, "framelode")
    if not package.exists():
        package.symlink_to(Path(config.config_file_path).parent)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_search_path.name]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the picture that the example of the home page draws."""
    page = Path(config.docs_dir, "index.md").read_text("utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    files.append(File.generated(config, _PICTURE, content=_run(example)))
    return files


def _run(example: str) -> bytes:
    sys.path.insert(0, _search_path.name)
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)
        try:
            exec(compile(example, "index.md", "exec"), names := {})  # noqa: S102 - it is a page of this repository
            names["engine"].close()
            return Path(_PICTURE).read_bytes()
        finally:
            os.chdir(home)
            sys.path.remove(_search_path.name)
