"""All lifecycle commands together."""

from __future__ import annotations

from .dataset_commands import DatasetCommands
from .version_commands import VersionCommands


class Commands(DatasetCommands, VersionCommands):
    """Commands on datasets and versions.

    Each command may carry a `command_id`: repeated with the same request it does nothing and returns what it
    returned before, with another request it is a `ConflictError`.
    """
