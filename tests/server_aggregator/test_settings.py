"""A half's folder: written once, private, and every damage named."""

import base64
import json
import stat
from dataclasses import asdict

import pytest

from tactful.errors import InvalidInput
from tactful_aggregator.settings import (
    KEYS_FILE,
    OTHER_PAIRING_FILE,
    PAIRING_FILE,
    SETTINGS_FILE,
    TOKENS,
    AggregatorSettings,
    create,
    load,
    pair,
    renew_tokens,
)

LEADER = AggregatorSettings(
    role="leader", url="https://leader.example", min_batch_floor=7
)
HELPER = AggregatorSettings(role="helper", url="https://helper.example")


@pytest.fixture
def folders(tmp_path):
    """A leader's and a helper's folder, not paired."""
    create(tmp_path / "leader", LEADER)
    create(tmp_path / "helper", HELPER)
    return tmp_path / "leader", tmp_path / "helper"


def test_what_is_made_is_loaded(tmp_path) -> None:
    made = create(tmp_path / "a" / "b", LEADER)

    assert load(tmp_path / "a" / "b") == made
    assert made.settings == LEADER
    assert made.other_pairing is None


def test_a_half_is_never_made_over_another(folders) -> None:
    before = {path: path.read_bytes() for path in folders[0].iterdir()}

    with pytest.raises(InvalidInput, match="already has an aggregator"):
        create(folders[0], HELPER)

    assert {path: path.read_bytes() for path in folders[0].iterdir()} == before


@pytest.mark.parametrize("name", [KEYS_FILE, PAIRING_FILE])
def test_what_is_secret_only_its_owner_reads(folders, name: str) -> None:
    assert stat.S_IMODE((folders[0] / name).stat().st_mode) == 0o600


def test_no_secret_is_shown(folders) -> None:
    aggregator = load(folders[0])

    shown = repr(aggregator) + repr(aggregator.pairing_document)

    tokens = (
        aggregator.keys.token,
        aggregator.keys.admin_token,
        aggregator.keys.collector_token,
    )
    for secret in (*tokens, aggregator.keys.signing.hex(), aggregator.keys.hpke.hex()):
        assert secret not in shown
        assert secret[:12] not in shown


def test_every_half_has_its_own_keys(folders) -> None:
    leader, helper = (load(folder).keys for folder in folders)

    assert leader.signing != helper.signing
    assert leader.hpke != helper.hpke
    tokens = {getattr(keys, name) for keys in (leader, helper) for name in TOKENS}
    assert len(tokens) == 6


def test_a_card_holds_no_credential_that_the_other_half_does_not_need(folders) -> None:
    leader, helper = (load(folder) for folder in folders)
    cards = [(folder / PAIRING_FILE).read_text() for folder in folders]

    assert leader.pairing_document.token == ""
    assert helper.pairing_document.token == helper.keys.token
    for aggregator, pairing_document in zip((leader, helper), cards, strict=True):
        assert aggregator.keys.admin_token not in pairing_document
        assert aggregator.keys.collector_token not in pairing_document
    assert leader.keys.token not in cards[0]


def test_a_leaders_card_with_a_token_is_refused(folders) -> None:
    pairing_document = {**asdict(load(folders[0]).pairing_document), "token": "t" * 43}
    (folders[0] / PAIRING_FILE).write_text(json.dumps(pairing_document))

    with pytest.raises(
        InvalidInput, match="a leader's pairing document must not have one"
    ):
        pair(folders[1], folders[0] / PAIRING_FILE)


def test_tokens_are_renewed_and_nothing_else(folders) -> None:
    pair(folders[0], folders[1] / PAIRING_FILE)
    before = load(folders[1])

    after = renew_tokens(folders[1])

    assert after == load(folders[1])
    assert all(
        getattr(after.keys, name) != getattr(before.keys, name) for name in TOKENS
    )
    assert (after.keys.signing, after.keys.verify) == (
        before.keys.signing,
        before.keys.verify,
    )
    assert (
        pair(folders[0], folders[1] / PAIRING_FILE).other_aggregator.token
        == after.keys.token
    )
    assert stat.S_IMODE((folders[1] / KEYS_FILE).stat().st_mode) == 0o600


