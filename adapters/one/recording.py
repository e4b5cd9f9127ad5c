"""Records folders with ALF files in the log, and makes their tables from it."""

# pandas declares unions of types that these calls never return.
# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import math
import os
import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
import pandas as pd
from blake3 import blake3
from filelock import FileLock

from ...engine.errors import NotFoundError, UsageError
from ...engine.events import alf as events
from ...engine.events.alf import ALF, AlfDataset, AlfEvent
from ...engine.events.registry import subject_and_kind
from ...engine.iterables import chunked
from ...engine.log.batch import EVENTS_SCHEMA, AppendHeader
from ...engine.log.command import Command, run_decided
from ...engine.log.event_batch import batches_of, read_events
from ...engine.log.moments import Moment, parse_moment
from ...engine.times import utc
from ...projections.tables.alf import Alf, AlfLoad, AlfSession
from ..session import location
from ..session.current import HasSession, connected_session, current_session, session_of
from ..session.session import Session, open_session
from .alf import files
from .alf.cache import QC_TYPE, Scanned, _metadata, check_lab, load_table, md5_of, save_table, scan_session
from .alf.io import iter_sessions
from .alf.spec import QC
from .converters import session_record2path
from .util import patch_cache, revision_of, without_revision

_IDENTITY = "alf"
_LOCK = "alf.lock"
_EXPORTED = "alf.exported"
_ID = re.compile(r"[0-9a-f]{32}")
_BATCHES_OF_AN_APPEND = 8
_ASPECTS = (
    (("exists",), None),
    (("size", "hash"), events.AlfFilesChanged),
    (("qc",), events.AlfQcChanged),
    (("is_default",), events.AlfRevisionsChanged),
)

Row = TypeVar("Row", AlfSession, AlfDataset)
Datasets = dict[str, dict[str, AlfDataset]]
"""Datasets by the id of their session, and by their path."""


class FolderState(msgspec.Struct, frozen=True):
    """What is recorded of a folder: its sessions by id, and its datasets."""

    sessions: dict[str, AlfSession]
    datasets: Datasets


class Registration(msgspec.Struct, frozen=True):
    """What a registration recorded.

    Attributes
    ----------
    sessions, datasets : int
        How many the folder has now; without missing datasets.
    recorded : dict of str to int
        Number of sessions and datasets by the kind of change, such as ``datasets_registered``.
    position : int
        Position of the log.
    """

    sessions: int
    datasets: int
    recorded: dict[str, int]
    position: int


class Exported(msgspec.Struct, frozen=True):
    """What was exported last: the position of the log, and the MD5 of each table."""

    position: int
    tables: dict[str, str]


class AlfChange(msgspec.Struct, frozen=True):
    """A recorded change of a session or dataset.

    Attributes
    ----------
    kind : str
        The kind of change, such as ``files_changed``.
    eid, id, path : str
        Ids of the session and the dataset, and its path; the path of the session if the change concerns it.
    values : dict
        The new state.
    """

    position: int
    recorded_at: int
    actor: str
    kind: str
    eid: str
    id: str
    path: str
    values: dict[str, Any]

    @property
    def at(self) -> Any:
        """UTC time when it was recorded."""
        return utc(self.recorded_at)


