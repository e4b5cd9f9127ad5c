"""Filters of tables, and helpers that the classes of the ONE API share."""

# pandas declares unions of types that these calls never return.
# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from fnmatch import translate
from functools import wraps
from typing import Any, TypeVar, cast
from uuid import UUID

import numpy as np
import pandas as pd

from ...engine.errors import InvalidValueError, NotFoundError
from .alf import files, spec
from .alf.cache import QC_TYPE
from .alf.exceptions import (
    ALFError,
    ALFMultipleCollectionsFound,
    ALFMultipleObjectsFound,
    ALFMultipleRevisionsFound,
    PatternError,
    PreconditionError,
)
from .alf.spec import QC

logger = logging.getLogger(__name__)

_REVISION = re.compile(r"(?:^|(?<=/))#([\w.-]+)#/")
_UNIQUE_BELOW = 5_000
Method = TypeVar("Method", bound=Callable[..., Any])


def Listable(t: Any) -> Any:  # noqa: N802 - the name of the public API
    """Return the type of one value or a sequence of them."""
    return t | Sequence[t]


def ensure_list(value: Any) -> Any:
    """Return a value in a list, unless it is one or another iterable; texts and dicts are values."""
    is_several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    return value if is_several else [value]


def refresh(method: Method) -> Method:
    """Decorate a method to check the tables for a newer state first, and to read the past with `as_of`, which it never gets."""

    @wraps(method)
    def wrapper(self: Any, *args: Any, as_of: Any = None, **kwargs: Any) -> Any:
        if as_of is not None:
            return getattr(self.at(as_of), method.__name__)(*args, **kwargs)
        self.refresh_cache(kwargs.get("query_type") or self.mode)
        return method(self, *args, **kwargs)

    return cast("Method", wrapper)


