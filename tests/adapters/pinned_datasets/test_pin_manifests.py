"""Manifests and lock files as text: what is not ours stays, byte for byte; what is broken is refused where it is broken."""

from __future__ import annotations

import io
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given
from hypothesis import strategies as st
from odd_manifests import OddManifest, odd_manifests
from ruamel.yaml import YAML
from sizes import examples

from framelode.adapters.pinned_datasets import lock_file as lock_files
from framelode.adapters.pinned_datasets.lock_file import LockFile
from framelode.adapters.pinned_datasets.manifest import Manifest
from framelode.adapters.pinned_datasets.records import (
    DatachainDatasetLock,
    DVCDatasetLock,
    DVCDatasetSpec,
    FileInfo,
    Meta,
    URLDatasetLock,
)
from framelode.adapters.pinned_datasets.yaml import tree as yaml_tree
from framelode.adapters.pinned_datasets.yaml.document import Document
from framelode.adapters.pinned_datasets.yaml.text import flow, scalar
from framelode.adapters.pinned_datasets.yaml.tree import parse_yaml, to_python
from framelode.engine.errors import ConflictError, FramelodeError, InvalidValueError, NotFoundError

LIMIT = 4 << 20


def load(text):
    """Return what the library that DVC reads with makes of a text."""
    return YAML(typ="safe", pure=True).load(io.StringIO(text.removeprefix("\ufeff"))) or {}


def spec(name="ours", **fields):
    return DVCDatasetSpec(**{"name": name, "url": "https://host/new.git", "type": "dvc", **fields})


