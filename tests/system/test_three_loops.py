"""The three loops end to end: lists from a vault, reports to a pair, a model back."""

from datetime import UTC, datetime
from fractions import Fraction
from itertools import combinations

import pytest

from tactful.device.clock import ManualClock
from tactful.device.events import Event
from tactful.device.ranking import list_builder
from tactful.errors import (
    BudgetExhausted,
    ConsentMissing,
    ModelRejected,
    TactfulError,
    TaskRejected,
    TransportError,
)
from tactful.protocol.transport import Request, Response
from tactful.testing import FIXED_KEY, LOCAL

TWELVE = range(12)


def test_from_likes_to_a_refreshed_list(town) -> None:
    devices = [town.device(number) for number in TWELVE]
    town.train(devices)

    releases = [device.sharing.refresh() for device in devices]

    assert {release.version for release in releases} == {1}
    assert releases[0].kind == "personal"
    assert releases[0].batch_size == 12
    for device, release in zip(devices, releases, strict=True):
        assert device.status.ledger.spent == Fraction(release.rho)
        assert len(device.status.disclosures) == 3
        first = device.recommend(3, balance=1.0)[0]
        assert device.model is not None
        assert first.reasons


def test_with_the_catalogs_words_pairs_are_learned_and_the_model_is_tried(town) -> None:
    devices = [town.device(number) for number in TWELVE]

    town.train(devices)
    release = devices[0].sharing.refresh()

    assert len(devices[0].status.disclosures) == 3
    assert release.kind == "personal"
    assert devices[0].model.neighbours.size
    assert devices[0].recommend(3, balance=1.0)[0].reasons


def test_what_a_person_does_changes_the_next_list(town) -> None:
    with town.device(consent=LOCAL) as device:
        before = [pick.item.id for pick in device.recommend(5, balance=1.0)]
        device.observe(Event(kind="hide", item_id=before[0]))
        after = [pick.item.id for pick in device.recommend(5, balance=1.0)]

    assert before[0] not in after


def test_a_second_contribution_sends_nothing_and_charges_nothing(town, wire) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    seen = wire()
    with town.device(transport=seen) as device:
        first = device.sharing.contribute()
        spent = device.status.ledger.spent
        again = device.sharing.contribute()

        assert (first.repeated, again.repeated) == (False, True)
        assert device.status.ledger.spent == spent
    assert len(seen.uploads) == 1


def test_a_report_that_was_lost_on_the_way_is_sent_again_byte_for_byte(
    town, wire
) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    seen = wire()
    carry = seen.answer

    def lossy(request):
        if request.url.endswith("/reports"):
            raise TransportError("lost")
        return carry(request)

    with town.device(transport=seen) as device:
        seen.answer = lossy
        with pytest.raises(TransportError):
            device.sharing.contribute()
        spent = device.status.ledger.spent
        seen.answer = carry
        device.sharing.contribute()

        assert spent == device.status.ledger.spent > 0
        sent = device.sharing.sent_bytes(next(iter(device.status.disclosures.values())))
    assert seen.uploads == [sent, sent]


def test_without_budget_no_report_is_made(town, wire) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    seen = wire()
    with town.device(transport=seen, lifetime_epsilon=1.0) as device:
        with pytest.raises(BudgetExhausted, match="cap"):
            device.sharing.contribute()
        assert device.status.ledger.spent == 0
    assert not seen.uploads


def test_without_consent_no_byte_reaches_the_network(town, wire) -> None:
    seen = wire()
    with town.device(transport=seen, consent=LOCAL) as device:
        with pytest.raises(ConsentMissing, match="share_dp_updates"):
            device.sharing.contribute()
        device.recommend(5)
    assert not seen.requests


def test_forgetting_refunds_nothing(town) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    with town.device() as device:
        device.sharing.contribute()
        spent = device.status.ledger.spent
        device.rights.forget()

        assert device.status.ledger.spent == spent > 0
        assert not device.status.profile.beliefs
        assert device.sharing.contribute().repeated


def test_a_rolled_back_release_is_refused_even_after_forgetting(town, wire) -> None:
    seen = wire()
    release = f"{town.pair.leader.url}/models/{town.model}/release"
    devices = [town.device(number, lifetime_epsilon=3_000.0) for number in TWELVE]
    town.train(devices)
    carry, old = seen.answer, seen.answer(Request("GET", release))
    town.train(devices)
    with town.device(0, transport=seen) as device:
        assert device.sharing.refresh().version == 2
        device.rights.forget()
        seen.answer = lambda asked: old if asked.url == release else carry(asked)
        with pytest.raises(ModelRejected, match="rollback"):
            device.sharing.refresh()
        assert device.model is None


