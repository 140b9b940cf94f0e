"""Laws of findings: silence is never a pass, and a refutation always wins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.audit.finding import EvidenceClass, Finding, Status, exit_status
from tactful.errors import InvalidInput


def finding(check: str, status: Status) -> Finding:
    return Finding(
        id=check,
        status=status,
        evidence_class=EvidenceClass.PROVED,
        claim="holds",
        measured="equal",
    )


audits = st.dictionaries(
    st.sampled_from(["A1", "A2", "C2", "F1"]), st.sampled_from(Status)
).map(lambda ended: [finding(check, status) for check, status in ended.items()])


@given(findings=audits)
def test_one_refuted_check_fails_the_audit(
    findings: list[Finding],
) -> None:
    refuted = [*findings, finding("H3", Status.REFUTED)]

    assert exit_status(refuted, required=()) == 1


@given(findings=audits)
def test_a_required_check_without_a_finding_is_never_a_pass(
    findings: list[Finding],
) -> None:
    assert exit_status(findings, required=("G1",)) != 0


@given(findings=audits)
def test_only_an_audit_with_all_required_checks_passed_exits_with_0(
    findings: list[Finding],
) -> None:
    required = [each.id for each in findings]

    all_passed = all(each.status is Status.PASSED for each in findings)
    assert (exit_status(findings, required) == 0) == all_passed


@pytest.mark.parametrize("status", [Status.INCONCLUSIVE, Status.NOT_RUN])
def test_an_open_required_check_exits_with_2_and_shows_no_evidence_class(
    status: Status,
) -> None:
    open_check = finding("D1", status)

    assert exit_status([open_check], required=("D1",)) == 2
    assert open_check.verdict == status


def test_a_check_reported_twice_is_refused() -> None:
    twice = [finding("C2", Status.PASSED), finding("C2", Status.INCONCLUSIVE)]

    with pytest.raises(InvalidInput):
        exit_status(twice, required=("C2",))