def changed(text, wanted, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "odd.yaml"
    path.write_bytes(text.encode())
    return Manifest.read(path).with_spec(wanted)


def keeps_comments_only(old, new):
    """Say whether nothing but one piece was put in."""
    head = next(
        (n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
    )
    tail = next(
        (n for n, (a, b) in enumerate(zip(old[::-1], new[::-1], strict=False)) if a != b),
        min(len(old), len(new)),
    )
    return head + tail >= len(old)


class TestEveryOtherByteStays:
    @examples(25, 80, suppress_health_check=list(HealthCheck))
    @given(odd_manifests(with_entry=False), st.sampled_from([{}, {"path": "data/x", "rev": "v1"}]))
    def test_when_an_entry_is_added(self, tmp_path_factory, manifest, fields):
        new = changed(manifest.text, spec("new", **fields), tmp_path_factory)
        assert keeps_comments_only(manifest.text, new), new
        old, found = load(manifest.text), load(new)
        assert found["datasets"] == [*old.get("datasets", []), spec("new", **fields).to_dict()]
        assert {**found, "datasets": 0} == {**old, "datasets": 0}
        assert ("\r\n" in new) == ("\r\n" in manifest.text)
        assert new.count("\r") == new.count("\n") or "\r" not in new

    @examples(25, 80, suppress_health_check=list(HealthCheck))
    @given(
        odd_manifests(with_entry=True),
        st.sampled_from([{}, {"path": "data/x", "rev": "v1"}, {"rev": "v2"}, {"rev": "0123"}]),
    )
    def test_when_an_entry_is_changed(self, tmp_path_factory, manifest, fields):
        wanted = spec(**fields)
        new = changed(manifest.text, wanted, tmp_path_factory)
        assert new.startswith(manifest.before)
        assert new.endswith(manifest.after)
        old, found = load(manifest.text), load(new)
        at = manifest.names.index("ours")
        own = {
            k: v for k, v in old["datasets"][at].items() if k not in {"name", "url", "type", "path", "rev"}
        }
        old["datasets"][at] = own | wanted.to_dict()
        assert found == old

    def test_what_is_there_already_is_not_written(self, tmp_path_factory):
        manifest = OddManifest("datasets:\n", "- {name: ours, url: x, type: dvc, path: ''}\n", "", ["ours"])
        assert changed(manifest.text, spec(url="x"), tmp_path_factory) is None

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "\ufeff",
            "# only a comment",
            "---\n",
            "--- # x\n...\n",
            "{}\n",
            "--- {}",
            "datasets: []",
            "datasets: [] # none\nx: 1\n",
            "datasets:",
            "datasets: ~\n",
            "datasets: [\n]\n",
            "datasets: [{name: a, url: b, type: url},]\n",
            "{datasets: [], x: 1}",
            "{x: 1}",
            "{x: 1,\n datasets: [{name: a, url: b, type: url}]}\n",
            "  datasets:\n  - name: a\n    url: b\n    type: url\n  x: 1\n",
            "datasets:\n-\n  name: a\n  url: b\n  type: url\n",
            "datasets:\n- # why\n  name: a\n  url: b\n  type: url\n",
            "%YAML 1.2\n---\nx: 1\n",
            "x: 1\r\ny: 2",
            "a: 1\rb: 2\r",
        ],
    )
    def test_of_these_too(self, tmp_path_factory, text):
        new = changed(text, spec("new"), tmp_path_factory)
        old, found = load(text) or {}, load(new)
        assert found["datasets"] == [*(old.get("datasets") or []), spec("new").to_dict()]
        assert {**found, "datasets": 0} == {**old, "datasets": 0}
        for line in text.splitlines():
            assert line.strip(" []{}~\ufeff")[:6] in new

    @pytest.mark.parametrize(
        "text",
        [
            "x: &a\n- name: ours\n  url: b\n  type: dvc\ndatasets: *a\n",
            "x: &a {name: ours, url: b, type: dvc}\ndatasets:\n- *a\n",
            "datasets:\n- name: ours\n  url: &u b\n  type: dvc\ny: *u\n",
        ],
    )
    def test_what_is_tied_to_other_parts_is_refused(self, tmp_path_factory, text):
        with pytest.raises(InvalidValueError, match="by hand"):
            changed(text, spec(), tmp_path_factory)

    def test_values_merged_from_elsewhere_are_read_and_overridden(self, tmp_path_factory):
        text = "x: &a {url: b, type: dvc, rev: v1}\ndatasets:\n- <<: *a\n  name: ours\n"
        new = changed(text, spec(rev="v2"), tmp_path_factory)
        assert new.startswith(text)
        assert load(new)["datasets"] == [spec(rev="v2").to_dict()]

    def test_an_entry_with_a_parameter_is_never_overwritten(self, tmp_path):
        (tmp_path / "params.yaml").write_text("rev: v1\n")
        (tmp_path / "dvc.yaml").write_text("datasets:\n- name: ours\n  url: b\n  type: dvc\n  rev: ${rev}\n")
        manifest = Manifest.read(tmp_path / "dvc.yaml")
        assert manifest.entries["ours"].spec == spec(url="b", rev="v1")
        assert manifest.with_spec(spec(url="b", rev="v1")) is None
        with pytest.raises(
            ConflictError, match=r"dvc.yaml:2:3: the dataset 'ours' has a parameter, rev: \$\{rev\}"
        ):
            manifest.with_spec(spec(url="b", rev="v2"))