class FolderRecords:
    """The records of a folder in its log: the given engine, the current one, or one in the folder.

    Parameters
    ----------
    root : Path
        The folder.
    engine : Engine, optional
        The engine to use.
    """

    def __init__(self, root: str | Path, engine: HasSession | Session | None = None) -> None:
        self.root = Path(root)
        url = os.environ.get(location.ENVIRONMENT_URL)
        found = connected_session() or (current_session(url) if url else None)
        self._session = found if engine is None else session_of(engine)
        self._is_own = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder's own engine. It is opened again if needed."""
        if self._session is not None and self._is_own:
            self._session.close()
            self._session, self._is_own = None, False

    @property
    def folder(self) -> str:
        """Name of the folder, for display."""
        return self.root.resolve().name.encode(errors="backslashreplace").decode() or "/"

    def exists(self) -> bool:
        """Whether something is recorded of the folder, as far as can be told without opening a log."""
        has_log = self._session is not None or location.exists(self.root / location.HIDDEN_FOLDER)
        return has_log and (self.root / location.HIDDEN_FOLDER / _IDENTITY).exists()

    @property
    def session(self) -> Session:
        """The session, which is opened on first use. The folder's own engine is created if it is missing."""
        if self._session is None:
            self._session = open_session(str(location.hidden_folder(self.root)))
            self._is_own = True
        return self._session

    def identity(self) -> str:
        """Return the id of the folder, created on first use."""
        file = self.root / location.HIDDEN_FOLDER / _IDENTITY
        if not file.exists():
            made = location.hidden_folder(self.root) / f".{_IDENTITY}.{uuid.uuid4().hex}"
            made.write_text(f"{uuid.uuid4().hex}\n", "utf-8")
            # If several processes create it at the same time, the first one wins.
            with suppress(FileExistsError):
                os.link(made, file)
            made.unlink()
        found = file.read_text("utf-8").strip()
        if not _ID.fullmatch(found):
            raise UsageError(
                f"{file} must hold 32 hex digits: restore it, or delete it to record the folder as a new one"
            )
        return found

    @property
    def stream(self) -> str:
        """The stream of the folder."""
        return ALF.id + self.identity()

    def moment(self, given: Any) -> Moment:
        """Return the point in time of a tag, a position, a datetime or a text.

        Raises
        ------
        UsageError
            The value is not one of these.
        """
        if not isinstance(given, str):
            return given
        return self.tags().get(given) or parse_moment(given)

    def state(self, moment: Moment | None = None) -> FolderState:
        """Return what was recorded until a point in time, by default until now."""
        root = self.identity()
        with self.session.at(moment).read(Alf) as (tables, connection):
            sessions = {row.eid: row for row in tables.sessions(connection, root)}
            datasets: Datasets = defaultdict(dict)
            for eid, dataset in tables.datasets(connection, root):
                datasets[eid][dataset.path] = dataset
        return FolderState(sessions, dict(datasets))

    def tags(self) -> dict[str, int]:
        """Return the positions of the tags by name."""
        if not self.exists():
            return {}
        with self.session.read(Alf) as (tables, connection):
            return tables.tags(connection, self.identity())

    def loads(self) -> list[AlfLoad]:
        """Return the recorded loads, oldest first."""
        if not self.exists():
            return []
        with self.session.read(Alf) as (tables, connection):
            return tables.loads(connection, self.identity())

    def tables(self, moment: Moment | None = None) -> dict[str, pd.DataFrame]:
        """Return the tables of sessions and datasets at a point in time, by default now."""
        return tables_of(self.state(moment))

    def register(self, *, hash_files: bool = False, lab: str | None = None) -> Registration:
        """Record how the files of the folder differ from what is recorded.

        A folder that is registered for the first time keeps the ids of its tables. A session whose files are all found under another
        path was renamed, and keeps its ids.

        Parameters
        ----------
        hash_files : bool
            Compute the MD5 of each file. Otherwise only the files whose size changed and whose MD5 was known are read.
        lab : str, optional
            The lab of sessions whose paths do not name one.
        """
        found = {
            path.relative_to(self.root).as_posix(): scan_session(str(path), hash_files=hash_files)
            for path in iter_sessions(self.root)
        }

        def decide(state: FolderState) -> list[AlfEvent]:
            made: list[AlfEvent] = []
            if not state.sessions:
                state = adopted(self._old_tables())
                made += self._between(FolderState({}, {}), state)
            return made + self._between(state, _Registrar(self.root, state, lab).target(found))

        return self._record(decide)

    def _old_tables(self) -> dict[str, pd.DataFrame]:
        tables: dict[str, pd.DataFrame] = {}
        for name in ("sessions", "datasets"):
            if (file := self.root / f"{name}.pqt").exists():
                table, metadata = load_table(file)
                tables[name] = indexed(patch_cache(table, metadata.get("min_api_version"), name))
        return tables if len(tables) == 2 else {}

    def record_tables(self, sessions: pd.DataFrame, datasets: pd.DataFrame) -> Registration:
        """Record the differences of some rows of the tables from what is recorded. Other rows stay as they are."""

        def decide(state: FolderState) -> list[AlfEvent]:
            given = adopted({"sessions": sessions, "datasets": datasets}, state)
            merged = {eid: dict(rows) for eid, rows in state.datasets.items()}
            for eid, rows in given.datasets.items():
                held = {row.id: path for path, row in merged.get(eid, {}).items()}
                for path, row in rows.items():
                    merged.setdefault(eid, {}).pop(held.get(row.id, path), None)
                    merged[eid][path] = row
            return self._between(state, FolderState({**state.sessions, **given.sessions}, merged))

        return self._record(decide)

    def record_loads(self, ids: Mapping[str, Sequence[str]]) -> Registration:
        """Record that datasets were loaded: their ids by the id of their session."""
        return self._record(
            lambda _: [
                self._event(events.AlfDatasetsLoaded, eid, datasets=list(each)) for eid, each in ids.items()
            ]
        )

    def tag(self, name: str, moment: Any = None) -> int:
        """Name a position, by default the current one, and return it."""
        if not name or re.fullmatch(r"\d+", name) or len(name) > 200:
            raise UsageError(
                f"{name!r} is not a name for a tag: give at most 200 characters that are not a number"
            )
        session = self.session
        chosen = None if moment is None else self.moment(moment)
        position = session.log.head().position if chosen is None else (session.at(chosen).as_of or 0)
        self._record(lambda _: [self._event(events.AlfTagged, name=name, position=position)])
        return position

    def untag(self, name: str) -> None:
        """Remove a tag.

        Raises
        ------
        NotFoundError
            There is no such tag.
        """
        if name not in self.tags():
            raise NotFoundError(
                f"there is no tag {name!r} of {self.root}: the tags are {', '.join(self.tags()) or 'none'}"
            )
        self._record(lambda _: [self._event(events.AlfUntagged, name=name)])

    def history(self, about: str | None = None) -> Iterator[AlfChange]:
        """Yield the recorded changes, oldest first.

        Parameters
        ----------
        about : str, optional
            Only changes of this session or dataset, given by its id.
        """
        if not self.exists():
            return
        log = self.session.log
        for header in log.headers(stream_id=self.stream, schema=EVENTS_SCHEMA):
            for event in read_events(log, header):
                at = header.position_of(event.originator_version)
                for change in _changes(event, at, header.recorded_at, header.actor):
                    if about in {None, change.eid, change.id}:
                        yield change

    def export(self, folder: Path | None = None) -> tuple[Path, Path]:
        """Write the tables into a folder, by default this one. Files that are as they should be stay untouched.

        If other programs changed the tables of this folder since the last export, their changes are recorded first.
        """
        target = self.root if folder is None else folder
        paths = target / "sessions.pqt", target / "datasets.pqt"
        hidden = location.hidden_folder(self.root)
        with FileLock(hidden / _LOCK):
            if target == self.root:
                self._record_edits()
            position = self.session.log.head().position
            for path, table in zip(paths, self.tables().values(), strict=True):
                if not (path.exists() and load_table(path)[0].equals(table)):
                    save_table(path, table, _metadata(self.root.resolve()))
            if target == self.root:
                made = msgspec.json.encode(Exported(position, {path.name: md5_of(path) for path in paths}))
                (hidden / f".{_EXPORTED}").write_bytes(made)
                (hidden / f".{_EXPORTED}").replace(hidden / _EXPORTED)
        return paths

    def _record_edits(self) -> None:
        """Record what other programs changed in the tables since the last export."""
        file = self.root / location.HIDDEN_FOLDER / _EXPORTED
        if not file.exists():
            return
        exported = msgspec.json.decode(file.read_bytes(), type=Exported)
        tables = {self.root / name: md5 for name, md5 in exported.tables.items()}
        if any(path.exists() and md5_of(path) != md5 for path, md5 in tables.items()):
            base = self.state(exported.position)
            edited = adopted(self._old_tables(), base)
            self._record(lambda state: self._between(state, _with_edits(state, base, edited)))

    def _event(self, kind: type[AlfEvent], eid: str = "", **values: Any) -> AlfEvent:
        # The version is that of the batch.
        return kind(
            originator_id=self.stream,
            originator_version=0,
            root=self.identity(),
            folder=self.folder,
            eid=eid,
            **values,
        )

    def _between(self, before: FolderState, after: FolderState) -> list[AlfEvent]:
        """Return the events from one state to another."""
        made: list[AlfEvent] = []
        for eid, session in after.sessions.items():
            old = before.sessions.get(eid)
            if session != old:
                kind = events.AlfSessionRegistered if old is None else events.AlfSessionChanged
                values = msgspec.structs.asdict(session)
                del values["eid"]
                made.append(self._event(kind, eid, **values))
            now, then = after.datasets.get(eid, {}), before.datasets.get(eid, {})
            if now is not then and now != then:
                held = {row.id: row for row in then.values()}
                changed = dataset_changes([(held.get(row.id), row) for row in now.values()])
                made += [self._event(kind, eid, datasets=rows) for kind, rows in changed]
        return made

    def _record(self, decide: Callable[[FolderState], list[AlfEvent]]) -> Registration:
        """Decide on the recorded state and append, again if another writer was faster."""
        session = self.session
        session.require_present()
        session.present.require_writable()
        log, stream = session.log, self.stream
        recorded: Counter[str] = Counter()

        def attempt() -> Registration:
            # The version is read first: events that come after it make the append conflict, never go unseen.
            version = log.stream_version(stream) or 0
            made = decide(self.state())
            batches = list(batches_of(stream, version + 1, made)) if made else []
            for some in chunked(batches, _BATCHES_OF_AN_APPEND):
                log.append(Command.begin(None, session.new_id).append_of(some, b""))
            for event in made:
                recorded[subject_and_kind(type(event).__name__)[1]] += len(getattr(event, "datasets", "1"))
            state = self.state()
            existing = sum(row.exists for rows in state.datasets.values() for row in rows.values())
            return Registration(len(state.sessions), existing, dict(recorded), log.head().position)

        def repeated(_: AppendHeader) -> Registration:
            raise UsageError("commands without an id are never repeated")

        return run_decided(
            log, Command.begin(None, session.new_id), f"the folder {self.root}", attempt, repeated
        )


