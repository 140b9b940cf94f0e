"""A device seals its shares only to keys that its aggregators signed, and to none older."""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.device.personalizer import Personalizer
from tactful.device.rights.erasure import ErasureScope
from tactful.errors import HpkeConfigRejected, ReportRejected, TransportError
from tactful.protocol.dap.messages import HpkeConfig, Report
from tactful.protocol.transport import Request, Response
from tactful.testing import LOCAL, FrozenClock
from tactful_aggregator.keyring import CACHE_SECONDS, EARLY_SECONDS, VALID_SECONDS

sys.path.insert(0, str(Path(__file__).parents[1] / "server_aggregator"))
from clocked_town import DAY, SIGNED, Town


@pytest.fixture
def town(tmp_path: Path):
    town = Town(tmp_path)
    yield town
    town.pair.close()


def foreign() -> str:
    key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    return HpkeConfig(7, key).encode().hex()


def nothing_left(town: Town, device: Personalizer) -> bool:
    return not town.uploads and device.status.ledger.spent == 0


def test_a_config_by_another_key_is_refused_and_costs_nothing(town: Town) -> None:
    town.replaced(
        replace(town.document(), config=foreign()), Ed25519PrivateKey.generate()
    )
    with town.device() as device:
        for _ in range(2):
            with pytest.raises(
                HpkeConfigRejected, match=r"hpke_config\.signatures\.leader"
            ):
                device.sharing.contribute()
        assert nothing_left(town, device)
        town.answers.clear()
        device.sharing.contribute()
        assert device.status.ledger.spent > 0


def test_an_aggregator_that_answers_only_without_a_signature_gets_nothing(
    town: Town,
) -> None:
    town.answers[SIGNED] = lambda request: Response(404, b"")
    with town.device() as device:
        with pytest.raises(TransportError, match="that of a Tactful aggregator"):
            device.sharing.contribute()
        assert nothing_left(town, device)


def test_a_config_of_a_lower_epoch_is_refused_after_a_restart_and_after_erasing(
    town: Town,
) -> None:
    old = town.document()
    town.rotate()
    with town.device() as device:
        device.sharing.contribute()
        device.rights.erase(ErasureScope(items=frozenset({"item-3"})))
        device.rights.forget()
    town.opened("other")
    town.seen.clear()
    town.replaced(old)
    with town.device("other") as device:
        spent = device.status.ledger.spent
        with pytest.raises(
            HpkeConfigRejected, match=r"hpke_config\.epoch: .* is below"
        ):
            device.sharing.contribute()
        assert (town.uploads, device.status.ledger.spent) == ([], spent)


def test_another_config_under_the_same_epoch_is_refused(town: Town) -> None:
    with town.device() as device:
        device.sharing.contribute()
    town.opened("other")
    town.replaced(replace(town.document("helper"), config=foreign()))
    with town.device("other") as device:
        spent = device.status.ledger.spent
        with pytest.raises(
            HpkeConfigRejected, match=r"hpke_config\.config: .* rotate the key"
        ):
            device.sharing.contribute()
        assert device.status.ledger.spent == spent


def test_a_config_is_signed_anew_as_long_as_it_is_served(town: Town) -> None:
    first = town.document()
    town.pair.now += 30 * DAY
    later = town.document()

    assert later.not_after >= town.pair.now + CACHE_SECONDS
    assert (
        later.not_after - later.not_before == EARLY_SECONDS + VALID_SECONDS <= 14 * DAY
    )
    assert (later.epoch, later.config) == (first.epoch, first.config)


def test_every_rotation_raises_the_epoch_and_a_restart_keeps_it(town: Town) -> None:
    epochs = [town.document().epoch]
    for _ in range(3):
        town.rotate()
        epochs.append(town.document().epoch)
    town.pair.restart()

    assert epochs == sorted(set(epochs))
    assert town.document().epoch == epochs[-1]


def unreachable(request: Request) -> Response:
    raise TransportError("cut")


def waiting(town: Town) -> None:
    """Leave a report in the vault that was charged, and did not reach the leader."""
    town.answers["/reports"] = unreachable
    with town.device() as device:
        with pytest.raises(TransportError, match="cut"):
            device.sharing.contribute()
        town.answers.clear()
        town.seen.clear()


