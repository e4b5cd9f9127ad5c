"""The examples of the README and the documentation, as programs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def python_of(text):
    """Return the Python blocks of a page as one program; each line keeps its number."""
    lines, inside = [], False
    for line in text.splitlines():
        fence = line.startswith("```")
        inside = line == "```python" if fence else inside
        lines.append(line if inside and not fence else "")
    return "\n".join(lines)


def blocks_of(text):
    """Yield ``(language, first line, code)`` of the Python and shell blocks of a page, in order."""
    for block in re.finditer(r"^```(python|sh)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield block[1], text.count("\n", 0, block.start(2)), block[2]


PAGES = [
    page
    for page in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    if "```python\n" in page.read_text("utf-8")
]
