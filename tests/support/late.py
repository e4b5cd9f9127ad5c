"""Libraries that are loaded by the first test that uses them: each process of a run collects all tests, and runs half."""

from __future__ import annotations

import pytest


class Late:
    """Stands for a module. A test that needs it is skipped where it is not installed.

    Parameters
    ----------
    name : str
        Its full name.
    """

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        if name.startswith("_"):
            # pytest asks all that a module of tests holds for the attributes of fixtures and mocks.
            raise AttributeError(name)
        return getattr(pytest.importorskip(self._name, exc_type=ImportError), name)
