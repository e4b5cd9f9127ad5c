"""Records of published versions for OpenLineage, if the user has configured a transport for it.

The configuration is that of the client of OpenLineage: ``OPENLINEAGE_URL``, ``OPENLINEAGE_CONFIG``, ``OPENLINEAGE__TRANSPORT__...``, or a
file ``openlineage.yml`` in the working directory or in ``~/.openlineage``. Without one, nothing is imported.
"""

from __future__ import annotations

import logging
import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from ...engine.blobs.uris import is_blob_uri
from ...engine.errors import UnreadableError
from ...engine.log.context import decode_context
from ...engine.secrets import redact
from ...engine.times import iso_time
from ...projections.states.source_uris import uris_in
from ...projections.tables.catalog import VersionRow
from ..session.session import Session
from .selectors import find_dataset, version_by_id
from .statistics import Statistics

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset

logger = logging.getLogger("framelode.lineage")

_FILE = "openlineage.yml"
_VARIABLES = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT")


def record_published(session: Session, version_id: str, began: int) -> None:
    """Emit the events of a run that published a version. What fails is logged as a warning.

    Parameters
    ----------
    session : Session
        The engine.
    version_id : str
        The version, which is published now.
    began : int
        When the call began, in UTC microseconds.
    """
    if not _is_configured():
        return
    try:
        from openlineage.client import OpenLineageClient
    except ImportError as error:
        # Configuration without the client may be meant for other programs.
        is_missing = (error.name or "").startswith("openlineage")
        level = logging.INFO if is_missing else logging.WARNING
        logger.log(level, "OpenLineage is configured, but %s: pip install 'framelode[lineage]'", error)
        return
    try:
        client = OpenLineageClient()
        if client.config.transport or os.environ.get("OPENLINEAGE_URL"):
            _emit(client, session, version_by_id(session, version_id), began)
    except Exception as error:  # noqa: BLE001 - a transport may raise anything, and the version is published
        kind = type(error).__name__
        logger.warning(
            "version %s is published, but OpenLineage has no record: %s: %s",
            version_id,
            kind,
            redact(str(error)),
        )


def _is_configured() -> bool:
    if os.environ.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    if any(name.startswith(_VARIABLES) for name in os.environ):
        return True
    return Path(_FILE).is_file() or Path(os.path.expanduser("~"), ".openlineage", _FILE).is_file()  # noqa: PTH111 - never raises


def _emit(client: Any, session: Session, version: VersionRow, began: int) -> None:
    from openlineage.client import event_v2 as events

    from ... import __version__

    records = _Records(session, f"pkg:generic/framelode@{__version__}", __version__)
    inputs, outputs = records.inputs(version), [records.output(version)]
    run, job = records.run(version), records.job(version)
    ended = session.log.batch_at(version.published_position or 0).recorded_at
    times = {events.RunState.START: min(began, ended), events.RunState.COMPLETE: ended}
    try:
        for state, time in times.items():
            client.emit(
                events.RunEvent(
                    eventType=state,
                    eventTime=iso_time(time),
                    run=run,
                    job=job,
                    inputs=inputs,
                    outputs=outputs,
                    producer=records.producer,
                )
            )
    finally:
        client.close()


