"""Correct code is not refuted; `make privacy-campaign` counts over 200 audits."""

import runpy
from pathlib import Path

from tactful.audit.finding import EvidenceClass
from tactful.audit.report.power import FAULTS, least_deficit, table
from tactful.audit.run import CHECKS, audit
from tactful.protocol.documents.evidence import Evidence


def test_a_few_audits_of_correct_code_raise_no_alarm(root: Path) -> None:
    """Three audits at 0.2 % each: a false alarm once in 170 runs of this test."""
    campaign = runpy.run_path(str(root / "tests" / "campaigns" / "audit_campaign.py"))

    assert sum(campaign["alarms"](3, ("C2", "C3", "D1", "D2", "D3")).values()) == 0


def test_the_power_table_shows_which_faults_a_check_cannot_detect(
    honest: Evidence,
) -> None:
    """privacy.md 4.3: C2 sees missing noise, not a skipped clip; canaries the other way."""
    done = audit(honest, full=False)
    rows = {
        row.fault: row.checks
        for row in table(done.case, {f.id: f.status for f in done.findings})
    }

    assert rows["noise halved (sigma)"]["C2"] > 0.999
    assert rows["noise at 95 %"]["C2"] > 0.999
    assert (
        rows["clipping skipped (5 C)"]["C2"]
        < 0.01
        < rows["clipping skipped (5 C)"]["D1"]
    )
    assert rows["correct code (false alarms)"]["C2"] < 1e-4
    assert rows["correct code (false alarms)"]["D1"] == 0
    assert len(rows) >= len(FAULTS)


def test_more_residuals_detect_a_smaller_deficit() -> None:
    """privacy.md 4.3: a deficit of 1.25 % is seen with 10^5 residuals."""
    found = [least_deficit(10**power) for power in (3, 4, 5, 6)]

    assert found == sorted(found, reverse=True)
    assert 0.011 < found[2] < 0.014


def test_every_check_has_a_unique_id_and_an_evidence_class() -> None:
    names = [check.id for check in CHECKS]

    assert len(set(names)) == len(names) == 47
    assert {check.evidence_class for check in CHECKS} == set(EvidenceClass)
