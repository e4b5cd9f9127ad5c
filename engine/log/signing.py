"""Ed25519 keys from files, with the library `cryptography` (extra `sign`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

from blake3 import blake3

from ..errors import InvalidValueError, UsageError
from ..storage.atomic_files import PathLike, path_of, read_small

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_ID_BYTES = 16
SIGNATURE_BYTES = 64

_LARGEST_FILE = 16 * 1024
_HEX_KEY = re.compile(rb"\s*([0-9a-fA-F]{64})\s*")
_PRIVATE = b"PRIVATE KEY-----"
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_PEM = b"-----BEGIN "


class SigningKey:
    """A private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.id = _id_of(key.public_key())

    @classmethod
    def load(cls, path: PathLike) -> SigningKey:
        """Read a private key from a file: PEM (PKCS #8), OpenSSH, or 64 hex digits.

        Raises
        ------
        UsageError
            The file has no such key, or an encrypted one; or `cryptography` is not installed.
        """
        _require_cryptography()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        file, data = _read(path, "the private key")
        spelled = _HEX_KEY.fullmatch(data)
        if spelled:
            return cls(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(spelled[1].decode())))
        if _PRIVATE not in data:
            _refuse(file, data, "a private Ed25519 key")
        key = _parse_private(file, data)
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidValueError(f"{file} holds {_kind(key)}, not a private Ed25519 key: {_HOW}")
        return cls(key)

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of some bytes."""
        return self._key.sign(data)


class VerifyingKey:
    """A public key."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.id = _id_of(key)

    @classmethod
    def load(cls, path: PathLike) -> VerifyingKey:
        """Read a public key from a file: PEM (SubjectPublicKeyInfo), OpenSSH, or 64 hex digits.

        Raises
        ------
        UsageError
            The file has no such key; or `cryptography` is not installed.
        """
        _require_cryptography()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        file, data = _read(path, "the public key")
        spelled = _HEX_KEY.fullmatch(data)
        if _PRIVATE in data:
            raise InvalidValueError(
                f"{file} has a private key instead of a public key: create the public key with "
                f"`openssl pkey -in {file} -pubout`"
            )
        if not spelled and _PEM not in data and not data.startswith(b"ssh-"):
            _refuse(file, data, "a public Ed25519 key")
        try:
            key = (
                Ed25519PublicKey.from_public_bytes(bytes.fromhex(spelled[1].decode()))
                if spelled
                else _parse_public(data)
            )
        except _unreadable() as error:
            raise InvalidValueError(f"{file} holds a public key that cannot be read: {error}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidValueError(f"{file} holds {_kind(key)}, not a public Ed25519 key: {_HOW}")
        return cls(key)

    def fits(self, signature: bytes, data: bytes) -> bool:
        """Whether a signature of some bytes was made with the private key."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


_HOW = "create one with `openssl genpkey -algorithm ed25519`"


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise UsageError("signatures need the library cryptography: pip install 'framelode[sign]'") from error


def _read(path: PathLike, what: str) -> tuple[str, bytes]:
    file = path_of(path, what)
    return str(file), read_small(file, _LARGEST_FILE)


def _parse_private(file: str, data: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    load = load_ssh_private_key if _OPENSSH in data else load_pem_private_key
    try:
        return load(data, password=None)
    except TypeError as error:
        # The library raises this if a password is missing.
        raise UsageError(
            f"{file} is encrypted: use a key without a password, such as `openssl pkey -in {file} -out plain.pem` creates"
        ) from error
    except _unreadable() as error:
        raise InvalidValueError(f"{file} holds a private key that cannot be read: {error}") from error


def _parse_public(data: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

    return load_pem_public_key(data) if _PEM in data else load_ssh_public_key(data)


def _unreadable() -> tuple[type[Exception], ...]:
    from cryptography.exceptions import UnsupportedAlgorithm

    return (ValueError, UnsupportedAlgorithm)


def _refuse(file: str, data: bytes, wanted: str) -> NoReturn:
    held = "a public key" if b"PUBLIC KEY-----" in data or data.startswith(b"ssh-") else "something else"
    raise InvalidValueError(
        f"{file} holds {held}, not {wanted}: a PEM or OpenSSH file or 64 hex digits; {_HOW}"
    )


def _kind(key: object) -> str:
    return f"a key of another kind ({type(key).__name__.lstrip('_')})"


def _id_of(key: Ed25519PublicKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return blake3(raw).hexdigest(length=KEY_ID_BYTES)
