"""Reads and writes ALF objects: the files of a folder that share an object name."""

# pandas declares unions of types that these calls never return.
# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import translate
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from iblutil.util import Bunch

from ....engine.errors import InvalidValueError
from . import files, spec
from .exceptions import ALFObjectNotFound, AttributeConflictError, OfflineError, PreconditionError

logger = logging.getLogger(__name__)

_MAX_COLUMNS = 10
_SEPARATORS = {".csv": ",", ".ssv": " ", ".tsv": "\t", ".htsv": "\t"}
_OPT_IN = "loading it can run any code: pass allow_pickle=True if you trust its author"


class AlfBunch(Bunch):
    """The attributes of an object: a dict whose items are also attributes."""

    @property
    def check_dimensions(self) -> int:
        """0 if all attributes have the same number of rows, otherwise 1."""
        return check_dimensions(self)

    def append(self, b: Mapping[str, Any], inplace: bool = False) -> AlfBunch:
        """Append the rows of another object with the same attributes.

        Parameters
        ----------
        b : mapping
            The other object. Arrays are concatenated, lists are extended, other values stay as they are.
        inplace : bool
            Change this object rather than a copy.

        Raises
        ------
        NotImplementedError
            The attributes differ.
        """
        if self and b and self.keys() != b.keys():
            differ = ", ".join(sorted(self.keys() ^ b.keys()))
            raise OfflineError(f"objects with different attributes cannot be appended: only one has {differ}")
        joined = dict(self)
        for key, value in b.items():
            if key not in self:
                joined[key] = value
            elif isinstance(self[key], np.ndarray):
                joined[key] = np.concatenate([self[key], value], axis=0)
            elif isinstance(self[key], list):
                joined[key] = [*self[key], *value]
            else:
                logger.warning("%s: values of type %s are not appended", key, type(self[key]).__name__)
        target = self if inplace else AlfBunch()
        target.update(joined)
        if check_dimensions(target):
            logger.warning("the attributes have different numbers of rows:%s", _shapes(target))
        return target

    def to_df(self) -> pd.DataFrame:
        """Return the attributes as the columns of a data frame; see `dataframe`."""
        return dataframe(self)

    @staticmethod
    def from_df(df: pd.DataFrame) -> AlfBunch:
        """Return the columns of a data frame as attributes. Columns ``name_0``, ``name_1``, ... become one array."""
        groups: dict[str, list[tuple[int, str]]] = {}
        for column in map(str, df.columns):
            name, _, number = column.rpartition("_")
            if name and number.isdecimal():
                groups.setdefault(name, []).append((int(number), column))
        bunch, grouped = AlfBunch(), {}
        for name, columns in groups.items():
            if [number for number, _ in sorted(columns)] == list(range(len(columns))) and name not in df:
                grouped |= {column: name for _, column in columns}
        for column in map(str, df.columns):
            name = grouped.get(column, column)
            if name not in bunch:
                names = [each for _, each in sorted(groups[name])] if column in grouped else column
                bunch[name] = df[names].to_numpy()
        return bunch


def dataframe(adict: Mapping[str, Any]) -> pd.DataFrame:
    """Return arrays with one or two dimensions as the columns of a data frame.

    Of an array with two dimensions, at most ten columns are taken. Other values are left out with a warning.

    Raises
    ------
    ValueError
        The arrays have different numbers of rows.
    """
    columns: dict[str, Any] = {}
    for key, value in adict.items():
        array = np.asarray(value)
        if array.ndim == 1:
            columns[key] = array
        elif array.ndim == 2 and array.shape[1] == 1:
            columns[key] = array[:, 0]
        elif array.ndim == 2:
            columns |= {
                f"{key}_{number}": array[:, number] for number in range(min(array.shape[1], _MAX_COLUMNS))
            }
        else:
            logger.warning("%s has %d dimensions and is left out", key, array.ndim)
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError(f"the attributes have different numbers of rows:{_shapes(adict)}")
    return pd.DataFrame(columns)


