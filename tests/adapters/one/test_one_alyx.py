"""`OneAlyx` with a server on loopback: login, pages, the cache of responses, downloads, and failures."""

from __future__ import annotations

import logging
from pathlib import Path

import alyx_server
import pytest
import requests
from alyx_server import DID, EIDS, PASSWORD, SUBJECT, USER
from s3_server import s3_environment, s3_filesystem, s3_prefix

from framelode.adapters.one import ONE, One, OneAlyx, params, util
from framelode.adapters.one import webclient as wc
from framelode.adapters.one.alf.cache import save_table
from framelode.adapters.one.alf.exceptions import ALFObjectNotFound
from framelode.adapters.one.api import DatasetMismatchWarning
from framelode.engine.errors import UsageError


@pytest.fixture
def alyx():
    with alyx_server.serving() as server:
        yield server


@pytest.fixture
def client(alyx, tmp_path):
    params.setup(client=alyx.url, silent=True, username=USER, cache_dir=tmp_path / "data")
    saved = params.get(alyx.url).as_dict()
    login = {"HTTP_DATA_SERVER_LOGIN": "reader", "HTTP_DATA_SERVER_PWD": "file-secret"}
    params.save({**saved, "HTTP_DATA_SERVER": f"{alyx.url}/public", **login}, alyx.url)
    return wc.AlyxClient(alyx.url, USER, PASSWORD, silent=True)


@pytest.fixture
def served(alyx, tmp_path):
    """The tables of the database."""
    session, datasets = util.ses2records(alyx.session(EIDS[0], full=True))
    sessions = session.to_frame().T.rename_axis("id").astype({"number": int})
    made = {}
    for name, table in {"sessions": sessions, "datasets": datasets}.items():
        save_table(tmp_path / name, table, {"date_created": "2031-01-01 00:00", "origin": "alyx"})
        made[name] = (tmp_path / name).read_bytes()
    alyx.tables(**made)


@pytest.fixture
def one(alyx, client, served):
    return OneAlyx(base_url=alyx.url, silent=True)


class TestLogin:
    def test_token(self, alyx, client):
        assert client.is_logged_in
        assert wc.AlyxClient(alyx.url, silent=True).get("/sessions/" + EIDS[0])["lab"] == "lab"
        assert [request for request in alyx.requests if request[0] == "POST"] == [("POST", "/auth-token")]
        client.logout()
        assert not client.is_logged_in
        with pytest.raises(UsageError, match=f"there is no password for {USER}"):
            wc.AlyxClient(alyx.url, silent=True).get("/sessions/" + EIDS[0], clobber=True)

    def test_wrong_password(self, alyx, client):
        with pytest.raises(requests.HTTPError, match="refuses the login of someone") as caught:
            client.authenticate(password="wrong-secret")
        assert "wrong-secret" not in str(caught.value) + repr(caught.value)

    def test_expired_token(self, alyx, client):
        alyx.token = "token-2"
        assert client.rest("sessions", "read", id=EIDS[1], no_cache=True)["subject"] == "mouse1"
        assert client._token == {"token": "token-2"}

    def test_no_connection(self, alyx, client):
        client.base_url = "http://127.0.0.1:9"
        with pytest.raises(ConnectionError, match="firewall"):
            client.authenticate(password=PASSWORD)

    def test_secrets_are_nowhere(self, alyx, client, one, home, caplog):
        with caplog.at_level(logging.DEBUG):
            one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True)
        assert PASSWORD not in caplog.text + repr(client) + repr(one)
        assert "token-1" not in repr(client) + repr(one)
        texts = [
            file.read_bytes() for file in [*home.rglob("*"), *one.cache_dir.rglob("*")] if file.is_file()
        ]
        assert not [text for text in texts if PASSWORD.encode() in text]
        (file,) = (
            file for file in home.rglob(".*") if b"token-1" in (file.read_bytes() if file.is_file() else b"")
        )
        assert file.stat().st_mode & 0o077 == 0


