"""The streams of the process. What only some processes need is imported where it is used."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TextIO

BROKEN_PIPE = 141

_OBJECTS = 100_000
"""Objects between two garbage collections. Most commands end before there are so many."""


def run(work: Callable[[], object]) -> NoReturn:
    """Do the work of the process, and exit with its status."""
    _prepare_streams()
    warnings.showwarning = _show_warning
    gc.set_threshold(_OBJECTS)
    # No command multiplies matrices, and the threads that numpy would start for it busy-wait.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        _check_arguments()
        work()
        status: int | str | None = 0
    except SystemExit as done:
        status = done.code
    # The interpreter would look at all objects once more before the process ends.
    gc.freeze()
    status = _finish_stdout() or status
    if any(thread.name == "framelode-sql" for thread in threading.enumerate()):
        # A function of DuckDB that takes longer than the limit: nothing waits for it any more.
        os._exit(status if isinstance(status, int) else 1)
    sys.exit(status)


def _prepare_streams() -> None:
    """Make every string printable in any encoding, and replace a closed stdout or stderr."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere())
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def _show_warning(message: Warning | str, *_: object) -> None:
    """Write a warning like an error, without the place in the code."""
    _note(f"warning: {message}")


def _check_arguments() -> None:
    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError:
            _note(f"error: the argument {argument!r} is not valid in the encoding of this terminal")
            from ...engine.errors import UsageError

            sys.exit(UsageError.exit_status)


def _finish_stdout() -> int:
    """Flush stdout; return the exit status if that fails, else 0."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Exit silently, like a Unix command that SIGPIPE ends.
        drop_stdout()
        return BROKEN_PIPE
    except OSError as error:
        drop_stdout()
        _note(f"error: stdout cannot be written: {error.strerror}")
        from ...engine.errors import StorageError

        return StorageError.exit_status
    return 0


def drop_stdout() -> None:
    """Discard the rest of stdout, which the interpreter would otherwise flush at exit and report as an error."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = _nowhere()


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _note(line: str) -> None:
    from .output import note

    note(line)