def parse_id(method: Method) -> Method:
    """Decorate a method to convert its first argument, any identifier of a session, to an eid.

    Raises
    ------
    ValueError
        There is no such session.
    """

    @wraps(method)
    def wrapper(self: Any, id: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: A002 - the name of the public API
        eid = self.to_eid(id)
        if eid is None:
            raise InvalidValueError(
                f"cannot parse session ID {id!r}: no session has it; see search() for the sessions that exist"
            )
        return method(self, eid, *args, **kwargs)

    return wrapper


def autocomplete(term: str, search_terms: Iterable[str]) -> str:
    """Return the search term that begins with a text, in any case.

    Raises
    ------
    ValueError
        No term does, or several do.
    """
    known = list(search_terms)
    found = [each for each in known if each.lower().startswith(term.lower())]
    exact = [each for each in found if each.lower() == term.lower()]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    problem = (
        f"ambiguous: it may be {' or '.join(found)}" if found else f"unknown: use one of {', '.join(known)}"
    )
    raise InvalidValueError(f"search term {term!r} is {problem}")


def validate_date_range(date_range: Any) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Return the first and last moment of a range of dates.

    Parameters
    ----------
    date_range : str, date, datetime, Timestamp, or a sequence of one or two of them
        One date stands for that day. In a sequence, None or a missing end is an open end.

    Raises
    ------
    ValueError
        There are more than two dates, or one is not a date.
    """
    if date_range is None:
        return None
    if isinstance(date_range, str | date | np.datetime64):
        start = _timestamp(date_range)
        return start, start + pd.Timedelta(days=1) - pd.Timedelta(milliseconds=1)
    dates = list(date_range)
    if not 1 <= len(dates) <= 2:
        raise InvalidValueError(f"a range of dates has a first and a last date, not {len(dates)}: {dates}")
    first, last = (*dates, None)[:2]
    # One day off the limits of pandas, which some of its functions cannot take.
    return (
        pd.Timestamp.min if first is None else _timestamp(first),
        pd.Timestamp.max if last is None else _timestamp(last),
    )


def _timestamp(value: Any) -> pd.Timestamp:
    try:
        return pd.Timestamp(value)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{value!r} is not a date: write YYYY-MM-DD") from error


def index_last_before(revisions: Sequence[str], revision: str | None) -> int | None:
    """Return the index of the last revision, in the order of text, that is not after another one.

    Parameters
    ----------
    revisions : sequence of str
        The revisions, in any order.
    revision : str or None
        The upper limit; None for the last one of all.

    Returns
    -------
    int or None
        The index; None if all are later.
    """
    places = [place for place, each in enumerate(revisions) if revision is None or each <= revision]
    return max(places, key=lambda place: revisions[place], default=None)


def revision_of(rel_path: str) -> str:
    """Return the revision in a relative path, or an empty text."""
    found = _REVISION.search(rel_path)
    return found[1] if found else ""


def collection_of(rel_path: str) -> str:
    """Return the collection in a relative path, or an empty text."""
    return files.rel_path_parts(rel_path, assert_valid=False)[0] or ""


def without_revision(rel_path: str) -> str:
    """Return a relative path without its revision folder."""
    return _REVISION.sub("", rel_path)


def filter_revision_last_before(
    datasets: pd.DataFrame, revision: str | None = None, assert_unique: bool = True
) -> pd.DataFrame:
    """Return for each dataset the last revision that is not after another one, in the order of text.

    Parameters
    ----------
    datasets : DataFrame
        A table of datasets.
    revision : str, optional
        The upper limit. By default the revisions marked in the column `default_revision` are taken, and the last ones
        where none is marked or the column is missing.
    assert_unique : bool
        Raise if there is a choice, rather than take the last one.

    Raises
    ------
    ALFMultipleRevisionsFound
        A dataset has several revisions, or several that are marked.
    ALFError
        A dataset has several revisions and none is marked.
    """
    places: dict[str, list[int]] = {}
    for place, rel_path in enumerate(datasets["rel_path"]):
        places.setdefault(without_revision(rel_path), []).append(place)
    marked = (
        datasets["default_revision"].to_numpy()
        if revision is None and "default_revision" in datasets
        else None
    )
    paths = datasets["rel_path"].to_numpy()
    kept: list[int] = []
    for name, group in places.items():
        defaults = [] if marked is None else [place for place in group if bool(marked[place])]
        if len(group) > 1 and assert_unique:
            _require_default(
                name, [revision_of(paths[place]) for place in defaults or group], marked, len(defaults)
            )
        if marked is not None and len(group) > 1 and not defaults:
            logger.warning("no revision of %s is marked as the default: the last one is taken", name)
        candidates = defaults or group
        last = index_last_before([revision_of(paths[place]) for place in candidates], revision)
        kept += [] if last is None else [candidates[last]]
    return with_revisions(datasets.iloc[sorted(kept)])


def with_revisions(datasets: pd.DataFrame) -> pd.DataFrame:
    """Return datasets with a column of their revisions."""
    return datasets.assign(revision=[revision_of(path) for path in datasets["rel_path"]])


def _require_default(name: str, revisions: Sequence[str], marked: Any, defaults: int) -> None:
    if marked is None or defaults > 1:
        raise ALFMultipleRevisionsFound(*revisions)
    if not defaults:
        raise ALFError(
            f"{name} has the revisions {', '.join(map(repr, revisions))} and none is marked as the default"
        )


def _collection_spec(collection: str | None = None, revision: str | None = None) -> str:
    """Return the specification of the folders of a dataset.

    None allows any folder or none, an empty text allows none, and any other value requires one.
    """
    text = ""
    for value, default in ((collection, "{collection}/"), (revision, "#{revision}#/")):
        text += f"({default})?" if value is None else default if value else ""
    return text


def _alternatives(value: Any, *, wildcards: bool) -> str:
    """Return a pattern for one text or several, as regular expression."""
    return "|".join(_pattern(each, wildcards=wildcards) for each in ensure_list(value))


def _pattern(text: str, *, wildcards: bool) -> str:
    return f"(?:{translate(text).removesuffix(chr(92) + 'Z').removesuffix(chr(92) + 'z') if wildcards else text})"


def path_filter(
    filename: Any, collection: Any, revision: Any, *, wildcards: bool, any_revision: bool
) -> re.Pattern[str] | None:
    """Return a pattern of relative paths; None if all match.

    Parameters
    ----------
    filename : str, dict of parts, list or None
        Pattern of the file name or of the whole relative path; a list matches if one does.
    collection, revision : str, list or None
        Patterns of the folders. An empty text matches datasets without such a folder.
    wildcards : bool
        Patterns are those of a shell; otherwise regular expressions.
    any_revision : bool
        Ignore the revision.

    Raises
    ------
    KeyError
        A key of a dict is not a part of a name.
    ValueError
        A regular expression is invalid.
    """
    revision = None if any_revision else revision
    if not filename and collection is None and revision is None:
        return None
    values = {"collection": collection, "revision": revision}
    if isinstance(filename, Mapping):
        parts = {name: value for name, value in filename.items() if value is not None}
        for name in ("collection", "revision"):
            values[name] = parts.pop(name, None) if values[name] is None else values[name]
        name = _name_spec(parts, wildcards=wildcards)
    else:
        name = _alternatives(filename, wildcards=wildcards) if filename else spec.FILE_SPEC
    given = {
        name: f"(?:{_alternatives(value, wildcards=wildcards)})" for name, value in values.items() if value
    }
    folders = _collection_spec(*(_first(values[name]) for name in ("collection", "revision")))
    try:
        if filename and not isinstance(filename, Mapping):
            return re.compile(spec.regex(folders, **given).pattern + f"(?:{name})" + r"\Z")
        return spec.regex(folders + name, **given)
    except re.error as error:
        asked = f"{filename!r}, collection {collection!r} or revision {revision!r}"
        raise PatternError(f"{asked} is not a regular expression: {error}; wildcards are off") from error


def _first(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else "any"


def _name_spec(parts: dict[str, Any], *, wildcards: bool) -> str:
    """Return the specification of file names with some parts."""
    unknown = parts.keys() - set(spec.regex(spec.FILE_SPEC).groupindex)
    if unknown:
        raise NotFoundError(f"unknown part {min(unknown)!r}: see one.alf.spec.describe()")
    groups = dict(spec.regex(spec.FILE_SPEC).groupindex)
    text = spec.FILE_SPEC
    if "namespace" in parts:
        text = text.replace("_?{namespace}?_?", "_{namespace}_")
    if "timescale" in parts:
        text = text.replace("(?:_{timescale})?", "_{timescale}")
    if "extra" in parts:
        text = text.replace(r"(?:\.{extra})*", r"\.{extra}")
    for name in groups.keys() & parts.keys():
        pattern = _alternatives(parts[name], wildcards=wildcards)
        if name == "extra" and not isinstance(parts[name], str):
            # All of several parts are required, in any order.
            required = (_pattern(each, wildcards=wildcards) for each in parts[name])
            pattern = "".join(rf"(?=(?:[\w-]+\.)*{each}\.)" for each in required) + r"[.\w-]+"
        text = text.replace("{" + name + "}", f"(?:{pattern})")
    return text


def matching(rel_paths: pd.Series, pattern: re.Pattern[str] | None) -> np.ndarray:
    """Return which relative paths match a pattern. Of long tables each different path is examined once."""
    if pattern is None:
        return np.ones(len(rel_paths), bool)
    if len(rel_paths) < _UNIQUE_BELOW:
        return np.fromiter((pattern.match(path) is not None for path in rel_paths), bool, len(rel_paths))
    codes, paths = pd.factorize(rel_paths)
    return np.fromiter((pattern.match(path) is not None for path in paths), bool, len(paths))[codes]


def filter_datasets(
    all_datasets: pd.DataFrame,
    filename: Any = None,
    collection: Any = None,
    revision: Any = None,
    revision_last_before: bool = True,
    qc: Any = QC.FAIL,
    ignore_qc_not_set: bool = False,
    assert_unique: bool = True,
    wildcards: bool = False,
) -> pd.DataFrame:
    """Return the datasets of a table that match.

    Parameters
    ----------
    all_datasets : DataFrame
        A table of datasets.
    filename : str, dict of parts, or list, optional
        Pattern of the file name, or of the path relative to the session; a list matches if one of its patterns does.
    collection : str or list, optional
        Pattern of the collection; an empty text for no collection.
    revision : str, optional
        Pattern of the revision, or the upper limit of revisions if `revision_last_before`.
    revision_last_before : bool
        Keep one revision of each dataset, see `filter_revision_last_before`.
    qc : str, int or QC
        Leave out datasets with a worse value.
    ignore_qc_not_set : bool
        Leave out datasets whose QC is not set.
    assert_unique : bool
        Raise if more than one dataset matches.
    wildcards : bool
        Patterns are those of a shell; otherwise regular expressions.

    Raises
    ------
    ALFMultipleCollectionsFound, ALFMultipleObjectsFound, ALFMultipleRevisionsFound
        Several datasets match, and `assert_unique` is set.
    """
    pattern = path_filter(
        filename, collection, revision, wildcards=wildcards, any_revision=revision_last_before
    )
    mask = matching(all_datasets["rel_path"], pattern)
    if "qc" in all_datasets:
        values = all_datasets["qc"].astype(QC_TYPE)
        mask &= values.le(QC.validate(qc).name).to_numpy()
        if ignore_qc_not_set:
            mask &= values.ne(QC.NOT_SET.name).to_numpy()
    datasets = all_datasets if mask.all() else all_datasets[mask]
    if assert_unique:
        require_one(datasets, has_name=bool(filename), any_revision=revision_last_before)
    if revision_last_before and len(datasets):
        return filter_revision_last_before(datasets, revision, assert_unique=assert_unique)
    return datasets


def require_one(datasets: pd.DataFrame, *, has_name: bool = True, any_revision: bool = True) -> None:
    """Raise if datasets are in several collections, have several names where one is asked for, or several revisions."""
    if len(datasets) < 2:
        return
    paths = list(datasets["rel_path"])
    collections = sorted({collection_of(path) for path in paths})
    if len(collections) > 1:
        raise ALFMultipleCollectionsFound(*collections)
    names = sorted({without_revision(path) for path in paths} if any_revision else paths)
    if has_name and len(names) > 1:
        raise ALFMultipleObjectsFound(*names)
    revisions = sorted(set(map(revision_of, paths)))
    if len(revisions) > 1 and not any_revision:
        raise ALFMultipleRevisionsFound(*revisions)


class LazyId(Mapping):  # type: ignore[type-arg]
    """The ids of records, taken from a record when it is asked for.

    Parameters
    ----------
    pg : sequence of dict
        The records, such as the pages of a REST response.
    func : callable, optional
        Takes a record, or a list of records, and returns what to give. By default its id.
    """

    def __init__(self, pg: Any, func: Callable[[Any], Any] | None = None) -> None:
        self._pg = pg
        self.func = func or self.ses2eid

    def __getitem__(self, item: Any) -> Any:
        """Return the id of a record, or a list of ids for a slice."""
        return self.func(self._pg[item])

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._pg)

    def __iter__(self) -> Iterator[Any]:
        """Yield the ids."""
        return map(self.func, self._pg)

    @staticmethod
    def ses2eid(ses: Any) -> Any:
        """Return the id of a record, or a list of ids for several: its `id`, or the end of its `url`."""
        if isinstance(ses, list):
            return [LazyId.ses2eid(each) for each in ses]
        return _id_of(ses)


def cache_int2str(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose ids are text, from one in which each id is a pair of integers.

    Raises
    ------
    AssertionError
        The columns of a pair are not beside each other.
    """
    named = table.index.names != [None]
    flat = table.reset_index() if named else table.copy()
    for name in dict.fromkeys(
        column[:-2] for column in map(str, flat.columns) if re.search(r"id_\d$", column)
    ):
        pair = [f"{name}_0", f"{name}_1"]
        if not set(pair) <= set(flat.columns):
            raise PreconditionError(f"the table has only one of the columns {pair[0]} and {pair[1]}")
        flat[name] = ids_of(flat[pair].to_numpy())
        flat = flat.drop(columns=pair)
    return flat.set_index([name for name in ("eid", "id") if name in flat]) if named else flat


def ids_of(pairs: np.ndarray) -> list[str]:
    """Return UUIDs as text, from rows of two integers that are their bytes in little-endian order."""
    data = np.ascontiguousarray(pairs, dtype="<i8").reshape(-1, 2).tobytes()
    return [str(UUID(bytes=data[start : start + 16])) for start in range(0, len(data), 16)]


def patch_cache(
    table: pd.DataFrame, min_api_version: str | None = None, name: str | None = None
) -> pd.DataFrame:
    """Return a table of an older or newer release in the current form.

    Parameters
    ----------
    table : DataFrame
        The table.
    min_api_version : str, optional
        The release that its metadata name.
    name : str, optional
        ``sessions`` or ``datasets``.
    """
    version = version_of(min_api_version)
    if any(re.search(r"id_\d$", str(column)) for column in (*table.index.names, *table.columns)):
        table = cache_int2str(table)
    if version < (1, 13) and "project" in table.columns and "projects" not in table.columns:
        table = table.rename(columns={"project": "projects"})
    if name == "datasets" and version < (2, 7) and "qc" not in table.columns:
        table = table.assign(qc=pd.Categorical.from_codes(np.zeros(len(table), "i1"), dtype=QC_TYPE))
    if "qc" in table.columns and table["qc"].dtype != QC_TYPE:
        table = table.assign(qc=table["qc"].astype(QC_TYPE))
    return table


def version_of(text: str | None) -> tuple[int, ...]:
    """Return the numbers of a release."""
    return tuple(map(int, re.findall(r"\d+", text or "0")[:3]))


_RECORD_COLUMNS = ("file_size", "hash", "session_path", "rel_path", "default_revision", "qc", "exists")


def _datasets_table(rows: list[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["eid", "id", *columns])
    return table.astype({"qc": QC_TYPE}).set_index(["eid", "id"]).sort_index()


def ses2records(ses: Mapping[str, Any]) -> tuple[pd.Series, pd.DataFrame]:
    """Return the rows of the tables for a session, from its REST record.

    Parameters
    ----------
    ses : mapping
        A record of the endpoint ``sessions``, as read.

    Returns
    -------
    Series, DataFrame
        The row of the sessions, and those of its datasets.
    """
    eid = _id_of(ses)
    projects = ses.get("projects") or []
    values = {
        "lab": ses["lab"],
        "subject": ses["subject"],
        "date": datetime.fromisoformat(ses["start_time"]).date(),
        "number": int(ses["number"]),
        "task_protocol": ses["task_protocol"],
        "projects": projects if isinstance(projects, str) else ",".join(projects),
    }
    session = pd.Series(values, name=eid)
    rows = [
        _related(eid, record)
        for record in ses.get("data_dataset_session_related") or ()
        if record.get("data_url")
    ]
    return session, _datasets_table(rows, _RECORD_COLUMNS)


def _related(eid: str, record: Mapping[str, Any]) -> dict[str, Any]:
    session_path, rel_path = split_alf_path(record["data_url"])
    return {
        "eid": eid,
        "id": record["id"],
        "file_size": record["file_size"],
        "hash": record["hash"],
        "session_path": session_path,
        "rel_path": rel_path,
        "default_revision": record.get("default_revision", record.get("default_dataset")) in {True, "True"},
        "qc": _qc_of(record),
        "exists": True,
    }


def _qc_of(record: Mapping[str, Any]) -> str:
    value = record.get("qc")
    return QC.NOT_SET.name if value in {None, ""} else QC.validate(value).name


def split_alf_path(path: str) -> tuple[str, str]:
    """Return the session path and the relative path of a dataset, without a UUID, from a URL or path of its file."""
    alf_path = files.get_alf_path(path) or path.strip("/")
    clean = files.remove_uuid_string(alf_path).as_posix()
    session = files.get_session_path(clean)
    if session is None:
        return "", clean
    return session.as_posix(), clean.removeprefix(session.as_posix()).strip("/")


def datasets2records(datasets: Any, additional: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the rows of the table of datasets, from their REST records.

    Parameters
    ----------
    datasets : dict or sequence of dict
        Records of the endpoint ``datasets``. Those without an existing file are left out.
    additional : sequence of str, optional
        Fields of the records to add as columns.
    """
    rows: list[dict[str, Any]] = []
    for record in ensure_list(datasets):
        existing = [each for each in record["file_records"] if each["exists"]]
        if not existing:
            continue
        file = next((each for each in existing if each["data_url"]), existing[0])
        session = (record.get("session") or "").rstrip("/").split("/")[-1]
        row = _related(
            session, {**record, "id": _id_of(record), "data_url": _place_of(file, has_session=bool(session))}
        )
        rows.append(row | {name: record.get(name) for name in additional or ()})
    return _datasets_table(rows, (*_RECORD_COLUMNS, *(additional or ())))


def _id_of(record: Mapping[str, Any]) -> str:
    return record.get("id") or record["url"].rstrip("/").split("/")[-1]


def _place_of(file: Mapping[str, Any], *, has_session: bool) -> str:
    """Return the path of a file record; of an aggregate, which has no session, the path below its repository."""
    if not has_session:
        return (file["data_repository_path"].strip("/") + "/" + file["relative_path"]).strip("/")
    return file["data_url"] or (file["data_repository_path"].strip("/") + "/" + file["relative_path"])
