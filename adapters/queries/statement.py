"""Reads a statement of SQL in DuckDB's own parse tree: what it asks for, and whether all of it is allowed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NoReturn

import duckdb
import msgspec

from ...engine.errors import InvalidQueryError
from ...engine.log.moments import Moment, parse_moment
from ...engine.query.places import Language, Place
from ...engine.validation import did_you_mean, shorten

_WITH = re.compile(rb"with\b", re.IGNORECASE)
_LONGEST_MESSAGE = 1_000
_MAX_WITHS = 4
"""So deep may WITH be inside WITH: the time of DuckDB's parser grows exponentially with it if the text is no statement."""

FUNCTIONS: dict[str, tuple[str, ...]] = {
    "frames": ("version", "as_of", "query"),
    "annotations": ("version", "as_of", "query"),
    "sources": ("version", "as_of", "query"),
    "changes": ("from_version", "to_version", "as_of"),
}
"""The tables that take arguments, with the names of these. Those of `_NEEDED` must be given."""

_NEEDED = frozenset({"version", "from_version", "to_version"})

PLAIN = ("versions", "log")
"""The tables without arguments."""

TABLES = "frames('dataset@version'), annotations('dataset@version'), sources('dataset@version'), changes('from', 'to'), versions and log"

SEPARATOR = "\x1f"
"""Stands between the arguments in the digest under which the rows of a table are registered."""

_QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_FROM = frozenset({"JOIN", "SUBQUERY", "EMPTY", "EXPRESSION_LIST", "PIVOT", "CTE"})
_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "json_each", "json_tree"})
_VOLATILE = frozenset({"error", "gen_random_uuid", "random", "uuid", "uuidv4", "uuidv7"})
"""Functions with another result each time that reach nothing."""

_ABOUT_DATABASE = (
    "pg_",
    "has_",
    "inet_",
    "current_",
    "session_",
    "json_serialize_",
    "json_deserialize_",
    "json_execute_",
)
_SAFE = frozenset({"pg_typeof", "current_date", "current_localtime", "current_localtimestamp"})
_STATE = frozenset(
    {"getvariable", "getenv", "in_search_path", "txid_current", "user", "which_secret", "get_block_size"}
)
"""Functions that tell about the database and not about values."""

_SQL = Language("SQL")
_REFUSED_STATEMENT = "only one SELECT is allowed: nothing can be written, set, loaded or called"


def _place(text: bytes, offset: int) -> Place:
    """Return the place of a byte."""
    return Place.after(text[:offset].decode(errors="ignore"))


def refused(message: str, place: Place | None = None) -> InvalidQueryError:
    """Return the error of a statement, with the place at fault if it is known."""
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}..."
    if place is None:
        return InvalidQueryError(f"SQL: {message}")
    return _SQL.invalid(place, message)


class Reference(msgspec.Struct, frozen=True):
    """A table that a statement names.

    Attributes
    ----------
    table : str
        One of `FUNCTIONS` or `PLAIN`.
    arguments : tuple of (str or int or None)
        The values of its arguments; those that are not given are None.
    columns : frozenset of str or None
        The lowercase names of columns that the statement may use; None means all.
    place : Place
        Where it is.
    """

    table: str
    arguments: tuple[str | int | None, ...]
    columns: frozenset[str] | None
    place: Place

    @property
    def name(self) -> str:
        """The name under which its rows are registered. For tables with arguments a macro computes the same digest."""
        values = ("" if value is None else str(value) for value in self.arguments)
        named = SEPARATOR.join((self.table, *values)).encode(errors="replace")
        return hashlib.sha256(named).hexdigest() if self.arguments else self.table

    def argument(self, name: str) -> Any:
        """Return the value of an argument."""
        return self.arguments[FUNCTIONS[self.table].index(name)]

    def moment(self) -> Moment | None:
        """Return the moment to read at."""
        found = self.argument("as_of")
        return parse_moment(found) if isinstance(found, str) else found


