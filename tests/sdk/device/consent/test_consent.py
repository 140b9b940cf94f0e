"""Silence is no; a purpose stands only on what it needs; only the person can say yes."""

import contextlib
import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.device.consent import (
    NEEDS,
    PURPOSES,
    Consent,
    ConsentAnswers,
    ConsentNotice,
    Occasion,
    Restrictions,
    resolve,
)
from tactful.device.consent.records import read_receipt
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.errors import ConsentMissing, InvalidInput
from tactful.testing import FIXED_KEY, FrozenClock, small_catalog

purposes = st.sampled_from(sorted(PURPOSES))
DAY = 86_400
NOW = 1_700_000_000
TCF = "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"  # the framework's own example: no consents
GPP_EU = f"DBABMA~{TCF}"


def test_silence_allows_nothing_but_the_repetition_limits() -> None:
    assert [purpose for purpose in PURPOSES if Consent().allows(purpose)] == [
        "essential"
    ]


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
    with pytest.raises(
        ConsentMissing,
        match=r"'share_dp_updates' is not granted \(NEEDS local_profile\)",
    ):
        Consent.to("share_dp_updates").require("share_dp_updates")


def test_an_unknown_purpose_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InvalidInput, match="'telemetry' is not a purpose; use one of essential"
    ):
        Consent.to("telemetry")


# the chain of answers


def after(
    answers: ConsentAnswers,
    consent: Consent,
    *,
    at: int = NOW,
    policy: str = "1",
    asked: bool = True,
    **shown: object,
) -> ConsentAnswers:
    occasion = Occasion(shown=ConsentNotice(**shown), at=at, policy_version=policy)
    for record in answers.changes(consent, occasion, asked=asked):
        answers = answers.recorded(record)
    return answers


def state(
    answers: ConsentAnswers, purpose: str, *, at: int = NOW, policy: str = "1"
) -> str:
    return answers.state(purpose, now=at, policy_version=policy)


SHARING = Consent.to("local_profile", "share_dp_updates")


def test_the_same_answer_again_makes_no_record() -> None:
    once = after(ConsentAnswers(), SHARING)

    assert after(once, SHARING) == once
    assert (
        len(once.records) == len(PURPOSES) - 1
    )  # `essential` is on until it is refused


def test_what_is_no_longer_granted_was_withdrawn_and_what_was_never_granted_is_denied() -> (
    None
):
    answers = after(after(ConsentAnswers(), SHARING), Consent().withdraw("experiments"))

    states = {purpose: state(answers, purpose) for purpose in PURPOSES}
    assert states["share_dp_updates"] == states["local_profile"] == "withdrawn"
    assert states["experiments"] == "denied"
    assert states["diagnostics"] == "denied"
    assert states["essential"] == "unset"


def test_an_app_that_starts_again_does_not_grant_what_the_person_withdrew() -> None:
    withdrawn = after(after(ConsentAnswers(), SHARING), Consent.to("local_profile"))

    assert (
        state(after(withdrawn, SHARING, asked=False), "share_dp_updates") == "withdrawn"
    )
    assert state(after(withdrawn, SHARING, asked=True), "share_dp_updates") == "granted"


def test_a_grant_ends_with_its_time_and_with_its_policy() -> None:
    answers = after(ConsentAnswers(), SHARING, valid_seconds=DAY)

    assert state(answers, "local_profile", at=NOW + DAY - 1) == "granted"
    assert state(answers, "local_profile", at=NOW + DAY) == "expired"
    assert state(answers, "local_profile", policy="2") == "superseded"


@pytest.mark.parametrize(
    ("consent", "days", "policy", "may"),
    [
        (Consent(), 1000, "1", True),  # never answered
        (Consent().withdraw("experiments"), 1000, "1", False),  # a no is a no
        (Consent().withdraw("experiments"), 89, "2", False),  # too soon
        (Consent().withdraw("experiments"), 90, "2", True),
        (Consent.to("experiments"), 1000, "1", False),  # it is granted
        (Consent.to("experiments"), 90, "2", True),
    ],
)
def test_an_app_asks_again_only_after_90_days_and_a_new_policy(
    consent: Consent, days: int, policy: str, may: bool
) -> None:
    answers = (
        after(ConsentAnswers(), consent) if consent != Consent() else ConsentAnswers()
    )

    asks = answers.may_ask("experiments", now=NOW + days * DAY, policy_version=policy)

    assert asks == may


