"""A signed HPKE config is taken only as what it is: role, key, times, suite and version."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import HpkeConfigRejected
from tactful.protocol.dap.messages import HpkeConfig
from tactful.protocol.dap.signed_hpke_config import SIGNED_AS, ConfigDocument, verified
from tactful.protocol.signed_json import encode_signed

DAY, NOW = 86_400, 1_800_000_000
KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
PUBLIC = KEY.public_key().public_bytes_raw()
GOOD = ConfigDocument(
    version="tactful-1",
    role="leader",
    epoch=3,
    config=HpkeConfig(7, bytes(range(32))).encode().hex(),
    not_before=NOW - DAY,
    not_after=NOW + 7 * DAY,
)

Change = Callable[[ConfigDocument], ConfigDocument]
FAULTS: dict[str, tuple[Change, str]] = {
    "the other half's": (lambda d: replace(d, role="helper"), "signatures.leader"),
    "over": (
        lambda d: replace(d, not_before=NOW - 2 * DAY, not_after=NOW),
        "not_after",
    ),
    "of no end": (
        lambda d: replace(d, not_after=d.not_before + 14 * DAY + 1),
        "not_after",
    ),
    "ending before it begins": (
        lambda d: replace(d, not_after=d.not_before),
        "not_after",
    ),
    "not yet": (lambda d: replace(d, not_before=NOW + 1), "not_before"),
    "no config": (lambda d: replace(d, config="00"), "config"),
    "no hex": (lambda d: replace(d, config="zz"), "config"),
    "two configs": (lambda d: replace(d, config=2 * d.config), "config"),
    "of another suite": (
        lambda d: replace(d, config=f"070021{d.config[6:]}"),
        "config",
    ),
    "of no epoch": (lambda d: replace(d, epoch=-1), "epoch"),
    "of another version": (lambda d: replace(d, version="tactful-2"), "version"),
}


def test_a_good_one_is_what_was_signed() -> None:
    document = verified(GOOD.signed(KEY), "leader", PUBLIC, NOW)

    assert document == GOOD
    assert document.hpke_config == HpkeConfig(7, bytes(range(32)))


@pytest.mark.parametrize(("change", "field"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_is_named(change: Change, field: str) -> None:
    with pytest.raises(
        HpkeConfigRejected, match=f"hpke_config.{field}: .*nothing was charged"
    ):
        verified(change(GOOD).signed(KEY), "leader", PUBLIC, NOW)


def test_another_key_or_another_domain_signs_nothing() -> None:
    tasks = encode_signed(
        GOOD.document, {"leader": KEY.sign(b"tactful-1 task" + GOOD.document)}
    )
    plain = encode_signed(GOOD.document, {"leader": KEY.sign(GOOD.document)})
    for body in (GOOD.signed(OTHER), tasks, plain, encode_signed(GOOD.document, {})):
        with pytest.raises(HpkeConfigRejected, match=r"signatures\.leader"):
            verified(body, "leader", PUBLIC, NOW)


def test_a_signed_document_under_the_other_halfs_role_is_refused() -> None:
    helpers = replace(GOOD, role="helper")
    body = encode_signed(
        helpers.document, {"leader": KEY.sign(SIGNED_AS + helpers.document)}
    )

    with pytest.raises(HpkeConfigRejected, match=r"hpke_config\.role"):
        verified(body, "leader", PUBLIC, NOW)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"x" * 5000, b"[" * 3000, b"\xff"])
def test_what_is_no_signed_config_is_refused(body: bytes) -> None:
    with pytest.raises(HpkeConfigRejected):
        verified(body, "leader", PUBLIC, NOW)


@given(at=st.integers(0, len(GOOD.signed(KEY)) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_passes(at: int, bit: int) -> None:
    body = bytearray(GOOD.signed(KEY))
    body[at] ^= 1 << bit
    try:
        assert verified(bytes(body), "leader", PUBLIC, NOW) == GOOD
    except HpkeConfigRejected:
        return
