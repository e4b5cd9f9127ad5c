"""All lifecycle commands together."""

from __future__ import annotations

from .blob_commands import BlobCommands
from .dataset_commands import DatasetCommands
from .pins import PinCommands
from .source_commands import SourceCommands
from .upload_commands import UploadCommands
from .version_commands import VersionCommands


class Commands(DatasetCommands, VersionCommands, BlobCommands, UploadCommands, SourceCommands, PinCommands):
    """Commands on datasets, versions, blobs, uploads, sources and pinned datasets.

    Each command on datasets and versions may carry a `command_id`: repeated with the same request it does nothing and returns what it
    returned before, with another request it is a `ConflictError`.
    """
