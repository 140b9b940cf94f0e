"""Keys are 32 bytes, private to their owner, and never shown."""

import os
import stat
import sys
from pathlib import Path

import pytest

from tactful.device.device_key import (
    HostKey,
    KeyFile,
    KeyringKey,
    PassphraseKey,
    Sealer,
)
from tactful.errors import InvalidInput, VaultError


def test_a_key_file_is_made_once_and_read_again(tmp_path: Path):
    path = tmp_path / "key"
    first = KeyFile(path).key()

    assert KeyFile(path).key() == first
    assert len(first) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int):
    path = tmp_path / "key"
    KeyFile(path).key()
    path.chmod(mode)

    with pytest.raises(InvalidInput, match="others"):
        KeyFile(path).key()


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(tmp_path: Path, length: int):
    path = tmp_path / "key"
    path.write_bytes(b"x" * length)
    path.chmod(0o600)

    with pytest.raises(InvalidInput):
        KeyFile(path).key()
    with pytest.raises(InvalidInput):
        HostKey(b"x" * length)


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(InvalidInput, match="writable"):
        KeyFile(tmp_path / "nowhere" / "key").key()


def test_no_key_is_ever_shown():
    secret = os.urandom(32)
    shown = repr(HostKey(secret)) + repr(PassphraseKey("correct horse", b"s" * 16))

    assert repr(secret) not in shown
    assert "horse" not in shown


def test_a_passphrase_gives_the_same_key_with_the_same_salt_only():
    key = PassphraseKey("correct horse", b"s" * 16).key()

    assert key == PassphraseKey("correct horse", b"s" * 16).key()
    assert key != PassphraseKey("correct horse", b"t" * 16).key()
    with pytest.raises(InvalidInput):
        PassphraseKey("", b"s" * 16)
    with pytest.raises(InvalidInput):
        PassphraseKey("x", b"short")


def test_a_missing_key_store_is_a_clear_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "keyring", None)

    with pytest.raises(VaultError, match="keyring"):
        KeyringKey("tactful", "vault").key()


def test_a_sealed_text_opens_only_where_it_was_sealed():
    sealer, other = Sealer(b"k" * 32, b"vault-1"), Sealer(b"k" * 32, b"vault-2")
    sealed = sealer.seal(b"text", b"place")

    assert sealer.open(sealed, b"place") == b"text"
    assert sealer.open(sealed, b"elsewhere") is None
    assert other.open(sealed, b"place") is None
    assert sealer.open(sealed[:-1], b"place") is None
    assert sealer.open(b"", b"place") is None
    assert sealer.blind("a") != other.blind("a")