def test_a_peer_of_an_earlier_version_can_be_paired_again(folders) -> None:
    old = {**asdict(load(folders[0]).pairing_document), "token": "t" * 43}
    (folders[1] / OTHER_PAIRING_FILE).write_text(json.dumps(old))
    with pytest.raises(InvalidInput, match=r"peer\.json: token: "):
        load(folders[1])

    assert (
        pair(folders[1], folders[0] / PAIRING_FILE).other_aggregator
        == load(folders[0]).pairing_document
    )


def test_keys_of_an_earlier_version_are_named_and_can_be_renewed(folders) -> None:
    keys = json.loads((folders[0] / KEYS_FILE).read_text())
    old = {name: value for name, value in keys.items() if name not in TOKENS[1:]}
    (folders[0] / KEYS_FILE).write_text(json.dumps(old))

    with pytest.raises(
        InvalidInput, match=r"keys\.json: .*one token for everything.*renew-tokens"
    ):
        load(folders[0])

    assert renew_tokens(folders[0]) == load(folders[0])


def test_two_tokens_that_are_the_same_are_refused(folders) -> None:
    keys = json.loads((folders[0] / KEYS_FILE).read_text())
    (folders[0] / KEYS_FILE).write_text(
        json.dumps({**keys, "admin_token": keys["token"]})
    )

    with pytest.raises(InvalidInput, match="keys or tokens are missing or damaged"):
        load(folders[0])


def test_a_card_holds_the_public_key_and_nothing_private(folders) -> None:
    aggregator = load(folders[0])
    text = (folders[0] / PAIRING_FILE).read_text()

    assert json.loads(text) == asdict(aggregator.pairing_document)
    assert (
        base64.b64decode(aggregator.pairing_document.signing_key)
        == aggregator.keys.signer.public_key().public_bytes_raw()
    )
    assert aggregator.keys.signing.hex() not in text
    assert aggregator.keys.hpke.hex() not in text


def test_paired_halves_know_each_other_and_agree_on_the_keys(folders) -> None:
    leader_folder, helper_folder = folders
    leader = pair(leader_folder, helper_folder / PAIRING_FILE)
    helper = pair(helper_folder, leader_folder / PAIRING_FILE)

    assert leader.other_aggregator == helper.pairing_document
    assert helper.other_aggregator == leader.pairing_document
    assert leader.public_keys() == helper.public_keys()
    assert stat.S_IMODE((leader_folder / OTHER_PAIRING_FILE).stat().st_mode) == 0o600


def test_before_pairing_the_other_half_is_asked_for(folders) -> None:
    with pytest.raises(InvalidInput, match=r"^pairing: .*pair --dir"):
        _ = load(folders[0]).other_aggregator


def test_a_half_is_not_paired_with_its_own_role(folders, tmp_path) -> None:
    create(
        tmp_path / "other",
        AggregatorSettings(role="leader", url="https://other.example"),
    )

    with pytest.raises(InvalidInput, match="both aggregators have the role leader"):
        pair(folders[0], tmp_path / "other" / PAIRING_FILE)
    assert load(folders[0]).other_pairing is None


@pytest.mark.parametrize("name", ["url", "signing_key"])
def test_a_half_is_not_paired_with_itself_in_disguise(folders, name: str) -> None:
    pairing_document = asdict(load(folders[1]).pairing_document)
    pairing_document[name] = asdict(load(folders[0]).pairing_document)[name]
    (folders[1] / PAIRING_FILE).write_text(json.dumps(pairing_document))

    with pytest.raises(
        InvalidInput, match="both aggregators have the same address or signing key"
    ):
        pair(folders[0], folders[1] / PAIRING_FILE)


CARDS = {
    "no file": None,
    "no JSON": "{",
    "a list": "[]",
    "a field too many": json.dumps(
        {"role": "helper", "url": "x", "signing_key": "", "token": "", "colour": "red"}
    ),
    "a field too few": json.dumps({"role": "helper", "url": "x", "signing_key": ""}),
    "an unknown role": json.dumps(
        {"role": "x", "url": "x", "signing_key": "", "token": ""}
    ),
}


