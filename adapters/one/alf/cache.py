"""The tables that list the sessions and datasets of a folder, as parquet files."""

# pandas declares unions of types that these calls never return.
# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import files, spec
from .exceptions import PreconditionError
from .io import iter_datasets, iter_sessions

SESSIONS_COLUMNS = ("id", "lab", "subject", "date", "number", "task_protocol", "projects")
DATASETS_COLUMNS = ("id", "eid", "session_path", "rel_path", "file_size", "hash", "exists", "qc")
QC_TYPE = pd.CategoricalDtype(categories=[member.name for member in sorted(spec.QC)], ordered=True)

_METADATA = b"one_metadata"
_LARGE = 10_000
_REPEATED = ("eid", "session_path", "rel_path")
_DATASET = spec.regex(spec.REL_PATH_SPEC)

Scanned = dict[str, tuple[int, str | None]]
"""Size and hash of the files of a session, by relative path."""


def md5_of(path: str | Path) -> str:
    """Return the MD5 of a file in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def scan_session(session_path: str, *, hash_files: bool) -> Scanned:
    """Return the datasets of a session folder."""
    found: Scanned = {}
    for rel_path, entry in _files(session_path, ""):
        if _DATASET.match(rel_path):
            found[rel_path] = (entry.stat().st_size, md5_of(entry.path) if hash_files else None)
    return found


def _files(folder: str, front: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.is_dir():
            yield from _files(entry.path, f"{front}{entry.name}/")
        elif entry.is_file():
            yield front + entry.name, entry


def load_table(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a table and its metadata, which are empty for a file that is not such a table."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    repeated = [name for name in _REPEATED if name in schema.names]
    table = pq.read_table(path, read_dictionary=repeated)
    metadata = (table.schema.metadata or {}).get(_METADATA)
    made = _large_table(table) if len(table) > _LARGE and {"eid", "id"} <= set(schema.names) else None
    if made is None:
        made = pq.read_table(path).to_pandas() if repeated else table.to_pandas()
    # Some columns would be views of memory that cannot be written.
    return made.copy(), {} if metadata is None else json.loads(metadata)


def _large_table(table: Any) -> pd.DataFrame | None:
    """Return a table of datasets with its index, if its ids are unique and texts are missing nowhere.

    Arrow sorts the ids, and each different path is made once: pandas would take several times as long.
    """
    import pyarrow.compute as pc

    ids = table["id"].combine_chunks()
    order = pc.sort_indices(ids)
    level = ids.take(order)
    if ids.null_count or table["eid"].null_count or pc.any(pc.equal(level[1:], level[:-1])).as_py():
        return None
    codes = np.empty(len(table), "int64")
    codes[order.to_numpy()] = np.arange(len(table))
    eids = table["eid"].unify_dictionaries().combine_chunks()
    eid_order = pc.sort_indices(eids.dictionary)
    ranks = np.empty(len(eid_order), "int64")
    ranks[eid_order.to_numpy()] = np.arange(len(eid_order))
    made = table.drop_columns(["eid", "id"]).to_pandas(ignore_metadata=True)
    for name in set(_REPEATED) & set(made.columns):
        held = made[name].cat
        texts = np.append(held.categories.to_numpy(object), None)
        made[name] = texts[held.codes.to_numpy()]
    levels = [eids.dictionary.take(eid_order).to_pandas(), level.to_pandas()]
    made.index = pd.MultiIndex(
        levels, [ranks[eids.indices.to_numpy()], codes], names=["eid", "id"], verify_integrity=False
    )
    return made


def save_table(path: Path, table: pd.DataFrame, metadata: Mapping[str, Any]) -> None:
    """Save a table and its metadata. A file that exists is replaced at once, so that readers see one or the other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = pa.Table.from_pandas(table)
    held = {_METADATA: json.dumps(dict(metadata), default=str).encode()}
    made = made.replace_schema_metadata({**(made.schema.metadata or {}), **held})
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        pq.write_table(made, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _metadata(origin: str | Path) -> dict[str, str]:
    """Return the metadata of tables that are made now."""
    now = datetime.now()  # noqa: DTZ005 - the metadata have local times
    return {"date_created": now.isoformat(sep=" ", timespec="minutes"), "origin": str(origin)}


def _get_session_info(rel_ses_path: str) -> dict[str, Any]:
    """Return the row of a session with a readable id, from its relative path."""
    parts = files.session_path_parts(rel_ses_path, as_dict=True)
    number = int(parts["number"])
    place = "/".join(filter(None, (parts["lab"], parts["subject"], parts["date"], parts["number"])))
    return {
        "id": place,
        "lab": parts["lab"],
        "subject": parts["subject"],
        "date": date.fromisoformat(parts["date"]),
        "number": number,
        "task_protocol": "",
        "projects": "",
    }


def _make_sessions_df(root_dir: str | Path) -> pd.DataFrame:
    """Return the sessions of a folder with readable ids."""
    root = Path(root_dir)
    rows = [_get_session_info(path.relative_to(root).as_posix()) for path in iter_sessions(root)]
    return pd.DataFrame(rows, columns=list(SESSIONS_COLUMNS))


def _make_datasets_df(root_dir: str | Path, hash_files: bool = False) -> pd.DataFrame:
    """Return the datasets of a folder with readable ids."""
    root = Path(root_dir)
    rows: list[dict[str, Any]] = []
    for session in iter_sessions(root):
        path = session.relative_to(root).as_posix()
        eid = _get_session_info(path)["id"]
        found = scan_session(str(session), hash_files=hash_files)
        rows += [
            {
                "id": f"{path}/{rel_path}",
                "eid": eid,
                "session_path": path,
                "rel_path": rel_path,
                "file_size": size,
                "hash": md5,
                "exists": True,
                "qc": spec.QC.NOT_SET.name,
            }
            for rel_path, (size, md5) in found.items()
        ]
    return pd.DataFrame(rows, columns=list(DATASETS_COLUMNS)).astype({"qc": QC_TYPE})


def make_parquet_db(
    root_dir: str | Path,
    out_dir: str | Path | None = None,
    hash_ids: bool = True,
    hash_files: bool = False,
    lab: str | None = None,
) -> tuple[Path, Path]:
    """Register the sessions and datasets of a folder, and write their tables.

    Parameters
    ----------
    root_dir : str or path
        The folder.
    out_dir : str or path, optional
        Where to write the tables. By default into the folder.
    hash_ids : bool
        Record sessions and datasets in the log with UUIDs. Otherwise only tables are written, in which an id is a path.
    hash_files : bool
        Compute the MD5 of each file.
    lab : str, optional
        The lab of sessions whose paths do not name one.

    Returns
    -------
    Path, Path
        The files of the sessions and of the datasets.

    Raises
    ------
    AssertionError
        There is no such folder, or a path names another lab.
    """
    root = Path(root_dir).resolve()
    if not root.is_dir():
        raise PreconditionError(f"there is no folder {root}")
    target = root if out_dir is None else Path(out_dir)
    if hash_ids:
        from ..recording import FolderRecords

        with FolderRecords(root) as records:
            records.register(hash_files=hash_files, lab=lab)
            return records.export(target)
    sessions, datasets = _make_sessions_df(root), _make_datasets_df(root, hash_files=hash_files)
    if sessions.empty:
        warnings.warn(f"no sessions were found in {root}", RuntimeWarning, stacklevel=2)
    for name in filter(None, sessions["lab"].unique()):
        check_lab(name, lab)
    if lab is not None:
        sessions["lab"] = lab
    metadata = _metadata(root)
    save_table(target / "sessions.pqt", sessions, metadata)
    save_table(target / "datasets.pqt", datasets, metadata)
    return target / "sessions.pqt", target / "datasets.pqt"


def check_lab(found: str | None, lab: str | None) -> str | None:
    """Return the lab of a session. Raises if the path names another lab than the one that is given."""
    if lab is not None and found not in {None, lab}:
        raise PreconditionError(
            f"the lab is {lab!r}, but the folder has sessions of {found!r}: leave out the lab"
        )
    return lab if found is None else found


def remove_missing_datasets(
    cache_dir: str | Path,
    tables: Mapping[str, pd.DataFrame] | None = None,
    remove_empty_sessions: bool = True,
    dry: bool = True,
) -> list[Path]:
    """Delete the datasets of a folder that are not in its tables.

    Parameters
    ----------
    cache_dir : str or path
        The folder.
    tables : mapping, optional
        The tables ``sessions`` and ``datasets``. By default those in the folder.
    remove_empty_sessions : bool
        Also remove empty session folders that are not in the tables.
    dry : bool
        Only return what would be deleted.

    Returns
    -------
    list of path
        The files and folders.
    """
    root = Path(cache_dir)
    if tables is None:
        tables = {name: load_table(root / f"{name}.pqt")[0] for name in ("sessions", "datasets")}
    listed = set(zip(tables["datasets"]["session_path"], tables["datasets"]["rel_path"], strict=True))
    sessions = tables["sessions"]
    known = set(zip(sessions["subject"], map(str, sessions["date"]), sessions["number"], strict=True))
    removed: list[Path] = []
    for session in iter_sessions(root):
        path = session.relative_to(root).as_posix()
        gone = [session / file for file in iter_datasets(session) if (path, file.as_posix()) not in listed]
        removed += gone
        if not dry:
            for file in gone:
                file.unlink()
        *_, subject, day, number = session.parts
        is_empty = not any(each.is_file() and each not in gone for each in session.rglob("*"))
        if remove_empty_sessions and is_empty and (subject, day, int(number)) not in known:
            removed.append(session)
            if not dry:
                _remove_folder(session)
    return removed


def _remove_folder(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir()
    folder.rmdir()
