"""Checkpoints: a log that lost its tail or was written anew is found, and a checkpoint that was forged, too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import histories
import pytest
from command_line import run, run_json
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE
from raw_logs import unguarded
from sizes import examples

import framelode
from framelode import (
    ConflictError,
    DatasetVersion,
    FramelodeError,
    IntegrityError,
    InvalidValueError,
    NotFoundError,
    UsageError,
)
from framelode.engine.log.checkpoint import Checkpoint
from framelode.engine.log.signing import SigningKey, VerifyingKey

NONE = forms.NoEncryption()
SECRET = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))


def private_pem(key=SECRET, form=forms.PrivateFormat.PKCS8, encryption=NONE):
    return key.private_bytes(forms.Encoding.PEM, form, encryption)


def public_pem(key=SECRET):
    return key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)


PRIVATE_FORMS = {
    "pkcs8": private_pem(),
    "openssh": private_pem(form=forms.PrivateFormat.OpenSSH),
    "hex": SECRET.private_bytes(forms.Encoding.Raw, forms.PrivateFormat.Raw, NONE).hex().encode() + b"\n",
}
PUBLIC_FORMS = {
    "pem": public_pem(),
    "openssh": SECRET.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
    + b" me@host\n",
    "hex": SECRET.public_key().public_bytes_raw().hex().encode(),
}


def numbered(start, stop):
    return [framelode.SingleFrame(id=f"{n:032x}", source=f"s3://b/{n}.jpg") for n in range(start, stop)]


@pytest.fixture
def keys(tmp_path):
    """A private and a public key, in files."""
    (tmp_path / "key.pem").write_bytes(private_pem())
    (tmp_path / "key.pub").write_bytes(public_pem())
    return tmp_path / "key.pem", tmp_path / "key.pub"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "engine"


@pytest.fixture
def written(folder, ticks):
    """An engine on files with a few frames."""
    with framelode.connect(folder, clock=ticks.clock, new_id=ticks.new_id) as engine:
        DatasetVersion.create_new_dataset("d")
        draft = DatasetVersion.get_current(dataset_name="d")
        draft.add_frames(numbered(0, 5), batch_size=2, refresh_version_stats=False)
        draft.add_frames(numbered(5, 7))
        yield engine
        engine.close()


def problem(engine, *arguments, **options):
    with pytest.raises(IntegrityError) as found:
        engine.verify(*arguments, **options)
    return str(found.value)


class TestVerify:
    def test_a_log_that_went_on_continues_its_checkpoint(self, written, tmp_path):
        first, file = written.checkpoint(), tmp_path / "checkpoint.json"
        first.write(file)
        assert (first.log, first.position, first.digest) == (
            written.log.uuid,
            written.log.head().position,
            written.log.head().digest,
        )
        DatasetVersion.get_current(dataset_name="d").add_frames(numbered(7, 9))
        assert written.verify(against=file).problems == []
        assert written.verify(against=first).problems == []
        assert Checkpoint.read(file) == first

    def test_of_an_empty_log(self, tmp_path):
        with framelode.connect(tmp_path / "empty") as engine:
            checkpoint = engine.checkpoint()
            DatasetVersion.create_new_dataset("d")
            engine.verify(against=checkpoint)
        engine.close()
        with framelode.connect("sqlite://") as other:
            assert "was replaced" in problem(other, against=checkpoint)

    def test_the_last_row_dropped(self, written, folder):
        checkpoint = written.checkpoint()
        with unguarded(folder) as connection:
            (last,) = connection.execute("SELECT max(append_id) FROM append").fetchone()
            (first,) = connection.execute("SELECT first_position FROM append WHERE append_id = ?", [last])
            connection.execute("DELETE FROM record_body WHERE first_position >= ?", first)
            connection.execute("DELETE FROM record_batch WHERE first_position >= ?", first)
            connection.execute("DELETE FROM append WHERE append_id = ?", [last])
        with closing(framelode.connect(folder)) as engine:
            engine.verify()  # what is left shows nothing
            lost = f"positions {first[0]} to {checkpoint.position} are lost"
            assert lost in problem(engine, against=checkpoint)
            with engine:
                DatasetVersion.get_current(dataset_name="d").add_frames(numbered(50, 60))
            engine.verify()
            assert "was rewritten" in problem(engine, against=checkpoint)

    def test_the_whole_log_written_anew(self, written, folder, tmp_path):
        checkpoint, uuid = written.checkpoint(), written.log.uuid
        other = tmp_path / "other"
        with framelode.connect(
            other, new_id=iter([uuid, *map("{:032x}".format, range(100, 200))]).__next__
        ) as forged:
            DatasetVersion.create_new_dataset("d")
            DatasetVersion.get_current(dataset_name="d").add_frames(numbered(0, 9))
            forged.verify()
            assert forged.log.uuid == uuid
            said = problem(forged, against=checkpoint)
            assert "was rewritten" in said
            assert f"position {checkpoint.position}" in said
        forged.close()

    def test_a_batch_that_ends_elsewhere(self, written):
        (batch, *_) = (header for header in written.log.headers() if header.count > 1)
        inside = batch.first_position
        early = Checkpoint(log=written.log.uuid, position=inside, digest=batch.digest, time=0)
        assert f"at or before position {inside} differs" in problem(written, against=early)

    def test_another_log(self, written):
        with framelode.connect("sqlite://") as other:
            said = problem(written, against=other.checkpoint())
            assert other.log.uuid in said
            assert written.log.uuid in said

    def test_time_does_not_run_backwards(self, tmp_path):
        with framelode.connect("sqlite://", clock=iter([5_000_000, 1]).__next__) as engine:
            DatasetVersion.create_new_dataset("d")
            assert engine.checkpoint().time == 5_000_000

    @examples(6, 20)
    @given(histories.steps, st.data())
    def test_any_history_continues_each_of_its_checkpoints(self, history, data):
        cut = data.draw(st.integers(0, len(history)))
        with framelode.connect("sqlite://") as engine:
            histories.play(engine, history[:cut])
            checkpoint = Checkpoint.decode(engine.checkpoint().line())
            with engine:
                DatasetVersion.create_new_dataset("another")
            assert checkpoint.problems(engine.log) == []
            wrong = bytearray(checkpoint.digest)
            wrong[data.draw(st.integers(0, 31))] ^= data.draw(st.integers(1, 255))
            forged = Checkpoint(log=checkpoint.log, position=checkpoint.position, digest=bytes(wrong), time=0)
            assert len(forged.problems(engine.log)) == 1
            later = Checkpoint(log=checkpoint.log, position=10**6, digest=checkpoint.digest, time=0)
            assert len(later.problems(engine.log)) == 1
        engine.close()


class TestSignatures:
    @pytest.mark.parametrize("private", PRIVATE_FORMS)
    @pytest.mark.parametrize("public", PUBLIC_FORMS)
    def test_keys_in_all_forms(self, written, tmp_path, private, public):
        (tmp_path / "private").write_bytes(PRIVATE_FORMS[private])
        (tmp_path / "public").write_bytes(PUBLIC_FORMS[public])
        checkpoint = written.checkpoint(tmp_path / "private")
        assert written.verify(against=checkpoint, public_key=tmp_path / "public").problems == []

    def test_a_signature_is_looked_at_only_with_a_key(self, written, keys):
        checkpoint = written.checkpoint(keys[0])
        written.verify(against=checkpoint)

    def test_unsigned(self, written, keys):
        assert "is not signed" in problem(written, against=written.checkpoint(), public_key=keys[1])

    def test_signed_by_another_key(self, written, keys, tmp_path):
        (tmp_path / "other").write_bytes(private_pem(OTHER))
        forged = written.checkpoint(tmp_path / "other")
        assert "is signed by key" in problem(written, against=forged, public_key=keys[1])

    def test_claimed_to_be_signed_by_the_key(self, written, keys, tmp_path):
        (tmp_path / "other").write_bytes(private_pem(OTHER))
        forged = written.checkpoint(tmp_path / "other")
        own = VerifyingKey.load(keys[1]).id
        claimed = Checkpoint.decode(forged.line().replace(forged.key.encode(), own.encode()))
        assert "its signature is invalid" in problem(written, against=claimed, public_key=keys[1])

    def test_every_bit_of_a_signed_checkpoint(self, keys):
        with framelode.connect("sqlite://") as engine:
            DatasetVersion.create_new_dataset("d")
            line = engine.checkpoint(keys[0]).line()
            key = VerifyingKey.load(keys[1])
            assert Checkpoint.decode(line).problems(engine.log, key) == []
            for bit in range(8 * len(line)):
                flipped = bytearray(line)
                flipped[bit // 8] ^= 1 << bit % 8
                try:
                    found = Checkpoint.decode(bytes(flipped)).problems(engine.log, key)
                except FramelodeError:
                    continue
                assert found, bytes(flipped)
        engine.close()

    @given(st.binary(max_size=300))
    def test_what_is_no_checkpoint(self, data):
        with pytest.raises(IntegrityError):
            Checkpoint.decode(data)

    @given(
        st.text(min_size=1, max_size=40),
        st.integers(0, 2**63 - 1),
        st.binary(min_size=32, max_size=32),
        st.integers(0, 4_102_444_800_000_000),
        st.booleans(),
    )
    def test_a_line_says_all(self, log, position, digest, time, signed):
        made = Checkpoint(log=log, position=position, digest=digest, time=time)
        made = made.signed(SigningKey(SECRET)) if signed else made
        line = made.line()
        assert line.count(b"\n") == 1
        assert Checkpoint.decode(line) == made
        if signed:
            assert VerifyingKey(SECRET.public_key()).fits(made.signature, made._line(None))


class TestKeys:
    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (public_pem(), "holds a public key, not a private"),
            (PUBLIC_FORMS["openssh"], "holds a public key, not a private"),
            (b"hello", "holds something else, not a private"),
            (b"", "holds something else"),
            (
                b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "cannot? be read|can be read",
            ),
            (private_pem(rsa.generate_private_key(65537, 2048)), "RSAPrivateKey"),
            (private_pem(x25519.X25519PrivateKey.generate()), "X25519PrivateKey"),
        ],
    )
    def test_wrong_private_keys(self, tmp_path, content, what):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(InvalidValueError, match=what):
            SigningKey.load(tmp_path / "key")

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (private_pem(), "has a private key instead of a public key"),
            (b"hello", "holds something else"),
            (b"ssh-ed25519 AAAA", "cannot be read"),
            (public_pem(x25519.X25519PrivateKey.generate()), "X25519PublicKey"),
        ],
    )
    def test_wrong_public_keys(self, tmp_path, content, what):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(InvalidValueError, match=what):
            VerifyingKey.load(tmp_path / "key")

    def test_an_encrypted_key(self, tmp_path):
        locked = private_pem(encryption=forms.BestAvailableEncryption(b"secret"))
        (tmp_path / "key").write_bytes(locked)
        with pytest.raises(UsageError, match="is encrypted: use a key without a password"):
            SigningKey.load(tmp_path / "key")

    @pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="OpenSSH is not installed")
    def test_keys_of_openssh(self, written, tmp_path):
        for name, password in (("open", ""), ("locked", "secret")):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", password, "-f", str(tmp_path / name)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)
        written.verify(against=written.checkpoint(tmp_path / "open"), public_key=tmp_path / "open.pub")
        with pytest.raises(UsageError, match="is encrypted"):
            SigningKey.load(tmp_path / "locked")

    def test_no_such_file(self, written, tmp_path):
        for call in (
            lambda: written.checkpoint(tmp_path / "none"),
            lambda: written.verify(against=tmp_path / "none"),
            lambda: written.verify(against=written.checkpoint(), public_key=tmp_path / "none"),
        ):
            with pytest.raises(NotFoundError, match="there is no file"):
                call()

    @pytest.mark.parametrize("path", [7, None, "", "a\0b"])
    def test_what_is_no_path(self, path):
        with pytest.raises(UsageError):
            SigningKey.load(path)

    def test_a_public_key_alone(self, written, keys):
        with pytest.raises(UsageError, match="against="):
            written.verify(public_key=keys[1])

    def test_without_the_library(self, tmp_path):
        code = (
            "import sys; sys.modules['cryptography'] = None\n"
            "import framelode\n"
            f"framelode.connect('sqlite://').checkpoint({str(tmp_path / 'key')!r})"
        )
        (tmp_path / "key").write_bytes(private_pem())
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert "UsageError: signatures need" in done.stderr
        assert "pip install 'framelode[sign]'" in done.stderr


class TestFiles:
    def test_is_one_line_of_json(self, written, tmp_path, keys):
        written.checkpoint(keys[0]).write(tmp_path / "c.json")
        (line,) = (tmp_path / "c.json").read_text("utf-8").splitlines()
        assert list(json.loads(line)) == [
            "framelode", "version", "log", "position", "digest", "time", "key", "signature",
        ]  # fmt: skip

    def test_never_overwrites(self, written, tmp_path):
        written.checkpoint().write(tmp_path / "c.json")
        before = (tmp_path / "c.json").read_bytes()
        with pytest.raises(ConflictError, match="already exists"):
            written.checkpoint().write(tmp_path / "c.json")
        assert (tmp_path / "c.json").read_bytes() == before
        assert not list(tmp_path.glob(".c.json*"))

    def test_a_folder_that_is_missing(self, written, tmp_path):
        with pytest.raises(UsageError, match="cannot be written"):
            written.checkpoint().write(tmp_path / "none" / "c.json")

    def test_a_newer_version(self, written):
        line = written.checkpoint().line().replace(b'"version":1', b'"version":2')
        with pytest.raises(UsageError, match="version 2.*install a newer framelode"):
            Checkpoint.decode(line)

    def test_a_file_of_something_else(self, written, tmp_path):
        (tmp_path / "c.json").write_text("{}")
        with pytest.raises(IntegrityError, match="c.json: this is not a checkpoint") as found:
            written.verify(against=tmp_path / "c.json")
        assert found.value.file == str(tmp_path / "c.json")
        (tmp_path / "c.json").write_bytes(bytes(10_000))
        with pytest.raises(UsageError, match="larger"):
            written.verify(against=tmp_path / "c.json")


class TestCommandLine:
    @pytest.fixture
    def home(self, written, folder, tmp_path, monkeypatch):
        written.close()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("FRAMELODE_URL", str(folder))
        return Path(folder)

    def test_printed(self, home):
        line = run("checkpoint", "export").stdout
        assert Checkpoint.decode(line.encode()).position > 0

    def test_to_a_file_and_back(self, home, keys):
        said = run("checkpoint", "export", "c.json", "--key", keys[0]).stdout
        assert said.startswith("wrote c.json: position ")
        assert "signed by key" in said
        assert (
            "matches checkpoint c.json"
            in run("verify", "--against", "c.json", "--public-key", keys[1]).stdout
        )
        assert run_json("verify", "--against", "c.json")["verified"]["problems"] == []

    def test_as_json(self, home, keys):
        shown = run_json("checkpoint", "export", "c.json", "--key", keys[0])
        assert shown["file"] == "c.json"
        read = Checkpoint.read("c.json")
        assert shown["checkpoint"] == {
            "log": read.log,
            "position": read.position,
            "digest": read.digest.hex(),
            "time": shown["checkpoint"]["time"],
            "key": read.key,
            "signature": read.signature.hex(),
        }
        assert run_json("checkpoint", "export")["file"] is None

    def test_exit_status_3_when_something_is_wrong(self, home, keys):
        run("checkpoint", "export", "c.json")
        found = run("verify", "--against", "c.json", "--public-key", keys[1], "--json", status=3)
        assert "is not signed" in json.loads(found.stdout)["problems"][0]
        Path("c.json").write_text(Path("c.json").read_text().replace('"position":', '"position":9'))
        assert "are lost" in run("verify", "--against", "c.json", status=3).stderr
        run("verify", "--public-key", keys[1], status=2)
        run("verify", "--against", "none.json", status=4)