@pytest.mark.parametrize("text", CARDS.values(), ids=CARDS)
def test_what_is_no_card_is_refused(folders, tmp_path, text: str | None) -> None:
    pairing_document = tmp_path / "card.json"
    if text is not None:
        pairing_document.write_text(text)

    with pytest.raises(InvalidInput, match="card"):
        pair(folders[0], pairing_document)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("url", "nonsense"),
        ("signing_key", "!!!"),
        ("signing_key", "AAAA"),
        ("collector_key", "AA=="),
        ("verify", "zz"),
        ("token", ""),
        ("token", "two words of it"),
    ],
)
def test_a_card_whose_field_cannot_be_is_refused_by_its_name(
    folders, name, wrong
) -> None:
    pairing_document = asdict(load(folders[1]).pairing_document)
    (folders[1] / PAIRING_FILE).write_text(
        json.dumps({**pairing_document, name: wrong})
    )

    with pytest.raises(InvalidInput, match=rf"^card\.json: {name}: "):
        pair(folders[0], folders[1] / PAIRING_FILE)
    assert load(folders[0]).other_pairing is None


def test_a_card_of_bytes_is_refused(folders, tmp_path) -> None:
    (tmp_path / "card").write_bytes(bytes(range(256)))

    with pytest.raises(InvalidInput, match="cannot be read"):
        pair(folders[0], tmp_path / "card")


@pytest.mark.parametrize("name", ["token", "admin_token", "collector_token"])
@pytest.mark.parametrize("token", ["", "short", 5, "with a space in it"])
def test_a_half_whose_token_anybody_could_show_is_not_loaded(
    folders, token: object, name: str
) -> None:
    keys = json.loads((folders[0] / KEYS_FILE).read_text())
    (folders[0] / KEYS_FILE).write_text(json.dumps({**keys, name: token}))

    with pytest.raises(InvalidInput, match="keys or tokens are missing or damaged"):
        load(folders[0])


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(
    folders, monkeypatch
) -> None:
    pair(folders[0], folders[1] / PAIRING_FILE)
    before = {path.name: path.read_bytes() for path in folders[0].iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        pair(folders[0], folders[1] / PAIRING_FILE)

    assert {path.name: path.read_bytes() for path in folders[0].iterdir()} == before


@pytest.mark.parametrize(
    "url",
    [
        *("", "leader.example", "ftp://x", "https://", "https://x/", "file:///etc"),
        *("https://x?y=1", "https://x#y", "https://me:secret@x"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"^url: "):
        AggregatorSettings(role="leader", url=url)


@pytest.mark.parametrize("url", ["https://[::1", "https://x:99999", "https://x:port"])
def test_an_address_that_cannot_be_split_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"^url: "):
        AggregatorSettings(role="leader", url=url)


@pytest.mark.parametrize("name", ["min_batch_floor", "min_count_floor", "max_body"])
def test_a_floor_or_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        AggregatorSettings(role="leader", url="https://x", **{name: 0})


DAMAGES = {
    "no settings": (SETTINGS_FILE, None, "has no aggregator"),
    "no keys": (KEYS_FILE, None, "has no aggregator"),
    "settings that are no TOML": (SETTINGS_FILE, "role =", "damaged"),
    "keys that are no JSON": (KEYS_FILE, "{", "damaged"),
    "keys that are missing": (KEYS_FILE, "{}", "keys or tokens are missing or damaged"),
    "keys cut short": (
        KEYS_FILE,
        '{"signing": "00", "hpke": "00"}',
        "keys or tokens are missing or damaged",
    ),
    "keys not in hex": (
        KEYS_FILE,
        '{"signing": "x", "hpke": "00"}',
        "keys or tokens are missing or damaged",
    ),
    "an unknown setting": (
        SETTINGS_FILE,
        'role="leader"\nurl="https://x"\nfloor=1',
        "floor",
    ),
    "a setting of another type": (SETTINGS_FILE, 'role="leader"\nurl=1', "url"),
    "a floor as text": (
        SETTINGS_FILE,
        'role="leader"\nurl="https://x"\nmin_batch_floor="1"',
        "min_batch_floor",
    ),
    "a peer that is none": (OTHER_PAIRING_FILE, "{}", "peer.json"),
}


@pytest.mark.parametrize(("name", "text", "sentence"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_folder_is_named(
    folders, name: str, text: str | None, sentence: str
) -> None:
    path = folders[0] / name
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(text)

    with pytest.raises(InvalidInput, match=sentence):
        load(folders[0])


@pytest.mark.parametrize("text", ["[]", '{"signing": 1, "hpke": 1}'])
def test_keys_of_another_type_are_named(folders, text: str) -> None:
    (folders[0] / KEYS_FILE).write_text(text)

    with pytest.raises(InvalidInput, match="keys or tokens are missing or damaged"):
        load(folders[0])
