"""Silence is no, and a purpose stands only on what it needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.device.consent import NEEDS, PURPOSES, Consent
from tactful.errors import ConsentMissing, InvalidInput

purposes = st.sampled_from(sorted(PURPOSES))


def test_silence_allows_nothing_but_the_repetition_limits() -> None:
    assert [purpose for purpose in PURPOSES if Consent().allows(purpose)] == ["essential"]


@given(granted=st.frozensets(purposes), purpose=purposes)
def test_a_purpose_is_allowed_only_if_it_and_its_need_were_granted(
    granted: frozenset[str], purpose: str
) -> None:
    allowed = Consent(granted).allows(purpose)

    needed = {purpose, NEEDS.get(purpose, purpose)}
    assert allowed == (purpose == "essential" or needed <= granted)


@given(granted=st.frozensets(purposes), purpose=purposes)
def test_withdrawing_denies_at_once(granted: frozenset[str], purpose: str) -> None:
    agreed = Consent(granted).grant(purpose).withdraw(purpose)

    assert purpose == "essential" or not agreed.allows(purpose)


def test_requiring_a_denied_purpose_names_it_and_what_it_lacks() -> None:
    with pytest.raises(ConsentMissing, match=r"'share_dp_updates' \(NEEDS local_profile\)"):
        Consent.to("share_dp_updates").require("share_dp_updates")


def test_an_unknown_purpose_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="'telemetry' is not a purpose; use one of essential"):
        Consent.to("telemetry")
