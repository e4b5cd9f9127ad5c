"""Conversions between the identifiers of sessions and datasets: ids, paths, references, records and URLs."""

# pandas declares unions of types that these calls never return.
# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from functools import wraps
from inspect import unwrap
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeVar
from uuid import UUID

import pandas as pd
from iblutil.util import Bunch

from ...engine.errors import InvalidTypeError, InvalidValueError
from .alf import files
from .alf.exceptions import ALFObjectNotFound, OfflineError, SessionNotFoundError
from .alf.spec import is_session_path, is_uuid_string
from .util import ensure_list, parse_id

_ROOT = PurePosixPath("/")
Function = TypeVar("Function", bound=Callable[..., Any])

_REFERENCE = re.compile(r"(?P<date>\d{4}-\d{2}-\d{2})_(?P<sequence>\d{1}|\d{2}|\d{3})_(?P<subject>\S+)")


def recurse(func: Function) -> Function:
    """Decorate a method to map its first argument, if that is a list or tuple, to a list of results."""

    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if len(args) <= 1:
            return func(*args, **kwargs)
        first, second, *more = args
        if isinstance(second, list | tuple):
            return [wrapper(first, each, *more, **kwargs) for each in second]
        return func(first, second, *more, **kwargs)

    return wrapper


def parse_values(func: Function) -> Function:
    """Decorate a function that returns references as dicts, to parse their dates and numbers unless ``parse=False``."""

    def parsed(value: Any) -> Any:
        if isinstance(value, list):
            return [parsed(each) for each in value]
        if not isinstance(value, Mapping):
            return value
        out = Bunch(value)
        if isinstance(out.get("date"), str):
            out["date"] = datetime.fromisoformat(out["date"]).date()
        if "sequence" in out:
            out["sequence"] = int(out["sequence"])
        return out

    @wraps(func)
    def wrapper(*args: Any, parse: bool = True, **kwargs: Any) -> Any:
        found = func(*args, **kwargs)
        return parsed(found) if parse else found

    return wrapper


