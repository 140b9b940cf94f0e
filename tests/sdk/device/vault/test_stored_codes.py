"""Codes that vaults store instead of words keep their meaning."""

import pytest

from tactful.device.caps.counting.reservations import OUTCOME_CODES
from tactful.device.caps.rules.model import LEVEL_CODES, PRESUMED
from tactful.device.caps.rules.subject import CLASSES, CapSubject
from tactful.device.events import (
    EVIDENCE,
    EVIDENCE_CODES,
    KIND_CODES,
    KINDS,
    PURPOSE_CODES,
    PURPOSES,
    StoredEvent,
)
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
        fields = StoredEvent(
            kind="view", at_ms=1, purpose="essential", evidence="rendered"
        ).to_fields()
        fields[place] = code
        with pytest.raises(VaultDamaged, match="unknown code"):
            StoredEvent.from_fields(fields)
