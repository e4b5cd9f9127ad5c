"""An Alyx database with its data server, on loopback: what the ONE API asks for, and failures that a test switches on."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
import zipfile
from base64 import b64decode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

EIDS = [f"{n:08}-0000-4000-8000-000000000000" for n in range(600)]
DID = "aaaaaaaa-0000-4000-8000-00000000000{}"
SUBJECT = "lab/Subjects/mouse/2021-02-05/001"
USER, PASSWORD = "someone", "hunter2-secret"


class Alyx:
    """The state of the server. `failures` maps the beginning of a path to what happens to requests of it."""

    def __init__(self):
        self.token = "token-1"
        self.requests = []
        self.patched = []
        self.failures = {}
        self.contents = {
            "alf/_ibl_wheel.position.npy": b"position of the wheel",
            "alf/_ibl_wheel.velocity.npy": b"velocity of the wheel",
        }
        self.archive = b""
        self.created = "2031-01-01 00:00"
        self.url = ""
        self.bucket = None

    def datasets(self):
        return [
            {
                "id": DID.format(n),
                "name": path.rsplit("/", 1)[-1],
                "dataset_type": "wheel.position",
                "data_url": self.data_url(path, n),
                "url": f"{self.url}/datasets/{DID.format(n)}",
                "session": f"{self.url}/sessions/{EIDS[0]}",
                "file_size": len(data),
                "hash": hashlib.md5(data).hexdigest(),
                "collection": "alf",
                "default_dataset": True,
                "default_revision": "True",
                "qc": "NOT_SET",
                "file_records": [
                    {
                        "data_repository": "server",
                        "data_repository_path": "/lab/Subjects/",
                        "relative_path": f"mouse/2021-02-05/001/{path}",
                        "data_url": self.data_url(path, n),
                        "exists": True,
                    },
                    *self.bucket_records(path),
                ],
            }
            for n, (path, data) in enumerate(self.contents.items())
        ]

    def bucket_records(self, path):
        """Return the file records of a dataset that is in the bucket, which is given by its name and a folder in it."""
        if self.bucket is None:
            return []
        place = {"data_repository": "aws_cortexlab", "data_repository_path": f"/{self.bucket[1]}/"}
        return [{**place, "relative_path": f"{SUBJECT}/{path}", "data_url": None, "exists": True}]

    def data_url(self, path, n):
        front, name, extension = path.rsplit(".", 2)
        return f"{self.url}/public/{SUBJECT}/{front}.{name}.{DID.format(n)}.{extension}"

    def session(self, eid, full=False):
        number = EIDS.index(eid)
        record = {
            "id": eid,
            "url": f"{self.url}/sessions/{eid}",
            "subject": "mouse" if number == 0 else f"mouse{number}",
            "lab": "lab",
            "start_time": "2021-02-05T10:00:00",
            "number": 1,
            "task_protocol": "task",
            "projects": ["p1", "p2"],
        }
        if full:
            record["data_dataset_session_related"] = self.datasets() if number == 0 else []
        return record

    def tables(self, **tables):
        """Serve tables, given as bytes of their files."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in tables.items():
                archive.writestr(f"../{name}.pqt", data)
        self.archive = out.getvalue()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, content=b"", kind="application/json", length=None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()

    def do_POST(self):
        alyx = self.server.alyx
        alyx.requests.append(("POST", self.path))
        if self.path != "/auth-token":
            return self.answer(404, {"detail": "Not found."})
        form = parse_qs(self.body())
        if form != {"username": [USER], "password": [PASSWORD]}:
            return self.answer(400, {"non_field_errors": ["Unable to log in with provided credentials."]})
        return self.answer(200, {"token": alyx.token})

    def do_PATCH(self):
        self.server.alyx.patched.append((self.path, json.loads(self.body())))
        self.answer(200, self.server.alyx.patched[-1][1])

    def do_GET(self):
        alyx, parts = self.server.alyx, urlsplit(self.path)
        alyx.requests.append(("GET", self.path))
        failure = next((how for start, how in alyx.failures.items() if parts.path.startswith(start)), None)
        if isinstance(failure, int):
            return self.answer(failure, {"detail": "it is switched on"})
        if failure == "slow":
            time.sleep(2)
        if parts.path.startswith("/public/"):
            return self.file(alyx, parts.path, failure)
        if self.headers.get("Authorization") != f"Token {alyx.token}":
            return self.answer(401, {"detail": "Invalid token."})
        return self.record(alyx, parts)

    def file(self, alyx, path, failure):
        login = self.headers.get("Authorization", "Basic Og==").split()[1]
        if b64decode(login).decode() != "reader:file-secret":
            return self.answer(401, {"detail": "wrong login"})
        urls = {urlsplit(record["data_url"]).path: record for record in alyx.datasets()}
        if path not in urls:
            return self.answer(404, b"")
        data = list(alyx.contents.values())[list(urls).index(path)]
        if failure == "corrupt":
            data = data[:-1] + b"!"
        if failure == "cut":
            return self.answer(200, data[:-5], "application/octet-stream", len(data))
        return self.answer(200, data, "application/octet-stream")

    def record(self, alyx, parts):
        kind, _, which = parts.path.strip("/").partition("/")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        found = {
            "sessions": lambda: self.sessions(alyx, query, which),
            "datasets": lambda: self.datasets(alyx, query, which),
            "docs": lambda: {
                name: {
                    "list": {
                        "fields": [
                            {"name": field} for field in ("subject", "date_range", "lab", "number", "django")
                        ]
                    }
                }
                for name in ("sessions", "insertions", "datasets")
            },
            "files": lambda: [{"url": f"{alyx.url}/files/{DID.format(7)}", "json": None}],
            "insertions": lambda: (
                {"id": which, "session": EIDS[0], "name": "probe00"}
                if which
                else [{"id": DID.format(8), "session": EIDS[0], "name": "probe00"}]
            ),
            "data-repository": lambda: {
                "json": {
                    "bucket_name": alyx.bucket[0],
                    "Access key ID": "test",
                    "Secret access key": "test",
                }
            },
            "revisions": lambda: {"name": which, "description": "a revision"} if which == "r1" else None,
            "dataset-types": lambda: (
                ({"name": which, "description": "the position"} if which == "wheel.position" else None)
                if which
                else []
            ),
            "cache": lambda: {
                "location": f"{alyx.url}/cache.zip",
                "date_created": alyx.created,
                "origin": "alyx",
                "min_api_version": "1.0",
                "database_tags": ["paper"],
            },
        }.get(kind)
        if parts.path == "/cache.zip":
            return self.answer(200, alyx.archive, "application/zip")
        content = found and found()
        return self.answer(404, {"detail": "Not found."}) if content is None else self.answer(200, content)

    def sessions(self, alyx, query, which):
        if which:
            return alyx.session(which, full=True) if which in EIDS else None
        start, size = int(query.get("offset", 0)), int(query.get("limit", 250))
        eids = EIDS
        if "subject" in query:
            eids = [eid for eid in EIDS if query["subject"] == alyx.session(eid)["subject"]]
        if query.get("django", "").startswith("pk,"):
            eids = [eid for eid in EIDS if eid == query["django"][3:]]
        results = [alyx.session(eid) for eid in eids[start : start + size]]
        following = f"{alyx.url}/sessions?offset={start + size}" if start + size < len(eids) else None
        return {"count": len(eids), "next": following, "previous": None, "results": results}

    def datasets(self, alyx, query, which):
        records = alyx.datasets()
        if which:
            return next((record for record in records if record["id"] == which), None)
        if query.get("django", "").startswith("session__isnull"):
            place = "aggregates/subjects/lab/mouse/"
            file = {
                **records[0]["file_records"][0],
                "data_repository_path": "/public/",
                "relative_path": place + "a.table.pqt",
            }
            return [{**records[0], "session": None, "file_records": [file]}]
        return [record for record in records if query.get("name") in {None, record["name"]}]


@contextmanager
def serving():
    """Yield an `Alyx` while it is served."""
    alyx = Alyx()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.alyx = alyx
    alyx.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield alyx
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
