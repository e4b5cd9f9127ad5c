"""Shows the package to the reference of the site: the repository is the package, under whatever name it was checked out."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority

# It looks for the drawing of one page in all pages after it.
logging.getLogger("markdown_svgbob.extension").setLevel(logging.ERROR)

_search_path = tempfile.TemporaryDirectory()


@event_priority(100)  # before mkdocstrings looks
def on_config(config: Any) -> Any:
    """Give mkdocstrings a folder in which the repository has the package's name."""
    package = Path(_search_path.name, "framelode")
    if not package.exists():
        package.symlink_to(Path(config.config_file_path).parent)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_search_path.name]
    return config
