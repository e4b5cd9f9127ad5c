"""Runs calls of the ONE API and prints what each gives: ``python one_calls.py MODULE FOLDER CALLS``.

MODULE is ``one`` for ONE-api, or ``framelode.adapters.one``; CALLS is a JSON file of `[name, arguments, keywords, wildcards]`. The program imports
nothing else of this package, since ONE-api is in an environment of its own.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import logging
import math
import sys
import warnings
from pathlib import Path, PurePath
from uuid import UUID

import numpy as np
import pandas as pd

UNORDERED = {"list_collections", "list_revisions", "load_object", "load_collection"}


def given(value, root):
    """Return an argument from its JSON: ``{"$path": ...}``, ``{"$uuid": ...}`` and ``{"$table": name}`` stand for other types."""
    if isinstance(value, list):
        return [given(each, root) for each in value]
    if not isinstance(value, dict):
        return value
    if "$path" in value:
        return Path(root, value["$path"])
    if "$uuid" in value:
        return UUID(value["$uuid"])
    return {name: given(each, root) for name, each in value.items()}


def plain(value, root):
    """Return a result as JSON has it; paths without the folder."""
    if isinstance(value, pd.DataFrame):
        # ONE-api has the rows of some results in the order of names, and of some in that of the table.
        value = value.sort_values("rel_path") if "rel_path" in value else value
        rows = value.astype(object).where(value.notna(), None)
        names = sorted(rows.columns)
        return {
            "index": plain(list(value.index), root),
            "rows": {name: plain(list(rows[name]), root) for name in names},
        }
    if isinstance(value, pd.Series):
        return plain(value.to_dict(), root)
    if isinstance(value, np.ndarray):
        return (
            {"dtype": str(value.dtype), "values": plain(value.tolist(), root)}
            if value.dtype != object
            else plain(value.tolist(), root)
        )
    if isinstance(value, np.generic):
        return plain(value.item(), root)
    if isinstance(value, PurePath):
        return "path " + value.as_posix().replace(root, "ROOT")
    if isinstance(value, dict):
        return {
            str(name): plain(each, root)
            for name, each in sorted(value.items(), key=lambda item: str(item[0]))
        }
    if isinstance(value, list | tuple):
        return [plain(each, root) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(each, root) for each in value)
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dt.date | UUID):
        return str(value)[:10] if isinstance(value, dt.date) else str(value)
    if hasattr(value, "__next__"):
        return plain(list(value), root)
    return (
        value.replace(root, "ROOT")
        if isinstance(value, str)
        else value
        if isinstance(value, int | float | None)
        else repr(value)
    )


def in_order(name, value):
    """Return a result of which ONE-api leaves the order to a set or to the file system in one order."""
    if name == "alf.io.filter_by":
        return sorted(map(list, zip(*value, strict=True)), key=str)
    return sorted(value, key=str) if name in UNORDERED and isinstance(value, list) else value


def result_of(one, module, root, call):
    name, args, kwargs, wildcards = call
    one.wildcards = wildcards
    place, _, function = name.rpartition(".")
    target = importlib.import_module(f"{module}.{place}") if place else one
    table = kwargs.pop("$table", None)
    try:
        args = [given(each, root) for each in args]
        if table is not None:
            args.insert(0, one.list_datasets(table, details=True))
        found = getattr(target, function)(*args, **given(kwargs, root))
        return {"value": in_order(name, plain(found, root))}
    except Exception as error:
        return {
            "error": [each.__name__ for each in type(error).__mro__],
            "text": str(error).replace(root, "ROOT")[:300],
        }


def main(module, root, calls):
    warnings.simplefilter("ignore")
    logging.disable()
    api = importlib.import_module(f"{module}.api")
    one = api.One(cache_dir=root, mode="local")
    for call in json.loads(Path(calls).read_text("utf-8")):
        print(json.dumps(result_of(one, module, root, call)))


if __name__ == "__main__":
    main(*sys.argv[1:])
