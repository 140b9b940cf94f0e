"""When `agree` returns, what was withdrawn neither leaves nor waits; only the person says yes."""

import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tactful.device.consent import Consent, Restrictions
from tactful.errors import ConsentMissing, ReportRejected, TaskRejected, TransportError
from tactful.protocol.transport import Response
from tactful.testing import LOCAL

SHARING = LOCAL.grant("share_dp_updates")
FLIPS = 10_000


def test_ten_thousand_flips_under_traffic_send_nothing_after_a_no(town, wire) -> None:
    seen = wire(answer=lambda request: Response(404, b""))
    allowed, trespasses, over = threading.Event(), [], threading.Event()
    note = seen.send

    def send(request):
        # the lock is held here: a no that has returned cannot be overtaken
        if not allowed.is_set():
            trespasses.append(request.url)
        seen.requests.clear()
        return note(request)

    seen.send = send
    chance = random.Random(5)
    with town.device(transport=seen, path=None) as device:
        allowed.set()
        traffic = [
            threading.Thread(target=keep_sending, args=(device, over)) for _ in range(3)
        ]
        for thread in traffic:
            thread.start()
        for _ in range(FLIPS):
            if chance.random() < 0.5:
                allowed.set()
                device.agree(SHARING)
            else:
                device.agree(LOCAL)
                allowed.clear()
        over.set()
        for thread in traffic:
            thread.join()
        assert len(device.status.answers.records) > FLIPS // 4

    assert trespasses == []


def keep_sending(device, over: threading.Event) -> None:
    while not over.is_set():
        try:
            device.sharing.contribute()
        except (ConsentMissing, TaskRejected, TransportError, ReportRejected):
            continue


def test_a_no_in_one_process_holds_in_another(town, wire) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    path = town.settings(0).path
    elsewhere = (
        "from tactful.testing import *; from tactful import Personalizer, Settings\n"
        "chosen = Settings(path={path!r})\n"
        "me = Personalizer(small_catalog(), chosen, key=FIXED_KEY, consent=LOCAL)\n"
        "me.agree(LOCAL)"
    )
    seen = wire()
    with town.device(transport=seen) as device:
        subprocess.run([sys.executable, "-c", elsewhere.format(path=path)], check=True)
        with pytest.raises(ConsentMissing, match="USER"):
            device.sharing.contribute()
    assert not seen.requests


def test_a_no_waits_for_the_request_that_is_on_its_way(town, wire) -> None:
    inside, go_on, done = threading.Event(), threading.Event(), []
    seen = wire()

    def slow(request):
        inside.set()
        go_on.wait(10)
        done.append("sent")
        return Response(404, b"")

    seen.answer = slow
    with town.device(transport=seen) as device:
        sender = threading.Thread(target=keep_sending_once, args=(device,))
        sender.start()
        inside.wait(10)
        refusal = threading.Thread(
            target=lambda: (device.agree(LOCAL), done.append("refused"))
        )
        refusal.start()
        refusal.join(0.3)
        assert refusal.is_alive()
        go_on.set()
        refusal.join(10)
        sender.join(10)
    assert done == ["sent", "refused"]


def keep_sending_once(device) -> None:
    with pytest.raises(TaskRejected):
        device.sharing.contribute()


@pytest.mark.parametrize("withdrawn", ["share_dp_updates", "local_profile"])
def test_what_waits_to_be_sent_is_erased_and_its_charge_stays(
    town, wire, withdrawn: str
) -> None:
    """Sharing rests on the profile: a no to that is a no to what was made of it."""
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    seen = wire()
    carry = seen.answer

    def lossy(request):
        if request.url.endswith("/reports"):
            raise TransportError("lost")
        return carry(request)

    seen.answer = lossy
    with town.device(transport=seen) as device:
        with pytest.raises(TransportError):
            device.sharing.contribute()
        disclosure = next(iter(device.status.disclosures.values()))
        report = device.sharing.sent_bytes(disclosure)
        spent = device.status.ledger.spent
        device.agree(SHARING.withdraw(withdrawn))

        files = b"".join(one.read_bytes() for one in Path(town.folder).glob("*.db*"))
        assert report not in files
        assert device.status.ledger.spent == spent
        device.agree(SHARING)
        seen.answer, seen.requests = carry, []
        again = device.sharing.contribute()
        assert again.repeated
        assert again.disclosure.dropped
    assert not seen.uploads


@pytest.mark.parametrize(
    ("restrictions", "reason"),
    [
        (Restrictions(os=True), "OS"),
        (Restrictions(gpc=True), "GPC"),
        (Restrictions(minor=True), "NEEDS local_profile"),
    ],
)
def test_another_voice_that_says_no_stops_sharing(
    town, wire, restrictions, reason: str
) -> None:
    seen = wire()
    with town.device(transport=seen) as device:
        device.restrictions = restrictions
        with pytest.raises(ConsentMissing, match=reason):
            device.sharing.contribute()
    assert not seen.requests


def test_every_report_falls_under_a_grant_that_was_in_force(town) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    with town.device() as device:
        device.sharing.contribute()
        device.agree(Consent())
        receipt = device.status.answers.receipt()
        sent = json.loads(str(device.sharing.ledger_evidence()["document"]))[
            "disclosures"
        ]

    grants = [one for one in receipt["records"] if one["purpose"] == "share_dp_updates"]
    assert [one["state"] for one in grants] == ["granted", "withdrawn"]
    assert all(grants[0]["at"] <= one["at"] <= grants[1]["at"] for one in sent)
    assert [one["consent"] for one in sent] == [grants[0]["record_id"]]
