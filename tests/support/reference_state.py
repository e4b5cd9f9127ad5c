"""The frames of a version by a plain loop, to compare every other replay with."""

from __future__ import annotations

from framelode.engine.keys import Operation


def reference_fold(events, state=None):
    """Replay events ``(position, key, operation)``: the last event of each key wins, and deleted keys are dropped."""
    folded = dict(state or {})
    for position, key, operation in events:
        if operation == Operation.DELETE:
            folded.pop(key, None)
        else:
            folded[key] = position
    return folded
