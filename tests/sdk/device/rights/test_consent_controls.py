"""Grants and withdrawals of single purposes."""

import pytest

from tactful.device.consent import ConsentNotice
from tactful.device.events import Event
from tactful.device.settings import Settings
from tactful.errors import ConsentMissing, InvalidInput, NotStored, StorageFull
from tactful.testing import small_catalog, small_device


@pytest.fixture
def device():
    with small_device(small_catalog(4), Settings(path=None), consent=None) as opened:
        yield opened


def answers(device) -> dict[str, str]:
    newest = device.status.answers.newest
    return {purpose: record.state for purpose, record in newest.items()}


def test_a_grant_answers_only_the_named_purpose(device) -> None:
    notice = ConsentNotice(text="learn from what I do", locale="de")

    device.controls.consent.grant("local_profile", notice=notice)

    assert answers(device) == {"local_profile": "granted"}
    assert device.status.answers.newest["local_profile"].locale == "de"
    device.observe(Event(kind="like", item_id="item-1"))


def test_a_withdrawal_leaves_the_other_purposes_granted(device) -> None:
    device.controls.consent.grant("local_profile", "local_personalization")

    device.controls.consent.withdraw("local_personalization")

    assert answers(device) == {
        "local_profile": "granted",
        "local_personalization": "withdrawn",
    }
    assert device.controls.consent.current.allows("local_profile")


def test_a_purpose_can_be_granted_again_after_it_was_refused(device) -> None:
    device.controls.consent.withdraw("local_profile")
    with pytest.raises(ConsentMissing):
        device.observe(Event(kind="like", item_id="item-1"))

    device.controls.consent.grant("local_profile")

    device.observe(Event(kind="like", item_id="item-1"))


def test_counting_impressions_can_be_refused_and_allowed_again(device) -> None:
    device.controls.consent.grant("local_profile")

    device.controls.consent.withdraw("essential")
    assert not device.controls.consent.current.allows("local_profile")

    device.controls.consent.grant("essential")
    assert device.controls.consent.current.allows("local_profile")


def test_two_refusals_that_cannot_be_stored_are_both_in_force(
    device, monkeypatch
) -> None:
    device.controls.consent.grant("local_profile", "share_dp_updates")

    def full(*arguments: object, **more: object) -> None:
        raise StorageFull("vault: the disk is full; free some space")

    with monkeypatch.context() as patch:
        patch.setattr(device._core.vault, "transaction", full)
        for purpose in ("share_dp_updates", "local_profile"):
            with pytest.raises(NotStored):
                device.controls.consent.withdraw(purpose)
        current = device.controls.consent.current
        assert not current.allows("share_dp_updates")
        assert not current.allows("local_profile")

    device.controls.set_paused(False)
    device.recommend(1)
    assert set(answers(device).values()) == {"withdrawn"}


@pytest.mark.parametrize("purposes", [(), ("ads",), ("local_profile", "ads")])
def test_an_unknown_or_missing_purpose_is_refused(device, purposes) -> None:
    with pytest.raises(InvalidInput, match=r"^purposes: "):
        device.controls.consent.grant(*purposes)
    assert not answers(device)
