"""`One`, `OneAlyx` and `ONE`: search, list and load sessions and datasets."""

# pandas declares unions of types that these calls never return.
# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import logging
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from inspect import unwrap
from pathlib import Path, PurePosixPath
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID

import numpy as np
import pandas as pd
import requests
from iblutil.util import Bunch

from ...engine.errors import InvalidTypeError, InvalidValueError, NotFoundError, UsageError
from ...engine.iterables import chunked
from . import __version__, params, util
from . import webclient as wc
from .alf import files as alfiles
from .alf import io as alfio
from .alf.cache import (
    DATASETS_COLUMNS,
    QC_TYPE,
    SESSIONS_COLUMNS,
    load_table,
    make_parquet_db,
    md5_of,
    save_table,
)
from .alf.exceptions import (
    ALFError,
    ALFMultipleCollectionsFound,
    ALFMultipleObjectsFound,
    ALFObjectNotFound,
    OfflineError,
    PatternError,
    PreconditionError,
)
from .alf.spec import QC, is_uuid_string
from .converters import ConversionMixin, session_record2path
from .recording import FolderRecords, indexed, is_missing
from .util import ensure_list, filter_datasets

logger = logging.getLogger(__name__)

_STALE_LOCK = 5
_IDS_OF_A_QUERY = 100
_WAY_OUT = "register the folder again if that is intended, or restore the files"
_NEVER = datetime.min  # noqa: DTZ901 - it is compared with the local times of tables
_TEXT_TERMS = {
    "subject": "subject",
    "task_protocol": "task_protocol",
    "laboratory": "lab",
    "projects": "projects",
}


class DatasetMismatchWarning(UserWarning):
    """The size or hash of a local file differs from its record."""


