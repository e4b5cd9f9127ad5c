"""The projection of frames as columns: one piece for each stretch of 32,768 positions of the log, compressed.

Columns belong to the log, so all versions share them. A piece has four parts, and each part one row with its directory, its
zone maps and its small sections, and one more for each large section. A query reads the sections of the columns that it asks for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import chain, islice
from typing import Any, ClassVar

import msgspec
import numpy as np
import sqlalchemy as sa
import zstandard
from blake3 import blake3
from numpy.typing import NDArray

from ...engine.canonical import encode_canonical
from ...engine.errors import IntegrityError
from ...engine.keys import U64, Operation, read_rows
from ...engine.log.batch import FRAMES_SCHEMA
from ...engine.log.contract import Log
from ...engine.query.matching import Interval, Matcher
from ..columns import Bytes
from ..pages import Page
from ..projection import FoldedProjection, ProjectionStore
from ..statements import DirectInsert, DirectQuery
from ..states.fold import BatchIndex, event_positions
from .columns import AREA, BooleanCells, Cells, Column, NumberCells, Table, TextCells
from .pieces import PARTS, ROIS, Piece, read_pieces
from .texts import Texts, narrow

logger = logging.getLogger("framelode.projections")

_LEVEL = 3
_LARGE = 1024
"""Sections with more bytes have a row of their own."""

_SCALES = (1, 10, 100, 1000, 10_000)
_LARGEST_WHOLE = 2.0**31
_ZONE_TEXTS = 64
_ZONE_BYTES = 1024
_HEX = 32

_DAMAGED = (msgspec.MsgspecError, zstandard.ZstdError, ValueError, TypeError, IndexError)

StoredRow = tuple[str, int, int, bytes, bytes]
"""Part, number, stretch, checksum and data, as in the table."""


class Section(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Where the bytes of an array are: in the row of a number, at an offset, so many; and what was done to them."""

    number: int
    offset: int
    size: int
    dtype: str = ""
    scale: int = 0


