"""A model is adopted only if everybody can see it, in a log that only grew."""

import base64
import json
import time

import pytest

from tactful.audit.evidence.audit_case import AuditCase
from tactful.audit.finding import Status
from tactful.audit.run import CHECKS, run_check
from tactful.errors import ModelRejected
from tactful.protocol.log import transcript
from tactful.protocol.transport import HttpTransport, Request, Response
from tactful_lab.evidence.bundle import published_evidence


@pytest.fixture
def trained(town, wire):
    """Two releases, the first adopted by a device whose network can be bent."""
    seen = wire()
    devices = [town.device(number) for number in range(6)]
    bent = town.device(9, transport=seen)
    town.train(devices)
    bent.sharing.refresh()
    # A task is told apart by the second in which it opens.
    time.sleep(1.0)
    town.train(devices, round_seconds=86_401)
    for device in devices:
        device.close()
    with bent:
        yield town, bent, seen


def bend(seen, change) -> None:
    """Let `change` rewrite every proof on its way."""
    real = HttpTransport().send

    def answer(request: Request) -> Response:
        response = real(request)
        if "/transcript/proofs/" in request.url:
            return change(request, response)
        return response

    seen.answer = answer


def test_a_newer_release_in_a_grown_log_is_adopted(trained) -> None:
    _, device, _ = trained
    before = device.status.checkpoint

    device.sharing.refresh()

    sizes = [json.loads(text)["size"] for text in (before, device.status.checkpoint)]
    assert sizes[0] < sizes[1]


def test_a_release_that_is_not_logged_is_refused(trained) -> None:
    _, device, seen = trained
    bend(seen, lambda request, response: Response(404, b""))

    with pytest.raises(ModelRejected, match=r"release\.log: .*does not contain"):
        device.sharing.refresh()
    assert device.status.newest_version == 1


def test_a_log_that_forgot_what_this_device_saw_is_refused(trained) -> None:
    town, device, seen = trained
    signer = town.pair.leader.aggregator.keys.signer

    def another_history(request: Request, response: Response) -> Response:
        """The same release, honestly signed, at the end of a log made for this device alone."""
        entry = transcript.parse(json.loads(response.body)["entry"])
        forged = [
            transcript.follow(n, "task", b"%d" % n, 0) for n in range(entry.index)
        ]
        entries = [*forged, entry]
        since = int(request.url.rpartition("/")[2])
        proof = transcript.ProvableLog(e.encode() for e in entries).prove(
            entry.sha256, since, signer
        )
        return Response(200, proof.encode())

    bend(seen, another_history)

    with pytest.raises(
        ModelRejected, match=r"release\.log\.consistency: .*keep both heads"
    ):
        device.sharing.refresh()
    assert device.status.newest_version == 1


def test_a_head_by_another_key_is_refused(trained) -> None:
    _, device, seen = trained

    def resigned(request: Request, response: Response) -> Response:
        fields = json.loads(response.body)
        head = json.loads(fields["checkpoint"])
        head["signature"] = base64.b64encode(bytes(64)).decode()
        return Response(
            200, json.dumps({**fields, "checkpoint": json.dumps(head)}).encode()
        )

    bend(seen, resigned)

    with pytest.raises(ModelRejected, match=r"release\.log\.signature"):
        device.sharing.refresh()


@pytest.mark.parametrize("garbage", [b"", b"{}", b"[]", b"null", b'{"entry": 1}'])
def test_an_answer_that_is_no_proof_is_refused_by_name(trained, garbage) -> None:
    _, device, seen = trained
    bend(seen, lambda request, response: Response(200, garbage))

    with pytest.raises(ModelRejected, match=r"release\."):
        device.sharing.refresh()


def test_erasing_does_not_forget_what_the_log_was(trained) -> None:
    _, device, _ = trained
    before = device.status.checkpoint

    device.rights.forget()

    assert device.status.checkpoint == before


def test_tasks_batches_and_releases_are_logged_in_order(trained) -> None:
    town, _, _ = trained
    body = (
        HttpTransport().send(Request("GET", f"{town.pair.leader.url}/transcript")).body
    )
    entries = [transcript.parse(line) for line in body.decode().splitlines()]

    transcript.checkpoint(entries)
    kinds = [entry.kind for entry in entries]
    assert (
        kinds.count("task") >= kinds.count("result") >= 6
    )  # other trainings may be open
    assert kinds.count("release") >= 2


def test_an_operator_shows_what_was_published_from_the_leaders_folder(trained) -> None:
    town, device, _ = trained
    device.sharing.refresh()
    ledgers = [json.dumps(device.sharing.ledger_evidence())]

    shown = published_evidence(
        town.pair.leader.aggregator, town.model, ledgers, eligible=12
    )

    case = AuditCase(shown)
    for check in CHECKS:
        if check.id in {"A1", "A2", "A8", "F1", "G1", "G2", "G3", "G4", "G5", "G6"}:
            status, outcome = run_check(check, case)
            assert status is Status.PASSED, (check.id, outcome.measured)
