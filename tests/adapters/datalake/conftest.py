"""What the tests of datalakes share: at the end of each, its engine is whole."""

from __future__ import annotations

import lake_files
import pytest


@pytest.fixture
def engine(engine):
    yield engine
    lake_files.require_whole(engine)