class TestRequests:
    def test_pages(self, alyx, client):
        found = client.rest("sessions", "list")
        assert len(found) == 600
        assert found[599]["id"] == EIDS[599]
        assert [record["id"] for record in found[248:252]] == EIDS[248:252]
        assert [path for _, path in alyx.requests if path.startswith("/sessions")] == [
            "/sessions",
            "/sessions?limit=250&offset=500",
            "/sessions?limit=250&offset=250",
        ]
        assert len(list(found)) == 600
        with pytest.raises(IndexError, match="there is no result 600"):
            found[600]

    def test_cache(self, alyx, client):
        query = f"/sessions/{EIDS[2]}"
        for _ in range(2):
            assert client.get(query)["subject"] == "mouse2"
        assert alyx.requests.count(("GET", query)) == 1
        client.get(query, clobber=True)
        with wc.no_cache(client):
            client.get(query)
        assert alyx.requests.count(("GET", query)) == 3
        (file,) = Path(client.cache_dir, ".rest").iterdir()
        file.write_text("[broken")
        assert client.get(query)["subject"] == "mouse2"
        client.clear_rest_cache()
        assert not list(Path(client.cache_dir, ".rest").iterdir())

    def test_old_responses_are_used_without_a_connection(self, alyx, client, monkeypatch):
        client.get(f"/sessions/{EIDS[2]}", expires=True)
        monkeypatch.setattr(client, "base_url", "http://127.0.0.1:9")
        with pytest.warns(RuntimeWarning, match="out of date"):
            assert client.get(f"/sessions/{EIDS[2]}")["subject"] == "mouse2"
        with pytest.raises(requests.ConnectionError):
            client.get(f"/sessions/{EIDS[2]}", clobber=True)

    def test_names_of_cached_files_are_those_of_upstream(self, client):
        wrapped = wc._cache_response(lambda *_: "called")
        wrapped(client, requests.get, "/endpoint?id=5")
        assert Path(client.cache_dir, ".rest", "64b5b3476c015e04ee7c4753606b5e967325d34a").exists()

    @pytest.mark.parametrize("status", [403, 404, 500])
    def test_errors(self, alyx, client, status):
        alyx.failures["/sessions"] = status
        with pytest.raises(
            requests.HTTPError, match=rf"GET .*/sessions/x: status {status}: .*switched on"
        ) as caught:
            client.get("/sessions/x")
        assert caught.value.errno == status

    def test_a_slow_server(self, alyx, client):
        client.timeout = 0.2
        alyx.failures["/sessions"] = "slow"
        with pytest.raises(requests.ConnectionError, match=r"did not answer within 0\.2 seconds"):
            client.get("/sessions/x")

    def test_actions(self, alyx, client, capsys):
        assert client.json_field_update("datasets", DID.format(0), "hash", {"a": 1})
        assert client.rest("files", "partial_update", id="x", data={"json": 1}) == {"json": 1}
        assert alyx.patched[-1] == ("/files/x", {"json": 1})
        for wrong in (("sessions", "fly"), ("sessions", "read"), ("sessions", "create")):
            with pytest.raises(ValueError, match=r"there is no action|needs the id|needs data"):
                client.rest(*wrong)
        client.rest()
        client.rest("sessions")
        assert "date_range" in capsys.readouterr().out
        with pytest.raises(ValueError, match="is not on the server"):
            client.get("http://example.org/sessions")

    def test_urls(self, client):
        assert (
            wc.update_url_params("website.com?q=x", {"pg": 5, "foo": ["a", "b"]})
            == "website.com?q=x&pg=5&foo=a&foo=b"
        )
        assert wc.update_url_params("/path?a=foo bar", {"b": "#x#"}) == "/path?a=foo+bar&b=%23x%23"
        assert client.rel_path2url("/a/b.npy").endswith("/public/a/b.npy")
        for wrong in (client.rel_path2url, client._validate_file_url):
            with pytest.raises(AssertionError, match="https://example"):
                wrong("https://example.org/a.npy")