class Statement(msgspec.Struct, frozen=True):
    """A statement that is allowed.

    Attributes
    ----------
    text : bytes
        As it was given.
    runnable : str
        As DuckDB runs it: each table with arguments has a name.
    inserted : list of (int, int)
        Where and how many bytes were inserted.
    references : list of Reference
        The tables.
    """

    text: bytes
    runnable: str
    inserted: list[tuple[int, int]]
    references: list[Reference]

    def place(self, offset: int) -> Place:
        """Return the place of a byte of what is run in the text as given."""
        moved = 0
        for at, size in self.inserted:
            moved += size * (at + moved < offset)
        return _place(self.text, offset - moved)


class _Found(msgspec.Struct):
    """A table in the tree, and those of which the SELECT around it wants all columns; an empty name stands for every table."""

    node: dict[str, Any]
    table: str
    stars: set[str]

    @property
    def alias(self) -> str:
        return (self.node["alias"] or self.table).lower()

    @property
    def is_bare(self) -> bool:
        """Whether nothing stands behind it that a name would have to stand before."""
        node = self.node
        return not node["alias"] and not node["sample"] and node["with_ordinality"] == "WITHOUT_ORDINALITY"


def read_statement(
    connection: duckdb.DuckDBPyConnection, text: str, parameters: Sequence[Any] | Mapping[str, Any] | None
) -> Statement:
    """Return a statement whose parts are all allowed.

    Raises
    ------
    InvalidQueryError
        It is not one SELECT, too large, or names something that is not allowed.
    """
    encoded = _encoded(text)
    _check_nesting(encoded)
    tree = _tree(connection, text, encoded)
    reader = _Reader(encoded, parameters, *_known())
    reader.walk(tree)
    references = reader.references()
    ends = sorted(
        (found.node["query_location"] + found.node["query_location_length"], f" {found.table}".encode())
        for found in reader.tables
        if found.table in FUNCTIONS and found.is_bare
    )
    runnable, at = b"", 0
    for end, name in ends:
        runnable, at = runnable + encoded[at:end] + name, end
    runnable += encoded[at:]
    inserted = [(end, len(name)) for end, name in ends]
    return Statement(encoded, runnable.decode(), inserted, references)


def _encoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise refused(f"a statement must be a text, not {shorten(text)}")
    encoded = _SQL.encoded(text)
    if b"\0" in encoded:
        raise refused("found a NUL: pass such a text as a parameter", _place(encoded, encoded.index(b"\0")))
    return encoded


def _check_nesting(text: bytes) -> None:
    withs = [False]
    for offset, kind in duckdb.tokenize(text.decode()):
        first = text[offset : offset + 1]
        if kind == duckdb.token_type.operator and first == b"(":
            withs.append(False)
        elif kind == duckdb.token_type.operator and first == b")" and len(withs) > 1:
            withs.pop()
        elif kind == duckdb.token_type.keyword and _WITH.match(text, offset):
            withs[-1] = True
            if sum(withs) > _MAX_WITHS:
                message = f"WITH is nested too deeply: at most {_MAX_WITHS} levels are allowed"
                raise refused(message, _place(text, offset))


def _tree(connection: duckdb.DuckDBPyConnection, text: str, encoded: bytes) -> Any:
    ((found,),) = connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [text]).fetchall()
    try:
        tree: Any = msgspec.json.decode(found)
    except RecursionError:
        raise refused("the statement is nested too deeply") from None
    if tree["error"]:
        if tree["error_type"] == "not implemented":
            raise refused(_REFUSED_STATEMENT, _first_place(encoded))
        message = tree["error_message"]
        if "expression depth" in message:
            message = "the statement is nested too deeply"
        offset = tree.get("position")
        raise refused(message, None if offset is None else _place(encoded, int(offset)))
    if len(tree["statements"]) != 1:
        raise refused(f"found {len(tree['statements'])} statements: {_REFUSED_STATEMENT}")
    return tree["statements"][0]["node"]


def _first_place(text: bytes) -> Place:
    return _place(text, len(text) - len(text.lstrip()))


@cache
def _known() -> tuple[frozenset[str], frozenset[str]]:
    """Return the functions of DuckDB that have a state or an effect, and the names of its own views."""
    with duckdb.connect() as connection:
        volatile = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE'"
        functions = {name for (name,) in connection.execute(volatile).fetchall()} - _VOLATILE
        views = connection.execute("SELECT view_name FROM duckdb_views() WHERE internal").fetchall()
    return frozenset(functions), frozenset(name for (name,) in views)