def test_a_retry_after_the_key_has_ended_seals_the_same_shares_anew_and_costs_nothing(
    town: Town,
) -> None:
    waiting(town)
    town.rotate(days=3)
    with town.device() as device:
        spent = device.status.ledger.spent
        done = device.sharing.contribute()
        assert device.status.ledger.spent == spent
        assert (
            done.disclosure.sha256
            == device.status.disclosures[done.disclosure.task_id].sha256
        )
        assert device.sharing.sent_bytes(done.disclosure) == town.uploads[-1]
        device._core.vault.verify()

    first, second = (Report.decode(body, done.task.dap.dap) for body in town.uploads)
    assert (first.metadata, first.public_share) == (
        second.metadata,
        second.public_share,
    )
    assert opened(town, done.task, first) == opened(town, done.task, second)
    assert town.counted() == 1


def opened(town: Town, task, report: Report) -> list[bytes]:
    from tactful.protocol.dap import hpke
    from tactful.protocol.dap.messages import input_share_aad
    from tactful.protocol.dap.versions import HELPER, LEADER

    aad = input_share_aad(task.dap, report.metadata, report.public_share)
    parts = []
    for service, role, sealed in (
        (town.pair.leader_service, LEADER, report.leader),
        (town.pair.helper_service, HELPER, report.helper),
    ):
        key = service.dependencies.keyring.current().openers[sealed.config_id]
        info = task.dap.dap.input_share_info(role)
        parts.append(hpke.open_(key, sealed.enc, info, aad, sealed.payload))
    return parts


def test_the_open_shares_are_kept_only_until_the_report_was_taken(town: Town) -> None:
    waiting(town)
    with town.device() as device:
        assert len(list(device._core.vault.read(0, ["open_shares"]))) == 1
        (kept,) = device._core.vault.read(0, ["open_shares"])
        for told in (device.sharing.ledger_evidence(), device.rights.export()):
            assert str(kept.body["leader"]) not in json.dumps(told)
            assert str(kept.body["helper"]) not in json.dumps(told)
        device.sharing.contribute()
        assert list(device._core.vault.read(0, ["open_shares"])) == []
        device._core.vault.verify()


@pytest.mark.parametrize(
    "end",
    [
        lambda device: device.agree(LOCAL),
        lambda device: device.rights.forget(),
        lambda device: device.rights.erase(ErasureScope(items=frozenset({"item-3"}))),
    ],
    ids=["withdrawn", "forgotten", "a part erased"],
)
def test_the_open_shares_go_with_what_they_tell_of(town: Town, end) -> None:
    waiting(town)
    with town.device() as device:
        end(device)
        assert list(device._core.vault.read(0, ["open_shares"])) == []


def test_the_open_shares_go_once_the_task_is_over(town: Town) -> None:
    waiting(town)
    clock = FrozenClock(datetime.fromtimestamp(town.pair.now, UTC))
    with town.device(clock=clock) as device:
        device.rights.purge_expired()
        assert len(list(device._core.vault.read(0, ["open_shares"]))) == 1
        clock.advance(8 * DAY * 1000)
        device.rights.purge_expired()
        assert list(device._core.vault.read(0, ["open_shares"])) == []


def test_a_lost_answer_to_a_resealed_report_is_counted_once(town: Town) -> None:
    waiting(town)
    town.rotate(days=3)
    answers = iter(["", "answer"])
    town.pair.network.lose = lambda request: (
        next(answers, "") if request.url.endswith("/reports") else ""
    )
    with town.device() as device:
        with pytest.raises(TransportError):
            device.sharing.contribute()
        device.sharing.contribute()
        assert device.status.ledger.spent > 0
    assert town.counted() == 1


def test_without_the_shares_the_leaders_refusal_is_raised(town: Town) -> None:
    waiting(town)
    with town.device() as device:
        device.rights.forget()
        town.rotate(days=3)
    with town.device() as device, pytest.raises(ReportRejected, match="outdated"):
        device.sharing.contribute()