class TestDownloads:
    def test_datasets(self, alyx, one):
        file = one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True)
        assert file == Path(one.cache_dir, SUBJECT, "alf/_ibl_wheel.position.npy")
        assert file.read_bytes() == alyx.contents["alf/_ibl_wheel.position.npy"]
        assert len(one.load_object(EIDS[0], "wheel", download_only=True)) == 2
        assert sum(path.startswith("/public") for _, path in alyx.requests) == 2
        one.uuid_filenames = True
        assert DID.format(0) in one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True).name

    def test_a_damaged_file_is_downloaded_again(self, alyx, one):
        file = one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True)
        good = file.read_bytes()
        for damaged in (good[:-1] + b"?", good + b"more"):
            file.write_bytes(damaged)
            assert (
                one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True).read_bytes() == good
            )

    def test_a_corrupt_download_is_told_and_noted(self, alyx, one):
        alyx.failures["/public"] = "corrupt"
        with pytest.warns(DatasetMismatchWarning, match=r"its MD5 is \w{32}, \w{32} is recorded"):
            one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True)
        assert alyx.patched == [(f"/files/{DID.format(7)}", {"json": {"mismatch_hash": True}})]

    def test_a_cut_download_leaves_nothing(self, alyx, one):
        alyx.failures["/public"] = "cut"
        with pytest.raises(requests.ConnectionError, match="ended before the file was complete"):
            one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True)
        assert not [file for file in Path(one.cache_dir, SUBJECT).rglob("*") if file.is_file()]

    @pytest.mark.parametrize("status", [401, 404, 500])
    def test_errors(self, alyx, one, status, caplog):
        alyx.failures["/public"] = status
        hint = "HTTP_DATA_SERVER_PWD" if status == 401 else f"status {status}"
        with pytest.raises(requests.HTTPError, match=hint):
            one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True)

    def test_records_and_urls(self, alyx, one):
        record = alyx.datasets()[0]
        for given in (record, record["data_url"], {k: v for k, v in record.items() if k != "data_url"}):
            assert one._download_dataset(given).name == "_ibl_wheel.position.npy"
        assert wc.dataset_record_to_url(record) == [record["data_url"]]
        assert one._download_dataset([{**record, "data_url": None}, record])[0] is None
        assert one.list_datasets(EIDS[0], details=True)["exists"].to_dict()[record["id"]] is False
        assert wc.http_download_file("") == ""


class TestBucket:
    @pytest.fixture
    def one(self, alyx, client, tmp_path, monkeypatch):
        """Datasets that are in a bucket on an S3 server on loopback."""
        for name, value in s3_environment().items():
            monkeypatch.setenv(name, value)
        alyx.bucket = s3_prefix().removeprefix("s3://").split("/")
        for n, (path, data) in enumerate(alyx.contents.items()):
            s3_filesystem().pipe_file(self.place(alyx, path, n), data)
        session, datasets = util.ses2records(alyx.session(EIDS[0], full=True))
        tables = {
            "sessions": session.to_frame().T.rename_axis("id").astype({"number": int}),
            "datasets": datasets,
        }
        tables["datasets"]["exists_aws"] = True
        for name, table in tables.items():
            save_table(tmp_path / name, table, {"date_created": "2031-01-01 00:00", "origin": "alyx"})
        alyx.tables(**{name: (tmp_path / name).read_bytes() for name in tables})
        return OneAlyx(base_url=alyx.url, silent=True)

    @staticmethod
    def place(alyx, path, n):
        front, _, extension = path.rpartition(".")
        return f"{'/'.join(alyx.bucket)}/{SUBJECT}/{front}.{DID.format(n)}.{extension}"

    @staticmethod
    def requests_of_files(alyx):
        return [path for _, path in alyx.requests if path.startswith("/public")]

    def test_downloads(self, alyx, one):
        files = one.load_object(EIDS[0], "wheel", download_only=True)
        assert {file.name: file.read_bytes() for file in files} == {
            path.rsplit("/", 1)[1]: data for path, data in alyx.contents.items()
        }
        assert self.requests_of_files(alyx) == []
        assert not list(one.cache_dir.rglob("*.part"))
        files[0].unlink()
        one.uuid_filenames = True
        assert DID.format(0) in one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True).name

    def test_another_content_is_told(self, alyx, one):
        s3_filesystem().pipe_file(
            self.place(alyx, "alf/_ibl_wheel.position.npy", 0), b"Position of the wheel"
        )
        with pytest.warns(DatasetMismatchWarning, match=r"its MD5 is \w{32}, \w{32} is recorded"):
            one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True)
        assert alyx.patched == [(f"/files/{DID.format(7)}", {"json": {"mismatch_hash": True}})]

    def test_the_data_server_has_what_the_bucket_lacks(self, alyx, one, caplog):
        s3_filesystem().rm_file(self.place(alyx, "alf/_ibl_wheel.position.npy", 0))
        file = one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True)
        assert file.read_bytes() == alyx.contents["alf/_ibl_wheel.position.npy"]
        assert "not downloaded from AWS, but from the data server" in caplog.text
        assert len(self.requests_of_files(alyx)) == 1

    def test_a_record_that_is_gone(self, alyx, one, monkeypatch):
        monkeypatch.setattr(alyx, "bucket_records", lambda path: [])
        with pytest.raises(ALFObjectNotFound, match="not found on disk"):
            one.load_dataset(EIDS[0], "_ibl_wheel.position.npy")
        assert one.load_dataset(EIDS[0], "_ibl_wheel.position.npy", download_only=True).exists()
        assert len(self.requests_of_files(alyx)) == 1