class _Reader:
    """Walks a parse tree, and checks every node.

    Parameters
    ----------
    text : bytes
        The statement.
    parameters : sequence or mapping, optional
        The values of its parameters.
    volatile : frozenset of str
        Functions that are not allowed, because they have a state or an effect.
    views : frozenset of str
        Names that no table of a WITH may have, because DuckDB has views of these names.
    """

    def __init__(
        self,
        text: bytes,
        parameters: Sequence[Any] | Mapping[str, Any] | None,
        volatile: frozenset[str],
        views: frozenset[str],
    ) -> None:
        self.tables: list[_Found] = []
        self._text = text
        self._parameters = parameters
        self._volatile = volatile
        self._views = views
        self._names: set[str] = set()
        self._single: set[str] = set()
        self._withs: set[str] = set()
        self._plain: list[_Found] = []

    def walk(self, tree: Any) -> None:
        """Check a tree. Raises `InvalidQueryError` at what is not allowed."""
        waiting: list[tuple[Any, set[str]]] = [(tree, set())]
        while waiting:
            node, stars = waiting.pop()
            if isinstance(node, list):
                waiting += ((each, stars) for each in node)
            elif isinstance(node, dict):
                inner = self._visit(node, stars)
                waiting += ((each, inner) for each in node.values() if isinstance(each, dict | list))
        for found in self._plain:
            self._check_plain(found)

    def references(self) -> list[Reference]:
        """Return the tables that were found."""
        return [self._reference(found) for found in self.tables]

    def _visit(self, node: dict[str, Any], stars: set[str]) -> set[str]:
        """Check one node; return the SELECT that what is below it belongs to."""
        kind = node.get("type")
        if "cte_map" in node:
            return self._visit_query(node, kind, stars)
        if "class" in node:
            self._visit_expression(node, stars)
        elif "sample" in node and "alias" in node:
            self._visit_table(node, kind, stars)
        return stars

    def _visit_query(self, node: dict[str, Any], kind: Any, stars: set[str]) -> set[str]:
        if kind not in _QUERIES:
            raise refused(_REFUSED_STATEMENT)
        for entry in node["cte_map"]["map"]:
            name = entry["key"]
            if name.lower() in self._views:
                raise refused(f"{shorten(name)} is a name of DuckDB: give the table of WITH another one")
            self._withs.add(name.lower())
        return set() if kind == "SELECT_NODE" else stars

    def _visit_expression(self, node: dict[str, Any], stars: set[str]) -> None:
        match node["class"]:
            case "COLUMN_REF":
                names = [name.lower() for name in node["column_names"]]
                self._names.update(names)
                if len(names) == 1:
                    self._single.add(names[0])
            case "STAR":
                stars.add((node["relation_name"] or "").lower())
            case "FUNCTION" | "WINDOW":
                self._check_function(node)
            case _:
                pass

    def _check_function(self, node: dict[str, Any]) -> None:
        name = node["function_name"].lower()
        about = name.startswith(_ABOUT_DATABASE) and name not in _SAFE
        if node["schema"] or node["catalog"] or about or name in self._volatile | _STATE:
            message = f"the function {shorten(name)} is not allowed: functions may only compute with values"
            raise refused(message, self._place(node))

    def _visit_table(self, node: dict[str, Any], kind: Any, stars: set[str]) -> None:
        match kind:
            case "BASE_TABLE":
                self._plain.append(_Found(node, node["table_name"].lower(), stars))
            case "TABLE_FUNCTION":
                self._visit_function(node, stars)
            case "SHOW_REF" if node.get("query"):
                pass
            case _ if kind in _FROM:
                if kind == "PIVOT" or node.get("ref_type") == "NATURAL":
                    stars.add("")
                self._names.update(name.lower() for name in node.get("using_columns") or ())
            case _:
                raise refused(f"only these can be read: {TABLES}", self._place(node))

    def _visit_function(self, node: dict[str, Any], stars: set[str]) -> None:
        function = node["function"]
        name = function["function_name"].lower()
        # What is in the function's place is its arguments; as a function of values it is not known.
        function["class"] = "TABLE"
        if function["schema"] or function["catalog"] or name not in {*FUNCTIONS, *_TABLE_FUNCTIONS}:
            hint = did_you_mean(name, (*FUNCTIONS, *PLAIN))
            raise refused(
                f"{shorten(name)} cannot be read: expected one of {TABLES}{hint}", self._place(node)
            )
        if name in FUNCTIONS:
            self.tables.append(_Found(node, name, stars))

    def _check_plain(self, found: _Found) -> None:
        node, name = found.node, found.table
        qualified = bool(node["schema_name"] or node["catalog_name"])
        if not qualified and name in self._withs:
            return
        if qualified or name not in PLAIN:
            if name in FUNCTIONS and not qualified:
                example = "'from', 'to'" if name == "changes" else "'dataset@version'"
                raise refused(f"the table {name} needs arguments: write {name}({example})", self._place(node))
            hint = "" if qualified else did_you_mean(name, (*FUNCTIONS, *PLAIN, *self._withs))
            known = f"there is no table {shorten(node['table_name'])}: expected one of {TABLES}{hint}"
            raise refused(known, self._place(node))
        self.tables.append(found)

    def _reference(self, found: _Found) -> Reference:
        wants_all = (
            not found.stars.isdisjoint({"", found.alias})
            or bool(found.node["column_name_alias"])
            or found.alias in self._single
        )
        arguments = tuple(self._arguments(found)) if found.table in FUNCTIONS else ()
        columns = None if wants_all else frozenset(self._names)
        return Reference(found.table, arguments, columns, self._place(found.node) or Place(1, 1))

    def _arguments(self, found: _Found) -> Iterator[str | int | None]:
        names = FUNCTIONS[found.table]
        given: dict[str, dict[str, Any]] = {}
        for number, each in enumerate(found.node["function"]["arguments"]):
            name = each["name"].lower() or (names[number] if number < len(names) else "")
            if name not in names or name in given:
                self._refuse_arguments(found, names)
            given[name] = each["expression"]
        for name in names:
            value = self._value(given[name], name) if name in given else None
            if value is None and name in _NEEDED:
                self._refuse_arguments(found, names)
            if value is not None and not isinstance(value, str) and name != "as_of":
                raise refused(f"{name} must be a text, not {value}", self._place(given[name]))
            yield value

    def _refuse_arguments(self, found: _Found, names: Sequence[str]) -> NoReturn:
        shown = ", ".join(name if name in _NEEDED else f"{name} => ..." for name in names)
        raise refused(f"the arguments of {found.table} are ({shown})", self._place(found.node))

    def _value(self, node: dict[str, Any], name: str) -> str | int | None:
        """Return the value of an argument, which must be known before the statement runs."""
        value: Any
        if node["class"] == "CONSTANT":
            literal = node["literal"]
            kind, value = literal["kind"], literal.get("text")
            value = None if kind == "NULL" else int(value) if kind == "INTEGER" else value
            known = kind in {"NULL", "INTEGER", "STRING"}
        elif node["class"] == "PARAMETER":
            value, known = self._parameter(node["identifier"]), True
        else:
            value, known = None, False
        if not known or not (value is None or type(value) in (str, int)) or SEPARATOR in str(value):
            allowed = "a text, a position or a parameter with one of these"
            # In SQL double quotes are for names of columns.
            text = ".".join(node.get("column_names", ()))
            hint = f": write '{text}' in single quotes" if text else ""
            raise refused(f"{name} must be {allowed}{hint}", self._place(node))
        return value

    def _parameter(self, identifier: str) -> Any:
        given = self._parameters
        if isinstance(given, Mapping):
            return given.get(identifier)
        number = int(identifier) if identifier.isdigit() else 0
        return given[number - 1] if given is not None and 0 < number <= len(given) else None

    def _place(self, node: dict[str, Any]) -> Place | None:
        offset = node["query_location"]
        return None if offset > len(self._text) else _place(self._text, offset)
