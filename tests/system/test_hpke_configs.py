"""A device seals its shares only to keys that its aggregators signed, and to none older."""

import base64
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.device.erasure import Part
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Aggregators, Settings
from tactful.errors import HpkeConfigRejected, ReportRejected, TransportError
from tactful.protocol.messages import HpkeConfig, Report
from tactful.protocol.signed_config import ConfigDocument, verified
from tactful.protocol.transport import Request, Response
from tactful.testing import FIXED_KEY, LOCAL, FrozenClock, small_catalog
from tactful_aggregator.keyring import CACHE_SECONDS, EARLY_SECONDS, VALID_SECONDS

sys.path.insert(0, str(Path(__file__).parents[1] / "server_aggregator"))
from dap_pair import DapPair

DAY = 86_400
SIGNED = "/hpke_config/signed"
CATALOG = small_catalog()


class Town:
    """A pair on a clock of its own, one open round for each model, and one device."""

    def __init__(self, folder: Path) -> None:
        self.pair, self.folder = DapPair(folder / "pair"), folder
        self.seen: list[Request] = []
        self.answers = {}  # by the end of an address: what is answered in place of the pair
        self.opened("shop")

    def opened(self, model: str) -> None:
        training = {
            "model": model,
            "catalog": CATALOG.sha256,
            "items": len(CATALOG),
            "users": 4,
            "epsilon": 8.0,
            "delta": 1e-6,
            "min_batch_size": 1,
        }
        self._operate("/operator/trainings", json.dumps(training).encode())
        self._operate(f"/operator/trainings/{model}/refresh")

    def _operate(self, path: str, body: bytes = b"") -> None:
        headers = {"Authorization": f"Bearer {self.pair.leader.keys.token}"}
        url = self.pair.leader.settings.url + path
        assert self.pair.network.send(Request("POST", url, body, headers)).ok

    def send(self, request: Request) -> Response:
        self.seen.append(request)
        for end, answer in self.answers.items():
            if request.url.endswith(end):
                return answer(request)
        return self.pair.network.send(request)

    @property
    def uploads(self) -> list[bytes]:
        return [one.body for one in self.seen if one.url.endswith("/reports")]

    def device(self, model: str = "shop", clock: FrozenClock | None = None) -> Personalizer:
        halves = self.pair.leader, self.pair.helper
        settings = Settings(
            path=str(self.folder / "device.db"),
            aggregators=Aggregators(
                model=model,
                leader=halves[0].settings.url,
                helper=halves[1].settings.url,
                leader_key=halves[0].card.signing_key,
                helper_key=halves[1].card.signing_key,
            ),
            lifetime_epsilon=1_000.0,
            min_batch_size=1,
            trust_days=0,
        )
        device = Personalizer(
            CATALOG,
            settings,
            key=FIXED_KEY,
            consent=LOCAL.grant("share_dp_updates"),
            transport=self,
            clock=clock or FrozenClock(datetime.fromtimestamp(self.pair.now, UTC)),
        )
        device.observe(Event(kind="like", item_id="item-3"))
        return device

    def document(self, role: str = "leader") -> ConfigDocument:
        half = getattr(self.pair, role)
        body = self.pair.network.send(Request("GET", half.settings.url + SIGNED)).body
        return verified(body, role, base64.b64decode(half.card.signing_key), self.pair.now)

    def replaced(self, document: ConfigDocument, key: Ed25519PrivateKey | None = None) -> None:
        """Answer with `document` where the half of its role is asked for its config."""
        half = getattr(self.pair, document.role)
        body = document.signed(key or half.keys.signer)
        self.answers[half.settings.url + SIGNED] = lambda request: Response(200, body)

    def rotate(self, *, days: int = 0) -> None:
        self.pair.rotate()
        self.pair.now += days * DAY

    def counted(self) -> int:
        with self.pair.leader_service.store.transaction() as tx:
            return tx.count_reports(tx.tasks("shop")[0].id)


