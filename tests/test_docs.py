"""Every Python example of the docs runs, and prints what the comment behind its `print` promises."""

from __future__ import annotations

import re
import sys
import tomllib

import pytest
from doc_examples import DOCS, PAGES, python_of
from s3_server import s3_environment, s3_prefix

import framelode
from framelode.engine import errors

SERVER = "postgresql+psycopg://food_app@db.example.com/food"
BUCKET = "s3://bucket/food"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(request, page, tmp_path, monkeypatch):
    program = python_of(page.read_text("utf-8"))
    if SERVER in program:
        program = program.replace(SERVER, request.getfixturevalue("postgres_url"))
    if BUCKET in program:
        program = program.replace(BUCKET, s3_prefix())
        for name, value in s3_environment().items():
            monkeypatch.setenv(name, value)
    printed = {}

    def print_(*values):
        printed[sys._getframe(1).f_lineno] = " ".join(map(str, values))

    monkeypatch.chdir(tmp_path)
    names = {"print": print_, "__name__": "__main__"}
    try:
        exec(compile(program, str(page), "exec"), names)
    finally:
        for value in list(names.values()):
            if isinstance(value, framelode.Engine):
                value.close()
    promised = {
        number: promise[1]
        for number, line in enumerate(program.splitlines(), 1)
        if (promise := re.search(r"^\s*print\(.*\)\s+# (.*)$", line))
    }
    assert {number: printed.get(number) for number in promised} == promised


def test_the_example_of_the_readme_runs_again_in_the_same_folder(tmp_path, monkeypatch, capsys):
    program = python_of((DOCS.parent / "README.md").read_text("utf-8"))
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        names = {}
        exec(compile(program, "README.md", "exec"), names)
        names["engine"].close()
    assert capsys.readouterr().out.count("{'camera': 'phone'}\n{}\n") == 3


def test_there_are_pages_with_python_of():
    assert {"pictures", "time-travel"} <= {page.stem for page in PAGES}


def test_every_extra_is_on_the_page_about_installing():
    extras = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
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
