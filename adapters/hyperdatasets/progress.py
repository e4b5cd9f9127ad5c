"""How far a call that writes frames has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...engine.errors import InvalidValueError
from ...engine.validation import at_least, shorten
from .writing import logger

if TYPE_CHECKING:
    from fsspec.callbacks import Callback


class Progress:
    """Tells a callback and the log how far a call has come.

    Parameters
    ----------
    callback : fsspec.callbacks.Callback, optional
        Told of the frames done.
    every : int
        Log after every that many frames; 0 or None for never.
    failed_too : bool
        Frames whose upload failed are recorded, too, and so are counted there.
    """

    def __init__(self, callback: Callback | None, every: int | None = 0, *, failed_too: bool = False) -> None:
        if callback is not None and not _is_callback(callback):
            raise InvalidValueError(f"callback must be a fsspec.callbacks.Callback, not {shorten(callback)}")
        self._callback = callback
        self._every = 0 if every is None else at_least(every, "progress_report", 0)
        self._failed_too = failed_too
        self._done = self._reported = 0

    def __call__(self, report: Any) -> None:
        """Take what a call has come to until now."""
        refused = len(report.refusals)
        if self._failed_too:
            refused -= sum(refusal.error_type == "upload" for refusal in report.refusals)
        done = report.events + report.unchanged + report.unknown + report.duplicates + refused
        if self._callback is not None:
            self._callback.relative_update(done - self._done)
        self._done = done
        if self._every and done - self._reported >= self._every:
            self._reported = done
            logger.info("%d frames registered", done)


def _is_callback(value: object) -> bool:
    # fsspec is loaded where it is used: whoever has such a callback has loaded it.
    from fsspec.callbacks import Callback

    return isinstance(value, Callback)
