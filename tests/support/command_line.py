"""Commands run in this process, as a user would."""

from __future__ import annotations

import json
from functools import cache

import typer.testing
from typer.testing import CliRunner

from framelode.adapters.cli.app import app

# To build the commands takes longer than to run one.
typer.testing._get_command = cache(typer.testing._get_command)


def run(*arguments, status=0):
    """Run a command in this process."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == status, (done.exit_code, done.stdout, done.stderr, done.exception)
    assert "Traceback" not in done.stderr
    return done


def run_json(*arguments, status=0):
    return json.loads(run(*arguments, "--json", status=status).stdout)
