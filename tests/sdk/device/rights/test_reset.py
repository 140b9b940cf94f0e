"""A vault whose key is gone: no second key is made, and `tactful reset` is the way out."""

import secrets
import sys
import types
from fractions import Fraction
from pathlib import Path

import pytest
from vault_damage import opened

from tactful.cli import main
from tactful.device.device_key import KeyFile, KeyringKey
from tactful.device.network.ledger_quarantine import LedgerQuarantine
from tactful.device.state.device_state import DeviceState
from tactful.device.state.projection import project
from tactful.device.vault import Vault
from tactful.device.vault.rollback_anchor import RollbackAnchorFile
from tactful.errors import TrustPending, WrongKey
from tactful.privacy.budget import CARRIED, Charge

SPENT = Fraction(1, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A device that spent a third of rho and told its anchor."""
    with opened(tmp_path) as device:
        vault = device._core.vault
        charge = Charge(task_id="11", purpose="share_dp_updates", rho=SPENT, time=5)
        vault.append("charge", charge.body(), durable=True)
        LedgerQuarantine(
            vault, RollbackAnchorFile(tmp_path / "anchor"), 7
        ).update_anchor(project(vault, DeviceState()))
    return tmp_path


def memory_of(folder: Path) -> DeviceState:
    with Vault.open(folder / "taste.db", KeyFile(folder / "taste.key")) as vault:
        return project(vault, DeviceState())


def reset(folder: Path) -> int:
    command = [
        "reset",
        str(folder / "taste.db"),
        "--key-file",
        str(folder / "taste.key"),
    ]
    return main([*command, "--yes"])


def test_no_key_is_made_beside_a_vault(folder: Path) -> None:
    (folder / "taste.key").unlink()

    for _ in range(2):
        with pytest.raises(WrongKey, match="tactful reset"):
            opened(folder)
    assert not (folder / "taste.key").exists()


def test_no_entry_of_a_key_store_is_made_beside_a_vault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries: dict[tuple[str, str], str] = {}
    store, errors = types.ModuleType("keyring"), types.ModuleType("keyring.errors")
    errors.KeyringError = OSError
    store.get_password = lambda service, name: entries.get((service, name))
    store.set_password = lambda service, name, text: entries.update(
        {(service, name): text}
    )
    monkeypatch.setitem(sys.modules, "keyring", store)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    key = KeyringKey("app", "vault")
    Vault.open(tmp_path / "taste.db", key).close()
    Vault.open(tmp_path / "taste.db", key).close()
    assert len(entries) == 1

    entries.clear()
    with pytest.raises(WrongKey):
        Vault.open(tmp_path / "taste.db", key)
    assert not entries


def test_a_reset_deletes_nothing_and_keeps_the_charges(folder: Path) -> None:
    before = {(folder / name).read_bytes() for name in ("taste.db", "taste.key")}

    assert reset(folder) == 0

    after = {path.read_bytes() for path in folder.iterdir()}
    assert before <= after
    assert memory_of(folder).ledger.spent == SPENT
    with opened(folder) as device:
        assert "another vault" in str(device.state_lost)
        assert not device.status.profile.beliefs


@pytest.mark.parametrize("lost", ["missing", "wrong"])
def test_after_a_reset_without_the_key_the_device_waits(
    folder: Path, lost: str
) -> None:
    (folder / "taste.key").unlink()
    if lost == "wrong":
        (folder / "taste.key").touch(0o600)
        (folder / "taste.key").write_bytes(secrets.token_bytes(32))

    assert reset(folder) == 0

    with Vault.open(folder / "taste.db", KeyFile(folder / "taste.key")) as vault:
        memory = project(vault, DeviceState())
        for anchor in (None, RollbackAnchorFile(folder / "nowhere")):
            with pytest.raises(TrustPending):
                LedgerQuarantine(vault, anchor, 7).require(memory, 1, 1)
        waited = 8 * 86_400_000
        assert (
            LedgerQuarantine(vault, None, 7).require(memory, waited, 1).ledger.spent
            == 0
        )


def test_after_a_reset_the_anchor_charges_what_it_knows(folder: Path) -> None:
    (folder / "taste.key").unlink()
    assert reset(folder) == 0

    with Vault.open(folder / "taste.db", KeyFile(folder / "taste.key")) as vault:
        trust = LedgerQuarantine(vault, RollbackAnchorFile(folder / "anchor"), 7)
        with pytest.raises(TrustPending):
            trust.require(project(vault, DeviceState()), 1, 1)
        [charge] = project(vault, DeviceState()).ledger.charges
    assert (charge.purpose, charge.rho) == (CARRIED, SPENT)


def test_a_reset_without_a_key_file_leaves_the_new_vault_to_the_app(
    folder: Path,
) -> None:
    assert main(["reset", str(folder / "taste.db"), "--yes"]) == 0

    assert not (folder / "taste.db").exists()
    with opened(folder) as device:
        assert "another vault" in str(device.state_lost)


def test_nothing_is_set_aside_that_nobody_confirmed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "reset",
        str(folder / "taste.db"),
        "--key-file",
        str(folder / "taste.key"),
    ]
    files = sorted(folder.iterdir())
    for answer in ("", "n"):
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        assert main(command) == 2
    assert sorted(folder.iterdir()) == files
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert main(command) == 0