@pytest.mark.parametrize("change", ["epsilon", "signature", "file"])
def test_a_forged_release_is_refused_and_the_list_stays(
    town, wire, change: str
) -> None:
    town.train([town.device(number) for number in TWELVE])
    seen = wire()
    carry = seen.answer

    def forged(asked):
        answer = carry(asked)
        if change == "file" and "/files/" in asked.url:
            return Response(
                answer.status, answer.body[:-1] + bytes([answer.body[-1] ^ 1])
            )
        if not asked.url.endswith("/release"):
            return answer
        if change == "epsilon":
            return Response(200, answer.body.replace(b"zero_out", b"replace_one"))
        return Response(200, answer.body.replace(b'"helper":"', b'"helper":"A'))

    seen.answer = forged
    with town.device(0, transport=seen) as device:
        before = [pick.item.id for pick in device.recommend(5)]
        with pytest.raises(ModelRejected):
            device.sharing.refresh()
        assert device.model is None
        assert len(before) == 5


def test_a_pair_that_is_not_the_one_agreed_on_is_refused(town, wire) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    mine = town.settings(0).aggregators
    stranger = type(mine)(**{**vars(mine), "leader_key": "A" * 43 + "="})
    with (
        town.device(1, aggregators=stranger) as device,
        pytest.raises(TaskRejected, match=r"signatures\.leader"),
    ):
        device.sharing.contribute()


def test_a_task_for_another_catalog_is_refused_before_anything_is_spent(town) -> None:
    town.pair.start(town.training(catalog="c" * 64))
    town.pair.refresh(town.model)
    with town.device() as device:
        with pytest.raises(TaskRejected, match=r"task\.catalog"):
            device.sharing.contribute()
        assert device.status.ledger.spent == 0


def test_too_few_reports_are_not_released(town) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    for number in range(3):
        town.device(number).sharing.contribute()

    with pytest.raises(TactfulError, match="at least 4"):
        town.pair.refresh(town.model)

    town.device(3).sharing.contribute()
    assert town.pair.refresh(town.model)["collected"] == [4]


def test_nothing_of_the_person_is_in_clear_on_disk_or_wire(town, wire) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    seen = wire()
    with town.device(transport=seen) as device:
        for pick in device.recommend(3):
            device.observe(pick.impression())
        device.sharing.contribute()
        files = b"".join(path.read_bytes() for path in town.folder.iterdir())

    secrets = [b"item-", b"like", b"impression", b"kind-", FIXED_KEY.key()]
    assert [one for one in secrets if one in files] == []
    sent = b"".join(one.url.encode() + one.body for one in seen.requests)
    assert [one for one in secrets if one in sent] == []


def test_a_model_that_grew_old_makes_lists_less_personal_until_a_new_one_comes(
    town, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = [town.device(number) for number in TWELVE]
    town.train(devices)
    release = devices[0].sharing.refresh()
    lifetime_ms = 1000 * (release.expires - release.created)
    devices[0].close()

    def personal_share(lifetimes: int) -> float:
        """Pairs of items that stand the other way round than for everyone, so long after."""
        clock = ManualClock(datetime.fromtimestamp(release.created, UTC))
        clock.advance(lifetimes * lifetime_ms)
        with town.device(clock=clock) as device:
            made = device.recommend(3, balance=1.0).decision_id
            stages = [
                device.explain.trace(made, item.id).stages for item in device.catalog
            ]
        pairs = [
            (a, b) for a, b in combinations(stages, 2) if a["standard"] != b["standard"]
        ]
        turned = [
            (a["standard"] < b["standard"]) != (a["balance"] < b["balance"])
            for a, b in pairs
        ]
        return sum(turned) / len(turned)

    shares = [personal_share(lifetimes) for lifetimes in (0, 1, 2, 3)]
    assert shares[0] > shares[-1]
    assert shares == sorted(shares, reverse=True)

    monkeypatch.setattr(list_builder, "freshness", lambda *_: 1.0)
    assert personal_share(3) > shares[-1]