class _Registrar:
    """Finds what the files of a folder are, given what is recorded."""

    def __init__(self, root: Path, state: FolderState, lab: str | None) -> None:
        self._root = root
        self._state = state
        self._lab = lab
        self._taken = set(state.sessions)
        self._taken.update(row.id for rows in state.datasets.values() for row in rows.values())

    def target(self, found: Mapping[str, Scanned]) -> FolderState:
        """Return the state that the files have."""
        sessions: dict[str, AlfSession] = {}
        datasets: Datasets = {}
        known = {session.path: eid for eid, session in self._state.sessions.items()}
        renamed = self._renamed(found, known)
        for path, scanned in found.items():
            if self._lab is not None:
                check_lab(files.session_path_parts(path)[0], self._lab)
            eid = known.get(path) or renamed.get(path)
            old = None if eid is None else self._state.sessions[eid]
            if old is None or old.path != path:
                eid, old = self._session(path, old)
            sessions[old.eid] = old
            datasets[old.eid] = self._datasets(path, self._state.datasets.get(old.eid, {}), scanned)
        for eid, session in self._state.sessions.items():
            if eid not in sessions:
                sessions[eid] = session
                datasets[eid] = self._datasets(session.path, self._state.datasets.get(eid, {}), {})
        return FolderState(sessions, datasets)

    def _session(self, path: str, old: AlfSession | None) -> tuple[str, AlfSession]:
        parts = files.session_path_parts(path, as_dict=True)
        eid = self._new_id(path) if old is None else old.eid
        lab = check_lab(parts["lab"], self._lab)
        day, number = parts["date"], int(parts["number"])
        more = ("", "") if old is None else (old.task_protocol, old.projects)
        return eid, AlfSession(eid, lab, parts["subject"], day, number, *more, path)

    def _new_id(self, path: str) -> str:
        """Return an id that depends on a path only, unless another thing had this path before."""
        for number in range(len(self._taken) + 1):
            data = f"{path}\0{number}" if number else path
            made = _uuid_of(data)
            if made not in self._taken:
                self._taken.add(made)
                return made
        raise AssertionError("more ids are taken than there are")

    def _renamed(self, found: Mapping[str, Scanned], known: Mapping[str, str]) -> dict[str, str]:
        """Return the ids of sessions under a new path: their files are all there, and nowhere else."""
        gone: dict[Any, list[str]] = defaultdict(list)
        for path, eid in known.items():
            rows = self._state.datasets.get(eid, {})
            if path not in found and rows and not (self._root / path).is_dir():
                signature = frozenset((row.path, row.size) for row in rows.values() if row.exists)
                if signature:
                    gone[signature].append(eid)
        new: dict[Any, list[str]] = defaultdict(list)
        for path, scanned in found.items():
            if gone and path not in known and scanned:
                new[frozenset((name, size) for name, (size, _) in scanned.items())].append(path)
        renamed: dict[str, str] = {}
        for signature, paths in new.items():
            renamed |= self._paired(paths, gone.get(signature, []))
        return renamed

    def _paired(self, paths: Sequence[str], eids: Sequence[str]) -> dict[str, str]:
        """Pair new paths with sessions that have the same files, those first that share most of their path."""

        def shared(path: str, eid: str) -> int:
            return len(set(path.split("/")) & set(self._state.sessions[eid].path.split("/")))

        pairs = sorted((-shared(path, eid), path, eid) for path in paths for eid in eids)
        made: dict[str, str] = {}
        for _, path, eid in pairs:
            if path not in made and eid not in made.values():
                made[path] = eid
        return made

    def _datasets(
        self, session_path: str, old: Mapping[str, AlfDataset], found: Scanned
    ) -> dict[str, AlfDataset]:
        """Return the datasets of a session, those that are missing included."""
        rows: dict[str, AlfDataset] = {}
        for path, (size, md5) in found.items():
            before = old.get(path)
            if before is None:
                rows[path] = AlfDataset(self._new_id(f"{session_path}/{path}"), path, size, md5)
                continue
            is_stale = md5 is None and before.hash is not None and before.size != size
            new = md5_of(self._root / session_path / path) if is_stale else md5 or before.hash
            rows[path] = msgspec.structs.replace(before, size=size, hash=new, exists=True)
        for path, before in old.items():
            if path not in found:
                rows[path] = msgspec.structs.replace(before, exists=False) if before.exists else before
        return with_defaults(rows, old) if any("#" in path for path in rows) else rows