def check_dimensions(dico: Mapping[str, Any]) -> int:
    """Return 0 if all arrays have the same number of rows, otherwise 1.

    Arrays with one row, and 2x2 ``timestamps``, agree with any number.
    """
    rows = {
        value.shape[0]
        for key, value in dico.items()
        if getattr(value, "shape", ()) and not _is_sync(key, value)
    }
    return int(len(rows - {1}) > 1)


def _is_sync(key: str, value: Any) -> bool:
    """Whether a value is the first and last sample with their times, from which all times are interpolated."""
    return key.startswith("timestamps") and getattr(value, "shape", None) == (2, 2)


def _shapes(dico: Mapping[str, Any]) -> str:
    return "".join(f"\n    {key}: {value.shape}" for key, value in dico.items() if hasattr(value, "shape"))


def ts2vec(ts: np.ndarray, n_samples: int) -> np.ndarray:
    """Return the time of each sample.

    Parameters
    ----------
    ts : ndarray
        The times, or rows of sample number and time between which times are interpolated.
    n_samples : int
        The number of samples.

    Raises
    ------
    ValueError
        The array has another shape.
    """
    if ts.ndim == 1 or (ts.ndim == 2 and ts.shape[1] == 1):
        return ts.reshape(-1)
    if ts.ndim == 2 and ts.shape[1] == 2:
        return np.interp(np.arange(n_samples), ts[:, 0], ts[:, 1])
    raise ValueError(f"timestamps of shape {ts.shape} are neither times nor rows of sample number and time")


def read_ts(filename: str | Path) -> tuple[Any, Any]:
    """Load a file and the times of its samples.

    Parameters
    ----------
    filename : str or path
        A numpy file with a file ``<object>.timestamps`` beside it.

    Returns
    -------
    ndarray, ndarray
        The times and the content of the file.

    Raises
    ------
    FileNotFoundError
        There are no timestamps.
    AssertionError
        The number of times is not that of the samples.
    """
    path = Path(filename)
    _, name, _, clock, _, _ = files.filename_parts(path.name)
    found, parts = filter_by(path.parent, object=name, attribute="timestamps")
    fitting = [file for file, part in zip(found, parts, strict=True) if part[3] in {clock, None}]
    if not fitting:
        raise FileNotFoundError(
            f"{path.parent / f'{name}.timestamps.*'} does not exist: {path.name} has no times"
        )
    values = np.squeeze(load_file_content(path))
    times = ts2vec(load_file_content(path.parent / fitting[-1]), values.shape[0])
    if times.shape[0] != values.shape[0]:
        raise PreconditionError(f"{path}: {values.shape[0]} samples have {times.shape[0]} times")
    return times, values


def load_file_content(fil: str | Path | None, allow_pickle: bool = False) -> Any:
    """Load a file.

    Parameters
    ----------
    fil : str, path or None
        The file.
    allow_pickle : bool
        Also load files that can run code: numpy files with objects, pickles, and YAML with Python tags.

    Returns
    -------
    any
        An array (npy, npz), data frame (csv, tsv, ssv, htsv, pqt) or series (one column of text), the content of json, jsonable
        and yaml files, a sparse array (sparse_npz), or the path of any other file. None for an empty file or None.

    Raises
    ------
    InvalidValueError
        The content is damaged, or needs `allow_pickle`.
    """
    if fil is None:
        return None
    path = Path(fil)
    if path.stat().st_size == 0:
        return None
    try:
        return _content(path, path.suffix.lower(), allow_pickle=allow_pickle)
    except InvalidValueError:
        raise
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidValueError(f"{path} is not valid JSON at {where}: {error.msg}") from error
    except (ValueError, EOFError) as error:
        raise InvalidValueError(f"{path} cannot be loaded: {error}") from error


def _content(path: Path, suffix: str, *, allow_pickle: bool) -> Any:
    if suffix in _SEPARATORS:
        return pd.read_csv(path, sep=_SEPARATORS[suffix]).squeeze("columns")
    if suffix in _TRUSTED:
        return _TRUSTED[suffix](path, allow_pickle=allow_pickle)
    return _LOADERS.get(suffix, _itself)(path)


def _itself(path: Path) -> Path:
    return path


