"""Manifests as people write them: every style, with comments, other sections, and line ends of all kinds."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

OTHERS = [
    "stages:\n  train:\n    cmd: python train.py   # slow\n    deps: [a,  b]\n",
    "jobs:\n    prepare:\n        cmd: >-\n            echo one\n            two\n        outs:\n        - x: {cache:   false}\n",
    'vars:\n- params.yaml\n-   model: {name: "x"}\n',
    "'quoted key': \"double \\\n   folded\"\n",
    "notes: |\n  kept  \n\n   as: it is\n\n",
    "base: &base {a: 1, b: [1, 2,\n    3]}\nother: *base\nmerged:\n  <<: *base\n  c: 1_000\n",
    "# a comment of its own   \n\n",
    "long: aaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccc ddddddddddddddddddddddddd eeeeeeeeeeeeeeee\n",
    "plots: [ ]\nmetrics:   # none yet\n",
    "params:\n\n  -   'a b'\n\n  # between\n  - 0o17\nempty: ''\n",
    "? explicit\n: key\n",
    "é 日本: \U0001f600\n",
]

ENTRIES = [
    "{dash}name: {name}\n{in}url: {url}\n{in}type: dvc\n",
    "{dash}name: '{name}'   # the name\n{in}url: \"{url}\"\n{in}type:   dvc  # git\n{in}rev:  'v0'\n",
    "{dash}type: dvc\n{in}desc: 'what: it is'\n{in}rev: v0   # pinned\n\n{in}# where\n{in}url: {url}\n{in}name: {name}\n",
    "{dash}{{name: {name}, url: '{url}',  type: dvc, labels: [a, b]}}   # short\n",
    '{dash}{{"type": dvc, rev: v0, name: {name}, path: a,\n{in}  url: {url} }}\n',
    "{dash}name: {name}\n{in}meta: {{x: 1}}\n{in}url: >-\n{in}  {url}\n{in}type: !!str dvc\n{in}path: ''\n",
]

HEADS = ["datasets:\n", "datasets:   # pinned\n", '"datasets" :\n', "datasets:\n\n  # first\n"]


@dataclass
class OddManifest:
    """A text in three parts: what is before and after the entry `ours`, and the entry; none if it has no such entry."""

    before: str
    entry: str
    after: str
    names: list[str]

    @property
    def text(self):
        return self.before + self.entry + self.after


def entry(template, name, indent, gap):
    dash = " " * indent + "-" + " " * (gap - 1)
    return template.format(
        name=name, url=f"https://host/{name}.git", dash=dash, **{"in": " " * (indent + gap)}
    )


@st.composite
def odd_manifests(draw, *, with_entry):
    sections = draw(st.lists(st.sampled_from(OTHERS), unique=True, max_size=4))
    names = [f"other{n}" for n in range(draw(st.integers(0, 2)))]
    indent, gap = draw(st.sampled_from([(0, 2), (2, 2), (4, 4), (1, 3)]))
    head = draw(st.sampled_from(HEADS))
    at = draw(st.integers(0, len(sections)))
    place = draw(st.integers(0, len(names)))
    listed = [(name, entry(draw(st.sampled_from(ENTRIES)), name, indent, gap)) for name in names]
    if with_entry:
        listed.insert(place, ("ours", entry(draw(st.sampled_from(ENTRIES)), "ours", indent, gap)))
    parts = {"before": "", "entry": "", "after": ""}
    current = "before"
    for section in [*sections[:at], *([head] if listed else []), *listed, *sections[at:]]:
        if isinstance(section, tuple) and section[0] == "ours":
            parts["entry"], current = section[1], "after"
        else:
            parts[current] += section if isinstance(section, str) else section[1]
    # A document that ends must have begun.
    begun = listed or any(not section.startswith("#") for section in sections)
    endings = ["", "\n\n", "# the end\n", *(["...\n# beyond\n"] if begun else [])]
    ending = draw(st.sampled_from(endings))
    parts["after" if current == "after" else "before"] += ending
    if draw(st.booleans()):
        parts["before"] = f"---\n{parts['before']}"
    if draw(st.booleans()):
        parts = {key: text.replace("\n", "\r\n") for key, text in parts.items()}
    if draw(st.booleans()):
        parts["before"] = f"\ufeff{parts['before']}"
    if draw(st.booleans()):
        last = next((key for key in ("after", "entry", "before") if parts[key]), "before")
        parts[last] = parts[last].rstrip("\r\n")
    return OddManifest(**parts, names=[name for name, _ in listed])