def with_defaults(rows: dict[str, AlfDataset], old: Mapping[str, AlfDataset]) -> dict[str, AlfDataset]:
    """Return datasets of which exactly one revision each is the default: the last, if there are new ones or not one is."""
    groups: dict[str, list[AlfDataset]] = defaultdict(list)
    for path, row in rows.items():
        groups[without_revision(path)].append(row)
    made: dict[str, AlfDataset] = {}
    for group in groups.values():
        existing = [row for row in group if row.exists] or group
        defaults = [row for row in existing if row.is_default]
        is_kept = len(defaults) == 1 and all(row.path in old for row in group)
        default = defaults[0] if is_kept else max(existing, key=lambda row: revision_of(row.path))
        made |= {row.path: msgspec.structs.replace(row, is_default=row is default) for row in group}
    return made


def dataset_changes(
    pairs: Iterable[tuple[AlfDataset | None, AlfDataset]],
) -> list[tuple[type[AlfEvent], list[AlfDataset]]]:
    """Return the events, with their datasets, that lead from earlier states of datasets to later ones."""
    made: dict[type[AlfEvent], list[AlfDataset]] = defaultdict(list)
    for before, after in pairs:
        if before is None:
            made[events.AlfDatasetsRegistered].append(after)
            continue
        last = before
        for fields, kind in _ASPECTS:
            step = msgspec.structs.replace(last, **{name: getattr(after, name) for name in fields})
            if step != last:
                found = events.AlfDatasetsFound if after.exists else events.AlfDatasetsMissing
                made[kind or found].append(step)
                last = step
    return list(made.items())