HOSTILE = {
    "a tag of Python": ("a: !!python/object/apply:os.system ['x']\n", "1:4: the tag"),
    "a tag of its own": ("a:\n  - !foo x\n", "2:5: the tag '!foo'"),
    "a bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8))
        + "datasets: *i\n",
        "values",
    ),
    "a tower": (
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000)),
        "more than 64 aliases are nested",
    ),
    "a loop": ("a: &a [*a]\n", "1:8: 'a' contains itself"),
    "no such anchor": ("a: *b\n", "1:4: the anchor 'b' is not defined"),
    "deep nesting": ("a: " + "[" * 5000 + "]" * 5000, "1:67: nested more than 64 levels"),
    "deep blocks": ("".join(" " * n + "a:\n" for n in range(200)), "65:65: nested more than 64 levels"),
    "a key twice": ("a: 1\nb: 2\na: 3\n", "3:1: the key 'a' is duplicated"),
    "a key twice inside": ("datasets:\n- name: x\n  url: y\n  name: z\n", "4:3: the key 'name' is duplicated"),
    "a list as key": ("? [a, b]\n: c\n", "1:3: a key must be a scalar"),
    "a NUL": ("a: b\nc: d\0e\n", r"2:5: the character '\x00' is not allowed"),
    "an escaped NUL": ('a: "b\\0"\n', "1:4: a string must not contain a NUL"),
    "a surrogate": ('a: "\\ud800"\n', "1:4: a string must not contain a lone surrogate"),
    "a control character": ("a: b\n\x01: c\n", r"2:1: the character '\x01' is not allowed"),
    "a tab": ("a:\n\t- b\n", r"2:1: found character '\t'"),
    "half a list": ("datasets:\n- {name: a, url: b", "2:19: "),
    "half a string": ("datasets:\n- name: 'a\n", "3:1: found unexpected end of stream"),
    "a merge conflict": ("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> x\n", "3:1: could not find"),
    "two documents": ("a: 1\n---\nb: 2\n", "2:1: a second document begins here"),
    "a list at the top": ("- a\n", "1:1: the file must be a mapping"),
    "a text at the top": ("what is this\n", "1:1: the file must be a mapping"),
    "a character that is none": ('a: "\\UFFFFFFFF"\n', "1:1: "),
    "a number too long": ("a: " + "9" * 5000, "1:4: "),
    "a bad indentation": ("a:\n    b: 1\n  c: 2\n", "3:3: "),
    "datasets that are no list": ("datasets: {a: 1}\n", "1:11: datasets must be a list"),
    "a dataset that is none": ("datasets:\n- a\n", "2:3: a dataset must be a mapping"),
    "no type": ("datasets:\n- {name: a, url: b}\n", "2:3: type is missing"),
    "an unknown type": ("datasets:\n- {name: a, url: b, type: c}\n", "2:3: type must be dvc, dc or url, not 'c'"),
    "a type that is a list": ("datasets:\n- {name: a, url: b, type: [url]}\n", "2:3: "),
    "no name": ("datasets:\n- {url: b, type: url}\n", "2:3: name is missing"),
    "a number as url": ("datasets:\n- {name: a, url: 1, type: url}\n", "2:3: url must be a string, not 1"),
    "a list as path": ("datasets:\n- {name: a, url: b, type: dvc, path: [x]}\n", "2:3: path must be a string"),
}  # fmt: skip


def whole(manifest):
    """Return a manifest. Raise what keeps one of its entries from being read."""
    for error in manifest.problems.values():
        raise error
    return manifest