class TestModes:
    def test_tables_are_downloaded(self, alyx, one):
        assert one.search() == [EIDS[0]]
        assert sorted(path.name for path in one.cache_dir.glob("*.pqt")) == ["datasets.pqt", "sessions.pqt"]
        assert not list(one.cache_dir.parent.glob("*.pqt"))
        assert (
            one.path2url(Path(one.cache_dir, SUBJECT, "alf/_ibl_wheel.position.npy"))
            == alyx.datasets()[0]["data_url"]
        )

    def test_tables_of_a_tag(self, one):
        one.load_cache(tag="paper")
        assert one._tables_dir == one.cache_dir / "paper"
        assert one.search() == [EIDS[0]]
        with pytest.raises(AssertionError, match="no tables with the tag 'none'"):
            one.load_cache(tag="none")

    def test_errors_of_the_server_give_remote_mode(self, alyx, client):
        alyx.failures["/cache"] = 500
        with pytest.warns(UserWarning, match="the mode is now remote"):
            one = OneAlyx(base_url=alyx.url, silent=True)
        assert one.mode == "remote"

    def test_no_connection_gives_local_mode(self, alyx, client, monkeypatch):
        alyx.failures["/cache"] = "slow"
        monkeypatch.setattr(wc, "_TIMEOUT", 0.2)
        with pytest.warns(UserWarning, match="the mode is now local"):
            one = OneAlyx(base_url=alyx.url, silent=True)
        assert one.offline

    def test_remote_search_and_lists(self, alyx, one):
        eids, details = one.search(subject="mouse3", query_type="remote", details=True)
        assert (eids[0], details[0]["date"].isoformat()) == (EIDS[3], "2021-02-05")
        one.search(dataset="wheel", date=["2021-01-01", "2021-12-31"], query_type="remote")
        assert "data_dataset_session_related__name__icontains" in alyx.requests[-1][1]
        with pytest.raises(TypeError, match="dataset must be a text"):
            one.search(dataset=["a"], query_type="remote")
        assert one.list_datasets(EIDS[0], "*position*", query_type="remote") == [
            "alf/_ibl_wheel.position.npy"
        ]
        assert one.get_details(EIDS[4], query_type="remote")["projects"] == "p1,p2"
        assert one.get_details(EIDS[0]).get("subject") == "mouse"
        assert "lab" not in one.search_terms(query_type="remote")
        with pytest.warns(UserWarning, match="from the tables"):
            one.list_datasets(query_type="remote")

    def test_conversions(self, alyx, one):
        assert one.eid2path(EIDS[5]) == Path(one.cache_dir, "lab/Subjects/mouse5/2021-02-05/001")
        assert one.path2eid("mouse6/2021-02-05/001") == EIDS[6]
        assert one.path2eid("nobody/2021-02-05/001") is None
        assert one.pid2eid(DID.format(8)) == (EIDS[0], "probe00")
        assert one.eid2pid(EIDS[0]) == ([DID.format(8)], ["probe00"])
        assert one.eid2pid(None, details=True) == (None, None, None)
        assert list(one.search_insertions(number=1, laboratory="lab")) == [DID.format(8)]
        file = Path(one.cache_dir, SUBJECT, "alf/_ibl_wheel.position.npy")
        assert one.path2url(file, query_type="remote").endswith(".npy")
        with pytest.raises(ALFObjectNotFound, match="no file record"):
            one.path2url(file.with_name("a.b.npy"), query_type="remote")
        with pytest.raises(NotImplementedError, match="another mode"):
            one.pid2eid(DID.format(8), query_type="local")

    def test_descriptions(self, alyx, one, capsys):
        assert list(one.type2datasets(EIDS[0], "wheel.position")) == [
            "alf/_ibl_wheel.position.npy",
            "alf/_ibl_wheel.velocity.npy",
        ]
        assert one.dataset2type("_ibl_wheel.position.npy") == "wheel.position"
        one.describe_dataset("wheel.position")
        one.describe_revision("r1")
        one.describe_revision("r2")
        assert capsys.readouterr().out.splitlines() == [
            "the position",
            "a revision",
            'revision "r2" not found',
        ]
        assert one.describe_dataset("_ibl_wheel.position.npy")["name"] == "wheel.position"
        alyx.failures = {"/dataset-types": 500, "/revisions": 500}
        for describe in (one.describe_dataset, one.describe_revision):
            with pytest.raises(requests.HTTPError, match="status 500"):
                describe("_ibl_wheel.velocity.npy")
        one.mode = "local"
        with pytest.raises(AssertionError, match="the mode is local"):
            one.describe_dataset()

    def test_aggregates(self, one):
        (row,) = one.list_aggregates("subjects", "mouse").to_dict("records")
        assert (row["relation"], row["identifier"], row["rel_path"]) == (
            "subjects",
            "lab/mouse",
            "public/aggregates/subjects/lab/mouse/a.table.pqt",
        )
        assert one.list_aggregates("tags").empty
        with pytest.raises(ALFObjectNotFound, match="subjects/nobody was not found"):
            one.load_aggregate("subjects", "nobody")

    def test_the_factory(self, alyx, one, tmp_path):
        first = ONE(base_url=alyx.url, mode="local", silent=True)
        assert isinstance(first, OneAlyx)
        assert ONE(base_url=alyx.url, mode="local", silent=True) is first
        assert isinstance(ONE(cache_dir=tmp_path / "data", mode="local", silent=True), OneAlyx)
        other = tmp_path / "other"
        other.mkdir()
        with pytest.warns(UserWarning, match="no tables"):
            assert type(ONE(cache_dir=other)) is One
        with pytest.warns(DeprecationWarning, match="offline"), pytest.warns(UserWarning, match="no tables"):
            ONE(cache_dir=other, offline=True)
        ONE.setup(base_url=alyx.url, silent=True)
        assert ONE.cache_info().currsize == 0


