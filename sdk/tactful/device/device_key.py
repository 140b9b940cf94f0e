"""Key sources of the vault, and the sub-keys derived from its key."""

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
    """A source of the vault's key."""

    def key(self) -> bytes:
        """Return the same 32 secret bytes every time; raise VaultError if it cannot."""


@runtime_checkable
class StoredKey(KeyProvider, Protocol):
    """A source that creates its key on first use, and can look without creating one.

    A vault that was sealed before asks for `existing()`: a new key could not open it.
    """

    def existing(self) -> bytes | None:
        """Return the key if it exists, else None; create nothing."""


@dataclass(frozen=True)
class HostKey:
    """A key of 32 bytes that the host app stores and passes in."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _require_length(self.secret, "key")

    def key(self) -> bytes:
        """Return the bytes that were passed in."""
        return self.secret


@dataclass(frozen=True)
class KeyFile:
    """A key in its own file (mode 0600), created on first use."""

    path: str | Path

    def __post_init__(self) -> None:
        checks.path("key file", self.path)

    def key(self) -> bytes:
        """Return the file's bytes, created if missing.

        Raise InvalidInput if others may read the file or it holds no key.
        """
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
        """Return the file's bytes, None if there is no file; raise as `key` does."""
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
    """A key in the operating system's key store; needs the extra `tactful[keyring]`."""

    service: str
    name: str

    def key(self) -> bytes:
        """Return the stored key, created if missing.

        Raise VaultError without a key store.
        """
        secret = self.existing()
        if secret is None:
            secret = secrets.token_bytes(KEY_BYTES)
            self._entry(secret.hex())
        return secret

    def existing(self) -> bytes | None:
        """Return the stored key, None if there is none; raise as `key` does."""
        stored = self._entry()
        if stored is None:
            return None
        return _from_hex(stored, f"key store entry {self.service}/{self.name}")

    def _entry(self, replacement: str | None = None) -> str | None:
        """Return the key store's entry, after setting it to `replacement` if given."""
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
    """A key derived from a passphrase by Argon2id (RFC 9106, second profile).

    `salt` is at least 16 random bytes that the host stores; it is not secret.
    """

    passphrase: str = field(repr=False)
    salt: bytes

    def __post_init__(self) -> None:
        if not self.passphrase:
            raise InvalidInput("passphrase", "it is empty", "ask the person for one")
        if len(self.salt) < MIN_SALT_BYTES:
            raise InvalidInput("salt", f"{len(self.salt)} bytes", "use 16 random bytes")

    def key(self) -> bytes:
        """Return the derived key; takes 64 MiB and about a tenth of a second."""
        try:
            from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
        except ImportError as absent:
            raise VaultError(
                "key: Argon2id is not available; install cryptography 44 or newer"
            ) from absent
        derivation = Argon2id(
            salt=self.salt,
            length=KEY_BYTES,
            iterations=3,
            lanes=4,
            memory_cost=64 * 1024,
        )
        return derivation.derive(self.passphrase.encode())


class Sealer:
    """Authenticated encryption, pseudonyms and marks under sub-keys of one vault.

    The sub-keys are derived from the 32 byte key by HKDF-SHA256 (RFC 5869).
    """

    def __init__(self, key: bytes, vault_id: bytes) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        _require_length(key, "key")
        root = hmac.digest(vault_id, key, "sha256")
        self._aead = AESGCM(_expand(root, b"tactful vault seal"))
        self._rejections = (InvalidTag, ValueError)
        self._names = _expand(root, b"tactful vault names")
        self._marks = _expand(root, b"tactful vault digest")
        self.check = _expand(root, b"tactful vault check")[:16]
        self._vault_id = vault_id

    def seal(self, text: bytes, aad: bytes) -> bytes:
        """Return nonce, ciphertext and tag of `text` (AES-256-GCM).

        It opens only with the same additional authenticated data (`aad`).
        """
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, text, self._vault_id + aad)

    def open(self, sealed: object, aad: bytes) -> bytes | None:
        """Return the text, None if anything was changed, even the type of `sealed`."""
        if not isinstance(sealed, bytes):
            return None
        nonce = sealed[:NONCE_BYTES]
        ciphertext = sealed[NONCE_BYTES:]
        try:
            return self._aead.decrypt(nonce, ciphertext, self._vault_id + aad)
        except self._rejections:
            return None

    def blind(self, text: str) -> bytes:
        """Return a 32 byte pseudonym for `text`, meaningless without the key."""
        return hmac.digest(self._names, text.encode(), "sha256")

    def mark(self, aad: bytes, sealed: bytes) -> int:
        """Return a keyed number for one sealed record.

        The sum over all records is the digest of the vault.
        """
        tag = sealed[-16:]
        return int.from_bytes(hmac.digest(self._marks, aad + tag, "sha256"), "big")


def _expand(root: bytes, purpose: bytes) -> bytes:
    """Return the sub-key of `root` for `purpose` (HKDF-Expand, one block)."""
    return hmac.digest(root, purpose + b"\x01", "sha256")


def _create(path: Path) -> None:
    """Write a new key to a draft file, then link it: no reader sees half a key."""
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
        with suppress(OSError):  # the failure to create it was reported above
            draft.unlink()


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
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