class ConversionMixin:
    """Conversions that need the tables of a `One`, and those of references."""

    _cache: Any
    _web_client: Any = None
    uuid_filenames: bool | None = None
    cache_dir: Any

    def __init__(self) -> None:
        self._cache = None
        self._par = None

    @recurse
    def to_eid(self, id: Any = None, cache_dir: str | Path | None = None) -> Any:  # noqa: A002 - the name of the public API
        """Return the id of a session.

        Parameters
        ----------
        id : str, UUID, path, dict or sequence of them
            An id, path, reference or URL of a session, its record, or a dict with subject, date and number.
        cache_dir : str or path, optional
            Not needed; paths are recognised by their session.

        Returns
        -------
        str, None or list
            The id; None for None, or for a path or reference of no session.

        Raises
        ------
        ValueError
            The value is not one of these.
        """
        del cache_dir
        if id is None:
            return None
        if isinstance(id, UUID):
            return str(id)
        if isinstance(id, Mapping) and not self.is_exp_ref(id):
            return self._record2eid(id)
        if self.is_exp_ref(id):
            return self.ref2eid(id)
        if isinstance(id, str | PurePath):
            return self._text2eid(id)
        raise InvalidValueError(
            f"{id!r} does not identify a session: give an id, a path, a reference or a record"
        )

    def _text2eid(self, given: str | PurePath) -> str | None:
        text = given if isinstance(given, str) else given.as_posix()
        last = text.rstrip("/").rsplit("/", 1)[-1]
        if is_uuid_string(last):
            return last
        if files.get_session_path(text.split("?", 1)[0]) is None:
            raise InvalidValueError(
                f"{text!r} does not identify a session: give an id, a path, a reference or a record"
            )
        return unwrap(type(self).path2eid)(self, given)

    def _record2eid(self, record: Mapping[str, Any]) -> str | None:
        for key in ("id", "eid", "url"):
            last = str(record.get(key, "")).rstrip("/").rsplit("/", 1)[-1]
            if is_uuid_string(last):
                return last
        if not {"subject", "number"} <= record.keys() or not {"date", "start_time"} & record.keys():
            raise InvalidValueError(f"{dict(record)!r} has no id, url, or subject, date and number")
        day = record.get("date") or record["start_time"]
        return unwrap(type(self).path2eid)(self, session_record2path({**record, "date": day}))

    def eid2path(self, eid: Any) -> Any:
        """Return the folder of a session.

        Parameters
        ----------
        eid : str, UUID, path, dict or list of them
            Any identifier of a session.

        Returns
        -------
        Path, None or list
            The folder, which need not exist; None for an id that is not in the tables.
        """
        if isinstance(eid, list | tuple):
            return [self.eid2path(each) for each in eid]
        return self._eid2path(eid)

    @parse_id
    def _eid2path(self, eid: str) -> Path | None:
        sessions = self._cache["sessions"]
        if eid not in sessions.index:
            return None
        return Path(session_record2path(sessions.loc[[eid]].iloc[0], self.cache_dir))

    @recurse
    def path2eid(self, path_obj: str | PurePath) -> Any:
        """Return the id of the session that a path is in.

        Parameters
        ----------
        path_obj : str, path or list of them
            The path of a session, or below it. The part above the subject is ignored, except the lab.

        Returns
        -------
        str, None or list
            The id; None if the path is in no session of the tables.
        """
        parts = files.session_path_parts(path_obj, as_dict=True, assert_valid=False)
        sessions = self._cache["sessions"]
        if not parts["subject"] or sessions.empty:
            return None
        mask = (
            sessions["subject"].eq(parts["subject"])
            & sessions["number"].eq(int(parts["number"]))
            & sessions["date"].eq(date.fromisoformat(parts["date"]))
        )
        found = sessions[mask.to_numpy()]
        if len(found) > 1 and parts["lab"] is not None:
            found = found[found["lab"].eq(parts["lab"]).to_numpy()]
        return None if found.empty else found.index[0]

    def path2record(self, path: str | PurePath) -> pd.Series | None:
        """Return the row of the tables for the path or URL of a dataset or session, or None if it is not recorded."""
        text = path if isinstance(path, str) else path.as_posix()
        session = files.get_session_path(files.get_alf_path(text) or text)
        eid = None if session is None else unwrap(ConversionMixin.path2eid)(self, session)
        if session is None or eid is None:
            return None
        if is_session_path(text.rstrip("/")):
            return self._cache["sessions"].loc[[eid]].iloc[0]
        try:
            datasets = self._cache["datasets"].loc[(eid,), :]
        except KeyError:
            return None
        name = files.remove_uuid_string(text).as_posix()
        found = datasets[[name.endswith(f"/{session.name}/{rel_path}") for rel_path in datasets["rel_path"]]]
        return None if found.empty else found.iloc[0]

    def path2url(self, filepath: str | PurePath) -> str | None:
        """Return the URL of a dataset on the data server, from its local path; None if it is not in the tables."""
        record = self.path2record(filepath)
        return None if record is None else self.record2url(record)

    def record2url(self, record: Any) -> Any:
        """Return the URL of a row of the tables.

        Parameters
        ----------
        record : Series or DataFrame
            A row of the sessions or datasets, or several.

        Returns
        -------
        str or list of str
            The URL, or those of several rows.

        Raises
        ------
        TypeError
            It is something else.
        AssertionError
            There is no connection to a server, whose address is needed.
        """
        if isinstance(record, pd.DataFrame):
            return [self.record2url(row) for _, row in record.iterrows()]
        if not isinstance(record, pd.Series):
            raise InvalidTypeError(f"record must be a row of a table or several, not {type(record).__name__}")
        if self._web_client is None:
            raise OfflineError("URLs need the address of a data server: use OneAlyx")
        if "rel_path" not in record:
            return self._web_client.rel_path2url(session_record2path(record).as_posix())
        path = PurePosixPath(self._session_path(record), record["rel_path"])
        return self._web_client.rel_path2url(
            files.add_uuid_string(path, ensure_list(record.name)[-1]).as_posix()
        )

    def _session_path(self, record: pd.Series) -> str:
        """Return the session path of a dataset; newer tables do not have it."""
        if "session_path" in record and isinstance(record["session_path"], str):
            return record["session_path"]
        eid = ensure_list(record.name)[0]
        return session_record2path(self._cache["sessions"].loc[[eid]].iloc[0]).as_posix()

    def record2path(self, dataset: Any) -> Any:
        """Return the local path of a row of the datasets, which need not exist; a list for several rows."""
        if isinstance(dataset, pd.DataFrame):
            paths = [self.record2path(row) for _, row in dataset.iterrows()]
            return paths[0] if len(paths) == 1 else paths
        if not isinstance(dataset, pd.Series):
            raise InvalidTypeError(
                f"dataset must be a row of a table or several, not {type(dataset).__name__}"
            )
        path = Path(self.cache_dir, self._session_path(dataset), dataset["rel_path"])
        return files.add_uuid_string(path, ensure_list(dataset.name)[-1]) if self.uuid_filenames else path

    def eid2ref(self, eid: Any, as_dict: bool = True, parse: bool = True) -> Any:
        """Return the reference of a session: subject, date and sequence.

        Parameters
        ----------
        eid : str, UUID, path, dict or list of them
            Any identifier of a session.
        as_dict : bool
            Return a dict rather than a text ``date_sequence_subject``.
        parse : bool
            Return the date and the number rather than texts; the number in a text is then not padded.

        Raises
        ------
        ALFObjectNotFound
            There is no such session.
        """
        if isinstance(eid, list | tuple):
            return [self.eid2ref(each, as_dict=as_dict, parse=parse) for each in eid]
        path = self.eid2path(eid)
        if path is None:
            raise ALFObjectNotFound(f"there is no session with the id {eid}")
        ref = self.path2ref(path, as_dict=True, parse=parse)
        return ref if as_dict else self.dict2ref(ref)

    @recurse
    def ref2eid(self, ref: Any) -> Any:
        """Return the id of the session with a reference (a dict or text).

        Raises
        ------
        ALFObjectNotFound
            No session has it; the error is also an AssertionError.
        """
        parts = self.ref2dict(ref, parse=False) if isinstance(ref, str) else ref
        path = f"{parts['subject']}/{parts['date']}/{int(parts['sequence']):03}" if parts else ""
        eid = unwrap(type(self).path2eid)(self, path)
        if eid is None:
            raise SessionNotFoundError(f"no session has the reference {ref!r}: see search()")
        return eid

    @recurse
    def ref2path(self, ref: Any) -> Any:
        """Return the folder of the session with a reference (a dict or text); see `ref2eid`."""
        return self.eid2path(self.ref2eid(ref))

    @staticmethod
    @parse_values
    def path2ref(path_str: Any, as_dict: bool = True) -> Any:
        """Return the reference of the session that a path is in; None if it is in none.

        Parameters
        ----------
        path_str : str, path or iterable of them
            The path.
        as_dict : bool
            Return a dict rather than a text ``date_sequence_subject``.

        Other Parameters
        ----------------
        parse : bool
            Return the date and the number of a dict rather than texts.
        """
        if isinstance(path_str, list | tuple):
            return [unwrap(ConversionMixin.path2ref)(each, as_dict) for each in path_str]
        session = files.get_session_path(path_str)
        # A number has one digit or three; other numbers are not those of sessions.
        if session is None or len(session.parts) < 3 or re.fullmatch("0[0-9]", session.name):
            return None
        subject, day, number = session.parts[-3:]
        ref = Bunch(subject=subject, date=day, sequence=number)
        return ref if as_dict else ConversionMixin.dict2ref(ref)

    @staticmethod
    def is_exp_ref(ref: Any) -> Any:
        """Whether a text or dict is the reference of a session; a list for several."""
        if isinstance(ref, list | tuple):
            return [ConversionMixin.is_exp_ref(each) for each in ref]
        if isinstance(ref, Mapping):
            return {"subject", "date", "sequence"} <= ref.keys()
        return isinstance(ref, str) and _REFERENCE.fullmatch(ref) is not None

    @staticmethod
    @parse_values
    def ref2dict(ref: Any) -> Any:
        """Return a reference as a dict of subject, date and sequence; a list for several.

        Parameters
        ----------
        ref : str, mapping or iterable of them
            The reference.

        Other Parameters
        ----------------
        parse : bool
            Return the date and the number rather than texts.
        """
        if isinstance(ref, list | tuple):
            return [unwrap(ConversionMixin.ref2dict)(each) for each in ref]
        if isinstance(ref, Mapping):
            return ref
        found = _REFERENCE.fullmatch(ref)
        return None if found is None else Bunch(found.groupdict())

    @staticmethod
    def dict2ref(ref_dict: Any) -> Any:
        """Return a reference as text ``date_sequence_subject``, from a dict of these or a record of a session.

        An iterable of dicts gives a list, an empty dict None.
        """
        if not isinstance(ref_dict, Mapping):
            return [ConversionMixin.dict2ref(each) for each in ref_dict]
        if not ref_dict:
            return None
        day = ref_dict.get("date") or ref_dict.get("start_time")
        sequence = ref_dict["sequence"] if "sequence" in ref_dict else ref_dict["number"]
        return f"{str(day)[:10]}_{sequence}_{ref_dict['subject']}"


