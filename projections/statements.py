"""Compiled SQL statements that bypass SQLAlchemy."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any, Generic, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.schema import DropTable

Statement = TypeVar("Statement", bound="CompiledStatement")

ROWS_AT_ONCE = 500
"""So many values are in a statement at most: databases limit the number of its parameters."""


class CompiledStatement:
    """A frequent statement, compiled once. Execution by SQLAlchemy would take longer than the database does.

    Parameters
    ----------
    statement : Select or Insert, or a function that returns one
        A statement without type conversions. A function is called when the statement is first executed.
    names : sequence of str
        Names of its parameters, in the order in which `execute` gets their values.
    """

    def __init__(self, statement: Any, names: Sequence[str]) -> None:
        self._statement = statement
        self._names = tuple(names)
        self._compiled: dict[str, _Compiled] = {}

    def execute(self, connection: sa.Connection, values: Sequence[Any]) -> Any:
        """Execute the statement with some values and return the cursor of the driver."""
        compiled = self._compiled.get(connection.dialect.name) or self._compile(connection.dialect)
        raw: Any = connection.connection.driver_connection
        if compiled.ending is None:
            return raw.execute(compiled.text, self._given(compiled, values))
        return raw.execute(compiled.text, (*values, *compiled.ending))

    def execute_many(self, connection: sa.Connection, rows: Iterable[Sequence[Any]]) -> None:
        """Execute the statement for each row, without waiting for each answer."""
        compiled = self._compiled.get(connection.dialect.name) or self._compile(connection.dialect)
        raw: Any = connection.connection.driver_connection
        with closing(raw.cursor()) as cursor:
            cursor.executemany(
                compiled.text,
                rows if compiled.ending == () else [self._given(compiled, values) for values in rows],
            )

    def _given(self, compiled: _Compiled, values: Sequence[Any]) -> Any:
        values = (*values, *compiled.constants.values())
        if compiled.places is None:
            return dict(zip((*self._names, *compiled.constants), values, strict=True))
        return [values[place] for place in compiled.places]

    @property
    def statement(self) -> Any:
        """The statement."""
        made = self._statement
        if isinstance(made, FunctionType | MethodType):
            made = self._statement = made()
        return made

    def _compile(self, dialect: sa.Dialect) -> _Compiled:
        compiled: Any = self.statement.compile(dialect=dialect)
        # Limits are parameters as well.
        constants = {name: value for name, value in compiled.params.items() if name not in self._names}
        names = (*self._names, *constants)
        places = tuple(map(names.index, compiled.positiontup)) if compiled.positional else None
        ending = tuple(constants.values()) if places == tuple(range(len(names))) else None
        made = self._compiled[dialect.name] = _Compiled(str(compiled), constants, places, ending)
        return made


class _Compiled(NamedTuple):
    """A statement compiled for one database.

    Attributes
    ----------
    constants : dict
        Parameters with constant values.
    places : tuple of int or None
        The index of the value for each parameter; None if values are passed by name.
    ending : tuple or None
        The constants to append to the values, if no other reordering is needed.
    """

    text: str
    constants: dict[str, Any]
    places: tuple[int, ...] | None
    ending: tuple[Any, ...] | None


class DirectQuery(CompiledStatement):
    """A frequent query. `names` are its parameters, in the order in which `rows` gets their values."""

    @cached_property
    def _row(self) -> Any:
        columns = [column.name for column in self.statement.selected_columns]
        # The names come from the query.
        return namedtuple("_Row", columns)._make  # noqa: PYI024  # pyright: ignore[reportUntypedNamedTuple]

    def rows(self, connection: sa.Connection, values: Sequence[Any]) -> list[Any]:
        """Return the rows for some values, with columns by name."""
        return list(map(self._row, self.execute(connection, values)))

    def row(self, connection: sa.Connection, values: Sequence[Any]) -> Any:
        """Return the first row for some values, with columns by name; None if there is none."""
        return self.first(self.execute(connection, values))

    def first(self, cursor: Any) -> Any:
        """Return the first row of the cursor of `execute`, with columns by name; None if there is none."""
        found = cursor.fetchone()
        return None if found is None else self._row(found)


class CheckedQuery(DirectQuery):
    """A frequent query of projections. Values are converted and checked by the types of their columns."""

    def rows(self, connection: sa.Connection, values: Sequence[Any]) -> list[Any]:
        """Return the rows for some values, with columns by name."""
        convert = self._converters(connection.dialect)
        return [self._row(map(_converted, convert, row)) for row in self.execute(connection, values)]

    def row(self, connection: sa.Connection, values: Sequence[Any]) -> Any:
        """Return the first row for some values, or None. Its columns have names."""
        return next(iter(self.rows(connection, values)), None)

    def _converters(self, dialect: sa.Dialect) -> list[Any]:
        """Return the function that converts the values of each column; None for those that are returned as they are."""
        found = self._converting.get(dialect.name)
        if found is None:
            types = [column.type.dialect_impl(dialect) for column in self.statement.selected_columns]
            found = [each.result_processor(dialect, None) for each in types]
            self._converting[dialect.name] = found
        return found

    @cached_property
    def _converting(self) -> dict[str, list[Any]]:
        return {}


def _converted(convert: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if convert is None else convert(value)


class BySize(Generic[Statement]):
    """Statements on several keys, compiled for some numbers of them only: powers of two.

    Parameters
    ----------
    make : callable
        Returns the statement whose last parameters are the keys, with these names.
    """

    def __init__(self, make: Callable[[list[str]], Statement]) -> None:
        self._make = make
        self._made: dict[int, Statement] = {}

    def of(self, keys: Sequence[Any]) -> tuple[Statement, list[Any]]:
        """Return the statement for some keys, of which there are at most `ROWS_AT_ONCE`, and the values of its parameters."""
        size = 1 << (len(keys) - 1).bit_length()
        if size not in self._made:
            self._made[size] = self._make([f"key{number}" for number in range(size)])
        return self._made[size], [*keys, *[keys[-1]] * (size - len(keys))]


class Upsert(sa.Insert):
    """An insert in which a row replaces the one with the same primary key. `adapters/sql` compiles it."""

    inherit_cache = True


class DirectInsert(CompiledStatement):
    """A frequent insert. Its values are those of all columns of the table, in their order.

    Parameters
    ----------
    table : Table
        A table whose columns need no conversion of values.
    replace : bool
        Replace rows with the same primary key.
    """

    def __init__(self, table: sa.Table, *, replace: bool = False) -> None:
        names = [str(column.name) for column in table.columns]

        def statement() -> sa.Insert:
            insert = Upsert(table) if replace else sa.insert(table)
            return insert.values({name: sa.bindparam(name) for name in names})

        super().__init__(statement, names)


class SchemaStatements:
    """The statements that create and drop the tables of some metadata, compiled once per dialect.

    Parameters
    ----------
    metadata : MetaData
        Tables without named indexes and foreign keys.
    """

    def __init__(self, metadata: sa.MetaData) -> None:
        self._metadata = metadata
        self._creating: dict[tuple[str, str], list[str]] = {}
        self._dropping: dict[str, list[str]] = {}

    def exist(self, connection: sa.Connection) -> bool:
        """Whether all tables exist."""
        return self._metadata.tables.keys() <= set(connection.dialect.get_table_names(connection))

    def create(self, connection: sa.Connection) -> None:
        """Create the tables, which must not exist."""
        for table in self._metadata.tables.values():
            self._create(connection, table)

    def create_missing(self, connection: sa.Connection) -> None:
        """Create the tables that do not exist."""
        existing = set(connection.dialect.get_table_names(connection))
        for table in self._metadata.tables.values():
            if table.name not in existing:
                self._create(connection, table)

    def _create(self, connection: sa.Connection, table: sa.Table) -> None:
        dialect = connection.dialect
        key = dialect.name, table.name
        if key not in self._creating:
            self._creating[key] = _creating(table, dialect)
        run_all(connection, self._creating[key])

    def drop(self, connection: sa.Connection) -> None:
        """Drop the tables that exist."""
        dialect = connection.dialect
        if dialect.name not in self._dropping:
            drops = [DropTable(table, if_exists=True) for table in self._metadata.tables.values()]
            self._dropping[dialect.name] = [str(drop.compile(dialect=dialect)) for drop in drops]
        run_all(connection, self._dropping[dialect.name])


def _creating(table: sa.Table, dialect: sa.Dialect) -> list[str]:
    """Return the statements that create a table, those of its events included."""
    texts: list[str] = []

    def note(statement: sa.Executable, *_: object, **__: object) -> None:
        texts.append(str(statement.compile(dialect=dialect)))  # type: ignore[attr-defined]

    table.create(MockConnection(dialect, note), checkfirst=False)
    return texts


def run_all(connection: sa.Connection, texts: Iterable[str]) -> None:
    """Execute statements without parameters."""
    raw: Any = connection.connection.driver_connection
    for text in texts:
        raw.execute(text)