def _with_edits(state: FolderState, base: FolderState, edited: FolderState) -> FolderState:
    """Return a state with the values that differ between two others. What is in one of them only is added, or stays."""
    sessions, datasets = dict(state.sessions), dict(state.datasets)
    for eid, session in edited.sessions.items():
        old = base.sessions.get(eid)
        # The tables do not have the paths of sessions without datasets.
        given = session if old is None else msgspec.structs.replace(session, path=old.path)
        sessions[eid] = _with_values(sessions.get(eid), old, given)
    for eid, rows in edited.datasets.items():
        held = {row.id: row for row in datasets.get(eid, {}).values()}
        before = {row.id: row for row in base.datasets.get(eid, {}).values()}
        held |= {row.id: _with_values(held.get(row.id), before.get(row.id), row) for row in rows.values()}
        datasets[eid] = {row.path: row for row in held.values()}
    return FolderState(sessions, datasets)


def _with_values(state: Row | None, base: Row | None, edited: Row) -> Row:
    """Return a row with the values that were edited."""
    if state is None or base is None:
        return edited if state is None else state
    names = edited.__struct_fields__
    changed = {name: getattr(edited, name) for name in names if getattr(edited, name) != getattr(base, name)}
    return msgspec.structs.replace(state, **changed)


def adopted(tables: Mapping[str, pd.DataFrame], state: FolderState | None = None) -> FolderState:
    """Return the sessions and datasets of tables. A dataset whose id another one has is given a new one.

    Parameters
    ----------
    tables : mapping
        ``sessions`` and ``datasets``, or nothing.
    state : FolderState, optional
        Where sessions are looked up that the tables lack.
    """
    if not tables:
        return FolderState({}, {})
    rows = tables["datasets"]
    has_paths = "session_path" in rows
    paths = (
        dict(zip(rows.index.get_level_values("eid"), rows["session_path"], strict=True)) if has_paths else {}
    )
    sessions: dict[str, AlfSession] = {}
    for eid, row in zip(tables["sessions"].index, tables["sessions"].to_dict("records"), strict=True):
        texts = [
            row[name] if isinstance(row.get(name), str) else "" for name in ("task_protocol", "projects")
        ]
        lab = row["lab"] if isinstance(row.get("lab"), str) and row["lab"] else None
        path = paths.get(eid) or session_record2path(row).as_posix()
        sessions[eid] = AlfSession(
            eid, lab, row["subject"], str(row["date"])[:10], int(row["number"]), *texts, path
        )
    known = sessions.keys() | (state.sessions.keys() if state else set())
    taken: set[str] = set()
    datasets: Datasets = defaultdict(dict)
    for (eid, did), row in zip(rows.index, rows.to_dict("records"), strict=True):
        if eid in known:
            datasets[eid][row["rel_path"]] = _adopted_dataset(eid, did if did not in taken else None, row)
            taken.add(did)
    return FolderState(sessions, dict(datasets))