class CellsHead(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The sections and the zone map of the cells of one type.

    Attributes
    ----------
    kind : int
        0 for texts, 1 for numbers, 2 for booleans.
    rows : Section or None
        Differences of the rows.
    values : Section
        The values; the bytes of texts.
    lengths, codes : Section or None
        Lengths of texts, and their codes.
    large : list
        Items of `NumberCells.large`.
    texts : list of str or None
        The distinct texts, if they are few.
    low, high : number or None
        The bounds of the numbers, rounded outwards.
    """

    kind: int
    rows: Section | None
    values: Section
    lengths: Section | None = None
    codes: Section | None = None
    large: list[tuple[int, int | float]] = []
    texts: list[str] | None = None
    low: float | None = None
    high: float | None = None

    def may_match(self, matcher: Matcher) -> bool:
        """Whether a cell may match."""
        if self.kind == 0:
            wanted = matcher.texts
            if self.texts is None or not wanted:
                return bool(wanted)
            return any(map(wanted.__contains__ if isinstance(wanted, frozenset) else wanted, self.texts))
        if self.kind == 2:
            return bool(matcher.booleans)
        low, high, numbers = self.low, self.high, matcher.numbers
        if low is None or high is None:
            return False
        if isinstance(numbers, Interval):
            return (numbers.lower is None or numbers.lower <= high) and (
                numbers.upper is None or numbers.upper >= low
            )
        return any(low <= number <= high for number in numbers)


class PartHead(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The directory of a part: the frames of its stretch as bits, the numbers of its annotations, and its columns by path."""

    frames: Section
    counts: Section | None
    size: int
    columns: dict[str, list[CellsHead]]


_decode_head = msgspec.msgpack.Decoder(PartHead).decode


class _Packer:
    """Packs the arrays of a part into sections. Equal ones are packed once."""

    def __init__(self) -> None:
        self.small = bytearray()
        self.large: list[bytes] = []
        self._known: dict[bytes, tuple[int, int, int]] = {}
        self._compress = zstandard.ZstdCompressor(level=_LEVEL).compress

    def section(self, data: bytes, dtype: str = "", scale: int = 0) -> Section:
        packed = self._compress(data)
        place = self._known.get(packed)
        if place is None:
            if len(packed) > _LARGE:
                self.large.append(packed)
                place = len(self.large), 0, len(packed)
            else:
                place = 0, len(self.small), len(packed)
                self.small += packed
            self._known[packed] = place
        return Section(*place, dtype, scale)

    def array(self, array: NDArray[Any], scale: int = 0) -> Section:
        """Pack numbers as the planes of their bytes."""
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        planes = array.view(np.uint8).reshape(-1, array.itemsize).T
        return self.section(planes.tobytes(), array.dtype.str, scale)

    def column(self, column: Column) -> list[CellsHead]:
        return [self._cells(cells) for cells in column]

    def _cells(self, cells: Cells) -> CellsHead:
        rows = None if cells.rows is None else self.array(narrow(np.diff(cells.rows, prepend=np.int32(0))))
        match cells:
            case TextCells():
                return self._texts(cells, rows)
            case BooleanCells():
                return CellsHead(2, rows, self.array(cells.booleans.view(np.uint8)))
            case NumberCells():
                low, high = float(cells.numbers.min()), float(cells.numbers.max())
                if cells.large:
                    low, high = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
                values = self.array(*_scaled(cells.numbers))
                return CellsHead(
                    1, rows, values, large=list(cells.large.items()), low=float(low), high=float(high)
                )

    def _texts(self, cells: TextCells, rows: Section | None) -> CellsHead:
        texts = cells.texts
        data = _from_hex(texts)
        values = self.section(texts.data) if data is None else self.section(data, "hex")
        is_small = len(texts) <= _ZONE_TEXTS and len(texts.data) <= _ZONE_BYTES
        return CellsHead(
            0,
            rows,
            values,
            self.array(narrow(texts.lengths)),
            None if cells.codes is None else self.array(cells.codes),
            texts=texts.texts() if is_small else None,
        )


def _scaled(numbers: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return numbers as integers that are so many times as large, if that is exact; else unchanged."""
    for scale in _SCALES:
        # Most columns that do not fit show it at once.
        for some in (numbers[:256], numbers):
            whole = np.rint(some * scale)
            if not (np.abs(whole) < _LARGEST_WHOLE).all() or not (whole / scale == some).all():
                break
        else:
            low, high = int(whole.min(initial=0)), int(whole.max(initial=0))
            return whole.astype(np.promote_types(np.min_scalar_type(low), np.min_scalar_type(high))), scale
    return numbers.astype(np.float64), 0


def _from_hex(texts: Texts) -> bytes | None:
    """Return the bytes of texts that are all 32 lowercase hex digits."""
    if not len(texts) or not (texts.lengths == _HEX).all():
        return None
    try:
        data = bytes.fromhex(texts.data.decode())
    except ValueError:
        return None
    return data if data.hex().encode() == texts.data else None


def pack_piece(piece: Piece, stretch: int) -> Iterator[StoredRow]:
    """Yield the rows of the piece of a stretch."""
    size = 1 << FrameColumns.stretch_bits
    present = np.zeros(size, bool)
    present[(piece.positions & np.uint64(size - 1)).astype(np.int64)] = True
    bits = np.packbits(present)
    for part in PARTS:
        table, packer = piece.tables[part], _Packer()
        counts = None
        if part == ROIS:
            counts = packer.array(narrow(np.bincount(piece.owners, minlength=len(piece))))
        head = encode_canonical(
            PartHead(
                packer.array(bits),
                counts,
                table.size,
                {path: packer.column(table.column(path)) for path in table.paths},
            )
        )
        first = len(head).to_bytes(4, "little") + head + packer.small
        for number, data in enumerate((bytes(first), *packer.large)):
            yield part, number, stretch, _checksum(part, number, stretch, data), data


def _checksum(part: str, number: int, stretch: int, data: bytes) -> bytes:
    return blake3(data + f"{part} {number} {stretch}".encode()).digest(length=16)


class DamagedPieceError(IntegrityError):
    """A row of a stored piece is missing or damaged."""


class _StoredTable(Table):
    """A table whose columns are read when they are asked for."""

    def __init__(self, part: str, read: Callable[[str, int], bytes]) -> None:
        self._read, self._part = read, part
        data = read(part, 0)
        stop = 4 + int.from_bytes(data[:4], "little")
        self.head = _decode_head(memoryview(data)[4:stop])
        self._small = data[stop:]
        super().__init__(self.head.size, {})
        self.paths = sorted(self.head.columns)

    @property
    def bytes(self) -> int:
        """About the bytes that were read."""
        return super().bytes + 2 * len(self._small)

    def column(self, path: str) -> Column:
        """Return the column of a path, empty if it has no values."""
        heads = self.head.columns.get(path)
        if heads and path not in self._columns:
            self._columns[path] = tuple(map(self._unpacked, heads))
        return super().column(path)

    def may_match(self, path: str, matcher: Matcher) -> bool:
        """Whether a row may match, as the zone maps say."""
        return path == AREA or any(head.may_match(matcher) for head in self.head.columns.get(path, ()))

    def _unpacked(self, head: CellsHead) -> Cells:
        rows = None if head.rows is None else np.cumsum(self.array(head.rows), dtype=np.int32)
        if head.kind == 1:
            return NumberCells(rows, self.array(head.values), dict(head.large))
        if head.kind == 2:
            return BooleanCells(rows, self.array(head.values).view(bool))
        data = self._data(head.values)
        assert head.lengths is not None
        offsets = np.concatenate(([0], np.cumsum(self.array(head.lengths), dtype=np.int64)))
        texts = Texts(data.hex().encode() if head.values.dtype == "hex" else data, offsets)
        return TextCells(rows, texts, None if head.codes is None else self.array(head.codes))

    def _data(self, section: Section) -> bytes:
        data = self._small if section.number == 0 else self._read(self._part, section.number)
        return zstandard.ZstdDecompressor().decompress(data[section.offset : section.offset + section.size])

    def array(self, section: Section) -> NDArray[Any]:
        """Return the numbers of a section."""
        dtype = np.dtype(section.dtype)
        planes = np.frombuffer(self._data(section), np.uint8).reshape(dtype.itemsize, -1)
        numbers = np.ascontiguousarray(planes.T).view(dtype).reshape(-1)
        return numbers / section.scale if section.scale > 1 else numbers

    def digest(self) -> bytes:
        """Return a digest of all values."""
        hasher = blake3()
        heads = list(chain.from_iterable(self.head.columns[path] for path in self.paths))
        for head in heads:
            for section in filter(None, (head.rows, head.values, head.lengths, head.codes)):
                hasher.update(blake3(self._data(section)).digest())
            zones = (
                head.kind,
                head.values.dtype,
                head.values.scale,
                head.large,
                head.texts,
                head.low,
                head.high,
            )
            hasher.update(encode_canonical(zones))
        of_frames = [self._data(section) for section in (self.head.frames, self.head.counts) if section]
        hasher.update(
            encode_canonical((self.paths, list(map(len, self.head.columns.values())), self.size, of_frames))
        )
        return hasher.digest(length=16)


class _StoredTables(dict[str, Table]):
    def __init__(self, read: Callable[[str, int], bytes]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, part: str) -> Table:
        table = self[part] = _StoredTable(part, self._read)
        return table


class StoredPiece(Piece):
    """A piece whose columns are read when they are asked for.

    Parameters
    ----------
    stretch : int
        Number of the stretch.
    read : callable
        Returns the data of a row by part and number.
    """

    def __init__(self, stretch: int, read: Callable[[str, int], bytes]) -> None:
        self._stretch = stretch
        self.tables = _StoredTables(read)

    @cached_property
    def positions(self) -> U64:
        """The positions of the frames, ascending."""
        table: Any = next(iter(self.tables.values()), None) or self.tables[PARTS[0]]
        bits = np.unpackbits(table.array(table.head.frames), count=1 << FrameColumns.stretch_bits)
        first = self._stretch << FrameColumns.stretch_bits
        return np.flatnonzero(bits).astype(np.uint64) + np.uint64(first)

    @cached_property
    def owners(self) -> NDArray[np.int32]:
        """The row of the frame of each annotation."""
        table: Any = self.tables[ROIS]
        counts = table.array(table.head.counts)
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    @property
    def bytes(self) -> int:
        """About the bytes that it takes in memory."""
        own = sum(
            each.nbytes
            for each in (vars(self).get("positions"), vars(self).get("owners"))
            if each is not None
        )
        return own + sum(table.bytes for table in self.tables.values())


class FrameColumns(FoldedProjection[list[StoredRow]]):
    """The columns of frames, one piece for each complete stretch of the log. They are built when a query first needs them."""

    name: ClassVar[str] = "columns"
    code_version: ClassVar[int] = 1
    on_demand: ClassVar[bool] = True
    stretch_bits: ClassVar[int] = 15
    """A stretch has 2 to the power of so many positions."""

    def define_tables(self) -> None:
        """Define the table."""
        self.pieces = self.table(
            "piece",
            sa.Column("part", sa.Text, primary_key=True),
            sa.Column("number", sa.BigInteger, primary_key=True),
            sa.Column("stretch", sa.BigInteger, primary_key=True),
            sa.Column("checksum", Bytes, nullable=False),
            sa.Column("data", Bytes, nullable=False),
        )
        key = ("part", "number", "stretch")
        columns = self.pieces.c
        wanted = [columns[name] == sa.bindparam(name) for name in key]
        self._select = DirectQuery(sa.select(columns.checksum, columns.data).where(*wanted), key)
        order = (columns.part, columns.stretch)
        self._parts = sa.select(*order).where(columns.number == 0).order_by(*order)
        self._insert = DirectInsert(self.pieces, replace=True)

    def rows(self, connection: sa.Connection, table: sa.Table) -> Iterator[tuple[str, int, bytes]]:  # noqa: ARG002 - there is one
        """Yield a digest of what each part of a piece has. Compressed bytes may differ between releases of zstd."""
        for part, stretch in connection.execute(self._parts).all():
            try:
                stored = _StoredTable(part, partial(self._data, connection, stretch))
                yield part, stretch, stored.digest()
            except (DamagedPieceError, *_DAMAGED) as error:
                yield part, stretch, str(error).encode()

    def _data(self, connection: sa.Connection, stretch: int, part: str, number: int) -> bytes:
        row = self._select.row(connection, (part, number, stretch))
        if row is None or _checksum(part, number, stretch, row.data) != row.checksum:
            raise DamagedPieceError(f"the columns of stretch {stretch} of the log are missing or damaged")
        return row.data

    def fold(self, page: Page) -> list[StoredRow]:
        """Return the rows of the stretches that end in a page. What is before the page is read from the log."""
        bits = self.stretch_bits
        first, last = page[0].first_position >> bits, (page[-1].last_position + 1) >> bits
        return list(chain.from_iterable(map(self._rows_of, range(first, last))))

    def write(self, connection: sa.Connection, folded: list[StoredRow]) -> None:
        """Write the rows of stretches."""
        self._insert.execute_many(connection, folded)

    def _rows_of(self, stretch: int) -> list[StoredRow]:
        try:
            pieces = list(islice(read_stretch(self.log, stretch), 2))
        except IntegrityError as error:
            # Only versions with that frame cannot be queried.
            logger.info("no columns of stretch %d of the log are stored: %s", stretch, error)
            return []
        return list(pack_piece(pieces[0], stretch)) if len(pieces) == 1 else []

    def rebuild_piece(self, connection: sa.Connection, stretch: int) -> None:
        """Write the rows of a stretch again."""
        self.write(connection, self._rows_of(stretch))

    def piece(self, store: ProjectionStore, stretch: int) -> StoredPiece:
        """Return the piece of a stretch. It raises `DamagedPieceError` when a row is read that is missing or damaged."""

        def read(part: str, number: int) -> bytes:
            with store.read() as connection:
                return self._data(connection, stretch, part, number)

        return StoredPiece(stretch, read)


def read_stretch(log: Log, stretch: int) -> Iterator[Piece]:
    """Decode the frames of a stretch of the log; see `read_pieces`."""
    bits = FrameColumns.stretch_bits
    start, stop = stretch << bits, (stretch + 1) << bits
    headers = list(log.headers(gt=max(start - 1, 0), lte=stop - 1, schema=FRAMES_SCHEMA))
    first = np.array([header.first_position for header in headers], np.uint64)
    index = BatchIndex(first, np.array([header.count for header in headers], np.uint64))
    keys = log.rows_at([header.first_position for header in headers])
    operations = read_rows(b"".join(keys[header.first_position] for header in headers))["op"]
    positions = event_positions(first, index.counts)
    within = (positions >= start) & (positions < stop) & (operations != Operation.DELETE)
    yield from read_pieces(log, index, positions[within], always=True)
