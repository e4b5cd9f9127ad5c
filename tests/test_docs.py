"""Every example of the documentation runs, in Python and in the shell, and prints what it promises."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import ExitStack

import pytest
from command_line import run
from doc_examples import DOCS, PAGES, ROOT, blocks_of
from opentelemetry.util._once import Once
from ruamel.yaml import YAML
from s3_server import s3_environment, s3_prefix

import framelode
from framelode.engine import errors

SERVERS = re.compile(r"postgresql\+psycopg://\w+@db\.example\.(?:com|org)/food")
BUCKET = re.compile(r"s3://bucket/\w+")
CLUSTER = "tcp://scheduler:8786"
ELSEWHERE = {"pip", "dask", "duckdb", "chgrp"}
"""Programs of shell blocks that are not run: they install, run for ever, or are not on every machine."""

GUIDES = [*PAGES, *(page for page in sorted(DOCS.glob("how-to/*.md")) if page not in PAGES)]


@pytest.fixture
def places(request, tmp_path, monkeypatch):
    """Return a function that puts real places into a page: a database, a bucket, a cluster, folders."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:

        def put(text):
            if SERVERS.search(text):
                text = SERVERS.sub(request.getfixturevalue("postgres_url"), text)
            if "opentelemetry" in text:
                # A process can set its provider once, and its spans would go on in other tests.
                monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", None)
                monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER_SET_ONCE", Once())
            if BUCKET.search(text):
                text = BUCKET.sub(s3_prefix(), text)
                for name, value in s3_environment().items():
                    monkeypatch.setenv(name, value)
            if CLUSTER in text:
                from dask_cluster import threads_cluster

                text = text.replace(CLUSTER, stack.enter_context(threads_cluster()).scheduler_address)
            return text.replace("/srv/food", str(tmp_path / "srv"))

        yield put


def run_shell(code, monkeypatch):
    """Run the commands of a shell block: framelode in this process, tools for keys and JSON as they are."""
    for line in code.splitlines():
        name, *arguments = shlex.split(line, comments=True)
        if name == "export":
            monkeypatch.setenv(*arguments[0].split("=", 1))
        elif name == "framelode":
            run(*arguments)
        elif name not in ELSEWHERE:
            subprocess.run([name, *arguments], check=True, capture_output=True)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_page_runs_from_top_to_bottom(page, places, monkeypatch):
    """Python prints what the comment behind each `print` promises, and every command succeeds."""
    text = places(page.read_text("utf-8"))
    printed = {}

    def print_(*values):
        printed[sys._getframe(1).f_lineno] = " ".join(map(str, values))

    names = {"print": print_, "__name__": "__main__"}
    try:
        for language, above, code in blocks_of(text):
            if language == "sh":
                run_shell(code, monkeypatch)
            else:
                exec(compile("\n" * above + code, str(page), "exec"), names)
    finally:
        for value in list(names.values()):
            if isinstance(value, framelode.Engine):
                value.close()
    promised = {
        number: promise[1]
        for number, line in enumerate(text.splitlines(), 1)
        if (promise := re.search(r"^\s*print\(.*\)\s+# (.*)$", line))
    }
    assert {number: printed.get(number) for number in promised} == promised


@pytest.mark.parametrize(
    ("page", "printed"),
    [("README.md", "{'camera': 'phone'}\n{}\n"), ("docs/index.md", "{'name': 'car', 'count': 1}\n")],
)
def test_a_first_page_runs_again_in_the_same_folder(page, printed, places, monkeypatch, capsys):
    text = places((ROOT / page).read_text("utf-8"))
    for _ in range(2):
        names = {}
        for language, _, code in blocks_of(text):
            if language == "sh":
                run_shell(code, monkeypatch)
            else:
                exec(compile(code, page, "exec"), names)
        names["engine"].close()
    assert capsys.readouterr().out.count(printed) == 2


def test_the_gate_builds_the_site_as_contributors_do():
    told = re.search(r"^(.*mkdocs build.*?) *#", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    assert f"{told[1]} --site-dir" in (ROOT / ".ci" / "run").read_text("utf-8")


class TestCompose:
    @pytest.fixture
    def file(self):
        return YAML(typ="safe").load((DOCS / "compose.yaml").read_text("utf-8"))

    def test_it_is_a_compose_file(self, file):
        assert file.keys() <= {"name", "services", "volumes"}
        for service in file["services"].values():
            assert service.keys() <= {
                "command",
                "environment",
                "healthcheck",
                "image",
                "ports",
                "restart",
                "volumes",
            }
            assert re.fullmatch(r"[\w/.-]+:\d[\w.]*", service["image"])  # a release, not what is newest
            assert service["healthcheck"].keys() == {"test", "interval", "timeout", "retries"}
            assert service["healthcheck"]["test"][0] == "CMD"
            assert all(port.startswith("127.0.0.1:") for port in service["ports"])
            assert {volume.partition(":")[0] for volume in service["volumes"]} <= file["volumes"].keys()
            assert all(isinstance(value, str) for value in service["environment"].values())

    def test_the_guide_connects_to_what_it_starts(self, file):
        page = (DOCS / "how-to" / "object-storage.md").read_text("utf-8")
        postgres, s3 = (file["services"][name] for name in ("postgres", "s3"))
        user, database = postgres["environment"]["POSTGRES_USER"], postgres["environment"]["POSTGRES_DB"]
        assert f"postgresql+psycopg://{user}@127.0.0.1/{database}" in page
        (bucket,) = (each.removeprefix("-bucket=") for each in s3["command"] if each.startswith("-bucket="))
        assert f"s3://{bucket}/" in page
        assert f"AWS_ENDPOINT_URL_S3=http://{s3['ports'][0].rpartition(':')[0]}" in page
        for given in (postgres["environment"], s3["environment"]):
            for name, default in re.findall(r"\$\{(\w+):-(\w+)\}", " ".join(given.values())):
                assert f"{name}={default}" in page


def test_there_are_pages_with_python_of():
    assert {"pictures", "time-travel"} <= {page.stem for page in PAGES}


def test_every_extra_is_on_the_page_about_installing():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "install.md").read_text("utf-8"), re.MULTILINE)
    assert set(extras) == {name for row in rows for name in re.findall(r"`([a-z0-9]+)`", row)}


def test_every_public_name_is_in_the_reference():
    text = "".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    public = set(framelode.__all__) - {"__version__"}
    assert public <= set(re.findall(r"\w+", text))


def test_the_table_of_errors_says_what_they_are():
    page = (DOCS / "reference" / "errors.md").read_text("utf-8")
    told = re.findall(r"^\| `(\w+)` \|(?: (.*?))? \| `([\w-]+)` \| (\d) \|", page, re.MULTILINE)
    public = {
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, framelode.FramelodeError)
    }
    assert set(told) == {
        (
            each.__name__,
            ", ".join(
                f"`{base.__name__}`" for base in each.__bases__ if base is not framelode.FramelodeError
            ),
            each.code,
            str(each.exit_status),
        )
        for each in public - {framelode.FramelodeError}
    }