class TestParameters:
    def test_silent(self, home):
        assert params.get_default_client() is None
        params.setup(silent=True)
        assert params.get_default_client() == params.default().ALYX_URL
        assert params.get_default_client(include_schema=False) == "openalyx.internationalbrainlab.org"
        assert params.get_cache_dir() == home / "Downloads/ONE/openalyx.internationalbrainlab.org"
        with pytest.raises(AssertionError, match="is that of the server openalyx"):
            params.check_cache_conflict(params.get_cache_dir())

    def test_prompts(self, monkeypatch, tmp_path):
        asked = []
        answers = {"ALYX_URL": "my.server:8000", "ALYX_LOGIN": "me", "download cache": str(tmp_path / "here")}

        def answer(prompt):
            asked.append(prompt)
            return next((value for key, value in answers.items() if key in prompt), "")

        monkeypatch.setattr("builtins.input", answer)
        monkeypatch.setattr(params, "getpass", lambda _: "given")
        made = params.setup()
        assert {"my.server_8000": str(tmp_path / "here")} == made.CLIENT_MAP
        saved = params.get("my.server:8000")
        assert (saved.ALYX_URL, saved.ALYX_LOGIN, saved.HTTP_DATA_SERVER_PWD) == (
            "https://my.server:8000",
            "me",
            "given",
        )
        assert "ALYX_PWD" not in saved.as_dict()
        answers |= {"ALYX_LOGIN": "mistake", "correct": "n"}
        assert params.setup(client="my.server:8000").ALYX_LOGIN == "me"
        with pytest.raises(ValueError, match="is not the URL of a server"):
            params.setup(client="ftp://x", silent=True)
        with pytest.warns(UserWarning, match="would overwrite each other"):
            params.setup(client="other.server", silent=True, cache_dir=tmp_path / "here")

    def test_old_files(self, home):
        params.setup(silent=True)
        saved = params.get()
        params.save(saved.set("HTTP_DATA_SERVER", "openalyx.org"), saved.ALYX_URL)
        old = home / ".one/.rest/openalyx.internationalbrainlab.org/https/abc"
        old.parent.mkdir(parents=True)
        old.write_text("[]")
        found = params.get()
        assert found.HTTP_DATA_SERVER == params.default().HTTP_DATA_SERVER
        assert Path(found.CACHE_DIR, ".rest/abc").exists()