class TestBrokenFiles:
    @pytest.mark.parametrize(("text", "problem"), HOSTILE.values(), ids=HOSTILE)
    def test_are_refused_where_they_are_broken(self, tmp_path, text, problem):
        path = tmp_path / "dvc.yaml"
        path.write_bytes(text.encode())
        with pytest.raises(InvalidValueError) as caught:
            whole(Manifest.read(path)).document.value()
        assert str(caught.value).startswith(f"{path}:")
        assert problem in str(caught.value)
        assert len(str(caught.value)) < len(str(path)) + 200
        assert path.read_bytes() == text.encode()

    def test_that_are_no_utf_8(self, tmp_path):
        for data, place in ((b"a: b\nc: \xff\n", "2:4"), ("a: b".encode("utf-16"), "1:1")):
            (tmp_path / "dvc.yaml").write_bytes(data)
            with pytest.raises(
                InvalidValueError, match=f"dvc.yaml:{place}: the byte 0xff is not valid UTF-8"
            ):
                Manifest.read(tmp_path / "dvc.yaml")

    def test_that_are_huge_are_not_even_read(self, tmp_path):
        with (tmp_path / "dvc.yaml").open("wb") as file:
            file.truncate(50_000_000)
        with pytest.raises(
            InvalidValueError, match="dvc.yaml:1:1: the file has 50,000,000 bytes, the limit is"
        ):
            Manifest.read(tmp_path / "dvc.yaml")

    def test_a_folder_or_a_pipe_is_no_manifest(self, tmp_path):
        import os

        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "pipe")
        for name in ("folder", "pipe"):
            with pytest.raises(InvalidValueError, match="is not a regular file"):
                Manifest.read(tmp_path / name)

    def test_one_name_twice(self, tmp_path):
        entry = "- {name: a, url: b, type: url}\n"
        (tmp_path / "dvc.yaml").write_text(f"datasets:\n{entry}# no\n{entry}")
        with pytest.raises(
            ConflictError, match="dvc.yaml:4:3: the dataset 'a' is defined twice, first in line 2"
        ):
            whole(Manifest.read(tmp_path / "dvc.yaml"))

    @examples(50, 150)
    @given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`?,\n\r\t \\0\ufeff\x85\u2028é", max_size=40))
    @example("a: !!int x")
    @example("a: !!float .nan.")
    @example("%TAG ! tag:x:\n---\na: !b c")
    @example("a: !<tag:yaml.org,2002:int> []")
    @example("<<: 1\n")
    @example("a: {<<: [1]}")
    def test_any_text_is_read_as_dvc_reads_it_or_refused(self, tmp_path_factory, text):
        try:
            expected = load(text)
        except Exception:
            expected = None
        path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
        path.write_bytes(text.encode())
        try:
            found = Document.read(path, LIMIT).value()
        except FramelodeError as error:
            found = str(error)
            if not found.startswith(f"{path}:"):
                raise
        if expected is not None and isinstance(found, dict):
            assert found == expected or repr(found) == repr(expected)


class TestParameters:
    @pytest.fixture
    def read(self, tmp_path):
        def read(url, vars_="", **files):
            for name, text in files.items():
                (tmp_path / name.replace("_", ".")).write_text(text)
            text = f"vars:\n{vars_}" if vars_ else ""
            (tmp_path / "dvc.yaml").write_text(f"{text}datasets:\n- {{name: a, url: '{url}', type: url}}\n")
            return whole(Manifest.read(tmp_path / "dvc.yaml")).entries["a"].spec.url

        return read

    def test_of_params_yaml(self, read):
        params = "bucket: b\nnested: {list: [x, y], deep: {z: 1.5}}\nyes: true\n"
        url = "s3://${bucket}/${nested.list[1]}/${ nested.deep.z }/${yes}"
        assert read(url, params_yaml=params) == "s3://b/y/1.5/true"
        assert read("${bucket}", params_yaml=params) == "b"

    def test_escaped(self, read):
        assert read(r"a\${b}", params_yaml="") == "a${b}"

    def test_of_vars_and_other_files(self, read):
        files = {
            "other_json": '{"j": "1", "k": "2"}',
            "more_toml": "t = 't'\n[table]\nx = 5\n",
            "code_py": "p = 'p'\nclass Train:\n    def __init__(self):\n        self.lr = 0.1\n        q = 1\nz = f()\n",
        }
        vars_ = "- other.json:j\n- other.json:k\n- more.toml\n- code.py\n- v: {w: v}\n- v: {y: u}\n"
        url = "${j}${k}${t}${table.x}${p}${Train.lr}${v.w}${v.y}"
        assert read(url, vars_, **files) == "12t5p0.1vu"

    @pytest.mark.parametrize(
        ("url", "vars_", "kind", "problem"),
        [
            ("${no}", "", NotFoundError, "there is no parameter 'no' in params.yaml"),
            ("${a.b.c}", "", NotFoundError, "there is no parameter 'a.b.c'"),
            ("${a[7]}", "", NotFoundError, "there is no parameter"),
            ("x${a}", "", InvalidValueError, "refers to a list"),
            ("${a}", "", InvalidValueError, "refers to a list"),
            ("${n}", "", InvalidValueError, "url must be a string, not 5"),
            ("${}", "", InvalidValueError, "is not a parameter: write"),
            ("${a..b}", "", InvalidValueError, "is not a parameter: write"),
            ("${n}x", "- none.yaml\n", NotFoundError, "the parameter file none.yaml does not exist"),
            ("${n}x", "- n: 6\n", InvalidValueError, "vars defines the parameter 'n' again"),
            ("${n}x", "- params.yaml:n\n", InvalidValueError, "already loaded"),
            ("${n}x", "- b: ${n}\n", InvalidValueError, "vars must not refer to parameters"),
            ("${n}x", "- 5\n", InvalidValueError, "vars must be a list"),
        ],
    )
    def test_that_cannot_be_found(self, read, url, vars_, kind, problem):
        with pytest.raises(kind) as caught:
            read(url, vars_, params_yaml="a: [1]\nn: 5\n")
        assert problem in str(caught.value)
        assert "dvc.yaml:" in str(caught.value)

    def test_broken_ones_are_refused_where_they_are_broken(self, read):
        with pytest.raises(InvalidValueError, match=r"params.yaml:2:1: "):
            read("${a}", params_yaml="a: [\n")


ENTRY = "datasets:\n- name: a\n  url: u\n  type: dvc\n"
EMPTY = {
    "nothing": f"{ENTRY}  rev:\n",
    "two": f"{ENTRY}  path:\n  rev:\n",
    "first": "datasets:\n- name: a\n  rev:\n  url: u\n  type: dvc\n",
    "with comments": f"{ENTRY}  rev:   # none\n  path: # x\n",
    "in braces": "datasets: [{name: a, url: u, type: dvc, rev: , path: }]\n",
    "before a section": f"{ENTRY}  rev:\nstages: {{}}\n",
    "at the end": f"{ENTRY}  rev:",
    "text": f"{ENTRY}  rev: ''\n  path: null\n",
    "CRLF": f"{ENTRY}  rev:\n  path:\n".replace("\n", "\r\n"),
}


@pytest.mark.parametrize("text", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("changes", [{"rev": "v1"}, {"rev": "v1", "path": "p"}, {"url": "other"}])
def test_empty_values_can_be_updated(tmp_path, text, changes):
    path = tmp_path / "dvc.yaml"
    path.write_bytes(text.encode())
    spec = DVCDatasetSpec(**{"name": "a", "url": "u", "type": "dvc"} | changes)
    path.write_bytes((Manifest.read(path).with_spec(spec) or text).encode())
    assert Manifest.read(path).entries["a"].spec == spec


@pytest.mark.parametrize(
    "head",
    [
        "datasets:\n",
        "datasets:   # pinned\n",
        "datasets:\n# none yet\n",
        "datasets:\n  # none yet\nstages: {}\n",
        "datasets: # a\n  # b\n# c\nstages:\n  a: {cmd: x}\n",
        "datasets:",
        "datasets: # x",
        "datasets: ~ # x\n",
        "datasets: [] # x\n",
        "stages: {}\ndatasets: # x\n# y",
        "datasets: # x\r\n\r\nstages: {}\r\n",
    ],
)
def test_an_empty_list_can_be_filled(tmp_path, head):
    path = tmp_path / "dvc.yaml"
    path.write_bytes(head.encode())
    spec = DVCDatasetSpec(name="a", url="u", type="dvc", rev="v1")
    text = Manifest.read(path).with_spec(spec)
    path.write_bytes(text.encode())
    assert Manifest.read(path).entries["a"].spec == spec
    left = text
    for line in ("- name: a", "  url: u", "  type: dvc", "  rev: v1"):
        assert line in left
        left = left.replace(line, "", 1)
    assert all(word in left for word in head.replace("~", "").replace("[]", "").split())


texts = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12
) | st.sampled_from(
    ["true", "No", "1", "0123", "1e5", "0x1f", "2024-01-01", "1:30", "~", "null", "-", "- a", "a: b", "a #b", " a"]
)  # fmt: skip


def test_threads_read_at_the_same_time(monkeypatch):
    take, others = yaml_tree._Builder.take, []

    def late(builder, event):
        if builder._path == "one" and not others:
            with ThreadPoolExecutor(1) as pool:
                others.append(pool.submit(parse_yaml, "b: [2, 3]", "other").result())
        take(builder, event)

    monkeypatch.setattr(yaml_tree._Builder, "take", late)
    found = [to_python(tree, "") for tree in (parse_yaml("a: {x: 1}", "one"), *others)]
    assert found == [{"a": {"x": 1}}, {"b": [2, 3]}]


def dumped(value):
    """Return a value as DVC writes it, but on one line."""
    yaml, stream = YAML(), io.StringIO()
    yaml.default_flow_style = False
    yaml.width = 1 << 30
    yaml.dump({"a": value}, stream)
    return stream.getvalue()


@examples(100, 300)
@given(texts | st.text("ab:-?# '\"\\{}[],&*!|>%@`~=.019eEx_\n\t<+/é日\u00a0\ufeff", max_size=8))
def test_text_is_written_as_dvc_writes_it_and_read_back(text):
    for written in (f"a: {scalar(text)}\n", f"[{{a: {flow(text, inside=True)}}}]"):
        assert "\n" not in written[:-1]
        found = YAML(typ="safe", pure=True).load(written)
        assert (found if isinstance(found, dict) else found[0])["a"] == text
    assert to_python(parse_yaml(f"a: {scalar(text)}", ""), "")["a"] == text
    # Quoted by DVC, these are read back as other line ends.
    if not {"\x85", "\u2028", "\u2029"} & set(text):
        assert f"a: {scalar(text)}\n" == dumped(text)


