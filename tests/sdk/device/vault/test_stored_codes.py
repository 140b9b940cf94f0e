"""What vaults store by number keeps its meaning: tables only grow, and an old vault reads on."""

import importlib.util
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from tactful.device.caps.counting.reservations import OUTCOME_CODES
from tactful.device.caps.rules.model import LEVEL_CODES, PRESUMED
from tactful.device.caps.rules.subject import CLASSES, CapSubject
from tactful.device.device_key import KeyFile
from tactful.device.events import (
    EVIDENCE,
    EVIDENCE_CODES,
    KIND_CODES,
    KINDS,
    PURPOSE_CODES,
    PURPOSES,
    StoredEvent,
)
from tactful.device.vault import Vault
from tactful.errors import VaultDamaged

PINNED = {  # append, never change: vaults on devices hold these numbers
    "kind": (
        KIND_CODES,
        "impression view click like dislike dismiss hide save purchase rating dwell search "
        "interest report convert",
        0,
    ),
    "evidence": (EVIDENCE_CODES, "rendered viewable attended", 0),
    "purpose": (
        PURPOSE_CODES,
        "essential local_profile local_personalization experiments diagnostics",
        0,
    ),
    "outcome": (OUTCOME_CODES, "dropped presumed released", 0),
    "level": (LEVEL_CODES, "rendered viewable attended", 1),
    "rank": (
        {name: rank for rank, name in enumerate(CLASSES)},
        "promo normal high critical",
        0,
    ),
    "thing": (
        {name: place for place, name in enumerate(CapSubject._fields)},
        "item family creative campaign categories brand channel tags item_class priority "
        "replenishable",
        0,
    ),
}


@pytest.mark.parametrize("table", PINNED)
def test_no_code_was_changed_or_used_again(table: str) -> None:
    codes, words, first = PINNED[table]

    for code, word in enumerate(words.split(), first):
        assert codes[word] == code
    assert len(set(codes.values())) == len(codes)
    assert table != "level" or PRESUMED not in codes.values()


def test_every_word_that_may_be_stored_has_a_code() -> None:
    assert set(KINDS) == set(KIND_CODES)
    assert set(EVIDENCE) == set(EVIDENCE_CODES)
    assert set(PURPOSES) == set(PURPOSE_CODES)


def test_an_unknown_code_is_named_and_not_guessed() -> None:
    for place, code in ((0, 999), (0, -1), (6, 999), (9, 999)):
        body = StoredEvent(
            kind="view", at_ms=1, purpose="essential", evidence="rendered"
        ).body()
        fields = body["e"]
        assert isinstance(fields, list)
        fields[place] = code
        with pytest.raises(VaultDamaged, match="unknown code"):
            StoredEvent.from_body(body)


@pytest.fixture
def golden(root: Path, tmp_path: Path) -> Path:
    for path in (root / "tests/vectors/vaults").glob("golden-3.*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "golden-3.key").chmod(0o600)
    return tmp_path / "golden-3"


def test_a_golden_vault_says_what_it_said_when_it_was_made(
    root: Path, golden: Path
) -> None:
    expected = json.loads(golden.with_suffix(".json").read_text())

    with Vault.open(
        golden.with_suffix(".db"), KeyFile(golden.with_suffix(".key"))
    ) as vault:
        vault.verify()
        assert [
            asdict(StoredEvent.from_body(record.body))
            for record in vault.read(0, ["event"])
        ] == expected["events"]
        script = root / "tests/vectors/vaults/make_golden.py"
        spec = importlib.util.spec_from_file_location("make_golden", script)
        assert spec is not None
        assert spec.loader is not None
        maker = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(maker)
        assert json.loads(json.dumps(maker.description(vault))) == expected
    assert {event["kind"] for event in expected["events"]} == set(KINDS)