def _adopted_dataset(eid: str, did: str | None, row: Mapping[str, Any]) -> AlfDataset:
    size, md5 = row.get("file_size"), row.get("hash")
    default = row.get("default_revision", True)
    return AlfDataset(
        did or _uuid_of(f"{eid}\0{row['rel_path']}"),
        row["rel_path"],
        None if is_missing(size) else int(size),
        md5 if isinstance(md5, str) and md5 else None,
        QC.validate(row.get("qc", "NOT_SET")).value,
        is_missing(default) or bool(default),
        bool(row.get("exists", True)),
    )


def _uuid_of(text: str) -> str:
    """Return a UUID that depends on a text only. It is a random one by its version, which all tools take."""
    return str(uuid.UUID(bytes=blake3(text.encode()).digest(length=16), version=4))


def is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty: None or not a number."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def indexed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its ids as the index, in order."""
    if isinstance(table.index, pd.RangeIndex):
        names = [name for name in table.columns if re.match(r".?id", str(name))]
        if not names:
            raise NotFoundError("Failed to set index: the table has no column of ids")
        table = table.set_index(sorted(names, key=lambda name: name == "id"))
    # A sorted index is searched in logarithmic time.
    return table if table.index.is_monotonic_increasing else table.sort_index()


def tables_of(state: FolderState) -> dict[str, pd.DataFrame]:
    """Return the tables of sessions and datasets, as ONE-api has them."""
    sessions = pd.DataFrame(
        {
            "id": [row.eid for row in state.sessions.values()],
            "lab": pd.Series([row.lab for row in state.sessions.values()], dtype=object),
            "subject": [row.subject for row in state.sessions.values()],
            "date": pd.Series(
                [date.fromisoformat(row.date) for row in state.sessions.values()], dtype=object
            ),
            "number": pd.Series([row.number for row in state.sessions.values()], dtype="int64"),
            "task_protocol": [row.task_protocol for row in state.sessions.values()],
            "projects": [row.projects for row in state.sessions.values()],
        }
    ).set_index("id")
    rows = [
        (eid, state.sessions[eid].path, row) for eid, each in state.datasets.items() for row in each.values()
    ]
    datasets = pd.DataFrame(
        {
            "eid": [eid for eid, _, _ in rows],
            "id": [row.id for _, _, row in rows],
            "session_path": [path for _, path, _ in rows],
            "rel_path": [row.path for _, _, row in rows],
            "file_size": _sizes([row.size for _, _, row in rows]),
            "hash": pd.Series([row.hash for _, _, row in rows], dtype=object),
            "exists": pd.Series([row.exists for _, _, row in rows], dtype=bool),
            "qc": pd.Series([_QC_NAMES.get(row.qc, "NOT_SET") for _, _, row in rows]).astype(QC_TYPE),
        }
    ).set_index(["eid", "id"])
    if not all(row.is_default for _, _, row in rows):
        datasets["default_revision"] = [row.is_default for _, _, row in rows]
    return {"sessions": sessions.sort_index(), "datasets": datasets.sort_index()}


_QC_NAMES = {member.value: member.name for member in QC}


def _sizes(sizes: list[int | None]) -> pd.Series:
    return pd.Series(sizes, dtype="float64" if None in sizes else "int64")


def _changes(event: Any, position: int, recorded_at: int, actor: str) -> Iterator[AlfChange]:
    """Yield the changes of an event, one for each dataset."""
    if not isinstance(event, AlfEvent):
        return
    kind = subject_and_kind(type(event).__name__)[1]
    about = (position, recorded_at, actor, kind, event.eid)
    values = msgspec.to_builtins(event)
    for name in ("originator_id", "originator_version", "root", "folder", "eid"):
        values.pop(name, None)
    if isinstance(event, events.AlfDatasetsEvent):
        for row in event.datasets:
            yield AlfChange(*about, row.id, row.path, msgspec.structs.asdict(row))
    elif isinstance(event, events.AlfDatasetsLoaded):
        for did in event.datasets:
            yield AlfChange(*about, did, "", {})
    else:
        yield AlfChange(*about, "", getattr(event, "path", ""), values)