@pytest.fixture
def town(tmp_path: Path):
    town = Town(tmp_path)
    yield town
    town.pair.close()


def foreign() -> str:
    key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    return HpkeConfig(7, key).encode().hex()


def nothing_left(town: Town, device: Personalizer) -> bool:
    return not town.uploads and device.memory.ledger.spent == 0


# what a relay may try, and the field that the refusal names
FAULTS = {
    "another key": (lambda d: replace(d, config=foreign()), Ed25519PrivateKey.generate(), "sig"),
    "the other half's": (lambda d: replace(d, role="helper"), None, "signatures.leader"),
    "over": (
        lambda d: replace(d, not_before=d.not_before - DAY, not_after=d.not_before),
        None,
        "not_after",
    ),
    "of no end": (lambda d: replace(d, not_after=d.not_before + 14 * DAY + 1), None, "not_after"),
    "not yet": (
        lambda d: replace(d, not_before=d.not_after, not_after=d.not_after + DAY),
        None,
        "not_before",
    ),
    "no config": (lambda d: replace(d, config="00"), None, "config"),
    "of another suite": (
        lambda d: replace(d, config=d.config[:2] + "0021" + d.config[6:]),
        None,
        "config",
    ),
    "of no epoch": (lambda d: replace(d, epoch=-1), None, "epoch"),
    "of another version": (lambda d: replace(d, version="tactful-2"), None, "version"),
}


@pytest.mark.parametrize(("fault", "key", "field"), FAULTS.values(), ids=FAULTS)
def test_a_config_that_is_not_the_aggregators_own_is_refused_and_costs_nothing(
    town: Town, fault, key, field: str
) -> None:
    document = fault(town.document())
    body = document.signed(key or town.pair.leader.keys.signer)
    where = town.pair.leader.settings.url + SIGNED
    town.answers[where] = lambda request: Response(200, body)
    with town.device() as device:
        with pytest.raises(HpkeConfigRejected, match=f"hpke_config.{field}"):
            device.contribute()
        assert nothing_left(town, device)
        town.answers.clear()
        device.contribute()
        assert device.memory.ledger.spent > 0


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"x" * 5000, b"[" * 3000])
def test_what_is_no_signed_config_is_refused(town: Town, body: bytes) -> None:
    town.answers[SIGNED] = lambda request: Response(200, body)

    with town.device() as device, pytest.raises(HpkeConfigRejected):
        device.contribute()


def test_an_aggregator_that_answers_only_without_a_signature_gets_nothing(town: Town) -> None:
    town.answers[SIGNED] = lambda request: Response(404, b"")
    with town.device() as device:
        with pytest.raises(TransportError, match="is this a Tactful aggregator"):
            device.contribute()
        assert nothing_left(town, device)


def test_a_config_of_a_lower_epoch_is_refused_after_a_restart_and_after_erasing(
    town: Town,
) -> None:
    old = town.document()
    town.rotate()
    with town.device() as device:
        device.contribute()
        device.erase(Part(items=frozenset({"item-3"})))
        device.forget()
    town.opened("other")
    town.seen.clear()
    town.replaced(old)
    with town.device("other") as device:
        spent = device.memory.ledger.spent
        with pytest.raises(HpkeConfigRejected, match=r"hpke_config\.epoch: .* is below"):
            device.contribute()
        assert (town.uploads, device.memory.ledger.spent) == ([], spent)


def test_another_config_under_the_same_epoch_is_refused(town: Town) -> None:
    with town.device() as device:
        device.contribute()
    town.opened("other")
    town.replaced(replace(town.document("helper"), config=foreign()))
    with town.device("other") as device:
        spent = device.memory.ledger.spent
        with pytest.raises(HpkeConfigRejected, match=r"hpke_config\.config: .* rotate the key"):
            device.contribute()
        assert device.memory.ledger.spent == spent


