"""Checkpoints: the head of a log, stored elsewhere, to detect that the log was truncated or rewritten.

`docs/format.md` specifies the file format.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from ..decoding import guarded
from ..errors import FramelodeError, IntegrityError, NotFoundError, UsageError
from ..storage.atomic_files import PathLike, new_file, path_of, read_small
from ..times import iso_time, microseconds
from .batch import DIGEST_BYTES, genesis_digest
from .contract import Log
from .signing import KEY_ID_BYTES, SIGNATURE_BYTES, SigningKey, VerifyingKey

CHECKPOINT_VERSION = 1

_LARGEST_FILE = 4096


class _File(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of a file, in their order."""

    framelode: Literal["checkpoint"]
    version: int
    log: str
    position: int
    digest: str
    time: str
    key: str | None = None
    signature: str | None = None


class _Versioned(msgspec.Struct):
    framelode: Literal["checkpoint"]
    version: int


_decode_version = guarded(msgspec.json.Decoder(_Versioned).decode)
_decode_file = guarded(msgspec.json.Decoder(_File).decode)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a log at a point in time.

    Attributes
    ----------
    log : str
        Uuid of the log.
    position : int
        Last position of the log, 0 if it was empty.
    digest : bytes
        Digest of the batch that ends at `position`. It covers everything before.
    time : int
        When the checkpoint was created, in UTC microseconds.
    key : str or None
        Id of the key that signed it, or None.
    signature : bytes or None
        Ed25519 signature of the line without the signature, or None.
    """

    log: str
    position: int
    digest: bytes
    time: int
    key: str | None = None
    signature: bytes | None = None

    def line(self) -> bytes:
        """Return the checkpoint as one line of the file format."""
        if self.signature is None:
            return self._line(None)
        return self._line(self.signature.hex())

    def _line(self, signature: str | None) -> bytes:
        file = _File(
            framelode="checkpoint",
            version=CHECKPOINT_VERSION,
            log=self.log,
            position=self.position,
            digest=self.digest.hex(),
            time=iso_time(self.time),
            key=self.key,
            signature=signature,
        )
        return msgspec.json.encode(file) + b"\n"

    def signed(self, key: SigningKey) -> Checkpoint:
        """Return a signed copy."""
        named = msgspec.structs.replace(self, key=key.id, signature=None)
        return msgspec.structs.replace(named, signature=key.sign(named.line()))

    def write(self, path: PathLike) -> None:
        """Write the checkpoint to a new file. Raises `ConflictError` if the file exists."""
        with new_file(path_of(path, "the checkpoint")) as file:
            file.write(self.line())

    @classmethod
    def read(cls, path: PathLike) -> Checkpoint:
        """Read a checkpoint from a file.

        Raises
        ------
        NotFoundError
            There is no such file.
        IntegrityError
            The file is not a valid checkpoint in canonical form.
        UsageError
            A newer framelode wrote it.
        """
        file = path_of(path, "the checkpoint")
        try:
            return cls.decode(read_small(file, _LARGEST_FILE))
        except IntegrityError as error:
            raise IntegrityError(f"{file}: {error}", file=str(file)) from error

    @classmethod
    def decode(cls, line: bytes) -> Checkpoint:
        """Decode a checkpoint. Raises `IntegrityError` if the line is not a valid checkpoint."""
        try:
            found = _decode_version(line).version
            if found > CHECKPOINT_VERSION:
                raise UsageError(
                    f"the checkpoint has version {found}, but this framelode reads up to {CHECKPOINT_VERSION}: "
                    "install a newer framelode"
                )
            checkpoint = _of_file(_decode_file(line))
        except FramelodeError:
            raise
        except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
            raise IntegrityError(f"this is not a checkpoint, or it is damaged: {error}") from error
        if checkpoint.line() != line:
            raise IntegrityError("the checkpoint is damaged: it is not in canonical form")
        return checkpoint

    def problems(self, log: Log, key: VerifyingKey | None = None) -> list[str]:
        """Return the differences between a log and the checkpoint, and problems with its signature.

        The signature is checked only if a key is given, and is then required.
        """
        problem = self._forged(key) if key is not None else None
        if problem is None:
            problem = self._contradiction(log)
        return [] if problem is None else [problem]

    def _forged(self, key: VerifyingKey) -> str | None:
        if self.signature is None or self.key is None:
            return f"the checkpoint at position {self.position} is not signed, but a public key was given"
        if self.key != key.id:
            return (
                f"the checkpoint at position {self.position} is signed by key {self.key}, not by the given key "
                f"{key.id}"
            )
        if not key.fits(self.signature, self._line(None)):
            return (
                f"the checkpoint at position {self.position} is forged or damaged: its signature is invalid"
            )
        return None

    def _contradiction(self, log: Log) -> str | None:
        if self.log != log.uuid:
            return (
                f"{log.name} is log {log.uuid}, but the checkpoint at position {self.position} is of log {self.log}: "
                "the log was replaced, or this checkpoint is of another log"
            )
        head = log.head().position
        if head < self.position:
            return (
                f"{log.name} ends at position {head}, but the checkpoint of {iso_time(self.time)} is at position "
                f"{self.position}: positions {head + 1} to {self.position} are lost"
            )
        if _digest_at(log, self.position) != self.digest:
            return (
                f"{log.name} was rewritten: something at or before position {self.position} differs from the checkpoint of "
                f"{iso_time(self.time)}"
            )
        return None


def checkpoint_of(log: Log, now: int) -> Checkpoint:
    """Return the checkpoint of a log's head."""
    head = log.head()
    return Checkpoint(
        log=log.uuid, position=head.position, digest=head.digest, time=max(now, head.recorded_at)
    )


def _digest_at(log: Log, position: int) -> bytes | None:
    """Return the digest of the batch that ends at a position, or None if no batch ends there."""
    if position == 0:
        return genesis_digest(log.uuid)
    try:
        header = log.batch_at(position)
    except NotFoundError:
        return None
    return header.digest if header.last_position == position else None


def _of_file(file: _File) -> Checkpoint:
    if file.version != CHECKPOINT_VERSION or file.position < 0 or not file.log:
        raise ValueError("its version, log or position is invalid")
    if (file.key is None) != (file.signature is None):
        raise ValueError("it has only one of key and signature")
    return Checkpoint(
        log=file.log,
        position=file.position,
        digest=_from_hex(file.digest, DIGEST_BYTES),
        time=microseconds(datetime.fromisoformat(file.time)),
        key=file.key if file.key is None else _from_hex(file.key, KEY_ID_BYTES).hex(),
        signature=None if file.signature is None else _from_hex(file.signature, SIGNATURE_BYTES),
    )


def _from_hex(text: str, size: int) -> bytes:
    data = bytes.fromhex(text)
    if len(data) != size or data.hex() != text:
        raise ValueError(f"{text!r} is not {2 * size} hex digits")
    return data
