"""Processes of tests, forked off one that has loaded what they need and has no threads: cheap, and safe anywhere."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from multiprocessing import get_context

from patience import PATIENCE

PRELOADED = [
    "PIL.PngImagePlugin",
    "framelode.adapters.datalake",
    "framelode.adapters.hyperdatasets.version_writer",
    "framelode.adapters.pinned_datasets.datasets",
    "framelode.adapters.session.writes",
    "psycopg",
    "s3fs",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
]
FORKED = get_context("forkserver")
FORKED.set_forkserver_preload(PRELOADED)


class Program:
    """A module of this folder that runs as a program; it is used as `subprocess.Popen` is.

    Parameters
    ----------
    module : str
        Its name.
    *arguments
        Its arguments, as strings.
    """

    def __init__(self, module, *arguments):
        their_stdin, our_stdin = FORKED.Pipe(duplex=False)
        our_stdout, their_stdout = FORKED.Pipe(duplex=False)
        command = (module, list(map(str, arguments)), dict(os.environ), their_stdin, their_stdout)
        # A test that fails does not wait for it.
        self._process = FORKED.Process(target=_run, args=command, daemon=True)
        with their_stdin, our_stdin, our_stdout, their_stdout:
            self._process.start()
            self.stdin = os.fdopen(os.dup(our_stdin.fileno()), "w")
            self.stdout = os.fdopen(os.dup(our_stdout.fileno()))

    @property
    def returncode(self):
        return self._process.exitcode

    poll = returncode.fget

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number):
        if self.returncode is None:
            os.kill(self._process.pid, number)

    def communicate(self, text="", timeout=PATIENCE):
        """Send it text, and return what it printed to its end."""
        with self.stdin, self.stdout:
            self.stdin.write(text)
            self.stdin.close()
            printed = self.stdout.read()
        self._process.join(timeout)
        assert self.returncode is not None, f"{self._process.name} has not ended in {timeout} seconds"
        return printed, None


def _run(module, arguments, environment, stdin, stdout):
    os.environ.clear()
    os.environ.update(environment)
    for stream, number in ((stdin, 0), (stdout, 1)):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")
