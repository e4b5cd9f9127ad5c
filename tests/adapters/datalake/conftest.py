"""What the tests of datalakes share: at the end of each, its engine is whole."""

from __future__ import annotations

import lake_files
import pytest


@pytest.fixture
def require_whole():
    return lake_files.require_whole
