"""All lifecycle commands together."""

from __future__ import annotations

from .blobs.commands import BlobCommands
from .datasets.dataset_commands import DatasetCommands
from .datasets.version_commands import VersionCommands
from .sources.deletions import SourceCommands
from .sources.uploads import UploadCommands


class Commands(DatasetCommands, VersionCommands, BlobCommands, UploadCommands, SourceCommands):
    """Commands on datasets, versions, blobs, uploads and sources.

    Each command on datasets and versions may carry a `command_id`: repeated with the same request it does nothing and returns what it
    returned before, with another request it is a `ConflictError`.
    """