metas = st.builds(
    Meta,
    size=st.none() | st.integers(0, 2**63 - 1),
    isexec=st.booleans(),
    version_id=st.none() | texts.filter(bool),
    etag=st.none() | texts.filter(bool),
    md5=st.none() | st.text("0123456789abcdef", min_size=32, max_size=32),
    mtime=st.none() | st.floats(0, 1e12),
).filter(Meta.to_dict)  # fmt: skip


@st.composite
def url_locks(draw):
    names = draw(st.lists(texts.filter(bool), unique=True, max_size=8))
    files = [FileInfo(relpath=name, meta=draw(metas)) for name in names]
    meta = Meta(isdir=True, size=1, nfiles=len(files)) if files else draw(metas)
    return URLDatasetLock(name=draw(texts.filter(bool)), url="u", type="url", meta=meta, files=files)


LOCK_HEADS = [
    "",
    "# x",
    "{}\n",
    "schema: '2.0'\nstages: {}\n",
    "schema: '2.0'\r\nstages:\r\n  a:\r\n    cmd: b\r\n",
    "{schema: '2.0'}",
    "schema: '2.0'\ndatasets: []\nstages: {}\n",
    "schema: '2.0'\ndatasets:\n    -   name: other\n        url: x\n        type: new kind\nstages: {}\n",
    "schema: '2.0'\ndatasets: [{name: other, url: x, type: none}]\n",
]