def _load_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _load_json_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def _load_pickle(path: Path, *, allow_pickle: bool) -> Any:
    if not allow_pickle:
        raise InvalidValueError(f"{path} is a pickle; {_OPT_IN}")
    return pd.read_pickle(path)  # noqa: S301 - the caller asked for it


def _load_numpy(path: Path, *, allow_pickle: bool) -> Any:
    try:
        loaded = np.load(path, allow_pickle=allow_pickle)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            return loaded["arr_0"] if loaded.files == ["arr_0"] else loaded
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InvalidValueError(f"{path} has Python objects; {_OPT_IN}") from error
    return loaded.reshape(-1) if loaded.ndim == 2 and loaded.shape[1] == 1 else loaded


def _load_yaml(path: Path, *, allow_pickle: bool) -> Any:
    import yaml

    try:
        with path.open(encoding="utf-8") as file:
            return (yaml.unsafe_load if allow_pickle else yaml.safe_load)(file)
    except yaml.constructor.ConstructorError as error:
        raise InvalidValueError(
            f"{path} has a tag that is not plain YAML ({error.problem}); {_OPT_IN}"
        ) from error
    except yaml.YAMLError as error:
        raise InvalidValueError(f"{path} is not valid YAML: {error}") from error


def _load_sparse(path: Path) -> Any:
    import warnings

    try:
        import sparse  # pyright: ignore[reportMissingImports]

        return sparse.load_npz(path)
    except ModuleNotFoundError:
        warnings.warn(f"{path} is not loaded: install the package sparse", UserWarning, stacklevel=4)
        return path


_LOADERS = {
    ".json": _load_json,
    ".jsonable": _load_json_lines,
    ".pqt": pd.read_parquet,
    ".sparse_npz": _load_sparse,
}
_TRUSTED = {
    ".npy": _load_numpy,
    ".npz": _load_numpy,
    ".yaml": _load_yaml,
    ".yml": _load_yaml,
    ".pkl": _load_pickle,
    ".pickle": _load_pickle,
}


def _matches(value: str | None, wanted: Any, *, wildcards: bool) -> bool:
    """Whether a part of a name matches a pattern, one of several, or is missing if None is wanted."""
    if wanted is None or value is None:
        return wanted is value
    patterns = [wanted] if isinstance(wanted, str) else wanted
    return any(re.match(translate(each) if wildcards else f"(?:{each})$", value) for each in patterns)


def _has_extras(value: str | None, wanted: Any, *, wildcards: bool) -> bool:
    """Whether a name has all extra parts that are wanted, in any order."""
    if wanted is None:
        return value is None
    held = (value or "").split(".")
    patterns = [wanted] if isinstance(wanted, str) else wanted
    return all(any(_matches(part, each, wildcards=wildcards) for part in held) for each in patterns if each)