class One(ConversionMixin):
    """Search, list and load the sessions and datasets of a folder.

    Parameters
    ----------
    cache_dir : str or path, optional
        The folder. By default that of the parameters, see `params.get_cache_dir`.
    mode : {"auto", "local", "remote", "refresh"}
        ``auto`` reads tables again when they are a day old, ``refresh`` at every call, ``local`` never.
    wildcards : bool
        Patterns are those of a shell; in `search` they are regular expressions. Otherwise regular expressions, and plain text in
        `search`.
    tables_dir : str or path, optional
        The folder of the tables. By default `cache_dir`.
    engine : Engine, optional
        The engine that records the folder. By default the current one, else one in the folder.

    Attributes
    ----------
    record_loaded : bool
        Keep the ids of datasets that are loaded, for `save_loaded_ids`.
    uuid_filenames : bool
        File names include the id of the dataset.
    allow_pickle : bool
        Also load files that can run code, see `alf.io.load_file_content`.

    Notes
    -----
    The methods that search, list and load take ``as_of``: a position in the log, a datetime, a text such as ``2026-03-01``, the name of a tag,
    or a list of these, whose datasets are joined. They then use the tables of that time.
    """

    _search_terms = (
        "dataset",
        "date_range",
        "laboratory",
        "number",
        "projects",
        "subject",
        "task_protocol",
        "dataset_qc_lte",
    )
    uuid_filenames: bool | None = None
    _is_past = False

    def __init__(
        self,
        cache_dir: str | Path | None = None,
        mode: str = "auto",
        wildcards: bool = True,
        tables_dir: str | Path | None = None,
        *,
        engine: Any = None,
    ) -> None:
        super().__init__()
        if getattr(self, "cache_dir", None) is None:
            self.cache_dir = Path(cache_dir or params.get_cache_dir())
        self._tables_dir: Path = Path(tables_dir or self.cache_dir)
        self.records = FolderRecords(self.cache_dir, engine)
        self.cache_expiry = timedelta(hours=24)
        self.mode = mode
        self.wildcards = wildcards
        self.record_loaded = False
        self.uuid_filenames = False
        self.allow_pickle = False
        self._changed: set[str] = set()
        self._reset_cache()
        self.load_cache()

    def __repr__(self) -> str:
        return f"One ({'off' if self.offline else 'on'}line, {self.cache_dir})"

    @property
    def offline(self) -> bool:
        """Whether there is no connection to a database: the mode is local, or there is no client."""
        return self.mode == "local" or not getattr(self, "_web_client", None)

    def at(self, moment: Any) -> Self:
        """Return this object with the tables of a point in time, read-only and offline.

        Parameters
        ----------
        moment : int, datetime, str or list of them
            A position in the log, a time, or the name of a tag. Of a list, the datasets of all are joined; where they differ,
            the last one counts.

        Raises
        ------
        NotFoundError
            Nothing is recorded of the folder.
        """
        if not self.records.exists():
            raise NotFoundError(
                f"nothing is recorded of {self.cache_dir}: run `framelode one setup {self.cache_dir}` first"
            )
        several = [self.records.tables(self.records.moment(each)) for each in ensure_list(moment)]
        cache = Bunch({"_meta": {**self._cache["_meta"], "expired": False, "modified_time": None}})
        for name in ("sessions", "datasets"):
            joined = pd.concat([tables[name] for tables in several])
            cache[name] = joined[~joined.index.duplicated(keep="last")].sort_index()
        cache["datasets"]["qc"] = cache["datasets"]["qc"].astype(QC_TYPE)
        past = copy.copy(self)
        vars(past).update(_cache=cache, mode="local", _is_past=True, _changed=set())
        return past

    def tag(self, name: str, moment: Any = None) -> int:
        """Name a point in time, by default now, so that ``as_of=name`` reads it. Returns its position in the log."""
        return self.records.tag(name, moment)

    def tags(self) -> dict[str, int]:
        """Return the positions of all tags, by name."""
        return self.records.tags()

    def search_terms(self, query_type: str | None = None) -> tuple[str, ...]:
        """Return the terms that `search` takes."""
        return self._search_terms

    def _reset_cache(self) -> None:
        self._cache = self._empty_cache()

    @staticmethod
    def _empty_cache() -> Bunch:
        return Bunch(
            {
                "_meta": {
                    "expired": False,
                    "created_time": None,
                    "loaded_time": None,
                    "modified_time": None,
                    "saved_time": None,
                    "raw": {},
                }
            }
        )

    def load_cache(self, tables_dir: str | Path | None = None, **_: Any) -> datetime | None:
        """Read the tables from a folder.

        Parameters
        ----------
        tables_dir : str or path, optional
            The folder. By default the one that was read before.

        Returns
        -------
        datetime or None
            When they were read; None if there are none.

        Raises
        ------
        KeyError
            A table has no ids.
        """
        # Threads that save the tables see the old ones or the new ones.
        cache = self._empty_cache()
        meta = cache["_meta"]
        self._tables_dir = Path(tables_dir or self._tables_dir)
        for file in sorted(self._tables_dir.glob("*.pqt")):
            if file.name.startswith("."):
                continue
            table, raw = load_table(file)
            if "date_created" not in raw:
                logger.warning("%s is left out: it is not a table of sessions or datasets", file)
                continue
            meta["raw"][file.stem] = raw
            meta["loaded_time"] = _now()
            cache[file.stem] = self._patched(table, raw.get("min_api_version"), file.stem)
        if len(cache) == 1:
            meta["expired"] = True
            cache["datasets"] = pd.DataFrame(columns=DATASETS_COLUMNS).set_index(["eid", "id"])
            cache["sessions"] = pd.DataFrame(columns=SESSIONS_COLUMNS).set_index("id")
            if self.offline:
                warnings.warn(
                    f"no tables were found in {self._tables_dir}: run `framelode one setup {self._tables_dir}`",
                    stacklevel=2,
                )
        created = [datetime.fromisoformat(raw["date_created"]) for raw in meta["raw"].values()]
        if created:
            meta["created_time"] = min(created)
            meta["expired"] = _now() - meta["created_time"] > self.cache_expiry
        _add_session_paths(cache)
        self._cache = cache
        return meta["loaded_time"]

    @staticmethod
    def _patched(table: pd.DataFrame, version: str | None, name: str) -> pd.DataFrame:
        if isinstance(table.index, pd.RangeIndex):
            table = util.patch_cache(table, version, name)
            table = indexed(table)
        return indexed(util.patch_cache(table, version, name))

    def refresh_cache(self, mode: str = "auto") -> datetime | None:
        """Read the tables again if the mode asks for it.

        Parameters
        ----------
        mode : {"auto", "refresh", "local", "remote"}
            ``auto`` if they are old, ``refresh`` always, the others never.

        Returns
        -------
        datetime or None
            When they were last read.

        Raises
        ------
        ValueError
            The mode is unknown.
        """
        loaded = self._cache["_meta"]["loaded_time"]
        if mode not in {"auto", "refresh", "local", "remote"}:
            raise InvalidValueError(f"unknown refresh mode {mode!r}: use auto, refresh, local or remote")
        is_old = loaded is not None and _now() - loaded >= self.cache_expiry
        if not self._is_past and (mode == "refresh" or (mode == "auto" and is_old)):
            self.load_cache(clobber=True) if mode == "refresh" else self.load_cache()
        return self._cache["_meta"]["loaded_time"]

    def save_cache(self, save_dir: str | Path | None = None, force: bool = False) -> None:
        """Save the tables in the background if they were changed.

        If the folder is recorded, the changes are recorded as events, and the tables are written from the log.

        Parameters
        ----------
        save_dir : str or path, optional
            Where to write them. By default the folder of the data.
        force : bool
            Also write unchanged tables.
        """
        if self._is_past:
            raise UsageError("these are the tables of the past, which cannot be saved")
        threading.Thread(target=self._save_cache, kwargs={"save_dir": save_dir, "force": force}).start()

    def _save_cache(self, save_dir: str | Path | None = None, force: bool = False) -> None:
        meta = self._cache["_meta"]
        modified = meta.get("modified_time") or _NEVER
        if modified < max(meta.get(name) or _NEVER for name in ("loaded_time", "saved_time")) and not force:
            return
        lock = Path(self.cache_dir, ".cache.lock")
        self._take_lock(lock)
        try:
            self._write_tables(Path(save_dir or self.cache_dir), modified)
            meta["saved_time"] = _now()
        finally:
            lock.unlink(missing_ok=True)

    @staticmethod
    def _take_lock(lock: Path) -> None:
        """Create the lock file, when that of another process is gone or has been left behind."""
        while True:
            try:
                lock.open("x").close()
            except FileExistsError:
                try:
                    age = time.time() - lock.stat().st_mtime
                except FileNotFoundError:
                    continue
                if age > _STALE_LOCK:
                    lock.unlink(missing_ok=True)
                else:
                    time.sleep(0.1)
            else:
                return

    def _write_tables(self, folder: Path, modified: datetime) -> None:
        cache, ids = self._cache, set(self._changed)
        if self.records.exists() and folder == self.cache_dir:
            datasets = cache["datasets"]
            changed = datasets[datasets.index.get_level_values(-1).isin(ids)]
            if len(changed):
                sessions = cache["sessions"]
                sessions = sessions[sessions.index.isin(changed.index.get_level_values(0))]
                self.records.record_tables(sessions, changed)
                self._changed -= ids
            self.records.export()
            return
        for name, table in cache.items():
            if name.startswith("_"):
                continue
            raw = cache["_meta"]["raw"].setdefault(name, {"date_created": _now().isoformat(" ", "minutes")})
            if modified != _NEVER:
                raw["date_modified"] = modified.isoformat(sep=" ", timespec="minutes")
            save_table(folder / f"{name}.pqt", table, raw)

    def set_qc(self, dset_id: str | UUID | Sequence[str | UUID], qc: QC | str | int) -> None:
        """Set the quality control of datasets, and record it if the folder is recorded.

        Parameters
        ----------
        dset_id : str, UUID or sequence of them
            Ids of datasets.
        qc : QC, str or int
            The new value.

        Raises
        ------
        ALFObjectNotFound
            There is no such dataset.
        """
        if self._is_past:
            raise UsageError("these are the tables of the past, which cannot be changed")
        ids = list(map(str, ensure_list(dset_id)))
        datasets = self._cache["datasets"]
        mask = datasets.index.get_level_values(-1).isin(ids)
        missing = set(ids) - set(datasets.index.get_level_values(-1)[mask])
        if missing:
            raise ALFObjectNotFound(f"there is no dataset with the id {min(missing)}")
        datasets.loc[mask, "qc"] = QC.validate(qc).name
        self._mark(ids)
        self._save_cache()

    def _mark(self, ids: Iterable[str]) -> None:
        """Note that some datasets were changed."""
        self._changed.update(ids)
        self._cache["_meta"]["modified_time"] = _now()

    def _update_cache_from_records(self, strict: bool = False, **kwargs: Any) -> datetime | None:
        """Add rows to the tables, or replace those with the same ids.

        Parameters
        ----------
        strict : bool
            Raise AssertionError unless the columns are those of the table. Otherwise other columns are left out, and missing
            ones are empty.
        **kwargs
            Rows by the name of the table.

        Raises
        ------
        KeyError
            There is no such table.
        """
        updated = None
        for name, given in kwargs.items():
            if given is None or given.empty:
                continue
            if name not in self._cache:
                raise NotFoundError(f"there is no table {name!r}: the tables are {', '.join(self._tables())}")
            table = self._cache[name]
            rows = pd.DataFrame([given]) if isinstance(given, pd.Series) else given.copy()
            rows.index.names = table.index.names
            if strict and set(rows.columns) != set(table.columns):
                raise PreconditionError(f"the columns of the rows are not those of the table {name}")
            rows = rows.reindex(columns=table.columns)
            for column in table.select_dtypes(bool).columns:
                rows[column] = rows[column].fillna(value=False).astype(bool)
            kept = table[~table.index.isin(rows.index)]
            joined = rows if kept.empty else pd.concat([kept, rows])
            if "qc" in joined:
                joined["qc"] = joined["qc"].astype(QC_TYPE)
            self._cache[name] = joined.sort_index()
            updated = _now()
            self._mark(rows.index.get_level_values(-1) if name == "datasets" else ())
        return updated

    def _tables(self) -> list[str]:
        return [name for name in self._cache if not name.startswith("_")]

    def save_loaded_ids(
        self, sessions_only: bool = False, clear_list: bool = True
    ) -> tuple[Any, Path | None]:
        """Save the ids of what was loaded while `record_loaded` was set, as a CSV file and as events of the log.

        Parameters
        ----------
        sessions_only : bool
            Save the ids of sessions rather than of datasets.
        clear_list : bool
            Forget them afterwards.

        Returns
        -------
        list of str, Path
            The ids and the file; an empty list and None, with a warning, if there are none.
        """
        loaded = self._cache.get("_loaded_datasets")
        if loaded is None or len(loaded) == 0:
            warnings.warn("no datasets were loaded while record_loaded was set", stacklevel=2)
            return [], None
        index = self._cache["datasets"].index
        index = index[index.get_level_values(-1).isin(loaded)]
        name, ids = (
            ("session_uuid", index.unique(0).to_numpy()) if sessions_only else ("dataset_uuid", loaded)
        )
        file = Path(self._tables_dir, f"{_now():%Y-%m-%dT%H-%M-%S}_loaded_{name}s.csv")
        pd.DataFrame(ids, columns=[name]).to_csv(file, index=False)
        if self.records.exists():
            by_session: dict[str, list[str]] = {}
            for eid, did in index:
                by_session.setdefault(eid, []).append(did)
            self.records.record_loads(by_session)
        if clear_list:
            self._cache["_loaded_datasets"] = np.array([])
        return ids, file

    @util.refresh
    def search(
        self, details: bool = False, query_type: str | None = None, *, as_of: Any = None, **kwargs: Any
    ) -> Any:
        """Return the ids of sessions that match all terms, newest first.

        Parameters
        ----------
        details : bool
            Also return the records of the sessions.
        query_type : str, optional
            The mode of this call.

        Other Parameters
        ----------------
        dataset : str or list of str
            Sessions with datasets whose path contains this; with all of a list.
        dataset_qc_lte : str, int or QC
            Sessions with a dataset that is not worse than this; with `dataset`, those datasets.
        date_range : str, date or list of two
            A day, or the first and last day; None is an open end.
        laboratory, projects, subject, task_protocol : str or list of str
            Sessions with a field that contains this, or one of a list.
        number : int, str or list
            The number of the session on its day.
        as_of : int, datetime, str or list, optional
            The point in time, see `One`.

        Notes
        -----
        Terms may be shortened. If `wildcards` is set, texts are regular expressions. Texts are case-sensitive.

        Returns
        -------
        list of str, or list of str and list of dict
            The ids, and with `details` the records. The records are None if nothing matches.

        Raises
        ------
        ValueError
            A term is unknown or ambiguous, or its value is invalid.
        """
        terms = unwrap(type(self).search_terms)(self, query_type="local")
        queries = {util.autocomplete(term, terms): value for term, value in kwargs.items()}
        sessions = self._cache["sessions"]
        mask = np.ones(len(sessions), bool)
        for term, value in queries.items():
            if term in _TEXT_TERMS:
                mask &= self._contains(sessions[_TEXT_TERMS[term]], value)
            elif term == "number":
                mask &= sessions["number"].isin(_numbers(value)).to_numpy()
            elif term == "date_range" and (limits := util.validate_date_range(value)) is not None:
                dates = pd.to_datetime(sessions["date"])
                mask &= ((dates >= limits[0]) & (dates <= limits[1])).to_numpy()
        if "dataset" in queries or "dataset_qc_lte" in queries:
            with_datasets = self._eids_with(
                queries.get("dataset", ""), queries.get("dataset_qc_lte", QC.FAIL)
            )
            mask &= sessions.index.isin(with_datasets)
        if not mask.any():
            return ([], None) if details else []
        found = sessions[mask].sort_values(["date", "subject", "number"], ascending=False)
        eids = found.index.to_list()
        return (eids, found.reset_index(drop=True).to_dict("records", into=Bunch)) if details else eids

    def _contains(self, values: pd.Series, query: Any) -> np.ndarray:
        """Return which texts contain a query, or one of several. Each different text is examined once."""
        codes, texts = pd.factorize(values)
        matches = self._matcher(query)
        hits = np.fromiter((any(match(text) for match in matches) for text in texts), bool, len(texts))
        # The code of a missing text is -1.
        return np.append(hits, np.False_)[codes]

    def _matcher(self, query: Any) -> list[Callable[[str], Any]]:
        wanted = ensure_list(query)
        wrong = next((each for each in wanted if not isinstance(each, str)), None)
        if wrong is not None:
            raise InvalidTypeError(f"search terms take text, not {wrong!r}")
        if not self.wildcards:
            return [lambda text, each=each: each in text for each in wanted]
        try:
            return [re.compile(each).search for each in wanted]
        except re.error as error:
            raise PatternError(
                f"{query!r} is not a regular expression: {error}; see the property wildcards"
            ) from error

    def _eids_with(self, query: Any, qc: Any) -> pd.Index:
        """Return the ids of sessions with existing datasets that contain all texts, and whose QC is not worse."""
        datasets = self._cache["datasets"]
        limit = QC_TYPE.categories.get_loc(QC.validate(qc).name)
        fits = datasets["exists"].to_numpy(dtype=bool) & (_qc_codes(datasets) <= limit)
        eids = datasets.index.remove_unused_levels() if len(datasets) < 1000 else datasets.index
        codes, levels = eids.codes[0], eids.levels[0]
        found = np.ones(len(levels), bool)
        path_codes, paths = self._factorized(datasets["rel_path"])
        for match in self._matcher(query):
            hits = np.fromiter(
                (match(path) is not None if self.wildcards else match(path) for path in paths),
                bool,
                len(paths),
            )
            has = np.zeros(len(levels), bool)
            has[codes[hits[path_codes] & fits]] = True
            found &= has
        return levels[found]

    def _factorized(self, paths: pd.Series) -> tuple[np.ndarray, Any]:
        """Return the different paths and their places. Those of a long table are kept until it is replaced."""
        if len(paths) < 10_000:
            return pd.factorize(paths)
        key = (id(self._cache["datasets"]), len(paths), self._cache["_meta"]["modified_time"])
        held = self._cache.get("_paths")
        if held is None or held[0] != key:
            held = self._cache["_paths"] = key, pd.factorize(paths)
        return held[1]

    def _check_filesystem(
        self,
        datasets: Any,
        offline: bool | None = None,
        update_exists: bool = True,
        check_hash: bool = True,
    ) -> list[Path | None]:
        """Return the local files of datasets, after those that are missing or differ were downloaded, if there is a connection.

        Parameters
        ----------
        datasets : DataFrame, Series or list of dict
            Rows of the table, or REST records.
        offline : bool, optional
            Download nothing.
        update_exists : bool
            Change the column `exists` of the table to what is found.
        check_hash : bool
            Also compare the MD5 where it is known.

        Returns
        -------
        list of Path or None
            The files; None for those that are missing.
        """
        if isinstance(datasets, pd.Series):
            datasets = pd.DataFrame([datasets])
        elif not isinstance(datasets, pd.DataFrame):
            datasets = util.datasets2records(list(datasets))
        found: list[Path | None] = []
        wanted: list[int] = []
        problems: list[str] = []
        rows = zip(datasets.index, self._session_paths(datasets), datasets.to_dict("records"), strict=True)
        for place, (index, session_path, row) in enumerate(rows):
            file, problem = self._find_file(
                _dataset_id(index), Path(session_path, row["rel_path"]), row, check_hash
            )
            found.append(file)
            if file is None or problem is not None:
                wanted.append(place)
                problems += [] if problem is None else [problem]
            if update_exists and bool(row.get("exists", True)) != (file is not None):
                self._set_exists(_dataset_id(index), exists=file is not None)
        if wanted and not (offline or self.offline):
            downloaded = self._download_datasets(datasets.iloc[wanted], update_cache=update_exists)
            for place, file in zip(wanted, downloaded or [None] * len(wanted), strict=True):
                found[place] = file
        elif problems:
            told = "\n    ".join(problems)
            warnings.warn(
                f"files differ from their records, {_WAY_OUT}:\n    {told}",
                DatasetMismatchWarning,
                stacklevel=5,
            )
        if self.record_loaded:
            self._note_loaded(datasets, found)
        return found

    def _find_file(
        self, did: str, path: Path, row: Mapping[str, Any], check_hash: bool
    ) -> tuple[Path | None, str | None]:
        """Return the file of a dataset, None if it is missing, and how it differs from its record."""
        file = Path(self.cache_dir, path)
        file = alfiles.add_uuid_string(file, did) if self.uuid_filenames else file
        return (file, _mismatch(file, row, check_hash=check_hash)) if file.exists() else (None, None)

    def _session_paths(self, datasets: pd.DataFrame) -> list[str]:
        """Return the paths of the sessions of datasets; they are added to rows that lack them."""
        if "session_path" not in datasets:
            index, table = datasets.index, self._cache["datasets"]
            if index.nlevels == 1:
                eids = dict(
                    zip(table.index.get_level_values(-1), table.index.get_level_values(0), strict=True)
                )
                of = [eids[did] for did in index]
            else:
                of = list(index.get_level_values(0))
            sessions = self._cache["sessions"]
            paths = {eid: session_record2path(sessions.loc[[eid]].iloc[0]).as_posix() for eid in set(of)}
            datasets.insert(len(datasets.columns), "session_path", [paths[eid] for eid in of])
        return datasets["session_path"].to_list()

    def _set_exists(self, did: str, exists: bool) -> None:
        datasets = self._cache["datasets"]
        mask = datasets.index.get_level_values(-1) == did
        if mask.any():
            datasets.loc[mask, "exists"] = exists
            self._mark([did])

    def _note_loaded(self, datasets: pd.DataFrame, found: Sequence[Path | None]) -> None:
        ids = [_dataset_id(index) for index, file in zip(datasets.index, found, strict=True) if file]
        held = self._cache.get("_loaded_datasets")
        self._cache["_loaded_datasets"] = np.unique([*(() if held is None else held), *ids])

    def _download_datasets(self, dsets: Any, **kwargs: Any) -> list[Path | None] | None:
        """Return None: there is nothing to download from."""
        return None

    @util.refresh
    @util.parse_id
    def get_details(self, eid: Any, full: bool = False, *, as_of: Any = None) -> Any:
        """Return the record of a session.

        Parameters
        ----------
        eid : str, UUID, path or dict
            Any identifier of a session.
        full : bool
            Return a data frame with one row for each dataset, which also has the columns of the session.

        Raises
        ------
        ValueError
            It does not identify a session.
        ALFObjectNotFound
            The session is not in the tables.
        ALFMultipleObjectsFound
            The tables have it more than once.
        """
        if isinstance(eid, list):
            return [self.get_details(each, full=full) for each in eid]
        sessions = self._cache["sessions"]
        found = sessions[sessions.index == eid]
        if found.empty:
            raise ALFObjectNotFound(f"there is no session with the id {eid}")
        if len(found) > 1:
            raise ALFMultipleObjectsFound(f"the tables have the session {eid} {len(found)} times")
        if not full:
            return found.iloc[0]
        rows = self._session_datasets(eid, keep_eid=True)
        return rows.join(found, on="eid") if len(rows) else rows.join(found, how="left")

    @util.refresh
    def list_subjects(self, *, as_of: Any = None) -> list[str]:
        """Return the names of all subjects in order."""
        return sorted(self._cache["sessions"]["subject"].unique().tolist())

    def _session_datasets(self, eid: str, *, keep_eid: bool = False) -> pd.DataFrame:
        """Return the datasets of a session, without copying the table."""
        datasets = self._cache["datasets"]
        index = datasets.index
        if len(index) == 0:
            rows = datasets.iloc[:0]
        elif index.is_monotonic_increasing:
            level = index.levels[0]
            code = level.get_indexer_for([eid])[0]
            codes = index.codes[0]
            # A value of another type would be compared with a converted copy of all codes.
            code = codes.dtype.type(code)
            start, stop = (
                np.searchsorted(codes, code, side) if code >= 0 else 0 for side in ("left", "right")
            )
            rows = datasets.iloc[start:stop]
        else:
            rows = datasets[index.get_level_values(0) == eid]
        return rows if keep_eid else rows.droplevel(0)

    @util.refresh
    def list_datasets(
        self,
        eid: Any = None,
        filename: Any = None,
        collection: Any = None,
        revision: Any = None,
        qc: Any = QC.FAIL,
        ignore_qc_not_set: bool = False,
        details: bool = False,
        query_type: str | None = None,
        *,
        as_of: Any = None,
    ) -> Any:
        """Return the relative paths of datasets of a session, or the different ones of all sessions.

        Parameters
        ----------
        eid : str, UUID, path or dict, optional
            Any identifier of a session. By default all sessions.
        filename : str, dict or list, optional
            Pattern of the file name or the relative path, or a dict of patterns of its parts. A list matches if one does.
        collection, revision : str or list, optional
            Pattern of the collection and of the revision; an empty text for none.
        qc : str, int or QC
            Leave out datasets with a worse value.
        ignore_qc_not_set : bool
            Leave out datasets whose QC is not set.
        details : bool
            Return the rows of the table.
        query_type : str, optional
            The mode of this call.

        Other Parameters
        ----------------
        as_of : int, datetime, str or list, optional
            The point in time, see `One`.
        """
        filters: dict[str, Any] = {
            "filename": filename,
            "collection": collection,
            "revision": revision,
            "qc": qc,
            "ignore_qc_not_set": ignore_qc_not_set,
            "wildcards": self.wildcards,
            "revision_last_before": False,
            "assert_unique": False,
        }
        if eid is None or (isinstance(eid, str) and not eid):
            datasets = filter_datasets(self._cache["datasets"], **filters)
            return datasets.copy() if details else datasets["rel_path"].unique().tolist()
        found = self.to_eid(eid)
        datasets = (
            self._cache["datasets"].iloc[:0].droplevel(0) if found is None else self._session_datasets(found)
        )
        datasets = filter_datasets(datasets, **filters)
        return datasets.copy() if details else sorted(datasets["rel_path"])

    @util.refresh
    def list_collections(
        self,
        eid: Any = None,
        filename: Any = None,
        collection: Any = None,
        revision: Any = None,
        details: bool = False,
        query_type: str | None = None,
        *,
        as_of: Any = None,
    ) -> Any:
        """Return the collections of a session, or of all sessions.

        The parameters are those of `list_datasets`. With `details`, a dict of the datasets of each collection is returned.
        """
        datasets = self.list_datasets(
            eid, filename, collection, revision, details=True, query_type=query_type
        )
        return _grouped(datasets, util.collection_of, details=details)

    @util.refresh
    def list_revisions(
        self,
        eid: Any = None,
        filename: Any = None,
        collection: Any = None,
        revision: Any = None,
        details: bool = False,
        query_type: str | None = None,
        *,
        as_of: Any = None,
    ) -> Any:
        """Return the revisions of a session, or of all sessions; an empty text for datasets without one.

        The parameters are those of `list_datasets`. With `details`, a dict of the datasets of each revision is returned.
        """
        datasets = self.list_datasets(
            eid, filename, collection, revision, details=True, query_type=query_type
        )
        return _grouped(datasets, util.revision_of, details=details)

    @util.refresh
    @util.parse_id
    def load_object(
        self,
        eid: Any,
        obj: str,
        collection: Any = None,
        revision: str | None = None,
        query_type: str | None = None,
        download_only: bool = False,
        *,
        as_of: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Load all attributes of an object.

        Parameters
        ----------
        eid : str, UUID, path or dict
            Any identifier of a session.
        obj : str
            Name of the object, or a pattern.
        collection : str or list, optional
            Pattern of the collection.
        revision : str, optional
            Take the last revision that is not after this one. By default the default revision, else the last.
        query_type : str, optional
            The mode of this call.
        download_only : bool
            Return the files rather than their content.
        **kwargs
            More patterns of parts of the file name, such as `attribute`, `namespace` or `timescale`.

        Other Parameters
        ----------------
        as_of : int, datetime, str or list, optional
            The point in time, see `One`.

        Returns
        -------
        AlfBunch or list of Path
            The attributes by name, or the files.

        Raises
        ------
        ALFObjectNotFound
            No dataset matches, or none is on disk.
        ALFMultipleObjectsFound, ALFMultipleCollectionsFound
            The pattern matches several objects, or the object is in several collections.
        """
        datasets = self.list_datasets(eid, details=True, query_type=query_type or self.mode)
        datasets = self._of_objects(datasets, {"object": obj, **kwargs}, collection, revision)
        parts = [alfiles.rel_path_parts(path) for path in datasets["rel_path"]]
        objects, collections = sorted({part[3] for part in parts}), sorted({part[0] or "" for part in parts})
        if len(objects) > 1:
            raise ALFMultipleObjectsFound(*objects)
        if len(collections) > 1:
            raise ALFMultipleCollectionsFound(*collections)
        files = [file for file, _ in self._with_objects(datasets, query_type, f'object "{obj}"')]
        return files if download_only else alfio.load_object(files, allow_pickle=self.allow_pickle)

    def _of_objects(
        self, datasets: pd.DataFrame, parts: dict[str, Any], collection: Any, revision: str | None
    ) -> pd.DataFrame:
        """Return the datasets whose names have some parts, one revision of each."""
        found = filter_datasets(
            datasets, parts, collection, revision, assert_unique=False, wildcards=self.wildcards
        )
        if found.empty:
            raise ALFObjectNotFound(parts["object"] or "")
        return found

    def _with_objects(
        self, datasets: pd.DataFrame, query_type: str | None, what: str
    ) -> list[tuple[Path, str]]:
        """Return the local files of datasets that are there, each with the name of its object."""
        offline = None if (query_type or self.mode) == "auto" else self.mode == "local"
        files = self._check_filesystem(datasets, offline=offline)
        names = [alfiles.rel_path_parts(path)[3] for path in datasets["rel_path"]]
        found = [(file, name) for file, name in zip(files, names, strict=True) if file]
        if not found:
            raise ALFObjectNotFound(f"the {what} was not found on disk: {self._where(datasets)}")
        return found

    def _where(self, datasets: pd.DataFrame) -> str:
        """Describe where datasets should be."""
        paths = [
            str(Path(self.cache_dir, *row))
            for row in zip(self._session_paths(datasets), datasets["rel_path"], strict=True)
        ]
        return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")

    @util.refresh
    @util.parse_id
    def load_dataset(
        self,
        eid: Any,
        dataset: Any,
        collection: Any = None,
        revision: str | None = None,
        query_type: str | None = None,
        download_only: bool = False,
        *,
        as_of: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Load one dataset.

        Parameters
        ----------
        eid : str, UUID, path or dict
            Any identifier of a session.
        dataset : str or dict
            Name of the file, with or without extension, a pattern, its path relative to the session, or a dict of patterns of
            its parts.
        collection : str or list, optional
            Pattern of the collection; not with a relative path.
        revision : str, optional
            As for `load_object`; not with a relative path.
        query_type : str, optional
            The mode of this call.
        download_only : bool
            Return the file rather than its content.

        Other Parameters
        ----------------
        as_of : int, datetime, str or list, optional
            The point in time, see `One`.

        Raises
        ------
        ValueError
            A collection or revision is given with a relative path.
        ALFObjectNotFound
            The dataset is not in the tables, or not on disk.
        ALFMultipleCollectionsFound, ALFMultipleObjectsFound
            Several datasets match.
        """
        datasets = self.list_datasets(eid, details=True, query_type=query_type or self.mode)
        found = self._one_dataset(datasets, dataset, collection, revision, is_path=_is_path(dataset))
        if found.empty:
            raise ALFObjectNotFound(f'Dataset "{dataset}" not found: session {eid} has no such dataset')
        (file,) = self._check_filesystem(found, **kwargs)
        if not file:
            raise ALFObjectNotFound(f'Dataset "{dataset}" not found on disk: {self._where(found)}')
        return file if download_only else self._content(file)

    def _content(self, file: Path | None) -> Any:
        return alfio.load_file_content(file, self.allow_pickle)

    def _one_dataset(
        self, datasets: pd.DataFrame, dataset: Any, collection: Any, revision: Any, *, is_path: bool
    ) -> pd.DataFrame:
        """Return the row of the dataset that is asked for, or none."""
        if is_path and not (collection is None and revision is None):
            raise InvalidValueError(
                f"collection and revision must be None if the dataset {dataset!r} is given by its relative path"
            )
        if isinstance(dataset, str):
            exact = datasets[datasets["rel_path"] == dataset] if is_path else datasets.iloc[:0]
            if len(exact):
                return util.with_revisions(exact)
            if is_path and "*" in dataset:
                warnings.warn(
                    f"{dataset!r}: give wildcards in names and collections, not in relative paths",
                    stacklevel=4,
                )
            if self.wildcards and dataset.count(".") == 1:
                dataset += ".*"
        found = filter_datasets(
            datasets,
            dataset,
            collection,
            revision_last_before=False,
            assert_unique=False,
            wildcards=self.wildcards,
        )
        if not is_path:
            util.require_one(found)
        found = util.filter_revision_last_before(found, revision, assert_unique=False)
        if len(found) > 1:
            raise ALFMultipleObjectsFound(*found["rel_path"])
        return found

    @util.refresh
    @util.parse_id
    def load_datasets(
        self,
        eid: Any,
        datasets: Iterable[Any],
        collections: Any = None,
        revisions: Any = None,
        query_type: str | None = None,
        assert_present: bool = True,
        download_only: bool = False,
        *,
        as_of: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Load several datasets.

        Parameters
        ----------
        eid : str, UUID, path or dict
            Any identifier of a session.
        datasets : list of str or dict
            The datasets, each as for `load_dataset`.
        collections, revisions : str or list, optional
            One for all, or one for each.
        query_type : str, optional
            The mode of this call.
        assert_present : bool
            Raise if a dataset is missing; otherwise it is None.
        download_only : bool
            Return the files rather than their content.

        Other Parameters
        ----------------
        as_of : int, datetime, str or list, optional
            The point in time, see `One`.

        Returns
        -------
        list, list of dict
            The contents or files, and the records.

        Raises
        ------
        TypeError
            `datasets` is a text.
        ValueError
            The number of collections or revisions differs from that of datasets.
        ALFObjectNotFound
            A dataset is not in the tables, or not on disk.
        """
        if isinstance(datasets, str):
            raise InvalidTypeError("datasets must be a list, not a text: use load_dataset for one")
        asked = list(datasets)
        collections, revisions = (_for_each(value, len(asked)) for value in (collections, revisions))
        table = self.list_datasets(eid, details=True, query_type=query_type or self.mode)
        if table.empty:
            self._report(f"No datasets found for session {eid}", raises=assert_present)
            return None, table
        if not asked:
            return None, table.iloc[:0]
        # Among relative paths, one without a folder is that of a dataset without a collection.
        is_path = any(map(_is_path, asked))
        each = zip(asked, collections, revisions, strict=True)
        slices = [self._one_dataset(table, *one, is_path=is_path) for one in each]
        missing = [each for each, rows in zip(asked, slices, strict=True) if rows.empty]
        if missing:
            names = ", ".join(map(str, missing))
            self._report(f"The following datasets are not in the cache: {names}", raises=assert_present)
        present = pd.concat(slices)
        if "default_revision" in present and not any(revisions):
            _warn_of_revisions(present)
        files = self._check_filesystem(present, **kwargs) if len(present) else []
        absent = [path for path, file in zip(present["rel_path"], files, strict=True) if not file]
        if absent:
            self._report(
                f"The following datasets were not found on disk: {', '.join(absent)}", raises=assert_present
            )
        records = present.reset_index(names="id").to_dict("records", into=Bunch)
        rows = iter(zip(files, records, strict=True))
        pairs = [(None, None) if each.empty else next(rows) for each in slices]
        contents = [file if download_only or file is None else self._content(file) for file, _ in pairs]
        return contents, [record for _, record in pairs]

    @staticmethod
    def _report(problem: str, *, raises: bool) -> None:
        if raises:
            raise ALFObjectNotFound(problem)
        logger.warning(problem)

    @util.refresh
    def load_dataset_from_id(
        self, dset_id: Any, download_only: bool = False, details: bool = False, *, as_of: Any = None
    ) -> Any:
        """Load the dataset with an id.

        Parameters
        ----------
        dset_id : str, UUID or array of two integers
            The id.
        download_only : bool
            Return the file rather than its content.
        details : bool
            Also return the row of the table.

        Other Parameters
        ----------------
        as_of : int, datetime, str or list, optional
            The point in time, see `One`.

        Raises
        ------
        ALFObjectNotFound
            There is no such dataset, or it is not on disk.
        ALFMultipleObjectsFound
            Several datasets have the id.
        """
        did = str(dset_id) if isinstance(dset_id, str | UUID) else util.ids_of(np.asarray(dset_id))[0]
        datasets = self._cache["datasets"]
        found = datasets[datasets.index.get_level_values(-1) == did]
        if found.empty:
            raise ALFObjectNotFound(f"Dataset not found: there is none with the id {did}")
        if len(found) > 1:
            raise ALFMultipleObjectsFound(f"Duplicate dataset IDs: {len(found)} datasets have the id {did}")
        (file,) = self._check_filesystem(found)
        if not file:
            raise ALFObjectNotFound(f"Dataset not found on disk: {self._where(found)}")
        content = file if download_only else self._content(file)
        return (content, found.iloc[0]) if details else content

    @util.refresh
    @util.parse_id
    def load_collection(
        self,
        eid: Any,
        collection: Any,
        object: Any = None,  # noqa: A002 - the name of the public API
        revision: str | None = None,
        query_type: str | None = None,
        download_only: bool = False,
        *,
        as_of: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Load all objects of a collection.

        Parameters
        ----------
        eid : str, UUID, path or dict
            Any identifier of a session.
        collection : str or list
            Pattern of the collection; an empty text for none.
        object : str or list, optional
            Patterns of the objects.
        revision : str, optional
            As for `load_object`.
        query_type : str, optional
            The mode of this call.
        download_only : bool
            Return the files rather than their content.
        **kwargs
            More patterns of parts of the file name.

        Other Parameters
        ----------------
        as_of : int, datetime, str or list, optional
            The point in time, see `One`.

        Returns
        -------
        Bunch of AlfBunch, or list of Path
            The objects by name, or the files.

        Raises
        ------
        ALFError
            The session has no such collection.
        ALFObjectNotFound
            Nothing in it matches, or is on disk.
        """
        datasets = self.list_datasets(
            eid, details=True, collection=collection, query_type=query_type or self.mode
        )
        if datasets.empty:
            raise ALFError(f"collection {collection!r} was not found in session {eid}")
        datasets = self._of_objects(datasets, {"object": object, **kwargs}, None, revision)
        found = self._with_objects(datasets, query_type, f"collection {collection!r}")
        if download_only:
            return [file for file, _ in found]
        return Bunch(
            {
                name: alfio.load_object(
                    [file for file, of in found if of == name], allow_pickle=self.allow_pickle
                )
                for name in sorted({name for _, name in found})
            }
        )

    @staticmethod
    def setup(cache_dir: str | Path | None = None, silent: bool = False, **kwargs: Any) -> One:
        """Register the sessions and datasets of a folder, and return a `One` for it.

        Parameters
        ----------
        cache_dir : str or path, optional
            The folder. By default it is asked for; if `silent`, it is the working directory.
        silent : bool
            Do not ask anything, and keep tables that exist.
        **kwargs
            More arguments of `alf.cache.make_parquet_db`.

        Raises
        ------
        AssertionError
            There is no such folder.
        """
        if not cache_dir and not silent:
            cache_dir = input(f"Folder of the data [{Path.cwd()}]: ").strip()
        folder = Path(cache_dir or Path.cwd())
        if not folder.exists():
            raise PreconditionError(f"there is no folder {folder}")
        if (folder / "sessions.pqt").exists():
            is_wanted = (
                not silent and input(f"{folder} has tables: register the folder again? [y/N] ").lower() == "y"
            )
            if not is_wanted:
                return One(folder, mode="local")
        make_parquet_db(folder, **kwargs)
        return One(folder, mode="local")


class OneAlyx(One):
    """Search, list and load the sessions and datasets of an Alyx database.

    Parameters
    ----------
    username, password, base_url, cache_dir
        As for `webclient.AlyxClient`.
    mode : {"auto", "local", "remote", "refresh"}
        ``auto`` uses the tables and downloads newer ones, ``remote`` asks the database, ``local`` does not connect.
    wildcards, tables_dir, engine
        As for `One`.
    **kwargs
        More arguments of `webclient.AlyxClient`.
    """

    def __init__(
        self,
        username: str | None = None,
        password: str | None = None,
        base_url: str | None = None,
        cache_dir: str | Path | None = None,
        mode: str = "auto",
        wildcards: bool = True,
        tables_dir: str | Path | None = None,
        *,
        engine: Any = None,
        **kwargs: Any,
    ) -> None:
        self._web_client = wc.AlyxClient(
            username=username, password=password, base_url=base_url, cache_dir=cache_dir, **kwargs
        )
        self._search_endpoint = "sessions"
        super().__init__(mode=mode, wildcards=wildcards, tables_dir=tables_dir, engine=engine)

    def __repr__(self) -> str:
        return f"One ({'off' if self.offline else 'on'}line, {self.alyx.base_url})"

    @property
    def alyx(self) -> wc.AlyxClient:
        """The client of the database."""
        return self._web_client

    @property
    def cache_dir(self) -> Path:
        """The folder of the data."""
        return self._web_client.cache_dir

    def _require_connection(self) -> None:
        if self.offline:
            raise OfflineError("this needs the database, and the mode is local: use another mode")

    def load_cache(  # pyright: ignore[reportIncompatibleMethodOverride] - as in the public API
        self, tables_dir: str | Path | None = None, clobber: bool = False, tag: str | None = None
    ) -> datetime | None:
        """Read the tables, after newer ones were downloaded if they are old.

        Parameters
        ----------
        tables_dir : str or path, optional
            Their folder. By default the one that was read before.
        clobber : bool
            Ask the database for newer ones although they are not old.
        tag : str, optional
            Use the tables of the datasets with this tag of the database, in a folder of its name.

        Returns
        -------
        datetime or None
            When they were read.
        """
        current = _tags_of(self._cache)
        if len(current) > 1:
            raise OfflineError(
                f"the tables have different tags ({', '.join(sorted(current))}): read one tag at a time"
            )
        tag = tag or next(iter(current), None)
        is_other = bool(tag and current != {tag})
        if not (clobber or is_other):
            super().load_cache(tables_dir)
        meta = self._cache["_meta"]
        if not (clobber or is_other or meta["expired"]) or self.mode in {"local", "remote"}:
            return meta["loaded_time"]
        if meta["expired"] and meta.get("created_time") and not self.alyx.silent:
            hours = (_now() - meta["created_time"]) // timedelta(hours=1)
            logger.info("cache over %s old", f"{hours // 24} days" if hours >= 24 else f"{hours} hours")
        try:
            self._download_tables(tables_dir, tag, is_other=is_other)
        except (requests.exceptions.HTTPError, wc.HTTPError, requests.exceptions.SSLError) as error:
            self._fall_back("remote", "Failed to load the remote cache file", error)
        except (ConnectionError, requests.exceptions.ConnectionError) as error:
            self._fall_back("local", "Failed to connect to Alyx", error)
        except FileNotFoundError as error:
            folder = tables_dir or self.cache_dir
            raise error from FileNotFoundError(
                f"the folder {folder} cannot be written: give tables_dir or cache_dir, or run ONE.setup"
            )
        if "sessions" not in self._cache:
            super().load_cache(tables_dir)
        return self._cache["_meta"]["loaded_time"]

    def _fall_back(self, mode: str, problem: str, error: Exception) -> None:
        logger.error("%s: %s: %s; the mode is now %s", type(error).__name__, problem, error, mode)
        warnings.warn(f"{problem}: {error}; the mode is now {mode}", UserWarning, stacklevel=4)
        self.mode = mode

    def _download_tables(self, tables_dir: str | Path | None, tag: str | None, *, is_other: bool) -> None:
        """Download the tables of the database and read them, if they are newer."""
        meta = self._cache["_meta"]
        info = self.alyx.get(f"cache/info/{tag or ''}".strip("/"), expires=True)
        if tag is not None and tag not in info.get("database_tags", []):
            raise PreconditionError(f"the database has no tables with the tag {tag!r}")
        needed = info.get("min_api_version", "0")
        if util.version_of(needed) > util.version_of(__version__):
            warnings.warn(f"newer tables need version {needed} of this API", UserWarning, stacklevel=4)
            return
        created = meta.get("created_time")
        if (
            created
            and not is_other
            and datetime.fromisoformat(info["date_created"]) - created < timedelta(minutes=1)
        ):
            logger.info("no newer tables are available")
            return
        if tables_dir:
            self._tables_dir = Path(tables_dir)
        elif is_other and tag:
            self._tables_dir = self.cache_dir / tag
            self._tables_dir.mkdir(exist_ok=True)
        held = {raw["origin"] for raw in meta.get("raw", {}).values() if raw.get("origin")}
        origin = info.get("origin", "unknown")
        if held and origin not in held:
            warnings.warn(
                f"the new tables are from another origin: {origin}, not {', '.join(held)}",
                UserWarning,
                stacklevel=4,
            )
        logger.info("downloading the tables")
        if not self.alyx.download_cache_tables(info.get("location"), self._tables_dir):
            raise requests.exceptions.HTTPError(f"{info.get('location')} has no tables")
        super().load_cache(self._tables_dir)

    @util.refresh
    def search_terms(  # pyright: ignore[reportIncompatibleMethodOverride] - as in the public API
        self, query_type: str | None = None, endpoint: str | None = None
    ) -> tuple[str, ...] | None:
        """Return the terms that `search` takes, or in mode ``remote`` those of an endpoint."""
        if (query_type or self.mode) != "remote":
            return self._search_terms if endpoint in {None, self._search_endpoint} else None
        endpoint = endpoint or self._search_endpoint
        names = [field["name"] for field in self.alyx.rest_schemes[endpoint]["list"]["fields"]]
        if endpoint != "sessions":
            return tuple(names)
        return tuple(dict.fromkeys((*self._search_terms, *(name for name in names if name != "lab"))))

    @util.refresh
    def search(
        self, details: bool = False, query_type: str | None = None, *, as_of: Any = None, **kwargs: Any
    ) -> Any:
        """Return the ids of sessions that match all terms; see `One.search`.

        In mode ``remote``, the terms are those of the database, see ``search_terms(query_type="remote")``, texts are not
        case-sensitive, and `dataset` is one text.
        """
        if (query_type or self.mode) != "remote":
            return super().search(details=details, query_type=query_type, **kwargs)
        terms = unwrap(type(self).search_terms)(self, query_type="remote")
        filters = self._filters(kwargs, terms, "data_dataset_session_related__name__icontains")
        found = self.alyx.rest(self._search_endpoint, "list", **filters)
        eids = util.LazyId(found)
        return (eids, util.LazyId(found, func=_with_dates)) if details else eids

    @staticmethod
    def _filters(kwargs: dict[str, Any], terms: Iterable[str], dataset_filter: str) -> dict[str, Any]:
        """Return the filters of a request, from search terms."""
        django = [kwargs.pop("django")] if kwargs.get("django") else []
        filters: dict[str, Any] = {}
        for term, value in sorted(kwargs.items()):
            field = util.autocomplete(term, terms)
            if field == "dataset":
                if not isinstance(value, str):
                    raise InvalidTypeError("dataset must be a text; for several use datasets")
                django.append(f"{dataset_filter},{value}")
            elif field == "date_range":
                filters[field] = [each.date().isoformat() for each in util.validate_date_range(value) or ()]
            else:
                filters["lab" if field == "laboratory" else field] = value
        return filters | ({"django": ",".join(django)} if django else {})

    def search_insertions(self, details: bool = False, query_type: str | None = None, **kwargs: Any) -> Any:
        """Return the ids of probe insertions that match all terms, from the database.

        The terms are those of ``search_terms(query_type="remote", endpoint="insertions")``, and `dataset`, `laboratory` and
        `number`. With `details`, the records are also returned.
        """
        if (query_type or self.mode) == "local":
            raise OfflineError("insertions are searched in the database: use another mode")
        terms = unwrap(type(self).search_terms)(self, query_type="remote", endpoint="insertions")
        filters = self._filters(
            kwargs, (*terms, "dataset", "laboratory", "number"), "datasets__name__icontains"
        )
        if "number" in filters:
            filters["experiment_number"] = filters.pop("number")
        found = self.alyx.rest("insertions", "list", **filters)
        return (util.LazyId(found), found) if details else util.LazyId(found)

    @util.refresh
    def list_datasets(
        self,
        eid: Any = None,
        filename: Any = None,
        collection: Any = None,
        revision: Any = None,
        qc: Any = QC.FAIL,
        ignore_qc_not_set: bool = False,
        details: bool = False,
        query_type: str | None = None,
        *,
        as_of: Any = None,
    ) -> Any:
        """Return the relative paths of datasets; see `One.list_datasets`. In mode ``remote``, they are those of the database."""
        filters = {
            "filename": filename,
            "collection": collection,
            "revision": revision,
            "qc": qc,
            "ignore_qc_not_set": ignore_qc_not_set,
        }
        is_remote = (query_type or self.mode) == "remote"
        if is_remote and eid:
            found = self.to_eid(eid)
            if found is not None:
                session, datasets = util.ses2records(self.alyx.rest("sessions", "read", id=found))
                self._update_cache_from_records(sessions=session, datasets=datasets)
            query_type = "local"
        elif is_remote:
            warnings.warn(
                "the datasets of all sessions are listed from the tables, not the database", stacklevel=3
            )
        return super().list_datasets(eid, details=details, query_type=query_type, **filters)

    @util.refresh
    @util.parse_id
    def get_details(  # pyright: ignore[reportIncompatibleMethodOverride] - as in the public API
        self, eid: Any, full: bool = False, query_type: str | None = None, *, as_of: Any = None
    ) -> Any:
        """Return the record of a session; see `One.get_details`. Unless the mode is ``local``, it is that of the database."""
        if (query_type or self.mode) == "local":
            return super().get_details(eid, full=full)
        if isinstance(eid, list):
            return [self.get_details(each, full=full) for each in eid]
        found = self.alyx.rest("sessions", "read", id=eid)
        if full:
            return found
        names = ("subject", "start_time", "number", "lab", "projects", "url", "task_protocol", "local_path")
        out = {name: found[name] for name in names if name in found}
        out["projects"] = ",".join(out.get("projects") or [])
        return out | {
            "local_path": self.eid2path(eid),
            "date": datetime.fromisoformat(out["start_time"]).date(),
        }

    @util.refresh
    def eid2path(  # pyright: ignore[reportIncompatibleMethodOverride] - as in the public API
        self, eid: Any, query_type: str | None = None
    ) -> Any:
        """Return the folder of a session; see `One.eid2path`. It is asked from the database if the tables lack the session."""
        if isinstance(eid, list | tuple):
            return [self.eid2path(each, query_type=query_type) for each in eid]
        mode = query_type or self.mode
        found = super().eid2path(eid)
        if found is not None or mode == "local":
            return found
        sessions = self.alyx.rest("sessions", "list", django=f"pk,{self.to_eid(eid)}")
        if len(sessions) == 0:
            return None
        session = sessions[0]
        return session_record2path({**session, "date": session["start_time"][:10]}, self.cache_dir)

    @util.refresh
    def path2eid(  # pyright: ignore[reportIncompatibleMethodOverride] - as in the public API
        self, path_obj: Any, query_type: str | None = None
    ) -> Any:
        """Return the id of the session that a path is in; see `One.path2eid`. It is asked from the database if the tables lack it."""
        if isinstance(path_obj, list | tuple):
            return [self.path2eid(each, query_type=query_type) for each in path_obj]
        mode = query_type or self.mode
        if mode != "remote":
            found = super().path2eid(path_obj)
            if found is not None or self.offline or mode == "local":
                return found
        parts = alfiles.session_path_parts(path_obj, as_dict=True, assert_valid=False)
        if parts["subject"] is None:
            return None
        day = [parts["date"]] * 2
        found = self.alyx.rest(
            "sessions", "list", subject=parts["subject"], date_range=day, number=int(parts["number"])
        )
        return util.LazyId(found)[0] if len(found) else None

    @util.refresh
    def path2url(  # pyright: ignore[reportIncompatibleMethodOverride] - as in the public API
        self, filepath: Any, query_type: str | None = None
    ) -> str | None:
        """Return the URL of a dataset; see `One.path2url`. In mode ``remote``, the database is asked.

        Raises
        ------
        ALFObjectNotFound
            The database has no existing file of it.
        """
        if (query_type or self.mode) != "remote":
            return super().path2url(filepath)
        records = self.alyx.rest(
            "datasets", "list", session=self.path2eid(filepath), name=Path(filepath).name
        )
        files = [
            file
            for record in records
            for file in record["file_records"]
            if file["data_url"] and file["exists"]
        ]
        if len(records) != 1 or not files:
            raise ALFObjectNotFound(f"the database has no file record of {filepath}")
        return files[0]["data_url"]

    @util.refresh
    def pid2eid(self, pid: str | UUID, query_type: str | None = None) -> tuple[str, str]:
        """Return the session of a probe insertion, and the name of the probe, from the database."""
        if (query_type or self.mode) == "local" and "insertions" not in self._cache:
            raise OfflineError("probe ids are converted by the database: use another mode")
        record = self.alyx.rest("insertions", "read", id=str(pid))
        return record["session"], record["name"]

    @util.refresh
    def eid2pid(self, eid: Any, query_type: str | None = None, details: bool = False) -> Any:
        """Return the ids and names of the probes of a session, from the database; with `details` also their records."""
        if (query_type or self.mode) == "local" and "insertions" not in self._cache:
            raise OfflineError("probe ids are converted by the database: use another mode")
        found = self.to_eid(eid)
        if found is None:
            return (None,) * (3 if details else 2)
        records = self.alyx.rest("insertions", "list", session=found)
        ids, names = [record["id"] for record in records], [record["name"] for record in records]
        return (ids, names, records) if details else (ids, names)

    @util.parse_id
    def type2datasets(self, eid: Any, dataset_type: Any, details: bool = False) -> Any:
        """Return the datasets of a session that have a type, or one of several, from the database.

        Raises
        ------
        TypeError
            The type is neither a text nor a list.
        """
        self._require_connection()
        if isinstance(dataset_type, str):
            query = f"session__id,{eid},dataset_type__name,{dataset_type}"
        elif isinstance(dataset_type, Sequence):
            query = f"session__id,{eid},dataset_type__name__in,{list(dataset_type)}"
        else:
            raise InvalidTypeError(f"dataset_type must be a text or a list, not {dataset_type!r}")
        datasets = util.datasets2records(self.alyx.rest("datasets", "list", django=query))
        return datasets if details else datasets["rel_path"].sort_values().to_numpy()

    def dataset2type(self, dset: Any) -> str:
        """Return the type of a dataset, given by its id or name, from the database.

        Raises
        ------
        ValueError
            The tables have no dataset of this name.
        """
        self._require_connection()
        if isinstance(dset, tuple | np.ndarray):
            did = util.ids_of(np.asarray(dset))[0]
        else:
            did = str(dset) if is_uuid_string(str(dset)) else self._dataset_name2id(dset)
        return self.alyx.rest("datasets", "read", id=did)["dataset_type"]

    def _dataset_name2id(self, dset_name: str, eid: Any = None) -> str:
        datasets = self.list_datasets(eid, details=True) if eid else self._cache["datasets"]
        for index, path in datasets["rel_path"].items():
            if path.endswith(str(dset_name)):
                return _dataset_id(index)
        raise InvalidValueError(f"there is no dataset {dset_name!r} in the tables")

    def describe_dataset(self, dataset_type: Any = None) -> Any:
        """Print the description of a type of datasets, or that of a dataset, and return its record; by default those of all types."""
        self._require_connection()
        if not dataset_type:
            return self.alyx.rest("dataset-types", "list")
        out = None
        if isinstance(dataset_type, str) and not is_uuid_string(dataset_type):
            out = self._read_if_known("dataset-types", dataset_type)
        if out is None:
            out = self.alyx.rest("dataset-types", "read", id=self.dataset2type(dataset_type))
        print(out["description"])
        return out

    def describe_revision(self, revision: str, full: bool = False) -> Any:
        """Print the description of a revision; with `full` also return its record."""
        self._require_connection()
        record = self._read_if_known("revisions", revision)
        if record is None:
            print(f'revision "{revision}" not found')
            return None
        print(record["description"])
        return record if full else None

    def _read_if_known(self, endpoint: str, name: str) -> Any:
        """Return a record of the database; None if it has none of this name."""
        try:
            return self.alyx.rest(endpoint, "read", id=name)
        except requests.exceptions.HTTPError as error:
            if error.response is None or error.response.status_code != 404:
                raise
            return None

    def list_aggregates(
        self,
        relation: str,
        identifier: str | None = None,
        dataset: Any = None,
        revision: Any = None,
        assert_unique: bool = False,
    ) -> pd.DataFrame:
        """Return the datasets that are aggregated over a relation, from the database.

        Parameters
        ----------
        relation : str
            What they are aggregated over, such as ``subjects`` or ``tags``.
        identifier : str, optional
            Pattern of which one, such as the name of a subject.
        dataset, revision : optional
            As for `list_datasets`; of several revisions the last is taken.
        assert_unique : bool
            Raise if several datasets match.
        """
        records = self.alyx.rest("datasets", "list", django="session__isnull,True")
        table = util.datasets2records(records).droplevel(0)
        on_aws = {
            record["url"].rstrip("/").split("/")[-1]: any(
                file["data_repository"].startswith("aws") and file["exists"]
                for file in record["file_records"]
            )
            for record in records
        }
        places = [path.partition("aggregates/")[2].split("/") for path in table["rel_path"]]
        folders = ["/".join(place[1:-1]) for place in places]
        table["relation"] = [place[0].lower() for place in places]
        table["identifier"] = [re.sub(r"/?#[^#]*#$", "", folder) for folder in folders]
        table["exists_aws"] = [on_aws[did] for did in table.index]
        table = table[table["relation"] == relation.lower()]
        if identifier is not None:
            table = table[table["identifier"].str.contains(identifier)]
        found = filter_datasets(table, dataset, None, revision, wildcards=True, assert_unique=False)
        if assert_unique:
            util.require_one(found)
        return found

    def load_aggregate(
        self,
        relation: str,
        identifier: str,
        dataset: Any = None,
        revision: Any = None,
        download_only: bool = False,
    ) -> Any:
        """Load one dataset that is aggregated over a relation; see `list_aggregates`.

        Raises
        ------
        ALFObjectNotFound
            No dataset matches, or its file cannot be downloaded.
        """
        if self.wildcards and isinstance(dataset, str) and dataset.count(".") == 1:
            dataset += ".*"
        found = self.list_aggregates(
            relation, identifier, dataset=dataset, revision=revision, assert_unique=True
        )
        if found.empty:
            raise ALFObjectNotFound(f"{dataset or 'a dataset'} of {relation}/{identifier} was not found")
        (file,) = self._check_filesystem(found, update_exists=False)
        if not file:
            raise ALFObjectNotFound(
                f"{found['rel_path'].iloc[0]} was not found on disk and could not be downloaded"
            )
        return file if download_only else self._content(file)

    def _download_datasets(self, dsets: Any, **kwargs: Any) -> list[Path | None] | None:
        """Download datasets: from AWS if all of them are there, else from the data server."""
        kwargs.setdefault("keep_uuid", self.uuid_filenames)
        is_table = isinstance(dsets, pd.DataFrame)
        if is_table and "exists_aws" in dsets and all(dsets["exists_aws"].tolist()):
            try:
                return self._download_aws([row for _, row in dsets.iterrows()], **kwargs)
            except (ImportError, OSError, KeyError, requests.exceptions.RequestException) as error:
                logger.warning("the files are not downloaded from AWS, but from the data server: %s", error)
        return self._download_dataset(dsets, **kwargs)

    def _download_aws(
        self, dsets: Sequence[pd.Series], update_exists: bool = True, keep_uuid: bool | None = None, **_: Any
    ) -> list[Path | None]:
        """Download datasets from the bucket that the database names."""
        import fsspec

        repository = self.alyx.rest("data-repository", "read", id="aws_cortexlab")["json"]
        bucket = fsspec.filesystem(
            "s3", key=repository.get("Access key ID"), secret=repository.get("Secret access key")
        )
        ids = [_dataset_id(row.name) for row in dsets]
        records: dict[str, Any] = {}
        for some in chunked(ids, _IDS_OF_A_QUERY):
            for record in self.alyx.rest("datasets", "list", exists=True, django=f"id__in,{some}"):
                records[record["url"].rstrip("/").split("/")[-1]] = record["file_records"]
        made: list[Path | None] = []
        for did, row in zip(ids, dsets, strict=True):
            place = next(
                (f for f in records.get(did, ()) if f["data_repository"].startswith("aws") and f["exists"]),
                None,
            )
            if place is None:
                if update_exists and "exists_aws" in self._cache["datasets"]:
                    self._cache["datasets"].loc[(slice(None), did), "exists_aws"] = False
                    self._mark([did])
                made.append(None)
                continue
            source = alfiles.add_uuid_string(
                PurePosixPath(place["data_repository_path"], place["relative_path"]), did
            )
            file = Path(self.cache_dir, row["session_path"], row["rel_path"])
            file = alfiles.add_uuid_string(file, did) if keep_uuid else file
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f".{file.name}.part")
            bucket.get_file(f"{repository['bucket_name']}/{str(source).lstrip('/')}", str(temporary))
            temporary.replace(file)
            made.append(file)
            self._compare(file, row, str(source))
        return made

    def _download_dataset(
        self, dset: Any, cache_dir: str | Path | None = None, update_cache: bool = True, **kwargs: Any
    ) -> Any:
        """Download one dataset or several, given by rows of the table, REST records, paths or URLs.

        Returns
        -------
        Path, None or a list of them
            The files; None for a dataset without a URL.
        """
        rows = [row for _, row in dset.iterrows()] if isinstance(dset, pd.DataFrame) else dset
        if not isinstance(rows, list | tuple):
            found = self._download_dataset([rows], cache_dir, update_cache, **kwargs)
            return found[0]
        urls = [self._dset2url(row, update_cache=update_cache) for row in rows]
        wanted = [(url, row) for url, row in zip(urls, rows, strict=True) if url]
        targets = [
            Path(
                cache_dir or self.cache_dir, alfiles.get_alf_path(urlsplit(url).path.strip("/")) or ""
            ).parent
            for url, _ in wanted
        ]
        expected = {
            name: kwargs.pop(name, None) or [_field(row, name) for _, row in wanted]
            for name in ("file_size", "hash")
        }
        expected = {name: ensure_list(value) for name, value in expected.items()}
        done = iter(
            self._download_file([url for url, _ in wanted], targets, **kwargs, **expected) if wanted else []
        )
        return [next(done) if url else None for url in urls]

    def _dset2url(self, dset: Any, update_cache: bool = True) -> Any:
        """Return the URL of a dataset, given by a row of the table, a REST record, a path or a URL; None if it has none."""
        if isinstance(dset, str) and dset.startswith("http"):
            return dset
        if isinstance(dset, str | Path):
            url = self.path2url(dset)
            if not url:
                logger.warning("dataset %s is not in the tables", dset)
            return url
        if isinstance(dset, pd.Series):
            url, did = self.record2url(dset), _dataset_id(dset.name)
        elif "data_url" in dset:
            url, did = dset["data_url"], dset["id"]
        else:
            server = getattr(self.alyx._par, "HTTP_DATA_SERVER", None) or ""  # noqa: SLF001 - of this package
            urls = [file["data_url"] for file in dset["file_records"] if file["data_url"] and file["exists"]]
            url, did = next((each for each in urls if each.startswith(server)), None), dset["url"][-36:]
        if not url and update_cache:
            self._set_exists(did, exists=False)
        return url

    def _download_file(
        self,
        url: str | list[str],
        target_dir: Any,
        keep_uuid: bool | None = None,
        file_size: Any = None,
        hash: Any = None,  # noqa: A002 - the name of the public API
        **_: Any,
    ) -> Any:
        """Download one file or several into folders, and compare them with the sizes and MD5s that are expected."""
        self._require_connection()
        if isinstance(url, str):
            return self._download_file([url], [target_dir], keep_uuid, [file_size], [hash])[0]
        for folder in set(map(Path, target_dir)):
            folder.mkdir(parents=True, exist_ok=True)
        sizes, hashes = (value or [None] * len(url) for value in (file_size, hash))
        files, found = self.alyx.download_file(url, target_dir=target_dir, return_md5=True, clobber=True)
        is_kept = self.uuid_filenames if keep_uuid is None else keep_uuid
        made: list[Path] = []
        for file, each, *expected, md5 in zip(files, url, sizes, hashes, found, strict=True):
            local = file if is_kept else file.replace(alfiles.remove_uuid_string(file))
            self._compare(local, {"file_size": expected[0], "hash": expected[1]}, each, md5=md5)
            made.append(local)
        return made

    def _compare(self, file: Path, row: Any, url: str, *, md5: str | None = None) -> None:
        """Tell if a downloaded file has another size or MD5 than its record, and note it in the database."""
        problem = _mismatch(
            file, {"file_size": row["file_size"], "hash": row["hash"]}, check_hash=True, md5=md5
        )
        if problem:
            warnings.warn(
                f"a download differs from its record, {url}: {problem}", DatasetMismatchWarning, stacklevel=7
            )
            self._tag_mismatched_file_record(url)

    def _tag_mismatched_file_record(self, url: str) -> None:
        """Note in the database that a file differs from its record."""
        did = Path(url).name.split(".")[-2]
        try:
            files = self.alyx.rest(
                "files",
                "list",
                django=f"dataset,{did},data_repository__globus_is_personal,False",
                no_cache=True,
            )
            if len(files):
                values = {**(files[0]["json"] or {}), "mismatch_hash": True}
                self.alyx.rest("files", "partial_update", id=files[0]["url"][-36:], data={"json": values})
        except requests.exceptions.HTTPError as error:
            warnings.warn(
                f"the database does not take the note that {url} differs: {error}", UserWarning, stacklevel=7
            )

    @staticmethod
    def setup(base_url: str | None = None, **kwargs: Any) -> OneAlyx:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Set the parameters of a database, by default of the default one, and return a `OneAlyx` for it.

        Parameters
        ----------
        base_url : str, optional
            URL of the database.
        **kwargs
            More arguments of `params.setup`.
        """
        base_url = base_url or params.get_default_client()
        made = params.setup(client=base_url, **kwargs)
        return OneAlyx(base_url=base_url or params.get(made.DEFAULT).ALYX_URL)


@lru_cache(maxsize=1)
def ONE(*, mode: str = "auto", wildcards: bool = True, **kwargs: Any) -> One:  # noqa: N802 - the name of the public API
    """Return a `OneAlyx` for a database, or a `One` for a folder without one. The same arguments give the same object.

    Parameters
    ----------
    mode, wildcards
        As for `One`.
    **kwargs
        `cache_dir` and `tables_dir` as for `One`; a folder that is that of a database gives a `OneAlyx`. `base_url`, `username`, `password` and
        `cache_rest` as for `OneAlyx`; any of the first three gives a `OneAlyx`, as does the lack of `cache_dir`.
    """
    if kwargs.pop("offline", False):
        warnings.warn(
            'the argument offline will be removed: use mode="local"', DeprecationWarning, stacklevel=2
        )
        mode = "local"
    names = ("base_url", "username", "password")
    if not kwargs.get("cache_dir") or any(kwargs.get(name) for name in names):
        return OneAlyx(mode=mode, wildcards=wildcards, **kwargs)
    try:
        params.check_cache_conflict(kwargs["cache_dir"])
    except PreconditionError:
        return OneAlyx(mode=mode, wildcards=wildcards, **kwargs)
    return One(mode="local", wildcards=wildcards, **kwargs)


def _setup(**kwargs: Any) -> Any:
    """Set the parameters of a database, see `params.setup`; the next `ONE` uses them."""
    ONE.cache_clear()
    kwargs["client"] = kwargs.pop("base_url", None)
    return params.setup(**kwargs)


ONE.setup = _setup
ONE.version = __version__


def _add_session_paths(cache: Bunch) -> None:
    """Add the paths of sessions to the datasets; newer tables do not have them."""
    datasets, sessions = cache.get("datasets"), cache.get("sessions")
    if datasets is not None and sessions is not None and "session_path" not in datasets:
        paths = {eid: session_record2path(row).as_posix() for eid, row in sessions.iterrows()}
        eids = datasets.index.get_level_values(0)
        cache["datasets"] = datasets.assign(session_path=[paths.get(eid) for eid in eids])


def _tags_of(cache: Mapping[str, Any]) -> set[str]:
    """Return the database tags of tables."""
    raw = cache.get("_meta", {}).get("raw", {})
    return {tag for each in raw.values() for tag in ensure_list(each.get("database_tags") or []) if tag}


def _with_dates(records: Any) -> Any:
    """Add the day to records of sessions."""
    for record in ensure_list(records):
        record["date"] = datetime.fromisoformat(record["start_time"]).date()
    return records


def _field(row: Any, name: str) -> Any:
    """Return a field of a row or record, None for a URL or path."""
    return row.get(name) if isinstance(row, Mapping | pd.Series) else None


def _now() -> datetime:
    """Return the local time, which the metadata of tables have."""
    return datetime.now()  # noqa: DTZ005


def _is_path(dataset: Any) -> bool:
    """Whether a dataset is given by its relative path, or with its collection."""
    return ("/" if isinstance(dataset, str) else "collection") in dataset


def _numbers(value: Any) -> list[int]:
    try:
        return [int(each) for each in ensure_list(value)]
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"number must be an integer or a list of them, not {value!r}") from error


def _qc_codes(datasets: pd.DataFrame) -> np.ndarray:
    if "qc" not in datasets:
        return np.zeros(len(datasets), "i1")
    return datasets["qc"].astype(QC_TYPE).cat.codes.to_numpy()


def _dataset_id(index: Any) -> str:
    return index[-1] if isinstance(index, tuple) else index


def _mismatch(file: Path, row: Mapping[str, Any], *, check_hash: bool, md5: str | None = None) -> str | None:
    """Describe how a file differs from its record, with both values."""
    size, recorded = row.get("file_size"), row.get("hash")
    actual = file.stat().st_size
    if size and not is_missing(size) and actual != size:
        return f"{file}: it has {actual} bytes, {int(size)} are recorded"
    if check_hash and isinstance(recorded, str) and recorded:
        found = md5 or md5_of(file)
        if found != recorded:
            return f"{file}: its MD5 is {found}, {recorded} is recorded"
    return None


def _grouped(datasets: pd.DataFrame, key: Callable[[str], str], *, details: bool) -> Any:
    groups = datasets["rel_path"].map(key) if len(datasets) else pd.Series(dtype=object)
    if details:
        return {name: datasets[(groups == name).to_numpy()] for name in sorted(groups.unique())}
    return sorted(groups.unique().tolist())


def _for_each(value: Any, number: int) -> list[Any]:
    if not value or isinstance(value, str):
        return [value] * number
    if len(value) != number:
        raise InvalidValueError(
            f"{len(value)} collections or revisions are given for {number} datasets: give one, or one each"
        )
    return list(value)


def _warn_of_revisions(datasets: pd.DataFrame) -> None:
    pairs = zip(datasets["rel_path"], datasets["default_revision"], strict=True)
    old = "".join(f"\n    {path}" for path, default in pairs if not is_missing(default) and not default)
    if old:
        warnings.warn(
            f"these datasets have a later default revision, give a revision to choose one:{old}", stacklevel=4
        )