class _Records:
    """Describes versions in the terms of OpenLineage.

    Parameters
    ----------
    session : Session
        The engine.
    producer : str
        URI of this program.
    release : str
        Its version.
    """

    def __init__(self, session: Session, producer: str, release: str) -> None:
        self._session = session
        self._release = release
        self._namespace = f"framelode://{session.log.uuid}"
        self.producer = producer

    def _made(self, kind: Any, *values: Any, **more: Any) -> Any:
        """Return a facet that says who made it."""
        return kind(*values, producer=self.producer, **more)

    def run(self, version: VersionRow) -> Any:
        """Return the run. A version is published once, so its id is that of the run."""
        from openlineage.client.event_v2 import Run
        from openlineage.client.facet_v2 import processing_engine_run as engine

        facet = self._made(engine.ProcessingEngineRunFacet, self._release, "framelode")
        return Run(str(UUID(version.version_id)), {"processing_engine": facet})

    def job(self, version: VersionRow) -> Any:
        """Return the job: publishing versions of a dataset."""
        from openlineage.client.event_v2 import Job
        from openlineage.client.facet_v2 import job_type_job

        namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or "framelode"
        facet = self._made(job_type_job.JobTypeJobFacet, "BATCH", "FRAMELODE", "PUBLISH")
        return Job(namespace, f"{self._name(version)}.publish", {"jobType": facet})

    def inputs(self, version: VersionRow) -> list[InputDataset]:
        """Return the parent of a version, what was imported into it, and where its sources are."""
        from openlineage.client.event_v2 import InputDataset

        found = [InputDataset(namespace, name) for namespace, name in self._sources(version)]
        if version.parent_id is None:
            return found
        parent = self._session.version_row(version.parent_id)
        return found if parent is None else [self._input(parent), *found]

    def _input(self, version: VersionRow) -> InputDataset:
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import data_quality_metrics_input_dataset as quality
        from openlineage.client.facet_v2 import input_statistics_input_dataset as statistics

        frames, files, size = self._counts(version)
        metrics = self._made(
            quality.DataQualityMetricsInputDatasetFacet, {}, rowCount=frames, bytes=size, fileCount=files
        )
        read = self._made(statistics.InputStatisticsInputDatasetFacet, frames, size, files)
        return InputDataset(
            self._namespace,
            self._name(version),
            {"dataQualityMetrics": metrics, "inputStatistics": read},
            facets=self._facets(version),
        )

    def output(self, version: VersionRow) -> OutputDataset:
        """Return a version that was published."""
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import data_quality_metrics_dataset as quality
        from openlineage.client.facet_v2 import lifecycle_state_change_dataset as lifecycle
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

        frames, files, size = self._counts(version)
        metrics = self._made(
            quality.DataQualityMetricsDatasetFacet,
            {},
            rowCount=frames,
            bytes=size,
            fileCount=files,
            lastUpdated=iso_time(version.updated_at),
        )
        created = self._made(
            lifecycle.LifecycleStateChangeDatasetFacet, lifecycle.LifecycleStateChange.CREATE
        )
        written = self._made(statistics.OutputStatisticsOutputDatasetFacet, frames, size, files)
        return OutputDataset(
            self._namespace,
            self._name(version),
            {"outputStatistics": written},
            facets=self._facets(version) | {"dataQualityMetrics": metrics, "lifecycleStateChange": created},
        )

    def _facets(self, version: VersionRow) -> dict[str, Any]:
        """Return the facets of a published version, as input and as output."""
        from openlineage.client.facet_v2 import (
            dataset_version_dataset,
            datasource_dataset,
            documentation_dataset,
            ownership_dataset,
            storage_dataset,
            tags_dataset,
        )

        position = version.published_position or 0
        published = self._session.log.batch_at(position)
        known = {"name": version.name, "fingerprint": version.fingerprint or "", "position": str(position)}
        tags = [
            tags_dataset.TagsDatasetFacetFields(f"framelode.{key}", value, "FRAMELODE")
            for key, value in known.items()
        ]
        tags += [tags_dataset.TagsDatasetFacetFields(tag, "true", "USER") for tag in version.tags]
        owner = ownership_dataset.Owner(f"user:{published.actor}", "PUBLISHER")
        facets: dict[str, Any] = {
            "version": self._made(dataset_version_dataset.DatasetVersionDatasetFacet, version.version_id),
            "storage": self._made(storage_dataset.StorageDatasetFacet, "framelode"),
            "dataSource": self._made(
                datasource_dataset.DatasourceDatasetFacet, self._session.name, self._session.url
            ),
            "ownership": self._made(ownership_dataset.OwnershipDatasetFacet, [owner]),
            "tags": self._made(tags_dataset.TagsDatasetFacet, tags),
        }
        if version.description:
            facets["documentation"] = self._made(
                documentation_dataset.DocumentationDatasetFacet, version.description
            )
        return facets

    def _name(self, version: VersionRow) -> str:
        dataset = find_dataset(self._session, dataset_id=version.dataset_id)
        return f"{dataset.project}/{dataset.name}"

    def _counts(self, version: VersionRow) -> tuple[int, int, int]:
        """Return the number of frames, of sources and of their known bytes."""
        stats = Statistics.from_counts(self._session.version_counts(version.version_id))
        files = sum(each["count"] for each in stats.sources)
        return stats.total, files, sum(each["bytes"] for each in stats.sources)

    def _sources(self, version: VersionRow) -> list[tuple[str, str]]:
        """Return the folders that were imported, and the folder that the sources of each store have in common."""
        log = self._session.log
        folders: dict[str, set[str]] = {}
        for uri in uris_in(log, self._session.states.parts([version.version_id])):
            if not is_blob_uri(uri) and not uri.startswith("data:"):
                namespace, folder = _place_of(uri)
                folders.setdefault(namespace, set()).add(folder)
        found = {
            # A file has a path, an object a key.
            (namespace, common if namespace == "file" else common.lstrip("/") or "/")
            for namespace, paths in folders.items()
            for common in (posixpath.commonpath(paths),)
        }
        for header in log.headers(stream_id=version.version_id):
            folder = _context_of(header.context, header.first_position).get("folder")
            if isinstance(folder, str):
                found.add(("file", folder))
        return sorted(found)


def _place_of(uri: str) -> tuple[str, str]:
    """Return the namespace of a URI, as OpenLineage names stores, and its folder there."""
    split = urlsplit(uri)
    if split.scheme == "file":
        return "file", posixpath.dirname(unquote(split.path)) or "/"
    return f"{split.scheme}://{split.hostname or ''}", posixpath.dirname(split.path) or "/"


def _context_of(encoded: str, position: int) -> Mapping[str, Any]:
    try:
        context = decode_context(encoded, position)
    except UnreadableError:
        return {}
    return context if "import" in context else {}