def session_record2path(
    session: Mapping[str, Any] | pd.Series, root_dir: str | PurePath | None = None
) -> Any:
    """Return the path of a session, from its record.

    Parameters
    ----------
    session : mapping or Series
        A record with subject, date, number and perhaps lab.
    root_dir : str or path, optional
        The folder that the session is in. By default the path is relative, with forward slashes.
    """
    lab = session.get("lab")
    front = (lab, "Subjects") if isinstance(lab, str) and lab else ()
    parts = (*front, session["subject"], str(session["date"])[:10], f"{int(session['number']):03}")
    if root_dir is None:
        return PurePosixPath(*parts)
    return (Path(root_dir) if isinstance(root_dir, str) else root_dir).joinpath(*parts)


def one_path_from_dataset(dset: Any, one_cache: str | PurePath) -> Any:
    """Return the local path of a dataset, from its REST record; see `path_from_dataset`."""
    return path_from_dataset(dset, root_path=one_cache, uuid=False)


def path_from_dataset(
    dset: Any,
    root_path: str | PurePath = _ROOT,
    repository: str | None = None,
    uuid: bool = False,
) -> Any:
    """Return the path of a dataset, from its REST record.

    Parameters
    ----------
    dset : dict or list of dict
        Records of the endpoint ``datasets``.
    root_path : str or path
        The folder to put before it.
    repository : str, optional
        Name of the repository. By default the first with a URL.
    uuid : bool
        Keep the UUID in the file name.
    """
    if isinstance(dset, list | tuple):
        return [path_from_dataset(each, root_path, repository, uuid) for each in dset]
    records: Iterable[Any] = dset["file_records"]
    found = next(
        (
            each
            for each in records
            if (each["data_repository"] == repository if repository else each["data_url"])
        ),
        None,
    )
    if found is None:
        wanted = f"in the repository {repository!r}" if repository else "with a URL"
        raise InvalidValueError(f"the dataset {dset.get('name')!r} has no file record {wanted}")
    return path_from_filerecord(found, root_path, dset["url"][-36:] if uuid else None)


def path_from_filerecord(fr: Any, root_path: str | PurePath = _ROOT, uuid: str | None = None) -> Any:
    """Return the path of a file, from its REST record.

    Parameters
    ----------
    fr : dict or list of dict
        Records of the endpoint ``files``.
    root_path : str or path
        The folder to put before it.
    uuid : str, optional
        A UUID for the file name.
    """
    if isinstance(fr, list | tuple):
        return [path_from_filerecord(each, root_path, uuid) for each in fr]
    path = PurePosixPath(fr["data_repository_path"].strip("/"), fr["relative_path"])
    path = path if uuid is None else files.add_uuid_string(path, uuid)
    return (Path(root_path) if isinstance(root_path, str) else root_path).joinpath(*path.parts)