PIECES = [
    "", "\n", " ", "'", '"', "#", ": ", "- ", "\\", "x", "&a ", "\n      size: 1", "\n  - relpath: x", "\n    meta:", "\n\n", "\n   ",
]  # fmt: skip


class TestLockFiles:
    @examples(10, 30, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(LOCK_HEADS), url_locks(), url_locks())
    def test_say_again_what_was_written(self, tmp_path_factory, head, first, second):
        assume("other" not in {first.name, second.name})
        path = tmp_path_factory.getbasetemp() / "odd.lock"
        path.write_bytes(head.encode())
        for lock in (first, second, first):
            text = LockFile.read(path).with_lock(lock)
            path.write_bytes(text.encode())
            assert LockFile.read(path).find(lock.name) == lock
            plain = load(text)
            assert plain["schema"] == "2.0"
            assert lock.to_dict() in plain["datasets"]
            assert {k: v for k, v in plain.items() if k != "datasets"} == {
                "schema": "2.0",
                "stages": {},
                **{k: v for k, v in load(head).items() if k != "datasets"},
            }
        assert LockFile.read(path).find("other") is None

    def test_an_entry_is_replaced_where_it_stands(self, tmp_path):
        path = tmp_path / "dvc.lock"
        entry = "- name: {0}\n  url: u\n  type: dvc\n  rev_lock: {1}\n"
        before = f"schema: '2.0'\n# a\ndatasets:\n{entry.format('a', 1 * 'a')}  # of a\n"
        after = f"# c\n{entry.format('c', 'ccc')}stages: {{}}   # none\n"
        path.write_text(before + entry.format("b", "bbb") + after)
        lock = DVCDatasetLock(name="b", url="u", type="dvc", rev_lock="0" * 40)
        assert LockFile.read(path).with_lock(lock) == before + entry.format("b", f"'{'0' * 40}'") + after

    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_long_lists_are_read_as_yaml_reads_them(self, tmp_path, monkeypatch, newline):
        names = [
            "a b",
            "it's",
            "0123",
            "1e5",
            "0a1b",
            "1.5.jpg",
            "x:y",
            "é",
            "日本 語.jpg",
            "tr#ue",
            "true",
            "-a",
            "a,b",
        ]
        files = [FileInfo(relpath=name, meta=Meta(size=n, md5=f"{n:032d}")) for n, name in enumerate(names)]
        lock = URLDatasetLock(name="l", url="u", type="url", meta=Meta(isdir=True), files=files)
        path = tmp_path / "dvc.lock"
        path.write_text(LockFile.read(path).with_lock(lock), newline=newline)
        quick = LockFile.read(path)
        assert len(quick.lists) == 1
        added = quick.with_lock(DVCDatasetLock(name="m", url="u", type="dvc", rev_lock="f" * 40))
        entry = f"- name: m\n  url: u\n  type: dvc\n  rev_lock: {'f' * 40}\n"
        assert added.replace(entry.replace("\n", newline), "") == path.read_bytes().decode()
        monkeypatch.setattr(lock_files, "_LONG", math.inf)
        slow = LockFile.read(path)
        assert slow.lists == []
        assert quick.find("l") == slow.find("l") == lock

    @examples(20, 60, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_lists_that_dvc_wrote_are_read_as_yaml_reads_them(self, tmp_path_factory, data):
        """Names of any kind and length, which DVC writes on several lines; also if something else was written over it."""
        words = (
            texts
            | st.text("ab -'\"#:\\\t\n", min_size=60, max_size=120)
            | st.just("it's a word ").map(lambda w: w * 12)
        )
        metas = st.fixed_dictionaries(
            {"size": st.integers(0, 9**18)},
            optional={
                "etag": words.filter(bool),
                "md5": st.text("0123456789abcdef", min_size=32, max_size=32),
                "inode": st.integers(0, 9**18),
                "mtime": st.floats(0, 1e12),
                "isexec": st.just(True),
            },
        )
        files = data.draw(
            st.lists(st.fixed_dictionaries({"relpath": words, "meta": metas}), min_size=1, max_size=6)
        )
        entry = {"name": "l", "url": "u", "type": "url", "meta": {"isdir": True}, "files": files}
        stage = {"cmd": "x", "deps": [{"path": "ds://l", "dataset": entry}]}
        yaml, stream = YAML(), io.StringIO()
        yaml.default_flow_style = False
        yaml.representer.ignore_aliases = lambda _: True
        yaml.dump({"schema": "2.0", "datasets": [entry], "stages": {"a": stage}}, stream)
        text = stream.getvalue()
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(text)))
            text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[at + 1 :]
        path = tmp_path_factory.getbasetemp() / "long.lock"
        path.write_bytes(text.encode())
        found = []
        for long in (0, math.inf):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(lock_files, "_LONG", long)
                try:
                    found.append(LockFile.read(path).find("l"))
                except InvalidValueError:
                    found.append(None)
        assert found[0] == found[1]

    @pytest.mark.parametrize("times", [2, pytest.param(500, marks=pytest.mark.long)])
    def test_no_name_makes_a_long_list_slow(self, tmp_path, times):
        """Lists of 400 and 200,000 files: no line of them is parsed as YAML."""
        names = [
            "it's a 'name' " * 9,
            "tab\there",
            "日本 語 " * 20,
            "- a: b #c",
            "0123",
            "a" * 200,
            "b/c.jpg",
            "\x01" * 9,
        ]
        files = [
            {"relpath": f"{name}{n}", "meta": {"size": n, "version_id": f"{n:x}a", "etag": f"{n:032x}"}}
            for n, name in enumerate(names * 50)
        ]
        entry = {"name": "l", "url": "u", "type": "url", "meta": {}, "files": files}
        yaml, stream = YAML(), io.StringIO()
        yaml.default_flow_style = False
        yaml.dump({"schema": "2.0", "datasets": [entry]}, stream)
        head, _, listed = stream.getvalue().partition("  files:\n")
        (tmp_path / "dvc.lock").write_text(f"{head}  files:\n{listed * times}")
        lock_file = LockFile.read(tmp_path / "dvc.lock")
        assert len(lock_file.document.text) < 200
        found = lock_file.find("l").files
        assert len(found) == 400 * times
        assert {file.relpath for file in found} == {file["relpath"] for file in files}

    def test_what_looks_like_a_list_and_is_none_is_read_as_yaml(self, tmp_path):
        inside = "  files:\n" + "".join(
            f"  - relpath: {n}.jpg\n    meta:\n      size: 1\n" for n in range(50)
        )
        text = f"schema: '2.0'\ndatasets:\n- name: a\n  url: u\n  type: url\n  meta:\n    size: 1\nnote: \"\n{inside}\"\n"
        path = tmp_path / "dvc.lock"
        path.write_text(text)
        found = LockFile.read(path)
        assert found.lists == []
        assert found.find("a").files == []
        lock = DVCDatasetLock(name="b", url="u", type="dvc", rev_lock="f" * 40)
        assert load(found.with_lock(lock))["note"] == load(text)["note"]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("a: 1\n", "1:1: schema must be '2.0'"),
            ("schema: '1.0'\n", "1:9: schema must be '2.0'"),
            ("schema: '2.0'\ndatasets: x\n", "2:11: datasets must be a list"),
            ("schema: '2.0'\ndatasets:\n- {name: a, url: b, type: dvc}\n", "3:3: rev_lock is missing"),
            ("schema: '2.0'\ndatasets:\n- {name: a, url: b, type: url, meta: 5}\n", "3:3: meta must be a mapping"),
            ("schema: '2.0'\ndatasets:\n- {name: a, url: b, type: url, meta: {size: x}}\n", "size must be an integer"),
            ("schema: '2.0'\ndatasets:\n- {name: a, url: b, type: url, meta: {mtime: .nan}}\n", "mtime must be a num"),
            ("schema: '2.0'\ndatasets:\n- {name: a, url: b, type: dc, version: 0, created_at: x}\n", "version must be"),
            ("schema: '2.0'\ndatasets:\n- {name: a, url: b, type: dc, version: 1, created_at: x}\n", "ISO 8601"),
            ("schema: '2.0'\ndatasets:\n- {name: a, url: b, type: dc, version: 1}\n", "created_at is missing"),
            ("schema: '2.0'\ndatasets:\n- {name: a, url: b, type: url, meta: {}, files: x}\n", "files must be a list"),
        ],
    )  # fmt: skip
    def test_broken_ones(self, tmp_path, text, problem):
        path = Path(tmp_path / "dvc.lock")
        path.write_text(text)
        with pytest.raises(InvalidValueError) as caught:
            LockFile.read(path).find("a")
        assert str(caught.value).startswith(f"{path}:")
        assert problem in str(caught.value)

    def test_times_without_quotes(self, tmp_path):
        path = tmp_path / "dvc.lock"
        path.write_text(
            "schema: '2.0'\ndatasets:\n- {name: a, url: b, type: dc, version: 1, created_at: 2024-05-06T07:08:09+00:00}\n"
        )
        found = LockFile.read(path).find("a")
        assert isinstance(found, DatachainDatasetLock)
        assert found.created_at.isoformat() == "2024-05-06T07:08:09+00:00"
