"""A store that refuses every request is not asked by all of those that come meanwhile."""

from __future__ import annotations

import pytest

from framelode.engine.storage.base import BackendError
from framelode.engine.storage.circuit_breaker import REFUSALS_IN_A_ROW, CircuitBreaker


def refused(breaker):
    with pytest.raises(BackendError, match="^busy$"), breaker.asking():
        raise BackendError("busy")


def test_requests_fail_at_once_beside_another_after_so_many_refusals():
    breaker = CircuitBreaker()
    with breaker.asking():
        for _ in range(REFUSALS_IN_A_ROW):
            refused(breaker)
        with (
            pytest.raises(BackendError, match=f"busy; {REFUSALS_IN_A_ROW} requests in a row failed"),
            breaker.asking(),
        ):
            raise AssertionError("the request was sent")
    with breaker.asking():
        refused(breaker)


def test_one_alone_is_sent_whatever_came_before():
    breaker = CircuitBreaker()
    for _ in range(2 * REFUSALS_IN_A_ROW):
        refused(breaker)
    with breaker.asking():
        pass