def filter_by(
    alf_path: str | Path, wildcards: bool = True, **kwargs: Any
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the names and parts of the ALF files in a folder that match.

    Parameters
    ----------
    alf_path : str or path
        The folder.
    wildcards : bool
        Patterns are those of a shell; otherwise regular expressions.
    **kwargs
        Patterns of parts of the name. A list matches if one of its patterns does; of `extra` all must match. None matches if the
        name lacks the part.

    Raises
    ------
    TypeError
        A keyword is not a part of a file name.
    """
    names = tuple(spec.regex(spec.FILE_SPEC).groupindex)
    unknown = kwargs.keys() - set(names)
    if unknown:
        raise TypeError(f"unknown part {min(unknown)!r}: use one of {', '.join(names)}")
    found: list[str] = []
    parts: list[tuple[Any, ...]] = []
    for name in sorted(path.name for path in Path(alf_path).iterdir()):
        part = files.filename_parts(name, assert_valid=False)
        if part[1] and all(
            (_has_extras if key == "extra" else _matches)(part[names.index(key)], wanted, wildcards=wildcards)
            for key, wanted in kwargs.items()
        ):
            found.append(name)
            parts.append(part)
    return found, parts


def exists(
    alfpath: str | Path,
    object: str,  # noqa: A002 - the name of the public API
    attributes: str | Sequence[str] | None = None,
    **kwargs: Any,
) -> bool:
    """Whether a folder has files of an object, with all of some attributes.

    Parameters
    ----------
    alfpath : str or path
        The folder.
    object : str
        Name of the object.
    attributes : str or sequence of str, optional
        The attributes. By default one file of the object is enough.
    **kwargs
        More filters, as for `filter_by`.
    """
    _, parts = filter_by(alfpath, object=object, **kwargs) if Path(alfpath).is_dir() else ((), ())
    held = {part[2] for part in parts}
    wanted = {attributes} if isinstance(attributes, str) else set(attributes or ())
    return bool(parts) and wanted <= held


def _ls(
    alfpath: str | Path,
    object: str | None = None,  # noqa: A002 - the name of the public API
    **kwargs: Any,
) -> tuple[list[Path], list[tuple[Any, ...]]]:
    """Return the files of an object and their parts: in a folder, or beside one of its files."""
    path = Path(alfpath)
    if not path.exists():
        raise ALFObjectNotFound(f"{path} does not exist")
    folder = path if path.is_dir() else path.parent
    if path.is_file() and object is None:
        object = files.filename_parts(path.name)[1]  # noqa: A001 - as above
    wanted = kwargs if object is None else {"object": object, **kwargs}
    found, parts = filter_by(folder, **wanted)
    if not found:
        raise ALFObjectNotFound(f"no file of the object {object or '*'} in {folder} matches {kwargs or 'it'}")
    return [folder / name for name in found], parts


def load_object(
    alfpath: str | Path | Iterable[str | Path],
    object: str | None = None,  # noqa: A002 - the name of the public API
    short_keys: bool = False,
    *,
    allow_pickle: bool = False,
    **kwargs: Any,
) -> AlfBunch:
    """Load all attributes of an object.

    Parameters
    ----------
    alfpath : str, path or iterable of them
        The folder of the object, one of its files, or its files.
    object : str, optional
        Name of the object. Required for a folder.
    short_keys : bool
        Leave out extra parts in the names of attributes.
    allow_pickle : bool
        As for `load_file_content`.
    **kwargs
        More filters, as for `filter_by`.

    Returns
    -------
    AlfBunch
        The attributes by name, with timescale and extra parts. A ``table`` becomes one attribute for each column; arrays whose
        metadata name columns are split into them.

    Raises
    ------
    ALFObjectNotFound
        No file matches.
    ALFMultipleObjectsFound
        Two files have the same attribute. It is also an AssertionError.
    ValueError
        A folder is given without the name of the object.
    """
    if isinstance(alfpath, str | Path):
        if Path(alfpath).is_dir() and object is None:
            raise InvalidValueError(f"{alfpath} is a folder: the object name should be provided too")
        paths, parts = _ls(alfpath, object, **kwargs)
    else:
        paths = [Path(path) for path in alfpath]
        parts = [files.filename_parts(path.name) for path in paths]
        if not paths:
            raise ALFObjectNotFound(object or "no file was given")
    keyed = _keyed(paths, parts, short_keys=short_keys)
    loaded = {key: load_file_content(path, allow_pickle) for key, path in keyed.items()}
    out = _split_columns(_expand_tables(loaded))
    _interpolate(out)
    if check_dimensions(out):
        logger.warning(
            "the attributes of %s in %s have different numbers of rows:%s",
            parts[0][1],
            paths[0].parent,
            _shapes(out),
        )
    return out


def _keyed(paths: Sequence[Path], parts: Sequence[tuple[Any, ...]], *, short_keys: bool) -> dict[str, Path]:
    """Return the files of an object by the names of their attributes."""
    keyed: dict[str, Path] = {}
    for path, (_, _, attribute, clock, extra, _) in zip(paths, parts, strict=True):
        more = [part for part in (extra or "").split(".") if part and not spec.is_uuid_string(part)]
        is_metadata = more[-1:] == ["metadata"] and path.suffix == ".json"
        more = more[:-1] if is_metadata else more
        key = f"{attribute}_{clock}" if clock else attribute
        key = ".".join([key, *([] if short_keys else more)]) + ("metadata" if is_metadata else "")
        if key in keyed:
            raise AttributeConflictError(
                f"{keyed[key]} and {path.name} are both the attribute {key}: give an extension, an extra part, or other filters"
                + (", or leave out short_keys" if short_keys else "")
            )
        keyed[key] = path
    return keyed


def _expand_tables(loaded: dict[str, Any]) -> AlfBunch:
    """Replace tables by their columns, which win over attributes of the same name."""
    out = AlfBunch(loaded)
    for key, value in loaded.items():
        name, mark, more = re.fullmatch(r"([^_.]+)([_.]?)(.*)", key).groups()  # pyright: ignore[reportOptionalMemberAccess]
        if name == "table" and isinstance(value, pd.DataFrame):
            del out[key]
            out.update({f"{column}{mark}{more}": data for column, data in AlfBunch.from_df(value).items()})
    return out


def _split_columns(out: AlfBunch) -> AlfBunch:
    """Split arrays by the columns that their metadata name. Other metadata stay."""
    for key in [key for key in out if key.endswith("metadata") and key.removesuffix("metadata") in out]:
        name, metadata = key.removesuffix("metadata"), out[key]
        columns = metadata.get("columns") if isinstance(metadata, dict) else None
        values = out[name]
        if (
            not isinstance(columns, list)
            or getattr(values, "ndim", 0) != 2
            or values.shape[1] != len(columns)
        ):
            continue
        del out[name]
        out.update({column: values[:, number] for number, column in enumerate(columns)})
        rest = {field: value for field, value in metadata.items() if field != "columns"}
        del out[key]
        if rest:
            out[key] = rest
    return out


def _interpolate(out: AlfBunch) -> None:
    """Replace 2x2 timestamps by the time of each sample, if another attribute tells how many there are."""
    rows = next(
        (v.shape[0] for k, v in out.items() if getattr(v, "shape", ()) and not k.startswith("timestamps")),
        None,
    )
    for key, value in out.items():
        if _is_sync(key, value) and rows is not None:
            out[key] = ts2vec(value, rows)


def save_object_npy(
    alfpath: str | Path,
    dico: Mapping[str, Any],
    object: str,  # noqa: A002 - the name of the public API
    parts: str | Sequence[str] | None = None,
    namespace: str | None = None,
    timescale: str | None = None,
) -> list[Path]:
    """Save arrays as the attributes of an object.

    Parameters
    ----------
    alfpath : str or path
        The folder.
    dico : mapping
        Arrays by the name of the attribute.
    object : str
        Name of the object.
    parts : str or sequence of str, optional
        Extra parts of the file names.
    namespace, timescale : str, optional
        As for `to_alf`.

    Returns
    -------
    list of path
        The files.

    Raises
    ------
    ValueError
        The arrays have different numbers of rows.
    """
    if check_dimensions(dico):
        raise ValueError(f"Dimensions are not consistent:{_shapes(dico)}")
    saved: list[Path] = []
    for attribute, values in dico.items():
        path = Path(alfpath) / spec.to_alf(object, attribute, "npy", namespace, timescale, parts)
        np.save(path, values)
        saved.append(path)
    return saved


def save_metadata(file_alf: str | Path, dico: Mapping[str, Any]) -> None:
    """Save the metadata of a file beside it, as ``<name>.metadata.json``.

    Raises
    ------
    AssertionError
        The name of the file does not follow the specification.
    """
    path = Path(file_alf)
    if not spec.is_valid(path.name):
        raise PreconditionError(
            f"{path.name!r} does not follow the specification, see one.alf.spec.describe()"
        )
    (path.parent / f"{path.stem}.metadata.json").write_text(json.dumps(dico, indent=1), "utf-8")


def remove_uuid_file(file_path: str | Path, dry: bool = False) -> Path:
    """Rename a file so that its name has no UUID.

    Parameters
    ----------
    file_path : str or path
        The file.
    dry : bool
        Only return the new path.
    """
    path = Path(file_path)
    target: Path = files.remove_uuid_string(path)
    if target != path and not dry:
        path.replace(target)
    return target


def remove_uuid_recursive(folder: str | Path, dry: bool = False) -> None:
    """Rename the files of a folder and its folders so that their names have no UUID.

    Parameters
    ----------
    folder : str or path
        The folder.
    dry : bool
        Only print the new paths.
    """
    for path in sorted(each for each in Path(folder).rglob("*.*.*") if each.is_file()):
        target = remove_uuid_file(path, dry=dry)
        if dry and target != path:
            print(target)


def next_num_folder(session_date_folder: str | Path) -> str:
    """Return the next session number in the folder of a day, with three digits.

    Raises
    ------
    AssertionError
        There are 999 sessions already.
    """
    folder = Path(session_date_folder)
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    number = max((int(name) for name in names if re.fullmatch(r"\d{1,3}", name)), default=0) + 1
    if number > 999:
        raise PreconditionError(f"{folder} has session 999: there is no number left")
    return f"{number:03}"


def remove_empty_folders(folder: str | Path) -> None:
    """Remove all empty folders below a folder."""
    for path in sorted((each for each in Path(folder).rglob("*") if each.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()


def iter_sessions(root_dir: str | Path, pattern: str = "*") -> Iterator[Path]:
    """Yield the session folders below a folder in order, or the folder itself.

    Parameters
    ----------
    root_dir : str or path
        The folder.
    pattern : str
        Glob pattern of the sessions, relative to the folder. By default they are found at any depth.
    """
    root = Path(root_dir)
    if spec.is_session_path(root):
        yield root
    elif pattern == "*":
        yield from map(Path, _walk_sessions(os.fspath(root), ""))
    else:
        yield from (
            path for path in sorted(root.glob(pattern)) if path.is_dir() and spec.is_session_path(path)
        )


_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NUMBER = re.compile(r"\d{1,3}")


def _walk_sessions(folder: str, above: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(each.name for each in entries if each.is_dir() and not each.name.startswith("."))
    except PermissionError:
        logger.warning("%s cannot be read and is left out", folder)
        return
    name = os.path.basename(folder)  # noqa: PTH119 - half the time of the scan would be spent on paths
    is_day = bool(above) and _DAY.fullmatch(name) is not None
    for each in names:
        path = f"{folder}/{each}"
        if is_day and _NUMBER.fullmatch(each):
            yield path
        else:
            yield from _walk_sessions(path, name)


def iter_datasets(session_path: str | Path) -> Iterator[Path]:
    """Yield the paths of the datasets of a session in order, relative to the session."""
    session = os.fspath(session_path)
    for folder, folders, names in os.walk(session):
        folders.sort()
        below = os.path.relpath(folder, session).replace(os.sep, "/")
        front = "" if below == "." else below + "/"
        for name in sorted(names):
            if files.rel_path_parts(front + name, assert_valid=False)[-1]:
                yield Path(front + name)


def find_variants(
    file_list: Iterable[str | Path],
    namespace: bool = True,
    timescale: bool = True,
    extra: bool = True,
    extension: bool = True,
) -> dict[Path, list[Path]]:
    """Find the variants of datasets on disk: other revisions of a file, in its collection and session.

    Parameters
    ----------
    file_list : iterable of str or path
        The files.
    namespace, timescale, extra, extension : bool
        Variants must agree in this part; if False they may differ in it.

    Returns
    -------
    dict
        The other variants of each file.
    """
    asked = {1: True, 2: True, 0: namespace, 3: timescale, 4: extra, 5: extension}
    compared = [place for place, is_compared in asked.items() if is_compared]

    def key(name: str) -> tuple[Any, ...] | None:
        parts = files.filename_parts(name, assert_valid=False)
        return tuple(parts[place] for place in compared) if parts[1] else None

    variants: dict[Path, list[Path]] = {}
    for file in map(Path, file_list):
        collection = files.without_revision(file).parent
        folders = [collection, *collection.glob("#*#")]
        nearby = sorted(
            path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()
        )
        variants[file] = [path for path in nearby if path != file and key(path.name) == key(file.name)]
    return variants
