"""An audit of evidence where devices added the noise: passed, and each lie about it refuted."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tactful.audit.finding import Status
from tactful.audit.report.document import document
from tactful.audit.report.registry import entry
from tactful.audit.run import audit
from tactful.privacy import discrete_gaussian
from tactful.privacy.discrete_gaussian import NoiseTable, draw
from tactful.privacy.mechanism import Placement
from tactful.protocol.documents.evidence import Evidence
from tactful_lab.evidence.bundle import merge, published_evidence
from tactful_lab.evidence.staging import staging_pair
from tactful_lab.evidence.staging_run import noise_residuals, staging_evidence

from .conftest import DEVICES, MODEL, _device, _train, check_result, documented

MODES = {
    Placement.DEVICES: {"placement": "devices", "honest": 3},
    Placement.LOCAL: {"placement": "local"},
}


@pytest.fixture(scope="module", params=MODES, ids=str)
def shown(request, tmp_path_factory) -> Evidence:
    """All that a pair and devices show whose noise is the devices'."""
    folder, mode = tmp_path_factory.mktemp("modes"), MODES[request.param]
    with staging_pair(folder) as pair:
        devices = [
            _device(pair, folder, number, placement=str(request.param))
            for number in range(DEVICES)
        ]
        _train(pair, devices, **mode)
        ledgers = [
            json.dumps(device.sharing.ledger_evidence()) for device in devices[:2]
        ]
        told = published_evidence(pair.leader, MODEL, ledgers, eligible=DEVICES)
        for device in devices:
            device.close()
    return merge(
        told, staging_evidence(3.0, 1e-6, canaries=100, placement=request.param)
    )


def test_an_honest_deployment_passes_and_names_its_placement(shown: Evidence) -> None:
    done = audit(shown, full=False)
    placement = done.case.placement

    # C5 measures time, which other work on the machine moves; it is not about who adds the noise
    found = [
        one for one in done.findings if one.status is Status.REFUTED and one.id != "C5"
    ]
    assert [(one.id, one.measured) for one in found] == []
    report = document(done)
    told = json.dumps(report) + json.dumps(entry(done))
    if placement == Placement.LOCAL:
        assert "local" in str(report["threat_model"])
        assert "local" in str(report["limits"][0])
        assert "all but one aggregator" not in told
        assert "no claim: they see every report" not in told
    else:
        assert "of which at least 3 must be honest" in told
        assert any("devices add none" in row["scenario"] for row in report["scenarios"])


def test_a_claim_with_another_placement_is_refuted(shown: Evidence) -> None:
    claim = replace(shown.documents.claim, placement="aggregator")

    status, told = check_result("A1", documented(shown, claim=claim))

    assert status is Status.REFUTED
    assert "the documents disagree" in told


def test_a_claim_smaller_than_the_counted_noise_is_refuted(shown: Evidence) -> None:
    claim = shown.documents.claim

    status, told = check_result(
        "A3", documented(shown, claim=replace(claim, epsilon=claim.epsilon / 2))
    )

    assert status is Status.REFUTED
    assert "is claimed" in told


def test_a_device_that_adds_half_of_the_noise_is_detected(
    tmp_path, monkeypatch
) -> None:
    def weak(table: NoiseTable, count: int) -> np.ndarray:
        return draw(NoiseTable.of(table.law, table.spread * Fraction(1, 4)), count)

    monkeypatch.setattr(discrete_gaussian, "draw", weak)
    with staging_pair(tmp_path, placement=Placement.LOCAL) as pair:
        found = noise_residuals(pair, 3.0, 1e-6, length=4096)

    status, told = check_result("C2", Evidence(residuals=found))

    assert status is Status.REFUTED
    assert "variance" in told
