"""Exports and imports the log of an engine, in one of the formats, and returns a report."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...engine.errors import InvalidValueError, NotFoundError, UsageError
from ...engine.storage.atomic_files import PathLike, path_of
from ...engine.storage.held_files import open_file
from ...engine.tracing import traced
from ...engine.validation import shorten
from .dataset_import import import_dataset
from .importing import LogImport, PortableFile, Progress, import_whole
from .schema import PORTABLE_VERSION, DatasetLine, Header, Recorded
from .selection import everything, one_dataset, recorded_batches

if TYPE_CHECKING:
    from ..session.session import Session

JSONL, PARQUET = "jsonl", "parquet"
FORMATS = (JSONL, PARQUET)

_PARQUET_MAGIC = b"PAR1"


class LogExport(msgspec.Struct, frozen=True):
    """Result of an export.

    Attributes
    ----------
    file : str
        Path of the file.
    format : str
        ``jsonl`` or ``parquet``.
    log : str
        Uuid of the log.
    position : int
        The last position of the log when the export began.
    digest : str
        The chain digest at `position`, in hex.
    events, batches : int
        Number of events and batches in the file.
    bytes : int
        Size of the file in bytes.
    dataset : str or None
        Id of the dataset, if the file contains only one.
    """

    file: str
    format: str
    log: str
    position: int
    digest: str
    events: int
    batches: int
    bytes: int
    dataset: str | None = None


@traced("export_log")
def export_log(
    session: Session,
    path: PathLike,
    dataset: DatasetLine | None,
    form: str | None,
    progress: Progress | None,
) -> LogExport:
    """Export the log of an engine, or one of its datasets, to a new file; see `Engine.export_log`."""
    file = path_of(path, "the file")
    form = _form_of(file, form)
    log = session.log
    head = log.head()
    selection = everything(head) if dataset is None else one_dataset(log, head, dataset)
    header = Header(
        framelode="log",
        version=PORTABLE_VERSION,
        log=log.uuid,
        position=head.position,
        digest=head.digest.hex(),
        events=selection.events,
        dataset=selection.dataset,
    )
    counted = _Counted(recorded_batches(log, head, selection.chosen), selection.events, progress)
    if form == PARQUET:
        from .parquet import write_parquet

        write_parquet(file, header, counted)
    else:
        from .jsonl import write_lines

        write_lines(file, header, counted)
    return LogExport(
        file=str(file),
        format=form,
        log=header.log,
        position=header.position,
        digest=header.digest,
        events=counted.events,
        batches=counted.batches,
        bytes=file.stat().st_size,
        dataset=header.dataset.id if header.dataset else None,
    )


def _form_of(file: Path, form: str | None) -> str:
    if form is None:
        return PARQUET if file.suffix == f".{PARQUET}" else JSONL
    if form not in FORMATS:
        raise InvalidValueError(f"format must be one of {', '.join(FORMATS)}, not {shorten(form)}")
    return form


class _Counted:
    """Counts batches while they are written, and reports progress in events."""

    def __init__(self, batches: Iterable[Recorded], total: int, progress: Progress | None) -> None:
        self._batches = batches
        self._total = total
        self._progress = progress
        self.batches = 0
        self.events = 0

    def __iter__(self) -> Iterator[Recorded]:
        for recorded in self._batches:
            yield recorded
            self.batches += 1
            self.events += len(recorded.events)
            if self._progress:
                self._progress(self.events, self._total)


@traced("import_log")
def import_log(session: Session, path: PathLike, progress: Progress | None) -> LogImport:
    """Import a portable file; see `Engine.import_log`."""
    file = path_of(path, "the file")
    with _source_of(file) as source:
        header = source.header
        report = LogImport(log=header.log, dataset=header.dataset.id if header.dataset else None)
        take_over = import_whole if header.dataset is None else import_dataset
        take_over(session.log, source, report, progress)
    head = session.log.head()
    report.position, report.digest = head.position, head.digest.hex()
    report.missing_blobs = session.writes.blobs.missing()
    return report


@contextmanager
def _source_of(path: Path) -> Generator[PortableFile, None, None]:
    try:
        file = open_file(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    with file:
        magic = file.read(len(_PARQUET_MAGIC))
        file.seek(0)
        if magic == _PARQUET_MAGIC:
            from .parquet import ParquetSource

            yield ParquetSource(file, str(path))
        else:
            from .jsonl import LinesSource

            yield LinesSource(file, str(path))
