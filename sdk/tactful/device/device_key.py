"""Where the vault's key comes from, and the sub-keys that it is split into."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from tactful.device import checks
from tactful.errors import InvalidInput, VaultError

KEY_BYTES = 32
NONCE_BYTES = 12
MIN_SALT_BYTES = 16  # RFC 9106, section 3.1


class KeyProvider(Protocol):
    """Whatever can name the vault's key."""

    def key(self) -> bytes:
        """The same 32 secret bytes every time; raises VaultError if they cannot be had."""


@runtime_checkable
class StoredKey(KeyProvider, Protocol):
    """A provider that makes its key on first use, and can look without making one.

    A vault asks for `existing()` wherever it was sealed before: a new key could not open it.
    """

    def existing(self) -> bytes | None:
        """Return the key that was made before, None if there is none; make nothing."""


@dataclass(frozen=True)
class HostKey:
    """A key that the host app keeps and hands in; 32 bytes."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _require_length(self.secret, "key")

    def key(self) -> bytes:
        """The bytes handed in."""
        return self.secret


@dataclass(frozen=True)
class KeyFile:
    """A key in a file of its own, made on first use, readable by its owner alone (0600)."""

    path: str | Path

    def __post_init__(self) -> None:
        checks.path("key file", self.path)

    def key(self) -> bytes:
        """The file's bytes; raises InvalidInput if others may read it or it is no key."""
        secret = self.existing()
        if secret is None:
            _create(Path(self.path))
            secret = self.existing()
        if secret is None:
            problem = "it was removed as it was made"
            raise InvalidInput(
                f"key file {self.path}", problem, "let one program manage it"
            )
        return secret

    def existing(self) -> bytes | None:
        """Return the file's bytes as `key` does, None if there is no file; make none."""
        path = Path(self.path)
        if not path.exists():
            return None
        _require_private(path)
        try:
            secret = path.read_bytes()
        except OSError as refused:
            problem = f"it cannot be read ({refused.strerror})"
            raise InvalidInput(
                f"key file {path}", problem, "name the file of the key"
            ) from refused
        _require_length(secret, f"key file {path}")
        return secret


@dataclass(frozen=True)
class KeyringKey:
    """A key in the key store of the operating system; needs the extra `tactful[keyring]`."""

    service: str
    name: str

    def key(self) -> bytes:
        """The stored key, made on first use; raises VaultError where there is no key store."""
        secret = self.existing()
        if secret is None:
            secret = secrets.token_bytes(KEY_BYTES)
            self._entry(secret.hex())
        return secret

    def existing(self) -> bytes | None:
        """Return the stored key as `key` does, None if there is none; make none."""
        stored = self._entry()
        if stored is None:
            return None
        return _from_hex(stored, f"key store entry {self.service}/{self.name}")

    def _entry(self, replacement: str | None = None) -> str | None:
        """Return what the key store holds, after it was set to `replacement` if there is one."""
        try:
            import keyring
            from keyring.errors import KeyringError
        except ImportError as absent:
            raise VaultError(
                "key: the package keyring is not installed; pip install 'tactful[keyring]'"
            ) from absent
        try:
            if replacement is not None:
                keyring.set_password(self.service, self.name, replacement)
            stored = keyring.get_password(self.service, self.name)
        except KeyringError as refused:
            raise VaultError(
                f"key: the key store refused ({type(refused).__name__}); use HostKey or KeyFile"
            ) from refused
        return None if stored is None else str(stored)


@dataclass(frozen=True)
class PassphraseKey:
    """A key stretched from what the person types, by Argon2id (RFC 9106, second profile).

    `salt` is at least 16 random bytes that the host keeps; it is no secret.
    """

    passphrase: str = field(repr=False)
    salt: bytes

    def __post_init__(self) -> None:
        if not self.passphrase:
            raise InvalidInput("passphrase", "it is empty", "ask the person for one")
        if len(self.salt) < MIN_SALT_BYTES:
            raise InvalidInput("salt", f"{len(self.salt)} bytes", "use 16 random bytes")

    def key(self) -> bytes:
        """The stretched key; takes 64 MiB and about a tenth of a second."""
        try:
            from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
        except ImportError as absent:
            raise VaultError(
                "key: Argon2id is not available; install cryptography 44 or newer"
            ) from absent
        stretch = Argon2id(
            salt=self.salt,
            length=KEY_BYTES,
            iterations=3,
            lanes=4,
            memory_cost=64 * 1024,
        )
        return stretch.derive(self.passphrase.encode())


class Sealer:
    """Seals, opens and names under sub-keys of one vault (HKDF-SHA256, RFC 5869); 32 byte key."""

    def __init__(self, key: bytes, vault_id: bytes) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        _require_length(key, "key")
        root = hmac.digest(vault_id, key, "sha256")
        self._aead = AESGCM(_expand(root, b"tactful vault seal"))
        self._refused = (InvalidTag, ValueError)
        self._names = _expand(root, b"tactful vault names")
        self._marks = _expand(root, b"tactful vault digest")
        self.check = _expand(root, b"tactful vault check")[:16]
        self._bound = vault_id

    def seal(self, text: bytes, bound: bytes) -> bytes:
        """Nonce, ciphertext and tag of `text`, which opens only beside the same `bound` bytes."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, text, self._bound + bound)

    def open(self, sealed: object, bound: bytes) -> bytes | None:
        """The text, or None if anything was changed, be it the type of the stored value."""
        if not isinstance(sealed, bytes):
            return None
        try:
            return self._aead.decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._bound + bound
            )
        except self._refused:
            return None

    def blind(self, text: str) -> bytes:
        """A name for `text` that tells nothing without the key."""
        return hmac.digest(self._names, text.encode(), "sha256")

    def mark(self, bound: bytes, sealed: bytes) -> int:
        """A keyed number for one sealed record; their sum is the digest of the vault."""
        return int.from_bytes(
            hmac.digest(self._marks, bound + sealed[-16:], "sha256"), "big"
        )


def _expand(root: bytes, purpose: bytes) -> bytes:
    return hmac.digest(root, purpose + b"\x01", "sha256")


def _create(path: Path) -> None:
    """Write the whole key beside its place, then link it there: no reader sees half a key."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write_synced(draft, secrets.token_bytes(KEY_BYTES))
        os.link(draft, path)
    except FileExistsError:
        return  # another process was first; its key is the key
    except OSError as refused:
        raise InvalidInput(
            f"key file {path}",
            f"it cannot be made ({refused.strerror})",
            "name a writable folder",
        ) from refused
    finally:
        with suppress(OSError):  # why it was not made is told already
            draft.unlink()


def _write_synced(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _require_private(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise InvalidInput(
            f"key file {path}", f"others may read it (mode {mode:04o})", "chmod 600 it"
        )


def _require_length(secret: bytes, name: str) -> None:
    if not isinstance(secret, bytes) or len(secret) != KEY_BYTES:
        raise InvalidInput(
            name, "it is not 32 bytes long", "use secrets.token_bytes(32)"
        )


def _from_hex(text: str, name: str) -> bytes:
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    _require_length(secret, name)
    return secret