def test_a_config_is_signed_anew_as_long_as_it_is_served(town: Town) -> None:
    first = town.document()
    town.pair.now += 30 * DAY
    later = town.document()

    assert later.not_after >= town.pair.now + CACHE_SECONDS
    assert later.not_after - later.not_before == EARLY_SECONDS + VALID_SECONDS <= 14 * DAY
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
            device.contribute()
        town.answers.clear()
        town.seen.clear()


def test_a_retry_after_the_key_has_ended_seals_the_same_shares_anew_and_costs_nothing(
    town: Town,
) -> None:
    waiting(town)
    town.rotate(days=3)
    with town.device() as device:
        spent = device.memory.ledger.spent
        done = device.contribute()
        assert device.memory.ledger.spent == spent
        assert done.disclosure.sha256 == device.memory.disclosures[done.disclosure.task_id].sha256
        assert device.sent_bytes(done.disclosure) == town.uploads[-1]

    first, second = (Report.decode(body, done.task.dap.dap) for body in town.uploads)
    assert (first.metadata, first.public_share) == (second.metadata, second.public_share)
    assert opened(town, done.task, first) == opened(town, done.task, second)
    assert town.counted() == 1


def opened(town: Town, task, report: Report) -> list[bytes]:
    from tactful.protocol import hpke
    from tactful.protocol.dap import HELPER, LEADER
    from tactful.protocol.messages import input_share_aad

    aad = input_share_aad(task.dap, report.metadata, report.public_share)
    parts = []
    for service, role, sealed in (
        (town.pair.leader_service, LEADER, report.leader),
        (town.pair.helper_service, HELPER, report.helper),
    ):
        key = service.bench.keyring.current().openers[sealed.config_id]
        info = task.dap.dap.input_share_info(role)
        parts.append(hpke.open_(key, sealed.enc, info, aad, sealed.payload))
    return parts


def test_the_open_shares_are_kept_only_until_the_report_was_taken(town: Town) -> None:
    waiting(town)
    with town.device() as device:
        assert len(list(device._vault.read(0, ["shares"]))) == 1
        (kept,) = device._vault.read(0, ["shares"])
        for told in (device.evidence(), device.export()):
            assert str(kept.body["leader"]) not in json.dumps(told)
            assert str(kept.body["helper"]) not in json.dumps(told)
        device.contribute()
        assert list(device._vault.read(0, ["shares"])) == []
        device._vault.verify()


@pytest.mark.parametrize(
    "end",
    [
        lambda device: device.agree(LOCAL),
        lambda device: device.forget(),
        lambda device: device.erase(Part(items=frozenset({"item-3"}))),
    ],
    ids=["withdrawn", "forgotten", "a part erased"],
)
def test_the_open_shares_go_with_what_they_tell_of(town: Town, end) -> None:
    waiting(town)
    with town.device() as device:
        end(device)
        assert list(device._vault.read(0, ["shares"])) == []


def test_the_open_shares_go_once_the_task_is_over(town: Town) -> None:
    waiting(town)
    clock = FrozenClock(datetime.fromtimestamp(town.pair.now, UTC))
    with town.device(clock=clock) as device:
        device.tidy()
        assert len(list(device._vault.read(0, ["shares"]))) == 1
        clock.advance(8 * DAY * 1000)
        device.tidy()
        assert list(device._vault.read(0, ["shares"])) == []


def test_a_lost_answer_to_a_resealed_report_is_counted_once(town: Town) -> None:
    waiting(town)
    town.rotate(days=3)
    answers = iter(["", "answer"])
    town.pair.network.lose = lambda request: (
        next(answers, "") if request.url.endswith("/reports") else ""
    )
    with town.device() as device:
        with pytest.raises(TransportError):
            device.contribute()
        device.contribute()
        assert device.memory.ledger.spent > 0
    assert town.counted() == 1


def test_without_the_shares_the_leaders_refusal_is_raised(town: Town) -> None:
    waiting(town)
    with town.device() as device:
        device.forget()
        town.rotate(days=3)
    with town.device() as device, pytest.raises(ReportRejected, match="outdated"):
        device.contribute()
