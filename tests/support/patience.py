"""How long a test waits for another thread or process before it fails: far longer than it ever takes."""

from __future__ import annotations

PATIENCE = 120
"""Seconds. `faulthandler_timeout` of pytest.ini ends what waits in any other way."""


def join(*workers):
    """Wait until threads or processes have ended."""
    for worker in workers:
        worker.join(PATIENCE)
        assert not worker.is_alive(), f"{worker.name} has not ended in {PATIENCE} seconds"
