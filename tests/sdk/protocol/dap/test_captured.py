"""What a client that is not ours sent opens, proves itself and adds up, without the client."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.errors import DecodeError
from tactful.protocol.dap import hpke
from tactful.protocol.dap.messages import (
    Report,
    decode_plaintext_share,
    input_share_aad,
)
from tactful.protocol.dap.versions import DAP_18, HELPER, LEADER
from tactful.vdaf.vdaf import Received
from tactful_aggregator.task_registry import OperatorTask

FILE = (
    Path(__file__).resolve().parents[3] / "vectors" / "dap" / "divviup-dap-0.9.1.json"
)
CAPTURED = json.loads(FILE.read_text())


@pytest.mark.parametrize("name", CAPTURED)
def test_captured_reports_add_up_to_their_measurements(name: str) -> None:
    captured = CAPTURED[name]
    provision = OperatorTask.parse(json.dumps(captured["task"]).encode()).provisioned
    task = provision.task
    keys = [
        X25519PrivateKey.from_private_bytes(bytes.fromhex(captured[f"{role}_key"]))
        for role in ("leader", "helper")
    ]
    total = task.vdaf.field.zeros(task.vdaf.output_length)

    for body in captured["reports"]:
        report = Report.decode(bytes.fromhex(body), task.dap)
        aad = input_share_aad(task, report.metadata, report.public_share)
        prepared = []
        for agg, (role, sealed) in enumerate(
            ((LEADER, report.leader), (HELPER, report.helper))
        ):
            info = task.dap.input_share_info(role)
            opened = hpke.open_(keys[agg], sealed.enc, info, aad, sealed.payload)
            share = decode_plaintext_share(opened)
            received = Received(report.metadata.report_id, report.public_share, share)
            prepared += task.vdaf.verify_init(provision.verify_key, agg, [received])
        message = task.vdaf.verifier_message([share for _, share in prepared])
        for state, _ in prepared:
            total = task.vdaf.field.add(total, task.vdaf.verify_next(state, message))

    assert task.vdaf.decode(total) == captured["total"]
    assert len(captured["reports"]) == len(captured["measurements"])


@pytest.mark.parametrize("name", CAPTURED)
def test_a_captured_report_is_written_as_it_was_read_and_is_no_other_version(
    name: str,
) -> None:
    body = bytes.fromhex(CAPTURED[name]["reports"][0])
    task = OperatorTask.parse(
        json.dumps(CAPTURED[name]["task"]).encode()
    ).provisioned.task

    assert Report.decode(body, task.dap).encode(task.dap) == body
    with pytest.raises(DecodeError):
        Report.decode(body, DAP_18)
