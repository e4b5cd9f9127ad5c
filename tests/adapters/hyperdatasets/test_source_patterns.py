"""Patterns of source URIs: what they mean, and that no pattern takes long."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framelode.adapters.hyperdatasets.reading import source_matcher

letters = st.text("ab/.*\n", max_size=12)


@given(letters, letters)
@example("ab*ba", "aba")
@example("a**a", "aa")
@example("*ab*ab*", "aab")
@example("*a.*", "\naxab")
def test_a_pattern_means_what_the_expression_means(pattern, uri):
    whole = f"s3://x{pattern}" + "*" * (pattern.endswith("/") and "*" not in pattern)
    expression = ".*".join(map(re.escape, whole.split("*")))
    assert source_matcher(f"s3://x{pattern}")(f"s3://x{uri}") == bool(
        re.fullmatch(expression, f"s3://x{uri}", re.DOTALL)
    )


@pytest.mark.parametrize("pattern", ["s3://" + "*a" * 40 + "b", "*" * 500 + "b", "*" + "aa*" * 100 + "b*"])
def test_many_stars_cost_no_more_than_the_length(pattern):
    # Tried out as an expression, these would not end before the stars.
    assert not source_matcher(pattern)("s3://" + "a" * 10_000)
