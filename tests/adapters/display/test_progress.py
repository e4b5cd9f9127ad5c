"""Progress bars in notebooks. No notebook runs here: its parts that rich looks for are stood in for."""

from __future__ import annotations

import builtins
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import rich
from making import make

import framelode
from framelode import DatasetVersion


class ZMQInteractiveShell:
    """The class by whose name rich knows a notebook."""


@pytest.fixture
def shown(monkeypatch):
    """What a notebook displays, as text."""
    rich.get_console()  # older than the notebook, as when other code printed with rich before
    texts = []

    class Output:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def clear_output(self, wait):
            pass

        def close(self):
            texts.append("closed")

    def module(name, **names):
        made = ModuleType(name)
        made.__spec__ = ModuleSpec(name, None)
        vars(made).update(names)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    display = module("IPython.display", display=lambda thing: texts.append(getattr(thing, "text", "")))
    module("IPython", display=display)
    module("ipywidgets", Output=Output)
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    return texts


@pytest.fixture
def draft(tmp_path):
    with framelode.connect(tmp_path / "engine") as engine:
        DatasetVersion.create_new_dataset("food")
        yield DatasetVersion.get_current(dataset_name="food")
        engine.close()


def test_a_long_call_shows_a_bar_with_its_total_and_takes_it_away(draft, shown):
    draft.add_frames([make(number) for number in range(10)])
    assert shown == []
    engine = framelode.current_engine()
    head = engine.log.head().position
    engine.rebuild()
    assert any("rebuilding" in text and f"{head}/{head}" in text for text in shown)
    assert shown.count("closed") == 1


def test_writes_of_several_parts_show_one(draft, shown):
    draft.add_frames([make(number) for number in range(30)], batch_size=2)
    assert any("writing frames" in text and "30/30" in text for text in shown)
    assert shown.count("closed") == 1


def test_a_callback_is_called_instead(draft, shown):
    calls = []
    framelode.current_engine().verify(progress=lambda *call: calls.append(call))
    assert calls
    assert shown == []


def test_nothing_is_shown_outside_of_notebooks(draft, capsys):
    framelode.current_engine().rebuild()
    assert capsys.readouterr() == ("", "")