answer_lists = st.lists(
    st.tuples(st.frozensets(purposes), st.frozensets(purposes)), max_size=6
)


@given(answer_lists)
def test_a_receipt_verifies_and_gives_the_same_answers(given_answers) -> None:
    answers = ConsentAnswers()
    for granted, refused in given_answers:
        answers = after(answers, Consent(granted, refused - granted))

    assert read_receipt(json.loads(json.dumps(answers.receipt()))) == answers


FORGERIES = {
    "changed": lambda receipt: receipt["records"][0].update(state="denied"),
    "cut at the end": lambda receipt: receipt["records"].pop(),
    "cut at the start": lambda receipt: receipt["records"].pop(0),
    "reordered": lambda receipt: receipt["records"].reverse(),
    "a field more": lambda receipt: receipt["records"][0].update(also=1),
    "a field less": lambda receipt: receipt["records"][0].pop("locale"),
    "another type": lambda receipt: receipt["records"][0].update(at=str(NOW)),
    "an unknown purpose": lambda receipt: receipt["records"][0].update(purpose="ads"),
    "an unknown state": lambda receipt: receipt["records"][0].update(state="maybe"),
    "another version": lambda receipt: receipt.update(schema=2),
    "no records": lambda receipt: receipt.pop("records"),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_receipt_is_named(forge) -> None:
    receipt = json.loads(json.dumps(after(ConsentAnswers(), SHARING).receipt()))
    forge(receipt)

    with pytest.raises(InvalidInput, match=r"^(consent|receipt)"):
        read_receipt(receipt)


# who else may say no

STATES = {
    "unset": ConsentAnswers(),
    "granted": after(ConsentAnswers(), SHARING),
    "granted, told of GPC": after(ConsentAnswers(), SHARING, gpc_stated=True),
    "denied": after(
        ConsentAnswers(), Consent.to("local_profile").withdraw("share_dp_updates")
    ),
    "withdrawn": after(after(ConsentAnswers(), SHARING), Consent.to("local_profile")),
    "expired": after(
        after(ConsentAnswers(), Consent.to("local_profile")),
        SHARING,
        at=NOW - DAY,
        valid_seconds=DAY,
    ),
    "superseded": after(ConsentAnswers(), SHARING, policy="0"),
}
OWN = {"unset": "UNSET", "denied": "USER", "withdrawn": "USER", "expired": "EXPIRED"}


def expected(name: str, os: bool, gpc: bool, gpp: str | None, minor: bool) -> str:
    """The table of the design, section 4, row by row; empty where sharing is allowed."""
    if not name.startswith("granted"):
        return OWN.get(name, "SUPERSEDED")
    if os:
        return "OS"
    if gpc and name == "granted":
        return "GPC"
    if gpp is not None:
        return "GPP"
    return "NEEDS local_profile" if minor else ""


def test_the_most_restrictive_voice_wins_in_every_combination(root) -> None:
    vectors = json.loads((root / "tests/vectors/consent-resolver.json").read_text())
    rows = [
        [name, os, gpc, gpp, minor, expected(name, os, gpc, gpp, minor)]
        for name, os, gpc, gpp, minor in itertools.product(
            STATES, (False, True), (False, True), (None, GPP_EU), (False, True)
        )
    ]

    assert vectors["rows"] == rows
    for name, os, gpc, gpp, minor, reason in rows:
        verdict = resolve(
            "share_dp_updates",
            STATES[name],
            Restrictions(os=os, gpc=gpc, gpp=gpp, minor=minor),
            now=NOW,
            policy_version="1",
        )
        assert (verdict.allowed, verdict.reason) == (not reason, reason), (
            name,
            os,
            gpc,
            gpp,
        )


@given(
    granted=st.frozensets(purposes),
    purpose=purposes,
    os=st.booleans(),
    gpc=st.booleans(),
)
def test_no_restriction_ever_allows_what_the_person_did_not_grant(
    granted: frozenset[str], purpose: str, os: bool, gpc: bool
) -> None:
    answers = after(ConsentAnswers(), Consent(granted))
    verdict = resolve(
        purpose, answers, Restrictions(os=os, gpc=gpc), now=NOW, policy_version="1"
    )

    assert not verdict.allowed or Consent(granted).allows(purpose)


def tcf(consented: set[int]) -> str:
    """A TCF 2 core string in which just these purposes are consented to."""
    import base64

    bits = f"{2:06b}".ljust(152, "0")
    bits += "".join("1" if number in consented else "0" for number in range(1, 25))
    bits = bits.ljust(232, "0")
    packed = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


@pytest.mark.parametrize(
    ("consented", "denied"),
    [
        (set(range(1, 25)), set()),
        ({1, 3, 5, 10}, {"local_personalization"}),
        ({3, 5, 4}, {"local_personalization", "share_dp_updates", "share_dp_metrics"}),
        ({10}, {"local_profile", "local_personalization"}),
    ],
)
def test_a_tcf_string_denies_what_it_does_not_consent_to(
    consented: set[int], denied: set[str]
) -> None:
    assert Restrictions(tcf=tcf(consented)).by_tcf == denied


def us_national(sale: int, segments: str = "") -> str:
    """A GPP string with a US national section; 1 means opted out of sale."""
    import base64

    bits = (f"{1:06b}" + "01" * 6 + f"{sale:02b}").ljust(72, "0")
    packed = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    return f"DBABLA~{base64.urlsafe_b64encode(packed).decode()}{segments}"


@pytest.mark.parametrize(
    ("text", "denies"),
    [
        (us_national(2), False),
        (us_national(1), True),
        (us_national(2, ".YA"), True),  # a segment of type 1 whose GPC bit is set
        (us_national(2, ".QA"), False),
        ("DBABBg~BAAAAAAA", True),  # a section that nobody here knows
    ],
)
def test_an_opt_out_by_us_law_denies_all_sharing(text: str, denies: bool) -> None:
    assert ("share_dp_updates" in Restrictions(gpp=text).by_gpp) == denies


@pytest.mark.parametrize(
    "text", ["", "?", "C", "BPXxRfAPXxRfAAfKABENB", "CPXx", "a b", "é"]
)
def test_a_tcf_string_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^restrictions.*None"):
        Restrictions(tcf=text)


@pytest.mark.parametrize(
    "text", ["", "DBABMA", "DBABMA~", "XX~YY", f"{GPP_EU}~more", "DBABAA~AA"]
)
def test_a_gpp_string_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^restrictions.*None"):
        Restrictions(gpp=text)


@given(st.text(max_size=40))
def test_no_text_whatever_is_more_than_refused(text: str) -> None:
    for field in ("gpp", "tcf"):
        with contextlib.suppress(InvalidInput):
            Restrictions(**{field: text})


def test_a_grant_with_no_time_at_all_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"shown\.valid_seconds"):
        replace(ConsentNotice(), valid_seconds=0)


def test_before_the_notice_nothing_is_written_and_caps_hold_in_memory(tmp_path) -> None:
    settings = Settings(path=str(tmp_path / "taste.db"))
    choices = {"key": FIXED_KEY, "clock": FrozenClock()}
    with Personalizer(small_catalog(3), settings, consent=None, **choices) as device:
        for _ in range(2):
            for pick in device.recommend(3):
                device.observe(pick.impression())
        with pytest.raises(ConsentMissing):
            device.observe(Event(kind="like", item_id="item-0"))

        assert list(device.rights.events()) == []
        assert device.rights.export()["records"] == []

        device.agree(Consent())
        for pick in device.recommend(3):
            device.observe(pick.impression())
        assert len(list(device.rights.events())) == 3
    with Personalizer(small_catalog(3), settings, consent=None, **choices) as device:
        assert len(list(device.rights.events())) == 3
        assert not device.recommend(3)
        assert device.explain.why_not("item-0").denials
