"""How much a test does: little in the default run, and all of it with ``-m long``.

Property tests run in both; any other test that asks for a size is marked ``sized``.
"""

from __future__ import annotations

from hypothesis import settings


def sized(few, many):
    """Return the number for the default run, or the one for the long form."""
    return many if settings.get_current_profile_name() == "long" else few


def examples(few, many, **more):
    """Return settings of a property test with so many examples."""
    return settings(max_examples=sized(few, many), **more)
